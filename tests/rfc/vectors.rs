//! Published vectors against the public API: signed texts that are not JWTs are rejected, key sets
//! load as their RFC says, and the examples that are JWTs verify.
//!
//! `TOWER_JWT_AUTH_VECTORS` names the folder of the vectors. Unit tests in `src/checks/vectors`
//! check the signatures of texts that are not JWTs, and the algorithms by themselves.

#[path = "../../src/checks/vectors/files.rs"]
mod files;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, StatusCode};
use serde_json::Value;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, Audience, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind};

use crate::support::{Fixture, send, small_cache};
use files::{array, jwk_of, say, text};

/// The layer with the fewest requirements: any audience, no expiry, and every algorithm that fits
/// the key.
fn lax(issuer: &str, keys: KeyStore) -> JwtAuth {
    JwtAuth::new(Issuer::new(issuer).unwrap(), Audience::insecure_any(), keys)
        .algorithms(Algorithm::ALL.iter().copied())
        .insecure_allow_missing_expiry()
        .clock(FixedClock::at(1_300_819_000))
        .cache(small_cache())
}

/// All usable keys of a JWK or a key set, including secrets. If there is none, a key that signed
/// nothing.
fn keys(jwk: &Value) -> KeyStore {
    let alone = std::slice::from_ref(jwk);
    let all = match jwk.get("keys") {
        Some(keys) => array(keys),
        None => jwk.as_array().map_or(alone, Vec::as_slice),
    };
    let usable = all
        .iter()
        .filter_map(|key| Key::from_jwk(key.to_string().as_bytes()).ok());
    KeySet::new(usable).map_or_else(|_| TestIssuer::new().keys(), KeyStore::from)
}

/// Asserts that a request with this text as its token gets 401, or 400 if the text cannot be a
/// token. The request must not reach the service.
async fn rejected(label: &str, layer: &JwtAuth, token: &str) {
    assert!(layer.verifier().verify_now(token).is_err(), "{label}");
    let mut request = Request::new(String::new());
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    request.headers_mut().insert(AUTHORIZATION, value);
    let (response, seen) = send(layer, request).await;
    assert_eq!(seen.count(), 0, "{label}");
    let expected = [StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST];
    assert!(
        expected.contains(&response.status()),
        "{label}: {}",
        response.status()
    );
}

/// A payload that is not a set of claims is no JWT, even with a valid signature. Encrypted texts
/// are rejected.
#[tokio::test]
async fn rejects_every_wycheproof_text_as_a_jwt() {
    let Some(folder) = files::folder("Wycheproof texts as JWTs") else {
        return;
    };
    for (name, expected) in [
        ("json_web_signature_test", 401),
        ("json_web_key_test", 26),
        ("json_web_crypto_test", 83),
        ("json_web_encryption_test", 139),
    ] {
        let file = files::read(&folder, &format!("wycheproof/{name}.json"));
        let mut run = 0;
        for (group, test) in files::tests(&file) {
            let layer = lax("joe", keys(jwk_of(group)));
            let token = match test.get("jws").unwrap_or(&test["jwe"]) {
                Value::String(token) => token.clone(),
                other => other.to_string(),
            };
            rejected(&format!("{name}, {}", test["tcId"]), &layer, &token).await;
            run += 1;
        }
        say(&format!("{name}: {run} refused as JWTs, 0 skipped"));
        assert_eq!(run, expected, "{name}");
    }
}

/// RFC7519-8-1
///
/// Examples A.1, A.2 and A.3 of RFC 7515 are JWTs and verify. All other signed or encrypted texts
/// of the RFCs are rejected.
#[tokio::test]
async fn accepts_the_jwts_of_rfc_7515_and_rejects_every_other_text_of_the_rfcs() {
    let Some(folder) = files::folder("texts of the RFCs as JWTs") else {
        return;
    };
    let (mut accepted, mut run) = (Vec::new(), 0);
    for name in ["rfc7515", "rfc7520", "rfc8037", "rfc9449"] {
        let file = files::read(&folder, &format!("rfc/{name}.json"));
        for entry in array(&file["entries"]) {
            let label = format!("{name}, {}", text(&entry["name"]));
            let token = match text(&entry["kind"]) {
                "nested" => text(&entry["data"]["encrypt"]["output"]["compact"]),
                "jws-compact" | "jws-json" | "dpop-proof" | "access-token" => text(&entry["token"]),
                _ => continue,
            };
            run += 1;
            let is_jwt = ["A.1 HS256", "A.2 RS256", "A.3 ES256"].contains(&text(&entry["name"]));
            let issuer = entry["claims"]["iss"].as_str().unwrap_or("joe");
            let layer = lax(issuer, keys(&entry["jwk"]));
            if is_jwt {
                let verifier = layer.verifier().claims::<Value>();
                let claims = verifier.verify_now(token).unwrap();
                assert_eq!(claims["http://example.com/is_root"], true, "{label}");
                assert_eq!(claims.issuer(), "joe");
                let others = lax(issuer, TestIssuer::new().keys());
                rejected(&label, &others, token).await;
                let late = layer.clock(FixedClock::at(1_300_819_380 + 60));
                let rejection = late.verifier().verify_now(token).unwrap_err();
                assert_eq!(rejection.kind(), RejectionKind::Expired, "{label}");
                let mut changed = token.to_owned();
                let at = changed.rfind('.').unwrap() + 1;
                let other = if changed[at..].starts_with('A') {
                    "B"
                } else {
                    "A"
                };
                changed.replace_range(at..=at, other);
                rejected(&label, &lax(issuer, keys(&entry["jwk"])), &changed).await;
                accepted.push(label);
            } else {
                rejected(&label, &layer, token).await;
            }
        }
    }
    say(&format!(
        "texts of the RFCs: {run} run, accepted {accepted:?}"
    ));
    assert_eq!((accepted.len(), run), (3, 42));
}

/// RFC 9068, figure 2, has no signature, so a test issuer signs it.
#[test]
fn accepts_the_access_token_of_rfc_9068() {
    let Some(folder) = files::folder("access token of RFC 9068") else {
        return;
    };
    let file = files::read(&folder, "rfc/rfc9068.json");
    let entry = &file["entries"][0];
    let claims = &entry["claims"];
    let issuer = TestIssuer::with_algorithm(Algorithm::RS256)
        .named(text(&claims["iss"]))
        .for_audience(text(&claims["aud"]))
        .with_clock(FixedClock::at(entry["clock"].as_u64().unwrap()));
    let keys = KeyStore::from(issuer.key().with_key_id(text(&entry["header"]["kid"])));
    let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), keys)
        .clock(FixedClock::at(entry["clock"].as_u64().unwrap()))
        .access_token_profile();

    let token = issuer.token().raw_claims(claims.to_string());
    let accepted = token.clone().raw_header(entry["header"].to_string());
    let accepted = auth.verifier().verify_now(&accepted.mint()).unwrap();
    assert_eq!(accepted.subject(), Some("5ba552d67"));
    assert_eq!(accepted.client_id(), Some("s6BhdRkqt3"));
    assert!(accepted.scopes().contains("reademail"));

    let mut header = entry["header"].clone();
    header["typ"] = "JWT".into();
    let rejected = token.raw_header(header.to_string()).mint();
    let rejected = auth.verifier().verify_now(&rejected).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::WrongType);
}

/// RFC7638-3-1
#[test]
fn computes_the_thumbprints_of_the_rfcs() {
    let Some(folder) = files::folder("thumbprints of the RFCs") else {
        return;
    };
    let mut run = 0;
    for name in ["rfc7638", "rfc9449"] {
        let file = files::read(&folder, &format!("rfc/{name}.json"));
        for entry in array(&file["entries"]) {
            let expected = match text(&entry["kind"]) {
                "jwk-thumbprint" => text(&entry["thumbprint"]),
                "dpop-proof" => text(&entry["jkt"]),
                _ => continue,
            };
            let mut jwk = entry["jwk"].clone();
            if jwk["use"] == "enc" {
                jwk["use"] = "sig".into();
            }
            let thumbprint = |jwk: &Value| {
                let key = Key::from_jwk(jwk.to_string().as_bytes()).unwrap();
                key.thumbprint().to_owned()
            };
            assert_eq!(thumbprint(&jwk), expected, "{}", entry["name"]);
            jwk["kid"] = "another".into();
            jwk["x-extra"] = "no part of it".into();
            assert_eq!(thumbprint(&jwk), expected, "{}", entry["name"]);
            run += 1;
        }
    }
    say(&format!("thumbprints of the RFCs: {run} run, 0 skipped"));
    assert_eq!(run, 7);
}

/// A key loads if it is for signatures and has no private part.
#[test]
fn loads_the_keys_and_key_sets_of_the_rfcs() {
    let Some(folder) = files::folder("keys of the RFCs") else {
        return;
    };
    let mut run = 0;
    let rfc7517 = files::read(&folder, "rfc/rfc7517.json");
    for entry in array(&rfc7517["entries"]) {
        let jwks = entry["jwks"].to_string();
        let set = KeySet::from_jwks(jwks.as_bytes());
        match text(&entry["name"]) {
            "A.1 public JWK set" => {
                let set = set.unwrap();
                let ids: Vec<_> = set.keys().map(|key| key.id().as_str()).collect();
                assert_eq!(ids, ["2011-04-29"]);
                assert_eq!(set.skipped()[0].id(), Some("1"), "it is for encryption");
            }
            "A.2 private JWK set" => {
                let error = set.unwrap_err().to_string();
                assert!(error.contains("private"), "{error}");
            }
            "A.3 symmetric keys" => {
                assert!(set.is_err(), "secrets have no place in a published set");
                let all = array(&entry["jwks"]["keys"]);
                let one = |key: &Value| Key::from_jwk(key.to_string().as_bytes());
                assert!(one(&all[0]).is_err(), "a key for wrapping makes no tags");
                assert!(one(&all[1]).is_ok());
            }
            "B x5c example" => {
                let key = Key::from_jwk(entry["jwk"].to_string().as_bytes()).unwrap();
                assert_eq!(key.id().as_str(), "1b94c");
            }
            other => panic!("what is {other}?"),
        }
        run += 1;
    }
    let rfc7520 = files::read(&folder, "rfc/rfc7520.json");
    for entry in array(&rfc7520["entries"]) {
        if entry["kind"] != "jwk" {
            continue;
        }
        let name = text(&entry["name"]);
        let key = Key::from_jwk(entry["jwk"].to_string().as_bytes());
        if name.contains("private_key") {
            // The file lists these as valid. A verifier rejects a private key, and says so.
            let error = key.unwrap_err().to_string();
            assert!(error.contains("private"), "{name}: {error}");
        } else if entry["jwk"]["use"] == "enc" {
            assert!(key.is_err(), "{name}: it is for encryption");
        } else {
            assert_eq!(
                key.unwrap().id().as_str(),
                text(&entry["jwk"]["kid"]),
                "{name}"
            );
        }
        run += 1;
    }
    say(&format!("keys of the RFCs: {run} run, 0 skipped"));
    assert_eq!(run, 10);
}

/// Replaces the signature of a token.
fn resigned(token: &str, signature: &[u8]) -> String {
    let (signed, _) = token.rsplit_once('.').unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn signature(token: &str) -> Vec<u8> {
    let (_, signature) = token.rsplit_once('.').unwrap();
    URL_SAFE_NO_PAD.decode(signature).unwrap()
}

/// RFC7518-3.4-3
#[test]
fn rejects_ecdsa_signatures_with_r_or_s_out_of_range() {
    // The order of P-256 (SEC 2, section 2.4.2).
    let order: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63,
        0x25, 0x51,
    ];
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    fixture.accepts(&token);
    let good = signature(&token);
    let (r, s) = good.split_at(32);
    for (r, s) in [
        (&[0; 32][..], &[0; 32][..]),
        (&[0; 32], s),
        (r, &[0; 32]),
        (r, &order),
        (&order, s),
        (&order, &order),
        (r, &[0xff; 32]),
        (&[0xff; 32], s),
    ] {
        fixture.rejects(
            &resigned(&token, &[r, s].concat()),
            RejectionKind::BadSignature,
        );
    }
}

/// RFC8032-5.1.7-1
#[test]
fn rejects_an_ed25519_signature_whose_s_is_not_reduced() {
    // The order of the base point, little-endian (RFC 8032, section 5.1).
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let fixture = Fixture::new();
    let token = fixture.token_of("e1").mint();
    fixture.accepts(&token);
    let mut malleable = signature(&token);
    let mut carry = 0;
    for (byte, summand) in malleable[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(summand) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    fixture.rejects(&resigned(&token, &malleable), RejectionKind::BadSignature);
}

/// RFC8032-5.1.7-1
///
/// With a key of small order, a signature of zeros verifies for one of eight messages, or for all.
#[test]
fn rejects_ed25519_keys_of_small_order() {
    let order_8 = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    let mut order_2 = [0xff; 32];
    (order_2[0], order_2[31]) = (0xec, 0x7f);
    let mut order_1 = [0; 32];
    order_1[0] = 1;
    for mut point in [[0; 32], order_1, order_2, order_8] {
        for sign in [0, 0x80] {
            point[31] ^= sign;
            let x = URL_SAFE_NO_PAD.encode(point);
            let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}"#);
            let error = Key::from_jwk(jwk.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("small order"), "{error}");
        }
    }
}

/// RFC7515-10.6-1
///
/// RFC7518-3.5-1
#[test]
fn rejects_an_rsa_signature_made_with_another_hash_than_alg_names() {
    use Algorithm::{PS256, PS384, RS256, RS512};
    for (made_with, labelled) in [
        (RS512, RS256),
        (RS256, RS512),
        (PS384, PS256),
        (RS256, PS256),
    ] {
        let issuer =
            TestIssuer::with_algorithm(made_with).with_clock(FixedClock::at(1_700_000_000));
        let verifier = |algorithm: Algorithm| {
            let mut jwk = issuer.jwk();
            jwk["alg"] = algorithm.as_str().into();
            let key = Key::from_jwk(jwk.to_string().as_bytes()).unwrap();
            JwtAuth::new(issuer.issuer(), issuer.audience(), key)
                .clock(FixedClock::at(1_700_000_000))
                .verifier()
        };
        let token = issuer.token();
        assert!(verifier(made_with).verify_now(&token.mint()).is_ok());
        let token = token.header("alg", labelled.as_str()).mint();
        let rejection = verifier(labelled).verify_now(&token).unwrap_err();
        assert_eq!(
            rejection.kind(),
            RejectionKind::BadSignature,
            "{made_with} as {labelled}"
        );
    }
}
