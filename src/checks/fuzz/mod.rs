//! Functions that take any bytes, pass them to a parser, and assert what must hold for every result.
//!
//! They are called by the fuzzer in `fuzz/`, by `tests/fuzz_smoke.rs` with mutated seeds, and by the property
//! tests with generated input. They are not part of the public API.

#![expect(clippy::expect_used, reason = "an oracle fails by panic")]

mod challenges;
mod curves;
mod document;
mod faults;
#[cfg(feature = "remote")]
mod fetched;
#[cfg(feature = "introspection")]
mod introspected;
mod keys;
mod maker;
mod material;
mod model;
#[cfg(feature = "logout")]
mod notices;
#[cfg(feature = "pem")]
mod pem;
mod readers;
mod request;
mod signers;
#[cfg(feature = "status-list")]
mod status_list;
mod values;
mod verdicts;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use self::model::{Rules, Trust, World};
use self::readers::{is_same, one_line, rejected, unusable, value_of};
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::error::rejection::Rejection;
use crate::issuer::{Audience, Issuer};
use crate::json::{self, JsonError};
use crate::keys::key::Key;
use crate::keys::set::KeySet;
use crate::layer::JwtAuth;
use crate::request::{CsrfPolicy, TokenCookie};
use crate::token::compact::Unverified;
use crate::token::names;
use crate::token::pointer::ClaimPointer;
use crate::verifier::Verifier;

pub use challenges::challenge;
#[cfg(feature = "remote")]
pub use fetched::fetched;
#[cfg(feature = "introspection")]
pub use introspected::introspection_answer;
#[cfg(feature = "logout")]
pub use notices::{logout_token, security_event};
#[cfg(feature = "pem")]
pub use pem::pem;
pub use request::{authorization, request};
#[cfg(feature = "status-list")]
pub use status_list::status_list;
pub use verdicts::verdicts;

/// Responses of a Redis server, and single rows of a shared denylist. A row that was read is written
/// in the same form again.
#[cfg(feature = "redis")]
pub fn redis_entry(bytes: &[u8]) {
    crate::revocation::shared::fuzz(bytes);
}

/// The text of a refresh token, and stored signing keys.
#[cfg(feature = "issue")]
pub fn issued(bytes: &[u8]) {
    crate::issue::fuzz_refresh_token(bytes);
    crate::issue::fuzz_stored_keys(bytes);
}

/// JSON text: accepted text has the same meaning as for `serde_json`, and text that is rejected for its
/// syntax is rejected by `serde_json` too.
pub fn json(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let mut members = Map::new();
    let read = json::read_object(text, json::MAX_MEMBERS, |name, value| {
        members.insert(name.into_owned(), value_of(value));
    });
    let reference = serde_json::from_str::<Map<String, Value>>(text);
    match (read, reference) {
        (Ok(()), Ok(reference)) => {
            let (ours, theirs) = (Value::Object(members), Value::Object(reference));
            assert!(is_same(&ours, &theirs), "{ours} is not {theirs}");
        }
        // The rounding of `serde_json` overflows near the greatest number.
        (Ok(()), Err(error)) => assert!(error.to_string().contains("out of range"), "{error}"),
        (Err(JsonError::Syntax(at)), reference) => {
            assert!(at <= text.len());
            assert!(reference.is_err(), "rejected at byte {at}: {text}");
        }
        // The reader is stricter than `serde_json` on purpose.
        (Err(JsonError::Duplicate(_) | JsonError::Reserved | JsonError::TooLarge(_)), _) => {}
    }
}

/// The text of a token: compact form, header, and the shape of the claims.
pub fn compact(token: &[u8]) {
    let Ok(token) = std::str::from_utf8(token) else {
        return;
    };
    let judgement = model::flaws(token);
    // The verifier checks the length of a token before it parses anything.
    if judgement.is_open || token.len() > model::MAX_TOKEN {
        return;
    }
    match Unverified::parse(token.as_bytes(), &[]) {
        Ok(_) => assert!(judgement.faults.is_empty(), "{token}: {judgement:?}"),
        Err(rejection) => {
            rejected(&rejection);
            let is_fault = judgement.faults.contains(&rejection.kind());
            assert!(is_fault, "{rejection}, {token}: {judgement:?}");
        }
    }
}

/// The bytes of a header.
pub fn header(bytes: &[u8]) {
    let header = URL_SAFE_NO_PAD.encode(bytes);
    compact(format!("{header}.e30.AA").as_bytes());
    sign_and_verify(bytes, CLAIMS.as_bytes());
}

/// The bytes of the claims, under a good header and a good signature.
pub fn claims(bytes: &[u8]) {
    sign_and_verify(HEADER.as_bytes(), bytes);
}

/// Signs both parts with the secret, correctly and incorrectly.
fn sign_and_verify(header: &[u8], claims: &[u8]) {
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{claims}");
    let mut tag = hmac::sign(&SECRET, message.as_bytes()).as_ref().to_vec();
    for is_good in [true, false] {
        let verdict = verify(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(&tag)));
        assert!(is_good || verdict.is_err(), "a forged token was accepted");
        if let Some(byte) = tag.first_mut() {
            *byte ^= 1;
        }
    }
}

/// The text of a token, for the whole verifier. Its keys are a secret, an Ed25519 key and a P-256 key.
pub fn verifier(token: &[u8]) {
    if let Ok(token) = std::str::from_utf8(token) {
        drop(verify(token));
    }
}

/// A JSON Web Key.
pub fn jwk(text: &[u8]) {
    let read = Key::from_jwk(text);
    if let Err(error) = &read {
        unusable(error);
    }
    keys::one(&read, text);
}

/// A JSON Web Key Set: from a file, and from an issuer with a maximum of two keys.
pub fn jwks(text: &[u8]) {
    let read = KeySet::from_jwks(text);
    match &read {
        Ok(set) => {
            for skipped in set.skipped() {
                one_line(&skipped.to_string());
            }
        }
        Err(error) => unusable(error),
    }
    keys::set(read, text, false, usize::MAX);
    #[cfg(feature = "remote")]
    keys::set(KeySet::from_published(text, 2, &[]), text, true, 2);
}

/// The names in a `scope` claim.
pub fn scopes(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let names = names::granted(&Value::from(&*text).to_string());
    let mut model: Vec<&str> = Vec::new();
    for name in text.split_terminator(' ') {
        if !name.is_empty() && !model.contains(&name) {
            model.push(name);
        }
    }
    assert_eq!(names, model);
}

/// Two times of a token, from the bytes of floating-point numbers.
pub fn dates(bytes: &[u8]) {
    let (numbers, _) = bytes.as_chunks::<8>();
    let [first, second, ..] = numbers else {
        return;
    };
    let [first, second] = [first, second].map(|bytes| f64::from_le_bytes(*bytes));
    if first.is_nan() || second.is_nan() {
        return; // JSON has no such number
    }
    let [early, late] = [first.min(second), first.max(second)].map(NumericDate);
    assert!(early.to_system_time() <= late.to_system_time());
    assert!(early.to_system_time() >= UNIX_EPOCH);
    if (0.0..4e9).contains(&first) {
        let back = NumericDate::from(NumericDate(first).to_system_time());
        assert!((back.0 - first).abs() < 1e-6, "{first} became {}", back.0);
    }
}

/// A text of the configuration, for each setting that takes one.
pub fn settings(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    let rejections = [
        Audience::new(&text).err(),
        CsrfPolicy::same_origin().trusted_origin(&text).err(),
        Issuer::new(&text).err(),
        TokenCookie::new(&text, CsrfPolicy::same_origin()).err(),
    ];
    for error in rejections.iter().flatten() {
        unusable(error);
    }
    match ClaimPointer::new(&text) {
        Ok(pointer) => {
            let names = pointer.names().iter();
            let again: String = names
                .map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")))
                .collect();
            assert_eq!(again, text);
        }
        Err(error) => {
            unusable(&error);
            let mut escapes = text.split('~').skip(1);
            assert!(!text.starts_with('/') || escapes.any(|rest| !rest.starts_with(['0', '1'])));
        }
    }
}

/// Tokens that [`verifier`] accepts, for a corpus: name and text.
#[must_use]
pub fn tokens() -> Vec<(&'static str, String)> {
    let claims = URL_SAFE_NO_PAD.encode(CLAIMS);
    let hmac_message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(HEADER));
    let tag = hmac::sign(&SECRET, hmac_message.as_bytes());
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","typ":"at+jwt"}"#);
    let edwards_message = format!("{header}.{claims}");
    let signature = PAIR.sign(edwards_message.as_bytes());
    vec![
        (
            "hs256",
            format!("{hmac_message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref())),
        ),
        (
            "eddsa",
            format!(
                "{edwards_message}.{}",
                URL_SAFE_NO_PAD.encode(signature.as_ref())
            ),
        ),
    ]
}

/// Verifies a token, and asserts that the verdict is that of the model.
pub(crate) fn verify(token: &str) -> Result<Claims, Rejection> {
    let verdict = VERIFIER.verify_now(token);
    let world = World {
        trusts: vec![Trust {
            issuer: ISSUER,
            audiences: Some(vec![AUDIENCE]),
            keys: signers::model_keys(0),
            rules: Rules::default(),
        }],
    };
    let now = f64::from(NOW);
    let judgement = model::judge(token, &world, now);
    verdicts::compare("as it is", token, &verdict, &judgement, &world, now);
    verdict
}

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let issuer = Issuer::new(ISSUER).expect("a good issuer");
    let audience = Audience::new(AUDIENCE).expect("a good audience");
    JwtAuth::new(issuer, audience, verdicts::keys(0))
        .clock(|| UNIX_EPOCH + Duration::from_secs(u64::from(NOW)))
        .verifier()
});

static SECRET: LazyLock<hmac::Key> =
    LazyLock::new(|| hmac::Key::new(hmac::HMAC_SHA256, SECRET_BYTES));

static PAIR: LazyLock<Arc<Ed25519KeyPair>> = LazyLock::new(|| {
    Arc::new(Ed25519KeyPair::from_seed_unchecked(SECRET_BYTES).expect("a seed of 32 bytes"))
});

const ISSUER: &str = "https://as.example";
const AUDIENCE: &str = "https://api.example";
const NOW: u32 = 1_700_000_000;
const HEADER: &str = r#"{"alg":"HS256","kid":"h1"}"#;
/// Claims that are good at [`NOW`]. They are constant, so the tokens never change.
const CLAIMS: &str = r#"{"iss":"https://as.example","aud":["https://api.example","other"],"exp":1700000300,"iat":1.7e9,"nbf":1700000000,"sub":"alice","jti":"1","client_id":"web","scope":"a b a","roles":["admin"],"realm_access":{"roles":["x"]},"amr":["pwd"],"note":"\u00e4\n\\\"ä"}"#;
const SECRET_BYTES: &[u8; 32] = b"\x8f\x01\xc4\x55\x1d\xe2\x90\x3a\x77\xb8\x09\xf6\x42\xad\x6c\x13\xd8\x5e\x2b\xf1\x84\x3f\xca\x66\x0d\x97\x71\xbe\x25\xe9\x58\xa3";
