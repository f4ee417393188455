//! Scopes to grant, as a text and as a value.

use tower_jwt_auth::issue::{TokenIssuer, TokenRequest};

mod calendar {
    tower_jwt_auth::scopes! {
        pub Read = "calendar:read";
    }
}

fn text(tokens: &TokenIssuer) -> TokenRequest<'_> {
    tokens.for_client("batch").scopes("calendar:read")
}

fn value(tokens: &TokenIssuer) -> TokenRequest<'_> {
    tokens.for_client("batch").scopes(calendar::Read)
}

fn main() {}
