//! Events of the logouts and security events that an issuer reports.

use std::fmt;

use crate::telemetry::{count, event, event_of_request, short};

/// Reports a logout or a security event whose marks are stored.
pub(crate) fn notice_accepted(notice: &'static str, issuer: &str, marks: usize) {
    event!(
        info,
        "jwt_notice_accepted",
        "notice of an issuer accepted",
        notice = notice,
        issuer = issuer,
        marks = marks
    );
    count!("jwt_auth_notices_accepted_total", "notice" => notice);
}

/// Reports a logout or a security event that was answered with an error. `suppressed` is `None` if the
/// line is over the budget.
pub(crate) fn notice_rejected(
    notice: &'static str,
    status: u16,
    reason: &impl fmt::Display,
    suppressed: Option<u64>,
) {
    event_of_request!(
        suppressed,
        status >= 500,
        "jwt_notice_rejected",
        "notice of an issuer rejected",
        notice = notice,
        status = status,
        reason = short(reason).as_str(),
    );
    count!("jwt_auth_notices_rejected_total", "notice" => notice);
}
