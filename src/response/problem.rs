//! [`ProblemDetails`]: a JSON body for rejections.

use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderValue, StatusCode};

use crate::error::rejection::Rejection;
use crate::response::respond::RespondTo;

/// Responder that creates an `application/problem+json` body ([RFC 9457]).
///
/// The members are `type`, `title`, `status` and `detail`, which is the sentence for the client. The
/// members `error` and `scope` are present if the challenge has them. `type` is `about:blank` unless
/// [`with_base`](Self::with_base) sets another value.
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
#[derive(Clone, Debug, Default)]
pub struct ProblemDetails {
    base: Option<&'static str>,
}

impl ProblemDetails {
    /// Creates a responder whose problems have the type `about:blank`.
    #[must_use]
    pub const fn new() -> Self {
        Self { base: None }
    }

    /// Creates a responder whose problems have a `type` that consists of this URI and a name. The
    /// name is the OAuth error code of the rejection, or another name if it has no such code:
    ///
    /// | name | title | status |
    /// |---|---|---|
    /// | `authentication_required` | Unauthorized | 401 |
    /// | `forbidden` | Forbidden | 403 |
    /// | `insufficient_scope` | Forbidden | 403 |
    /// | `invalid_request` | Bad Request | 400 |
    /// | `invalid_token` | Unauthorized | 401 |
    /// | `not_found` | Not Found | 404 |
    /// | `temporarily_unavailable` | Service Unavailable | 503 |
    ///
    /// For any other status, the name is `error` and the title is the phrase of the status.
    #[must_use]
    pub const fn with_base(base: &'static str) -> Self {
        Self { base: Some(base) }
    }
}

#[diagnostic::do_not_recommend]
impl<B: From<String>> RespondTo<B> for ProblemDetails {
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B {
        head.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        let code = rejection
            .oauth_error()
            .filter(|_| head.status != StatusCode::NOT_FOUND);
        let name = code.unwrap_or(match head.status.as_u16() {
            401 => "authentication_required",
            403 => "forbidden",
            404 => "not_found",
            503 => "temporarily_unavailable",
            _ => "error",
        });
        let kind = self
            .base
            .map_or_else(|| "about:blank".into(), |base| format!("{base}{name}"));
        let mut problem = serde_json::Map::new();
        problem.insert("type".into(), kind.into());
        // The title of `about:blank` is the phrase of the status (RFC 9457, section 4.2.1).
        problem.insert("title".into(), head.status.canonical_reason().into());
        problem.insert("status".into(), head.status.as_u16().into());
        if head.status != StatusCode::NOT_FOUND {
            problem.insert("detail".into(), rejection.client_text().into());
        }
        if let Some(code) = code {
            problem.insert("error".into(), code.into());
            if !rejection.required_scopes().is_empty() {
                problem.insert("scope".into(), rejection.required_scopes().join(" ").into());
            }
        }
        serde_json::Value::Object(problem).to_string().into()
    }

    fn empty(&self) -> B {
        String::new().into()
    }
}
