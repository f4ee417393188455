//! [`LoginStore`]: where the sessions of [`Logins`](crate::issue::Logins) are kept.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Storage for sessions, with one row for each session.
///
/// A row contains no token, and nothing from which a token could be made. It contains the subject,
/// the device and your own claims for the session, so treat it as personal data.
///
/// A row changes only through [`update`](Self::update), which is one conditional write. Without it, one
/// of two concurrent refreshes could be lost, so a store must not split it into a read and a write. With
/// SQL it is one statement:
///
/// ```sql
/// UPDATE sessions SET version = $1, expires_at = $2, data = $3 WHERE id = $4 AND version = $5
/// ```
///
/// Reads must see the last completed write, so do not read from a replica. Give each operation a
/// timeout. If a store does not answer, return an error. The answer is then 503, and nobody is logged
/// out.
///
/// `check_store` of the test kit runs many concurrent tasks against a store, and returns what is
/// wrong with it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not keep sessions",
    note = "pass `MemoryLogins`, or another type that implements `LoginStore`"
)]
pub trait LoginStore: Send + Sync + 'static {
    /// Stores a new session. If a session with the same id already exists, returns an error and
    /// leaves that session unchanged.
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()>;

    /// Loads a session by its id. `None` if it does not exist. Ids are case-sensitive.
    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>>;

    /// Replaces the session with this id, in one conditional write, if its stored version is
    /// `expected_version`. Returns whether it was replaced.
    ///
    /// If another version is stored, or none, returns `false` and changes nothing.
    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool>;

    /// Loads all sessions of a subject whose `expires_at` is in the future. It may also return expired
    /// sessions. Subjects that differ in case or white space are different.
    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>>;
}

/// The future that a [`LoginStore`] returns.
pub type LoginStoreFuture<T> = Pin<Box<dyn Future<Output = Result<T, LoginStoreError>> + Send>>;

impl<S: LoginStore + ?Sized> LoginStore for Arc<S> {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        (**self).insert(session)
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        (**self).load(id)
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        (**self).update(session, expected_version)
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        (**self).list(subject)
    }
}

/// The row of a session in a [`LoginStore`].
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredSession {
    /// The id of the session, 22 characters of `A-Z a-z 0-9 - _`. Ids are case-sensitive. The id is
    /// the `sid` of the access tokens.
    pub id: String,
    /// The subject of the session. It never changes.
    pub subject: String,
    /// Increases by 1 with each update. It fits a signed 64-bit column.
    pub version: u64,
    /// The store may remove the row after this time, in seconds since 1970. It is later than the end of
    /// the session.
    pub expires_at: u64,
    /// Everything else, as JSON. The store must not interpret it.
    pub data: String,
}

impl StoredSession {
    /// Creates a row from the values that a store has read.
    #[must_use]
    pub fn new(id: String, subject: String, version: u64, expires_at: u64, data: String) -> Self {
        Self {
            id,
            subject,
            version,
            expires_at,
            data,
        }
    }
}

/// Prints neither the subject nor the data.
impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The store could not be reached, did not answer in time, or returned an unusable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginStoreError(String);

impl LoginStoreError {
    /// Creates an error with this reason, which only the operator sees.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for LoginStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sessions are not available: {}", self.0)
    }
}

impl std::error::Error for LoginStoreError {}
