//! [`ProblemDetails`]: a rejection as JSON.

use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderValue, StatusCode};

use crate::error::rejection::Rejection;
use crate::response::respond::RespondTo;

/// A body of `application/problem+json` ([RFC 9457]) with `type`, `title`, `status`, `detail` (the
/// sentence for the client) and, as in the challenge, `error` and `scope`.
///
/// The `type` is `about:blank`, or [`ProblemDetails::with_base`] and the name of the kind of
/// rejection as [the client may know it](Self::with_base).
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
#[derive(Clone, Debug, Default)]
pub struct ProblemDetails {
    base: Option<&'static str>,
}

impl ProblemDetails {
    /// Problems of type `about:blank`.
    #[must_use]
    pub const fn new() -> Self {
        Self { base: None }
    }

    /// Problems whose `type` is this URI, followed by the OAuth error code (`invalid_token`,
    /// `insufficient_scope`, `invalid_request`), or `authentication_required`, `forbidden`,
    /// `not_found` or `temporarily_unavailable` where there is none.
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
        // One title for each type, and for `about:blank` that of the status.
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
