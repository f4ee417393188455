//! [`Fetch`]: how documents are fetched from an issuer. An application can use its own HTTP client, with
//! its proxies and certificates.

#[cfg(feature = "reqwest")]
pub(crate) mod client;
pub(crate) mod documents;
pub(crate) mod freshness;
pub(crate) mod metadata;
pub(crate) mod plain_http;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

/// Sends requests to an issuer, such as requests for key sets and for the metadata that names them.
///
/// One implementation handles every request of a store, for both discovery and refresh. An
/// implementation must follow these rules:
///
/// - Send the method, the headers and the body of the request unchanged. Key sets and metadata are
///   fetched with GET and an empty body.
/// - Do not follow redirects. A redirect would let the server that answers choose where keys come
///   from, and which other servers receive a request.
/// - Read at most `limit` bytes of the body, so that an endless body does not exhaust the memory.
///
/// The caller checks the time, the status and the content of the response. The request asks for a
/// body without a content coding. A response that still has a `Content-Encoding` is rejected.
///
/// Implemented for `reqwest::Client` with the feature `reqwest`, and for closures:
///
/// ```
/// use http::{Request, Response};
/// use tower_jwt_auth::fetch::FetchError;
///
/// let offline = |request: Request<Vec<u8>>, _limit: usize| async move {
///     match request.uri().path() {
///         "/jwks" => Ok(Response::new(br#"{"keys":[]}"#.to_vec())),
///         _ => Err(FetchError::new("no such document")),
///     }
/// };
/// # fn check(_: impl tower_jwt_auth::fetch::Fetch) {}
/// # check(offline);
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request, and reads the response with a body of at most `limit` bytes. A longer body
    /// is an error.
    fn fetch(&self, request: Request<Vec<u8>>, limit: usize) -> FetchFuture;
}

/// The future that [`Fetch::fetch`] returns.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, FetchError>> + Send>>;

impl<F, A> Fetch for F
where
    F: Fn(Request<Vec<u8>>, usize) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Response<Vec<u8>>, FetchError>> + Send + 'static,
{
    fn fetch(&self, request: Request<Vec<u8>>, limit: usize) -> FetchFuture {
        Box::pin(self(request, limit))
    }
}

/// Why there is no response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError(String);

impl FetchError {
    /// Creates an error with this reason, for the operator. It need not contain the URL.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}
