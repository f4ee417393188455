//! Two instances of a service share a denylist on Redis. A logout on one ends the session on both.
//! The example starts a local `redis-server`, or uses the server in the variable `REDIS_URL`.
//!
//! ```sh
//! cargo run --example sign_out_everywhere --features redis,test-util
//! ```
//!
//! It prints its tokens and these lines. `ALICE` and `PHONE` belong to two sessions.
//!
//! ```text
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/one/me
//! # 200 alice on instance one
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/two/me
//! # 200 alice on instance two
//! curl -i -X POST -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/one/log-out
//! # 200 signed out
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/one/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $ALICE" http://127.0.0.1:3000/two/me
//! # 401 Bearer realm="api", error="invalid_token"
//! curl -i -H "Authorization: Bearer $PHONE" http://127.0.0.1:3000/two/me
//! # 200 alice on instance two
//! curl -i http://127.0.0.1:3000/two/ready
//! # 200 ready
//! ```

mod support;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Router, extract::State};
use tokio::process::{Child, Command};
use tower_jwt_auth::revocation::RedisDenylist;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, JwtAuth};

/// Ends the session of this token. Without a stored mark there is no logout.
async fn log_out(list: State<RedisDenylist>, token: Claims) -> Result<&'static str, StatusCode> {
    let session = token.session_id().ok_or(StatusCode::BAD_REQUEST)?;
    let end = token.expires_at().ok_or(StatusCode::BAD_REQUEST)?;
    let stored = list.revoke_session(token.issuer(), session, end).await;
    stored.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok("signed out\n")
}

/// For a readiness probe: 503 while the copy of the marks is too old.
async fn ready(list: State<RedisDenylist>) -> Result<&'static str, StatusCode> {
    let answer = list.is_ready().then_some("ready\n");
    answer.ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

/// One instance of the service, with its own connection, cache and copy of the marks.
async fn instance(
    name: &'static str,
    auth: JwtAuth,
    client: redis::Client,
) -> Result<Router, support::Failure> {
    let namespace = format!("example-{}", std::process::id());
    let denylist = RedisDenylist::new(client, &namespace)?.connect().await?;
    let me =
        async move |user: Claims| format!("{} on instance {name}\n", user.subject().unwrap_or("-"));
    Ok(Router::new()
        .route("/me", get(me))
        .route("/log-out", post(log_out))
        .layer(auth.revocation(denylist.clone()))
        .route("/ready", get(ready))
        .with_state(denylist))
}

/// A Redis client, and the server process that was started for it on this socket.
async fn redis(socket: &Path) -> Result<(redis::Client, Option<Child>), support::Failure> {
    if let Ok(url) = std::env::var("REDIS_URL") {
        return Ok((redis::Client::open(url)?, None));
    }
    let mut server = Command::new("redis-server");
    server
        .args(["--port", "0", "--save", "", "--unixsocket"])
        .arg(socket);
    let server = server.stdout(Stdio::null()).kill_on_drop(true).spawn();
    let mut server = server.map_err(|error| {
        format!("no `redis-server` can be started: {error}. Install one, or set REDIS_URL")
    })?;
    let client = redis::Client::open(format!("redis+unix://{}", socket.display()))?;
    while client.get_multiplexed_async_connection().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if let Some(status) = server.try_wait()? {
            return Err(format!("redis-server has ended: {status}").into());
        }
    }
    Ok((client, Some(server)))
}

#[tokio::main]
async fn main() -> Result<(), support::Failure> {
    support::log(); // why a token is rejected
    let (listener, stopped) = support::listen().await?;
    let socket = std::env::temp_dir().join(format!("example-{}.sock", std::process::id()));
    let (client, _server) = redis(&socket).await?;
    let issuer = TestIssuer::new();
    let one = instance("one", issuer.auth(), client.clone()).await?;
    let two = instance("two", issuer.auth(), client).await?;
    let app = Router::new().nest("/one", one).nest("/two", two);
    let token = |session| issuer.token().subject("alice").claim("sid", session);
    let tokens = [
        ("ALICE", token("laptop").mint()),
        ("PHONE", token("phone").mint()),
    ];
    support::print_requests(include_str!("sign_out_everywhere.rs"), &listener, &tokens)?;
    let serving = axum::serve(listener, app).with_graceful_shutdown(stopped);
    serving.await?;
    let _ = std::fs::remove_file(socket); // nothing is left behind
    Ok(())
}
