//! Logout tokens and security events that an issuer sends.

#![cfg(all(feature = "logout", feature = "test-util"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers fail as tests do"
)]

#[cfg(feature = "tracing")]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses a part of it"
)]
#[path = "../support/log.rs"]
mod log;
#[cfg(feature = "remote")]
#[path = "../support/network.rs"]
mod network;

mod back_channel;
mod security_events;

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};
use tower_jwt_auth::response::FullBody;
use tower_jwt_auth::revocation::{
    Denylist, RevocationMark, RevocationTarget, RevocationWriter, RevokeError, RevokeFuture,
};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Audience, JwtAuth, RejectionKind, TrustedIssuer, Verifier};

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://as.example";
const CLIENT: &str = "calendar-web";

/// An issuer, and an API with a denylist.
struct World {
    clock: FixedClock,
    issuer: TestIssuer,
    list: Denylist,
    verifier: Verifier,
}

impl World {
    fn new() -> Self {
        let clock = FixedClock::at(NOW);
        let issuer = TestIssuer::new().named(ISSUER).with_clock(clock.clone());
        let list = Denylist::with_capacity(100).with_clock(clock.clone());
        let auth: JwtAuth = issuer.auth().revocation(list.clone());
        Self {
            verifier: auth.verifier(),
            clock,
            issuer,
            list,
        }
    }

    /// The issuer as trusted for tokens to this client.
    fn client(&self) -> TrustedIssuer {
        let client = Audience::new(CLIENT).unwrap();
        TrustedIssuer::new(self.issuer.issuer(), client, self.issuer.keys())
    }

    /// An access token of this subject, with a session if there is one.
    fn access(&self, subject: &str, session: Option<&str>) -> String {
        let token = self.issuer.token().subject(subject);
        match session {
            Some(session) => token.claim("sid", session).mint(),
            None => token.mint(),
        }
    }

    #[track_caller]
    fn accepts(&self, token: &str) {
        self.verifier.verify_now(token).expect("an active token");
    }

    #[track_caller]
    fn rejects(&self, token: &str) {
        let rejection = self.verifier.verify_now(token).expect_err("accepted");
        assert_eq!(rejection.kind(), RejectionKind::Revoked);
    }
}

/// A writer that can fail or wait.
#[derive(Clone)]
struct Shaky {
    list: Denylist,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    is_slow: Arc<AtomicBool>,
    written: Arc<Mutex<Vec<RevocationMark>>>,
}

impl Shaky {
    fn over(list: &Denylist) -> Self {
        Self {
            list: list.clone(),
            fails: Arc::default(),
            hangs: Arc::default(),
            is_slow: Arc::default(),
            written: Arc::default(),
        }
    }

    fn fails(&self, fails: bool) {
        self.fails.store(fails, Ordering::SeqCst);
    }

    fn hangs(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }
}

impl RevocationWriter for Shaky {
    fn write(&self, mark: RevocationMark) -> RevokeFuture {
        if self.hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        if self.fails.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(RevokeError::Full)));
        }
        self.written.lock().unwrap().push(mark.clone());
        if self.is_slow.load(Ordering::SeqCst) {
            let list = self.list.clone();
            return Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                list.write(mark).await
            });
        }
        self.list.write(mark)
    }

    fn lift(&self, target: RevocationTarget) -> RevokeFuture {
        RevocationWriter::lift(&self.list, target)
    }
}

/// The answer to the issuer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// Sends a request, and asserts that the answer has `no-store`.
async fn send<S, B>(service: &S, request: Request<B>) -> Answer
where
    S: Service<Request<B>, Response = http::Response<FullBody>, Error = Infallible> + Clone,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let answer = Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    assert_eq!(answer.header(CACHE_CONTROL), Some("no-store"), "{answer:?}");
    answer
}

fn post(content_type: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/notices")
        .header(CONTENT_TYPE, content_type)
        .body(Full::new(body.into()))
        .unwrap()
}

/// A body with these chunks, and a pause before each.
fn slowly(
    chunks: Vec<&'static str>,
    pause: Duration,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static {
    let chunks = chunks
        .into_iter()
        .map(|chunk| Bytes::from_static(chunk.as_bytes()));
    Slow {
        chunks: chunks.collect::<Vec<_>>().into_iter(),
        pause,
        sleep: Box::pin(tokio::time::sleep(pause)),
    }
}

struct Slow {
    chunks: std::vec::IntoIter<Bytes>,
    pause: Duration,
    sleep: std::pin::Pin<Box<tokio::time::Sleep>>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.sleep.as_mut().poll(context));
        let pause = self.pause;
        self.sleep = Box::pin(tokio::time::sleep(pause));
        let chunk = self.chunks.next().map(http_body::Frame::data);
        std::task::Poll::Ready(chunk.map(Ok))
    }
}
