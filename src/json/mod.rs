//! A strict reader of JSON text (RFC 8259): one pass, bounded, duplicate names refused.
//!
//! Why not the JSON library for this: `serde_json` keeps the last of two equal members, its
//! behaviour depends on features that any crate in the build may switch on, and it has private
//! member names with a meaning of their own. Claims types of the user still go through it, but
//! only after this reader has accepted the text.

mod names;
mod reader;

use std::borrow::Cow;
use std::ops::Range;

use self::reader::Reader;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// The same name twice in one object; carries the name.
    Duplicate(String),
    /// A name that the claims deserializer would give a meaning of its own.
    Reserved,
    /// Not JSON text, at this octet.
    Syntax(usize),
    /// Deeper than [`MAX_DEPTH`], more members than the caller allows, or an oversized number.
    TooLarge(&'static str),
}

/// One value, known to be well-formed JSON text, in the text that it was read from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a> {
    whole: &'a str,
    start: usize,
    end: usize,
    /// It is known to have no escapes.
    is_plain: bool,
}

/// Reads exactly one JSON object and hands each of its members to `visit`, in order.
///
/// Nothing may be concluded from the visits before this function has returned `Ok`.
pub(crate) fn read_object<'a>(
    text: &'a str,
    max_members: usize,
    mut visit: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), JsonError> {
    read_members(text, max_members, |name, value| {
        visit(name.string().unwrap_or_default(), value);
    })
}

/// The same with the names as they were sent, which are strings.
pub(crate) fn read_members<'a>(
    text: &'a str,
    max_members: usize,
    mut visit: impl FnMut(Raw<'a>, Raw<'a>),
) -> Result<(), JsonError> {
    Reader::at(text, 0, max_members).only_object(&mut visit)
}

impl<'a> Raw<'a> {
    /// A value in a text that the reader has accepted.
    pub(crate) fn of_accepted(whole: &'a str, place: Range<usize>) -> Self {
        Self {
            whole,
            start: place.start,
            end: place.end,
            is_plain: false,
        }
    }

    /// The text of the value, as it was sent.
    #[inline]
    pub(crate) fn text(self) -> &'a str {
        self.whole.get(self.place()).unwrap_or_default()
    }

    /// Where the value stands in the text that it was read from.
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

    /// Where the string stands in that text, without its quotes, if this is one without escapes.
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

    /// The string, if this is one without escapes.
    #[inline]
    pub(crate) fn plain_text(self) -> Option<&'a str> {
        self.whole.get(self.plain_string()?)
    }

    /// The string, with its escapes resolved, if this is one.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain_text() {
            return Some(Cow::Borrowed(plain));
        }
        let inner = self.text().strip_prefix('"')?.strip_suffix('"')?;
        Some(Cow::Owned(unescape(inner)))
    }

    /// The number, if this is one. It is finite.
    pub(crate) fn number(self) -> Option<f64> {
        match self.first()? {
            // Most times are whole seconds; these are read in a fraction of the time.
            b'0'..=b'9' => match self.text().parse::<u32>() {
                Ok(whole) => Some(f64::from(whole)),
                Err(_) => self.text().parse().ok(),
            },
            b'-' => self.text().parse().ok(),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        let mut items = Vec::with_capacity(ITEMS);
        self.each_item(|item| items.push(item))?;
        Some(items)
    }

    /// Hands each item to `visit`, if this is an array.
    pub(crate) fn each_item(self, mut visit: impl FnMut(Self)) -> Option<()> {
        (self.first() == Some(b'[')).then_some(())?;
        Reader::at(self.whole, self.start, usize::MAX)
            .one_array(&mut visit)
            .ok()
    }

    /// The members, if this is an object.
    pub(crate) fn members(self) -> Option<Vec<(Cow<'a, str>, Self)>> {
        let mut members = Vec::new();
        self.each_member(|name, value| members.push((name, value)))?;
        Some(members)
    }

    /// Hands each member to `visit`, if this is an object.
    pub(crate) fn each_member(self, mut visit: impl FnMut(Cow<'a, str>, Self)) -> Option<()> {
        (self.first() == Some(b'{')).then_some(())?;
        Reader::at(self.whole, self.start, usize::MAX)
            .one_object(&mut |name: Self, value| visit(name.string().unwrap_or_default(), value))
            .ok()
    }

    /// The value of the member `name`, if this is an object that has it.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        let mut found = None;
        self.each_member(|candidate, value| {
            if candidate == name {
                found = Some(value);
            }
        })?;
        found
    }

    #[inline]
    fn first(self) -> Option<u8> {
        self.whole.as_bytes().get(self.start).copied()
    }
}

/// Resolves the escapes of a string that the reader has accepted.
fn unescape(inner: &str) -> String {
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

/// Objects and arrays within each other. Access tokens of the large providers stay below 6.
pub(crate) const MAX_DEPTH: usize = 32;
/// Items of an array for which there is room at once.
const ITEMS: usize = 16;
/// Members of all objects of one header or payload together.
pub(crate) const MAX_MEMBERS: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(text: &str) -> bool {
        read_object(text, MAX_MEMBERS, |_, _| {}).is_ok()
    }

    #[test]
    fn reads_members_in_order() {
        let mut seen = Vec::new();
        read_object(
            " {\"a\" : 1.5e1, \"b\":[true,{\"c\":null}] , \"\\u0061x\":\"\\ud83d\\ude00\"} ",
            MAX_MEMBERS,
            |name, value| {
                seen.push((name.into_owned(), value.text().to_owned()));
            },
        )
        .unwrap();
        assert_eq!(seen[0], ("a".into(), "1.5e1".into()));
        assert_eq!(seen[1], ("b".into(), "[true,{\"c\":null}]".into()));
        assert_eq!(seen[2].0, "ax");
        assert_eq!(
            Raw::of_accepted(&seen[2].1, 0..seen[2].1.len())
                .string()
                .unwrap(),
            "😀"
        );
    }

    #[test]
    fn refuses_what_is_not_one_json_object() {
        for text in [
            "",
            "[]",
            "null",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":1,}",
            "{,}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":+1}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\t\"}",
            "{\"a\":tru}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "\u{feff}{}",
            "{/**/}",
            "{\"a\":1e400}",
            "{\"a\":\"b}",
        ] {
            assert!(!accepts(text), "{text}");
        }
        for text in [
            "{}",
            " {} ",
            "{\"a\":-0.0e-1}",
            "{\"a\":[]}",
            "{\"a\":[[{}]]}",
        ] {
            assert!(accepts(text), "{text}");
        }
    }

    #[test]
    fn refuses_duplicates_on_every_level_and_in_every_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":{"a":1,"b":2,"a":3}}"#,
            r#"{"x":[{"a":1,"a":3}]}"#,
        ] {
            assert_eq!(
                read_object(text, MAX_MEMBERS, |_, _| {}),
                Err(JsonError::Duplicate("a".into())),
                "{text}"
            );
        }
        assert!(accepts(r#"{"a":{"a":{"a":1}},"b":{"a":1}}"#));
    }

    #[test]
    fn refuses_more_than_the_limits() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(accepts(&nested(MAX_DEPTH - 1)));
        assert_eq!(
            read_object(&nested(MAX_DEPTH), MAX_MEMBERS, |_, _| {}),
            Err(JsonError::TooLarge("nesting"))
        );
        let wide = |n: usize| {
            format!(
                "{{{}}}",
                (0..n)
                    .map(|i| format!("\"{i}\":0"))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        };
        assert!(accepts(&wide(MAX_MEMBERS)));
        assert_eq!(
            read_object(&wide(MAX_MEMBERS + 1), MAX_MEMBERS, |_, _| {}),
            Err(JsonError::TooLarge("member count"))
        );
        assert_eq!(
            read_object(
                &format!("{{\"a\":{}}}", "1".repeat(65)),
                MAX_MEMBERS,
                |_, _| {}
            ),
            Err(JsonError::TooLarge("number"))
        );
    }

    #[test]
    fn refuses_names_that_instruct_the_claims_deserializer() {
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
            "\\u0024serde_json::private::x",
        ] {
            assert_eq!(
                read_object(
                    &format!("{{\"x\":{{\"{name}\":\"1\"}}}}"),
                    MAX_MEMBERS,
                    |_, _| {}
                ),
                Err(JsonError::Reserved)
            );
        }
    }

    #[test]
    fn navigates_accepted_text() {
        let text = r#"{"a":{"b":["x","y\n"]}}"#;
        let raw = Raw::of_accepted(text, 0..text.len());
        let items = raw
            .member("a")
            .and_then(|a| a.member("b"))
            .and_then(Raw::items)
            .unwrap();
        assert_eq!(
            items
                .iter()
                .filter_map(|item| item.string())
                .collect::<Vec<_>>(),
            ["x", "y\n"]
        );
        let plain = items.iter().map(|item| item.plain_string());
        assert_eq!(plain.collect::<Vec<_>>(), [Some(12..13), None]);
        assert!(raw.member("b").is_none());
        assert!(raw.items().is_none());
    }
}
