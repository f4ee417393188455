//! [`Violation`]: what is wrong with a store of sessions.

use std::fmt;

/// What is wrong with a [`LoginStore`](crate::issue::LoginStore).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A loaded value differs from the stored value.
    Altered,
    /// A second session with the same id was inserted, or changed the first session.
    Duplicate,
    /// An operation failed or panicked.
    Failed {
        /// The method.
        operation: &'static str,
        /// Its error.
        reason: String,
    },
    /// An update of a session that does not exist inserted a session or returned `true`.
    Inserted,
    /// A session of another subject was listed.
    Leaked,
    /// Of several updates of one version, not exactly one returned `true`, or the stored session is not
    /// the one that the winner wrote.
    LostUpdate,
    /// A session is missing although it was stored.
    Missing,
    /// Sessions whose ids differ in case were mixed up.
    Mixed,
    /// A session that a later version had ended became active again.
    Returned,
    /// A read did not see a write that had completed before.
    Stale,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Altered => "a value is not loaded as it was stored",
            Self::Duplicate => "`insert` replaces a session with the same id",
            Self::Failed { operation, reason } => {
                return write!(f, "`{operation}` fails: {reason}");
            }
            Self::Inserted => "`update` stores a session that was not there",
            Self::Leaked => "`list` returns a session of another subject",
            Self::LostUpdate => "two updates of one version both count, or none does",
            Self::Missing => "a session that was stored is missing",
            Self::Mixed => "ids that differ by case are mixed up",
            Self::Returned => "an older version of a session comes back",
            Self::Stale => "a read does not see a completed write",
        })
    }
}
