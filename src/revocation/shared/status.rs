//! [`RedisStatus`]: the state of a shared denylist, for an operator.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

use crate::unix_seconds;

/// The state of a [`RedisDenylist`](super::RedisDenylist).
///
/// [`Display`](fmt::Display) prints one line for an operator. Serialized times are seconds since
/// 1970, and durations are seconds.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RedisStatus {
    /// The namespace and the address, without user and password: `calendar at redis:6379`.
    pub source: String,
    /// The time since which the process has been connected and received changes.
    #[serde(serialize_with = "unix_seconds::serialize_if_any")]
    pub connected_since: Option<SystemTime>,
    /// The maximum age of the copy in memory: changes in Redis that are newer may be missing. `None` if
    /// the marks have not been loaded yet.
    #[serde(serialize_with = "duration_if_any")]
    pub lag: Option<Duration>,
    /// Whether the lag is above [`max_lag`](super::RedisSettings::max_lag), or the marks have not been
    /// loaded yet.
    pub is_behind: bool,
    /// The number of targets with marks.
    pub marks: usize,
    /// The number of times that all marks were read: at the start, and after each loss.
    pub snapshots: u64,
    /// The number of marks in Redis that this version cannot read and does not apply.
    pub skipped: u64,
    /// Why the last attempt failed, and since when attempts have been failing. `None` if the last
    /// attempt succeeded.
    pub failing: Option<RedisFailure>,
}

/// Why changes cannot be read.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RedisFailure {
    /// The time of the first failed attempt since the last success.
    #[serde(serialize_with = "unix_seconds::serialize")]
    pub since: SystemTime,
    /// The reason for the last failure.
    pub reason: String,
}

impl fmt::Display for RedisStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let marks = if self.marks == 1 { "mark" } else { "marks" };
        write!(f, "{}: {} {marks}, ", self.source, self.marks)?;
        match self.lag {
            None => f.write_str("not loaded yet")?,
            Some(lag) => write!(f, "lag {:.1} s", lag.as_secs_f64())?,
        }
        if self.is_behind && self.lag.is_some() {
            f.write_str(", which is too much")?;
        }
        if let Some(failing) = &self.failing {
            write!(f, "; failing: {}", failing.reason)?;
        }
        Ok(())
    }
}

/// What the follower notes for the status.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) source: String,
    pub(super) connected_since: Option<SystemTime>,
    pub(super) snapshots: u64,
    pub(super) skipped: u64,
    pub(super) failing: Option<RedisFailure>,
    /// Whether the task has ended.
    pub(super) has_ended: bool,
}

#[expect(clippy::ref_option, reason = "the signature that serde calls")]
fn duration_if_any<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_f64(duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
