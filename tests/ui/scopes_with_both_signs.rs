//! Both signs without parentheses, in a named scope.

tower_jwt_auth::scopes! {
    pub Edit = "calendar:read" & "calendar:write" | "calendar:admin";
}

fn main() {}
