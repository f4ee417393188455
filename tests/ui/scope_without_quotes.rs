//! A scope that is not a text.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!(read)>) {}

fn main() {}
