//! Nothing is required.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!()>) {}

fn main() {}
