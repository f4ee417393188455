//! The audience is left out.

use tower_jwt_auth::{Issuer, JwtAuth, KeyStore};

fn auth(issuer: Issuer, keys: KeyStore) -> JwtAuth {
    JwtAuth::new(issuer, keys)
}

fn main() {}
