//! Compares verdicts on signatures with those of `jsonwebtoken` and of OpenSSL in Node.js, for good
//! tokens and mutated ones. OpenSSL shares no code with the backend of this crate.
//!
//! All must agree on every signature. Some rules of this crate are stricter than a signature check,
//! and reject the token before or after it. [`is_stricter_by_these_rules_alone`] lists them by
//! name.

use std::collections::HashSet;
use std::io::Write;

use crate::support::{AUDIENCE, ISSUER, NOW};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, crypto};
use serde_json::{Value, json};
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{Algorithm, Key, RejectionKind, Verifier};

use RejectionKind::BadSignature;

/// An algorithm with a key, for both libraries.
struct Pair {
    issuer: TestIssuer,
    /// Another key of the same algorithm, under the same id.
    stranger: TestIssuer,
    ours: Verifier,
    theirs: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let [issuer, stranger] =
            [(); 2].map(|()| TestIssuer::with_algorithm(algorithm).with_clock(FixedClock::at(NOW)));
        let jwk = serde_json::from_value(issuer.jwk()).unwrap();
        Self {
            ours: issuer.auth().verifier(),
            theirs: DecodingKey::from_jwk(&jwk).unwrap(),
            algorithm: algorithm.as_str().parse().unwrap(),
            issuer,
            stranger,
        }
    }

    /// Whether `jsonwebtoken` accepts the signature.
    fn they_verify(&self, token: &str) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else {
            return false;
        };
        crypto::verify(signature, message.as_bytes(), &self.theirs, self.algorithm).unwrap_or(false)
    }

    /// Whether `jsonwebtoken` accepts header and signature, whatever the claims are.
    fn they_decode(&self, token: &str) -> bool {
        let mut validation = Validation::new(self.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &self.theirs, &validation).is_ok()
    }
}

/// The number of verdicts of each kind.
#[derive(Debug, Default)]
struct Count {
    accepted: usize,
    bad_signature: usize,
    other: usize,
    kinds: HashSet<RejectionKind>,
}

/// Compares the verdicts on one token.
fn compare(pair: &Pair, token: &str, count: &mut Count) {
    let they_verify = pair.they_verify(token);
    match pair.ours.verify_now(token) {
        Ok(_) => {
            assert!(they_verify, "we accept, they do not: {token}");
            assert!(pair.they_decode(token), "we accept, they do not: {token}");
            count.accepted += 1;
        }
        Err(rejection) => {
            assert!(
                !they_verify,
                "they accept, we do not ({rejection}): {token}"
            );
            count.kinds.insert(rejection.kind());
            if rejection.kind() == BadSignature {
                count.bad_signature += 1;
            } else {
                count.other += 1;
            }
        }
    }
}

/// A small generator of pseudo-random numbers (SplitMix64), the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn symbol(&mut self) -> char {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        char::from(ALPHABET[self.below(ALPHABET.len())])
    }
}

fn a_token(issuer: &TestIssuer, random: &mut Random) -> TestToken {
    let id = format!("{:x}", random.next());
    let token = issuer.token().claim("jti", id);
    match random.below(4) {
        0 => token.scope("calendar:read calendar:write"),
        1 => token.claim("extra", json!({"n": [random.next(), {"é": "😀"}]})),
        2 => token.header("foo", random.next()),
        _ => token.without_header("typ"),
    }
}

fn parts(token: &str) -> [String; 3] {
    let parts: Vec<_> = token.split('.').map(String::from).collect();
    parts.try_into().expect("three parts")
}

/// Changes the decoded bytes of one part of a token.
fn change_bytes(token: &str, part: usize, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut parts = parts(token);
    let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).unwrap();
    change(&mut bytes);
    parts[part] = URL_SAFE_NO_PAD.encode(bytes);
    parts.join(".")
}

/// A token that was good, with a mutation.
fn mutated(pair: &Pair, random: &mut Random) -> String {
    let good = a_token(&pair.issuer, random).mint();
    let other = a_token(&pair.issuer, random).mint();
    let [header, payload, signature] = parts(&good);
    let [other_header, other_payload, other_signature] = parts(&other);
    let mut text = good.clone();
    match random.below(22) {
        // Characters.
        0..=2 => {
            let at = random.below(text.len());
            text.replace_range(at..=at, &random.symbol().to_string());
        }
        3 => text.insert(random.below(good.len()), random.symbol()),
        4 => {
            text.remove(random.below(good.len()));
        }
        5 => text.truncate(random.below(good.len())),
        6 => text = text.split_off(random.below(good.len())),
        7 => {
            let at = random.below(good.len() - 1);
            let pair: String = good[at..at + 2].chars().rev().collect();
            text.replace_range(at..at + 2, &pair);
        }
        8 => {
            let strange = ['=', '+', '/', ' ', '.', '\0', 'é', '~'];
            text.insert(
                random.below(good.len()),
                strange[random.below(strange.len())],
            );
        }
        // The parts.
        9 => text = format!("{payload}.{header}.{signature}"),
        10 => text = format!("{header}.{signature}.{payload}"),
        11 => text = format!("{header}.{payload}.{other_signature}"),
        12 => text = format!("{header}.{other_payload}.{signature}"),
        13 => text = format!("{other_header}.{payload}.{signature}"),
        // The bytes of the signature.
        14 | 15 => {
            text = change_bytes(&good, 2, |bytes| {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            });
        }
        16 => text = change_bytes(&good, 2, |bytes| bytes.truncate(random.below(bytes.len()))),
        17 => text = change_bytes(&good, 2, |bytes| bytes.push(0)),
        18 => text = change_bytes(&good, 2, |bytes| bytes.reverse()),
        // Values, in well-formed JSON.
        19 => {
            text = change_bytes(&good, 1, |bytes| {
                let claims: Value = serde_json::from_slice(bytes).unwrap();
                let mut claims = claims.as_object().unwrap().clone();
                claims.insert("role".into(), random.next().into());
                *bytes = serde_json::to_vec(&claims).unwrap();
            });
        }
        20 => {
            let names = [
                "none", "HS256", "HS512", "RS256", "PS256", "ES256", "ES384", "EdDSA",
            ];
            let name = names[random.below(names.len())];
            text = change_bytes(&good, 0, |bytes| {
                let mut header: Value = serde_json::from_slice(bytes).unwrap();
                header["alg"] = name.into();
                *bytes = serde_json::to_vec(&header).unwrap();
            });
        }
        // Another key.
        _ => text = a_token(&pair.stranger, random).mint(),
    }
    text
}

/// The number of mutations for RSA, whose tokens take milliseconds to sign.
const SIGNED_SLOWLY: usize = 200;

#[track_caller]
fn agrees_on(algorithm: Algorithm, mutations: usize) {
    let pair = Pair::new(algorithm);
    let mut random = Random(u64::try_from(algorithm.as_str().len()).unwrap());
    for byte in algorithm.as_str().bytes() {
        random.0 = random.0.wrapping_mul(257).wrapping_add(byte.into());
    }

    let mut good = Count::default();
    for _ in 0..60 {
        compare(&pair, &a_token(&pair.issuer, &mut random).mint(), &mut good);
    }
    assert_eq!(good.accepted, 60, "{algorithm}: {good:?}");

    let mut bad = Count::default();
    for _ in 0..mutations {
        compare(&pair, &mutated(&pair, &mut random), &mut bad);
    }
    // A few mutations change nothing, such as exchanging two equal characters.
    assert!(bad.accepted < mutations / 20, "{algorithm}: {bad:?}");
    assert!(bad.bad_signature > mutations / 4, "{algorithm}: {bad:?}");
    assert!(bad.other > mutations / 4, "{algorithm}: {bad:?}");
    for kind in [
        RejectionKind::MalformedToken,
        RejectionKind::AlgorithmNotAllowed,
    ] {
        assert!(bad.kinds.contains(&kind), "{algorithm}: {bad:?}");
    }
}

#[test]
fn agrees_on_hmac() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        agrees_on(algorithm, 600);
    }
}

#[test]
fn agrees_on_rsa_pkcs1() {
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        agrees_on(algorithm, SIGNED_SLOWLY);
    }
}

#[test]
fn agrees_on_rsa_pss() {
    for algorithm in [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512] {
        agrees_on(algorithm, SIGNED_SLOWLY);
    }
}

#[test]
fn agrees_on_ecdsa() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384] {
        agrees_on(algorithm, 600);
    }
}

#[test]
fn agrees_on_eddsa() {
    agrees_on(Algorithm::EdDSA, 600);
}

#[test]
fn compares_every_algorithm_that_both_know() {
    let both: Vec<_> = Algorithm::ALL
        .iter()
        .filter(|one| one.as_str().parse::<jsonwebtoken::Algorithm>().is_ok())
        .map(|one| one.as_str())
        .collect();
    let compared = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ];
    assert_eq!(both, compared);
}

#[test]
fn agrees_on_every_mix_of_keys_and_labels() {
    let algorithms = Algorithm::ALL.iter().copied();
    let pairs: Vec<_> = algorithms
        .filter(|one| !matches!(one, Algorithm::ES512 | Algorithm::Ed25519))
        .map(|one| (one, Pair::new(one)))
        .collect();
    let mut count = Count::default();
    for (of_token, signer) in &pairs {
        for (of_key, pair) in &pairs {
            let token = signer.issuer.token();
            compare(pair, &token.mint(), &mut count);
            compare(
                pair,
                &token.clone().without_header("kid").mint(),
                &mut count,
            );
            // With the algorithm of the key in the header, the signature itself is judged.
            let labelled = token.header("alg", of_key.as_str()).mint();
            compare(pair, &labelled, &mut count);
            assert_eq!(pair.ours.verify_now(&labelled).is_ok(), of_token == of_key);
        }
    }
    let mixes = pairs.len() * (pairs.len() - 1);
    assert_eq!(count.accepted, 3 * pairs.len());
    assert_eq!((count.bad_signature, count.other), (mixes, 2 * mixes));
}

/// A case for the other implementation, and the verdict of this crate.
struct Opinion {
    is_good: bool,
    case: Value,
    how: String,
}

/// Signatures of one algorithm: good ones, and bad ones of each kind.
fn opinions(algorithm: Algorithm, random: &mut Random, all: &mut Vec<Opinion>) {
    const SECRET: &[u8; 64] = b"\x8f\x01\xc4\x55\x1d\xe2\x90\x3a\x77\xb8\x09\xf6\x42\xad\x6c\x13\xd8\x5e\x2b\xf1\x84\x3f\xca\x66\x0d\x97\x71\xbe\x25\xe9\x58\xa3\
        \x17\xe2\x5b\x90\xc6\x3d\xf8\x01\x4a\xb7\x62\xdc\x88\x35\x0f\xe9\xa1\x56\x7c\x23\xd4\x9e\x40\xfb\x6d\x12\xc8\x85\x3a\x71\xbf\x04";
    let (issuer, jwk) = if algorithm.is_symmetric() {
        let k = URL_SAFE_NO_PAD.encode(SECRET);
        (
            TestIssuer::with_secret(algorithm, SECRET),
            json!({ "kty": "oct", "k": k }),
        )
    } else {
        let issuer = TestIssuer::with_algorithm(algorithm);
        let jwk = issuer.jwk();
        (issuer, jwk)
    };
    let issuer = issuer.with_clock(FixedClock::at(NOW));
    let verifier = issuer.auth().verifier();
    let mut ask = |how: &str, message: &str, signature: &[u8]| {
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        let is_good = match verifier.verify_now(&token) {
            Ok(_) => true,
            Err(rejection) => {
                assert_eq!(rejection.kind(), BadSignature, "{how}: {token}");
                false
            }
        };
        let signature = URL_SAFE_NO_PAD.encode(signature);
        all.push(Opinion {
            is_good,
            case: json!({ "alg": algorithm.as_str(), "jwk": jwk, "message": message, "signature": signature }),
            how: format!("{algorithm}, {how}"),
        });
    };
    for _ in 0..6 {
        let token = a_token(&issuer, random).mint();
        let other = a_token(&issuer, random).mint();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (other, _) = other.rsplit_once('.').unwrap();
        ask("good", message, &signature);
        ask("of another message", other, &signature);
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = signature.clone();
            change(&mut changed);
            changed
        };
        for bit in 0..8 {
            let at = random.below(signature.len());
            ask("one bit", message, &changed(&|it| it[at] ^= 1 << bit));
        }
        for at in [0, signature.len() / 2, signature.len() - 1] {
            ask("one bit at an end", message, &changed(&|it| it[at] ^= 0x80));
        }
        let half = signature.len() / 2;
        ask(
            "shorter",
            message,
            &changed(&|it| it.truncate(it.len() - 1)),
        );
        ask("longer", message, &changed(&|it| it.push(0)));
        ask("a zero in front", message, &changed(&|it| it.insert(0, 0)));
        ask("zeros", message, &changed(&|it| it.fill(0)));
        ask("ones", message, &changed(&|it| it.fill(0xff)));
        ask("backwards", message, &changed(&|it| it.reverse()));
        ask(
            "halves exchanged",
            message,
            &changed(&|it| it.rotate_left(half)),
        );
        ask("no first half", message, &changed(&|it| it[..half].fill(0)));
        ask(
            "no second half",
            message,
            &changed(&|it| it[half..].fill(0)),
        );
        // EdDSA: adding the order of the group to S gives another encoding of the same number,
        // unless the verifier checks the range. S is little-endian.
        ask(
            "the order added",
            message,
            &changed(&|it| {
                let mut carry = 0;
                for (byte, order) in it[half..].iter_mut().zip(ORDER) {
                    let sum = u16::from(*byte) + u16::from(order) + carry;
                    *byte = sum.to_le_bytes()[0];
                    carry = sum >> 8;
                }
            }),
        );
    }
}

/// The order of the group of Ed25519, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The verdict of Node.js on each case, from a single process. `None` if Node.js is not installed.
fn opinions_of_node(cases: &[Opinion]) -> Option<Vec<bool>> {
    use std::io::{ErrorKind, Write};
    use std::process::{Command, Stdio};

    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/verify.mjs");
    let child = Command::new("node")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("node does not start: {error}"),
    };
    // Node.js reads all input before it writes its output.
    let mut stdin = child.stdin.take().unwrap();
    for case in cases {
        writeln!(stdin, "{}", case.case).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| line.parse().unwrap()).collect())
}

#[test]
fn agrees_with_another_backend_on_every_algorithm() {
    let mut random = Random(0x7518);
    let mut all = Vec::new();
    for algorithm in Algorithm::ALL {
        opinions(*algorithm, &mut random, &mut all);
    }
    let Some(theirs) = opinions_of_node(&all) else {
        let is_required = std::env::var_os("TOWER_JWT_AUTH_REQUIRE").is_some();
        assert!(!is_required, "node is not installed");
        let sentence =
            "skipped: node is not installed, so there is no second opinion on signatures";
        // Not `eprintln`, which the test harness captures.
        let _ = writeln!(std::io::stderr(), "{sentence}");
        return;
    };
    assert_eq!(theirs.len(), all.len());
    for (ours, theirs) in all.iter().zip(theirs) {
        assert_eq!(ours.is_good, theirs, "{}: {}", ours.how, ours.case);
    }
    let good = all.iter().filter(|one| one.is_good).count();
    assert_eq!(good, 6 * Algorithm::ALL.len());
}

/// All signatures here are valid, and both libraries say so. Other rules reject the tokens.
#[test]
fn is_stricter_by_these_rules_alone() {
    use RejectionKind::{
        AudienceMismatch, BindingMismatch, DuplicateMember, Expired, InvalidClaim, MalformedToken,
        MissingClaim, NotYetValid, UnknownKey, UnsupportedCritical, WrongType,
    };
    let pair = Pair::new(Algorithm::ES256);
    let token = || pair.issuer.token();
    let claims = |more: &str| {
        let end = NOW + 300;
        token().raw_claims(format!(
            r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":{end}{more}}}"#
        ))
    };
    let header =
        |more: &str| token().raw_header(format!(r#"{{"alg":"ES256","kid":"key-1"{more}}}"#));
    for good in [token(), claims(""), header("")] {
        let good = good.mint();
        assert!(pair.ours.verify_now(&good).is_ok() && pair.they_decode(&good));
    }

    let mut they_accept = 0;
    for (rule, token, kind) in [
        (
            "a critical extension (RFC 7515, 4.1.11)",
            token().header("crit", json!(["x"])),
            UnsupportedCritical,
        ),
        (
            "an unencoded payload (RFC 7797, 7)",
            token().header("b64", false),
            MalformedToken,
        ),
        (
            "a token within a token (RFC 7519, 7.2)",
            token().header("cty", "JWT"),
            WrongType,
        ),
        (
            "another type (RFC 8725, 3.11)",
            token().header("typ", "dpop+jwt"),
            WrongType,
        ),
        ("another key id", token().header("kid", "other"), UnknownKey),
        (
            "a replicated claim that differs (RFC 7519, 5.3)",
            token().header("iss", "x"),
            InvalidClaim,
        ),
        (
            "a duplicate parameter (RFC 7515, 4)",
            header(r#","x":1,"x":2"#),
            DuplicateMember,
        ),
        (
            "a duplicate claim (RFC 7519, 4)",
            claims(r#","sub":"a","sub":"b""#),
            DuplicateMember,
        ),
        (
            "too many members",
            claims(&format!(
                r#","x":{{{}}}"#,
                (0..1_100)
                    .map(|n| format!(r#""{n}":0"#))
                    .collect::<Vec<_>>()
                    .join(",")
            )),
            MalformedToken,
        ),
        (
            "deep nesting",
            claims(&format!(r#","x":{}{}"#, "[".repeat(60), "]".repeat(60))),
            MalformedToken,
        ),
        (
            "a long number",
            claims(&format!(r#","x":0.{}"#, "1".repeat(70))),
            MalformedToken,
        ),
        (
            "a reserved member name",
            claims(r#","x":{"$serde_json::private::RawValue":"1"}"#),
            MalformedToken,
        ),
        (
            "a large token",
            claims(&format!(r#","x":"{}""#, "y".repeat(13_000))),
            MalformedToken,
        ),
        (
            "a claim of the wrong type (RFC 7519, 4.1)",
            token().claim("sub", 1),
            InvalidClaim,
        ),
        (
            "a date as text (RFC 7519, 2)",
            token().claim("exp", "9999999999"),
            InvalidClaim,
        ),
        ("no end", token().without("exp"), MissingClaim),
        ("no audience", token().without("aud"), MissingClaim),
        ("no issuer", token().without("iss"), MissingClaim),
        (
            "another audience (RFC 7519, 4.1.3)",
            token().audience("x"),
            AudienceMismatch,
        ),
        (
            "another issuer (RFC 7519, 4.1.1)",
            token().issuer("x"),
            RejectionKind::IssuerMismatch,
        ),
        (
            "an end in the past (RFC 7519, 4.1.4)",
            token().expired(),
            Expired,
        ),
        (
            "a start in the future (RFC 7519, 4.1.5)",
            token().not_yet_valid(),
            NotYetValid,
        ),
        (
            "issued in the future (RFC 7519, 4.1.6)",
            token().claim("iat", NOW + 3_600),
            NotYetValid,
        ),
        (
            "a binding that is not checked (RFC 7800)",
            token().claim("cnf", json!({"jkt": "x"})),
            BindingMismatch,
        ),
        (
            "a payload that is no object (RFC 7519, 7.2)",
            token().raw_claims("[1]"),
            MalformedToken,
        ),
        (
            "a payload that is no JSON (RFC 7519, 7.2)",
            token().raw_claims("Payload"),
            MalformedToken,
        ),
    ] {
        let token = token.mint();
        assert!(pair.they_verify(&token), "{rule}: the signature is good");
        let rejection = pair.ours.verify_now(&token).expect_err(rule);
        assert_eq!(rejection.kind(), kind, "{rule}: {rejection}");
        they_accept += usize::from(pair.they_decode(&token));
    }
    // `jsonwebtoken` leaves almost all of these rules to its caller.
    assert!(they_accept >= 20, "{they_accept}");

    // RFC 7518, section 3.2: `jsonwebtoken` accepts a secret of any length, and this crate does
    // not.
    let mac = crypto::sign(
        b"a.b",
        &jsonwebtoken::EncodingKey::from_secret(b"secret"),
        jsonwebtoken::Algorithm::HS256,
    );
    let short = DecodingKey::from_secret(b"secret");
    assert!(
        crypto::verify(
            &mac.unwrap(),
            b"a.b",
            &short,
            jsonwebtoken::Algorithm::HS256
        )
        .unwrap()
    );
    assert!(Key::insecure_from_chosen_secret(Algorithm::HS256, b"secret").is_err());
}
