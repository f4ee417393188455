//! Keys of an issuer, fetched from its key set or found through its metadata.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::ACCEPT;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use tokio::task::spawn_blocking;

use super::answer::{Lifetimes, Validators, checked};
use super::boot::{BootStore, Kept};
use super::discovery;
use super::load::{Load, LoadError, Loaded, Schedule, Start};
use super::refresh::Refresher;
use super::set::KeySet;
use super::store::KeyStore;
use crate::clock::{Clock, SystemClock};
use crate::config_error::ConfigError;
use crate::fetch::Fetch;
use crate::policy::Issuer;
use crate::telemetry;

/// Keys to be fetched from an issuer, and again whenever that is due.
///
/// Every setting has a default with a reason in [the guide](crate::guide::defaults). Start with
/// [`lazy`](Self::lazy) or [`eager`](Self::eager), inside of a tokio runtime.
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
/// # async fn example(client: impl tower_jwt_auth::remote::Fetch) -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::remote::RemoteKeys;
/// use tower_jwt_auth::{Audience, Issuer, JwtAuth};
///
/// let issuer = Issuer::new("https://login.example.com")?;
/// let keys = RemoteKeys::discover(&issuer, client)?.lazy()?;
/// let auth = JwtAuth::new(issuer, Audience::new("calendar-api")?, keys.clone());
/// println!("{}", keys.status());
/// # drop(auth);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct RemoteKeys {
    source: RemoteSource,
    schedule: Schedule,
}

impl RemoteKeys {
    /// The key set at this URL (`jwks_uri`).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the URL is not `https`, or `http` to a loopback address.
    pub fn jwks(jwks_uri: &str, fetch: impl Fetch) -> Result<Self, ConfigError> {
        discovery::usable_uri(jwks_uri).map_err(ConfigError::KeySource)?;
        Ok(Self::of(Origin::KeySet(jwks_uri.to_owned()), fetch))
    }

    /// The key set that the issuer's metadata name ([RFC 8414], OpenID Connect Discovery).
    ///
    /// Metadata are believed only if they name exactly this issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the issuer is no URL, or not `https` (`http` to a loopback
    /// address).
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    pub fn discover(issuer: &Issuer, fetch: impl Fetch) -> Result<Self, ConfigError> {
        discovery::usable_uri(issuer.as_str()).map_err(ConfigError::KeySource)?;
        let metadata = discovery::metadata_uris(issuer.as_str()).ok_or_else(|| {
            ConfigError::KeySource(format!(
                "issuer {issuer} has no metadata: expected a URL without query"
            ))
        })?;
        Ok(Self::of(
            Origin::Issuer {
                issuer: issuer.clone(),
                metadata,
            },
            fetch,
        ))
    }

    fn of(origin: Origin, fetch: impl Fetch) -> Self {
        Self {
            source: RemoteSource {
                origin,
                fetch: Arc::new(fetch),
                limits: Limits::default(),
                validators: None,
                boot: None,
                newest: None,
                clock: Arc::new(SystemClock),
            },
            schedule: Schedule {
                timeout: Duration::from_secs(5),
                refresh_at: 0.8,
                backoff: (Duration::from_secs(1), Duration::from_secs(60)),
                keep_stale: Duration::from_secs(24 * 3_600),
                cooldown: Duration::from_secs(30),
                overlap: Duration::ZERO,
            },
        }
    }

    /// How long keys are fresh where the answer has no `max-age`. Default: 10 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.source.limits.lifetimes.usual = lifetime;
        self
    }

    /// The shortest and the longest lifetime, whatever the answer says. Default: 1 minute, 24 hours.
    pub fn lifetime_within(mut self, shortest: Duration, longest: Duration) -> Self {
        self.source.limits.lifetimes.within = (shortest, longest.max(shortest));
        self
    }

    /// How long the last good keys serve beyond their lifetime while the issuer cannot be reached.
    /// Default: 24 hours.
    pub fn keep_stale(mut self, stale: Duration) -> Self {
        self.schedule.keep_stale = stale;
        self
    }

    /// The time in which unknown key ids cause at most one fetch, once a burst of 4 is used up.
    /// Default: 30 seconds.
    pub fn unknown_key_cooldown(mut self, cooldown: Duration) -> Self {
        self.schedule.cooldown = cooldown;
        self
    }

    /// How long a refresh may take, all its requests together. Default: 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.schedule.timeout = timeout;
        self
    }

    /// Octets of a document at most. Default: 256 KiB.
    pub fn max_body(mut self, octets: usize) -> Self {
        self.source.limits.body = octets;
        self
    }

    /// Keys of a set at most, the unusable ones included. Default: 64.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.source.limits.keys = keys;
        self
    }

    /// Keeps each good set, and begins with the last one where the issuer cannot be reached at the
    /// start, for as long as [`keep_stale`](Self::keep_stale) says from when it was saved. Default:
    /// nothing is kept.
    ///
    /// ```no_run
    /// # async fn example(keys: tower_jwt_auth::remote::RemoteKeys) -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::remote::BootFile;
    ///
    /// let keys = keys.boot_store(BootFile::new("/var/lib/calendar/keys.json")).eager().await?;
    /// # drop(keys);
    /// # Ok(())
    /// # }
    /// ```
    pub fn boot_store(mut self, store: impl BootStore) -> Self {
        self.source.boot = Some(Arc::new(store));
        self
    }

    /// Where the time for the status and for the age of kept keys is read from. When to fetch is
    /// decided by the runtime's own clock.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.source.clock = Arc::new(clock);
        self
    }

    /// A store that begins to fetch in the background. Until the first set has come, tokens are
    /// answered with 503, unless [kept keys](Self::boot_store) are there.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside of a tokio runtime.
    pub fn lazy(self) -> Result<KeyStore, ConfigError> {
        let start = self.kept().unwrap_or(Start::Empty);
        self.start(start)
    }

    /// A store with the issuer's keys, fetched now; with [kept keys](Self::boot_store) if that
    /// fails and they are there.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] with the URL and the reason if there are none.
    pub async fn eager(mut self) -> Result<KeyStore, ConfigError> {
        let limit = self.schedule.timeout;
        let reason = match tokio::time::timeout(limit, self.source.load()).await {
            Ok(Ok(loaded)) => {
                self.source.keep().await;
                return self.start(Start::Loaded(loaded));
            }
            Ok(Err(error)) => error.reason,
            Err(_) => format!("{}: no answer within {limit:?}", self.source),
        };
        match self.kept() {
            Some(start) => self.start(start),
            None => Err(ConfigError::KeySource(reason)),
        }
    }

    fn start(self, start: Start) -> Result<KeyStore, ConfigError> {
        let clock = Arc::clone(&self.source.clock);
        Refresher::start(self.source, self.schedule, start, clock)
    }

    /// The keys of the last run, if there are some that may still be used.
    fn kept(&self) -> Option<Start> {
        let outcome = self.source.read_kept(self.schedule.keep_stale)?;
        let text = match &outcome {
            Ok((_, age)) => format!("begins with keys that were kept {} s ago", age.as_secs()),
            Err(reason) => format!("kept keys are not used: {reason}"),
        };
        telemetry::boot_keys(&self.source, &text);
        let (set, age) = outcome.ok()?;
        Some(Start::Kept(
            set,
            self.schedule.keep_stale.saturating_sub(age),
        ))
    }
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys")
            .field("source", &self.source.to_string())
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}

struct RemoteSource {
    origin: Origin,
    fetch: Arc<dyn Fetch>,
    limits: Limits,
    /// Of the newest key set, to ask whether there is a newer one.
    validators: Option<Validators>,
    boot: Option<Arc<dyn BootStore>>,
    /// The text of the newest key set, for the boot store.
    newest: Option<String>,
    clock: Arc<dyn Clock>,
}

enum Origin {
    KeySet(String),
    Issuer {
        issuer: Issuer,
        metadata: [String; 2],
    },
}

#[derive(Clone, Debug)]
struct Limits {
    lifetimes: Lifetimes,
    body: usize,
    keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lifetimes: Lifetimes::default(),
            body: 256 * 1_024,
            keys: 64,
        }
    }
}

impl fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::KeySet(uri) => f.write_str(uri),
            Origin::Issuer { issuer, .. } => write!(f, "{issuer}"),
        }
    }
}

impl Load for RemoteSource {
    async fn load(&mut self) -> Result<Loaded, LoadError> {
        let uri = self.jwks_uri().await?;
        let validators = self
            .validators
            .take()
            .filter(|validators| validators.uri == uri);
        let headers = validators
            .as_ref()
            .map_or(&[][..], |validators| &validators.headers);
        let response = self.get(&uri, headers).await?;
        let lifetime = self.limits.lifetimes.of(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && validators.is_some() {
            self.validators = validators;
            return Ok(Loaded {
                set: None,
                lifetime,
            });
        }
        let body = checked(&uri, &response)?;
        let set = self.limits.key_set(body);
        let set = set.map_err(|error| failed(&uri, error))?;
        if self.boot.is_some() {
            self.newest = std::str::from_utf8(body).ok().map(str::to_owned);
        }
        self.validators = Validators::of(uri, response.headers());
        Ok(Loaded {
            set: Some(set),
            lifetime,
        })
    }

    async fn keep(&mut self) {
        let (Some(boot), Some(jwks)) = (&self.boot, &self.newest) else {
            return;
        };
        let boot = Arc::clone(boot);
        let kept = Kept {
            source: self.to_string(),
            saved_at: self.clock.now(),
            jwks: jwks.clone(),
        };
        let saved = spawn_blocking(move || boot.save(&kept.write())).await;
        let reason = match saved {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        telemetry::boot_keys(self, &format!("keys could not be kept: {reason}"));
    }
}

impl RemoteSource {
    /// What is kept, and how old it is; `None` if nothing is.
    fn read_kept(&self, longest: Duration) -> Option<Result<(KeySet, Duration), String>> {
        let text = match self.boot.as_ref()?.load() {
            Ok(text) => text?,
            Err(error) => return Some(Err(error.to_string())),
        };
        Some(self.judge_kept(&text, longest))
    }

    fn judge_kept(&self, text: &[u8], longest: Duration) -> Result<(KeySet, Duration), String> {
        let kept = Kept::read(text).ok_or("not in the form in which they are kept")?;
        if kept.source != self.to_string() {
            let source = crate::error::Excerpt(&kept.source);
            return Err(format!("they are of {source}"));
        }
        let age = self.clock.now().duration_since(kept.saved_at);
        let age = age.map_err(|_| "they were kept in the future")?;
        if age >= longest {
            let (age, longest) = (age.as_secs(), longest.as_secs());
            return Err(format!(
                "they are {age} s old, expected less than {longest} s"
            ));
        }
        let set = self.limits.key_set(kept.jwks.as_bytes());
        Ok((set.map_err(|error| error.to_string())?, age))
    }

    async fn jwks_uri(&self) -> Result<String, LoadError> {
        let (issuer, metadata) = match &self.origin {
            Origin::KeySet(uri) => return Ok(uri.clone()),
            Origin::Issuer { issuer, metadata } => (issuer, metadata),
        };
        let mut reasons = Vec::new();
        let mut retry_after = None;
        for uri in metadata {
            match self.metadata(uri, issuer).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    reasons.push(error.reason);
                    retry_after = error.retry_after.or(retry_after);
                }
            }
        }
        Err(LoadError {
            reason: reasons.join("; "),
            retry_after,
        })
    }

    async fn metadata(&self, uri: &str, issuer: &Issuer) -> Result<String, LoadError> {
        let response = self.get(uri, &[]).await?;
        let body = checked(uri, &response)?;
        discovery::jwks_uri(body, issuer.as_str()).map_err(|reason| failed(uri, reason))
    }

    async fn get(
        &self,
        uri: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response<Vec<u8>>, LoadError> {
        let mut request = Request::get(uri).header(ACCEPT, ACCEPTED);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(|error| failed(uri, error))?;
        let fetched = self.fetch.fetch(request, self.limits.body).await;
        let response = fetched.map_err(|error| failed(uri, error))?;
        if response.body().len() > self.limits.body {
            return Err(failed(
                uri,
                format!("body is longer than {} octets", self.limits.body),
            ));
        }
        Ok(response)
    }
}

impl Limits {
    fn key_set(&self, jwks: &[u8]) -> Result<KeySet, ConfigError> {
        let set = KeySet::from_published(jwks)?;
        let count = set.keys().count().saturating_add(set.skipped().len());
        if count > self.keys {
            let most = self.keys;
            return Err(ConfigError::KeySet(format!(
                "it has {count} keys, at most {most} are taken"
            )));
        }
        Ok(set)
    }
}

fn failed(uri: &str, reason: impl fmt::Display) -> LoadError {
    LoadError::new(format!("{uri}: {reason}"))
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";
