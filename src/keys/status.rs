//! [`KeyStatus`]: the state of the keys of a store, for an operator.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::clock::NumericDate;
use crate::keys::change::ChangeCause;
use crate::keys::generation::Snapshot;
use crate::keys::key::KeyId;
use crate::keys::set::{KeySet, SkippedKey};
use crate::unix_seconds;

/// The state of the keys of one [`KeyStore`](crate::KeyStore).
///
/// [`Display`](fmt::Display) prints a few lines for an operator. Serialized times are seconds since 1970.
///
/// ```
/// use tower_jwt_auth::KeyStore;
///
/// let status = serde_json::to_value(KeyStore::pending().status())?;
/// assert_eq!(status["freshness"], "missing");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The time of this status.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub at: SystemTime,
    /// The source of the keys: an issuer, a URL or a file. `None` if the application sets the keys.
    pub source: Option<String>,
    /// Whether the keys are up to date.
    pub freshness: Freshness,
    /// The time until which the keys are fresh, or since which they are stale. `None` if there is no
    /// source, or if no load has succeeded yet.
    #[serde(serialize_with = "unix_seconds::serialize_if_any")]
    pub fresh_until: Option<SystemTime>,
    /// The number of changes of the keys.
    pub generation: u64,
    /// The ids of the keys that verify tokens now.
    pub keys: Vec<KeyId>,
    /// The keys that verify tokens only until a known time.
    pub retiring: Vec<RetiringKey>,
    /// The keys that were removed, or whose retirement has ended. Their tokens are rejected, even if
    /// the source still publishes the keys.
    pub dead: Vec<DeadKey>,
    /// The keys of the set that were skipped, with the reasons.
    pub skipped: Vec<SkippedKey>,
    /// Why the last load failed, and since when loads have been failing. `None` if the last load
    /// succeeded.
    pub failing: Option<LoadFailure>,
    /// The time of the next load, if there is a source.
    #[serde(serialize_with = "unix_seconds::serialize_if_any")]
    pub next_refresh: Option<SystemTime>,
    /// The number of successful loads.
    pub loads: u64,
}

/// A key that verifies tokens only until a known time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetiringKey {
    /// The id of the key.
    pub id: KeyId,
    /// The time from which the key no longer verifies tokens.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub until: SystemTime,
}

/// A key that the application [removed](crate::KeyStore::remove), or whose
/// [retirement](crate::KeyStore::retire) has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadKey {
    /// The id that the key had.
    pub id: KeyId,
    /// The [thumbprint](crate::Key::thumbprint) of the key.
    pub thumbprint: String,
    /// The time since which the key is dead.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub since: SystemTime,
    /// [`Remove`](ChangeCause::Remove) or [`Retire`](ChangeCause::Retire).
    pub cause: ChangeCause,
    /// Whether the source still publishes the key.
    pub is_published: bool,
}

/// Whether the keys are up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Freshness {
    /// The keys were loaded, and their lifetime has not passed.
    Fresh,
    /// There are no keys. Every token is answered with 503, or with 401 if the application has removed
    /// the keys.
    Missing,
    /// The lifetime of the keys has passed, because they could not be loaded again.
    Stale,
    /// The application sets the keys. There is no source.
    Static,
}

/// Why keys cannot be loaded.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadFailure {
    /// The time of the first failed load since the last success.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub since: SystemTime,
    /// The reason for the last failure.
    pub reason: String,
}

impl KeyStatus {
    /// The status of keys that only the application changes.
    pub(super) fn of(snapshot: &Snapshot, at: SystemTime) -> Self {
        let now = NumericDate::from(at);
        let entries = snapshot.set.iter().flat_map(KeySet::entries);
        let live: Vec<_> = entries.filter(|entry| entry.is_live(now)).collect();
        let retiring = live.iter().filter_map(|entry| {
            Some(RetiringKey {
                id: entry.key.id().clone(),
                until: entry.retires()?.to_system_time(),
            })
        });
        let dead = snapshot.contents.all_dead(now);
        let dead = dead.map(|(ended, is_published)| DeadKey {
            id: ended.id.clone(),
            thumbprint: ended.thumbprint.clone(),
            since: ended.at.to_system_time(),
            cause: ended.cause,
            is_published,
        });
        let skipped = snapshot.set.as_ref().map(KeySet::skipped);
        Self {
            at,
            source: None,
            freshness: if live.is_empty() {
                Freshness::Missing
            } else {
                Freshness::Static
            },
            fresh_until: None,
            generation: snapshot.generation,
            keys: live.iter().map(|entry| entry.key.id().clone()).collect(),
            retiring: retiring.collect(),
            dead: dead.collect(),
            skipped: skipped.unwrap_or_default().to_vec(),
            failing: None,
            next_refresh: None,
            loads: 0,
        }
    }

    /// The time between this status and another time, before or after it.
    fn distance(&self, moment: SystemTime) -> Duration {
        let ahead = moment.duration_since(self.at);
        ahead.unwrap_or_else(|error| error.duration())
    }
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.as_deref().unwrap_or("application");
        let seconds = |moment| self.distance(moment).as_secs();
        write!(f, "keys of {source}: ")?;
        match (self.freshness, self.fresh_until) {
            (Freshness::Fresh, Some(until)) => write!(f, "fresh for {} s", seconds(until))?,
            (Freshness::Fresh, None) => f.write_str("fresh")?,
            (Freshness::Missing, _) => f.write_str("missing")?,
            (Freshness::Stale, Some(since)) => write!(f, "stale for {} s", seconds(since))?,
            (Freshness::Stale, None) => f.write_str("stale")?,
            (Freshness::Static, _) => f.write_str("static")?,
        }
        let (generation, loads) = (self.generation, self.loads);
        write!(f, ", generation {generation}, ")?;
        match loads {
            1 => f.write_str("loaded once")?,
            _ => write!(f, "loaded {loads} times")?,
        }
        if let Some(next) = self.next_refresh {
            write!(f, ", next in {} s", seconds(next))?;
        }
        // Each line starts with the newline of the line before, so the text does not end with one.
        for id in &self.keys {
            write!(f, "\n  key {:?}", id.as_str())?;
            if let Some(key) = self.retiring.iter().find(|key| key.id == *id) {
                write!(f, ", retires in {} s", seconds(key.until))?;
            }
        }
        for key in &self.dead {
            let what = match key.cause {
                ChangeCause::Remove => "removed",
                _ => "retired",
            };
            write!(
                f,
                "\n  dead key {:?}, {what} {} s ago",
                key.id.as_str(),
                seconds(key.since)
            )?;
            if key.is_published {
                f.write_str(", still published")?;
            }
        }
        for skipped in &self.skipped {
            write!(f, "\n  skipped {skipped}")?;
        }
        if let Some(LoadFailure { since, reason }) = &self.failing {
            write!(f, "\n  failing for {} s: {reason}", seconds(*since))?;
        }
        Ok(())
    }
}
