//! Events of a denylist that instances share.

use std::fmt;

use crate::telemetry::{count, event, event_of_failure, short};

pub(crate) fn revocations_loaded(source: &str, marks: usize) {
    event!(
        info,
        "jwt_revocations_loaded",
        "all marks of the shared denylist loaded",
        source = source,
        marks = marks
    );
    count!("jwt_auth_revocation_loads_total");
}

pub(crate) fn revocations_failed(source: &str, reason: &str, is_first: bool) {
    let reason = short(&reason);
    event_of_failure!(
        is_first,
        warn,
        "jwt_revocations_failed",
        "the shared denylist cannot be read",
        "the shared denylist still cannot be read",
        source = source,
        reason = reason.as_str()
    );
    count!("jwt_auth_revocation_failures_total");
}

/// Reports the first success after failures.
pub(crate) fn revocations_recovered(source: &str) {
    event!(
        info,
        "jwt_revocations_recovered",
        "the shared denylist can be read again",
        source = source
    );
}

pub(crate) fn revocations_restored(source: &str, marks: usize) {
    event!(
        warn,
        "jwt_revocations_restored",
        "the shared denylist was restarted or has lost marks, those that are known here were written back",
        source = source,
        marks = marks
    );
}

/// Reports marks that cannot be read: the first mark, and then less and less often.
pub(crate) fn revocation_mark_skipped(source: &str, reason: &impl fmt::Display, skipped: u64) {
    if skipped.is_power_of_two() {
        let reason = short(reason);
        event!(
            warn,
            "jwt_revocation_skipped",
            "mark of the shared denylist cannot be read",
            source = source,
            reason = reason.as_str(),
            skipped = skipped
        );
    }
}
