//! The one buffer of a token: its payload, and where the texts stand that the checks and the
//! handlers need. A claim costs four octets instead of a string of its own.

use std::ops::Range;

use crate::inline_list::InlineList;
use crate::json::Raw;

/// Where a text stands in the buffer of its token, or a list among the texts.
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

    /// Where a value stands in the text that it was read from.
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

    /// The value here, in a payload that the reader has accepted.
    #[inline]
    pub(crate) fn value(self, buffer: &str) -> Raw<'_> {
        Raw::of_accepted(buffer, self.range())
    }
}

/// Whether spans hold every place in a payload, and in what its strings with escapes mean, which is
/// put behind it. Nobody has to count in a payload of an ordinary size.
pub(crate) fn has_room_for(payload: &str) -> bool {
    if payload.len().saturating_mul(2) <= PLACES {
        return true;
    }
    // Quotation marks come in pairs, and the one behind a backslash belongs to the string.
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

/// Places that a span tells apart.
const PLACES: usize = 0xFFFF;
// Without escapes, every place of the largest payload is among them.
const _: () = assert!(crate::token::limits::LARGEST / 4 * 3 < PLACES);

/// Spans in a list that seldom needs an allocation: audiences, and the names in the claims of scopes
/// and roles.
pub(crate) type Spans = InlineList<Span, 8>;

/// Collects texts of one buffer into its list of spans.
pub(crate) struct Collector<'b> {
    buffer: &'b str,
    /// What strings with escapes mean, to stand behind the buffer.
    unescaped: String,
    names: Spans,
    /// Where the list that is being made begins.
    first: usize,
    marks: u64,
}

/// The names that some claims grant, each once.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    spans: Spans,
    /// A buffer of their own, if one of them had to be unescaped.
    buffer: Option<String>,
}

impl Names {
    /// The bytes of the names that these values grant, at most: each word of a string and each item
    /// of a list may be one, and if a string has escapes the names have a buffer of their own.
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

    /// The names, and the buffer that they are in: this one, or their own.
    pub(crate) fn spans<'n>(&'n self, buffer: &'n str) -> (&'n [Span], &'n str) {
        (
            self.spans.as_slice(),
            self.buffer.as_deref().unwrap_or(buffer),
        )
    }
}

/// How a claim grants names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// Neither a string nor an array of strings.
    Invalid,
    List,
    Text,
}

impl Granted {
    pub(crate) fn of(value: Raw<'_>) -> Self {
        if value.is_string() {
            return Self::Text;
        }
        let mut granted = Self::List;
        let items = value.each_item(|item| {
            if !item.is_string() {
                granted = Self::Invalid;
            }
        });
        items.map_or(Self::Invalid, |()| granted)
    }

    /// Whether this is a value as [`Collector::roles`] reads it, with nothing that it leaves out.
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
            names: Spans::default(),
            marks: 0,
        }
    }

    /// The names that were added.
    pub(crate) fn names(mut self) -> Names {
        if self.names.len() > MANY {
            self.names = self.each_once();
        }
        let own = || [self.buffer, &self.unescaped].concat();
        Names {
            buffer: (!self.unescaped.is_empty()).then(own),
            spans: self.names,
        }
    }

    /// All spans, and the text that belongs behind the buffer.
    pub(crate) fn finish(self) -> (Spans, String) {
        (self.names, self.unescaped)
    }

    /// The value, if it is a string.
    #[inline]
    pub(crate) fn string(&mut self, value: Raw<'_>) -> Option<Span> {
        if let Some(inner) = value.plain_string() {
            return Some(Span::new(inner));
        }
        let text = value.string()?;
        let start = self.buffer.len().saturating_add(self.unescaped.len());
        let end = start.saturating_add(text.len());
        // One claim may be asked for as several things. What has no place then is left out: it must
        // not become a shorter text.
        if end > PLACES {
            return None;
        }
        self.unescaped.push_str(&text);
        Some(Span::new(start..end))
    }

    /// Ends the list of what was added since the last one.
    pub(crate) fn list(&mut self) -> Span {
        let list = Span::new(self.first..self.names.len());
        self.first = self.names.len();
        self.marks = 0;
        list
    }

    /// Adds a string or each string of an array; `None` if the value is anything else.
    pub(crate) fn one_or_more(&mut self, value: Raw<'_>) -> Option<()> {
        match self.string(value) {
            Some(one) => {
                self.names.push(one);
                Some(())
            }
            None => self.strings(value),
        }
    }

    /// Adds each string of an array; `None` if the value is anything else.
    pub(crate) fn strings(&mut self, value: Raw<'_>) -> Option<()> {
        let mut all = Some(());
        value.each_item(|item| match self.string(item) {
            Some(one) => self.names.push(one),
            None => all = None,
        })?;
        all
    }

    /// Adds the words of a string, or the strings of an array, each once.
    pub(crate) fn words_or_items(&mut self, value: Raw<'_>) {
        if let Some(span) = self.string(value) {
            return self.words(span);
        }
        value.each_item(|item| {
            if let Some(one) = self.string(item) {
                self.name(one);
            }
        });
    }

    /// Adds the roles of a claim, each once: a string, an array of strings, or SCIM's array of
    /// objects with a `value`.
    pub(crate) fn roles(&mut self, value: Raw<'_>) {
        let is_array = value.each_item(|item| {
            let role = match self.string(item) {
                None => item.member("value").and_then(|value| self.string(value)),
                role => role,
            };
            if let Some(role) = role {
                self.name(role);
            }
        });
        if is_array.is_none()
            && let Some(role) = self.string(value)
        {
            self.name(role);
        }
    }

    fn words(&mut self, span: Span) {
        let Range { mut start, end } = span.range();
        while start < end {
            let rest = self.octets(start..end);
            let length = rest.iter().take_while(|octet| **octet != b' ').count();
            let behind = start.saturating_add(length);
            self.name(Span::new(start..behind));
            start = behind.saturating_add(1);
        }
    }

    /// Adds a name unless it is empty, or in the list already. In a long list every name is added,
    /// and [`names`](Self::names) sorts out which are there twice: to search each among all others
    /// would take quadratic time.
    fn name(&mut self, name: Span) {
        let octets = self.octets(name.range());
        let mark = mark(octets);
        let is_long = self.names.len() > MANY;
        if octets.is_empty() || (!is_long && self.marks & mark != 0 && self.has(octets)) {
            return;
        }
        self.marks |= mark;
        self.names.push(name);
    }

    /// The names in their order, without those that are there already.
    fn each_once(&self) -> Spans {
        let all = self.names.as_slice();
        let mut sorted: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(at, name)| (self.octets(name.range()), at, *name))
            .collect();
        sorted.sort_unstable_by_key(|(octets, at, _)| (*octets, *at));
        sorted.dedup_by_key(|(octets, ..)| *octets);
        sorted.sort_unstable_by_key(|(_, at, _)| *at);
        let mut once = Spans::default();
        sorted.iter().for_each(|(.., name)| once.push(*name));
        once
    }

    fn has(&self, name: &[u8]) -> bool {
        let list = self.names.as_slice().get(self.first..).unwrap_or_default();
        list.iter().any(|known| self.octets(known.range()) == name)
    }

    fn octets(&self, range: Range<usize>) -> &[u8] {
        if let Some(octets) = self.buffer.as_bytes().get(range.clone()) {
            return octets;
        }
        let behind = |at: usize| at.saturating_sub(self.buffer.len());
        let range = behind(range.start)..behind(range.end);
        self.unescaped.as_bytes().get(range).unwrap_or_default()
    }
}

/// One of 64 bits, by length and two octets: most names of one list have different ones, and only
/// the others have to be compared.
fn mark(name: &[u8]) -> u64 {
    let octet = |octet: Option<&u8>| octet.copied().map_or(0, u32::from);
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let mixed = octet(name.first())
        .wrapping_mul(7)
        .wrapping_add(octet(name.get(name.len() / 2)).wrapping_mul(31))
        .wrapping_add(length.wrapping_mul(11));
    1_u64.wrapping_shl(mixed)
}

/// Names of a list that are compared with each other one by one.
const MANY: usize = 64;

/// The names that a claim grants.
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) fn granted(value: &str) -> Vec<String> {
    let mut names = Collector::new(value);
    names.words_or_items(Raw::of_accepted(value, 0..value.len()));
    let names = names.names();
    let (spans, buffer) = names.spans(value);
    let texts = spans.iter().map(|name| name.text(buffer).to_owned());
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_as_words_or_items_and_stand_once() {
        for (value, expected, shape) in [
            (r#""""#, vec![], Granted::Text),
            (r#""a""#, vec!["a"], Granted::Text),
            (r#""  b a  b a ""#, vec!["b", "a"], Granted::Text),
            (r#""\u0061 a b\u0020c""#, vec!["a", "b", "c"], Granted::Text),
            (r#"["a b","","a b","\u0061 b"]"#, vec!["a b"], Granted::List),
            ("[]", vec![], Granted::List),
            ("[1]", vec![], Granted::Invalid),
            ("{}", vec![], Granted::Invalid),
            ("5", vec![], Granted::Invalid),
        ] {
            assert_eq!(granted(value), expected, "{value}");
            let value = Raw::of_accepted(value, 0..value.len());
            assert_eq!(Granted::of(value), shape, "{value:?}");
        }
    }

    /// Every length around the one from which on the list is sorted.
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

    #[test]
    fn a_text_without_a_place_is_no_shorter_text() {
        let buffer = format!("{}\"\\u0061dmin-not\"", "x".repeat(PLACES - 10 - 16));
        let value = || Raw::of_accepted(&buffer, buffer.len() - 16..buffer.len());
        let mut names = Collector::new(&buffer);
        // It fits once: its ten bytes end at the last place there is.
        names.words_or_items(value());
        names.words_or_items(value());
        let names = names.names();
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
