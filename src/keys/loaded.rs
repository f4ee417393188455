//! The methods of a store for the task that loads its keys.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::keys::change::{ChangeCause, KeyChange};
use crate::keys::contents::Contents;
use crate::keys::generation::Snapshot;
use crate::keys::key::KeyId;
use crate::keys::key_source::KeySource;
use crate::keys::set::KeySet;
use crate::keys::store::{KeyStore, Shared};

impl KeyStore {
    /// A store whose keys are loaded by a task.
    pub(super) fn refreshing(
        first: Option<(KeySet, Instant)>,
        source: impl KeySource + 'static,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let first = first.map(|(set, end)| (set, end.into_std()));
        Self::first(Contents::fetched(first), Some(Box::new(source)), clock)
    }

    pub(super) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Whether this is the last set that was loaded.
    pub(super) fn has_same_keys(&self, set: &KeySet) -> bool {
        self.load().contents.is_base(set)
    }

    /// Stores a loaded set, which is given up at `end` if no load succeeds. Keys that are no longer in
    /// it verify tokens for the time `overlap`.
    pub(super) fn refreshed(&self, set: &KeySet, end: Instant, overlap: Duration) -> KeyChange {
        self.change_all(ChangeCause::Refresh, |contents, now| {
            let overlap_end = (!overlap.is_zero()).then(|| now.plus(overlap));
            contents.refresh(set, end.into_std(), now, overlap_end);
        })
    }

    /// Postpones the end of the loaded keys, because the source still has them. The generation stays the
    /// same. Returns `false` if the keys were given up in the meantime.
    pub(super) fn extend(&self, end: Instant) -> bool {
        let mut is_there = false;
        self.shared.current.rcu(|current| {
            let mut contents = current.contents.clone();
            is_there = contents.extend(end.into_std());
            Snapshot {
                set: current.set.clone(),
                generation: current.generation,
                contents,
            }
        });
        is_there
    }

    /// Stores the saved keys of an earlier run, unless keys were loaded. Returns whether it did.
    #[cfg(feature = "remote")]
    pub(super) fn begin_with(&self, kept: &KeySet, end: Instant) -> bool {
        let change = self.change(ChangeCause::Refresh, |contents, now| {
            contents.begin_with(kept, end.into_std(), now)
        });
        change.is_some()
    }

    pub(super) fn has_loaded_keys(&self) -> bool {
        self.load().contents.has_base()
    }

    /// The ids of the keys that verify tokens now.
    pub(super) fn ids(&self) -> Vec<KeyId> {
        let set = self.snapshot();
        let keys = set.iter().flat_map(KeySet::keys);
        keys.map(|key| key.id().clone()).collect()
    }
}

/// # The public side of signing keys
#[cfg(feature = "issue")]
impl KeyStore {
    /// Replaces all keys. Keys that are no longer in the set are dead.
    pub(crate) fn follow(&self, set: &KeySet) {
        self.change_all(ChangeCause::Replace, |contents, now| {
            contents.follow(set, now);
        });
    }

    pub(crate) fn weak(&self) -> WeakKeyStore {
        WeakKeyStore(self.downgrade())
    }
}

/// A store that may have been dropped.
#[cfg(feature = "issue")]
pub(crate) struct WeakKeyStore(Weak<Shared>);

#[cfg(feature = "issue")]
impl WeakKeyStore {
    pub(crate) fn upgrade(&self, clock: Arc<dyn Clock>) -> Option<KeyStore> {
        let shared = self.0.upgrade()?;
        Some(KeyStore::from_shared(shared, clock))
    }
}
