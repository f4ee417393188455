//! Each key has one algorithm, and each signature has one form (RFC 7518, RFC 8725).

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, send};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_jwt_auth::error::KeyError;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, Audience, ConfigError, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind,
    Verifier,
};

use RejectionKind::{AlgorithmNotAllowed, BadSignature, Expired, UnknownKey};

/// A layer with the issuer of the fixture and these keys.
fn auth(keys: impl Into<KeyStore>) -> JwtAuth {
    JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        keys,
    )
    .clock(FixedClock::at(NOW))
}

#[track_caller]
fn rejects(verifier: &Verifier, token: &str, kind: RejectionKind) {
    let rejection = verifier
        .verify_now(token)
        .expect_err("the token was accepted");
    assert_eq!(rejection.kind(), kind, "{rejection}");
    assert_eq!(rejection.status(), 401, "{rejection}");
}

#[track_caller]
fn accepts(verifier: &Verifier, token: &str) {
    if let Err(rejection) = verifier.verify_now(token) {
        panic!("refused: {rejection}");
    }
}

/// The reason for which a key is rejected.
#[track_caller]
fn reason_of(error: &ConfigError) -> &KeyError {
    match error {
        ConfigError::Key { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// The header and claims of a good token.
fn signing_input(header: Value) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "subject-1", "iat": NOW, "exp": NOW + 300,
    });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}", encode(header), encode(claims))
}

/// The token with another signature.
fn with_signature(token: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = change(URL_SAFE_NO_PAD.decode(signature).unwrap());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// An RSA key that signs with every algorithm of its type.
struct Rsa(RsaKeyPair);

impl Rsa {
    fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn jwk(&self) -> Value {
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(self.0.public_key());
        let encode = |bytes: &Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "RSA", "kid": "rsa", "n": encode(&public.n), "e": encode(&public.e)})
    }

    fn key(&self, algorithm: Option<&str>) -> Key {
        let mut jwk = self.jwk();
        if let Some(algorithm) = algorithm {
            jwk["alg"] = algorithm.into();
        }
        Key::from_jwk(jwk.to_string().as_bytes()).unwrap()
    }

    fn token(&self, algorithm: &str, encoding: &'static dyn RsaEncoding) -> String {
        let message = signing_input(json!({"alg": algorithm, "kid": "rsa"}));
        let mut signature = vec![0; self.0.public_modulus_len()];
        let random = SystemRandom::new();
        self.0
            .sign(encoding, &random, message.as_bytes(), &mut signature)
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn data(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn from_jwk(jwk: &Value) -> Result<Key, ConfigError> {
    Key::from_jwk(jwk.to_string().as_bytes())
}

/// RFC8725-3.1-1
#[test]
fn uses_the_allowed_algorithms_and_no_other() {
    let fixture = Fixture::new();
    let rsa = Rsa::new();
    let keys = ["k1", "k2", "h1", "e1"].map(|id| fixture.signer(id).key().with_key_id(id));
    let keys = KeySet::new(keys.into_iter().chain([rsa.key(Some("PS256"))])).unwrap();
    let everything = auth(keys.clone()).verifier();
    let narrow = auth(keys.clone()).algorithms([Algorithm::ES256]).verifier();
    let empty = auth(keys).algorithms([]);
    let error = empty.check_settings().unwrap_err().to_string();
    assert!(error.contains("`algorithms` names none"), "{error}");
    let empty = empty.verifier();

    let es256 = fixture.token_of("k1").mint();
    accepts(&everything, &es256);
    accepts(&narrow, &es256);
    rejects(&empty, &es256, AlgorithmNotAllowed);
    for token in [
        fixture.token_of("k2").mint(),
        fixture.token_of("h1").mint(),
        fixture.token_of("e1").mint(),
        rsa.token("PS256", &RSA_PSS_SHA256),
    ] {
        accepts(&everything, &token);
        rejects(&narrow, &token, AlgorithmNotAllowed);
    }
    // Without a key id every key is a candidate, but not for another algorithm.
    for id in ["k2", "h1", "e1"] {
        let token = fixture.token_of(id).without_header("kid").mint();
        accepts(&everything, &token);
        rejects(&narrow, &token, AlgorithmNotAllowed);
    }
}

/// RFC8725-3.1-1
#[test]
fn widens_nothing_for_an_allowed_algorithm_without_a_key() {
    let fixture = Fixture::new();
    let key = fixture.signer("k1").key().with_key_id("k1");
    let verifier = auth(key)
        .algorithms(Algorithm::ALL.iter().copied())
        .verifier();
    accepts(&verifier, &fixture.token().mint());
    for algorithm in Algorithm::ALL
        .iter()
        .filter(|one| **one != Algorithm::ES256)
    {
        for token in [fixture.token(), fixture.token().without_header("kid")] {
            let token = token.header("alg", algorithm.as_str()).mint();
            rejects(&verifier, &token, AlgorithmNotAllowed);
        }
    }
}

/// RFC8725-3.1-2
#[test]
fn takes_the_algorithm_of_the_header_for_the_one_of_the_operation() {
    let clock = FixedClock::at(NOW);
    let issuers: Vec<_> = Algorithm::ALL
        .iter()
        .map(|algorithm| {
            (
                *algorithm,
                TestIssuer::with_algorithm(*algorithm).with_clock(clock.clone()),
            )
        })
        .collect();
    let keys = issuers
        .iter()
        .map(|(algorithm, issuer)| issuer.key().with_key_id(algorithm.as_str()));
    let verifier = auth(KeySet::new(keys).unwrap()).verifier();
    for (of_key, issuer) in &issuers {
        accepts(
            &verifier,
            &issuer.token().header("kid", of_key.as_str()).mint(),
        );
        for labelled in Algorithm::ALL.iter().filter(|one| *one != of_key) {
            let token = issuer.token().header("alg", labelled.as_str());
            let named = token.clone().header("kid", of_key.as_str()).mint();
            rejects(&verifier, &named, AlgorithmNotAllowed);
            // Another key has this algorithm, so without a key id that key is tried, and the
            // signature is bad.
            let unnamed = token.without_header("kid").mint();
            rejects(&verifier, &unnamed, BadSignature);
        }
    }
}

/// RFC8725-3.1-3
#[test]
fn binds_each_key_to_one_algorithm() {
    let rsa = Rsa::new();
    let rs256 = rsa.token("RS256", &RSA_PKCS1_SHA256);
    let ps256 = rsa.token("PS256", &RSA_PSS_SHA256);

    let bound_to_rs = auth(rsa.key(Some("RS256"))).verifier();
    accepts(&bound_to_rs, &rs256);
    rejects(&bound_to_rs, &ps256, AlgorithmNotAllowed);
    let bound_to_ps = auth(rsa.key(Some("PS256"))).verifier();
    accepts(&bound_to_ps, &ps256);
    rejects(&bound_to_ps, &rs256, AlgorithmNotAllowed);

    // A list of allowed algorithms cannot add one to a key that has an `alg`.
    let both = [Algorithm::RS256, Algorithm::PS256];
    let bound = auth(rsa.key(Some("RS256"))).algorithms(both).verifier();
    accepts(&bound, &rs256);
    rejects(&bound, &ps256, AlgorithmNotAllowed);

    // A key without an algorithm has the usual one of its type, unless the setting allows others.
    let unbound = auth(rsa.key(None)).verifier();
    accepts(&unbound, &rs256);
    rejects(&unbound, &ps256, AlgorithmNotAllowed);
    let told = auth(rsa.key(None))
        .algorithms([Algorithm::PS256])
        .verifier();
    accepts(&told, &ps256);
    rejects(&told, &rs256, AlgorithmNotAllowed);
}

/// RFC7519-8-1
#[test]
fn verifies_the_tokens_of_rfc_7515() {
    let vectors = data(include_str!("../data/rfc7515.json"));
    let vectors = vectors["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let token = vector["token"].as_str().unwrap();
        let keys = KeyStore::from(from_jwk(&vector["jwk"]).unwrap());
        let algorithm = vector["name"].as_str().unwrap().split(' ').nth(1).unwrap();
        // The tokens come from "joe" and have no audience.
        let at = |time: u64| {
            JwtAuth::new(
                Issuer::new("joe").unwrap(),
                Audience::insecure_any(),
                keys.clone(),
            )
            .algorithms(Algorithm::from_name(algorithm))
            .clock(FixedClock::at(time))
            .verifier()
        };
        let claims = at(EXPIRY - 1).claims::<Value>().verify_now(token).unwrap();
        assert_eq!(claims["http://example.com/is_root"], true, "{algorithm}");
        rejects(&at(EXPIRY + 60), token, Expired);

        let flipped = with_signature(token, |mut signature| {
            signature[0] ^= 1;
            signature
        });
        rejects(&at(EXPIRY - 1), &flipped, BadSignature);
        let other = token.replacen("joe", "jim", 1);
        assert_eq!(other, token, "the claims are encoded");
        let forged = token.replacen("eyJpc3MiOiJqb2UiLA0K", "eyJpc3MiOiJqb2UiLAog", 1);
        assert_ne!(forged, token);
        rejects(&at(EXPIRY - 1), &forged, BadSignature);
    }
}

/// `exp` of the tokens of RFC 7515, appendix A.
const EXPIRY: u64 = 1_300_819_380;

/// RFC9068-2.1-2
#[tokio::test]
async fn supports_rs256_for_access_tokens() {
    let issuer = TestIssuer::with_algorithm(Algorithm::RS256).with_clock(FixedClock::at(NOW));
    let layer = auth(KeyStore::from_jwks(issuer.jwks().as_bytes()).unwrap()).access_token_profile();
    let (response, seen) = send(&layer, get(&issuer.token().mint())).await;
    assert_eq!((response.status().as_u16(), seen.count()), (200, 1));
    let (response, seen) = send(&layer, get(&issuer.token().tampered().mint())).await;
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
}

/// RFC7518-3.2-1
#[test]
fn insists_on_secrets_as_long_as_the_hash() {
    let random: Vec<u8> = (0..64)
        .map(|n: u8| n.wrapping_mul(151).wrapping_add(7))
        .collect();
    for (algorithm, length) in [
        (Algorithm::HS256, 32),
        (Algorithm::HS384, 48),
        (Algorithm::HS512, 64),
    ] {
        let name = algorithm.as_str();
        let jwk =
            |secret: &[u8]| json!({"kty": "oct", "alg": name, "k": URL_SAFE_NO_PAD.encode(secret)});
        let long = &random[..length];
        assert!(Key::from_secret(algorithm, long).is_ok(), "{name}");
        assert!(KeyStore::from_secret(algorithm, long).is_ok(), "{name}");
        assert!(from_jwk(&jwk(long)).is_ok(), "{name}");
        for short in [0, 1, length - 1] {
            let short = &random[..short];
            let rejected = Key::from_secret(algorithm, short).unwrap_err();
            assert!(
                matches!(rejected, ConfigError::Key { .. }),
                "{name}: {rejected}"
            );
            assert!(
                Key::insecure_from_chosen_secret(algorithm, short).is_err(),
                "{name}"
            );
            assert!(KeyStore::from_secret(algorithm, short).is_err(), "{name}");
            assert!(from_jwk(&jwk(short)).is_err(), "{name}");
        }
    }
    // A secret without an algorithm gets the longest HMAC that fits.
    for (length, expected) in [
        (32, "HS256"),
        (47, "HS256"),
        (48, "HS384"),
        (63, "HS384"),
        (64, "HS512"),
    ] {
        let key = from_jwk(&json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(&random[..length])}));
        let names: Vec<_> = key
            .unwrap()
            .algorithms()
            .iter()
            .map(|one| one.as_str())
            .collect();
        assert_eq!(names, [expected], "{length} bytes");
    }
}

/// RFC7518-3.2-1
#[test]
fn cannot_rotate_to_a_short_secret() {
    // A store accepts only values of type `Key`, and a `Key` with a short secret cannot be created.
    // So the store keeps its key.
    let issuer = TestIssuer::with_algorithm(Algorithm::HS512).with_clock(FixedClock::at(NOW));
    let keys = issuer.keys();
    let verifier = auth(keys.clone()).verifier();
    let short: Vec<u8> = (1..64).collect();
    let rotated = Key::from_secret(Algorithm::HS512, &short).map(|key| keys.rotate(key));
    assert!(rotated.is_err());
    assert_eq!(keys.generation(), 0);
    accepts(&verifier, &issuer.token().mint());
}

/// RFC7518-3.2-2
#[test]
fn compares_tags_in_constant_time() {
    let fixture = Fixture::new();
    let good = fixture.token_of("h1").mint();
    fixture.accepts(&good);
    let rejected = |at: usize| {
        let token = with_signature(&good, |mut tag| {
            tag[at] ^= 0x80;
            tag
        });
        let rejection = fixture.verify(&token).expect_err("the token was accepted");
        (rejection.kind(), rejection.to_string())
    };
    let first = rejected(0);
    assert_eq!(first.0, BadSignature);
    for at in 1..32 {
        assert_eq!(rejected(at), first, "byte {at}");
    }

    // The backend compares the tags. No code of this crate reads a tag.
    let backend = include_str!("../../src/keys/backend.rs");
    assert!(backend.contains("hmac::verify(key, message, signature)"));
    for line in backend.lines().filter(|line| line.contains("signature")) {
        assert!(!line.contains("==") && !line.contains("!="), "{line}");
    }
    let jws = include_str!("../../src/token/compact.rs");
    for line in jws.lines().filter(|line| line.contains("signature")) {
        let compares = line.contains("==") || line.contains("!=");
        assert!(!compares || line.contains("signature.len()"), "{line}");
    }
}

/// RFC8725-3.5-1
#[test]
fn rejects_secrets_that_somebody_thought_up() {
    for chosen in [
        "secret".repeat(6),
        "password".repeat(8),
        "a".repeat(64),
        "0123".repeat(16),
        "1111111122222222333333334444444455555555".to_owned(),
    ] {
        let rejected = Key::from_secret(Algorithm::HS256, chosen.as_bytes()).unwrap_err();
        assert!(
            matches!(reason_of(&rejected), KeyError::Weak { .. }),
            "{rejected}"
        );
        assert!(!rejected.to_string().contains(&chosen[..6]), "{rejected}");
        let overridden = Key::insecure_from_chosen_secret(Algorithm::HS256, chosen.as_bytes());
        assert!(overridden.is_ok());
    }
    let hexadecimal = b"8f01c4551de2903a77b809f642ad6c13d85e2bf1843fca660d9771be25e958a3";
    assert!(Key::from_secret(Algorithm::HS256, hexadecimal).is_ok());
}

/// RFC7518-3.3-1
#[test]
fn cannot_use_short_rsa_keys() {
    let good = Rsa::new();
    let vectors = data(include_str!("../data/unusable_keys.json"));
    let short: Vec<_> = vectors["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|vector| vector["jwk"]["kty"] == "RSA")
        .collect();
    assert_eq!(short.len(), 2);
    for vector in short {
        let bits: usize = vector["jwk"]["kid"].as_str().unwrap()[4..].parse().unwrap();
        match from_jwk(&vector["jwk"]) {
            Err(ConfigError::Key {
                reason: KeyError::Size { bits: found, .. },
            }) => assert_eq!(found, bits),
            other => panic!("{bits} bits: {other:?}"),
        }
        let set = json!({"keys": [vector["jwk"], good.jwk()]});
        let set = KeySet::from_jwks(set.to_string().as_bytes()).unwrap();
        assert_eq!(set.keys().count(), 1);
        assert_eq!(set.skipped()[0].id(), vector["jwk"]["kid"].as_str());
        let verifier = auth(set).verifier();
        rejects(&verifier, vector["token"].as_str().unwrap(), UnknownKey);
        accepts(&verifier, &good.token("RS256", &RSA_PKCS1_SHA256));
        let alone = json!({"keys": [vector["jwk"]]}).to_string();
        assert!(KeyStore::from_jwks(alone.as_bytes()).is_err());
    }
}

/// RFC7518-3.5-1, RFC7515-10.6-1
#[test]
fn rejects_rsa_signatures_of_any_other_make() {
    let vectors = data(include_str!("../data/rsa_signatures.json"));
    let verifier = auth(from_jwk(&vectors["jwk"]).unwrap())
        .algorithms([Algorithm::RS256, Algorithm::PS256])
        .verifier();
    for good in vectors["good"].as_array().unwrap() {
        accepts(&verifier, good["token"].as_str().unwrap());
    }
    let bad = vectors["bad"].as_array().unwrap();
    assert_eq!(bad.len(), 24);
    for bad in bad {
        let what = &bad["what"];
        let rejected = verifier.verify_now(bad["token"].as_str().unwrap());
        assert_eq!(rejected.unwrap_err().kind(), BadSignature, "{what}");
    }
}

/// RFC7518-3.4-1
#[test]
fn takes_ecdsa_signatures_as_two_numbers_of_full_length_only() {
    for (algorithm, length) in [
        (Algorithm::ES256, 64),
        (Algorithm::ES384, 96),
        (Algorithm::ES512, 132),
    ] {
        let issuer = TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW));
        let verifier = auth(issuer.keys()).verifier();
        let good = issuer.token().mint();
        accepts(&verifier, &good);
        accepts(
            &verifier,
            &with_signature(&good, |signature| {
                assert_eq!(signature.len(), length);
                signature
            }),
        );
        let changes: [fn(Vec<u8>) -> Vec<u8>; 7] = [
            |signature| signature[..signature.len() - 1].to_vec(),
            |signature| signature[1..].to_vec(),
            |signature| signature[..signature.len() / 2].to_vec(),
            |signature| [&signature[..], &[0]].concat(),
            |signature| [&[0], &signature[..]].concat(),
            // Both numbers with one more byte, and the same value.
            |signature| {
                let (r, s) = signature.split_at(signature.len() / 2);
                [&[0], r, &[0], s].concat()
            },
            |signature| der(&signature),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let token = with_signature(&good, change);
            let rejected = verifier.verify_now(&token).expect_err("accepted");
            assert_eq!(
                rejected.kind(),
                BadSignature,
                "{algorithm}, change {number}"
            );
        }
    }
}

/// The DER form of an ECDSA signature.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
        let mut value = bytes[start..].to_vec();
        if value[0] & 0x80 != 0 {
            value.insert(0, 0);
        }
        [&[2, u8::try_from(value.len()).unwrap()][..], &value].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let body = [integer(r), integer(s)].concat();
    let length = u8::try_from(body.len()).unwrap();
    let head = if length < 0x80 {
        vec![0x30, length]
    } else {
        vec![0x30, 0x81, length]
    };
    [head, body].concat()
}

/// RFC7518-3.4-1
#[test]
fn rejects_the_der_form_of_another_library() {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.unwrap().as_ref());
    let pair = pair.unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "ec", "x": encode(x), "y": encode(y)});
    let verifier = auth(from_jwk(&jwk).unwrap()).verifier();

    let message = signing_input(json!({"alg": "ES256", "kid": "ec"}));
    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
    let signature = signature.as_ref();
    rejects(
        &verifier,
        &format!("{message}.{}", encode(signature)),
        BadSignature,
    );

    // The same two numbers in the form of JOSE are a valid signature.
    let (mut fixed, mut at) = (Vec::new(), 2);
    for _ in 0..2 {
        let length = usize::from(signature[at + 1]);
        let number = &signature[at + 2..at + 2 + length];
        let mut padded = [&[0; 32], number].concat();
        fixed.append(&mut padded.split_off(length));
        at += 2 + length;
    }
    accepts(&verifier, &format!("{message}.{}", encode(&fixed)));
}

/// RFC7518-3.4-2
#[test]
fn fixes_the_curve_by_the_algorithm() {
    let curves = [
        (Algorithm::ES256, "P-256"),
        (Algorithm::ES384, "P-384"),
        (Algorithm::ES512, "P-521"),
    ];
    for (of_key, curve) in curves {
        let issuer = TestIssuer::with_algorithm(of_key).with_clock(FixedClock::at(NOW));
        let mut jwk = issuer.jwk();
        assert_eq!(jwk["crv"], curve);
        for (other, _) in curves.iter().filter(|(other, _)| *other != of_key) {
            jwk["alg"] = other.as_str().into();
            let rejected = from_jwk(&jwk).unwrap_err();
            assert!(
                matches!(reason_of(&rejected), KeyError::Algorithm { .. }),
                "{rejected}"
            );

            // The setting does not make an algorithm fit a key, and neither does a token.
            jwk.as_object_mut().unwrap().remove("alg");
            for auth in [
                auth(from_jwk(&jwk).unwrap()),
                auth(from_jwk(&jwk).unwrap()).algorithms([of_key, *other]),
            ] {
                let verifier = auth.verifier();
                accepts(&verifier, &issuer.token().mint());
                let token = issuer.token().header("alg", other.as_str()).mint();
                rejects(&verifier, &token, AlgorithmNotAllowed);
            }
        }
        for (_, other) in curves.iter().filter(|(_, other)| *other != curve) {
            let mut jwk = issuer.jwk();
            jwk["crv"] = (*other).into();
            assert!(from_jwk(&jwk).is_err(), "{curve} as {other}");
        }
    }
}

/// RFC7518-3.4-3
#[test]
fn rejects_ecdsa_numbers_out_of_range() {
    for (algorithm, order) in [
        (Algorithm::ES256, P256_ORDER),
        (Algorithm::ES384, P384_ORDER),
        (Algorithm::ES512, P521_ORDER),
    ] {
        let issuer = TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW));
        let verifier = auth(issuer.keys()).verifier();
        let good = issuer.token().mint();
        accepts(&verifier, &good);

        let order = hexadecimal(order);
        let length = order.len();
        let zero = vec![0; length];
        let one = [&zero[1..], &[1]].concat();
        let full = vec![0xff; length];
        let (r, s) = {
            let mut signature = Vec::new();
            with_signature(&good, |found| {
                signature = found.clone();
                found
            });
            let s = signature.split_off(length);
            (signature, s)
        };
        for (r, s) in [
            (&zero, &zero),
            (&zero, &s),
            (&r, &zero),
            (&zero, &one),
            (&one, &zero),
            (&one, &one),
            (&order, &s),
            (&r, &order),
            (&order, &order),
            (&full, &s),
            (&r, &full),
            (&full, &full),
        ] {
            let token = with_signature(&good, |_| [&r[..], s].concat());
            rejects(&verifier, &token, BadSignature);
        }
        // For P-521 there is room for a number that is equal modulo the order. A verifier that does
        // not check the range accepts it.
        if algorithm == Algorithm::ES512 {
            for (r, s) in [(&sum(&r, &order), &s), (&r, &sum(&s, &order))] {
                let token = with_signature(&good, |_| [&r[..], s].concat());
                rejects(&verifier, &token, BadSignature);
            }
        }
    }
}

fn hexadecimal(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The sum of two big-endian numbers of the same length. It must not need another byte.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let (mut sum, mut carry) = (vec![0; a.len()], 0_u16);
    for at in (0..a.len()).rev() {
        carry += u16::from(a[at]) + u16::from(b[at]);
        sum[at] = u8::try_from(carry & 0xff).unwrap();
        carry >>= 8;
    }
    assert_eq!(carry, 0);
    sum
}

/// The orders of the curves (FIPS 186-4, appendix D.1.2).
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384_ORDER: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf
    581a0db248b0a77aecec196accc52973";
const P521_ORDER: &str = "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
    fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";

/// RFC8037-3.1-1
#[test]
fn verifies_eddsa_with_ed25519_keys_alone() {
    let fixture = Fixture::new();
    let token = fixture.token_of("e1").mint();
    fixture.accepts(&token);
    let allowing = |algorithms: &[Algorithm]| fixture.auth().algorithms(algorithms.to_vec());
    accepts(&allowing(&[Algorithm::EdDSA]).verifier(), &token);
    rejects(
        &allowing(&[Algorithm::ES256]).verifier(),
        &token,
        AlgorithmNotAllowed,
    );
    for id in ["k1", "k2", "h1"] {
        let token = fixture.token_of(id).header("alg", "EdDSA").mint();
        fixture.rejects(&token, AlgorithmNotAllowed);
    }

    // The same bytes as a key for key agreement are not a key for signatures.
    let mut jwk = fixture.signer("e1").jwk();
    for (crv, bytes) in [
        ("X25519", 32),
        ("X448", 56),
        ("Ed448", 57),
        ("ed25519", 32),
        ("P-256", 32),
    ] {
        jwk["crv"] = crv.into();
        if bytes != 32 {
            jwk["x"] = URL_SAFE_NO_PAD.encode(vec![9; bytes]).into();
        }
        let rejected = from_jwk(&jwk).unwrap_err();
        assert!(
            matches!(reason_of(&rejected), KeyError::Unsupported { .. }),
            "{rejected}"
        );
    }
    jwk["crv"] = "X25519".into();
    jwk["kid"] = "e1".into();
    let set = json!({"keys": [jwk, fixture.signer("k1").jwk()]}).to_string();
    let set = KeySet::from_jwks(set.as_bytes()).unwrap();
    assert_eq!((set.keys().count(), set.skipped().len()), (1, 1));
    rejects(&auth(set).verifier(), &token, UnknownKey);
}

/// RFC9864-2.2-1
#[test]
fn tells_the_two_names_of_ed25519_apart() {
    let issuer = TestIssuer::with_algorithm(Algorithm::Ed25519).with_clock(FixedClock::at(NOW));
    let new = issuer.token().header("alg", "Ed25519").mint();
    let old = issuer.token().header("alg", "EdDSA").mint();
    let mut jwk = issuer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let unbound = || auth(from_jwk(&jwk).unwrap());

    for (auth, accepts_new, accepts_old) in [
        (unbound().algorithms([Algorithm::Ed25519]), true, false),
        (unbound().algorithms([Algorithm::EdDSA]), false, true),
        (
            unbound().algorithms([Algorithm::EdDSA, Algorithm::Ed25519]),
            true,
            true,
        ),
        (unbound(), true, true),
        (auth(issuer.key()), true, false),
    ] {
        for (token, accepted) in [(&new, accepts_new), (&old, accepts_old)] {
            if accepted {
                accepts(&auth.verifier(), token);
            } else {
                rejects(&auth.verifier(), token, AlgorithmNotAllowed);
            }
        }
    }

    // Neither name stands for Ed448 here.
    let vectors = data(include_str!("../data/unusable_keys.json"));
    let ed448 = vectors["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|vector| vector["jwk"]["crv"] == "Ed448");
    let ed448 = ed448.unwrap();
    for name in [None, Some("EdDSA"), Some("Ed25519"), Some("Ed448")] {
        let mut jwk = ed448["jwk"].clone();
        if let Some(name) = name {
            jwk["alg"] = name.into();
        }
        let set = json!({"keys": [jwk, issuer.jwk()]}).to_string();
        let set = KeySet::from_jwks(set.as_bytes()).unwrap();
        assert_eq!(set.skipped().len(), 1);
        rejects(
            &auth(set).verifier(),
            ed448["token"].as_str().unwrap(),
            UnknownKey,
        );
    }
    let ed448 = issuer.token().header("alg", "Ed448").mint();
    rejects(&unbound().verifier(), &ed448, AlgorithmNotAllowed);
}

/// RFC9864-2.1-1
#[test]
fn does_not_know_the_names_of_cose() {
    let fixture = Fixture::new();
    for name in [
        "ESP256", "ESP384", "ESP512", "ESB256", "Ed448", "RS1", "ES256K", "HS256/64",
    ] {
        assert_eq!(Algorithm::from_name(name), None);
        let token = fixture.token().header("alg", name).mint();
        fixture.rejects(&token, AlgorithmNotAllowed);
        let mut jwk = fixture.signer("k1").jwk();
        jwk["alg"] = name.into();
        assert!(from_jwk(&jwk).is_err(), "{name}");
    }
}

/// RFC8812-3.2-1
#[test]
fn does_not_know_secp256k1() {
    let fixture = Fixture::new();
    let vectors = data(include_str!("../data/unusable_keys.json"));
    let vector = vectors["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .find(|vector| vector["jwk"]["crv"] == "secp256k1");
    let (jwk, token) = (
        &vector.unwrap()["jwk"],
        vector.unwrap()["token"].as_str().unwrap(),
    );

    let rejected = from_jwk(jwk).unwrap_err();
    assert!(
        matches!(reason_of(&rejected), KeyError::Unsupported { .. }),
        "{rejected}"
    );
    for name in ["ES256K", "ES256"] {
        let mut jwk = jwk.clone();
        jwk["alg"] = name.into();
        let set = json!({"keys": [jwk, fixture.signer("k1").jwk()]}).to_string();
        let set = KeySet::from_jwks(set.as_bytes()).unwrap();
        assert_eq!((set.keys().count(), set.skipped().len()), (1, 1));
        let verifier = auth(set).verifier();
        rejects(&verifier, token, AlgorithmNotAllowed);
        accepts(&verifier, &fixture.token().header("kid", "key-1").mint());
    }
    // Its coordinates are not a point on P-256.
    let mut mislabelled = jwk.clone();
    mislabelled["crv"] = "P-256".into();
    assert!(from_jwk(&mislabelled).is_err());
}

/// RFC8725-3.2-1
#[test]
fn changes_algorithms_while_it_runs() {
    let clock = FixedClock::at(NOW);
    let old = TestIssuer::with_algorithm(Algorithm::RS256).with_clock(clock.clone());
    let new = TestIssuer::with_algorithm(Algorithm::ES256).with_clock(clock.clone());
    let keys = KeyStore::from_jwks(old.jwks().as_bytes()).unwrap();
    let verifier = auth(keys.clone()).verifier();
    accepts(&verifier, &old.token().mint());
    rejects(&verifier, &new.token().mint(), AlgorithmNotAllowed);

    keys.replace_jwks(new.jwks().as_bytes()).unwrap();
    accepts(&verifier, &new.token().mint());
    rejects(&verifier, &old.token().mint(), AlgorithmNotAllowed);

    keys.rotate(old.key().with_key_id("old"));
    accepts(&verifier, &new.token().mint());
    accepts(&verifier, &old.token().header("kid", "old").mint());
}

/// RFC8032-5.1.7-1
#[test]
fn rejects_ed25519_numbers_out_of_range_and_points_of_small_order() {
    for algorithm in [Algorithm::EdDSA, Algorithm::Ed25519] {
        let issuer = TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW));
        let verifier = auth(issuer.keys()).verifier();
        let good = issuer.token().mint();
        accepts(&verifier, &good);
        // The same number modulo the order. A verifier that does not compare S with the order
        // accepts it.
        let mut order = hexadecimal(ED25519_ORDER);
        for _ in 0..2 {
            let token = with_signature(&good, |signature| {
                let (point, number) = signature.split_at(32);
                let number: Vec<u8> = number.iter().rev().copied().collect();
                let number = sum(&number, &order);
                [point.to_vec(), number.into_iter().rev().collect()].concat()
            });
            rejects(&verifier, &token, BadSignature);
            order = sum(&order, &order);
        }
        for change in [
            |signature: Vec<u8>| [&signature[..32], &[0; 32]].concat(),
            |signature: Vec<u8>| [&signature[..32], &[0xff; 32]].concat(),
            |signature: Vec<u8>| [&[0; 32], &signature[32..]].concat(),
            |_: Vec<u8>| vec![0; 64],
            |signature: Vec<u8>| signature[..63].to_vec(),
            |signature: Vec<u8>| [&signature[..], &[0]].concat(),
        ] {
            rejects(&verifier, &with_signature(&good, change), BadSignature);
        }
    }

    // With a point of small order, a signature of zeros verifies for almost every message.
    for point in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut bytes = hexadecimal(point);
            bytes[31] |= sign;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(&bytes)});
            let rejected = from_jwk(&jwk).unwrap_err();
            assert!(
                matches!(rejected, ConfigError::Key { .. }),
                "{point}: {rejected}"
            );
        }
    }
}

/// The order of the base point of Ed25519, big-endian (RFC 8032, section 5.1).
const ED25519_ORDER: &str = "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

/// The encodings of points of order 1, 2, 4 and 8, without their sign bit.
const SMALL_ORDER: [&str; 7] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
