//! Own claims of a token in several types, each deserialized once.

use std::any::Any;
use std::sync::OnceLock;

/// Values by type: written once, then read without a lock. It grows with the number of types that
/// a program asks for, not with the number of requests.
///
/// Most programs ask for one: which type the first value has is known without following a pointer.
#[derive(Default)]
pub(crate) struct Memo {
    first: OnceLock<Box<dyn Any + Send + Sync>>,
    others: OnceLock<Box<Self>>,
}

impl Memo {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.find().ok()
    }

    /// The value of this type: this one, or that of another thread that was faster.
    pub(crate) fn put<T: Send + Sync + 'static>(&self, value: T) -> &T {
        let mut value: Option<Box<dyn Any + Send + Sync>> = Some(Box::new(value));
        loop {
            match self.find() {
                Ok(value) => return value,
                Err(free) => value = value.and_then(|value| free.first.set(value).err()),
            }
        }
    }

    /// The value of this type, or a memo behind all values, in which none has been seen.
    fn find<T: 'static>(&self) -> Result<&T, &Self> {
        let mut memo = self;
        while let Some(value) = memo.first.get() {
            if let Some(value) = value.downcast_ref() {
                return Ok(value);
            }
            memo = memo.others.get_or_init(Box::default);
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
