//! How the keys of a store are doing, for an operator, and what has changed, for a hook.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::key::{Key, KeyId};
use super::set::{KeySet, SkippedKey};
use super::store::Snapshot;

/// How the keys of one [`KeyStore`](crate::KeyStore) are doing. Prints as a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStatus {
    /// The time of this status.
    pub at: SystemTime,
    /// Where the keys come from: an issuer, a URL, a file; `None` for the application itself.
    pub source: Option<String>,
    /// Whether the keys are as good as they should be.
    pub freshness: Freshness,
    /// Until when they are fresh, or since when they are not; `None` where that has no meaning or
    /// no load has succeeded yet.
    pub fresh_until: Option<SystemTime>,
    /// How often they have changed.
    pub generation: u64,
    /// The ids of the keys that verify.
    pub keys: Vec<KeyId>,
    /// The keys that were left out, with reasons.
    pub skipped: Vec<SkippedKey>,
    /// Why the newest load failed, if it did, and since when loading fails.
    pub failing: Option<Failing>,
    /// When keys will be loaded again, if they come from elsewhere.
    pub next_refresh: Option<SystemTime>,
    /// How often keys were loaded.
    pub loads: u64,
}

/// Whether keys are as good as they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// They were loaded within their lifetime.
    Fresh,
    /// There are none: every token is answered with 503.
    Missing,
    /// They are older than they should be, because loading them fails.
    Stale,
    /// They come from the application alone.
    Static,
}

/// A source of keys that fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failing {
    /// Since when.
    pub since: SystemTime,
    /// Why, at the last try.
    pub reason: String,
}

/// A change of the keys, for the hook of [`KeyStore::on_change`](crate::KeyStore::on_change).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyChange {
    /// What has caused it.
    pub cause: ChangeCause,
    /// The generation that it made.
    pub generation: u64,
    /// Keys that were not there before, or another key under the same id.
    pub added: Vec<KeyId>,
    /// Keys that are no longer there. Their tokens are refused.
    pub removed: Vec<KeyId>,
    /// How many there are now.
    pub count: usize,
}

/// What has changed the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeCause {
    /// They were older than an outage may last, and are given up.
    Expire,
    /// Another set was loaded.
    Refresh,
    /// [`KeyStore::remove`](crate::KeyStore::remove).
    Remove,
    /// [`KeyStore::replace`](crate::KeyStore::replace).
    Replace,
    /// [`KeyStore::retire`](crate::KeyStore::retire).
    Retire,
    /// [`KeyStore::rotate`](crate::KeyStore::rotate).
    Rotate,
}

impl ChangeCause {
    /// The name in events and metrics: `"refresh"`, for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expire => "expire",
            Self::Refresh => "refresh",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Retire => "retire",
            Self::Rotate => "rotate",
        }
    }
}

impl KeyChange {
    pub(super) fn between(before: &Snapshot, after: &Snapshot, cause: ChangeCause) -> Self {
        let missing_in = |others: &Snapshot, those: &Snapshot| -> Vec<KeyId> {
            let same = |key: &&Key| {
                !keys(others)
                    .any(|other| other.id() == key.id() && other.thumbprint() == key.thumbprint())
            };
            keys(those)
                .filter(same)
                .map(|key| key.id().clone())
                .collect()
        };
        Self {
            cause,
            generation: after.generation,
            added: missing_in(before, after),
            removed: missing_in(after, before),
            count: keys(after).count(),
        }
    }
}

fn keys(snapshot: &Snapshot) -> impl Iterator<Item = &Key> {
    snapshot.set.iter().flat_map(KeySet::keys)
}

impl KeyStatus {
    /// The status of keys that only the application changes.
    pub(super) fn of(set: Option<&KeySet>, generation: u64, at: SystemTime) -> Self {
        Self {
            at,
            source: None,
            freshness: if set.is_some() {
                Freshness::Static
            } else {
                Freshness::Missing
            },
            fresh_until: None,
            generation,
            keys: set
                .map(|set| set.keys().map(|key| key.id().clone()).collect())
                .unwrap_or_default(),
            skipped: set.map(|set| set.skipped().to_vec()).unwrap_or_default(),
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
        write!(f, ", generation {generation}, loaded {loads} times")?;
        if let Some(next) = self.next_refresh {
            write!(f, ", next in {} s", seconds(next))?;
        }
        writeln!(f)?;
        for id in &self.keys {
            writeln!(f, "  key {:?}", id.as_str())?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  skipped {skipped}")?;
        }
        if let Some(Failing { since, reason }) = &self.failing {
            writeln!(f, "  failing for {} s: {reason}", seconds(*since))?;
        }
        Ok(())
    }
}
