//! The reader of JSON text.

use std::borrow::Cow;

use crate::json::names::Names;
use crate::json::value::{JsonError, MAX_DEPTH, Raw};

impl<'a> Raw<'a> {
    /// The items of an array. `None` for other values.
    pub(crate) fn items(self) -> Option<Vec<Self>> {
        let mut items = Vec::with_capacity(ITEMS);
        self.each_item(|item| items.push(item))?;
        Some(items)
    }

    /// Calls `visit` with each item of an array. `None` for other values.
    pub(crate) fn each_item(self, mut visit: impl FnMut(Self)) -> Option<()> {
        (self.first() == Some(b'[')).then_some(())?;
        Reader::at(self.whole, self.start, usize::MAX)
            .one_array(&mut visit)
            .ok()
    }

    /// The members of an object. `None` for other values.
    pub(crate) fn members(self) -> Option<Vec<(Cow<'a, str>, Self)>> {
        let mut members = Vec::new();
        self.each_member(|name, value| members.push((name, value)))?;
        Some(members)
    }

    /// Calls `visit` with each member of an object. `None` for other values.
    pub(crate) fn each_member(self, mut visit: impl FnMut(Cow<'a, str>, Self)) -> Option<()> {
        (self.first() == Some(b'{')).then_some(())?;
        Reader::at(self.whole, self.start, usize::MAX)
            .one_object(&mut |name: Self, value| visit(name.string().unwrap_or_default(), value))
            .ok()
    }

    /// The value of the member `name` of an object.
    pub(crate) fn member(self, name: &str) -> Option<Self> {
        let mut found = None;
        self.each_member(|candidate, value| {
            if candidate == name {
                found = Some(value);
            }
        })?;
        found
    }
}

/// The initial capacity for the items of an array.
const ITEMS: usize = 16;

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    members: usize,
    max_members: usize,
    /// Why the reader stopped. `None` means a syntax error.
    fault: Option<JsonError>,
}

/// The reader stopped for the reason in `fault`. This error is empty, so that the result of each step
/// fits into a register.
struct Stopped;

impl<'a> Reader<'a> {
    /// A reader that starts at this byte.
    pub(super) fn at(text: &'a str, at: usize, max_members: usize) -> Self {
        Self {
            text,
            at,
            depth: 0,
            members: 0,
            max_members,
            fault: None,
        }
    }

    /// Reads one object. Nothing but white space may follow.
    pub(super) fn only_object(
        mut self,
        visit: &mut impl FnMut(Raw<'a>, Raw<'a>),
    ) -> Result<(), JsonError> {
        self.whitespace();
        let read = self.object(visit).and_then(|()| self.nothing_more());
        self.verdict(read)
    }

    /// Reads one object, and ignores what follows.
    pub(super) fn one_object(
        mut self,
        visit: &mut impl FnMut(Raw<'a>, Raw<'a>),
    ) -> Result<(), JsonError> {
        let read = self.object(visit);
        self.verdict(read)
    }

    /// Reads one array, and ignores what follows.
    pub(super) fn one_array(mut self, visit: &mut impl FnMut(Raw<'a>)) -> Result<(), JsonError> {
        let read = self.array(visit);
        self.verdict(read)
    }

    fn nothing_more(&mut self) -> Result<(), Stopped> {
        self.whitespace();
        if self.at == self.text.len() {
            Ok(())
        } else {
            self.syntax()
        }
    }

    fn verdict(self, read: Result<(), Stopped>) -> Result<(), JsonError> {
        match (read, self.fault) {
            (Ok(()), _) => Ok(()),
            (Err(Stopped), fault) => Err(fault.unwrap_or(JsonError::Syntax(self.at))),
        }
    }

    #[inline]
    fn whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.step();
        }
    }

    #[inline]
    fn object(&mut self, visit: &mut impl FnMut(Raw<'a>, Raw<'a>)) -> Result<(), Stopped> {
        if self.peek() != Some(b'{') {
            return self.syntax();
        }
        self.enter()?;
        let mut names = Names::new();
        if !self.take(b'}') {
            loop {
                self.members = self.members.saturating_add(1);
                if self.members > self.max_members {
                    return self.stop(JsonError::TooLarge("member count"));
                }
                let name = self.name(&mut names)?;
                self.whitespace();
                self.expect(b':')?;
                self.whitespace();
                let start = self.at;
                let is_plain = self.value()?;
                visit(name, self.raw(start, is_plain));
                self.whitespace();
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
                self.whitespace();
            }
        }
        if let Some(name) = names.twice() {
            return self.stop(JsonError::Duplicate(name));
        }
        self.leave();
        Ok(())
    }

    #[inline]
    fn array(&mut self, visit: &mut impl FnMut(Raw<'a>)) -> Result<(), Stopped> {
        self.enter()?;
        if !self.take(b']') {
            loop {
                let start = self.at;
                let is_plain = self.value()?;
                visit(self.raw(start, is_plain));
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

    #[inline]
    fn name(&mut self, names: &mut Names<'a>) -> Result<Raw<'a>, Stopped> {
        let start = self.at;
        let is_plain = self.string()?;
        let name = self.raw(start, is_plain);
        let inner = self
            .text
            .get(start.saturating_add(1)..self.at.saturating_sub(1));
        let inner = inner.unwrap_or_default();
        names.add(inner, is_plain);
        let is_reserved = if is_plain {
            inner.starts_with(RESERVED)
        } else {
            name.string().is_some_and(|name| name.starts_with(RESERVED))
        };
        if is_reserved {
            return self.stop(JsonError::Reserved);
        }
        Ok(name)
    }

    /// Skips a value. Returns whether it is a string without escapes.
    #[inline]
    fn value(&mut self) -> Result<bool, Stopped> {
        if self.peek() == Some(b'"') {
            return self.string();
        }
        self.no_string().map(|()| false)
    }

    /// Skips a value that is not a string. This is a separate function, because most values are strings,
    /// which do not need the stack space of an object.
    #[inline(never)]
    fn no_string(&mut self) -> Result<(), Stopped> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'[') => self.array(&mut |_| {}),
            Some(b'{') => self.object(&mut |_, _| {}),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => self.syntax(),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Stopped> {
        word.bytes().try_for_each(|byte| self.expect(byte))
    }

    /// Skips a string. Returns whether it is plain, that is, without escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Stopped> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return self.syntax();
        }
        self.step();
        self.at = special_from(bytes, self.at);
        if bytes.get(self.at) == Some(&b'"') {
            self.step();
            return Ok(true);
        }
        self.string_with_escapes()
    }

    /// Skips the rest of a string, starting at an escape or an error.
    #[cold]
    fn string_with_escapes(&mut self) -> Result<bool, Stopped> {
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return self.syntax(),
            }
            self.at = special_from(self.text.as_bytes(), self.at);
        }
        self.step();
        Ok(false)
    }

    fn escape(&mut self) -> Result<(), Stopped> {
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
                        _ => self.syntax(),
                    }
                }
                0xDC00..=0xDFFF => self.syntax(),
                _ => Ok(()),
            },
            _ => self.syntax(),
        }
    }

    /// Reads `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, Stopped> {
        self.expect(b'u')?;
        let start = self.at;
        for _ in 0..4 {
            match self.peek() {
                Some(byte) if byte.is_ascii_hexdigit() => self.step(),
                _ => return self.syntax(),
            }
        }
        u32::from_str_radix(self.since(start), 16).or_else(|_| self.syntax())
    }

    fn number(&mut self) -> Result<(), Stopped> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        let has_exponent = self.take(b'e') || self.take(b'E');
        if has_exponent {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        let number = self.since(start);
        // A number of at most 64 digits without an exponent is finite.
        let is_finite = || !has_exponent || number.parse::<f64>().is_ok_and(f64::is_finite);
        if number.len() <= MAX_NUMBER && is_finite() {
            Ok(())
        } else {
            self.stop(JsonError::TooLarge("number"))
        }
    }

    fn digits(&mut self) -> Result<(), Stopped> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.step();
        }
        if self.at == start {
            self.syntax()
        } else {
            Ok(())
        }
    }

    fn enter(&mut self) -> Result<(), Stopped> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            return self.stop(JsonError::TooLarge("nesting"));
        }
        self.step();
        self.whitespace();
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    #[inline]
    fn raw(&self, start: usize, is_plain: bool) -> Raw<'a> {
        Raw {
            whole: self.text,
            start,
            end: self.at,
            is_plain,
        }
    }

    #[inline]
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Stops with a syntax error at the current byte.
    fn syntax<T>(&self) -> Result<T, Stopped> {
        Err(Stopped)
    }

    #[cold]
    fn stop<T>(&mut self, fault: JsonError) -> Result<T, Stopped> {
        self.fault = Some(fault);
        Err(Stopped)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn step(&mut self) {
        // Never wraps, because no text is that long.
        self.at = self.at.wrapping_add(1);
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), Stopped> {
        if self.peek() == Some(byte) {
            self.step();
            Ok(())
        } else {
            self.syntax()
        }
    }

    /// Skips the next byte if it is this one. Returns whether it did.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.step();
        }
        is_next
    }
}

/// The position of the next byte that ends or interrupts a string. Checks eight bytes at a time.
#[inline]
fn special_from(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            let before = special.trailing_zeros().wrapping_shr(3);
            return at.wrapping_add(usize::try_from(before).unwrap_or_default());
        }
        at = at.wrapping_add(8);
    }
    let last = bytes.get(at..).unwrap_or_default().iter();
    let ordinary = last.take_while(|byte| !matches!(byte, ..0x20 | b'"' | b'\\'));
    at.wrapping_add(ordinary.count())
}

/// Sets the high bit of each byte that ends or interrupts a string: a quote, a backslash or a control
/// character. Only the lowest set bit is exact, because a borrow can set bits above it.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Flipping one bit of every byte moves the quote next to the control characters: all are below 0x21.
    let turned = word ^ ONES.wrapping_mul(0x02);
    let quotes_and_controls = turned.wrapping_sub(ONES.wrapping_mul(0x21));
    let backslashes = (word ^ ONES.wrapping_mul(0x5C)).wrapping_sub(ONES);
    (quotes_and_controls | backslashes) & !word & HIGH
}

/// The maximum length of a number in characters.
const MAX_NUMBER: usize = 64;
/// The prefix of names that have a private meaning for `serde_json`.
const RESERVED: &str = "$serde_json::private::";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_special_byte_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                for filler in [0x21, 0x7F, 0x80, 0xFF] {
                    let mut word = [filler; 8];
                    word[at] = byte;
                    let special = special_bytes(u64::from_le_bytes(word));
                    let expected = if matches!(byte, ..0x20 | b'"' | b'\\') {
                        at
                    } else {
                        8
                    };
                    let found = usize::try_from(special.trailing_zeros()).unwrap() / 8;
                    assert_eq!(found, expected, "{byte} at {at} among {filler}");
                }
            }
        }
    }
}
