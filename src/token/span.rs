//! [`Span`]: a place in the text of a token.
//!
//! A token has one buffer, which holds its payload. A claim is a span of four bytes that refers to
//! the buffer, and not a separate string.

use std::ops::Range;

use crate::inline_list::InlineList;
use crate::json::Raw;

/// The place of a text in the buffer of its token, or of a list among the spans of the token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    start: u16,
    end: u16,
}

impl Span {
    #[inline]
    pub(crate) fn new(place: Range<usize>) -> Self {
        let short = |number| u16::try_from(number).unwrap_or(u16::MAX);
        Self {
            start: short(place.start),
            end: short(place.end),
        }
    }

    /// The place of a value in the text that it was read from.
    #[inline]
    pub(crate) fn of(value: Raw<'_>) -> Self {
        Self::new(value.place())
    }

    #[inline]
    pub(crate) fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// `None` if the span is empty.
    pub(crate) fn present(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    #[inline]
    pub(crate) fn text(self, buffer: &str) -> &str {
        buffer.get(self.range()).unwrap_or_default()
    }

    /// The value at this place of a payload that the JSON reader has accepted.
    #[inline]
    pub(crate) fn value(self, buffer: &str) -> Raw<'_> {
        Raw::of_accepted(buffer, self.range())
    }
}

/// Whether spans can express every place in the payload and in the decoded text of its strings with
/// escapes, which is appended to the payload. For a payload of ordinary size, no counting is
/// needed.
pub(crate) fn has_room_for(payload: &str) -> bool {
    if payload.len().saturating_mul(2) <= PLACES {
        return true;
    }
    // Quotation marks come in pairs. One after a backslash belongs to the string.
    let (mut escaped, mut start, mut has_escape, mut is_escape) = (0_usize, None, false, false);
    for (at, byte) in payload.bytes().enumerate() {
        match (start, byte) {
            _ if is_escape => is_escape = false,
            (Some(_), b'\\') => (has_escape, is_escape) = (true, true),
            (Some(from), b'"') => {
                if has_escape {
                    escaped = escaped.saturating_add(at.saturating_sub(from));
                }
                (start, has_escape) = (None, false);
            }
            (None, b'"') => start = Some(at),
            _ => {}
        }
    }
    payload.len().saturating_add(escaped) <= PLACES
}

/// A list of spans that rarely needs an allocation: audiences, and the names in the claims with
/// scopes and roles.
pub(crate) type Spans = InlineList<Span, 8>;

/// The largest place that a span can express.
pub(super) const PLACES: usize = 0xFFFF;
// A payload of the maximum size fits if it has no escapes.
const _: () = assert!(crate::token::limits::LARGEST / 4 * 3 < PLACES);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_payload_may_have_a_little_text_with_escapes() {
        let payload = |plain: usize, escaped: usize| {
            let (plain, escaped) = ("x".repeat(plain), r"\/".repeat(escaped / 2));
            format!(r#"{{"a":"{plain}","b":"{escaped}","c":"\"\\","d":""}}"#)
        };
        for (plain, escaped, has_room) in [
            (48_000, 0, true),
            (48_000, 8_000, true),
            (40_000, 12_700, true),
            (40_000, 12_800, false),
            (1_000, 32_000, true),
            (1_000, 33_000, false),
            (0, 32_700, true),
        ] {
            let payload = payload(plain, escaped);
            assert_eq!(has_room_for(&payload), has_room, "{plain} {escaped}");
        }
    }
}
