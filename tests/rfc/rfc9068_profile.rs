//! The profile for access tokens (RFC 9068), with `access_token_profile`.

use std::time::{Duration, UNIX_EPOCH};

use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, challenges, get, send};
use serde_json::{Value, json};
use tower::Layer;
use tower_jwt_auth::policy::RequiredClaim;
use tower_jwt_auth::scope::ResourceOwner;
use tower_jwt_auth::test::{TestIssuer, TestToken};
use tower_jwt_auth::token::ClaimPointer;
use tower_jwt_auth::{Audience, Claims, Issuer, JwtAuth, RejectionKind, TrustedIssuer, role};

/// The layer of the fixture with the profile.
fn strict(fixture: &Fixture) -> JwtAuth {
    fixture.auth().access_token_profile()
}

fn verdict(auth: &JwtAuth, token: &TestToken) -> Result<Claims, RejectionKind> {
    auth.verifier()
        .verify_now(&token.mint())
        .map_err(|rejection| {
            assert_eq!(rejection.status(), 401, "{rejection}");
            rejection.kind()
        })
}

#[track_caller]
fn rejects(auth: &JwtAuth, token: &TestToken, kind: RejectionKind) {
    assert_eq!(verdict(auth, token).expect_err("accepted"), kind);
}

/// RFC9068-4-1
#[test]
fn the_type_is_at_jwt_and_nothing_else() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    for typ in [
        "at+jwt",
        "at+JWT",
        "AT+JWT",
        "application/at+jwt",
        "Application/at+JWT",
    ] {
        assert!(verdict(&auth, &fixture.token().header("typ", typ)).is_ok());
    }
    rejects(
        &auth,
        &fixture.token().without_header("typ"),
        RejectionKind::WrongType,
    );
    for typ in [
        "JWT",
        "jwt",
        "application/jwt",
        "id+jwt",
        "text/at+jwt",
        "at+jwt ",
        "at",
        "",
    ] {
        let token = fixture.token().header("typ", typ);
        rejects(&auth, &token, RejectionKind::WrongType);
    }
    for typ in [json!(["at+jwt"]), json!(null), json!(1)] {
        let token = fixture.token().header("typ", typ);
        rejects(&auth, &token, RejectionKind::MalformedToken);
    }
}

/// RFC9068-4-1: the profile can apply to one issuer, while another one sends `JWT`.
#[test]
fn the_profile_is_kept_for_each_issuer() {
    let fixture = Fixture::new();
    let partner = TestIssuer::new()
        .named("https://partner.example")
        .with_clock(fixture.clock.clone());
    let auth = fixture
        .auth()
        .trust(partner.trusted().access_token_profile());
    let lax = |token: TestToken| token.header("typ", "JWT").without("client_id");
    assert!(verdict(&auth, &lax(fixture.token())).is_ok());
    rejects(&auth, &lax(partner.token()), RejectionKind::WrongType);
    assert!(verdict(&auth, &partner.token()).is_ok());
}

/// RFC9068-4-2
#[test]
fn the_issuer_is_exactly_that_of_the_server() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    assert!(verdict(&auth, &fixture.token()).is_ok());
    for issuer in ["https://as.example/", "https://As.example", "as.example"] {
        let token = fixture.token().issuer(issuer);
        rejects(&auth, &token, RejectionKind::IssuerMismatch);
    }
}

/// RFC9068-4-3
#[test]
fn the_audience_names_this_api_by_one_of_its_own_identifiers() {
    let fixture = Fixture::new();
    let audience = Audience::any_of([AUDIENCE, "calendar-api"]).unwrap();
    let auth = JwtAuth::new(Issuer::new(ISSUER).unwrap(), audience, &fixture.keys)
        .access_token_profile()
        .clock(fixture.clock.clone());
    for audience in [
        json!(AUDIENCE),
        json!("calendar-api"),
        json!(["https://other.example", "calendar-api"]),
    ] {
        assert!(verdict(&auth, &fixture.token().claim("aud", audience)).is_ok());
    }
    for audience in [
        json!("https://other.example"),
        json!(["https://other.example", "calendar"]),
    ] {
        let token = fixture.token().claim("aud", audience);
        rejects(&auth, &token, RejectionKind::AudienceMismatch);
    }
}

/// RFC9068-4-4
#[test]
fn the_signature_is_of_the_servers_keys() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    for key in ["k1", "k2", "h1", "e1"] {
        let token = fixture.token_of(key);
        assert!(verdict(&auth, &token).is_ok(), "{key}");
        let stranger = token.signed_by_stranger();
        rejects(&auth, &stranger, RejectionKind::BadSignature);
    }
    let other = TestIssuer::new()
        .with_clock(fixture.clock.clone())
        .named("https://other.example");
    let auth = auth.trust(TrustedIssuer::new(
        other.issuer(),
        other.audience(),
        other.keys(),
    ));
    assert!(verdict(&auth, &other.token()).is_ok());
    let foreign = other.token().issuer(ISSUER).header("kid", "k1");
    rejects(&auth, &foreign, RejectionKind::BadSignature);
    let unsigned = fixture.token().unsigned().mint();
    assert!(auth.verifier().verify_now(&unsigned).is_err());
    let unsigned = format!("{unsigned}AAAA");
    let rejected = auth.verifier().verify_now(&unsigned).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::AlgorithmNotAllowed);
}

/// RFC9068-4-5
#[test]
fn the_expiry_counts_under_the_profile_too() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    let token = |exp: u64| fixture.token().claim("exp", exp);
    assert!(verdict(&auth, &token(NOW - 59)).is_ok());
    rejects(&auth, &token(NOW - 60), RejectionKind::Expired);
}

/// RFC9068-4-6
#[tokio::test]
async fn every_failed_check_is_an_invalid_token() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    let token = || fixture.token();
    let mut cases = vec![
        ("typ", token().header("typ", "JWT")),
        ("crit", token().header("crit", json!(["b64"]))),
        ("alg", token().header("alg", "RS256")),
        ("kid", token().header("kid", "nobody")),
        ("none", token().unsigned()),
        ("signature", token().signed_by_stranger()),
        ("tampered", token().tampered()),
        ("iss", token().issuer("https://other.example")),
        ("aud", token().audience("https://other.example")),
        ("exp", token().expired()),
        ("nbf", token().not_yet_valid()),
        ("iat", token().claim("iat", NOW + 3_600)),
        ("sub", token().claim("sub", 5)),
        ("scope", token().claim("scope", json!(["a"]))),
        ("amr", token().claim("amr", "pwd")),
        ("cnf", token().claim("cnf", json!({"jkt": "x"}))),
        ("no JSON", token().raw_claims("{")),
        ("duplicate", token().raw_claims(r#"{"iss":"a","iss":"b"}"#)),
    ];
    for name in REQUIRED {
        cases.push((name, token().without(name)));
    }
    for (case, token) in cases {
        let (response, seen) = send(&auth, get(&token.mint())).await;
        assert_eq!(
            (response.status().as_u16(), seen.count()),
            (401, 0),
            "{case}"
        );
        let challenges = challenges(response.headers());
        assert_eq!(challenges.len(), 1, "{case}");
        assert_eq!(
            challenges[0].parameter("error"),
            Some("invalid_token"),
            "{case}"
        );
        assert_eq!(challenges[0].parameter("scope"), None, "{case}");
    }
    assert_eq!(send(&auth, get(&token().mint())).await.0.status(), 200);
}

/// The claims that RFC 9068, section 2.2, requires.
const REQUIRED: [&str; 7] = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"];

/// RFC9068-2.2-1
#[test]
fn each_of_the_seven_claims_is_required() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    for name in REQUIRED {
        let token = fixture.token().without(name);
        rejects(&auth, &token, RejectionKind::MissingClaim);
        let rejection = auth.verifier().verify_now(&token.mint()).unwrap_err();
        assert!(
            rejection.to_string().contains(&format!("`{name}`")),
            "{name}"
        );
    }
    assert!(verdict(&auth, &fixture.token()).is_ok());
}

/// RFC9068-2.2-1: a setting makes single claims optional, for an issuer that leaves them out.
#[test]
fn a_required_claim_can_be_relaxed_by_itself() {
    let fixture = Fixture::new();
    let relaxed = [RequiredClaim::Id, RequiredClaim::NotBefore];
    let auth = strict(&fixture).optional_claims(relaxed);
    assert!(verdict(&auth, &fixture.token().without("jti")).is_ok());
    for name in ["sub", "client_id", "iat"] {
        let token = fixture.token().without(name);
        rejects(&auth, &token, RejectionKind::MissingClaim);
    }
    // The rest of the profile still applies.
    let token = fixture.token().without("jti").header("typ", "JWT");
    rejects(&auth, &token, RejectionKind::WrongType);
    // A claim that is required by name stays required.
    let auth = auth.required_claims([RequiredClaim::Id]);
    let token = fixture.token().without("jti");
    rejects(&auth, &token, RejectionKind::MissingClaim);
}

/// The order of the setters does not matter, and neither does it matter whether the layer or the
/// issuer has them.
#[test]
fn the_profile_and_further_required_claims_add_up() {
    let fixture = Fixture::new();
    let own = |fixture: &Fixture, adjust: fn(TrustedIssuer) -> TrustedIssuer| {
        let (issuer, audience) = (Issuer::new("https://b.example"), Audience::new(AUDIENCE));
        JwtAuth::new(
            issuer.clone().unwrap(),
            audience.clone().unwrap(),
            &fixture.keys,
        )
        .trust(adjust(TrustedIssuer::new(
            Issuer::new(ISSUER).unwrap(),
            audience.unwrap(),
            &fixture.keys,
        )))
        .clock(fixture.clock.clone())
    };
    let not_before = [RequiredClaim::NotBefore];
    for auth in [
        strict(&fixture).required_claims(not_before),
        fixture
            .auth()
            .required_claims(not_before)
            .access_token_profile(),
        own(&fixture, TrustedIssuer::access_token_profile).required_claims(not_before),
        own(&fixture, |rules| {
            rules.required_claims([RequiredClaim::NotBefore])
        })
        .access_token_profile(),
    ] {
        let token = fixture.token().claim("nbf", NOW);
        assert!(verdict(&auth, &token).is_ok());
        for name in REQUIRED.into_iter().chain(["nbf"]) {
            let token = token.clone().without(name);
            rejects(&auth, &token, RejectionKind::MissingClaim);
        }
    }
}

/// RFC9068-2.2.1-1
#[test]
fn claims_about_the_sign_in_have_their_types() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    let token = fixture
        .token()
        .claim("auth_time", NOW - 100)
        .claim("acr", "urn:mace:incommon:iap:silver")
        .claim("amr", json!(["pwd", "otp"]));
    let claims = verdict(&auth, &token).unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(NOW - 100);
    assert_eq!(claims.authenticated_at(), Some(at));
    assert_eq!(
        claims.authentication_context(),
        Some("urn:mace:incommon:iap:silver")
    );
    assert!(claims.authentication_methods().contains("otp"));
    for other in ["OTP", "ot", "otp ", "mfa"] {
        assert!(!claims.authentication_methods().contains(other), "{other}");
    }

    let claims = verdict(&auth, &fixture.token()).unwrap();
    assert_eq!(claims.authenticated_at(), None);
    assert_eq!(claims.authentication_context(), None);
    assert!(claims.authentication_methods().is_empty());

    // The profile requires the types of these claims. Without it they may have any type.
    for (name, value) in [
        ("amr", json!("pwd")),
        ("amr", json!([1])),
        ("acr", json!(1)),
        ("acr", json!(["a"])),
        ("auth_time", json!("1700000000")),
    ] {
        let token = fixture.token().claim(name, value);
        rejects(&auth, &token, RejectionKind::InvalidClaim);
        let claims = verdict(&fixture.auth(), &token).unwrap();
        assert_eq!(claims.authenticated_at(), None);
        assert_eq!(claims.authentication_context(), None);
        assert!(claims.authentication_methods().is_empty());
        let absent = fixture.token().claim(name, Value::Null);
        assert!(verdict(&auth, &absent).is_ok());
    }
}

fn scopes(auth: &JwtAuth, token: &TestToken) -> Result<Vec<String>, RejectionKind> {
    let claims = verdict(auth, token)?;
    Ok(claims.scopes().iter().map(str::to_owned).collect())
}

/// RFC9068-2.2.3-1
#[test]
fn scopes_are_one_string_under_the_profile() {
    let fixture = Fixture::new();
    let (auth, lax) = (strict(&fixture), fixture.auth());
    let text = fixture.token().scope("a b");
    assert_eq!(scopes(&auth, &text).unwrap(), ["a", "b"]);
    let array = fixture.token().claim("scope", json!(["a"]));
    rejects(&auth, &array, RejectionKind::InvalidClaim);
    assert_eq!(scopes(&lax, &array).unwrap(), ["a"]);

    // Another claim is read only if the configuration names it.
    let scp = fixture.token().claim("scp", json!(["a"]));
    assert!(scopes(&auth, &scp).unwrap().is_empty());
    assert_eq!(scopes(&lax, &scp).unwrap(), ["a"]);
    let mapped = strict(&fixture).scopes_from(ClaimPointer::new("/scp").unwrap());
    assert_eq!(scopes(&mapped, &scp).unwrap(), ["a"]);
    assert!(scopes(&mapped, &text).unwrap().is_empty());
}

/// RFC9068-2.2.3-1
#[test]
fn scopes_of_another_type_are_rejected() {
    let fixture = Fixture::new();
    let mapped = fixture
        .auth()
        .scopes_from(ClaimPointer::new("/scope").unwrap());
    for value in [
        json!(5),
        json!([1]),
        json!({}),
        json!(true),
        json!(["a", 1]),
    ] {
        let token = fixture.token().claim("scope", value);
        for auth in [&strict(&fixture), &fixture.auth(), &mapped] {
            rejects(auth, &token, RejectionKind::InvalidClaim);
        }
    }
    let absent = fixture.token().claim("scope", Value::Null);
    for auth in [&strict(&fixture), &fixture.auth(), &mapped] {
        assert!(scopes(auth, &absent).unwrap().is_empty());
    }
}

/// RFC9068-2.2.3.1-1
#[test]
fn groups_roles_and_entitlements_come_as_texts_or_scim_objects() {
    let fixture = Fixture::new();
    let roles = |name: &str, value: Value| -> Vec<String> {
        let auth = match name {
            // Users may create groups, so groups grant nothing unless the configuration names the
            // claim.
            "groups" => strict(&fixture).roles_from(ClaimPointer::new("/groups").unwrap()),
            _ => strict(&fixture),
        };
        let token = fixture.token().claim(name, value);
        let claims = verdict(&auth, &token).unwrap();
        claims.roles().iter().map(str::to_owned).collect()
    };
    for name in ["groups", "roles", "entitlements"] {
        let texts = roles(name, json!(["admin", "editor"]));
        let objects = roles(
            name,
            json!([
                {"value": "admin", "display": "Administrators", "primary": true},
                {"value": "editor", "$ref": "https://as.example/Groups/2"},
            ]),
        );
        assert_eq!(texts, ["admin", "editor"], "{name}");
        assert_eq!(objects, texts, "{name}");
        assert!(roles(name, json!([])).is_empty());
    }
    let groups = fixture.token().claim("groups", json!(["admin"]));
    for auth in [strict(&fixture), fixture.auth()] {
        let claims = verdict(&auth, &groups).unwrap();
        assert!(claims.roles().is_empty());
        assert!(claims.authorize::<role!("admin")>().is_err());
    }
}

/// RFC9068-5-1
#[tokio::test]
async fn a_clients_own_token_does_not_pass_for_a_users() {
    let fixture = Fixture::new();
    let auth = strict(&fixture);
    let token = |subject: &str| fixture.token().subject(subject);
    for (user, token) in [
        (true, token("subject-1")),
        (false, token("client-1")),
        (false, token("client-1@clients")),
        (false, fixture.token().claim("gty", "client-credentials")),
        (false, fixture.token().claim("idtyp", "app")),
        (true, fixture.token().claim("idtyp", "user")),
        (true, token("Client-1")),
        // The client has several names, and one of them is the subject.
        (
            false,
            token("app-1").claim("appid", "app-1").claim("azp", "web"),
        ),
        (
            false,
            token("app-1").claim("azp", "web").claim("appid", "app-1"),
        ),
        (
            false,
            token("app-1").claim("azp", "app-1").claim("appid", 5),
        ),
        (
            false,
            token("app-1").claim("azp", "app-1").claim("cid", "other"),
        ),
        (
            false,
            token("app-1").claim("cid", "app-1").claim("appid", ""),
        ),
        (true, token("").claim("azp", "").subject("subject-1")),
    ] {
        let claims = verdict(&auth, &token).unwrap();
        assert_eq!(claims.is_client(), !user, "{token:?}");
        let decision = claims.authorize::<ResourceOwner>();
        assert_eq!(decision.is_ok(), user);
        let (response, seen) = send_guarded(&auth, &token).await;
        assert_eq!(response.status(), if user { 200 } else { 403 });
        assert_eq!(seen, user);
    }
}

/// RFC9068-5-1: if the heuristic is not enough, the configuration can name a claim.
#[test]
fn a_claim_can_mark_a_clients_own_token() {
    let fixture = Fixture::new();
    let mark = ClaimPointer::new("/ext/kind").unwrap();
    let auth = strict(&fixture).client_when(mark, "machine");
    for (kind, is_client) in [("machine", true), ("person", false), ("Machine", false)] {
        let token = fixture.token().claim("ext", json!({"kind": kind}));
        assert_eq!(verdict(&auth, &token).unwrap().is_client(), is_client);
        assert!(!verdict(&strict(&fixture), &token).unwrap().is_client());
    }
    for absent in [json!({}), json!({"kind": null}), json!(null)] {
        let token = fixture.token().claim("ext", absent);
        assert!(!verdict(&auth, &token).unwrap().is_client());
    }
    // The claim decides, so it is read strictly.
    for bad in [
        json!({"kind": true}),
        json!({"kind": ["machine"]}),
        json!(5),
    ] {
        let token = fixture.token().claim("ext", bad);
        let kind = verdict(&auth, &token).unwrap_err();
        assert_eq!(kind, RejectionKind::InvalidClaim);
        assert!(!verdict(&strict(&fixture), &token).unwrap().is_client());
    }
}

/// Sends a request through the layer and a guard for resource owners.
async fn send_guarded(auth: &JwtAuth, token: &TestToken) -> (http::Response<String>, bool) {
    use std::sync::atomic::{AtomicBool, Ordering};
    let seen = std::sync::Arc::new(AtomicBool::new(false));
    let record = seen.clone();
    let inner = tower::service_fn(move |_: http::Request<String>| {
        record.store(true, Ordering::Relaxed);
        async { Ok::<_, std::convert::Infallible>(http::Response::new(String::new())) }
    });
    let service = auth.layer(JwtAuth::require::<ResourceOwner>().layer(inner));
    let response = tower::ServiceExt::oneshot(service, get(&token.mint()))
        .await
        .unwrap();
    (response, seen.load(Ordering::Relaxed))
}

/// RFC9700-2.3-1
#[tokio::test]
async fn two_layers_with_one_store_judge_by_their_own_audience() {
    let fixture = Fixture::new();
    let auth = |audience: &str| {
        let (issuer, audience) = (Issuer::new(ISSUER), Audience::new(audience));
        JwtAuth::new(issuer.unwrap(), audience.unwrap(), &fixture.keys)
            .access_token_profile()
            .clock(fixture.clock.clone())
    };
    let (calendar, mail) = (auth("calendar"), auth("mail"));
    let token = |audience: &str| fixture.token().audience(audience).mint();
    // In the second round each layer has cached a verdict. It must not count for the other layer.
    for _ in 0..2 {
        for (layer, audience, expected) in [
            (&calendar, "calendar", 200),
            (&mail, "calendar", 401),
            (&mail, "mail", 200),
            (&calendar, "mail", 401),
        ] {
            let (response, _) = send(layer, get(&token(audience))).await;
            assert_eq!(response.status(), expected, "{audience}");
        }
    }
}
