//! The names of one object. No name may occur twice.

use std::borrow::Cow;

use crate::inline_list::InlineList;
use crate::json::value::unescape;

/// The names of one object so far, without an allocation for up to [`FEW`] names.
///
/// Each name sets one of 64 bits. For most objects these bits show that no name occurs twice. The other
/// objects, and those with many names or with an escape in a name, are sorted. The time is never
/// quadratic, whatever a client sends.
pub(super) struct Names<'a> {
    names: InlineList<&'a str, FEW>,
    marks: u64,
    needs_sorting: bool,
}

impl<'a> Names<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            names: InlineList::new(),
            marks: 0,
            needs_sorting: false,
        }
    }

    /// Adds a name as it was sent. `is_plain` means that it has no escapes.
    #[inline]
    pub(super) fn add(&mut self, name: &'a str, is_plain: bool) {
        let mark = mark(name);
        self.needs_sorting |= !is_plain
            || self.names.len() >= FEW
            || (self.marks & mark != 0 && self.names.as_slice().contains(&name));
        self.marks |= mark;
        self.names.push(name);
    }

    /// A name that occurs twice, after its escapes are resolved.
    pub(super) fn twice(&self) -> Option<String> {
        if !self.needs_sorting {
            return None;
        }
        let names = self.names.as_slice().iter();
        let mut names: Vec<_> = names
            .map(|name| {
                if name.contains('\\') {
                    Cow::Owned(unescape(name))
                } else {
                    Cow::Borrowed(*name)
                }
            })
            .collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(a.to_string()),
            _ => None,
        })
    }
}

/// One of 64 bits, chosen by the last eight bytes. The names of claims rarely share a bit.
#[inline]
fn mark(name: &str) -> u64 {
    let word = match name.as_bytes().last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => name
            .bytes()
            .fold(0_u64, |word, byte| word.wrapping_shl(8) | u64::from(byte)),
    };
    // The multiplication lets every bit of the word affect the top six bits.
    1_u64.wrapping_shl(u32::try_from(word.wrapping_mul(MIXER).wrapping_shr(58)).unwrap_or_default())
}

/// An odd number whose bits have no pattern: 2^64 divided by the golden ratio.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;
/// The number of names that need no allocation. Access tokens have 6 to 20 claims.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn twice(names: &[&str]) -> Option<String> {
        let mut seen = Names::new();
        names
            .iter()
            .for_each(|name| seen.add(name, !name.contains('\\')));
        seen.twice()
    }

    #[test]
    fn finds_a_repeated_name_among_few_and_among_many() {
        let many: Vec<_> = (0..100).map(|number| format!("name{number}")).collect();
        for count in [0, 1, 2, FEW - 1, FEW, FEW + 1, 100] {
            let mut names: Vec<_> = many.iter().take(count).map(String::as_str).collect();
            assert_eq!(twice(&names), None, "{count}");
            for again in many.iter().take(count) {
                names.push(again);
                assert_eq!(twice(&names), Some(again.clone()), "{count}");
                names.pop();
            }
        }
        assert_eq!(twice(&["a", "\\u0061"]), Some("a".into()));
        assert_eq!(twice(&["a", "\\u0062"]), None);
    }
}
