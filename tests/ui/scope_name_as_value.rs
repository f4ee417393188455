//! A named requirement in the place of a value.

use tower_jwt_auth::{JwtAuth, scopes};

scopes! {
    Read = "calendar:read";
}

fn guard() {
    JwtAuth::require(Read);
}

fn main() {}
