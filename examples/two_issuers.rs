//! Your own login (HS256, a shared secret) beside an external provider (ES256, a key set), each with its own
//! audience and keys. Neither can issue tokens for the other.
//!
//! ```sh
//! cargo run --example two_issuers --features test-util
//! ```
//!
//! It prints its tokens and these lines. Challenges also have an `error_description`.
//!
//! ```text
//! curl -i -H "Authorization: Bearer $OWN" http://127.0.0.1:3000/me
//! # 200 alice of https://api.example.com
//! curl -i -H "Authorization: Bearer $EXTERNAL" http://127.0.0.1:3000/me
//! # 200 alice of https://login.provider.example
//! curl -i -H "Authorization: Bearer $EXTERNAL_AS_OWN" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $OWN_AS_EXTERNAL" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $OWN_FOR_THE_OTHER_AUDIENCE" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $STRANGER" http://127.0.0.1:3000/me
//! # 401 Bearer realm="api", error="invalid_token"
//! ```

mod support;

use std::error::Error;
use std::time::Duration;

use axum::http::StatusCode;
use axum::{Router, routing::get};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, Audience, Claims, Issuer, JwtAuth, Key, KeyStore, TrustedIssuer};

const OWN: &str = "https://api.example.com";
const EXTERNAL: &str = "https://login.provider.example";

/// A subject is unique only within its issuer. Store data under both names.
async fn me(user: Claims) -> Result<String, StatusCode> {
    let id = user.subject_id().ok_or(StatusCode::FORBIDDEN)?;
    Ok(format!("{} of {}\n", id.subject(), id.issuer()))
}

/// The API has a secret, and the text of the provider's key set.
fn app(secret: &[u8], jwks: &str) -> Result<Router, Box<dyn Error>> {
    let secret = Key::from_secret(Algorithm::HS256, secret)?.with_key_id("key-1");
    let auth = JwtAuth::new(Issuer::new(OWN)?, Audience::new("own-app")?, secret).trust(
        TrustedIssuer::new(
            Issuer::new(EXTERNAL)?,
            Audience::new("https://api.example.com/calendar")?,
            KeyStore::from_jwks(jwks.as_bytes())?,
        ),
    );
    Ok(Router::new().route("/me", get(me)).layer(auth))
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    // In production, the login and the API both read it from a secret store.
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret)?;

    // Both keys have the id `key-1`.
    let own = TestIssuer::with_secret(Algorithm::HS256, &secret)
        .named(OWN)
        .for_audience("own-app");
    let external = TestIssuer::new()
        .named(EXTERNAL)
        .for_audience("https://api.example.com/calendar");
    let stranger = TestIssuer::new().named("https://stranger.example");

    let hour = Duration::from_secs(3600);
    let alice = |issuer: &TestIssuer| issuer.token().subject("alice").expires_in(hour);
    let other_audience = "https://api.example.com/calendar";
    let tokens = [
        ("OWN", alice(&own).mint()),
        ("EXTERNAL", alice(&external).mint()),
        (
            "EXTERNAL_AS_OWN",
            alice(&external).issuer(OWN).audience("own-app").mint(),
        ),
        (
            "OWN_AS_EXTERNAL",
            alice(&own).issuer(EXTERNAL).audience(other_audience).mint(),
        ),
        (
            "OWN_FOR_THE_OTHER_AUDIENCE",
            alice(&own).audience(other_audience).mint(),
        ),
        ("STRANGER", alice(&stranger).audience("own-app").mint()),
    ];

    let app = app(&secret, &external.jwks())?;
    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("two_issuers.rs"), &listener, &tokens)?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
