//! Reads JSON text with `serde_json`, and keeps every member, also if a name occurs twice.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error::kinds::RejectionKind;

/// A JSON value in which a name may occur twice in one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Why a strict reader may reject a text.
#[derive(Debug)]
pub(super) struct Flawed {
    pub(super) faults: Vec<RejectionKind>,
    /// Near the greatest number, the rounding of the other reader overflows.
    pub(super) is_open: bool,
}

impl Flawed {
    pub(super) fn add(&mut self, other: Self) {
        self.faults.extend(other.faults);
        self.is_open |= other.is_open;
    }
}

impl From<Vec<RejectionKind>> for Flawed {
    fn from(faults: Vec<RejectionKind>) -> Self {
        Self {
            faults,
            is_open: false,
        }
    }
}

/// A JSON text, and the reasons for which a strict reader may reject it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) node: Node,
    pub(super) is_too_large: bool,
    pub(super) has_name_twice: bool,
    pub(super) is_reserved: bool,
}

/// Reads a text with at most this many members in all its objects together.
pub(super) fn look(bytes: &[u8], max_members: usize) -> Result<Seen, serde_json::Error> {
    let node: Node = serde_json::from_slice(bytes)?;
    let mut counted = Counted::default();
    counted.count(&node, 1);
    Ok(Seen {
        node,
        is_too_large: counted.depth > MAX_DEPTH
            || counted.members > max_members
            || longest_number(bytes) > MAX_NUMBER,
        has_name_twice: counted.has_name_twice,
        is_reserved: counted.is_reserved,
    })
}

/// Whether the other reader cannot read it, because its rounding overflows near the greatest number.
pub(super) fn is_open(error: &serde_json::Error) -> bool {
    error.to_string().contains("out of range")
}

/// Reads one object.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(String, Node)>, Flawed> {
    let seen = look(bytes, MAX_MEMBERS).map_err(|error| Flawed {
        // The strict reader may find a repeated name before the fault.
        faults: vec![MALFORMED, RejectionKind::DuplicateMember],
        is_open: is_open(&error),
    })?;
    let mut faults = Vec::new();
    if seen.is_too_large || seen.is_reserved {
        faults.push(MALFORMED);
    }
    if seen.has_name_twice {
        faults.push(RejectionKind::DuplicateMember);
    }
    match seen.node {
        Node::Object(members) if faults.is_empty() => Ok(members),
        Node::Object(_) => Err(faults.into()),
        _ => Err(vec![MALFORMED].into()),
    }
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The strings, if this is a string or an array of strings.
    pub(super) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => Some(vec![text]),
            Self::List(items) => items.iter().map(Self::text).collect(),
            _ => None,
        }
    }
}

pub(super) fn member<'a>(members: &'a [(String, Node)], name: &str) -> Option<&'a Node> {
    members
        .iter()
        .find(|(known, _)| known == name)
        .map(|(_, value)| value)
}

#[derive(Default)]
struct Counted {
    members: usize,
    depth: usize,
    has_name_twice: bool,
    is_reserved: bool,
}

impl Counted {
    fn count(&mut self, node: &Node, depth: usize) {
        match node {
            Node::List(items) => {
                self.depth = self.depth.max(depth);
                for item in items {
                    self.count(item, depth.saturating_add(1));
                }
            }
            Node::Object(members) => {
                self.depth = self.depth.max(depth);
                self.members = self.members.saturating_add(members.len());
                let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
                names.sort_unstable();
                let all = names.len();
                names.dedup();
                self.has_name_twice |= names.len() < all;
                for (name, value) in members {
                    self.is_reserved |= name.starts_with("$serde_json::private::");
                    self.count(value, depth.saturating_add(1));
                }
            }
            _ => {}
        }
    }
}

/// The maximum length of a number in characters.
fn longest_number(text: &[u8]) -> usize {
    let (mut longest, mut length) = (0_usize, 0_usize);
    let (mut is_string, mut is_escaped) = (false, false);
    for byte in text {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_string => is_escaped = true,
            b'"' => is_string = !is_string,
            _ => {}
        }
        let is_number =
            !is_string && matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        length = if is_number {
            length.saturating_add(1)
        } else {
            0
        };
        longest = longest.max(length);
    }
    longest
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    #[expect(clippy::as_conversions, reason = "the nearest number is what is meant")]
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    #[expect(clippy::as_conversions, reason = "the nearest number is what is meant")]
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Node::Object(object))
    }
}

const MALFORMED: RejectionKind = RejectionKind::MalformedToken;
const MAX_DEPTH: usize = 32;
pub(super) const MAX_MEMBERS: usize = 1_000;
const MAX_NUMBER: usize = 64;
