//! [`ScopeSet`]: scopes that are known at run time only.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bytes::is_scope;
use crate::claims::Claims;
use crate::error::config::ConfigError;
use crate::error::rejection::Rejection;
use crate::scope::shortfall::Shortfall;
use crate::text_form::Texts;

/// Scopes that are known at run time only, such as those of a configuration file. Each is checked
/// when the set is made. Scopes that are known beforehand are written with
/// [`scope!`](crate::scope!).
///
/// # Example: a scope from the configuration
///
/// ```
/// use tower_jwt_auth::scope::ScopeSet;
/// use tower_jwt_auth::{Claims, ConfigError, Rejection};
///
/// fn check(claims: &Claims, required: &ScopeSet) -> Result<(), Rejection> {
///     claims.authorize_all(required)
/// }
///
/// let required = ScopeSet::parse("calendar:read calendar:write")?;
/// assert_eq!(required.iter().count(), 2);
/// assert!(ScopeSet::new(["calendar:read calendar:write"]).is_err());
/// # let _ = check;
/// # Ok::<(), ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ScopeSet(Arc<[Box<str>]>);

impl ScopeSet {
    /// A set of these scopes, each of which is one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if one of them is no scope
    /// ([RFC 6749, section 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)), such as a text
    /// with a space, or if there is none.
    pub fn new<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let mut set: Vec<Box<str>> = Vec::new();
        for scope in scopes {
            if !is_scope(scope) {
                return Err(ConfigError::Scope {
                    input: scope.to_owned(),
                });
            }
            if !set.iter().any(|known| **known == *scope) {
                set.push(scope.into());
            }
        }
        if set.is_empty() {
            return Err(ConfigError::Scope {
                input: String::new(),
            });
        }
        Ok(Self(set.into()))
    }

    /// A set of the scopes in this text, with a space between them.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::new(text.split(' ').filter(|scope| !scope.is_empty()))
    }

    /// The scopes, each once.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The scopes with a space between them.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// The scopes with a space between them.
impl FromStr for ScopeSet {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}

/// The scopes with a space between them, or an array of them.
impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Texts::deserialize(deserializer)? {
            Texts::One(text) => Self::parse(&text),
            Texts::Several(scopes) => Self::new(scopes.iter().map(String::as_str)),
        }
        .map_err(de::Error::custom)
    }
}

/// The scopes with a space between them.
impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<C> Claims<C> {
    /// Decides whether the token grants all of these scopes.
    ///
    /// # Errors
    ///
    /// [`InsufficientScope`](crate::RejectionKind::InsufficientScope) (403); the challenge names
    /// all of them, and the operator's sentence those that are missing.
    pub fn authorize_all(&self, scopes: &ScopeSet) -> Result<(), Rejection> {
        let missing = scopes.iter().filter(|scope| !self.has_scope(scope));
        let missing: Vec<_> = missing.map(str::to_owned).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let needed = scopes.iter().map(str::to_owned);
        Err(Shortfall::scopes(missing).into_rejection(needed, self.scopes()))
    }

    /// Decides whether the token grants at least one of these scopes.
    ///
    /// # Errors
    ///
    /// [`InsufficientScope`](crate::RejectionKind::InsufficientScope) (403); the challenge names the
    /// first of them.
    pub fn authorize_any(&self, scopes: &ScopeSet) -> Result<(), Rejection> {
        if scopes.iter().any(|scope| self.has_scope(scope)) {
            return Ok(());
        }
        let shortfalls = scopes
            .iter()
            .map(|scope| Shortfall::scopes([scope.to_owned()]));
        shortfalls
            .reduce(Shortfall::or)
            .map_or(Ok(()), |shortfall| Err(shortfall.into()))
    }
}
