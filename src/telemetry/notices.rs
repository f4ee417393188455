//! Events of the logouts and security events that an issuer reports.

use std::fmt;

use crate::telemetry::{count, event, short};

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
    // The level of an event must be a constant, so each level needs its own call.
    macro_rules! rejected {
        ($level:ident) => {
            event!(
                $level,
                "jwt_notice_rejected",
                "notice of an issuer rejected",
                notice = notice,
                status = status,
                reason = short(reason).as_str(),
                suppressed = suppressed.unwrap_or_default()
            )
        };
    }
    match suppressed {
        None => rejected!(debug),
        Some(_) if status >= 500 => rejected!(warn),
        Some(_) => rejected!(info),
    }
    count!("jwt_auth_notices_rejected_total", "notice" => notice);
}
