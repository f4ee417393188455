//! The sign `&&` in place of `&`.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a" && "b")>) {}

fn main() {}
