//! Keys in a file that is read again when it changes.
//!
//! By polling, not by the notifications of the system: a Kubernetes volume swaps a symbolic link
//! two directories up, which a watch on the file does not see, network and overlay file systems
//! send none at all, and a key file is small and may be seconds late. What a request needs at once
//! is found at once all the same: an unknown key id causes a look at the file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::clock::{Clock, SystemClock};
use crate::error::config::ConfigError;
use crate::keys::set::KeySet;
use crate::keys::source::load::{FAR, Load, LoadError, Loaded, Schedule, Start};
use crate::keys::source::local::{KeyFormat, READ_TIMEOUT, read_file, read_file_in_time};
use crate::keys::source::refresh::Refresher;
use crate::keys::store::KeyStore;

/// Keys in a file that is read again when it changes: a mounted secret, a key set that something
/// else writes.
///
/// Start with [`watch`](Self::watch) or [`watch_lazy`](Self::watch_lazy), inside of a tokio runtime. The path
/// is resolved anew for each look, so a Kubernetes volume, whose symbolic links are swapped, needs
/// nothing special. A file that is missing, half written or broken changes nothing: the last good
/// keys serve on, [`status`](KeyStore::status) has the reason, and the next look may find a better
/// one. [`reload`](KeyStore::reload) looks at once, for a signal handler.
///
/// # Example: a mounted secret, old tokens valid for a quarter of an hour more
///
/// ```no_run
/// use std::time::Duration;
/// use tower_jwt_auth::keys::{KeyFile, KeyFormat};
/// use tower_jwt_auth::Algorithm;
///
/// # fn example() -> Result<(), tower_jwt_auth::ConfigError> {
/// let keys = KeyFile::new("/etc/secrets/jwt", KeyFormat::secret(Algorithm::HS256))
///     .overlap(Duration::from_secs(900))
///     .watch()?;
/// # drop(keys);
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct KeyFile {
    source: FileSource,
    overlap: Duration,
    clock: Arc<dyn Clock>,
}

impl KeyFile {
    /// Keys in the file at this path.
    pub fn new(path: impl Into<PathBuf>, format: KeyFormat) -> Self {
        Self {
            source: FileSource {
                path: path.into(),
                format,
                every: Duration::from_secs(5),
                seen: None,
                reading: None,
            },
            overlap: Duration::ZERO,
            clock: Arc::new(SystemClock),
        }
    }

    /// How often the file is looked at. Default: 5 seconds; at least 100 milliseconds, at most 10
    /// years.
    pub fn check_every(mut self, pause: Duration) -> Self {
        self.source.every = pause.clamp(SETTLED, FAR);
        self
    }

    /// How long keys that have left the file still verify, so that tokens of the old secret can
    /// expire. Default: not at all.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// Where the time for [`overlap`](Self::overlap) and for the status is read from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A store with the keys that the file has now. The calling thread waits for the file, 5 seconds
    /// at most; where its file system is slow, use [`watch_lazy`](Self::watch_lazy).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] with the path and the reason if the file has no keys, is not a
    /// regular file or cannot be read in that time, and outside of a tokio runtime or in one without
    /// timers.
    pub fn watch(mut self) -> Result<KeyStore, ConfigError> {
        let began = Instant::now();
        let content = read_file_in_time(&self.source.path);
        let loaded = content
            .map_err(|reason| LoadError::new(format!("{}: {reason}", self.source)))
            .and_then(|content| self.source.take(&content));
        let loaded = loaded.map_err(|error| error.into_config_error(&self.source))?;
        self.start(Start::Loaded(loaded, began))
    }

    /// A store that waits for the file. The first requests wait for the first look at it, 5 seconds
    /// at most. Until it has keys, tokens are answered with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside of a tokio runtime, or in one without timers.
    pub fn watch_lazy(self) -> Result<KeyStore, ConfigError> {
        self.start(Start::Empty)
    }

    fn start(self, start: Start) -> Result<KeyStore, ConfigError> {
        let schedule = Schedule {
            timeout: READ_TIMEOUT,
            refresh_at: 1.0 / LIFETIME,
            backoff: (SETTLED.max(self.source.every / 5), self.source.every),
            // Who can write the file can take keys away with it; its loss is an accident.
            keep_stale: FAR,
            cooldown: self.source.every,
            overlap: self.overlap,
        };
        Refresher::start(self.source, schedule, start, self.clock)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.source.path)
            .field("format", &self.source.format)
            .field("check_every", &self.source.every)
            .field("overlap", &self.overlap)
            .finish_non_exhaustive()
    }
}

struct FileSource {
    path: PathBuf,
    format: KeyFormat,
    every: Duration,
    /// The digest of the content that the keys are from.
    seen: Option<Vec<u8>>,
    /// A look that has outlasted its time limit, on a file system that hangs: the next one waits
    /// for it instead of beginning one more.
    reading: Option<JoinHandle<Content>>,
}

type Content = Result<Zeroizing<Vec<u8>>, String>;

impl fmt::Display for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

impl Load for FileSource {
    fn forget(&mut self) {
        self.seen = None;
    }

    async fn load(&mut self) -> Result<Loaded, LoadError> {
        let mut content = self.read().await?;
        // Somebody may be writing: what is new counts when it is the same twice.
        while self.is_new(&content) {
            sleep(SETTLED).await;
            let again = self.read().await?;
            if *again == *content {
                return self.take(&content);
            }
            content = again;
        }
        Ok(self.loaded(None))
    }
}

impl FileSource {
    async fn read(&mut self) -> Result<Zeroizing<Vec<u8>>, LoadError> {
        let path = self.path.clone();
        let reading = self
            .reading
            .get_or_insert_with(|| spawn_blocking(move || read_file(&path)));
        let outcome = reading.await;
        self.reading = None;
        let content = outcome.map_err(|error| LoadError::new(format!("{self}: {error}")))?;
        content.map_err(|reason| LoadError::new(format!("{self}: {reason}")))
    }

    fn take(&mut self, content: &[u8]) -> Result<Loaded, LoadError> {
        let set = self.format.read(content);
        let set = set.map_err(|error| LoadError::new(format!("{self}: {error}")))?;
        self.seen = Some(fingerprint(content));
        Ok(self.loaded(Some(set)))
    }

    fn loaded(&self, set: Option<KeySet>) -> Loaded {
        Loaded {
            set,
            lifetime: self.every.mul_f64(LIFETIME),
        }
    }

    fn is_new(&self, content: &[u8]) -> bool {
        self.seen.as_deref() != Some(&fingerprint(content))
    }
}

/// Instead of the content, which may be a secret.
fn fingerprint(content: &[u8]) -> Vec<u8> {
    digest(&SHA256, content).as_ref().to_vec()
}

/// How long a new content has to stay as it is.
const SETTLED: Duration = Duration::from_millis(100);
/// Looks after which keys are stale if all of them fail.
const LIFETIME: f64 = 3.0;
