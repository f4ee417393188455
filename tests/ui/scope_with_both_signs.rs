//! Which of the signs binds closer nobody should have to know.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("a" & "b" | "c")>) {}

fn main() {}
