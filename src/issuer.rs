//! [`Issuer`] and [`Audience`]: the claims `iss` and `aud`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::error::config::ConfigError;
use crate::error::rejection::Excerpt;
use crate::text_form::{Texts, text_form};

/// The `iss` claim: the issuer of a token, compared exactly.
///
/// An identifier with a trailing slash or in different case is a different issuer ([RFC 7519,
/// section 4.1.1]). Copy the identifier from the metadata of the issuer.
///
/// [RFC 7519, section 4.1.1]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1.1
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// Creates an issuer from its identifier, usually a URL.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if the text is empty or has white space or control characters.
    pub fn new(issuer: &str) -> Result<Self, ConfigError> {
        if issuer.is_empty() || issuer.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ConfigError::Issuer {
                input: issuer.to_owned(),
            });
        }
        Ok(Self(issuer.into()))
    }

    /// The identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A hint if two issuers differ only in a trailing slash; otherwise empty.
pub(crate) fn slash_hint(configured: &str, presented: &str) -> String {
    let is_one_slash_longer = |long: &str, short| long.strip_suffix('/') == Some(short);
    if is_one_slash_longer(configured, presented) || is_one_slash_longer(presented, configured) {
        let presented = Excerpt(presented);
        format!("; they differ by the slash at the end: write `Issuer::new({presented})`")
    } else {
        String::new()
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Issuer {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

text_form!(Issuer, Issuer::new);

/// The `aud` claim: the identifiers of this API.
///
/// A token is accepted if its `aud` contains one of these identifiers, compared exactly. Use the
/// identifier of the API, never the id of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience {
    /// `None` means any audience.
    ids: Option<Arc<[Box<str>]>>,
}

impl Audience {
    /// Creates an audience with one identifier.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if the identifier is empty.
    pub fn new(id: &str) -> Result<Self, ConfigError> {
        Self::any_of([id])
    }

    /// Creates an audience with several identifiers of this API. A token must have one of them.
    ///
    /// ```
    /// use tower_jwt_auth::Audience;
    ///
    /// let audience = Audience::any_of(["calendar-api", "api://calendar"])?;
    /// let configured = vec!["calendar-api".to_owned(), "api://calendar".to_owned()];
    /// assert_eq!(Audience::any_of(configured)?, audience);
    /// # Ok::<(), tower_jwt_auth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if an identifier is empty, or if there is none.
    pub fn any_of(ids: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, ConfigError> {
        let ids = ids.into_iter().map(|id| Box::from(id.as_ref()));
        let ids: Arc<[Box<str>]> = ids.collect();
        if ids.is_empty() || ids.iter().any(|id| id.is_empty()) {
            return Err(ConfigError::Audience {
                input: ids.iter().map(|id| String::from(&**id)).collect(),
            });
        }
        Ok(Self { ids: Some(ids) })
    }

    /// Accepts tokens with any `aud`, or without `aud`.
    ///
    /// # Security
    ///
    /// A token that was issued for another API or for a client is accepted too, so whoever receives
    /// such a token can use it for this API. Use this only if the issuer issues tokens only for this
    /// API, or if every handler checks another claim instead.
    #[must_use]
    pub const fn insecure_any() -> Self {
        Self { ids: None }
    }

    /// The identifiers. Empty for [`insecure_any`](Self::insecure_any).
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids
            .iter()
            .flat_map(|ids| ids.iter())
            .map(AsRef::as_ref)
    }

    pub(crate) fn is_any(&self) -> bool {
        self.ids.is_none()
    }
}

/// The identifiers, separated by commas, or `any` for [`Audience::insecure_any`].
impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_any() {
            return f.write_str("any");
        }
        self.ids().enumerate().try_for_each(|(at, id)| {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{id}")
        })
    }
}

/// One identifier.
impl FromStr for Audience {
    type Err = ConfigError;

    fn from_str(id: &str) -> Result<Self, ConfigError> {
        Self::new(id)
    }
}

/// One identifier, or an array of them. [`insecure_any`](Audience::insecure_any) cannot be
/// deserialized.
impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Texts::deserialize(deserializer)? {
            Texts::One(id) => Self::new(&id),
            Texts::Several(ids) => Self::any_of(ids),
        }
        .map_err(de::Error::custom)
    }
}

/// One identifier, or an array of them. [`insecure_any`](Audience::insecure_any) cannot be serialized.
impl Serialize for Audience {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut ids = self.ids();
        match (ids.next(), ids.next()) {
            (None, _) => Err(ser::Error::custom("any audience has no text")),
            (Some(id), None) => serializer.serialize_str(id),
            (Some(_), Some(_)) => serializer.collect_seq(self.ids()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_is_for_a_difference_of_one_slash() {
        let write = "; they differ by the slash at the end: write `Issuer::new(\"https://h\")`";
        assert_eq!(slash_hint("https://h/", "https://h"), write);
        assert!(!slash_hint("https://h", "https://h/").is_empty());
        for other in ["https://h", "https://h//", "https://H/", "/", ""] {
            assert_eq!(slash_hint("https://h", other), "", "{other}");
        }
    }
}
