//! Events of the loads of keys.

use std::fmt;

use crate::telemetry::{count, event, event_of_failure, short};

pub(crate) fn keys_loaded(source: &impl fmt::Display) {
    let source = source.to_string();
    event!(
        debug,
        "jwt_keys_loaded",
        "keys loaded",
        source = source.as_str()
    );
    count!("jwt_auth_key_loads_total");
}

pub(crate) fn keys_failed(source: &impl fmt::Display, reason: &str, is_first: bool) {
    let (source, reason) = (source.to_string(), short(&reason));
    event_of_failure!(
        is_first,
        warn,
        "jwt_keys_failed",
        "keys cannot be loaded, earlier keys stay in use if there are any",
        "keys still cannot be loaded",
        source = source.as_str(),
        reason = reason.as_str()
    );
    count!("jwt_auth_key_load_failures_total");
}

/// Reports the first successful load after failures.
pub(crate) fn keys_recovered(source: &impl fmt::Display) {
    let source = source.to_string();
    event!(
        info,
        "jwt_keys_recovered",
        "keys can be loaded again",
        source = source.as_str()
    );
}

pub(crate) fn keys_abandoned(source: &str, reason: &str) {
    event!(
        error,
        "jwt_keys_abandoned",
        "keys are no longer loaded, earlier keys stay in use for a limited time if there are any",
        source = source,
        reason = reason
    );
}

pub(crate) fn key_id_rejected() {
    event!(
        debug,
        "jwt_key_id_rejected",
        "unknown key id, and no load may begin for it now",
    );
    count!("jwt_auth_unknown_key_ids_rejected_total");
}

#[cfg(feature = "remote")]
pub(crate) fn key_snapshot(source: &impl fmt::Display, outcome: &str) {
    let source = source.to_string();
    event!(
        warn,
        "jwt_key_snapshot",
        "saved keys of the last run",
        source = source.as_str(),
        outcome = outcome
    );
}
