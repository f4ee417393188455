//! The size of a cache in bytes, and the growth of its values.

use std::sync::OnceLock;

use crate::sync::{Arc, AtomicUsize, Ordering};

/// The total size of the entries of one cache, in bytes, and its limit.
pub(crate) struct Budget {
    held: AtomicUsize,
    limit: usize,
}

/// The bytes that were added to a value after it was created.
pub(crate) struct Growth {
    /// The budget of the cache that the value is in.
    budget: OnceLock<Arc<Budget>>,
    /// [`LEFT`] after the value has left the cache.
    bytes: AtomicUsize,
}

/// A value of a cache.
pub(crate) trait Grow {
    /// `None` if the value never grows.
    fn growth(&self) -> Option<&Growth>;
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            held: AtomicUsize::new(0),
            limit,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Whether there is room for `bytes` more, after `given_back` bytes are released.
    pub(super) fn fits(&self, bytes: usize, given_back: usize) -> bool {
        let others = self.held().saturating_sub(given_back);
        others.saturating_add(bytes) <= self.limit
    }

    pub(super) fn take(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Releases bytes that were taken.
    pub(super) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn try_take(&self, bytes: usize) -> bool {
        let take = |held: usize| {
            let held = held.checked_add(bytes)?;
            (held <= self.limit).then_some(held)
        };
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.held.fetch_update(set, fetch, take).is_ok()
    }
}

impl Growth {
    pub(crate) fn new() -> Self {
        Self {
            budget: OnceLock::new(),
            bytes: AtomicUsize::new(0),
        }
    }

    /// Counts more bytes. Returns `false` if the value is in a cache without room for them. In this case
    /// the value must not keep them.
    #[must_use]
    pub(crate) fn try_add(&self, bytes: usize) -> bool {
        let budget = self.budget.get().filter(|_| self.is_in());
        if budget.is_some_and(|budget| !budget.try_take(bytes)) {
            return false;
        }
        let add = |held: usize| (held != LEFT).then(|| held.saturating_add(bytes));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let counted = self.bytes.fetch_update(set, fetch, add);
        if let (Err(_), Some(budget)) = (counted, budget) {
            budget.give_back(bytes); // The value has left the cache in the meantime.
        }
        true
    }

    /// The bytes that were counted so far.
    pub(super) fn bytes(&self) -> usize {
        match self.bytes.load(Ordering::Relaxed) {
            LEFT => 0,
            bytes => bytes,
        }
    }

    /// From now on the value grows only if the budget has room.
    pub(super) fn enter(&self, budget: &Arc<Budget>) {
        self.budget.get_or_init(|| Arc::clone(budget));
    }

    /// Marks the value as no longer cached. Returns the bytes to release.
    pub(super) fn leave(&self) -> usize {
        match self.bytes.swap(LEFT, Ordering::Relaxed) {
            LEFT => 0,
            bytes => bytes,
        }
    }

    fn is_in(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) != LEFT
    }
}

/// Not a possible number of bytes.
const LEFT: usize = usize::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_grows_as_the_budget_allows_and_gives_all_back() {
        let budget = Arc::new(Budget::new(100));
        let (value, other) = (Growth::new(), Growth::new());
        assert!(value.try_add(1_000), "it is in no cache");
        assert_eq!(value.bytes(), 1_000);
        budget.take(30);
        other.enter(&budget);
        assert!(other.try_add(50) && !other.try_add(21) && other.try_add(20));
        assert!(!other.try_add(usize::MAX));
        assert_eq!((budget.held(), other.bytes()), (100, 70));
        assert!(!budget.fits(1, 0) && budget.fits(70, 70) && !budget.fits(71, 70));
        budget.give_back(other.leave());
        assert_eq!(budget.held(), 30);
        assert_eq!((other.leave(), other.bytes()), (0, 0));
        // A request may still hold the value, but it no longer counts for the cache.
        assert!(other.try_add(1_000));
        assert_eq!((budget.held(), other.leave()), (30, 0));
    }
}
