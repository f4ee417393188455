//! The state that all clones of an introspection share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::introspection::breaker::{Breaker, Probe};
use crate::introspection::seldom::Seldom;
use crate::introspection::{Answer, AskFailure};
use crate::issuer::Issuer;
use crate::keys::source::wait::Ticker;
use crate::striped::Counter;
use crate::telemetry;

pub(super) struct State {
    pub(super) breaker: Breaker,
    /// The number of questions that are being asked.
    pub(super) asking: AtomicUsize,
    /// The requests whose answer was known.
    hits: Counter,
    /// The requests whose answer was not known.
    misses: AtomicU64,
    /// The questions that have ended, and those of them that have failed.
    asked: AtomicU64,
    failed: AtomicU64,
    /// The loud reports of failures, and those that the endpoint rejects this service.
    loud: Seldom,
    denials: Seldom,
    /// The runtime in which the introspection was created, for requests that come from elsewhere.
    runtime: Option<Handle>,
    pub(super) ticker: Arc<Ticker>,
}

/// The numbers of a [status](super::IntrospectionStatus).
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) asked: u64,
    pub(super) failed: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            breaker: Breaker::default(),
            asking: AtomicUsize::new(0),
            hits: Counter::default(),
            misses: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            loud: Seldom::default(),
            denials: Seldom::default(),
            runtime: Handle::try_current().ok(),
            ticker: Arc::default(),
        }
    }
}

impl State {
    /// The runtime of the caller, or else the one in which the introspection was created.
    pub(super) fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.clone())
    }

    /// Counts a request whose answer was known.
    pub(super) fn hit(&self) {
        self.hits.add_one();
        telemetry::introspection_hit();
    }

    /// Counts a request whose answer was not known.
    pub(super) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        telemetry::introspection_missed();
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            hits: self.hits.sum(),
            misses: self.misses.load(Ordering::Relaxed),
            asked: self.asked.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Notes what the end of a question about a token says about the endpoint, and reports it. If it says
    /// nothing certain, a probe may be due.
    pub(super) fn judge(
        &self,
        issuer: &Issuer,
        answer: &Result<Answer, AskFailure>,
    ) -> Option<Probe> {
        let now = Instant::now();
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Err(failure) = answer else {
            self.report_recovery(issuer, self.breaker.answered(now));
            return None;
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        if failure.may_be_the_token {
            // The endpoint has answered.
            telemetry::introspection_failed(issuer, &failure.reason, false);
            if failure.is_ours {
                telemetry::introspection_denied(&failure.reason, self.denials.is_due(now));
            }
            return None;
        }
        let failed = self.breaker.failed(failure, now);
        // Whether this service is rejected, or one token, the probe will tell.
        let is_loud = failed.is_first && !failure.is_ours && self.loud.is_due(now);
        telemetry::introspection_failed(issuer, &failure.reason, is_loud);
        failed.probe
    }

    /// Notes the end of a probe, and reports it.
    pub(super) fn judge_probe(
        &self,
        probe: Probe,
        issuer: &Issuer,
        answer: &Result<Answer, AskFailure>,
    ) {
        let now = Instant::now();
        match answer {
            Err(failure) if !failure.may_be_the_token => {
                let Some(pause) = self.breaker.probe_failed(probe, failure, now) else {
                    return;
                };
                if failure.is_ours {
                    telemetry::introspection_denied(&failure.reason, self.denials.is_due(now));
                }
                // One loud report of a rejection is enough.
                telemetry::introspection_opened(issuer, pause, &failure.reason, !failure.is_ours);
            }
            _ => self.report_recovery(issuer, self.breaker.probe_answered(probe, now)),
        }
    }

    fn report_recovery(&self, issuer: &Issuer, away: Option<Duration>) {
        if let Some(away) = away {
            telemetry::introspection_recovered(issuer, away);
        }
    }
}
