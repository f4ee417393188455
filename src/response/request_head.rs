//! [`RequestHead`]: what a responder sees of the request.

use std::fmt;

use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};

/// What a responder sees of the rejected request: method, path, request id and trace.
///
/// It is the same wherever the request was rejected: by the layer, by an extractor or by the
/// application. Neither token nor query is in it.
#[derive(Clone, Default)]
pub struct RequestHead {
    method: Method,
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
    trace_parent: Option<HeaderValue>,
}

impl RequestHead {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Self {
            method: request.method().clone(),
            path: request.uri().path_and_query().cloned(),
            request_id: header(X_REQUEST_ID),
            trace_parent: header(TRACEPARENT),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, as this layer sees it: a router may have removed a prefix.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }

    /// The id of the request: `x-request-id`, the first if there are several. It is what the client
    /// sent, unless a layer outside replaces it.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// The place in a distributed trace: `traceparent`
    /// ([Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header)).
    #[must_use]
    pub fn trace_parent(&self) -> Option<&HeaderValue> {
        self.trace_parent.as_ref()
    }
}

/// Prints no query, which may contain a token.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("request_id", &self.request_id)
            .field("trace_parent", &self.trace_parent)
            .finish()
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
