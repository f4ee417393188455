//! [`RevocationMark`]: which tokens are revoked, and who writes that down.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::SystemTime;

use crate::claims::{Claims, SubjectId};

/// A note that some tokens must not be accepted any more.
///
/// A token is revoked if any mark applies to it. A mark of a subject, a client or an issuer applies to
/// tokens whose `iat` is not later than [`issued_until`](Self::issued_until), and to each one without
/// `iat`. `iat` is a time of the issuer's clock, and no leeway is added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RevocationMark {
    pub(super) target: RevocationTarget,
    pub(super) issued_until: Option<SystemTime>,
    pub(super) expires_at: SystemTime,
    pub(super) is_suspension: bool,
}

/// What a [`RevocationMark`] is about.
#[derive(Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevocationTarget {
    /// Every token of this issuer that this client got.
    Client {
        /// `iss`.
        issuer: Box<str>,
        /// `client_id`; see [`Claims::client_id`].
        client_id: Box<str>,
    },
    /// Every token of an issuer.
    Issuer {
        /// `iss`.
        issuer: Box<str>,
    },
    /// Every token of one login.
    Session {
        /// `iss`.
        issuer: Box<str>,
        /// `sid`; see [`Claims::session_id`].
        session_id: Box<str>,
    },
    /// Every token of a subject.
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
    /// A mark of this token.
    ///
    /// # Errors
    ///
    /// [`RevokeError::NoIdentity`] if it has no `jti` or no `exp`.
    pub fn token<C>(claims: &Claims<C>) -> Result<Self, RevokeError> {
        let (Some(id), Some(end)) = (claims.id(), claims.expires_at()) else {
            return Err(RevokeError::NoIdentity);
        };
        Ok(Self::token_id(claims.issuer(), id, end))
    }

    /// A mark of the token with this `jti` of this issuer. `expires_at` is its `exp`.
    pub fn token_id(issuer: &str, id: &str, expires_at: SystemTime) -> Self {
        let (issuer, id) = (issuer.into(), id.into());
        Self::all(RevocationTarget::Token { issuer, id }, expires_at)
    }

    /// A mark of every token of a login, by its `sid`. `expires_at` is the `exp` of the last of them.
    pub fn session(issuer: &str, session_id: &str, expires_at: SystemTime) -> Self {
        let (issuer, session_id) = (issuer.into(), session_id.into());
        Self::all(RevocationTarget::Session { issuer, session_id }, expires_at)
    }

    /// A mark of the tokens of a subject that were issued up to this time. `expires_at` is the `exp` of
    /// the last of them.
    pub fn subject(subject: SubjectId, issued_until: SystemTime, expires_at: SystemTime) -> Self {
        Self::until(RevocationTarget::Subject(subject), issued_until, expires_at)
    }

    /// A mark of the tokens of a client that were issued up to this time. `expires_at` is the `exp` of
    /// the last of them.
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

    /// A mark of all tokens of an issuer that were issued up to this time. `expires_at` is the `exp` of
    /// the last of them.
    pub fn issuer(issuer: &str, issued_until: SystemTime, expires_at: SystemTime) -> Self {
        let issuer = issuer.into();
        let target = RevocationTarget::Issuer { issuer };
        Self::until(target, issued_until, expires_at)
    }

    /// The same as a suspension, which [`RevocationWriter::lift`] can end. A revocation of the same
    /// tokens beats it, earlier or later.
    pub fn suspension(mut self) -> Self {
        self.is_suspension = true;
        self
    }

    /// What it is about.
    #[must_use]
    pub fn target(&self) -> &RevocationTarget {
        &self.target
    }

    /// The mark applies to tokens that were issued up to this time; `None` means to all.
    #[must_use]
    pub fn issued_until(&self) -> Option<SystemTime> {
        self.issued_until
    }

    /// When the last token expires that the mark applies to.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// Whether it suspends the tokens, and does not revoke them.
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
    /// The issuer whose tokens it is about.
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

/// Prints the issuer, and nothing about a person.
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

/// Takes marks. When its future has ended well, the mark is stored.
pub trait RevocationWriter: Send + Sync + 'static {
    /// Stores a mark. Beside an older mark of the same target the later times count. A suspension and
    /// a revocation of one target stand side by side.
    fn write(&self, mark: RevocationMark) -> RevokeFuture;

    /// Ends the suspension of this target, if there is one. A revocation stays: it is final.
    fn lift(&self, target: RevocationTarget) -> RevokeFuture;
}

/// A mark that is being stored or removed.
pub type RevokeFuture = Pin<Box<dyn Future<Output = Result<(), RevokeError>> + Send>>;

/// Why a mark could not be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokeError {
    /// The list is full of marks whose tokens may still be accepted.
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
