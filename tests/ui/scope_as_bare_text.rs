//! A text stands where the type of a requirement belongs.

use tower_jwt_auth::RequireScope;

async fn list(_: RequireScope<"calendar:read">) {}

fn main() {}
