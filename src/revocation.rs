//! Tokens that must not be accepted although everything about them is right.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use crate::claims::{Claims, SubjectId};
use crate::clock::{Clock, SystemClock};

/// Check of a verified token against what has happened since it was issued: a logout, a stolen
/// device, an account that was closed.
///
/// Called after every other check, so a forged token never reaches it. It gets the claims; the
/// token's text is not an identity. `jti` and `sub` are unique within their issuer only: use them
/// together with [`Claims::issuer`], or take [`Claims::subject_id`].
///
/// Implemented for asynchronous closures, and by [`Denylist`].
///
/// # Example: ask a store
///
/// ```
/// use tower_jwt_auth::Claims;
/// use tower_jwt_auth::revocation::{CheckFailed, Standing};
///
/// # async fn is_known(_: &str, _: &str) -> Result<bool, std::io::Error> { Ok(true) }
/// let check = async |token: Claims| {
///     match is_known(token.issuer(), token.subject().unwrap_or_default()).await {
///         Ok(true) => Ok(Standing::Good),
///         Ok(false) => Ok(Standing::Revoked),
///         Err(error) => Err(CheckFailed::new(error)), // 503, never "bad token"
///     }
/// };
/// # let _ = check;
/// ```
pub trait Revocation: Send + Sync + 'static {
    /// Starts the check of one token. What is known at once is best answered at once: then the
    /// request does not wait.
    fn check(&self, token: Claims) -> RevocationCheck;
}

/// The answer to a [`Revocation::check`], or the promise of one.
#[non_exhaustive]
pub enum RevocationCheck {
    /// The answer.
    Now(Result<Standing, CheckFailed>),
    /// An answer that has to be waited for. Bound the wait: the request waits with it.
    Later(Answer),
}

/// An answer that is still to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<Standing, CheckFailed>> + Send>>;

impl fmt::Debug for RevocationCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.debug_tuple("Later").finish_non_exhaustive(),
        }
    }
}

/// Whether a token still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a third answer would be one that callers must not overlook"
)]
pub enum Standing {
    /// It does.
    Good,
    /// It was revoked, or its subject is gone.
    Revoked,
}

/// The check could not be made: the client is answered with 503, and may try again.
#[derive(Clone, Debug)]
pub struct CheckFailed(String);

impl CheckFailed {
    /// A failure for this reason, which only the operator gets to see.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for CheckFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "revocation check failed: {}", self.0)
    }
}

impl std::error::Error for CheckFailed {}

impl<F, A> Revocation for F
where
    F: Fn(Claims) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Standing, CheckFailed>> + Send + 'static,
{
    fn check(&self, token: Claims) -> RevocationCheck {
        RevocationCheck::Later(Box::pin(self(token)))
    }
}

/// Tokens and subjects revoked in this process. An entry is kept until its tokens have expired, and
/// for the longest [`Leeway`](crate::policy::Leeway) after that: 300 s.
///
/// For one instance, or as the near copy of a shared list. A cheap clone: keep one to revoke with,
/// and give one to [`JwtAuth::revocation`](crate::JwtAuth::revocation).
///
/// # Example: log out
///
/// ```
/// use tower_jwt_auth::Claims;
/// use tower_jwt_auth::revocation::Denylist;
///
/// # #[derive(Clone)] struct State { denylist: Denylist }
/// async fn log_out(state: State, token: Claims) -> Result<(), &'static str> {
///     state.denylist.revoke(&token).map_err(|_| "cannot be revoked")
/// }
/// ```
#[derive(Clone)]
pub struct Denylist(Arc<Lists>);

struct Lists {
    capacity: usize,
    clock: Arc<dyn Clock>,
    tokens: RwLock<HashMap<TokenId, SystemTime>>,
    /// For each subject the moment of revocation (tokens issued up to then are dead), and until
    /// when to remember it.
    subjects: RwLock<HashMap<SubjectId, (SystemTime, SystemTime)>>,
}

/// `(iss, jti)`.
type TokenId = (Box<str>, Box<str>);

/// Why something could not be put on a [`Denylist`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeError {
    /// The list is full of entries whose tokens may still be accepted.
    Full,
    /// The token has no `jti`, or no `exp`.
    NoIdentity,
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "denylist is full",
            Self::NoIdentity => "token has no `jti` or no `exp` to revoke it by",
        })
    }
}

impl std::error::Error for RevokeError {}

impl Denylist {
    /// A list for at most this many tokens, and as many subjects.
    ///
    /// A full list returns [`RevokeError::Full`] and forgets nothing that can still be accepted.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Arc::new(SystemClock))
    }

    /// An empty list of the same capacity that forgets by this clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.0.capacity, Arc::new(clock))
    }

    fn of(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Lists {
            capacity,
            clock,
            tokens: RwLock::default(),
            subjects: RwLock::default(),
        }))
    }

    /// Revokes one token, by its issuer and `jti`.
    ///
    /// # Errors
    ///
    /// [`RevokeError`] if the token has no `jti` or `exp`, or the list is full.
    pub fn revoke<C>(&self, token: &Claims<C>) -> Result<(), RevokeError> {
        let (Some(id), Some(end)) = (token.id(), token.expires_at()) else {
            return Err(RevokeError::NoIdentity);
        };
        self.revoke_id(token.issuer(), id, end)
    }

    /// Revokes the token with this `jti` of this issuer. `until` is its `exp`.
    ///
    /// The entry stays for 300 s after `until`, which is the longest [`Leeway`]: a layer accepts
    /// the token for as long. A second call never shortens the first.
    ///
    /// [`Leeway`]: crate::policy::Leeway
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_id(&self, issuer: &str, id: &str, until: SystemTime) -> Result<(), RevokeError> {
        let mut tokens = self
            .0
            .tokens
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (issuer.into(), id.into());
        if tokens.len() >= self.0.capacity && !tokens.contains_key(&key) {
            let now = self.0.clock.now();
            tokens.retain(|_, until| *until > now);
            if tokens.len() >= self.0.capacity {
                return Err(RevokeError::Full);
            }
        }
        // Two calls for one token may come in the wrong order. The longer one counts.
        let until = with_leeway(until);
        let known = tokens.entry(key).or_insert(until);
        *known = until.max(*known);
        Ok(())
    }

    /// Revokes every token of a subject whose `iat` is not later than `at`, and each one without
    /// `iat`. `until` is the `exp` of the last of them.
    ///
    /// The entry stays for 300 s after `until`, which is the longest [`Leeway`]: a layer accepts
    /// the tokens for as long. A second call never weakens the first: the later `at` and the later
    /// `until` count.
    ///
    /// `iat` is the time of the issuer's clock, and no leeway is given to it. If that clock is
    /// ahead, choose a later `at`.
    ///
    /// [`Leeway`]: crate::policy::Leeway
    ///
    /// # Errors
    ///
    /// [`RevokeError::Full`].
    pub fn revoke_subject(
        &self,
        subject: SubjectId,
        at: SystemTime,
        until: SystemTime,
    ) -> Result<(), RevokeError> {
        let mut subjects = self
            .0
            .subjects
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if subjects.len() >= self.0.capacity && !subjects.contains_key(&subject) {
            let now = self.0.clock.now();
            subjects.retain(|_, (_, until)| *until > now);
            if subjects.len() >= self.0.capacity {
                return Err(RevokeError::Full);
            }
        }
        // Two calls for one subject may come in the wrong order. The stricter one counts.
        let until = with_leeway(until);
        let (known_at, known_until) = subjects.entry(subject).or_insert((at, until));
        *known_at = at.max(*known_at);
        *known_until = until.max(*known_until);
        Ok(())
    }

    fn has(&self, token: &Claims) -> bool {
        let by_id = token.id().is_some_and(|id| {
            let tokens = self.0.tokens.read().unwrap_or_else(PoisonError::into_inner);
            !tokens.is_empty() && tokens.contains_key(&(token.issuer().into(), id.into()))
        });
        by_id
            || token.subject_id().is_some_and(|subject| {
                let subjects = self
                    .0
                    .subjects
                    .read()
                    .unwrap_or_else(PoisonError::into_inner);
                subjects
                    .get(&subject)
                    .is_some_and(|(at, _)| token.issued_at().is_none_or(|issued| issued <= *at))
            })
    }
}

/// Prints how much is on it.
impl fmt::Debug for Denylist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self
            .0
            .tokens
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        let subjects = self
            .0
            .subjects
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        f.debug_struct("Denylist")
            .field("tokens", &tokens)
            .field("subjects", &subjects)
            .finish()
    }
}

/// A list for 100 000 tokens.
impl Default for Denylist {
    fn default() -> Self {
        Self::with_capacity(100_000)
    }
}

impl Revocation for Denylist {
    fn check(&self, token: Claims) -> RevocationCheck {
        RevocationCheck::Now(Ok(if self.has(&token) {
            Standing::Revoked
        } else {
            Standing::Good
        }))
    }
}

/// Until when a token may be accepted that expires then.
fn with_leeway(expiry: SystemTime) -> SystemTime {
    expiry.checked_add(LONGEST_LEEWAY).unwrap_or(expiry)
}

/// An expired token is accepted for this much longer at most: the bound of
/// [`Leeway`](crate::policy::Leeway).
const LONGEST_LEEWAY: Duration = Duration::from_secs(300);
