//! Events and metrics, behind functions that are always there and do nothing without their
//! feature. No token, and above the debug level no claim, ever gets into one.
//!
//! The names are listed in `telemetry.md`, which is part of the crate documentation.

use crate::claims::Claims;
use crate::config_error::ConfigError;
use crate::error::{Rejection, RejectionKind};
use crate::keys::set::{KeySet, SkippedKey};
use crate::keys::status::KeyChange;

#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        tracing::$level!(name: $name, target: "tower_jwt_auth", $($field = $value,)* $message)
    };
}

#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $name:literal, $message:literal, $($field:ident = $value:expr),* $(,)?) => {
        // Compiled, and never run.
        if false { $(let _ = &$value;)* }
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

pub(crate) fn accepted<C>(claims: &Claims<C>) {
    event!(
        debug,
        "jwt_accepted",
        "token accepted",
        issuer = claims.issuer()
    );
    count!("jwt_auth_accepted_total");
}

pub(crate) fn rejected(rejection: &Rejection) {
    let kind = rejection.kind();
    let status = rejection.status().as_u16();
    // Written out only where somebody listens.
    let reason = || rejection.to_string();
    match kind {
        RejectionKind::MissingLayer => {
            event!(
                error,
                "jwt_layer_missing",
                "layer missing",
                reason = reason().as_str()
            );
        }
        RejectionKind::KeySourceUnavailable | RejectionKind::RevocationUnavailable => {
            event!(
                warn,
                "jwt_rejected",
                "no verdict possible",
                kind = kind.as_str(),
                status = status
            );
            event!(
                warn,
                "jwt_rejected_reason",
                "no verdict possible",
                kind = kind.as_str(),
                reason = reason().as_str()
            );
        }
        _ => {
            event!(
                info,
                "jwt_rejected",
                "request rejected",
                kind = kind.as_str(),
                status = status
            );
            event!(
                debug,
                "jwt_rejected_reason",
                "request rejected",
                kind = kind.as_str(),
                reason = reason().as_str()
            );
        }
    }
    count!("jwt_auth_rejected_total", "kind" => kind.as_str());
}

pub(crate) fn keys_changed(change: &KeyChange) {
    let cause = change.cause.as_str();
    event!(
        info,
        "jwt_keys_changed",
        "keys changed",
        change = cause,
        generation = change.generation,
        keys = change.count,
        added = change.added.len(),
        removed = change.removed.len()
    );
    count!("jwt_auth_key_changes_total", "change" => cause);
}

pub(crate) fn hook_panicked() {
    event!(
        error,
        "jwt_keys_hook_panicked",
        "the hook of a key change has panicked",
    );
}

pub(crate) fn keys_refused(error: &ConfigError) {
    let reason = error.to_string();
    event!(
        warn,
        "jwt_keys_refused",
        "key update refused, the keys stay as they were",
        reason = reason.as_str()
    );
    count!("jwt_auth_key_updates_refused_total");
}

/// The keys of a set that something is wrong with: the first ones, then how many more there are.
pub(crate) fn keys_skipped(set: &KeySet) {
    let defects = set.skipped().iter().filter(|key| key.is_defect());
    defects.clone().take(SKIPPED_MAX).for_each(key_skipped);
    let unlisted = set.skipped_count().saturating_sub(set.skipped().len());
    let more = defects.skip(SKIPPED_MAX).count().saturating_add(unlisted);
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

fn key_skipped(key: &SkippedKey) {
    let reason = key.to_string();
    event!(
        warn,
        "jwt_key_skipped",
        "key of a set cannot be used",
        reason = reason.as_str()
    );
}

/// Skipped keys of one set that have an event of their own.
const SKIPPED_MAX: usize = 8;

#[cfg(feature = "_refresh")]
pub(crate) fn keys_loaded(source: &impl std::fmt::Display) {
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
pub(crate) fn keys_failed(source: &impl std::fmt::Display, reason: &str) {
    let source = source.to_string();
    event!(
        warn,
        "jwt_keys_failed",
        "keys cannot be loaded, the last good ones stay",
        source = source.as_str(),
        reason = reason
    );
    count!("jwt_auth_key_load_failures_total");
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
pub(crate) fn key_id_refused() {
    event!(
        debug,
        "jwt_key_id_refused",
        "unknown key id within the cooldown",
    );
    count!("jwt_auth_unknown_key_ids_refused_total");
}

#[cfg(feature = "remote")]
pub(crate) fn boot_keys(source: &impl std::fmt::Display, outcome: &str) {
    let source = source.to_string();
    event!(
        warn,
        "jwt_boot_keys",
        "keys kept for the next start",
        source = source.as_str(),
        outcome = outcome
    );
}
