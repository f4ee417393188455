//! What has changed the keys of a store, and how: for a hook, and for the log.

use serde::Serialize;

use crate::keys::key::{Key, KeyId};
use crate::keys::set::KeySet;
use crate::telemetry;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeCause {
    /// They were older than an outage may last, and are given up.
    Expire,
    /// Another set was loaded.
    Refresh,
    /// [`KeyStore::reinstate`](crate::KeyStore::reinstate).
    Reinstate,
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
            Self::Reinstate => "reinstate",
            Self::Remove => "remove",
            Self::Replace => "replace",
            Self::Retire => "retire",
            Self::Rotate => "rotate",
        }
    }
}

impl KeyChange {
    /// The change from one set to another, which made this generation.
    pub(super) fn between(
        before: Option<&KeySet>,
        after: Option<&KeySet>,
        generation: u64,
        cause: ChangeCause,
    ) -> Self {
        Self {
            cause,
            generation,
            added: missing(before, after),
            removed: missing(after, before),
            count: keys(after).count(),
        }
    }

    /// Writes the event.
    pub(super) fn report(&self) {
        let (added, removed) = (self.added.len(), self.removed.len());
        let cause = self.cause.as_str();
        telemetry::keys_changed(cause, self.generation, self.count, added, removed);
    }
}

/// The ids of those keys that the first set does not have, and the second has.
fn missing(first: Option<&KeySet>, second: Option<&KeySet>) -> Vec<KeyId> {
    let is_missing = |key: &&Key| !keys(first).any(|other| other.is_same(key));
    let missing = keys(second).filter(is_missing);
    missing.map(|key| key.id().clone()).collect()
}

fn keys(set: Option<&KeySet>) -> impl Iterator<Item = &Key> {
    set.into_iter().flat_map(KeySet::keys)
}
