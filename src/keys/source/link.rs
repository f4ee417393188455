//! The state that a store and its task share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::keys::change::KeyChange;
use crate::keys::key::KeyId;
use crate::keys::source::budget::Budget;
use crate::telemetry;

/// The state that a store and its task share.
pub(super) struct Link {
    source: String,
    budget: Mutex<Budget>,
    /// The number of loads that have ended.
    finished: watch::Sender<u64>,
    progress: Mutex<Progress>,
    has_ended: AtomicBool,
    /// Whether the end of the task was reported.
    is_reported: AtomicBool,
}

/// The state of the loads, for the status.
#[derive(Clone, Default)]
pub(super) struct Progress {
    pub(super) fresh_until: Option<Instant>,
    pub(super) failing: Option<(Instant, String)>,
    pub(super) next: Option<Instant>,
    pub(super) loads: u64,
}

/// The result of a load.
pub(super) enum Outcome {
    /// The keys changed.
    Changed(KeyChange),
    /// The load failed. No token causes another one before this time.
    Failed(Option<Instant>),
    /// The load changed nothing, or the source has changed the store by itself. The ids of the keys of the store.
    Same(Vec<KeyId>),
}

impl Link {
    pub(super) fn new(source: String, cooldown: Duration) -> Self {
        Self {
            source,
            budget: Mutex::new(Budget::new(cooldown)),
            finished: watch::Sender::new(0),
            progress: Mutex::default(),
            has_ended: AtomicBool::new(false),
            is_reported: AtomicBool::new(false),
        }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn finish(&self, outcome: Outcome) {
        match outcome {
            Outcome::Changed(change) => {
                self.budget().load_succeeded(&change.added, &change.removed)
            }
            Outcome::Failed(not_before) => self.budget().load_failed(not_before),
            Outcome::Same(present) => self.budget().load_succeeded(&present, &[]),
        }
        self.wake_all();
    }

    /// Returns a receiver that changes at the end of the next load.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.finished.subscribe()
    }

    /// Wakes all requests that wait for the end of a load.
    pub(super) fn wake_all(&self) {
        self.finished
            .send_modify(|rounds| *rounds = rounds.wrapping_add(1));
    }

    /// Records that the task has ended.
    pub(super) fn end(&self, reason: &str) {
        {
            let now = Instant::now();
            let mut progress = self.progress();
            let since = progress.failing.as_ref().map_or(now, |(since, _)| *since);
            let reason = format!("{}: keys are no longer loaded: {reason}", self.source);
            progress.failing = Some((since, reason));
            progress.next = None;
        }
        self.has_ended.store(true, Ordering::Release);
        self.budget().load_failed(None);
        self.wake_all();
    }

    /// Whether the task has ended. The first call after that reports it.
    pub(super) fn has_ended(&self) -> bool {
        let has_ended = self.has_ended.load(Ordering::Acquire);
        if has_ended {
            self.report_end();
        }
        has_ended
    }

    pub(super) fn report_end(&self) {
        if self.is_reported.swap(true, Ordering::Relaxed) {
            return;
        }
        let reason = self.progress().failing.clone();
        let reason = reason.map(|(_, reason)| reason).unwrap_or_default();
        telemetry::keys_abandoned(&self.source, &reason);
    }
}
