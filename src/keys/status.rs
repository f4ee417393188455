//! How the keys of a store are doing, for an operator, and what has changed, for a hook.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::clock::NumericDate;
use crate::keys::change::ChangeCause;
use crate::keys::generation::Snapshot;
use crate::keys::key::KeyId;
use crate::keys::set::{KeySet, SkippedKey};

/// How the keys of one [`KeyStore`](crate::KeyStore) are doing. Prints as a few lines, and
/// serializes for an admin page: the fields by their names, times in seconds since 1970.
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
    #[serde(serialize_with = "seconds")]
    pub at: SystemTime,
    /// Where the keys come from: an issuer, a URL, a file; `None` for the application itself.
    pub source: Option<String>,
    /// Whether the keys are as good as they should be.
    pub freshness: Freshness,
    /// Until when they are fresh, or since when they are not; `None` where that has no meaning or
    /// no load has succeeded yet.
    #[serde(serialize_with = "seconds_if_any")]
    pub fresh_until: Option<SystemTime>,
    /// How often they have changed.
    pub generation: u64,
    /// The ids of the keys that verify now.
    pub keys: Vec<KeyId>,
    /// Those of them that will stop to verify, each with its end.
    pub retiring: Vec<RetiringKey>,
    /// Keys that were removed, or whose time is over. Tokens of theirs are rejected, whatever their
    /// source says.
    pub dead: Vec<DeadKey>,
    /// The keys that were left out, with reasons.
    pub skipped: Vec<SkippedKey>,
    /// Why the newest load failed, if it did, and since when loading fails.
    pub failing: Option<LoadFailure>,
    /// When keys will be loaded again, if they come from elsewhere.
    #[serde(serialize_with = "seconds_if_any")]
    pub next_refresh: Option<SystemTime>,
    /// How often keys were loaded.
    pub loads: u64,
}

/// A key that verifies until its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetiringKey {
    /// The id.
    pub id: KeyId,
    /// From when on it no longer verifies.
    #[serde(serialize_with = "seconds")]
    pub until: SystemTime,
}

/// A key that the application [removed](crate::KeyStore::remove), or
/// [retired](crate::KeyStore::retire) some time ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadKey {
    /// The id that it had.
    pub id: KeyId,
    /// Its [thumbprint](crate::Key::thumbprint), by which it is known under every id.
    pub thumbprint: String,
    /// Since when it is dead.
    #[serde(serialize_with = "seconds")]
    pub since: SystemTime,
    /// [`Remove`](ChangeCause::Remove) or [`Retire`](ChangeCause::Retire).
    pub cause: ChangeCause,
    /// Whether the source of the keys still has it.
    pub is_published: bool,
}

/// Whether keys are as good as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Freshness {
    /// They were loaded within their lifetime.
    Fresh,
    /// There are none: every token is answered with 503, or with 401 if the application has removed
    /// them.
    Missing,
    /// They are older than they should be, because loading them fails.
    Stale,
    /// They come from the application alone.
    Static,
}

/// A source of keys that fails.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct LoadFailure {
    /// Since when.
    #[serde(serialize_with = "seconds")]
    pub since: SystemTime,
    /// Why, at the last try.
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

    /// How far a moment lies ahead of this status, or behind it.
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
        writeln!(f)?;
        for id in &self.keys {
            write!(f, "  key {:?}", id.as_str())?;
            if let Some(key) = self.retiring.iter().find(|key| key.id == *id) {
                write!(f, ", retires in {} s", seconds(key.until))?;
            }
            writeln!(f)?;
        }
        for key in &self.dead {
            let what = match key.cause {
                ChangeCause::Remove => "removed",
                _ => "retired",
            };
            write!(
                f,
                "  dead key {:?}, {what} {} s ago",
                key.id.as_str(),
                seconds(key.since)
            )?;
            let still = if key.is_published {
                ", still published"
            } else {
                ""
            };
            writeln!(f, "{still}")?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  skipped {skipped}")?;
        }
        if let Some(LoadFailure { since, reason }) = &self.failing {
            writeln!(f, "  failing for {} s: {reason}", seconds(*since))?;
        }
        Ok(())
    }
}

/// Seconds since 1970, as in the claims of a token.
fn seconds<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_secs())
}

fn seconds_if_any<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}
