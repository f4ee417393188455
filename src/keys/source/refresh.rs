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

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::error::config::ConfigError;
use crate::keys::key_source::{Deadline, KeySource, LookUp, Prospect};
use crate::keys::source::budget::Admission;
use crate::keys::source::link::Link;
use crate::keys::source::load::{Load, Schedule, Start, after};
use crate::keys::source::loading::Task;
use crate::keys::source::patience::Patience;
use crate::keys::status::{Freshness, KeyStatus, LoadFailure};
use crate::keys::store::KeyStore;
#[cfg(feature = "remote")]
use crate::keys::store::Shared;
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

/// The runtime that this is called in, if it can run the task.
///
/// # Errors
///
/// [`ConfigError::KeySource`] outside of a tokio runtime, and in one without timers.
pub(crate) fn runtime_for(source: &impl Load) -> Result<Handle, ConfigError> {
    let unusable = |reason: &str| ConfigError::KeySource {
        input: source.to_string(),
        reason: reason.to_owned(),
    };
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
        let link = Arc::new(Link::new(source.to_string(), schedule.cooldown));
        let refresher = Self {
            link: Arc::clone(&link),
            wanted,
            longest_load: schedule.timeout.saturating_add(GRACE),
            patience: Patience::new(runtime.clone()),
        };
        #[cfg(feature = "remote")]
        let mut snapshot = None;
        let (first, loaded) = match start {
            Start::Empty => (None, None),
            #[cfg(feature = "remote")]
            Start::ReadingSnapshot(read) => {
                snapshot = Some(read);
                (None, None)
            }
            #[cfg(feature = "remote")]
            Start::Snapshot(set, rest) => (Some((set, after(Instant::now(), rest))), None),
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
        let clock_of_snapshot = Arc::clone(&clock);
        let alive = Alive(Arc::clone(&link));
        let mut task = Task::new(source, schedule, link, store.downgrade(), clock);
        let next = loaded.map(|(began, lifetime)| task.succeeded(began, lifetime));
        if next.is_none() {
            alive.0.budget().open();
        }
        alive.0.progress().next = next;
        #[cfg(feature = "remote")]
        if let Some(snapshot) = snapshot {
            let link = Arc::clone(&alive.0);
            runtime.spawn(begin_with(
                snapshot,
                store.downgrade(),
                link,
                clock_of_snapshot,
            ));
        }
        runtime.spawn(async move {
            let _alive = alive;
            task.run(receiver, next).await;
        });
        Ok(store)
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

    async fn end_of_load(&self, finished: watch::Receiver<u64>) {
        let deadline = after(Instant::now(), self.longest_load);
        self.patience.end_by(finished, deadline).await;
    }

    fn wake(&self) {
        // A full channel means that the task has been told already.
        let _ = self.wanted.try_send(());
    }
}

impl KeySource for Refresher {
    fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> Prospect {
        // Listens before it asks, so that no end is missed.
        let finished = self.link.subscribe();
        if self.link.has_ended() {
            return Prospect::Unasked;
        }
        let admission = self.link.budget().admit(id);
        match admission {
            Admission::Answered => Prospect::Answered,
            Admission::Begin | Admission::Join => {
                Prospect::Load(self.wait(admission, finished, deadline))
            }
            Admission::Spent => {
                telemetry::key_id_rejected();
                Prospect::Unasked
            }
        }
    }

    fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp> {
        let finished = self.link.subscribe();
        if self.link.has_ended() || self.link.progress().failing.is_some() {
            return None;
        }
        let admission = self.link.budget().admit_first();
        Some(self.wait(admission, finished, deadline))
    }

    /// Whatever the allowance says. A load that runs already may have asked too early, so it is
    /// followed by another one.
    fn reload(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let finished = self.link.subscribe();
            if self.link.has_ended() {
                return;
            }
            if self.link.budget().is_pending() {
                self.end_of_load(finished).await;
            }
            let finished = self.link.subscribe();
            if self.link.has_ended() {
                return;
            }
            self.wake();
            self.end_of_load(finished).await;
        })
    }

    fn rest(&self, end: Option<std::time::Instant>) -> Option<Duration> {
        // Whoever reads the keys hears here that nothing loads them any more.
        self.link.has_ended();
        let now = Instant::now().into_std();
        Some(end?.saturating_duration_since(now))
    }

    fn is_behind(&self) -> bool {
        if self.link.has_ended() {
            return true;
        }
        let progress = self.link.progress();
        progress.failing.is_some()
            || progress
                .fresh_until
                .is_none_or(|until| until <= Instant::now())
    }

    fn describe(&self, mut status: KeyStatus) -> KeyStatus {
        self.link.has_ended();
        let progress = self.link.progress().clone();
        let (now, present) = (status.at, Instant::now());
        let on_wall = |at: Instant| {
            let ahead = now.checked_add(at.saturating_duration_since(present));
            let back = present.saturating_duration_since(at);
            ahead
                .and_then(|ahead| ahead.checked_sub(back))
                .unwrap_or(now)
        };
        status.source = Some(self.link.source().to_owned());
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

/// Gives a store the keys of an earlier run, unless the first load was quicker.
#[cfg(feature = "remote")]
async fn begin_with(
    snapshot: super::load::SnapshotRead,
    store: Weak<Shared>,
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
) {
    let Some((set, rest)) = snapshot.await else {
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

/// What is waited longer than the load itself may take.
const GRACE: Duration = Duration::from_millis(500);
/// What a request waits at most, however many loads it waits for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
