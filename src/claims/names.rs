//! [`NameSet`]: a set of names in a token.

use std::{fmt, slice};

use crate::token::span::Span;

/// A set of names in a token: scopes, roles or authentication methods.
///
/// Names are compared exactly: `calendar:readonly` and `Calendar:Read` are not `calendar:read`.
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
        let (bytes, name) = (self.buffer.as_bytes(), Some(name.as_bytes()));
        self.names
            .iter()
            .any(|candidate| bytes.get(candidate.range()) == name)
    }

    /// The names, in the order of the token.
    #[must_use]
    pub fn iter(self) -> Names<'a> {
        let Self { buffer, names } = self;
        Names {
            buffer,
            names: names.iter(),
        }
    }

    /// The number of names.
    #[must_use]
    pub fn len(self) -> usize {
        self.names.len()
    }

    /// Whether the set has no names.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.names.is_empty()
    }
}

/// Iterator over the names of a [`NameSet`].
#[derive(Clone, Debug)]
pub struct Names<'a> {
    buffer: &'a str,
    names: slice::Iter<'a, Span>,
}

impl<'a> Iterator for Names<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.names.next().map(|name| name.text(self.buffer))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.names.size_hint()
    }
}

impl<'a> IntoIterator for NameSet<'a> {
    type Item = &'a str;
    type IntoIter = Names<'a>;

    fn into_iter(self) -> Names<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &NameSet<'a> {
    type Item = &'a str;
    type IntoIter = Names<'a>;

    fn into_iter(self) -> Names<'a> {
        self.iter()
    }
}

/// Sets are equal if they have the same names in any order.
impl PartialEq for NameSet<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().all(|name| other.contains(name)) && other.iter().all(|name| self.contains(name))
    }
}

impl Eq for NameSet<'_> {}

impl fmt::Debug for NameSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// Prints the names separated by spaces, which is the form of the `scope` parameter. A name with a
/// space or a control character is printed in quotes, so that it does not look like two names. Only
/// roles can have such names; scopes cannot.
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
