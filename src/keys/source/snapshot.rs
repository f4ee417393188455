//! Key snapshots: the last good key set of an issuer, saved for a start while the issuer is down.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::error::rejection::Excerpt;
use crate::json;
use crate::keys::set::KeySet;
use crate::telemetry;

/// Storage for the last good key set between two runs of the program, such as [`KeySnapshotFile`].
///
/// The snapshot contains public keys and no secret. But whoever can change it can sign tokens that this
/// service accepts.
///
/// Both methods may block, because they are called through [`tokio::task::spawn_blocking`]. The timeout of
/// [`load`](Self::load) is that of a request to the issuer
/// ([`timeout`](crate::keys::RemoteKeys::timeout)); after it the store starts without the snapshot. Only
/// [`connect`](crate::keys::RemoteKeys::connect) waits for [`save`](Self::save), with the same timeout. While
/// a `save` is running, no other one starts. A panic counts as an error.
pub trait KeySnapshotStore: Send + Sync + 'static {
    /// Reads the last snapshot. Returns `None` if nothing was saved.
    ///
    /// # Errors
    ///
    /// An error is logged, and the store starts without the snapshot.
    fn load(&self) -> Result<Option<Vec<u8>>>;

    /// Replaces the last snapshot by this one. A failure must leave the last snapshot as it was.
    ///
    /// # Errors
    ///
    /// An error is logged. The keys in use do not change.
    fn save(&self, snapshot: &[u8]) -> Result<()>;
}

/// A [`KeySnapshotStore`] in a file, which only its owner may read and write.
///
/// A new file is written in the same directory and then renamed, so that other instances never read a
/// part of it. On Unix the file has the permissions 0600.
///
/// # Security
///
/// Whoever can write the file can add keys of their own. On Unix the file is used only if it is a regular
/// file, if it belongs to the user of this process or to root, and if no other user may write it. Its
/// directory must not be writable for everybody, unless it has the sticky bit. The directory may be
/// writable for a group: a member can delete the file, but a file of that member is not used. If the
/// path is a symbolic link, the owner and the directory of the link are checked in the same way.
#[derive(Clone, Debug)]
pub struct KeySnapshotFile {
    path: PathBuf,
}

impl KeySnapshotFile {
    /// Saves the keys in this file. Its directory must exist. Each issuer needs its own file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn write(&self, place: &Path, saved: &[u8]) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(place)?;
        file.write_all(saved)?;
        file.sync_all()?;
        fs::rename(place, &self.path)
    }

    /// The path of a temporary file in the same directory, and the prefix of its name. Each writer gets
    /// another path.
    fn temporary_path(&self) -> Result<(PathBuf, OsString)> {
        let name = self
            .path
            .file_name()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let mut name = prefix.clone();
        name.push(format!(
            "{:016x}{TEMPORARY}",
            RandomState::new().hash_one(())
        ));
        Ok((self.path.with_file_name(name), prefix))
    }

    /// Removes temporary files of interrupted runs. Younger files may belong to another instance that
    /// is writing.
    fn clean_up(&self, prefix: &OsString) {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let Ok(entries) = fs::read_dir(directory) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let (name, prefix) = (name.as_encoded_bytes(), prefix.as_encoded_bytes());
            let is_temporary = name.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() == 16 + TEMPORARY.len() && rest.ends_with(TEMPORARY.as_bytes())
            });
            let age = entry.metadata().and_then(|it| it.modified());
            let age = age.map(|modified| modified.elapsed().unwrap_or_default());
            if is_temporary && age.is_ok_and(|age| age > LEFT_OVER_AGE) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

impl KeySnapshotStore for KeySnapshotFile {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        // Checked before the file is opened, because opening a pipe would block.
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => check_kind(&found?)?,
        }
        #[cfg(unix)]
        unix::check_place(&self.path)?;
        let file = File::open(&self.path)?;
        // Check again: the file may have been replaced before it was opened.
        let metadata = file.metadata()?;
        check_kind(&metadata)?;
        #[cfg(unix)]
        unix::check_owner(&metadata)?;
        let mut saved = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut saved)?;
        Ok(Some(saved))
    }

    fn save(&self, saved: &[u8]) -> Result<()> {
        let (place, prefix) = self.temporary_path()?;
        let written = self.write(&place, saved);
        if written.is_err() {
            drop(fs::remove_file(&place));
        }
        self.clean_up(&prefix);
        written
    }
}

fn check_kind(metadata: &fs::Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(Error::other("it is not a regular file"))
}

#[cfg(unix)]
mod unix {
    use std::fs::{self, File, Metadata};
    use std::io::{Error, Result, pipe};
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    pub(crate) fn check_owner(metadata: &Metadata) -> Result<()> {
        if metadata.mode() & 0o022 != 0 {
            return Err(Error::other("others than its owner may write the file"));
        }
        check_user(metadata)
    }

    fn check_user(metadata: &Metadata) -> Result<()> {
        let owner = metadata.uid();
        if owner != ROOT && owner != user()? {
            return Err(Error::other(format!(
                "it belongs to another user ({owner})"
            )));
        }
        Ok(())
    }

    /// Checks the directory of the file. If the path is a symbolic link, checks the owner and the
    /// directory of the link too, because the owner of the link chooses the file.
    pub(crate) fn check_place(path: &Path) -> Result<()> {
        let link = fs::symlink_metadata(path)?;
        if link.is_symlink() {
            check_user(&link)?;
            check_directory(path)?;
        }
        check_directory(&fs::canonicalize(path)?)
    }

    fn check_directory(path: &Path) -> Result<()> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let mode = fs::metadata(directory)?.mode();
        if mode & 0o002 != 0 && mode & STICKY == 0 {
            return Err(Error::other("everybody may write its directory"));
        }
        Ok(())
    }

    /// The user of this process. The standard library has no function for it, but a new pipe belongs
    /// to that user.
    fn user() -> Result<u32> {
        let (reader, _writer) = pipe()?;
        let metadata = File::from(OwnedFd::from(reader)).metadata()?;
        Ok(metadata.uid())
    }

    const ROOT: u32 = 0;
    const STICKY: u32 = 0o1000;
}

/// The key snapshot of one source.
pub(crate) struct KeySnapshot {
    pub(crate) store: Arc<dyn KeySnapshotStore>,
    /// The source as events show it.
    pub(crate) source: String,
    /// The source as the snapshot names it.
    pub(crate) identity: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// Older snapshots are not used.
    pub(crate) keep_stale: Duration,
    /// The timeout of the store.
    pub(crate) timeout: Duration,
    pub(crate) max_keys: usize,
    pub(crate) uses: Vec<String>,
}

impl KeySnapshot {
    /// Reads the saved keys, with the time for which they may still be used.
    pub(crate) async fn load(self) -> Option<(KeySet, Duration)> {
        let outcome = self.read().await?;
        let text = match &outcome {
            Ok((_, age)) => format!(
                "the store starts with keys that were saved {} s ago",
                age.as_secs()
            ),
            Err(reason) => format!("the saved keys are not used: {reason}"),
        };
        telemetry::key_snapshot(&self.source, &text);
        let (set, age) = outcome.ok()?;
        Some((set, self.keep_stale.saturating_sub(age)))
    }

    /// Saves a set in the background. The task ends when the store has returned. If the timeout passes
    /// before, that is logged.
    pub(crate) fn save(self, jwks: String) -> JoinHandle<()> {
        let (store, source, limit) = (self.store, self.source, self.timeout);
        let saved = SavedKeys {
            source: self.identity,
            saved_at: self.clock.now(),
            jwks,
        };
        let mut saving = spawn_blocking(move || store.save(&saved.write()));
        tokio::spawn(async move {
            let report = |reason: &str| {
                telemetry::key_snapshot(&source, &format!("the keys could not be saved: {reason}"));
            };
            match timeout(limit, &mut saving).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => report(&error.to_string()),
                Ok(Err(_)) => report(PANICKED),
                Err(_) => {
                    report(&no_answer(limit));
                    drop(saving.await);
                }
            }
        })
    }

    /// Reads the saved keys and their age. Returns `None` if nothing was saved.
    async fn read(&self) -> Option<std::result::Result<(KeySet, Duration), String>> {
        let (store, limit) = (Arc::clone(&self.store), self.timeout);
        let loaded = timeout(limit, spawn_blocking(move || store.load())).await;
        Some(match loaded {
            Ok(Ok(Ok(text))) => self.check(&text?),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err(PANICKED.into()),
            Err(_) => Err(no_answer(limit)),
        })
    }

    fn check(&self, text: &[u8]) -> std::result::Result<(KeySet, Duration), String> {
        let saved = SavedKeys::read(text).ok_or("not in the format of a key snapshot")?;
        if saved.source != self.identity {
            return Err(format!("they are the keys of {}", Excerpt(&saved.source)));
        }
        let age = self.clock.now().duration_since(saved.saved_at);
        let age = age.map_err(|_| "they were saved in the future")?;
        let longest = self.keep_stale;
        if age >= longest {
            let (age, longest) = (age.as_secs(), longest.as_secs());
            return Err(format!(
                "they are {age} s old, expected less than {longest} s"
            ));
        }
        let set = KeySet::from_published(saved.jwks.as_bytes(), self.max_keys, &self.uses);
        Ok((set.map_err(|error| error.to_string())?, age))
    }
}

fn no_answer(limit: Duration) -> String {
    format!("the snapshot store gave no answer within {limit:?}")
}

/// A saved key set, with its source and its time.
pub(crate) struct SavedKeys {
    pub(crate) source: String,
    pub(crate) saved_at: SystemTime,
    pub(crate) jwks: String,
}

impl SavedKeys {
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

/// The maximum size of a snapshot in bytes.
const MAX_SIZE: u64 = 4 * 1_024 * 1_024;
/// The suffix of temporary files.
const TEMPORARY: &str = ".new";
/// The age after which a temporary file counts as left over.
const LEFT_OVER_AGE: Duration = Duration::from_secs(3_600);
const PANICKED: &str = "the code of the snapshot store panicked";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_set_is_read_again() {
        let saved_at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let saved = SavedKeys {
            source: "https://as.example".into(),
            saved_at,
            jwks: r#"{"keys":[]}"#.into(),
        };
        let text = saved.write();
        let read = SavedKeys::read(&text).unwrap();
        assert_eq!(read.source, "https://as.example");
        assert_eq!(read.saved_at, saved_at);
        assert_eq!(read.jwks, r#"{"keys":[]}"#);
        for cut in 0..text.len() {
            assert!(SavedKeys::read(&text[..cut]).is_none(), "{cut}");
        }
        for bad in [
            r#"{"source":"x","saved_at":-1,"jwks":""}"#,
            r#"{"source":"x","saved_at":1e300,"jwks":""}"#,
            r#"{"source":"x","saved_at":"1","jwks":""}"#,
            r#"{"saved_at":1,"jwks":""}"#,
            "[]",
        ] {
            assert!(SavedKeys::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
