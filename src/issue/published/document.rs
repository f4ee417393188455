//! A document that everybody may read and cache.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::URL_SAFE_NO_PAD;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_LENGTH,
    CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::response::FullBody;

/// A document and how it is sent.
pub(super) struct Document {
    pub(super) text: String,
    pub(super) media_type: &'static str,
    pub(super) max_age: Duration,
}

impl Document {
    /// The answer to a request: 200 or 304 to GET and HEAD, 204 to OPTIONS, and otherwise 405.
    pub(super) fn respond<B>(self, request: &Request<B>) -> Response<FullBody> {
        let mut response = Response::new(FullBody::default());
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let methods = HeaderValue::from_static("GET, HEAD, OPTIONS");
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => {
                headers.insert(ALLOW, methods.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
                let header = HeaderValue::from_static("if-none-match");
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, header);
                headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
                *response.status_mut() = StatusCode::NO_CONTENT;
                return response;
            }
            _ => {
                headers.insert(ALLOW, methods);
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                return response;
            }
        }
        let digest = digest(&SHA256, self.text.as_bytes());
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode_to_string(digest.as_ref()));
        let max_age = format!("public, max-age={}", self.max_age.as_secs());
        let is_known = is_known(request.headers(), &tag);
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag"),
        );
        for (name, value) in [(ETAG, tag), (CACHE_CONTROL, max_age)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(self.text.len()));
        if request.method() == Method::GET {
            *response.body_mut() = FullBody::new(self.text);
        }
        response
    }
}

/// Whether the caller has this version (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let fields = headers.get_all(IF_NONE_MATCH).iter();
    let mut tags = fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','));
    tags.any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

/// Implements [`tower_service::Service`] for a type with `fn document(&self) -> Document`.
macro_rules! publishes {
    ($service:ident) => {
        impl<B> tower_service::Service<http::Request<B>> for $service {
            type Response = http::Response<crate::response::FullBody>;
            type Error = std::convert::Infallible;
            type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

            fn poll_ready(
                &mut self,
                _: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Result<(), Self::Error>> {
                std::task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<B>) -> Self::Future {
                std::future::ready(Ok(self.document().respond(&request)))
            }
        }
    };
}

pub(super) use publishes;
