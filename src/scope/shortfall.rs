//! [`Shortfall`]: what a token lacks to meet a requirement.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::is_scope;
use crate::claims::names::NameSet;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;

/// What a token lacks to meet a [`Requirement`](crate::scope::Requirement).
///
/// One shortfall can name several missing things: [`AllOf`](crate::scope::AllOf) collects them in one
/// rejection. If a scope is missing, the challenge names all scopes of the requirement, because the next
/// token needs all of them ([RFC 6750, section 3]). If no scope is missing, the challenge names none.
/// The sentence for the operator names everything that is missing.
///
/// [RFC 6750, section 3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
///
/// # Example: a requirement with a scope and a rule
///
/// ```
/// use tower_jwt_auth::scope::{Grants, Requirement, Shortfall};
///
/// /// Our own app may export events. Other clients need a scope.
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
    /// Whether another token is needed and not more rights.
    is_unbound: bool,
}

/// The word that joins the parts of a sentence. It decides where parentheses are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    ByAnd,
    ByOr,
    Not,
}

impl Shortfall {
    /// The token lacks these scopes. The challenge names them, so that the client can request them. A
    /// string that is not a valid scope ([RFC 6749, section 3.3]) is left out of the challenge.
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
            is_unbound: false,
        }
    }

    /// The token lacks another right, such as `role admin` or `at most three scopes`. Only the operator
    /// sees this description.
    pub fn right(description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            scopes: Vec::new(),
            sentence: description.into(),
            joined: Joined::Not,
            is_unbound: false,
        }
    }

    /// The token is not bound. The rejection is a 401.
    pub(super) fn unbound(description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            is_unbound: true,
            ..Self::right(description)
        }
    }

    /// Returns `Ok` if a rule holds, and the shortfall of [`right`](Self::right) otherwise.
    ///
    /// # Errors
    ///
    /// The shortfall, if `holds` is `false`.
    pub fn right_unless(
        holds: bool,
        description: impl Into<Cow<'static, str>>,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        Err(Self::right(description))
    }

    /// Joins two shortfalls. The token needs both.
    pub fn and(mut self, other: Self) -> Self {
        self.join(&other, Joined::ByAnd);
        self.is_unbound |= other.is_unbound;
        for scope in other.scopes {
            if !self.scopes.contains(&scope) {
                self.scopes.push(scope);
            }
        }
        self
    }

    /// Joins two shortfalls. The token needs one of them. The challenge names the scopes of `self`.
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

    /// The rejection of a token that has the scopes `granted`, by a requirement that needs `needed`.
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
        // If the token has all the scopes, the challenge names none: a client that requested them
        // would get the same token again. If one is missing, the challenge names all needed scopes:
        // a client requests the whole scope of a token, so a request for the missing scope alone
        // would lose the others.
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

/// The rejection of a token with this shortfall.
impl From<Shortfall> for Rejection {
    fn from(shortfall: Shortfall) -> Self {
        if shortfall.is_unbound {
            let needed = shortfall.sentence;
            let reason = format!("token does not have what is required: {needed}");
            return Self::because(RejectionKind::BindingMismatch, reason).unreported();
        }
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
