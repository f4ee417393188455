//! Tokens that are right in every way and refused all the same: denylists and hooks.

#![cfg(feature = "test-util")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

#[path = "support/seed.rs"]
mod seed;
mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use support::{Fixture, ISSUER, NOW, challenges, get, get_bare, send};
use tokio::sync::oneshot;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::policy::Leeway;
use tower_jwt_auth::revocation::{
    Denylist, Revocation, RevocationCheck, RevocationError, RevocationStatus, RevokeError,
};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, JwtAuth, RejectionKind, TrustedIssuer};

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
    let auth = auth.trust(TrustedIssuer::new(
        other.issuer(),
        other.audience(),
        other.keys(),
    ));
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
    let auth = auth.trust(TrustedIssuer::new(
        other.issuer(),
        other.audience(),
        other.keys(),
    ));
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
    fixture.clock.advance(Duration::from_secs(320));
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
    fixture.clock.advance(Duration::from_secs(399));
    assert_eq!(subject("z"), Err(RevokeError::Full));
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(subject("z"), Ok(()), "x and y have had their time");
}

/// A token is accepted for the leeway after its expiry, 300 s at most.
#[test]
fn a_revoked_token_is_remembered_for_as_long_as_it_could_be_accepted() {
    type Revoke = fn(&Denylist, &Claims) -> Result<(), RevokeError>;
    let ways: [Revoke; 3] = [
        |list, token| list.revoke(token),
        |list, token| list.revoke_id(ISSUER, token.id().unwrap(), token.expires_at().unwrap()),
        |list, token| {
            let subject = token.subject_id().unwrap();
            list.revoke_subject(subject, at(NOW), token.expires_at().unwrap())
        },
    ];
    for (which, revoke) in ways.into_iter().enumerate() {
        let (fixture, list, auth) = with_list(1);
        let auth = auth.leeway(Leeway::new(Duration::from_secs(300)).unwrap());
        let token = fixture.token().subject("alice").claim("exp", NOW + 10);
        let token = token.mint();
        revoke(&list, &fixture.accepts(&token)).unwrap();
        fixture.clock.advance(Duration::from_secs(309));
        // Somebody else is revoked: the full list makes room if it may.
        let next = || match which {
            2 => list.revoke_subject(SubjectId::new(ISSUER, "bob"), at(NOW), at(NOW + 9_000)),
            _ => list.revoke_id(ISSUER, "next", at(NOW + 9_000)),
        };
        assert_eq!(next(), Err(RevokeError::Full), "{which}");
        assert!(is_revoked(&auth, &token), "{which}");
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(next(), Ok(()), "{which}");
        assert_eq!(verdict(&auth, &token).unwrap_err(), RejectionKind::Expired);
    }
}

/// Notices of a distributed log arrive in any order, so the later word may also be the stricter.
#[test]
fn a_second_word_about_a_subject_or_token_strengthens_the_first() {
    let (fixture, list, auth) = with_list(1);
    let alice = || SubjectId::new(ISSUER, "alice");
    let token = |iat: u64| fixture.token().subject("alice").claim("iat", iat).mint();
    let (old, new) = (token(NOW - 50), token(NOW));
    list.revoke_subject(alice(), at(NOW - 50), at(NOW + 10))
        .unwrap();
    assert!(is_revoked(&auth, &old) && !is_revoked(&auth, &new));
    list.revoke_subject(alice(), at(NOW), at(NOW + 3_600))
        .unwrap();
    assert!(is_revoked(&auth, &new), "the later call counts");
    list.revoke_id(ISSUER, "other", at(NOW + 10)).unwrap();
    list.revoke_id(ISSUER, "other", at(NOW + 3_600)).unwrap();
    fixture.clock.advance(Duration::from_secs(320));
    // The longer of the two is not over.
    let full = Err(RevokeError::Full);
    let bob = SubjectId::new(ISSUER, "bob");
    assert_eq!(list.revoke_subject(bob, at(NOW), at(NOW + 9_000)), full);
    assert_eq!(list.revoke_id(ISSUER, "another", at(NOW + 9_000)), full);
}

#[test]
fn a_time_at_the_end_of_the_calendar_revokes_and_does_not_panic() {
    let (fixture, list, auth) = with_list(1);
    let step = Duration::from_secs(1);
    let mut end = at(NOW);
    for power in (0..64).rev() {
        let seconds = Duration::from_secs(1 << power);
        end = end.checked_add(seconds).unwrap_or(end);
    }
    assert!(end.checked_add(step).is_none());
    list.revoke_id(ISSUER, "token-1", end).unwrap();
    list.revoke_subject(SubjectId::new(ISSUER, "bob"), end, end)
        .unwrap();
    assert!(is_revoked(&auth, &fixture.token().mint()));
    assert_eq!(
        list.revoke_id(ISSUER, "next", at(NOW + 60)),
        Err(RevokeError::Full)
    );
}

#[test]
fn a_token_without_an_identity_cannot_be_revoked_by_it() {
    let (fixture, list, auth) = with_list(10);
    let nameless = fixture.accepts(&fixture.token().without("jti").mint());
    assert_eq!(list.revoke(&nameless), Err(RevokeError::NoIdentity));
    let auth = auth.insecure_allow_missing_expiry();
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

// Histories of the list.

/// One step. Names are places in [`IDS`] and [`SUBJECTS`], times are seconds from [`NOW`].
#[derive(Clone, Debug)]
enum Step {
    /// Revokes a token of the pool by its claims.
    Token(usize),
    /// An id, and the end.
    Id(usize, u64),
    /// A subject, the latest `iat`, and the end.
    Subject(usize, u64, u64),
    Wait(u64),
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];
const SUBJECTS: [&str; 3] = ["alice", "bob", "carol"];
const LONGEST_LEEWAY: u64 = 300;

/// A token of the pool.
struct Known {
    text: String,
    claims: Claims,
    id: Option<usize>,
    subject: Option<usize>,
    issued: Option<u64>,
    expiry: u64,
}

/// A revocation that was acknowledged.
struct Mark {
    step: Step,
    until: u64,
}

impl Mark {
    fn covers(&self, token: &Known) -> bool {
        match self.step {
            Step::Id(id, _) => token.id == Some(id),
            Step::Subject(subject, at, _) => {
                token.subject == Some(subject) && token.issued.is_none_or(|issued| issued <= at)
            }
            Step::Token(_) | Step::Wait(_) => false,
        }
    }
}

/// Whatever is revoked in whatever order and however small the list is: what was acknowledged holds
/// until the token cannot be accepted any more, nothing else is rejected, and a list that is full
/// really is.
#[test]
fn no_history_of_revocations_brings_a_token_back() {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed::seed()),
        ..ProptestConfig::default()
    };
    let step = prop_oneof![
        2 => (0..12_usize).prop_map(Step::Token),
        2 => (0..IDS.len(), 0..900_u64).prop_map(|(id, until)| Step::Id(id, until)),
        3 => (0..SUBJECTS.len(), 0..200_u64, 0..900_u64)
            .prop_map(|(subject, at, until)| Step::Subject(subject, at, until)),
        2 => (0..200_u64).prop_map(Step::Wait),
        1 => Just(Step::Wait(1)),
    ];
    let token = (
        proptest::option::of(0..IDS.len()),
        proptest::option::of(0..SUBJECTS.len()),
        proptest::option::of(0..200_u64),
        1..600_u64,
    );
    let leeway = prop_oneof![Just(0), Just(60), Just(LONGEST_LEEWAY)];
    let histories = (0..4_usize, leeway, vec(token, 12), vec(step, 0..40));
    let outcome = TestRunner::new(config).run(&histories, |(capacity, leeway, tokens, steps)| {
        let (fixture, list, auth) = with_list(capacity);
        let auth = auth.leeway(Leeway::new(Duration::from_secs(leeway)).unwrap());
        // `iat` may be ahead in the pool, so the first look is from its end.
        let lenient = fixture.auth().verifier();
        fixture.clock.advance(Duration::from_secs(200));
        let tokens: Vec<Known> = tokens
            .into_iter()
            .map(|(id, subject, issued, expiry)| {
                let mut token = fixture.token().without("jti").without("sub").without("iat");
                if let Some(id) = id {
                    token = token.claim("jti", IDS[id]);
                }
                if let Some(subject) = subject {
                    token = token.subject(SUBJECTS[subject]);
                }
                if let Some(issued) = issued {
                    token = token.claim("iat", NOW + issued);
                }
                let text = token.claim("exp", NOW + 200 + expiry).mint();
                let claims = lenient.verify_now(&text).unwrap();
                let expiry = 200 + expiry;
                Known {
                    text,
                    claims,
                    id,
                    subject,
                    issued,
                    expiry,
                }
            })
            .collect();
        let mut now = 200;
        let (mut marks, mut live) = (Vec::<Mark>::new(), HashMap::new());
        for step in steps {
            let step = match step {
                Step::Token(which) => {
                    let token = &tokens[which];
                    let outcome = list.revoke(&token.claims);
                    let Some(id) = token.id else {
                        prop_assert_eq!(outcome, Err(RevokeError::NoIdentity));
                        continue;
                    };
                    let step = Step::Id(id, token.expiry);
                    acknowledge(outcome, &step, now, capacity, &mut live)?
                        .then_some((step, token.expiry))
                }
                Step::Id(id, until) => {
                    let outcome = list.revoke_id(ISSUER, IDS[id], at(NOW + until));
                    acknowledge(outcome, &step, now, capacity, &mut live)?.then_some((step, until))
                }
                Step::Subject(subject, issued, until) => {
                    let subject = SubjectId::new(ISSUER, SUBJECTS[subject]);
                    let outcome = list.revoke_subject(subject, at(NOW + issued), at(NOW + until));
                    acknowledge(outcome, &step, now, capacity, &mut live)?.then_some((step, until))
                }
                Step::Wait(seconds) => {
                    fixture.clock.advance(Duration::from_secs(seconds));
                    now += seconds;
                    None
                }
            };
            marks.extend(step.map(|(step, until)| Mark { step, until }));
            for token in &tokens {
                let covering = || marks.iter().filter(|mark| mark.covers(token));
                match verdict(&auth, &token.text) {
                    Ok(_) => {
                        prop_assert!(now < token.expiry + leeway);
                        prop_assert!(covering().all(|mark| mark.until < token.expiry));
                    }
                    Err(RejectionKind::Revoked) => prop_assert!(covering().next().is_some()),
                    Err(RejectionKind::Expired) => prop_assert!(now >= token.expiry + leeway),
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Whether the list took it. It must, unless as many others as fit are still needed.
fn acknowledge(
    outcome: Result<(), RevokeError>,
    step: &Step,
    now: u64,
    capacity: usize,
    live: &mut HashMap<(bool, usize), u64>,
) -> Result<bool, TestCaseError> {
    let (key, until) = match *step {
        Step::Subject(subject, _, until) => ((true, subject), until),
        Step::Id(id, until) => ((false, id), until),
        Step::Token(_) | Step::Wait(_) => return Ok(false),
    };
    live.retain(|_, until| *until + LONGEST_LEEWAY > now);
    let others = live.keys().filter(|(kind, _)| *kind == key.0).count();
    let is_full = others >= capacity && !live.contains_key(&key);
    let expected = if is_full {
        Err(RevokeError::Full)
    } else {
        Ok(())
    };
    prop_assert_eq!(&outcome, &expected);
    if outcome.is_ok() {
        let known = live.entry(key).or_insert(until);
        *known = until.max(*known);
    }
    Ok(outcome.is_ok())
}

// Hooks.

/// A check that answers at once and counts how often it was asked.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Revocation for Counting {
    fn check(&self, token: &Claims) -> RevocationCheck {
        self.0.fetch_add(1, Ordering::Relaxed);
        RevocationCheck::Ready(match token.id() {
            Some("revoked") => Ok(RevocationStatus::Revoked),
            Some("broken") => Err(RevocationError::new("no connection to 10.0.0.7")),
            _ => Ok(RevocationStatus::Active),
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
        .revocation(async |_| Err(RevocationError::new("no connection to 10.0.0.7")));
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
        *call.method_mut() = http::Method::POST;
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
        (Ok(RevocationStatus::Active), 200, 1),
        (Ok(RevocationStatus::Revoked), 401, 0),
        (Err(RevocationError::new("lost")), 503, 0),
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
        .revocation(async |_| Ok(RevocationStatus::Active))
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
        .revocation(async |_| Ok(RevocationStatus::Active))
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
