//! Stored signing keys, against a second reading by `serde_json`.

#![expect(clippy::expect_used, reason = "an oracle fails by panic")]

use serde_json::Value;

use super::{MAX_KEYS, Slot, read, write};

/// The bytes of a store. What was read is written in a form that reads as the same keys.
pub(crate) fn stored_keys(bytes: &[u8]) {
    let reference = serde_json::from_slice::<Value>(bytes);
    let slots = match read(bytes) {
        Ok(slots) => slots,
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
            let keys = reference.iter().flat_map(keys_in);
            let mut ders = keys.filter_map(|key| key["der"].as_str());
            let is_quoted = ders.any(|der| der.len() > 8 && sentence.contains(der));
            assert!(!is_quoted, "a private key is in the reason");
            return;
        }
    };
    let reference = reference.expect("JSON");
    assert_eq!(reference.get("format"), Some(&Value::from(1)));
    let mut expected: Vec<_> = keys_in(&reference).collect();
    expected.sort_by_key(|key| key["sign"].as_u64());
    assert!(slots.len() <= MAX_KEYS);
    assert_eq!(slots.len(), expected.len());
    for (slot, key) in slots.iter().zip(expected) {
        assert_eq!(key["kid"], slot.key.id().as_str());
        assert_eq!(key["alg"], slot.key.algorithm().as_str());
        let times = [
            ("publish", slot.times.publish),
            ("sign", slot.times.sign),
            ("retire", slot.times.retire),
            ("remove", slot.times.remove),
        ];
        times
            .iter()
            .for_each(|(name, time)| assert_eq!(key[name], *time));
    }
    let written = write(&slots).expect("what was read can be written");
    let again = read(&written).expect("what was written can be read");
    let seen = |slots: &[Slot]| -> Vec<_> {
        let seen = slots.iter().map(|slot| {
            let jwk = slot.key.jwk().map(str::to_owned);
            (jwk, slot.key.id().clone(), slot.key.algorithm(), slot.times)
        });
        seen.collect()
    };
    assert_eq!(seen(&again), seen(&slots));
}

fn keys_in(document: &Value) -> impl Iterator<Item = &Value> {
    document["keys"].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_has_a_key_of_each_kind() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/issued/stored_keys");
        let seed = std::fs::read(path).unwrap();
        assert_eq!(read(&seed).unwrap().len(), 3);
    }
}
