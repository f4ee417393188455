//! The names of one object, none twice.

use std::borrow::Cow;

use crate::json::value::unescape;

/// The names of one object so far, without an allocation while they are few.
///
/// Most objects are decided by one look at 64 marks. What that leaves open, and every object of
/// many names or with an escape in one, is decided by sorting, whose time nobody can make
/// quadratic.
pub(super) struct Names<'a> {
    few: [&'a str; FEW],
    more: Vec<&'a str>,
    count: usize,
    marks: u64,
    is_doubtful: bool,
}

impl<'a> Names<'a> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            few: [""; FEW],
            more: Vec::new(),
            count: 0,
            marks: 0,
            is_doubtful: false,
        }
    }

    /// Adds a name as it was sent; `is_plain` if it has no escapes.
    #[inline]
    pub(super) fn add(&mut self, name: &'a str, is_plain: bool) {
        let mark = mark(name);
        self.is_doubtful |= !is_plain
            || (self.marks & mark != 0 && self.few.iter().take(self.count).any(|one| *one == name));
        self.marks |= mark;
        match self.few.get_mut(self.count) {
            Some(free) => *free = name,
            None => {
                self.is_doubtful = true;
                self.more.push(name);
            }
        }
        self.count = self.count.saturating_add(1);
    }

    /// A name that stands here twice, whatever escapes it is written with.
    pub(super) fn twice(&self) -> Option<String> {
        if !self.is_doubtful {
            return None;
        }
        let few = self.few.iter().take(self.count);
        let mut names: Vec<_> = few
            .chain(&self.more)
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

/// One of 64 bits, by the length and the last eight octets: the names of claims seldom share it.
#[inline]
fn mark(name: &str) -> u64 {
    let word = match name.as_bytes().last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => name
            .bytes()
            .fold(0_u64, |word, octet| word.wrapping_shl(8) | u64::from(octet)),
    };
    // Multiplication carries every bit to the top six.
    1_u64.wrapping_shl(u32::try_from(word.wrapping_mul(MIXER).wrapping_shr(58)).unwrap_or_default())
}

/// An odd number without a pattern: 2^64 divided by the golden ratio.
const MIXER: u64 = 0x9E37_79B9_7F4A_7C15;
/// Names that are held without an allocation. Access tokens have 6 to 20 claims.
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
