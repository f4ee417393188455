//! The task that loads the keys of one store repeatedly.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::clock::Clock;
use crate::keys::set::KeySet;
use crate::keys::source::link::{Link, Outcome};
use crate::keys::source::load::{Load, LoadError, Loaded, Schedule, after};
use crate::keys::store::{KeyStore, Shared};
use crate::telemetry;
use crate::unwind::unless_panicked;

pub(crate) struct Task<L> {
    source: L,
    schedule: Schedule,
    link: Arc<Link>,
    store: Weak<Shared>,
    clock: Arc<dyn Clock>,
    failures: u32,
    /// The time of the next scheduled load after a failure. Loads that requests cause do not delay it.
    retry: Option<Instant>,
}

impl<L: Load> Task<L> {
    pub(crate) fn new(
        source: L,
        schedule: Schedule,
        link: Arc<Link>,
        store: Weak<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            source,
            schedule,
            link,
            store,
            clock,
            failures: 0,
            retry: None,
        }
    }

    pub(crate) async fn run(mut self, mut wanted: mpsc::Receiver<()>, first: Option<Instant>) {
        let mut is_asked = match first {
            Some(first) => match pause(&mut wanted, first).await {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(is_asked) => is_asked,
            },
            None => false,
        };
        loop {
            self.link.budget().load_started();
            let began = Instant::now();
            let Some(outcome) = unless_closed(self.load(), &mut wanted).await else {
                return;
            };
            let Some(store) = upgrade(&self.store, &self.clock) else {
                return;
            };
            let taken = outcome.and_then(|loaded| self.take(loaded, began, &store));
            let is_good = taken.is_ok();
            let (next, outcome) = taken.unwrap_or_else(|error| {
                let pause = error.retry_after.map(|pause| pause.min(RETRY_AFTER_MAX));
                let not_before = pause.map(|pause| after(Instant::now(), pause));
                let next = self.failed(error, is_asked, store.rest());
                (next, Outcome::Failed(not_before))
            });
            drop(store);
            self.link.progress().next = Some(next);
            self.link.finish(outcome);
            if is_good {
                self.source.save();
            }
            match pause(&mut wanted, next).await {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(asked) => is_asked = asked,
            }
        }
    }

    /// Loads the keys, with a timeout.
    async fn load(&mut self) -> Result<Loaded, LoadError> {
        let limit = self.schedule.timeout;
        let name = self.source.to_string();
        let load = load_something(&mut self.source, &self.store, &self.clock);
        match timeout(limit, unless_panicked(load)).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(LoadError::new(format!(
                "{name}: the code that loads has panicked"
            ))),
            Err(_) => Err(LoadError::new(format!(
                "{name}: no answer within {limit:?}"
            ))),
        }
    }

    /// Passes the loaded keys to the store, together with their end.
    fn take(
        &mut self,
        loaded: Loaded,
        began: Instant,
        store: &KeyStore,
    ) -> Result<(Instant, Outcome), LoadError> {
        let end = self.schedule.end_of_new(&self.source, began, &loaded);
        let end = end.inspect_err(|_| {
            // The store does not get these keys, so the next load must return them again.
            self.source.forget();
        })?;
        let lifetime = loaded.lifetime;
        let is_same = |set: &KeySet| store.has_same_keys(set) && store.extend(end);
        let changed = match loaded.set {
            Some(set) => (!is_same(&set)).then_some(set),
            None if store.extend(end) => None,
            None => {
                let reason = format!("{}: the keys became too old during the load", self.source);
                return Err(LoadError::new(reason));
            }
        };
        telemetry::keys_loaded(&self.source);
        let next = self.succeeded(began, lifetime);
        let outcome = match changed {
            Some(set) => Outcome::Changed(store.refreshed(&set, end, self.schedule.overlap)),
            None => Outcome::Same(store.ids()),
        };
        Ok((next, outcome))
    }

    /// Records a success, and returns the time of the next load.
    ///
    /// The lifetime counts from the start of the load (RFC 9111, section 4.2.3), because the process may
    /// have been suspended since then.
    pub(crate) fn succeeded(&mut self, began: Instant, lifetime: Duration) -> Instant {
        self.failures = 0;
        self.retry = None;
        let mut progress = self.link.progress();
        progress.loads = progress.loads.saturating_add(1);
        let was_failing = progress.failing.take().is_some();
        progress.fresh_until = Some(after(began, lifetime));
        drop(progress);
        if was_failing {
            telemetry::keys_recovered(&self.source);
        }
        after(
            began,
            lifetime.mul_f64(self.schedule.refresh_at + jitter(JITTER)),
        )
    }

    /// Records a failure, and returns the time of the next load. `rest` is the time for which the keys
    /// may still be used. A failed load that a request caused does not lengthen the pause.
    fn failed(&mut self, error: LoadError, is_asked: bool, rest: Option<Duration>) -> Instant {
        let is_first = self.link.progress().failing.is_none();
        telemetry::keys_failed(&self.source, &error.reason, is_first);
        let now = Instant::now();
        let (shortest, longest) = self.schedule.backoff;
        let doubled = shortest
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(longest);
        let wanted = error.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        let pause = doubled.mul_f64(1.0 + jitter(JITTER * 2.0));
        let next = match self.retry.filter(|retry| is_asked && now < *retry) {
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
        // Not later than the end of the keys. This load reads the store, which gives the keys up. Requests
        // with cached tokens do not read it.
        let rest = rest.filter(|rest| !rest.is_zero());
        rest.map_or(next, |rest| next.min(after(now, rest)))
    }
}

/// Loads the keys. If the store has no keys, the source must return all keys even if they have not
/// changed.
async fn load_something(
    source: &mut impl Load,
    store: &Weak<Shared>,
    clock: &Arc<dyn Clock>,
) -> Result<Loaded, LoadError> {
    let is_empty = || upgrade(store, clock).is_some_and(|store| !store.has_loaded_keys());
    if is_empty() {
        source.forget();
    }
    let loaded = source.load().await?;
    if loaded.set.is_some() || !is_empty() {
        return Ok(loaded);
    }
    source.forget();
    source.load().await
}

fn upgrade(store: &Weak<Shared>, clock: &Arc<dyn Clock>) -> Option<KeyStore> {
    let shared = store.upgrade()?;
    Some(KeyStore::from_shared(shared, Arc::clone(clock)))
}

/// Waits until a time, or until a request asks for a load. Returns `Continue` with whether a request
/// asked, and `Break` when the store is dropped.
async fn pause(wanted: &mut mpsc::Receiver<()>, until: Instant) -> ControlFlow<(), bool> {
    match timeout_at(until, wanted.recv()).await {
        Ok(None) => ControlFlow::Break(()),
        Ok(Some(())) => ControlFlow::Continue(true),
        Err(_) => ControlFlow::Continue(false),
    }
}

/// Runs a load to its end. Returns `None` when the store is dropped. Takes the messages of requests that
/// ask for a load in the meantime, because the running load serves them.
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

/// A random number between `-amount` and `amount`, so that the instances of a service do not load at the
/// same time.
fn jitter(amount: f64) -> f64 {
    let random = u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or(0);
    (f64::from(random) / f64::from(u32::MAX)).mul_add(2.0 * amount, -amount)
}

const JITTER: f64 = 0.05;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Mutex;

    use tokio::time::{sleep, sleep_until};

    use super::*;
    use crate::clock::SystemClock;
    use crate::keys::algorithm::Algorithm;
    use crate::keys::key::Key;
    use crate::keys::source::load::Start;
    use crate::keys::source::refresh::Refresher;

    /// Returns its key at the first load. Later loads are slow, and report that the keys have not
    /// changed.
    struct Slow {
        has_given: bool,
        pause: Duration,
    }

    impl fmt::Display for Slow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("slow source")
        }
    }

    impl Load for Slow {
        async fn load(&mut self) -> Result<Loaded, LoadError> {
            let set = if self.has_given {
                sleep(self.pause).await;
                None
            } else {
                let secret = b"LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs";
                Some(Key::from_secret(Algorithm::HS256, secret).unwrap().into())
            };
            self.has_given = true;
            Ok(Loaded {
                set,
                lifetime: Duration::from_secs(20),
            })
        }

        fn forget(&mut self) {
            self.has_given = false;
        }
    }

    fn store(pause: u64) -> KeyStore {
        let source = Slow {
            has_given: false,
            pause: Duration::from_secs(pause),
        };
        let schedule = Schedule {
            timeout: Duration::from_secs(60),
            refresh_at: 0.5,
            backoff: (Duration::from_secs(1), Duration::from_secs(1)),
            keep_stale: Duration::ZERO,
            cooldown: Duration::from_secs(30),
            overlap: Duration::ZERO,
        };
        Refresher::start(source, schedule, Start::Empty, Arc::new(SystemClock)).unwrap()
    }

    /// If the keys were given up during a load, "not changed" is not enough: the key set is loaded
    /// again.
    #[tokio::test(start_paused = true)]
    async fn keys_that_end_during_a_load_are_loaded_whole() {
        let keys = store(15);
        // The second load begins after 9 to 11 s and takes 15 s.
        let begin = Instant::now();
        for (until, expected) in [(1, true), (19, true), (22, false), (27, true)] {
            sleep_until(begin + Duration::from_secs(until)).await;
            assert_eq!(keys.is_ready(), expected, "after {until} s");
        }
        // A faster load ends before the keys do.
        let keys = store(5);
        let generation = keys.generation();
        for _ in 0..60 {
            sleep(Duration::from_secs(1)).await;
            assert!(keys.is_ready());
        }
        assert_eq!(keys.generation(), generation + 1);
    }

    /// A reload returns at the end of the load, even if the load takes all of its timeout.
    #[tokio::test(start_paused = true)]
    async fn a_reload_waits_for_a_load_that_uses_up_its_time() {
        for (pause, took, fails) in [(70, 60, true), (15, 15, false)] {
            let keys = store(pause);
            sleep(Duration::from_secs(1)).await;
            let begin = Instant::now();
            keys.reload().await;
            assert_eq!(begin.elapsed().as_secs(), took, "{pause} s");
            assert_eq!(keys.status().failing.is_some(), fails, "{pause} s");
        }
    }

    /// Loads succeed or fail as planned; the last entry of the plan repeats. Notes the time of each
    /// load.
    struct Planned {
        plan: Vec<bool>,
        asked: Arc<Mutex<Vec<Instant>>>,
    }

    impl fmt::Display for Planned {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("planned source")
        }
    }

    impl Load for Planned {
        async fn load(&mut self) -> Result<Loaded, LoadError> {
            let mut asked = self.asked.lock().unwrap();
            let is_good = self.plan[asked.len().min(self.plan.len() - 1)];
            asked.push(Instant::now());
            if !is_good {
                return Err(LoadError::new("planned"));
            }
            let secret = b"LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs";
            Ok(Loaded {
                set: Some(Key::from_secret(Algorithm::HS256, secret).unwrap().into()),
                lifetime: Duration::from_secs(1_000),
            })
        }

        fn forget(&mut self) {}
    }

    /// The pause after a failure starts with that failure, even if there was an earlier failure.
    #[tokio::test(start_paused = true)]
    async fn a_success_ends_the_pause_of_the_failure_before_it() {
        for (plan, at_least) in [
            // After a success the next failure counts as the first.
            (vec![false, true, false], 21 + 36),
            // The twin: loads that requests cause do not extend the pause of the first failure.
            (vec![false, false, false], 36),
        ] {
            let asked = Arc::new(Mutex::new(Vec::new()));
            let source = Planned {
                plan: plan.clone(),
                asked: Arc::clone(&asked),
            };
            let schedule = Schedule {
                timeout: Duration::from_secs(5),
                refresh_at: 0.5,
                backoff: (Duration::from_secs(40), Duration::from_secs(400)),
                keep_stale: Duration::ZERO,
                cooldown: Duration::from_secs(30),
                overlap: Duration::ZERO,
            };
            let begin = Instant::now();
            let clock = Arc::new(SystemClock);
            let keys = Refresher::start(source, schedule, Start::Empty, clock).unwrap();
            for at in [20, 21] {
                sleep_until(begin + Duration::from_secs(at)).await;
                keys.reload().await;
            }
            sleep(Duration::from_secs(60)).await;
            let asked: Vec<_> = asked.lock().unwrap().clone();
            let asked = asked.iter().map(|at| (*at - begin).as_secs());
            let asked: Vec<_> = asked.collect();
            assert_eq!(asked[..3], [0, 20, 21], "{plan:?}");
            // The pause is 36 to 44 s.
            assert!((at_least..=at_least + 8).contains(&asked[3]), "{asked:?}");
        }
    }
}
