//! Events of keys.

use std::fmt;

use crate::telemetry::{count, event, short};

pub(crate) fn keys_changed(
    cause: &'static str,
    generation: u64,
    count: usize,
    added: usize,
    removed: usize,
) {
    // The level of an event must be a constant, so each level needs its own call.
    macro_rules! changed {
        ($level:ident, $message:literal) => {
            event!(
                $level,
                "jwt_keys_changed",
                $message,
                change = cause,
                generation = generation,
                keys = count,
                added = added,
                removed = removed
            )
        };
    }
    match count {
        0 => changed!(warn, "no keys are left"),
        _ => changed!(info, "keys changed"),
    }
    count!("jwt_auth_key_changes_total", "change" => cause);
}

pub(crate) fn hook_panicked() {
    event!(
        error,
        "jwt_keys_hook_panicked",
        "a hook for key changes panicked",
    );
}

pub(crate) fn keys_rejected(reason: &impl fmt::Display) {
    let reason = short(reason);
    event!(
        warn,
        "jwt_keys_rejected",
        "key update rejected, the keys have not changed",
        reason = reason.as_str()
    );
    count!("jwt_auth_key_updates_rejected_total");
}

/// Reports the keys of a set that are not usable: one event for each of the first ones, and one event
/// with the number of the others. `unlisted` is the number of skipped keys that are not in `keys`.
pub(crate) fn keys_skipped(mut keys: impl Iterator<Item = impl fmt::Display>, unlisted: usize) {
    keys.by_ref().take(SKIPPED_MAX).for_each(|key| {
        let reason = short(&key);
        event!(
            warn,
            "jwt_key_skipped",
            "key of a set cannot be used",
            reason = reason.as_str()
        );
    });
    let more = keys.count().saturating_add(unlisted);
    if more > 0 {
        let reason = format!("{more} more keys of the set");
        event!(
            warn,
            "jwt_key_skipped",
            "keys of a set cannot be used",
            reason = reason.as_str()
        );
    }
}

/// The maximum number of skipped keys of a set that have their own event.
const SKIPPED_MAX: usize = 8;
