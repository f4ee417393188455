//! The last line ends without a semicolon.

tower_jwt_auth::scopes! {
    pub Read = "calendar:read";
    pub Write = "calendar:write"
}

fn main() {}
