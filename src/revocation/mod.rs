//! Revocation: rejecting tokens that are valid in every other respect.
//!
//! A [`Revocation`] checks tokens. A [`RevocationWriter`] stores [marks](RevocationMark), which
//! determine the revoked tokens. [`Denylist`] implements both in the memory of one process. With
//! the `redis` feature, `RedisDenylist` implements both for all instances of a service.
//!
//! With the `logout` feature, `BackChannelLogout` and `SecurityEvents` write the marks that an issuer
//! reports. With the `status-list` feature, `StatusLists` checks tokens against the lists that an issuer
//! publishes. [The guide](crate::guide::revocation) explains which of them to choose.

mod denylist;
mod lists;
#[cfg(feature = "logout")]
pub(crate) mod logout;
mod mark;
mod marks;
#[cfg(feature = "redis")]
pub(crate) mod shared;
#[cfg(feature = "status-list")]
pub(crate) mod status_list;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::claims::Claims;
pub use denylist::Denylist;
#[cfg(feature = "logout")]
pub use logout::{BackChannelLogout, SecurityEvents};
pub use mark::{RevocationMark, RevocationTarget, RevocationWriter, RevokeError, RevokeFuture};
#[cfg(feature = "redis")]
pub use shared::{RedisDenylist, RedisFailure, RedisSettings, RedisStatus};
#[cfg(feature = "status-list")]
pub use status_list::{StatusLists, UrlPrefixes};

/// Checks whether a verified token was revoked after it was issued, for example because the user
/// logged out, a device was stolen or an account was closed.
///
/// The verifier runs this check after all others, so a forged token never reaches it. `jti` and `sub`
/// are unique only within their issuer. Use them together with [`Claims::issuer`], or use
/// [`Claims::subject_id`].
///
/// Asynchronous closures and [`Denylist`] implement this trait.
///
/// # Example: query a store
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not check revocation",
    note = "pass a `Denylist`, another type that implements `Revocation`, or an async closure that takes `Claims`",
    note = "a `RedisDenylist` has to be connected first: add `.connect().await?` or `.connect_lazy()?`"
)]
pub trait Revocation: Send + Sync + 'static {
    /// Starts the check of one token. Return [`RevocationCheck::Ready`] if the result is known at once,
    /// so that the request does not wait.
    fn check(&self, token: &Claims) -> RevocationCheck;

    /// A number that increases whenever a result of [`check`](Self::check) may have changed. It must
    /// never decrease, because the numbers of several checks are added. Default: `None`.
    ///
    /// A cached token that was found active is not checked again while this number stays the same. The
    /// request only compares the numbers. With `None`, every request is checked.
    ///
    /// Increase the number after the change has taken effect. Otherwise a result from before the
    /// change may be stored with the new number.
    fn epoch(&self) -> Option<u64> {
        None
    }

    /// Returns [`epoch`](Self::epoch), and then starts the [`check`](Self::check). The verifier calls it for
    /// each token that must be checked. Default: calls both.
    ///
    /// Implement it if both need the same value, such as the current time. The number must be read before the
    /// check starts.
    fn epoch_and_check(&self, token: &Claims) -> (Option<u64>, RevocationCheck) {
        let epoch = self.epoch();
        (epoch, self.check(token))
    }
}

/// The result of [`Revocation::check`], or a future that returns it.
#[non_exhaustive]
pub enum RevocationCheck {
    /// The request waits for this future. Give it a timeout.
    Pending(RevocationFuture),
    /// The result is known at once.
    Ready(Result<RevocationStatus, RevocationError>),
}

/// A revocation check that is still running.
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
    /// The token may be used.
    Active,
    /// The token was revoked, or its subject no longer exists. This is final.
    Revoked,
    /// The token must not be used at present. It may become active again.
    Suspended,
}

/// The error of a failed check. The client gets 503 and may retry.
#[derive(Clone, Debug)]
pub struct RevocationError(String);

impl RevocationError {
    /// Creates an error with this reason, which only the operator sees.
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
