//! [`RequestHead`]: the part of a request that a responder sees.

use std::fmt;

use http::header::HeaderName;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request};

/// The part of a rejected request that a responder sees: method, path, request id and trace.
///
/// It does not depend on what rejected the request: the layer, an extractor or the application. It
/// contains neither the token nor the query.
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

    /// The path that the layer sees. An outer router may have removed a prefix.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }

    /// The id of the request: the first `x-request-id` header. The client may have chosen it, unless an
    /// outer layer replaces it.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_ref()
    }

    /// The parent span of a distributed trace: the `traceparent` header
    /// ([Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header)).
    #[must_use]
    pub fn trace_parent(&self) -> Option<&HeaderValue> {
        self.trace_parent.as_ref()
    }
}

/// Does not print the query, which may contain a token.
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
