//! [`Issuer`] and [`Audience`]: who issued a token, and for whom it is.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::error::config::ConfigError;
use crate::text_form::{Texts, text_form};

/// The `iss` claim: who issued a token, compared code point by code point.
///
/// A trailing slash or another case is another issuer ([RFC 7519, section 4.1.1]). Copy the text
/// from the issuer's discovery document.
///
/// [RFC 7519, section 4.1.1]: https://www.rfc-editor.org/rfc/rfc7519#section-4.1.1
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer(Arc<str>);

impl Issuer {
    /// An issuer from its identifier, usually a URL.
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

/// The `aud` claim: for whom a token is, that is, for this API.
///
/// A token is accepted if one of its audiences is one of these, compared exactly. Use the
/// identifier of the API, never that of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Audience {
    /// `None` if every audience will do.
    ids: Option<Arc<[Box<str>]>>,
}

impl Audience {
    /// The identifier that tokens for this API carry.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if it is empty.
    pub fn new(id: &str) -> Result<Self, ConfigError> {
        Self::any_of([id])
    }

    /// Several identifiers of this one API, of which a token carries at least one.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] if one of them is empty, or there is none.
    pub fn any_of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let ids: Arc<[Box<str>]> = ids.into_iter().map(Box::from).collect();
        if ids.is_empty() || ids.iter().any(|id| id.is_empty()) {
            return Err(ConfigError::Audience {
                input: ids.iter().map(|id| String::from(&**id)).collect(),
            });
        }
        Ok(Self { ids: Some(ids) })
    }

    /// Any audience, or none.
    ///
    /// # Security
    ///
    /// A token that the issuer gave out for another API, or for a client, is accepted here too;
    /// whoever receives one can use it against this API. What must replace the check: an issuer
    /// that issues tokens for nobody else, or a rule on another claim in every handler.
    #[must_use]
    pub const fn insecure_any() -> Self {
        Self { ids: None }
    }

    /// The identifiers; none for [`insecure_any`](Self::insecure_any).
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

/// The identifiers with a comma between them; `any` for [`Audience::insecure_any`].
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

/// One identifier, or an array of them. No configuration file makes
/// [`insecure_any`](Audience::insecure_any).
impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Texts::deserialize(deserializer)? {
            Texts::One(id) => Self::new(&id),
            Texts::Several(ids) => Self::any_of(ids.iter().map(String::as_str)),
        }
        .map_err(de::Error::custom)
    }
}

/// One identifier, or an array of them. [`insecure_any`](Audience::insecure_any) is an error: it is
/// written in code alone.
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
