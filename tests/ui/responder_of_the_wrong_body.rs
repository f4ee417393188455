//! The responder makes a text, and the service answers in axum's bodies.

use axum::{Router, http::response::Parts, routing::get};
use tower_jwt_auth::{JwtAuth, Rejection};

fn app(auth: JwtAuth) -> Router {
    let respond = |rejection: &Rejection, _: &mut Parts| rejection.client_text().to_owned();
    Router::new().route("/", get(async || "hello")).layer(auth.respond_with(respond))
}

fn main() {}
