//! A named requirement stands where a value belongs.

use tower_jwt_auth::{JwtAuth, scopes};

scopes! {
    Read = "calendar:read";
}

fn guard() {
    JwtAuth::require(Read);
}

fn main() {}
