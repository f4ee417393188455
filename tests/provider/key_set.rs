//! The key set as `jose` reads it: the library for Node.js that comes with the provider, with its remote key set.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tower_jwt_auth::issue::{SigningKeys, TokenIssuer};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, Issuer};

use crate::Provider;

/// Verifies one token per line at the time of the line. The key set is fetched again when half of the lead is
/// over, and never because a key is unknown.
const SCRIPT: &str = "
    import readline from 'node:readline';
    import { createRemoteJWKSet, jwtVerify } from 'jose';
    let now = 0;
    Date.now = () => now * 1000;
    const { URI: uri, MAX_AGE: age } = process.env;
    const keys = createRemoteJWKSet(new URL(uri), { cacheMaxAge: age * 1000, cooldownDuration: Infinity });
    const rules = { issuer: 'https://login.example.com', audience: 'calendar-api', typ: 'at+jwt' };
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const one = JSON.parse(line);
        now = one.now;
        const verified = jwtVerify(one.token, keys, { ...rules, currentDate: new Date(now * 1000) });
        console.log(await verified.then(({ payload }) => payload.sub, (error) => error.code ?? String(error)));
    }
";

struct Jose {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Jose {
    async fn verdict(&mut self, now: u64, token: &str) -> String {
        let line = format!("{}\n", json!({ "now": now, "token": token }));
        self.input.write_all(line.as_bytes()).await.unwrap();
        self.output.next_line().await.unwrap().unwrap()
    }
}

/// OIDC-CORE-10.1.1-3, ROT-D2: through 200 rotations, each token verifies as long as it lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jose_follows_the_key_set_through_200_rotations() {
    const BEGIN: u64 = 1_700_000_000;
    const LEAD: u64 = 3_600;
    const PERIOD: u64 = 2 * LEAD;
    let Some(provider) = Provider::of_environment("key set").await else {
        return;
    };
    let clock = FixedClock::at(BEGIN);
    let keys = SigningKeys::generate(Algorithm::ES256)
        .unwrap()
        .with_clock(clock.clone())
        .rotate_every(Duration::from_secs(PERIOD))
        .unwrap();
    let (issuer, audience) = (
        Issuer::new("https://login.example.com").unwrap(),
        Audience::new("calendar-api").unwrap(),
    );
    let tokens = TokenIssuer::new(issuer, audience, keys.clone()).clock(clock.clone());

    let fetched = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&fetched);
    let app = Router::new()
        .route_service("/jwks.json", keys.jwks())
        .layer(from_fn(move |request: Request, next: Next| {
            count.fetch_add(1, Ordering::SeqCst);
            next.run(request)
        }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut child = Command::new("node")
        .args(["--input-type=module", "-e", SCRIPT])
        .current_dir(provider.directory.join("app"))
        .env("URI", uri)
        .env("MAX_AGE", (LEAD / 2).to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut jose = Jose {
        input: child.stdin.take().unwrap(),
        output: BufReader::new(child.stdout.take().unwrap()).lines(),
        _child: child,
    };

    // A token lives for 600 s.
    const STEP: u64 = 597;
    let (mut now, mut rotations, mut signing) = (BEGIN, 0, keys.status().signing);
    let mut last: Option<String> = None;
    while rotations < 200 {
        let token = tokens.for_subject("alice", "web").issue().await.unwrap();
        let token = token.as_str().to_owned();
        for (which, token) in [("new", Some(&token)), ("last", last.as_ref())] {
            if let Some(token) = token {
                let verdict = jose.verdict(now, token).await;
                assert_eq!(
                    verdict, "alice",
                    "the {which} token after {rotations} rotations"
                );
            }
        }
        last = Some(token);
        let is_signing = keys.status().signing;
        rotations += i32::from(is_signing != signing);
        signing = is_signing;
        now += STEP;
        clock.advance(Duration::from_secs(STEP));
    }
    // Copies were used for as long as they may be.
    let fetched = fetched.load(Ordering::SeqCst);
    assert!((600..=900).contains(&fetched), "{fetched} fetches");

    // The twin: a revoked key is rejected when the copy has ended.
    let token = tokens.for_subject("alice", "web").issue().await.unwrap();
    assert_eq!(jose.verdict(now, token.as_str()).await, "alice");
    keys.revoke_key(signing.unwrap().as_str()).await.unwrap();
    now += 1_800;
    clock.advance(Duration::from_secs(1_800));
    let next = tokens.for_subject("alice", "web").issue().await.unwrap();
    assert_eq!(jose.verdict(now, next.as_str()).await, "alice");
    let verdict = jose.verdict(now - 1_300, token.as_str()).await;
    assert_eq!(verdict, "ERR_JWKS_NO_MATCHING_KEY");
}
