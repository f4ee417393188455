//! A strict reader of JSON text (RFC 8259): one pass, bounded, duplicate names refused.
//!
//! Why not the JSON library for this: `serde_json` keeps the last of two equal members, its
//! behaviour depends on features that any crate in the build may switch on, and it has private
//! member names with a meaning of their own. Claims types of the user still go through it, but
//! only after this reader has accepted the text.

use std::borrow::Cow;

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

/// One value, known to be well-formed JSON text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a>(&'a str);

/// Reads exactly one JSON object and hands each of its members to `visit`, in order.
///
/// Nothing may be concluded from the visits before this function has returned `Ok`.
pub(crate) fn read_object<'a>(
    text: &'a str,
    max_members: usize,
    mut visit: impl FnMut(Cow<'a, str>, Raw<'a>),
) -> Result<(), JsonError> {
    let mut reader = Reader::new(text, max_members);
    reader.whitespace();
    reader.object(&mut visit)?;
    reader.whitespace();
    if reader.at == text.len() {
        Ok(())
    } else {
        Err(reader.syntax())
    }
}

impl<'a> Raw<'a> {
    /// The text of the value, as it was sent.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The string, with its escapes resolved, if this is one.
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if inner.contains('\\') {
            Cow::Owned(unescape(inner))
        } else {
            Cow::Borrowed(inner)
        })
    }

    /// The number, if this is one. It is finite.
    pub(crate) fn number(self) -> Option<f64> {
        match self.0.bytes().next()? {
            b'-' | b'0'..=b'9' => self.0.parse().ok(),
            _ => None,
        }
    }

    /// The items, if this is an array.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        let mut reader = Reader::new(self.0, usize::MAX);
        let mut items = Vec::new();
        self.0.starts_with('[').then_some(())?;
        reader.array(&mut |item| items.push(item)).ok()?;
        Some(items)
    }

    /// The members, if this is an object.
    pub(crate) fn members(self) -> Option<Vec<(Cow<'a, str>, Self)>> {
        let mut members = Vec::new();
        self.0.starts_with('{').then_some(())?;
        read_object(self.0, usize::MAX, |name, value| {
            members.push((name, value))
        })
        .ok()?;
        Some(members)
    }

    /// The value of the member `name`, if this is an object that has it.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        self.members()?
            .into_iter()
            .find_map(|(candidate, value)| (candidate == name).then_some(value))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    members: usize,
    max_members: usize,
    /// Names of the objects that are open, innermost last.
    names: Vec<Cow<'a, str>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, max_members: usize) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
            members: 0,
            max_members,
            names: Vec::new(),
        }
    }

    fn syntax(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn expect(&mut self, octet: u8) -> Result<(), JsonError> {
        if self.peek() == Some(octet) {
            self.step();
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    /// Whether the next octet is this one; takes it if so.
    fn take(&mut self, octet: u8) -> bool {
        self.expect(octet).is_ok()
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return Err(JsonError::TooLarge("nesting"));
        }
        self.step();
        self.whitespace();
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn value(&mut self) -> Result<Raw<'a>, JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.object(&mut |_, _| {})?,
            Some(b'[') => self.array(&mut |_| {})?,
            Some(b'"') => self.string().map(drop)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.syntax()),
        }
        Ok(Raw(self.since(start)))
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        word.bytes().try_for_each(|octet| self.expect(octet))
    }

    fn object(&mut self, visit: &mut dyn FnMut(Cow<'a, str>, Raw<'a>)) -> Result<(), JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.syntax());
        }
        self.enter()?;
        let first = self.names.len();
        if !self.take(b'}') {
            loop {
                self.members = self.members.saturating_add(1);
                if self.members > self.max_members {
                    return Err(JsonError::TooLarge("member count"));
                }
                let name = self.string()?;
                if name.starts_with(RESERVED) {
                    return Err(JsonError::Reserved);
                }
                self.whitespace();
                self.expect(b':')?;
                self.whitespace();
                self.names.push(name.clone());
                let value = self.value()?;
                visit(name, value);
                self.whitespace();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
                self.whitespace();
            }
        }
        self.unique_names(first)?;
        self.leave();
        Ok(())
    }

    /// Checks the names from `first` on, then forgets them.
    fn unique_names(&mut self, first: usize) -> Result<(), JsonError> {
        let names = self.names.get_mut(first..).unwrap_or_default();
        names.sort_unstable();
        let twice = names.windows(2).find_map(|pair| match pair {
            [a, b] if a == b => Some(a.to_string()),
            _ => None,
        });
        self.names.truncate(first);
        twice.map_or(Ok(()), |name| Err(JsonError::Duplicate(name)))
    }

    fn array(&mut self, visit: &mut dyn FnMut(Raw<'a>)) -> Result<(), JsonError> {
        self.enter()?;
        if !self.take(b']') {
            loop {
                let item = self.value()?;
                visit(item);
                self.whitespace();
                if self.take(b']') {
                    break;
                }
                self.expect(b',')?;
                self.whitespace();
            }
        }
        self.leave();
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0x20..) => self.step(),
                _ => return Err(self.syntax()),
            }
        }
        let inner = self.since(start);
        self.step();
        Ok(if escaped {
            Cow::Owned(unescape(inner))
        } else {
            Cow::Borrowed(inner)
        })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.step();
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.step();
                Ok(())
            }
            Some(b'u') => match self.code_unit()? {
                0xD800..=0xDBFF => {
                    self.expect(b'\\')?;
                    match self.code_unit()? {
                        0xDC00..=0xDFFF => Ok(()),
                        _ => Err(self.syntax()),
                    }
                }
                0xDC00..=0xDFFF => Err(self.syntax()),
                _ => Ok(()),
            },
            _ => Err(self.syntax()),
        }
    }

    /// The four hexadecimal digits behind `u`.
    fn code_unit(&mut self) -> Result<u32, JsonError> {
        self.expect(b'u')?;
        let start = self.at;
        for _ in 0..4 {
            match self.peek() {
                Some(octet) if octet.is_ascii_hexdigit() => self.step(),
                _ => return Err(self.syntax()),
            }
        }
        u32::from_str_radix(self.since(start), 16).map_err(|_| self.syntax())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let number = self.since(start);
        match number.parse::<f64>() {
            Ok(value) if value.is_finite() && number.len() <= MAX_NUMBER => Ok(()),
            _ => Err(JsonError::TooLarge("number")),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            self.step();
        }
        if self.at == start {
            Err(self.syntax())
        } else {
            Ok(())
        }
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
/// Members of all objects of one header or payload together.
pub(crate) const MAX_MEMBERS: usize = 1_000;
/// Characters of one number.
const MAX_NUMBER: usize = 64;
/// Names of this form are instructions to `serde_json`, not data.
const RESERVED: &str = "$serde_json::private::";

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
        assert_eq!(Raw(&seen[2].1).string().unwrap(), "😀");
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
        let raw = Raw(r#"{"a":{"b":["x","y\n"]}}"#);
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
        assert!(raw.member("b").is_none());
        assert!(raw.items().is_none());
    }
}
