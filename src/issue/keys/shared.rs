//! [`Shared`]: the store of keys that instances share, and how it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::store::SigningKeyStore;
use crate::telemetry::{self, seconds};

/// The store, and how it is.
pub(super) struct Shared {
    pub(super) store: Arc<dyn SigningKeyStore>,
    /// One exchange with the store at a time. The version of the keys that are known here, or 0.
    pub(super) exchanging: tokio::sync::Mutex<u64>,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    loaded_at: Option<SystemTime>,
    failure: Option<SigningKeyFailure>,
}

impl Shared {
    pub(super) fn new(store: impl SigningKeyStore) -> Self {
        Self {
            store: Arc::new(store),
            exchanging: tokio::sync::Mutex::default(),
            health: Mutex::default(),
        }
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
            }
            _ => {
                if health.failure.take().is_some() {
                    telemetry::signing_keys_recovered();
                }
                health.loaded_at = Some(now);
            }
        }
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
