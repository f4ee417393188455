//! Own claims that borrow their texts, outside of a handler.

use tower_jwt_auth::{Claims, Rejection};

#[derive(serde::Deserialize)]
struct User<'a> {
    locale: &'a str,
}

fn language(claims: Claims) -> Result<String, Rejection> {
    let user = claims.deserialize::<User>()?;
    Ok(user.locale.to_owned())
}

fn main() {}
