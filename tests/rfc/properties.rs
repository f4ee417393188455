//! Properties of the public API that hold for any input.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::{Response, StatusCode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};
use tower_jwt_auth::response::Challenge;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::token::ClaimPointer;
use tower_jwt_auth::{Algorithm, Audience, JwtAuth, Key, KeySet, RejectionKind, scope};

use crate::support::{
    AUDIENCE, Fixture, NOW, ReadChallenge, challenges, get, get_bare, get_with, small_cache,
};

/// The same cases on every run. Failures are not stored in a file.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(6_750),
        ..ProptestConfig::default()
    }
}

const YEAR_10000: f64 = 253_402_300_800.0;

proptest! {
    #![proptest_config(config())]

    /// A client reads from a challenge exactly the text that the operator wrote.
    #[test]
    fn challenges_survive_the_way_to_a_client(
        realm in "[ -~]{0,30}",
        parameters in vec(("[a-z0-9!#$%&'*+.^_`|~-]{1,10}", "[ -~]{0,30}"), 0..4),
    ) {
        let mut expected = vec![("realm".to_owned(), realm.clone())];
        let mut challenge = Challenge::new(&realm).unwrap();
        for (name, value) in parameters {
            let reserved = ["realm", "scope", "error", "error_description", "error_uri"];
            let is_taken = reserved.contains(&name.as_str())
                || expected.iter().any(|(known, _)| *known == name);
            let rejected = challenge.clone().parameter(&name, &value).is_err();
            prop_assert_eq!(rejected, is_taken, "{}", name);
            if !is_taken {
                challenge = challenge.parameter(&name, &value).unwrap();
                expected.push((name, value));
            }
        }
        let auth = FIXTURE.auth().challenge(challenge);

        let read = challenge_of(&answer(&auth, get_bare()));
        prop_assert_eq!(&read.scheme, "Bearer");
        prop_assert_eq!(&read.parameters, &expected);
        prop_assert_eq!(read.quoted.len(), expected.len());

        let read = challenge_of(&answer(&auth, get("a.b")));
        prop_assert_eq!(&read.parameters[..expected.len()], &expected[..]);
        prop_assert_eq!(read.parameter("error"), Some("invalid_token"));
    }

    /// A text that is not printable ASCII would break the field, so it is rejected.
    #[test]
    fn challenges_take_printable_ascii_only(before in "[ -~]{0,5}", odd in "[^ -~]", after in "[ -~]{0,5}") {
        let text = format!("{before}{odd}{after}");
        prop_assert!(Challenge::new(&text).is_err());
        prop_assert!(Challenge::default().parameter("name", &text).is_err());
        prop_assert!(Challenge::default().parameter(&text, "value").is_err());
        prop_assert!(Challenge::default().error_uri(&text).is_err());
        prop_assert!(Challenge::default().additional_scheme(&text).is_err());
    }

    #[test]
    fn every_authorization_header_gets_an_answer(value in vec(select(HEADER_BYTES.clone()), 0..80)) {
        let response = answer(&FIXTURE.auth(), get_with(&value));
        let status = response.status();
        prop_assert!(status == StatusCode::BAD_REQUEST || status == StatusCode::UNAUTHORIZED, "{}", status);
        let code = challenge_of(&response).parameter("error").map(str::to_owned);
        match code.as_deref() {
            None | Some("invalid_token") => prop_assert_eq!(status, StatusCode::UNAUTHORIZED),
            Some(other) => prop_assert_eq!((status, other), (StatusCode::BAD_REQUEST, "invalid_request")),
        }
    }

    #[test]
    fn a_token_with_one_character_changed_is_rejected(at in any::<Index>(), other in "[A-Za-z0-9_.-]") {
        static TOKEN: LazyLock<String> = LazyLock::new(|| FIXTURE.token_of("h1").mint());
        let mut token = TOKEN.clone();
        let at = at.index(token.len());
        token.replace_range(at..=at, &other);
        prop_assert_eq!(FIXTURE.verify(&token).is_ok(), token == *TOKEN);
    }

    #[test]
    fn scopes_are_split_at_spaces_in_order_and_once(text in "[a-c]{0,2}( {1,2}[a-c:\t\u{e4}]{1,2}){0,6} ?") {
        let claims = FIXTURE.accepts(&FIXTURE.token_of("h1").scope(&text).mint());
        let model = distinct(text.split(' ').filter(|name| !name.is_empty()));
        prop_assert_eq!(claims.scopes().iter().collect::<Vec<_>>(), &model[..]);
        let printed = model.iter().map(|name| match name.contains('\t') {
            true => format!("{name:?}"),
            false => (*name).to_owned(),
        });
        prop_assert_eq!(claims.scopes().to_string(), printed.collect::<Vec<_>>().join(" "));
        prop_assert_eq!(claims.authorize::<scope!("ab")>().is_ok(), model.contains(&"ab"));
        prop_assert_eq!(
            claims.authorize::<scope!("a" & "b")>().is_ok(),
            model.contains(&"a") && model.contains(&"b")
        );
        prop_assert_eq!(
            claims.authorize::<scope!("a" | "b")>().is_ok(),
            model.contains(&"a") || model.contains(&"b")
        );
    }

    /// A space in an item of an array is part of the name, so it grants neither half.
    #[test]
    fn scopes_in_an_array_are_not_split(names in vec("[ab]{0,2}( [ab])?", 0..5)) {
        let token = FIXTURE.token_of("h1").claim("scp", names.clone()).mint();
        let claims = FIXTURE.accepts(&token);
        let model = distinct(names.iter().map(String::as_str).filter(|name| !name.is_empty()));
        prop_assert_eq!(claims.scopes().iter().collect::<Vec<_>>(), model);
    }

    #[test]
    fn a_pointer_finds_what_stands_there_and_nothing_else(
        path in vec("[ab~/01]{1,2}", 1..4), other in vec("[ab~/01]{1,2}", 1..4)
    ) {
        let value = path.iter().rev().fold(json!("granted"), |value, name| json!({ name: value }));
        let Value::Object(members) = value else { unreachable!("a path has a name") };
        let token = members
            .into_iter()
            .fold(FIXTURE.token_of("h1"), |token, (name, value)| token.claim(&name, value))
            .mint();
        for wanted in [&path, &other] {
            let pointer: String = wanted
                .iter()
                .map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1")))
                .collect();
            let auth = FIXTURE.auth().scopes_from(ClaimPointer::new(&pointer).unwrap());
            let verdict = auth.verifier().verify_now(&token);
            if *wanted == path {
                prop_assert!(verdict.unwrap().scopes().contains("granted"));
            } else if path.starts_with(wanted) || wanted.starts_with(&path) {
                // The claim is an object, or a string is in the middle of the path. Neither can be
                // scopes.
                prop_assert_eq!(verdict.unwrap_err().kind(), RejectionKind::InvalidClaim);
            } else {
                prop_assert!(verdict.unwrap().scopes().is_empty());
            }
        }
    }

    #[test]
    fn times_count_to_the_fraction_of_a_second(exp in near_now(), nbf in near_now()) {
        let at = |milliseconds: i32| f64::from(milliseconds) / 1e3 + f64::from(u32::try_from(NOW).unwrap());
        let token = FIXTURE.token_of("h1").claim("exp", at(exp)).claim("nbf", at(nbf)).mint();
        // The leeway is 60 seconds at both ends.
        let expected = if exp <= -60_000 {
            Some(RejectionKind::Expired)
        } else if nbf > 60_000 {
            Some(RejectionKind::NotYetValid)
        } else {
            None
        };
        prop_assert_eq!(FIXTURE.verify(&token).err().map(|error| error.kind()), expected);
    }

    #[test]
    fn numbers_of_every_size_are_times(exp in any::<f64>()) {
        let token = FIXTURE.token_of("h1").claim("exp", exp).mint();
        let now = f64::from(u32::try_from(NOW).unwrap());
        match FIXTURE.verify(&token) {
            Ok(claims) => {
                prop_assert!(exp > now - 60.0 && exp < YEAR_10000);
                prop_assert!(claims.expires_at().is_some());
            }
            Err(error) => prop_assert!(exp <= now - 60.0 || exp >= YEAR_10000, "{}", error),
        }
    }

    #[test]
    fn an_audience_is_one_of_a_list_to_the_letter(presented in vec("[ab]{1,2}", 0..4), accepted in vec("[ab]{1,2}", 1..3)) {
        let audience = Audience::any_of(&accepted).unwrap();
        let auth = JwtAuth::new(FIXTURE.signer("h1").issuer(), audience, FIXTURE.keys.clone())
            .clock(FIXTURE.clock.clone())
            .cache(small_cache());
        let token = FIXTURE.token_of("h1").claim("aud", presented.clone()).mint();
        let is_met = presented.iter().any(|one| accepted.contains(one));
        prop_assert_eq!(auth.verifier().verify_now(&token).is_ok(), is_met);
    }

    #[test]
    fn any_bytes_are_a_key_or_are_rejected(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Key::from_jwk(&bytes).is_err());
        prop_assert!(KeySet::from_jwks(&bytes).is_err());
    }

    /// A point with one changed byte is not on its curve. Members that are not part of the key do
    /// not change its thumbprint.
    #[test]
    fn a_mutated_key_is_the_same_key_or_none(at in any::<Index>(), byte in any::<u8>(), how in 0..3_u8) {
        static JWK: LazyLock<String> = LazyLock::new(|| ISSUERS[0].jwk().to_string());
        let key = edited(JWK.as_bytes(), at, byte, how);
        let set = [b"{\"keys\":[", &key[..], b"]}"].concat();
        let thumbprint = ISSUERS[0].key().thumbprint().to_owned();
        match Key::from_jwk(&key) {
            Ok(key) => {
                prop_assert_eq!(key.thumbprint(), &thumbprint);
                let set = KeySet::from_jwks(&set).unwrap();
                prop_assert_eq!(set.keys().next().unwrap().thumbprint(), thumbprint);
            }
            // It is the only key of the set, so without it the set is rejected.
            Err(_) => prop_assert!(KeySet::from_jwks(&set).is_err()),
        }
    }

    /// Keys of every type, with any values for the members other than the material.
    #[test]
    fn what_is_said_about_a_key_does_not_change_it(
        which in 0..3_usize,
        name in select(vec!["kid", "alg", "use", "key_ops", "kty", "crv", "x5t", "d"]),
        value in select(vec![
            json!("sig"), json!("enc"), json!("ES256"), json!("RS256"), json!("PS256"), json!("EdDSA"),
            json!("none"), json!("RSA"), json!("EC"), json!("OKP"), json!("P-256"), json!("Ed25519"),
            json!(["verify"]), json!(["verify", "verify"]), json!(["sign"]), json!(1), json!(null),
        ]),
    ) {
        let mut jwk = ISSUERS[which].jwk();
        jwk[name] = value;
        let key = Key::from_jwk(jwk.to_string().as_bytes());
        if let Ok(key) = &key {
            let unchanged = ISSUERS[which].key();
            prop_assert_eq!(key.thumbprint(), unchanged.thumbprint());
        }
        // The good key in the same set is used, whatever happens to this one.
        let text = json!({ "keys": [jwk, ISSUERS[0].jwk()] }).to_string();
        let set = KeySet::from_jwks(text.as_bytes()).unwrap();
        prop_assert_eq!(set.skipped().len(), usize::from(key.is_err()));
    }

    #[test]
    fn a_mutated_set_gives_keys_that_were_in_it(at in any::<Index>(), byte in any::<u8>(), how in 0..3_u8) {
        // Changed material of an EC or Ed25519 key is no valid key, so no new key can appear.
        static JWKS: LazyLock<String> = LazyLock::new(|| {
            json!({ "keys": [ISSUERS[0].jwk(), ISSUERS[3].jwk()] }).to_string()
        });
        let known: BTreeSet<_> = [0, 3].map(|at| ISSUERS[at].key().thumbprint().to_owned()).into();
        if let Ok(set) = KeySet::from_jwks(&edited(JWKS.as_bytes(), at, byte, how)) {
            prop_assert!(set.keys().count() + set.skipped().len() <= 2);
            for key in set.keys() {
                prop_assert!(known.contains(key.thumbprint()));
            }
        }
    }
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::new);

/// An issuer for each type of key, and one for a second curve.
static ISSUERS: LazyLock<[TestIssuer; 4]> = LazyLock::new(|| {
    [
        Algorithm::ES256,
        Algorithm::RS256,
        Algorithm::EdDSA,
        Algorithm::ES384,
    ]
    .map(TestIssuer::with_algorithm)
});

/// The bytes that a header value can have. Those of tokens are more frequent.
static HEADER_BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let all = (b' '..=b'~').chain(0x80..=0xff).chain([b'\t']);
    let likely = b"Bearer ...  eyJhbGciOiJIUzI1NiJ9".repeat(4);
    all.chain(likely).collect()
});

/// Milliseconds from now, often at the limit of the leeway.
fn near_now() -> impl Strategy<Value = i32> {
    let edges = select(vec![-60_001, -60_000, -59_999, 0, 60_000, 60_001]);
    prop_oneof![edges, -130_000..130_000_i32]
}

fn answer(auth: &JwtAuth, request: http::Request<String>) -> Response<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime
        .unwrap()
        .block_on(crate::support::send(auth, request))
        .0
}

fn challenge_of(response: &Response<String>) -> ReadChallenge {
    let mut all = challenges(response.headers());
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

fn edited(bytes: &[u8], at: Index, byte: u8, how: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = at.index(bytes.len());
    match how {
        0 => bytes.insert(at, byte),
        1 => bytes[at] = byte,
        _ => drop(bytes.remove(at)),
    }
    bytes
}

/// The properties about audiences depend on this: the tokens of the fixture are for its API.
#[test]
fn the_fixture_is_accepted() {
    let claims = FIXTURE.accepts(&FIXTURE.token_of("h1").mint());
    assert_eq!(claims.audience().collect::<Vec<_>>(), [AUDIENCE]);
}
