//! `WWW-Authenticate` (RFC 9110, section 11.6.1; RFC 6750, section 3).

use std::fmt::Write as _;

use http::HeaderValue;

use crate::bytes;
use crate::error::config::ConfigError;
use crate::error::rejection::Rejection;

/// The part of a `WWW-Authenticate` challenge that is the same for every rejection: the realm,
/// further parameters and further schemes.
///
/// # Example: a link to the documentation
///
/// ```
/// use tower_jwt_auth::response::Challenge;
///
/// let challenge = Challenge::new("calendar")?.error_uri("https://docs.example.com/errors")?;
/// assert!(Challenge::new("calendar\r\nX-Evil: 1").is_err());
/// # let _ = challenge;
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Challenge {
    /// The text in front of the parameters of the error.
    head: String,
    names: Vec<String>,
    error_uri: Option<String>,
    others: Vec<HeaderValue>,
}

impl Challenge {
    /// Creates a challenge with this realm, the name of the protected space.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Challenge`] if the realm is not printable ASCII.
    pub fn new(realm: &str) -> Result<Self, ConfigError> {
        let mut challenge = Self {
            head: "Bearer".into(),
            names: Vec::new(),
            error_uri: None,
            others: Vec::new(),
        };
        challenge.append("realm", realm)?;
        Ok(challenge)
    }

    /// Adds a parameter to the `Bearer` challenge.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Challenge`] if the name is not a token ([RFC 9110, section
    /// 5.6.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2)), if a parameter with this name
    /// already exists, or if the value is not printable ASCII. The case of a name is ignored. The
    /// names of RFC 6750 (`realm`, `scope`, `error`, `error_description` and `error_uri`) cannot be
    /// added.
    pub fn parameter(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        let rejected = |expected| {
            Err(ConfigError::Challenge {
                input: name.to_owned(),
                expected,
            })
        };
        if name.is_empty() || !name.bytes().all(bytes::is_token_character) {
            return rejected("a parameter name");
        }
        let taken = |known: &str| known.eq_ignore_ascii_case(name);
        if RESERVED.iter().any(|known| taken(known)) || self.names.iter().any(|known| taken(known))
        {
            return rejected("a parameter that is not set already");
        }
        self.append(name, value)?;
        Ok(self)
    }

    /// Sets the `error_uri` of every challenge with an `error`: the address of a page about the errors.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Challenge`] if the text is not an absolute URI.
    pub fn error_uri(mut self, uri: &str) -> Result<Self, ConfigError> {
        // A scheme begins with a letter (RFC 3986, section 3.1).
        let is_absolute = uri.starts_with(|first: char| first.is_ascii_alphabetic())
            && uri
                .parse::<http::Uri>()
                .is_ok_and(|uri| uri.scheme().is_some());
        if !is_absolute || !uri.bytes().all(|byte| is_error_byte(byte) && byte != b' ') {
            return Err(ConfigError::Challenge {
                input: uri.to_owned(),
                expected: "an absolute URI",
            });
        }
        self.error_uri = Some(uri.to_owned());
        Ok(self)
    }

    /// Adds a challenge of another scheme. It is sent in a separate header field, after `Bearer`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Challenge`] if the text does not begin with the name of another scheme, or is
    /// not a valid header value.
    pub fn additional_scheme(mut self, challenge: &str) -> Result<Self, ConfigError> {
        let scheme = challenge.split(' ').next().unwrap_or_default();
        let is_scheme = !scheme.is_empty()
            && scheme.bytes().all(bytes::is_token_character)
            && !scheme.eq_ignore_ascii_case("Bearer");
        match HeaderValue::from_str(challenge) {
            Ok(value) if is_scheme && challenge.is_ascii() => {
                self.others.push(value);
                Ok(self)
            }
            _ => Err(ConfigError::Challenge {
                input: challenge.to_owned(),
                expected: "a challenge of another scheme",
            }),
        }
    }

    /// The header fields for one rejection, `Bearer` first. There are none if the status is not about
    /// authentication (500 and 503).
    pub(crate) fn lines(&self, rejection: &Rejection) -> impl Iterator<Item = HeaderValue> {
        let status = rejection.status().as_u16();
        let is_matter = matches!(status, 400 | 401 | 403);
        let bearer = is_matter.then(|| self.bearer(rejection)).flatten();
        bearer
            .into_iter()
            .chain(self.others.iter().filter(move |_| is_matter).cloned())
    }

    fn bearer(&self, rejection: &Rejection) -> Option<HeaderValue> {
        let mut text = self.head.clone();
        if rejection.oauth_error().is_none() && text == USUAL {
            // A clone of any other value writes to a reference count that all threads share.
            return Some(HeaderValue::from_static(USUAL));
        }
        if let Some(code) = rejection.oauth_error() {
            let description = rejection.client_text();
            // Writing to a string does not fail.
            let _ = write!(
                text,
                r#", error="{code}", error_description="{description}""#
            );
            if let Some(uri) = &self.error_uri {
                let _ = write!(text, r#", error_uri="{uri}""#);
            }
            if !rejection.required_scopes().is_empty() {
                let _ = write!(
                    text,
                    r#", scope="{}""#,
                    rejection.required_scopes().join(" ")
                );
            }
        }
        HeaderValue::try_from(text).ok()
    }

    fn append(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(ConfigError::Challenge {
                input: value.to_owned(),
                expected: "printable ASCII",
            });
        }
        let separator = if self.names.is_empty() { " " } else { ", " };
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let _ = write!(self.head, r#"{separator}{name}="{quoted}""#);
        self.names.push(name.to_owned());
        Ok(())
    }
}

/// The realm `api`.
impl Default for Challenge {
    fn default() -> Self {
        Self {
            head: USUAL.into(),
            names: vec!["realm".into()],
            error_uri: None,
            others: Vec::new(),
        }
    }
}

/// The challenge with the default realm and without an error.
const USUAL: &str = r#"Bearer realm="api""#;

/// Whether the byte may be in `error` and `error_description` (RFC 6750, section 3). The same bytes
/// without the space may be in `error_uri`.
const fn is_error_byte(byte: u8) -> bool {
    byte == b' ' || bytes::is_scope_character(byte)
}

const RESERVED: [&str; 5] = ["realm", "scope", "error", "error_description", "error_uri"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kinds::RejectionKind;

    #[test]
    fn every_sentence_of_the_table_fits_its_parameter() {
        for rejection in crate::response::presentation::tests::every_kind() {
            assert!(
                rejection.client_text().bytes().all(is_error_byte),
                "{rejection:?}"
            );
        }
    }

    #[test]
    fn escapes_exactly_quote_and_backslash() {
        let lines: Vec<_> = Challenge::new(r#"a"b\c"#)
            .unwrap()
            .lines(&Rejection::of(RejectionKind::MissingCredentials))
            .collect();
        assert_eq!(lines, [r#"Bearer realm="a\"b\\c""#]);
    }
}
