//! [`RevocationMark`]: which tokens are revoked. [`RevocationWriter`]: stores marks.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use crate::claims::{Claims, SubjectId};

/// Marks some tokens as revoked or suspended.
///
/// A token is revoked if any mark applies to it. A mark for a subject, a client or an issuer applies to
/// tokens whose `iat` is not later than [`issued_until`](Self::issued_until), and to all tokens without
/// `iat`. `iat` comes from the clock of the issuer, and no leeway is added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RevocationMark {
    pub(super) target: RevocationTarget,
    pub(super) issued_until: Option<SystemTime>,
    pub(super) expires_at: SystemTime,
    pub(super) is_suspension: bool,
}

/// The tokens that a [`RevocationMark`] applies to.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// All tokens that the issuer issued to a client.
    Client {
        /// `iss`.
        issuer: Box<str>,
        /// `client_id`; see [`Claims::client_id`].
        client_id: Box<str>,
    },
    /// All tokens of an issuer.
    Issuer {
        /// `iss`.
        issuer: Box<str>,
    },
    /// All tokens of one login session.
    Session {
        /// `iss`.
        issuer: Box<str>,
        /// `sid`; see [`Claims::session_id`].
        session_id: Box<str>,
    },
    /// All tokens of a subject.
    Subject(SubjectId),
    /// One token.
    Token {
        /// `iss`.
        issuer: Box<str>,
        /// `jti`; see [`Claims::id`].
        id: Box<str>,
    },
}

impl RevocationMark {
    /// Creates a mark for this token, by its issuer and [`Claims::id`].
    ///
    /// The mark of a token without `exp` is kept forever. If you know when the issuer stops
    /// accepting such tokens, use [`token_id`](Self::token_id) with that time.
    ///
    /// # Errors
    ///
    /// [`RevokeError::NoIdentity`] if the token is a JWT without `jti`.
    pub fn token<C>(claims: &Claims<C>) -> Result<Self, RevokeError> {
        let id = claims.id().ok_or(RevokeError::NoIdentity)?;
        let never = SystemTime::UNIX_EPOCH.checked_add(END_OF_TIME);
        let end = claims.expires_at().or(never);
        let end = end.ok_or(RevokeError::NoIdentity)?;
        Ok(Self::token_id(claims.issuer(), id, end))
    }

    /// Creates a mark for the token with this `jti` of this issuer. `expires_at` is its `exp`.
    pub fn token_id(issuer: &str, id: &str, expires_at: SystemTime) -> Self {
        let (issuer, id) = (issuer.into(), id.into());
        Self::all(RevocationTarget::Token { issuer, id }, expires_at)
    }

    /// Creates a mark for all tokens of a login session, by its `sid`. `expires_at` is the latest `exp`
    /// of these tokens.
    pub fn session(issuer: &str, session_id: &str, expires_at: SystemTime) -> Self {
        let (issuer, session_id) = (issuer.into(), session_id.into());
        Self::all(RevocationTarget::Session { issuer, session_id }, expires_at)
    }

    /// Creates a mark for the tokens of a subject that were issued until `issued_until`.
    /// `expires_at` is the latest `exp` of these tokens.
    pub fn subject(subject: SubjectId, issued_until: SystemTime, expires_at: SystemTime) -> Self {
        Self::until(RevocationTarget::Subject(subject), issued_until, expires_at)
    }

    /// Creates a mark for the tokens of a client that were issued until `issued_until`.
    /// `expires_at` is the latest `exp` of these tokens.
    pub fn client(
        issuer: &str,
        client_id: &str,
        issued_until: SystemTime,
        expires_at: SystemTime,
    ) -> Self {
        let (issuer, client_id) = (issuer.into(), client_id.into());
        let target = RevocationTarget::Client { issuer, client_id };
        Self::until(target, issued_until, expires_at)
    }

    /// Creates a mark for all tokens of an issuer that were issued until `issued_until`.
    /// `expires_at` is the latest `exp` of these tokens.
    pub fn issuer(issuer: &str, issued_until: SystemTime, expires_at: SystemTime) -> Self {
        let issuer = issuer.into();
        let target = RevocationTarget::Issuer { issuer };
        Self::until(target, issued_until, expires_at)
    }

    /// Turns the mark into a suspension, which [`RevocationWriter::lift`] can end. If the same tokens
    /// are also revoked, the revocation has priority.
    pub fn suspension(mut self) -> Self {
        self.is_suspension = true;
        self
    }

    /// The tokens that the mark applies to.
    #[must_use]
    pub fn target(&self) -> &RevocationTarget {
        &self.target
    }

    /// The mark applies to tokens that were issued until this time. `None` means all tokens.
    #[must_use]
    pub fn issued_until(&self) -> Option<SystemTime> {
        self.issued_until
    }

    /// The latest `exp` of the tokens that the mark applies to.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Whether the mark suspends the tokens instead of revoking them.
    #[must_use]
    pub fn is_suspension(&self) -> bool {
        self.is_suspension
    }

    fn all(target: RevocationTarget, expires_at: SystemTime) -> Self {
        Self {
            target,
            issued_until: None,
            expires_at,
            is_suspension: false,
        }
    }

    fn until(target: RevocationTarget, issued_until: SystemTime, expires_at: SystemTime) -> Self {
        Self {
            issued_until: Some(issued_until),
            ..Self::all(target, expires_at)
        }
    }
}

impl RevocationTarget {
    /// The issuer of the tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match self {
            Self::Client { issuer, .. }
            | Self::Issuer { issuer }
            | Self::Session { issuer, .. }
            | Self::Token { issuer, .. } => issuer,
            Self::Subject(subject) => subject.issuer(),
        }
    }
}

/// Prints the issuer only, because the other values may be personal data.
impl fmt::Debug for RevocationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Client { .. } => "Client",
            Self::Issuer { .. } => "Issuer",
            Self::Session { .. } => "Session",
            Self::Subject(_) => "Subject",
            Self::Token { .. } => "Token",
        };
        f.debug_struct(name)
            .field("issuer", &self.issuer())
            .finish_non_exhaustive()
    }
}

/// Stores revocation marks. A mark is stored when the returned future has completed with `Ok`.
pub trait RevocationWriter: Send + Sync + 'static {
    /// Stores a mark. If the target already has a mark, the later times apply. A suspension and a
    /// revocation of the same target are kept separately.
    fn write(&self, mark: RevocationMark) -> RevokeFuture;

    /// Ends the suspension of this target, if there is one. A revocation is final and is not
    /// changed.
    fn lift(&self, target: RevocationTarget) -> RevokeFuture;
}

/// The future that a [`RevocationWriter`] returns.
pub type RevokeFuture = Pin<Box<dyn Future<Output = Result<(), RevokeError>> + Send>>;

/// The reason why a mark could not be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeError {
    /// The list is full of marks whose tokens may still be accepted.
    Full,
    /// The token is a JWT without `jti`.
    NoIdentity,
    /// The issuer and the name of the target are too long for a shared store: more than about 4000
    /// bytes in total.
    TooLong,
    /// The store could not be reached, or did not answer in time. It is not known whether the mark
    /// was stored. Writing it again is harmless.
    Unavailable {
        /// Why, for the operator.
        reason: String,
    },
}

impl fmt::Display for RevokeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "denylist is full",
            Self::NoIdentity => "token has no `jti` to revoke it by",
            Self::TooLong => "target is too long for a shared store",
            Self::Unavailable { reason } => {
                return write!(f, "mark could not be stored: {reason}");
            }
        })
    }
}

impl std::error::Error for RevokeError {}

/// The year 9999, as the time since 1970.
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);
