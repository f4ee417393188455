//! Secrets in claims. A token is signed and not encrypted, so everyone who has it can read its claims.
//!
//! A secret is found by the name of a claim ([`names`]) or by the shape of its value ([`values`]), at any depth.

mod cards;
mod hashes;
mod keys;
mod names;
mod values;

use std::borrow::Cow;

use crate::issue::token::error::IssueError;
use crate::json::{self, MAX_MEMBERS, Raw};

/// What was found, and where such data belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Secret {
    looks_like: &'static str,
    belongs: &'static str,
}

/// Rejects the claim if its name or its value looks like a secret. `allowed` has the JSON pointers of claims that may,
/// with everything in them.
pub(super) fn check(name: &str, value: Raw<'_>, allowed: &[String]) -> Result<(), IssueError> {
    let root = Place {
        within: None,
        name: Name::Member(name),
    };
    Search {
        allowed,
        is_text: false,
    }
    .member(&root, name, value)
}

/// A search through one claim.
#[derive(Clone, Copy)]
struct Search<'a> {
    allowed: &'a [String],
    /// Whether this is the JSON text in a string. There is one level of it.
    is_text: bool,
}

/// A place in the claims: a list that begins at its end.
struct Place<'a> {
    within: Option<&'a Self>,
    name: Name<'a>,
}

enum Name<'a> {
    Item(usize),
    Member(&'a str),
}

impl Search<'_> {
    fn member(self, place: &Place<'_>, name: &str, value: Raw<'_>) -> Result<(), IssueError> {
        if can_hold_a_secret(value)
            && let Some(secret) = names::secret_in(name)
        {
            self.found(place, secret)?;
        }
        // A name can be a secret itself, in a map of keys. The place is then the object, because an error has no secret.
        if let Some(secret) = values::secret_in(name) {
            match place.within {
                Some(object) => self.found(object, secret)?,
                None if self.is_allowed(&place.pointer()) => {}
                None => return Err(secret.at(String::new())),
            }
        }
        self.value(place, value)
    }

    fn value(self, place: &Place<'_>, value: Raw<'_>) -> Result<(), IssueError> {
        if let Some(text) = value.string() {
            return self.string(place, &text);
        }
        let mut result = Ok(());
        if value.is_object() {
            let mut private = PrivateMembers::default();
            value.each_member(|name, inner| {
                private.see(&name, inner);
                let place = place.inner(Name::Member(&name));
                result = result
                    .clone()
                    .and_then(|()| self.member(&place, &name, inner));
            });
            result?;
            return private
                .secret()
                .map_or(Ok(()), |secret| self.found(place, secret));
        }
        let mut at = 0_usize;
        let items = value.each_item(|item| {
            let place = place.inner(Name::Item(at));
            at = at.saturating_add(1);
            if result.is_ok() {
                result = self.value(&place, item);
            }
        });
        if items.is_none()
            && let Some(secret) = cards::secret_in(value.text())
        {
            return self.found(place, secret);
        }
        result
    }

    fn string(self, place: &Place<'_>, text: &str) -> Result<(), IssueError> {
        if let Some(secret) = values::secret_in(text) {
            self.found(place, secret)?;
        }
        // A key or the credentials of a service account, as JSON in a string.
        if self.is_text || !text.starts_with('{') {
            return Ok(());
        }
        let mut private = PrivateMembers::default();
        let mut found = Ok(());
        let within = Search {
            is_text: true,
            ..self
        };
        let read = json::read_object(text, MAX_MEMBERS, |name, value| {
            private.see(&name, value);
            if found.is_ok() {
                found = within.member(place, &name, value);
            }
        });
        if read.is_err() {
            return Ok(());
        }
        found?;
        private
            .secret()
            .map_or(Ok(()), |secret| self.found(place, secret))
    }

    fn found(self, place: &Place<'_>, secret: Secret) -> Result<(), IssueError> {
        let pointer = place.pointer();
        if self.is_allowed(&pointer) {
            return Ok(());
        }
        Err(secret.at(pointer))
    }

    fn is_allowed(self, pointer: &str) -> bool {
        self.allowed.iter().any(|allowed| {
            let rest = pointer.strip_prefix(allowed.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl Secret {
    fn at(self, pointer: String) -> IssueError {
        IssueError::SecretClaim {
            pointer,
            looks_like: self.looks_like,
            belongs: self.belongs,
        }
    }
}

impl<'a> Place<'a> {
    fn inner<'i>(&'i self, name: Name<'i>) -> Place<'i>
    where
        'a: 'i,
    {
        Place {
            within: Some(self),
            name,
        }
    }

    /// The JSON pointer of the place (RFC 6901).
    fn pointer(&self) -> String {
        let mut pointer = self.within.map(Place::pointer).unwrap_or_default();
        pointer.push('/');
        match self.name {
            Name::Item(at) => pointer.push_str(&at.to_string()),
            Name::Member(name) => pointer.push_str(&escaped(name)),
        }
        pointer
    }
}

/// A name within a JSON pointer.
pub(super) fn escaped(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        return Cow::Owned(name.replace('~', "~0").replace('/', "~1"));
    }
    Cow::Borrowed(name)
}

/// Whether there is anything in the value. A boolean says that there is a password, and is none.
fn can_hold_a_secret(value: Raw<'_>) -> bool {
    !matches!(
        value.text(),
        "true" | "false" | "null" | "\"\"" | "[]" | "{}"
    )
}

/// Whether an object is a private JSON Web Key (RFC 7517).
#[derive(Default)]
struct PrivateMembers {
    is_key: bool,
    is_private: bool,
}

impl PrivateMembers {
    fn see(&mut self, name: &str, value: Raw<'_>) {
        self.is_key |= name == "kty" && value.is_string();
        self.is_private |= PRIVATE.contains(&name) && can_hold_a_secret(value);
    }

    fn secret(&self) -> Option<Secret> {
        (self.is_key && self.is_private).then_some(keys::PRIVATE_KEY)
    }
}

/// The members that a public key does not have (RFC 7518, section 6; RFC 9964 for `priv`).
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "p", "priv", "q", "qi"];
