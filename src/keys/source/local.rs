//! Keys in files and environment variables that are read once.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::config::ConfigError;
use crate::keys::format::KeyFormat;
use crate::keys::store::KeyStore;

impl KeyStore {
    /// Creates a store with the keys in this file. The file is read once; to follow its changes,
    /// use [`KeyFile`](crate::keys::KeyFile).
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
    /// Many ways to set a variable do not preserve newlines, so the two characters `\n` in a PEM in
    /// the variable count as a newline. The variable stays in the environment of the process.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if neither variable is set, if both are set, or if there are no
    /// usable keys.
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
        let set = format.read_variable(&content);
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
    // One more byte detects the end of the file without another read, and detects a file that is
    // too long.
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

/// The timeout for reading a file.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a file in bytes.
const MAX_FILE: usize = 256 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::algorithm::Algorithm;

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
