//! Key snapshots: the last good key set of an issuer, saved so that the program can start while the
//! issuer is down.

use std::fs;
use std::io::{Read, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::clock::Clock;
use crate::error::rejection::Excerpt;
use crate::json;
use crate::keys::owned_file::{self, Readers};
use crate::keys::set::KeySet;
use crate::telemetry;

/// Storage for the last good key set between two runs of the program, such as [`KeySnapshotFile`].
///
/// The snapshot contains public keys and no secrets. However, whoever can change it can sign tokens
/// that this service accepts.
///
/// Both methods may block, because they are called through [`tokio::task::spawn_blocking`]. The timeout of
/// [`load`](Self::load) is that of a request to the issuer ([`timeout`](crate::keys::RemoteKeys::timeout));
/// after the timeout, the store starts without the snapshot. Only
/// [`connect`](crate::keys::RemoteKeys::connect) waits for [`save`](Self::save), with the same timeout. While
/// a `save` is running, no other `save` starts. A panic counts as an error.
pub trait KeySnapshotStore: Send + Sync + 'static {
    /// Reads the last snapshot. Returns `None` if nothing was saved.
    ///
    /// # Errors
    ///
    /// An error is logged, and the store starts without the snapshot.
    fn load(&self) -> Result<Option<Vec<u8>>>;

    /// Replaces the last snapshot with this one. A failure must leave the last snapshot unchanged.
    ///
    /// # Errors
    ///
    /// An error is logged. The keys in use do not change.
    fn save(&self, snapshot: &[u8]) -> Result<()>;
}

/// A [`KeySnapshotStore`] in a file, which only its owner may read and write.
///
/// A new file is written in the same directory and then renamed, so that other instances never read a
/// partial file. On Unix the file has the permissions 0600.
///
/// # Security
///
/// Whoever can write the file can add their own keys. On Unix, the file is used only if it is a regular
/// file, if it belongs to the user of this process or to root, and if no other user may write it. Its
/// directory must not be writable by everybody, unless it has the sticky bit. The directory may be
/// writable by a group: a member can delete the file, but a file that the member creates is not used. If
/// the path is a symbolic link, the owner and the directory of the link are checked in the same way.
#[derive(Clone, Debug)]
pub struct KeySnapshotFile {
    path: PathBuf,
}

impl KeySnapshotFile {
    /// Creates a store that saves the keys in this file. Its directory must exist. Each issuer
    /// needs its own file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl KeySnapshotStore for KeySnapshotFile {
    fn load(&self) -> Result<Option<Vec<u8>>> {
        let Some(file) = owned_file::open(&self.path, Readers::Anyone)? else {
            return Ok(None);
        };
        let mut saved = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut saved)?;
        Ok(Some(saved))
    }

    fn save(&self, saved: &[u8]) -> Result<()> {
        owned_file::write(&self.path, saved, |new| fs::rename(new, &self.path))
    }
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
    /// first, this is logged.
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
