//! A requirement in the place of a value.

use tower_jwt_auth::{Claims, JwtAuth, scope};

fn guard() {
    JwtAuth::require(scope!("calendar:read"));
}

fn method(auth: JwtAuth) {
    auth.require(scope!("calendar:read"));
}

fn decide(claims: Claims) -> bool {
    claims.authorize(scope!("calendar:read" | "calendar:admin")).is_ok()
}

fn main() {}
