//! Keys of an issuer, and keys in a file, without the call that starts them.

use tower_jwt_auth::keys::KeyFile;
use tower_jwt_auth::{Audience, ConfigError, Issuer, JwtAuth, KeyStore};

fn of_issuer(issuer: Issuer, audience: Audience) -> Result<JwtAuth, ConfigError> {
    let keys = KeyStore::discover(&issuer)?;
    Ok(JwtAuth::new(issuer, audience, keys))
}

fn in_file(issuer: Issuer, audience: Audience, file: KeyFile) -> JwtAuth {
    JwtAuth::new(issuer, audience, file)
}

fn main() {}
