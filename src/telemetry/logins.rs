//! Events of own logins.

use std::fmt;

use crate::telemetry::{count, event, event_of_request, short};

pub(crate) fn login_begun() {
    event!(debug, "jwt_login_begun", "session begun",);
    count!("jwt_auth_logins_total");
}

/// Reports a login that could not be begun, renewed or listed. The client gets only the status. `suppressed`
/// is `None` if the line is over the budget.
pub(crate) fn login_failed(
    operation: &'static str,
    status: u16,
    reason: &impl fmt::Display,
    suppressed: Option<u64>,
) {
    event_of_request!(
        suppressed,
        status >= 500,
        "jwt_login_failed",
        "login failed",
        operation = operation,
        status = status,
        reason = short(reason).as_str(),
    );
    count!("jwt_auth_login_failures_total", "operation" => operation);
}

pub(crate) fn session_ended() {
    event!(debug, "jwt_session_ended", "session ended",);
    count!("jwt_auth_sessions_ended_total");
}

/// Reports a session that may have ended only partly. `suppressed` is `None` if the line is over the budget.
pub(crate) fn end_failed(reason: &impl fmt::Display, suppressed: Option<u64>) {
    event_of_request!(
        suppressed,
        true,
        "jwt_session_end_failed",
        "session could not be ended completely, end it again",
        reason = short(reason).as_str(),
    );
    count!("jwt_auth_session_end_failures_total");
}

/// Reports a cookie that browsers ignore.
pub(crate) fn login_cookie_too_long(name: &str, bytes: usize) {
    event!(
        error,
        "jwt_login_cookie_too_long",
        "a token is too long for a cookie, so browsers ignore it: give it fewer claims",
        cookie = name,
        bytes = bytes,
    );
}

pub(crate) fn refreshed() {
    event!(debug, "jwt_refreshed", "session refreshed",);
    count!("jwt_auth_refreshes_total");
}

/// Reports a refresh token that two parties have.
pub(crate) fn refresh_reused(session: &str) {
    event!(
        warn,
        "jwt_refresh_reused",
        "refresh token used again, the session was ended: the token may have been stolen",
        session = session
    );
    count!("jwt_auth_refresh_reuses_total");
}

/// Reports a store that has lost the last writes of a session.
pub(crate) fn sessions_set_back(session: &str) {
    event!(
        warn,
        "jwt_sessions_set_back",
        "the store of sessions has lost writes: a refresh token is newer than its session",
        session = session
    );
    count!("jwt_auth_sessions_set_back_total");
}

/// Reports a refresh that was answered with an error. `suppressed` is `None` if the line is over the
/// budget.
pub(crate) fn refresh_rejected(
    kind: &'static str,
    status: u16,
    reason: &impl fmt::Display,
    suppressed: Option<u64>,
) {
    event_of_request!(
        suppressed,
        status >= 500,
        "jwt_refresh_rejected",
        "refresh rejected",
        kind = kind,
        status = status,
        reason = short(reason).as_str(),
    );
    count!("jwt_auth_refreshes_rejected_total", "kind" => kind);
}
