//! Both signs without parentheses.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a" & "b" | "c")>) {}

fn main() {}
