//! [`Follower`]: the task that keeps the copy current.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::revocation::shared::near::Near;
use crate::revocation::shared::order::Standing;
use crate::revocation::shared::status::RedisFailure;
use crate::revocation::shared::store::{
    Beat, Change, Connect, Head, Outcome, Store, StoreError, Wish,
};
use crate::telemetry;

/// Reads the changes, one connection after another.
pub(super) struct Follower<C> {
    connect: Arc<C>,
    near: Arc<Near>,
    times: Times,
    /// The attempts that failed in a row.
    failures: u32,
    last_snapshot: Option<Instant>,
    last_cleaning: Instant,
    /// The next part of the copy that is written back to a store that has lost marks.
    restored: usize,
    /// The number of the last change by which marks were written back.
    restored_to: u64,
    first: watch::Sender<First>,
}

/// The result of the first attempt.
#[derive(Clone)]
pub(super) enum First {
    Failed(String),
    Loaded,
    Running,
}

#[derive(Clone, Copy)]
pub(super) struct Times {
    /// The time between two questions whether the copy is current.
    pub(super) interval: Duration,
    /// The timeout of one command.
    pub(super) timeout: Duration,
}

impl Times {
    /// A lost connection must be noticed, and replaced, before the copy is too old.
    pub(super) fn for_lag(max_lag: Duration) -> Self {
        let part = |parts| max_lag.checked_div(parts).unwrap_or_default();
        Self {
            interval: part(5).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
            timeout: part(2).clamp(SHORTEST_TIMEOUT, LONGEST_TIMEOUT),
        }
    }
}

impl<C: Connect> Follower<C> {
    pub(super) fn new(connect: Arc<C>, near: Arc<Near>, first: watch::Sender<First>) -> Self {
        let times = Times::for_lag(near.max_lag);
        Self {
            connect,
            near,
            times,
            failures: 0,
            last_snapshot: None,
            last_cleaning: Instant::now(),
            restored: 0,
            restored_to: 0,
            first,
        }
    }

    pub(super) async fn run(mut self) {
        let end = EndOfTask(Arc::clone(&self.near));
        loop {
            let Err(error) = self.session().await;
            self.failed(&error);
            let doubled = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures));
            self.failures = self.failures.saturating_add(1);
            let pause = doubled.min(LONGEST_PAUSE).min(self.near.max_lag);
            sleep(pause.mul_f64(0.5 + 0.5 * random())).await;
            let _ = &end;
        }
    }

    /// Follows the changes through one connection until it fails.
    async fn session(&mut self) -> Result<Infallible, StoreError> {
        let mut store = within(self.times.timeout, self.connect.connect()).await?;
        loop {
            self.near.heed_clock();
            // No more than one snapshot in an interval, whatever the store answers.
            if let Some(last) = self.last_snapshot
                && self.near.position().is_none()
            {
                sleep_until(last + self.times.interval).await;
            }
            // The store has answered after this time, so the copy has all that was acknowledged before.
            let asked = Instant::now();
            let known = self.near.position();
            let beat = within(self.times.timeout, store.beat(known.as_ref())).await?;
            self.catch_up(&mut store, &beat).await?;
            let head = beat.head;
            self.near.proved(asked);
            self.succeeded();
            if self.last_cleaning.elapsed() > CLEANING {
                self.near.forget_ended();
                self.last_cleaning = Instant::now();
            }
            let due = asked + self.times.interval;
            if !self.near.is_home(&head.id) {
                self.restore(&mut store, &head, due).await?;
            }
            self.listen(&mut store, due).await?;
        }
    }

    /// Applies changes as they come, until the next question is due or a change is missing.
    async fn listen(&self, store: &mut C::Store, due: Instant) -> Result<(), StoreError> {
        while let Some(position) = self.near.position() {
            let rest = due.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            let limit = rest.saturating_add(self.times.timeout);
            let entries = within(limit, store.read(position.number, Some(rest))).await?;
            if !self.near.apply(entries)? {
                break;
            }
        }
        Ok(())
    }

    /// Brings the copy to the state of the store at this head, or a later one.
    async fn catch_up(&mut self, store: &mut C::Store, beat: &Beat) -> Result<(), StoreError> {
        let head = &beat.head;
        loop {
            let after = match self.near.standing(head) {
                Standing::Current => return Ok(()),
                Standing::Behind(after) => Some(after),
                Standing::Lost => None,
            };
            if let Some(after) = after {
                let entries = within(self.times.timeout, store.read(after, None)).await?;
                if !entries.is_empty() {
                    self.near.apply(entries)?;
                    // Changes that came after the head are no loss.
                    if self
                        .near
                        .position()
                        .is_some_and(|at| at.id == head.id && at.number >= head.number)
                    {
                        return Ok(());
                    }
                    continue;
                }
            }
            return self.snapshot(store, beat).await;
        }
    }

    /// Reads all rows. Changes during that are in the log after the head, which was asked for before.
    async fn snapshot(&mut self, store: &mut C::Store, beat: &Beat) -> Result<(), StoreError> {
        let head = &beat.head;
        self.last_snapshot = Some(Instant::now());
        (self.restored, self.restored_to) = (0, 0);
        let mut unconfirmed = self.near.begin(beat);
        let mut cursor = 0;
        loop {
            let page = within(self.times.timeout, store.page(cursor)).await?;
            self.near.apply_rows(page.1, head, &mut unconfirmed)?;
            cursor = page.0;
            if cursor == 0 {
                break;
            }
        }
        self.near.end(head, unconfirmed);
        telemetry::revocations_loaded(&self.near.progress().source, self.near.len());
        Ok(())
    }

    /// Writes the marks of this copy to a store that may have lost them.
    async fn restore(
        &mut self,
        store: &mut C::Store,
        head: &Head,
        due: Instant,
    ) -> Result<(), StoreError> {
        let now = self.near.clock.now();
        let parts = self.near.lists.parts();
        while self.restored < parts {
            if Instant::now() >= due {
                return Ok(());
            }
            let (mut changes, mut next) = (Vec::new(), self.restored);
            while changes.len() < BATCH && next < parts {
                let rows = self.near.lists.part(next).into_iter();
                let lives = rows.filter(|(_, marks)| marks.end().is_some_and(|end| now < end));
                changes.extend(lives.map(|(target, marks)| Change {
                    target,
                    wish: Wish::Restore(marks),
                }));
                next = next.saturating_add(1);
            }
            if !changes.is_empty() {
                let written = within(self.times.timeout, store.write(&changes)).await?;
                if written.head.id != head.id {
                    return Ok(());
                }
                self.near.restored(&changes, &written);
                self.restored_to = self.restored_to.max(written.head.number);
                let outcomes = written.outcomes.iter();
                let is_full = |outcome: &&Outcome| matches!(outcome, Outcome::Full);
                let lost = outcomes.filter(is_full).count();
                if lost > 0 {
                    return Err(StoreError(format!(
                        "the store is full, and {lost} marks cannot be written back to it"
                    )));
                }
            }
            self.restored = next;
        }
        // With the marks that were written back, so that another loss of them is noticed.
        self.near.set_home(&Head {
            id: head.id.clone(),
            number: head.number.max(self.restored_to),
        });
        telemetry::revocations_restored(&self.near.progress().source, self.near.len());
        Ok(())
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        let mut progress = self.near.progress();
        let had_failed = progress.failing.take().is_some();
        if progress.connected_since.is_none() {
            progress.connected_since = Some(self.near.clock.now());
        }
        if had_failed {
            telemetry::revocations_recovered(&progress.source);
        }
        drop(progress);
        self.first.send_if_modified(|first| {
            let is_new = !matches!(first, First::Loaded);
            *first = First::Loaded;
            is_new
        });
    }

    fn failed(&self, error: &StoreError) {
        let now = self.near.clock.now();
        let mut progress = self.near.progress();
        progress.connected_since = None;
        let since = progress.failing.as_ref().map(|failing| failing.since);
        telemetry::revocations_failed(&progress.source, &error.0, since.is_none());
        progress.failing = Some(RedisFailure {
            since: since.unwrap_or(now),
            reason: error.0.clone(),
        });
        drop(progress);
        self.first.send_if_modified(|first| {
            let is_first = matches!(first, First::Running);
            if is_first {
                *first = First::Failed(error.0.clone());
            }
            is_first
        });
    }
}

/// Notes the end of the task when it is dropped: its runtime has ended, or it has panicked.
struct EndOfTask(Arc<Near>);

impl Drop for EndOfTask {
    fn drop(&mut self) {
        let now = self.0.clock.now();
        let mut progress = self.0.progress();
        progress.has_ended = true;
        progress.connected_since = None;
        let since = progress
            .failing
            .as_ref()
            .map_or(now, |failing| failing.since);
        progress.failing = Some(RedisFailure {
            since,
            reason: "changes are no longer read, because the tokio runtime has ended".to_owned(),
        });
    }
}

/// Runs a command with a timeout.
pub(super) async fn within<T>(
    limit: Duration,
    command: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(limit, command).await {
        Ok(result) => result,
        Err(_) => Err(StoreError(format!(
            "no answer within {:.1} s",
            limit.as_secs_f64()
        ))),
    }
}

/// A random number from 0 to 1, so that the instances of a service do not connect at the same time.
fn random() -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    f64::from(random) / f64::from(u32::MAX)
}

const SHORTEST_INTERVAL: Duration = Duration::from_millis(20);
const LONGEST_INTERVAL: Duration = Duration::from_secs(1);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(500);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How often ended marks are forgotten.
const CLEANING: Duration = Duration::from_secs(30);
/// The number of marks that are written back in one step.
const BATCH: usize = 100;
