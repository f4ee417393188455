//! Shared signing keys without the call that loads them.

use tower_jwt_auth::issue::{SigningKeyFile, SigningKeys, TokenIssuer};
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer};

fn tokens(issuer: Issuer, audience: Audience) -> Result<TokenIssuer, ConfigError> {
    let keys = SigningKeys::shared(Algorithm::ES256, SigningKeyFile::new("keys"))?;
    Ok(TokenIssuer::new(issuer, audience, keys))
}

fn main() {}
