//! What a handler accepts in the place of what a token has.

use tower_jwt_auth::issue::{TokenIssuer, TokenRequest};
use tower_jwt_auth::scope;

mod calendar {
    tower_jwt_auth::scopes! {
        pub Any = "calendar:read" | "calendar:admin";
    }
    tower_jwt_auth::roles! {
        pub Admin = "admin";
    }
}

fn literal(tokens: &TokenIssuer) -> TokenRequest<'_> {
    tokens.for_client("batch").scopes::<scope!("calendar:read" | "calendar:admin")>()
}

fn named(tokens: &TokenIssuer) -> TokenRequest<'_> {
    tokens.for_client("batch").scopes::<calendar::Any>()
}

fn role(tokens: &TokenIssuer) -> TokenRequest<'_> {
    tokens.for_client("batch").scopes::<calendar::Admin>()
}

fn main() {}
