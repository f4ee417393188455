//! Keys that come from elsewhere and are loaded again: when they age, when a request shows a token
//! whose key is not there, and after a failure.
//!
//! One task for each store does all loading. Requests never load: a request whose key is at hand
//! sees only the store, and one whose key is not may wait, for a bounded time, for a load that
//! serves all who wait. A request that goes away takes nothing with it. The task ends when the last
//! clone of its store is dropped.
//!
//! The task may also end before its store, with its runtime. Then nothing is loaded any more, which
//! the status and an event say, nobody waits, and the keys serve for as long as stale ones do: who
//! reads them asks for the time.

use std::panic::catch_unwind;
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::error::config::ConfigError;
use crate::keys::source::budget::{Admission, Budget};
use crate::keys::source::load::{Load, Schedule, Start};
use crate::keys::source::loading::Task;
use crate::keys::source::patience::Patience;
use crate::keys::status::{Freshness, KeyChange, KeyStatus, LoadFailure};
#[cfg(feature = "remote")]
use crate::keys::store::Shared;
use crate::keys::store::{Deadline, KeyStore, LookUp, Prospect};
use crate::telemetry;

/// The store's end of the task.
pub(crate) struct Refresher {
    link: Arc<Link>,
    /// Its drop ends the task.
    wanted: mpsc::Sender<()>,
    /// What one load may take, and a little.
    longest_load: Duration,
    patience: Patience,
}

/// What store and task share.
pub(crate) struct Link {
    source: String,
    gate: Mutex<Budget>,
    finished: watch::Sender<u64>,
    progress: Mutex<Progress>,
    has_ended: AtomicBool,
    /// Whether the end was told.
    is_told: AtomicBool,
}

/// How the loads have gone.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    pub(crate) fresh_until: Option<Instant>,
    pub(crate) failing: Option<(Instant, String)>,
    pub(crate) next: Option<Instant>,
    pub(crate) loads: u64,
}

/// The runtime that this is called in, if it can run the task.
///
/// # Errors
///
/// [`ConfigError::KeySource`] outside of a tokio runtime, and in one without timers.
pub(crate) fn runtime_for(source: &impl Load) -> Result<Handle, ConfigError> {
    let unusable = |reason| ConfigError::KeySource(format!("{source}: {reason}"));
    let runtime = Handle::try_current()
        .map_err(|_| unusable("expected to be called inside of a tokio runtime"))?;
    // Tokio has no other way to ask.
    catch_unwind(|| drop(sleep(Duration::ZERO))).map_err(|_| {
        unusable("the tokio runtime has no timers: build it with `enable_time` or `enable_all`")
    })?;
    Ok(runtime)
}

impl Refresher {
    /// Gives a store, and starts the task for it.
    ///
    /// # Errors
    ///
    /// As [`runtime_for`].
    pub(crate) fn start<L: Load>(
        source: L,
        schedule: Schedule,
        start: Start,
        clock: Arc<dyn Clock>,
    ) -> Result<KeyStore, ConfigError> {
        let runtime = runtime_for(&source)?;
        let (wanted, receiver) = mpsc::channel(1);
        let link = Arc::new(Link {
            source: source.to_string(),
            gate: Mutex::new(Budget::new(schedule.cooldown)),
            finished: watch::Sender::new(0),
            progress: Mutex::default(),
            has_ended: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
        });
        let refresher = Self {
            link: Arc::clone(&link),
            wanted,
            longest_load: schedule.timeout.saturating_add(GRACE),
            patience: Patience::new(runtime.clone()),
        };
        #[cfg(feature = "remote")]
        let mut keeping = None;
        let (first, loaded) = match start {
            Start::Empty => (None, None),
            #[cfg(feature = "remote")]
            Start::Keeping(kept) => {
                keeping = Some(kept);
                (None, None)
            }
            #[cfg(feature = "remote")]
            Start::Kept(set, rest) => (Some((set, after(Instant::now(), rest))), None),
            Start::Loaded(loaded, began) => {
                let end = schedule.end(began, loaded.lifetime);
                (
                    loaded.set.map(|set| (set, end)),
                    Some((began, loaded.lifetime)),
                )
            }
        };
        let store = KeyStore::refreshing(first, refresher, Arc::clone(&clock));
        #[cfg(feature = "remote")]
        let for_kept = Arc::clone(&clock);
        let alive = Alive(Arc::clone(&link));
        let mut task = Task::new(source, schedule, link, store.downgrade(), clock);
        let next = loaded.map(|(began, lifetime)| task.succeeded(began, lifetime));
        if next.is_none() {
            alive.0.gate().open();
        }
        alive.0.progress().next = next;
        #[cfg(feature = "remote")]
        if let Some(keeping) = keeping {
            let link = Arc::clone(&alive.0);
            runtime.spawn(begin_with(keeping, store.downgrade(), link, for_kept));
        }
        runtime.spawn(async move {
            let _alive = alive;
            task.run(receiver, next).await;
        });
        Ok(store)
    }

    /// A load that may bring the key with this id, or without one another key than those that do
    /// not verify a token: one that is under way, or that begins for it.
    pub(crate) fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> Prospect {
        // Listens before it asks, so that no end is missed.
        let finished = self.link.finished.subscribe();
        if self.has_ended() {
            return Prospect::Unasked;
        }
        let admission = self.link.gate().admit(id);
        match admission {
            Admission::Answered => Prospect::Answered,
            Admission::Begin | Admission::Join => {
                Prospect::Load(self.wait(admission, finished, deadline))
            }
            Admission::Spent => {
                telemetry::key_id_refused();
                Prospect::Unasked
            }
        }
    }

    /// The first load of all, unless it is known to fail.
    pub(crate) fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp> {
        let finished = self.link.finished.subscribe();
        if self.has_ended() || self.link.progress().failing.is_some() {
            return None;
        }
        let admission = self.link.gate().admit_first();
        Some(self.wait(admission, finished, deadline))
    }

    fn wait(
        &self,
        admission: Admission,
        finished: watch::Receiver<u64>,
        deadline: Option<Deadline>,
    ) -> LookUp {
        if admission == Admission::Begin {
            self.wake();
        }
        let deadline = deadline.map_or_else(
            || after(Instant::now(), self.longest_load.min(LONGEST_WAIT)),
            Instant::from_std,
        );
        LookUp {
            end: Box::pin(self.patience.end_by(finished, deadline)),
            is_joined: admission == Admission::Join,
            deadline: deadline.into_std(),
        }
    }

    /// Loads as soon as possible, whatever the allowance says, and waits for the end. A load that
    /// runs already may have asked too early, so it is followed by another one.
    pub(crate) async fn reload(&self) {
        let finished = self.link.finished.subscribe();
        if self.has_ended() {
            return;
        }
        if self.link.gate().is_pending() {
            self.end_of_load(finished).await;
        }
        let finished = self.link.finished.subscribe();
        if self.has_ended() {
            return;
        }
        self.wake();
        self.end_of_load(finished).await;
    }

    async fn end_of_load(&self, finished: watch::Receiver<u64>) {
        let deadline = after(Instant::now(), self.longest_load);
        self.patience.end_by(finished, deadline).await;
    }

    fn wake(&self) {
        // A full channel means that the task has been told already.
        let _ = self.wanted.try_send(());
    }

    /// Whether nothing is loaded any more. Who sees it first tells it.
    fn has_ended(&self) -> bool {
        let has_ended = self.link.has_ended.load(Ordering::Acquire);
        if has_ended {
            self.link.tell_end();
        }
        has_ended
    }

    /// Whether there may be newer keys, which cannot be had.
    pub(crate) fn is_behind(&self) -> bool {
        if self.has_ended() {
            return true;
        }
        let progress = self.link.progress();
        progress.failing.is_some()
            || progress
                .fresh_until
                .is_none_or(|until| until <= Instant::now())
    }

    pub(crate) fn tell_if_ended(&self) {
        self.has_ended();
    }

    /// A status with what is known of the loads.
    pub(crate) fn describe(&self, mut status: KeyStatus) -> KeyStatus {
        self.has_ended();
        let progress = self.link.progress().clone();
        let (now, present) = (status.at, Instant::now());
        let on_wall = |at: Instant| {
            let ahead = now.checked_add(at.saturating_duration_since(present));
            let back = present.saturating_duration_since(at);
            ahead
                .and_then(|ahead| ahead.checked_sub(back))
                .unwrap_or(now)
        };
        status.source = Some(self.link.source.clone());
        status.loads = progress.loads;
        status.fresh_until = progress.fresh_until.map(on_wall);
        status.next_refresh = progress.next.map(on_wall);
        status.failing = progress.failing.map(|(since, reason)| LoadFailure {
            since: on_wall(since),
            reason,
        });
        if status.freshness == Freshness::Static {
            let is_fresh = progress.fresh_until.is_some_and(|until| present < until);
            status.freshness = if is_fresh {
                Freshness::Fresh
            } else {
                Freshness::Stale
            };
        }
        status
    }
}

impl Link {
    pub(crate) fn gate(&self) -> MutexGuard<'_, Budget> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn finish(&self, outcome: Outcome) {
        match outcome {
            Outcome::Changed(change) => self.gate().close_answered(&change.added, &change.removed),
            Outcome::Failed(not_before) => self.gate().close_failed(not_before),
            Outcome::Same => self.gate().close_answered(&[], &[]),
        }
        self.wake_all();
    }

    fn wake_all(&self) {
        self.finished
            .send_modify(|rounds| *rounds = rounds.wrapping_add(1));
    }

    /// The task is no more.
    fn end(&self, reason: &str) {
        {
            let now = Instant::now();
            let mut progress = self.progress();
            let since = progress.failing.as_ref().map_or(now, |(since, _)| *since);
            let reason = format!("{}: nothing loads the keys any more: {reason}", self.source);
            progress.failing = Some((since, reason));
            progress.next = None;
        }
        self.has_ended.store(true, Ordering::Release);
        self.gate().close_failed(None);
        self.wake_all();
    }

    fn tell_end(&self) {
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        let reason = self.progress().failing.clone();
        let reason = reason.map(|(_, reason)| reason).unwrap_or_default();
        telemetry::keys_abandoned(&self.source, &reason);
    }
}

/// Lives as long as the task, whatever ends it.
struct Alive(Arc<Link>);

impl Drop for Alive {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end("its task has ended with a panic");
            self.0.tell_end();
        } else {
            // At the end of a program nobody uses the keys any more, and there is nothing to tell.
            self.0.end("its tokio runtime has ended");
        }
    }
}

/// What a load has come to.
pub(crate) enum Outcome {
    /// Other keys.
    Changed(KeyChange),
    /// Nothing, and the other side may want to be left alone until then.
    Failed(Option<Instant>),
    Same,
}

/// Gives a store the keys of an earlier run, unless the first load was quicker.
#[cfg(feature = "remote")]
async fn begin_with(
    keeping: super::load::Keeping,
    store: Weak<Shared>,
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
) {
    let Some((set, rest)) = keeping.await else {
        return;
    };
    let Some(shared) = store.upgrade() else {
        return;
    };
    if KeyStore::from_shared(shared, clock).begin_with(&set, after(Instant::now(), rest)) {
        // Who waits for the first load may need no more than these.
        link.wake_all();
    }
}

pub(crate) fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause.min(FAR)).unwrap_or(now)
}

/// Beyond any time that matters.
pub(crate) const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// What is waited longer than the load itself may take.
const GRACE: Duration = Duration::from_millis(500);
/// What a request waits at most, however many loads it waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
