//! Own claims of a token in several types, each deserialized once.

use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Values by type: written once, then read without a lock. It grows with the number of types that
/// a program asks for, not with the number of requests.
#[derive(Default)]
pub(crate) struct Memo(OnceLock<Box<Entry>>);

struct Entry {
    value: Arc<dyn Any + Send + Sync>,
    next: Memo,
}

impl Memo {
    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let mut memo = self;
        while let Some(entry) = memo.0.get() {
            if let Ok(value) = Arc::clone(&entry.value).downcast() {
                return Some(value);
            }
            memo = &entry.next;
        }
        None
    }

    pub(crate) fn put(&self, value: Arc<dyn Any + Send + Sync>) {
        let mut entry = Box::new(Entry {
            value,
            next: Self::default(),
        });
        let mut memo = self;
        while let Err(refused) = memo.0.set(entry) {
            let Some(taken) = memo.0.get() else { return };
            entry = refused;
            memo = &taken.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memo_keeps_one_value_per_type() {
        let memo = Memo::default();
        assert!(memo.get::<u8>().is_none());
        memo.put(Arc::new(1_u8));
        memo.put(Arc::new("two"));
        assert_eq!(memo.get::<u8>().as_deref(), Some(&1));
        assert_eq!(memo.get::<&str>().as_deref(), Some(&"two"));
        assert!(memo.get::<u16>().is_none());
    }
}
