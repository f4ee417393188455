//! [`SigningKeyError`].

use std::fmt;

use crate::error::rejection::Excerpt;

/// Why the signing keys cannot be used, or could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// There are too many keys. A key is deleted some time after its last token has expired.
    Full {
        /// The maximum number of keys.
        maximum: usize,
    },
    /// Another key already has this id. The keys of a set need different ids.
    IdTaken {
        /// The id.
        id: String,
    },
    /// There is no active signing key. All keys were revoked, or they ended while their store could not be
    /// reached.
    NoKey,
    /// The key cannot be put into a shared store, because it is a secret or is kept elsewhere.
    NotStorable,
    /// The key is a secret, and the other keys of the set are published. A secret is never published, so
    /// services that use the key set could not verify its tokens.
    Secret,
    /// The store of the keys cannot be reached, or its content cannot be used.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// There is no key with this id.
    Unknown {
        /// The id.
        id: String,
    },
}

impl fmt::Display for SigningKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { maximum } => write!(f, "there are {maximum} signing keys already"),
            Self::IdTaken { id } => write!(f, "another key has the id {}", Excerpt(id)),
            Self::NoKey => f.write_str("no signing key is in force"),
            Self::NotStorable => f.write_str("the key cannot be put into a shared store"),
            Self::Secret => f.write_str(
                "a secret is not published, so it cannot follow keys that are published",
            ),
            Self::Unavailable { reason } => write!(f, "signing keys are not available: {reason}"),
            Self::Unknown { id } => write!(f, "there is no signing key {}", Excerpt(id)),
        }
    }
}

impl std::error::Error for SigningKeyError {}
