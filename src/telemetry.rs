//! Events and metrics, behind functions that are always there and do nothing without their
//! feature. No token ever gets into one, and no claim but the issuer and the audience.
//!
//! The names are listed in `events.md`, which is part of the crate documentation.

use std::fmt;

/// An event. Its name begins the message too: subscribers print the message and seldom the name.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        tracing::$level!(
            name: $name,
            target: "tower_jwt_auth",
            message = concat!($name, ": ", $message)
            $(, $field = $value)*
        )
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        // Compiled, and never run.
        if false { let _ = $message; $(let _ = &$value;)* }
    };
}

/// Whether anybody listens to events of this level, or more severe ones.
#[cfg(feature = "tracing")]
macro_rules! is_heard {
    ($level:ident) => {
        tracing::enabled!(target: "tower_jwt_auth", tracing::Level::$level)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! is_heard {
    ($level:ident) => {
        false
    };
}

#[cfg(feature = "metrics")]
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)?) => {
        metrics::counter!($name $(, $label => $value)?).increment(1)
    };
}

#[cfg(not(feature = "metrics"))]
macro_rules! count {
    ($name:literal $(, $label:literal => $value:expr)?) => {
        { $(let _ = &$value;)? }
    };
}

pub(crate) use {count, event, is_heard};

/// The time that a verification takes, without what it waits for; nothing without `metrics`.
pub(crate) struct Timer {
    #[cfg(feature = "metrics")]
    start: std::time::Instant,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            start: std::time::Instant::now(),
        }
    }

    pub(crate) fn stop(self) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("jwt_auth_verification_seconds").record(self.start.elapsed());
    }
}

/// What is written for the operator, cut where it is longer than a line of a log should be.
pub(crate) fn short(reason: &impl fmt::Display) -> String {
    let mut text = reason.to_string();
    if text.len() > REASON {
        let end = (0..=REASON).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

pub(crate) fn keys_changed(
    cause: &'static str,
    generation: u64,
    count: usize,
    added: usize,
    removed: usize,
) {
    // The level of an event is a constant, so there is a call for each of the two.
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
        "the hook of a key change has panicked",
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

/// The keys of a set that cannot be used: the first ones, then how many more there are. Those that
/// are `unlisted` are not among them.
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

/// Skipped keys of one set that have an event of their own.
const SKIPPED_MAX: usize = 8;

#[cfg(feature = "_refresh")]
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

#[cfg(feature = "_refresh")]
pub(crate) fn keys_failed(source: &impl fmt::Display, reason: &str, is_first: bool) {
    let (source, reason) = (source.to_string(), short(&reason));
    if is_first {
        event!(
            warn,
            "jwt_keys_failed",
            "keys cannot be loaded, the last good ones stay",
            source = source.as_str(),
            reason = reason.as_str()
        );
    } else {
        event!(
            debug,
            "jwt_keys_failed",
            "keys still cannot be loaded",
            source = source.as_str(),
            reason = reason.as_str()
        );
    }
    count!("jwt_auth_key_load_failures_total");
}

/// After one failure or several.
#[cfg(feature = "_refresh")]
pub(crate) fn keys_recovered(source: &impl fmt::Display) {
    let source = source.to_string();
    event!(
        info,
        "jwt_keys_recovered",
        "keys can be loaded again",
        source = source.as_str()
    );
}

#[cfg(feature = "_refresh")]
pub(crate) fn keys_abandoned(source: &str, reason: &str) {
    event!(
        error,
        "jwt_keys_abandoned",
        "nothing loads the keys any more, the last good ones stay for a while",
        source = source,
        reason = reason
    );
}

#[cfg(feature = "_refresh")]
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

/// Bytes of a reason that get into an event.
const REASON: usize = 1_024;
