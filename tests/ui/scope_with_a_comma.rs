//! A comma does not say whether all scopes are needed, or one of them.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a", "b")>) {}

fn main() {}
