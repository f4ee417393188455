//! Nor is there a function to make them.

use tower_jwt_auth::Claims;

struct User;

fn forge() -> Claims<User> {
    Claims::new(User)
}

fn main() {}
