//! The keys of the generated tokens, and how the model checks them.

#![expect(clippy::indexing_slicing, reason = "of arrays with two entries")]

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::checks::fuzz::model::ModelKey;

/// A key of an issuer, or a key that pretends to be one.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) issuer: &'static str,
    pub(super) audience: &'static str,
    pub(super) id: Option<&'static str>,
    pub(super) algorithm: &'static str,
    pub(super) sign: fn(&[u8]) -> Vec<u8>,
}

pub(super) struct Signers {
    /// The keys whose tokens are good if their issuer is trusted.
    pub(super) good: Vec<&'static Signer>,
    pub(super) all: Vec<&'static Signer>,
}

impl Signers {
    pub(super) fn get() -> &'static Self {
        static SIGNERS: LazyLock<Signers> = LazyLock::new(|| Signers {
            good: GOOD.iter().collect(),
            all: GOOD.iter().chain(BAD).collect(),
        });
        &SIGNERS
    }
}

pub(super) const FIRST: &str = "https://as.example";
pub(super) const SECOND: &str = "https://other.example";
pub(super) const API: &str = "https://api.example";
pub(super) const ADMIN: &str = "https://admin.example";

const fn signer(
    issuer: &'static str,
    id: Option<&'static str>,
    algorithm: &'static str,
    sign: fn(&[u8]) -> Vec<u8>,
) -> Signer {
    Signer {
        issuer,
        audience: API,
        id,
        algorithm,
        sign,
    }
}

static GOOD: &[Signer] = &[
    signer(FIRST, Some("h1"), "HS256", |message| mac(0, message)),
    signer(FIRST, Some("e1"), "EdDSA", |message| edwards(0, message)),
    signer(FIRST, Some("p1"), "ES256", |message| curve(0, message)),
    signer(FIRST, None, "ES256", |message| curve(0, message)),
    signer(FIRST, Some("e1"), "Ed25519", |message| edwards(0, message)),
    // The second issuer, with the same key ids.
    signer(SECOND, Some("h1"), "HS256", |message| mac(1, message)),
    signer(SECOND, Some("e1"), "EdDSA", |message| edwards(1, message)),
    signer(SECOND, Some("p1"), "ES256", |message| curve(1, message)),
    // The same keys, for another audience of the first issuer.
    Signer {
        audience: ADMIN,
        ..signer(FIRST, Some("h1"), "HS256", |message| mac(1, message))
    },
    Signer {
        audience: ADMIN,
        ..signer(FIRST, Some("e1"), "EdDSA", |message| edwards(1, message))
    },
];

static BAD: &[Signer] = &[
    // A public key used as a secret.
    signer(FIRST, Some("e1"), "HS256", |message| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, EDWARDS[0].public_key().as_ref());
        hmac::sign(&key, message).as_ref().to_vec()
    }),
    // A secret that no issuer has.
    signer(FIRST, Some("h1"), "HS256", |message| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[]);
        hmac::sign(&key, message).as_ref().to_vec()
    }),
    // A secret with another hash.
    signer(FIRST, Some("h1"), "HS512", |message| {
        let key = hmac::Key::new(hmac::HMAC_SHA512, SECRETS[0]);
        hmac::sign(&key, message).as_ref().to_vec()
    }),
];

/// The key set of an issuer.
pub(super) fn jwks(issuer: usize) -> Vec<Value> {
    let point = CURVE[issuer].public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    vec![
        json!({ "kty": "oct", "kid": "h1", "alg": "HS256", "k": text(SECRETS[issuer]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "e1", "x": text(EDWARDS[issuer].public_key().as_ref()) }),
        json!({ "kty": "EC", "crv": "P-256", "kid": "p1", "alg": "ES256", "x": text(x), "y": text(y) }),
    ]
}

/// The same for the model.
pub(super) fn model_keys(issuer: usize) -> Vec<ModelKey> {
    type Proves = fn(&[u8], &[u8]) -> bool;
    let [mac, edwards, curve]: [Proves; 3] = match issuer {
        0 => [
            |message, signature| is_mac(0, message, signature),
            |message, signature| is_edwards(0, message, signature),
            |message, signature| is_curve(0, message, signature),
        ],
        _ => [
            |message, signature| is_mac(1, message, signature),
            |message, signature| is_edwards(1, message, signature),
            |message, signature| is_curve(1, message, signature),
        ],
    };
    let key = |id, algorithms, proves| ModelKey {
        id: Some(id),
        algorithms,
        proves,
    };
    vec![
        key("h1", &["HS256"], mac),
        key("e1", &["EdDSA", "Ed25519"], edwards),
        key("p1", &["ES256"], curve),
    ]
}

fn mac(issuer: usize, message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRETS[issuer]);
    hmac::sign(&key, message).as_ref().to_vec()
}

fn is_mac(issuer: usize, message: &[u8], signature: &[u8]) -> bool {
    mac(issuer, message) == signature
}

fn edwards(issuer: usize, message: &[u8]) -> Vec<u8> {
    EDWARDS[issuer].sign(message).as_ref().to_vec()
}

fn is_edwards(issuer: usize, message: &[u8], signature: &[u8]) -> bool {
    let key = EDWARDS[issuer].public_key().as_ref();
    UnparsedPublicKey::new(&ED25519, key)
        .verify(message, signature)
        .is_ok()
}

fn curve(issuer: usize, message: &[u8]) -> Vec<u8> {
    let signature = CURVE[issuer].sign(&SystemRandom::new(), message);
    signature.expect("a good key signs").as_ref().to_vec()
}

fn is_curve(issuer: usize, message: &[u8], signature: &[u8]) -> bool {
    let key = CURVE[issuer].public_key().as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(message, signature)
        .is_ok()
}

static EDWARDS: LazyLock<[Ed25519KeyPair; 2]> = LazyLock::new(|| {
    SECRETS.map(|seed| Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes"))
});

static CURVE: LazyLock<[EcdsaKeyPair; 2]> = LazyLock::new(|| {
    [
        [
            "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        ],
        [
            "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE",
            "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        ],
    ]
    .map(|numbers| {
        let [d, x, y] = numbers.map(|text| URL_SAFE_NO_PAD.decode(text).expect("base64url"));
        let point = [&[4][..], &x, &y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &d,
            &point,
        );
        pair.expect("the keys of RFC 7515, A.3, and RFC 7517, A.2")
    })
});

const SECRETS: [&[u8; 32]; 2] = [
    super::SECRET_BYTES,
    b"\x17\xe2\x5b\x90\xc6\x3d\xf8\x01\x4a\xb7\x62\xdc\x88\x35\x0f\xe9\xa1\x56\x7c\x23\xd4\x9e\x40\xfb\x6d\x12\xc8\x85\x3a\x71\xbf\x04",
];
