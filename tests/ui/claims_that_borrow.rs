//! Own claims that borrow their texts.

use axum::{Router, routing::get};
use tower_jwt_auth::Claims;

#[derive(serde::Deserialize)]
struct User<'a> {
    locale: &'a str,
}

async fn me(user: Claims<User<'_>>) -> String {
    user.locale.to_owned()
}

fn app() -> Router {
    Router::new().route("/me", get(me))
}

fn main() {}
