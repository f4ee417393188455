//! Own claims in the place of the requirement.

use tower_jwt_auth::RequireScope;

#[derive(serde::Deserialize)]
struct User {
    locale: String,
}

async fn list(user: RequireScope<User>) -> String {
    user.locale.clone()
}

fn main() {}
