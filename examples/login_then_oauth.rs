//! An API that starts with its own login, and later trusts an authorization server. The handlers
//! stay the same. Only the layer changes: the feature `reqwest` and `-- --issuer URL AUDIENCE`
//! select the authorization server.
//!
//! ```sh
//! cargo run --example login_then_oauth --features issue
//! ```
//!
//! It prints two of its own access tokens, and these lines. Challenges also have an `error_description`.
//!
//! ```text
//! curl -i http://127.0.0.1:3000/events
//! # 401 Bearer realm="api"
//! curl -i -H "Authorization: Bearer $READER" http://127.0.0.1:3000/events
//! # 200 events of user-1: stand-up
//! curl -i -X POST -H "Authorization: Bearer $READER" http://127.0.0.1:3000/events
//! # 403 Bearer realm="api", error="insufficient_scope", scope="calendar:write"
//! curl -i -X POST -H "Authorization: Bearer $WRITER" http://127.0.0.1:3000/events
//! # 201 created
//! ```

pub(crate) mod support;

use axum::http::StatusCode;
use axum::{Router, routing::get};
use support::Failure;
#[cfg(feature = "reqwest")]
use tower_jwt_auth::KeyStore;
use tower_jwt_auth::issue::{Login, Logins, MemoryLogins, RefreshKeys, SigningKeys, TokenIssuer};
use tower_jwt_auth::{Algorithm, Audience, Issuer, JwtAuth, RequireScope, scopes};

scopes! {
    /// May see events.
    pub(crate) Read = "calendar:read";
    /// May change events.
    pub(crate) Write = "calendar:write";
}

async fn list(user: RequireScope<Read>) -> String {
    format!("events of {}: stand-up\n", user.subject().unwrap_or("-"))
}

async fn create(_: RequireScope<Write>) -> (StatusCode, &'static str) {
    (StatusCode::CREATED, "created\n")
}

/// The API, with any layer.
pub(crate) fn api(auth: JwtAuth) -> Router {
    let events = get(list).post(create);
    Router::new().route("/events", events).layer(auth)
}

/// At first: your own login. The example `login` has its handlers.
pub(crate) fn own_login() -> Result<Logins, Failure> {
    let (issuer, audience) = (
        Issuer::new("https://calendar.example.com")?,
        Audience::new("calendar")?,
    );
    let tokens = TokenIssuer::new(issuer, audience, SigningKeys::generate(Algorithm::ES256)?);
    Ok(Logins::new(
        tokens,
        RefreshKeys::generate()?,
        MemoryLogins::default(),
    ))
}

/// Later: an authorization server.
#[cfg(feature = "reqwest")]
pub(crate) async fn oauth(url: &str, audience: &str) -> Result<JwtAuth, Failure> {
    let issuer = Issuer::new(url)?;
    let keys = KeyStore::discover(&issuer)?.connect().await?;
    Ok(JwtAuth::new(issuer, Audience::new(audience)?, keys))
}

#[tokio::main]
#[allow(dead_code, reason = "a test has the rest of this file in it")]
async fn main() -> Result<(), Failure> {
    support::log(); // why a token is rejected
    let logins = own_login()?;
    let auth = match &*std::env::args().skip(1).collect::<Vec<_>>() {
        [] => logins.auth(),
        #[cfg(feature = "reqwest")]
        [option, url, audience] if option == "--issuer" => oauth(url, audience).await?,
        _ => Err("expected no argument, or with the feature `reqwest`: -- --issuer URL AUDIENCE")?,
    };
    // A sign-in handler does this.
    let reader = logins
        .begin(Login::new("user-1", "calendar-app").scopes::<Read>())
        .await?;
    let writer = logins
        .begin(Login::new("user-1", "calendar-app").scopes::<(Read, Write)>())
        .await?;
    let tokens = [("READER", reader), ("WRITER", writer)];
    let tokens = tokens.map(|(name, it)| (name, it.access_token().as_str().to_owned()));
    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("login_then_oauth.rs"), &listener, &tokens)?;
    axum::serve(listener, api(auth))
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
