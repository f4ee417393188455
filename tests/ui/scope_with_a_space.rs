//! Two scopes in one text.

use tower_jwt_auth::{RequireScope, scope};

async fn list(_: RequireScope<scope!("calendar:read calendar:write")>) {}

fn main() {}
