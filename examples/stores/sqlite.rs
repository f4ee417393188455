//! Sessions of [`Logins`](tower_jwt_auth::issue::Logins) in SQLite. Copy it, and change it as you need.
//!
//! SQLite blocks, so each statement runs on a thread that may block. Only one connection writes at a time.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tower_jwt_auth::issue::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};

/// The rows contain nothing that can be used as a token.
const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL; -- a refresh that was answered is not forgotten
    CREATE TABLE IF NOT EXISTS login_sessions (
        id         TEXT PRIMARY KEY,
        subject    TEXT NOT NULL,
        version    INTEGER NOT NULL,
        expires_at INTEGER NOT NULL, -- in seconds since 1970; the row may be removed after it
        data       TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS login_sessions_of_subject ON login_sessions (subject);
    CREATE INDEX IF NOT EXISTS login_sessions_by_end ON login_sessions (expires_at);";

#[derive(Clone, Debug)]
pub struct SqliteLogins(Arc<Mutex<Connection>>);

impl SqliteLogins {
    pub fn new(connection: Connection) -> rusqlite::Result<Self> {
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Removes the sessions that ended before this time. Call it once a day, for example.
    pub fn remove_expired(&self, now: u64) -> LoginStoreFuture<usize> {
        let statement = "DELETE FROM login_sessions WHERE expires_at < ?1";
        self.run(move |connection| connection.execute(statement, [now.cast_signed()]))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> LoginStoreFuture<T> {
        let connection = Arc::clone(&self.0);
        let work = move || work(&connection.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            let done = tokio::task::spawn_blocking(work).await;
            let done = done.map_err(LoginStoreError::new)?;
            done.map_err(LoginStoreError::new)
        })
    }
}

impl LoginStore for SqliteLogins {
    fn insert(&self, it: StoredSession) -> LoginStoreFuture<()> {
        let statement = "INSERT INTO login_sessions (id, subject, version, expires_at, data)
                         VALUES (?1, ?2, ?3, ?4, ?5)";
        self.run(move |connection| {
            let (version, end) = (it.version.cast_signed(), it.expires_at.cast_signed());
            let row = params![it.id, it.subject, version, end, it.data];
            connection.execute(statement, row).map(drop)
        })
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let (statement, id) = ("SELECT * FROM login_sessions WHERE id = ?1", id.to_owned());
        self.run(move |connection| connection.query_one(statement, [id], session).optional())
    }

    fn update(&self, it: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        let statement = "UPDATE login_sessions SET version = ?1, expires_at = ?2, data = ?3
                         WHERE id = ?4 AND version = ?5";
        self.run(move |connection| {
            let (version, end) = (it.version.cast_signed(), it.expires_at.cast_signed());
            let expected = expected_version.cast_signed();
            let row = params![version, end, it.data, it.id, expected];
            Ok(connection.execute(statement, row)? == 1)
        })
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let statement = "SELECT * FROM login_sessions WHERE subject = ?1";
        let subject = subject.to_owned();
        self.run(move |connection| {
            let mut statement = connection.prepare_cached(statement)?;
            statement.query_map([subject], session)?.collect()
        })
    }
}

fn session(row: &Row<'_>) -> rusqlite::Result<StoredSession> {
    let (id, subject): (String, String) = (row.get("id")?, row.get("subject")?);
    let number = |column| row.get(column).map(i64::cast_unsigned);
    let (version, expires_at) = (number("version")?, number("expires_at")?);
    Ok(StoredSession::new(
        id,
        subject,
        version,
        expires_at,
        row.get("data")?,
    ))
}
