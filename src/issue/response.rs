//! The responses of a token endpoint (RFC 6749, sections 5.1 and 5.2), and of other handlers that issue tokens.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::issue::logins::{LoginError, LoginTokens, RefreshError};
use crate::issue::token::IssueError;

/// # The response to a client that is not a browser
///
/// For a page in a browser, use [`LoginCookies`](crate::issue::LoginCookies) instead, which hides the
/// tokens from scripts.
impl LoginTokens {
    /// Returns the response with both tokens as JSON. No cache may store it ([RFC 6749, section 5.1]). With
    /// axum, a handler can return the tokens themselves.
    ///
    /// [RFC 6749, section 5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    #[must_use]
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let access = self.access_token();
        let body = Granted {
            access_token: access.as_str(),
            token_type: access.token_type(),
            expires_in: access.lifetime().as_secs(),
            refresh_token: self.refresh_token(),
            scope: access.scope(),
        };
        match serde_json::to_string(&body) {
            Ok(body) => json(StatusCode::OK, body),
            Err(_) => respond(StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        }
    }
}

impl RefreshError {
    /// Returns the error response ([RFC 6749, section 5.2]). It contains the code and no reason, so it is the
    /// same for all invalid tokens. During an outage it is a 503 with `Retry-After` and an empty body.
    ///
    /// It neither sets nor clears cookies, because another tab may have refreshed in the meantime.
    ///
    /// [RFC 6749, section 5.2]: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
    #[must_use]
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        match self.oauth_error() {
            Some(code) => json(self.status(), format!("{{\"error\":\"{code}\"}}")),
            None => respond(self.status(), String::new()),
        }
    }
}

impl LoginError {
    /// The status of a response to this error: 503 during an outage, 403 if the login is denied or has ended,
    /// 404 if there can be no such session, or 500.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Denied { .. } | Self::Ended => StatusCode::FORBIDDEN,
            Self::SessionId => StatusCode::NOT_FOUND,
            Self::Issue(error) => error.status(),
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unbound => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns a response with the [status](Self::status) and an empty body. The reason is for the
    /// operator. In an outage the response has `Retry-After`.
    #[must_use]
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        respond(self.status(), String::new())
    }
}

impl IssueError {
    /// Returns a response with the [status](Self::status) and an empty body. The reason is for the
    /// operator. In an outage the response has `Retry-After`. With axum, a handler can return the error
    /// itself.
    #[must_use]
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        respond(self.status(), String::new())
    }
}

#[derive(Serialize)]
struct Granted<'t> {
    access_token: &'t str,
    token_type: &'t str,
    expires_in: u64,
    refresh_token: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'t str>,
}

fn json<B: From<String>>(status: StatusCode, body: String) -> Response<B> {
    let mut response = respond(status, body);
    let media_type = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

fn respond<B: From<String>>(status: StatusCode, body: String) -> Response<B> {
    let mut response = Response::new(B::from(body));
    *response.status_mut() = status;
    no_store(response.headers_mut());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        let seconds = HeaderValue::from_static("5");
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

/// No cache may keep a response with a token (RFC 6749, section 5.1).
pub(crate) fn no_store(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

#[cfg(feature = "axum")]
mod axum {
    use axum_core::body::Body;
    use axum_core::response::{IntoResponse, Response};

    use super::{IssueError, LoginError, LoginTokens, RefreshError};

    impl IntoResponse for LoginTokens {
        fn into_response(self) -> Response {
            Self::into_response::<Body>(self)
        }
    }

    impl IntoResponse for RefreshError {
        fn into_response(self) -> Response {
            Self::into_response::<Body>(self)
        }
    }

    impl IntoResponse for IssueError {
        fn into_response(self) -> Response {
            Self::into_response::<Body>(self)
        }
    }

    impl IntoResponse for LoginError {
        fn into_response(self) -> Response {
            Self::into_response::<Body>(self)
        }
    }
}
