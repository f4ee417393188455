//! [`KeyFormat`]: how the text of a key is read.

use base64_simd::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::error::config::{ConfigError, KeyError};
use crate::keys::algorithm::Algorithm;
use crate::keys::jwk;
use crate::keys::key::Key;
use crate::keys::randomness::{from_base64, from_hex};
use crate::keys::set::KeySet;

/// The format of the keys in a file or an environment variable.
///
/// ```
/// use tower_jwt_auth::keys::KeyFormat;
/// use tower_jwt_auth::{Algorithm, KeyStore};
///
/// // JWT_SECRET, or the file that JWT_SECRET_FILE names
/// let format = KeyFormat::secret(Algorithm::HS256).with_key_id("2026-11");
/// let keys = KeyStore::from_env("JWT_SECRET", &format);
/// assert!(keys.is_err()); // neither is set
/// ```
#[derive(Clone, Debug)]
pub struct KeyFormat {
    form: Form,
    key_id: Option<String>,
    /// The values of `use` that are accepted in addition to `sig`.
    uses: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Base64Secret(Algorithm),
    HexSecret(Algorithm),
    Jwk,
    Jwks,
    #[cfg(feature = "pem")]
    Pem(Algorithm),
    Secret(Algorithm),
}

impl KeyFormat {
    /// One JSON Web Key: a public key or a secret.
    #[must_use]
    pub fn jwk() -> Self {
        Self::of(Form::Jwk)
    }

    /// A JSON Web Key Set of public keys.
    #[must_use]
    pub fn jwks() -> Self {
        Self::of(Form::Jwks)
    }

    /// One public key or certificate in PEM.
    #[cfg(feature = "pem")]
    #[must_use]
    pub fn pem(algorithm: Algorithm) -> Self {
        Self::of(Form::Pem(algorithm))
    }

    /// A shared secret: the bytes without decoding. If the bytes are text, one trailing newline is
    /// removed, because editors and `echo` add one.
    ///
    /// The text is not decoded. If the program that issues the tokens decodes it, use
    /// [`base64_secret`](Self::base64_secret) or [`hex_secret`](Self::hex_secret).
    #[must_use]
    pub fn secret(algorithm: Algorithm) -> Self {
        Self::of(Form::Secret(algorithm))
    }

    /// A shared secret in base64 or base64url, with or without padding, as printed by `openssl rand
    /// -base64 48`. Spaces and newlines are ignored.
    ///
    /// ```
    /// use tower_jwt_auth::Algorithm;
    /// use tower_jwt_auth::keys::KeyFormat;
    ///
    /// let format = KeyFormat::base64_secret(Algorithm::HS256);
    /// assert!(format.read(b"TDVeq7RnTHsLyAePJ7Zmz3bI1Mj0NHd6VLBxzZCZyNc=\n").is_ok());
    /// assert!(format.read(b"not base64!").is_err());
    /// ```
    #[must_use]
    pub fn base64_secret(algorithm: Algorithm) -> Self {
        Self::of(Form::Base64Secret(algorithm))
    }

    /// A shared secret in hexadecimal digits, as printed by `openssl rand -hex 32`. Spaces and
    /// newlines are ignored.
    #[must_use]
    pub fn hex_secret(algorithm: Algorithm) -> Self {
        Self::of(Form::HexSecret(algorithm))
    }

    fn of(form: Form) -> Self {
        Self {
            form,
            key_id: None,
            uses: Vec::new(),
        }
    }

    /// Sets the id of the key, for tokens that have it in `kid`. Has no effect on a key set, whose
    /// keys have their own ids.
    #[must_use]
    pub fn with_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// Also accepts JSON Web Keys whose `use` has this value, compared exactly. Each call adds a value.
    /// Default: `sig`, and keys without `use`. Has no effect on other formats.
    ///
    /// A key for encryption (`enc`) is never accepted.
    ///
    /// # Example: a SPIFFE trust bundle
    ///
    /// ```
    /// use tower_jwt_auth::keys::KeyFormat;
    ///
    /// let bundle = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","use":"jwt-svid","kid":"1",
    ///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    /// assert!(KeyFormat::jwks().accept_use("jwt-svid").read(bundle).is_ok());
    /// assert!(KeyFormat::jwks().read(bundle).is_err());
    /// ```
    #[must_use]
    pub fn accept_use(mut self, public_key_use: impl Into<String>) -> Self {
        self.uses.push(public_key_use.into());
        self
    }

    /// Reads the keys from this content.
    ///
    /// # Errors
    ///
    /// The same as [`KeySet::from_jwks`], [`Key::from_jwk`], [`Key::from_pem`] and
    /// [`Key::from_secret`]; also [`ConfigError::Key`] if a secret is not in this format.
    pub fn read(&self, content: &[u8]) -> Result<KeySet, ConfigError> {
        let key = match self.form {
            Form::Jwks => return KeySet::from_jwks_for(content, &self.uses),
            Form::Jwk => jwk::parse(content, &self.uses)?,
            #[cfg(feature = "pem")]
            Form::Pem(algorithm) => Key::from_pem(algorithm, content)?,
            Form::Secret(algorithm) => Key::from_secret(algorithm, without_line_end(content))?,
            Form::Base64Secret(algorithm) => Key::from_secret(algorithm, &base64_secret(content)?)?,
            Form::HexSecret(algorithm) => {
                let secret = from_hex(&without_spaces(content));
                let secret = secret.ok_or(KeyError::Format {
                    expected: "a secret in hexadecimal digits",
                })?;
                Key::from_secret(algorithm, &secret)?
            }
        };
        Ok(KeySet::from(match &self.key_id {
            Some(id) => key.with_key_id(id.as_str()),
            None => key,
        }))
    }

    /// Reads the keys in the content of an environment variable. Many ways to set a variable do not
    /// preserve newlines, so the two characters `\n` in a PEM count as a newline.
    pub(super) fn read_variable(&self, content: &[u8]) -> Result<KeySet, ConfigError> {
        match self.form {
            #[cfg(feature = "pem")]
            Form::Pem(_) => self.read(&with_line_ends(content)),
            _ => self.read(content),
        }
    }
}

/// Removes one trailing newline from text. A random secret keeps its last bytes, because it is
/// almost never text.
fn without_line_end(content: &[u8]) -> &[u8] {
    if std::str::from_utf8(content).is_err() {
        return content;
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Decodes base64 or base64url, but not a mix of both.
fn base64_secret(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let text = without_spaces(content);
    let unpadded = text.strip_suffix(b"=").unwrap_or(&text);
    let unpadded = unpadded.strip_suffix(b"=").unwrap_or(unpadded);
    let secret =
        from_base64(&STANDARD_NO_PAD, unpadded).or_else(|| from_base64(&URL_SAFE_NO_PAD, unpadded));
    secret.ok_or(KeyError::Format {
        expected: "a secret in base64 or base64url",
    })
}

fn without_spaces(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(content.len()));
    text.extend(content.iter().filter(|byte| !byte.is_ascii_whitespace()));
    text
}

/// Replaces the two characters `\n` with a newline.
#[cfg(feature = "pem")]
fn with_line_ends(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some((first, behind)) = rest.split_first() {
        rest = match rest.strip_prefix(b"\\n") {
            Some(behind) => {
                text.push(b'\n');
                behind
            }
            None => {
                text.push(*first);
                behind
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_secrets_are_the_bytes_that_they_stand_for() {
        let secret: Vec<u8> = (0..33_u8).map(|at| at.wrapping_mul(83) ^ 0xa5).collect();
        let thumbprint = |format: KeyFormat, content: &[u8]| {
            let set = format.read(content)?;
            Ok::<_, ConfigError>(set.keys().map(|key| key.thumbprint().to_owned()).next())
        };
        let plain = thumbprint(KeyFormat::secret(Algorithm::HS256), &secret).unwrap();
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let (standard, url) = (
            STANDARD_NO_PAD.encode_to_string(&secret),
            URL_SAFE_NO_PAD.encode_to_string(&secret),
        );
        assert!(standard[..43].contains(['+', '/']), "{standard}");
        let base64 = KeyFormat::base64_secret(Algorithm::HS256);
        for text in [
            standard.clone(),
            url.clone(),
            format!("{standard}\n"),
            format!(" {}\r\n{}\n", &url[..20], &url[20..]),
        ] {
            assert_eq!(
                thumbprint(base64.clone(), text.as_bytes()).unwrap(),
                plain,
                "{text}"
            );
        }
        let padded = base64_simd::STANDARD.encode_to_string([&secret[..], b"x"].concat());
        assert!(thumbprint(base64.clone(), padded.as_bytes()).is_ok());
        let hexadecimal = KeyFormat::hex_secret(Algorithm::HS256);
        for text in [hex.clone(), hex.to_uppercase() + "\n"] {
            assert_eq!(
                thumbprint(hexadecimal.clone(), text.as_bytes()).unwrap(),
                plain,
                "{text}"
            );
        }
        // Rejects garbage, a mix of both alphabets, a pass phrase, and a secret that is too short
        // when decoded.
        let phrase = STANDARD_NO_PAD.encode_to_string("a-string-secret-at-least-256-bits-long");
        let mixed = format!("{}-", &standard[..43]);
        for bad in [
            "",
            "====",
            "*",
            &mixed,
            &phrase,
            &standard[..42],
            &format!("{standard}===="),
        ] {
            assert!(thumbprint(base64.clone(), bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "0", &hex[..63], &hex[..62], "zz"] {
            assert!(
                thumbprint(hexadecimal.clone(), bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn one_line_end_behind_text_does_not_count() {
        for (content, expected) in [
            (&b"secret\n"[..], &b"secret"[..]),
            (b"secret\r\n", b"secret"),
            (b"secret\n\n", b"secret\n"),
            (b"secret", b"secret"),
            (b"\xff\n", b"\xff\n"),
            (b"", b""),
        ] {
            assert_eq!(without_line_end(content), expected, "{content:?}");
        }
    }
}
