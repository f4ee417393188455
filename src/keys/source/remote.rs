//! Keys of an issuer, fetched from its key set or found through its metadata.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::fetch::Fetch;
use crate::issuer::Issuer;
use crate::keys::source::discovery;
use crate::keys::source::discovery::{Discovery, PlainHttp};
use crate::keys::source::documents::Documents;
use crate::keys::source::freshness::Lifetimes;
use crate::keys::source::load::{Load, Schedule, Start};
use crate::keys::source::refresh::{Refresher, runtime_for};
use crate::keys::source::remote_source::{Origin, RemoteSource, unusable};
use crate::keys::source::snapshot::KeySnapshotStore;
use crate::keys::store::KeyStore;

/// Keys to be fetched from an issuer, and again whenever that is due.
///
/// Every setting has a default with a reason in [the guide](crate::guide::defaults). Start with
/// [`connect_lazy`](Self::connect_lazy) or [`connect`](Self::connect), inside of a tokio runtime.
///
/// What the application decides outlasts every fetch: a key that it
/// [removed](KeyStore::remove) or [retired](KeyStore::retire) stays dead though the issuer still
/// publishes it, and a key that it [added](KeyStore::rotate) stays beside those of the issuer.
///
/// A key that a fetched set no longer has is dead at once. A fetch that fails changes nothing: the
/// last good keys are kept, and after [`keep_stale`](Self::keep_stale) tokens are answered with
/// 503, which is nobody's bad token.
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
    /// The key set at this URL (`jwks_uri`).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if this is no URL of `https` or `http`. Plain `http` to anything
    /// but a loopback address is an error of the start, unless
    /// [`insecure_plain_http`](Self::insecure_plain_http) allows it.
    pub fn jwks(jwks_uri: &str, fetch: impl Fetch) -> Result<Self, ConfigError> {
        url(jwks_uri)?;
        Ok(Self::of(Origin::KeySet(jwks_uri.to_owned()), fetch))
    }

    /// The key set that the issuer's metadata name ([RFC 8414], OpenID Connect Discovery).
    ///
    /// The metadata are fetched from the two places that the standards derive from the issuer, in
    /// that order; the place that has answered is asked first from then on. They are believed only
    /// if they name exactly this issuer, and only if they name a key set by `https` where they came
    /// by `https` themselves.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the issuer is no URL of `https` or `http`. For plain `http`
    /// see [`jwks`](Self::jwks).
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    pub fn discover(issuer: &Issuer, fetch: impl Fetch) -> Result<Self, ConfigError> {
        url(issuer.as_str())?;
        let places = discovery::metadata_uris(issuer.as_str()).ok_or_else(|| {
            let reason = "expected a URL without query, from which the URL of its metadata follows";
            unusable(issuer.as_str(), reason.into())
        })?;
        let name = issuer.to_string();
        let discovery = Discovery::new(issuer.clone(), places.into());
        Ok(Self::of(Origin::Metadata { name, discovery }, fetch))
    }

    /// The key set that the metadata at this URL name, for an issuer whose metadata are not at the
    /// place that its name leads to.
    ///
    /// The metadata must name exactly this issuer, the one that tokens carry in `iss`.
    ///
    /// # Errors
    ///
    /// As [`jwks`](Self::jwks), for the URL.
    ///
    /// # Example: metadata in one place, an issuer of another name
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
        let discovery = Discovery::new(issuer.clone(), vec![metadata_uri.to_owned()]);
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

    /// How long keys are fresh where the answer has no `max-age`. Default: 10 minutes; at least 1
    /// second, and within [`lifetime_within`](Self::lifetime_within).
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.source.lifetimes.usual = lifetime.max(LIFETIME_MIN);
        self
    }

    /// The shortest and the longest lifetime, whatever the answer says. Default: 1 minute, 24
    /// hours; at least 1 second.
    pub fn lifetime_within(mut self, shortest: Duration, longest: Duration) -> Self {
        let shortest = shortest.max(LIFETIME_MIN);
        self.source.lifetimes.within = (shortest, longest.max(shortest));
        self
    }

    /// How long the last good keys serve beyond their lifetime while the issuer cannot be reached.
    /// Default: 24 hours. Zero: not at all.
    pub fn keep_stale(mut self, stale: Duration) -> Self {
        self.source.keep_stale = stale;
        self
    }

    /// The time in which unknown key ids cause at most one load, once a burst of 4 is used up. A
    /// load is up to three requests where metadata have to be found first. Default: 30 seconds; at
    /// least 100 milliseconds.
    pub fn unknown_key_cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown.max(PAUSE_MIN);
        self
    }

    /// How long each request to the issuer may take. A load is one request for the key set, and
    /// up to two before it for the metadata. Default: 5 seconds; at least 100 milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.source.documents.timeout = timeout.max(PAUSE_MIN);
        self
    }

    /// The maximum size of a document, in bytes. Default: 256 KiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.source.documents.max_body = bytes;
        self
    }

    /// The maximum number of keys that are taken of a set: the first ones that are usable. The
    /// others are [skipped](crate::KeySet::skipped). Default: 256; at least 1.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.source.max_keys = keys.max(1);
        self
    }

    /// Also accepts keys whose `use` has this value, compared exactly; each call adds one. Default:
    /// only `sig`, and keys without `use`.
    ///
    /// For key sets of SPIFFE: `jwt-svid`. A key for encryption (`enc`) is never accepted.
    pub fn accept_use(mut self, public_key_use: impl Into<String>) -> Self {
        self.source.uses.push(public_key_use.into());
        self
    }

    /// Also fetches by plain `http` from hosts that are not loopback addresses, for an issuer in
    /// the same compose file or mesh: `http://keycloak:8080`. Metadata that come by `https` still
    /// name a key set by `https`.
    ///
    /// # Security
    ///
    /// Whoever can answer in place of the issuer, or change what it answers on the way, can sign
    /// tokens that this service accepts. What must replace the check: a network on which nobody
    /// can, or one that encrypts and authenticates by itself.
    pub fn insecure_plain_http(mut self) -> Self {
        self.source.plain_http = PlainHttp::Anywhere;
        self
    }

    /// Keeps each good set, and begins with the last one where the issuer cannot be reached at the
    /// start, for as long as [`keep_stale`](Self::keep_stale) says from when it was saved. Default:
    /// nothing is kept.
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

    /// Where the time for the status and for the age of kept keys is read from. When to fetch is
    /// decided by the runtime's own clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.source.clock = Arc::new(clock);
        self
    }

    /// A store that begins to fetch in the background. The first requests wait for the first fetch,
    /// 5 seconds at most, unless [kept keys](Self::snapshot_store) are there, which are read in the
    /// background too. If it fails, tokens are answered with 503 until a later one succeeds.
    ///
    /// Fetching ends with the runtime that this is called in, and [`KeyStore::status`] says so.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside of a tokio runtime, in one without timers, and for plain
    /// `http` that is not [allowed](Self::insecure_plain_http).
    pub fn connect_lazy(self) -> Result<KeyStore, ConfigError> {
        self.source.check_places()?;
        let start = match self.source.key_snapshot() {
            Some(snapshot) => Start::ReadingSnapshot(Box::pin(snapshot.load())),
            None => Start::Empty,
        };
        self.start(start)
    }

    /// A store with the issuer's keys, fetched now; with [kept keys](Self::snapshot_store) if that
    /// fails and they are there.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] with the URL and the reason if there are none, and as for
    /// [`connect_lazy`](Self::connect_lazy).
    pub async fn connect(mut self) -> Result<KeyStore, ConfigError> {
        self.source.check_places()?;
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

    fn start(self, start: Start) -> Result<KeyStore, ConfigError> {
        let clock = Arc::clone(&self.source.clock);
        let schedule = self.schedule();
        Refresher::start(self.source, schedule, start, clock)
    }

    fn schedule(&self) -> Schedule {
        let requests = self.source.requests();
        Schedule {
            // Each request is bounded by itself and says where it was; this is for what is between.
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

/// A URL by which documents can be fetched at all; whether by plain http is said later.
fn url(uri: &str) -> Result<(), ConfigError> {
    let checked = PlainHttp::Anywhere.check(uri);
    checked.map_err(|expected| unusable(uri, format!("expected {expected}")))
}

/// Without these a zero is a storm of requests.
const LIFETIME_MIN: Duration = Duration::from_secs(1);
const PAUSE_MIN: Duration = Duration::from_millis(100);
