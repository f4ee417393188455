//! [`Server`]: Redis or Valkey behind a [`Store`].
//!
//! | key | type | content |
//! |---|---|---|
//! | `{namespace}:marks` | hash | target to marks, and the head of the store: `#id`, `#number`, `#run`, `#past` |
//! | `{namespace}:ends` | sorted set | the targets by the end of their marks |
//! | `{namespace}:lifted` | sorted set | the targets whose suspensions were lifted in the last day |
//! | `{namespace}:log` | stream | the changes; the id of an entry is the number of its change |
//!
//! The braces put all keys into one slot of a cluster. A change is one script, so a connection that
//! breaks leaves all of it or nothing.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, RedisError, Value};

use crate::clock::Clock;
use crate::redis_node;
use crate::revocation::marks::Mark;
use crate::revocation::shared::answers;
use crate::revocation::shared::entry::{
    Entry, Row, as_stored, milliseconds, target_text, until_text,
};
use crate::revocation::shared::store::{
    Beat, Change, Connect, Head, Store, StoreError, Wish, Written,
};

/// The settings of the connections.
pub(super) struct Server {
    client: Client,
    keys: Arc<Keys>,
    capacity: usize,
    clock: Arc<dyn Clock>,
    timeout: Duration,
}

struct Keys {
    namespace: String,
    marks: String,
    ends: String,
    log: String,
    lifted: String,
}

/// One connection, which clones share.
#[derive(Clone)]
pub(super) struct Connection {
    connection: MultiplexedConnection,
    keys: Arc<Keys>,
    capacity: usize,
    clock: Arc<dyn Clock>,
}

impl Server {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        capacity: usize,
        clock: Arc<dyn Clock>,
        timeout: Duration,
    ) -> Self {
        let key = |name| format!("{{{namespace}}}:{name}");
        Self {
            client,
            keys: Arc::new(Keys {
                namespace: namespace.to_owned(),
                marks: key("marks"),
                ends: key("ends"),
                log: key("log"),
                lifted: key("lifted"),
            }),
            capacity,
            clock,
            timeout,
        }
    }
}

/// The address and the namespace, without user and password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addr = self.client.get_connection_info().addr();
        write!(f, "{} at {addr}", self.keys.namespace)
    }
}

impl Connect for Server {
    type Store = Connection;

    async fn connect(&self) -> Result<Connection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            // A read waits for changes. Each caller has its own timeout.
            .set_response_timeout(None);
        let connection = redis_node::connect(&self.client, &self.keys.marks, &config).await?;
        Ok(Connection {
            connection,
            keys: Arc::clone(&self.keys),
            capacity: self.capacity,
            clock: Arc::clone(&self.clock),
        })
    }
}

impl Connection {
    /// A script with its keys, and the arguments of `head.lua`.
    fn script(&self, text: &str, known: Option<&Head>) -> Cmd {
        let mut command = redis::cmd("EVAL");
        let Keys {
            marks,
            ends,
            log,
            lifted,
            ..
        } = &*self.keys;
        command.arg(text).arg(4);
        command.arg(marks).arg(ends).arg(log).arg(lifted);
        command.arg(new_id());
        command.arg(known.map_or("", |known| &*known.id));
        command.arg(known.map_or(0, |known| known.number));
        command
    }

    async fn ask(&mut self, command: &Cmd) -> Result<Value, StoreError> {
        let value = self.connection.send_packed_command(command).await?;
        Ok(value.extract_error()?)
    }
}

impl Store for Connection {
    async fn beat(&mut self, known: Option<&Head>) -> Result<Beat, StoreError> {
        let answer = self.ask(&self.script(BEAT, known)).await?;
        answers::beat(answer).ok_or_else(|| unexpected("the script of the head"))
    }

    async fn page(&mut self, cursor: u64) -> Result<(u64, Vec<Row>), StoreError> {
        let mut command = redis::cmd("HSCAN");
        command
            .arg(&self.keys.marks)
            .arg(cursor)
            .arg("COUNT")
            .arg(PAGE);
        let answer = self.ask(&command).await?;
        answers::page(answer).ok_or_else(|| unexpected("HSCAN"))
    }

    async fn read(&mut self, after: u64, wait: Option<Duration>) -> Result<Vec<Entry>, StoreError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(PAGE);
        if let Some(wait) = wait {
            // 0 would mean for ever.
            command
                .arg("BLOCK")
                .arg(u64::try_from(wait.as_millis()).unwrap_or(1).max(1));
        }
        command
            .arg("STREAMS")
            .arg(&self.keys.log)
            .arg(format!("{after}-0"));
        let answer = self.ask(&command).await?;
        answers::entries(answer).ok_or_else(|| unexpected("XREAD"))
    }

    async fn write(&mut self, changes: &[Change]) -> Result<Written, StoreError> {
        let mut command = self.script(WRITE, None);
        command.arg(milliseconds(self.clock.now()));
        command.arg(self.capacity);
        command.arg(LOG_LENGTH);
        command.arg(u64::try_from(LOG_LIFE.as_millis()).unwrap_or(u64::MAX));
        for change in changes {
            command.arg(target_text(&change.target).unwrap_or_default());
            let (operation, marks) = match &change.wish {
                Wish::Add(marks) => ("add", as_stored(*marks)),
                Wish::Lift => ("lift", Default::default()),
                Wish::Restore(marks) => ("restore", as_stored(*marks)),
            };
            command.arg(operation);
            for mark in [marks.revocation, marks.suspension] {
                let until = mark.as_ref().map(until_text);
                let ends = mark.map(|Mark { ends, .. }| milliseconds(ends).to_string());
                command.arg(until.unwrap_or_default());
                command.arg(ends.unwrap_or_default());
            }
        }
        let answer = self.ask(&command).await?;
        let written = answers::written(answer);
        let written = written.filter(|written| written.outcomes.len() == changes.len());
        written.ok_or_else(|| unexpected("the script of a change"))
    }
}

/// The text of the server, which has no password.
impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

fn unexpected(command: &str) -> StoreError {
    StoreError(format!("the server gave an unexpected answer to {command}"))
}

/// An id that no other store has.
fn new_id() -> String {
    let part = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", part(), part())
}

const BEAT: &str = concat!(include_str!("head.lua"), include_str!("beat.lua"));
const WRITE: &str = concat!(include_str!("head.lua"), include_str!("write.lua"));
/// The number of rows or entries in an answer.
const PAGE: usize = 1_000;
/// An instance that is further behind reads all marks.
const LOG_LENGTH: usize = 50_000;
/// The log is removed so long after the last change. It is needed only by instances that are behind.
const LOG_LIFE: Duration = Duration::from_secs(3_600);
