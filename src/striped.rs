//! A shared value whose references are counted in several places.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value that each request takes a reference to. A few threads share a count: one count for all
/// of them would be the one thing that every core writes to on every request.
pub(crate) struct Striped<T>(Arc<[Arc<Stripe<T>>; STRIPES]>);

/// A reference to the value, with a count of its own in lines of the processor's cache of its own.
#[repr(align(128))]
pub(crate) struct Stripe<T>(Arc<T>);

impl<T> Striped<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self(Arc::new(std::array::from_fn(|_| {
            Arc::new(Stripe(Arc::clone(&value)))
        })))
    }

    /// The reference whose count is this thread's.
    pub(crate) fn here(&self) -> &Arc<Stripe<T>> {
        let [first, ..] = &*self.0;
        self.0.get(HERE.get()).unwrap_or(first)
    }
}

impl<T> Clone for Striped<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Stripe<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

thread_local! {
    /// The stripe of this thread.
    static HERE: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
}

static NEXT: AtomicUsize = AtomicUsize::new(0);
/// Counts of each value, of 256 bytes each.
const STRIPES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_share_the_value_and_not_the_count() {
        let striped = Striped::new(String::from("value"));
        let here = Arc::clone(striped.here());
        assert_eq!(Arc::strong_count(striped.here()), 2);
        // One of so many is on another stripe, wherever other tests take theirs.
        let there: Vec<_> = (0..2 * STRIPES)
            .map(|_| {
                let copy = striped.clone();
                let look = move || (copy.here().to_string(), Arc::as_ptr(copy.here()).addr());
                std::thread::spawn(look).join().unwrap()
            })
            .collect();
        assert!(there.iter().all(|(value, _)| *value == **here));
        let here = Arc::as_ptr(&here).addr();
        assert!(there.iter().any(|(_, there)| *there != here));
    }

    #[test]
    fn the_value_goes_with_the_last_reference() {
        let value = Arc::new(());
        let striped = Striped::new(Arc::clone(&value));
        let here = Arc::clone(striped.here());
        drop(striped);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(here);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
