//! The questions that are being asked. Each is asked once, however many requests wait for its answer.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::cache::Digest;
use crate::clock::NumericDate;
use crate::error::rejection::Rejection;
use crate::introspection::probe::{Prober, Probing};
use crate::introspection::query::{NotAsked, Query};
use crate::introspection::rejected::{Asked, Rejected};
use crate::introspection::state::State;
use crate::introspection::{Answer, AskFailure, Introspection};
use crate::issuer::Issuer;
use crate::keys::key_source::Deadline;
use crate::keys::source::wait::Waits;
use crate::telemetry;

/// The questions of one verifier, and the tokens that it rejected a moment ago. `T` is a verdict.
pub(crate) struct Questions<T> {
    running: Arc<Running<T>>,
    rejected: Rejected,
}

/// The questions that are being asked.
type Running<T> = Mutex<Table<T>>;

type Table<T> = HashMap<Asked, watch::Receiver<Option<T>>>;

/// A question that is being asked.
pub(crate) struct Question<T> {
    verdict: watch::Receiver<Option<T>>,
    waits: Waits,
    timeout: Duration,
    deadline: Instant,
}

impl<T: Clone + Send + Sync + 'static> Questions<T> {
    /// `is_used` tells whether any issuer introspects.
    pub(crate) fn new(is_used: bool) -> Self {
        Self {
            running: Arc::default(),
            rejected: Rejected::new(is_used),
        }
    }

    /// The rejection of a token a moment ago, under the trust at this position.
    pub(crate) fn rejection(
        &self,
        digest: Digest,
        trust: usize,
        now: NumericDate,
    ) -> Option<Rejection> {
        self.rejected.get((digest, trust), now)
    }

    /// Remembers a rejection for a moment.
    pub(crate) fn reject(
        &self,
        digest: Digest,
        trust: usize,
        rejection: &Rejection,
        now: NumericDate,
        introspection: &Introspection,
    ) {
        let ttl = introspection.settings.inactive;
        if !ttl.is_zero() {
            self.rejected.put((digest, trust), rejection, now, ttl);
        }
    }

    /// Asks the endpoint in a task of its own, or joins the question that another request asks. `conclude`
    /// gets the answer in that task, so the verdict is kept although all requests may be gone.
    pub(crate) fn ask(
        &self,
        introspection: &Introspection,
        query: Query,
        conclude: impl FnOnce(Result<Answer, AskFailure>) -> T + Send + 'static,
    ) -> Result<Question<T>, NotAsked> {
        let state = &introspection.state;
        state.missed();
        let limit = introspection.settings.timeout;
        let runtime = state.runtime().ok_or(NotAsked::Unable(NO_RUNTIME))?;
        // Tokio has no function that tells whether a runtime has timers.
        let has_timers = catch_unwind(AssertUnwindSafe(|| {
            let _inside = runtime.enter();
            drop(sleep(Duration::ZERO));
        }));
        has_timers.map_err(|_| NotAsked::Unable(NO_TIMERS))?;
        let now = Instant::now();
        let question = |verdict| Question {
            verdict,
            waits: Waits::sharing(runtime.clone(), &state.ticker),
            timeout: limit,
            deadline: now.checked_add(limit).unwrap_or(now),
        };
        let key = (query.digest, query.trust);
        let mut running = lock(&self.running);
        if let Some(verdict) = running.get(&key) {
            return Ok(question(verdict.clone()));
        }
        let most = introspection.settings.max_concurrent;
        let one_more = |asking: usize| (asking < most).then(|| asking.saturating_add(1));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        if state.asking.fetch_update(set, fetch, one_more).is_err() {
            return Err(NotAsked::Busy);
        }
        let probe = match state.breaker.admit(now) {
            Ok(probe) => probe,
            Err(rest) => {
                state.asking.fetch_sub(1, Ordering::Relaxed);
                return Err(NotAsked::Open(rest));
            }
        };
        let (sender, verdict) = watch::channel(None);
        running.insert(key, verdict.clone());
        drop(running);
        let landing = Landing {
            running: Arc::clone(&self.running),
            key: Some(key),
            sender,
            state: Arc::clone(state),
            is_judged: false,
        };
        let prober = Prober::new(introspection, &query.issuer, &query.audience, &query.clock);
        if let Some(probe) = probe {
            prober.start(&runtime, Probing::new(state, probe));
        }
        spawn(&runtime, prober, query.token, landing, conclude);
        Ok(question(verdict))
    }
}

fn spawn<T: Clone + Send + Sync + 'static>(
    runtime: &Handle,
    prober: Prober,
    token: String,
    mut landing: Landing<T>,
    conclude: impl FnOnce(Result<Answer, AskFailure>) -> T + Send + 'static,
) {
    runtime.spawn(async move {
        telemetry::introspection_asked(&prober.issuer);
        let timer = telemetry::Timer::start();
        let answer = prober.ask(&token).await;
        timer.stop_introspection();
        if let Some(probe) = landing.judge(&prober.issuer, &answer) {
            prober.start(&Handle::current(), probe);
        }
        landing.land(conclude(answer));
    });
}

impl<T: Clone + Send + Sync + 'static> Question<T> {
    /// The verdict, or why there is none. The wait ends at the deadline, if the request has one already.
    pub(crate) async fn verdict(self, deadline: Option<Deadline>) -> Result<T, String> {
        // The value may be there already, so that no change is to be waited for.
        if let Some(verdict) = self.verdict.borrow().clone() {
            return Ok(verdict);
        }
        let receiver = self.verdict.clone();
        let deadline =
            deadline.map_or(self.deadline, |at| Instant::from_std(at).min(self.deadline));
        let is_over = self.waits.end_by(receiver, deadline).await;
        let verdict = self.verdict.borrow().clone();
        verdict.ok_or_else(|| {
            if is_over {
                "the question has ended without an answer, probably with its tokio runtime"
                    .to_owned()
            } else {
                AskFailure::no_answer_within(self.timeout).reason
            }
        })
    }
}

/// Ends a question, also if its task ends early.
struct Landing<T> {
    running: Arc<Running<T>>,
    /// `None` after the question has ended.
    key: Option<Asked>,
    sender: watch::Sender<Option<T>>,
    state: Arc<State>,
    is_judged: bool,
}

impl<T> Landing<T> {
    /// Notes what the answer says about the endpoint. A probe may be due.
    fn judge(&mut self, issuer: &Issuer, answer: &Result<Answer, AskFailure>) -> Option<Probing> {
        self.is_judged = true;
        let probe = self.state.judge(issuer, answer)?;
        Some(Probing::new(&self.state, probe))
    }

    /// Passes the verdict to all requests that wait.
    fn land(mut self, verdict: T) {
        self.leave();
        self.sender.send_replace(Some(verdict));
    }

    /// Removes the question. Another one for the same token may begin at once.
    fn leave(&mut self) {
        if let Some(key) = self.key.take() {
            lock(&self.running).remove(&key);
            self.state.asking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Its task may have ended with a panic of the client, or with its runtime.
impl<T> Drop for Landing<T> {
    fn drop(&mut self) {
        self.leave();
        if !self.is_judged {
            let reason = "the question has ended without an answer";
            self.state.breaker.ended(reason, Instant::now());
        }
    }
}

fn lock<T>(running: &Running<T>) -> MutexGuard<'_, Table<T>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

const NO_RUNTIME: &str = "there is no tokio runtime: create the layer inside of one";
const NO_TIMERS: &str =
    "the tokio runtime has no timers: build it with `enable_time` or `enable_all`";
