//! The circuit breaker of an endpoint: after several failures in a row, the endpoint is not asked for a
//! while.
//!
//! Any client can cause failures, with texts that the endpoint or a firewall before it does not take. So
//! failures with tokens open nothing. They call for a [`Probe`], which is a question about a random text of
//! this service, and the circuit is opened and kept open by probes that fail. An answer of any kind closes it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::introspection::failure::{AskFailure, LONGEST_PAUSE};

/// Whether the endpoint may be asked. Shared by all tokens of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Circuit>);

#[derive(Debug, Default)]
struct Circuit {
    /// The failures in a row, and the last one of them.
    failing: Option<Failing>,
    open: Option<Open>,
    /// The number of the probe that is running. An answer ends it, because it is then out of date.
    probing: Option<u64>,
    /// The number of probes, and the time of the last one.
    probes: u64,
    probed: Option<Instant>,
}

/// The failures in a row.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) since: Instant,
    pub(super) reason: String,
    /// Their number since the last probe that succeeded.
    count: u32,
}

/// The endpoint is not asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) since: Instant,
    until: Instant,
    pause: Duration,
}

/// Calls for one question about a text of this service.
#[derive(Debug)]
#[must_use]
pub(super) struct Probe(u64);

/// What a failure means.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) is_first: bool,
    pub(super) probe: Option<Probe>,
}

impl Breaker {
    /// Allows a question, or returns the time after which one may be allowed. A probe may be due beside the
    /// question.
    pub(super) fn admit(&self, now: Instant) -> Result<Option<Probe>, Duration> {
        let mut circuit = self.circuit();
        let Some(open) = &circuit.open else {
            return Ok(circuit.probe_if_failing(now));
        };
        let rest = open.until.saturating_duration_since(now);
        if !rest.is_zero() {
            return Err(rest);
        }
        if circuit.probing.is_some() {
            return Err(FIRST_PAUSE);
        }
        Ok(Some(circuit.probe(now)))
    }

    /// Notes that the endpoint has answered about a token. Returns the time since which it was not asked, if
    /// it was not.
    pub(super) fn answered(&self, now: Instant) -> Option<Duration> {
        self.circuit().close(now)
    }

    /// Notes that there was no answer about a token. A probe is due after several failures in a row. It is due
    /// at once, but not again within a second, if the endpoint rejects this service or says when to come back.
    pub(super) fn failed(&self, failure: &AskFailure, now: Instant) -> Failed {
        let mut circuit = self.circuit();
        let is_first = circuit.note(&failure.reason, now) == 1;
        let is_telling = failure.is_ours || failure.retry_after.is_some();
        let probe = match circuit.open {
            None if is_telling && circuit.may_probe_again(now) => Some(circuit.probe(now)),
            None => circuit.probe_if_failing(now),
            // It was asked before the circuit was opened, or a probe runs beside it.
            Some(_) => None,
        };
        Failed { is_first, probe }
    }

    /// Notes that a question has ended without a result.
    pub(super) fn ended(&self, reason: &str, now: Instant) {
        self.circuit().note(reason, now);
    }

    /// Notes that a probe was answered, so that failures are those of single tokens. Returns the time since
    /// which the endpoint was not asked, if it was not.
    pub(super) fn probe_answered(&self, probe: Probe, now: Instant) -> Option<Duration> {
        let mut circuit = self.circuit();
        if !circuit.ends(&probe) {
            return None;
        }
        if circuit.open.is_some() {
            return circuit.close(now);
        }
        circuit.failing.iter_mut().for_each(|it| it.count = 0);
        None
    }

    /// Notes that a probe has failed. Returns the time for which the endpoint is not asked from now on. If the
    /// endpoint says when to come back, it is not asked before, for the longest pause.
    pub(super) fn probe_failed(
        &self,
        probe: Probe,
        failure: &AskFailure,
        now: Instant,
    ) -> Option<Duration> {
        let mut circuit = self.circuit();
        if !circuit.ends(&probe) {
            return None;
        }
        circuit.note(&failure.reason, now);
        let pause = circuit
            .open
            .map_or(FIRST_PAUSE, |open| open.pause.saturating_mul(2));
        Some(circuit.open_for(pause.max(failure.retry_after.unwrap_or_default()), now))
    }

    /// Whether a question would be allowed now. This is so after each pause, or an instance that gets no
    /// requests until it is ready would never ask again.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        let circuit = self.circuit();
        let is_next = |open: Open| open.until <= now && circuit.probing.is_none();
        circuit.open.is_none_or(is_next)
    }

    /// The failures in a row, and whether the endpoint is not asked.
    pub(super) fn state(&self) -> (Option<Failing>, Option<Open>) {
        let circuit = self.circuit();
        (circuit.failing.clone(), circuit.open)
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Circuit {
    /// Counts a failure.
    fn note(&mut self, reason: &str, now: Instant) -> u32 {
        let failing = self.failing.get_or_insert_with(|| Failing {
            since: now,
            reason: String::new(),
            count: 0,
        });
        failing.count = failing.count.saturating_add(1);
        reason.clone_into(&mut failing.reason);
        failing.count
    }

    fn open_for(&mut self, pause: Duration, now: Instant) -> Duration {
        let pause = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.open = Some(Open {
            since: self.open.map_or(now, |open| open.since),
            until: now.checked_add(pause).unwrap_or(now),
            pause,
        });
        pause
    }

    fn close(&mut self, now: Instant) -> Option<Duration> {
        (self.failing, self.probing) = (None, None);
        let open = self.open.take()?;
        Some(now.saturating_duration_since(open.since))
    }

    fn probe(&mut self, now: Instant) -> Probe {
        self.probes = self.probes.wrapping_add(1);
        (self.probing, self.probed) = (Some(self.probes), Some(now));
        Probe(self.probes)
    }

    /// A probe after several failures in a row, unless one is running.
    fn probe_if_failing(&mut self, now: Instant) -> Option<Probe> {
        let count = self.failing.as_ref().map_or(0, |failing| failing.count);
        (count >= FAILURES && self.probing.is_none()).then(|| self.probe(now))
    }

    fn may_probe_again(&self, now: Instant) -> bool {
        let is_long_ago = |last| now.saturating_duration_since(last) >= FIRST_PAUSE;
        self.probing.is_none() && self.probed.is_none_or(is_long_ago)
    }

    /// Ends a probe. `false` if there was an answer since it began.
    fn ends(&mut self, probe: &Probe) -> bool {
        let is_current = self.probing == Some(probe.0);
        if is_current {
            self.probing = None;
        }
        is_current
    }
}

/// The number of failures in a row after which a probe is due.
const FAILURES: u32 = 5;
/// The first pause. Each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn down() -> AskFailure {
        AskFailure::new("down")
    }

    fn fail(breaker: &Breaker, now: Instant) -> Failed {
        assert!(breaker.admit(now).unwrap().is_none());
        breaker.failed(&down(), now)
    }

    /// The probe that the fifth failure calls for.
    fn probe_after_five(breaker: &Breaker, now: Instant) -> Probe {
        for at in 0..4 {
            let failed = fail(breaker, now);
            assert_eq!(failed.is_first, at == 0);
            assert!(failed.probe.is_none());
        }
        fail(breaker, now).probe.unwrap()
    }

    #[test]
    fn five_failures_in_a_row_and_a_probe_that_fails_open_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            assert!(fail(&breaker, now).probe.is_none());
        }
        // The twin: an answer in between starts the count again.
        assert_eq!(breaker.answered(now), None);
        let probe = probe_after_five(&breaker, now);
        // Questions go on meanwhile, and one probe is enough.
        assert!(fail(&breaker, now).probe.is_none());
        assert_eq!(breaker.probe_failed(probe, &down(), now), Some(SECOND));
        assert_eq!(breaker.admit(now).unwrap_err(), SECOND);
        assert_eq!(breaker.admit(now + SECOND / 2).unwrap_err(), SECOND / 2);
    }

    #[test]
    fn a_probe_that_is_answered_starts_the_count_again() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            let probe = probe_after_five(&breaker, now);
            assert_eq!(breaker.probe_answered(probe, now), None);
        }
        let (failing, open) = breaker.state();
        assert!(failing.is_some() && open.is_none());
    }

    #[test]
    fn an_answer_during_a_probe_counts_more_than_its_failure() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let late = probe_after_five(&breaker, now);
        assert_eq!(breaker.answered(now), None);
        assert_eq!(breaker.probe_failed(late, &down(), now), None);
        // A late end is not that of the next probe.
        let late = probe_after_five(&breaker, now);
        breaker.answered(now);
        let next = probe_after_five(&breaker, now);
        assert_eq!(breaker.probe_answered(late, now), None);
        assert_eq!(breaker.probe_failed(next, &down(), now), Some(SECOND));
    }

    #[test]
    fn one_probe_at_a_time_and_pauses_that_double_up_to_the_longest() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        let probe = probe_after_five(&breaker, now);
        breaker.probe_failed(probe, &down(), now);
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(pause);
            assert_eq!(breaker.admit(now).unwrap_err(), pause);
            assert!(!breaker.would_admit(now + pause - SECOND / 2));
            now += pause;
            assert!(breaker.would_admit(now));
            let probe = breaker.admit(now).unwrap().unwrap();
            assert!(!breaker.would_admit(now));
            assert_eq!(breaker.admit(now).unwrap_err(), SECOND, "one is enough");
            // The question beside it proves nothing.
            assert!(breaker.failed(&down(), now).probe.is_none());
            breaker.probe_failed(probe, &down(), now);
        }
        now += Duration::from_secs(30);
        let probe = breaker.admit(now).unwrap().unwrap();
        let away = Some(Duration::from_secs(121));
        assert_eq!(breaker.probe_answered(probe, now), away);
        assert!(breaker.admit(now).unwrap().is_none());
        assert!(breaker.state().0.is_none());
    }

    #[test]
    fn an_answer_about_a_token_closes_it_too() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        let probe = probe_after_five(&breaker, now);
        breaker.probe_failed(probe, &down(), now);
        now += SECOND;
        let probe = breaker.admit(now).unwrap().unwrap();
        assert_eq!(breaker.answered(now), Some(SECOND));
        assert_eq!(breaker.probe_failed(probe, &down(), now), None);
        assert!(breaker.admit(now).unwrap().is_none());
    }

    #[test]
    fn a_rejection_of_this_service_calls_for_a_probe_at_once_and_seldom() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        let denied = AskFailure {
            is_ours: true,
            ..down()
        };
        let probe = breaker.failed(&denied, now).probe.unwrap();
        assert_eq!(breaker.probe_answered(probe, now), None);
        assert!(breaker.failed(&denied, now).probe.is_none());
        now += SECOND;
        let probe = breaker.failed(&denied, now).probe.unwrap();
        assert_eq!(breaker.probe_failed(probe, &denied, now), Some(SECOND));
    }

    #[test]
    fn a_question_without_a_result_counts_and_the_next_one_has_a_probe() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            assert!(breaker.admit(now).unwrap().is_none());
            breaker.ended("gone", now);
        }
        assert!(breaker.admit(now).unwrap().is_some());
    }

    #[test]
    fn a_late_failure_does_not_extend_the_pause() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let probe = probe_after_five(&breaker, now);
        breaker.probe_failed(probe, &down(), now);
        let late = AskFailure {
            retry_after: Some(SECOND * 9),
            ..down()
        };
        assert!(breaker.failed(&late, now).probe.is_none());
        assert_eq!(breaker.admit(now).unwrap_err(), SECOND);
    }

    #[test]
    fn it_stays_away_as_long_as_the_endpoint_says_up_to_the_longest_pause() {
        for (says, pause) in [(0, 1), (7, 7), (3_600, 30)] {
            let (breaker, now) = (Breaker::default(), Instant::now());
            let busy = AskFailure {
                retry_after: Some(Duration::from_secs(says)),
                ..down()
            };
            let probe = breaker.failed(&busy, now).probe.unwrap();
            assert!(breaker.admit(now).is_ok(), "one token proves nothing");
            breaker.probe_failed(probe, &busy, now);
            assert_eq!(breaker.admit(now).unwrap_err(), Duration::from_secs(pause));
        }
    }
}
