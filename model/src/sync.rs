//! The items of `src/sync.rs`, made of types that Loom can observe.

use std::ops::Deref;
pub(crate) use std::sync::Arc;

pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Replaces an atomic pointer with sequentially consistent reads and swaps. How `arc-swap`
/// implements it is not part of the model.
pub(crate) struct Slot<T>(Mutex<Option<Arc<T>>>);

pub(crate) struct Held<T>(Option<Arc<T>>);

impl<T> Slot<T> {
    pub(crate) fn empty() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn load(&self) -> Held<T> {
        Held(self.0.lock().unwrap().clone())
    }

    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        std::mem::replace(&mut *self.0.lock().unwrap(), value)
    }
}

impl<T> Deref for Held<T> {
    type Target = Option<Arc<T>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    mutex.try_lock().ok()
}
