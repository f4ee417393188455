//! Events and metrics. The functions also exist without the features. Then they do nothing.
//!
//! No event contains a token. `events.md`, which is part of the crate documentation, lists the names and
//! the content of events.

#[cfg(feature = "introspection")]
mod introspection;
mod keys;
#[cfg(feature = "_refresh")]
mod loads;
#[cfg(feature = "issue")]
mod logins;
#[cfg(feature = "logout")]
mod notices;
#[cfg(feature = "redis")]
mod shared_denylist;
#[cfg(feature = "issue")]
mod signing_keys;
#[cfg(feature = "status-list")]
mod status_lists;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Writes an event. The message begins with the name, because most subscribers do not print the name.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        tracing::$level!(
            name: $name,
            target: "tower_jwt_auth",
            message = concat!($name, ": ", $message)
            $(, $field = $value)*
        )
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        // Compiled but never run, so that the arguments count as used.
        if false { let _ = $message; $(let _ = &$value;)* }
    };
}

/// Whether a subscriber is interested in events of this level.
#[cfg(feature = "tracing")]
macro_rules! is_heard {
    ($level:ident) => {
        tracing::enabled!(target: "tower_jwt_auth", tracing::Level::$level)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! is_heard {
    ($level:ident) => {
        false
    };
}

#[cfg(feature = "metrics")]
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)?) => {
        metrics::counter!($name $(, $label => $value)?).increment(1)
    };
}

#[cfg(not(feature = "metrics"))]
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)?) => {
        { $(let _ = &$value;)? }
    };
}

/// An event of the given level for the first failure in a row, and of level `debug` for further
/// failures.
#[cfg(any(feature = "_refresh", feature = "issue", feature = "redis"))]
macro_rules! event_of_failure {
    ($is_first:expr, $level:ident, $name:literal, $first:literal, $again:literal, $($field:ident = $value:expr),* $(,)?) => {
        if $is_first {
            event!($level, $name, $first, $($field = $value),*);
        } else {
            event!(debug, $name, $again, $($field = $value),*);
        }
    };
}

/// An event about a request that failed, whose lines have a budget. `$suppressed` is that of
/// [`LineBudget::spend`]: a line above the budget has the level `debug`. Any other has `warn` if the service is at
/// fault, and `info` if the request is.
#[cfg(any(feature = "issue", feature = "logout"))]
macro_rules! event_of_request {
    ($suppressed:expr, $is_own_fault:expr, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        // The level of an event must be a constant, so each level needs its own call.
        match $suppressed {
            None => event!(debug, $name, $message, $($field = $value,)* suppressed = 0_u64),
            Some(suppressed) if $is_own_fault => {
                event!(warn, $name, $message, $($field = $value,)* suppressed = suppressed);
            }
            Some(suppressed) => {
                event!(info, $name, $message, $($field = $value,)* suppressed = suppressed);
            }
        }
    };
}

#[cfg(feature = "introspection")]
pub(crate) use self::introspection::*;
pub(crate) use self::keys::*;
#[cfg(feature = "_refresh")]
pub(crate) use self::loads::*;
#[cfg(feature = "issue")]
pub(crate) use self::logins::*;
#[cfg(feature = "logout")]
pub(crate) use self::notices::*;
#[cfg(feature = "redis")]
pub(crate) use self::shared_denylist::*;
#[cfg(feature = "issue")]
pub(crate) use self::signing_keys::*;
#[cfg(feature = "status-list")]
pub(crate) use self::status_lists::*;
#[cfg(any(feature = "_refresh", feature = "issue", feature = "redis"))]
use event_of_failure;
#[cfg(any(feature = "issue", feature = "logout"))]
use event_of_request;
pub(crate) use {count, event, is_heard};

/// Measures the time of a verification, excluding waits. Does nothing without `metrics`.
pub(crate) struct Timer {
    #[cfg(feature = "metrics")]
    start: std::time::Instant,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            start: std::time::Instant::now(),
        }
    }

    pub(crate) fn stop(self) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("jwt_auth_verification_seconds").record(self.start.elapsed());
    }

    /// Records the time of a request to an introspection endpoint.
    #[cfg(feature = "introspection")]
    pub(crate) fn stop_introspection(self) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("jwt_auth_introspection_seconds").record(self.start.elapsed());
    }
}

/// The number of lines that one kind of rejection may write in a window of time.
#[derive(Debug, Default)]
pub(crate) struct LineBudget {
    window: AtomicU64,
    spent: AtomicU64,
    suppressed: AtomicU64,
}

impl LineBudget {
    /// Takes one line. Returns the number of lines that were omitted since the last one.
    ///
    /// Two requests at the start of a window may both reset the count, which allows a few more lines.
    pub(crate) fn spend(&self, now: u64) -> Option<u64> {
        let window = now / WINDOW.as_secs();
        // Any other window counts as new, so that a clock that is set back does not silence the log.
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.spent.store(0, Ordering::Relaxed);
        }
        if self.spent.fetch_add(1, Ordering::Relaxed) < LINES {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// The seconds of a time since the epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Maximum number of lines of one kind in a window, and the length of the window.
pub(crate) const LINES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// The text of a reason, truncated to [`REASON`] bytes.
pub(crate) fn short(reason: &impl fmt::Display) -> String {
    let mut text = reason.to_string();
    if text.len() > REASON {
        let end = (0..=REASON).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

/// Reports settings that contradict each other.
pub(crate) fn settings_rejected(reason: &str) {
    event!(
        error,
        "jwt_settings_rejected",
        "settings contradict each other, so some tokens are not accepted",
        reason = reason
    );
}

/// The maximum length of a reason in bytes.
const REASON: usize = 1_024;
