//! Valid tokens that are rejected: denylists and revocation checks.

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
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use support::{Fixture, ISSUER, NOW, challenges, get, get_bare, send};
use tokio::sync::oneshot;
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::policy::Leeway;
use tower_jwt_auth::revocation::{
    Denylist, Revocation, RevocationCheck, RevocationError, RevocationMark, RevocationStatus,
    RevocationTarget, RevocationWriter, RevokeError,
};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, JwtAuth, RejectionKind, TrustedIssuer, Verifier};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// The fixture with a denylist on the same clock.
fn with_list(capacity: usize) -> (Fixture, Denylist, JwtAuth) {
    let fixture = Fixture::new();
    let list = Denylist::with_capacity(capacity).with_clock(fixture.clock.clone());
    let auth = fixture.auth().revocation(list.clone());
    (fixture, list, auth)
}

/// A second issuer, which the layer trusts too.
fn with_other(fixture: &Fixture, auth: JwtAuth) -> (TestIssuer, JwtAuth) {
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(fixture.clock.clone());
    let trusted = TrustedIssuer::new(other.issuer(), other.audience(), other.keys());
    let auth = auth.trust(trusted);
    (other, auth)
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
async fn a_revoked_token_is_rejected_from_the_next_request_on() {
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
    let (other, auth) = with_other(&fixture, auth);
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
    let (other, auth) = with_other(&fixture, auth);
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
    // Alice after a new login, another subject, and a subject of the same name at another issuer.
    assert!(!is_revoked(&auth, &token("alice", NOW + 1)));
    assert!(!is_revoked(&auth, &token("Alice", NOW)));
    assert!(!is_revoked(&auth, &other.token().subject("alice").mint()));
    assert!(!is_revoked(&auth, &fixture.token().without("sub").mint()));
}

#[test]
fn a_suspension_of_a_token_a_session_or_a_subject_can_be_lifted() {
    let (fixture, list, auth) = with_list(10);
    let token = fixture.token().subject("alice").claim("sid", "s1").mint();
    let claims = verdict(&auth, &token).unwrap();
    let (issuer, end) = (ISSUER, at(NOW + 3_600));
    let alice = || SubjectId::new(ISSUER, "alice");
    let of_token = RevocationTarget::Token {
        issuer: issuer.into(),
        id: "token-1".into(),
    };
    let of_session = RevocationTarget::Session {
        issuer: issuer.into(),
        session_id: "s1".into(),
    };
    let of_alice = RevocationTarget::Subject(alice());
    let suspended = [
        (list.suspend(&claims), &of_token),
        (list.suspend_id(issuer, "token-1", end), &of_token),
        (list.suspend_session(issuer, "s1", end), &of_session),
        (list.suspend_subject(alice(), at(NOW), end), &of_alice),
    ];
    assert!(suspended.iter().all(|(stored, _)| stored.is_ok()));
    for target in [&of_token, &of_session, &of_alice] {
        assert_eq!(
            verdict(&auth, &token).unwrap_err(),
            RejectionKind::Suspended
        );
        assert!(list.lift(target), "{target:?}");
    }
    assert!(verdict(&auth, &token).is_ok());
    // One mark at a time: each suspends the token, and does not affect another token.
    let other = fixture.token().subject("bob").claim("jti", "other").mint();
    for (suspend, target) in [
        (RevocationMark::token(&claims).unwrap(), of_token),
        (RevocationMark::session(issuer, "s1", end), of_session),
        (RevocationMark::subject(alice(), at(NOW), end), of_alice),
    ] {
        list.mark(&suspend.suspension()).unwrap();
        assert_eq!(
            verdict(&auth, &token).unwrap_err(),
            RejectionKind::Suspended
        );
        assert!(verdict(&auth, &other).is_ok());
        assert!(list.lift(&target));
    }
}

/// A full list has room again when a mark ends, also if a mark got a later or earlier end.
#[test]
fn a_full_list_has_a_place_as_soon_as_one_of_its_marks_has_ended() {
    let leeway = 300;
    let (fixture, list, _) = with_list(2);
    let alice = || SubjectId::new(ISSUER, "alice");
    let mark = |end: u64| RevocationMark::subject(alice(), at(NOW), at(NOW + end));
    list.mark(&mark(100)).unwrap();
    list.mark(&mark(1_000).suspension()).unwrap();
    let bob = |end: u64| list.revoke_subject(SubjectId::new(ISSUER, "bob"), at(NOW), at(NOW + end));
    bob(500).unwrap();
    let carol = || list.revoke_subject(SubjectId::new(ISSUER, "carol"), at(NOW), at(NOW + 5_000));
    // Asked several times while the list is full.
    for _ in 0..3 {
        assert_eq!(carol(), Err(RevokeError::Full));
    }
    // Without the suspension, the marks for Alice end with the revocation.
    assert!(list.lift(&RevocationTarget::Subject(alice())));
    fixture.clock.set(NOW + 100 + leeway - 1);
    assert_eq!(carol(), Err(RevokeError::Full));
    fixture.clock.set(NOW + 100 + leeway);
    assert_eq!(carol(), Ok(()));

    // A mark that got a later end keeps its place until then.
    bob(900).unwrap();
    let dave = || list.revoke_subject(SubjectId::new(ISSUER, "dave"), at(NOW), at(NOW + 9_000));
    fixture.clock.set(NOW + 900 + leeway - 1);
    assert_eq!(dave(), Err(RevokeError::Full));
    fixture.clock.set(NOW + 900 + leeway);
    assert_eq!(dave(), Ok(()));
}

/// The notices of a distributed log arrive in any order.
#[test]
fn a_second_mark_never_weakens_the_first() {
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
        // Another target is revoked: the full list has room only after the first mark has ended.
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

/// The notices of a distributed log arrive in any order, so the stricter one may be the second.
#[test]
fn a_second_mark_can_strengthen_the_first() {
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
    // The later of the two ends has not passed.
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
    let (fixture, list, _) = with_list(10);
    let nameless = fixture.accepts(&fixture.token().without("jti").mint());
    assert_eq!(list.revoke(&nameless), Err(RevokeError::NoIdentity));
}

/// The token can be used at any time, so its mark never makes room for another one.
#[test]
fn a_token_without_an_end_is_revoked_for_good() {
    let (fixture, list, auth) = with_list(1);
    let auth = auth.insecure_allow_missing_expiry();
    let eternal = fixture.token().without("exp").mint();
    let claims = verdict(&auth, &eternal).unwrap();
    list.revoke(&claims).unwrap();
    assert!(is_revoked(&auth, &eternal));
    fixture.clock.set(NOW + 100 * 365 * 86_400);
    assert_eq!(
        list.revoke_id(ISSUER, "next", at(NOW + 200 * 365 * 86_400)),
        Err(RevokeError::Full)
    );
    assert!(is_revoked(&auth, &eternal));
}

#[test]
fn a_list_prints_how_much_is_on_it_and_nobodys_name() {
    let list = Denylist::with_capacity(5);
    list.revoke_id(ISSUER, "token-77", at(NOW)).unwrap();
    let subject = SubjectId::new(ISSUER, "alice");
    list.revoke_subject(subject, at(NOW), at(NOW)).unwrap();
    let end = at(NOW + 60);
    for mark in [
        RevocationMark::client(ISSUER, "app-9", at(NOW), end),
        RevocationMark::issuer(ISSUER, at(NOW), end),
        RevocationMark::issuer("https://other.example", at(NOW), end),
        RevocationMark::session(ISSUER, "login-8", end).suspension(),
    ] {
        list.mark(&mark).unwrap();
        let text = format!("{mark:?}");
        assert!(
            !text.contains("app-9") && !text.contains("login-8"),
            "{text}"
        );
    }
    assert_eq!(
        format!("{list:?}"),
        "Denylist { clients: 1, issuers: 2, sessions: 1, subjects: 1, tokens: 1 }"
    );
}

// The five kinds of marks.

/// One mark of each kind for the same token. Marks with a time cover tokens with an `iat` up to
/// this one.
fn marks(issued_until: u64, expires_at: u64) -> [RevocationMark; 5] {
    let (until, end) = (at(issued_until), at(expires_at));
    [
        RevocationMark::token_id(ISSUER, "token-1", end),
        RevocationMark::session(ISSUER, "login-1", end),
        RevocationMark::subject(SubjectId::new(ISSUER, "alice"), until, end),
        RevocationMark::client(ISSUER, "app-1", until, end),
        RevocationMark::issuer(ISSUER, until, end),
    ]
}

/// A token that each of [`marks`] covers.
fn marked(fixture: &Fixture) -> tower_jwt_auth::test::TestToken {
    let token = fixture.token().subject("alice").claim("sid", "login-1");
    token.claim("client_id", "app-1").claim("iat", NOW)
}

/// RFC7009-2.1-1, RFC7009-3-1: marks for a token, a session, a client, an issuer, and a subject
/// until a time.
#[test]
fn every_kind_of_mark_revokes_its_tokens_and_no_others() {
    let fixture = Fixture::new();
    let token = || marked(&fixture);
    // For each kind of mark, a token that differs only in the marked claim.
    let others = [
        token().claim("jti", "token-2").mint(),
        token().claim("sid", "Login-1").mint(),
        token().subject("bob").mint(),
        token().claim("client_id", "app-2").mint(),
    ];
    for (which, mark) in marks(NOW, NOW + 3_600).into_iter().enumerate() {
        let (_, list, _) = with_list(1);
        let auth = fixture.auth().revocation(list.clone());
        assert!(!is_revoked(&auth, &token().mint()));
        list.mark(&mark).unwrap();
        assert!(is_revoked(&auth, &token().mint()), "{mark:?}");
        if let Some(other) = others.get(which) {
            assert!(!is_revoked(&auth, other), "{mark:?}");
        }
    }
    // Marks for the same names at another issuer.
    let elsewhere = "https://other.example";
    let (end, until) = (at(NOW + 3_600), at(NOW));
    let (_, list, _) = with_list(5);
    for mark in [
        RevocationMark::token_id(elsewhere, "token-1", end),
        RevocationMark::session(elsewhere, "login-1", end),
        RevocationMark::subject(SubjectId::new(elsewhere, "alice"), until, end),
        RevocationMark::client(elsewhere, "app-1", until, end),
        RevocationMark::issuer(elsewhere, until, end),
    ] {
        list.mark(&mark).unwrap();
    }
    assert!(!is_revoked(
        &fixture.auth().revocation(list),
        &token().mint()
    ));
}

/// A client stays revoked if another claim names it.
#[test]
fn a_client_is_revoked_under_every_claim_that_names_one() {
    let (fixture, list, auth) = with_list(1);
    let mark = RevocationMark::client(ISSUER, "app-1", at(NOW), at(NOW + 3_600));
    list.mark(&mark).unwrap();
    for name in ["client_id", "azp", "cid", "appid"] {
        let token = |client: &str| fixture.token().without("client_id").claim(name, client);
        assert!(is_revoked(&auth, &token("app-1").mint()), "{name}");
        assert!(!is_revoked(&auth, &token("app-2").mint()), "{name}");
        if name != "client_id" {
            let behind = token("app-1").claim("client_id", "app-2").mint();
            assert!(is_revoked(&auth, &behind), "{name}");
        }
    }
}

#[test]
fn marks_with_a_time_mean_what_was_issued_until_then_and_what_has_no_time() {
    let fixture = Fixture::new();
    let token = |iat: u64| marked(&fixture).claim("iat", iat).mint();
    let undated = marked(&fixture).without("iat").mint();
    for mark in marks(NOW - 50, NOW + 3_600) {
        let (_, list, _) = with_list(1);
        let auth = fixture.auth().revocation(list.clone());
        list.mark(&mark).unwrap();
        assert!(is_revoked(&auth, &token(NOW - 51)), "{mark:?}");
        assert!(is_revoked(&auth, &token(NOW - 50)), "{mark:?}");
        assert!(is_revoked(&auth, &undated), "{mark:?}");
        // A mark for a token or a session covers it whenever it was issued.
        let is_dated = mark.issued_until().is_some();
        assert_eq!(is_revoked(&auth, &token(NOW - 49)), !is_dated, "{mark:?}");
    }
}

#[test]
fn each_kind_has_the_capacity_of_the_list() {
    let (_, list, _) = with_list(1);
    let end = at(NOW + 60);
    let first = marks(NOW, NOW + 60);
    let second = [
        RevocationMark::token_id(ISSUER, "token-2", end),
        RevocationMark::session(ISSUER, "login-2", end),
        RevocationMark::subject(SubjectId::new(ISSUER, "bob"), at(NOW), end),
        RevocationMark::client(ISSUER, "app-2", at(NOW), end),
        RevocationMark::issuer("https://other.example", at(NOW), end),
    ];
    for mark in &first {
        assert_eq!(list.mark(mark), Ok(()), "{mark:?}");
    }
    for mark in &second {
        assert_eq!(list.mark(mark), Err(RevokeError::Full), "{mark:?}");
    }
    for mark in &first {
        assert_eq!(list.mark(mark), Ok(()), "known: {mark:?}");
    }
}

#[test]
fn each_kind_forgets_what_has_ended() {
    let end = |seconds| at(NOW + seconds);
    let (fixture, list, _) = with_list(1);
    for mark in marks(NOW, NOW + 60) {
        list.mark(&mark).unwrap();
    }
    let second = [
        RevocationMark::token_id(ISSUER, "token-2", end(900)),
        RevocationMark::session(ISSUER, "login-2", end(900)),
        RevocationMark::subject(SubjectId::new(ISSUER, "bob"), at(NOW), end(900)),
        RevocationMark::client(ISSUER, "app-2", at(NOW), end(900)),
        RevocationMark::issuer("https://other.example", at(NOW), end(900)),
    ];
    fixture.clock.advance(Duration::from_secs(359));
    for mark in &second {
        assert_eq!(list.mark(mark), Err(RevokeError::Full), "{mark:?}");
    }
    fixture.clock.advance(Duration::from_secs(1));
    for mark in &second {
        assert_eq!(list.mark(mark), Ok(()), "{mark:?}");
    }
    let full = "Denylist { clients: 1, issuers: 1, sessions: 1, subjects: 1, tokens: 1 }";
    assert_eq!(format!("{list:?}"), full);
}

#[test]
fn a_suspension_ends_when_it_is_lifted_and_a_revocation_stays() {
    let fixture = Fixture::new();
    let token = marked(&fixture).mint();
    let kind = |auth: &JwtAuth| verdict(auth, &token).map(drop);
    for mark in marks(NOW, NOW + 3_600) {
        let (_, list, _) = with_list(1);
        let auth = fixture.auth().revocation(list.clone());
        let suspension = mark.clone().suspension();
        assert!(suspension.is_suspension() && !mark.is_suspension());
        assert!(!list.lift(mark.target()), "nothing to lift");
        list.mark(&suspension).unwrap();
        assert_eq!(kind(&auth), Err(RejectionKind::Suspended), "{mark:?}");
        assert!(list.lift(mark.target()));
        assert_eq!(kind(&auth), Ok(()), "{mark:?}");
        assert!(!list.lift(mark.target()), "lifted");
        assert_eq!(format!("{list:?}"), format!("{:?}", Denylist::default()));

        // In either order, the revocation takes precedence over the suspension, and stays after it
        // is lifted.
        for pair in [[&suspension, &mark], [&mark, &suspension]] {
            for mark in pair {
                list.mark(mark).unwrap();
            }
            assert_eq!(kind(&auth), Err(RejectionKind::Revoked), "{mark:?}");
            assert!(list.lift(mark.target()));
            assert_eq!(kind(&auth), Err(RejectionKind::Revoked), "{mark:?}");
            assert!(!list.lift(mark.target()));
        }
    }
}

/// A suspension that covers more tokens does not extend the revocation to them.
#[test]
fn a_suspension_and_a_revocation_of_one_target_keep_their_own_times() {
    let (fixture, list, auth) = with_list(1);
    let token = |iat: u64| marked(&fixture).claim("iat", iat).mint();
    let alice = || SubjectId::new(ISSUER, "alice");
    let revocation = RevocationMark::subject(alice(), at(NOW - 50), at(NOW + 3_600));
    let suspension = RevocationMark::subject(alice(), at(NOW), at(NOW + 3_600)).suspension();
    list.mark(&revocation).unwrap();
    list.mark(&suspension).unwrap();
    let kind = |iat| verdict(&auth, &token(iat)).map(drop);
    assert_eq!(kind(NOW - 50), Err(RejectionKind::Revoked));
    assert_eq!(kind(NOW), Err(RejectionKind::Suspended));
    list.lift(&RevocationTarget::Subject(alice()));
    assert_eq!(kind(NOW - 50), Err(RejectionKind::Revoked));
    assert_eq!(kind(NOW), Ok(()));
}

#[tokio::test]
async fn a_writer_stores_and_lifts_marks_whatever_list_it_is() {
    let (fixture, list, auth) = with_list(1);
    let writer: Arc<dyn RevocationWriter> = Arc::new(list);
    let token = marked(&fixture).mint();
    let [mark, ..] = marks(NOW, NOW + 60);
    let write = |mark: RevocationMark| writer.write(mark);
    write(mark.clone().suspension()).await.unwrap();
    let kind = || verdict(&auth, &token).map(drop);
    assert_eq!(kind(), Err(RejectionKind::Suspended));
    writer.lift(mark.target().clone()).await.unwrap();
    assert_eq!(kind(), Ok(()));
    writer.lift(mark.target().clone()).await.unwrap();
    write(mark).await.unwrap();
    assert_eq!(kind(), Err(RejectionKind::Revoked));
    let other = RevocationMark::token_id(ISSUER, "token-2", at(NOW + 60));
    assert_eq!(write(other).await, Err(RevokeError::Full));
}

// Random histories of the list.

/// A step. Times are seconds after [`NOW`].
#[derive(Clone, Debug)]
enum Step {
    /// Revokes a token of the pool by its claims.
    Token(usize),
    /// Any mark.
    Mark(Mark),
    /// Ends the suspension of a target.
    Lift(Target),
    Wait(u64),
}

/// A kind of target, and an index into its row of [`NAMES`].
type Target = (usize, usize);

#[derive(Clone, Copy, Debug)]
struct Mark {
    target: Target,
    issued: u64,
    until: u64,
    suspends: bool,
}

const TOKEN: usize = 0;
const ISSUERS: usize = 4;
const NAMES: [[&str; 3]; 5] = [
    ["a", "b", "c"],
    ["login-1", "login-2", "login-3"],
    ["alice", "bob", "carol"],
    ["app-1", "app-2", "app-3"],
    ["https://b.example", "https://c.example", ISSUER],
];
/// The claims of the first four kinds, in the order of [`NAMES`].
const CLAIMS: [&str; 4] = ["jti", "sid", "sub", "client_id"];
const LONGEST_LEEWAY: u64 = 300;

/// A token of the histories.
struct Known {
    text: String,
    claims: Claims,
    /// The index of its name for each kind, if it has one.
    names: [Option<usize>; 4],
    issued: Option<u64>,
    expiry: u64,
}

/// The marks that the list must remember: for each target the ends of the revocation and of the
/// suspension.
type Live = HashMap<Target, [Option<u64>; 2]>;

impl Mark {
    fn real(&self) -> RevocationMark {
        let name = NAMES[self.target.0][self.target.1];
        let (issued, until) = (at(NOW + self.issued), at(NOW + self.until));
        let mark = match self.target.0 {
            TOKEN => RevocationMark::token_id(ISSUER, name, until),
            1 => RevocationMark::session(ISSUER, name, until),
            2 => RevocationMark::subject(SubjectId::new(ISSUER, name), issued, until),
            3 => RevocationMark::client(ISSUER, name, issued, until),
            _ => RevocationMark::issuer(name, issued, until),
        };
        if self.suspends {
            mark.suspension()
        } else {
            mark
        }
    }

    fn covers(&self, token: &Known) -> bool {
        let (kind, name) = self.target;
        let is_meant = match token.names.get(kind) {
            Some(own) => *own == Some(name),
            None => NAMES[kind][name] == ISSUER,
        };
        is_meant && (kind < 2 || token.issued.is_none_or(|issued| issued <= self.issued))
    }
}

/// For lists of every size and marks in every order: an acknowledged mark holds until the token
/// cannot be accepted any more, no other token is rejected, and a list reports that it is full only
/// if it is. A verifier with a cache, which skips checks, gives the same verdicts as one without.
#[test]
fn no_history_of_revocations_brings_a_token_back() {
    let config = ProptestConfig {
        cases: 64,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed::seed()),
        ..ProptestConfig::default()
    };
    let target = || prop_oneof![9 => (0..4_usize, 0..3_usize), 1 => (Just(ISSUERS), 0..3_usize)];
    let mark = (target(), 0..200_u64, 0..900_u64, any::<bool>()).prop_map(
        |(target, issued, until, suspends)| Mark {
            target,
            issued,
            until,
            suspends,
        },
    );
    let step = prop_oneof![
        2 => (0..12_usize).prop_map(Step::Token),
        6 => mark.prop_map(Step::Mark),
        2 => target().prop_map(Step::Lift),
        2 => (0..200_u64).prop_map(Step::Wait),
        1 => Just(Step::Wait(1)),
    ];
    let name = || proptest::option::of(0..3_usize);
    let token = (
        [name(), name(), name(), name()],
        proptest::option::of(0..200_u64),
        1..600_u64,
    );
    let leeway = prop_oneof![Just(0), Just(60), Just(LONGEST_LEEWAY)];
    let histories = (0..4_usize, leeway, vec(token, 12), vec(step, 0..40));
    let outcome = TestRunner::new(config).run(&histories, |(capacity, leeway, tokens, steps)| {
        let (fixture, list, auth) = with_list(capacity);
        let auth = auth.leeway(Leeway::new(Duration::from_secs(leeway)).unwrap());
        // The `iat` of a token may be up to 200 s after `NOW`, so the clock is set forward before
        // its claims are read.
        let lenient = fixture.auth().verifier();
        let cached = auth.clone().cache(some_cache()).verifier();
        let uncached = auth.cache(TokenCache::off()).verifier();
        fixture.clock.advance(Duration::from_secs(200));
        let tokens: Vec<Known> = tokens
            .into_iter()
            .map(|(names, issued, expiry)| {
                let mut token = fixture.token().without("iat");
                for ((claim, name), known) in CLAIMS.into_iter().zip(names).zip(NAMES) {
                    token = match name {
                        Some(name) => token.claim(claim, known[name]),
                        None => token.without(claim),
                    };
                }
                if let Some(issued) = issued {
                    token = token.claim("iat", NOW + issued);
                }
                let expiry = 200 + expiry;
                let text = token.claim("exp", NOW + expiry).mint();
                let claims = lenient.verify_now(&text).unwrap();
                Known {
                    text,
                    claims,
                    names,
                    issued,
                    expiry,
                }
            })
            .collect();
        let mut now = 200;
        let (mut marks, mut live) = (Vec::<Mark>::new(), Live::new());
        for step in steps {
            let (mark, outcome) = match step {
                Step::Token(which) => {
                    let token = &tokens[which];
                    let outcome = list.revoke(&token.claims);
                    let Some(id) = token.names[TOKEN] else {
                        prop_assert_eq!(outcome, Err(RevokeError::NoIdentity));
                        continue;
                    };
                    let (target, until) = ((TOKEN, id), token.expiry);
                    (
                        Mark {
                            target,
                            issued: 0,
                            until,
                            suspends: false,
                        },
                        outcome,
                    )
                }
                Step::Mark(mark) => (mark, list.mark(&mark.real())),
                Step::Lift(target) => {
                    let mark = Mark {
                        target,
                        issued: 0,
                        until: 0,
                        suspends: true,
                    };
                    let lifted = list.lift(mark.real().target());
                    let is_live = live.get_mut(&target).and_then(|sorts| sorts[1].take());
                    if is_live.is_some_and(|until| until + LONGEST_LEEWAY > now) {
                        prop_assert!(lifted);
                    }
                    let was_one = |mark: &Mark| mark.suspends && mark.target == target;
                    prop_assert!(!lifted || marks.iter().any(was_one));
                    marks.retain(|mark| !was_one(mark));
                    check(&tokens, &marks, &cached, now, leeway)?;
                    continue;
                }
                Step::Wait(seconds) => {
                    fixture.clock.advance(Duration::from_secs(seconds));
                    now += seconds;
                    check(&tokens, &marks, &cached, now, leeway)?;
                    continue;
                }
            };
            if acknowledge(outcome, &mark, now, capacity, &mut live)? {
                marks.push(mark);
            }
            check(&tokens, &marks, &cached, now, leeway)?;
        }
        check(&tokens, &marks, &uncached, now, leeway)
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// Asserts that the verdicts on all tokens follow from the marks.
fn check(
    tokens: &[Known],
    marks: &[Mark],
    verifier: &Verifier,
    now: u64,
    leeway: u64,
) -> Result<(), TestCaseError> {
    for token in tokens {
        let covering = |suspends: bool| {
            let marks = marks.iter().filter(move |mark| mark.suspends == suspends);
            marks.filter(|mark| mark.covers(token))
        };
        let are_over = |suspends| covering(suspends).all(|mark| mark.until < token.expiry);
        let verdict = verifier.verify_now(&token.text);
        match verdict.map_err(|rejection| rejection.kind()) {
            Ok(_) => {
                prop_assert!(now < token.expiry + leeway);
                prop_assert!(are_over(false) && are_over(true));
            }
            Err(RejectionKind::Revoked) => prop_assert!(covering(false).next().is_some()),
            Err(RejectionKind::Suspended) => {
                prop_assert!(covering(true).next().is_some() && are_over(false));
            }
            Err(RejectionKind::Expired) => prop_assert!(now >= token.expiry + leeway),
            Err(other) => prop_assert!(false, "{other:?}"),
        }
    }
    Ok(())
}

/// Whether the list accepted the mark. It may reject the mark only if it is full of other marks
/// that are still needed.
fn acknowledge(
    outcome: Result<(), RevokeError>,
    mark: &Mark,
    now: u64,
    capacity: usize,
    live: &mut Live,
) -> Result<bool, TestCaseError> {
    live.retain(|_, sorts| {
        let mut untils = sorts.iter().flatten();
        untils.any(|until| *until + LONGEST_LEEWAY > now)
    });
    let others = live
        .keys()
        .filter(|(kind, _)| *kind == mark.target.0)
        .count();
    let is_full = others >= capacity && !live.contains_key(&mark.target);
    let expected = if is_full {
        Err(RevokeError::Full)
    } else {
        Ok(())
    };
    prop_assert_eq!(&outcome, &expected);
    if outcome.is_ok() {
        let known = &mut live.entry(mark.target).or_default()[usize::from(mark.suspends)];
        *known = (*known).max(Some(mark.until));
    }
    Ok(outcome.is_ok())
}

// The checks of a cached token.

/// A cache of a fixed size, whatever size the other tests use.
fn some_cache() -> TokenCache {
    TokenCache::default().max_tokens(100).max_bytes(1 << 20)
}

/// A check with an epoch that counts how often it was asked.
#[derive(Clone, Default)]
struct Versioned {
    calls: Arc<AtomicUsize>,
    epoch: Arc<AtomicU64>,
    /// The epoch rises while the first check runs.
    rises_in_check: bool,
}

impl Versioned {
    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Revocation for Versioned {
    fn check(&self, _: &Claims) -> RevocationCheck {
        if self.calls.fetch_add(1, Ordering::Relaxed) == 0 && self.rises_in_check {
            self.epoch.fetch_add(1, Ordering::Relaxed);
        }
        RevocationCheck::Ready(Ok(RevocationStatus::Active))
    }

    fn epoch(&self) -> Option<u64> {
        Some(self.epoch.load(Ordering::Relaxed))
    }
}

#[test]
fn a_cached_token_is_checked_again_only_when_something_has_changed() {
    let fixture = Fixture::new();
    let token = |id: &str| fixture.token().claim("jti", id).mint();
    let (one, two) = (token("one"), token("two"));
    let check = Versioned::default();
    let auth = fixture.auth().revocation(check.clone());
    let verifier = auth.clone().cache(some_cache()).verifier();
    let verify = |token: &str| assert!(verifier.verify_now(token).is_ok());
    (0..5).for_each(|_| verify(&one));
    assert_eq!(check.calls(), 1);
    (0..5).for_each(|_| verify(&two));
    assert_eq!(check.calls(), 2, "each token once");
    check.epoch.fetch_add(1, Ordering::Relaxed);
    (0..5).for_each(|_| verify(&one));
    (0..5).for_each(|_| verify(&two));
    assert_eq!(check.calls(), 4, "each token once more");

    // Without a cache, the result of an earlier check is not known.
    let verifier = auth.cache(TokenCache::off()).verifier();
    (0..5).for_each(|_| assert!(verifier.verify_now(&one).is_ok()));
    assert_eq!(check.calls(), 9);
}

/// A check that counts the calls of each function.
#[derive(Clone, Default)]
struct Calls([Arc<AtomicUsize>; 3]);

impl Calls {
    fn call(&self, function: usize) {
        self.0[function].fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> [usize; 3] {
        [0, 1, 2].map(|at| self.0[at].load(Ordering::Relaxed))
    }
}

impl Revocation for Calls {
    fn check(&self, _: &Claims) -> RevocationCheck {
        self.call(0);
        RevocationCheck::Ready(Ok(RevocationStatus::Active))
    }

    fn epoch(&self) -> Option<u64> {
        self.call(1);
        Some(7)
    }

    fn epoch_and_check(&self, _: &Claims) -> (Option<u64>, RevocationCheck) {
        self.call(2);
        (
            Some(7),
            RevocationCheck::Ready(Ok(RevocationStatus::Active)),
        )
    }
}

#[test]
fn a_new_token_asks_for_its_check_and_its_epoch_in_one_call() {
    let fixture = Fixture::new();
    let calls = Calls::default();
    let auth = fixture.auth().revocation(calls.clone()).cache(some_cache());
    let verifier = auth.verifier();
    let token = fixture.token().mint();
    assert!(verifier.verify_now(&token).is_ok());
    assert_eq!(calls.so_far(), [0, 0, 1]);
    assert!(verifier.verify_now(&token).is_ok());
    assert_eq!(calls.so_far(), [0, 1, 1], "a hit compares the number");
}

#[test]
fn a_check_without_an_epoch_is_asked_every_time_and_so_are_those_beside_it() {
    let fixture = Fixture::new();
    let (without, with) = (Counting::default(), Versioned::default());
    let auth = fixture.auth().cache(some_cache());
    let auth = auth.revocation(with.clone()).revocation(without.clone());
    let (verifier, token) = (auth.verifier(), fixture.token().mint());
    for _ in 0..5 {
        assert!(verifier.verify_now(&token).is_ok());
    }
    assert_eq!((without.0.load(Ordering::Relaxed), with.calls()), (5, 5));
}

#[test]
fn the_epochs_of_several_checks_count_together() {
    let fixture = Fixture::new();
    let (one, two) = (Versioned::default(), Versioned::default());
    let auth = fixture.auth().cache(some_cache());
    let auth = auth.revocation(one.clone()).revocation(two.clone());
    let (verifier, token) = (auth.verifier(), fixture.token().mint());
    let calls = || {
        (0..3).for_each(|_| assert!(verifier.verify_now(&token).is_ok()));
        (one.calls(), two.calls())
    };
    assert_eq!(calls(), (1, 1));
    two.epoch.fetch_add(1, Ordering::Relaxed);
    assert_eq!(calls(), (2, 2));
    one.epoch.fetch_add(1, Ordering::Relaxed);
    assert_eq!(calls(), (3, 3));
}

#[test]
fn a_mark_of_any_kind_reaches_a_cached_token_at_once() {
    let fixture = Fixture::new();
    let token = marked(&fixture).mint();
    for mark in marks(NOW, NOW + 3_600) {
        let (_, list, _) = with_list(1);
        let auth = fixture.auth().cache(some_cache());
        let verifier = auth.revocation(list.clone()).verifier();
        let kind = || {
            verifier
                .verify_now(&token)
                .map(drop)
                .map_err(|error| error.kind())
        };
        let suspension = mark.clone().suspension();
        assert_eq!([kind(), kind()], [Ok(()), Ok(())]);
        list.mark(&suspension).unwrap();
        assert_eq!([kind(), kind()], [Err(RejectionKind::Suspended); 2]);
        let suspended = list.epoch();
        list.lift(mark.target());
        assert!(list.epoch() > suspended, "for whoever keeps a rejection");
        assert_eq!([kind(), kind()], [Ok(()), Ok(())]);
        list.mark(&mark).unwrap();
        assert_eq!([kind(), kind()], [Err(RejectionKind::Revoked); 2]);
    }
}

/// A cached token is asked about again only if the epoch is another one.
#[test]
fn no_answer_without_a_mark_has_the_epoch_after_it() {
    let fixture = Fixture::new();
    let token = fixture.accepts(&fixture.token().claim("sid", "s").mint());
    let is_active = |list: &Denylist| {
        let check = list.check(&token);
        matches!(check, RevocationCheck::Ready(Ok(RevocationStatus::Active)))
    };
    for _ in 0..200 {
        let list = Denylist::default().with_clock(fixture.clock.clone());
        let (looks, is_over) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let last = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = 0;
                while is_over.load(Ordering::Acquire) == 0 {
                    let epoch = list.epoch().unwrap();
                    if is_active(&list) {
                        last = epoch;
                    }
                    looks.fetch_add(1, Ordering::Release);
                }
                last
            });
            while looks.load(Ordering::Acquire) < 10 {
                std::hint::spin_loop();
            }
            list.revoke_session(ISSUER, "s", at(NOW + 60)).unwrap();
            is_over.store(1, Ordering::Release);
            reader.join().unwrap()
        });
        assert!(!is_active(&list) && Some(last) < list.epoch());
    }
}

#[test]
fn a_mark_that_is_made_while_a_check_runs_is_seen_by_the_next_request() {
    let fixture = Fixture::new();
    let check = Versioned {
        rises_in_check: true,
        ..Versioned::default()
    };
    let auth = fixture.auth().cache(some_cache());
    let verifier = auth.revocation(check.clone()).verifier();
    let token = fixture.token().mint();
    (0..5).for_each(|_| assert!(verifier.verify_now(&token).is_ok()));
    assert_eq!(check.calls(), 2);
}

/// The same for a check that has to be waited for.
#[test]
fn a_mark_that_is_made_while_a_check_is_waited_for_is_seen_by_the_next_request() {
    struct Slow {
        answers: Mutex<Vec<oneshot::Receiver<RevocationStatus>>>,
        epoch: Arc<AtomicU64>,
    }
    impl Revocation for Slow {
        fn check(&self, _: &Claims) -> RevocationCheck {
            let answer = self.answers.lock().unwrap().pop();
            let answer = answer.expect("no further check");
            RevocationCheck::Pending(Box::pin(async move { Ok(answer.await.unwrap()) }))
        }

        fn epoch(&self) -> Option<u64> {
            Some(self.epoch.load(Ordering::Relaxed))
        }
    }

    let fixture = Fixture::new();
    let (first, second) = (oneshot::channel(), oneshot::channel());
    let epoch = Arc::new(AtomicU64::new(7));
    let slow = Slow {
        answers: vec![second.1, first.1].into(),
        epoch: epoch.clone(),
    };
    let auth = fixture.auth().cache(some_cache());
    let verifier = auth.revocation(slow).verifier();
    let token = fixture.token().mint();
    let mut context = Context::from_waker(Waker::noop());
    let mut verdict = Box::pin(verifier.verify(&token));
    assert!(verdict.as_mut().poll(&mut context).is_pending());
    epoch.fetch_add(1, Ordering::Relaxed);
    first.0.send(RevocationStatus::Active).unwrap();
    assert!(matches!(
        verdict.as_mut().poll(&mut context),
        Poll::Ready(Ok(_))
    ));
    let mut verdict = Box::pin(verifier.verify(&token));
    assert!(
        verdict.as_mut().poll(&mut context).is_pending(),
        "asked again"
    );
    second.0.send(RevocationStatus::Active).unwrap();
    assert!(matches!(
        verdict.as_mut().poll(&mut context),
        Poll::Ready(Ok(_))
    ));
    // Nothing has changed since the second check began.
    assert!(verifier.verify_now(&token).is_ok());
}

/// A failure says nothing about the token, so it is not remembered, whatever the epoch is.
#[tokio::test]
async fn a_check_that_fails_is_asked_again_though_its_epoch_stays() {
    /// Fails twice.
    struct Unsteady {
        calls: Arc<AtomicUsize>,
        is_pending: bool,
    }
    impl Revocation for Unsteady {
        fn check(&self, _: &Claims) -> RevocationCheck {
            let answer = match self.calls.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(RevocationError::new("lost")),
                _ => Ok(RevocationStatus::Active),
            };
            if self.is_pending {
                RevocationCheck::Pending(Box::pin(async { answer }))
            } else {
                RevocationCheck::Ready(answer)
            }
        }

        fn epoch(&self) -> Option<u64> {
            Some(7)
        }
    }

    for is_pending in [false, true] {
        let (fixture, calls) = (Fixture::new(), Arc::default());
        let check = Unsteady {
            calls: Arc::clone(&calls),
            is_pending,
        };
        let auth = fixture.auth().cache(some_cache()).revocation(check);
        let (verifier, token) = (auth.verifier(), fixture.token().mint());
        for _ in 0..2 {
            let rejection = verifier.verify(&token).await.unwrap_err();
            assert_eq!(rejection.kind(), RejectionKind::RevocationUnavailable);
        }
        for _ in 0..3 {
            assert!(verifier.verify(&token).await.is_ok(), "{is_pending}");
        }
        assert_eq!(calls.load(Ordering::Relaxed), 3, "{is_pending}");
    }
}

// Several checks.

type Answer = Result<RevocationStatus, RevocationError>;

/// A check that gives this answer, either at once or through a future.
struct Fixed(Answer, bool);

impl Revocation for Fixed {
    fn check(&self, _: &Claims) -> RevocationCheck {
        let answer = self.0.clone();
        if self.1 {
            RevocationCheck::Pending(Box::pin(async { answer }))
        } else {
            RevocationCheck::Ready(answer)
        }
    }
}

#[tokio::test]
async fn of_several_checks_revoked_beats_suspended_beats_a_failure_beats_active() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    // From the strictest to the least strict.
    let answers: [(Answer, Option<RejectionKind>); 4] = [
        (Ok(RevocationStatus::Revoked), Some(RejectionKind::Revoked)),
        (
            Ok(RevocationStatus::Suspended),
            Some(RejectionKind::Suspended),
        ),
        (
            Err(RevocationError::new("lost")),
            Some(RejectionKind::RevocationUnavailable),
        ),
        (Ok(RevocationStatus::Active), None),
    ];
    for (one, (first, _)) in answers.iter().enumerate() {
        for (two, (second, _)) in answers.iter().enumerate() {
            for (waits, also_waits) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let auth = fixture.auth().revocation(Fixed(first.clone(), waits));
                let auth = auth.revocation(Fixed(second.clone(), also_waits));
                let verdict = auth.verifier().verify(&token).await;
                let kind = verdict.err().map(|rejection| rejection.kind());
                // If a check at hand suspends the token, pending checks are not waited for.
                let is_early = |which, waits: bool, other: bool| which == 1 && !waits && other;
                let expected =
                    if is_early(one, waits, also_waits) || is_early(two, also_waits, waits) {
                        Some(RejectionKind::Suspended)
                    } else {
                        answers[one.min(two)].1
                    };
                assert_eq!(kind, expected, "{first:?} {waits}, {second:?} {also_waits}");
            }
        }
    }
}

/// The request waits as long as the slowest check takes, and not for one check after the other. It
/// does not wait any longer when a check rejects the token.
#[test]
fn checks_that_are_waited_for_run_side_by_side() {
    for answers in [
        [Some(RevocationStatus::Active); 2],
        [None, Some(RevocationStatus::Revoked)],
    ] {
        let fixture = Fixture::new();
        let mut auth = fixture.auth();
        let (started, mut senders) = (Arc::new(AtomicUsize::new(0)), Vec::new());
        for _ in answers {
            let (send, receive) = oneshot::channel();
            senders.push(send);
            let (receive, started) = (Mutex::new(Some(receive)), started.clone());
            auth = auth.revocation(move |_: Claims| {
                let answer = receive.lock().unwrap().take().expect("asked once");
                let started = started.clone();
                async move {
                    started.fetch_add(1, Ordering::Relaxed);
                    answer.await.unwrap()
                }
            });
        }
        let (verifier, token) = (auth.verifier(), fixture.token().mint());
        let mut context = Context::from_waker(Waker::noop());
        let mut verdict = Box::pin(verifier.verify(&token));
        assert!(verdict.as_mut().poll(&mut context).is_pending());
        assert_eq!(started.load(Ordering::Relaxed), 2);
        let mut kept = Vec::new();
        for (sender, answer) in senders.into_iter().zip(answers) {
            assert!(verdict.as_mut().poll(&mut context).is_pending());
            match answer {
                Some(answer) => sender.send(Ok::<_, RevocationError>(answer)).unwrap(),
                None => kept.push(sender),
            }
        }
        let Poll::Ready(verdict) = verdict.as_mut().poll(&mut context) else {
            panic!("the answers are there");
        };
        let kind = verdict.err().map(|rejection| rejection.kind());
        assert_eq!(kind, answers[0].is_none().then_some(RejectionKind::Revoked));
    }
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
        // The operator sees where the check failed, and the client does not.
        assert!(rejection.to_string().contains("10.0.0.7"));
        assert!(!rejection.client_text().contains("10.0.0.7"));
    }
}

/// A request that waits for an answer continues when the answer comes.
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
    // A defect that needs no check is known at once.
    let expired = fixture.token().expired().mint();
    let rejection = verifier.verify_now(&expired).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::Expired);
    // A check that answers at once causes no wait.
    let at_once = fixture.auth().revocation(Counting::default()).verifier();
    assert!(at_once.verify_now(&token).is_ok());
}

/// Own claims that do not fit are rejected after the wait too.
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
