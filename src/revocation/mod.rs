//! Tokens that must not be accepted although everything about them is right.
//!
//! A [`Revocation`] is asked about tokens. A [`RevocationWriter`] takes [marks](RevocationMark): a mark
//! says which tokens are revoked. [`Denylist`] is both, in the memory of one process.

mod denylist;
mod mark;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::claims::Claims;
pub use denylist::Denylist;
pub use mark::{RevocationMark, RevocationTarget, RevocationWriter, RevokeError, RevokeFuture};

/// Check of a verified token against what has happened since it was issued: a logout, a stolen
/// device, an account that was closed.
///
/// The verifier calls it after every other check, so a forged token never reaches it. It gets the
/// claims; the text of a token is not an identity. `jti` and `sub` are unique within their issuer
/// only: use them together with [`Claims::issuer`], or take [`Claims::subject_id`].
///
/// Implemented for asynchronous closures, and by [`Denylist`].
///
/// # Example: ask a store
///
/// ```
/// use tower_jwt_auth::Claims;
/// use tower_jwt_auth::revocation::{RevocationError, RevocationStatus};
///
/// # async fn is_known(_: &str, _: &str) -> Result<bool, std::io::Error> { Ok(true) }
/// let check = async |token: Claims| {
///     match is_known(token.issuer(), token.subject().unwrap_or_default()).await {
///         Ok(true) => Ok(RevocationStatus::Active),
///         Ok(false) => Ok(RevocationStatus::Revoked),
///         Err(error) => Err(RevocationError::new(error)), // 503, never "bad token"
///     }
/// };
/// # let _ = check;
/// ```
pub trait Revocation: Send + Sync + 'static {
    /// Starts the check of one token. If the answer is known at once, return it at once: then the
    /// request does not wait.
    fn check(&self, token: &Claims) -> RevocationCheck;

    /// A number that rises whenever an answer of [`check`](Self::check) may have changed, and that never
    /// falls: the numbers of several checks are added up. Default: `None`.
    ///
    /// While the number stays the same, a cached token that was found to be active is not checked
    /// again: a request with it compares this number alone. With `None` every request is checked.
    ///
    /// Raise the number after the change is in force, so that no check that still gives the old answer
    /// is taken for one with the new number.
    fn epoch(&self) -> Option<u64> {
        None
    }
}

/// The result of a [`Revocation::check`], or the future of one.
#[non_exhaustive]
pub enum RevocationCheck {
    /// The request waits for this future. Give it a timeout.
    Pending(RevocationFuture),
    /// The result is known.
    Ready(Result<RevocationStatus, RevocationError>),
}

/// A check that has not ended yet.
pub type RevocationFuture =
    Pin<Box<dyn Future<Output = Result<RevocationStatus, RevocationError>> + Send>>;

impl fmt::Debug for RevocationCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(_) => f.debug_tuple("Pending").finish_non_exhaustive(),
            Self::Ready(result) => f.debug_tuple("Ready").field(result).finish(),
        }
    }
}

/// Whether a token may still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevocationStatus {
    /// It may.
    Active,
    /// It was revoked, or its subject is gone. That is final.
    Revoked,
    /// It may not be used now, and perhaps later.
    Suspended,
}

/// The check could not be made. The client gets a 503 and may try again.
#[derive(Clone, Debug)]
pub struct RevocationError(String);

impl RevocationError {
    /// A failure for this reason, which only the operator sees.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for RevocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revocation check failed: {}", self.0)
    }
}

impl std::error::Error for RevocationError {}

impl<F, A> Revocation for F
where
    F: Fn(Claims) -> A + Send + Sync + 'static,
    A: Future<Output = Result<RevocationStatus, RevocationError>> + Send + 'static,
{
    fn check(&self, token: &Claims) -> RevocationCheck {
        RevocationCheck::Pending(Box::pin(self(token.clone())))
    }
}
