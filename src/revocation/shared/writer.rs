//! [`Writer`]: the changes that this process makes.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use crate::revocation::RevokeError;
use crate::revocation::shared::entry::target_text;
use crate::revocation::shared::follow::{Times, within};
use crate::revocation::shared::near::Near;
use crate::revocation::shared::store::{Change, Connect, Outcome, Store, StoreError, Written};

/// Writes changes through one connection, which it replaces after a failure.
pub(super) struct Writer<C: Connect> {
    connect: Arc<C>,
    near: Arc<Near>,
    times: Times,
    store: Mutex<Option<C::Store>>,
    running: Semaphore,
}

impl<C: Connect> Writer<C> {
    pub(super) fn new(connect: Arc<C>, near: Arc<Near>) -> Self {
        let times = Times::for_lag(near.max_lag);
        Self {
            connect,
            near,
            times,
            store: Mutex::default(),
            running: Semaphore::new(MOST_WRITES),
        }
    }

    /// Makes a change, first in the store and then in the copy. Returns whether the store has changed.
    pub(super) async fn write(&self, change: Change) -> Result<bool, RevokeError> {
        if target_text(&change.target).is_none() {
            return Err(RevokeError::TooLong);
        }
        let _running = self
            .running
            .try_acquire()
            .map_err(|_| unavailable(&StoreError(format!("{MOST_WRITES} changes are running"))))?;
        let written = match self.attempt(&change).await {
            Ok(written) => written,
            // The connection may have been closed since the last change. A second one does no harm.
            Err((_, true)) => {
                let again = self.attempt(&change).await;
                again.map_err(|(error, _)| unavailable(&error))?
            }
            Err((error, false)) => return Err(unavailable(&error)),
        };
        self.near.own(&change, &written);
        match written.outcomes.first() {
            Some(Outcome::Stored { has_changed, .. }) => Ok(*has_changed),
            Some(Outcome::Full) => Err(RevokeError::Full),
            Some(Outcome::Unknown) => Err(unavailable(&StoreError(
                "the target has marks of a newer version".to_owned(),
            ))),
            None => Err(unavailable(&StoreError("no result".to_owned()))),
        }
    }

    /// Writes once. An error says whether the connection was an old one.
    async fn attempt(&self, change: &Change) -> Result<Written, (StoreError, bool)> {
        let (mut store, is_old) = self.store().await.map_err(|error| (error, false))?;
        let changes = std::slice::from_ref(change);
        let result = within(self.times.timeout, store.write(changes)).await;
        if result.is_err() {
            self.store.lock().await.take();
        }
        result.map_err(|error| (error, is_old))
    }

    async fn store(&self) -> Result<(C::Store, bool), StoreError> {
        let mut place = within(self.times.timeout, async { Ok(self.store.lock().await) }).await?;
        if let Some(store) = &*place {
            return Ok((store.clone(), true));
        }
        let store = within(self.times.timeout, self.connect.connect()).await?;
        *place = Some(store.clone());
        Ok((store, false))
    }
}

pub(super) fn unavailable(error: &StoreError) -> RevokeError {
    RevokeError::Unavailable {
        reason: error.0.clone(),
    }
}

/// The maximum number of changes at the same time.
const MOST_WRITES: usize = 1_024;
