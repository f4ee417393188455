//! Fetching through `reqwest`: the user's own client, or one of ours with the fewest surprises.

use std::error::Error;
use std::fmt::Write;
use std::io::ErrorKind;

use http::{Request, Response};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::fetch::{Fetch, FetchError, FetchFuture};

/// A client that checks certificates against the roots of the system, follows no redirects, and reads
/// no proxy from the environment.
pub(crate) fn client() -> Result<Client, FetchError> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("tower-jwt-auth/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| FetchError::new(chain(&error)))
}

/// The user's own client, with its proxies, certificates and timeouts.
///
/// A connection that is closed before it has brought an answer is tried again once, on a new one:
/// servers close connections that have been idle for a while. A request whose method is not
/// idempotent, such as POST, is sent once.
///
/// # Security
///
/// Build the client with [`Policy::none`]. An answer that came by way of a redirect is rejected,
/// but a client that follows redirects has sent a request to wherever it was led by then, to
/// an address inside of your network too.
impl Fetch for Client {
    fn fetch(&self, request: Request<Vec<u8>>, limit: usize) -> FetchFuture {
        let client = self.clone();
        Box::pin(async move {
            let url = Url::parse(&request.uri().to_string()).map_err(FetchError::new)?;
            let (parts, body) = request.into_parts();
            let ask = || {
                let request = client.request(parts.method.clone(), url.clone());
                let request = request.headers(parts.headers.clone());
                if body.is_empty() {
                    request.send()
                } else {
                    request.body(body.clone()).send()
                }
            };
            let asked = match ask().await {
                // The server may have acted on the first one, and must not act twice.
                Err(error) if parts.method.is_idempotent() && is_closed(&error) => ask().await,
                asked => asked,
            };
            let mut response = asked.map_err(failed)?;
            if *response.url() != url {
                return Err(FetchError::new(
                    "the client has followed a redirect, expected one that does not",
                ));
            }
            let body = read(&mut response, limit).await?;
            let mut answer = Response::new(body);
            *answer.status_mut() = response.status();
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        })
    }
}

/// Whether a connection that was there has ended instead of bringing an answer.
fn is_closed(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        let closed = error
            .downcast_ref::<hyper::Error>()
            .map(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
        if closed == Some(true) {
            return true;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
            return matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset
            );
        }
        cause = error.source();
    }
    false
}

async fn read(response: &mut reqwest::Response, limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len().saturating_add(chunk.len()) > limit {
            let reason = format!("body is longer than {limit} bytes");
            return Err(FetchError::new(reason));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The caller names the URL.
fn failed(error: reqwest::Error) -> FetchError {
    FetchError::new(chain(&error.without_url()))
}

/// An error with its causes, the first of which says the least.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string does not fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}
