//! How documents are fetched from an issuer: a small trait, so that the way to the network, with
//! its proxies and certificates, is the user's own.

#[cfg(feature = "reqwest")]
pub(crate) mod client;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::{Request, Response};

/// Fetches a document with GET: key sets, and the metadata that name them.
///
/// One implementation serves every fetch of a store, discovery and refresh alike. It must not
/// follow redirects: a redirect would let whoever answers choose where keys come from, and which
/// other servers are sent a request. Time, status and content of an answer are judged by the
/// caller; `limit` is for the implementation to keep to while it reads, so that an endless body
/// does not fill the memory. The request asks for a body without a content coding; an answer whose
/// `Content-Encoding` is still there is rejected.
///
/// Implemented for `reqwest::Client` by the feature `reqwest`, and for closures:
///
/// ```
/// use http::{Request, Response};
/// use tower_jwt_auth::fetch::FetchError;
///
/// let offline = |request: Request<()>, _limit: usize| async move {
///     match request.uri().path() {
///         "/jwks" => Ok(Response::new(br#"{"keys":[]}"#.to_vec())),
///         _ => Err(FetchError::new("no such document")),
///     }
/// };
/// # fn check(_: impl tower_jwt_auth::fetch::Fetch) {}
/// # check(offline);
/// ```
pub trait Fetch: Send + Sync + 'static {
    /// Sends the request and reads at most `limit` bytes of the body; a longer one is an error.
    fn fetch(&self, request: Request<()>, limit: usize) -> FetchFuture;
}

/// The answer to a [`Fetch::fetch`], still to come.
pub type FetchFuture = Pin<Box<dyn Future<Output = Result<Response<Vec<u8>>, FetchError>> + Send>>;

impl<F, A> Fetch for F
where
    F: Fn(Request<()>, usize) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Response<Vec<u8>>, FetchError>> + Send + 'static,
{
    fn fetch(&self, request: Request<()>, limit: usize) -> FetchFuture {
        Box::pin(self(request, limit))
    }
}

/// Why a document could not be fetched, before there was an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchError(String);

impl FetchError {
    /// An error for this reason, for the operator.
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
