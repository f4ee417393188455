//! All of them, or one of them? A comma does not say.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a", "b")>) {}

fn main() {}
