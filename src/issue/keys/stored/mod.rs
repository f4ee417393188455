//! The form of signing keys in a store: JSON with each private key in DER and its instants.

#[cfg(any(test, feature = "_fuzz"))]
mod fuzz;

use std::sync::Arc;

use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::fuzz::stored_keys as fuzz_stored_keys;
use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::schedule::Times;
use crate::issue::keys::signing_key::{SigningKey, Slot};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::KeyId;
use crate::keys::private_key::PrivateKey;

#[derive(Deserialize, Serialize)]
struct Document<'a> {
    format: u32,
    #[serde(borrow)]
    keys: Vec<Entry<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Entry<'a> {
    alg: Algorithm,
    kid: String,
    /// Borrowed, so that no copy of it is made.
    der: &'a str,
    publish: u64,
    sign: u64,
    retire: u64,
    remove: u64,
}

/// Reads stored keys. None is skipped: an instance that does not know one of them must not write.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Slot>, SigningKeyError> {
    if bytes.len() > MAX_SIZE {
        return Err(unusable(format!("they have more than {MAX_SIZE} bytes")));
    }
    let document: Document<'_> = serde_json::from_slice(bytes)
        // Without the text of the error, which may quote the input.
        .map_err(|error| unusable(format!("no such JSON at column {}", error.column())))?;
    if document.format != FORMAT {
        let found = document.format;
        return Err(unusable(format!(
            "they have format {found}, expected {FORMAT}"
        )));
    }
    if document.keys.len() > MAX_KEYS {
        return Err(unusable(format!("there are more than {MAX_KEYS} keys")));
    }
    let mut slots = document
        .keys
        .iter()
        .map(slot)
        .collect::<Result<Vec<_>, _>>()?;
    slots.sort_by_key(|slot| slot.times.sign);
    Ok(slots)
}

fn slot(entry: &Entry<'_>) -> Result<Slot, SigningKeyError> {
    let der = URL_SAFE_NO_PAD.decode_to_vec(entry.der);
    let der = Zeroizing::new(der.map_err(|_| unusable("a key is no base64url".into()))?);
    let key = PrivateKey::from_der(entry.alg, &der)
        .map(|private| private.with_id(KeyId::new(&entry.kid)))
        .and_then(SigningKey::own)
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Slot {
        key: Arc::new(key),
        times: Times {
            publish: entry.publish,
            sign: entry.sign,
            retire: entry.retire,
            remove: entry.remove,
        },
    })
}

/// Writes keys.
pub(super) fn write(slots: &[Slot]) -> Result<Vec<u8>, SigningKeyError> {
    if slots.len() > MAX_KEYS {
        return Err(SigningKeyError::Full { maximum: MAX_KEYS });
    }
    let ders = slots
        .iter()
        .map(|slot| {
            let der = slot.key.private().and_then(PrivateKey::to_der);
            let der = der.ok_or(SigningKeyError::NotStorable)?;
            Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode_to_string(&*der)))
        })
        .collect::<Result<Vec<_>, SigningKeyError>>()?;
    let keys = slots.iter().zip(&ders).map(|(slot, der)| Entry {
        alg: slot.key.algorithm(),
        kid: slot.key.id().to_string(),
        der,
        publish: slot.times.publish,
        sign: slot.times.sign,
        retire: slot.times.retire,
        remove: slot.times.remove,
    });
    let document = Document {
        format: FORMAT,
        keys: keys.collect(),
    };
    // Large enough from the start: a buffer that grows leaves copies behind.
    let sizes = ders.iter().zip(slots);
    let size = sizes.map(|(der, slot)| der.len() + 6 * slot.key.id().as_str().len() + 256);
    let mut text = Vec::with_capacity(size.sum::<usize>().saturating_add(256));
    serde_json::to_writer(&mut text, &document).map_err(|error| unusable(error.to_string()))?;
    Ok(text)
}

fn unusable(reason: String) -> SigningKeyError {
    SigningKeyError::Unavailable {
        reason: format!("the stored keys are not usable: {reason}"),
    }
}

const FORMAT: u32 = 1;
/// The maximum number of keys, with those that have ended.
pub(super) const MAX_KEYS: usize = 32;
const MAX_SIZE: usize = 512 * 1_024;
