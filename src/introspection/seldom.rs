//! [`Seldom`]: limits how often something is reported loudly.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time of the last loud report. A client may be able to cause a report with each request.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether a loud report may be made now. Then the next one has to wait.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.saturating_duration_since(last) >= BETWEEN);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

/// The time between two loud reports.
const BETWEEN: Duration = Duration::from_secs(10);
