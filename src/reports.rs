//! The limits of rejections in the log. A client must not be able to fill the log.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::claims::Claims;
use crate::clock::{Clock, SystemClock};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::telemetry::{LineBudget, count, event, is_heard, seconds, short};

/// The numbers of verdicts that a layer has logged and omitted.
///
/// This is a fixed number of counters. A request takes no lock.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    /// One budget for each kind of rejection.
    budgets: [LineBudget; KINDS],
    /// One for each kind of [`OUTAGES`].
    outages: [Outage; OUTAGES.len()],
    /// Whether there is an outage whose end has not been reported yet.
    is_out: Apart<AtomicBool>,
}

/// Puts a value that each accepted request reads into a different cache line than the values that
/// rejected requests write.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl Reports {
    pub(crate) fn accepted<C>(&self, claims: &Claims<C>, clock: &dyn Clock) {
        event!(
            debug,
            "jwt_accepted",
            "token accepted",
            issuer = claims.issuer()
        );
        count!("jwt_auth_accepted_total");
        if self.is_out.0.load(Ordering::Relaxed) {
            self.end_outages(seconds(clock.now()));
        }
    }

    pub(crate) fn rejected(&self, rejection: &Rejection, clock: &dyn Clock) {
        let kind = rejection.kind();
        count!("jwt_auth_rejected_total", "kind" => kind.as_str());
        if !is_heard!(ERROR) {
            return;
        }
        match kind {
            // Without the guard, any client could report an outage by inventing key ids.
            kind if OUTAGES.contains(&kind) && !rejection.is_without_outage() => {
                self.outage(rejection, seconds(clock.now()));
                tell_quietly(rejection);
            }
            // Any client can cause this, so it is never logged at a higher level.
            RejectionKind::MissingCredentials => tell_quietly(rejection),
            kind => match self.spend(kind, seconds(clock.now())) {
                Some(suppressed) => tell(rejection, suppressed),
                None => tell_quietly(rejection),
            },
        }
    }

    /// Takes one line from the budget of a kind. Returns the number of lines that were omitted since
    /// the last one.
    fn spend(&self, kind: RejectionKind, now: u64) -> Option<u64> {
        let kinds = RejectionKind::ALL.iter().zip(&self.budgets);
        let (_, budget) = kinds.into_iter().find(|(known, _)| **known == kind)?;
        budget.spend(now)
    }

    /// Reports the start of an outage, once.
    fn outage(&self, rejection: &Rejection, now: u64) {
        let mut outages = OUTAGES.iter().zip(&self.outages);
        let Some((_, outage)) = outages.find(|(kind, _)| **kind == rejection.kind()) else {
            return;
        };
        if outage.goes_on(now) {
            return;
        }
        self.is_out.0.store(true, Ordering::SeqCst);
        event!(
            warn,
            "jwt_unavailable",
            "requests are answered with 503",
            kind = rejection.kind().as_str(),
            reason = short(rejection).as_str()
        );
    }

    /// Reports the end of outages during which no request was rejected for a while.
    fn end_outages(&self, now: u64) {
        let mut is_out = false;
        for (outage, kind) in self.outages.iter().zip(OUTAGES) {
            match outage.end(now) {
                State::None => {}
                State::GoesOn => is_out = true,
                State::Ended { seconds, requests } => event!(
                    info,
                    "jwt_available",
                    "requests are no longer answered with 503",
                    kind = kind.as_str(),
                    seconds = seconds,
                    requests = requests
                ),
            }
        }
        if !is_out {
            self.is_out.0.store(false, Ordering::SeqCst);
            // An outage that has started in the meantime may have set the flag before the line above.
            if self.outages.iter().any(Outage::is_on) {
                self.is_out.0.store(true, Ordering::SeqCst);
            }
        }
    }
}

/// The event of a rejection. Level and message must be constants, so each pair needs its own call.
macro_rules! with_message {
    ($message:literal, $level:ident, $rejection:ident, $suppressed:expr) => {
        event!(
            $level,
            "jwt_rejected",
            $message,
            kind = $rejection.kind().as_str(),
            status = $rejection.status().as_u16(),
            reason = short($rejection).as_str(),
            suppressed = $suppressed
        )
    };
}

macro_rules! of_rejection {
    ($level:ident, $missing:ident, $rejection:ident, $suppressed:expr) => {
        match $rejection.kind() {
            RejectionKind::MissingLayer => event!(
                $missing,
                "jwt_layer_missing",
                "layer missing, so no claims were verified",
                reason = short($rejection).as_str(),
                suppressed = $suppressed
            ),
            kind if is_of_request(kind) => {
                with_message!("request rejected", $level, $rejection, $suppressed);
            }
            _ => with_message!("token rejected", $level, $rejection, $suppressed),
        }
    };
}

/// Logs one line at the level that is on by default.
fn tell(rejection: &Rejection, suppressed: u64) {
    of_rejection!(info, error, rejection, suppressed);
}

fn tell_quietly(rejection: &Rejection) {
    of_rejection!(debug, debug, rejection, 0_u64);
}

/// Whether the token itself may be valid: something else about the request was wrong, the token lacks a
/// right, or the validity is unknown. A verifier gets only the text of a token, so there may be no
/// request.
fn is_of_request(kind: RejectionKind) -> bool {
    matches!(
        kind,
        RejectionKind::CrossSiteRequest
            | RejectionKind::InsecureConnection
            | RejectionKind::InsufficientRole
            | RejectionKind::InsufficientScope
            | RejectionKind::IntrospectionUnavailable
            | RejectionKind::KeySourceUnavailable
            | RejectionKind::MalformedRequest
            | RejectionKind::MissingCredentials
            | RejectionKind::RevocationUnavailable
    )
}

/// Reports a rejection by an extractor or a guard, which does not know the outer layer. Each thread
/// has its own counters, so that threads do not contend for memory.
pub(crate) fn rejected(rejection: &Rejection) {
    thread_local! {
        static OF_GUARDS: Reports = Reports::default();
    }
    // The counters no longer exist while a thread ends. Then nothing is reported.
    let _ = OF_GUARDS.try_with(|reports| reports.rejected(rejection, &SystemClock));
}

/// A period in which requests are answered with 503. Zero means that there is no outage.
#[derive(Debug, Default)]
struct Outage {
    since: AtomicU64,
    last: AtomicU64,
    requests: AtomicU64,
}

enum State {
    None,
    GoesOn,
    Ended { seconds: u64, requests: u64 },
}

impl Outage {
    /// Counts a request. Returns whether the outage had started before it.
    fn goes_on(&self, now: u64) -> bool {
        self.last.store(now, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = self
            .since
            .compare_exchange(0, now.max(1), Ordering::SeqCst, Ordering::SeqCst);
        begin.is_err()
    }

    fn is_on(&self) -> bool {
        self.since.load(Ordering::SeqCst) != 0
    }

    /// Ends an outage during which no request was rejected for a while.
    fn end(&self, now: u64) -> State {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return State::None;
        }
        let last = self.last.load(Ordering::Relaxed);
        if now.abs_diff(last) < QUIET.as_secs() {
            return State::GoesOn;
        }
        let end = self
            .since
            .compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed);
        match end {
            Ok(_) => State::Ended {
                seconds: last.saturating_sub(since),
                requests: self.requests.swap(0, Ordering::Relaxed),
            },
            Err(_) => State::None,
        }
    }
}

const KINDS: usize = RejectionKind::ALL.len();
/// The kinds of rejections that an outage causes.
const OUTAGES: [RejectionKind; 3] = [
    RejectionKind::IntrospectionUnavailable,
    RejectionKind::KeySourceUnavailable,
    RejectionKind::RevocationUnavailable,
];
/// An outage has ended when no request was rejected for this time. Requests that need no new key are
/// accepted during an outage, so an accepted request alone does not end it.
const QUIET: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::telemetry::LINES;

    const NOW: u64 = 1_700_000_000;

    #[test]
    fn every_kind_that_is_503_is_one_of_the_outages() {
        let kinds = RejectionKind::ALL.iter().copied();
        let outages = kinds.filter(|kind| kind.row().status == StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(outages.collect::<Vec<_>>(), OUTAGES);
    }

    #[test]
    fn a_kind_has_its_lines_in_each_window_and_the_next_one_counts_the_rest() {
        let reports = Reports::default();
        let spend = |kind, now| reports.spend(kind, now);
        for _ in 0..LINES {
            assert_eq!(spend(RejectionKind::Expired, NOW), Some(0));
        }
        for _ in 0..1_000 {
            assert_eq!(spend(RejectionKind::Expired, NOW + 9), None);
        }
        // Each kind has its own budget.
        assert_eq!(spend(RejectionKind::BadSignature, NOW), Some(0));
        assert_eq!(spend(RejectionKind::Expired, NOW + 10), Some(1_000));
        assert_eq!(spend(RejectionKind::Expired, NOW + 10), Some(0));
        // If the clock is set back, a new window begins.
        assert_eq!(spend(RejectionKind::Expired, NOW - 3_600), Some(0));
    }

    #[test]
    fn every_kind_has_a_budget() {
        let reports = Reports::default();
        for kind in RejectionKind::ALL {
            assert_eq!(reports.spend(*kind, NOW), Some(0), "{kind:?}");
        }
    }

    #[test]
    fn an_outage_ends_once_when_no_request_was_rejected_for_a_while() {
        let outage = Outage::default();
        assert!(matches!(outage.end(NOW), State::None));
        assert!(!outage.goes_on(NOW));
        assert!(outage.goes_on(NOW + 100));
        assert!(matches!(outage.end(NOW + 159), State::GoesOn));
        let State::Ended { seconds, requests } = outage.end(NOW + 160) else {
            panic!("it has ended");
        };
        assert_eq!((seconds, requests), (100, 2));
        assert!(matches!(outage.end(NOW + 160), State::None));
        assert!(!outage.goes_on(NOW + 161), "the next one begins");
    }
}
