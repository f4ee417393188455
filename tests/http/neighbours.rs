//! Faults that other crates of this kind have had, each with a test that would have found it.

#![cfg(feature = "axum")]

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::support::{AUDIENCE, Fixture, ISSUER, challenges, get, get_bare, get_with, send};
use axum::Router;
use axum::body::Body;
use axum::routing::get as route;
use http::{HeaderValue, Request, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_jwt_auth::revocation::RevocationStatus;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{
    Audience, Claims, Issuer, JwtAuth, KeySet, KeyStore, RejectionKind, RequireRole, RequireScope,
    TrustedIssuer, Verifier, role, scope,
};

/// Fault: a configured check runs only if the claim is present and has the expected type.
#[tokio::test]
async fn issuer_and_audience_are_checked_also_where_they_are_absent_or_odd() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    for (name, right) in [("iss", ISSUER), ("aud", AUDIENCE)] {
        let mut tokens = vec![fixture.token().without(name)];
        let odd = [
            json!(null),
            json!(0),
            json!(true),
            json!({}),
            json!([]),
            json!([0]),
            json!({"value": right}),
            json!([[right]]),
        ];
        tokens.extend(odd.map(|value| fixture.token().claim(name, value)));
        for token in tokens {
            let (response, seen) = send(&auth, get(&token.mint())).await;
            assert_eq!(
                (response.status().as_u16(), seen.count()),
                (401, 0),
                "{token:?}"
            );
        }
        let good = fixture.token().claim(name, right).mint();
        assert_eq!(send(&auth, get(&good)).await.0.status(), 200);
    }
    // An issuer has one name, so an array of names is not an issuer.
    let list = fixture.token().claim("iss", json!([ISSUER]));
    fixture.rejects(&list.mint(), RejectionKind::InvalidClaim);
}

/// Fault: invalid input of a client is answered as a failure of the server.
#[tokio::test]
async fn a_malformed_token_is_the_clients_error() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let good = fixture.token().mint();
    let parts: Vec<&str> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    for credential in [
        "x",
        ".",
        "..",
        "...",
        "....",
        "a.b.c",
        "e30.e30.",
        "e30.e30.e30",
        "bnVsbA.bnVsbA.AAAA",
        &good[..good.len() - 1],
        &good[1..],
        &format!("{good}A"),
        &format!("{good}."),
        &format!("{good}="),
        &format!("{header}.{claims}"),
        &format!("{header}.{claims}."),
        &format!("{header}..{signature}"),
        &format!(".{claims}.{signature}"),
        &format!("{claims}.{header}.{signature}"),
        &format!("{header}.{claims}.{claims}"),
    ] {
        let (response, seen) = send(&auth, get(credential)).await;
        assert_eq!(
            (response.status().as_u16(), seen.count()),
            (401, 0),
            "{credential}"
        );
    }
    // If the credential itself is malformed, the request is malformed.
    for authorization in [
        &b"Bearer"[..],
        b"Bearer ",
        b"Bearer \xff\xfe",
        b"Bearer a b",
        b"Bearer a,b",
        b"Bearer \"a\"",
    ] {
        let (response, seen) = send(&auth, get_with(authorization)).await;
        assert_eq!(
            (response.status().as_u16(), seen.count()),
            (400, 0),
            "{authorization:?}"
        );
    }
    assert_eq!(send(&auth, get(&good)).await.0.status(), 200);
}

/// Fault: a provider adds a key of an unknown type, and all tokens of the other keys are rejected.
#[test]
fn one_odd_key_does_not_take_down_the_set() {
    let issuer = TestIssuer::new();
    let token = issuer.token().mint();
    let odd = [
        json!(null),
        json!([]),
        json!({}),
        json!({"kty": 5}),
        json!({"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA"}),
        json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "RSA", "alg": "RSA-OAEP-256", "use": "enc", "n": "AA", "e": "AQAB"}),
        json!({"kty": "RSA", "n": "!", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "key_ops": "verify"}),
        json!({"kty": "oct", "k": "AA"}),
    ];
    for odd in odd {
        for keys in [[odd.clone(), issuer.jwk()], [issuer.jwk(), odd.clone()]] {
            let jwks = json!({ "keys": keys }).to_string();
            let set = KeySet::from_jwks(jwks.as_bytes()).unwrap();
            assert_eq!(set.skipped().len(), 1, "{odd}");
            let verifier = Verifier::new(issuer.issuer(), issuer.audience(), set);
            let verdict: Result<Claims, _> = verifier.verify_now(&token);
            assert!(verdict.is_ok(), "{odd}");
        }
    }
}

/// Fault: the first guard removes the claims from the request, and the second guard finds none.
#[tokio::test]
async fn several_guards_and_the_handler_see_the_same_claims() {
    type Both = scope!("a" & "b");
    type Members = serde_json::Map<String, Value>;

    async fn handler(
        claims: Claims,
        user: RequireScope<scope!("a")>,
        admin: RequireRole<role!("admin")>,
        all: RequireScope<Both, Members>,
        again: Claims,
        optional: Option<Claims>,
    ) -> String {
        let subjects = [
            claims.subject(),
            user.subject(),
            admin.subject(),
            all.get("sub").and_then(Value::as_str),
            again.subject(),
            optional.as_ref().and_then(Claims::subject),
        ];
        assert_eq!(subjects, [Some("subject-1"); 6]);
        "in".into()
    }

    let fixture = Fixture::new();
    let app = Router::new()
        .route("/", route(handler))
        .route_layer(JwtAuth::require::<scope!("b")>())
        .route_layer(JwtAuth::require::<role!("admin")>())
        .route_layer(JwtAuth::require::<scope!("a")>())
        .layer(fixture.auth());
    let call = async |token: String| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    let token = fixture.token().scope("a b");
    assert_eq!(call(token.clone().roles(["admin"]).mint()).await, 200);
    assert_eq!(call(token.mint()).await, 403);
}

/// Fault: parameters are separated by spaces, so a client reads them as one parameter with a
/// strange value.
#[tokio::test]
async fn challenge_parameters_have_commas_between_them() {
    let fixture = Fixture::new();
    let guarded =
        JwtAuth::require::<scope!("a" & "b")>().layer(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let request = get(&fixture.token().mint());
    let response = fixture.auth().layer(guarded).oneshot(request).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 403);
    // The reader rejects a challenge without commas.
    let challenges = challenges(response.headers());
    let names: Vec<_> = challenges[0]
        .parameters
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["realm", "error", "error_description", "scope"]);
    let line = response.headers()["www-authenticate"].to_str().unwrap();
    assert_eq!(line.matches(", ").count(), 3, "{line}");
}

/// Fault: an error code for a client that has not signed in yet, which makes it drop its session.
#[tokio::test]
async fn a_request_without_credentials_is_no_error() {
    let fixture = Fixture::new();
    for request in [get_bare(), get_with("Basic dXNlcjpwYXNz")] {
        let (response, seen) = send(&fixture.auth(), request).await;
        assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
        let challenges = challenges(response.headers());
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].scheme, "Bearer");
        for name in ["error", "error_description", "error_uri", "scope"] {
            assert_eq!(challenges[0].parameter(name), None);
        }
    }
    let bad = fixture.token().expired().mint();
    let (response, _) = send(&fixture.auth(), get(&bad)).await;
    let challenges = challenges(response.headers());
    assert_eq!(challenges[0].parameter("error"), Some("invalid_token"));
}

/// RFC 9110, section 11.1: the case of a scheme does not matter.
#[tokio::test]
async fn the_scheme_is_compared_without_case() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    for (scheme, expected) in [
        ("Bearer", 200),
        ("bearer", 200),
        ("BEARER", 200),
        ("bEaReR", 200),
        ("Bear", 401),
        ("Bearers", 401),
        ("Token", 401),
    ] {
        let request = get_with(format!("{scheme} {token}"));
        let (response, seen) = send(&fixture.auth(), request).await;
        assert_eq!(response.status(), expected, "{scheme}");
        assert_eq!(seen.count(), usize::from(expected == 200));
    }
}

/// RFC 7515, section 4.1.11: a critical parameter that is not understood rejects the token.
#[test]
fn a_critical_extension_is_rejected() {
    let fixture = Fixture::new();
    for critical in [
        json!(["http://example.com/unknown"]),
        json!(["b64"]),
        json!(["exp"]),
        json!(["alg"]),
        json!([]),
        json!("exp"),
        json!(null),
    ] {
        let token = fixture
            .token()
            .header("crit", critical)
            .header("http://example.com/unknown", true)
            .header("exp", 1);
        fixture.rejects(&token.mint(), RejectionKind::UnsupportedCritical);
    }
    // The same parameter may be ignored if it is not in `crit`.
    let token = fixture.token().header("http://example.com/unknown", true);
    fixture.accepts(&token.mint());
}

/// Fault: all keys are in one map by their id, so whoever controls one issuer can issue tokens for
/// all.
#[test]
fn a_key_of_the_same_id_verifies_its_own_issuers_tokens_alone() {
    let fixture = Fixture::new();
    let evil = TestIssuer::new()
        .named("https://evil.example")
        .with_clock(fixture.clock.clone());
    let auth = fixture.auth().trust(TrustedIssuer::new(
        evil.issuer(),
        evil.audience(),
        evil.keys(),
    ));
    // The other issuer uses the same key id.
    evil.keys()
        .replace(KeySet::from(evil.key().with_key_id("k1")));
    let verifier = auth.verifier();
    let own = evil.token().header("kid", "k1");
    assert!(verifier.verify_now(&own.mint()).is_ok());
    assert!(verifier.verify_now(&fixture.token().mint()).is_ok());
    let forged = own.clone().issuer(ISSUER);
    let rejected = verifier.verify_now(&forged.mint()).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::BadSignature);
    // A token without a key id is not tried with the keys of other issuers.
    let forged = forged.without_header("kid");
    let rejected = verifier.verify_now(&forged.mint()).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::BadSignature);
    // A key id does not identify an issuer.
    let forged = fixture.token().issuer("https://evil.example");
    let rejected = verifier.verify_now(&forged.mint()).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::BadSignature);
}

/// Fault: member names with a private meaning for the JSON library reach the claims type.
#[test]
fn private_member_names_of_the_json_library_are_rejected() {
    let fixture = Fixture::new();
    let claims = |extra: &str| {
        let token =
            format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1700000300,"x":{extra}}}"#);
        fixture.token().raw_claims(token).mint()
    };
    fixture.accepts(&claims(r#"{"serde_json::private::RawValue":"{}"}"#));
    fixture.accepts(&claims(r#""$serde_json::private::RawValue""#));
    for extra in [
        r#"{"$serde_json::private::RawValue":"{\"role\":\"admin\"}"}"#,
        r#"{"$serde_json::private::RawValue":"not JSON"}"#,
        r#"{"$serde_json::private::Number":"1"}"#,
        r#"{"$serde_json::private::Number":"not a number"}"#,
        r#"{"\u0024serde_json::private::RawValue":"{}"}"#,
        r#"[[{"a":{"$serde_json::private::RawValue":"{}"}}]]"#,
    ] {
        fixture.rejects(&claims(extra), RejectionKind::MalformedToken);
    }
    let header = r#"{"alg":"ES256","kid":"k1","$serde_json::private::RawValue":"{}"}"#;
    let token = fixture.token().raw_header(header).mint();
    fixture.rejects(&token, RejectionKind::MalformedToken);
    let jwks = br#"{"keys":[],"$serde_json::private::RawValue":"{}"}"#;
    assert!(KeySet::from_jwks(jwks).is_err());
}

/// Some issuers omit the leading zeros of a coordinate, which concerns one key in 128. Such a key
/// is not valid (RFC 7518, section 6.2.1.2), but the other keys of the set are used.
#[test]
fn an_ec_key_that_lost_its_leading_zeros_is_skipped_and_the_set_lives() {
    let full: Value =
        serde_json::from_str(include_str!("../data/keys/p256-leading-zero.jwk")).unwrap();
    let token = include_str!("../data/keys/p256-leading-zero.jwt").trim_end();
    let fixture = Fixture::new();
    let other = fixture.signer("k1");
    let verifier = |jwk: &Value| {
        let jwks = json!({ "keys": [jwk, other.jwk()] }).to_string();
        let set = KeySet::from_jwks(jwks.as_bytes()).unwrap();
        let (issuer, audience) = (Issuer::new(ISSUER), Audience::new(AUDIENCE));
        let auth = JwtAuth::new(issuer.unwrap(), audience.unwrap(), set.clone());
        (set, auth.clock(fixture.clock.clone()).verifier())
    };
    // 32 bytes are 43 digits. The first digit holds the upper six bits of the first byte, which is
    // zero.
    let x = full["x"].as_str().unwrap();
    assert!(x.len() == 43 && x.starts_with('A'));
    let (set, whole) = verifier(&full);
    assert!(set.skipped().is_empty());
    assert!(whole.verify_now(token).is_ok());

    let mut short = full.clone();
    short["x"] = json!(without_first_byte(x));
    let (set, maimed) = verifier(&short);
    let skipped: Vec<_> = set.skipped().iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped,
        [r#"key "zero": member `x` is not a coordinate of the curve's full length"#]
    );
    let rejected = maimed.verify_now(token).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
    assert!(maimed.verify_now(&other.token().mint()).is_ok());
}

fn without_first_byte(text: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
    assert_eq!(bytes[0], 0);
    URL_SAFE_NO_PAD.encode(&bytes[1..])
}

/// Fault: times are read together, so a missing one disables the checks of the others.
#[test]
fn the_expiry_counts_also_where_the_other_times_are_missing() {
    let fixture = Fixture::new();
    for missing in ["iat", "nbf", "jti", "sub"] {
        let token = fixture.token().expired().without(missing);
        fixture.rejects(&token.mint(), RejectionKind::Expired);
        fixture.accepts(&fixture.token().without(missing).mint());
    }
    let early = fixture.token().not_yet_valid().without("iat");
    fixture.rejects(&early.mint(), RejectionKind::NotYetValid);
}

/// Fault: a recursive reader overflows its stack.
#[test]
fn deep_nesting_is_rejected_before_it_costs_a_stack() {
    let fixture = Fixture::new();
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}{}", open.repeat(depth), "1", close.repeat(depth))
    };
    let claims = |value: &str| {
        let claims =
            format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","exp":1700000300,"x":{value}}}"#);
        fixture.token().raw_claims(claims).mint()
    };
    for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
        // Own claims are read by another reader.
        let shallow = claims(&nested(open, close, 20));
        let own = fixture.accepts(&shallow).deserialize::<Value>().unwrap();
        assert!(own["x"].is_array() || own["x"].is_object());
        for depth in [64, 128, 1_000] {
            let deep = claims(&nested(open, close, depth));
            fixture.rejects(&deep, RejectionKind::MalformedToken);
        }
        let header = format!(
            r#"{{"alg":"ES256","kid":"k1","x":{}}}"#,
            nested(open, close, 1_000)
        );
        let token = fixture.token().raw_header(header).mint();
        fixture.rejects(&token, RejectionKind::MalformedToken);
        // The size limit of a header does not apply to a key set.
        let jwks = format!(r#"{{"keys":{}}}"#, nested(open, close, 100_000));
        assert!(KeySet::from_jwks(jwks.as_bytes()).is_err());
    }
    fixture.rejects(&claims(&"[".repeat(5_000)), RejectionKind::MalformedToken);
}

/// Fault: a gRPC client that gets HTTP 400 reports INTERNAL, and after HTTP 401 it does not know
/// the reason.
#[tokio::test]
async fn grpc_calls_are_rejected_in_grpcs_own_words() {
    let fixture = Fixture::new();
    let good = fixture.token().mint();
    for (authorization, expected) in [
        (Some("Bearer".to_owned()), "16"),
        (Some("Bearer a b".into()), "16"),
        (Some("Bearer a.b.c".into()), "16"),
        (
            Some(format!("Bearer {}", fixture.token().expired().mint())),
            "16",
        ),
        (None, "16"),
    ] {
        let mut request = authorization.map_or_else(get_bare, get_with);
        let grpc = HeaderValue::from_static("application/grpc+proto");
        request.headers_mut().insert("content-type", grpc.clone());
        *request.method_mut() = http::Method::POST;
        let (response, seen) = send(&fixture.auth(), request).await;
        assert_eq!((response.status().as_u16(), seen.count()), (200, 0));
        assert_eq!(response.headers()["grpc-status"], expected);
        assert_eq!(response.headers()["content-type"], grpc);
        assert!(response.headers().contains_key("grpc-message"));
        assert_eq!(response.body(), "");
    }
    let mut request = get(&good);
    let grpc = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc);
    *request.method_mut() = http::Method::POST;
    let (response, seen) = send(&fixture.auth(), request).await;
    assert_eq!(seen.count(), 1);
    assert!(!response.headers().contains_key("grpc-status"));
    // The same request without gRPC gets an HTTP response.
    let (response, _) = send(&fixture.auth(), get_with("Bearer a b")).await;
    assert_eq!(response.status(), 400);
}

/// A service for one request at a time, which panics if it is called before it was polled ready.
fn one_at_a_time() -> ConcurrencyLimit<
    impl Service<
        Request<String>,
        Response = Response<String>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<String>, Infallible>>,
    > + Clone,
> {
    let inner = service_fn(async |_: Request<String>| Ok(Response::new("hello".to_owned())));
    ConcurrencyLimit::new(inner, 1)
}

/// Fault: the inner service is cloned, and the clone is called, which was not polled ready.
#[tokio::test]
async fn the_service_that_is_called_is_the_one_that_was_ready() {
    let fixture = Fixture::new();
    let mut service = fixture.auth().layer(one_at_a_time());
    for _ in 0..3 {
        let request = get(&fixture.token().mint());
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let request = get(&fixture.token().expired().mint());
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(response.status(), 401);
    }
}

/// A request that waits for its verification holds no permit.
#[test]
fn a_request_that_waits_leaves_its_place_to_others_and_asks_again() {
    for (standing, expected) in [
        (RevocationStatus::Active, 200),
        (RevocationStatus::Revoked, 401),
    ] {
        let fixture = Fixture::new();
        let (answers, asked) = oneshots();
        let auth = fixture.auth().revocation(move |_: Claims| {
            let answer = asked
                .lock()
                .unwrap()
                .pop()
                .expect("an answer for each request");
            async move { Ok(answer.await.unwrap()) }
        });
        let mut service = auth.layer(one_at_a_time());
        let mut context = Context::from_waker(Waker::noop());
        let mut is_ready = |service: &mut _| poll_ready(service, &mut context);
        for answer in answers {
            assert!(is_ready(&mut service));
            let mut response = Box::pin(service.call(get(&fixture.token().mint())));
            let mut context = Context::from_waker(Waker::noop());
            assert!(response.as_mut().poll(&mut context).is_pending());
            // The permit is free while the request waits.
            assert!(is_ready(&mut service.clone()));
            answer.send(standing).unwrap();
            let Poll::Ready(response) = response.as_mut().poll(&mut context) else {
                panic!("the answer is there, and so is the service");
            };
            assert_eq!(response.unwrap().status(), expected);
        }
        assert!(is_ready(&mut service));
    }
}

/// If a client closes the connection during the wait, no permit stays taken.
#[test]
fn a_request_that_is_given_up_while_it_waits_takes_no_place() {
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .revocation(|_: Claims| std::future::pending());
    let mut service = auth.layer(one_at_a_time());
    let mut context = Context::from_waker(Waker::noop());
    assert!(poll_ready(&mut service, &mut context));
    let mut response = Box::pin(service.call(get(&fixture.token().mint())));
    assert!(response.as_mut().poll(&mut context).is_pending());
    drop(response);
    assert!(poll_ready(&mut service, &mut context));
    assert!(!poll_ready(&mut service.clone(), &mut context));
}

/// Two answers: the senders, and the receivers that the check waits for.
#[expect(clippy::type_complexity, reason = "both halves of the same thing")]
fn oneshots() -> (
    Vec<oneshot::Sender<RevocationStatus>>,
    Arc<Mutex<Vec<oneshot::Receiver<RevocationStatus>>>>,
) {
    let (first, second) = (oneshot::channel(), oneshot::channel());
    // Receivers are taken from the end, so the first one is last.
    let receivers = vec![second.1, first.1];
    (vec![first.0, second.0], Arc::new(Mutex::new(receivers)))
}

fn poll_ready<S: Service<Request<String>, Error = Infallible>>(
    service: &mut S,
    context: &mut Context<'_>,
) -> bool {
    service.poll_ready(context).is_ready()
}

/// A store that never had keys gives 503, except for a token that is invalid whatever the keys are.
#[tokio::test]
async fn an_outage_of_the_keys_is_not_the_clients_error() {
    let fixture = Fixture::new();
    let (issuer, audience) = (Issuer::new(ISSUER), Audience::new(AUDIENCE));
    let auth = JwtAuth::new(issuer.unwrap(), audience.unwrap(), KeyStore::pending())
        .clock(fixture.clock.clone());
    for (token, expected) in [
        (fixture.token().mint(), 503),
        (fixture.token().expired().mint(), 401),
        ("a.b.c".into(), 401),
    ] {
        let (response, seen) = send(&auth, get(&token)).await;
        assert_eq!((response.status().as_u16(), seen.count()), (expected, 0));
    }
}
