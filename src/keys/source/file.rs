//! [`KeyFile`]: keys in a file that is read again when it changes.
//!
//! The file is polled and not watched, because a Kubernetes volume swaps a symbolic link two
//! directories up, which a watch on the file does not see, and because network and overlay file
//! systems send no notifications. A key file is small, and a delay of seconds does no harm. An unknown
//! key id causes a read of the file at once.

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
use crate::keys::format::KeyFormat;
use crate::keys::set::KeySet;
use crate::keys::source::load::{FAR, Load, LoadError, Loaded, Schedule, Start};
use crate::keys::source::local::{READ_TIMEOUT, read_file, read_file_in_time};
use crate::keys::source::refresh::Refresher;
use crate::keys::store::KeyStore;

/// Keys in a file that is read again when it changes, such as a mounted secret or a key set that
/// another program writes.
///
/// Start with [`watch`](Self::watch) or [`watch_lazy`](Self::watch_lazy), inside a tokio runtime. The
/// path is resolved each time the file is read, so the symbolic links of a Kubernetes volume can be
/// swapped. If the file is missing, half written or broken, the last good keys stay in use, and
/// [`status`](KeyStore::status) shows the reason. [`reload`](KeyStore::reload) reads the file at
/// once.
///
/// # Example: a mounted secret; tokens of the old secret stay valid for 15 minutes
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
    /// Reads keys from the file at this path.
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

    /// Sets the time between two reads of the file: 100 milliseconds to 10 years. Default: 5
    /// seconds.
    pub fn check_every(mut self, pause: Duration) -> Self {
        self.source.every = pause.clamp(SETTLED, FAR);
        self
    }

    /// Sets how long keys that are no longer in the file still verify tokens, so that tokens of the
    /// old secret can expire. Default: zero.
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// Sets the clock for [`overlap`](Self::overlap) and for the status. Default: the clock of the
    /// operating system.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Reads the file, and returns a store with its keys. Blocks the calling thread for up to 5 seconds.
    /// If the file system is slow, use [`watch_lazy`](Self::watch_lazy).
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] if the file has no usable keys, is not a regular file, or cannot be
    /// read in this time; also outside a tokio runtime, or in a runtime without timers.
    pub fn watch(mut self) -> Result<KeyStore, ConfigError> {
        let began = Instant::now();
        let content = read_file_in_time(&self.source.path);
        let loaded = content
            .map_err(|reason| LoadError::new(format!("{}: {reason}", self.source)))
            .and_then(|content| self.source.take(&content));
        let loaded = loaded.map_err(|error| error.into_config_error(&self.source))?;
        self.start(Start::Loaded(loaded, began))
    }

    /// Returns a store at once, and reads the file in the background. The first requests wait up to 5
    /// seconds for the first read. Until the file has usable keys, tokens are answered with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside a tokio runtime, or in a runtime without timers.
    pub fn watch_lazy(self) -> Result<KeyStore, ConfigError> {
        self.start(Start::Empty)
    }

    fn start(self, start: Start) -> Result<KeyStore, ConfigError> {
        let schedule = Schedule {
            timeout: READ_TIMEOUT,
            refresh_at: 1.0 / LIFETIME,
            backoff: (SETTLED.max(self.source.every / 5), self.source.every),
            // A missing file does not withdraw its keys. To remove a key, the file is written
            // without it.
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
    /// The digest of the content with the current keys.
    seen: Option<Vec<u8>>,
    /// A read that exceeded its timeout because the file system hangs. The next load waits for it
    /// and does not start another one.
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
        // A program may still be writing the file, so new content is used once two reads agree.
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

/// A digest is stored in place of the content, which may be a secret.
fn fingerprint(content: &[u8]) -> Vec<u8> {
    digest(&SHA256, content).as_ref().to_vec()
}

/// The time between the two reads that must agree.
const SETTLED: Duration = Duration::from_millis(100);
/// The number of reads in a row that may fail before the keys are stale.
const LIFETIME: f64 = 3.0;
