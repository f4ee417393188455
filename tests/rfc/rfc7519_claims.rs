//! The claims of RFC 7519, the additions of RFC 8725, and own claims.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, send};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_jwt_auth::policy::{Leeway, RequiredClaim};
use tower_jwt_auth::revocation::{Denylist, RevocationError, RevocationStatus};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{
    Algorithm, Audience, Claims, ConfigError, Issuer, JwtAuth, RejectionKind, TrustedIssuer,
    Verifier,
};

/// The verdict of a layer on a token. Asserts that a rejection is 401.
#[track_caller]
fn verdict(auth: &JwtAuth, token: &str) -> Result<Claims, RejectionKind> {
    auth.verifier().verify_now(token).map_err(|rejection| {
        assert_eq!(rejection.status(), 401, "{rejection}");
        rejection.kind()
    })
}

/// A good token with this JSON text as the value of one claim. A library may not be able to write
/// the text.
fn with_text(fixture: &Fixture, name: &str, text: &str) -> String {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "subject-1", "iat": NOW, "exp": NOW + 300,
    });
    claims.as_object_mut().unwrap().remove(name);
    let claims = claims.to_string();
    let claims = format!(r#"{},"{name}":{text}}}"#, claims.trim_end_matches('}'));
    fixture.token().raw_claims(claims).mint()
}

// Times.

/// RFC7519-4.1.4-1
#[tokio::test]
async fn a_token_is_rejected_from_its_expiry_on() {
    let fixture = Fixture::new();
    let auth = fixture.auth().leeway(Leeway::ZERO);
    for (exp, expected) in [(NOW - 1, 401), (NOW, 401), (NOW + 1, 200)] {
        let token = fixture.token().claim("exp", exp).mint();
        let (response, seen) = send(&auth, get(&token)).await;
        assert_eq!(response.status(), expected, "exp {exp}");
        assert_eq!(seen.count(), usize::from(expected == 200));
    }
    let ended = fixture.token().claim("exp", NOW).mint();
    assert_eq!(verdict(&auth, &ended).unwrap_err(), RejectionKind::Expired);
}

/// RFC7519-4.1.4-2
#[test]
fn the_default_leeway_is_a_minute() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().claim("exp", NOW - 59).mint());
    let late = fixture.token().claim("exp", NOW - 60).mint();
    fixture.rejects(&late, RejectionKind::Expired);
}

/// RFC7519-4.1.4-2
#[test]
fn a_leeway_of_more_than_five_minutes_cannot_be_configured() {
    let fixture = Fixture::new();
    let leeway = Leeway::new(Duration::from_secs(300)).unwrap();
    let auth = fixture.auth().leeway(leeway);
    assert!(verdict(&auth, &fixture.token().claim("exp", NOW - 299).mint()).is_ok());
    assert!(verdict(&auth, &fixture.token().claim("exp", NOW - 300).mint()).is_err());
    for seconds in [301, u64::MAX] {
        let rejected = Leeway::new(Duration::from_secs(seconds));
        assert!(matches!(rejected, Err(ConfigError::Leeway { .. })));
    }
}

/// RFC7519-4.1.4-3
#[test]
fn times_of_another_type_are_rejected_and_never_taken_for_absent() {
    let fixture = Fixture::new();
    for name in ["exp", "nbf", "iat"] {
        fixture.accepts(&with_text(&fixture, name, "1700000001"));
        for text in [
            r#""1700000300""#,
            "true",
            "[]",
            "[1700000300]",
            "{}",
            r#""""#,
        ] {
            let token = with_text(&fixture, name, text);
            fixture.rejects(&token, RejectionKind::InvalidClaim);
            // The same if the claim may be absent.
            let lax = fixture.auth().insecure_allow_missing_expiry();
            assert_eq!(
                verdict(&lax, &token).unwrap_err(),
                RejectionKind::InvalidClaim,
                "{name}: {text}"
            );
        }
    }
}

/// Some libraries write `null` for a claim that is not set, so it counts as absent.
#[test]
fn null_is_absent_for_every_claim_but_a_binding() {
    let fixture = Fixture::new();
    for name in [
        "nbf",
        "iat",
        "sub",
        "jti",
        "client_id",
        "azp",
        "cid",
        "appid",
        "acr",
        "amr",
        "auth_time",
        "scope",
        "scp",
        "roles",
        "permissions",
        "realm_access",
        "resource_access",
        "nonce",
        "at_hash",
        "c_hash",
        "events",
        "status_list",
        "token_introspection",
        "htm",
        "htu",
        "typ",
        "token_use",
        "gty",
        "idtyp",
    ] {
        let token = fixture
            .token()
            .header("typ", "JWT")
            .claim(name, Value::Null);
        let claims = fixture.accepts(&token.mint());
        match name {
            "sub" => assert_eq!(claims.subject(), None),
            "jti" => assert_eq!(claims.id(), None),
            "iat" => assert_eq!(claims.issued_at(), None),
            _ => {}
        }
    }
    for name in ["iss", "aud", "exp"] {
        let token = fixture.token().claim(name, Value::Null).mint();
        fixture.rejects(&token, RejectionKind::MissingClaim);
    }
    // A required claim that is `null` is missing.
    let strict = fixture.auth().access_token_profile();
    for name in ["sub", "client_id", "iat", "jti"] {
        let token = fixture.token().claim(name, Value::Null).mint();
        let kind = verdict(&strict, &token).unwrap_err();
        assert_eq!(kind, RejectionKind::MissingClaim, "{name}");
    }
    let bound = fixture.token().claim("cnf", Value::Null).mint();
    fixture.rejects(&bound, RejectionKind::BindingMismatch);
}

/// Two machines without a subject must not be taken for the same subject.
#[test]
fn an_empty_identity_counts_as_absent() {
    let fixture = Fixture::new();
    let token = fixture.token().subject("").claim("jti", "");
    let claims = fixture.accepts(&token.clone().claim("client_id", "").mint());
    assert_eq!(claims.subject(), None);
    assert_eq!(claims.subject_id(), None);
    assert_eq!(claims.id(), None);
    assert_eq!(claims.client_id(), None);
    assert!(claims.is_client());
    // The claim that a provider sends in its place names the client.
    let token = token
        .claim("client_id", "")
        .claim("azp", "")
        .claim("cid", "web");
    assert_eq!(fixture.accepts(&token.mint()).client_id(), Some("web"));
    // A token without an id cannot be revoked by the empty id.
    assert!(Denylist::default().revoke(&claims).is_err());
    let strict = fixture.auth().access_token_profile();
    for name in ["sub", "client_id", "jti"] {
        let token = fixture.token().claim(name, "").mint();
        let rejection = strict.verifier().verify_now(&token).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::MissingClaim, "{name}");
        assert!(rejection.to_string().contains("empty"), "{rejection}");
        let filled = fixture.token().claim(name, " ").mint();
        assert!(verdict(&strict, &filled).is_ok(), "{name}");
    }
}

/// RFC7519-2-1
#[test]
fn dates_may_have_fractions_and_exponents() {
    let fixture = Fixture::new();
    let exp = |text: &str| with_text(&fixture, "exp", text);
    for text in [
        "1700000300.5",
        "1.7000003e9",
        "1.7000003E+9",
        "17000003e2",
        "253402300799",
        "253402300799.9",
    ] {
        let claims = fixture.accepts(&exp(text));
        assert!(claims.expires_at().unwrap() > UNIX_EPOCH, "{text}");
    }
    for text in [
        "-1",
        "0",
        "-0.0",
        "-9e18",
        "-1e308",
        "1e-400",
        "1699999939.9",
    ] {
        fixture.rejects(&exp(text), RejectionKind::Expired);
    }
    // A time after the year 9999 is not in seconds.
    for text in [
        "253402300800",
        "1700000300000",
        "9e18",
        "9223372036854775808",
        "1e308",
    ] {
        for name in ["exp", "nbf", "iat"] {
            let token = with_text(&fixture, name, text);
            fixture.rejects(&token, RejectionKind::InvalidClaim);
            let rejection = fixture.verify(&token).unwrap_err();
            assert!(rejection.to_string().contains("seconds"), "{rejection}");
        }
    }
    // Not a finite number, or not a JSON number.
    for text in [
        "1e400", "-1e400", "NaN", "Infinity", "0x10", "01", "+1", "1.", ".5",
    ] {
        fixture.rejects(&exp(text), RejectionKind::MalformedToken);
    }
}

/// RFC7519-2-1
#[test]
fn a_fraction_is_not_rounded_up() {
    let fixture = Fixture::new();
    let auth = fixture.auth().leeway(Leeway::ZERO);
    let token = with_text(&fixture, "exp", "1700000000.5");
    assert!(verdict(&auth, &token).is_ok());
    fixture.clock.advance(Duration::from_millis(499));
    assert!(verdict(&auth, &token).is_ok());
    fixture.clock.advance(Duration::from_millis(1));
    assert_eq!(verdict(&auth, &token).unwrap_err(), RejectionKind::Expired);
}

/// RFC7519-4.1.5-1
#[test]
fn a_token_is_rejected_before_its_start() {
    let fixture = Fixture::new();
    for nbf in [NOW - 3_600, NOW, NOW + 60] {
        fixture.accepts(&fixture.token().claim("nbf", nbf).mint());
    }
    let early = fixture.token().claim("nbf", NOW + 61).mint();
    fixture.rejects(&early, RejectionKind::NotYetValid);
    let strict = fixture.auth().leeway(Leeway::ZERO);
    let early = fixture.token().claim("nbf", NOW + 1).mint();
    assert_eq!(
        verdict(&strict, &early).unwrap_err(),
        RejectionKind::NotYetValid
    );
}

/// RFC7519-4.1.6-D1
#[test]
fn a_token_issued_in_the_future_is_rejected() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().claim("iat", NOW + 60).mint());
    for iat in [NOW + 61, NOW + 3_600] {
        let token = fixture.token().claim("iat", iat).mint();
        fixture.rejects(&token, RejectionKind::NotYetValid);
    }
}

/// RFC7519-4.1.6-D1
#[test]
fn a_token_can_be_rejected_for_its_age() {
    let fixture = Fixture::new();
    let old = fixture.token().claim("iat", NOW - 700).mint();
    fixture.accepts(&old);
    let auth = fixture.auth().max_age(Duration::from_secs(600));
    assert_eq!(verdict(&auth, &old).unwrap_err(), RejectionKind::Expired);
    let young = |age| fixture.token().claim("iat", NOW - age).mint();
    assert!(verdict(&auth, &young(660)).is_ok());
    assert!(verdict(&auth, &young(661)).is_err());
    let undated = fixture.token().without("iat").mint();
    fixture.accepts(&undated);
    assert_eq!(
        verdict(&auth, &undated).unwrap_err(),
        RejectionKind::MissingClaim
    );
}

/// The lifetime counts from `iat`, or from now if there is none. Then the leeway is added, because
/// two clocks are compared.
#[test]
fn a_token_can_be_rejected_for_its_lifetime() {
    let fixture = Fixture::new();
    let auth = fixture.auth().max_lifetime(Duration::from_secs(900));
    let token = |exp: u64| fixture.token().claim("exp", NOW + exp);
    for short in [
        token(900).mint(),
        token(960).claim("iat", NOW + 60).mint(),
        token(300).claim("iat", NOW - 600).mint(),
        token(960).without("iat").mint(),
    ] {
        assert!(verdict(&auth, &short).is_ok());
    }
    for long in [
        token(901).mint(),
        token(961).claim("iat", NOW + 60).mint(),
        token(300).claim("iat", NOW - 601).mint(),
        token(961).without("iat").mint(),
    ] {
        assert_eq!(
            verdict(&auth, &long).unwrap_err(),
            RejectionKind::InvalidClaim
        );
        fixture.accepts(&long);
    }
}

/// A token whose lifetime is too long now is accepted later, also from the cache.
#[test]
fn the_lifetime_of_a_token_without_a_start_counts_from_now() {
    let fixture = Fixture::new();
    let auth = fixture.auth().max_lifetime(Duration::from_secs(900));
    let undated = fixture
        .token()
        .claim("exp", NOW + 961)
        .without("iat")
        .mint();
    assert!(verdict(&auth, &undated).is_err());
    fixture.clock.advance(Duration::from_secs(1));
    assert!(verdict(&auth, &undated).is_ok());
    assert!(verdict(&auth, &undated).is_ok());
    fixture.clock.set(NOW);
    assert!(verdict(&auth, &undated).is_err());
}

/// RFC7519-4.1-D1
#[test]
fn an_expiry_is_required_unless_the_configuration_says_otherwise() {
    let fixture = Fixture::new();
    let eternal = fixture.token().without("exp").mint();
    let rejection = fixture.verify(&eternal).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::MissingClaim);
    assert!(rejection.to_string().contains("`exp`"), "{rejection}");
    let auth = fixture.auth().insecure_allow_missing_expiry();
    assert_eq!(verdict(&auth, &eternal).unwrap().expires_at(), None);
    // If `exp` is present, it is still checked.
    let expired = fixture.token().expired().mint();
    assert_eq!(
        verdict(&auth, &expired).unwrap_err(),
        RejectionKind::Expired
    );
}

// Audience.

/// RFC7519-4.1.3-1
#[test]
fn the_audience_is_compared_exactly() {
    let fixture = Fixture::new();
    fixture.accepts(&fixture.token().mint());
    for audience in [
        "https://API.example",
        "https://api.example/",
        "https://api.example:443",
        "http://api.example",
        "https://api.exampl",
        "https://api.example https://other.example",
        " https://api.example",
        "api.example",
        "*",
        "",
    ] {
        let token = fixture.token().audience(audience).mint();
        fixture.rejects(&token, RejectionKind::AudienceMismatch);
    }
}

/// RFC7519-4.1.3-2
#[test]
fn the_audience_is_a_string_or_an_array_of_strings() {
    let fixture = Fixture::new();
    let token = |audience: Value| fixture.token().claim("aud", audience).mint();
    let claims = fixture.accepts(&token(json!(["x", AUDIENCE])));
    assert_eq!(claims.audience().collect::<Vec<_>>(), ["x", AUDIENCE]);
    fixture.accepts(&token(json!([AUDIENCE])));
    fixture.accepts(&token(json!(AUDIENCE)));
    for audience in [json!([]), json!(["x"])] {
        fixture.rejects(&token(audience), RejectionKind::AudienceMismatch);
    }
    for audience in [
        json!([1]),
        json!([AUDIENCE, 1]),
        json!([[AUDIENCE]]),
        json!([null]),
        json!({}),
        json!({"0": AUDIENCE}),
        json!(true),
        json!(0),
    ] {
        fixture.rejects(&token(audience), RejectionKind::InvalidClaim);
    }
}

/// RFC8725-3.9-1: `tests/ui` shows that a layer without an audience does not compile. Here: an
/// audience cannot be empty.
#[test]
fn an_audience_cannot_be_empty() {
    for ids in [&[][..], &[""], &[AUDIENCE, ""]] {
        let error = Audience::any_of(ids).unwrap_err();
        let input = ids.iter().map(|id| (*id).to_owned()).collect();
        assert_eq!(error, ConfigError::Audience { input });
        assert!(error.to_string().starts_with(&format!("audience {ids:?} ")));
    }
    assert!(matches!(Audience::new(""), Err(ConfigError::Audience { input }) if input == [""]));
}

/// RFC8725-3.9-1
#[test]
fn a_token_without_an_audience_is_rejected_unless_the_check_is_switched_off_by_name() {
    let fixture = Fixture::new();
    let token = fixture.token().without("aud").mint();
    let rejection = fixture.verify(&token).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::MissingClaim);
    assert_eq!(rejection.status(), 401);
    let lax = JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::insecure_any(),
        &fixture.keys,
    )
    .clock(fixture.clock.clone());
    for token in [&token, &fixture.token().audience("anybody").mint()] {
        assert!(verdict(&lax, token).is_ok());
    }
    let odd = fixture.token().claim("aud", 5).mint();
    assert_eq!(
        verdict(&lax, &odd).unwrap_err(),
        RejectionKind::InvalidClaim
    );
}

// Issuer, subject, token id.

/// RFC7519-4.1.1-1
#[test]
fn the_issuer_is_compared_exactly_and_required() {
    let fixture = Fixture::new();
    for issuer in [
        "https://as.example/",
        "https://AS.example",
        "https://as.example:443",
        "http://as.example",
        "HTTPS://as.example",
        "https://as.example ",
        "",
    ] {
        let token = fixture.token().issuer(issuer).mint();
        fixture.rejects(&token, RejectionKind::IssuerMismatch);
    }
    let anonymous = fixture.token().without("iss").mint();
    fixture.rejects(&anonymous, RejectionKind::MissingClaim);
}

/// RFC7519-4.1.1-1
#[test]
fn an_issuer_has_no_spaces_and_no_controls() {
    for bad in [
        "",
        " ",
        "a b",
        " https://as.example",
        "https://as.example\n",
        "a\tb",
        "a\u{a0}b",
        "a\0b",
    ] {
        let rejected = Issuer::new(bad).unwrap_err();
        assert_eq!(
            rejected,
            ConfigError::Issuer {
                input: bad.to_owned()
            }
        );
    }
    for good in ["https://as.example", "accounts.google.com", "\u{e4}", "a"] {
        assert_eq!(Issuer::new(good).unwrap().as_str(), good);
    }
}

/// RFC7519-4.1-1
#[test]
fn registered_claims_of_another_type_are_rejected() {
    let fixture = Fixture::new();
    let values = [json!(1), json!({}), json!([]), json!(true)];
    for name in ["iss", "sub", "client_id"] {
        fixture.accepts(&fixture.token().claim(name, fixture_value(name)).mint());
        for value in &values {
            let token = fixture.token().claim(name, value.clone()).mint();
            fixture.rejects(&token, RejectionKind::InvalidClaim);
            let rejection = fixture.verify(&token).unwrap_err();
            assert!(rejection.to_string().contains(name), "{rejection}");
        }
    }
}

/// RFC7519-4.1-1, RFC9068-2.2.1-1: claims that restrict nothing may have any type. Each shape is
/// that of a real issuer, or similar to it.
#[test]
fn claims_that_restrict_nothing_may_have_any_type() {
    let fixture = Fixture::new();
    for (name, value) in [
        // User tokens of Supabase.
        ("amr", json!([{"method": "password", "timestamp": NOW}])),
        ("amr", json!("pwd")),
        ("amr", json!(["pwd", 1])),
        ("amr", json!({"pwd": true})),
        ("acr", json!(1)),
        ("acr", json!(["a"])),
        // Tokens of AD FS.
        ("auth_time", json!("2026-11-27T20:15:00.000Z")),
        ("auth_time", json!(1_700_000_000_000_u64)),
        ("jti", json!(4711)),
        ("jti", json!({})),
        ("azp", json!(["a"])),
        ("nonce", json!(5)),
    ] {
        let token = fixture.token().without("jti").claim(name, value);
        let claims = fixture.accepts(&token.mint());
        assert_eq!(claims.authentication_methods().len(), 0, "{token:?}");
        assert_eq!(claims.authentication_context(), None, "{token:?}");
        assert_eq!(claims.authenticated_at(), None, "{token:?}");
        assert_eq!(claims.id(), None, "{token:?}");
        // Lists after a claim of another type are read correctly.
        let claims = fixture.accepts(&token.claim("zzz", 1).scope("a b").mint());
        assert_eq!(claims.scopes().to_string(), "a b");
        assert_eq!(claims.audience().collect::<Vec<_>>(), [AUDIENCE]);
    }
    // If a rule requires the claim, it must have its type.
    let auth = fixture.auth().required_claims([RequiredClaim::Id]);
    let odd = fixture.token().claim("jti", 4711).mint();
    assert_eq!(
        verdict(&auth, &odd).unwrap_err(),
        RejectionKind::InvalidClaim
    );
    assert!(verdict(&auth, &fixture.token().mint()).is_ok());
}

fn fixture_value(name: &str) -> &str {
    if name == "iss" { ISSUER } else { "text" }
}

/// RFC8725-3.8-2
#[tokio::test]
async fn a_hook_can_reject_a_subject_that_the_issuer_does_not_know() {
    let fixture = Fixture::new();
    let auth = fixture.auth().revocation(async |token: Claims| {
        let known = token.issuer() == ISSUER && token.subject() == Some("alice");
        Ok::<_, RevocationError>(if known {
            RevocationStatus::Active
        } else {
            RevocationStatus::Revoked
        })
    });
    for (subject, expected) in [("alice", 200), ("mallory", 401), ("Alice", 401)] {
        let token = fixture.token().subject(subject).mint();
        let (response, seen) = send(&auth, get(&token)).await;
        assert_eq!(response.status(), expected, "{subject}");
        assert_eq!(seen.count(), usize::from(expected == 200));
    }
    let verdict = auth.verifier().verify(&fixture.token().mint()).await;
    assert_eq!(verdict.unwrap_err().kind(), RejectionKind::Revoked);
}

/// Two issuers that use the same subjects and token ids.
fn two_issuers() -> (TestIssuer, TestIssuer, JwtAuth) {
    let fixture = Fixture::new();
    let issuer = |name| {
        let issuer = TestIssuer::new().with_clock(fixture.clock.clone());
        issuer.named(name)
    };
    let (a, b) = (issuer("https://a.example"), issuer("https://b.example"));
    let auth = a
        .auth()
        .trust(TrustedIssuer::new(b.issuer(), b.audience(), b.keys()));
    (a, b, auth)
}

/// RFC8725-3.8-2
#[test]
fn the_same_subject_of_two_issuers_is_two_subjects() {
    let (a, b, auth) = two_issuers();
    let claims = [a, b].map(|issuer| verdict(&auth, &issuer.token().mint()).unwrap());
    assert_eq!(claims[0].subject(), claims[1].subject());
    let ids: HashSet<_> = claims.iter().map(|token| token.subject_id()).collect();
    assert_eq!(ids.len(), 2);
    let id = claims[1].subject_id().unwrap();
    assert_eq!(
        (id.issuer(), id.subject()),
        ("https://b.example", "subject-1")
    );
}

/// RFC7519-4.1.7-1
#[test]
fn the_same_token_id_of_two_issuers_is_two_tokens() {
    let (a, b, auth) = two_issuers();
    let (one, two) = (a.token().mint(), b.token().mint());
    let denylist = Denylist::default();
    let auth = auth.revocation(denylist.clone());
    let claims = verdict(&auth, &one).unwrap();
    assert_eq!(claims.id(), verdict(&auth, &two).unwrap().id());
    denylist.revoke(&claims).unwrap();
    assert_eq!(verdict(&auth, &one).unwrap_err(), RejectionKind::Revoked);
    assert!(verdict(&auth, &two).is_ok());
}

// Kinds of tokens.

/// RFC8725-3.11-1
#[test]
fn a_token_of_an_explicit_other_type_is_rejected() {
    let fixture = Fixture::new();
    for typ in ["at+jwt", "application/at+jwt", "JWT", "jwt"] {
        fixture.accepts(&fixture.token().header("typ", typ).mint());
    }
    fixture.accepts(&fixture.token().without_header("typ").mint());
    for typ in [
        "secevent+jwt",
        "id+jwt",
        "logout+jwt",
        "token-introspection+jwt",
        "dpop+jwt",
        "statuslist+jwt",
        "client-authentication+jwt",
        "refresh+jwt",
        "application/secevent+jwt",
        "JWS",
        "",
    ] {
        let token = fixture.token().header("typ", typ).mint();
        fixture.rejects(&token, RejectionKind::WrongType);
    }
}

/// RFC8725-3.12-1: each token has the right issuer, key and times. If its kind may have no own
/// `typ`, its claims show the kind.
#[test]
fn other_kinds_of_jwt_are_no_access_tokens() {
    let fixture = Fixture::new();
    let plain = json!({"iss": ISSUER, "sub": "subject-1", "iat": NOW, "exp": NOW + 300});
    let jwt = |typ: Option<&str>, claims: Value| {
        let mut all = plain.clone();
        let members = all.as_object_mut().unwrap();
        members.extend(claims.as_object().unwrap().clone());
        let token = fixture.token().raw_claims(all.to_string());
        match typ {
            Some(typ) => token.header("typ", typ).mint(),
            None => token.without_header("typ").mint(),
        }
    };
    // The shape itself is accepted, so each rejection below is because of its mark.
    fixture.accepts(&jwt(None, json!({"aud": AUDIENCE})));

    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for (kind, typ, claims) in [
        (
            "ID token for a client",
            Some("JWT"),
            json!({"aud": "client-1", "nonce": "n"}),
        ),
        (
            "ID token",
            Some("JWT"),
            json!({"aud": AUDIENCE, "nonce": "n"}),
        ),
        ("ID token", None, json!({"aud": AUDIENCE, "at_hash": "h"})),
        ("ID token", None, json!({"aud": AUDIENCE, "c_hash": "h"})),
        (
            "ID token of Cognito",
            None,
            json!({"aud": AUDIENCE, "token_use": "id"}),
        ),
        (
            "ID token of Keycloak",
            Some("JWT"),
            json!({"aud": AUDIENCE, "typ": "ID"}),
        ),
        (
            "refresh token of Keycloak",
            Some("JWT"),
            json!({"aud": AUDIENCE, "typ": "Refresh"}),
        ),
        (
            "logout token",
            Some("logout+jwt"),
            json!({"aud": AUDIENCE, "events": logout.clone()}),
        ),
        (
            "logout token",
            None,
            json!({"aud": AUDIENCE, "events": logout}),
        ),
        (
            "security event",
            Some("secevent+jwt"),
            json!({"aud": AUDIENCE, "events": {}}),
        ),
        (
            "introspection answer",
            Some("token-introspection+jwt"),
            json!({"aud": AUDIENCE, "token_introspection": {"active": true}}),
        ),
        (
            "introspection answer",
            None,
            json!({"aud": AUDIENCE, "token_introspection": {}}),
        ),
        (
            "DPoP proof",
            Some("dpop+jwt"),
            json!({"aud": AUDIENCE, "htm": "GET", "htu": AUDIENCE}),
        ),
        (
            "DPoP proof",
            None,
            json!({"aud": AUDIENCE, "htm": "GET", "htu": AUDIENCE}),
        ),
        (
            "status list",
            Some("statuslist+jwt"),
            json!({"aud": AUDIENCE, "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}}),
        ),
        (
            "status list",
            None,
            json!({"aud": AUDIENCE, "status_list": {}}),
        ),
        (
            "client assertion",
            Some("JWT"),
            json!({"aud": ISSUER, "sub": "client-1"}),
        ),
        (
            "client assertion",
            Some("client-authentication+jwt"),
            json!({"aud": AUDIENCE}),
        ),
    ] {
        let token = jwt(typ, claims);
        let rejection = fixture.verify(&token).expect_err(kind);
        assert_eq!(rejection.status(), 401, "{kind}");
        assert!(
            matches!(
                rejection.kind(),
                RejectionKind::WrongType | RejectionKind::AudienceMismatch
            ),
            "{kind}: {rejection}"
        );
    }
}

/// RFC8725-3.12-1: access tokens of providers that share marks with ID tokens.
#[test]
fn access_tokens_that_look_a_little_like_id_tokens_are_accepted() {
    let fixture = Fixture::new();
    let keycloak = fixture.token().header("typ", "JWT");
    fixture.accepts(&keycloak.claim("typ", "Bearer").claim("nonce", "n").mint());
    let cognito = fixture.token().without_header("typ");
    fixture.accepts(&cognito.claim("token_use", "access").mint());
    // If `typ` says that it is an access token, the marks do not matter.
    fixture.accepts(&fixture.token().claim("nonce", "n").mint());

    let bare = fixture.token().without("client_id").header("typ", "JWT");
    let id_token = bare.clone().claim("nonce", "n");
    fixture.rejects(&id_token.mint(), RejectionKind::WrongType);
    // Azure AD B2C copies the `nonce` of the login into access tokens.
    for (name, value) in [
        ("scp", json!("Events.Read")),
        ("scp", json!(["Events.Read"])),
        ("scope", json!("events")),
        ("client_id", json!("web")),
    ] {
        fixture.accepts(&id_token.clone().claim(name, value).mint());
    }
    for (name, value) in [
        ("scp", json!(null)),
        ("scope", json!(null)),
        ("client_id", json!("")),
        ("azp", json!("web")),
        ("roles", json!(["admin"])),
    ] {
        let token = id_token.clone().claim(name, value).mint();
        fixture.rejects(&token, RejectionKind::WrongType);
    }
    // All other marks still reject the token.
    for (name, value) in [
        ("at_hash", "h"),
        ("c_hash", "h"),
        ("token_use", "id"),
        ("typ", "ID"),
    ] {
        let token = bare.clone().scope("events").claim(name, value).mint();
        fixture.rejects(&token, RejectionKind::WrongType);
    }
}

/// The setting accepts the marks of an ID token only, whatever other marks the token has.
#[test]
fn a_layer_for_id_tokens_accepts_no_other_kind() {
    let fixture = Fixture::new();
    let lax = fixture.auth().insecure_accept_id_tokens();
    let bare = fixture.token().without("client_id").header("typ", "JWT");
    let marks = [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("token_use", json!("id")),
        ("typ", json!("ID")),
    ];
    for (name, value) in &marks {
        let token = bare.clone().claim(name, value.clone()).mint();
        assert!(verdict(&lax, &token).is_ok(), "{name}");
        fixture.rejects(&token, RejectionKind::WrongType);
    }
    let logout = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for (kind, name, value) in [
        ("logout token", "events", logout),
        ("refresh token of Keycloak", "typ", json!("Refresh")),
        ("offline token of Keycloak", "typ", json!("Offline")),
        ("logout token of Keycloak", "typ", json!("Logout")),
        ("DPoP proof", "htm", json!("GET")),
        ("DPoP proof", "htu", json!(AUDIENCE)),
        (
            "status list",
            "status_list",
            json!({"bits": 1, "lst": "eNrbuRgAAhcBXQ"}),
        ),
        (
            "introspection answer",
            "token_introspection",
            json!({"active": true}),
        ),
        ("refresh token of Cognito", "token_use", json!("refresh")),
    ] {
        let token = bare.clone().claim(name, value);
        let mut forms = vec![token.clone()];
        let beside = marks.iter().filter(|(mark, _)| *mark != name);
        forms.extend(beside.map(|(mark, value)| token.clone().claim(mark, value.clone())));
        for form in forms {
            for auth in [&lax, &fixture.auth()] {
                let verdict = verdict(auth, &form.mint());
                assert_eq!(
                    verdict.unwrap_err(),
                    RejectionKind::WrongType,
                    "{kind}: {form:?}"
                );
            }
        }
    }
    // A token whose header says that it is of another kind is rejected too.
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "statuslist+jwt",
        "token-introspection+jwt",
    ] {
        let token = bare.clone().header("typ", typ).mint();
        assert_eq!(
            verdict(&lax, &token).unwrap_err(),
            RejectionKind::WrongType,
            "{typ}"
        );
    }
}

/// One issuer sends its own type, and another one does not.
#[test]
fn a_further_type_is_accepted_of_the_issuer_that_sends_it() {
    let fixture = Fixture::new();
    let partner = TestIssuer::new()
        .named("https://partner.example")
        .with_clock(fixture.clock.clone());
    let trusted = partner.trusted();
    let auth = fixture.auth().trust(
        trusted
            .clone()
            .accept_type("JOSE")
            .accept_type("application/x.own+jwt"),
    );
    for typ in [
        "JOSE",
        "jose",
        "application/jose",
        "x.own+jwt",
        "X.Own+JWT",
        "JWT",
        "at+jwt",
    ] {
        let token = partner.token().header("typ", typ).mint();
        assert!(verdict(&auth, &token).is_ok(), "{typ}");
    }
    let jose = partner.token().header("typ", "JOSE");
    for token in [
        fixture.token().header("typ", "JOSE"),
        partner.token().header("typ", "JOSE+JSON"),
        partner.token().header("typ", "text/jose"),
        partner
            .token()
            .header("typ", "application/application/jose"),
        partner.token().header("typ", "dpop+jwt"),
        partner.token().header("typ", ""),
        // The marks in the claims are checked as for `JWT`.
        jose.clone().claim("events", json!({})),
        jose.clone().claim("at_hash", "h"),
        jose.clone().without("client_id").claim("nonce", "n"),
    ] {
        let verdict = verdict(&auth, &token.mint());
        assert_eq!(verdict.unwrap_err(), RejectionKind::WrongType, "{token:?}");
    }
    // The profile accepts one type only, in either order of the setters.
    for strict in [
        trusted.clone().accept_type("JOSE").access_token_profile(),
        trusted.access_token_profile().accept_type("JOSE"),
    ] {
        let auth = fixture.auth().trust(strict);
        let verdict = verdict(&auth, &jose.mint());
        assert_eq!(verdict.unwrap_err(), RejectionKind::WrongType);
        let error = auth.check_settings().unwrap_err().to_string();
        for setting in ["\"JOSE\" of `accept_type`", "`access_token_profile`"] {
            assert!(error.contains(setting), "{error}");
        }
    }
    let layer = || fixture.auth().accept_type("JOSE");
    assert!(layer().access_token_profile().check_settings().is_err());
    // An issuer may be stricter than the layer, and the type of the profile is no contradiction.
    let strict = || partner.trusted().access_token_profile();
    layer().trust(strict()).check_settings().unwrap();
    let same = strict().accept_type("application/at+jwt");
    fixture.auth().trust(same).check_settings().unwrap();
}

/// RFC8725bis-3.1-1
#[test]
fn the_algorithms_are_decided_for_each_issuer() {
    let fixture = Fixture::new();
    let (issuer, audience) = (
        Issuer::new("https://b.example").unwrap(),
        Audience::new(AUDIENCE).unwrap(),
    );
    // Both issuers have keys of all kinds, and each may use one kind.
    let auth = JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        audience.clone(),
        &fixture.keys,
    )
    .algorithms([Algorithm::ES256])
    .trust(TrustedIssuer::new(issuer, audience, &fixture.keys).algorithms([Algorithm::RS256]))
    .clock(fixture.clock.clone());
    for (key, issuer, accepted) in [
        ("k1", ISSUER, true),
        ("k2", ISSUER, false),
        ("k1", "https://b.example", false),
        ("k2", "https://b.example", true),
        ("h1", ISSUER, false),
    ] {
        let token = fixture.token_of(key).issuer(issuer).mint();
        let verdict = verdict(&auth, &token);
        let expected = RejectionKind::AlgorithmNotAllowed;
        assert_eq!(
            verdict.as_ref().err(),
            (!accepted).then_some(&expected),
            "{key} of {issuer}"
        );
    }
}

// The text of a reason.

/// A reason is a short line for any token, even if many issuers and audiences are configured.
#[test]
fn a_reason_does_not_list_everything_that_is_configured() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..400)
        .map(|n| format!("https://api-{n}.example"))
        .collect();
    let audience = Audience::any_of(&ids).unwrap();
    let mut auth = JwtAuth::new(
        Issuer::new(ISSUER).unwrap(),
        audience.clone(),
        &fixture.keys,
    )
    .clock(fixture.clock.clone());
    for number in 0..400 {
        let issuer = Issuer::new(&format!("https://as-{number}.example")).unwrap();
        auth = auth.trust(TrustedIssuer::new(issuer, audience.clone(), &fixture.keys));
    }
    let verifier = auth.verifier();
    let forged = fixture.token().issuer("https://forged.example").mint();
    let reason = verifier.verify_now(&forged).unwrap_err().to_string();
    assert!(
        reason.contains("forged.example") && reason.contains(ISSUER),
        "{reason}"
    );
    assert!(
        reason.contains("397 more") && reason.len() < 512,
        "{reason}"
    );
    let other = fixture.token().audience("https://other.example").mint();
    let reason = verifier.verify_now(&other).unwrap_err().to_string();
    assert!(
        reason.contains("other.example") && reason.contains("api-0.example"),
        "{reason}"
    );
    assert!(
        reason.contains("396 more") && reason.len() < 512,
        "{reason}"
    );
}

#[test]
fn a_reason_says_when_a_token_begins_and_ended() {
    let fixture = Fixture::new();
    let reason = |token: &str| fixture.verify(token).unwrap_err().to_string();
    let early = reason(&fixture.token().claim("nbf", NOW + 7_198).mint());
    assert!(
        early.contains("start (`nbf`) is 7198 s from now"),
        "{early}"
    );
    let late = reason(&with_text(&fixture, "exp", "1699999900.1234"));
    assert!(late.contains("expiry (`exp`) was 99.877 s ago"), "{late}");
    let odd = reason(&with_text(&fixture, "exp", "-1e308"));
    assert!(odd.len() < 256, "{odd}");
}

#[test]
fn a_subject_is_not_printed() {
    let fixture = Fixture::new();
    let claims = fixture.accepts(&fixture.token().subject("alice@example.com").mint());
    let printed = format!("{:?}", claims.subject_id().unwrap());
    assert!(printed.contains(ISSUER), "{printed}");
    assert!(!printed.contains("alice"), "{printed}");
}

// Own claims, and revocation.

#[derive(Debug, Deserialize)]
struct Member {
    role: String,
}

/// CLAIMS-D1
#[tokio::test]
async fn claims_that_do_not_fit_the_own_type_are_a_bad_token() {
    let fixture = Fixture::new();
    let auth = fixture.auth().claims::<Member>();
    let verifier: Verifier<Member> = auth.verifier();
    let good = fixture.token().claim("role", "editor").mint();
    assert_eq!(verifier.verify_now(&good).unwrap().role, "editor");
    assert_eq!(send(&auth, get(&good)).await.0.status(), 200);
    for bad in [
        fixture.token().claim("role", 5).mint(),
        fixture.token().claim("role", json!(["secret-role"])).mint(),
        fixture.token().mint(),
    ] {
        let rejection = verifier.verify_now(&bad).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::InvalidClaim);
        assert!(
            !rejection.to_string().contains("secret-role"),
            "{rejection}"
        );
        let (response, seen) = send(&auth, get(&bad)).await;
        assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
        // A layer without own claims accepts the token.
        fixture.accepts(&bad);
    }
}

/// A reason names the claim and what is wrong with it. The value does not get into logs.
#[test]
fn a_claim_that_does_not_fit_is_named_and_not_quoted() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Rank {
        Admin,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only deserialized")]
    struct Address {
        city: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only deserialized")]
    struct Person {
        rank: Option<Rank>,
        age: Option<u8>,
        host: Option<std::net::IpAddr>,
        letter: Option<char>,
        address: Option<Address>,
        flag: Option<bool>,
    }

    let fixture = Fixture::new();
    let verifier: Verifier<Person> = fixture.auth().claims::<Person>().verifier();
    for (name, value) in [
        ("rank", json!("secret@example.com")),
        ("rank", json!({"secret": 1})),
        ("age", json!(4711)),
        ("age", json!(-4711)),
        ("age", json!(47.11)),
        ("age", json!("secret")),
        ("age", json!(true)),
        ("host", json!("secret@example.com")),
        ("letter", json!("secret")),
        ("address", json!({"secret@example.com": 1})),
        ("address", json!({"city": 4711})),
        ("address", json!(["secret", "secret"])),
        ("flag", json!(4711)),
        ("flag", json!("`, expected secret")),
    ] {
        let token = fixture.token().claim(name, value);
        let reason = verifier.verify_now(&token.mint()).unwrap_err().to_string();
        assert!(reason.contains(&format!("{name:?}")), "{reason}");
        assert!(reason.contains("Person"), "{reason}");
        for leak in ["secret", "4711", "47.11", "true"] {
            assert!(!reason.contains(leak), "{reason}");
        }
    }
    let good = fixture.token().claim("rank", "admin").claim("age", 47);
    assert!(verifier.verify_now(&good.mint()).is_ok());
}

/// CLAIMS-D2
#[tokio::test]
async fn a_revoked_token_is_rejected_and_a_forged_one_never_reaches_the_store() {
    let fixture = Fixture::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let auth = fixture.auth().revocation(move |token: Claims| {
        counter.fetch_add(1, Ordering::Relaxed);
        let revoked = token.id() == Some("revoked");
        async move {
            Ok(if revoked {
                RevocationStatus::Revoked
            } else {
                RevocationStatus::Active
            })
        }
    });
    let status = async |token: String| send(&auth, get(&token)).await.0.status().as_u16();
    assert_eq!(status(fixture.token().mint()).await, 200);
    let revoked = fixture.token().claim("jti", "revoked");
    assert_eq!(status(revoked.mint()).await, 401);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    for forged in [
        revoked.clone().signed_by_stranger(),
        revoked.clone().tampered(),
        revoked.clone().unsigned(),
        revoked.clone().expired(),
        revoked.clone().audience("https://other.example"),
        revoked.header("kid", "nobody"),
    ] {
        assert_eq!(status(forged.mint()).await, 401);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

/// A handler reads exactly the signed claims.
#[test]
fn the_registered_claims_have_methods() {
    let fixture = Fixture::new();
    let token = fixture.token().claim("nbf", NOW - 5).mint();
    let claims = fixture.accepts(&token);
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!(claims.issuer(), ISSUER);
    assert_eq!(claims.audience().collect::<Vec<_>>(), [AUDIENCE]);
    assert_eq!(claims.subject(), Some("subject-1"));
    assert_eq!(claims.client_id(), Some("client-1"));
    assert_eq!(claims.id(), Some("token-1"));
    assert_eq!(claims.issued_at(), at(NOW));
    assert_eq!(claims.not_before(), at(NOW - 5));
    assert_eq!(claims.expires_at(), at(NOW + 300));
    let claims = fixture.accepts(&fixture.token().without("sub").without("jti").mint());
    assert_eq!((claims.subject(), claims.id()), (None, None));
    assert_eq!(claims.subject_id(), None);
}
