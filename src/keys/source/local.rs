//! Keys in files and environment variables that are read once.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use base64_simd::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::error::config::{ConfigError, KeyError};
use crate::keys::algorithm::Algorithm;
use crate::keys::jwk;
use crate::keys::key::Key;
use crate::keys::randomness::{from_base64, from_hex};
use crate::keys::set::KeySet;
use crate::keys::store::KeyStore;

/// The format of the keys in a file or an environment variable.
///
/// ```
/// use tower_jwt_auth::keys::KeyFormat;
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

    /// A shared secret: the bytes as they are. If the bytes are text, one line end after the text is
    /// removed, because editors and `echo` add one.
    ///
    /// The text is not decoded. If the program that issues the tokens decodes it, use
    /// [`base64_secret`](Self::base64_secret) or [`hex_secret`](Self::hex_secret).
    #[must_use]
    pub fn secret(algorithm: Algorithm) -> Self {
        Self::of(Form::Secret(algorithm))
    }

    /// A shared secret in base64 or base64url, with or without padding, as `openssl rand -base64 48`
    /// prints it. Spaces and line ends are ignored.
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

    /// A shared secret in hexadecimal digits, as `openssl rand -hex 32` prints it. Spaces and line
    /// ends are ignored.
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

    /// Gives the key this id, for tokens that have it in `kid`. Has no effect on a key set, whose keys
    /// have their own ids.
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

    /// Reads the keys in this content.
    ///
    /// # Errors
    ///
    /// As [`KeySet::from_jwks`], [`Key::from_jwk`], [`Key::from_pem`] and [`Key::from_secret`]; also
    /// [`ConfigError::Key`] if a secret is not in this format.
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
}

impl KeyStore {
    /// Creates a store with the keys in this file. The file is read once; to follow its changes use
    /// [`KeyFile`](crate::keys::KeyFile).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the file has no usable keys, is not a regular file, is larger than
    /// 256 KiB, or cannot be read within 5 seconds.
    pub fn from_file(path: impl AsRef<Path>, format: &KeyFormat) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let unusable = |reason| ConfigError::KeySource {
            input: path.display().to_string(),
            reason,
        };
        let content = read_file_in_time(path).map_err(unusable)?;
        let set = format.read(&content);
        set.map(Self::from)
            .map_err(|error| unusable(error.to_string()))
    }

    /// Creates a store with the keys in this environment variable, or in the file whose path is in the
    /// variable with the suffix `_FILE`, as container platforms provide secrets. For `JWT_SECRET` this
    /// is `JWT_SECRET_FILE`.
    ///
    /// Many ways to set a variable do not keep line ends, so the two characters `\n` in a PEM in the
    /// variable count as a line end. The variable stays in the environment of the process.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if neither of the two variables is set, if both are set, or if there
    /// are no usable keys.
    pub fn from_env(name: &str, format: &KeyFormat) -> Result<Self, ConfigError> {
        Self::from_variables(name, format, |name| std::env::var_os(name))
    }

    fn from_variables(
        name: &str,
        format: &KeyFormat,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, ConfigError> {
        let by_file = format!("{name}_FILE");
        let unusable = |reason| ConfigError::KeySource {
            input: format!("variable {name}"),
            reason,
        };
        let content = match (variable(name), variable(&by_file)) {
            (Some(content), None) => Zeroizing::new(content.into_encoded_bytes()),
            (None, Some(path)) => return Self::from_file(Path::new(&path), format),
            (found, _) => {
                let what = if found.is_some() { "both" } else { "neither" };
                return Err(unusable(format!(
                    "expected one of the variables {name} and {by_file}, found {what}"
                )));
            }
        };
        let set = match format.form {
            #[cfg(feature = "pem")]
            Form::Pem(_) => format.read(&with_line_ends(&content)),
            _ => format.read(&content),
        };
        set.map(Self::from)
            .map_err(|error| unusable(error.to_string()))
    }
}

/// Same as [`read_file`], with a timeout of [`READ_TIMEOUT`]. A file system that hangs blocks one
/// thread.
pub(crate) fn read_file_in_time(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let owned = path.to_owned();
    within(READ_TIMEOUT, move || read_file(&owned))?
}

/// Runs `work` on its own thread. Returns the reason if there is no result within the limit.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("jwt-key-file".into());
    // Sending fails if the limit has passed and the receiver is gone.
    let started = thread.spawn(move || drop(sender.send(work())));
    started.map_err(|error| format!("no thread to read it: {error}"))?;
    receiver.recv_timeout(limit).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("no answer within {limit:?}"),
        RecvTimeoutError::Disconnected => "the thread that reads it has panicked".into(),
    })
}

/// Reads a file of at most [`MAX_FILE`] bytes. Returns the reason if that fails.
pub(crate) fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let content = read_regular_file(path, MAX_FILE).map_err(|error| error.to_string())?;
    content.ok_or_else(|| format!("longer than {MAX_FILE} bytes"))
}

/// Reads a regular file. Returns `None` if it is longer than `longest` bytes.
///
/// Pipes and devices are not opened: a pipe without a writer would block the thread, and a device may
/// have no end. No copy of the content stays in memory except the result.
pub(crate) fn read_regular_file(
    path: &Path,
    longest: usize,
) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if !fs::metadata(path)?.is_file() {
        return Err(irregular());
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    // Check again: the file may have been replaced before it was opened.
    if !metadata.is_file() {
        return Err(irregular());
    }
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    // One more byte shows the end of the file without a further read, and shows a file that is too
    // long.
    let mut content = Zeroizing::new(vec![0; size.min(longest).saturating_add(1)]);
    let mut length: usize = 0;
    loop {
        let Some(room) = content.get_mut(length..).filter(|room| !room.is_empty()) else {
            if length > longest {
                return Ok(None);
            }
            // The file grows while it is read. `Zeroizing` clears the old block; a growing `Vec` would
            // not.
            let larger = length.saturating_mul(2).min(longest).saturating_add(1);
            let mut larger = Zeroizing::new(vec![0; larger]);
            larger
                .iter_mut()
                .zip(content.iter())
                .for_each(|(to, from)| *to = *from);
            content = larger;
            continue;
        };
        match file.read(room) {
            Ok(0) => break,
            Ok(read) => length = length.saturating_add(read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(length);
    Ok(Some(content))
}

/// Removes one line end after text. A random secret keeps its last bytes, because it is hardly ever
/// text.
fn without_line_end(content: &[u8]) -> &[u8] {
    if std::str::from_utf8(content).is_err() {
        return content;
    }
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

/// Decodes base64 or base64url, but no mix of both.
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

/// Replaces the two characters `\n` by a line end.
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

/// The timeout for reading a file.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a file in bytes.
const MAX_FILE: usize = 256 * 1_024;

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
    fn work_that_hangs_has_a_timeout() {
        let (release, held) = mpsc::channel::<()>();
        let hung = within(Duration::ZERO, move || held.recv().is_ok());
        assert_eq!(hung.unwrap_err(), "no answer within 0ns");
        drop(release);
        assert_eq!(within(READ_TIMEOUT, || 7), Ok(7));
    }

    #[test]
    fn one_of_two_variables_says_where_the_keys_are() {
        assert!(from(&[("JWT_SECRET", SECRET)]).is_ok());
        assert_eq!(
            from(&[]).unwrap_err(),
            "keys cannot be loaded: variable JWT_SECRET: expected one of the variables JWT_SECRET and \
             JWT_SECRET_FILE, found neither"
        );
        assert_eq!(
            from(&[("JWT_SECRET", SECRET), ("JWT_SECRET_FILE", "/none")]).unwrap_err(),
            "keys cannot be loaded: variable JWT_SECRET: expected one of the variables JWT_SECRET and \
             JWT_SECRET_FILE, found both"
        );
        let missing = from(&[("JWT_SECRET_FILE", "/no/such/file")]).unwrap_err();
        assert!(missing.contains("/no/such/file: "), "{missing}");
    }

    #[test]
    fn an_unusable_variable_is_named_and_its_value_is_not() {
        for bad in ["", "short", "changeme-changeme-changeme-changeme"] {
            let rejected = from(&[("JWT_SECRET", bad)]).unwrap_err();
            assert!(rejected.contains("variable JWT_SECRET: "), "{rejected}");
            assert!(bad.is_empty() || !rejected.contains(bad), "{rejected}");
        }
    }

    #[cfg(feature = "pem")]
    #[test]
    fn line_ends_of_a_pem_may_be_written_as_two_characters_in_a_variable_alone() {
        let pem = include_str!("../../../tests/data/keys/rsa.spki.pem");
        let escaped = pem.trim_end().replace('\n', "\\n");
        let format = KeyFormat::pem(Algorithm::RS256);
        for content in [
            pem,
            &escaped,
            &format!("{escaped}\\n"),
            &escaped.replace("\\n", "\\r\\n"),
        ] {
            let content = content.replace("\\r", "\r");
            let variable = |name: &str| (name == "KEY").then(|| OsString::from(&content));
            let keys = KeyStore::from_variables("KEY", &format, variable);
            assert!(keys.is_ok(), "{keys:?}");
        }
        let rejected = format.read(escaped.as_bytes()).unwrap_err().to_string();
        assert!(rejected.contains("the two characters `\\n`"), "{rejected}");
        let two = format
            .read([pem, pem].concat().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(two.contains("exactly one block"), "{two}");
    }

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

    /// Files of the kernel report a length of 0, and have content when they are read.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_longer_than_it_says_is_read_whole() {
        let path = Path::new("/proc/version");
        assert_eq!(fs::metadata(path).unwrap().len(), 0);
        let whole = fs::read(path).unwrap();
        let read = |longest| read_regular_file(path, longest).unwrap();
        for longest in [whole.len(), whole.len() + 1, MAX_FILE] {
            let content = read(longest).expect("it is short enough");
            assert_eq!(*content, whole, "{longest}");
        }
        for longest in [0, 1, whole.len() - 1] {
            assert!(read(longest).is_none(), "{longest}");
        }
        // Reading this file fails at its start.
        assert!(read_regular_file(Path::new("/proc/self/mem"), MAX_FILE).is_err());
    }
}
