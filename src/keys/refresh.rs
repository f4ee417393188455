//! Keys that come from elsewhere and are loaded again: when they age, when a request shows an
//! unknown key id, and after a failure.
//!
//! One task for each store does all loading. Requests never load: a request whose key is at hand
//! sees only the store, and one with an unknown key id may wait, for a bounded time, for a load
//! that serves all who wait. A request that goes away takes nothing with it. The task ends when
//! the last clone of its store is dropped.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::gate::{Admission, Gate};
use super::load::{Load, LoadError, Schedule, Start};
use super::status::{Failing, Freshness, KeyChange, KeyStatus};
use super::store::{KeyStore, LookUp, Shared};
use crate::clock::Clock;
use crate::config_error::ConfigError;
use crate::telemetry;

/// The store's end of the task.
pub(crate) struct Refresher {
    link: Arc<Link>,
    /// Its drop ends the task.
    wanted: mpsc::Sender<()>,
    longest_wait: Duration,
    source: String,
}

/// What store and task share.
struct Link {
    gate: Mutex<Gate>,
    finished: watch::Sender<u64>,
    progress: Mutex<Progress>,
}

/// How the loads have gone.
#[derive(Clone, Default)]
struct Progress {
    fresh_until: Option<Instant>,
    /// When the keys are given up, unless a load succeeds before.
    dead_at: Option<Instant>,
    failing: Option<(Instant, String)>,
    next: Option<Instant>,
    loads: u64,
}

impl Refresher {
    /// Gives a store, and starts the task for it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeySource`] outside of a tokio runtime.
    pub(super) fn start<L: Load>(
        source: L,
        schedule: Schedule,
        start: Start,
        clock: Arc<dyn Clock>,
    ) -> Result<KeyStore, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| {
            ConfigError::KeySource(format!(
                "{source}: expected to be called inside of a tokio runtime"
            ))
        })?;
        let (wanted, receiver) = mpsc::channel(1);
        let link = Arc::new(Link {
            gate: Mutex::new(Gate::new(schedule.cooldown)),
            finished: watch::Sender::new(0),
            progress: Mutex::default(),
        });
        let refresher = Self {
            link: Arc::clone(&link),
            wanted,
            longest_wait: schedule.timeout.min(LONGEST_WAIT).saturating_add(GRACE),
            source: source.to_string(),
        };
        #[cfg(feature = "remote")]
        let mut keeping = None;
        let (set, kept, lifetime) = match start {
            Start::Empty => (None, None, None),
            #[cfg(feature = "remote")]
            Start::Keeping(kept) => {
                keeping = Some(kept);
                (None, None, None)
            }
            #[cfg(feature = "remote")]
            Start::Kept(set, rest) => (Some(set), Some(rest), None),
            Start::Loaded(loaded) => (loaded.set, None, Some(loaded.lifetime)),
        };
        let store = KeyStore::refreshing(set, refresher, Arc::clone(&clock));
        let mut task = Task {
            source,
            schedule,
            link,
            store: store.downgrade(),
            clock,
            failures: 0,
            retry: None,
        };
        // The lifetime of what is there begins now, whenever the task does.
        let next = lifetime.map(|lifetime| task.succeeded(lifetime));
        if next.is_none() {
            task.link.gate().open();
        }
        {
            let mut progress = task.link.progress();
            progress.next = next;
            if let Some(rest) = kept {
                progress.dead_at = Some(after(Instant::now(), rest));
            }
        }
        #[cfg(feature = "remote")]
        if let Some(keeping) = keeping {
            let (link, clock) = (Arc::clone(&task.link), Arc::clone(&task.clock));
            runtime.spawn(begin_with(keeping, task.store.clone(), link, clock));
        }
        runtime.spawn(task.run(receiver, next));
        Ok(store)
    }

    /// Waits until a load has come to an end that may know the key id, if one is under way or may
    /// begin for it; `None` if the answer is already as good as it gets.
    pub(crate) fn look_up(&self, id: &str) -> Option<LookUp> {
        // Listens before it asks, so that no end is missed.
        let end = self.next_end();
        let admission = self.link.gate().admit(id);
        match admission {
            Admission::Begin => self.wake(),
            Admission::Join => {}
            Admission::Refused => {
                telemetry::key_id_refused();
                return None;
            }
        }
        Some(LookUp {
            end: Box::pin(end),
            is_joined: admission == Admission::Join,
        })
    }

    /// Loads as soon as possible, whatever the allowance says, and waits for the end. A load that
    /// runs already may have asked too early, so it is followed by another one.
    pub(super) async fn reload(&self) {
        let end = self.next_end();
        if self.link.gate().is_pending() {
            end.await;
        }
        let end = self.next_end();
        self.wake();
        end.await;
    }

    /// The end of the next load, or of the patience for it; says whether it was the former.
    fn next_end(&self) -> impl Future<Output = bool> + Send + use<> {
        let mut finished = self.link.finished.subscribe();
        let longest_wait = self.longest_wait;
        async move { timeout(longest_wait, finished.changed()).await.is_ok() }
    }

    fn wake(&self) {
        // A full channel means that the task has been told already.
        let _ = self.wanted.try_send(());
    }

    /// Whether there may be newer keys, which cannot be had.
    pub(crate) fn is_behind(&self) -> bool {
        let progress = self.link.progress();
        progress.failing.is_some()
            || progress
                .fresh_until
                .is_none_or(|until| until <= Instant::now())
    }

    /// A status with what is known of the loads.
    pub(super) fn describe(&self, mut status: KeyStatus) -> KeyStatus {
        let progress = self.link.progress().clone();
        let (now, present) = (status.at, Instant::now());
        let on_wall = |at: Instant| {
            let ahead = now.checked_add(at.saturating_duration_since(present));
            let back = present.saturating_duration_since(at);
            ahead
                .and_then(|ahead| ahead.checked_sub(back))
                .unwrap_or(now)
        };
        status.source = Some(self.source.clone());
        status.loads = progress.loads;
        status.fresh_until = progress.fresh_until.map(on_wall);
        status.next_refresh = progress.next.map(on_wall);
        status.failing = progress.failing.map(|(since, reason)| Failing {
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
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, outcome: Outcome) {
        match outcome {
            Outcome::Changed(change) => self.gate().close_with(&change.added, &change.removed),
            Outcome::Failed(not_before) => self.gate().close(not_before),
            Outcome::Same => self.gate().close(None),
        }
        self.finished
            .send_modify(|rounds| *rounds = rounds.wrapping_add(1));
    }
}

/// What a load has come to.
enum Outcome {
    /// Other keys.
    Changed(KeyChange),
    /// Nothing, and the other side may want to be left alone until then.
    Failed(Option<Instant>),
    Same,
}

struct Task<L> {
    source: L,
    schedule: Schedule,
    link: Arc<Link>,
    store: Weak<Shared>,
    clock: Arc<dyn Clock>,
    failures: u32,
    /// When to try again after failures, whatever is asked for meanwhile.
    retry: Option<Instant>,
}

impl<L: Load> Task<L> {
    async fn run(mut self, mut wanted: mpsc::Receiver<()>, first: Option<Instant>) {
        let mut is_asked = match first {
            Some(first) => match pause(&mut wanted, first).await {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(is_asked) => is_asked,
            },
            None => false,
        };
        loop {
            self.link.gate().open();
            let limit = self.schedule.timeout;
            let name = self.source.to_string();
            let load = timeout(limit, unless_panicked(self.source.load()));
            let Some(outcome) = unless_closed(load, &mut wanted).await else {
                return;
            };
            let outcome = match outcome {
                Ok(Some(outcome)) => outcome,
                Ok(None) => Err(LoadError::new(format!(
                    "{name}: the code that loads has panicked"
                ))),
                Err(_) => Err(LoadError::new(format!(
                    "{name}: no answer within {limit:?}"
                ))),
            };
            let Some(shared) = self.store.upgrade() else {
                return;
            };
            let store = KeyStore::from_shared(shared, Arc::clone(&self.clock));
            let is_good = outcome.is_ok();
            let (next, outcome) = match outcome {
                Ok(loaded) => {
                    telemetry::keys_loaded(&self.source);
                    let set = loaded.set.filter(|set| !store.has_same_keys(set));
                    let outcome = set.map_or(Outcome::Same, |set| {
                        Outcome::Changed(store.refreshed(&set, self.schedule.overlap))
                    });
                    (self.succeeded(loaded.lifetime), outcome)
                }
                Err(error) => {
                    let pause = error.retry_after.map(|pause| pause.min(RETRY_AFTER_MAX));
                    let not_before = pause.map(|pause| after(Instant::now(), pause));
                    let next = self.failed(&store, error, is_asked);
                    (next, Outcome::Failed(not_before))
                }
            };
            drop(store);
            self.link.progress().next = Some(next);
            self.link.finish(outcome);
            if is_good {
                // Nobody waits for this, so it may take its time, but not for ever.
                let _ = timeout(limit, self.source.keep()).await;
            }
            match pause(&mut wanted, next).await {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(asked) => is_asked = asked,
            }
        }
    }

    /// Gives the time of the next load.
    fn succeeded(&mut self, lifetime: Duration) -> Instant {
        self.failures = 0;
        self.retry = None;
        let now = Instant::now();
        let mut progress = self.link.progress();
        progress.loads = progress.loads.saturating_add(1);
        progress.failing = None;
        progress.fresh_until = Some(after(now, lifetime));
        progress.dead_at = Some(after(
            now,
            lifetime.saturating_add(self.schedule.keep_stale),
        ));
        after(
            now,
            lifetime.mul_f64(self.schedule.refresh_at + jitter(JITTER)),
        )
    }

    /// Gives the time of the next load. Failures that requests have asked for do not make the
    /// pause between the others longer.
    fn failed(&mut self, store: &KeyStore, error: LoadError, is_asked: bool) -> Instant {
        telemetry::keys_failed(&self.source, &error.reason);
        let now = Instant::now();
        let (shortest, longest) = self.schedule.backoff;
        let doubled = shortest
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(longest);
        let wanted = error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let pause = doubled.mul_f64(1.0 + jitter(JITTER * 2.0));
        let mut next = match self.retry.filter(|retry| is_asked && now < *retry) {
            Some(retry) => retry.max(after(now, wanted)),
            None => {
                self.failures = self.failures.saturating_add(1);
                after(now, pause.max(wanted))
            }
        };
        self.retry = Some(next);
        let mut progress = self.link.progress();
        let since = progress.failing.as_ref().map_or(now, |(since, _)| *since);
        progress.failing = Some((since, error.reason));
        if let Some(dead_at) = progress.dead_at {
            if dead_at <= now {
                progress.dead_at = None;
                store.expired();
            } else {
                next = next.min(dead_at);
            }
        }
        next
    }
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
    if KeyStore::from_shared(shared, clock).begin_with(&set) {
        let dead_at = after(Instant::now(), rest);
        link.progress().dead_at.get_or_insert(dead_at);
    }
}

/// Waits until it is time or somebody asks, and says which; breaks off when the store is gone.
async fn pause(wanted: &mut mpsc::Receiver<()>, until: Instant) -> ControlFlow<(), bool> {
    match timeout_at(until, wanted.recv()).await {
        Ok(None) => ControlFlow::Break(()),
        Ok(Some(())) => ControlFlow::Continue(true),
        Err(_) => ControlFlow::Continue(false),
    }
}

/// A load through code of the user, whose panic must not end the refreshing; `None` if it has.
async fn unless_panicked<T>(load: impl Future<Output = T>) -> Option<T> {
    let mut load = pin!(load);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| load.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// Runs a load to its end; `None` when the store is gone. Takes what is asked meanwhile, which the
/// running load answers.
async fn unless_closed<T>(
    load: impl Future<Output = T>,
    wanted: &mut mpsc::Receiver<()>,
) -> Option<T> {
    let mut load = pin!(load);
    poll_fn(|cx| {
        while let Poll::Ready(asked) = wanted.poll_recv(cx) {
            if asked.is_none() {
                return Poll::Ready(None);
            }
        }
        load.as_mut().poll(cx).map(Some)
    })
    .await
}

fn after(now: Instant, pause: Duration) -> Instant {
    now.checked_add(pause.min(FAR)).unwrap_or(now)
}

/// A share between `-amount` and `amount`: so that the instances of a service do not load at once.
fn jitter(amount: f64) -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    (f64::from(random) / f64::from(u32::MAX)).mul_add(2.0 * amount, -amount)
}

const JITTER: f64 = 0.05;
/// Beyond any time that matters.
pub(super) const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// What a request waits at most, however long the load itself may take.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// What a request waits longer than the load itself may take.
const GRACE: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
