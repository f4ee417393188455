//! A text that no scope can be.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("calendar\"read")>) {}

fn main() {}
