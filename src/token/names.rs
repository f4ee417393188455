//! [`GrantedNames`]: the names that claims grant, such as scopes, and how they are collected.

use std::ops::Range;

use crate::json::Raw;
use crate::token::span::{PLACES, Span, Spans};

/// Collects texts of one buffer as a list of spans.
pub(crate) struct Collector<'b> {
    buffer: &'b str,
    /// The decoded text of strings with escapes. Its place is after the end of the buffer.
    unescaped: String,
    spans: Spans,
    /// The index at which the current list begins.
    first: usize,
    /// The marks of all names in the current list.
    marks: u64,
}

/// The names that claims grant, without duplicates.
#[derive(Clone, Debug)]
pub(crate) struct GrantedNames {
    spans: Spans,
    /// Their own buffer, if one of them had escapes.
    buffer: Option<String>,
}

impl GrantedNames {
    /// The maximum size in bytes of the names that these values grant. Each word of a string and
    /// each item of a list may be a name. If a string has escapes, the names have their own buffer.
    pub(crate) fn weight<'b>(values: impl Iterator<Item = &'b str>, buffer: &str) -> usize {
        let (mut names, mut escaped) = (0_usize, 0_usize);
        for value in values {
            let bytes = value.as_bytes();
            let is_end = |byte: &&u8| matches!(byte, b' ' | b',' | b'\\');
            names = names.saturating_add(bytes.iter().filter(is_end).count().saturating_add(1));
            if bytes.contains(&b'\\') {
                escaped = escaped.saturating_add(bytes.len());
            }
        }
        let own = match escaped {
            0 => 0,
            escaped => buffer.len().saturating_add(escaped),
        };
        let many = Spans::max_heap_bytes(names);
        size_of::<Self>().saturating_add(own).saturating_add(many)
    }

    /// The names and the buffer that they refer to: this one or their own.
    pub(crate) fn spans<'n>(&'n self, buffer: &'n str) -> (&'n [Span], &'n str) {
        (
            self.spans.as_slice(),
            self.buffer.as_deref().unwrap_or(buffer),
        )
    }
}

/// The shape of a claim that grants names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantShape {
    /// Neither a string nor an array of strings.
    Invalid,
    List,
    Text,
}

impl GrantShape {
    pub(crate) fn of(value: Raw<'_>) -> Self {
        if value.is_string() {
            return Self::Text;
        }
        let mut shape = Self::List;
        let items = value.each_item(|item| {
            if !item.is_string() {
                shape = Self::Invalid;
            }
        });
        items.map_or(Self::Invalid, |()| shape)
    }

    /// Whether [`Collector::add_roles`] reads the whole value and leaves nothing out.
    pub(crate) fn is_of_roles(value: Raw<'_>) -> bool {
        let mut is_role = true;
        let items = value.each_item(|item| {
            let is_scim = || item.member("value").is_some_and(Raw::is_string);
            is_role = is_role && (item.is_string() || is_scim());
        });
        value.is_string() || (items.is_some() && is_role)
    }
}

impl<'b> Collector<'b> {
    pub(crate) fn new(buffer: &'b str) -> Self {
        Self {
            buffer,
            unescaped: String::new(),
            first: 0,
            spans: Spans::default(),
            marks: 0,
        }
    }

    /// The names that were added, without duplicates.
    pub(crate) fn into_names(mut self) -> GrantedNames {
        if self.spans.len() > MANY {
            self.spans = self.each_once();
        }
        let own = || [self.buffer, &self.unescaped].concat();
        GrantedNames {
            buffer: (!self.unescaped.is_empty()).then(own),
            spans: self.spans,
        }
    }

    /// All spans, and the text to be appended to the buffer.
    pub(crate) fn into_parts(self) -> (Spans, String) {
        (self.spans, self.unescaped)
    }

    /// The place of the text of a value, if it is a string.
    #[inline]
    pub(crate) fn string(&mut self, value: Raw<'_>) -> Option<Span> {
        if let Some(inner) = value.plain_string() {
            return Some(Span::new(inner));
        }
        let text = value.string()?;
        let start = self.buffer.len().saturating_add(self.unescaped.len());
        let end = start.saturating_add(text.len());
        // The same claim may be read several times. A text that no longer fits is left out. It must
        // not be truncated, because it would become another name.
        if end > PLACES {
            return None;
        }
        self.unescaped.push_str(&text);
        Some(Span::new(start..end))
    }

    /// Ends the current list and returns its place among the spans.
    pub(crate) fn end_list(&mut self) -> Span {
        let list = Span::new(self.first..self.spans.len());
        self.first = self.spans.len();
        self.marks = 0;
        list
    }

    /// Adds a string, or each string of an array. `None` if the value is anything else.
    pub(crate) fn add_one_or_more(&mut self, value: Raw<'_>) -> Option<()> {
        match self.string(value) {
            Some(one) => {
                self.spans.push(one);
                Some(())
            }
            None => self.add_strings(value),
        }
    }

    /// Adds each string of an array. `None` if the value is anything else.
    pub(crate) fn add_strings(&mut self, value: Raw<'_>) -> Option<()> {
        let mut all = Some(());
        value.each_item(|item| match self.string(item) {
            Some(one) => self.spans.push(one),
            None => all = None,
        })?;
        all
    }

    /// Adds the words of a string or the strings of an array, without duplicates.
    pub(crate) fn add_words_or_items(&mut self, value: Raw<'_>) {
        if let Some(span) = self.string(value) {
            return self.add_words(span);
        }
        value.each_item(|item| {
            if let Some(one) = self.string(item) {
                self.add_name(one);
            }
        });
    }

    /// Adds the roles of a claim, without duplicates: a string, an array of strings, or an array of
    /// objects with a `value` (SCIM).
    pub(crate) fn add_roles(&mut self, value: Raw<'_>) {
        let is_array = value.each_item(|item| {
            let role = match self.string(item) {
                None => item.member("value").and_then(|value| self.string(value)),
                role => role,
            };
            if let Some(role) = role {
                self.add_name(role);
            }
        });
        if is_array.is_none()
            && let Some(role) = self.string(value)
        {
            self.add_name(role);
        }
    }

    fn add_words(&mut self, span: Span) {
        let Range { mut start, end } = span.range();
        while start < end {
            let rest = self.bytes(start..end);
            let length = rest.iter().take_while(|byte| **byte != b' ').count();
            let word_end = start.saturating_add(length);
            self.add_name(Span::new(start..word_end));
            start = word_end.saturating_add(1);
        }
    }

    /// Adds a name, unless it is empty or already in the list. In a long list every name is added,
    /// and [`into_names`](Self::into_names) removes the duplicates, because comparing each name
    /// with all others would take quadratic time.
    fn add_name(&mut self, name: Span) {
        let bytes = self.bytes(name.range());
        let mark = mark(bytes);
        let is_long = self.spans.len() > MANY;
        if bytes.is_empty() || (!is_long && self.marks & mark != 0 && self.has(bytes)) {
            return;
        }
        self.marks |= mark;
        self.spans.push(name);
    }

    /// The names in their order, without duplicates.
    fn each_once(&self) -> Spans {
        let all = self.spans.as_slice();
        let mut sorted: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(at, name)| (self.bytes(name.range()), at, *name))
            .collect();
        sorted.sort_unstable_by_key(|(bytes, at, _)| (*bytes, *at));
        sorted.dedup_by_key(|(bytes, ..)| *bytes);
        sorted.sort_unstable_by_key(|(_, at, _)| *at);
        let mut once = Spans::default();
        sorted.iter().for_each(|(.., name)| once.push(*name));
        once
    }

    fn has(&self, name: &[u8]) -> bool {
        let list = self.spans.as_slice().get(self.first..).unwrap_or_default();
        list.iter().any(|known| self.bytes(known.range()) == name)
    }

    fn bytes(&self, range: Range<usize>) -> &[u8] {
        if let Some(bytes) = self.buffer.as_bytes().get(range.clone()) {
            return bytes;
        }
        let behind = |at: usize| at.saturating_sub(self.buffer.len());
        let range = behind(range.start)..behind(range.end);
        self.unescaped.as_bytes().get(range).unwrap_or_default()
    }
}

/// One of 64 bits, chosen by the length and two bytes of the name. Only names with the same bit
/// have to be compared, and most names in a list have different bits.
fn mark(name: &[u8]) -> u64 {
    let byte = |byte: Option<&u8>| byte.copied().map_or(0, u32::from);
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let mixed = byte(name.first())
        .wrapping_mul(7)
        .wrapping_add(byte(name.get(name.len() / 2)).wrapping_mul(31))
        .wrapping_add(length.wrapping_mul(11));
    1_u64.wrapping_shl(mixed)
}

/// Maximum number of names that are compared with each other one by one.
const MANY: usize = 64;

/// The names that a claim grants.
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) fn granted(value: &str) -> Vec<String> {
    let mut names = Collector::new(value);
    names.add_words_or_items(Raw::of_accepted(value, 0..value.len()));
    let names = names.into_names();
    let (spans, buffer) = names.spans(value);
    let texts = spans.iter().map(|name| name.text(buffer).to_owned());
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_as_add_words_or_items_and_stand_once() {
        for (value, expected, shape) in [
            (r#""""#, vec![], GrantShape::Text),
            (r#""a""#, vec!["a"], GrantShape::Text),
            (r#""  b a  b a ""#, vec!["b", "a"], GrantShape::Text),
            (
                r#""\u0061 a b\u0020c""#,
                vec!["a", "b", "c"],
                GrantShape::Text,
            ),
            (
                r#"["a b","","a b","\u0061 b"]"#,
                vec!["a b"],
                GrantShape::List,
            ),
            ("[]", vec![], GrantShape::List),
            ("[1]", vec![], GrantShape::Invalid),
            ("{}", vec![], GrantShape::Invalid),
            ("5", vec![], GrantShape::Invalid),
        ] {
            assert_eq!(granted(value), expected, "{value}");
            let value = Raw::of_accepted(value, 0..value.len());
            assert_eq!(GrantShape::of(value), shape, "{value:?}");
        }
    }

    /// Lengths around the length from which the list is sorted.
    #[test]
    fn a_name_is_granted_once_in_a_list_of_any_length() {
        for count in [1, MANY - 1, MANY, MANY + 1, MANY + 2, 2_000] {
            let all: Vec<_> = (0..count).map(|number| format!("s{number}")).collect();
            let backwards: Vec<_> = all.iter().rev().cloned().collect();
            for list in [
                [all.clone(), all.clone()].concat(),
                [all.clone(), backwards.clone()].concat(),
                all.iter()
                    .flat_map(|name| [name.clone(), name.clone()])
                    .collect(),
            ] {
                let words = format!("\"{}\"", list.join(" "));
                assert_eq!(granted(&words), all, "{count} words");
                let items = format!("[\"{}\",\"\"]", list.join("\",\""));
                assert_eq!(granted(&items), all, "{count} items");
            }
        }
    }

    #[test]
    fn a_text_without_room_is_left_out_and_not_truncated() {
        let buffer = format!("{}\"\\u0061dmin-not\"", "x".repeat(PLACES - 10 - 16));
        let value = || Raw::of_accepted(&buffer, buffer.len() - 16..buffer.len());
        let mut names = Collector::new(&buffer);
        // There is room for the text once: its ten bytes end at the last place.
        names.add_words_or_items(value());
        names.add_words_or_items(value());
        let names = names.into_names();
        let (spans, of_names) = names.spans(&buffer);
        let names: Vec<_> = spans.iter().map(|name| name.text(of_names)).collect();
        assert_eq!(names, ["admin-not"]);
    }

    #[test]
    fn names_with_the_same_mark_are_told_apart() {
        let all: Vec<_> = (0..500).map(|number| format!("scope:{number}")).collect();
        let twice = format!("\"{} {}\"", all.join(" "), all.join(" "));
        assert_eq!(granted(&twice), all);
    }
}
