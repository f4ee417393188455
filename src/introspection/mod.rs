//! Opaque tokens, which are introspected at their issuer (RFC 7662).
//!
//! An [`Introspection`] sends requests to the introspection endpoint of one issuer. It uses the
//! same [`Fetch`] as keys, so the proxies and private certificate authorities of your HTTP client
//! apply to it.

mod breaker;
mod client_auth;
mod client_key;
mod endpoint;
mod failure;
pub(crate) mod flight;
mod form;
mod probe;
pub(crate) mod query;
mod rejected;
pub(crate) mod response;
mod seam;
mod seldom;
mod settings;
pub(crate) mod signed;
mod state;
mod status;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use self::client_auth::{ClientAuth, ClientSecret};
pub use self::client_key::ClientKey;
use self::endpoint::{Endpoint, Finder, Place};
pub(crate) use self::failure::AskFailure;
use self::settings::Settings;
use self::state::State;
pub use self::status::{IntrospectionFailure, IntrospectionStatus};
use crate::clock::Clock;
use crate::error::config::ConfigError;
use crate::error::shown_url::ShownUrl;
use crate::fetch::Fetch;
use crate::fetch::documents::Documents;
use crate::fetch::metadata::{self, Discovery, Wanted};
use crate::fetch::plain_http::PlainHttp;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
pub(crate) use crate::token::introspected::Answer;

/// The introspection endpoint of one issuer (RFC 7662).
#[derive(Clone)]
#[must_use]
pub struct Introspection {
    endpoint: Endpoint,
    settings: Settings,
    state: Arc<State>,
}

impl Introspection {
    /// Finds the endpoint through the metadata of this issuer (`introspection_endpoint`, [RFC 8414]), and
    /// uses the HTTP client of this crate.
    ///
    /// The client checks certificates against the root certificates of the system, follows no redirects,
    /// and ignores the proxies in the environment.
    ///
    /// # Errors
    ///
    /// The same as [`discover_with`](Self::discover_with); also [`ConfigError::Introspection`] if TLS
    /// cannot be set up.
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    #[cfg(feature = "reqwest")]
    pub fn discover(issuer: &Issuer, auth: ClientAuth) -> Result<Self, ConfigError> {
        Self::discover_with(issuer, auth, own_client(issuer.as_str())?)
    }

    /// Uses the endpoint at this URL, with the HTTP client of this crate, as
    /// [`discover`](Self::discover) does.
    ///
    /// # Errors
    ///
    /// The same as [`at_with`](Self::at_with); also [`ConfigError::Introspection`] if TLS cannot be
    /// set up.
    #[cfg(feature = "reqwest")]
    pub fn at(url: &str, auth: ClientAuth) -> Result<Self, ConfigError> {
        Self::at_with(url, auth, own_client(url)?)
    }

    /// Finds the endpoint through the metadata of this issuer, and uses this HTTP client.
    ///
    /// The metadata is fetched for the first token, from the two URLs that the standards derive from the
    /// issuer. It must name exactly this issuer, and is fetched again after a probe has failed. The timeout
    /// of the first URL is half of the [timeout](Self::timeout), and that of the second URL half of the
    /// rest. If the metadata came over `https`, the URL of the endpoint must be `https` too.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Introspection`] if the issuer is not a URL with `https`, or with `http` and a
    /// loopback address, or if it has a query. [`ClientAuth::insecure_plain_http`] allows other hosts.
    pub fn discover_with(
        issuer: &Issuer,
        auth: ClientAuth,
        fetch: impl Fetch,
    ) -> Result<Self, ConfigError> {
        check_url(issuer.as_str(), auth.plain_http())?;
        let places = metadata::metadata_uris(issuer.as_str()).ok_or_else(|| {
            let expected = "a URL without query, from which the URL of its metadata follows";
            unusable(issuer.as_str(), format!("expected {expected}"))
        })?;
        let wanted = Wanted {
            member: "introspection_endpoint",
            by_certificate: auth.is_by_certificate(),
        };
        let discovery = Discovery::new(issuer.clone(), places.into(), wanted).sharing_time();
        let finder = Finder::new(issuer.clone(), discovery);
        Ok(Self::of(Place::Metadata(Arc::new(finder)), auth, fetch))
    }

    /// Uses the endpoint at this URL, with this HTTP client.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Introspection`] if this is not a URL with `https`, or with `http` and a loopback
    /// address. [`ClientAuth::insecure_plain_http`] allows other hosts.
    pub fn at_with(url: &str, auth: ClientAuth, fetch: impl Fetch) -> Result<Self, ConfigError> {
        check_url(url, auth.plain_http())?;
        Ok(Self::of(Place::Fixed(url.into()), auth, fetch))
    }

    fn of(place: Place, auth: ClientAuth, fetch: impl Fetch) -> Self {
        let settings = Settings::default();
        Self {
            endpoint: Endpoint {
                place,
                documents: Documents {
                    fetch: Arc::new(fetch),
                    timeout: settings.timeout,
                    max_body: 64 * 1_024,
                },
                auth,
                keys: None,
            },
            settings,
            state: Arc::default(),
        }
    }

    /// Requests signed answers ([RFC 9701]), and verifies them with these keys of the issuer. Pass a
    /// clone of the store that verifies its JWTs.
    ///
    /// An answer that is not signed counts as a failure, and the request is answered with 503. The `aud`
    /// of a signed answer must be the client id of this service or its audience. The maximum age of a
    /// signed answer is 10 minutes.
    ///
    /// [RFC 9701]: https://www.rfc-editor.org/rfc/rfc9701
    pub fn signed(mut self, keys: impl Into<KeyStore>) -> Self {
        self.endpoint.keys = Some(keys.into());
        self
    }

    /// Asks about one token: no retry, no cache. The future owns everything, so that it can run in a
    /// task. Needs a tokio runtime.
    pub(crate) fn ask(
        &self,
        token: &str,
        issuer: &Issuer,
        audience: &Audience,
        clock: &Arc<dyn Clock>,
    ) -> AskFuture {
        let (endpoint, token, clock) = (self.endpoint.clone(), token.to_owned(), Arc::clone(clock));
        let (issuer, audience) = (issuer.clone(), audience.clone());
        Box::pin(endpoint.ask(token, issuer, audience, clock))
    }
}

/// The future of one question.
pub(crate) type AskFuture = Pin<Box<dyn Future<Output = Result<Answer, AskFailure>> + Send>>;

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "reqwest")]
fn own_client(input: &str) -> Result<impl Fetch + use<>, ConfigError> {
    crate::fetch::client::client().map_err(|error| unusable(input, error.to_string()))
}

fn check_url(url: &str, plain_http: PlainHttp) -> Result<(), ConfigError> {
    let checked = plain_http.check(url);
    checked.map_err(|expected| unusable(url, format!("expected {expected}")))
}

fn unusable(input: &str, reason: String) -> ConfigError {
    ConfigError::Introspection {
        input: ShownUrl(input).to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests;
