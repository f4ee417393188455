//! Changes of the keys of a store, for hooks and for the log.

use serde::Serialize;

use crate::keys::key::{Key, KeyId};
use crate::keys::set::KeySet;
use crate::telemetry;

/// A change of the keys, passed to the hook of [`KeyStore::on_change`](crate::KeyStore::on_change).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyChange {
    /// The cause of the change.
    pub cause: ChangeCause,
    /// The generation after the change.
    pub generation: u64,
    /// The ids that were added, or that now belong to another key.
    pub added: Vec<KeyId>,
    /// The ids that were removed. Tokens signed with these keys are rejected.
    pub removed: Vec<KeyId>,
    /// The number of keys after the change.
    pub count: usize,
}

/// The cause of a change of the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeCause {
    /// The keys could not be reloaded for too long and were given up.
    Expire,
    /// A load of the source returned a different set.
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
    /// The name in events and metrics, such as `refresh`.
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
    /// Compares two sets. `generation` is that of the second one.
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

    /// Writes the event of the change.
    pub(super) fn report(&self) {
        let (added, removed) = (self.added.len(), self.removed.len());
        let cause = self.cause.as_str();
        telemetry::keys_changed(cause, self.generation, self.count, added, removed);
    }
}

/// The ids of the keys that only the second set has.
fn missing(first: Option<&KeySet>, second: Option<&KeySet>) -> Vec<KeyId> {
    let is_missing = |key: &&Key| !keys(first).any(|other| other.is_same(key));
    let missing = keys(second).filter(is_missing);
    missing.map(|key| key.id().clone()).collect()
}

fn keys(set: Option<&KeySet>) -> impl Iterator<Item = &Key> {
    set.into_iter().flat_map(KeySet::keys)
}
