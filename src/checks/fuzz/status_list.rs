//! Status lists and the references to them, against a second reading by `serde_json`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use miniz_oxide::inflate::decompress_to_vec_zlib;
use serde_json::{Map, Value};

use crate::revocation::status_list::list::ListToken;
use crate::revocation::status_list::reference::Reference;
use crate::token::registered::Registered;

/// The payload of a status list token, and the claims of a token that names one.
pub fn status_list(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    reference(text);
    let Ok(token) = ListToken::read(text, LIMIT) else {
        return;
    };
    assert!(token.list.size() <= LIMIT);
    let Ok(payload) = serde_json::from_str::<Map<String, Value>>(text) else {
        return; // `serde_json` rejects a number that is out of range
    };
    assert_eq!(
        payload.get("sub").and_then(Value::as_str),
        Some(&*token.subject)
    );
    let list = payload.get("status_list").expect("a list");
    let bits = list
        .get("bits")
        .and_then(Value::as_u64)
        .expect("a number of bits");
    let packed = list
        .get("lst")
        .and_then(Value::as_str)
        .expect("a list in base64url");
    let packed = URL_SAFE_NO_PAD.decode(packed).expect("base64url");
    let bytes = decompress_to_vec_zlib(&packed).expect("zlib");
    let mut statuses = bytes.iter().flat_map(|byte| {
        let places = (0..8).step_by(usize::try_from(bits).expect("a few bits"));
        places.map(move |place| u64::from(*byte) >> place & ((1 << bits) - 1))
    });
    let mut index = 0;
    while let Some(status) = token.list.get(index) {
        assert_eq!(statuses.next(), Some(status.into()), "{index}");
        index += 1;
    }
    assert!(statuses.next().is_none());
}

fn reference(text: &str) {
    // The verifier rejects a longer payload before it reads it.
    if text.len() > 20_000 {
        return;
    }
    let Ok(claims) = Registered::read(text.to_owned()) else {
        return;
    };
    let Ok(payload) = serde_json::from_str::<Map<String, Value>>(text) else {
        return;
    };
    let status = payload.get("status").filter(|status| !status.is_null());
    let list = status.and_then(|status| status.get("status_list"));
    match Reference::of(&claims) {
        Ok(None) => {
            assert!(status.is_none_or(Value::is_object) && list.is_none());
        }
        Ok(Some(reference)) => {
            let member = |name: &str| list.and_then(|list| list.get(name));
            assert_eq!(member("idx").and_then(Value::as_u64), Some(reference.index));
            assert_eq!(member("uri").and_then(Value::as_str), Some(&*reference.uri));
        }
        Err(_) => assert!(status.is_some()),
    }
}

const LIMIT: usize = 10_000;
