//! [`RemoteKeys`]: keys that are fetched from an issuer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::fetch::Fetch;
use crate::fetch::documents::Documents;
use crate::fetch::freshness::Lifetimes;
use crate::fetch::metadata;
use crate::fetch::metadata::{Discovery, Wanted};
use crate::fetch::plain_http::PlainHttp;
use crate::issuer::Issuer;
use crate::keys::source::load::{Load, Schedule, Start};
use crate::keys::source::refresh::{Refresher, runtime_for};
use crate::keys::source::remote_source::{Origin, RemoteSource, unusable};
use crate::keys::source::snapshot::KeySnapshotStore;
use crate::keys::store::KeyStore;

/// Keys that are fetched from an issuer, and fetched again before they become stale.
///
/// [The guide](crate::guide::defaults) explains each default. Start with [`connect`](Self::connect)
/// or [`connect_lazy`](Self::connect_lazy), inside a tokio runtime.
///
/// Decisions of the application outlast every fetch: a key that was [removed](KeyStore::remove) or
/// [retired](KeyStore::retire) stays dead even if the issuer still publishes it, and a key that was
/// [added](KeyStore::rotate) stays in use.
///
/// If a key is missing from a fetched set, the tokens of that key are rejected at once. If a fetch
/// fails, the last good keys stay in use for the time of [`keep_stale`](Self::keep_stale). After that
/// time, tokens are answered with 503 and not 401, because they may be valid.
///
/// # Example: the keys of an authorization server
///
/// ```
/// # async fn example(client: impl tower_jwt_auth::fetch::Fetch) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::keys::RemoteKeys;
/// use tower_jwt_auth::{Audience, Issuer, JwtAuth};
///
/// let issuer = Issuer::new("https://login.example.com")?;
/// let keys = RemoteKeys::discover(&issuer, client)?.connect_lazy()?;
/// let auth = JwtAuth::new(issuer, Audience::new("calendar-api")?, keys.clone());
/// println!("{}", keys.status());
/// # drop(auth);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RemoteKeys {
    source: RemoteSource,
    cooldown: Duration,
}

impl RemoteKeys {
    /// Fetches the key set at this URL (`jwks_uri`).
    ///
    /// Events, errors and the status show the scheme, host and path of a URL. The query may contain an
    /// API key, so it is not shown.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if this is not an `https` or `http` URL. `connect` and `connect_lazy`
    /// return an error for plain `http` to a host that is not a loopback address, unless
    /// [`insecure_plain_http`](Self::insecure_plain_http) allows it.
    pub fn jwks(jwks_uri: &str, fetch: impl Fetch) -> Result<Self, ConfigError> {
        url(jwks_uri)?;
        Ok(Self::of(Origin::KeySet(jwks_uri.to_owned()), fetch))
    }

    /// Finds the key set of this issuer through the metadata of the issuer ([RFC 8414], OpenID Connect
    /// Discovery).
    ///
    /// The metadata is fetched from the two URLs that these standards derive from the issuer, in this
    /// order. The URL that answered is tried first the next time. The metadata must name exactly this
    /// issuer. If it came over `https`, the URL of the key set must be `https` too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the issuer is not an `https` or `http` URL, or has a query. For
    /// plain `http`, see [`jwks`](Self::jwks).
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    pub fn discover(issuer: &Issuer, fetch: impl Fetch) -> Result<Self, ConfigError> {
        url(issuer.as_str())?;
        let places = metadata::metadata_uris(issuer.as_str()).ok_or_else(|| {
            let reason = "expected a URL without query, from which the URL of its metadata follows";
            unusable(issuer.as_str(), reason.into())
        })?;
        let name = issuer.to_string();
        let discovery = Discovery::new(issuer.clone(), places.into(), Wanted::KEY_SET);
        Ok(Self::of(Origin::Metadata { name, discovery }, fetch))
    }

    /// Finds the key set of this issuer through the metadata at this URL. Use it for issuers whose
    /// metadata is not at the standard URLs.
    ///
    /// The metadata must name exactly this issuer, which is the one in the `iss` claim of the
    /// tokens.
    ///
    /// # Errors
    ///
    /// The same as [`jwks`](Self::jwks), for this URL.
    ///
    /// # Example: metadata at a URL that does not follow from the issuer
    ///
    /// ```
    /// # fn example(client: impl tower_jwt_auth::fetch::Fetch) -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_jwt_auth::Issuer;
    /// use tower_jwt_auth::keys::RemoteKeys;
    ///
    /// let issuer = Issuer::new("https://contoso.b2clogin.com/7f2a/v2.0/")?;
    /// let url = "https://contoso.b2clogin.com/contoso.example/signin/v2.0/.well-known/openid-configuration";
    /// let keys = RemoteKeys::metadata(url, &issuer, client)?;
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    pub fn metadata(
        metadata_uri: &str,
        issuer: &Issuer,
        fetch: impl Fetch,
    ) -> Result<Self, ConfigError> {
        url(metadata_uri)?;
        let name = metadata_uri.to_owned();
        let discovery = Discovery::new(
            issuer.clone(),
            vec![metadata_uri.to_owned()],
            Wanted::KEY_SET,
        );
        Ok(Self::of(Origin::Metadata { name, discovery }, fetch))
    }

    fn of(origin: Origin, fetch: impl Fetch) -> Self {
        Self {
            source: RemoteSource {
                origin,
                documents: Documents {
                    fetch: Arc::new(fetch),
                    timeout: Duration::from_secs(5),
                    max_body: 256 * 1_024,
                },
                plain_http: PlainHttp::Loopback,
                lifetimes: Lifetimes::default(),
                max_keys: 256,
                uses: Vec::new(),
                validators: None,
                reported: None,
                snapshot_store: None,
                newest: None,
                saving: None,
                keep_stale: Duration::from_secs(24 * 3_600),
                clock: Arc::new(SystemClock),
            },
            cooldown: Duration::from_secs(30),
        }
    }

    /// Sets the lifetime of the keys if the response has no `max-age` and no `Expires`. Default: 10
    /// minutes. Minimum: 1 second. Also limited by [`lifetime_within`](Self::lifetime_within).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.source.lifetimes.usual = lifetime.max(LIFETIME_MIN);
        self
    }

    /// Sets the minimum and the maximum lifetime of the keys, whatever the response says. Default: 1
    /// minute and 24 hours. Both are at least 1 second. The maximum must not be less than the minimum.
    pub fn lifetime_within(mut self, shortest: Duration, longest: Duration) -> Self {
        self.source.lifetimes.within = (shortest.max(LIFETIME_MIN), longest.max(LIFETIME_MIN));
        self
    }

    /// Sets how long the last good keys stay in use after their lifetime while they cannot be fetched
    /// again. Default: 24 hours.
    pub fn keep_stale(mut self, stale: Duration) -> Self {
        self.source.keep_stale = stale;
        self
    }

    /// Sets the time during which unknown key ids cause at most one load, after a burst of 4 loads. A
    /// load is one request, or up to three if the metadata must be fetched first. Default: 30 seconds.
    /// Minimum: 100 milliseconds.
    pub fn unknown_key_cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.max(PAUSE_MIN);
        self
    }

    /// Sets the timeout of each request to the issuer. A load is one request for the key set, after up
    /// to two requests for the metadata. Default: 5 seconds. Minimum: 100 milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.source.documents.timeout = timeout.max(PAUSE_MIN);
        self
    }

    /// Sets the maximum size of a response body in bytes. Default: 256 KiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.source.documents.max_body = bytes;
        self
    }

    /// Sets the maximum number of keys of a set. The first usable keys are used, and the others are
    /// [skipped](crate::KeySet::skipped). Default: 256. Minimum: 1.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.source.max_keys = keys.max(1);
        self
    }

    /// Also accepts keys whose `use` has this value, compared exactly. Each call adds a value. Default:
    /// `sig`, and keys without `use`.
    ///
    /// SPIFFE trust bundles need `jwt-svid`. A key for encryption (`enc`) is never accepted.
    pub fn accept_use(mut self, public_key_use: impl Into<String>) -> Self {
        self.source.uses.push(public_key_use.into());
        self
    }

    /// Also fetches over plain `http` from hosts that are not loopback addresses, such as
    /// `http://keycloak:8080` in a compose file or a mesh. If the metadata comes over `https`, the
    /// URL of the key set must still be `https`.
    ///
    /// # Security
    ///
    /// Whoever can answer in place of the issuer, or change its responses, can sign tokens that this
    /// service accepts. Use this only in a network where nobody can do that, or that encrypts and
    /// authenticates connections itself.
    pub fn insecure_plain_http(mut self) -> Self {
        self.source.plain_http = PlainHttp::Anywhere;
        self
    }

    /// Saves each good key set in this store. If the issuer cannot be reached at the next start, the
    /// saved keys are used until the time of [`keep_stale`](Self::keep_stale) has passed since they were
    /// saved. Default: key sets are not saved.
    ///
    /// ```no_run
    /// # async fn example(keys: tower_jwt_auth::keys::RemoteKeys) -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::keys::KeySnapshotFile;
    ///
    /// let keys = keys.snapshot_store(KeySnapshotFile::new("/var/lib/calendar/keys.json")).connect().await?;
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    pub fn snapshot_store(mut self, store: impl KeySnapshotStore) -> Self {
        self.source.snapshot_store = Some(Arc::new(store));
        self
    }

    /// Sets the clock for the status and for the age of saved keys. Default: the clock of the
    /// operating system. The times of the fetches follow the clock of the tokio runtime.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.source.clock = Arc::new(clock);
        self
    }

    /// Returns a store at once, and fetches the keys in the background. The first requests wait up to 5
    /// seconds for the first fetch, or for [saved keys](Self::snapshot_store). If the fetch fails and
    /// there are no saved keys, tokens are answered with 503 until a later fetch succeeds.
    ///
    /// The keys are fetched in the runtime that calls this. When that runtime ends, nothing is fetched
    /// any more, and [`KeyStore::status`] reports this.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside a tokio runtime, in a runtime without timers, and for plain
    /// `http` that is not [allowed](Self::insecure_plain_http).
    ///
    /// [`ConfigError::Settings`] if settings contradict each other:
    ///
    /// - [`lifetime_within`](Self::lifetime_within) has a maximum that is less than the minimum.
    /// - [`snapshot_store`](Self::snapshot_store) is set, and [`keep_stale`](Self::keep_stale) is zero.
    pub fn connect_lazy(self) -> Result<KeyStore, ConfigError> {
        self.check()?;
        let start = match self.source.key_snapshot() {
            Some(snapshot) => Start::ReadingSnapshot(Box::pin(snapshot.load())),
            None => Start::Empty,
        };
        self.start(start)
    }

    /// Fetches the keys, and returns a store with them. If the fetch fails, the store starts with
    /// the [saved keys](Self::snapshot_store).
    ///
    /// Without `.await` there is no store yet, and the compiler reports ``the trait bound `KeyStore:
    /// From<impl Future<..>>` is not satisfied`` where the store is expected. Write
    /// `.connect().await?`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the fetch fails and there are no saved keys; also in the cases
    /// of [`connect_lazy`](Self::connect_lazy).
    pub async fn connect(mut self) -> Result<KeyStore, ConfigError> {
        self.check()?;
        runtime_for(&self.source)?;
        let began = Instant::now();
        let schedule = self.schedule();
        let loaded = self.source.load().await.and_then(|loaded| {
            schedule.end_of_new(&self.source, began, &loaded)?;
            Ok(loaded)
        });
        let error = match loaded {
            Ok(loaded) => {
                self.source.save();
                if let Some(saving) = &mut self.source.saving {
                    let _ = timeout(self.source.documents.timeout, saving).await;
                }
                return self.start(Start::Loaded(loaded, began));
            }
            Err(error) => error,
        };
        let saved = match self.source.key_snapshot() {
            Some(snapshot) => snapshot.load().await,
            None => None,
        };
        match saved {
            Some((set, rest)) => self.start(Start::Snapshot(set, rest)),
            None => Err(error.into_config_error(&self.source)),
        }
    }

    /// Checks what the setters cannot check.
    fn check(&self) -> Result<(), ConfigError> {
        self.source.check_places()?;
        let (shortest, longest) = self.source.lifetimes.within;
        let contradiction = if longest < shortest {
            format!(
                "`lifetime_within` has a minimum of {shortest:?}, which is more than its maximum of {longest:?}"
            )
        } else if self.source.snapshot_store.is_some() && self.source.keep_stale.is_zero() {
            "`snapshot_store` saves keys, and with a `keep_stale` of 0 s they are never used"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(ConfigError::Settings {
            reason: format!("keys of {}: {contradiction}", self.source),
        })
    }

    fn start(self, start: Start) -> Result<KeyStore, ConfigError> {
        let clock = Arc::clone(&self.source.clock);
        let schedule = self.schedule();
        Refresher::start(self.source, schedule, start, clock)
    }

    fn schedule(&self) -> Schedule {
        let requests = self.source.requests();
        Schedule {
            // Each request has its own timeout, whose error names the URL. This one also covers the
            // time between the requests.
            timeout: self
                .source
                .documents
                .timeout
                .saturating_mul(requests)
                .saturating_add(Duration::from_secs(1)),
            refresh_at: 0.8,
            backoff: (Duration::from_secs(1), Duration::from_secs(60)),
            keep_stale: self.source.keep_stale,
            cooldown: self.cooldown,
            overlap: Duration::ZERO,
        }
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("source", &self.source.to_string())
            .field("schedule", &self.schedule())
            .finish_non_exhaustive()
    }
}

/// Checks that documents can be fetched from this URL. Whether plain http is allowed is checked later,
/// because a setter can allow it.
fn url(uri: &str) -> Result<(), ConfigError> {
    let checked = PlainHttp::Anywhere.check(uri);
    checked.map_err(|expected| unusable(uri, format!("expected {expected}")))
}

// Without these minimums a setting of zero would send requests in a loop.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
