//! The compiler message for a program that reads PEM or DER without the feature `pem`.

use crate::error::config::ConfigError;
use crate::keys::format::KeyFormat;
use crate::keys::key::Key;
use crate::keys::store::KeyStore;

/// Not implemented for any type, so that no call of the functions below compiles.
#[diagnostic::on_unimplemented(
    message = "keys in PEM or DER need the feature `pem` of `tower-jwt-auth`",
    label = "the feature `pem` is off",
    note = "turn it on: `cargo add tower-jwt-auth --features pem`"
)]
#[expect(unnameable_types, reason = "it has no implementations")]
pub trait FeaturePem {
    fn read<T>(self) -> T;
}

#[doc(hidden)]
impl KeyStore {
    pub fn from_pem<A: FeaturePem>(algorithm: A, _: &[u8]) -> Result<Self, ConfigError> {
        algorithm.read()
    }
}

#[doc(hidden)]
impl Key {
    pub fn from_pem<A: FeaturePem>(algorithm: A, _: &[u8]) -> Result<Self, ConfigError> {
        algorithm.read()
    }

    pub fn from_der<A: FeaturePem>(algorithm: A, _: &[u8]) -> Result<Self, ConfigError> {
        algorithm.read()
    }
}

#[doc(hidden)]
impl KeyFormat {
    #[must_use]
    pub fn pem<A: FeaturePem>(algorithm: A) -> Self {
        algorithm.read()
    }
}
