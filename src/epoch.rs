//! [`Epoch`] and [`ActiveAt`]: how a revocation applies to a cached token without a look-up. The Loom
//! model in `model/` runs this file.

use crate::sync::{AtomicU64, Ordering};

/// The number of changes of a list of marks.
pub(crate) struct Epoch(AtomicU64);

/// The epoch at which a token was last found not to be revoked.
pub(crate) struct ActiveAt(AtomicU64);

impl Epoch {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Must be read before the marks: a mark that is set in the meantime belongs to a later epoch.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Called after each change, so that a request that sees the new number sees the change.
    pub(crate) fn raise(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

impl ActiveAt {
    pub(crate) fn never() -> Self {
        Self(AtomicU64::new(NEVER))
    }

    /// Whether the token was found active at any epoch.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NEVER
    }

    /// Whether this is the epoch. Always `false` for 0.
    pub(crate) fn is(&self, epoch: u64) -> bool {
        epoch != NEVER && self.0.load(Ordering::Relaxed) == epoch
    }

    /// Records the epoch that was read before the token was found active.
    pub(crate) fn note(&self, epoch: u64) {
        self.0.store(epoch, Ordering::Relaxed);
    }
}

impl Clone for ActiveAt {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// The epoch of no check.
const NEVER: u64 = 0;
