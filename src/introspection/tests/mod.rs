//! What is asked, and what an answer means: a server in this process, and helpers.

mod answers;
mod endpoint;
mod failures;
mod private_key;
mod requests;
#[cfg(feature = "test-util")]
mod signed;

use std::sync::Mutex;
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use super::*;
use crate::error::kinds::RejectionKind;
use crate::fetch::FetchError;
use crate::token::introspected::ActiveAnswer;

const TOKEN: &str = "oat_4f/9+ü secret token";
const URL: &str = "https://as.example/introspect";
const NOW: u64 = 1_700_000_000;

type Reply = Result<Response<Vec<u8>>, FetchError>;
type Replying = dyn Fn(&Request<Vec<u8>>) -> Reply + Send + Sync;

/// A server that answers each request with this function, and what it was asked.
#[derive(Clone)]
struct Server {
    asked: Arc<Mutex<Vec<Request<Vec<u8>>>>>,
    reply: Arc<Replying>,
}

impl Server {
    fn new(reply: impl Fn(&Request<Vec<u8>>) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            asked: Arc::default(),
            reply: Arc::new(reply),
        }
    }

    fn fetch(&self) -> impl Fetch + use<> {
        let server = self.clone();
        move |request: Request<Vec<u8>>, _limit: usize| {
            let reply = (server.reply)(&request);
            server.asked.lock().unwrap().push(request);
            async move { reply }
        }
    }

    fn asked(&self) -> Vec<(String, String)> {
        let asked = self.asked.lock().unwrap();
        let asked = asked.iter().map(|request| {
            let body = String::from_utf8(request.body().clone()).unwrap();
            (request.uri().to_string(), body)
        });
        asked.collect()
    }

    fn last_header(&self, name: HeaderName) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        let value = asked.last().unwrap().headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    fn last_form(&self) -> Vec<(String, String)> {
        let form = self.asked().pop().unwrap().1;
        let pairs = form.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        });
        pairs.collect()
    }
}

fn of_json(body: impl Into<String>) -> Reply {
    of_type("application/json", body)
}

fn of_type(content_type: &str, body: impl Into<String>) -> Reply {
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    Ok(response.body(body.into().into_bytes()).unwrap())
}

fn with_status(status: u16, body: &str) -> Reply {
    let mut response = of_json(body)?;
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

fn issuer() -> Issuer {
    Issuer::new("https://as.example").unwrap()
}

fn basic() -> ClientAuth {
    ClientAuth::secret_basic("files-api", "files-api-secret").unwrap()
}

async fn ask(introspection: &Introspection) -> Result<Answer, AskFailure> {
    let clock: Arc<dyn Clock> = Arc::new(|| UNIX_EPOCH + Duration::from_secs(NOW));
    let audience = Audience::new("files").unwrap();
    let answer = introspection.ask(TOKEN, &issuer(), &audience, &clock).await;
    if let Err(failure) = &answer {
        for secret in [
            "secret token",
            "secret+token",
            "files-api-secret",
            "ZmlsZXMt",
        ] {
            assert!(!failure.reason.contains(secret), "{failure:?}");
        }
        assert!(!failure.reason.contains('\n'), "{failure:?}");
    }
    answer
}

/// The answer to one question that is replied to so.
async fn answer(reply: Reply) -> Result<Answer, AskFailure> {
    let server = Server::new(move |_| reply.clone());
    ask(&Introspection::at_with(URL, basic(), server.fetch()).unwrap()).await
}

async fn active(body: &str) -> ActiveAnswer {
    match answer(of_json(body)).await.unwrap() {
        Answer::Active(active) => active,
        other => panic!("{body}: {other:?}"),
    }
}

async fn failure(reply: Reply) -> AskFailure {
    answer(reply).await.unwrap_err()
}
