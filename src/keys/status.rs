//! How the keys of a store are doing, for an operator.

use std::fmt;
use std::time::SystemTime;

use super::key::KeyId;
use super::set::{KeySet, SkippedKey};

/// How the keys of one [`KeyStore`](crate::KeyStore) are doing. Prints as a few lines.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Whether the keys are as good as they should be.
    pub freshness: Freshness,
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

impl KeyStatus {
    /// The status of keys that only the application changes.
    pub(super) fn of(set: Option<&KeySet>, generation: u64) -> Self {
        Self {
            freshness: if set.is_some() {
                Freshness::Static
            } else {
                Freshness::Missing
            },
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
}

impl fmt::Display for KeyStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let freshness = match self.freshness {
            Freshness::Fresh => "fresh",
            Freshness::Missing => "missing",
            Freshness::Stale => "stale",
            Freshness::Static => "static",
        };
        writeln!(
            f,
            "keys: {freshness}, generation {}, loaded {} times",
            self.generation, self.loads
        )?;
        for id in &self.keys {
            writeln!(f, "  key {:?}", id.as_str())?;
        }
        for skipped in &self.skipped {
            writeln!(f, "  skipped {skipped}")?;
        }
        if let Some(failing) = &self.failing {
            writeln!(f, "  failing: {}", failing.reason)?;
        }
        Ok(())
    }
}
