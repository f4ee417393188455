//! The faults of a key, for the second readers of keys.

use crate::error::config::KeyError;

/// One reason to reject a key.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    Algorithm,
    Encryption,
    Excess,
    /// It is not an object, or not a point of its curve.
    Form,
    Member(String),
    Missing(String),
    Private,
    Size(usize),
    Symmetric,
    Unsupported(&'static str, String),
    Usage,
    Weak(&'static str),
}

impl From<&KeyError> for Fault {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::Algorithm { .. } => Self::Algorithm,
            KeyError::Encryption => Self::Encryption,
            KeyError::Excess { .. } => Self::Excess,
            KeyError::Format { .. } => Self::Form,
            KeyError::Member { name, .. } => Self::Member((*name).to_owned()),
            KeyError::MissingMember { name } => Self::Missing((*name).to_owned()),
            KeyError::Private => Self::Private,
            KeyError::Size { bits, .. } => Self::Size(*bits),
            KeyError::Symmetric => Self::Symmetric,
            KeyError::Unsupported { kind, input } => Self::Unsupported(kind, input.clone()),
            KeyError::OtherUse { .. } | KeyError::Usage { .. } => Self::Usage,
            KeyError::Weak { reason: why } => {
                let known = WEAKNESSES.iter().find(|weakness| why.contains(**weakness));
                Self::Weak(known.unwrap_or(&SECRET))
            }
        }
    }
}

/// The algorithms for secrets, then those for RSA, then the others.
pub(super) const ALGORITHMS: [&str; 14] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "ES512", "EdDSA", "Ed25519",
];

const WEAKNESSES: [&str; 4] = [
    "the RSA modulus is even",
    "the RSA exponent is even or 1",
    "ROCA",
    "the Ed25519 point has a small order",
];
const SECRET: &str = "a secret";
