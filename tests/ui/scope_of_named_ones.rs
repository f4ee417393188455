//! Named scopes in the macro for literals.

use tower_jwt_auth::{RequireScope, scope};

mod calendar {
    tower_jwt_auth::scopes! {
        pub Read = "calendar:read";
        pub Write = "calendar:write";
    }
}

async fn list(_: RequireScope<scope!(calendar::Read & calendar::Write)>) {}

fn main() {}
