//! [`Shared`]: the store of keys that instances share, and how it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use tokio::sync::Notify;

use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::store::SigningKeyStore;
use crate::telemetry::{self, seconds};

/// The store, and how it is.
pub(super) struct Shared {
    pub(super) store: Arc<dyn SigningKeyStore>,
    /// One exchange with the store at a time. The version of the keys that are known here, or 0.
    pub(super) exchanging: tokio::sync::Mutex<u64>,
    pub(super) wake: Arc<Notify>,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    loaded_at: Option<SystemTime>,
    failure: Option<SigningKeyFailure>,
    failures: u32,
}

impl Shared {
    pub(super) fn new(store: impl SigningKeyStore) -> Self {
        Self {
            store: Arc::new(store),
            exchanging: tokio::sync::Mutex::default(),
            wake: Arc::default(),
            health: Mutex::default(),
        }
    }

    /// Lets the task look at the store now.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// The last failure, until the store answers again.
    pub(super) fn failure(&self) -> Option<SigningKeyFailure> {
        self.health().failure.clone()
    }

    pub(super) fn loaded_at(&self) -> Option<SystemTime> {
        self.health().loaded_at
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, now: SystemTime, result: &Result<(), SigningKeyError>) {
        let mut health = self.health();
        match result {
            Err(SigningKeyError::Unavailable { reason }) => {
                let since = health
                    .failure
                    .as_ref()
                    .map_or(now, |failure| failure.since());
                telemetry::signing_keys_failed(reason, health.failure.is_none());
                health.failure = Some(SigningKeyFailure::new(since, reason.clone()));
                health.failures = health.failures.saturating_add(1);
            }
            _ => {
                if health.failure.take().is_some() {
                    telemetry::signing_keys_recovered();
                }
                health.failures = 0;
                health.loaded_at = Some(now);
            }
        }
    }

    /// The time until the task looks at the store again.
    pub(super) fn pause(&self, lead: u64) -> Duration {
        let quarter = Duration::from_secs(lead) / 4;
        match self.health().failures {
            0 => quarter,
            failures => {
                let doubled = 1_u32.checked_shl(failures.min(10)).unwrap_or(u32::MAX);
                RETRY.saturating_mul(doubled).min(quarter)
            }
        }
    }
}

/// Its task ends at once.
impl Drop for Shared {
    fn drop(&mut self) {
        self.wake();
    }
}

/// The failure of a store.
#[derive(Clone, Debug, Serialize)]
pub struct SigningKeyFailure {
    #[serde(serialize_with = "as_seconds_of")]
    since: SystemTime,
    reason: String,
}

impl SigningKeyFailure {
    pub(super) fn new(since: SystemTime, reason: String) -> Self {
        Self { since, reason }
    }

    /// The time of the first failure since the last success.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Why the last attempt failed.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

pub(super) fn as_seconds_of<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(seconds(*time))
}

/// The first pause after a failure is twice this.
const RETRY: Duration = Duration::from_secs(1);
