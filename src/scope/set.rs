//! [`ScopeSet`]: scopes that are known only at run time.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::bytes::is_scope;
use crate::claims::Claims;
use crate::error::config::ConfigError;
use crate::error::rejection::Rejection;
use crate::scope::granted::ScopeTypes;
use crate::scope::shortfall::Shortfall;
use crate::text_form::Texts;

/// Set of scopes that are known only at run time, such as scopes from a configuration file. The scopes
/// are checked when the set is created. Write scopes that are known at compile time with
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
    /// Creates a set of these scopes. Each string is one scope.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a string is not a valid scope, for example because it contains a space
    /// ([RFC 6749, section 3.3](https://www.rfc-editor.org/rfc/rfc6749#section-3.3)), or if there are no
    /// scopes.
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

    /// The scopes of one type or of a tuple of types.
    ///
    /// ```
    /// use tower_jwt_auth::scope;
    /// use tower_jwt_auth::scope::ScopeSet;
    ///
    /// let scopes = ScopeSet::of::<(scope!("calendar:read" & "calendar:write"), scope!("profile"))>();
    /// assert_eq!(scopes.to_string(), "calendar:read calendar:write profile");
    /// ```
    #[must_use]
    pub fn of<R: ScopeTypes>() -> Self {
        let mut set: Vec<Box<str>> = Vec::new();
        R::each(&mut |scope| {
            if !set.iter().any(|known| **known == *scope) {
                set.push(scope.into());
            }
        });
        Self(set.into())
    }

    /// Creates a set from a string of scopes that are separated by spaces.
    ///
    /// # Errors
    ///
    /// The same as [`new`](Self::new).
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::new(text.split(' ').filter(|scope| !scope.is_empty()))
    }

    /// The scopes, without duplicates.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The scopes, separated by spaces.
impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// The scopes, separated by spaces.
impl FromStr for ScopeSet {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(text)
    }
}

/// A string of scopes that are separated by spaces, or an array of scopes.
impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Texts::deserialize(deserializer)? {
            Texts::One(text) => Self::parse(&text),
            Texts::Several(scopes) => Self::new(scopes.iter().map(String::as_str)),
        }
        .map_err(de::Error::custom)
    }
}

/// A string of scopes that are separated by spaces.
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
    /// [`InsufficientScope`](crate::RejectionKind::InsufficientScope) (403). The challenge names all
    /// scopes of the set. The sentence for the operator names the missing ones.
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
    /// [`InsufficientScope`](crate::RejectionKind::InsufficientScope) (403). The challenge names the
    /// first scope of the set.
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
