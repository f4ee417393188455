//! A text that is not a scope.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("calendar\"read")>) {}

fn main() {}
