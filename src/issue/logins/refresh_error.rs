//! [`RefreshError`] and [`LoginError`].

use std::error::Error;
use std::fmt;

use http::StatusCode;

use crate::issue::logins::store::LoginStoreError;
use crate::issue::token::IssueError;
use crate::revocation::RevokeError;

/// Why a refresh token was rejected, or could not be checked.
///
/// The reason is for the operator. The client gets the [status](Self::status) and the registered
/// [code](Self::oauth_error), which are the same for all invalid tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefreshError {
    /// The session is bound to a key or a certificate, and the request proved a different one or none.
    Binding,
    /// The checksum is wrong because a character was lost or changed. The store was not contacted.
    Checksum,
    /// The session belongs to another client.
    Client,
    /// The source of the claims denied this session, for example because the account was closed.
    Denied {
        /// Why.
        reason: String,
    },
    /// The session was ended, by a logout or because a token was used again.
    Ended,
    /// The absolute lifetime of the session has passed.
    Expired,
    /// The token was not created with the secret. The store was not contacted.
    Forged,
    /// The session was not used for longer than the idle lifetime.
    Idle,
    /// The access token could not be issued.
    Issue(IssueError),
    /// The text does not have the form of a refresh token. The store was not contacted.
    Malformed,
    /// The token was used before and its grace period has passed, so two parties have it. The
    /// session was ended.
    Reused,
    /// The request asked for a scope that the session does not have.
    Scope,
    /// The store, the source of the claims or the denylist did not answer. Nobody is logged out, and
    /// the same request can succeed later.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The session does not exist or no longer exists.
    Unknown,
}

impl RefreshError {
    /// The name of the kind, for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Checksum => "checksum",
            Self::Client => "client",
            Self::Denied { .. } => "denied",
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Forged => "forged",
            Self::Idle => "idle",
            Self::Issue(_) => "issue",
            Self::Malformed => "malformed",
            Self::Reused => "reused",
            Self::Scope => "scope",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown => "unknown",
        }
    }

    /// The code of the error response ([RFC 6749, section
    /// 5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)). `None` if the failure is on the server.
    #[must_use]
    pub const fn oauth_error(&self) -> Option<&'static str> {
        match self {
            Self::Issue(_) | Self::Unavailable { .. } => None,
            Self::Scope => Some("invalid_scope"),
            _ => Some("invalid_grant"),
        }
    }

    /// The status of the error response: 400, 503 during an outage, or 500.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Issue(error) => error.status(),
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    pub(super) fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for RefreshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binding => {
                "session is bound to another key or certificate than the request proves"
            }
            Self::Checksum => "refresh token has a wrong checksum",
            Self::Client => "session belongs to another client",
            Self::Denied { reason } => return write!(f, "session is denied: {reason}"),
            Self::Ended => "session was ended",
            Self::Expired => "absolute lifetime of the session is over",
            Self::Forged => "refresh token was not made with a known secret",
            Self::Idle => "session was not used for the idle lifetime",
            Self::Issue(error) => return write!(f, "access token was not issued: {error}"),
            Self::Malformed => "text does not have the form of a refresh token",
            Self::Reused => "refresh token was used before, so the session was ended",
            Self::Scope => "request asks for a scope that the session does not have",
            Self::Unavailable { reason } => {
                return write!(f, "session cannot be refreshed now: {reason}");
            }
            Self::Unknown => "session is not known",
        })
    }
}

impl Error for RefreshError {}

impl From<LoginStoreError> for RefreshError {
    fn from(error: LoginStoreError) -> Self {
        Self::unavailable(error)
    }
}

impl From<RevokeError> for RefreshError {
    fn from(error: RevokeError) -> Self {
        Self::unavailable(error)
    }
}

impl From<IssueError> for RefreshError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}

/// Why a login could not be started, changed or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginError {
    /// The source of the claims denied this login.
    Denied {
        /// Why.
        reason: String,
    },
    /// The session has ended, so it cannot be renewed.
    Ended,
    /// The access token could not be issued. Most of these errors are caused by the application.
    Issue(IssueError),
    /// The text is not the id of a session.
    SessionId,
    /// The login is not bound, and [`Logins::require_binding`](crate::issue::Logins::require_binding)
    /// requires it.
    Unbound,
    /// The store, the source of the claims or the denylist did not answer. Call the same method again to
    /// finish the work.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl LoginError {
    /// The name of the kind, for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "denied",
            Self::Ended => "ended",
            Self::Issue(_) => "issue",
            Self::SessionId => "session_id",
            Self::Unbound => "unbound",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether the cause is an outage, so that the same call can succeed later. In this case, answer
    /// with 503.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Issue(error) => error.is_unavailable(),
            Self::Unavailable { .. } => true,
            _ => false,
        }
    }

    pub(super) fn unavailable(reason: impl fmt::Display) -> Self {
        Self::Unavailable {
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied { reason } => return write!(f, "login is denied: {reason}"),
            Self::Ended => "session has ended",
            Self::Issue(error) => return write!(f, "access token was not issued: {error}"),
            Self::SessionId => "this is not the id of a session",
            Self::Unbound => {
                "login is not bound to a key or a certificate, and `require_binding` is set"
            }
            Self::Unavailable { reason } => return write!(f, "logins are not available: {reason}"),
        })
    }
}

impl Error for LoginError {}

impl From<LoginStoreError> for LoginError {
    fn from(error: LoginStoreError) -> Self {
        Self::unavailable(error)
    }
}

impl From<RevokeError> for LoginError {
    fn from(error: RevokeError) -> Self {
        Self::unavailable(error)
    }
}

impl From<IssueError> for LoginError {
    fn from(error: IssueError) -> Self {
        Self::Issue(error)
    }
}
