//! Keys of an issuer, fetched from its key set or found through its metadata.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};

use super::discovery;
use super::refresh::{Load, LoadError, Loaded, Refresher, Schedule};
use super::set::KeySet;
use super::store::KeyStore;
use crate::config_error::ConfigError;
use crate::fetch::Fetch;
use crate::policy::Issuer;

/// Keys to be fetched from an issuer, and again whenever that is due.
///
/// Every setting has a default with a reason in [the guide](crate::guide::defaults). Start with
/// [`lazy`](Self::lazy) or [`eager`](Self::eager), inside of a tokio runtime.
///
/// The issuer's set decides: what the application changes in such a store, a key that it adds,
/// retires or removes, lasts until the next set is fetched. Against a leaked key that the issuer
/// still publishes, stop trusting the issuer.
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
    /// [`ConfigError::Remote`] if the URL is not `https`, or `http` to a loopback address.
    pub fn jwks(jwks_uri: &str, fetch: impl Fetch) -> Result<Self, ConfigError> {
        discovery::usable_uri(jwks_uri).map_err(ConfigError::Remote)?;
        Ok(Self::of(Origin::KeySet(jwks_uri.to_owned()), fetch))
    }

    /// The key set that the issuer's metadata name ([RFC 8414], OpenID Connect Discovery).
    ///
    /// Metadata are believed only if they name exactly this issuer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Remote`] if the issuer is no URL, or not `https` (`http` to a loopback
    /// address).
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    pub fn discover(issuer: &Issuer, fetch: impl Fetch) -> Result<Self, ConfigError> {
        discovery::usable_uri(issuer.as_str()).map_err(ConfigError::Remote)?;
        let metadata = discovery::metadata_uris(issuer.as_str()).ok_or_else(|| {
            ConfigError::Remote(format!(
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
            },
            schedule: Schedule {
                timeout: Duration::from_secs(5),
                refresh_at: 0.8,
                backoff: (Duration::from_secs(1), Duration::from_secs(60)),
                keep_stale: Duration::from_secs(24 * 3_600),
                cooldown: Duration::from_secs(30),
            },
        }
    }

    /// How long keys are fresh where the answer has no `max-age`. Default: 10 minutes.
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.source.limits.lifetime = lifetime;
        self
    }

    /// The shortest and the longest lifetime, whatever the answer says. Default: 1 minute, 24 hours.
    pub fn lifetime_within(mut self, shortest: Duration, longest: Duration) -> Self {
        self.source.limits.within = (shortest, longest.max(shortest));
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

    /// A store that begins to fetch in the background. Until the first set has come, tokens are
    /// answered with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Remote`] outside of a tokio runtime.
    pub fn lazy(self) -> Result<KeyStore, ConfigError> {
        self.start(None)
    }

    /// A store with the issuer's keys, fetched now.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Remote`] with the URL and the reason if that fails.
    pub async fn eager(mut self) -> Result<KeyStore, ConfigError> {
        let loading = tokio::time::timeout(self.schedule.timeout, self.source.load());
        let loaded = match loading.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => return Err(ConfigError::Remote(error.reason)),
            Err(_) => {
                let limit = self.schedule.timeout;
                return Err(ConfigError::Remote(format!(
                    "{}: no answer within {limit:?}",
                    self.source
                )));
            }
        };
        self.start(Some(loaded))
    }

    fn start(self, first: Option<Loaded>) -> Result<KeyStore, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| {
            ConfigError::Remote("expected to be called inside of a tokio runtime".into())
        })?;
        let lifetime = first.as_ref().map(|loaded| loaded.lifetime);
        let set = first.and_then(|loaded| loaded.set);
        let store = |refresher| KeyStore::refreshing(set, refresher);
        Ok(Refresher::start(
            self.source,
            self.schedule,
            lifetime,
            store,
            &runtime,
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
    lifetime: Duration,
    within: (Duration, Duration),
    body: usize,
    keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(600),
            within: (Duration::from_secs(60), Duration::from_secs(24 * 3_600)),
            body: 256 * 1_024,
            keys: 64,
        }
    }
}

struct Validators {
    uri: String,
    headers: Vec<(HeaderName, HeaderValue)>,
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
        let lifetime = self.limits.lifetime_of(response.headers());
        if response.status() == StatusCode::NOT_MODIFIED && validators.is_some() {
            self.validators = validators;
            return Ok(Loaded {
                set: None,
                lifetime,
            });
        }
        let body = checked(&uri, response.status(), &response)?;
        let set = KeySet::from_jwks(body).map_err(|error| failed(&uri, error))?;
        let count = set.keys().count().saturating_add(set.skipped().len());
        if count > self.limits.keys {
            return Err(failed(
                &uri,
                format!(
                    "key set has {count} keys, at most {} are taken",
                    self.limits.keys
                ),
            ));
        }
        self.validators = Validators::of(uri, response.headers());
        Ok(Loaded {
            set: Some(set),
            lifetime,
        })
    }
}

impl RemoteSource {
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
        let body = checked(uri, response.status(), &response)?;
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
    /// `max-age` less `Age` (RFC 9111, section 4.2), within the bounds.
    fn lifetime_of(&self, headers: &HeaderMap) -> Duration {
        let directives = || {
            let lines = headers.get_all(CACHE_CONTROL).iter();
            lines
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .map(str::trim)
        };
        let is_uncached = directives().any(|directive| {
            directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        });
        let max_age = directives().find_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            name.eq_ignore_ascii_case("max-age")
                .then(|| seconds(value.trim_matches('"')))?
        });
        let age = headers
            .get(AGE)
            .and_then(|age| seconds(age.to_str().ok()?))
            .unwrap_or_default();
        let (shortest, longest) = self.within;
        let lifetime = match max_age {
            _ if is_uncached => shortest,
            Some(max_age) => max_age.saturating_sub(age),
            None => self.lifetime,
        };
        lifetime.clamp(shortest, longest)
    }
}

impl Validators {
    fn of(uri: String, headers: &HeaderMap) -> Option<Self> {
        let pairs = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
        let headers: Vec<_> = pairs
            .into_iter()
            .filter_map(|(given, asked)| Some((asked, headers.get(given)?.clone())))
            .collect();
        (!headers.is_empty()).then_some(Self { uri, headers })
    }
}

/// The body of an answer that can be what was asked for.
fn checked<'r>(
    uri: &str,
    status: StatusCode,
    response: &'r Response<Vec<u8>>,
) -> Result<&'r [u8], LoadError> {
    if status != StatusCode::OK {
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| seconds(value.to_str().ok()?));
        return Err(LoadError {
            retry_after,
            ..failed(uri, format!("status {status}"))
        });
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let essence = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    let is_json = essence.is_none_or(|essence| {
        let essence = essence.to_ascii_lowercase();
        essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    });
    if !is_json {
        let shown = crate::error::Excerpt(content_type.unwrap_or_default()).to_string();
        return Err(failed(uri, format!("content is {shown}, expected JSON")));
    }
    Ok(response.body())
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

fn failed(uri: &str, reason: impl fmt::Display) -> LoadError {
    LoadError::new(format!("{uri}: {reason}"))
}

const ACCEPTED: &str = "application/jwk-set+json, application/json";
