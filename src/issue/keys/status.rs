//! [`SigningKeyStatus`]: the state of signing keys, for an operator.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::issue::keys::ring::{Ring, unix};
use crate::issue::keys::schedule;
use crate::issue::keys::shared::{Shared, SigningKeyFailure, as_seconds_of};
use crate::keys::key::KeyId;
use crate::telemetry::seconds;

/// The state of signing keys, for a health page. Serializes to JSON, with times in seconds since the epoch.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SigningKeyStatus {
    /// The key that signs now.
    pub signing: Option<KeyId>,
    /// The keys, in the order in which they sign.
    pub keys: Vec<SigningKeyTimes>,
    /// When the store was last read. `None` for keys in memory.
    #[serde(serialize_with = "as_seconds")]
    pub loaded_at: Option<SystemTime>,
    /// Why the store cannot be read or written. `None` if it can.
    pub failure: Option<SigningKeyFailure>,
}

/// The instants of one key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SigningKeyTimes {
    /// The id.
    pub id: KeyId,
    /// The time from which the key is published.
    #[serde(serialize_with = "as_seconds_of")]
    pub publish: SystemTime,
    /// The time from which the key signs.
    #[serde(serialize_with = "as_seconds_of")]
    pub sign: SystemTime,
    /// The time from which the key no longer signs. `None` if it has no successor.
    #[serde(serialize_with = "as_seconds")]
    pub retire: Option<SystemTime>,
    /// The time from which the key no longer verifies tokens and is no longer published.
    #[serde(serialize_with = "as_seconds")]
    pub remove: Option<SystemTime>,
}

impl SigningKeyStatus {
    pub(super) fn of(ring: &Ring) -> Self {
        let (slots, now) = (ring.slots(), ring.now());
        let signing = schedule::signing(&slots, now).and_then(|position| slots.get(position));
        let end = |instant: u64| (instant < u64::MAX).then(|| unix(instant));
        let keys = slots.iter().map(|slot| SigningKeyTimes {
            id: slot.key.id().clone(),
            publish: unix(slot.times.publish),
            sign: unix(slot.times.sign),
            retire: end(slot.times.retire),
            remove: end(slot.times.remove),
        });
        Self {
            signing: signing.map(|slot| slot.key.id().clone()),
            keys: keys.collect(),
            loaded_at: ring.shared.as_ref().and_then(Shared::loaded_at),
            failure: ring.shared.as_ref().and_then(Shared::failure),
        }
    }
}

#[expect(clippy::ref_option, reason = "the signature that serde wants")]
fn as_seconds<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(seconds).serialize(serializer)
}
