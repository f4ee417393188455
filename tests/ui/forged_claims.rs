//! Only the verifier can create claims.

use tower_jwt_auth::Claims;

fn forge<C>(claims: Claims<C>) -> Claims<C> {
    Claims { ..claims }
}

fn main() {}
