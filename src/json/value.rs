//! One value of a JSON text, and the errors of the reader.

use std::borrow::Cow;
use std::ops::Range;

/// Why a text was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// This name occurs twice in one object.
    Duplicate(String),
    /// A name that has a private meaning for `serde_json`.
    Reserved,
    /// A syntax error at this byte.
    Syntax(usize),
    /// The nesting is deeper than [`MAX_DEPTH`], there are more members than the caller allows, or a number
    /// is too long or too large.
    TooLarge(&'static str),
}

/// One value in a JSON text. The value is known to be well-formed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    pub(super) whole: &'a str,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it is known to be a string without escapes.
    pub(super) is_plain: bool,
}

impl<'a> Raw<'a> {
    /// A value at this place in a text that the reader has accepted.
    pub(crate) fn of_accepted(whole: &'a str, place: Range<usize>) -> Self {
        Self {
            whole,
            start: place.start,
            end: place.end,
            is_plain: false,
        }
    }

    /// The JSON text of the value.
    #[inline]
    pub(crate) fn text(self) -> &'a str {
        self.whole.get(self.place()).unwrap_or_default()
    }

    /// The place of the value in the whole text.
    #[inline]
    pub(crate) fn place(self) -> Range<usize> {
        self.start..self.end
    }

    #[inline]
    pub(crate) fn is_null(self) -> bool {
        self.first() == Some(b'n')
    }

    #[inline]
    pub(crate) fn is_string(self) -> bool {
        self.first() == Some(b'"')
    }

    #[inline]
    pub(crate) fn is_object(self) -> bool {
        self.first() == Some(b'{')
    }

    /// The place of a string without escapes in the whole text, without its quotes. `None` for other
    /// values.
    #[inline]
    pub(crate) fn plain_string(self) -> Option<Range<usize>> {
        let inner = self.start.saturating_add(1)..self.end.saturating_sub(1);
        let is_plain = self.is_plain
            || (self.is_string()
                && !self
                    .whole
                    .as_bytes()
                    .get(inner.clone())
                    .is_some_and(|inner| inner.contains(&b'\\')));
        is_plain.then_some(inner)
    }

    /// The content of a string without escapes. `None` for other values.
    #[inline]
    pub(crate) fn plain_text(self) -> Option<&'a str> {
        self.whole.get(self.plain_string()?)
    }

    /// The content of a string, with its escapes resolved. `None` for other values.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain_text() {
            return Some(Cow::Borrowed(plain));
        }
        let inner = self.text().strip_prefix('"')?.strip_suffix('"')?;
        Some(Cow::Owned(unescape(inner)))
    }

    /// The value of a number, which is finite. `None` for other values.
    pub(crate) fn number(self) -> Option<f64> {
        match self.first()? {
            // Most times are whole seconds, and parsing an integer is much faster.
            b'0'..=b'9' => match self.text().parse::<u32>() {
                Ok(whole) => Some(f64::from(whole)),
                Err(_) => self.text().parse().ok(),
            },
            b'-' => self.text().parse().ok(),
            _ => None,
        }
    }

    #[inline]
    pub(super) fn first(self) -> Option<u8> {
        self.whole.as_bytes().get(self.start).copied()
    }
}

/// Resolves the escapes of a string that the reader has accepted.
pub(super) fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let mut chars = after.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let mut code = hex4(&mut chars);
                if (0xD800..=0xDBFF).contains(&code) {
                    let low = {
                        let _mark = (chars.next(), chars.next());
                        hex4(&mut chars)
                    };
                    let high = code.saturating_sub(0xD800).saturating_mul(0x400);
                    code = high
                        .saturating_add(low.saturating_sub(0xDC00))
                        .saturating_add(0x1_0000);
                }
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => out.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

fn hex4(chars: &mut std::str::Chars<'_>) -> u32 {
    chars.by_ref().take(4).fold(0, |code, digit| {
        code.saturating_mul(16)
            .saturating_add(digit.to_digit(16).unwrap_or_default())
    })
}

/// The maximum nesting of objects and arrays. Access tokens of the large providers stay below 6.
pub(crate) const MAX_DEPTH: usize = 32;
/// The maximum number of members of all objects of one header or payload.
pub(crate) const MAX_MEMBERS: usize = 1_000;
