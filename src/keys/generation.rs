//! One generation of the keys of a store.

use crate::clock::NumericDate;
use crate::keys::contents::{Contents, DeadCandidate};
use crate::keys::set::KeySet;

/// The keys that one request uses.
pub(crate) struct Snapshot {
    /// `None` if the store has no keys yet, or has given them up.
    pub(crate) set: Option<KeySet>,
    pub(crate) generation: u64,
    /// The contents from which the set was made.
    pub(super) contents: Contents,
}

impl Snapshot {
    pub(super) fn of(contents: Contents, generation: u64, now: NumericDate) -> Self {
        Self {
            set: contents.set(now),
            generation,
            contents,
        }
    }

    /// The dead keys that may have signed a token with this id. Without an id: all dead keys that are in
    /// memory.
    pub(crate) fn dead_keys(&self, id: Option<&str>, now: NumericDate) -> Vec<DeadCandidate<'_>> {
        self.contents.dead(id, now)
    }

    /// The keys that verify tokens at this time. `None` if there are none.
    pub(super) fn live(&self, now: NumericDate) -> Option<KeySet> {
        self.set.as_ref().and_then(|set| set.live(now))
    }
}
