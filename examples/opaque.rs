//! An API that accepts JWTs and opaque tokens. An opaque token is introspected at its issuer (RFC 7662), and the
//! answer is cached for 30 seconds. A sign-out takes effect at once. To use your own issuer, add
//! `-- ISSUER AUDIENCE CLIENT_ID` to the command, set `CLIENT_SECRET` here, and set `JWT` and `OPAQUE` in the
//! other terminal. Otherwise the example starts an issuer on the loopback interface.
//!
//! ```sh
//! cargo run --example opaque --features introspection,reqwest,test-util
//! ```
//!
//! ```text
//! curl -i -H "Authorization: Bearer $JWT" http://127.0.0.1:3000/me
//! # 200 alice, questions to the issuer: 0
//! curl -i -H "Authorization: Bearer $OPAQUE" http://127.0.0.1:3000/me
//! # 200 alice, questions to the issuer: 1
//! curl -i -H "Authorization: Bearer $OPAQUE" http://127.0.0.1:3000/me
//! # 200 alice, questions to the issuer: 1
//! curl -i -H "Authorization: Bearer of-nobody" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -X POST -H "Authorization: Bearer $OPAQUE" http://127.0.0.1:3000/sign-out
//! # 200 signed out
//! curl -i -H "Authorization: Bearer $OPAQUE" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! ```

mod support;

use std::collections::HashMap;
use std::error::Error;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Form, Json, Router, extract::State};
use serde_json::json;
use tokio::net::TcpListener;
use tower_jwt_auth::introspection::{ClientAuth, Introspection};
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, Claims, Issuer, JwtAuth, KeyStore};

/// A handler sees the claims, but not how the token was verified.
async fn me(State((introspection, _)): State<Parts>, user: Claims) -> String {
    let (subject, asked) = (user.subject().unwrap_or("-"), introspection.status().asked);
    format!("{subject}, questions to the issuer: {asked}\n")
}

async fn sign_out(State((_, denylist)): State<Parts>, user: Claims) -> Done {
    let revoked = denylist.revoke(&user);
    revoked.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("signed out\n")
}

type Done = Result<&'static str, StatusCode>;
type Parts = (Introspection, Denylist);

/// A local issuer: its URL, and a token of each kind.
async fn stand_in(audience: &str) -> Result<(String, Vec<(&'static str, String)>), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let issuer = TestIssuer::new().named(&url).for_audience(audience);
    let jwt = issuer.token().subject("alice").mint();

    let metadata = Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "introspection_endpoint": format!("{url}/introspect"),
    }));
    let active = json!({"active": true, "sub": "alice", "aud": audience, "exp": 4_102_444_800_i64});
    let answer = async move |headers: HeaderMap, Form(form): Form<HashMap<String, String>>| {
        // The endpoint answers only this client: `files-api` with `its-secret`.
        let credentials = headers.get("authorization");
        if credentials.is_none_or(|it| it != "Basic ZmlsZXMtYXBpOml0cy1zZWNyZXQ=") {
            return Err(StatusCode::UNAUTHORIZED);
        }
        let known = form.get("token").filter(|token| *token == OPAQUE);
        Ok(Json(known.map_or(json!({"active": false}), |_| active)))
    };
    let server = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/jwks", get(issuer.jwks()))
        .route("/introspect", post(answer));
    tokio::spawn(async { axum::serve(listener, server).await });
    Ok((url, vec![("JWT", jwt), ("OPAQUE", OPAQUE.into())]))
}

const OPAQUE: &str = "oat_7d1f0b5c2a";

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let mut arguments = std::env::args().skip(1);
    let issuer = arguments.next();
    let audience = arguments.next().unwrap_or("https://files.example/".into());
    let client_id = arguments.next().unwrap_or("files-api".into());
    let secret = std::env::var("CLIENT_SECRET").unwrap_or("its-secret".into());
    let (url, tokens) = match issuer {
        Some(url) => (url, Vec::new()),
        None => stand_in(&audience).await?,
    };

    let issuer = Issuer::new(&url)?;
    let credentials = ClientAuth::secret_basic(&client_id, secret)?;
    let introspection = Introspection::discover(&issuer, credentials)?;
    let keys = KeyStore::discover(&issuer)?.connect().await?;
    let denylist = Denylist::default();
    let auth = JwtAuth::new(issuer, Audience::new(&audience)?, keys)
        .introspection(introspection.clone())
        .revocation(denylist.clone());
    let app = Router::new()
        .route("/me", get(me))
        .route("/sign-out", post(sign_out))
        .layer(auth)
        .with_state((introspection, denylist));

    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("opaque.rs"), &listener, &tokens)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
