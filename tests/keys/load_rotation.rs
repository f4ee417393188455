//! Many clients on real sockets while keys change: every request gets an answer, and every answer
//! is correct.

#![cfg(feature = "axum")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, KeySet, RequireScope, scope};

use crate::support::challenges;

/// The number of keys that are added and removed.
const ROUNDS: usize = 200;
/// The number of clients that send requests all the time.
const CLIENTS: usize = 6;

/// Returns the caller. The scope makes 403 a possible answer.
async fn me(caller: RequireScope<scope!("calendar:read")>, again: Claims) -> String {
    assert_eq!(caller.subject(), again.subject());
    caller.subject().unwrap_or_default().to_owned()
}

/// A server on a loopback address, which ends with the test.
struct Running {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Running {
    async fn with(issuer: &TestIssuer) -> Self {
        let app = Router::new().route("/me", get(me)).layer(issuer.auth());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, server }
    }

    /// A client that keeps its own connection.
    fn client(&self) -> Caller {
        Caller {
            address: self.address,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }
}

struct Caller {
    address: SocketAddr,
    client: Client<HttpConnector, Empty<Bytes>>,
}

/// What a client sees: the status, the body, and the error of the challenge.
type Answer = (StatusCode, String, Option<String>);

impl Caller {
    async fn ask(&self, token: &str) -> Answer {
        let request = Request::get(format!("http://{}/me", self.address))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(Empty::new())
            .unwrap();
        let response = self.client.request(request).await;
        let response = response.expect("every request is answered");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("every answer is whole");
        let error = challenges(&head.headers)
            .first()
            .and_then(|challenge| challenge.parameter("error").map(str::to_owned));
        let body = String::from_utf8(body.to_bytes().into()).unwrap();
        (head.status, body, error)
    }
}

fn granted(subject: &str) -> Answer {
    (StatusCode::OK, subject.to_owned(), None)
}

fn rejected() -> Answer {
    let error = Some("invalid_token".to_owned());
    (StatusCode::UNAUTHORIZED, String::new(), error)
}

fn denied() -> Answer {
    let error = Some("insufficient_scope".to_owned());
    (StatusCode::FORBIDDEN, String::new(), error)
}

/// Tokens that every key set of the test accepts, and one that none accepts.
struct Tokens {
    good: String,
    narrow: String,
    forged: String,
    stranger: String,
}

impl Tokens {
    fn of(issuer: &TestIssuer) -> Self {
        let token = || issuer.token().subject("alice").scope("calendar:read");
        Self {
            good: token().mint(),
            narrow: token().scope("calendar:write").mint(),
            forged: token().tampered().mint(),
            stranger: token().signed_by_stranger().mint(),
        }
    }
}

/// A writer changes the keys while all clients send requests without a pause. A client sends a
/// token only while its key is certainly there, or certainly gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_verdict_is_wrong_and_no_request_lost_while_keys_rotate() {
    let issuer = TestIssuer::new();
    let keys = issuer.keys();
    let server = Running::with(&issuer).await;

    // The first key stays during the whole test, so the verdicts on its tokens do not change.
    let constant = issuer.key();
    let tokens = Arc::new(Tokens::of(&issuer));
    // Tokens of keys that were removed for good.
    let dead = Arc::new(RwLock::new(Vec::<String>::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let asked = Arc::new(AtomicUsize::new(0));

    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let caller = server.client();
        let (tokens, dead) = (Arc::clone(&tokens), Arc::clone(&dead));
        let (is_over, asked) = (Arc::clone(&is_over), Arc::clone(&asked));
        clients.spawn(async move {
            let mut round = number;
            while !is_over.load(Ordering::Acquire) {
                assert_eq!(caller.ask(&tokens.good).await, granted("alice"));
                let buried = {
                    let dead = dead.read().unwrap();
                    dead.get(round % dead.len().max(1)).cloned()
                };
                let (token, expected) = match (round % 4, buried) {
                    (0, Some(token)) => (token, rejected()),
                    (1, _) => (tokens.forged.clone(), rejected()),
                    (2, _) => (tokens.stranger.clone(), rejected()),
                    _ => (tokens.narrow.clone(), denied()),
                };
                assert_eq!(caller.ask(&token).await, expected, "round {round}");
                asked.fetch_add(2, Ordering::Relaxed);
                round += 1;
            }
        });
    }

    // The writer is a client too, and sees each change in the next answer.
    let writer = server.client();
    for round in 0..ROUNDS {
        let id = issuer.rotate();
        let token = issuer.token().subject("bob").scope("calendar:read").mint();
        assert_eq!(writer.ask(&token).await, granted("bob"), "a new key");
        if round % 2 == 0 {
            assert!(keys.remove(id.as_str()));
        } else {
            keys.replace(KeySet::from(constant.clone()));
        }
        assert_eq!(writer.ask(&token).await, rejected(), "a key that is gone");
        dead.write().unwrap().push(token);
    }
    is_over.store(true, Ordering::Release);
    // If a client saw a wrong verdict, the test fails here.
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }

    assert_eq!(usize::try_from(keys.generation()), Ok(2 * ROUNDS));
    assert_eq!(keys.snapshot().unwrap().keys().count(), 1);
    assert!(
        asked.load(Ordering::Relaxed) >= ROUNDS,
        "the clients asked all the while"
    );
}

/// Several writers at the same time do not lose changes of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_undo_nothing_of_each_other() {
    const WRITERS: usize = 4;
    const EACH: usize = 50;

    let issuer = TestIssuer::new();
    let keys = issuer.keys();
    let server = Running::with(&issuer).await;
    let tokens = Tokens::of(&issuer);

    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let keys = keys.clone();
        writers.spawn(async move {
            let key = TestIssuer::new().key();
            for number in 0..EACH {
                let id = format!("{writer}-{number}");
                keys.rotate(key.clone().with_key_id(&*id));
                if number + 1 < EACH {
                    assert!(keys.remove(&id), "{id} was there a moment ago");
                }
                tokio::task::yield_now().await;
            }
        });
    }
    let caller = server.client();
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
        assert_eq!(caller.ask(&tokens.good).await, granted("alice"));
        assert_eq!(caller.ask(&tokens.forged).await, rejected());
    }

    // The last key of each writer is in the set next to the first key, and every change was
    // counted.
    assert_eq!(keys.snapshot().unwrap().keys().count(), WRITERS + 1);
    let changes = WRITERS * (2 * EACH - 1);
    assert_eq!(usize::try_from(keys.generation()), Ok(changes));
}
