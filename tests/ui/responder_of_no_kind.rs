//! The responder is a text.

use axum::{Router, routing::get};
use tower_jwt_auth::JwtAuth;

fn app(auth: JwtAuth) -> Router {
    Router::new().route("/", get(async || "hello")).layer(auth.respond_with("go away"))
}

fn main() {}
