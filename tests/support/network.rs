//! The network side of an issuer: its answers, their delay, and the requests that it has received.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Request, Response};
use tokio::time::sleep;
use tower_jwt_auth::fetch::{Fetch, FetchError, FetchFuture};
use tower_jwt_auth::test::TestIssuer;

/// The URL of the key set of the issuer `https://as.example`.
pub const JWKS: &str = "https://as.example/jwks";

/// The answer to a request.
pub type Answer = Result<Response<Vec<u8>>, FetchError>;

type Answering = Arc<dyn Fn(&Request<Vec<u8>>) -> Answer + Send + Sync>;

/// A client whose network is this value.
#[derive(Clone)]
pub struct Network {
    answer: Arc<Mutex<Answering>>,
    delay: Arc<Mutex<Option<Duration>>>,
    asked: Arc<Mutex<Vec<Request<Vec<u8>>>>>,
}

impl Network {
    pub fn new(answer: impl Fn(&Request<Vec<u8>>) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(Mutex::new(Arc::new(answer))),
            delay: Arc::new(Mutex::new(Some(Duration::ZERO))),
            asked: Arc::default(),
        }
    }

    /// An issuer that publishes its current keys.
    pub fn of(issuer: &TestIssuer) -> Self {
        let network = Self::new(|_| Err(FetchError::new("no answer yet")));
        network.publishes(issuer);
        network
    }

    pub fn answers(&self, answer: impl Fn(&Request<Vec<u8>>) -> Answer + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    /// The current answer to a request.
    pub fn answer_to(&self, request: &Request<Vec<u8>>) -> Answer {
        let answer = self.answer.lock().unwrap().clone();
        answer(request)
    }

    /// Publishes the current keys of this issuer.
    pub fn publishes(&self, issuer: &TestIssuer) {
        let issuer = issuer.clone();
        self.answers(move |_| Ok(json(issuer.jwks())));
    }

    /// Publishes this text.
    pub fn publishes_text(&self, text: impl Into<String>) {
        let text = text.into();
        self.answers(move |_| Ok(json(text.clone())));
    }

    /// Fails every request from now on.
    pub fn is_down(&self) {
        self.answers(|_| Err(FetchError::new("connection refused")));
    }

    /// `None` means never.
    pub fn answers_after(&self, delay: Option<Duration>) {
        *self.delay.lock().unwrap() = delay;
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The requests, in order.
    pub fn requests(&self) -> Vec<Request<Vec<u8>>> {
        self.asked.lock().unwrap().clone()
    }

    /// The URLs of the requests, in order.
    pub fn addresses(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|request| request.uri().to_string())
            .collect()
    }

    /// Whether the last request was conditional.
    pub fn was_asked_for_news(&self) -> bool {
        let asked = self.asked.lock().unwrap();
        asked
            .last()
            .is_some_and(|request| request.headers().contains_key(IF_NONE_MATCH))
    }
}

impl Fetch for Network {
    fn fetch(&self, request: Request<Vec<u8>>, _: usize) -> FetchFuture {
        let answer = self.answer_to(&request);
        let delay = *self.delay.lock().unwrap();
        self.asked.lock().unwrap().push(request);
        Box::pin(async move {
            match delay {
                Some(Duration::ZERO) => {}
                Some(delay) => sleep(delay).await,
                None => pending().await,
            }
            answer
        })
    }
}

/// A good answer with this text.
pub fn json(text: impl Into<Vec<u8>>) -> Response<Vec<u8>> {
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(text.into())
        .unwrap()
}

/// An answer without a body.
pub fn status_only(status: u16) -> Response<Vec<u8>> {
    Response::builder().status(status).body(Vec::new()).unwrap()
}

/// The answer with an `ETag`, or 304 for a request with this tag.
pub fn unless_known(
    request: &Request<Vec<u8>>,
    tag: &str,
    text: impl Into<Vec<u8>>,
) -> Response<Vec<u8>> {
    let shown = request.headers().get(IF_NONE_MATCH);
    let mut response = match shown.is_some_and(|shown| shown.as_bytes() == tag.as_bytes()) {
        true => status_only(304),
        false => json(text),
    };
    response.headers_mut().insert(ETAG, tag.parse().unwrap());
    response
}

/// Lets the tasks of a runtime run until all of them wait.
pub async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(1)).await;
}
