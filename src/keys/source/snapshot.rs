//! The last good key set of an issuer, kept for a start while the issuer is down.

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

/// Where the last good key set is kept between two runs; [`KeySnapshotFile`] is one.
///
/// What is kept is text of public keys: no secret, but whoever can change it can sign tokens that
/// this service accepts.
///
/// Both methods are called on a thread that may block, as in [`tokio::task::spawn_blocking`]. A
/// start waits for [`load`](Self::load) as long as for a request to the issuer
/// ([`timeout`](crate::keys::RemoteKeys::timeout)), and goes on without it then. Nothing else waits
/// for a [`save`](Self::save), and while one has not come back no other begins. A panic counts as an
/// error.
pub trait KeySnapshotStore: Send + Sync + 'static {
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

/// A [`KeySnapshotStore`] in a file, which only its owner may read and write.
///
/// The file is written beside its place and then moved there, so that instances that share it never
/// see a part of it. On Unix it gets the permissions 0600.
///
/// # Security
///
/// Whoever can put a file there can give you their keys. On Unix a file is believed only if it is a
/// regular file, belongs to the user of this process or to root, and nobody else may write it. Its
/// directory must not be one that everybody may write, unless it has the sticky bit. A group may
/// write the directory: its members can take the file away, and a file of theirs is not believed. Of
/// a link in the place of the file the same is asked: its owner, and its directory.
#[derive(Clone, Debug)]
pub struct KeySnapshotFile {
    path: PathBuf,
}

impl KeySnapshotFile {
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

    /// A name beside the file for a new one. No two writers have the same.
    fn place(&self) -> Result<(PathBuf, OsString)> {
        let name = self
            .path
            .file_name()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
        let mut prefix = name.to_owned();
        prefix.push(".");
        let mut name = prefix.clone();
        name.push(format!(
            "{:016x}{UNFINISHED}",
            RandomState::new().hash_one(())
        ));
        Ok((self.path.with_file_name(name), prefix))
    }

    /// Removes what interrupted runs have left behind. What another instance is writing is younger.
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
            let is_unfinished = name.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() == 16 + UNFINISHED.len() && rest.ends_with(UNFINISHED.as_bytes())
            });
            let age = entry.metadata().and_then(|it| it.modified());
            let age = age.map(|modified| modified.elapsed().unwrap_or_default());
            if is_unfinished && age.is_ok_and(|age| age > LEFT_BEHIND) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

impl KeySnapshotStore for KeySnapshotFile {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        // Asked before the file is opened: opening a pipe would wait for its other end.
        match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => check_kind(&found?)?,
        }
        #[cfg(unix)]
        unix::check_place(&self.path)?;
        let file = File::open(&self.path)?;
        // Asked again of what is open: it may have been exchanged meanwhile.
        let metadata = file.metadata()?;
        check_kind(&metadata)?;
        #[cfg(unix)]
        unix::check_owner(&metadata)?;
        let mut kept = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut kept)?;
        Ok(Some(kept))
    }

    fn save(&self, kept: &[u8]) -> Result<()> {
        let (place, prefix) = self.place()?;
        let written = self.write(&place, kept);
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

    /// Of the path, and of the file itself if the path is a link to it. Who made the link says which
    /// file it is.
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

    /// The user of this process. The standard library does not tell, but what a process makes is
    /// its user's own.
    fn user() -> Result<u32> {
        let (reader, _writer) = pipe()?;
        let metadata = File::from(OwnedFd::from(reader)).metadata()?;
        Ok(metadata.uid())
    }

    const ROOT: u32 = 0;
    const STICKY: u32 = 0o1000;
}

/// What is kept of the keys of one source.
pub(crate) struct KeySnapshot {
    pub(crate) store: Arc<dyn KeySnapshotStore>,
    pub(crate) source: String,
    pub(crate) clock: Arc<dyn Clock>,
    /// Older ones are not used.
    pub(crate) keep_stale: Duration,
    /// How long to wait for the store.
    pub(crate) timeout: Duration,
    pub(crate) max_keys: usize,
    pub(crate) uses: Vec<String>,
}

impl KeySnapshot {
    /// The keys of the last run with the time for which they may still be used, if there are some.
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

    /// Saves a set in the background. Ends when the store has come back, however long it takes,
    /// and tells within the time limit that it has not.
    pub(crate) fn save(self, jwks: String) -> JoinHandle<()> {
        let (store, source, limit) = (self.store, self.source, self.timeout);
        let kept = SavedKeys {
            source: source.clone(),
            saved_at: self.clock.now(),
            jwks,
        };
        let mut saving = spawn_blocking(move || store.save(&kept.write()));
        tokio::spawn(async move {
            let told = |reason: &str| {
                telemetry::key_snapshot(&source, &format!("the keys could not be saved: {reason}"));
            };
            match timeout(limit, &mut saving).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => told(&error.to_string()),
                Ok(Err(_)) => told(PANICKED),
                Err(_) => {
                    told(&no_answer(limit));
                    drop(saving.await);
                }
            }
        })
    }

    /// What is kept, and how old it is; `None` if nothing is.
    async fn read(&self) -> Option<std::result::Result<(KeySet, Duration), String>> {
        let (store, limit) = (Arc::clone(&self.store), self.timeout);
        let loaded = timeout(limit, spawn_blocking(move || store.load())).await;
        Some(match loaded {
            Ok(Ok(Ok(text))) => self.judge(&text?),
            Ok(Ok(Err(error))) => Err(error.to_string()),
            Ok(Err(_)) => Err(PANICKED.into()),
            Err(_) => Err(no_answer(limit)),
        })
    }

    fn judge(&self, text: &[u8]) -> std::result::Result<(KeySet, Duration), String> {
        let kept = SavedKeys::read(text).ok_or("not in the format of a key snapshot")?;
        if kept.source != self.source {
            return Err(format!("they are of {}", Excerpt(&kept.source)));
        }
        let age = self.clock.now().duration_since(kept.saved_at);
        let age = age.map_err(|_| "they were saved in the future")?;
        let longest = self.keep_stale;
        if age >= longest {
            let (age, longest) = (age.as_secs(), longest.as_secs());
            return Err(format!(
                "they are {age} s old, expected less than {longest} s"
            ));
        }
        let set = KeySet::from_published(kept.jwks.as_bytes(), self.max_keys, &self.uses);
        Ok((set.map_err(|error| error.to_string())?, age))
    }
}

fn no_answer(limit: Duration) -> String {
    format!("the snapshot store gave no answer within {limit:?}")
}

/// A key set with what is needed to judge it at the next start.
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

/// The most bytes that are read.
const MAX_SIZE: u64 = 4 * 1_024 * 1_024;
/// How the names of files end that are being written.
const UNFINISHED: &str = ".new";
/// Nobody writes a file for as long as this.
const LEFT_BEHIND: Duration = Duration::from_secs(3_600);
const PANICKED: &str = "the code of the snapshot store panicked";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let saved_at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let kept = SavedKeys {
            source: "https://as.example".into(),
            saved_at,
            jwks: r#"{"keys":[]}"#.into(),
        };
        let text = kept.write();
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
