//! How the keys of a process and those in a store are brought together.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::ring::Ring;
use crate::issue::keys::schedule::{self, Rules};
use crate::issue::keys::shared::Shared;
use crate::issue::keys::signing_key::Slot;
use crate::issue::keys::store::{SigningKeyStoreError, StoredKeys};
use crate::issue::keys::stored;

impl Ring {
    /// Reads the store again, and does what is due.
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<(), SigningKeyError> {
        self.exchange(|slots, _, _| Ok(slots.to_vec())).await
    }

    /// Changes the stored keys. Does what is due on the way.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        change: impl Fn(&[Slot], u64, &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let _exchanging = shared.exchanging.lock().await;
        let result = self.attempts(shared, change).await;
        shared.report(self.time(), &result);
        if result.is_err() {
            // Keys end although the store cannot be reached.
            self.put(self.slots().to_vec(), self.now());
        }
        result
    }

    async fn attempts(
        self: &Arc<Self>,
        shared: &Shared,
        change: impl Fn(&[Slot], u64, &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        for _ in 0..ATTEMPTS {
            let stored = within(shared.store.load()).await?;
            let slots = match &stored {
                None => Vec::new(),
                Some(stored) => stored::read(stored.as_bytes())?,
            };
            let (now, rules) = (self.now(), self.rules());
            let changed = change(&slots, now, &rules);
            if changed.is_err() {
                self.put(slots.clone(), now);
            }
            let next = self.tended(changed?, now, rules).await?;
            if is_same(&slots, &next) {
                self.put(next, now);
                return Ok(());
            }
            let expected = stored.as_ref().map(StoredKeys::version);
            let version = expected.unwrap_or(0).saturating_add(1);
            let text = stored::write(&next)?;
            let saving = shared.store.save(StoredKeys::new(version, text), expected);
            if within(saving).await? {
                self.put(next, now);
                return Ok(());
            }
            // Another instance was first.
        }
        Err(SigningKeyError::Unavailable {
            reason: format!("another instance was first {ATTEMPTS} times"),
        })
    }

    /// The keys after what is due. A key is made on a thread that may block.
    async fn tended(
        self: &Arc<Self>,
        slots: Vec<Slot>,
        now: u64,
        rules: Rules,
    ) -> Result<Vec<Slot>, SigningKeyError> {
        if !schedule::is_due(&slots, now, &rules) {
            return Ok(slots);
        }
        let ring = Arc::clone(self);
        let making =
            spawn_blocking(move || schedule::maintained(&slots, now, &rules, || ring.make()));
        making.await.unwrap_or_else(|error| {
            Err(SigningKeyError::Unavailable {
                reason: error.to_string(),
            })
        })
    }

    /// Follows the store as long as somebody has the keys.
    pub(super) fn follow(self: &Arc<Self>, runtime: &Handle) {
        let ring = Arc::downgrade(self);
        runtime.spawn(async move { while follow_once(&ring).await.is_some() {} });
    }
}

async fn follow_once(ring: &Weak<Ring>) -> Option<()> {
    let (wake, pause) = {
        let ring = ring.upgrade()?;
        let shared = ring.shared.as_ref()?;
        (Arc::clone(&shared.wake), shared.pause(ring.rules().lead))
    };
    drop(timeout(pause, wake.notified()).await);
    // A failure is reported, and the keys that are known stay in use.
    drop(ring.upgrade()?.refresh().await);
    Some(())
}

fn is_same(first: &[Slot], second: &[Slot]) -> bool {
    let known = |slot: &Slot| (slot.times, slot.key.id().clone());
    first.iter().map(known).eq(second.iter().map(known))
}

async fn within<T>(
    call: impl Future<Output = Result<T, SigningKeyStoreError>>,
) -> Result<T, SigningKeyError> {
    let result = timeout(TIMEOUT, call).await;
    let result = result.map_err(|_| SigningKeyStoreError::new("no answer in 5 s"));
    result
        .and_then(|result| result)
        .map_err(|error| SigningKeyError::Unavailable {
            reason: error.to_string(),
        })
}

/// The timeout of a store.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often others may be first.
const ATTEMPTS: usize = 16;
