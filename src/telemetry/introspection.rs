//! Events of introspection.

use std::time::Duration;

use crate::telemetry::{count, event, event_of_failure, short};

/// Reports that an introspection endpoint rejects the credentials of this service, or its requests.
pub(crate) fn introspection_denied(reason: &str, is_first: bool) {
    let reason = short(&reason);
    event_of_failure!(
        is_first,
        error,
        "jwt_introspection_denied",
        "the introspection endpoint rejects this service, so tokens that it is asked about are answered with 503",
        "the introspection endpoint still rejects this service",
        reason = reason.as_str()
    );
    count!("jwt_auth_introspection_denied_total");
}

pub(crate) fn introspection_hit() {
    count!("jwt_auth_introspection_hits_total");
}

pub(crate) fn introspection_missed() {
    count!("jwt_auth_introspection_misses_total");
}

pub(crate) fn introspection_asked(issuer: &impl AsRef<str>) {
    event!(
        debug,
        "jwt_introspection_asked",
        "issuer is asked about a token",
        issuer = issuer.as_ref()
    );
}

/// Reports an introspection without a usable answer.
pub(crate) fn introspection_failed(issuer: &impl AsRef<str>, reason: &str, is_first: bool) {
    let (issuer, reason) = (issuer.as_ref(), short(&reason));
    event_of_failure!(
        is_first,
        warn,
        "jwt_introspection_failed",
        "introspection endpoint gives no usable answer",
        "introspection endpoint still gives no usable answer",
        issuer = issuer,
        reason = reason.as_str()
    );
    count!("jwt_auth_introspection_failures_total");
}

/// Reports that an endpoint is not used from now on. Not loud if another event contains the reason.
pub(crate) fn introspection_opened(
    issuer: &impl AsRef<str>,
    pause: Duration,
    reason: &str,
    is_loud: bool,
) {
    let (issuer, reason) = (issuer.as_ref(), short(&reason));
    event_of_failure!(
        is_loud,
        warn,
        "jwt_introspection_opened",
        "introspection endpoint is not asked for a while",
        "introspection endpoint is not asked for a while",
        issuer = issuer,
        seconds = pause.as_secs(),
        reason = reason.as_str()
    );
}

pub(crate) fn introspection_recovered(issuer: &impl AsRef<str>, away: Duration) {
    event!(
        info,
        "jwt_introspection_recovered",
        "introspection endpoint answers again",
        issuer = issuer.as_ref(),
        seconds = away.as_secs()
    );
}
