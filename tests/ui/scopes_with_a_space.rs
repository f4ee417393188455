//! Two scopes in one text, in a named scope.

tower_jwt_auth::scopes! {
    pub Edit = "calendar:read calendar:write";
}

fn main() {}
