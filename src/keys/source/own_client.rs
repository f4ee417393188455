//! Keys that are fetched with a client of this crate.

use crate::error::config::ConfigError;
use crate::fetch::{Fetch, client};
use crate::issuer::Issuer;
use crate::keys::source::remote::RemoteKeys;
use crate::keys::store::KeyStore;

impl KeyStore {
    /// Keys of the set at this URL (`jwks_uri`), fetched with a client of this crate.
    ///
    /// That client checks certificates against the roots of the system, follows no redirects, and
    /// reads no proxy from the environment. For a proxy or a private authority give your own to
    /// [`RemoteKeys::jwks`]. Start with [`connect_lazy`](RemoteKeys::connect_lazy) or
    /// [`connect`](RemoteKeys::connect).
    ///
    /// # Errors
    ///
    /// As [`RemoteKeys::jwks`]; also [`ConfigError::KeySource`] if there can be no TLS here.
    pub fn remote(jwks_uri: &str) -> Result<RemoteKeys, ConfigError> {
        RemoteKeys::jwks(jwks_uri, own_client(jwks_uri)?)
    }

    /// Keys of the set that the issuer's metadata name, fetched as in [`remote`](Self::remote).
    ///
    /// # Errors
    ///
    /// As [`RemoteKeys::discover`]; also [`ConfigError::KeySource`] if there can be no TLS here.
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

    /// Keys of the set that the metadata at this URL name, which must be of this issuer. Fetched as
    /// in [`remote`](Self::remote).
    ///
    /// # Errors
    ///
    /// As [`RemoteKeys::metadata`]; also [`ConfigError::KeySource`] if there can be no TLS here.
    pub fn metadata(metadata_uri: &str, issuer: &Issuer) -> Result<RemoteKeys, ConfigError> {
        RemoteKeys::metadata(metadata_uri, issuer, own_client(metadata_uri)?)
    }
}

fn own_client(source: &str) -> Result<impl Fetch + use<>, ConfigError> {
    client::client().map_err(|error| ConfigError::KeySource {
        input: source.to_owned(),
        reason: error.to_string(),
    })
}
