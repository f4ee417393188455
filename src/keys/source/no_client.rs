//! The compiler message for a program that fetches keys without the feature `reqwest`.

use crate::error::config::ConfigError;
use crate::keys::store::KeyStore;

/// Not implemented for any type, so that no call of the functions below compiles.
#[diagnostic::on_unimplemented(
    message = "fetching keys needs the feature `reqwest` of `tower-jwt-auth`",
    label = "the feature `reqwest` is off",
    note = "turn it on: `cargo add tower-jwt-auth --features reqwest`",
    note = "or use a client of your own, with the feature `remote`: `RemoteKeys::discover(&issuer, client)?`"
)]
#[expect(unnameable_types, reason = "it has no implementations")]
pub trait FeatureReqwest {
    type Keys;

    fn into_keys(self) -> Result<Self::Keys, ConfigError>;
}

#[doc(hidden)]
impl KeyStore {
    pub fn discover<I: FeatureReqwest>(issuer: I) -> Result<I::Keys, ConfigError> {
        issuer.into_keys()
    }

    pub fn remote<U: FeatureReqwest>(jwks_uri: U) -> Result<U::Keys, ConfigError> {
        jwks_uri.into_keys()
    }

    pub fn metadata<U: FeatureReqwest, I>(metadata_uri: U, _: I) -> Result<U::Keys, ConfigError> {
        metadata_uri.into_keys()
    }
}
