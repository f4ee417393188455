//! A calendar API with three scopes: one to read, one to write, and one for the operator, who
//! changes the keys while the API runs. The issuer runs in the same process. With the feature
//! `reqwest` and `-- --issuer URL AUDIENCE`, the same handlers trust a real authorization server.
//!
//! ```sh
//! cargo run --example calendar --features test-util
//! ```
//!
//! It prints its tokens and these lines. Challenges also have an `error_description`.
//!
//! ```text
//! curl -i http://127.0.0.1:3000/events
//! # 401 Bearer realm="api"
//! curl -i -H "Authorization: Bearer $EXPIRED" http://127.0.0.1:3000/events
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $READ" http://127.0.0.1:3000/events
//! # 200 events of alice: stand-up
//! curl -i -X POST -H "Authorization: Bearer $READ" http://127.0.0.1:3000/events
//! # 403 Bearer realm="api", error="insufficient_scope", scope="calendar:write"
//! curl -i -X POST -H "Authorization: Bearer $WRITE" http://127.0.0.1:3000/events
//! # 201 created
//! curl -i -H "Authorization: Bearer $NEXT" http://127.0.0.1:3000/events
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -X POST -H "Authorization: Bearer $OPERATOR" http://127.0.0.1:3000/keys
//! # 200 key-2 beside the old ones
//! curl -i -H "Authorization: Bearer $NEXT" http://127.0.0.1:3000/events
//! # 200 events of alice: stand-up
//! curl -i -X DELETE -H "Authorization: Bearer $OPERATOR" http://127.0.0.1:3000/keys/key-1
//! # 200 key-1 removed: true
//! curl -i -H "Authorization: Bearer $READ" http://127.0.0.1:3000/events
//! # 401 Bearer realm="api", error="invalid_token"
//! ```

mod support;

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Router, http::StatusCode};
#[cfg(feature = "reqwest")]
use tower_jwt_auth::{Audience, Issuer};
use tower_jwt_auth::{JwtAuth, test::TestIssuer};
use tower_jwt_auth::{Key, KeyStore, RequireScope, scope, scopes};

scopes! {
    /// May change events.
    Write = "calendar:write";
    /// May change the keys of this API.
    Rotate = "keys:rotate";
}

async fn list(user: RequireScope<scope!("calendar:read")>) -> String {
    format!("events of {}: stand-up\n", user.subject().unwrap_or("-"))
}

async fn create(_: RequireScope<Write>) -> (StatusCode, &'static str) {
    (StatusCode::CREATED, "created\n")
}

/// Adds the next key. Tokens of the old keys still verify.
async fn rotate(State((keys, next)): State<(KeyStore, Key)>) -> String {
    format!("{} beside the old ones\n", keys.rotate(next))
}

/// Removes a key. Every token that it signed is rejected from the next request on.
async fn remove(State((keys, _)): State<(KeyStore, Key)>, Path(id): Path<String>) -> String {
    format!("{id} removed: {}\n", keys.remove(&id))
}

/// A layer that trusts a real authorization server.
#[cfg(feature = "reqwest")]
async fn remote(url: &str, audience: &str) -> Result<JwtAuth, Box<dyn std::error::Error>> {
    let issuer = Issuer::new(url)?;
    let keys = KeyStore::discover(&issuer)?.connect().await?;
    Ok(JwtAuth::new(issuer, Audience::new(audience)?, keys))
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let issuer = TestIssuer::new();
    let keys = KeyStore::from(issuer.key()); // the keys of the API; `POST /keys` adds one
    let auth = match &*std::env::args().skip(1).collect::<Vec<_>>() {
        [] => JwtAuth::new(issuer.issuer(), issuer.audience(), &keys),
        #[cfg(feature = "reqwest")]
        [option, url, audience] if option == "--issuer" => remote(url, audience).await?,
        _ => Err("expected no argument, or --issuer URL AUDIENCE")?,
    };

    let token = |scope| {
        let token = issuer.token().subject("alice").scope(scope);
        token.expires_in(Duration::from_secs(3600))
    };
    let mut tokens = vec![
        ("EXPIRED", token("calendar:read").expired().mint()),
        ("READ", token("calendar:read").mint()),
        ("WRITE", token("calendar:write").mint()),
        ("OPERATOR", token("keys:rotate").mint()),
    ];
    issuer.rotate(); // now it signs with `key-2`
    tokens.push(("NEXT", token("calendar:read").mint()));
    let operators = Router::new()
        .route("/keys", post(rotate))
        .route("/keys/{id}", delete(remove))
        .route_layer(JwtAuth::require::<Rotate>());
    let app = Router::new()
        .route("/events", get(list).post(create))
        .merge(operators)
        .with_state((keys, issuer.key()))
        .layer(auth);

    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("calendar.rs"), &listener, &tokens)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
