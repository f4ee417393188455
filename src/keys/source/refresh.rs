//! The side of the store of keys that are loaded repeatedly: when they age, when a token has an unknown
//! key, and after a failure.
//!
//! One task per store loads the keys. Requests never do. A request with a known key only reads the store.
//! A request with an unknown key may wait for a load, with a deadline. One load serves all requests that
//! wait, and continues if one of them is cancelled. The task ends when the last clone of the store is
//! dropped.
//!
//! The task also ends when its runtime ends. Then no keys are loaded any more, and no request waits. The
//! status and an event report this. The last keys stay in use as long as stale keys may be used, because
//! each read of the keys checks their age.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "remote")]
use std::sync::Weak;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::error::config::ConfigError;
use crate::keys::key_source::{Deadline, KeyLookUp, KeySource, LookUp};
use crate::keys::source::budget::Admission;
use crate::keys::source::link::Link;
use crate::keys::source::load::{Load, Schedule, Start, after};
use crate::keys::source::loading::Task;
use crate::keys::source::wait::Waits;
use crate::keys::status::{Freshness, KeyStatus, LoadFailure};
use crate::keys::store::KeyStore;
#[cfg(feature = "remote")]
use crate::keys::store::Shared;
use crate::telemetry;
use crate::unwind::has_timers;

/// The side of the store. It asks the task for loads, and waits for them.
pub(crate) struct Refresher {
    link: Arc<Link>,
    /// Asks for a load. The task ends when this is dropped.
    wanted: mpsc::Sender<()>,
    /// The timeout of a load plus a margin.
    longest_load: Duration,
    waits: Waits,
}

/// The current runtime, if it can run the task.
///
/// # Errors
///
/// [`ConfigError::KeySource`] outside a tokio runtime, or in a runtime without timers.
pub(crate) fn runtime_for(source: &impl Load) -> Result<Handle, ConfigError> {
    let unusable = |reason: &str| ConfigError::KeySource {
        input: source.to_string(),
        reason: reason.to_owned(),
    };
    let runtime = Handle::try_current()
        .map_err(|_| unusable("expected to be called inside of a tokio runtime"))?;
    if !has_timers() {
        return Err(unusable(
            "the tokio runtime has no timers: build it with `enable_time` or `enable_all`",
        ));
    }
    Ok(runtime)
}

impl Refresher {
    /// Creates a store, and starts its task.
    ///
    /// # Errors
    ///
    /// The same as [`runtime_for`].
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
            waits: Waits::new(runtime.clone()),
        };
        #[cfg(feature = "remote")]
        let mut snapshot = None;
        let (first, loaded) = match start {
            #[cfg(any(test, feature = "remote", feature = "watch"))]
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
        let end_of_task = EndOfTask(Arc::clone(&link));
        let mut task = Task::new(source, schedule, link, store.downgrade(), clock);
        let next = loaded.map(|(began, lifetime)| task.succeeded(began, lifetime));
        if next.is_none() {
            end_of_task.0.budget().load_started();
        }
        end_of_task.0.progress().next = next;
        #[cfg(feature = "remote")]
        if let Some(snapshot) = snapshot {
            let link = Arc::clone(&end_of_task.0);
            runtime.spawn(begin_with(
                snapshot,
                store.downgrade(),
                link,
                clock_of_snapshot,
            ));
        }
        runtime.spawn(async move {
            let _alive = end_of_task;
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
        LookUp::new(
            Box::pin(self.waits.end_by(finished, deadline)),
            admission == Admission::Join,
            deadline.into_std(),
        )
    }

    async fn end_of_load(&self, finished: watch::Receiver<u64>) {
        let deadline = after(Instant::now(), self.longest_load);
        self.waits.end_by(finished, deadline).await;
    }

    fn wake(&self) {
        // If the channel is full, the task already has a message.
        let _ = self.wanted.try_send(());
    }
}

impl KeySource for Refresher {
    fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> KeyLookUp {
        // Subscribe first, so that the end of the load is not missed.
        let finished = self.link.subscribe();
        if self.link.has_ended() {
            return KeyLookUp::Unknown;
        }
        let admission = self.link.budget().admit(id);
        match admission {
            Admission::Answered => KeyLookUp::NotFound,
            Admission::Begin | Admission::Join => {
                KeyLookUp::Loading(self.wait(admission, finished, deadline))
            }
            Admission::Spent => {
                telemetry::key_id_rejected();
                KeyLookUp::Unknown
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

    /// Does not use the budget. If a load is already running, another one follows, because the running
    /// one may be too early.
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

    #[cfg(feature = "issue")]
    fn load_soon(&self) {
        self.wake();
    }

    fn rest(&self, end: Option<std::time::Instant>) -> Option<Duration> {
        // Reports the end of the task, if it has ended.
        self.link.has_ended();
        let end = end?;
        Some(end.saturating_duration_since(Instant::now().into_std()))
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

/// Records the end of the task when it is dropped.
struct EndOfTask(Arc<Link>);

impl Drop for EndOfTask {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end("its task has ended with a panic");
            self.0.report_end();
        } else {
            // Not reported here, because this is normal at the end of a program. The next use of the
            // keys reports it.
            self.0.end("its tokio runtime has ended");
        }
    }
}

/// Passes the saved keys of an earlier run to a store, unless the first load was faster.
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
        // Requests that wait for the first load may need only these keys.
        link.wake_all();
    }
}

/// The additional time that a request waits after the timeout of a load.
const GRACE: Duration = Duration::from_millis(500);
/// The maximum time that a request waits for one load or several.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
