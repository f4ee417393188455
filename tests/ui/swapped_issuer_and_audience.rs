//! Issuer and audience in the wrong order.

use tower_jwt_auth::{Audience, Issuer, JwtAuth, KeyStore};

fn auth(issuer: Issuer, audience: Audience, keys: KeyStore) -> JwtAuth {
    JwtAuth::new(audience, issuer, keys)
}

fn main() {}
