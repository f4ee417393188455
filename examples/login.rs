//! Your own login for browsers: a password, two cookies, a list of devices, and sign-out
//! everywhere. The users and the sessions are in SQLite. Access tokens live for 10 minutes, and
//! keys rotate automatically.
//!
//! ```sh
//! cargo run --example login --features issue
//! ```
//!
//! It prints these lines. They keep the cookies of two devices in the files `laptop.jar` and
//! `phone.jar`. A refresh within 10 seconds returns the same refresh token again.
//!
//! ```text
//! curl -i -A laptop -c laptop.jar -d name=alice -d password=guess http://127.0.0.1:3000/sign-in
//! # 403
//! curl -i -A laptop -c laptop.jar -d name=alice -d password=correct-horse http://127.0.0.1:3000/sign-in
//! # 200 signed in
//! curl -i -A phone -c phone.jar -d name=alice -d password=correct-horse http://127.0.0.1:3000/sign-in
//! # 200 signed in
//! curl -i -b laptop.jar http://127.0.0.1:3000/me
//! # 200 alice
//! curl -i -X POST -b laptop.jar -c laptop.jar http://127.0.0.1:3000/refresh
//! # 200 refreshed
//! curl -i -X POST -H "Origin: https://evil.example" -b laptop.jar http://127.0.0.1:3000/refresh
//! # 403 Bearer realm="api"
//! curl -i -b laptop.jar http://127.0.0.1:3000/sessions
//! # 200 laptop, phone
//! curl -i -X POST -b laptop.jar -c laptop.jar http://127.0.0.1:3000/sign-out-everywhere
//! # 200 signed out
//! curl -i -b phone.jar http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -X POST -b phone.jar http://127.0.0.1:3000/refresh
//! # 400
//! ```

#[path = "support/handlers.rs"]
mod handlers;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a file to copy, of which not all is called"
)]
#[path = "stores/sqlite.rs"]
mod sqlite;
pub(crate) mod support;
#[path = "support/users.rs"]
mod users;

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use handlers::{App, User, refresh, sessions, sign_in, sign_out, sign_out_everywhere};
use rusqlite::Connection;
use support::Failure;
use tower_jwt_auth::issue::{LoginCookies, Logins, RefreshKeys, SigningKeys, TokenIssuer};
use tower_jwt_auth::request::CsrfPolicy;
use tower_jwt_auth::{Algorithm, Audience, Claims, Issuer};

async fn me(user: Claims<User>) -> String {
    format!("{}\n", user.name)
}

/// The routes behind the layer need an access token. The first three do not.
pub(crate) fn routes(app: App) -> Router {
    let auth = app
        .logins
        .auth()
        .claims::<User>()
        .token_source(app.cookies.token_source());
    Router::new()
        .route("/me", get(me))
        .route("/sessions", get(sessions))
        .route("/sign-out-everywhere", post(sign_out_everywhere))
        .route_layer(auth)
        .route("/sign-in", post(sign_in))
        .route("/refresh", post(refresh))
        .route("/sign-out", post(sign_out))
        .with_state(app)
}

/// Keys, users and sessions are lost when the process ends. `guide::login` shows how to keep them.
pub(crate) async fn app(lifetime: Duration) -> Result<App, Failure> {
    let keys =
        SigningKeys::generate(Algorithm::ES256)?.rotate_every(Duration::from_secs(30 * 86_400))?;
    let issuer = Issuer::new("https://login.example.com")?;
    let tokens =
        TokenIssuer::new(issuer, Audience::new("example-api")?, keys).lifetime(lifetime)?;
    let store = sqlite::SqliteLogins::new(Connection::open_in_memory()?)?;
    let users = users::Users::new(Connection::open_in_memory()?)?;
    users.add("alice", "correct-horse").await?;
    let logins = Logins::new(tokens, RefreshKeys::generate()?, store);
    let cookies = LoginCookies::new(CsrfPolicy::same_origin());
    Ok(App {
        users,
        logins,
        cookies,
    })
}

#[tokio::main]
#[allow(
    dead_code,
    reason = "other examples have the rest of this file in them"
)]
async fn main() -> Result<(), Failure> {
    support::log();
    let app = app(Duration::from_secs(600)).await?;
    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("login.rs"), &listener, &[])?;
    axum::serve(listener, routes(app))
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
