//! [`Load`], the trait of the sources, and the [`Schedule`] of the loads.

use std::fmt;
use std::future::Future;
#[cfg(feature = "remote")]
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(any(feature = "remote", feature = "watch"))]
use crate::error::config::ConfigError;
#[cfg(feature = "remote")]
use crate::fetch::documents::DocumentError;
use crate::keys::set::KeySet;

/// A source from which keys are loaded.
pub(crate) trait Load: fmt::Display + Send + 'static {
    /// Loads the keys once. The caller has a timeout.
    fn load(&mut self) -> impl Future<Output = Result<Loaded, LoadError>> + Send;

    /// Forgets the last load, so that the next one returns all keys even if they have not changed.
    fn forget(&mut self);

    /// Saves the keys after each good load, in the background. Called inside the runtime.
    fn save(&mut self) {}
}

/// The keys with which a store starts.
pub(crate) enum Start {
    /// No keys. Requests wait for the first load.
    #[cfg(any(test, feature = "remote", feature = "watch"))]
    Empty,
    /// The saved keys of an earlier run, for this time or until a load succeeds.
    #[cfg(feature = "remote")]
    Snapshot(KeySet, Duration),
    /// The same, but the keys are read while the first load runs.
    #[cfg(feature = "remote")]
    ReadingSnapshot(SnapshotRead),
    /// The keys of a load, and the time at which the load started.
    Loaded(Loaded, Instant),
}

/// Reads the saved keys of an earlier run, and the time for which they may still be used.
#[cfg(feature = "remote")]
pub(crate) type SnapshotRead = Pin<Box<dyn Future<Output = Option<(KeySet, Duration)>> + Send>>;

/// The result of a successful load.
pub(crate) struct Loaded {
    /// `None` if the keys have not changed.
    pub(crate) set: Option<KeySet>,
    /// The time for which the keys are fresh, from the start of the load.
    pub(crate) lifetime: Duration,
}

/// Why a load failed.
#[derive(Clone, Debug)]
pub(crate) struct LoadError {
    pub(crate) reason: String,
    /// The time after which the source accepts requests again (`Retry-After`).
    pub(crate) retry_after: Option<Duration>,
}

impl LoadError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The same as a startup error. If the reason begins with the name of the source, the name is
    /// not repeated.
    #[cfg(any(feature = "remote", feature = "watch"))]
    pub(crate) fn into_config_error(self, source: &impl fmt::Display) -> ConfigError {
        let input = source.to_string();
        let reason = self.reason.strip_prefix(&input);
        let reason = reason.and_then(|reason| reason.strip_prefix(": "));
        ConfigError::KeySource {
            reason: reason.unwrap_or(&self.reason).to_owned(),
            input,
        }
    }
}

#[cfg(feature = "remote")]
impl From<DocumentError> for LoadError {
    fn from(error: DocumentError) -> Self {
        Self {
            reason: error.reason,
            retry_after: error.retry_after,
        }
    }
}

/// The times of the loads, and how long keys stay in use.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The timeout of a load.
    pub(crate) timeout: Duration,
    /// The fraction of the lifetime after which keys are loaded again.
    pub(crate) refresh_at: f64,
    /// The pause after the first failure, and the maximum pause.
    pub(crate) backoff: (Duration, Duration),
    /// How long the last good keys stay in use after their lifetime.
    pub(crate) keep_stale: Duration,
    /// The time in which unknown key ids may cause one load, after the burst.
    pub(crate) cooldown: Duration,
    /// How long keys still verify tokens after the source no longer has them.
    pub(crate) overlap: Duration,
}

impl Schedule {
    /// The time at which loaded keys are given up if no other load succeeds.
    pub(crate) fn end(&self, began: Instant, lifetime: Duration) -> Instant {
        after(began, lifetime.saturating_add(self.keep_stale))
    }

    /// Same as [`end`](Self::end), for keys that were just loaded.
    ///
    /// # Errors
    ///
    /// If that time has passed because the process was suspended during the load.
    pub(crate) fn end_of_new(
        &self,
        source: &impl fmt::Display,
        began: Instant,
        loaded: &Loaded,
    ) -> Result<Instant, LoadError> {
        let (end, now) = (self.end(began, loaded.lifetime), Instant::now());
        if end > now {
            return Ok(end);
        }
        let took = now.saturating_duration_since(began);
        Err(LoadError::new(format!(
            "{source}: the load took {took:?}, which is longer than its keys may be used"
        )))
    }
}

/// The time after a pause, which is limited to [`FAR`].
pub(super) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause.min(FAR)).unwrap_or(now)
}

/// Longer than any relevant time.
pub(crate) const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
