//! [`Discovery`]: the metadata of an issuer.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use crate::error::config::ConfigError;
use crate::error::shown_url::ShownUrl;
use crate::issue::published::document::{Document, publishes};
use crate::issuer::Issuer;

/// Tower service that publishes the metadata of an issuer ([RFC 8414], OpenID Connect Discovery 1.0). Other
/// services use the metadata to find the key set of the issuer: with [`KeyStore::discover`](crate::KeyStore)
/// of this crate, or with libraries of other languages.
///
/// The document names the issuer and the URL of its key set. It names no authorization endpoint, response
/// types or grants, because this module has none. The responses are like those of [`Jwks`](super::Jwks), with
/// `application/json` and a `max-age` of one hour.
///
/// # Example: both well-known paths
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Router;
/// use tower_jwt_auth::issue::{Discovery, SigningKeys};
/// use tower_jwt_auth::{ConfigError, Issuer};
///
/// fn app(keys: &SigningKeys) -> Result<Router, ConfigError> {
///     let issuer = Issuer::new("https://login.example.com")?;
///     let discovery = Discovery::new(&issuer, "https://login.example.com/jwks.json")?;
///     Ok(Router::new()
///         .route_service("/jwks.json", keys.jwks())
///         .route_service("/.well-known/oauth-authorization-server", discovery.clone())
///         .route_service("/.well-known/openid-configuration", discovery))
/// }
/// # assert!(app(&SigningKeys::generate(tower_jwt_auth::Algorithm::ES256)?).is_ok());
/// # }
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
///
/// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
#[derive(Clone, Debug)]
pub struct Discovery(Arc<str>);

impl Discovery {
    /// Creates the document of this issuer. Its key set is at the URL `jwks_uri`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the issuer is not an absolute `https` URL without a query, because no
    /// service could find its metadata, or if the URL of the key set is not `https`. Neither URL may contain
    /// a user or a password, because anyone can read the document. `http` is allowed for `localhost` and
    /// loopback addresses.
    pub fn new(issuer: &Issuer, jwks_uri: &str) -> Result<Self, ConfigError> {
        let issuer = issuer.as_str();
        if !is_secure(issuer) || issuer.contains('?') {
            return Err(ConfigError::KeySource {
                input: ShownUrl(issuer).to_string(),
                reason: "expected an issuer that is an absolute `https` URL without query, user and password, \
                         so that services find its metadata"
                    .into(),
            });
        }
        if !is_secure(jwks_uri) {
            return Err(ConfigError::KeySource {
                input: ShownUrl(jwks_uri).to_string(),
                reason: "expected an absolute `https` URL without user and password".into(),
            });
        }
        let text = serde_json::json!({
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            // Required (RFC 8414, section 2), and without them two grants are implied.
            "response_types_supported": [],
            "grant_types_supported": [],
        });
        Ok(Self(text.to_string().into()))
    }

    fn document(&self) -> Document {
        Document {
            text: self.0.to_string(),
            media_type: "application/json",
            max_age: MAX_AGE,
        }
    }
}

publishes!(Discovery);

/// Whether this is an absolute URL that is fetched through TLS, or from the own machine.
fn is_secure(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    // Everybody can read it.
    let has_user = uri.authority().is_some_and(|it| it.as_str().contains('@'));
    match (uri.scheme_str(), uri.host()) {
        _ if has_user => false,
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => ["localhost", "127.0.0.1", "[::1]"].contains(&host),
        _ => false,
    }
}

const MAX_AGE: Duration = Duration::from_secs(3_600);
