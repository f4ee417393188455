//! A list whose first items need no allocation.

/// A list that holds up to `N` items in itself, and more on the heap.
#[derive(Clone, Debug)]
pub(crate) struct InlineList<T, const N: usize> {
    inline: [T; N],
    count: usize,
    /// All items, once there are more than `N`.
    heap: Vec<T>,
}

impl<T: Copy + Default, const N: usize> InlineList<T, N> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            inline: [T::default(); N],
            count: 0,
            heap: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, item: T) {
        match self.inline.get_mut(self.count) {
            Some(free) => *free = item,
            None => self.push_to_heap(item),
        }
        self.count = self.count.saturating_add(1);
    }

    #[cold]
    fn push_to_heap(&mut self, item: T) {
        if self.heap.is_empty() {
            self.heap.reserve(FIRST_CAPACITY);
            self.heap.extend(self.inline);
        }
        self.heap.push(item);
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        self.inline.get(..self.count).unwrap_or(&self.heap)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn shrink_to_fit(&mut self) {
        self.heap.shrink_to_fit();
    }

    /// The number of bytes on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.heap.capacity().saturating_mul(size_of::<T>())
    }

    /// The maximum number of bytes on the heap of a list of this length.
    pub(crate) fn max_heap_bytes(length: usize) -> usize {
        if length <= N {
            return 0;
        }
        // A vector doubles its capacity.
        let capacity = length.saturating_mul(2).max(FIRST_CAPACITY);
        capacity.saturating_mul(size_of::<T>())
    }
}

impl<T: Copy + Default, const N: usize> Default for InlineList<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The capacity of the first allocation. It is large, because a list that exceeds its inline items
/// is often much longer.
const FIRST_CAPACITY: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_all_items_in_order_at_every_length() {
        let mut list = InlineList::<usize, 4>::new();
        for length in 0..100 {
            assert_eq!(list.len(), length);
            assert_eq!(list.as_slice(), (0..length).collect::<Vec<_>>());
            assert_eq!(list.heap_bytes() == 0, length <= 4, "{length}");
            assert!(list.heap_bytes() <= InlineList::<usize, 4>::max_heap_bytes(length));
            list.push(length);
        }
        list.shrink_to_fit();
        assert_eq!(list.as_slice(), (0..100).collect::<Vec<_>>());
        assert_eq!(list.heap_bytes(), 100 * size_of::<usize>());
    }
}
