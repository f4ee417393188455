//! The circuit breaker of an endpoint: after several failures in a row, the endpoint is not asked for a
//! while.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Whether the endpoint may be asked. Shared by all tokens of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Circuit>);

#[derive(Debug, Default)]
struct Circuit {
    /// The failures in a row, and the last one of them.
    failing: Option<Failing>,
    open: Option<Open>,
}

/// The failures in a row.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) since: Instant,
    pub(super) reason: String,
    count: u32,
}

/// The endpoint is not asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) since: Instant,
    until: Instant,
    pause: Duration,
    /// Whether one question tests whether the endpoint works again.
    is_probing: bool,
}

/// Allows one question.
#[derive(Debug)]
pub(super) struct Permit {
    is_probe: bool,
}

/// What a failure has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) is_first: bool,
    /// The time for which the endpoint is not asked from now on.
    pub(super) opened: Option<Duration>,
}

impl Breaker {
    /// Allows a question, or returns the time after which one may be allowed.
    pub(super) fn admit(&self, now: Instant) -> Result<Permit, Duration> {
        let mut circuit = self.circuit();
        let Some(open) = &mut circuit.open else {
            return Ok(Permit { is_probe: false });
        };
        let rest = open.until.saturating_duration_since(now);
        if !rest.is_zero() {
            return Err(rest);
        }
        if open.is_probing {
            return Err(FIRST_PAUSE);
        }
        open.is_probing = true;
        Ok(Permit { is_probe: true })
    }

    /// Notes that the endpoint has answered. Returns the time since which it was not asked, if it was
    /// not.
    pub(super) fn succeeded(&self, now: Instant) -> Option<Duration> {
        let mut circuit = self.circuit();
        circuit.failing = None;
        let open = circuit.open.take()?;
        Some(now.saturating_duration_since(open.since))
    }

    /// Notes that the endpoint has not answered. If it says when to come back, it is not asked before, for
    /// the longest pause.
    pub(super) fn failed(
        &self,
        permit: Permit,
        reason: &str,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Failed {
        let mut circuit = self.circuit();
        let count = circuit.failing.as_ref().map_or(0, |failing| failing.count);
        let since = circuit
            .failing
            .as_ref()
            .map_or(now, |failing| failing.since);
        let count = count.saturating_add(1);
        circuit.failing = Some(Failing {
            since,
            reason: reason.to_owned(),
            count,
        });
        let pause = match circuit.open {
            Some(open) if permit.is_probe => Some(open.pause.saturating_mul(2)),
            // It was asked before the circuit was opened.
            Some(_) => None,
            None if count >= FAILURES || retry_after.is_some() => Some(FIRST_PAUSE),
            None => None,
        };
        let pause = pause.map(|pause| {
            pause
                .max(retry_after.unwrap_or_default())
                .min(LONGEST_PAUSE)
        });
        if let Some(pause) = pause {
            circuit.open = Some(Open {
                since: circuit.open.map_or(now, |open| open.since),
                until: now.checked_add(pause).unwrap_or(now),
                pause,
                is_probing: false,
            });
        }
        Failed {
            is_first: count == 1,
            opened: pause,
        }
    }

    /// Notes that a question says nothing about the endpoint.
    pub(super) fn ended(&self, permit: Permit) {
        if let (true, Some(open)) = (permit.is_probe, &mut self.circuit().open) {
            open.is_probing = false;
        }
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

/// The number of failures in a row after which the endpoint is not asked.
const FAILURES: u32 = 5;
/// The first pause. Each further one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker, now: Instant) -> Failed {
        let permit = breaker.admit(now).unwrap();
        breaker.failed(permit, "down", None, now)
    }

    #[test]
    fn five_failures_in_a_row_open_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for at in 0..4 {
            let expected = Failed {
                is_first: at == 0,
                opened: None,
            };
            assert_eq!(fail(&breaker, now), expected);
        }
        // The twin: an answer in between starts the count again.
        assert_eq!(breaker.succeeded(now), None);
        for _ in 0..4 {
            assert_eq!(fail(&breaker, now).opened, None);
        }
        assert_eq!(fail(&breaker, now).opened, Some(SECOND));
        assert_eq!(breaker.admit(now).unwrap_err(), SECOND);
        assert_eq!(breaker.admit(now + SECOND / 2).unwrap_err(), SECOND / 2);
    }

    #[test]
    fn one_probe_at_a_time_and_pauses_that_double_up_to_the_longest() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..5 {
            fail(&breaker, now);
        }
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(pause);
            assert_eq!(breaker.admit(now).unwrap_err(), pause);
            now += pause;
            let probe = breaker.admit(now).unwrap();
            assert!(probe.is_probe);
            assert_eq!(breaker.admit(now).unwrap_err(), SECOND, "one is enough");
            breaker.failed(probe, "down", None, now);
        }
        now += Duration::from_secs(30);
        let probe = breaker.admit(now).unwrap();
        breaker.ended(probe);
        let probe = breaker.admit(now).unwrap();
        assert!(probe.is_probe, "the one before has proved nothing");
        assert_eq!(breaker.succeeded(now), Some(Duration::from_secs(121)));
        assert!(!breaker.admit(now).unwrap().is_probe);
        assert!(breaker.state().0.is_none());
    }

    #[test]
    fn a_late_failure_does_not_extend_the_pause() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let late = breaker.admit(now).unwrap();
        for _ in 0..5 {
            fail(&breaker, now);
        }
        assert_eq!(breaker.failed(late, "down", None, now).opened, None);
        assert_eq!(breaker.admit(now).unwrap_err(), SECOND);
    }

    #[test]
    fn it_stays_away_as_long_as_the_endpoint_says_up_to_the_longest_pause() {
        for (says, pause) in [(0, 1), (7, 7), (3_600, 30)] {
            let (breaker, now) = (Breaker::default(), Instant::now());
            let permit = breaker.admit(now).unwrap();
            let says = Some(Duration::from_secs(says));
            breaker.failed(permit, "busy", says, now);
            assert_eq!(breaker.admit(now).unwrap_err(), Duration::from_secs(pause));
        }
    }
}
