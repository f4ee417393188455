//! [`TokenBinding`]: what a token is bound to.

use std::fmt;

use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::config::ConfigError;
use crate::request::ClientCertificate;

/// What a token is bound to: the `cnf` claim ([RFC 7800](https://www.rfc-editor.org/rfc/rfc7800)). Whoever
/// uses the token must prove possession, so a stolen token alone is useless.
///
/// # Example: bind a token to the key of a DPoP proof
///
/// ```
/// use tower_jwt_auth::issue::TokenBinding;
///
/// // The thumbprint of the key that signed the proof (RFC 7638), after the proof was verified.
/// let binding = TokenBinding::dpop_key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")?;
/// assert_eq!(binding.token_type(), "DPoP");
/// assert!(TokenBinding::dpop_key("not a thumbprint").is_err());
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct TokenBinding {
    method: Method,
    thumbprint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Certificate,
    DpopKey,
}

impl TokenBinding {
    /// Binds a token to the key that signs DPoP proofs (`cnf.jkt`,
    /// [RFC 9449, section 6.1](https://www.rfc-editor.org/rfc/rfc9449#section-6.1)).
    ///
    /// The application verifies the DPoP proof of the token request, and passes the thumbprint of the key of
    /// the proof (RFC 7638, SHA-256) in base64url.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Thumbprint`] if this is not the base64url text of 32 bytes.
    pub fn dpop_key(thumbprint: &str) -> Result<Self, ConfigError> {
        Self::new(Method::DpopKey, thumbprint)
    }

    /// Binds a token to the certificate of the client (`cnf.x5t#S256`,
    /// [RFC 8705, section 3.1](https://www.rfc-editor.org/rfc/rfc8705#section-3.1)).
    #[must_use]
    pub fn certificate(certificate: &ClientCertificate) -> Self {
        Self {
            method: Method::Certificate,
            thumbprint: certificate.thumbprint(),
        }
    }

    fn new(method: Method, thumbprint: &str) -> Result<Self, ConfigError> {
        let is_digest =
            thumbprint.len() == DIGEST && URL_SAFE_NO_PAD.check(thumbprint.as_bytes()).is_ok();
        if !is_digest {
            return Err(ConfigError::Thumbprint {
                input: thumbprint.to_owned(),
            });
        }
        Ok(Self {
            method,
            thumbprint: thumbprint.to_owned(),
        })
    }

    /// The `token_type` of a token response with this binding: `DPoP`, or `Bearer` for a certificate.
    #[must_use]
    pub const fn token_type(&self) -> &'static str {
        match self.method {
            Method::Certificate => "Bearer",
            Method::DpopKey => "DPoP",
        }
    }

    /// The name of the member of `cnf`, and the thumbprint. Neither needs an escape in JSON.
    pub(crate) fn member(&self) -> (&'static str, &str) {
        (self.method.name(), &self.thumbprint)
    }
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "x5t#S256",
            Self::DpopKey => "jkt",
        }
    }
}

/// Does not print the thumbprint, which identifies the client.
impl fmt::Debug for TokenBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenBinding").field(&self.method).finish()
    }
}

/// The text of the `cnf` claim: `jkt:THUMBPRINT` or `x5t#S256:THUMBPRINT`.
impl Serialize for TokenBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (name, thumbprint) = self.member();
        serializer.collect_str(&format_args!("{name}:{thumbprint}"))
    }
}

/// The text that [`Serialize`] writes.
impl<'de> Deserialize<'de> for TokenBinding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = [Method::Certificate, Method::DpopKey];
        let found = text.split_once(':').and_then(|(name, thumbprint)| {
            let method = known.into_iter().find(|method| method.name() == name)?;
            Some((method, thumbprint))
        });
        let (method, thumbprint) =
            found.ok_or_else(|| de::Error::custom("expected a binding such as `jkt:...`"))?;
        Self::new(method, thumbprint).map_err(de::Error::custom)
    }
}

/// Characters of 32 bytes in base64url without padding.
const DIGEST: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    #[test]
    fn a_binding_is_kept_as_a_text_and_read_back() {
        let certificate = TokenBinding::certificate(&ClientCertificate::from_der(b"a certificate"));
        for binding in [TokenBinding::dpop_key(THUMBPRINT).unwrap(), certificate] {
            let text = serde_json::to_string(&binding).unwrap();
            assert_eq!(
                serde_json::from_str::<TokenBinding>(&text).unwrap(),
                binding
            );
            let (name, thumbprint) = binding.member();
            assert_eq!(text, format!("\"{name}:{thumbprint}\""));
            assert!(!format!("{binding:?}").contains(thumbprint));
        }
        for text in [
            THUMBPRINT,
            "jkt:",
            "kid:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            "jkt:0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4",
            "jkt:0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
        ] {
            let json = serde_json::to_string(text).unwrap();
            assert!(
                serde_json::from_str::<TokenBinding>(&json).is_err(),
                "{text}"
            );
        }
    }
}
