//! Sessions of [`Logins`](tower_jwt_auth::issue::Logins) in PostgreSQL. Copy it, and change it as you need: with
//! TLS in place of `NoTls` for a server on another host, and with your pool if you have one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Error, NoTls, Row};
use tower_jwt_auth::issue::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};

/// The rows contain nothing that can be used as a token.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS login_sessions (
        id         TEXT PRIMARY KEY,
        subject    TEXT NOT NULL,
        version    BIGINT NOT NULL,
        expires_at BIGINT NOT NULL, -- in seconds since 1970; the row may be removed after it
        data       TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS login_sessions_of_subject ON login_sessions (subject);
    CREATE INDEX IF NOT EXISTS login_sessions_by_end ON login_sessions (expires_at);";

#[derive(Clone, Debug)]
pub struct PostgresLogins {
    server: Config,
    /// One connection, on which statements do not wait for each other. If it is closed, the next statement
    /// opens another one.
    client: Arc<Mutex<Option<Arc<Client>>>>,
}

impl PostgresLogins {
    pub async fn connect(server: Config) -> Result<Self, LoginStoreError> {
        let client = Arc::default();
        let store = Self { server, client };
        let made = async { store.client().await?.batch_execute(SCHEMA).await };
        store.within(made).await.map(|()| store.clone())
    }

    /// Removes the sessions that ended before this time. Call it once a day, for example.
    pub async fn remove_expired(&self, now: u64) -> Result<u64, LoginStoreError> {
        let statement = "DELETE FROM login_sessions WHERE expires_at < $1";
        let now = now.cast_signed();
        let values = [number(&now)];
        let removing = async { self.client().await?.execute_typed(statement, &values).await };
        self.within(removing).await
    }

    async fn client(&self) -> Result<Arc<Client>, Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(client));
        }
        let (new, connection) = self.server.connect(NoTls).await?;
        tokio::spawn(connection); // the statements return its errors too
        Ok(Arc::clone(client.insert(Arc::new(new))))
    }

    /// The timeout of the connection and the statement together is 5 s. After that the next statement opens
    /// another connection, because this one may never respond.
    async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, LoginStoreError> {
        let Ok(done) = timeout(Duration::from_secs(5), work).await else {
            if let Ok(mut client) = self.client.try_lock() {
                client.take();
            }
            return Err(LoginStoreError::new("PostgreSQL has not answered in 5 s"));
        };
        // The message of the server contains no values of the row.
        let sentence = |error: &Error| error.as_db_error().map(|error| error.message().to_owned());
        done.map_err(|error| LoginStoreError::new(sentence(&error).unwrap_or(error.to_string())))
    }

    fn run<T, F>(&self, work: impl FnOnce(Self) -> F) -> LoginStoreFuture<T>
    where
        T: 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let (store, work) = (self.clone(), work(self.clone()));
        Box::pin(async move { store.within(work).await })
    }
}

impl LoginStore for PostgresLogins {
    fn insert(&self, it: StoredSession) -> LoginStoreFuture<()> {
        let statement = "INSERT INTO login_sessions (id, subject, version, expires_at, data)
                         VALUES ($1, $2, $3, $4, $5)";
        self.run(async move |store| {
            let (version, end) = (it.version.cast_signed(), it.expires_at.cast_signed());
            let values = [
                text(&it.id),
                text(&it.subject),
                number(&version),
                number(&end),
                text(&it.data),
            ];
            let inserted = store
                .client()
                .await?
                .execute_typed(statement, &values)
                .await;
            inserted.map(drop)
        })
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let statement = "SELECT * FROM login_sessions WHERE id = $1";
        let id = id.to_owned();
        self.run(async move |store| {
            let id = [text(&id)];
            let row = store
                .client()
                .await?
                .query_typed_opt(statement, &id)
                .await?;
            row.map(session).transpose()
        })
    }

    fn update(&self, it: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        let statement = "UPDATE login_sessions SET version = $1, expires_at = $2, data = $3
                         WHERE id = $4 AND version = $5";
        self.run(async move |store| {
            let (version, end) = (it.version.cast_signed(), it.expires_at.cast_signed());
            let expected = expected_version.cast_signed();
            let values = [
                number(&version),
                number(&end),
                text(&it.data),
                text(&it.id),
                number(&expected),
            ];
            let updated = store
                .client()
                .await?
                .execute_typed(statement, &values)
                .await;
            updated.map(|rows| rows == 1)
        })
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let statement = "SELECT * FROM login_sessions WHERE subject = $1";
        let subject = subject.to_owned();
        self.run(async move |store| {
            let subject = [text(&subject)];
            let rows = store
                .client()
                .await?
                .query_typed(statement, &subject)
                .await?;
            rows.into_iter().map(session).collect()
        })
    }
}

type Value<'v> = (&'v (dyn ToSql + Sync), Type);

fn text(value: &String) -> Value<'_> {
    (value, Type::TEXT)
}

fn number(value: &i64) -> Value<'_> {
    (value, Type::INT8)
}

fn session(row: Row) -> Result<StoredSession, Error> {
    let [version, end] = [row.try_get("version")?, row.try_get("expires_at")?];
    let (id, subject, data) = (
        row.try_get("id")?,
        row.try_get("subject")?,
        row.try_get("data")?,
    );
    let [version, end] = [version, end].map(i64::cast_unsigned);
    Ok(StoredSession::new(id, subject, version, end, data))
}
