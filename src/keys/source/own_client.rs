//! Constructors of [`KeyStore`] that fetch keys with the HTTP client of this crate.

use crate::error::config::ConfigError;
use crate::error::shown_url::ShownUrl;
use crate::fetch::{Fetch, client};
use crate::issuer::Issuer;
use crate::keys::source::remote::RemoteKeys;
use crate::keys::store::KeyStore;

impl KeyStore {
    /// Fetches the key set at this URL (`jwks_uri`) with the HTTP client of this crate.
    ///
    /// The client checks certificates against the root certificates of the system, follows no
    /// redirects, and ignores the proxies in the environment. For a proxy or a private certificate
    /// authority, pass your own client to [`RemoteKeys::jwks`]. Start with
    /// [`connect`](RemoteKeys::connect) or [`connect_lazy`](RemoteKeys::connect_lazy).
    ///
    /// # Errors
    ///
    /// The same as [`RemoteKeys::jwks`]; also [`ConfigError::KeySource`] if TLS cannot be set up.
    pub fn remote(jwks_uri: &str) -> Result<RemoteKeys, ConfigError> {
        RemoteKeys::jwks(jwks_uri, own_client(jwks_uri)?)
    }

    /// Finds the key set of this issuer through the metadata of the issuer, and fetches it with the
    /// HTTP client of this crate, as [`remote`](Self::remote) does.
    ///
    /// # Errors
    ///
    /// The same as [`RemoteKeys::discover`]; also [`ConfigError::KeySource`] if TLS cannot be set
    /// up.
    ///
    /// # Example
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), tower_jwt_auth::ConfigError> {
    /// use tower_jwt_auth::{Audience, Issuer, JwtAuth, KeyStore};
    ///
    /// let issuer = Issuer::new("https://login.example.com")?;
    /// let keys = KeyStore::discover(&issuer)?.connect().await?;
    /// let auth = JwtAuth::new(issuer, Audience::new("calendar-api")?, keys);
    /// # drop(auth);
    /// # Ok(())
    /// # }
    /// ```
    pub fn discover(issuer: &Issuer) -> Result<RemoteKeys, ConfigError> {
        RemoteKeys::discover(issuer, own_client(issuer.as_str())?)
    }

    /// Finds the key set of this issuer through the metadata at this URL, and fetches it with the HTTP
    /// client of this crate, as [`remote`](Self::remote) does.
    ///
    /// # Errors
    ///
    /// The same as [`RemoteKeys::metadata`]; also [`ConfigError::KeySource`] if TLS cannot be set
    /// up.
    pub fn metadata(metadata_uri: &str, issuer: &Issuer) -> Result<RemoteKeys, ConfigError> {
        RemoteKeys::metadata(metadata_uri, issuer, own_client(metadata_uri)?)
    }
}

fn own_client(source: &str) -> Result<impl Fetch + use<>, ConfigError> {
    client::client().map_err(|error| ConfigError::KeySource {
        input: ShownUrl(source).to_string(),
        reason: error.to_string(),
    })
}
