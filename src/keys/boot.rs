//! The last good key set of an issuer, kept for a start while the issuer is down.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::json;

/// Where the last good key set is kept between two runs; [`BootFile`] is one.
///
/// What is kept is text of public keys: no secret, but whoever can change it can sign tokens that
/// this service accepts. Called on a thread that may block.
pub trait BootStore: Send + Sync + 'static {
    /// What was saved last; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// Any; the start goes on as if nothing had been saved, with an event.
    fn load(&self) -> Result<Option<Vec<u8>>>;

    /// Keeps this in place of what was saved before, wholly or not at all.
    ///
    /// # Errors
    ///
    /// Any; the keys in use stay as they are, with an event.
    fn save(&self, kept: &[u8]) -> Result<()>;
}

/// A [`BootStore`] in a file, which only its owner may read and write.
///
/// The file is written beside its place and then moved there. On Unix it gets the permissions
/// 0600, and one that others may write is not believed.
#[derive(Clone, Debug)]
pub struct BootFile {
    path: PathBuf,
}

impl BootFile {
    /// Keeps the keys in this file. Its directory has to be there, and each issuer needs a file of
    /// its own.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn write(&self, place: &Path, kept: &[u8]) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(place)?;
        file.write_all(kept)?;
        file.sync_all()?;
        fs::rename(place, &self.path)
    }
}

impl BootStore for BootFile {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        #[cfg(unix)]
        if std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o022 != 0 {
            return Err(Error::other("others than its owner may write the file"));
        }
        let mut kept = Vec::new();
        file.take(MAX_KEPT).read_to_end(&mut kept)?;
        Ok(Some(kept))
    }

    fn save(&self, kept: &[u8]) -> Result<()> {
        let mut name = self
            .path
            .file_name()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?
            .to_owned();
        name.push(".new");
        let place = self.path.with_file_name(name);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            // What an interrupted run has left behind.
            _ => {}
        }
        self.write(&place, kept)
            .inspect_err(|_| drop(fs::remove_file(&place)))
    }
}

/// A key set with what is needed to judge it at the next start.
pub(crate) struct Kept {
    pub(crate) source: String,
    pub(crate) saved_at: SystemTime,
    pub(crate) jwks: String,
}

impl Kept {
    pub(crate) fn write(&self) -> Vec<u8> {
        let saved_at = self.saved_at.duration_since(UNIX_EPOCH);
        let saved_at = saved_at.unwrap_or_default().as_secs();
        let text = serde_json::json!({
            "source": self.source, "saved_at": saved_at, "jwks": self.jwks,
        });
        text.to_string().into_bytes()
    }

    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (mut source, mut saved_at, mut jwks) = (None, None, None);
        json::read_object(text, json::MAX_MEMBERS, |name, value| match &*name {
            "source" => source = value.string(),
            "saved_at" => saved_at = value.number(),
            "jwks" => jwks = value.string(),
            _ => {}
        })
        .ok()?;
        let saved_at = Duration::try_from_secs_f64(saved_at?).ok()?;
        Some(Self {
            source: source?.into_owned(),
            saved_at: UNIX_EPOCH.checked_add(saved_at)?,
            jwks: jwks?.into_owned(),
        })
    }
}

/// Octets that are read at most.
const MAX_KEPT: u64 = 4 * 1_024 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let saved_at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let kept = Kept {
            source: "https://as.example".into(),
            saved_at,
            jwks: r#"{"keys":[]}"#.into(),
        };
        let text = kept.write();
        let read = Kept::read(&text).unwrap();
        assert_eq!(read.source, "https://as.example");
        assert_eq!(read.saved_at, saved_at);
        assert_eq!(read.jwks, r#"{"keys":[]}"#);
        for cut in 0..text.len() {
            assert!(Kept::read(&text[..cut]).is_none(), "{cut}");
        }
        for bad in [
            r#"{"source":"x","saved_at":-1,"jwks":""}"#,
            r#"{"source":"x","saved_at":1e300,"jwks":""}"#,
            r#"{"source":"x","saved_at":"1","jwks":""}"#,
            r#"{"saved_at":1,"jwks":""}"#,
            "[]",
        ] {
            assert!(Kept::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
