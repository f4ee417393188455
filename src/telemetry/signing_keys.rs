//! Events of signing keys.

use std::fmt;

use crate::telemetry::{count, event, event_of_failure, short};

/// Reports that the keys cannot be loaded, stored or generated.
pub(crate) fn signing_keys_failed(reason: &impl fmt::Display, is_first: bool) {
    let reason = short(reason);
    event_of_failure!(
        is_first,
        warn,
        "jwt_signing_keys_failed",
        "signing keys cannot be loaded or stored, those that are known stay in use if there are any",
        "signing keys still cannot be loaded or stored",
        reason = reason.as_str()
    );
    count!("jwt_auth_signing_key_failures_total");
}

/// Reports the first success after failures.
pub(crate) fn signing_keys_recovered() {
    event!(
        info,
        "jwt_signing_keys_recovered",
        "signing keys can be loaded and stored again",
    );
}

/// Reports a manual rotation.
pub(crate) fn signing_key_rotated(id: &str) {
    let id = short(&id);
    event!(
        info,
        "jwt_signing_key_rotated",
        "a signing key was published by hand, and signs after the lead",
        key = id.as_str()
    );
}

/// Reports a key that was revoked.
pub(crate) fn signing_key_revoked(id: &str) {
    let id = short(&id);
    event!(
        warn,
        "jwt_signing_key_revoked",
        "a signing key was revoked, its tokens are rejected",
        key = id.as_str()
    );
    count!("jwt_auth_signing_keys_revoked_total");
}
