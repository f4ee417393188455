//! Keys and key sets: which keys are read, skipped or rejected, with the reasons, and which key
//! verifies which token (RFC 7517, RFC 7518 section 6, RFC 7638, RFC 8037).

#![cfg(feature = "pem")]

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, small_cache};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_jwt_auth::error::KeyError;
use tower_jwt_auth::keys::{KeyFormat, KeyId};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, Audience, ConfigError, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind,
    TrustedIssuer,
};

/// The layer of the fixture with other keys.
fn auth(keys: impl Into<KeyStore>) -> JwtAuth {
    let (issuer, audience) = (Issuer::new(ISSUER), Audience::new(AUDIENCE));
    JwtAuth::new(issuer.unwrap(), audience.unwrap(), keys)
        .clock(FixedClock::at(NOW))
        .cache(small_cache())
}

fn verdict(keys: impl Into<KeyStore>, token: &str) -> Result<(), RejectionKind> {
    let verdict = auth(keys).verifier().verify_now(token);
    verdict.map(drop).map_err(|rejection| {
        assert_eq!(rejection.status(), 401, "{rejection}");
        rejection.kind()
    })
}

/// The reason for which a key is rejected.
#[track_caller]
fn reason_of(error: &ConfigError) -> &KeyError {
    match error {
        ConfigError::Key { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// An issuer with a new key and the clock of the fixture.
fn issuer(algorithm: Algorithm) -> TestIssuer {
    TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW))
}

fn set_of(keys: impl IntoIterator<Item = Value>) -> Result<KeySet, ConfigError> {
    let keys: Vec<_> = keys.into_iter().collect();
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes())
}

/// A JSON object with other values for some members. `null` removes a member.
fn with(mut jwk: Value, changes: Value) -> Value {
    let members = jwk.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    jwk
}

/// Asserts that the key is skipped while a good key next to it is used, and returns the reason.
#[track_caller]
fn skipped(jwk: Value) -> KeyError {
    let set = set_of([jwk.clone(), good()]).unwrap();
    let used: Vec<_> = set.keys().map(|key| key.id().as_str()).collect();
    assert_eq!(used, ["good"], "{jwk}");
    let [skipped] = set.skipped() else {
        panic!("{} skipped: {jwk}", set.skipped().len());
    };
    assert_eq!(skipped.position(), 0);
    assert_eq!(skipped.id(), jwk.get("kid").and_then(Value::as_str));
    skipped.reason().clone()
}

#[track_caller]
fn usable(jwk: Value) {
    let set = set_of([jwk.clone()]).unwrap_or_else(|error| panic!("{jwk}: {error}"));
    assert!(set.skipped().is_empty(), "{jwk}");
}

/// The Ed25519 key of RFC 8037, appendix A.2.
fn good() -> Value {
    json!({
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "good",
    })
}

/// The EC key of RFC 9449, section 4.1.
fn ec() -> Value {
    json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "kid": "ec",
    })
}

/// The RSA key of RFC 7638, section 3.1.
fn rsa() -> Value {
    json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6\
              tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65\
              YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt\
              -bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(jwk: &Value, name: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap()
}

fn thumbprint(jwk: &Value) -> String {
    let key = Key::from_jwk(jwk.to_string().as_bytes()).unwrap();
    key.thumbprint().to_owned()
}

// Sets.

/// RFC7517-5-1
#[test]
fn a_text_that_is_no_key_set_is_rejected() {
    for text in [
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":"[]"}"#,
        r#"{"Keys":[]}"#,
        r#"{"keys":[]}"#,
        "<!doctype html><title>502</title>",
        "",
        "null",
        r#"{"keys":[]} {}"#,
        "\u{feff}{\"keys\":[]}",
    ] {
        let rejected = KeySet::from_jwks(text.as_bytes());
        assert!(
            matches!(rejected, Err(ConfigError::KeySet { .. })),
            "{text}: {rejected:?}"
        );
    }
    assert!(KeySet::from_jwks(b"{\"keys\":[\"\xff\"]}").is_err());
    assert!(set_of([good()]).is_ok());
}

/// RFC7517-5-1
#[test]
fn old_keys_still_verify_after_a_text_that_is_no_key_set() {
    let issuer = issuer(Algorithm::ES256);
    let token = issuer.token().mint();
    let store = KeyStore::from_jwks(issuer.jwks().as_bytes()).unwrap();
    let html = "<!doctype html><title>502</title>";
    for text in ["[]", "{}", r#"{"keys":{}}"#, html, "", "null"] {
        let rejected = store.replace_jwks(text.as_bytes());
        assert!(
            matches!(rejected, Err(ConfigError::KeySet { .. })),
            "{text}"
        );
        assert_eq!(verdict(&store, &token), Ok(()), "{text}");
    }
    let other = set_of([good()]).unwrap();
    store.replace(other);
    assert_eq!(verdict(&store, &token), Err(RejectionKind::UnknownKey));
}

/// The position of a skipped key also counts the good keys.
#[test]
fn skipped_keys_have_the_place_that_they_have_in_the_text() {
    let odd = |id: &str| json!({"kty": "AKP", "kid": id});
    let set = set_of([good(), odd("one"), ec(), json!(5), odd("four")]).unwrap();
    let places: Vec<_> = set.skipped().iter().map(|key| key.position()).collect();
    assert_eq!(places, [1, 3, 4]);
    let ids: Vec<_> = set.skipped().iter().map(|key| key.id()).collect();
    assert_eq!(ids, [Some("one"), None, Some("four")]);
}

/// The reason of a rejection says what is wrong with the key of the token.
#[test]
fn the_token_of_a_skipped_key_says_why() {
    let issuer = issuer(Algorithm::ES256);
    let token = issuer.token().mint();
    let odd = with(issuer.jwk(), json!({"alg": "ES384"}));
    let verifier = auth(set_of([odd, good()]).unwrap()).verifier();
    let rejected = verifier.verify_now(&token).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
    let said = rejected.to_string();
    assert!(
        said.contains("\"key-1\"") && said.contains("does not fit"),
        "{said}"
    );
    // The twin: a key id that is not in the set.
    let unknown = issuer.token().header("kid", "other").mint();
    let said = verifier.verify_now(&unknown).unwrap_err().to_string();
    assert!(!said.contains("does not fit"), "{said}");
}

/// RFC7517-5-2
#[test]
fn a_key_that_cannot_be_used_is_skipped_once_and_the_others_are_used() {
    let unknown = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "pq"});
    let no_y = with(ec(), json!({"y": null}));
    let set = set_of([unknown, no_y, json!(5), good()]).unwrap();
    assert_eq!(set.keys().count(), 1);
    let reasons: Vec<_> = set.skipped().iter().map(ToString::to_string).collect();
    assert_eq!(
        reasons,
        [
            r#"key "pq": algorithm "ML-DSA-44" is not supported"#,
            r#"key "ec": member `y` is missing"#,
            "key at position 2: not a JSON object",
        ]
    );
}

/// RFC7517-5-2
#[test]
fn a_set_of_which_nothing_is_usable_is_rejected_with_the_reasons() {
    let error = set_of([json!({"kty": "AKP", "kid": "one"}), json!({"kid": "two"})]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(r#"key "one""#), "{text}");
    assert!(text.contains(r#"key "two""#), "{text}");
}

/// RFC7517-4-1
#[test]
fn unknown_members_are_ignored_and_duplicates_reject_the_set() {
    usable(with(
        good(),
        json!({"foo": {"bar": [1, null]}, "x5t": 5, "": true}),
    ));
    for text in [
        r#"{"keys":[{"kty":"RSA","n":"AQAB","n":"AQAB","e":"AQAB"},GOOD]}"#,
        r#"{"keys":[GOOD],"keys":[GOOD]}"#,
        r#"{"keys":[GOOD],"note":{"a":1,"a":2}}"#,
        r#"{"keys":[{"kty":"AKP","\u006bty":"OKP"},GOOD]}"#,
    ] {
        let text = text.replace("GOOD", &good().to_string());
        let error = KeySet::from_jwks(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("occurs twice"), "{error}");
    }
    let text = format!(r#"{{"keys":[{}],"note":{{"a":1,"b":2}}}}"#, good());
    assert!(KeySet::from_jwks(text.as_bytes()).is_ok());
}

/// RFC7517-4.1-1
#[test]
fn the_key_type_is_required_and_case_sensitive() {
    usable(ec());
    assert_eq!(
        skipped(with(ec(), json!({"kty": null}))),
        KeyError::MissingMember { name: "kty" }
    );
    assert_eq!(
        skipped(with(ec(), json!({"kty": ""}))),
        KeyError::MissingMember { name: "kty" }
    );
    for kty in ["ec", "Ec", "EC ", "rsa"] {
        let reason = skipped(with(ec(), json!({"kty": kty})));
        assert!(
            matches!(reason, KeyError::Unsupported { .. }),
            "{kty}: {reason}"
        );
    }
    assert!(matches!(
        skipped(with(ec(), json!({"kty": 5}))),
        KeyError::Member { name: "kty", .. }
    ));
}

/// RFC7517-9.2-1: a secret in a public set is never used as a key. It is a mistake or an attack.
#[test]
fn a_symmetric_key_in_a_key_set_is_skipped() {
    let random: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(83) ^ 0xa5).collect();
    let secret = json!({"kty": "oct", "k": encode(random), "kid": "oct"});
    assert_eq!(skipped(secret.clone()), KeyError::Symmetric);
    assert!(Key::from_jwk(secret.to_string().as_bytes()).is_ok());
}

/// RFC8037-2-1
#[test]
fn a_private_key_in_a_key_set_is_skipped_and_reported() {
    // RFC 8037, appendix A.1.
    let leaked = with(
        good(),
        json!({"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "kid": "leaked"}),
    );
    assert_eq!(skipped(leaked.clone()), KeyError::Private);
    let error = Key::from_jwk(leaked.to_string().as_bytes()).unwrap_err();
    assert_eq!(
        error,
        ConfigError::Key {
            reason: KeyError::Private
        }
    );

    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        for value in [json!("AQAB"), json!(5)] {
            let leaked = with(rsa(), json!({ member: value }));
            assert_eq!(skipped(leaked), KeyError::Private, "{member}");
        }
    }
    assert_eq!(skipped(with(ec(), json!({"d": "AQAB"}))), KeyError::Private);
}

/// RFC8037-2-1
#[test]
fn a_token_of_a_leaked_private_key_is_rejected() {
    let issuer = issuer(Algorithm::EdDSA);
    let token = issuer.token().mint();
    let public = set_of([issuer.jwk(), good()]).unwrap();
    assert_eq!(verdict(public, &token), Ok(()));
    let leaked = set_of([with(issuer.jwk(), json!({"d": encode([7; 32])})), good()]).unwrap();
    assert_eq!(verdict(leaked, &token), Err(RejectionKind::UnknownKey));
}

// The use of a key.

/// RFC7517-4.2-1
#[test]
fn a_key_for_encryption_never_verifies() {
    let issuer = issuer(Algorithm::ES256);
    let token = issuer.token().mint();
    for (usage, expected) in [
        (json!("sig"), Ok(())),
        (Value::Null, Ok(())),
        (json!("enc"), Err(RejectionKind::UnknownKey)),
        (json!("SIG"), Err(RejectionKind::UnknownKey)),
        (json!(["sig"]), Err(RejectionKind::UnknownKey)),
    ] {
        let jwk = with(issuer.jwk(), json!({"use": usage.clone()}));
        let set = set_of([jwk, good()]).unwrap();
        assert_eq!(verdict(set, &token), expected, "{usage}");
    }
}

/// RFC7517-4.3-1
#[test]
fn key_operations_must_allow_to_verify() {
    for operations in [json!(["verify"]), json!(["sign", "verify"])] {
        usable(with(good(), json!({"key_ops": operations})));
        usable(with(good(), json!({"key_ops": operations, "use": "sig"})));
    }
    usable(with(good(), json!({"key_ops": []})));
    for operations in [json!(["encrypt", "wrapKey"]), json!(["deriveBits"])] {
        let jwk = with(ec(), json!({"key_ops": operations}));
        assert_eq!(skipped(jwk.clone()), KeyError::Encryption, "{operations}");
        let contradiction = with(jwk, json!({"use": "sig"}));
        assert!(matches!(skipped(contradiction), KeyError::Usage { .. }));
    }
    for operations in [
        json!(["sign"]),
        json!(["Verify"]),
        json!(["verify", "encrypt"]),
        json!(["verify", "wrapKey"]),
    ] {
        let reason = skipped(with(ec(), json!({"key_ops": operations.clone()})));
        assert!(matches!(reason, KeyError::Usage { .. }), "{operations}");
    }
    for operations in [
        json!(["verify", "verify"]),
        json!("verify"),
        json!([1]),
        json!({"verify": true}),
    ] {
        let reason = skipped(with(ec(), json!({"key_ops": operations.clone()})));
        assert!(
            matches!(
                reason,
                KeyError::Member {
                    name: "key_ops",
                    ..
                }
            ),
            "{operations}"
        );
    }
    let contradiction = with(ec(), json!({"use": "enc", "key_ops": ["verify"]}));
    assert!(matches!(skipped(contradiction), KeyError::Usage { .. }));
}

/// Some libraries write an absent member as null or empty. `with` removes a member that is null, so
/// these members are written as text.
#[test]
fn members_that_say_nothing_count_as_absent() {
    let key = |jwk: Value, member: &str| {
        let text = jwk.to_string().replacen('{', &format!("{{{member},"), 1);
        let set = KeySet::from_jwks(format!(r#"{{"keys":[{text}]}}"#).as_bytes());
        set.map(|set| set.keys().next().unwrap().clone())
    };
    let unnamed = with(rsa(), json!({"kid": null, "use": null, "alg": null}));
    for name in ["use", "kid", "alg", "key_ops", "d", "p", "q", "oth", "x5c"] {
        for nothing in ["null", "[]", r#""""#] {
            let member = format!(r#""{name}":{nothing}"#);
            let found = key(unnamed.clone(), &member).unwrap_or_else(|e| panic!("{member}: {e}"));
            assert_eq!(found.id().as_str(), found.thumbprint(), "{member}");
        }
    }
    // A member with a value counts.
    for member in [
        r#""d":"AQAB""#,
        r#""oth":[{"r":"AQAB"}]"#,
        r#""d":0"#,
        r#""d":{}"#,
        r#""use":"tls""#,
        r#""use":{}"#,
        r#""kid":0"#,
        r#""alg":false"#,
        r#""key_ops":{}"#,
        r#""key_ops":[null]"#,
    ] {
        assert!(key(unnamed.clone(), member).is_err(), "{member}");
    }
}

/// A key with an empty id verifies tokens with an empty id or none.
#[test]
fn an_empty_key_id_names_no_key() {
    let signer = issuer(Algorithm::ES256);
    let jwk = with(signer.jwk(), json!({"kid": ""}));
    for (kid, expected) in [
        (json!(""), Ok(())),
        (json!("x"), Err(RejectionKind::UnknownKey)),
    ] {
        let token = signer.token().header("kid", kid.clone()).mint();
        let set = set_of([jwk.clone()]).unwrap();
        assert_eq!(verdict(set, &token), expected, "{kid}");
    }
}

/// The hint is for an operator who forgot an id, even of a single key.
#[test]
fn an_unknown_key_id_comes_with_a_hint_if_some_key_has_none() {
    let signer = issuer(Algorithm::ES256);
    let token = signer.token().header("kid", "x").mint();
    let unnamed = with(signer.jwk(), json!({"kid": null}));
    for (set, expected) in [
        (vec![good(), unnamed.clone()], true),
        (vec![unnamed], true),
        (vec![good(), signer.jwk()], false),
    ] {
        let verifier = auth(set_of(set.clone()).unwrap()).verifier();
        let rejection = verifier.verify_now(&token).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::UnknownKey);
        let said = rejection.to_string();
        assert_eq!(said.contains("Key::with_key_id"), expected, "{said}");
    }
}

/// A padded member has only one meaning, and whoever publishes a key decides what it is.
#[test]
fn padding_in_a_public_key_is_harmless() {
    let padded = |jwk: Value, name: &str| {
        let mut value = jwk[name].as_str().unwrap().to_owned();
        while !value.len().is_multiple_of(4) {
            value.push('=');
        }
        with(jwk, json!({ name: value }))
    };
    let plain = set_of([rsa()]).unwrap();
    let set = set_of([padded(padded(rsa(), "n"), "e")]).unwrap();
    assert_eq!(
        set.keys().next().unwrap().thumbprint(),
        plain.keys().next().unwrap().thumbprint()
    );
    usable(padded(good(), "x"));
    usable(padded(padded(ec(), "x"), "y"));
    for bad in ["=", "==", "===", "===="] {
        let n = rsa()["n"].as_str().unwrap().to_owned();
        if (n.len() + bad.len()).is_multiple_of(4) && bad.len() < 3 {
            continue;
        }
        let reason = skipped(with(rsa(), json!({"n": format!("{n}{bad}")})));
        assert!(
            matches!(reason, KeyError::Member { name: "n", .. }),
            "{bad}"
        );
    }
}

/// A set of thousands of broken keys fills neither the memory nor a line of the log.
#[test]
fn what_is_told_of_skipped_keys_is_bounded() {
    let broken = vec!["{}"; 50_000].join(",");
    let error = KeySet::from_jwks(format!(r#"{{"keys":[{broken}]}}"#).as_bytes());
    let text = error.unwrap_err().to_string();
    assert!(text.len() < 1_000, "{} bytes", text.len());
    assert!(text.ends_with("; and 49992 more"), "{text}");

    let set = format!(r#"{{"keys":[{broken},{}]}}"#, good());
    let set = KeySet::from_jwks(set.as_bytes()).unwrap();
    assert_eq!(set.keys().count(), 1);
    assert_eq!(set.skipped().len(), 64);
    assert_eq!(set.skipped_count(), 50_000);
}

/// RFC7517-4.4-1, RFC8725-3.1
#[test]
fn the_algorithm_of_a_key_binds_it() {
    let signer = issuer(Algorithm::RS512);
    let token = signer.token().mint();
    for (alg, expected) in [
        (json!("RS512"), Ok(())),
        (json!("RS256"), Err(RejectionKind::AlgorithmNotAllowed)),
        // Without `alg` an RSA key is for RS256, the usual one.
        (Value::Null, Err(RejectionKind::AlgorithmNotAllowed)),
    ] {
        let jwk = with(signer.jwk(), json!({"alg": alg.clone()}));
        assert_eq!(verdict(set_of([jwk]).unwrap(), &token), expected, "{alg}");
    }
    // The configuration can allow other algorithms for a key without `alg`, but not for a key with
    // `alg`.
    for (alg, expected) in [(Value::Null, true), (json!("RS256"), false)] {
        let jwk = with(signer.jwk(), json!({"alg": alg}));
        let auth = auth(set_of([jwk]).unwrap()).algorithms([Algorithm::RS512]);
        assert_eq!(auth.verifier().verify_now(&token).is_ok(), expected);
    }
}

/// RFC7517-4.4-1
#[test]
fn an_algorithm_that_does_not_fit_the_key_skips_it() {
    for alg in ["RS256", "ES384", "HS256"] {
        let reason = skipped(with(ec(), json!({"alg": alg})));
        assert!(
            matches!(reason, KeyError::Algorithm { .. }),
            "{alg}: {reason}"
        );
    }
    for alg in ["none", "ECDH-ES", "es256", " "] {
        let reason = skipped(with(ec(), json!({"alg": alg})));
        assert!(
            matches!(reason, KeyError::Unsupported { .. }),
            "{alg}: {reason}"
        );
    }
    usable(with(ec(), json!({"alg": "ES256"})));
}

// Sizes and encodings.

/// RFC7518-6.2.1.2-1, RFC8725-3.4
#[test]
fn ec_coordinates_have_the_full_length_and_lie_on_the_curve() {
    usable(ec());
    let (x, y) = (decode(&ec(), "x"), decode(&ec(), "y"));
    for (name, bytes) in [
        ("x", x[1..].to_vec()),
        ("y", y[..31].to_vec()),
        ("x", [&[0], &x[..]].concat()),
    ] {
        let reason = skipped(with(ec(), json!({ name: encode(&bytes) })));
        assert!(
            matches!(reason, KeyError::Member { name: of, .. } if of == name),
            "{name}: {reason}"
        );
    }
    assert_eq!(
        skipped(with(ec(), json!({"y": ""}))),
        KeyError::MissingMember { name: "y" }
    );
    let mut beside = y.clone();
    beside[31] ^= 1;
    let off = with(ec(), json!({ "y": encode(&beside) }));
    assert_eq!(
        skipped(off),
        KeyError::Format {
            expected: "a point on its curve"
        }
    );
    // The point at infinity has no coordinates. Zeros and the field prime are tried in their place.
    let prime = "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff";
    let prime: Vec<u8> = (0..32)
        .map(|at| u8::from_str_radix(&prime[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    for (x, y) in [(vec![0; 32], vec![0; 32]), (prime.clone(), prime)] {
        let jwk = with(ec(), json!({"x": encode(x), "y": encode(y)}));
        assert_eq!(
            skipped(jwk),
            KeyError::Format {
                expected: "a point on its curve"
            }
        );
    }
    assert!(matches!(
        skipped(with(ec(), json!({"crv": "secp256k1"}))),
        KeyError::Unsupported { .. }
    ));
    assert!(matches!(
        skipped(with(ec(), json!({"crv": "P-384"}))),
        KeyError::Member { .. }
    ));
}

/// RFC7518-6.3.1-1
#[test]
fn leading_zeros_of_an_rsa_modulus_are_dropped() {
    let issuer = issuer(Algorithm::RS256);
    let (token, jwk) = (issuer.token().mint(), issuer.jwk());
    let padded = with(
        jwk.clone(),
        json!({
            "n": encode([&[0], &decode(&jwk, "n")[..]].concat()),
            "e": encode([0, 1, 0, 1]),
        }),
    );
    assert_eq!(thumbprint(&padded), thumbprint(&jwk));
    assert_eq!(verdict(set_of([padded]).unwrap(), &token), Ok(()));
}

/// RFC7518-6.3.1-1
#[test]
fn weak_and_oversized_rsa_keys_are_skipped() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0x5b; bits / 8];
        bytes[0] = 0x80;
        encode(bytes)
    };
    usable(with(rsa(), json!({ "n": modulus(8192) })));
    usable(with(rsa(), json!({"e": "Aw"})));
    for (bits, n) in [
        (1024, modulus(1024)),
        (2040, modulus(2040)),
        (8200, modulus(8200)),
    ] {
        assert_eq!(
            skipped(with(rsa(), json!({ "n": n }))),
            KeyError::Size {
                bits,
                expected: "2048 to 8192"
            }
        );
    }
    assert_eq!(
        skipped(with(rsa(), json!({"e": ""}))),
        KeyError::MissingMember { name: "e" }
    );
    for exponent in [&[1][..], &[2], &[1, 0, 0], &[0]] {
        let reason = skipped(with(rsa(), json!({ "e": encode(exponent) })));
        assert!(matches!(reason, KeyError::Weak { .. }), "{exponent:?}");
    }
    let long = skipped(with(rsa(), json!({ "e": encode([1, 0, 0, 0, 0, 0, 1]) })));
    assert!(matches!(long, KeyError::Size { .. }));
    let mut even = decode(&rsa(), "n");
    *even.last_mut().unwrap() &= 0xfe;
    assert!(matches!(
        skipped(with(rsa(), json!({ "n": encode(even) }))),
        KeyError::Weak { .. }
    ));
    for name in ["n", "e"] {
        let reason = skipped(with(rsa(), json!({ name: null })));
        assert_eq!(reason, KeyError::MissingMember { name });
    }
}

/// RFC8037-2-1
#[test]
fn ed25519_points_have_32_bytes_and_a_large_order() {
    let okp = |changes| with(with(good(), json!({"kid": "okp"})), changes);
    usable(okp(json!({})));
    assert!(matches!(
        skipped(okp(json!({"x": encode([1; 31])}))),
        KeyError::Member { name: "x", .. }
    ));
    let mut identity = [0; 32];
    identity[0] = 1;
    for point in [[0; 32], identity] {
        let reason = skipped(okp(json!({ "x": encode(point) })));
        assert!(matches!(reason, KeyError::Weak { .. }), "{reason}");
    }
    for crv in ["X25519", "Ed448", "ed25519"] {
        let reason = skipped(okp(json!({ "crv": crv })));
        assert!(matches!(reason, KeyError::Unsupported { .. }), "{crv}");
    }
}

/// RFC7517-5-2
#[test]
fn key_material_is_strict_base64url() {
    let x = good()["x"].as_str().unwrap().to_owned();
    for bad in [
        format!("{x}=="),
        x.replace('_', "/"),
        format!("{x}\n"),
        format!(" {x}"),
        x.replace("Ro", "Rp"), // unused bits that are not zero
    ] {
        let reason = skipped(with(good(), json!({"x": bad.clone(), "kid": "bad"})));
        assert!(
            matches!(reason, KeyError::Member { name: "x", .. }),
            "{bad}"
        );
    }
    assert!(matches!(
        skipped(with(good(), json!({"x": 5, "kid": "bad"}))),
        KeyError::Member { name: "x", .. }
    ));
}

/// RFC 7518, section 3.2: a secret is at least as long as the hash.
#[test]
fn secrets_have_the_length_of_their_hash() {
    let random: Vec<u8> = (0..64).map(|at: u8| at.wrapping_mul(83) ^ 0xa5).collect();
    for (algorithm, length) in [
        (Algorithm::HS256, 32),
        (Algorithm::HS384, 48),
        (Algorithm::HS512, 64),
    ] {
        assert!(Key::from_secret(algorithm, &random[..length]).is_ok());
        let rejected = Key::from_secret(algorithm, &random[..length - 1]).unwrap_err();
        assert!(
            matches!(reason_of(&rejected), KeyError::Size { .. }),
            "{rejected}"
        );
        let jwk =
            json!({"kty": "oct", "alg": algorithm.as_str(), "k": encode(&random[..length - 1])});
        assert!(Key::from_jwk(jwk.to_string().as_bytes()).is_err());
    }
    let misused = Key::from_secret(Algorithm::RS256, &random).unwrap_err();
    assert!(matches!(reason_of(&misused), KeyError::Algorithm { .. }));
}

/// The operator sees the error of a failed start and nothing else.
#[cfg(feature = "pem")]
#[test]
fn a_key_that_cannot_be_used_says_which_could_be_and_how_to_make_one() {
    let pem = include_str!("../data/keys/rsa.spki.pem");
    let random: Vec<u8> = (0..64).map(|at: u8| at.wrapping_mul(83) ^ 0xa5).collect();
    let in_one_line = pem.trim_end().replace('\n', "\\n");
    for (refused, said) in [
        (
            Key::from_pem(Algorithm::HS256, pem.as_bytes()),
            "fits RS256, RS384, RS512, PS256, PS384 and PS512",
        ),
        (
            Key::from_secret(Algorithm::RS256, &random),
            "fits HS256, HS384 and HS512",
        ),
        (
            Key::from_secret(Algorithm::HS256, b"short"),
            "`openssl rand -base64 48`",
        ),
        (
            Key::from_secret(Algorithm::HS512, &random[..32]),
            "`openssl rand -hex 64`",
        ),
        (
            Key::from_secret(Algorithm::HS256, &[b'x'; 48]),
            "`openssl rand -base64 48`",
        ),
        (
            Key::from_pem(Algorithm::RS256, in_one_line.as_bytes()),
            "`KeyStore::from_env`",
        ),
    ] {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    assert!(Key::from_pem(Algorithm::RS256, pem.as_bytes()).is_ok());
    assert!(Key::from_secret(Algorithm::HS512, &random).is_ok());
}

/// RFC 8725, section 3.5: a pass phrase can be guessed from one token.
#[test]
fn secrets_that_somebody_thought_up_are_rejected() {
    for chosen in [
        "secretsecretsecretsecretsecretsecret",
        "00000000000000000000000000000000",
        "passwordpasswordpasswordpassword",
        // From tutorials and templates.
        "a-string-secret-at-least-256-bits-long",
        "super-secret-jwt-token-with-at-least-32-characters-long",
        "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
        "5791628bb0b13ce0c676dfde280ba245",
        "THIS IS USED TO SIGN AND VERIFY JWT TOKENS, REPLACE IT",
        // English text.
        "thisisasecretkeythatshouldbechanged",
        "It was the best of times, it was the worst of times",
    ] {
        let rejected = Key::from_secret(Algorithm::HS256, chosen.as_bytes()).unwrap_err();
        assert!(
            matches!(reason_of(&rejected), KeyError::Weak { .. }),
            "{rejected}"
        );
        assert!(Key::insecure_from_chosen_secret(Algorithm::HS256, chosen.as_bytes()).is_ok());
        // In every format: JWK, file, base64 and hexadecimal digits.
        let jwk = json!({"kty": "oct", "k": encode(chosen)}).to_string();
        let hexadecimal: String = chosen.bytes().map(|byte| format!("{byte:02x}")).collect();
        for rejected in [
            Key::from_jwk(jwk.as_bytes()).map(drop),
            KeyFormat::jwk().read(jwk.as_bytes()).map(drop),
            KeyFormat::secret(Algorithm::HS256)
                .read(chosen.as_bytes())
                .map(drop),
            KeyFormat::base64_secret(Algorithm::HS256)
                .read(encode(chosen).as_bytes())
                .map(drop),
            KeyFormat::hex_secret(Algorithm::HS256)
                .read(hexadecimal.as_bytes())
                .map(drop),
        ] {
            let rejected = rejected.unwrap_err();
            assert!(
                matches!(reason_of(&rejected), KeyError::Weak { .. }),
                "{chosen}: {rejected}"
            );
        }
    }
    let hexadecimal = "6f1d0a94c7e85b2360fd9ea1b4738c52";
    assert!(Key::from_secret(Algorithm::HS256, hexadecimal.as_bytes()).is_ok());
    let jwk = json!({"kty": "oct", "k": encode(hexadecimal)}).to_string();
    assert!(Key::from_jwk(jwk.as_bytes()).is_ok());
}

// Which key verifies a token.

/// RFC7517-4.5-1
#[test]
fn each_token_is_verified_by_the_key_that_it_names() {
    let (one, two) = (issuer(Algorithm::ES256), issuer(Algorithm::ES256));
    let set = || {
        set_of([
            with(one.jwk(), json!({"kid": "one"})),
            with(two.jwk(), json!({"kid": "two"})),
        ])
        .unwrap()
    };
    let token = |issuer: &TestIssuer, id: &str| issuer.token().header("kid", id).mint();
    assert_eq!(verdict(set(), &token(&one, "one")), Ok(()));
    assert_eq!(verdict(set(), &token(&two, "two")), Ok(()));
    assert_eq!(
        verdict(set(), &token(&one, "two")),
        Err(RejectionKind::BadSignature)
    );
    for id in ["One", "one ", " ", "on"] {
        assert_eq!(
            verdict(set(), &token(&one, id)),
            Err(RejectionKind::UnknownKey),
            "{id}"
        );
    }
    // An empty key id names no key.
    assert_eq!(verdict(set(), &token(&one, "")), Ok(()));
}

/// Three keys with the same id, two of them of the same type.
fn signers_with_one_id() -> [TestIssuer; 3] {
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES256].map(issuer)
}

/// RFC7517-4.5-2
#[test]
fn keys_of_different_types_can_share_an_id() {
    let signers = signers_with_one_id();
    let set = || set_of(signers.iter().map(TestIssuer::jwk)).unwrap();
    for signer in &signers {
        assert_eq!(verdict(set(), &signer.token().mint()), Ok(()));
    }
    let stranger = signers[1].token().signed_by_stranger().mint();
    assert_eq!(verdict(set(), &stranger), Err(RejectionKind::BadSignature));
}

/// RFC7515-6-1
#[test]
fn a_key_id_that_nobody_has_is_never_tried_with_the_other_keys() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().mint());
    let token = fixture.token().header("kid", "zzz").mint();
    fixture.rejects(&token, RejectionKind::UnknownKey);
    // A key without an id is not tried either.
    let nameless = issuer(Algorithm::ES256);
    let set = || set_of([with(nameless.jwk(), json!({"kid": null}))]).unwrap();
    assert_eq!(
        verdict(set(), &nameless.token().header("kid", "zzz").mint()),
        Err(RejectionKind::UnknownKey)
    );
    assert_eq!(
        verdict(set(), &nameless.token().without_header("kid").mint()),
        Ok(())
    );
}

/// RFC7515-D-1
#[test]
fn a_token_without_a_key_id_is_tried_with_the_keys_of_its_algorithm() {
    let signers = signers_with_one_id();
    let set = || set_of(signers.iter().map(TestIssuer::jwk)).unwrap();
    for signer in &signers {
        let token = signer.token().without_header("kid").mint();
        assert_eq!(verdict(set(), &token), Ok(()));
        // The configuration can reject such tokens.
        let strict = auth(set()).require_key_id();
        let rejected = strict.verifier().verify_now(&token).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
        let named = strict.verifier().verify_now(&signer.token().mint());
        assert!(named.is_ok());
    }
    let other = issuer(Algorithm::ES384).token().without_header("kid");
    assert_eq!(
        verdict(set(), &other.mint()),
        Err(RejectionKind::AlgorithmNotAllowed)
    );
}

/// RFC7515-D-1: the work for one token is bounded, however many keys there are.
#[test]
fn at_most_eight_keys_are_tried_for_a_token_without_a_key_id() {
    let signers: Vec<_> = (0..100).map(|_| issuer(Algorithm::EdDSA)).collect();
    let set = set_of(signers.iter().map(TestIssuer::jwk)).unwrap();
    for (at, signer) in signers.iter().enumerate() {
        let token = signer.token().without_header("kid").mint();
        let expected = if at < 8 {
            Ok(())
        } else {
            Err(RejectionKind::BadSignature)
        };
        assert_eq!(verdict(set.clone(), &token), expected, "key {at}");
    }
}

/// RFC8725-3.8-1
#[test]
fn an_issuers_keys_verify_its_own_tokens_alone() {
    let (a, b) = (
        issuer(Algorithm::ES256).named("https://a.example"),
        issuer(Algorithm::ES256).named("https://b.example"),
    );
    let verifier = a
        .auth()
        .trust(TrustedIssuer::new(b.issuer(), b.audience(), b.keys()))
        .verifier();
    for good in [a.token().mint(), b.token().mint()] {
        assert!(verifier.verify_now(&good).is_ok());
    }
    // Both keys have the id `key-1`.
    let forged = a.token().issuer("https://b.example").mint();
    let rejected = verifier.verify_now(&forged).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::BadSignature);
    assert_eq!(rejected.status(), 401);
}

// Thumbprints.

/// RFC7638-3-1
#[test]
fn the_thumbprint_of_an_rsa_key_is_that_of_the_standard() {
    assert_eq!(
        thumbprint(&rsa()),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let dressed = with(
        rsa(),
        json!({"alg": "PS512", "kid": "other", "use": "sig", "x5t": "AA"}),
    );
    assert_eq!(thumbprint(&dressed), thumbprint(&rsa()));
    let other = with(rsa(), json!({"e": "Aw"}));
    assert_ne!(thumbprint(&other), thumbprint(&rsa()));
}

/// RFC7638-3.2-1
#[test]
fn the_thumbprints_of_ec_and_okp_keys_are_those_of_the_standards() {
    // RFC 8037, appendix A.3, and RFC 9449, section 6.1.
    assert_eq!(
        thumbprint(&good()),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(
        thumbprint(&ec()),
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    );
}

/// A plain hash of a secret could be compared with a word list, so the thumbprint of RFC 7638 is
/// not used.
#[test]
fn the_thumbprint_of_a_secret_does_not_disclose_it() {
    let secret: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(83) ^ 0xa5).collect();
    let key = Key::from_secret(Algorithm::HS256, &secret).unwrap();
    let members = format!(r#"{{"k":"{}","kty":"oct"}}"#, encode(&secret));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
    assert_eq!(key.thumbprint().len(), 43);
    assert_ne!(key.thumbprint(), encode(digest));
    let again = Key::from_secret(Algorithm::HS256, &secret).unwrap();
    assert_eq!(key.thumbprint(), again.thumbprint());
}

#[test]
fn a_key_without_an_id_is_called_by_its_thumbprint() {
    let nameless = with(ec(), json!({"kid": null}));
    let key = Key::from_jwk(nameless.to_string().as_bytes()).unwrap();
    assert_eq!(key.id().as_str(), thumbprint(&ec()));
    assert_eq!(key.with_key_id("mine").id().as_str(), "mine");
}

// PEM and DER.

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../data/keys/", $name))
    };
}

/// The content of the only block of a PEM text.
fn der(pem: &str) -> Vec<u8> {
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(body).unwrap()
}

#[test]
fn every_form_of_a_public_key_verifies_the_token_of_its_private_half() {
    use Algorithm::{ES256, ES384, ES512, EdDSA, RS256};
    for (algorithm, token, forms) in [
        (
            RS256,
            data!("rsa.jwt"),
            &[
                data!("rsa.spki.pem"),
                data!("rsa.pkcs1.pem"),
                data!("rsa.certificate.pem"),
            ][..],
        ),
        (
            ES256,
            data!("p256.jwt"),
            &[data!("p256.spki.pem"), data!("p256.certificate.pem")],
        ),
        (ES384, data!("p384.jwt"), &[data!("p384.spki.pem")]),
        (ES512, data!("p521.jwt"), &[data!("p521.spki.pem")]),
        (
            EdDSA,
            data!("ed25519.jwt"),
            &[data!("ed25519.spki.pem"), data!("ed25519.certificate.pem")],
        ),
    ] {
        let token = token.trim_end();
        let first = Key::from_pem(algorithm, forms[0].as_bytes()).unwrap();
        for form in forms {
            for key in [
                Key::from_pem(algorithm, form.as_bytes()).unwrap(),
                Key::from_der(algorithm, &der(form)).unwrap(),
            ] {
                assert_eq!(key.thumbprint(), first.thumbprint(), "{form}");
                assert_eq!(key.algorithms()[0], algorithm);
                assert_eq!(verdict(key, token), Ok(()), "{form}");
            }
            assert!(KeyStore::from_pem(algorithm, form.as_bytes()).is_ok());
        }
        // Another key of the same kind.
        let stranger = issuer(algorithm).key();
        let nameless = KeySet::from(stranger);
        assert_eq!(
            verdict(nameless, token),
            Err(RejectionKind::BadSignature),
            "{algorithm}"
        );
    }
}

/// RFC 7468, section 5.2: text around the block is ignored.
#[test]
fn text_around_a_pem_block_and_other_line_ends_are_accepted() {
    let plain = data!("p256.spki.pem");
    let expected = Key::from_pem(Algorithm::ES256, plain.as_bytes()).unwrap();
    for form in [
        format!("Subject: CN=test only\n\n{plain}"),
        plain.replace('\n', "\r\n"),
        format!("{plain}\n\n"),
    ] {
        let key = Key::from_pem(Algorithm::ES256, form.as_bytes()).unwrap();
        assert_eq!(key.thumbprint(), expected.thumbprint());
    }
}

/// RFC7517-4.4-1
#[test]
fn a_pem_key_is_rejected_for_an_algorithm_that_does_not_fit_it() {
    for (pem, algorithm) in [
        (data!("rsa.spki.pem"), Algorithm::ES256),
        (data!("rsa.pkcs1.pem"), Algorithm::HS256),
        (data!("p256.spki.pem"), Algorithm::ES384),
        (data!("p256.spki.pem"), Algorithm::RS256),
        (data!("p384.spki.pem"), Algorithm::ES256),
        (data!("ed25519.spki.pem"), Algorithm::ES256),
        (data!("p256.certificate.pem"), Algorithm::PS256),
    ] {
        let error = Key::from_pem(algorithm, pem.as_bytes()).unwrap_err();
        assert!(
            matches!(reason_of(&error), KeyError::Algorithm { .. }),
            "{algorithm}: {error}"
        );
    }
    assert!(Key::from_pem(Algorithm::PS256, data!("rsa.spki.pem").as_bytes()).is_ok());
}

#[test]
fn pem_keys_that_cannot_be_used_are_rejected_with_the_reason() {
    let reason = |algorithm, pem: &str| match Key::from_pem(algorithm, pem.as_bytes()) {
        Err(ConfigError::Key { reason }) => reason,
        other => panic!("{other:?}: {pem}"),
    };
    assert!(matches!(
        reason(Algorithm::RS256, data!("rsa1024.spki.pem")),
        KeyError::Size { bits: 1024, .. }
    ));
    assert!(matches!(
        reason(Algorithm::ES256, data!("k256.spki.pem")),
        KeyError::Unsupported { .. }
    ));
    assert!(matches!(
        reason(Algorithm::PS256, data!("rsapss.spki.pem")),
        KeyError::Unsupported { .. }
    ));
    assert!(matches!(
        reason(Algorithm::ES256, data!("p256.compressed.pem")),
        KeyError::Format { .. }
    ));
    let two = [data!("p256.spki.pem"), data!("p256.certificate.pem")].concat();
    let request = data!("p256.certificate.pem").replace("CERTIFICATE", "CERTIFICATE REQUEST");
    let cut = data!("p256.spki.pem").replace("MF", "MG");
    for pem in ["", "no PEM", "-----BEGIN PUBLIC KEY-----", &two, &cut] {
        assert!(matches!(
            reason(Algorithm::ES256, pem),
            KeyError::Format { .. }
        ));
    }
    let broken = data!("p256.spki.pem").replace("END PUBLIC", "END PRIVATE");
    // The second key of this file was cut off.
    let whole = data!("p256.spki.pem");
    let cut_off = format!("{whole}{}", whole.split_at(whole.len() / 2).0);
    for (pem, words) in [
        (&*cut_off, "exactly one block"),
        ("no PEM", "no block"),
        ("-----BEGIN PUBLIC KEY-----", "end is missing"),
        (&broken, "PEM text"),
    ] {
        let reason = reason(Algorithm::ES256, pem).to_string();
        assert!(reason.contains(words), "{reason}");
    }
    assert!(matches!(
        reason(Algorithm::ES256, &request),
        KeyError::Unsupported { .. }
    ));
    // The content of one format under the label of another.
    let mislabelled = data!("rsa.spki.pem").replace("PUBLIC", "RSA PUBLIC");
    assert!(matches!(
        reason(Algorithm::RS256, &mislabelled),
        KeyError::Format { .. }
    ));
    let spki = der(data!("p256.spki.pem"));
    for der in [
        &[][..],
        b"\x30\x00",
        &spki[1..],
        &spki[..40],
        &[&spki[..], &[0]].concat(),
    ] {
        let error = Key::from_der(Algorithm::ES256, der).unwrap_err();
        assert!(
            matches!(reason_of(&error), KeyError::Format { .. }),
            "{error}"
        );
    }
}

/// RFC7517-9.2-1: a private key does not belong where tokens are verified. Using its public half
/// would hide the mistake.
#[test]
fn private_keys_in_pem_are_rejected() {
    use aws_lc_rs::encoding::AsDer;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let pkcs8 = pair.as_der().unwrap().as_ref().to_vec();
    for label in [
        "PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
    ] {
        let pem = pem::encode(&pem::Pem::new(label, &pkcs8[..]));
        for algorithm in [Algorithm::RS256, Algorithm::ES256] {
            let error = Key::from_pem(algorithm, pem.as_bytes()).unwrap_err();
            assert_eq!(
                error,
                ConfigError::Key {
                    reason: KeyError::Private
                },
                "{label}"
            );
        }
    }
    // A private key under the label of a public one, and both forms of it in DER.
    let disguised = pem::encode(&pem::Pem::new("PUBLIC KEY", &pkcs8[..]));
    assert!(Key::from_pem(Algorithm::RS256, disguised.as_bytes()).is_err());
    let pkcs1 = &pkcs8[26..];
    for private in [&pkcs8[..], pkcs1] {
        assert!(Key::from_der(Algorithm::RS256, private).is_err());
    }
}

// Printed text.

/// RFC7517-9.2-1
#[test]
fn nothing_that_is_printed_has_key_material() {
    let secret: Vec<u8> = (0..32).map(|at: u8| at.wrapping_mul(83) ^ 0xa5).collect();
    let key = Key::from_secret(Algorithm::HS256, &secret)
        .unwrap()
        .with_key_id("hmac");
    let store = KeyStore::from(KeySet::new([key.clone(), issuer(Algorithm::RS256).key()]).unwrap());
    let layer = auth(store.clone());
    let leaked = set_of([
        json!({"kty": "oct", "k": encode(&secret), "kid": "oct"}),
        with(good(), json!({"d": encode(&secret)})),
        good(),
    ])
    .unwrap();
    let short = Key::from_secret(Algorithm::HS512, &secret).unwrap_err();
    for printed in [
        format!("{key:?} {key:#?}"),
        format!("{store:?}"),
        format!("{layer:?}"),
        format!("{:?}", layer.verifier()),
        format!("{leaked:?}"),
        format!("{short} {short:?}"),
    ] {
        assert!(!printed.contains(&encode(&secret)), "{printed}");
        assert!(!printed.contains(&STANDARD.encode(&secret)), "{printed}");
        let listed = format!("{:?}", &secret[..4]);
        assert!(
            !printed.contains(listed.trim_matches(['[', ']'])),
            "{printed}"
        );
        let escaped = format!("{:?}", String::from_utf8_lossy(&secret[..8]));
        assert!(!printed.contains(escaped.trim_matches('"')), "{printed}");
    }
    // The printed text is still useful.
    let printed = format!("{store:?}");
    assert!(printed.contains("hmac") && printed.contains("HS256"));
}

#[test]
fn a_named_use_is_accepted_in_text_where_it_is_asked_for() {
    let issuer = issuer(Algorithm::ES256);
    let key: Value = serde_json::from_slice(issuer.jwks().as_ref()).unwrap();
    let key = with(key["keys"][0].clone(), json!({"use": "jwt-svid"}));
    let set = json!({ "keys": [key] }).to_string();
    let token = issuer.token().mint();
    for (format, text) in [
        (KeyFormat::jwks(), set),
        (KeyFormat::jwk(), key.to_string()),
    ] {
        assert!(format.read(text.as_bytes()).is_err());
        let other = format.clone().accept_use("x509-svid");
        assert!(other.read(text.as_bytes()).is_err());
        let keys = format.accept_use("jwt-svid").read(text.as_bytes()).unwrap();
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), keys);
        let verifier = auth.clock(FixedClock::at(NOW)).verifier();
        assert!(verifier.verify_now(&token).is_ok());
    }
    // A key for encryption never verifies, whatever is configured.
    let key = with(key, json!({"use": "enc"})).to_string();
    let format = KeyFormat::jwk().accept_use("enc");
    assert!(format.read(key.as_bytes()).is_err());
}

#[test]
fn key_ids_and_algorithms_are_words_that_configuration_can_hold() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Settings {
        key_id: KeyId,
        algorithms: Vec<Algorithm>,
    }
    let text = r#"{"key_id":"2026-11","algorithms":["RS256","EdDSA"]}"#;
    let settings: Settings = serde_json::from_str(text).unwrap();
    let expected = Settings {
        key_id: "2026-11".parse().unwrap(),
        algorithms: vec![Algorithm::RS256, Algorithm::EdDSA],
    };
    assert_eq!(settings, expected);
    assert_eq!(serde_json::to_string(&settings).unwrap(), text);
    // Deserializers that cannot borrow text, and text with escapes.
    let value = serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(serde_json::from_value::<Settings>(value).unwrap(), settings);
    assert_eq!(
        serde_json::from_slice::<Algorithm>(br#""RS\u003256""#).unwrap(),
        Algorithm::RS256
    );
    for algorithm in Algorithm::ALL {
        let name: &str = algorithm.as_ref();
        assert_eq!(name, algorithm.to_string());
        assert_eq!(name.parse::<Algorithm>().unwrap(), *algorithm);
    }
    for bad in ["none", "rs256", "RS256 ", ""] {
        let rejected = bad.parse::<Algorithm>().unwrap_err().to_string();
        assert!(
            rejected.contains(&format!("algorithm {bad:?}")),
            "{rejected}"
        );
        let text = json!({"key_id": "1", "algorithms": [bad]}).to_string();
        assert!(serde_json::from_str::<Settings>(&text).is_err(), "{bad}");
    }
    let id = KeyId::new("2026-11");
    let text: &str = id.as_ref();
    assert_eq!(text, id.to_string());
}

/// The error says which function to use instead.
#[test]
fn a_key_and_a_key_set_are_told_from_each_other() {
    let issuer = TestIssuer::new();
    let of = |error: ConfigError| error.to_string();
    let set = of(Key::from_jwk(issuer.jwks().as_bytes()).unwrap_err());
    assert!(
        set.contains("it is a key set, so read it with `KeySet::from_jwks`"),
        "{set}"
    );
    let key = of(KeySet::from_jwks(issuer.jwk().to_string().as_bytes()).unwrap_err());
    assert!(
        key.contains("found a single key: read it with `Key::from_jwk`"),
        "{key}"
    );
    // The error of any other text suggests no function.
    let neither = of(Key::from_jwk(b"{}").unwrap_err());
    assert!(neither.contains("`kty` is missing"), "{neither}");
    assert!(!of(KeySet::from_jwks(b"{}").unwrap_err()).contains("single key"));
}
