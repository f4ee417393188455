//! Keys that are given, and keys that are kept elsewhere.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tower_jwt_auth::issue::{
    IssueError, Sign, SignError, Signing, SigningKeyError, SigningKeys, TokenIssuer,
};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, Issuer, Key, RejectionKind};

use super::{asymmetric, key_set};
use crate::support::NOW;

fn tokens(keys: &SigningKeys, clock: &FixedClock) -> TokenIssuer {
    let issuer = Issuer::new("https://login.example.com").unwrap();
    let audience = Audience::new("calendar-api").unwrap();
    TokenIssuer::new(issuer, audience, keys.clone()).clock(clock.clone())
}

async fn issue(tokens: &TokenIssuer) -> Result<String, IssueError> {
    let token = tokens.for_subject("alice", "web").issue().await?;
    Ok(token.as_str().to_owned())
}

fn header(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// RFC7515-4.1.4-2: the `kid` of a token is in the key set, and is the thumbprint of the key.
#[tokio::test]
async fn rfc7515_4_1_4_2_the_kid_of_a_token_is_in_the_key_set() {
    for algorithm in asymmetric() {
        let clock = FixedClock::at(NOW);
        let keys = SigningKeys::generate(algorithm)
            .unwrap()
            .with_clock(clock.clone());
        let tokens = tokens(&keys, &clock);
        let token = issue(&tokens).await.unwrap();
        let header = header(&token);
        assert_eq!(header["alg"], algorithm.as_str());
        assert_eq!(header["typ"], "at+jwt");
        let set = key_set(keys.jwks()).await;
        let key = set.iter().find(|key| key["kid"] == header["kid"]).unwrap();
        let key = Key::from_jwk(key.to_string().as_bytes()).unwrap();
        assert_eq!(header["kid"], key.thumbprint());
        tokens.auth().verifier().verify_now(&token).unwrap();
    }
}

/// ROT-D3: tokens of a revoked key die at once, also one that was accepted before and is in the cache.
#[tokio::test]
async fn rot_d3_tokens_of_a_revoked_key_are_rejected_at_once() {
    let clock = FixedClock::at(NOW);
    let keys = SigningKeys::generate(Algorithm::ES256)
        .unwrap()
        .with_clock(clock.clone());
    let tokens = tokens(&keys, &clock);
    let verifier = tokens.auth().verifier();
    let token = issue(&tokens).await.unwrap();
    for _ in 0..3 {
        verifier.verify_now(&token).unwrap();
    }
    keys.revoke_key(header(&token)["kid"].as_str().unwrap())
        .await
        .unwrap();
    let rejected = verifier.verify_now(&token).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
    let next = issue(&tokens).await.unwrap();
    assert_ne!(header(&next)["kid"], header(&token)["kid"]);
    verifier.verify_now(&next).unwrap();
}

/// ROT-D1: the last token of a key verifies until it has expired, and the key is gone some time after it.
#[tokio::test]
async fn rot_d1_the_last_token_of_a_key_verifies_to_its_end() {
    let (clock, period) = (FixedClock::at(NOW), 86_400);
    let keys = SigningKeys::generate(Algorithm::ES256)
        .unwrap()
        .with_clock(clock.clone());
    let keys = keys.rotate_every(Duration::from_secs(period)).unwrap();
    let tokens = tokens(&keys, &clock)
        .lifetime(Duration::from_secs(3_600))
        .unwrap();
    let verifier = tokens.auth().verifier();
    clock.advance(Duration::from_secs(period - 1));
    let last = issue(&tokens).await.unwrap();
    clock.advance(Duration::from_secs(1));
    let next = issue(&tokens).await.unwrap();
    assert_ne!(header(&last)["kid"], header(&next)["kid"]);
    clock.advance(Duration::from_secs(3_598));
    verifier.verify_now(&last).unwrap();
    let is_published = async || {
        let set = key_set(keys.jwks()).await;
        set.iter().any(|key| key["kid"] == header(&last)["kid"])
    };
    // The longest leeway of a verifier, and the reserve.
    clock.advance(Duration::from_secs(300 + 3_600));
    assert!(is_published().await);
    clock.advance(Duration::from_secs(3));
    assert!(!is_published().await);
    assert_eq!(
        verifier.verify_now(&last).unwrap_err().kind(),
        RejectionKind::Expired
    );
}

#[test]
fn private_keys_are_read_in_every_format() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = pair.to_pkcs8v1().unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
    let from_pem = SigningKeys::from_pem(Algorithm::ES256, pem.as_bytes()).unwrap();
    let point = pair.public_key().as_ref();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let secret =
        aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(
            &pair.private_key(),
        );
    let mut jwk = json!({
        "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]),
        "d": encode(secret.unwrap().as_ref()),
    });
    let from_jwk = SigningKeys::from_jwk(jwk.to_string().as_bytes()).unwrap();
    assert_eq!(from_pem.status().signing, from_jwk.status().signing);
    jwk["kid"] = "2026-11".into();
    let named = SigningKeys::from_jwk(jwk.to_string().as_bytes()).unwrap();
    assert_eq!(named.status().signing.unwrap().as_str(), "2026-11");
    // Given keys have no end, and do not rotate by themselves.
    assert_eq!(named.status().keys[0].retire, None);
    let rejected = named.rotate_every(Duration::from_secs(86_400)).unwrap_err();
    assert!(
        rejected.to_string().contains("`rotate` to a next key"),
        "{rejected}"
    );

    jwk.as_object_mut().unwrap().remove("d");
    for (bad, sentence) in [
        (jwk.to_string(), "`d` is missing"),
        (
            json!({"kty": "oct", "k": encode(&[7; 32])}).to_string(),
            "\"oct\" is not supported",
        ),
        ("{}".into(), "`kty` is missing"),
    ] {
        let rejected = SigningKeys::from_jwk(bad.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(rejected.contains(sentence), "{rejected}");
    }
    assert!(SigningKeys::from_pem(Algorithm::ES384, pem.as_bytes()).is_err());
    assert!(SigningKeys::from_pem(Algorithm::HS256, pem.as_bytes()).is_err());
    let public = pem.replace("PRIVATE KEY", "PUBLIC KEY");
    let rejected = SigningKeys::from_pem(Algorithm::ES256, public.as_bytes()).unwrap_err();
    assert!(
        rejected
            .to_string()
            .contains("not a private key, but a public key"),
        "{rejected}"
    );
    let shown = format!("{from_pem:?}");
    assert!(!shown.contains(&encode(secret_part(&body))), "{shown}");
}

fn secret_part(body: &str) -> &[u8] {
    &body.as_bytes()[48..72]
}

/// Given keys: the next one is published now, signs after the lead, and the old one verifies on.
#[tokio::test]
async fn a_given_key_is_rotated_by_hand() {
    let clock = FixedClock::at(NOW);
    let secret: [u8; 64] = std::array::from_fn(|at| u8::try_from(at * 3 + 5).unwrap());
    let keys = SigningKeys::from_secret(Algorithm::HS256, &secret[..32]).unwrap();
    let keys = keys.with_clock(clock.clone());
    let tokens = tokens(&keys, &clock);
    let first = issue(&tokens).await.unwrap();
    let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let id = keys.rotate(&next).await.unwrap();
    assert_eq!(keys.rotate(&next).await, Ok(id.clone()), "a second time");
    assert_eq!(key_set(keys.jwks()).await.len(), 1);
    assert_eq!(header(&issue(&tokens).await.unwrap()), header(&first));
    clock.advance(Duration::from_secs(3_600));
    let second = issue(&tokens).await.unwrap();
    assert_eq!(header(&second)["kid"], id.as_str());
    let first = issue(&tokens).await.unwrap();
    assert_eq!(header(&first)["alg"], "EdDSA");
    // Without a key, nothing is signed, until there is one again.
    keys.revoke_key(id.as_str()).await.unwrap();
    assert!(!keys.is_ready());
    assert!(issue(&tokens).await.is_err());
    let third = SigningKeys::generate(Algorithm::ES384).unwrap();
    keys.rotate(&third).await.unwrap();
    assert_eq!(header(&issue(&tokens).await.unwrap())["alg"], "ES384");
    for _ in 0..29 {
        let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
        let _ = keys.rotate(&next).await;
    }
    let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let mut full = keys.rotate(&next).await;
    for _ in 0..3 {
        full = keys
            .rotate(&SigningKeys::generate(Algorithm::EdDSA).unwrap())
            .await;
    }
    assert_eq!(full, Err(SigningKeyError::Full { maximum: 32 }));
}

/// A signer elsewhere.
struct Hsm {
    pair: EcdsaKeyPair,
    is_slow: bool,
    is_down: bool,
}

impl Sign for Hsm {
    fn sign(&self, message: &[u8]) -> Signing {
        if self.is_down {
            return Signing::Ready(Err(SignError::new("no session")));
        }
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        let signature = signature.as_ref().to_vec();
        if self.is_slow {
            return Signing::Pending(Box::pin(async {
                tokio::task::yield_now().await;
                Ok(signature)
            }));
        }
        Signing::Ready(Ok(signature))
    }
}

fn public(pair: &EcdsaKeyPair) -> Key {
    let point = pair.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
    let jwk = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "x": x, "y": y});
    Key::from_jwk(jwk.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn a_key_that_is_kept_elsewhere_signs() {
    let clock = FixedClock::at(NOW);
    let der = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .unwrap()
        .to_pkcs8v1()
        .unwrap();
    let fixed =
        || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref()).unwrap();
    let asn1 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.as_ref()).unwrap();
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let key = public(&fixed());
    let signer = |pair, is_slow, is_down| Hsm {
        pair,
        is_slow,
        is_down,
    };
    for is_slow in [false, true] {
        let keys = SigningKeys::from_signer(key.clone(), signer(fixed(), is_slow, false)).unwrap();
        let tokens = tokens(&keys, &clock);
        let token = issue(&tokens).await.unwrap();
        assert_eq!(header(&token)["kid"], key.thumbprint());
        tokens.auth().verifier().verify_now(&token).unwrap();
        assert_eq!(key_set(keys.jwks()).await.len(), 1);
    }
    // What is wrong never leaves as a token.
    for (signer, sentence) in [
        (signer(asn1, false, false), "expected 64 for ES256"),
        (signer(other, true, false), "does not verify with key"),
        (signer(fixed(), false, true), "no session"),
    ] {
        let keys = SigningKeys::from_signer(key.clone(), signer).unwrap();
        let failed = issue(&tokens(&keys, &clock)).await.unwrap_err();
        assert!(failed.to_string().contains(sentence), "{failed}");
    }
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap());
    let secret = Key::from_secret(Algorithm::HS256, &secret).unwrap();
    assert!(SigningKeys::from_signer(secret, signer(fixed(), false, false)).is_err());
}

/// A signer that never answers, or after this time. It counts the signatures that are waited for.
struct Late {
    pair: Arc<EcdsaKeyPair>,
    after: Option<Duration>,
    waiting: Arc<()>,
}

impl Sign for Late {
    fn sign(&self, message: &[u8]) -> Signing {
        let (after, waiting) = (self.after, Arc::clone(&self.waiting));
        let signature = self.pair.sign(&SystemRandom::new(), message).unwrap();
        Signing::Pending(Box::pin(async move {
            let _waiting = waiting;
            match after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
            Ok(signature.as_ref().to_vec())
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn a_signer_that_does_not_answer_in_5_s_is_an_outage() {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let (pair, clock, waiting) = (Arc::new(pair), FixedClock::at(NOW), Arc::new(()));
    let late = |after| {
        let signer = Late {
            pair: Arc::clone(&pair),
            after,
            waiting: Arc::clone(&waiting),
        };
        tokens(
            &SigningKeys::from_signer(public(&pair), signer).unwrap(),
            &clock,
        )
    };
    let almost = Duration::from_millis(4_999);
    // The twin: an answer that comes in time is a token.
    issue(&late(Some(almost))).await.unwrap();

    let hung = late(None);
    let issuing: Vec<_> = (0..100)
        .map(|_| {
            let hung = hung.clone();
            tokio::spawn(async move { issue(&hung).await })
        })
        .collect();
    // The signer itself and the test have one each.
    while Arc::strong_count(&waiting) < 102 {
        tokio::task::yield_now().await;
    }
    tokio::time::advance(almost).await;
    assert!(issuing.iter().all(|issuing| !issuing.is_finished()));
    tokio::time::advance(Duration::from_millis(1)).await;
    for issuing in issuing {
        let error = issuing.await.unwrap().unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert_eq!((error.kind(), error.status().as_u16()), ("sign", 503));
        assert!(error.to_string().contains("no answer in 5s"), "{error}");
    }
    // The future of the signer is gone, and so is every task.
    drop(hung);
    assert_eq!(Arc::strong_count(&waiting), 1);
    let metrics = tokio::runtime::Handle::current().metrics();
    assert_eq!(metrics.num_alive_tasks(), 0);
}

#[test]
fn a_signer_that_waits_needs_no_runtime() {
    let pair = Arc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
    let signer = Late {
        pair: Arc::clone(&pair),
        after: None,
        waiting: Arc::default(),
    };
    let keys = SigningKeys::from_signer(public(&pair), signer).unwrap();
    let tokens = tokens(&keys, &FixedClock::at(NOW));
    let mut issuing = std::pin::pin!(issue(&tokens));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(issuing.as_mut().poll(&mut context).is_pending());
}
