//! The responder is a closure that does not take the head of the response.

use axum::body::Body;
use axum::{Router, routing::get};
use tower_jwt_auth::{JwtAuth, Rejection};

fn app(auth: JwtAuth) -> Router {
    let auth = auth.respond_with(|rejection: &Rejection| Body::from(rejection.client_text()));
    Router::new().route("/", get(async || "hello")).layer(auth)
}

fn main() {}
