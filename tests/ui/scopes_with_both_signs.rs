//! Both signs in a scope with a name.

tower_jwt_auth::scopes! {
    pub Edit = "calendar:read" & "calendar:write" | "calendar:admin";
}

fn main() {}
