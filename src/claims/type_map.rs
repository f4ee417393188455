//! Own claims of a token in several types. Each type is deserialized once.

use std::any::Any;
use std::sync::OnceLock;

use http::Extensions;

/// A value that a [`TypeMap`] keeps.
pub(crate) trait Entry: Any + Send + Sync {
    /// Removes from the extensions of a request what was inserted for this value.
    fn withdraw_from(&self, extensions: &mut Extensions);
}

/// Values by type, written once and then read without a lock. The map grows with the number of types
/// that a program requests, not with the number of requests.
///
/// Most programs request one type, so the first value is found without following a pointer to others.
#[derive(Default)]
pub(crate) struct TypeMap {
    first: OnceLock<Box<dyn Entry>>,
    others: OnceLock<Box<Self>>,
}

impl TypeMap {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.find().ok()
    }

    /// Stores a value, unless another thread was faster. Returns the stored value of this type.
    pub(crate) fn put<T: Entry>(&self, value: T) -> &T {
        let mut value: Option<Box<dyn Entry>> = Some(Box::new(value));
        loop {
            match self.find() {
                Ok(value) => return value,
                Err(free) => value = value.and_then(|value| free.first.set(value).err()),
            }
        }
    }

    /// Removes from the extensions of a request what was inserted for any of the values.
    pub(crate) fn withdraw_from(&self, extensions: &mut Extensions) {
        let mut map = Some(self);
        while let Some(Self { first, others }) = map {
            if let Some(value) = first.get() {
                value.withdraw_from(extensions);
            }
            map = others.get().map(|others| &**others);
        }
    }

    /// The value of this type, or the empty map at the end of the chain.
    fn find<T: 'static>(&self) -> Result<&T, &Self> {
        let mut map = self;
        while let Some(value) = map.first.get() {
            let any: &dyn Any = &**value;
            if let Some(value) = any.downcast_ref() {
                return Ok(value);
            }
            map = map.others.get_or_init(Box::default);
        }
        Err(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! entries {
        ($($type:ty)*) => { $(
            impl Entry for $type {
                fn withdraw_from(&self, extensions: &mut Extensions) {
                    extensions.remove::<$type>();
                }
            }
        )* };
    }
    entries!(u8 u16 &'static str);

    #[test]
    fn a_map_withdraws_each_of_its_values_and_nothing_else() {
        let map = TypeMap::default();
        map.put(1_u8);
        map.put("two");
        let mut extensions = Extensions::new();
        extensions.insert(7_u8);
        extensions.insert(7_u16);
        extensions.insert("seven");
        map.withdraw_from(&mut extensions);
        assert_eq!(extensions.len(), 1);
        assert_eq!(extensions.get(), Some(&7_u16));
    }

    #[test]
    fn a_map_keeps_one_value_per_type() {
        let map = TypeMap::default();
        assert!(map.get::<u8>().is_none());
        assert_eq!(map.put(1_u8), &1);
        assert_eq!(map.put("two"), &"two");
        assert_eq!(map.put(3_u8), &1, "the first one stays");
        assert_eq!(map.get::<u8>(), Some(&1));
        assert_eq!(map.get::<&str>(), Some(&"two"));
        assert!(map.get::<u16>().is_none());
    }
}
