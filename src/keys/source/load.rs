//! What it is to load keys: where they come from, what that gives, and when it is done.

use std::fmt;
use std::future::Future;
#[cfg(feature = "remote")]
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::config::ConfigError;
use crate::keys::set::KeySet;

/// Where keys come from.
pub(crate) trait Load: fmt::Display + Send + 'static {
    /// Loads the keys once. Not bounded in time by itself.
    fn load(&mut self) -> impl Future<Output = Result<Loaded, LoadError>> + Send;

    /// Forgets what the last load has given: the next one has to bring all keys again, not the word
    /// that nothing is new.
    fn forget(&mut self);

    /// Called after each good load, inside of the runtime. Whatever takes time is not waited for.
    fn save(&mut self) {}
}

/// What a store begins with.
pub(crate) enum Start {
    /// Nothing: it waits for the first load.
    Empty,
    /// Keys of an earlier run, for this long, unless a load succeeds before.
    #[cfg(feature = "remote")]
    Snapshot(KeySet, Duration),
    /// The same, still being read while the first load runs.
    #[cfg(feature = "remote")]
    ReadingSnapshot(SnapshotRead),
    /// What a load has given, which began then.
    Loaded(Loaded, Instant),
}

/// Keys of an earlier run, and for how long they may still be used.
#[cfg(feature = "remote")]
pub(crate) type SnapshotRead = Pin<Box<dyn Future<Output = Option<(KeySet, Duration)>> + Send>>;

/// What a successful load gives.
pub(crate) struct Loaded {
    /// `None` if the keys are the same as before.
    pub(crate) set: Option<KeySet>,
    /// How long they are fresh.
    pub(crate) lifetime: Duration,
}

/// Why a load failed.
#[derive(Clone, Debug)]
pub(crate) struct LoadError {
    pub(crate) reason: String,
    /// When the other side wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl LoadError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The same as an error of the start. A reason that begins with the name of the source does not
    /// repeat it.
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

/// When to load, and for how long to live with what is there.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// The longest time that one load may take.
    pub(crate) timeout: Duration,
    /// The share of the lifetime after which keys are loaded again.
    pub(crate) refresh_at: f64,
    /// The pause after the first failure, and the longest one.
    pub(crate) backoff: (Duration, Duration),
    /// How long the last good keys are kept beyond their lifetime.
    pub(crate) keep_stale: Duration,
    /// The time in which unknown key ids may cause one load, once the burst is used up.
    pub(crate) cooldown: Duration,
    /// How long keys verify on that a load no longer has.
    pub(crate) overlap: Duration,
}

impl Schedule {
    /// When keys are given up that are fresh for this long from when their load `began`, unless
    /// another load succeeds before.
    pub(crate) fn end(&self, began: Instant, lifetime: Duration) -> Instant {
        after(began, lifetime.saturating_add(self.keep_stale))
    }

    /// The same for what a load has just given.
    ///
    /// # Errors
    ///
    /// If that has passed: the answer came too late, to a process that was suspended.
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
            "{source}: the load took {took:?}, and its keys may not be used for so long"
        )))
    }
}

/// That much later, within reason.
pub(super) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause.min(FAR)).unwrap_or(now)
}

/// Beyond any time that matters.
pub(super) const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
