//! Two scopes in one text, with a name.

tower_jwt_auth::scopes! {
    pub Edit = "calendar:read calendar:write";
}

fn main() {}
