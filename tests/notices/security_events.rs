//! Security event tokens (RFC 8417), pushed (RFC 8935), with the events of CAEP and RISC.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;
use http::header::{ALLOW, CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};
use tower_jwt_auth::revocation::SecurityEvents;
use tower_jwt_auth::test::{TestIssuer, TestToken};
use tower_jwt_auth::{Algorithm, Audience, Issuer, KeyStore, RejectionKind, TrustedIssuer};

use crate::{Answer, CLIENT, ISSUER, NOW, Shaky, World, post, send};

const SET: &str = "application/secevent+jwt";
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";
const ENABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-enabled";
const PURGED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";

fn alice() -> Value {
    json!({ "format": "iss_sub", "iss": ISSUER, "sub": "alice" })
}

fn session() -> Value {
    json!({ "format": "opaque", "id": "session-1" })
}

/// A token with these events. The token itself has no subject.
fn events(issuer: &TestIssuer, events: Value) -> TestToken {
    issuer
        .token()
        .header("typ", "secevent+jwt")
        .audience(CLIENT)
        .claim("events", events)
        .without("client_id")
        .without("sub")
        .without("exp")
}

/// A token with this event about this subject.
fn event(issuer: &TestIssuer, name: &str, subject: Value) -> TestToken {
    events(issuer, json!({ name: { "event_timestamp": NOW } })).claim("sub_id", subject)
}

fn service(world: &World) -> SecurityEvents {
    SecurityEvents::new(world.client(), world.list.clone()).clock(world.clock.clone())
}

async fn push(service: &SecurityEvents, token: &TestToken) -> Answer {
    send(service, post(SET, token.mint())).await
}

#[track_caller]
fn is_error(answer: &Answer, code: &str, label: &str) {
    assert_eq!(answer.status, 400, "{label}: {answer:?}");
    assert_eq!(answer.header(CONTENT_TYPE), Some("application/json"));
    assert_eq!(answer.header(CONTENT_LANGUAGE), Some("en"));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["err"], code, "{label}");
    assert!(body["description"].is_string(), "{label}");
}

/// RFC8935-2-1, CAEP-D1
#[tokio::test]
async fn an_event_revokes_what_it_names_at_once() {
    let both = || json!({ "format": "complex", "user": alice(), "session": session() });
    for (name, subject, expected) in [
        (SESSION_REVOKED, alice(), [true, true]),
        (SESSION_REVOKED, session(), [true, false]),
        (SESSION_REVOKED, both(), [true, true]),
        (
            SESSION_REVOKED,
            json!({ "format": "complex", "session": session() }),
            [true, false],
        ),
        (
            SESSION_REVOKED,
            json!({ "format": "complex", "user": alice(), "device": 1 }),
            [true, true],
        ),
        (CREDENTIAL_CHANGE, alice(), [true, true]),
        (CREDENTIAL_CHANGE, both(), [true, true]),
        (DISABLED, alice(), [true, true]),
        (PURGED, alice(), [true, true]),
        (
            PURGED,
            json!({ "subject_type": "iss-sub", "iss": ISSUER, "sub": "alice" }),
            [true, true],
        ),
        (
            "https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
            alice(),
            [true, true],
        ),
        (
            "https://schemas.openid.net/secevent/oauth/event-type/tokens-revoked",
            alice(),
            [true, true],
        ),
        (ENABLED, alice(), [false, false]),
        (
            "https://schemas.openid.net/secevent/ssf/event-type/verification",
            Value::Null,
            [false, false],
        ),
        (
            "https://schemas.openid.net/secevent/caep/event-type/Session-Revoked",
            alice(),
            [false, false],
        ),
    ] {
        let world = World::new();
        let service = service(&world);
        let tokens = [
            world.access("alice", Some("session-1")),
            world.access("alice", None),
        ];
        let bob = world.access("bob", Some("session-2"));
        tokens
            .iter()
            .chain([&bob])
            .for_each(|token| world.accepts(token));
        let label = format!("{name} {subject}");
        // The event may name the subject itself.
        let own = events(&world.issuer, json!({ name: { "subject": subject } }));
        for token in [event(&world.issuer, name, subject), own] {
            let answer = push(&service, &token).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (202, ""),
                "{label}"
            );
            for (token, is_revoked) in tokens.iter().zip(expected) {
                match is_revoked {
                    true => world.rejects(token),
                    false => world.accepts(token),
                }
            }
            world.accepts(&bob);
        }
    }
}

/// The mark covers tokens that were issued before the event, and not later ones, however late the
/// event arrives.
#[tokio::test]
async fn an_event_is_about_the_tokens_that_were_issued_until_then() {
    let world = World::new();
    let service = service(&world);
    let token = event(&world.issuer, DISABLED, alice());
    let enabled = event(&world.issuer, ENABLED, alice());
    let old = world.access("alice", None);
    let text = token.mint();
    for _ in 0..2 {
        assert_eq!(send(&service, post(SET, text.clone())).await.status, 202);
        assert_eq!(push(&service, &enabled).await.status, 202);
        world.rejects(&old);
    }
    world.clock.advance(Duration::from_secs(60));
    let new = world.access("alice", None);
    world.accepts(&new);
    assert_eq!(
        send(&service, post(SET, text)).await.status,
        202,
        "once more"
    );
    world.accepts(&new);
    world.rejects(&old);
}

/// RFC8417-2.2-1: a token without `exp` can be sent again at any time.
#[tokio::test]
async fn an_event_that_is_sent_again_stores_the_same_marks_with_the_same_end() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let service = SecurityEvents::new(world.client(), writer.clone()).clock(world.clock.clone());
    let about = json!({ "format": "complex", "user": alice(), "session": session() });
    let first = event(&world.issuer, SESSION_REVOKED, about.clone());
    let text = first.mint();
    let day = Duration::from_secs(24 * 3_600);
    for _ in 0..3 {
        assert_eq!(send(&service, post(SET, text.clone())).await.status, 202);
        world.clock.advance(day);
    }
    let written = std::mem::take(&mut *writer.written.lock().unwrap());
    assert_eq!(written.len(), 6);
    assert_eq!(written[..2], written[2..4]);
    assert_eq!(written[..2], written[4..]);
    assert!(
        written
            .iter()
            .all(|mark| mark.expires_at() == UNIX_EPOCH + Duration::from_secs(NOW) + day)
    );
    // The twin: a later event extends the mark.
    let later = event(&world.issuer, SESSION_REVOKED, about);
    assert_eq!(push(&service, &later).await.status, 202);
    let written = writer.written.lock().unwrap();
    assert!(
        written
            .iter()
            .all(|mark| mark.expires_at() == UNIX_EPOCH + Duration::from_secs(NOW) + 4 * day)
    );
}

#[tokio::test]
async fn the_session_can_be_marked_alone() {
    let world = World::new();
    let service = service(&world).mark_session_alone();
    let both = json!({ "format": "complex", "user": alice(), "session": session() });
    assert_eq!(
        push(&service, &event(&world.issuer, SESSION_REVOKED, both))
            .await
            .status,
        202
    );
    world.rejects(&world.access("alice", Some("session-1")));
    world.accepts(&world.access("alice", Some("session-2")));
}

/// CAEP-D1: the other sessions of a disabled account do not go on.
#[tokio::test]
async fn an_event_about_an_account_marks_the_subject_beside_any_session() {
    for name in [CREDENTIAL_CHANGE, DISABLED, PURGED] {
        let world = World::new();
        let service = service(&world).mark_session_alone();
        let both = json!({ "format": "complex", "user": alice(), "session": session() });
        let answer = push(&service, &event(&world.issuer, name, both)).await;
        assert_eq!(answer.status, 202, "{name}");
        world.rejects(&world.access("alice", Some("session-1")));
        world.rejects(&world.access("alice", Some("session-2")));
        world.accepts(&world.access("bob", Some("session-2")));
    }
}

/// CAEP-D1: what is acknowledged is in force. An opaque id does not name the issuer of the session.
#[tokio::test]
async fn a_session_without_a_subject_is_one_of_any_issuer_that_the_transmitter_may_name() {
    let world = World::new();
    let transmitter = TestIssuer::new()
        .named("https://transmitter.example")
        .with_clock(world.clock.clone());
    let client = Audience::new(CLIENT).unwrap();
    let trusted = TrustedIssuer::new(transmitter.issuer(), client, transmitter.keys());
    let service = SecurityEvents::new(trusted, world.list.clone()).clock(world.clock.clone());
    let token = world.access("alice", Some("session-1"));
    let alone = json!({ "format": "complex", "session": session() });
    // The twin: without the setter, its events are about its own sessions.
    let answer = push(&service, &event(&transmitter, SESSION_REVOKED, session())).await;
    assert_eq!(answer.status, 202);
    world.accepts(&token);
    for about in [session(), alone] {
        let world = World::new();
        let client = Audience::new(CLIENT).unwrap();
        let trusted = TrustedIssuer::new(transmitter.issuer(), client, transmitter.keys());
        let service = SecurityEvents::new(trusted, world.list.clone())
            .clock(world.clock.clone())
            .subjects_of(world.issuer.issuer());
        let token = world.access("alice", Some("session-1"));
        let answer = push(&service, &event(&transmitter, SESSION_REVOKED, about)).await;
        assert_eq!(answer.status, 202);
        world.rejects(&token);
        world.accepts(&world.access("alice", Some("session-2")));
    }
}

#[tokio::test]
async fn all_events_of_a_token_count_or_none() {
    let world = World::new();
    let service = service(&world);
    let bob = json!({ "format": "iss_sub", "iss": ISSUER, "sub": "bob" });
    let said = |bob: Value| {
        let events_ = json!({
            "https://example.com/unknown": { "subject": 1 },
            DISABLED: { "subject": alice() },
            PURGED: { "subject": bob },
        });
        events(&world.issuer, events_)
    };
    let (of_alice, of_bob) = (world.access("alice", None), world.access("bob", None));
    is_error(
        &push(&service, &said(json!({ "format": "email" }))).await,
        "invalid_request",
        "bob",
    );
    world.accepts(&of_alice);
    assert_eq!(push(&service, &said(bob)).await.status, 202);
    world.rejects(&of_alice);
    world.rejects(&of_bob);
}

/// RFC8935-2.3-1, RFC8417-2.2-1, CAEP-D1
#[tokio::test]
async fn every_defect_of_an_event_token_has_its_code_and_marks_nothing() {
    let world = World::new();
    let service = service(&world);
    let good = || event(&world.issuer, DISABLED, alice());
    let about = |subject: Value| event(&world.issuer, SESSION_REVOKED, subject);
    let says = |said: Value| events(&world.issuer, said).claim("sub_id", alice());
    let email = || json!({ "format": "email", "email": "a@example.com" });
    for (code, label, token) in [
        ("invalid_key", "unknown key", good().header("kid", "key-9")),
        ("invalid_key", "unsigned", good().unsigned()),
        ("authentication_failed", "tampered", good().tampered()),
        (
            "authentication_failed",
            "a stranger's",
            good().signed_by_stranger(),
        ),
        (
            "invalid_issuer",
            "another issuer",
            good().issuer("https://other.example"),
        ),
        (
            "invalid_audience",
            "another audience",
            good().audience("other"),
        ),
        ("invalid_request", "no audience", good().without("aud")),
        ("invalid_request", "no issuer", good().without("iss")),
        ("invalid_request", "no `iat`", good().without("iat")),
        (
            "invalid_request",
            "`iat` in the future",
            good().claim("iat", NOW + 61),
        ),
        ("invalid_request", "no `jti`", good().without("jti")),
        ("invalid_request", "expired", good().expired()),
        (
            "invalid_request",
            "an access token",
            good().header("typ", "at+jwt"),
        ),
        (
            "invalid_request",
            "a logout token",
            good().header("typ", "logout+jwt"),
        ),
        ("invalid_request", "untyped", good().without_header("typ")),
        ("invalid_request", "a JWT", good().header("typ", "JWT")),
        ("invalid_request", "no events", good().without("events")),
        ("invalid_request", "no event", says(json!({}))),
        (
            "invalid_request",
            "events an array",
            says(json!([DISABLED])),
        ),
        (
            "invalid_request",
            "an event that is no object",
            says(json!({ DISABLED: true })),
        ),
        (
            "invalid_request",
            "an unknown event, no object",
            says(json!({ "x": 1 })),
        ),
        ("invalid_request", "no subject", good().without("sub_id")),
        ("invalid_request", "email", about(email())),
        (
            "invalid_request",
            "no format",
            about(json!({ "iss": ISSUER, "sub": "alice" })),
        ),
        ("invalid_request", "a string", about(json!("alice"))),
        (
            "invalid_request",
            "no `sub`",
            about(json!({ "format": "iss_sub", "iss": ISSUER })),
        ),
        (
            "invalid_request",
            "empty `sub`",
            about(json!({ "format": "iss_sub", "iss": ISSUER, "sub": "" })),
        ),
        (
            "invalid_request",
            "no `iss`",
            about(json!({ "format": "iss_sub", "sub": "alice" })),
        ),
        (
            "invalid_request",
            "no `id`",
            about(json!({ "format": "opaque" })),
        ),
        (
            "invalid_request",
            "`id` a number",
            about(json!({ "format": "opaque", "id": 1 })),
        ),
        (
            "invalid_request",
            "complex of nothing",
            about(json!({ "format": "complex" })),
        ),
        (
            "invalid_request",
            "complex of a device",
            about(json!({ "format": "complex", "device": session() })),
        ),
        (
            "invalid_request",
            "complex of an email",
            about(json!({ "format": "complex", "user": email(), "session": session() })),
        ),
        (
            "invalid_request",
            "session of a subject",
            about(json!({ "format": "complex", "session": alice() })),
        ),
        (
            "invalid_request",
            "an account by a session",
            event(&world.issuer, DISABLED, session()),
        ),
        (
            "invalid_request",
            "another issuer's subject",
            about(json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "alice" })),
        ),
    ] {
        is_error(&push(&service, &token).await, code, label);
    }
    for text in ["", "x", "a.b.c"] {
        is_error(
            &send(&service, post(SET, text)).await,
            "invalid_request",
            text,
        );
    }
    let access = world.access("alice", Some("session-1"));
    world.accepts(&access);
    assert_eq!(push(&service, &good()).await.status, 202);
    world.rejects(&access);
}

/// RFC8935-2-1
#[tokio::test]
async fn an_event_is_pushed_by_post_with_its_media_type() {
    let world = World::new();
    let service = service(&world);
    let token = event(&world.issuer, DISABLED, alice()).mint();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
        let mut request = post(SET, token.clone());
        *request.method_mut() = method;
        let answer = send(&service, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header(ALLOW)),
            (405, Some("POST"))
        );
    }
    for content_type in [
        "",
        "application/jwt",
        "application/secevent+json",
        "text/plain",
    ] {
        let answer = send(&service, post(content_type, token.clone())).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (415, ""),
            "{content_type}"
        );
    }
    let long = format!("{token}{}", "x".repeat(64 * 1_024));
    is_error(
        &send(&service, post(SET, long)).await,
        "invalid_request",
        "long",
    );
    let full = "application/SecEvent+jwt; charset=utf-8";
    assert_eq!(send(&service, post(full, token)).await.status, 202);
}

#[tokio::test]
async fn the_setters_are_those_of_a_logout() {
    let world = World::new();
    let good = || event(&world.issuer, DISABLED, alice());
    let untyped = service(&world).insecure_accept_untyped();
    assert_eq!(
        push(&untyped, &good().header("typ", "JWT")).await.status,
        202
    );
    assert_eq!(
        push(&untyped, &good().without_header("typ")).await.status,
        202
    );
    is_error(
        &push(&untyped, &good().header("typ", "at+jwt")).await,
        "invalid_request",
        "at+jwt",
    );

    let only_rsa = SecurityEvents::new(
        world.client().algorithms([Algorithm::RS256]),
        world.list.clone(),
    );
    let only_rsa = only_rsa.clock(world.clock.clone());
    is_error(&push(&only_rsa, &good()).await, "invalid_key", "algorithm");

    let issuer = "https://other.example";
    let other = || {
        let subject = json!({ "format": "iss_sub", "iss": issuer, "sub": "alice" });
        event(&world.issuer, DISABLED, subject)
    };
    let writer = Shaky::over(&world.list);
    let service = SecurityEvents::new(world.client(), writer.clone()).clock(world.clock.clone());
    is_error(&push(&service, &other()).await, "invalid_request", "other");
    // The order of the setters does not matter.
    let service = service
        .subjects_of(Issuer::new(issuer).unwrap())
        .max_body(9_999);
    assert_eq!(push(&service, &other()).await.status, 202);
    assert_eq!(writer.written.lock().unwrap()[0].target().issuer(), issuer);
}

#[tokio::test]
async fn a_mark_that_is_not_stored_is_503() {
    let world = World::new();
    let writer = Shaky::over(&world.list);
    let service = SecurityEvents::new(world.client(), writer.clone()).clock(world.clock.clone());
    let token = event(&world.issuer, DISABLED, alice());
    writer.fails(true);
    let failed = push(&service, &token).await;
    assert_eq!((failed.status.as_u16(), failed.body.as_str()), (503, ""));
    assert_eq!(failed.header(RETRY_AFTER), Some("5"));
    writer.fails(false);
    assert_eq!(push(&service, &token).await.status, 202);
    world.rejects(&world.access("alice", None));

    let pending = TrustedIssuer::new(
        world.issuer.issuer(),
        Audience::new(CLIENT).unwrap(),
        KeyStore::pending(),
    );
    let service = SecurityEvents::new(pending, world.list.clone()).clock(world.clock.clone());
    assert_eq!(push(&service, &token).await.status, 503);
}

/// RFC8417-2.2-1
#[test]
fn neither_an_event_nor_a_logout_is_an_access_token() {
    let world = World::new();
    let api = world.issuer.audience();
    let api = api.ids().next().unwrap();
    for typ in ["secevent+jwt", "logout+jwt", "application/SECEVENT+JWT"] {
        let token = world.issuer.token().header("typ", typ);
        let rejection = world.verifier.verify_now(&token.mint()).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::WrongType, "{typ}");
    }
    // Also without its type.
    let event = event(&world.issuer, DISABLED, alice()).audience(api);
    let event = event.expires_in(Duration::from_secs(60));
    for event in [
        event.clone().without_header("typ"),
        event.header("typ", "JWT"),
    ] {
        let rejection = world.verifier.verify_now(&event.mint()).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::WrongType);
    }
}
