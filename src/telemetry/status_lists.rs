//! Events of status lists.

use std::fmt;
use std::time::SystemTime;

use crate::telemetry::{LineBudget, count, event, event_of_failure, seconds, short};

pub(crate) fn status_list_loaded(uri: &str, bytes: usize) {
    event!(
        debug,
        "jwt_status_list_loaded",
        "status list loaded",
        list = uri,
        bytes = bytes
    );
    count!("jwt_auth_status_list_loads_total");
}

pub(crate) fn status_list_failed(reason: &impl fmt::Display, is_first: bool) {
    let reason = short(reason);
    event_of_failure!(
        is_first,
        warn,
        "jwt_status_list_failed",
        "a status list cannot be loaded, and its tokens are answered with 503 when it is too old",
        "a status list still cannot be loaded",
        reason = reason.as_str()
    );
    count!("jwt_auth_status_list_failures_total");
}

/// Reports a token whose place in a list cannot be determined, at most 10 times in 10 seconds per
/// thread.
pub(crate) fn status_list_unusable_reference(issuer: &str, reason: &'static str) {
    thread_local! {
        static LINES_LEFT: LineBudget = LineBudget::default();
    }
    let now = seconds(SystemTime::now());
    // The budget no longer exists while a thread ends. Then nothing is reported.
    if let Ok(Some(suppressed)) = LINES_LEFT.try_with(|budget| budget.spend(now)) {
        event!(
            warn,
            "jwt_status_list_reference_unusable",
            "a token is rejected, because its place in a status list cannot be found out",
            issuer = issuer,
            reason = reason,
            suppressed = suppressed
        );
    }
}
