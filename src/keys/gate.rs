//! Who may cause a load of keys by an unknown key id, so that a flood of invented ones cannot.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::key::KeyId;

/// Who may cause a load by an unknown key id.
pub(super) struct Gate {
    /// A load runs, or is about to.
    is_pending: bool,
    /// Loads that unknown ids may still cause at once.
    burst: u32,
    refilled: Instant,
    cooldown: Duration,
    /// When the other side wants to be asked again, after it has refused.
    not_before: Option<Instant>,
    /// Ids that were looked up in vain since the last refill.
    missed: HashSet<u64>,
    /// Ids of keys that a load has taken away: their tokens must not use up what new keys need.
    withdrawn: HashSet<u64>,
    hasher: RandomState,
}

impl Gate {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self {
            is_pending: false,
            burst: BURST,
            refilled: Instant::now(),
            cooldown,
            not_before: None,
            missed: HashSet::new(),
            withdrawn: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// A load begins.
    pub(super) fn open(&mut self) {
        self.is_pending = true;
    }

    /// A load has come to an end and has brought nothing new. Not to be asked again before then.
    pub(super) fn close(&mut self, not_before: Option<Instant>) {
        self.is_pending = false;
        self.not_before = not_before;
    }

    /// A load has come to an end and has brought other keys. These are gone.
    pub(super) fn close_with(&mut self, withdrawn: &[KeyId]) {
        self.close(None);
        // A real rotation costs honest users nothing.
        self.burst = self.burst.saturating_add(1).min(BURST);
        self.missed.clear();
        if self.withdrawn.len().saturating_add(withdrawn.len()) > MISSED_MAX {
            self.withdrawn.clear();
        }
        let ids = withdrawn.iter().take(MISSED_MAX);
        let ids = ids.map(|id| self.hasher.hash_one(id.as_str()));
        self.withdrawn.extend(ids);
    }

    /// Whether a load for this id is under way or may begin; says which.
    pub(super) fn admit(&mut self, id: &str) -> Admission {
        if self.is_pending {
            return Admission::Join;
        }
        let now = Instant::now();
        if self.not_before.is_some_and(|at| now < at) {
            return Admission::Refused;
        }
        if now.saturating_duration_since(self.refilled) >= self.cooldown {
            self.refilled = now;
            self.burst = self.burst.saturating_add(1).min(BURST);
            self.missed.clear();
        }
        let id = self.hasher.hash_one(id);
        if self.withdrawn.contains(&id) {
            return Admission::Refused;
        }
        if self.burst == 0 || self.missed.len() >= MISSED_MAX || !self.missed.insert(id) {
            return Admission::Refused;
        }
        self.burst = self.burst.saturating_sub(1);
        self.is_pending = true;
        Admission::Begin
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Begin,
    Join,
    Refused,
}

/// Loads that unknown key ids may cause in a row before the cooldown bounds them.
const BURST: u32 = 4;
/// Key ids remembered as looked up in vain, and as withdrawn.
const MISSED_MAX: usize = 4_096;
