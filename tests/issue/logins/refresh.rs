//! What a refresh token gets: the three rules, the limits of a session, and the errors.

use std::collections::BTreeSet;
use std::time::Duration;

use tower_jwt_auth::issue::{
    Login, LoginClaimsError, LoginError, LoginStore, LoginTokens, Logins, MemoryLogins,
    RefreshError, RefreshKeys, RefreshRequest, Session, SigningKeys, TokenBinding, TokenIssuer,
};
use tower_jwt_auth::request::ClientCertificate;
use tower_jwt_auth::scope::ScopeSet;
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer};

use super::world::{CLIENT, Fails, LATER, SECRET, World, issuer, login};
use crate::support::{AUDIENCE, ISSUER, NOW};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// ISSUE-D1: 1 000 requests with one token at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issue_d1_a_thousand_refreshes_advance_once_and_get_one_successor() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let mut successors = BTreeSet::new();
    for tokens in world
        .refreshes_a_thousand_times(first.refresh_token())
        .await
    {
        successors.insert(tokens.refresh_token().to_owned());
        world.accepts(&tokens);
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(world.store.updates(), 1);
    world.wait(LATER);
    let successor = successors.pop_first().unwrap();
    assert_ne!(successor, first.refresh_token());
    world.refreshes(&successor).await;
}

/// ISSUE-D1: after the grace, the previous token ends the family and its access tokens, cached ones too.
#[tokio::test]
async fn issue_d1_a_previous_token_after_the_grace_ends_the_session() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    for tokens in [&first, &second] {
        world.accepts(tokens);
    }
    // Within the grace it is an answer that was lost, or another tab.
    world.wait(Duration::from_millis(9_999));
    let again = world.refreshes(first.refresh_token()).await;
    assert_eq!(again.refresh_token(), second.refresh_token());
    world.wait(Duration::from_millis(1));
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
    assert_eq!(
        (error.status().as_u16(), error.oauth_error()),
        (400, Some("invalid_grant"))
    );
    for tokens in [&first, &second, &again] {
        world.revoked(tokens);
        let error = world.refresh(tokens.refresh_token()).await.unwrap_err();
        assert_eq!(error, RefreshError::Ended);
    }
    // A session of the same subject is another one.
    world.accepts(&world.begin().await);
}

/// RFC9700-4.14.2-1, with a grace of 0: strict single use.
#[tokio::test]
async fn rfc9700_4_14_2_1_a_token_is_used_once() {
    let world = World::with(|logins| logins.grace(Duration::ZERO).unwrap());
    let first = world.begin().await;
    let second = world.refreshes(first.refresh_token()).await;
    let third = world.refreshes(second.refresh_token()).await;
    for (token, expected) in [
        (second.refresh_token(), RefreshError::Reused),
        (third.refresh_token(), RefreshError::Ended),
        (first.refresh_token(), RefreshError::Ended),
    ] {
        assert_eq!(world.refresh(token).await.unwrap_err(), expected);
    }
    world.revoked(&third);
}

/// RFC9700-4.14.2-2 and RFC 6749, section 6.
#[tokio::test]
async fn rfc9700_4_14_2_2_a_refresh_may_ask_for_fewer_scopes_and_not_for_more() {
    let world = World::new();
    let first = world.begin().await;
    assert_eq!(
        first.access_token().scope(),
        Some("calendar:read calendar:write")
    );
    let token = first.refresh_token();
    let narrow = RefreshRequest::new(token, CLIENT).scope("calendar:read");
    let narrow = world.logins.refresh(narrow).await.unwrap();
    assert_eq!(narrow.access_token().scope(), Some("calendar:read"));
    for wider in [
        "calendar:read admin",
        "admin",
        " ",
        "calendar:read\u{0}",
        "ä",
    ] {
        let request = RefreshRequest::new(token, CLIENT).scope(wider);
        let error = world.logins.refresh(request).await.unwrap_err();
        assert_eq!(error, RefreshError::Scope, "{wider:?}");
        assert_eq!(error.oauth_error(), Some("invalid_scope"));
    }
    // The session still has all of its scopes.
    let all = world.refreshes(narrow.refresh_token()).await;
    assert_eq!(
        all.access_token().scope(),
        Some("calendar:read calendar:write")
    );
    // A parameter without a value counts as left out (RFC 6749, section 3.2).
    let empty = RefreshRequest::new(narrow.refresh_token(), CLIENT).scope("");
    let empty = world.logins.refresh(empty).await.unwrap();
    assert_eq!(empty.access_token().scope(), all.access_token().scope());
    // A session without scopes has none to give.
    let bare = world.logins.begin(Login::new("bob", CLIENT)).await.unwrap();
    assert_eq!(bare.access_token().scope(), None);
    let request = RefreshRequest::new(bare.refresh_token(), CLIENT).scope("calendar:read");
    let error = world.logins.refresh(request).await.unwrap_err();
    assert_eq!(error, RefreshError::Scope);
}

/// RFC6749-10.4-1: bound to its client, and the store has nothing that could be used.
#[tokio::test]
async fn rfc6749_10_4_1_a_token_belongs_to_its_client_and_is_not_in_the_store() {
    let world = World::new();
    let first = world.begin().await;
    for other in ["mobile", "", "WEB", "web "] {
        let refreshed = world.logins.refresh((first.refresh_token(), other)).await;
        let error = refreshed.unwrap_err();
        assert_eq!(error, RefreshError::Client, "{other:?}");
        assert_eq!(error.oauth_error(), Some("invalid_grant"));
    }
    // The attempt of another client ends nothing.
    let second = world.refreshes(first.refresh_token()).await;
    let row = world.store.row(second.session().id()).await;
    let stored = format!("{} {} {}", row.id, row.subject, row.data);
    let token = second.refresh_token();
    // The family is the id of the session. The rest of the token is the generation and the MAC.
    for at in 30..token.len() - 8 {
        assert!(!stored.contains(&token[at..at + 8]), "{stored}");
    }
    assert!(!stored.contains(second.access_token().as_str()));
}

/// RFC9700-4.14.2-3.
#[tokio::test]
async fn rfc9700_4_14_2_3_a_session_ends_when_it_is_idle_and_after_its_absolute_lifetime() {
    let set = |logins: Logins| {
        logins
            .idle_lifetime(HOUR)
            .unwrap()
            .absolute_lifetime(DAY)
            .unwrap()
    };
    let world = World::with(set);
    let idle = world.begin().await;
    assert_eq!(idle.refresh_expires_at(), idle.session().began_at() + HOUR);
    world.wait(HOUR - Duration::from_millis(1));
    let idle = world.refreshes(idle.refresh_token()).await;
    world.wait(HOUR);
    let error = world.refresh(idle.refresh_token()).await.unwrap_err();
    assert_eq!(
        (error.clone(), error.oauth_error()),
        (RefreshError::Idle, Some("invalid_grant"))
    );
    assert!(world.logins.sessions("alice").await.unwrap().is_empty());

    let world = World::with(set);
    let mut tokens = world.begin().await;
    for _ in 0..47 {
        world.wait(30 * MINUTE);
        tokens = world.refreshes(tokens.refresh_token()).await;
    }
    assert_eq!(
        tokens.refresh_expires_at(),
        tokens.session().began_at() + DAY
    );
    world.wait(30 * MINUTE);
    let error = world.refresh(tokens.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Expired);
}

/// No lifetime of either kind is left out by default.
#[tokio::test]
async fn a_session_has_both_lifetimes_by_default() {
    let world = World::new();
    let first = world.begin().await;
    assert_eq!(
        first.refresh_expires_at(),
        first.session().began_at() + 14 * DAY
    );
    let mut tokens = first;
    for _ in 0..8 {
        world.wait(10 * DAY);
        tokens = world.refreshes(tokens.refresh_token()).await;
    }
    assert_eq!(
        tokens.refresh_expires_at(),
        tokens.session().began_at() + 90 * DAY
    );
}

/// Each bad token is its own error, and none reaches the store.
#[tokio::test]
async fn a_token_that_is_not_genuine_never_reaches_the_store() {
    let world = World::new();
    let first = world.begin().await;
    let token = first.refresh_token().to_owned();
    let foreign = {
        let keys = RefreshKeys::generate().unwrap();
        let logins = Logins::new(issuer(&world.clock), keys, MemoryLogins::default());
        logins.begin(login("alice")).await.unwrap()
    };
    let with = |at: usize, character: &str| {
        let mut text = token.clone();
        text.replace_range(at..=at, character);
        text
    };
    let other = |at: usize| {
        if token.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        }
    };
    let calls = world.store.calls();
    for (text, expected) in [
        (String::new(), RefreshError::Malformed),
        ("rt_".to_owned(), RefreshError::Malformed),
        (token[..68].to_owned(), RefreshError::Malformed),
        (format!("{token}A"), RefreshError::Malformed),
        (format!(" {}", &token[..68]), RefreshError::Malformed),
        (format!("RT_{}", &token[3..]), RefreshError::Malformed),
        (with(20, "+"), RefreshError::Malformed),
        (with(68, "-"), RefreshError::Malformed),
        (
            first.access_token().as_str().to_owned(),
            RefreshError::Malformed,
        ),
        ("x".repeat(1 << 20), RefreshError::Malformed),
        (with(68, other(68)), RefreshError::Checksum),
        (with(10, other(10)), RefreshError::Checksum),
        (foreign.refresh_token().to_owned(), RefreshError::Forged),
    ] {
        let error = world.refresh(&text).await.unwrap_err();
        assert_eq!(error, expected);
        assert_eq!(
            (error.status().as_u16(), error.oauth_error()),
            (400, Some("invalid_grant"))
        );
        // There is nothing to end (RFC 7009, section 2.2).
        world.logins.end_by_token(&text).await.unwrap();
    }
    assert_eq!(world.store.calls(), calls);
    // Genuine, but its session is not in this store: it asks the store.
    let elsewhere = World::new().begin().await;
    let error = world.refresh(elsewhere.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Unknown);
    assert_eq!(world.store.calls(), calls + 1);
}

/// ISSUE-D2.
#[tokio::test]
async fn issue_d2_rotation_can_be_switched_off_for_bound_sessions_alone() {
    let world = World::new();
    let error = world.logins.clone().without_rotation().unwrap_err();
    assert!(matches!(error, ConfigError::Settings { .. }), "{error}");
    let world = World::with(|logins| logins.require_binding().without_rotation().unwrap());
    let error = world.logins.begin(login("alice")).await.unwrap_err();
    assert_eq!(error, LoginError::Unbound);

    let certificate = TokenBinding::certificate(&ClientCertificate::from_der(b"a certificate"));
    let other = TokenBinding::certificate(&ClientCertificate::from_der(b"another one"));
    let first = world
        .logins
        .begin(login("alice").bound_to(&certificate))
        .await
        .unwrap();
    let token = first.refresh_token().to_owned();
    for _ in 0..20 {
        world.wait(DAY);
        let request = RefreshRequest::new(&token, CLIENT).proves(&certificate);
        let tokens = world.logins.refresh(request).await.unwrap();
        assert_eq!(tokens.refresh_token(), token, "it stays the same");
        for request in [
            RefreshRequest::new(&token, CLIENT).proves(&other),
            RefreshRequest::new(&token, CLIENT),
        ] {
            let error = world.logins.refresh(request).await.unwrap_err();
            assert_eq!(
                (error.clone(), error.oauth_error()),
                (RefreshError::Binding, Some("invalid_grant"))
            );
        }
    }
    // The idle lifetime counts from the last use.
    world.wait(14 * DAY);
    let request = RefreshRequest::new(&token, CLIENT).proves(&certificate);
    assert_eq!(
        world.logins.refresh(request).await.unwrap_err(),
        RefreshError::Idle
    );
}

/// A bound session rotates too, unless that is switched off.
#[tokio::test]
async fn a_bound_session_needs_its_key_for_each_refresh() {
    let world = World::new();
    let key = TokenBinding::dpop_key("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
    let first = world
        .logins
        .begin(login("alice").bound_to(&key))
        .await
        .unwrap();
    assert_eq!(first.access_token().token_type(), "DPoP");
    world.wait(LATER);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Binding);
    let request = RefreshRequest::new(first.refresh_token(), CLIENT).proves(&key);
    let second = world.logins.refresh(request).await.unwrap();
    assert_ne!(second.refresh_token(), first.refresh_token());
    assert_eq!(second.access_token().token_type(), "DPoP");
}

/// The thief is first, and the owner comes with the used token.
#[tokio::test]
async fn a_stolen_token_is_caught_if_the_thief_uses_it_before_the_owner() {
    let world = World::new();
    let owner = world.begin().await;
    world.wait(LATER);
    let thief = world.refreshes(owner.refresh_token()).await;
    world.wait(LATER);
    let error = world.refresh(owner.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
    world.revoked(&thief);
    assert_eq!(
        world.refresh(thief.refresh_token()).await.unwrap_err(),
        RefreshError::Ended
    );
}

#[tokio::test]
async fn a_stolen_token_is_caught_if_the_thief_uses_it_after_the_owner() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let owner = world.refreshes(first.refresh_token()).await;
    world.wait(LATER);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
    world.revoked(&owner);
}

/// Within the grace both get one successor. The one who uses it second is caught.
#[tokio::test]
async fn a_stolen_token_within_the_grace_is_caught_at_the_next_refresh() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let owner = world.refreshes(first.refresh_token()).await;
    world.wait(Duration::from_secs(5));
    let thief = world.refreshes(first.refresh_token()).await;
    assert_eq!(thief.refresh_token(), owner.refresh_token());
    world.accepts(&thief);
    world.wait(10 * MINUTE);
    let owner = world.refreshes(owner.refresh_token()).await;
    world.wait(MINUTE);
    let error = world.refresh(thief.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
    world.revoked(&owner);
}

#[tokio::test]
async fn a_clock_that_is_set_back_logs_nobody_out() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(DAY);
    let mut tokens = world.refreshes(first.refresh_token()).await;
    world.clock.set(NOW + 60);
    let previous = world.refreshes(first.refresh_token()).await;
    assert_eq!(previous.refresh_token(), tokens.refresh_token());
    // The session goes on at once, and not only when the clock has caught up.
    let mut seen = BTreeSet::new();
    for _ in 0..5 {
        tokens = world.refreshes(tokens.refresh_token()).await;
        assert!(seen.insert(tokens.refresh_token().to_owned()));
        world.accepts(&tokens);
        world.wait(LATER);
    }
    // A clock that jumps ahead and comes back loses nothing either.
    world.wait(15 * DAY);
    assert_eq!(
        world.refresh(tokens.refresh_token()).await.unwrap_err(),
        RefreshError::Idle
    );
    world.clock.set(NOW + 3_600);
    world.refreshes(tokens.refresh_token()).await;
}

#[tokio::test]
async fn tokens_of_the_previous_secret_are_good_until_it_is_left_out() {
    let world = World::new();
    let first = world.begin().await;
    let secret = b"uQ9xWc4nRb7VtYk2MzLp6EjHsXaGdF0i";
    let logins = |keys| Logins::new(issuer(&world.clock), keys, world.store.clone());
    let new = RefreshKeys::from_secret(secret).unwrap();
    let both = logins(new.clone().with_previous(SECRET).unwrap());
    world.wait(LATER);
    let second = both.refresh((first.refresh_token(), CLIENT)).await.unwrap();
    let error = world.refresh(second.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Forged, "it is of the new secret");
    let only_new = logins(new);
    let error = only_new
        .refresh((first.refresh_token(), CLIENT))
        .await
        .unwrap_err();
    assert_eq!(error, RefreshError::Forged);
    only_new
        .refresh((second.refresh_token(), CLIENT))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_store_that_is_down_logs_nobody_out() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(DAY);
    world.store.fail(Fails::Before);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!((error.status().as_u16(), error.oauth_error()), (503, None));
    assert_eq!(error.kind(), "unavailable");
    assert!(
        world
            .logins
            .begin(login("bob"))
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(
        world
            .logins
            .sessions("alice")
            .await
            .unwrap_err()
            .is_unavailable()
    );
    world.store.fail(None);
    world.wait(DAY);
    world.refreshes(first.refresh_token()).await;
}

/// As if the process had ended between the update and the answer.
#[tokio::test]
async fn a_retry_after_a_lost_answer_gets_the_same_successor() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert_eq!(world.store.updates(), 1, "the store has made the update");
    world.store.fail(None);
    world.wait(Duration::from_secs(3));
    // Another process with the same secret.
    let keys = RefreshKeys::from_secret(SECRET).unwrap();
    let other = Logins::new(issuer(&world.clock), keys, world.store.clone());
    let second = other
        .refresh((first.refresh_token(), CLIENT))
        .await
        .unwrap();
    let again = world.refreshes(first.refresh_token()).await;
    assert_eq!(second.refresh_token(), again.refresh_token());
    assert_ne!(second.refresh_token(), first.refresh_token());
    assert_eq!(world.store.updates(), 1);
    // A future that is dropped does no harm either.
    world.wait(LATER);
    drop(world.logins.refresh((second.refresh_token(), CLIENT)));
    world.refreshes(second.refresh_token()).await;
}

/// The outage lasts longer than the grace, and the store has made the write before it.
#[tokio::test]
async fn an_outage_that_begins_after_the_write_logs_nobody_out() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    world.refresh(first.refresh_token()).await.unwrap_err();
    for _ in 0..3 {
        world.store.fail(Fails::Before);
        world.wait(10 * MINUTE);
        world.refresh(first.refresh_token()).await.unwrap_err();
    }
    world.store.fail(None);
    let second = world.refreshes(first.refresh_token()).await;
    assert_eq!(world.store.updates(), 1);
    // That answer may be lost too, within the grace.
    assert_eq!(
        world.refreshes(first.refresh_token()).await.refresh_token(),
        second.refresh_token()
    );
    world.wait(MINUTE);
    let third = world.refreshes(second.refresh_token()).await;
    // From then on the old tokens are used ones.
    world.wait(LATER);
    assert_eq!(
        world.refresh(second.refresh_token()).await.unwrap_err(),
        RefreshError::Reused
    );
    world.revoked(&third);
}

/// The twin: the owner has got the successor, so the old token has the grace and no more.
#[tokio::test]
async fn a_token_of_an_outage_is_used_once_more() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    world.refresh(first.refresh_token()).await.unwrap_err();
    world.store.fail(None);
    world.wait(10 * MINUTE);
    world.refreshes(first.refresh_token()).await;
    world.wait(LATER);
    assert_eq!(
        world.refresh(first.refresh_token()).await.unwrap_err(),
        RefreshError::Reused
    );
}

/// The twin: the answer of the store came, so the token counts as used.
#[tokio::test]
async fn a_used_token_is_caught_after_an_outage_too() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.refreshes(first.refresh_token()).await;
    world.store.fail(Fails::Before);
    world.wait(10 * MINUTE);
    world.refresh(first.refresh_token()).await.unwrap_err();
    world.store.fail(None);
    assert_eq!(
        world.refresh(first.refresh_token()).await.unwrap_err(),
        RefreshError::Reused
    );
}

/// A Redis that failed over to a replica may be a write behind.
#[tokio::test]
async fn a_store_that_has_lost_a_write_logs_nobody_out() {
    let world = World::new();
    let first = world.begin().await;
    let old = world.store.row(first.session().id()).await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    let row = world.store.row(&old.id).await;
    let mut set_back = old.clone();
    set_back.version = row.version + 1;
    assert!(world.store.update(set_back, row.version).await.unwrap());
    world.wait(LATER);
    let third = world.refreshes(second.refresh_token()).await;
    assert_ne!(third.refresh_token(), second.refresh_token());
    world.wait(LATER);
    // Older tokens are caught as before.
    assert_eq!(
        world.refresh(first.refresh_token()).await.unwrap_err(),
        RefreshError::Reused
    );
    world.revoked(&third);
}

#[tokio::test]
async fn a_session_that_others_change_again_and_again_is_an_outage_after_some_attempts() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AlwaysLoses);
    let calls = world.store.calls();
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    assert!(world.store.calls() - calls <= 16);
    let id = first.session().id();
    assert!(
        world
            .logins
            .renew_login(id, None, &[])
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(world.logins.end(id).await.unwrap_err().is_unavailable());
    world.store.fail(None);
    world.refreshes(first.refresh_token()).await;
}

/// A new password is proved while a refresh is under way: both count.
#[tokio::test]
async fn a_renewed_login_and_a_refresh_at_the_same_time_are_both_kept() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let (logins, id) = (world.logins.clone(), first.session().id().to_owned());
    world.store.before_update(async move {
        logins
            .renew_login(&id, Some("phr"), &["pwd", "hwk"])
            .await
            .unwrap();
    });
    let second = world.refreshes(first.refresh_token()).await;
    assert_ne!(second.refresh_token(), first.refresh_token());
    let claims = world.verify(&second).unwrap();
    assert_eq!(claims.authentication_context(), Some("phr"));
    assert_eq!(
        claims.authenticated_at(),
        Some(second.session().refreshed_at())
    );

    // The other way round: the refresh is first.
    world.wait(LATER);
    let (logins, token) = (world.logins.clone(), second.refresh_token().to_owned());
    world.store.before_update(async move {
        logins.refresh((&*token, CLIENT)).await.unwrap();
    });
    world.wait(Duration::from_secs(1));
    let session = world
        .logins
        .renew_login(second.session().id(), None, &["pwd"])
        .await
        .unwrap();
    assert_eq!(session.refreshed_at(), session.authenticated_at());
    let third = world.refreshes(second.refresh_token()).await;
    assert_ne!(third.refresh_token(), second.refresh_token());
    assert_eq!(
        world.verify(&third).unwrap().authentication_context(),
        None,
        "the last proof was weaker"
    );
}

#[derive(serde::Serialize)]
struct Own {
    plan: &'static str,
}

#[tokio::test]
async fn claims_are_made_before_the_refresh_counts() {
    use std::sync::atomic::{AtomicU8, Ordering};
    static ANSWER: AtomicU8 = AtomicU8::new(0);
    let world = World::with(|logins| {
        logins.claims_from(async |session: Session| {
            assert_eq!(session.subject(), "alice");
            match ANSWER.load(Ordering::SeqCst) {
                0 => Ok(Own { plan: "free" }),
                1 => Err(LoginClaimsError::denied("the account is locked")),
                2 => Err(LoginClaimsError::unavailable("no route")),
                _ => Ok(Own { plan: "gold" }),
            }
        })
    });
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Read {
        plan: String,
        locale: Option<String>,
    }
    let own = serde_json::json!({ "locale": "nl", "plan": "old" });
    let first = world
        .logins
        .begin(login("alice").claims(&own))
        .await
        .unwrap();
    let read = |tokens: &LoginTokens| {
        let claims = world.verify(tokens).unwrap();
        let own = claims.deserialize::<Read>().unwrap();
        (own.plan.clone(), own.locale.clone())
    };
    assert_eq!(read(&first), ("free".to_owned(), Some("nl".to_owned())));
    world.wait(LATER);
    let updates = world.store.updates();
    for (answer, kind, status) in [(1, "denied", 400), (2, "unavailable", 503)] {
        ANSWER.store(answer, Ordering::SeqCst);
        let error = world.refresh(first.refresh_token()).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.status().as_u16()),
            (kind, status),
            "{error}"
        );
        let error = world.logins.begin(login("alice")).await.unwrap_err();
        assert_eq!(error.is_unavailable(), answer == 2, "{error}");
    }
    assert_eq!(world.store.updates(), updates);
    world.wait(DAY);
    ANSWER.store(3, Ordering::SeqCst);
    let second = world.refreshes(first.refresh_token()).await;
    assert_eq!(read(&second), ("gold".to_owned(), Some("nl".to_owned())));
}

#[tokio::test]
async fn a_secret_in_the_claims_of_a_login_is_an_error() {
    let world = World::new();
    for own in [
        serde_json::json!({ "password": "hunter2" }),
        serde_json::json!("a text"),
        serde_json::json!({ "sub": "bob" }),
    ] {
        let error = world
            .logins
            .begin(login("alice").claims(&own))
            .await
            .unwrap_err();
        assert!(matches!(error, LoginError::Issue(_)), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(world.store.calls(), 0);
}

#[tokio::test]
async fn an_access_token_says_which_session_it_belongs_to() {
    let world = World::new();
    let login = login("alice")
        .authentication_context("mfa")
        .authentication_methods(["pwd", "otp"])
        .device("Firefox on Linux");
    let tokens = world.logins.begin(login).await.unwrap();
    let claims = world.verify(&tokens).unwrap();
    assert_eq!(claims.subject(), Some("alice"));
    assert_eq!(claims.client_id(), Some(CLIENT));
    assert_eq!(claims.session_id(), Some(tokens.session().id()));
    assert_eq!(claims.authentication_context(), Some("mfa"));
    assert_eq!(claims.authenticated_at(), Some(tokens.session().began_at()));
    assert_eq!(tokens.session().device(), Some("Firefox on Linux"));
    assert_eq!(
        tokens.session().scopes(),
        Some(&ScopeSet::parse("calendar:read calendar:write").unwrap())
    );
    assert_eq!(tokens.session().id().len(), 22);
    assert!(tokens.refresh_token().starts_with("rt_"));
    // No text of a token in any `Debug` output.
    let request = RefreshRequest::new(tokens.refresh_token(), CLIENT);
    let texts = format!(
        "{tokens:?} {request:?} {:?} {:?}",
        tokens.session(),
        world.logins
    );
    assert!(!texts.contains(&tokens.refresh_token()[30..]), "{texts}");
    assert!(
        !texts.contains(tokens.access_token().as_str()) && !texts.contains("alice"),
        "{texts}"
    );
}

#[test]
fn lifetimes_that_are_too_short_or_too_long_are_rejected_with_the_bounds() {
    let clock = tower_jwt_auth::test::FixedClock::at(NOW);
    let logins = || {
        let keys = RefreshKeys::generate().unwrap();
        Logins::new(issuer(&clock), keys, MemoryLogins::default())
    };
    let second = Duration::from_secs(1);
    for (result, says) in [
        (
            logins().idle_lifetime(59 * second),
            "idle lifetime of 59 s is not usable: expected 660 s to 31622400 s",
        ),
        (
            logins().idle_lifetime(367 * DAY),
            "idle lifetime of 31708800 s",
        ),
        (
            logins().absolute_lifetime(Duration::ZERO),
            "absolute lifetime of 0 s",
        ),
        (
            logins().absolute_lifetime(Duration::MAX),
            "absolute lifetime of 1844",
        ),
        (
            logins().grace(61 * second),
            "grace of 61 s is not usable: expected 0 s to 60 s",
        ),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    assert!(
        logins()
            .grace(60 * second)
            .unwrap()
            .idle_lifetime(11 * MINUTE)
            .is_ok()
    );
}

/// A session that ends before it can be idle: one of the two settings would have no effect.
#[tokio::test]
async fn an_idle_lifetime_is_not_longer_than_the_absolute_lifetime() {
    let clock = tower_jwt_auth::test::FixedClock::at(NOW);
    let over = |tokens| {
        let keys = RefreshKeys::generate().unwrap();
        Logins::new(tokens, keys, MemoryLogins::default())
    };
    let logins = || over(issuer(&clock));
    let too_long = logins().idle_lifetime(91 * DAY).unwrap_err().to_string();
    assert!(
        too_long.ends_with(
            "the idle lifetime of 7862400 s is longer than the absolute lifetime of 7776000 s, after which every \
             session ends"
        ),
        "{too_long}"
    );
    let too_short = logins().idle_lifetime(20 * DAY).unwrap();
    let too_short = too_short.absolute_lifetime(20 * DAY - Duration::from_millis(1));
    let too_short = too_short.unwrap_err().to_string();
    assert!(
        too_short.contains("idle lifetime of 1728000 s"),
        "{too_short}"
    );
    assert!(
        too_short.contains("absolute lifetime of 1727999.999 s"),
        "{too_short}"
    );
    for good in [
        logins().idle_lifetime(90 * DAY),
        logins()
            .absolute_lifetime(180 * DAY)
            .unwrap()
            .idle_lifetime(91 * DAY),
        logins()
            .idle_lifetime(20 * DAY)
            .unwrap()
            .absolute_lifetime(20 * DAY),
        // The default is as short as it has to be.
        logins().absolute_lifetime(MINUTE),
    ] {
        good.unwrap();
    }

    // A client refreshes when its access token has expired, also with the default.
    let tokens = SigningKeys::generate(Algorithm::ES256).unwrap();
    let tokens = tokens
        .rotate_every(60 * DAY)
        .unwrap()
        .with_clock(clock.clone());
    let tokens = TokenIssuer::new(
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
        tokens,
    );
    let tokens = tokens
        .clock(clock.clone())
        .insecure_lifetime(30 * DAY)
        .unwrap();
    let logins = over(tokens);
    let first = logins.begin(login("alice")).await.unwrap();
    clock.advance(30 * DAY);
    logins
        .refresh((first.refresh_token(), CLIENT))
        .await
        .unwrap();
}
