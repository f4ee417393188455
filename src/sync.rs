//! What threads share in the cache. The model in `model/` puts its own in place of this file.

use std::sync::TryLockError;
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};

use arc_swap::{ArcSwapOption, Guard};

/// A place for a shared value: read without a lock, and without a write to it.
pub(crate) struct Slot<T>(ArcSwapOption<T>);

impl<T> Slot<T> {
    pub(crate) fn empty() -> Self {
        Self(ArcSwapOption::empty())
    }

    /// What is there. It stays alive as long as this is held.
    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        self.0.load()
    }

    /// Gives what was there before.
    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        self.0.swap(value)
    }
}

/// The lock, unless another thread has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
