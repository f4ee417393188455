//! Own claims of a token in several types, each deserialized once.

use std::any::Any;
use std::sync::OnceLock;

/// Values by type: written once, then read without a lock. It grows with the number of types that
/// a program asks for, not with the number of requests.
#[derive(Default)]
pub(crate) struct Memo(OnceLock<Box<Entry>>);

struct Entry {
    value: Box<dyn Any + Send + Sync>,
    next: Memo,
}

impl Memo {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.find().ok()
    }

    /// The value of this type: this one, or that of another thread that was faster.
    pub(crate) fn put<T: Send + Sync + 'static>(&self, value: T) -> &T {
        let (value, next) = (Box::new(value), Self::default());
        let mut entry = Some(Box::new(Entry { value, next }));
        loop {
            match self.find() {
                Ok(value) => return value,
                Err(end) => entry = entry.and_then(|entry| end.0.set(entry).err()),
            }
        }
    }

    /// The value of this type, or where it belongs.
    fn find<T: 'static>(&self) -> Result<&T, &Self> {
        let mut memo = self;
        while let Some(entry) = memo.0.get() {
            if let Some(value) = entry.value.downcast_ref() {
                return Ok(value);
            }
            memo = &entry.next;
        }
        Err(memo)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memo_keeps_one_value_per_type() {
        let memo = Memo::default();
        assert!(memo.get::<u8>().is_none());
        assert_eq!(memo.put(1_u8), &1);
        assert_eq!(memo.put("two"), &"two");
        assert_eq!(memo.put(3_u8), &1, "the first one stays");
        assert_eq!(memo.get::<u8>(), Some(&1));
        assert_eq!(memo.get::<&str>(), Some(&"two"));
        assert!(memo.get::<u16>().is_none());
    }
}
