//! [`Fetch`] for `reqwest`: the client of the user, or the client of this crate.

use std::error::Error;
use std::fmt::Write;
use std::io::ErrorKind;

use http::{Request, Response};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use crate::fetch::{Fetch, FetchError, FetchFuture};

/// Creates a client that checks certificates against the root certificates of the system, follows no
/// redirects, and ignores the proxies in the environment.
pub(crate) fn client() -> Result<Client, FetchError> {
    Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .referer(false)
        .user_agent(concat!("tower-jwt-auth/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| FetchError::new(chain(&error)))
}

/// Uses the proxies, certificates and timeouts of the client.
///
/// If the connection is closed before a response arrives, the request is sent once more on a new
/// connection, because servers close idle connections. A request whose method is not idempotent, such as
/// POST, is not sent again.
///
/// # Security
///
/// Build the client with [`Policy::none`]. A response after a redirect is rejected. By then, a client
/// that follows redirects has already sent a request to the other address, which may be inside your
/// network.
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
                // Other methods are not sent again: the server may have processed the first request.
                Err(error) if parts.method.is_idempotent() && is_closed(&error) => ask().await,
                asked => asked,
            };
            let mut response = asked.map_err(failed)?;
            if *response.url() != url {
                return Err(FetchError::new(
                    "the client followed a redirect, expected a client that does not",
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

/// Whether the connection was closed before a response arrived.
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

/// The caller adds the URL to the error.
fn failed(error: reqwest::Error) -> FetchError {
    FetchError::new(chain(&error.without_url()))
}

/// The text of an error and of its causes, which contain more information than the error itself.
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
