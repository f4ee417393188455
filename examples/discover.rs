//! An API that finds the keys of its authorization server by URL, follows their changes, and shows
//! their status. To use your own server, add `-- ISSUER AUDIENCE` to the command. Otherwise the
//! example starts an issuer on the loopback interface, which publishes its next key on request.
//!
//! ```sh
//! cargo run --example discover --features reqwest,test-util
//! ```
//!
//! It prints its tokens, these lines, and the status of the keys after each change.
//!
//! ```text
//! curl -i http://127.0.0.1:3000/me
//! # 401 Bearer realm="api"
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/me
//! # 200 alice, one of 1 keys
//! curl -i -X POST http://127.0.0.1:3000/publish
//! # 200 the issuer has published its next key
//! curl -i -H "Authorization: Bearer $NEXT" http://127.0.0.1:3000/me
//! # 200 alice, one of 2 keys
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/me
//! # 200 alice, one of 2 keys
//! curl -i http://127.0.0.1:3000/ready
//! # 200 ready
//! ```

mod support;

use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, extract::State};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, Claims, Issuer, JwtAuth, KeyStore};

async fn me(State(keys): State<KeyStore>, user: Claims) -> String {
    let (subject, count) = (user.subject().unwrap_or("-"), keys.status().keys.len());
    format!("{subject}, one of {count} keys\n")
}

/// For a readiness probe: 503 until there are keys.
async fn ready(State(keys): State<KeyStore>) -> Result<&'static str, StatusCode> {
    keys.is_ready()
        .then_some("ready\n")
        .ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// Prints the status if anything other than its times has changed.
async fn show(keys: KeyStore) {
    let mut before = None;
    loop {
        let status = keys.status();
        let failing = status.failing.as_ref().map(|it| it.reason.clone());
        let now = Some((status.freshness, status.generation, failing));
        if before != now {
            eprintln!("{status}");
            before = now;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Starts an issuer. Returns its URL, its tokens, and the route that makes it publish its next key.
async fn stand_in() -> Result<(String, Vec<(&'static str, String)>, Router), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let issuer = TestIssuer::new().named(&url);
    let token = || issuer.token().subject("alice").mint();
    let set = || serde_json::from_str::<Value>(&issuer.jwks());
    let (publish, published) = watch::channel(set()?);
    let mut tokens = vec![("ALICE", token())];
    issuer.rotate();
    tokens.push(("NEXT", token()));
    let next = set()?;

    let metadata = Json(json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}));
    let jwks = get(async move || Json(published.borrow().clone()));
    let server = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", jwks);
    tokio::spawn(async { axum::serve(listener, server).await });
    let control = post(async move || {
        publish.send_replace(next);
        "the issuer has published its next key\n"
    });
    Ok((url, tokens, Router::new().route("/publish", control)))
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let mut arguments = std::env::args().skip(1);
    let (url, tokens, control) = match arguments.next() {
        Some(url) => (url, Vec::new(), Router::new()),
        None => stand_in().await?,
    };
    let audience = arguments.next().unwrap_or("https://api.example".into());

    let issuer = Issuer::new(&url)?;
    let keys = KeyStore::discover(&issuer)?.connect().await?;
    let auth = JwtAuth::new(issuer, Audience::new(&audience)?, &keys);
    tokio::spawn(show(keys.clone()));
    let app = Router::new()
        .route("/me", get(me))
        .layer(auth)
        .route("/ready", get(ready))
        .with_state(keys)
        .merge(control);

    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("discover.rs"), &listener, &tokens)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
