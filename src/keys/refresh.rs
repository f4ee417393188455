//! Keys that come from elsewhere and are loaded again: when they age, when a request shows an
//! unknown key id, and after a failure.
//!
//! One task for each store does all loading. Requests never load: a request whose key is at hand
//! sees only the store, and one with an unknown key id may wait, for a bounded time, for a load
//! that serves all who wait. A request that goes away takes nothing with it. The task ends when
//! the last clone of its store is dropped.

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::set::KeySet;
use super::status::{Failing, Freshness, KeyStatus};
use super::store::{KeyStore, LookUp, Shared};
use crate::telemetry;

/// Where keys come from.
pub(super) trait Load: Send + 'static {
    /// Loads the keys once. Not bounded in time by itself.
    fn load(&mut self) -> impl Future<Output = Result<Loaded, LoadError>> + Send;
}

/// What a successful load gives.
pub(super) struct Loaded {
    /// `None` if the keys are the same as before.
    pub(super) set: Option<KeySet>,
    /// How long they are fresh.
    pub(super) lifetime: Duration,
}

/// Why a load failed.
#[derive(Clone, Debug)]
pub(super) struct LoadError {
    pub(super) reason: String,
    /// When the other side wants to be asked again.
    pub(super) retry_after: Option<Duration>,
}

impl LoadError {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
        }
    }
}

/// When to load, and for how long to live with what is there.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// The longest time that one load may take.
    pub(super) timeout: Duration,
    /// The share of the lifetime after which keys are loaded again.
    pub(super) refresh_at: f64,
    /// The pause after the first failure, and the longest one.
    pub(super) backoff: (Duration, Duration),
    /// How long the last good keys are kept beyond their lifetime.
    pub(super) keep_stale: Duration,
    /// The time in which unknown key ids may cause one load, once the burst is used up.
    pub(super) cooldown: Duration,
}

/// The store's end of the task.
pub(crate) struct Refresher {
    link: Arc<Link>,
    /// Its drop ends the task.
    wanted: mpsc::Sender<()>,
    longest_wait: Duration,
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

/// Who may cause a load by an unknown key id.
struct Gate {
    /// A load runs, or is about to.
    is_pending: bool,
    /// Loads that unknown ids may still cause at once.
    burst: u32,
    refilled: Instant,
    cooldown: Duration,
    /// Ids that were looked up in vain since the last refill.
    missed: HashSet<u64>,
    hasher: RandomState,
}

impl Gate {
    fn new(cooldown: Duration) -> Self {
        Self {
            is_pending: false,
            burst: BURST,
            refilled: Instant::now(),
            cooldown,
            missed: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Whether a load for this id is under way or may begin; says which.
    fn admit(&mut self, id: &str) -> Admission {
        if self.is_pending {
            return Admission::Join;
        }
        let now = Instant::now();
        if now.saturating_duration_since(self.refilled) >= self.cooldown {
            self.refilled = now;
            self.burst = self.burst.saturating_add(1).min(BURST);
            self.missed.clear();
        }
        let id = self.hasher.hash_one(id);
        if self.burst == 0 || self.missed.len() >= MISSED_MAX || !self.missed.insert(id) {
            return Admission::Refused;
        }
        self.burst = self.burst.saturating_sub(1);
        self.is_pending = true;
        Admission::Begin
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admission {
    Begin,
    Join,
    Refused,
}

impl Refresher {
    /// Starts the task for a store. `first` is what a load has given already, if there was one.
    pub(super) fn start<L: Load>(
        source: L,
        schedule: Schedule,
        first: Option<Duration>,
        store: impl FnOnce(Self) -> KeyStore,
        runtime: &tokio::runtime::Handle,
    ) -> KeyStore {
        let (wanted, receiver) = mpsc::channel(1);
        let link = Arc::new(Link {
            gate: Mutex::new(Gate::new(schedule.cooldown)),
            finished: watch::Sender::new(0),
            progress: Mutex::default(),
        });
        let longest_wait = schedule.timeout.saturating_add(GRACE);
        let store = store(Self {
            link: Arc::clone(&link),
            wanted,
            longest_wait,
        });
        let mut task = Task {
            source,
            schedule,
            link,
            store: store.downgrade(),
            failures: 0,
        };
        // The lifetime of what is there begins now, whenever the task does.
        let next = first.map(|lifetime| task.succeeded(lifetime));
        task.link.gate().is_pending = next.is_none();
        task.link.progress().next = next;
        runtime.spawn(task.run(receiver, next));
        store
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

    /// Asks for a load as soon as possible, whatever the allowance says, and waits for its end.
    pub(super) fn reload(&self) -> impl Future<Output = ()> + Send + use<> {
        let end = self.next_end();
        self.wake();
        end
    }

    /// The end of the next load, or of the patience for it.
    fn next_end(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut finished = self.link.finished.subscribe();
        let longest_wait = self.longest_wait;
        async move {
            // Either way what there is to know is in the store now.
            let _ = timeout(longest_wait, finished.changed()).await;
        }
    }

    fn wake(&self) {
        // A full channel means that the task has been told already.
        let _ = self.wanted.try_send(());
    }

    /// Whether the keys have outlived their lifetime, because loading them again fails.
    pub(crate) fn is_stale(&self) -> bool {
        let progress = self.link.progress();
        progress
            .fresh_until
            .is_none_or(|until| until <= Instant::now())
    }

    /// A status with what is known of the loads; `now` is the present on the wall clock.
    pub(super) fn describe(&self, mut status: KeyStatus, now: SystemTime) -> KeyStatus {
        let progress = self.link.progress().clone();
        let present = Instant::now();
        let on_wall = |at: Instant| {
            let ahead = now.checked_add(at.saturating_duration_since(present));
            let back = present.saturating_duration_since(at);
            ahead
                .and_then(|ahead| ahead.checked_sub(back))
                .unwrap_or(now)
        };
        status.loads = progress.loads;
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

    fn finish(&self, is_productive: bool) {
        let mut gate = self.gate();
        gate.is_pending = false;
        if is_productive {
            // A real rotation costs honest users nothing.
            gate.burst = gate.burst.saturating_add(1).min(BURST);
            gate.missed.clear();
        }
        drop(gate);
        self.finished
            .send_modify(|rounds| *rounds = rounds.wrapping_add(1));
    }
}

struct Task<L> {
    source: L,
    schedule: Schedule,
    link: Arc<Link>,
    store: Weak<Shared>,
    failures: u32,
}

impl<L: Load> Task<L> {
    async fn run(mut self, mut wanted: mpsc::Receiver<()>, first: Option<Instant>) {
        if let Some(first) = first
            && pause(&mut wanted, first).await.is_break()
        {
            return;
        }
        loop {
            self.link.gate().is_pending = true;
            let limit = self.schedule.timeout;
            let load = timeout(limit, self.source.load());
            let Some(outcome) = unless_closed(load, &mut wanted).await else {
                return;
            };
            let outcome = outcome
                .unwrap_or_else(|_| Err(LoadError::new(format!("no answer within {limit:?}"))));
            let Some(store) = self.store.upgrade().map(KeyStore::from_shared) else {
                return;
            };
            let mut is_productive = false;
            let next = match outcome {
                Ok(loaded) => {
                    if let Some(set) = loaded.set.filter(|set| !store.has_same_keys(set)) {
                        store.refreshed(set);
                        is_productive = true;
                    }
                    telemetry::keys_loaded();
                    self.succeeded(loaded.lifetime)
                }
                Err(error) => self.failed(&store, error),
            };
            drop(store);
            self.link.progress().next = Some(next);
            self.link.finish(is_productive);
            if pause(&mut wanted, next).await.is_break() {
                return;
            }
        }
    }

    /// Gives the time of the next load.
    fn succeeded(&mut self, lifetime: Duration) -> Instant {
        self.failures = 0;
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

    fn failed(&mut self, store: &KeyStore, error: LoadError) -> Instant {
        telemetry::keys_failed(&error.reason);
        let now = Instant::now();
        let (shortest, longest) = self.schedule.backoff;
        let doubled = shortest
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(longest);
        self.failures = self.failures.saturating_add(1);
        let wanted = error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let mut next = after(now, doubled.mul_f64(1.0 + jitter(JITTER * 2.0)).max(wanted));
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

/// Waits until it is time or somebody asks; breaks off when the store is gone.
async fn pause(wanted: &mut mpsc::Receiver<()>, until: Instant) -> ControlFlow<()> {
    match timeout_at(until, wanted.recv()).await {
        Ok(None) => ControlFlow::Break(()),
        Ok(Some(())) | Err(_) => ControlFlow::Continue(()),
    }
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

/// Loads that unknown key ids may cause in a row before the cooldown bounds them.
const BURST: u32 = 4;
/// Key ids remembered as looked up in vain.
const MISSED_MAX: usize = 4_096;
const JITTER: f64 = 0.05;
/// Beyond any time that matters.
const FAR: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// What a request waits longer than the load itself may take.
const GRACE: Duration = Duration::from_millis(500);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
