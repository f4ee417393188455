//! There is no public constructor of claims.

use tower_jwt_auth::Claims;

struct User;

fn forge() -> Claims<User> {
    Claims::new(User)
}

fn main() {}
