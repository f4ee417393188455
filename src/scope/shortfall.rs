//! [`Shortfall`]: what a token does not have.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::is_scope;
use crate::claims::names::NameSet;
use crate::error::rejection::Rejection;

/// What a token does not have: the answer of a [`Requirement`](crate::scope::Requirement) that is
/// not met.
///
/// One shortfall can say several things: [`AllOf`](crate::scope::AllOf) adds up what is missing, and
/// one rejection carries all of it. Scopes go into the challenge, so that the client can ask for
/// them; beside them stand the other scopes of the requirement, because the challenge names what the
/// next token needs ([RFC 6750, section 3]). Where no scope is missing, the challenge names none.
/// Everything that is missing goes into the sentence for the operator.
///
/// [RFC 6750, section 3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
///
/// # Example: a scope and a rule, in one requirement
///
/// ```
/// use tower_jwt_auth::scope::{Grants, Requirement, Shortfall};
///
/// /// Clients of others need a scope of their own.
/// struct Export;
///
/// impl Requirement for Export {
///     fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
///         if grants.client_id() == Some("our-app") || grants.scopes().contains("events:export") {
///             return Ok(());
///         }
///         Err(Shortfall::scopes(["events:export"]))
///     }
///
///     fn describe() -> String {
///         "our own app, or the scope events:export".into()
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Shortfall {
    /// For the challenge.
    scopes: Vec<Cow<'static, str>>,
    /// For the operator.
    sentence: Cow<'static, str>,
    joined: Joined,
}

/// By what the parts of a sentence are joined, so that parentheses stand where they are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    ByAnd,
    ByOr,
    Not,
}

impl Shortfall {
    /// Scopes that the token does not have and the client can ask for. The challenge names them. A
    /// text that is no scope ([RFC 6749, section 3.3]) is not named.
    ///
    /// [RFC 6749, section 3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
    pub fn scopes<S>(scopes: impl IntoIterator<Item = S>) -> Self
    where
        S: Into<Cow<'static, str>>,
    {
        let scopes: Vec<_> = scopes.into_iter().map(Into::into).collect();
        let sentence = match scopes.as_slice() {
            [scope] => format!("scope {scope}"),
            several => format!("scopes {}", several.join(" ")),
        };
        Self {
            scopes,
            sentence: sentence.into(),
            joined: Joined::Not,
        }
    }

    /// Another right that the token does not have, such as `role admin` or `at most three scopes`.
    /// The client is not told which; the operator reads this description.
    pub fn right(description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            scopes: Vec::new(),
            sentence: description.into(),
            joined: Joined::Not,
        }
    }

    /// The same as [`right`](Self::right) where a rule does not hold: a rule of one line.
    ///
    /// # Errors
    ///
    /// The shortfall, unless the rule holds.
    pub fn right_unless(
        holds: bool,
        description: impl Into<Cow<'static, str>>,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        Err(Self::right(description))
    }

    /// This and the other: the token needs both.
    pub fn and(mut self, other: Self) -> Self {
        self.join(&other, Joined::ByAnd);
        for scope in other.scopes {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope);
            }
        }
        self
    }

    /// This or the other: one of them would be enough. A client is asked for this one.
    pub fn or(mut self, other: Self) -> Self {
        self.join(&other, Joined::ByOr);
        self
    }

    fn join(&mut self, other: &Self, joined: Joined) {
        let part = |part: &Self| {
            if part.joined == Joined::Not || part.joined == joined {
                part.sentence.to_string()
            } else {
                format!("({})", part.sentence)
            }
        };
        let word = if joined == Joined::ByOr { "or" } else { "and" };
        self.sentence = format!("{} {word} {}", part(self), part(other)).into();
        self.joined = joined;
    }

    /// The rejection by a requirement that needs these scopes, of a token that has those.
    pub(super) fn into_rejection<S>(
        mut self,
        needed: impl IntoIterator<Item = S>,
        granted: NameSet<'_>,
    ) -> Rejection
    where
        S: Into<Cow<'static, str>>,
    {
        let missing = self.scopes;
        let is_missing = |scope: &Cow<'_, str>| is_scope(scope) && !granted.contains(scope);
        self.scopes = Vec::new();
        // A client that asked for scopes that it has would be back with the same token. If one is
        // missing, all that are needed are named: a client asks for the whole scope of a token, and
        // one that asked for the missing one alone would come back without the others.
        if missing.iter().any(is_missing) {
            for scope in needed.into_iter().map(Into::into).chain(missing) {
                if !self.scopes.contains(&scope) {
                    self.scopes.push(scope);
                }
            }
        }
        self.into()
    }
}

/// The rejection of a token that does not have this.
impl From<Shortfall> for Rejection {
    fn from(shortfall: Shortfall) -> Self {
        let mut scopes = shortfall.scopes;
        scopes.retain(|scope| is_scope(scope));
        Self::rights(scopes, shortfall.sentence.into_owned()).unreported()
    }
}

/// The sentence for the operator.
impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortfalls_add_up_and_name_each_scope_once() {
        let [a, b] = ["a", "b"].map(|scope| Shortfall::scopes([scope]));
        let sum = a.clone().and(b.clone()).and(a.clone());
        assert_eq!(sum.scopes, ["a", "b"]);
        assert_eq!(sum.to_string(), "scope a and scope b and scope a");
        let either = a.or(b).and(Shortfall::right("role admin"));
        assert_eq!(either.scopes, ["a"]);
        assert_eq!(either.to_string(), "(scope a or scope b) and role admin");
        let third = Shortfall::right("x")
            .and(Shortfall::right("y"))
            .or(Shortfall::right("z"));
        assert_eq!(third.to_string(), "(x and y) or z");
    }
}
