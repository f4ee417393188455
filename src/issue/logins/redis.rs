//! [`RedisLogins`]: sessions that all instances of a service share, on Redis or Valkey.
//!
//! | key | type | content |
//! |---|---|---|
//! | `{namespace}:session:ID` | hash | `subject`, `version`, `expires_at` and `data` of a session, and the id of the last `write` |
//! | `{namespace}:subject:SUBJECT` | sorted set | the ids of the sessions of a subject, by `expires_at` |
//!
//! Both have an expiry. The braces put all keys into one slot of a cluster, because a script changes two of
//! them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::config::ConfigError;
use crate::issue::logins::store::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};
use crate::redis_node;

/// Stores the sessions that all instances of a service share in Redis (6.2 or later) or Valkey.
///
/// Each write is one script, so it is applied completely or not at all. Sessions expire automatically. If
/// the server does not answer within [`timeout`](Self::timeout), the operation fails, and the answer is
/// 503.
///
/// Redis contains the subject, the device and your own claims for each session as plain text, but nothing that
/// could be used as a token. Protect it with a password or an ACL, and with TLS if the network is not yours.
/// Use a `maxmemory-policy` that evicts nothing. If a session is evicted, its user is logged out. If the list
/// of the sessions of a subject is evicted, [`Logins::end_all`](crate::issue::Logins::end_all) does not find
/// them.
///
/// Redis acknowledges a write before it is stored on its disk and its replicas, so a failover can lose the
/// last writes. Then a session that has just begun is unknown, a session that was just refreshed continues
/// with the newer token, and a session that was just ended is active again. With `appendfsync always`, or
/// `min-replicas-to-write` and one primary, this is unlikely.
///
/// Clones share one connection, which is opened when it is needed. In a cluster, the client has the address of
/// any node.
///
/// # Example
///
/// ```no_run
/// use tower_jwt_auth::issue::{Logins, RedisLogins, RefreshKeys, TokenIssuer};
///
/// # async fn f(tokens: TokenIssuer, secret: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://redis.internal:6379")?;
/// let store = RedisLogins::new(client, "calendar")?;
/// store.check().await?; // at startup, to detect a wrong address
/// let logins = Logins::new(tokens, RefreshKeys::from_secret(secret)?, store);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisLogins {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    client: Client,
    namespace: String,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisLogins {
    /// Creates a store that uses this client, which holds the address, the user, the password and the
    /// certificates. The namespace is the prefix of all keys. Instances with the same namespace share their
    /// sessions.
    ///
    /// This opens no connection. The store must be used within a tokio runtime with IO and timers.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SessionStore`] if the namespace is empty, longer than 128 bytes, or has characters
    /// other than visible ASCII without braces.
    pub fn new(client: Client, namespace: &str) -> Result<Self, ConfigError> {
        if !redis_node::is_namespace(namespace) {
            return Err(ConfigError::SessionStore {
                input: redis_node::shown(namespace),
                reason: redis_node::NAMESPACE.to_owned(),
            });
        }
        Ok(Self {
            shared: Arc::new(Shared {
                client,
                namespace: namespace.to_owned(),
                connection: Mutex::default(),
            }),
            timeout: TIMEOUT,
        })
    }

    /// Sets the timeout of each operation: 10 milliseconds to 60 seconds. Default: 2 seconds.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.clamp(Duration::from_millis(10), Duration::from_secs(60));
        self
    }

    /// Checks that the server answers. Use it when the service starts, and in its readiness check.
    ///
    /// # Errors
    ///
    /// [`LoginStoreError`] if the server does not answer.
    pub async fn check(&self) -> Result<(), LoginStoreError> {
        let mut ping = Pipeline::new();
        ping.cmd("PING").ignore();
        self.ask(ping).await
    }

    fn row(&self, id: &str) -> String {
        format!("{{{}}}:session:{id}", self.shared.namespace)
    }

    fn index(&self, subject: &str) -> String {
        format!("{{{}}}:subject:{subject}", self.shared.namespace)
    }

    /// A script that writes a session. `expected` is the version that must be stored, or 0 for none.
    fn write(&self, session: &StoredSession, expected: u64) -> Pipeline {
        let mut command = redis::cmd("EVAL");
        command.arg(WRITE).arg(2);
        command
            .arg(self.row(&session.id))
            .arg(self.index(&session.subject));
        command.arg(&session.id).arg(&session.subject).arg(expected);
        command
            .arg(session.version)
            .arg(session.expires_at)
            .arg(&session.data);
        // Tells a write that was acknowledged to nobody from an equal one of another instance.
        let mut write = [0_u8; 16];
        let has_id = fill(&mut write).is_ok();
        command.arg(if has_id { &write[..] } else { b"" });
        one(command)
    }

    /// Asks within the timeout. A connection may have been closed since it was used last, or another node of
    /// the cluster may have the keys by now. So a failure on an old connection is tried again with a new one. A
    /// script can run twice: the second time it finds the id of its own write.
    async fn ask<T: FromRedisValue>(&self, commands: Pipeline) -> Result<T, LoginStoreError> {
        let asking = async {
            let (mut connection, is_old) = self.connection().await?;
            let answer = commands.query_async(&mut connection).await;
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // A server that answers with an error may be of no use either: after a failover it is a replica,
            // and the address has another primary.
            self.shared.connection.lock().await.take();
            if !is_old || !(is_broken(&error) || redis_node::has_moved(&error)) {
                return Err(error);
            }
            let (mut connection, _) = self.connection().await?;
            commands.query_async(&mut connection).await
        };
        match timeout(self.timeout, asking).await {
            Ok(answer) => answer.map_err(|error| self.failed(error)),
            Err(_) => {
                // Whatever the connection waits for, the next operation does not wait for it.
                if let Ok(mut connection) = self.shared.connection.try_lock() {
                    connection.take();
                }
                let seconds = self.timeout.as_secs_f64();
                Err(self.failed(format_args!("no answer in {seconds} s")))
            }
        }
    }

    /// Names the server, without user and password.
    fn failed(&self, reason: impl fmt::Display) -> LoginStoreError {
        let addr = self.shared.client.get_connection_info().addr();
        LoginStoreError::new(format_args!("{addr}: {reason}"))
    }

    /// The connection, and whether it was used before.
    async fn connection(&self) -> Result<(MultiplexedConnection, bool), RedisError> {
        let mut place = self.shared.connection.lock().await;
        if let Some(connection) = &*place {
            return Ok((connection.clone(), true));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout));
        let client = &self.shared.client;
        let connection = redis_node::connect(client, &self.row(""), &config).await?;
        *place = Some(connection.clone());
        Ok((connection, false))
    }

    fn run<T, F>(&self, run: impl FnOnce(Self) -> F) -> LoginStoreFuture<T>
    where
        F: Future<Output = Result<T, LoginStoreError>> + Send + 'static,
    {
        Box::pin(run(self.clone()))
    }
}

/// Prints the address and the namespace, without user and password.
impl fmt::Debug for RedisLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.shared.client.get_connection_info().addr();
        f.debug_struct("RedisLogins")
            .field("namespace", &self.shared.namespace)
            .field("address", &addr.to_string())
            .finish_non_exhaustive()
    }
}

impl LoginStore for RedisLogins {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        self.run(async move |store| {
            let (is_written,): (bool,) = store.ask(store.write(&session, 0)).await?;
            is_written
                .then_some(())
                .ok_or_else(|| LoginStoreError::new("a session with this id is there"))
        })
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let id = id.to_owned();
        self.run(async move |store| {
            let (fields,): (Fields,) = store.ask(one(read(&store.row(&id)))).await?;
            session(id, fields)
        })
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        self.run(async move |store| {
            if expected_version == 0 {
                // No session has this version.
                return Ok(false);
            }
            let (is_written,): (bool,) = store.ask(store.write(&session, expected_version)).await?;
            Ok(is_written)
        })
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let index = self.index(subject);
        self.run(async move |store| {
            let mut range = redis::cmd("ZRANGE");
            range.arg(index).arg(0).arg(-1);
            let (ids,): (Vec<String>,) = store.ask(one(range)).await?;
            let mut found = Vec::new();
            for ids in ids.chunks(PAGE) {
                let mut reads = Pipeline::new();
                for id in ids {
                    reads.add_command(read(&store.row(id)));
                }
                let rows: Vec<Fields> = store.ask(reads).await?;
                for (id, fields) in ids.iter().zip(rows) {
                    found.extend(session(id.clone(), fields)?);
                }
            }
            Ok(found)
        })
    }
}

type Fields = (Option<String>, Option<u64>, Option<u64>, Option<String>);

fn one(command: Cmd) -> Pipeline {
    let mut commands = Pipeline::new();
    commands.add_command(command);
    commands
}

fn read(row: &str) -> Cmd {
    let mut command = redis::cmd("HMGET");
    command
        .arg(row)
        .arg("subject")
        .arg("version")
        .arg("expires_at")
        .arg("data");
    command
}

fn session(id: String, fields: Fields) -> Result<Option<StoredSession>, LoginStoreError> {
    match fields {
        (Some(subject), Some(version), Some(expires_at), Some(data)) => {
            let session = StoredSession::new(id, subject, version, expires_at, data);
            Ok(Some(session))
        }
        (None, None, None, None) => Ok(None),
        _ => Err(LoginStoreError::new("a session is stored in part only")),
    }
}

/// Whether the connection is of no use any more. An answer that is an error leaves it usable.
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_connection_dropped() || error.is_timeout()
}

/// Writes a session if its stored version is the expected one. Gives 1 if it was written, now or by the same
/// call before.
const WRITE: &str = r"
local row, index = KEYS[1], KEYS[2]
local id, subject, expected, version, ends, data, write = unpack(ARGV)
local stored = redis.call('HGET', row, 'version') or '0'
if stored ~= expected then
  if write ~= '' and redis.call('HGET', row, 'write') == write then return 1 end
  return 0
end
redis.call('HSET', row, 'subject', subject, 'version', version, 'expires_at', ends, 'data', data, 'write', write)
redis.call('EXPIREAT', row, ends)
redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. redis.call('TIME')[1])
redis.call('ZADD', index, ends, id)
local last = redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', index, string.format('%.0f', tonumber(last[2])))
return 1
";
const TIMEOUT: Duration = Duration::from_secs(2);
/// The number of sessions that are read at once.
const PAGE: usize = 500;
