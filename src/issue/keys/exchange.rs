//! How the keys of a process and those in a store are brought together.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::ring::Ring;
use crate::issue::keys::schedule::{self, Rules};
use crate::issue::keys::shared::Shared;
use crate::issue::keys::signing_key::Slot;
use crate::issue::keys::store::{SigningKeyStoreError, StoredKeys};
use crate::issue::keys::stored;
use crate::unwind::unless_panicked;

impl Ring {
    /// Reads the store again, and does what is due.
    pub(super) async fn refresh(self: &Arc<Self>) -> Result<(), SigningKeyError> {
        self.exchange(|slots, _, _| Ok(slots.to_vec())).await
    }

    /// Changes the stored keys.
    pub(super) async fn change_stored(
        self: &Arc<Self>,
        change: impl Fn(&[Slot], u64, &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let mut changing = Changing {
            ring: self,
            is_done: false,
        };
        let result = self.exchange(change).await;
        changing.is_done = true;
        result
    }

    /// Reads and changes the stored keys. Does what is due on the way.
    async fn exchange(
        self: &Arc<Self>,
        change: impl Fn(&[Slot], u64, &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let mut known = shared.exchanging.lock().await;
        let result = self.attempts(shared, &mut known, change).await;
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
        known: &mut u64,
        change: impl Fn(&[Slot], u64, &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        for _ in 0..ATTEMPTS {
            let stored = within(async { shared.store.load().await }).await?;
            let slots = match &stored {
                None => Vec::new(),
                Some(stored) => stored::read(stored.as_bytes())?,
            };
            let expected = stored.as_ref().map(StoredKeys::version);
            let version = expected.unwrap_or(0);
            let (now, rules) = (self.now(), self.rules());
            let good = self.good(&slots, version, *known, now, &rules)?;
            let changed = change(&good, now, &rules);
            if changed.is_err() && is_same(&good, &slots) {
                self.put(slots.clone(), now);
                *known = version;
            }
            let next = self.tended(changed?, now, rules).await?;
            if is_same(&slots, &next) {
                self.put(next, now);
                *known = version;
                return Ok(());
            }
            let version = version.max(*known).saturating_add(1);
            let keys = StoredKeys::new(version, stored::write(&next)?);
            if within(async { shared.store.save(keys, expected).await }).await? {
                self.put(next, now);
                *known = version;
                return Ok(());
            }
            // Another instance was first.
        }
        Err(SigningKeyError::Unavailable {
            reason: format!("another instance was first {ATTEMPTS} times"),
        })
    }

    /// The keys to go on with: the stored ones, or those that are known here if the stored ones cannot be right.
    ///
    /// A store that was flushed, or set back to an older version, gets the keys of an instance that runs. So it does
    /// if its keys were made by a clock that is far ahead. Otherwise tokens that live would be rejected, and keys
    /// that were revoked would come back.
    fn good(
        &self,
        stored: &[Slot],
        version: u64,
        known: u64,
        now: u64,
        rules: &Rules,
    ) -> Result<Vec<Slot>, SigningKeyError> {
        let own = self.slots();
        let is_lost = version < known || (version == known && !is_same(stored, &own));
        let is_ahead = rules.is_of_the_future(stored, now);
        let is_usable = !own.is_empty() && !rules.is_of_the_future(&own, now);
        if is_usable && (is_lost || is_ahead) {
            return Ok(own.to_vec());
        }
        if is_ahead {
            // Nobody knows whose clock is wrong, and new keys would let the tokens of all others die.
            return Err(SigningKeyError::Unavailable {
                reason: "the stored keys begin to sign in the far future: set the clock of this machine, or \
                         delete them if the clock that made them was wrong"
                    .to_owned(),
            });
        }
        Ok(stored.to_vec())
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
}

/// A change that is under way. If its future is dropped, the store may have keys that are not in use here. Then the
/// task looks at once.
struct Changing<'r> {
    ring: &'r Ring,
    is_done: bool,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.ring.look_soon();
        }
    }
}

fn is_same(first: &[Slot], second: &[Slot]) -> bool {
    let known = |slot: &Slot| (slot.times, slot.key.id().clone());
    first.iter().map(known).eq(second.iter().map(known))
}

async fn within<T>(
    call: impl Future<Output = Result<T, SigningKeyStoreError>>,
) -> Result<T, SigningKeyError> {
    let result = match timeout(TIMEOUT, unless_panicked(call)).await {
        Ok(Some(result)) => result,
        Ok(None) => Err(SigningKeyStoreError::new(
            "the code of the store has panicked",
        )),
        Err(_) => Err(SigningKeyStoreError::new("no answer in 5 s")),
    };
    result.map_err(|error| SigningKeyError::Unavailable {
        reason: error.to_string(),
    })
}

/// The timeout of a store.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often others may be first.
const ATTEMPTS: usize = 16;
