//! Changes the shared secret of a login while the API runs: rotate, retire, remove. Another client
//! calls continuously and is not affected. The example sets the clock.
//!
//! ```sh
//! cargo run --example rotation --features test-util
//! ```
//!
//! It runs once and prints the status for three tokens, one for each secret:
//!
//! ```text
//!                                    october  november december
//! the first secret                   200      401      401
//! rotated in november                200      200      401
//! retired october, for 15 minutes    200      200      401
//! rotated in december                200      200      200
//! 14 minutes after it was retired    200      200      200
//! 15 minutes after it was retired    401      200      200
//! removed december: it leaked        401      200      401
//! the client beside: nothing but 200
//! ```

#[path = "support/client.rs"]
mod client;

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Router, routing::get};
use client::Client;
use tokio::net::TcpListener;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, Audience, Claims, Issuer, JwtAuth, Key, KeyStore};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A new secret: the key for the API, and a token of the login that signs with it.
fn secret(id: &str, clock: &FixedClock) -> Result<(Key, String)> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    let login = TestIssuer::with_secret(Algorithm::HS256, &bytes).with_clock(clock.clone());
    let token = login
        .token()
        .header("kid", id)
        .expires_in(Duration::from_secs(3600));
    let key = Key::from_secret(Algorithm::HS256, &bytes)?.with_key_id(id);
    Ok((key, token.mint()))
}

/// Calls until it is stopped. Returns how many answers were 200, and how many were not.
async fn call_on(server: SocketAddr, token: String, stop: Arc<AtomicBool>) -> Result<(u32, u32)> {
    let (client, mut good, mut bad) = (Client::new(), 0, 0);
    loop {
        match client.get(server, &token).await?.0.as_u16() {
            200 => good += 1,
            _ => bad += 1,
        }
        if stop.load(Ordering::Relaxed) {
            return Ok((good, bad));
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = FixedClock::at(1_800_000_000);
    let (october, october_token) = secret("october", &clock)?;
    let (november, november_token) = secret("november", &clock)?;
    let (december, december_token) = secret("december", &clock)?;

    let keys = KeyStore::from(october).with_clock(clock.clone());
    let auth = JwtAuth::new(
        Issuer::new("https://as.example")?,
        Audience::new("https://api.example")?,
        keys.clone(), // the other clone stays here, to change the keys through it
    );
    let app = Router::new()
        .route("/", get(async |_: Claims| "hello"))
        .layer(auth.clock(clock.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });

    let tokens = [october_token, november_token.clone(), december_token];
    let client = Client::new();
    let show = async |what: &str| -> Result<()> {
        let mut answers = Vec::new();
        for token in &tokens {
            answers.push(client.get(server, token).await?.0.as_u16().to_string());
        }
        println!("{what:34} {}", answers.join("      "));
        Ok(())
    };

    println!("{:34} october  november december", "");
    show("the first secret").await?;
    keys.rotate(november);
    let stop = Arc::new(AtomicBool::new(false));
    let beside = tokio::spawn(call_on(server, november_token, stop.clone()));
    show("rotated in november").await?;
    keys.retire("october", Duration::from_secs(15 * 60));
    show("retired october, for 15 minutes").await?;
    keys.rotate(december);
    show("rotated in december").await?;
    clock.advance(Duration::from_secs(14 * 60));
    show("14 minutes after it was retired").await?;
    clock.advance(Duration::from_secs(60));
    show("15 minutes after it was retired").await?;
    keys.remove("december");
    show("removed december: it leaked").await?;
    stop.store(true, Ordering::Relaxed);
    match beside.await?? {
        (1.., 0) => println!("the client beside: nothing but 200"),
        (good, bad) => return Err(format!("{bad} of {} calls failed", good + bad).into()),
    }
    Ok(())
}
