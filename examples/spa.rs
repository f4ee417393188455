//! A single-page application with a login: one page and one script, without a build step. It signs
//! in, calls the API, keeps calling while tokens expire, in as many tabs as you open, and signs
//! out. No script can read a token, because both are in cookies. The access tokens live for only 15
//! seconds, so that you can see refreshes.
//!
//! ```sh
//! cargo run --example spa --features issue
//! ```
//!
//! Open `http://127.0.0.1:3000` in two tabs, and sign in as `alice` with the password
//! `correct-horse`. Other sites cannot use the cookies:
//!
//! ```text
//! curl -i http://127.0.0.1:3000/me
//! # 401 Bearer realm="api"
//! curl -i -H "Origin: https://evil.example" -d name=alice -d password=correct-horse http://127.0.0.1:3000/sign-in
//! # 403 Bearer realm="api"
//! curl -i -X POST http://127.0.0.1:3000/refresh
//! # 400
//! ```

#[path = "login.rs"]
pub(crate) mod login;

use std::time::Duration;

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::routing::{MethodRouter, get};
use login::support;

/// The page, its script, and the routes of the example `login`.
pub(crate) async fn app(lifetime: Duration) -> Result<Router, support::Failure> {
    let app = login::app(lifetime).await?;
    Ok(login::routes(app)
        .route("/", file("text/html", include_str!("support/spa.html")))
        .route(
            "/spa.js",
            file("text/javascript", include_str!("support/spa.js")),
        ))
}

/// A file of the page. The browser runs no other scripts, and does not show the page in a frame.
fn file<S: Clone + Send + Sync + 'static>(
    media_type: &'static str,
    text: &'static str,
) -> MethodRouter<S> {
    let policy = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
    let headers: [(HeaderName, HeaderValue); 2] = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
    ];
    get(async move || (headers, text))
}

#[tokio::main]
#[allow(dead_code, reason = "a test has the rest of this file in it")]
async fn main() -> Result<(), support::Failure> {
    support::log();
    let app = app(Duration::from_secs(15)).await?;
    let (listener, stopped) = support::listen().await?;
    support::print_requests(include_str!("spa.rs"), &listener, &[])?;
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
