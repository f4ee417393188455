//! [`IntrospectionStatus`]: the state of an introspection, for an operator.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;

use crate::introspection::Introspection;
use crate::introspection::state::Counts;
use crate::unix_seconds;

/// The state of one [`Introspection`] and all its clones.
///
/// [`Display`](fmt::Display) prints one or two lines for an operator, without a line break at the end. Serialized times are seconds since 1970.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct IntrospectionStatus {
    /// The time of this status.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub at: SystemTime,
    /// The endpoint, or the issuer whose metadata names it.
    pub endpoint: String,
    /// Whether the endpoint is in use. It is not used for a while after failures that are not limited to
    /// single tokens.
    pub is_healthy: bool,
    /// The time since which the endpoint has not been used, except for one introspection request
    /// and one probe at a time.
    #[serde(serialize_with = "unix_seconds::serialize_if_any")]
    pub open_since: Option<SystemTime>,
    /// Why the last introspection request failed, and since when these requests have been failing.
    /// `None` if the last one succeeded.
    pub failing: Option<IntrospectionFailure>,
    /// The number of introspection requests that are running now.
    pub asking: usize,
    /// The number of introspection requests that have ended, whatever the result.
    pub asked: u64,
    /// The number of introspection requests without a usable answer.
    pub failed: u64,
    /// The number of requests whose answer was known.
    pub hits: u64,
    /// The number of requests whose answer was not known.
    pub misses: u64,
}

/// Why an endpoint returns no usable answer.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct IntrospectionFailure {
    /// The time of the first failed introspection request since the last success.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub since: SystemTime,
    /// The reason for the last failure.
    pub reason: String,
}

impl IntrospectionStatus {
    /// The proportion of requests whose answer was known, from 0 to 1. `None` before the first
    /// request.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let float = |number: u64| u32::try_from(number).map_or(f64::INFINITY, f64::from);
        // Scaled down, so that both numbers fit.
        let all = self.hits.saturating_add(self.misses);
        let scale = (all >> 31).saturating_add(1);
        let part = |number: u64| float(number.checked_div(scale).unwrap_or_default());
        (all > 0).then(|| part(self.hits) / part(all).max(1.0))
    }
}

impl Introspection {
    /// The state of the endpoint, and the numbers of introspection requests and answers. All clones
    /// share them.
    #[must_use]
    pub fn status(&self) -> IntrospectionStatus {
        let (at, now) = (SystemTime::now(), Instant::now());
        let on_wall = |moment: Instant| {
            let ago = now.saturating_duration_since(moment);
            at.checked_sub(ago).unwrap_or(UNIX_EPOCH)
        };
        let (failing, open) = self.state.breaker.state();
        let Counts {
            hits,
            misses,
            asked,
            failed,
        } = self.state.counts();
        IntrospectionStatus {
            at,
            endpoint: self.endpoint.place.to_string(),
            is_healthy: open.is_none(),
            open_since: open.map(|open| on_wall(open.since)),
            failing: failing.map(|failing| IntrospectionFailure {
                since: on_wall(failing.since),
                reason: failing.reason,
            }),
            asking: self.state.asking.load(std::sync::atomic::Ordering::Relaxed),
            asked,
            failed,
            hits,
            misses,
        }
    }

    /// Whether the endpoint answers, as far as is known. Useful for a readiness probe.
    ///
    /// Returns `false` while the endpoint is not used, after failures that are not limited to single tokens:
    /// for up to 30 seconds, and while a probe is running. During this time, tokens whose answer is known are
    /// still accepted. After each pause it returns `true` again, because only the next request tests the
    /// endpoint. Otherwise an instance that gets no requests while it is not ready would never become ready
    /// again. [`is_healthy`] is `false` until there is an answer.
    ///
    /// [`is_healthy`]: IntrospectionStatus::is_healthy
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state.breaker.would_admit(Instant::now())
    }
}

impl fmt::Display for IntrospectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ago = |since: SystemTime| self.at.duration_since(since).unwrap_or(Duration::ZERO);
        write!(f, "introspection at {}: ", self.endpoint)?;
        match self.open_since {
            None => f.write_str("healthy")?,
            Some(since) => write!(f, "circuit breaker open for {} s", ago(since).as_secs())?,
        }
        let (asking, asked) = (self.asking, self.asked);
        match asked {
            1 => f.write_str(", asked once")?,
            _ => write!(f, ", asked {asked} times")?,
        }
        write!(f, ", asking {asking} now")?;
        if let Some(rate) = self.hit_rate() {
            write!(f, ", hit rate {:.1} %", rate * 100.0)?;
        }
        if let Some(IntrospectionFailure { since, reason }) = &self.failing {
            let seconds = ago(*since).as_secs();
            write!(f, "\n  failing for {seconds} s: {reason}")?;
        }
        Ok(())
    }
}
