//! A token issuer without an audience.

use tower_jwt_auth::Issuer;
use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};

fn tokens(issuer: Issuer, keys: SigningKeys) -> TokenIssuer {
    TokenIssuer::new(issuer, keys)
}

fn main() {}
