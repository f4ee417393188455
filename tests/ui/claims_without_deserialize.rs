//! Own claims without `Deserialize`, in a handler that axum was asked to look at.

use tower_jwt_auth::Claims;

struct User;

#[axum::debug_handler]
async fn me(_: Claims<User>) {}

fn main() {}
