//! [`RedisSettings`]: a shared denylist that is not connected yet.

use std::fmt;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::redis_node;
use crate::revocation::shared::follow::Times;
use crate::revocation::shared::near::Near;
use crate::revocation::shared::server::Server;
use crate::revocation::shared::{RedisDenylist, Shared};

/// The settings of a [`RedisDenylist`]. [`connect`](Self::connect) starts it.
#[must_use = "call `connect().await?` or `connect_lazy()?`"]
pub struct RedisSettings {
    client: redis::Client,
    namespace: String,
    max_lag: Duration,
    accepts_when_behind: bool,
    capacity: usize,
    clock: Arc<dyn Clock>,
}

impl RedisSettings {
    pub(super) fn new(client: redis::Client, namespace: &str) -> Result<Self, ConfigError> {
        if !redis_node::is_namespace(namespace) {
            return Err(ConfigError::SharedDenylist {
                input: redis_node::shown(namespace),
                reason: redis_node::NAMESPACE.to_owned(),
            });
        }
        Ok(Self {
            client,
            namespace: namespace.to_owned(),
            max_lag: MAX_LAG,
            accepts_when_behind: false,
            capacity: CAPACITY,
            clock: Arc::new(SystemClock),
        })
    }

    /// Sets the maximum age of the copy in memory. If the copy is older, requests are answered with 503.
    /// Default: 5 seconds. Minimum: 100 milliseconds.
    ///
    /// The task checks Redis five times in this period, and at least once per second.
    pub fn max_lag(mut self, max_lag: Duration) -> Self {
        self.max_lag = max_lag.clamp(SHORTEST_LAG, LONGEST_LAG);
        self
    }

    /// Checks tokens against the copy in memory however old it is, instead of answering with 503. Default:
    /// off.
    ///
    /// # Security
    ///
    /// While Redis cannot be reached, tokens that other instances revoke are accepted until they expire.
    /// A process that has never reached Redis knows no marks. Keep the lifetime of tokens short, and
    /// monitor [`RedisDenylist::is_ready`].
    pub fn insecure_accept_when_behind(mut self) -> Self {
        self.accepts_when_behind = true;
        self
    }

    /// Sets the maximum number of targets in Redis, of all kinds together, for marks that this process
    /// stores. On a full list, a mark for a new target fails with
    /// [`RevokeError::Full`](super::super::RevokeError::Full). Default: 100 000, which take about 40 MB
    /// in Redis.
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.capacity = capacity;
        self
    }

    /// Sets the clock that determines when marks end. Default: the clock of the operating system.
    /// Redis removes a mark when both this clock and its own clock have reached the end.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects, and waits until all marks are loaded.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SharedDenylist`] if the first attempt fails, or outside a tokio runtime with
    /// timers and IO.
    pub async fn connect(self) -> Result<RedisDenylist, ConfigError> {
        let list = self.connect_lazy()?;
        if let Err(reason) = list.0.loaded().await {
            let input = list.0.near.progress().source.clone();
            return Err(ConfigError::SharedDenylist { input, reason });
        }
        Ok(list)
    }

    /// Connects in the background. Until the marks are loaded, requests are answered with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SharedDenylist`] outside a tokio runtime with timers.
    pub fn connect_lazy(self) -> Result<RedisDenylist, ConfigError> {
        let timeout = Times::for_lag(self.max_lag).timeout;
        let (capacity, clock) = (self.capacity, self.clock);
        let near = Near::new(
            Arc::clone(&clock),
            self.max_lag,
            self.accepts_when_behind,
            capacity,
        );
        let server = Server::new(self.client, &self.namespace, capacity, clock, timeout);
        let runtime = runtime().map_err(|reason| ConfigError::SharedDenylist {
            input: server.to_string(),
            reason: reason.to_owned(),
        })?;
        Ok(RedisDenylist(Arc::new(Shared::start(
            server, near, runtime,
        ))))
    }
}

/// Prints the namespace and the limits, and nothing of the client.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("namespace", &self.namespace)
            .field("max_lag", &self.max_lag)
            .field("accepts_when_behind", &self.accepts_when_behind)
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// The current runtime, if it can run the task.
fn runtime() -> Result<Handle, &'static str> {
    let runtime =
        Handle::try_current().map_err(|_| "expected to be called inside of a tokio runtime")?;
    // Tokio has no function that tells whether a runtime has timers.
    catch_unwind(|| drop(sleep(Duration::ZERO)))
        .map_err(|_| "the tokio runtime has no timers: build it with `enable_all`")?;
    Ok(runtime)
}

const MAX_LAG: Duration = Duration::from_secs(5);
const SHORTEST_LAG: Duration = Duration::from_millis(100);
/// A year, which the arithmetic of times can bear.
const LONGEST_LAG: Duration = Duration::from_secs(31_536_000);
const CAPACITY: usize = 100_000;
