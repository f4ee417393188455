//! Users of the examples: a table in SQLite, with passwords hashed by argon2.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::password_hash::{Error, PasswordHash, SaltString, rand_core::OsRng};
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use axum::http::{StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use rusqlite::{Connection, OptionalExtension as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::support::Failure;

#[derive(Clone)]
pub(crate) struct Users {
    table: Arc<Mutex<Connection>>,
    /// Each permit is for the hash of one password, which takes 19 MiB and a core for some time.
    turns: Arc<Semaphore>,
    /// The hash of an unknown password. An unknown user is compared with it, so that the time of an
    /// answer does not reveal which users exist.
    unknown: Arc<str>,
}

/// Too many users sign in at once, or the table cannot be read. The answer is 503, and never a wrong password.
#[derive(Debug)]
pub(crate) struct Unavailable;

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")]).into_response()
    }
}

impl Users {
    pub(crate) fn new(table: Connection) -> Result<Self, Failure> {
        table.execute_batch(
            "CREATE TABLE IF NOT EXISTS users (
                 id       INTEGER PRIMARY KEY,
                 name     TEXT NOT NULL UNIQUE,
                 password TEXT NOT NULL
             ) STRICT",
        )?;
        Ok(Self {
            table: Arc::new(Mutex::new(table)),
            turns: Arc::new(Semaphore::new(2)),
            unknown: hash(SaltString::generate(&mut OsRng).as_str())?.into(),
        })
    }

    /// Adds a user. An application has to check the strength of the password first.
    pub(crate) async fn add(&self, name: &str, password: &str) -> Result<(), Failure> {
        let (users, name, password) = (self.clone(), name.to_owned(), password.to_owned());
        let added = spawn_blocking(move || {
            let hash = hash(&password).map_err(|error| error.to_string())?;
            let table = users.table.lock().unwrap_or_else(PoisonError::into_inner);
            let statement = "INSERT INTO users (name, password) VALUES (?1, ?2)";
            let added = table.execute(statement, [&name, &hash]);
            added.map_err(|error| error.to_string())
        });
        added.await??;
        Ok(())
    }

    /// The id of the user with this name and this password. A subject is an id, and not a name, because
    /// names change, and can later belong to someone else.
    pub(crate) async fn check(
        &self,
        name: String,
        password: String,
    ) -> Result<Option<String>, Unavailable> {
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned());
        let turn = turn.await.map_err(|_| Unavailable)?;
        let turn = turn.map_err(|_| Unavailable)?;
        let users = self.clone();
        let checked = spawn_blocking(move || users.compare(&name, &password, turn));
        checked.await.map_err(|_| Unavailable)?
    }

    fn compare(
        &self,
        name: &str,
        password: &str,
        _turn: OwnedSemaphorePermit,
    ) -> Result<Option<String>, Unavailable> {
        let found = {
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            let statement = "SELECT id, password FROM users WHERE name = ?1";
            let row = table.query_row(statement, [name], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            });
            row.optional().map_err(|_| Unavailable)?
        };
        let (id, hash) = match &found {
            Some((id, hash)) => (Some(id), hash.as_str()),
            None => (None, &*self.unknown),
        };
        let hash = PasswordHash::new(hash).map_err(|_| Unavailable)?;
        match Argon2::default().verify_password(password.as_bytes(), &hash) {
            Ok(()) => Ok(id.map(|id| format!("user-{id}"))),
            Err(Error::Password) => Ok(None),
            Err(_) => Err(Unavailable),
        }
    }
}

fn hash(password: &str) -> Result<String, Error> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt)?;
    Ok(hash.to_string())
}

/// The time that a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(2);
