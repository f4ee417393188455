//! How many bytes own claims take up, which nobody can ask them.

use serde_json::Value;

/// A value of this type in a box, without what it points to.
pub(crate) const fn of_type<T>() -> usize {
    // The box in its map, and its two words there.
    size_of::<T>().saturating_add(BLOCK)
}

/// What a value points to that was read from this JSON text.
///
/// It is what a `serde_json::Value` holds of it, at most and nearly. Strings, lists and maps of the
/// standard library hold as much or less, unless their items are larger than such a value.
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

/// A map of so many members, without what these point to.
pub(crate) fn of_map(members: usize) -> usize {
    let entries = members.saturating_mul(ENTRY.saturating_add(ITEM));
    NODE.saturating_add(entries)
}

/// A list of so many items, without what these point to.
pub(crate) fn of_list(items: usize) -> usize {
    LIST.saturating_add(items.saturating_mul(ITEM))
}

/// What a string or a box costs the allocator beside its bytes.
const BLOCK: usize = 24;
/// One more item of a list that doubles when it grows, with a string of its own.
const ITEM: usize = 2 * size_of::<Value>() + BLOCK;
/// The first four items of a list.
const LIST: usize = 4 * size_of::<Value>() + BLOCK;
/// One more entry of a map with names, in nodes that are half full.
const ENTRY: usize = 2 * (size_of::<Value>() + size_of::<String>()) + BLOCK;
/// A node of a map, which has room for eleven.
const NODE: usize = 11 * (size_of::<Value>() + size_of::<String>()) + BLOCK;
