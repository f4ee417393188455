//! Three services verify one token independently, without a shared store and without calls between them.
//! Each has the text of the issuer's key set, and its own audience.
//!
//! ```sh
//! cargo run --example microservices --features test-util
//! ```
//!
//! It runs once and prints:
//!
//! ```text
//! one for all three
//!   billing 200 alice is on the plan pro
//!   content 200 three articles in de
//!   profile 200 this is alice
//! one for content alone
//!   billing 401
//!   content 200 three articles in de
//!   profile 401
//! one without the scope of billing
//!   billing 403
//!   content 200 three articles in de
//!   profile 200 this is alice
//! ```

#[path = "support/client.rs"]
mod client;

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::{MethodRouter, get};
use client::Client;
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, Issuer, JwtAuth, KeyStore, RequireScope, scope};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The name of a service, which is its audience, and its address.
type Service = (&'static str, SocketAddr);

/// Each service reads only the claims that it needs.
#[derive(Deserialize)]
struct Customer {
    plan: String,
}

#[derive(Deserialize)]
struct Reader {
    language: String,
}

async fn billing(user: RequireScope<scope!("billing:read"), Customer>) -> String {
    let name = user.subject().unwrap_or("-");
    format!("{name} is on the plan {}", user.plan)
}

async fn content(user: RequireScope<scope!("content:read"), Reader>) -> String {
    format!("three articles in {}", user.language)
}

async fn profile(user: RequireScope<scope!("profile:read")>) -> String {
    format!("this is {}", user.subject().unwrap_or("-"))
}

/// Starts one service on its own port.
async fn start(name: &'static str, jwks: &str, route: MethodRouter) -> Result<Service> {
    let auth = JwtAuth::new(
        Issuer::new("https://login.example.com")?,
        Audience::new(name)?,
        KeyStore::from_jwks(jwks.as_bytes())?,
    );
    let app = Router::new().route("/", route).layer(auth);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok((name, address))
}

#[tokio::main]
async fn main() -> Result<()> {
    let issuer = TestIssuer::new().named("https://login.example.com");
    let jwks = issuer.jwks();
    let services = [
        start("billing", &jwks, get(billing)).await?,
        start("content", &jwks, get(content)).await?,
        start("profile", &jwks, get(profile)).await?,
    ];

    let token = issuer
        .token()
        .subject("alice")
        .claim("aud", json!(["billing", "content", "profile"]))
        .claim("plan", "pro")
        .claim("language", "de")
        .scope("billing:read content:read profile:read");
    let tokens = [
        ("for all three", token.clone()),
        ("for content alone", token.clone().audience("content")),
        (
            "without the scope of billing",
            token.scope("content:read profile:read"),
        ),
    ];

    let client = Client::new();
    for (what, token) in tokens {
        println!("one {what}");
        for (name, address) in services {
            let (status, body) = client.get(address, &token.mint()).await?;
            let line = format!("  {name} {} {body}", status.as_u16());
            println!("{}", line.trim_end());
        }
    }
    Ok(())
}
