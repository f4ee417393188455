//! Keys of an issuer, without the feature that has the client for it.

use tower_jwt_auth::{Audience, ConfigError, Issuer, JwtAuth, KeyStore};

async fn auth(issuer: Issuer, audience: Audience) -> Result<JwtAuth, ConfigError> {
    let keys = KeyStore::discover(&issuer)?.connect().await?;
    Ok(JwtAuth::new(issuer, audience, keys))
}

fn main() {}
