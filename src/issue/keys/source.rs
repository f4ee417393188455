//! [`SharedKeys`]: the store of shared keys, as the source of the verifying side.
//!
//! The task that loads keys is the same as for the keys of another issuer. So an instance that has missed a rotation
//! looks at the store when it gets a token with an unknown key id: once for all requests that wait, and within the
//! allowance for such loads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::config::ConfigError;
use crate::issue::keys::ring::Ring;
use crate::keys::source::load::{FAR, Load, LoadError, Loaded, Schedule, Start};
use crate::keys::source::refresh::Refresher;
use crate::keys::store::KeyStore;

/// Reads the store again, and changes the verifying side by itself.
struct SharedKeys(Arc<Ring>);

impl Load for SharedKeys {
    async fn load(&mut self) -> Result<Loaded, LoadError> {
        let refreshed = self.0.refresh().await;
        refreshed.map_err(|error| LoadError::new(error.to_string()))?;
        Ok(loaded(&self.0))
    }

    fn forget(&mut self) {}
}

impl fmt::Display for SharedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shared signing keys")
    }
}

/// Starts the task, which looks at the store as long as somebody has the keys or their verifying side.
pub(super) fn start(ring: &Arc<Ring>) -> Result<KeyStore, ConfigError> {
    let schedule = Schedule {
        timeout: TIMEOUT,
        // With the jitter, a quarter of the lead at most.
        refresh_at: 0.95,
        backoff: (RETRY, LONGEST_RETRY),
        // Each key has its end.
        keep_stale: FAR,
        cooldown: COOLDOWN,
        overlap: Duration::ZERO,
    };
    let start = Start::Loaded(loaded(ring), Instant::now());
    let source = SharedKeys(Arc::clone(ring));
    Refresher::start(source, schedule, start, ring.clock())
}

fn loaded(ring: &Ring) -> Loaded {
    Loaded {
        set: None,
        lifetime: ring.pause(),
    }
}

/// Each call of the store has a timeout of its own.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The first pause after a failure, and the longest one.
const RETRY: Duration = Duration::from_secs(2);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// The time in which unknown key ids cause at most one look at the store, after a burst.
const COOLDOWN: Duration = Duration::from_secs(30);
