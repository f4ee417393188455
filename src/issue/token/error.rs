//! [`IssueError`]: why a token was not issued.

use std::error::Error;
use std::fmt;

use http::StatusCode;

use crate::error::rejection::Excerpt;
use crate::issue::keys::SigningKeyError;

/// Why an access token was not issued.
///
/// Most of these errors are caused by the application, and are answered with 500. An outage is answered
/// with 503, because the same call can succeed later: see [`status`](Self::status). No variant contains the
/// value of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IssueError {
    /// The scopes do not determine the API that the token is for. See
    /// [`TokenIssuer::resource`](crate::issue::TokenIssuer::resource).
    Audience {
        /// What was expected.
        expected: &'static str,
    },
    /// A value that the token needs is empty, or cannot be written in a token.
    Invalid {
        /// The name of the value, such as `subject`.
        what: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// There is no active signing key.
    NoSigningKey {
        /// Why no key is active.
        reason: String,
    },
    /// Your own claims are not a JSON object that fits into a token.
    OwnClaims {
        /// Why, without any value.
        reason: String,
    },
    /// One of your own claims has a reserved name: that of a claim that the issuer writes itself, or of a claim
    /// that determines the kind of a token.
    ReservedClaim {
        /// The name.
        name: String,
        /// What to use instead.
        instead: &'static str,
    },
    /// One of your own claims looks like a secret. Everyone who has the token can read its claims.
    SecretClaim {
        /// The place of the claim, as a JSON pointer (RFC 6901).
        pointer: String,
        /// What it looks like.
        looks_like: &'static str,
        /// Where such data belongs.
        belongs: &'static str,
    },
    /// The key did not sign.
    Sign {
        /// Why.
        reason: String,
    },
    /// The token is larger than the maximum size that the layer accepts by default.
    TooLarge {
        /// The size of the token in bytes.
        bytes: usize,
        /// The maximum size in bytes.
        maximum: usize,
    },
    /// The signing keys or the signer cannot be reached.
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl IssueError {
    /// The name of the kind, for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Audience { .. } => "audience",
            Self::Invalid { .. } => "invalid",
            Self::NoSigningKey { .. } => "no_signing_key",
            Self::OwnClaims { .. } => "own_claims",
            Self::ReservedClaim { .. } => "reserved_claim",
            Self::SecretClaim { .. } => "secret_claim",
            Self::Sign { .. } => "sign",
            Self::TooLarge { .. } => "too_large",
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// Whether the cause is an outage, so that the same call can succeed later.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::NoSigningKey { .. } | Self::Sign { .. } | Self::Unavailable { .. }
        )
    }

    /// The status of a response to this error: 503 in an outage, or 500.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        if self.is_unavailable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl fmt::Display for IssueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Audience { expected } => {
                write!(f, "the audience is ambiguous: expected {expected}")
            }
            Self::OwnClaims { reason } => write!(f, "the own claims are not usable: {reason}"),
            Self::Invalid { what, expected } => {
                write!(f, "the {what} is not usable: expected {expected}")
            }
            Self::NoSigningKey { reason } => write!(f, "no key signs now: {reason}"),
            Self::ReservedClaim { name, instead } => write!(
                f,
                "claim {} is not one of the application: {instead}",
                Excerpt(name)
            ),
            Self::SecretClaim {
                pointer,
                looks_like,
                belongs,
            } => {
                let pointer = Excerpt(pointer);
                write!(
                    f,
                    "claim {pointer} looks like {looks_like}, and everyone who has the token can read it: {belongs}; if it is no secret, allow it with `insecure_allow_claim({pointer})`"
                )
            }
            Self::Sign { reason } => write!(f, "the key did not sign: {reason}"),
            Self::TooLarge { bytes, maximum } => write!(
                f,
                "the token has {bytes} bytes, more than the maximum of {maximum}: keep large data in a database, and an id of it in the token"
            ),
            Self::Unavailable { reason } => {
                write!(f, "the signing keys are not available: {reason}")
            }
        }
    }
}

impl Error for IssueError {}

impl From<SigningKeyError> for IssueError {
    fn from(error: SigningKeyError) -> Self {
        match error {
            SigningKeyError::Unavailable { reason } => Self::Unavailable { reason },
            other => Self::NoSigningKey {
                reason: other.to_string(),
            },
        }
    }
}
