//! The source of the current time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Source of the current time.
///
/// The verifier reads the clock once for all checks of a token, so that they see the same moment. It
/// reads the clock again if it had to wait for keys or for a revocation check.
///
/// If the clock is set back, a token that had expired is valid again until its `exp` passes once
/// more. A token whose `nbf` or `iat` is now in the future is rejected. Both also apply to cached
/// tokens.
///
/// Implemented for closures, so a test can write `.clock(|| UNIX_EPOCH +
/// Duration::from_secs(1_700_000_000))`. The `test-util` feature provides a clock that can be moved
/// while requests run.
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// Clock of the operating system. This is the default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<F: Fn() -> SystemTime + Send + Sync + 'static> Clock for F {
    fn now(&self) -> SystemTime {
        self()
    }
}

/// Seconds since the epoch, the unit of every time in a token (RFC 7519, section 2).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct NumericDate(pub(crate) f64);

impl NumericDate {
    pub(crate) fn now(clock: &Arc<dyn Clock>) -> Self {
        Self::from(clock.now())
    }

    pub(crate) fn plus(self, duration: Duration) -> Self {
        Self(self.0 + duration.as_secs_f64())
    }

    pub(crate) fn minus(self, duration: Duration) -> Self {
        Self(self.0 - duration.as_secs_f64())
    }

    /// Whether the time is before the year 10000. A later time was probably not given in seconds.
    pub(crate) fn is_in_calendar(self) -> bool {
        self.0 < CALENDAR_END
    }

    /// The same moment as a [`SystemTime`], limited to the range from the epoch to the year 9999.
    pub(crate) fn to_system_time(self) -> SystemTime {
        let far = Duration::from_secs(FAR_FUTURE);
        let since = Duration::try_from_secs_f64(self.0.max(0.0))
            .unwrap_or(far)
            .min(far);
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }
}

impl From<SystemTime> for NumericDate {
    fn from(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64(),
        )
    }
}

/// The start of the year 10000.
const CALENDAR_END: f64 = 253_402_300_800.0;
/// The last second of the year 9999.
const FAR_FUTURE: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_every_number_without_panic() {
        for (seconds, expected) in [
            (-1.0, 0),
            (0.0, 0),
            (1.7e9, 1_700_000_000),
            (9e18, FAR_FUTURE),
            (f64::MAX, FAR_FUTURE),
        ] {
            let time = NumericDate(seconds).to_system_time();
            assert_eq!(time.duration_since(UNIX_EPOCH).unwrap().as_secs(), expected);
        }
    }
}
