//! What threads share in the cache. The model in `model/` puts its own in place of this file.

use std::sync::TryLockError;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

use arc_swap::{ArcSwapAny, Guard};
use triomphe::ThinArc;

/// A place for a shared value: read without a lock, and without a write to it.
pub(crate) struct Slot<T>(ArcSwapAny<Option<Block<T>>>);

/// A counted value and octets, in one block of memory.
pub(crate) type Block<T> = ThinArc<T, u8>;

impl<T> Slot<T> {
    pub(crate) fn empty() -> Self {
        Self(ArcSwapAny::new(None))
    }

    /// What is there. It stays alive as long as this is held.
    pub(crate) fn load(&self) -> Guard<Option<Block<T>>> {
        self.0.load()
    }

    /// Gives what was there before.
    pub(crate) fn swap(&self, value: Option<Block<T>>) -> Option<Block<T>> {
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
