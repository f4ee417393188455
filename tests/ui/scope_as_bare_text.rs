//! A text in the place of a requirement, which is a type.

use tower_jwt_auth::RequireScope;

async fn list(_: RequireScope<"calendar:read">) {}

fn main() {}
