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
    /// Loads that have found what they were for, and were given back, since then.
    refunds: u32,
    cooldown: Duration,
    /// Ids that the load is for which runs or is about to.
    asked: HashSet<u64>,
    /// When the other side wants to be asked again, after it has refused.
    not_before: Option<Instant>,
    /// Ids that were looked up in vain since the last refill.
    missed: HashSet<u64>,
    /// Ids of keys that a load has taken away. They may come back, but until then their tokens must
    /// not use up what new keys need.
    withdrawn: HashSet<u64>,
    hasher: RandomState,
}

impl Gate {
    pub(super) fn new(cooldown: Duration) -> Self {
        Self {
            is_pending: false,
            burst: BURST,
            refilled: Instant::now(),
            refunds: 0,
            cooldown,
            asked: HashSet::new(),
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

    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// A load has come to an end and has brought nothing new. Not to be asked again before then.
    pub(super) fn close(&mut self, not_before: Option<Instant>) {
        self.is_pending = false;
        self.not_before = not_before;
        self.asked.clear();
    }

    /// A load has come to an end, and these keys have come and gone.
    pub(super) fn close_with(&mut self, added: &[KeyId], withdrawn: &[KeyId]) {
        let mut is_found = false;
        for id in added {
            let id = self.hasher.hash_one(id.as_str());
            is_found |= self.asked.contains(&id);
            self.missed.remove(&id);
            self.withdrawn.remove(&id);
        }
        self.close(None);
        if is_found && self.refunds < REFUNDS {
            // A real rotation costs honest users nothing.
            self.refunds = self.refunds.saturating_add(1);
            self.burst = self.burst.saturating_add(1).min(BURST);
        }
        if self.withdrawn.len().saturating_add(withdrawn.len()) > MISSED_MAX {
            self.withdrawn.clear();
        }
        let ids = withdrawn.iter().take(MISSED_MAX);
        let ids = ids.map(|id| self.hasher.hash_one(id.as_str()));
        self.withdrawn.extend(ids);
    }

    /// Whether a load for this id is under way or may begin; says which.
    pub(super) fn admit(&mut self, id: &str) -> Admission {
        let hash = self.hasher.hash_one(id);
        if self.is_pending {
            if self.asked.len() < MISSED_MAX {
                self.asked.insert(hash);
            }
            return Admission::Join;
        }
        let now = Instant::now();
        if self.not_before.is_some_and(|at| now < at) {
            return Admission::Refused;
        }
        if now.saturating_duration_since(self.refilled) >= self.cooldown {
            self.refilled = now;
            self.burst = self.burst.saturating_add(1).min(BURST);
            self.refunds = 0;
            self.missed.clear();
        }
        let reserve = if self.withdrawn.contains(&hash) {
            RESERVE
        } else {
            0
        };
        if self.burst <= reserve || self.missed.len() >= MISSED_MAX || !self.missed.insert(hash) {
            return Admission::Refused;
        }
        self.burst = self.burst.saturating_sub(1);
        self.asked.insert(hash);
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
/// What of that is not for ids of withdrawn keys.
const RESERVE: u32 = 2;
/// Loads within one cooldown that cost nothing, as they have found the key that was asked for.
const REFUNDS: u32 = 16;
/// Key ids remembered as looked up in vain, and as withdrawn.
const MISSED_MAX: usize = 4_096;
