//! One generation of the keys of a store, which a request sees as a whole.

use crate::clock::NumericDate;
use crate::keys::contents::{Contents, DeadCandidate};
use crate::keys::set::KeySet;

/// What one request sees.
pub(crate) struct Snapshot {
    /// `None` until keys were had for the first time.
    pub(crate) set: Option<KeySet>,
    pub(crate) generation: u64,
    /// What the set was made of.
    pub(super) contents: Contents,
}

impl Snapshot {
    /// These contents as a generation.
    pub(super) fn of(contents: Contents, generation: u64, now: NumericDate) -> Self {
        Self {
            set: contents.set(now),
            generation,
            contents,
        }
    }

    /// The keys that a token with this id may be of and that the application ended. Without an id,
    /// all whose signatures can be known.
    pub(crate) fn dead_keys(&self, id: Option<&str>, now: NumericDate) -> Vec<DeadCandidate<'_>> {
        self.contents.dead(id, now)
    }

    /// The keys that verify at this time; `None` if there are none.
    pub(super) fn live(&self, now: NumericDate) -> Option<KeySet> {
        self.set.as_ref().and_then(|set| set.live(now))
    }
}
