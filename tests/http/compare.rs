//! Tests the statements of `src/guide/compare.md` about `jsonwebtoken`, with the version in
//! `Cargo.lock`, and gives the same input to this crate.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{AUDIENCE, Fixture, NOW};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::Value;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{Key, RejectionKind};

const SECRET: &[u8] = b"\x8f\x01\xc4\x55\x1d\xe2\x90\x3a\x77\xb8\x09\xf6\x42\xad\x6c\x13\xd8\x5e\x2b\xf1\x84\x3f\xca\x66\x0d\x97\x71\xbe\x25\xe9\x58\xa3";

/// An issuer that uses the clock of the system, because `jsonwebtoken` does.
fn issuer() -> TestIssuer {
    TestIssuer::with_secret(tower_jwt_auth::Algorithm::HS256, SECRET)
}

fn theirs(token: &TestToken) -> bool {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    validation.leeway = 0;
    decode::<Value>(token.mint(), &DecodingKey::from_secret(SECRET), &validation).is_ok()
}

#[track_caller]
fn they_accept_and_we_reject(token: TestToken, kind: RejectionKind) {
    assert!(
        theirs(&token),
        "jsonwebtoken refuses it now: the guide is out of date"
    );
    let verifier = issuer().auth().verifier();
    assert_eq!(verifier.verify_now(&token.mint()).unwrap_err().kind(), kind);
}

#[test]
fn both_accept_a_good_token() {
    let token = issuer().token();
    assert!(theirs(&token));
    assert!(issuer().auth().verifier().verify_now(&token.mint()).is_ok());
    assert!(!theirs(&token.tampered()));
}

#[test]
fn they_accept_what_the_standards_reject() {
    they_accept_and_we_reject(
        issuer()
            .token()
            .header("crit", vec!["x"])
            .header("x", 1.to_string()),
        RejectionKind::UnsupportedCritical,
    );
    they_accept_and_we_reject(
        issuer().token().claim("aud", 7),
        RejectionKind::InvalidClaim,
    );
    they_accept_and_we_reject(issuer().token().not_yet_valid(), RejectionKind::NotYetValid);
    let twice = format!(
        r#"{{"iss":"https://as.example","aud":"{AUDIENCE}","exp":4000000000,"role":"user","role":"admin"}}"#
    );
    they_accept_and_we_reject(
        issuer().token().raw_claims(twice),
        RejectionKind::DuplicateMember,
    );
}

#[test]
fn they_take_short_secrets() {
    // `jsonwebtoken` does not check the length of a secret.
    let token = jsonwebtoken::encode(
        &jsonwebtoken::Header::default(),
        &serde_json::json!({ "aud": AUDIENCE, "exp": 4_000_000_000_u64 }),
        &jsonwebtoken::EncodingKey::from_secret(b"short"),
    )
    .unwrap();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[AUDIENCE]);
    assert!(decode::<Value>(token, &DecodingKey::from_secret(b"short"), &validation).is_ok());
    assert!(Key::from_secret(tower_jwt_auth::Algorithm::HS256, b"short").is_err());
}

#[test]
fn they_do_not_know_every_algorithm() {
    assert!("ES512".parse::<Algorithm>().is_err());
    assert!("Ed25519".parse::<Algorithm>().is_err());
}

#[test]
fn a_token_that_expires_now_is_expired_here() {
    let fixture = Fixture::new();
    let auth = fixture.auth().leeway(tower_jwt_auth::policy::Leeway::ZERO);
    let token = fixture.token().claim("exp", NOW).mint();
    let rejected = auth
        .clock(FixedClock::at(NOW))
        .verifier()
        .verify_now(&token)
        .unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::Expired);
}

/// `jsonwebtoken` reads the clock of the system. If the second ends between minting and verifying,
/// the test tries again.
#[test]
fn they_accept_a_token_that_expires_now() {
    let is_accepted = (0..1_000).any(|_| theirs(&issuer().token().expires_in(Duration::ZERO)));
    assert!(is_accepted, "the guide is out of date");
}

/// Each row of the second table names the test that proves it.
#[test]
fn every_property_has_its_test() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("src/guide/compare.md")).unwrap();
    let (_, table) = page.split_once("| property | here | test |").unwrap();
    let rows: Vec<_> = table.lines().filter(|line| line.ends_with(" |")).collect();
    assert!(rows.len() >= 10, "{rows:?}");
    for row in rows {
        let mut names = row
            .trim_end_matches(" |")
            .rsplit('|')
            .next()
            .unwrap()
            .split('`');
        let file = names.nth(1).unwrap_or_else(|| panic!("no test: {row}"));
        let text = fs::read_to_string(here.join("tests").join(file)).expect(row);
        if let Some(function) = names.nth(1) {
            assert!(text.contains(&format!("fn {function}()")), "{row}");
        }
    }
}
