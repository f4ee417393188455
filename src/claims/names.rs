//! [`NameSet`]: the names that a token grants.

use std::fmt;

use crate::token::text::Span;

/// A set of names that a token grants: scopes, roles, authentication methods.
///
/// Names compare exactly: `calendar:readonly` and `Calendar:Read` are not `calendar:read`.
#[derive(Clone, Copy)]
pub struct NameSet<'a> {
    buffer: &'a str,
    names: &'a [Span],
}

impl<'a> NameSet<'a> {
    pub(crate) fn of((names, buffer): (&'a [Span], &'a str)) -> Self {
        Self { buffer, names }
    }

    /// Whether the name is in the set.
    #[must_use]
    pub fn contains(self, name: &str) -> bool {
        let (octets, name) = (self.buffer.as_bytes(), Some(name.as_bytes()));
        self.names
            .iter()
            .any(|candidate| octets.get(candidate.range()) == name)
    }

    /// The names, in the order of the token.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.names.iter().map(move |name| name.text(self.buffer))
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.names.is_empty()
    }
}

impl fmt::Debug for NameSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The names separated by spaces, the form of the `scope` parameter. A name that has a space itself
/// (no scope has, a role may) or a control character is printed in quotes, so that it never reads as
/// two.
impl fmt::Display for NameSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(at, name)| {
            f.write_str(if at == 0 { "" } else { " " })?;
            if name.contains(|char: char| char == ' ' || char.is_control()) {
                write!(f, "{name:?}")
            } else {
                f.write_str(name)
            }
        })
    }
}
