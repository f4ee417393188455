//! A key in PEM, without the feature that reads it.

use tower_jwt_auth::keys::KeyFormat;
use tower_jwt_auth::{Algorithm, ConfigError, Key, KeyStore};

fn store(pem: &[u8]) -> Result<KeyStore, ConfigError> {
    KeyStore::from_pem(Algorithm::RS256, pem)
}

fn key(pem: &[u8]) -> Result<Key, ConfigError> {
    Key::from_pem(Algorithm::RS256, pem)
}

fn of_der(der: &[u8]) -> Result<Key, ConfigError> {
    Key::from_der(Algorithm::RS256, der)
}

fn format() -> KeyFormat {
    KeyFormat::pem(Algorithm::RS256)
}

fn main() {}
