//! OpenID Connect Back-Channel Logout 1.0.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::policy::Leeway;
use tower_jwt_auth::revocation::{BackChannelLogout, Denylist};
use tower_jwt_auth::test::{TestIssuer, TestToken};
use tower_jwt_auth::{Algorithm, Audience, KeyStore, TrustedIssuer};

use crate::{Answer, CLIENT, ISSUER, NOW, Shaky, World, post, send, slowly};

const FORM: &str = "application/x-www-form-urlencoded";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A good logout token of Alice and her session.
fn logout(issuer: &TestIssuer) -> TestToken {
    issuer
        .token()
        .header("typ", "logout+jwt")
        .audience(CLIENT)
        .subject("alice")
        .claim("sid", "session-1")
        .claim("events", json!({ EVENT: {} }))
        .without("client_id")
}

fn service(world: &World) -> BackChannelLogout {
    BackChannelLogout::new(world.client(), world.list.clone()).clock(world.clock.clone())
}

async fn tell(service: &BackChannelLogout, token: &str) -> Answer {
    send(service, post(FORM, format!("logout_token={token}"))).await
}

#[track_caller]
fn is_invalid(answer: &Answer, label: &str) {
    assert_eq!(answer.status, 400, "{label}: {answer:?}");
    assert_eq!(answer.header(CONTENT_TYPE), Some("application/json"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["error"], "invalid_request", "{label}");
    assert!(body["error_description"].is_string(), "{label}");
}

/// OIDC-BCL-2.7-D1, OIDC-BCL-2.8-1
#[tokio::test]
async fn a_logout_ends_the_session_and_the_earlier_tokens_of_the_subject_at_once() {
    let world = World::new();
    let of_session = world.access("alice", Some("session-1"));
    let without_session = world.access("alice", None);
    let of_bob = world.access("bob", Some("session-2"));
    for token in [&of_session, &without_session, &of_bob] {
        world.accepts(token); // the token is in the cache now
    }
    let answer = tell(&service(&world), &logout(&world.issuer).mint()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.is_empty());
    world.rejects(&of_session);
    world.rejects(&without_session);
    world.accepts(&of_bob);
    // A token of a new login.
    world.clock.advance(Duration::from_secs(1));
    world.accepts(&world.access("alice", Some("session-3")));
    world.rejects(&world.access("alice", Some("session-1")));
}

#[tokio::test]
async fn a_logout_marks_what_it_names() {
    for (has_subject, has_session, is_alone, expected) in [
        (true, true, false, [true, true]),
        (true, true, true, [true, false]),
        (true, false, false, [true, true]),
        (true, false, true, [true, true]),
        (false, true, false, [true, false]),
        (false, true, true, [true, false]),
    ] {
        let world = World::new();
        let mut service = service(&world);
        if is_alone {
            service = service.mark_session_alone();
        }
        let mut token = logout(&world.issuer);
        if !has_subject {
            token = token.without("sub");
        }
        if !has_session {
            token = token.without("sid");
        }
        assert_eq!(tell(&service, &token.mint()).await.status, 200);
        let tokens = [
            world.access("alice", Some("session-1")),
            world.access("alice", Some("session-2")),
        ];
        for (token, is_revoked) in tokens.iter().zip(expected) {
            match is_revoked {
                true => world.rejects(token),
                false => world.accepts(token),
            }
        }
    }
}

/// OIDC-BCL-2.7-D1: tokens of the subject that were issued before the logout came are rejected, those between
/// its `iat` and its arrival too. If our own clock is behind that of the issuer, the `iat` counts; if the
/// logout is late, or our clock is ahead, tokens that were issued more than 5 s after the `iat` are accepted.
#[tokio::test]
async fn a_logout_ends_the_tokens_that_were_issued_before_it_came() {
    for (iat, until) in [
        (NOW + 30, NOW + 30),
        (NOW, NOW),
        (NOW - 1, NOW),
        (NOW - 4, NOW),
        (NOW - 5, NOW),
        (NOW - 6, NOW - 1),
        (NOW - 60, NOW - 55),
    ] {
        let world = World::new();
        let token = |iat: u64| {
            let token = world.issuer.token().subject("alice").claim("iat", iat);
            token.mint()
        };
        let ended = [iat - 1, iat, until].map(token);
        let new = token(until + 1);
        for token in ended.iter().chain([&new]) {
            world.accepts(token); // the token is in the cache now
        }
        let told = logout(&world.issuer).claim("iat", iat).mint();
        assert_eq!(tell(&service(&world), &told).await.status, 200);
        ended.iter().for_each(|token| world.rejects(token));
        world.accepts(&new);
    }
}

/// OIDC-BCL-2.7-D1: a refresh that was answered while the logout was on its way. Nothing in its token tells it
/// from that of a new login.
#[tokio::test]
async fn a_token_that_was_issued_while_the_logout_was_on_its_way_ends_with_it() {
    let world = World::new();
    let told = logout(&world.issuer).mint();
    world.clock.advance(Duration::from_secs(2));
    let refreshed = world.access("alice", None);
    let of_bob = world.access("bob", None);
    world.accepts(&refreshed);
    assert_eq!(tell(&service(&world), &told).await.status, 200);
    world.rejects(&refreshed);
    world.accepts(&of_bob);
    // The twin: a person who logs in again at once. A token of the session that has ended is no new login.
    world.clock.advance(Duration::from_secs(1));
    world.accepts(&world.access("alice", Some("session-2")));
    world.accepts(&world.access("alice", None));
    world.rejects(&world.access("alice", Some("session-1")));
}

/// Another instance of the service has not seen the token, so it cannot tell that it comes again.
#[tokio::test]
async fn a_logout_that_comes_late_or_again_ends_no_later_login() {
    let world = World::new();
    let token = logout(&world.issuer).mint();
    let old = world.access("alice", Some("session-1"));
    world.clock.advance(Duration::from_secs(120));
    let new = world.access("alice", Some("session-2"));
    for _ in 0..2 {
        let instance = service(&world);
        assert_eq!(tell(&instance, &token).await.status, 200);
        world.rejects(&old);
        world.accepts(&new);
        is_invalid(&tell(&instance, &token).await, "again");
        world.clock.advance(Duration::from_secs(60));
    }
    // The twin: a logout after the login.
    let answer = tell(&service(&world), &logout(&world.issuer).mint()).await;
    assert_eq!(answer.status, 200);
    world.rejects(&new);
}

/// A mark that is written late, or again, ends at most 5 s later.
#[tokio::test]
async fn the_end_of_a_mark_follows_from_the_iat_of_its_notice() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let token = logout(&world.issuer).mint();
    for seconds in [0, 3, 100, 100] {
        world.clock.advance(Duration::from_secs(seconds));
        let instance = BackChannelLogout::new(world.client(), writer.clone());
        let instance = instance.clock(world.clock.clone());
        assert_eq!(tell(&instance, &token).await.status, 200);
    }
    let written = writer.written.lock().unwrap();
    let day = 24 * 3_600;
    let end = |seconds: u64| UNIX_EPOCH + Duration::from_secs(NOW + seconds + day);
    let ends: Vec<_> = written.iter().map(|mark| mark.expires_at()).collect();
    let expected = [0, 0, 3, 3, 5, 5, 5, 5];
    assert_eq!(ends, expected.map(end));
}

#[tokio::test]
async fn a_mark_is_kept_for_the_lifetime_of_access_tokens() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let kept = |hours: u64| Some(UNIX_EPOCH + Duration::from_secs(NOW + hours * 3_600));
    let service = BackChannelLogout::new(world.client(), writer.clone()).clock(world.clock.clone());
    let service = [
        (service.clone(), kept(24)),
        (
            service
                .clone()
                .max_token_lifetime(Duration::from_secs(3_600)),
            kept(1),
        ),
        (service.max_token_lifetime(Duration::MAX), None),
    ];
    for (service, until) in service {
        writer.written.lock().unwrap().clear();
        let answer = tell(&service, &logout(&world.issuer).mint()).await;
        assert_eq!(answer.status, 200);
        let written = writer.written.lock().unwrap();
        assert_eq!(written.len(), 2);
        for mark in written.iter() {
            match until {
                Some(until) => assert_eq!(mark.expires_at(), until),
                None => assert!(mark.expires_at() > SystemTime::now()),
            }
        }
    }
}

/// OIDC-BCL-2.5-1
#[tokio::test]
async fn a_logout_is_one_parameter_of_a_posted_form() {
    let world = World::new();
    let service = service(&world);
    let token = || logout(&world.issuer).mint();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post"] {
        let mut request = post(FORM, format!("logout_token={}", token()));
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
        let answer = send(&service, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (405, ""),
            "{method}"
        );
        assert_eq!(answer.header(ALLOW), Some("POST"));
    }
    for content_type in [
        "",
        "application/json",
        "application/x-www-form-urlencoded2",
        "multipart/form-data; boundary=x",
    ] {
        let request = post(content_type, format!("logout_token={}", token()));
        assert_eq!(send(&service, request).await.status, 415, "{content_type}");
    }
    for (first, second) in [(FORM, "text/plain"), ("text/plain", FORM), (FORM, FORM)] {
        let mut request = post(first, format!("logout_token={}", token()));
        request
            .headers_mut()
            .append(CONTENT_TYPE, second.parse().unwrap());
        assert_eq!(
            send(&service, request).await.status,
            415,
            "{first} {second}"
        );
    }
    let bare = Request::post("/").body(Full::<Bytes>::default()).unwrap();
    assert_eq!(send(&service, bare).await.status, 415);
    for form in [
        Vec::new(),
        b"logout_token=".to_vec(),
        format!("token={}", token()).into_bytes(),
        format!("logout_token={}&logout_token={}", token(), token()).into_bytes(),
        [b"logout_token=\xff".to_vec(), token().into_bytes()].concat(),
        format!("logout_token=%{}", token()).into_bytes(),
        token().into_bytes(),
    ] {
        let label = String::from_utf8_lossy(&form).into_owned();
        is_invalid(&send(&service, post(FORM, form)).await, &label);
    }
    for content_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=utf-8"] {
        let form = format!(
            "state=%C3%A9&logout_token={}&x",
            token().replace('.', "%2e")
        );
        let answer = send(&service, post(content_type, form)).await;
        assert_eq!(answer.status, 200, "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_maximum_size_and_a_timeout() {
    let world = World::new();
    let service = service(&world);
    let form = |length: usize| {
        let form = format!("logout_token={}&x=", logout(&world.issuer).mint());
        format!("{form}{}", "x".repeat(length - form.len()))
    };
    assert_eq!(
        send(&service, post(FORM, form(64 * 1_024))).await.status,
        200
    );
    is_invalid(
        &send(&service, post(FORM, form(64 * 1_024 + 1))).await,
        "long",
    );
    let small = service.clone().max_body(2_000);
    assert_eq!(send(&small, post(FORM, form(2_000))).await.status, 200);
    is_invalid(
        &send(&small, post(FORM, form(2_001))).await,
        "longer than set",
    );

    let token: &'static str = logout(&world.issuer).mint().leak();
    for (pause, status) in [(3_000, 400), (1_000, 200)] {
        let body = slowly(vec!["logout_token=", token], Duration::from_millis(pause));
        let request = Request::post("/")
            .header(CONTENT_TYPE, FORM)
            .body(body)
            .unwrap();
        assert_eq!(send(&service, request).await.status, status, "{pause}");
    }
}

/// OIDC-BCL-2.6-1, OIDC-BCL-2.4-1, OIDC-BCL-2.6-2, OIDC-BCL-2.6-3, OIDC-BCL-2.6-4
#[tokio::test]
async fn every_defect_of_a_logout_token_is_400_and_marks_nothing() {
    let world = World::new();
    let service = service(&world);
    let good = || logout(&world.issuer);
    let stranger = TestIssuer::new()
        .named(ISSUER)
        .with_clock(world.clock.clone());
    let defects = [
        ("another audience", good().audience("other-client")),
        ("the audience of the API", good().audience("calendar-api")),
        ("no audience", good().without("aud")),
        ("another issuer", good().issuer("https://other.example")),
        ("no issuer", good().without("iss")),
        ("unsigned", good().unsigned()),
        ("tampered", good().tampered()),
        ("a stranger's key", good().signed_by_stranger()),
        ("a stranger's token", logout(&stranger)),
        ("an unknown key", good().header("kid", "key-9")),
        ("expired", good().expired()),
        ("no `exp`", good().without("exp")),
        ("`exp` a string", good().claim("exp", "1700000300")),
        ("no `iat`", good().without("iat")),
        ("`iat` in the future", good().claim("iat", NOW + 61)),
        ("`nbf` in the future", good().not_yet_valid()),
        ("no `jti`", good().without("jti")),
        ("`jti` empty", good().claim("jti", "")),
        ("`jti` a number", good().claim("jti", 7)),
        ("an access token", good().header("typ", "at+jwt")),
        ("an event token", good().header("typ", "secevent+jwt")),
        ("a JWT", good().header("typ", "JWT")),
        ("no type", good().without_header("typ")),
        (
            "an extension",
            good().header("crit", json!(["x"])).header("x", 1),
        ),
        (
            "no subject and no session",
            good().without("sub").without("sid"),
        ),
        ("both empty", good().claim("sub", "").claim("sid", "")),
        (
            "both null",
            good().claim("sub", Value::Null).claim("sid", Value::Null),
        ),
        ("`sub` a number", good().claim("sub", 1)),
        ("`sid` a number", good().claim("sid", 1)),
        ("no events", good().without("events")),
        ("events an array", good().claim("events", json!([EVENT]))),
        ("events a string", good().claim("events", EVENT)),
        ("another event", good().claim("events", json!({ "x": {} }))),
        (
            "the event `true`",
            good().claim("events", json!({ EVENT: true })),
        ),
        (
            "the event null",
            good().claim("events", json!({ EVENT: null })),
        ),
        (
            "the event an array",
            good().claim("events", json!({ EVENT: [] })),
        ),
        ("a nonce", good().claim("nonce", "n")),
        ("a nonce that is null", good().claim("nonce", Value::Null)),
        (
            "a duplicate claim",
            good().raw_claims(r#"{"iss":"a","iss":"b"}"#),
        ),
        ("no object", good().raw_claims("[]")),
    ];
    for (label, token) in defects {
        is_invalid(&tell(&service, &token.mint()).await, label);
    }
    for text in ["x", "a.b", "a.b.c.d.e", "..", "null"] {
        is_invalid(&tell(&service, text).await, text);
    }
    let access = world.access("alice", Some("session-1"));
    world.accepts(&access);
    assert_eq!(tell(&service, &good().mint()).await.status, 200);
    world.rejects(&access);
}

/// OIDC-BCL-2.6-1, OIDC-BCL-2.4-1: the accepted twins of the defects.
#[tokio::test]
async fn what_is_allowed_in_a_logout_token_is_accepted() {
    let world = World::new();
    let service = service(&world);
    let good = || logout(&world.issuer);
    for (label, token) in [
        (
            "the type in full",
            good().header("typ", "application/LOGOUT+jwt"),
        ),
        (
            "several audiences",
            good().claim("aud", json!(["x", CLIENT])),
        ),
        (
            "further events",
            good().claim("events", json!({ "x": 1, EVENT: { "a": 1 } })),
        ),
        (
            "further claims",
            good().claim("trace", "t").claim("nbf", NOW),
        ),
        ("an escaped session", good().claim("sid", "session\u{e9}\n")),
        (
            "within the leeway",
            good().claim("iat", NOW + 60).claim("exp", NOW - 59),
        ),
    ] {
        let answer = tell(&service, &token.mint()).await;
        assert_eq!(answer.status, 200, "{label}");
    }
    let untyped = service.insecure_accept_untyped();
    for (token, status) in [
        (good().without_header("typ"), 200),
        (good().header("typ", "JWT"), 200),
        (good(), 200),
        (good().header("typ", "at+jwt"), 400),
        (good().header("typ", "secevent+jwt"), 400),
        (good().header("typ", "JWT").claim("nonce", "n"), 400),
    ] {
        assert_eq!(
            tell(&untyped, &token.mint()).await.status,
            status,
            "{token:?}"
        );
    }
}

/// The rules of the trusted issuer that apply to logout tokens.
#[tokio::test]
async fn the_rules_of_the_issuer_apply() {
    let world = World::new();
    let client = |change: fn(TrustedIssuer) -> TrustedIssuer| {
        let service = BackChannelLogout::new(change(world.client()), world.list.clone());
        service.clock(world.clock.clone())
    };
    let good = || logout(&world.issuer);
    let minute = Duration::from_secs(60);
    let strict = client(|client| client.leeway(Leeway::ZERO));
    let short = client(|client| client.max_lifetime(Duration::from_secs(120)));
    let fresh = client(|client| client.max_age(Duration::from_secs(60)));
    let other = client(|client| client.algorithms([Algorithm::RS256]));
    let named = client(|client| client.require_key_id());
    for (service, token, status) in [
        (&strict, good().claim("iat", NOW + 1), 400),
        (&strict, good(), 200),
        (&short, good(), 400),
        (&short, good().expires_in(2 * minute), 200),
        (&fresh, good().claim("iat", NOW - 121), 400),
        (&fresh, good().claim("iat", NOW - 100), 200),
        (&other, good(), 400),
        (&named, good().without_header("kid"), 400),
        (&named, good(), 200),
    ] {
        assert_eq!(
            tell(service, &token.mint()).await.status,
            status,
            "{token:?}"
        );
    }
}

#[tokio::test]
async fn each_issuer_has_its_own_keys_and_its_own_client() {
    let world = World::new();
    let partner = TestIssuer::new()
        .named("https://partner.example")
        .with_clock(world.clock.clone());
    let client = Audience::new("partner-client").unwrap();
    let second = Audience::new("second-client").unwrap();
    let ours = TrustedIssuer::new(world.issuer.issuer(), second, world.issuer.keys());
    let service = service(&world)
        .trust(TrustedIssuer::new(partner.issuer(), client, partner.keys()))
        .trust(ours);
    let theirs = || logout(&partner).audience("partner-client");
    for (label, token, status) in [
        ("ours", logout(&world.issuer), 200),
        (
            "our second client",
            logout(&world.issuer).audience("second-client"),
            200,
        ),
        ("theirs", theirs(), 200),
        (
            "their client with us",
            logout(&world.issuer).audience("partner-client"),
            400,
        ),
        ("our client with them", logout(&partner), 400),
        (
            "their key under our name",
            theirs().issuer(ISSUER).audience(CLIENT),
            400,
        ),
    ] {
        assert_eq!(
            tell(&service, &token.mint()).await.status,
            status,
            "{label}"
        );
    }
}

/// OIDC-BCL-2.6-5
#[tokio::test]
async fn a_logout_token_counts_once() {
    let world = World::new();
    let service = service(&world);
    let token = logout(&world.issuer).mint();
    assert_eq!(tell(&service, &token).await.status, 200);
    is_invalid(&tell(&service, &token).await, "again");
    // A later change of the settings does not forget the token.
    is_invalid(
        &tell(&service.clone().max_body(9_999), &token).await,
        "again",
    );
    // A token with another id is another token, and so is one with the same id from another issuer.
    assert_eq!(
        tell(&service, &logout(&world.issuer).mint()).await.status,
        200
    );
    let partner = TestIssuer::new()
        .named("https://partner.example")
        .with_clock(world.clock.clone());
    let client = Audience::new(CLIENT).unwrap();
    let service = service.trust(TrustedIssuer::new(partner.issuer(), client, partner.keys()));
    let id = |issuer: &TestIssuer| logout(issuer).claim("jti", "same").mint();
    for issuer in [&world.issuer, &partner] {
        assert_eq!(tell(&service, &id(issuer)).await.status, 200);
        is_invalid(&tell(&service, &id(issuer)).await, "same");
    }
}

#[tokio::test]
async fn accepted_tokens_are_remembered_until_they_expire_and_no_longer() {
    let world = World::new();
    let service = service(&world).max_replays(1);
    let first = logout(&world.issuer).claim("exp", NOW + 10).mint();
    let next = || logout(&world.issuer).claim("exp", NOW + 1_000).mint();
    assert_eq!(tell(&service, &first).await.status, 200);
    let full = tell(&service, &next()).await;
    assert_eq!((full.status.as_u16(), full.body.as_str()), (503, ""));
    assert_eq!(full.header(RETRY_AFTER), Some("5"));
    // The token is accepted for the leeway after its `exp`.
    world.clock.advance(Duration::from_secs(69));
    is_invalid(&tell(&service, &first).await, "again");
    assert_eq!(tell(&service, &next()).await.status, 503);
    world.clock.advance(Duration::from_secs(1));
    is_invalid(&tell(&service, &first).await, "expired");
    assert_eq!(tell(&service, &next()).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_not_stored_is_503_and_the_token_may_come_again() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let service = BackChannelLogout::new(world.client(), writer.clone()).clock(world.clock.clone());
    let access = world.access("alice", Some("session-1"));
    let token = logout(&world.issuer).mint();
    writer.fails(true);
    let failed = tell(&service, &token).await;
    assert_eq!((failed.status.as_u16(), failed.body.as_str()), (503, ""));
    assert_eq!(failed.header(RETRY_AFTER), Some("5"));
    writer.fails(false);
    writer.hangs(true);
    assert_eq!(tell(&service, &token).await.status, 503);
    world.accepts(&access);
    writer.hangs(false);
    assert_eq!(tell(&service, &token).await.status, 200);
    world.rejects(&access);

    // If the list is full, the answer is 503 too.
    let full = Denylist::with_capacity(0).with_clock(world.clock.clone());
    let service = BackChannelLogout::new(world.client(), full).clock(world.clock.clone());
    assert_eq!(
        tell(&service, &logout(&world.issuer).mint()).await.status,
        503
    );
}

/// Providers have short timeouts, and seldom try again.
#[tokio::test(start_paused = true)]
async fn a_logout_counts_also_if_the_issuer_hangs_up() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let service = BackChannelLogout::new(world.client(), writer.clone()).clock(world.clock.clone());
    let token = logout(&world.issuer).mint();
    writer
        .is_slow
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let request = {
        let (service, token) = (service.clone(), token.clone());
        tokio::spawn(async move { tell(&service, &token).await.status })
    };
    tokio::time::sleep(Duration::from_millis(500)).await;
    request.abort();
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.rejects(&world.access("alice", Some("session-1")));
    world.rejects(&world.access("alice", None));
    is_invalid(&tell(&service, &token).await, "again");
}

#[test]
fn the_service_works_without_a_tokio_runtime() {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    let world = World::new();
    let token = logout(&world.issuer).mint();
    let service = service(&world);
    let mut answer = pin!(tell(&service, &token));
    let polled = answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(answer) = polled else {
        panic!("nothing has to be waited for");
    };
    assert_eq!(answer.status, 200);
    world.rejects(&world.access("alice", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_twins_that_come_at_once_one_is_accepted() {
    let world = Arc::new(World::new());
    let service = service(&world);
    for _ in 0..20 {
        let token = logout(&world.issuer).mint();
        let twins = (0..8).map(|_| {
            let (service, token) = (service.clone(), token.clone());
            tokio::spawn(async move { tell(&service, &token).await.status })
        });
        let twins: Vec<_> = twins.collect();
        let mut accepted = 0;
        for twin in twins {
            match twin.await.unwrap() {
                StatusCode::OK => accepted += 1,
                status => assert_eq!(status, 400),
            }
        }
        assert_eq!(accepted, 1);
    }
}

#[tokio::test]
async fn keys_that_have_not_come_yet_are_503() {
    let world = World::new();
    let pending = TrustedIssuer::new(
        world.issuer.issuer(),
        Audience::new(CLIENT).unwrap(),
        KeyStore::pending(),
    );
    let service = BackChannelLogout::new(pending, world.list.clone()).clock(world.clock.clone());
    assert_eq!(
        tell(&service, &logout(&world.issuer).mint()).await.status,
        503
    );
}

#[cfg(feature = "remote")]
mod remote {
    use super::*;
    use crate::network::{JWKS, Network};
    use tower_jwt_auth::keys::RemoteKeys;

    /// The key of a logout token is looked up like that of an access token.
    #[tokio::test(start_paused = true)]
    async fn an_unknown_key_is_fetched_and_an_outage_is_no_fault_of_the_token() {
        let world = World::new();
        let network = Network::of(&world.issuer);
        let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
        let keys = keys.connect_lazy().unwrap();
        let client = Audience::new(CLIENT).unwrap();
        let client = TrustedIssuer::new(world.issuer.issuer(), client, keys.clone());
        let service = BackChannelLogout::new(client, world.list.clone()).clock(world.clock.clone());
        network.answers_after(Some(Duration::from_secs(1)));
        let good = || logout(&world.issuer).mint();
        assert_eq!(
            tell(&service, &good()).await.status,
            200,
            "it waits for the first keys"
        );
        world.issuer.rotate();
        network.publishes(&world.issuer);
        assert_eq!(
            tell(&service, &good()).await.status,
            200,
            "and for a new one"
        );
        let unknown = logout(&world.issuer).header("kid", "key-9").mint();
        is_invalid(
            &tell(&service, &unknown).await,
            "the issuer has no such key",
        );

        network.is_down();
        world.issuer.rotate();
        let newer = good();
        assert_eq!(tell(&service, &newer).await.status, 503);
        network.publishes(&world.issuer);
        keys.reload().await;
        assert_eq!(tell(&service, &newer).await.status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_key_sets_of_an_issuer_is_enough() {
        let world = World::new();
        let network = Network::of(&world.issuer);
        let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
        let keys = keys.connect_lazy().unwrap();
        let trust = |keys: KeyStore| {
            let client = Audience::new(CLIENT).unwrap();
            TrustedIssuer::new(world.issuer.issuer(), client, keys)
        };
        let other = TestIssuer::new()
            .named(ISSUER)
            .with_clock(world.clock.clone());
        for (first, second) in [(keys.clone(), other.keys()), (other.keys(), keys.clone())] {
            let service = BackChannelLogout::new(trust(first), world.list.clone())
                .trust(trust(second))
                .clock(world.clock.clone());
            for issuer in [&world.issuer, &other] {
                let id = if std::ptr::eq(issuer, &other) {
                    "other"
                } else {
                    "world"
                };
                let token = logout(issuer).claim("jti", id);
                assert_eq!(tell(&service, &token.mint()).await.status, 200, "{id}");
            }
            network.is_down();
            let unknown = logout(&world.issuer).header("kid", "key-9").mint();
            assert_eq!(tell(&service, &unknown).await.status, 503);
            network.publishes(&world.issuer);
            keys.reload().await;
        }
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_service_is_a_route_of_axum_and_a_service_of_hyper() {
    use axum::Router;
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::service::TowerToHyperService;
    use tokio::net::TcpListener;

    let world = World::new();
    let service = service(&world);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let axum = listener.local_addr().unwrap();
    let router = Router::new().route_service("/notices", service.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hyper = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for address in [axum, hyper] {
        let form = format!("logout_token={}", logout(&world.issuer).mint());
        for status in [200, 400] {
            let mut request = post(FORM, form.clone());
            *request.uri_mut() = format!("http://{address}/notices").parse().unwrap();
            let response = client.request(request).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["cache-control"], "no-store");
        }
    }
    world.rejects(&world.access("alice", None));
}

#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_log_says_what_happened_and_nothing_of_a_token() {
    use tracing_subscriber::filter::LevelFilter;

    let world = World::new();
    let service = service(&world);
    let log = crate::log::Log::down_to(LevelFilter::TRACE);
    let good = logout(&world.issuer).mint();
    let bad = logout(&world.issuer).audience("other-client").mint();
    for _ in 0..2 {
        tell(&service, &good).await;
    }
    tell(&service, &bad).await;
    let text = log.text();
    let lines = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    assert_eq!(lines("jwt_notice_accepted"), 1, "{text}");
    assert_eq!(lines("jwt_notice_rejected"), 2, "{text}");
    for part in good
        .split('.')
        .chain(bad.split('.'))
        .chain(["alice", "session-1", "token-1"])
    {
        assert!(!text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_debug_text_names_the_issuers_and_no_keys() {
    let world = World::new();
    let text = format!("{:?}", service(&world));
    assert!(text.contains(ISSUER), "{text}");
    assert!(text.len() < 300, "{text}");
    assert!(
        !text.contains("generation") && !text.contains("key-1"),
        "{text}"
    );
}
