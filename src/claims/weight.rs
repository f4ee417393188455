//! Estimates of the memory that own claims take up, since a type cannot report its own size.

use serde_json::Value;

/// The size of a value of this type in a box, without the memory that it points to.
pub(crate) const fn of_type<T>() -> usize {
    // The box in its map, and its two words there.
    size_of::<T>().saturating_add(BLOCK)
}

/// The size of the memory that a value points to, if the value was read from this JSON text.
///
/// This is a close upper bound for a `serde_json::Value`. Strings, lists and maps of the standard
/// library take up the same or less, unless their items are larger than a `Value`.
pub(crate) fn of_json(text: &str) -> usize {
    let weigh = |sum: usize, byte: &u8| {
        sum.saturating_add(match byte {
            b'{' => NODE,
            b'[' => LIST,
            b':' => ENTRY,
            b',' => ITEM,
            _ => 1,
        })
    };
    text.as_bytes().iter().fold(BLOCK, weigh)
}

/// The size of a map with this number of members, without the memory that these point to.
pub(crate) fn of_map(members: usize) -> usize {
    let entries = members.saturating_mul(ENTRY.saturating_add(ITEM));
    NODE.saturating_add(entries)
}

/// The size of a list with this number of items, without the memory that these point to.
pub(crate) fn of_list(items: usize) -> usize {
    LIST.saturating_add(items.saturating_mul(ITEM))
}

/// The overhead of the allocator for a string or a box.
const BLOCK: usize = 24;
/// One more item of a list that doubles when it grows, with its own string.
const ITEM: usize = 2 * size_of::<Value>() + BLOCK;
/// The first four items of a list.
const LIST: usize = 4 * size_of::<Value>() + BLOCK;
/// One more entry of a map with names, in nodes that are half full.
const ENTRY: usize = 2 * (size_of::<Value>() + size_of::<String>()) + BLOCK;
/// A node of a map, which has room for eleven.
const NODE: usize = 11 * (size_of::<Value>() + size_of::<String>()) + BLOCK;
