//! What a source does with the store whose keys it loads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::keys::change::{ChangeCause, KeyChange};
use crate::keys::contents::Contents;
use crate::keys::generation::Snapshot;
use crate::keys::key_source::KeySource;
use crate::keys::set::KeySet;
use crate::keys::store::{KeyStore, Shared};

impl KeyStore {
    /// A store whose keys are loaded again by a task.
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

    /// Whether this set was loaded last. What the application decided does not count.
    pub(super) fn has_same_keys(&self, set: &KeySet) -> bool {
        self.load().contents.is_base(set)
    }

    /// Takes a loaded set, which is given up at `end` unless a load succeeds before. Keys that it no
    /// longer has verify for `overlap` more.
    pub(super) fn refreshed(&self, set: &KeySet, end: Instant, overlap: Duration) -> KeyChange {
        self.change_all(ChangeCause::Refresh, |contents, now| {
            let overlap_end = (!overlap.is_zero()).then(|| now.plus(overlap));
            contents.refresh(set, end.into_std(), now, overlap_end);
        })
    }

    /// Puts off the end of the loaded keys, which the source still has. The keys are the same, and
    /// so is the generation. `false` if they were given up meanwhile.
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

    /// Takes the keys of an earlier run until this end, if none were loaded yet; says whether it has.
    #[cfg(feature = "remote")]
    pub(super) fn begin_with(&self, kept: &KeySet, end: Instant) -> bool {
        let change = self.change(ChangeCause::Refresh, |contents, now| {
            contents.begin_with(kept, end.into_std(), now)
        });
        change.is_some()
    }

    /// Whether there is a set that was loaded.
    pub(super) fn has_loaded_keys(&self) -> bool {
        self.load().contents.has_base()
    }
}
