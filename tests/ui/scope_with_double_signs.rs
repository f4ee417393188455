//! The signs of another language.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a" && "b")>) {}

fn main() {}
