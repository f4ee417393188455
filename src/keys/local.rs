//! Keys in files and environment variables, read at the start.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::algorithm::Algorithm;
use super::key::Key;
use super::set::KeySet;
use super::store::KeyStore;
use crate::config_error::ConfigError;

/// What a file or an environment variable holds.
///
/// ```
/// use tower_jwt_auth::key::KeyFormat;
/// use tower_jwt_auth::{Algorithm, KeyStore};
///
/// // JWT_SECRET, or the file that JWT_SECRET_FILE names
/// let format = KeyFormat::secret(Algorithm::HS256).with_key_id("2026-11");
/// let keys = KeyStore::from_env("JWT_SECRET", &format);
/// assert!(keys.is_err()); // there is neither
/// ```
#[derive(Clone, Debug)]
pub struct KeyFormat {
    form: Form,
    key_id: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Jwk,
    Jwks,
    #[cfg(feature = "pem")]
    Pem(Algorithm),
    Secret(Algorithm),
}

impl KeyFormat {
    /// One JSON Web Key: public, or a secret.
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

    /// A shared secret: the octets themselves. Where they are text, one line end after it does not
    /// count, as editors and `echo` put one there.
    #[must_use]
    pub fn secret(algorithm: Algorithm) -> Self {
        Self::of(Form::Secret(algorithm))
    }

    fn of(form: Form) -> Self {
        Self { form, key_id: None }
    }

    /// Gives the one key this id, for tokens that name it in `kid`. No meaning for a key set,
    /// whose keys have ids of their own.
    #[must_use]
    pub fn with_key_id(mut self, id: impl Into<String>) -> Self {
        self.key_id = Some(id.into());
        self
    }

    /// The keys in this content.
    ///
    /// # Errors
    ///
    /// As [`KeySet::from_jwks`], [`Key::from_jwk`], [`Key::from_pem`] and [`Key::from_secret`].
    pub fn read(&self, content: &[u8]) -> Result<KeySet, ConfigError> {
        let key = match self.form {
            Form::Jwks => return KeySet::from_jwks(content),
            Form::Jwk => Key::from_jwk(content)?,
            #[cfg(feature = "pem")]
            Form::Pem(algorithm) => Key::from_pem(algorithm, content)?,
            Form::Secret(algorithm) => Key::from_secret(algorithm, without_line_end(content))?,
        };
        Ok(KeySet::from(match &self.key_id {
            Some(id) => key.with_key_id(id.as_str()),
            None => key,
        }))
    }
}

impl KeyStore {
    /// A store with the keys in this file, as it is now. To follow its changes see
    /// [`KeyFile`](crate::key::KeyFile).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] with the path and the reason.
    pub fn from_file(path: impl AsRef<Path>, format: &KeyFormat) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let content = read_file(path).map_err(ConfigError::KeySource)?;
        let set = format.read(&content);
        set.map(Self::from)
            .map_err(|error| unusable(&path.display(), &error))
    }

    /// A store with the keys in this environment variable, or in the file that the variable of the
    /// same name with `_FILE` behind it names, as container platforms hand out secrets. Setting
    /// both is an error, as nobody could tell which of them counts.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] with the name of the variable or file, and the reason.
    pub fn from_env(name: &str, format: &KeyFormat) -> Result<Self, ConfigError> {
        Self::from_variables(name, format, |name| std::env::var_os(name))
    }

    fn from_variables(
        name: &str,
        format: &KeyFormat,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let by_file = format!("{name}_FILE");
        let content = match (variable(name), variable(&by_file)) {
            (Some(content), None) => Zeroizing::new(content.into_encoded_bytes()),
            (None, Some(path)) => return Self::from_file(Path::new(&path), format),
            (found, _) => {
                let what = if found.is_some() { "both" } else { "neither" };
                return Err(ConfigError::KeySource(format!(
                    "expected one of the variables {name} and {by_file}, found {what}"
                )));
            }
        };
        let set = format.read(&content);
        set.map(Self::from)
            .map_err(|error| unusable(&format_args!("variable {name}"), &error))
    }
}

/// The content of a file of reasonable size.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |reason: &dyn fmt::Display| format!("{}: {reason}", path.display());
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut content = Zeroizing::new(Vec::new());
    let mut limited = file.take(MAX_FILE.saturating_add(1));
    limited
        .read_to_end(&mut content)
        .map_err(|error| failed(&error))?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= MAX_FILE) {
        Ok(content)
    } else {
        Err(failed(&format_args!("longer than {MAX_FILE} octets")))
    }
}

fn unusable(source: &dyn fmt::Display, error: &ConfigError) -> ConfigError {
    ConfigError::KeySource(format!("{source}: {error}"))
}

/// A random secret of octets that ends as a line does keeps its end: it is hardly ever text.
fn without_line_end(content: &[u8]) -> &[u8] {
    if std::str::from_utf8(content).is_err() {
        return content;
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Octets of a file that are read at most.
const MAX_FILE: u64 = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs";

    fn from(variables: &[(&str, &str)]) -> Result<KeyStore, String> {
        let format = KeyFormat::secret(Algorithm::HS256);
        let variable = |name: &str| {
            let found = variables.iter().find(|(candidate, _)| *candidate == name);
            found.map(|(_, value)| OsString::from(value))
        };
        KeyStore::from_variables("JWT_SECRET", &format, variable).map_err(|error| error.to_string())
    }

    #[test]
    fn one_of_two_variables_says_where_the_keys_are() {
        assert!(from(&[("JWT_SECRET", SECRET)]).is_ok());
        assert_eq!(
            from(&[]).unwrap_err(),
            "keys cannot be loaded: expected one of the variables JWT_SECRET and JWT_SECRET_FILE, \
             found neither"
        );
        assert_eq!(
            from(&[("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", "/none")]).unwrap_err(),
            "keys cannot be loaded: expected one of the variables JWT_SECRET and JWT_SECRET_FILE, \
             found both"
        );
        let missing = from(&[("JWT_SECRET_FILE", "/no/such/file")]).unwrap_err();
        assert!(missing.contains("/no/such/file: "), "{missing}");
    }

    #[test]
    fn an_unusable_variable_is_named_and_its_value_is_not() {
        for bad in ["", "short", "changeme-changeme-changeme-changeme"] {
            let refused = from(&[("JWT_SECRET", bad)]).unwrap_err();
            assert!(refused.contains("variable JWT_SECRET: "), "{refused}");
            assert!(bad.is_empty() || !refused.contains(bad), "{refused}");
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
