//! Tokens that are right in every way and refused all the same: denylists and hooks.

#![cfg(feature = "test-util")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Fixture, ISSUER, NOW, challenges, get, get_bare, send};
use tokio::sync::oneshot;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::revocation::{
    CheckFailed, Denylist, Revocation, RevocationCheck, RevokeError, Standing,
};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::token::SubjectId;
use tower_jwt_auth::{Claims, JwtAuth, RejectionKind};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The fixture with a list that forgets by its clock.
fn with_list(capacity: usize) -> (Fixture, Denylist, JwtAuth) {
    let fixture = Fixture::new();
    let list = Denylist::with_capacity(capacity).with_clock(fixture.clock.clone());
    let auth = fixture.auth().revocation(list.clone());
    (fixture, list, auth)
}

fn verdict(auth: &JwtAuth, token: &str) -> Result<Claims, RejectionKind> {
    let verdict = auth.verifier().verify_now(token);
    verdict.map_err(|rejection| rejection.kind())
}

fn is_revoked(auth: &JwtAuth, token: &str) -> bool {
    match verdict(auth, token) {
        Ok(_) => false,
        Err(RejectionKind::Revoked) => true,
        Err(other) => panic!("{other:?}"),
    }
}

// The list.

/// CLAIMS-D2
#[tokio::test]
async fn a_revoked_token_is_refused_from_the_next_request_on() {
    let (fixture, list, auth) = with_list(10);
    let (token, other) = (
        fixture.token().mint(),
        fixture.token().claim("jti", "token-2").mint(),
    );
    assert_eq!(send(&auth, get(&token)).await.0.status(), 200);
    list.revoke(&verdict(&auth, &token).unwrap()).unwrap();
    let (response, seen) = send(&auth, get(&token)).await;
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
    let challenges = challenges(response.headers());
    assert_eq!(challenges[0].parameter("error"), Some("invalid_token"));
    assert_eq!(send(&auth, get(&other)).await.0.status(), 200);
}

/// RFC7519-4.1.7-1
#[test]
fn a_token_is_revoked_by_its_id_and_its_issuer() {
    let (fixture, list, auth) = with_list(10);
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(fixture.clock.clone());
    let auth = auth.trust(other.issuer(), other.audience(), other.keys());
    let (ours, theirs) = (fixture.token().mint(), other.token().mint());
    list.revoke_id(ISSUER, "token-1", at(NOW + 400)).unwrap();
    list.revoke_id("https://other.example", "Token-1", at(NOW + 400))
        .unwrap();
    assert!(is_revoked(&auth, &ours));
    assert!(!is_revoked(&auth, &theirs));
    list.revoke_id("https://other.example", "token-1", at(NOW + 400))
        .unwrap();
    assert!(is_revoked(&auth, &theirs));
}

/// RFC8725-3.8-2
#[test]
fn a_subject_is_revoked_with_the_tokens_that_it_had() {
    let (fixture, list, auth) = with_list(10);
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(fixture.clock.clone());
    let auth = auth.trust(other.issuer(), other.audience(), other.keys());
    let token = |subject: &str, iat: u64| {
        let token = fixture.token().subject(subject);
        token.claim("iat", iat).mint()
    };
    let alice = SubjectId::new(ISSUER, "alice");
    let claims = verdict(&auth, &token("alice", NOW)).unwrap();
    assert_eq!(claims.subject_id().as_ref(), Some(&alice));
    list.revoke_subject(alice, at(NOW), at(NOW + 3_600))
        .unwrap();

    for iat in [NOW - 100, NOW] {
        assert!(is_revoked(&auth, &token("alice", iat)), "{iat}");
    }
    let undated = fixture.token().subject("alice").without("iat").mint();
    assert!(is_revoked(&auth, &undated));
    // Signed in again, somebody else, and somebody else's Alice.
    assert!(!is_revoked(&auth, &token("alice", NOW + 1)));
    assert!(!is_revoked(&auth, &token("Alice", NOW)));
    assert!(!is_revoked(&auth, &other.token().subject("alice").mint()));
    assert!(!is_revoked(&auth, &fixture.token().without("sub").mint()));
}

/// Notices of a distributed log arrive in any order.
#[test]
fn a_second_word_about_a_subject_or_token_never_weakens_the_first() {
    let (fixture, list, auth) = with_list(1);
    let alice = || SubjectId::new(ISSUER, "alice");
    let token = fixture.token().subject("alice").mint();
    list.revoke_subject(alice(), at(NOW), at(NOW + 3_600))
        .unwrap();
    list.revoke_subject(alice(), at(NOW - 50), at(NOW + 10))
        .unwrap();
    list.revoke_id(ISSUER, "other", at(NOW + 3_600)).unwrap();
    list.revoke_id(ISSUER, "other", at(NOW + 10)).unwrap();
    assert!(is_revoked(&auth, &token));
    fixture.clock.advance(Duration::from_secs(20));
    let full = Err(RevokeError::Full);
    let bob = SubjectId::new(ISSUER, "bob");
    assert_eq!(list.revoke_subject(bob, at(NOW), at(NOW + 60)), full);
    assert_eq!(list.revoke_id(ISSUER, "another", at(NOW + 60)), full);
    assert!(is_revoked(&auth, &token));
}

#[test]
fn a_full_list_says_so_and_forgets_nothing_that_counts() {
    let (fixture, list, auth) = with_list(2);
    let token = |id: &str| fixture.token().claim("jti", id).mint();
    let revoke = |id: &str| list.revoke(&fixture.accepts(&token(id)));
    revoke("a").unwrap();
    revoke("b").unwrap();
    assert_eq!(revoke("c"), Err(RevokeError::Full));
    assert_eq!(revoke("a"), Ok(()), "what is on the list fits");
    assert!(is_revoked(&auth, &token("a")) && is_revoked(&auth, &token("b")));
    assert!(!is_revoked(&auth, &token("c")));

    let subject = |name: &str| {
        let subject = SubjectId::new(ISSUER, name);
        list.revoke_subject(subject, at(NOW), at(NOW + 100))
    };
    subject("x").unwrap();
    subject("y").unwrap();
    assert_eq!(subject("z"), Err(RevokeError::Full));
    assert_eq!(subject("x"), Ok(()));
    fixture.clock.advance(Duration::from_secs(100));
    assert_eq!(subject("z"), Ok(()), "x and y have had their time");
}

/// A token is accepted for the leeway after its expiry, 300 s at most.
#[test]
fn a_revoked_token_is_remembered_for_as_long_as_it_could_be_accepted() {
    let (fixture, list, auth) = with_list(1);
    let auth = auth.leeway(tower_jwt_auth::config::Leeway::new(Duration::from_secs(300)).unwrap());
    let token = fixture.token().claim("exp", NOW + 10).mint();
    list.revoke(&fixture.accepts(&token)).unwrap();
    fixture.clock.advance(Duration::from_secs(309));
    let next = |id: &str| list.revoke_id(ISSUER, id, at(NOW + 9_000));
    assert_eq!(next("next"), Err(RevokeError::Full));
    assert!(is_revoked(&auth, &token));
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(next("next"), Ok(()));
    assert_eq!(verdict(&auth, &token).unwrap_err(), RejectionKind::Expired);
}

#[test]
fn a_token_without_an_identity_cannot_be_revoked_by_it() {
    let (fixture, list, auth) = with_list(10);
    let nameless = fixture.accepts(&fixture.token().without("jti").mint());
    assert_eq!(list.revoke(&nameless), Err(RevokeError::NoIdentity));
    let auth = auth.rules(tower_jwt_auth::config::IssuerRules::insecure_allow_missing_expiry);
    let eternal = fixture.token().without("exp").mint();
    let claims = verdict(&auth, &eternal).unwrap();
    assert_eq!(list.revoke(&claims), Err(RevokeError::NoIdentity));
    list.revoke_id(ISSUER, "token-1", at(NOW + 9_000)).unwrap();
    assert!(is_revoked(&auth, &eternal));
}

#[test]
fn a_list_prints_how_much_is_on_it_and_nobodys_name() {
    let list = Denylist::with_capacity(5);
    list.revoke_id(ISSUER, "token-77", at(NOW)).unwrap();
    let subject = SubjectId::new(ISSUER, "alice");
    list.revoke_subject(subject, at(NOW), at(NOW)).unwrap();
    assert_eq!(format!("{list:?}"), "Denylist { tokens: 1, subjects: 1 }");
}

// Hooks.

/// A check that answers at once and counts how often it was asked.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Revocation for Counting {
    fn check(&self, token: Claims) -> RevocationCheck {
        self.0.fetch_add(1, Ordering::Relaxed);
        RevocationCheck::Now(match token.id() {
            Some("revoked") => Ok(Standing::Revoked),
            Some("broken") => Err(CheckFailed::new("no connection to 10.0.0.7")),
            _ => Ok(Standing::Good),
        })
    }
}

/// CLAIMS-D2
#[tokio::test]
async fn only_tokens_that_are_right_in_every_other_way_reach_the_check() {
    let fixture = Fixture::new();
    let check = Counting::default();
    let auth = fixture.auth().revocation(check.clone());
    let token = || fixture.token();
    for (calls, expected, token) in [
        (1, 200, token().mint()),
        (1, 401, token().claim("jti", "revoked").mint()),
        (1, 503, token().claim("jti", "broken").mint()),
        (0, 401, token().signed_by_stranger().mint()),
        (0, 401, token().tampered().mint()),
        (0, 401, token().unsigned().mint()),
        (0, 401, token().expired().mint()),
        (0, 401, token().not_yet_valid().mint()),
        (0, 401, token().audience("https://other.example").mint()),
        (0, 401, token().issuer("https://other.example").mint()),
        (0, 401, token().header("kid", "nobody").mint()),
        (0, 401, token().header("typ", "id+jwt").mint()),
        (0, 401, "no.token".into()),
    ] {
        let before = check.0.load(Ordering::Relaxed);
        let (response, seen) = send(&auth, get(&token)).await;
        assert_eq!(response.status(), expected, "{token}");
        assert_eq!(seen.count(), usize::from(expected == 200));
        assert_eq!(check.0.load(Ordering::Relaxed) - before, calls, "{token}");
    }
    let optional = auth.optional();
    assert_eq!(send(&optional, get_bare()).await.0.status(), 200);
    assert_eq!(check.0.load(Ordering::Relaxed), 3);
}

/// CLAIMS-D2
#[tokio::test]
async fn a_check_that_fails_is_our_fault_and_never_a_verdict() {
    let fixture = Fixture::new();
    let later = fixture
        .auth()
        .revocation(async |_| Err(CheckFailed::new("no connection to 10.0.0.7")));
    let now = fixture.auth().revocation(Counting::default());
    let token = fixture.token().claim("jti", "broken").mint();
    for auth in [&later, &now, &later.clone().optional()] {
        let (response, seen) = send(auth, get(&token)).await;
        assert_eq!((response.status().as_u16(), seen.count()), (503, 0));
        assert!(response.headers().contains_key("retry-after"));
        assert!(challenges(response.headers()).is_empty());
        assert_eq!(response.body(), "");

        let mut call = get(&token);
        let grpc = http::HeaderValue::from_static("application/grpc");
        call.headers_mut().insert("content-type", grpc);
        let (response, seen) = send(auth, call).await;
        assert_eq!((response.status().as_u16(), seen.count()), (200, 0));
        assert_eq!(response.headers()["grpc-status"], "14");

        let rejection = auth.verifier().verify(&token).await.unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::RevocationUnavailable);
        // The operator learns where it failed, the client does not.
        assert!(rejection.to_string().contains("10.0.0.7"));
        assert!(!rejection.client_text().contains("10.0.0.7"));
    }
}

/// A request that waits for an answer goes on when it comes.
#[test]
fn a_request_waits_for_the_answer_of_an_asynchronous_check() {
    for (answer, expected, calls) in [
        (Ok(Standing::Good), 200, 1),
        (Ok(Standing::Revoked), 401, 0),
        (Err(CheckFailed::new("lost")), 503, 0),
    ] {
        let fixture = Fixture::new();
        let (send, receive) = oneshot::channel();
        let receive = Mutex::new(Some(receive));
        let auth = fixture.auth().revocation(move |token: Claims| {
            assert_eq!(token.id(), Some("token-1"));
            let answer = receive.lock().unwrap().take().expect("asked once");
            async move { answer.await.unwrap() }
        });
        let called = Arc::new(AtomicUsize::new(0));
        let counter = called.clone();
        let mut service = auth.layer(service_fn(move |request: http::Request<String>| {
            assert!(request.extensions().get::<Claims>().is_some());
            counter.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, std::convert::Infallible>(http::Response::new(String::new())) }
        }));
        let mut context = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut context).is_ready());
        let mut response = Box::pin(service.call(get(&fixture.token().mint())));
        assert!(response.as_mut().poll(&mut context).is_pending());
        assert_eq!(called.load(Ordering::Relaxed), 0);
        send.send(answer).unwrap();
        let Poll::Ready(response) = response.as_mut().poll(&mut context) else {
            panic!("the answer is there");
        };
        assert_eq!(response.unwrap().status(), expected);
        assert_eq!(called.load(Ordering::Relaxed), calls);
    }
}

#[tokio::test]
async fn verify_now_does_not_wait_and_does_not_guess() {
    let fixture = Fixture::new();
    let verifier = fixture
        .auth()
        .revocation(async |_| Ok(Standing::Good))
        .verifier();
    let token = fixture.token().mint();
    let rejection = verifier.verify_now(&token).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::RevocationUnavailable);
    assert_eq!(rejection.status(), 503);
    assert!(rejection.to_string().contains("`verify`"), "{rejection}");
    assert!(verifier.verify(&token).await.is_ok());
    // What is wrong without the check is known at once.
    let expired = fixture.token().expired().mint();
    let rejection = verifier.verify_now(&expired).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    // A check that answers at once is no reason to wait.
    let at_once = fixture.auth().revocation(Counting::default()).verifier();
    assert!(at_once.verify_now(&token).is_ok());
}

/// Own claims that do not fit are found after the wait too.
#[tokio::test]
async fn own_claims_are_judged_behind_an_asynchronous_check() {
    #[derive(Debug, serde::Deserialize)]
    struct Member {
        role: String,
    }

    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .revocation(async |_| Ok(Standing::Good))
        .claims::<Member>();
    let good = fixture.token().claim("role", "editor").mint();
    let claims = auth.verifier().verify(&good).await.unwrap();
    assert_eq!(claims.role, "editor");
    let (response, seen) = send(&auth, get(&good)).await;
    assert_eq!(response.status(), 200);
    let parts = &seen.requests()[0];
    let own = parts.extensions.get::<Claims<Member>>().unwrap();
    assert_eq!(own.role, "editor");
    let bad = fixture.token().claim("role", 5).mint();
    let (response, seen) = send(&auth, get(&bad)).await;
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
}
