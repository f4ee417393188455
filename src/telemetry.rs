//! Events and metrics. The functions exist without the features too, and then do nothing.
//!
//! No event contains a token. `events.md`, which is part of the crate documentation, lists the names and
//! says what an event may contain.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Writes an event. The message begins with the name, because most subscribers do not print the name.
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
        // Compiled, so that the arguments count as used, and never run.
        if false { let _ = $message; $(let _ = &$value;)* }
    };
}

/// Whether a subscriber is interested in events of this level.
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

/// Measures the time of a verification, without the time that it waits. Does nothing without `metrics`.
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

    /// Records the time of a question to an introspection endpoint.
    #[cfg(feature = "introspection")]
    pub(crate) fn stop_introspection(self) {
        #[cfg(feature = "metrics")]
        metrics::histogram!("jwt_auth_introspection_seconds").record(self.start.elapsed());
    }
}

/// The number of lines that one kind of rejection may write in a window of time.
#[derive(Debug, Default)]
pub(crate) struct LineBudget {
    window: AtomicU64,
    spent: AtomicU64,
    suppressed: AtomicU64,
}

impl LineBudget {
    /// Takes one line. Returns the number of lines that were omitted since the last one.
    ///
    /// Two requests at the start of a window may both reset the count. Then there are a few more lines.
    pub(crate) fn spend(&self, now: u64) -> Option<u64> {
        let window = now / WINDOW.as_secs();
        // Any other window counts as new, so that a clock that is set back does not silence the log.
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.spent.store(0, Ordering::Relaxed);
        }
        if self.spent.fetch_add(1, Ordering::Relaxed) < LINES {
            Some(self.suppressed.swap(0, Ordering::Relaxed))
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

/// The seconds of a time since the epoch.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// Maximum number of lines of one kind in a window, and the length of the window.
pub(crate) const LINES: u64 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// The text of a reason, truncated to [`REASON`] bytes.
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

#[cfg(feature = "redis")]
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

#[cfg(feature = "redis")]
pub(crate) fn revocations_failed(source: &str, reason: &str, is_first: bool) {
    let reason = short(&reason);
    if is_first {
        event!(
            warn,
            "jwt_revocations_failed",
            "the shared denylist cannot be read",
            source = source,
            reason = reason.as_str()
        );
    } else {
        event!(
            debug,
            "jwt_revocations_failed",
            "the shared denylist still cannot be read",
            source = source,
            reason = reason.as_str()
        );
    }
    count!("jwt_auth_revocation_failures_total");
}

/// Reports the first success after failures.
#[cfg(feature = "redis")]
pub(crate) fn revocations_recovered(source: &str) {
    event!(
        info,
        "jwt_revocations_recovered",
        "the shared denylist can be read again",
        source = source
    );
}

#[cfg(feature = "redis")]
pub(crate) fn revocations_restored(source: &str, marks: usize) {
    event!(
        warn,
        "jwt_revocations_restored",
        "the shared denylist was restarted or has lost marks, those that are known here were written back",
        source = source,
        marks = marks
    );
}

/// Reports marks that cannot be read: the first one, and then ever fewer of them.
#[cfg(feature = "redis")]
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
            "keys cannot be loaded, earlier keys stay in use if there are any",
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

/// Reports the first successful load after failures.
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
        "keys are no longer loaded, earlier keys stay in use for a limited time if there are any",
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

/// Reports that an introspection endpoint rejects the credentials of this service, or its requests.
#[cfg(feature = "introspection")]
pub(crate) fn introspection_denied(reason: &str, is_first: bool) {
    let reason = short(&reason);
    if is_first {
        event!(
            error,
            "jwt_introspection_denied",
            "the introspection endpoint rejects this service, so opaque tokens are answered with 503",
            reason = reason.as_str()
        );
    } else {
        event!(
            debug,
            "jwt_introspection_denied",
            "the introspection endpoint still rejects this service",
            reason = reason.as_str()
        );
    }
    count!("jwt_auth_introspection_denied_total");
}

/// Reports settings that contradict each other.
pub(crate) fn settings_rejected(reason: &str) {
    event!(
        error,
        "jwt_settings_rejected",
        "settings contradict each other, so some tokens are answered with 503",
        reason = reason
    );
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_hit() {
    count!("jwt_auth_introspection_hits_total");
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_missed() {
    count!("jwt_auth_introspection_misses_total");
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_asked(issuer: &impl AsRef<str>) {
    event!(
        debug,
        "jwt_introspection_asked",
        "issuer is asked about a token",
        issuer = issuer.as_ref()
    );
}

/// Reports a question without a usable answer.
#[cfg(feature = "introspection")]
pub(crate) fn introspection_failed(issuer: &impl AsRef<str>, reason: &str, is_first: bool) {
    let (issuer, reason) = (issuer.as_ref(), short(&reason));
    if is_first {
        event!(
            warn,
            "jwt_introspection_failed",
            "introspection endpoint gives no usable answer",
            issuer = issuer,
            reason = reason.as_str()
        );
    } else {
        event!(
            debug,
            "jwt_introspection_failed",
            "introspection endpoint still gives no usable answer",
            issuer = issuer,
            reason = reason.as_str()
        );
    }
    count!("jwt_auth_introspection_failures_total");
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_opened(issuer: &impl AsRef<str>, pause: std::time::Duration) {
    event!(
        warn,
        "jwt_introspection_opened",
        "introspection endpoint is not asked for a while",
        issuer = issuer.as_ref(),
        seconds = pause.as_secs()
    );
}

#[cfg(feature = "introspection")]
pub(crate) fn introspection_recovered(issuer: &impl AsRef<str>, away: std::time::Duration) {
    event!(
        info,
        "jwt_introspection_recovered",
        "introspection endpoint answers again",
        issuer = issuer.as_ref(),
        seconds = away.as_secs()
    );
}

/// Reports a logout or a security event whose marks are stored.
#[cfg(feature = "logout")]
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
#[cfg(feature = "logout")]
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

#[cfg(feature = "status-list")]
pub(crate) fn status_list_loaded(uri: &str, bytes: usize) {
    event!(
        debug,
        "jwt_status_list_loaded",
        "status list loaded",
        list = uri,
        bytes = bytes
    );
    count!("jwt_auth_status_list_loads_total");
}

#[cfg(feature = "status-list")]
pub(crate) fn status_list_failed(reason: &impl fmt::Display, is_first: bool) {
    let reason = short(reason);
    if is_first {
        event!(
            warn,
            "jwt_status_list_failed",
            "a status list cannot be loaded, and its tokens are answered with 503 when it is too old",
            reason = reason.as_str()
        );
    } else {
        event!(
            debug,
            "jwt_status_list_failed",
            "a status list still cannot be loaded",
            reason = reason.as_str()
        );
    }
    count!("jwt_auth_status_list_failures_total");
}

/// Reports a token whose list may not be fetched. At most 10 times in 10 s of each thread.
#[cfg(feature = "status-list")]
pub(crate) fn status_list_foreign(issuer: &str) {
    thread_local! {
        static LINES_LEFT: LineBudget = LineBudget::default();
    }
    let now = seconds(SystemTime::now());
    // The budget is gone while a thread ends. Then nothing is reported.
    if let Ok(Some(suppressed)) = LINES_LEFT.try_with(|budget| budget.spend(now)) {
        event!(
            warn,
            "jwt_status_list_foreign",
            "a token names a status list that is behind no prefix of its issuer",
            issuer = issuer,
            suppressed = suppressed
        );
    }
}

/// The maximum length of a reason in bytes.
const REASON: usize = 1_024;
