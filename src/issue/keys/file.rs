//! [`SigningKeyFile`]: shared keys in a directory of one machine, or of a network file system.
//!
//! Each version is a separate file. A new version is put in place with a hard link, which fails if its name
//! is taken. This makes the comparison and the write one step. A lock file is not used, because a process
//! that is killed would leave it behind.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use crate::issue::keys::store::{
    SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture, StoredKeys,
};
use crate::keys::owned_file::{self, Readers};

/// A [`SigningKeyStore`] in a file, which only its owner may read and write. It can be shared by processes on
/// one machine, and by machines through a network file system that supports hard links.
///
/// The name of the file ends with the version of the keys: for the path `signing-keys` it is
/// `signing-keys.1`, then `signing-keys.2`. An older version is removed when there is a newer one. A version
/// is written completely or not at all, and only one process can write it.
///
/// # Security
///
/// The file contains private keys. On Unix it has the permissions 0600. It is used only if no other user may
/// read or write it, and if it belongs to the user of this process or to root. Its directory must not be
/// writable by everybody, unless it has the sticky bit, as `/tmp` has. Use a directory that belongs only to
/// the service. On other systems nothing is checked.
///
/// # Example: keys that survive a restart
///
/// ```no_run
/// use tower_jwt_auth::Algorithm;
/// use tower_jwt_auth::issue::{SigningKeyFile, SigningKeys};
///
/// # async fn start() -> Result<(), tower_jwt_auth::ConfigError> {
/// let file = SigningKeyFile::new("/var/lib/calendar/signing-keys");
/// let keys = SigningKeys::shared(Algorithm::ES256, file)?.connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SigningKeyFile {
    path: PathBuf,
}

impl SigningKeyFile {
    /// Stores the keys in files whose paths begin with this path. The directory must exist.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read(&self) -> Result<Option<StoredKeys>> {
        for _ in 0..ATTEMPTS {
            let Some(version) = self.newest()? else {
                // The keys are about to be written there.
                owned_file::check_directory(&self.path)?;
                return Ok(None);
            };
            // Between the two calls it may have been replaced by a newer one.
            if let Some(file) = owned_file::open(&self.version(version)?, Readers::Owner)? {
                return Ok(Some(StoredKeys::new(version, whole(file)?)));
            }
        }
        Err(Error::other("others write it all the time"))
    }

    fn write(&self, keys: &StoredKeys, expected: Option<u64>) -> Result<bool> {
        if self.newest()? != expected {
            return Ok(false);
        }
        let own = self.version(keys.version())?;
        let placed = owned_file::write(&self.path, keys.as_bytes(), |new| fs::hard_link(new, &own));
        match placed {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            placed => placed?,
        }
        // Since the first look others may have written this version and newer ones, and removed it again. A
        // version is removed only when there is a newer one, so that shows. If others were so fast after this
        // write, it is `false` too, and the caller finds its keys when it reads again.
        if self.newest()?.is_some_and(|newest| newest > keys.version()) {
            drop(fs::remove_file(&own));
            return Ok(false);
        }
        #[cfg(unix)]
        File::open(owned_file::directory(&self.path))?.sync_all()?;
        for older in self.versions()?.filter(|version| *version < keys.version()) {
            drop(fs::remove_file(self.version(older)?));
        }
        Ok(true)
    }

    fn newest(&self) -> Result<Option<u64>> {
        Ok(self.versions()?.max())
    }

    fn versions(&self) -> Result<impl Iterator<Item = u64>> {
        let prefix = owned_file::prefix(&self.path)?;
        let entries = fs::read_dir(owned_file::directory(&self.path))?;
        Ok(entries.flatten().filter_map(move |entry| {
            let name = entry.file_name();
            let rest = name
                .as_encoded_bytes()
                .strip_prefix(prefix.as_encoded_bytes())?;
            let rest = std::str::from_utf8(rest).ok()?;
            let is_number =
                rest.bytes().all(|byte| byte.is_ascii_digit()) && !rest.starts_with('0');
            rest.parse().ok().filter(|_| is_number)
        }))
    }

    fn version(&self, version: u64) -> Result<PathBuf> {
        let mut name = owned_file::prefix(&self.path)?;
        name.push(version.to_string());
        Ok(self.path.with_file_name(name))
    }

    /// Does work that blocks.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> SigningKeyStoreFuture<'static, T> {
        let file = self.clone();
        Box::pin(async move {
            let shown = file.path.display().to_string();
            let failed = |reason: String| SigningKeyStoreError::new(format!("{shown}: {reason}"));
            let done = spawn_blocking(move || work(&file)).await;
            let done = done.map_err(|error| failed(error.to_string()))?;
            done.map_err(|error| failed(error.to_string()))
        })
    }
}

impl SigningKeyStore for SigningKeyFile {
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
        self.blocking(Self::read)
    }

    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
        self.blocking(move |file| file.write(&keys, expected))
    }
}

/// The content of a file, which does not change once it has its name.
fn whole(file: File) -> Result<Vec<u8>> {
    let length = file.metadata()?.len().min(MAX_SIZE);
    // Room for one more byte, so that the buffer does not grow and leave a copy behind.
    let room = usize::try_from(length)
        .unwrap_or_default()
        .saturating_add(64);
    let mut content = Vec::with_capacity(room);
    file.take(length).read_to_end(&mut content)?;
    Ok(content)
}

/// The maximum size in bytes that is read.
const MAX_SIZE: u64 = 1_024 * 1_024;
/// How often a version may be gone before it is read.
const ATTEMPTS: usize = 16;
