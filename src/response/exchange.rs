//! The properties of a request that decide the form of its response.

use http::header::CONTENT_TYPE;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request};

use crate::response::request_head::RequestHead;

/// The properties of a request that decide the form of its response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The content type of the response, if the request is gRPC.
    grpc: Option<Box<HeaderValue>>,
    is_head: bool,
    /// Present only if the responder reads it.
    request: Option<Box<RequestHead>>,
}

impl Exchange {
    /// Reads a request. `keeps_head` is `true` if the responder reads the head of the request.
    pub(crate) fn of<B>(request: &Request<B>, keeps_head: bool) -> Self {
        Self {
            request: keeps_head.then(|| Box::new(RequestHead::of(request))),
            // A gRPC call is a POST. The response to another method is for a browser or a cache, so
            // it is a plain HTTP response.
            grpc: (request.method() == Method::POST)
                .then(|| grpc_type(request.headers()).map(Box::new))
                .flatten(),
            is_head: request.method() == Method::HEAD,
        }
    }

    /// A gRPC call.
    pub(crate) fn grpc() -> Self {
        Self {
            grpc: Some(Box::new(HeaderValue::from_static("application/grpc"))),
            ..Self::default()
        }
    }

    /// The content type of the response, if the request is gRPC.
    pub(super) fn grpc_type(&self) -> Option<&HeaderValue> {
        self.grpc.as_deref()
    }

    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    pub(super) fn request(&self) -> Option<&RequestHead> {
        self.request.as_deref()
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }
}

/// The empty maps of a response. The maps of a rejected request are cleared and used again, which
/// saves their allocation.
#[derive(Default)]
pub(crate) struct Maps {
    pub(super) headers: HeaderMap,
    pub(super) extensions: Extensions,
}

impl Maps {
    pub(crate) fn of<B>(request: Request<B>) -> Self {
        let (head, _) = request.into_parts();
        let (mut headers, mut extensions) = (head.headers, head.extensions);
        headers.clear();
        extensions.clear();
        Self {
            headers,
            extensions,
        }
    }
}

/// The content type of a gRPC request: `application/grpc` and `application/grpc-web`, alone or
/// with a format after `+`, or parameters after `;`.
fn grpc_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(CONTENT_TYPE)?;
    let rest = value.to_str().ok()?.strip_prefix("application/grpc")?;
    let rest = rest
        .strip_prefix("-web-text")
        .or_else(|| rest.strip_prefix("-web"))
        .unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(['+', ';'])).then(|| value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_1_content_types_are_told_apart() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            grpc_type(&headers).is_some()
        };
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
        ] {
            assert!(of(value), "{value}");
        }
        for value in [
            "application/grpcfoo",
            "application/grpc-webby",
            "text/plain",
            "grpc",
        ] {
            assert!(!of(value), "{value}");
        }
    }
}
