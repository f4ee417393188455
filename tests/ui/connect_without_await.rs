//! Keys of an issuer that are started without `.await`.

use tower_jwt_auth::{Audience, ConfigError, Issuer, JwtAuth, KeyStore};

async fn tried(issuer: Issuer, audience: Audience) -> Result<JwtAuth, ConfigError> {
    let keys = KeyStore::discover(&issuer)?.connect()?;
    Ok(JwtAuth::new(issuer, audience, keys))
}

async fn passed_on(issuer: Issuer, audience: Audience) -> Result<JwtAuth, ConfigError> {
    let keys = KeyStore::discover(&issuer)?.connect();
    Ok(JwtAuth::new(issuer, audience, keys))
}

fn main() {}
