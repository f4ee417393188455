//! Times as whole seconds since 1970, in the serialized status of keys, introspection and denylists.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serializer;

pub(crate) fn serialize<S: Serializer>(
    time: &SystemTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    serializer.serialize_u64(since.as_secs())
}

pub(crate) fn serialize_if_any<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}
