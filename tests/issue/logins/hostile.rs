//! Slow parts, shared parts, and stores that give what is not asked for.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::clock::Clock;
use tower_jwt_auth::issue::{
    LoginError, LoginStore, LoginStoreFuture, Logins, MemoryLogins, RefreshError, RefreshKeys,
    RefreshRequest, Session, StoredSession, TokenBinding,
};
use tower_jwt_auth::request::ClientCertificate;
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Audience, Issuer};

use super::world::{CLIENT, LATER, SECRET, Watched, World, issuer, login};
use crate::support::{AUDIENCE, NOW};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Logins whose source of claims takes this number of seconds, once.
fn with_slow_claims() -> (World, Arc<AtomicU64>) {
    let clock = FixedClock::at(NOW);
    let (slow, wait) = (clock.clone(), Arc::new(AtomicU64::new(0)));
    let waits = Arc::clone(&wait);
    let memory = MemoryLogins::default().with_clock(clock.clone());
    let world = World::over(Watched::new(memory), clock, |logins| {
        logins.claims_from(move |_: Session| {
            slow.advance(Duration::from_secs(waits.swap(0, Ordering::SeqCst)));
            async { Ok(serde_json::json!({})) }
        })
    });
    (world, wait)
}

/// The grace begins when the successor is stored, not before the claims are made.
#[tokio::test]
async fn a_slow_source_of_claims_uses_up_no_grace() {
    let (world, wait) = with_slow_claims();
    let first = world.begin().await;
    world.wait(LATER);
    wait.store(12, Ordering::SeqCst);
    let second = world.refreshes(first.refresh_token()).await;
    // The answer was lost.
    world.wait(9 * SECOND);
    let again = world.refreshes(first.refresh_token()).await;
    assert_eq!(again.refresh_token(), second.refresh_token());
    world.wait(SECOND);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
}

/// Two tabs come at the same time, and the second one waits for the store longer than the grace.
#[tokio::test]
async fn a_slow_store_takes_no_tab_for_a_thief() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let (logins, clock) = (world.logins.clone(), world.clock.clone());
    let token = first.refresh_token().to_owned();
    let faster = Arc::new(Mutex::new(None));
    let place = Arc::clone(&faster);
    world.store.before_update(async move {
        *place.lock().unwrap() = Some(logins.refresh((&*token, CLIENT)).await.unwrap());
        clock.advance(12 * SECOND);
    });
    let second = world.refreshes(first.refresh_token()).await;
    let faster = faster.lock().unwrap().take().unwrap();
    assert_eq!(second.refresh_token(), faster.refresh_token());
    world.accepts(&second);
    // A request that comes now is late.
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
}

/// The faster tab advances twice meanwhile: the slow request can be made again, with the cookie of now.
#[tokio::test]
async fn a_request_that_waited_longer_than_the_grace_ends_no_session() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let (logins, clock) = (world.logins.clone(), world.clock.clone());
    let token = first.refresh_token().to_owned();
    let last = Arc::new(Mutex::new(None));
    let place = Arc::clone(&last);
    world.store.before_update(async move {
        let second = logins.refresh((&*token, CLIENT)).await.unwrap();
        clock.advance(LATER);
        let third = logins.refresh((second.refresh_token(), CLIENT)).await;
        *place.lock().unwrap() = Some(third.unwrap());
    });
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503, "{error}");
    let last = last.lock().unwrap().take().unwrap();
    world.accepts(&last);
    world.wait(LATER);
    world.refreshes(last.refresh_token()).await;
}

/// With a grace of 0 the slower of two requests is a reuse, however fast it is.
#[tokio::test]
async fn strict_single_use_has_one_winner() {
    let world = World::with(|logins| logins.grace(Duration::ZERO).unwrap());
    let first = world.begin().await;
    let (logins, token) = (world.logins.clone(), first.refresh_token().to_owned());
    world.store.before_update(async move {
        logins.refresh((&*token, CLIENT)).await.unwrap();
    });
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Reused);
}

/// ISSUE-D2: a token that stays the same is used by many requests at once, also with a grace of 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issue_d2_a_thousand_refreshes_without_rotation_are_all_answered() {
    let world = World::with(|logins| {
        let logins = logins.grace(Duration::ZERO).unwrap();
        logins.require_binding().without_rotation().unwrap()
    });
    let certificate = TokenBinding::certificate(&ClientCertificate::from_der(b"a certificate"));
    let first = world.logins.begin(login("alice").bound_to(&certificate));
    let first = first.await.unwrap();
    world.wait(LATER);
    let tasks: Vec<_> = (0..1_000)
        .map(|_| {
            let (logins, certificate) = (world.logins.clone(), certificate.clone());
            let token = first.refresh_token().to_owned();
            tokio::spawn(async move {
                let request = RefreshRequest::new(&token, CLIENT).proves(&certificate);
                logins.refresh(request).await
            })
        })
        .collect();
    let mut tokens = BTreeSet::new();
    for task in tasks {
        let refreshed = task.await.unwrap().unwrap();
        tokens.insert(refreshed.refresh_token().to_owned());
    }
    assert_eq!(tokens, BTreeSet::from([first.refresh_token().to_owned()]));
    assert_eq!(world.store.updates(), 1);
}

/// Customers and staff with one secret and one store, each with an issuer of its own.
#[tokio::test]
async fn a_session_counts_for_its_issuer_alone() {
    let world = World::new();
    let first = world.begin().await;
    let staff = {
        let keys = tower_jwt_auth::issue::SigningKeys::generate(tower_jwt_auth::Algorithm::ES256);
        let keys = keys.unwrap().with_clock(world.clock.clone());
        let issuer = Issuer::new("https://staff.example.com").unwrap();
        let tokens =
            tower_jwt_auth::issue::TokenIssuer::new(issuer, Audience::new(AUDIENCE).unwrap(), keys)
                .clock(world.clock.clone());
        let keys = RefreshKeys::from_secret(SECRET).unwrap();
        Logins::new(tokens, keys, world.store.clone())
    };
    world.wait(LATER);
    let error = staff.refresh((first.refresh_token(), CLIENT)).await;
    assert_eq!(error.unwrap_err(), RefreshError::Unknown);
    let renewed = staff.renew_login(first.session().id(), Some("phr"), &[]);
    assert_eq!(renewed.await.unwrap_err(), LoginError::Ended);
    // The subjects of two issuers are two users, even with one name.
    assert!(staff.sessions("alice").await.unwrap().is_empty());
    let theirs = staff.begin(login("alice")).await.unwrap();
    staff.end_all("alice").await.unwrap();
    staff.end(first.session().id()).await.unwrap();
    assert_eq!(world.logins.sessions("alice").await.unwrap().len(), 1);
    world.refreshes(first.refresh_token()).await;
    let error = staff.refresh((theirs.refresh_token(), CLIENT)).await;
    assert_eq!(error.unwrap_err(), RefreshError::Ended);
}

/// "A session ends this time after its begin, whatever happens."
#[tokio::test]
async fn no_access_token_outlives_its_session() {
    let world = World::with(|logins| logins.absolute_lifetime(15 * MINUTE).unwrap());
    let first = world.begin().await;
    let end = first.session().began_at() + 15 * MINUTE;
    assert_eq!(first.access_token().lifetime(), 10 * MINUTE);
    world.wait(8 * MINUTE);
    let second = world.refreshes(first.refresh_token()).await;
    assert_eq!(second.access_token().lifetime(), 7 * MINUTE);
    assert_eq!(second.access_token().expires_at(), end);
    assert_eq!(world.verify(&second).unwrap().expires_at(), Some(end));
    world.wait(7 * MINUTE - Duration::from_millis(1));
    let last = world.refreshes(second.refresh_token()).await;
    assert!(last.access_token().expires_at() <= end);

    let world = World::with(|logins| logins.absolute_lifetime(MINUTE).unwrap());
    let short = world.begin().await;
    assert_eq!(short.access_token().lifetime(), MINUTE);
    // The end is within a second, and `exp` is not.
    world.wait(Duration::from_millis(500));
    let half = world.begin().await;
    let end = half.session().began_at() + MINUTE;
    world.wait(MINUTE - Duration::from_millis(100));
    let last = world.refreshes(half.refresh_token()).await;
    assert!(last.access_token().expires_at() <= end);
}

/// The idle lifetime begins anew with the refresh, before its access token is made.
#[tokio::test]
async fn an_access_token_of_a_late_refresh_lives_as_long_as_any() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(14 * DAY - SECOND);
    let second = world.refreshes(first.refresh_token()).await;
    assert_eq!(second.access_token().lifetime(), 10 * MINUTE);
    assert_eq!(second.refresh_expires_at(), world.clock.now() + 14 * DAY);
}

/// A client refreshes when its access token has expired.
#[test]
fn an_idle_lifetime_is_longer_than_an_access_token() {
    let logins = |lifetime: Duration| {
        let tokens = issuer(&FixedClock::at(NOW)).lifetime(lifetime).unwrap();
        Logins::new(
            tokens,
            RefreshKeys::generate().unwrap(),
            MemoryLogins::default(),
        )
    };
    let error = logins(10 * MINUTE).idle_lifetime(11 * MINUTE - SECOND);
    let error = error.unwrap_err().to_string();
    let says = "idle lifetime of 659 s is not usable: expected 660 s to 31622400 s";
    assert_eq!(error, says);
    assert!(logins(10 * MINUTE).idle_lifetime(11 * MINUTE).is_ok());
    // Also longer than the longest grace, or the session could never advance.
    assert!(logins(SECOND).idle_lifetime(MINUTE).is_err());
    assert!(logins(SECOND).idle_lifetime(MINUTE + SECOND).is_ok());
}

/// Values of which no token can be made are not stored.
#[tokio::test]
async fn a_renewed_login_that_no_token_can_say_changes_nothing() {
    let world = World::new();
    let first = world.begin().await;
    let id = first.session().id();
    let long = "x".repeat(100_000);
    for (acr, amr) in [
        (Some(""), &["pwd"][..]),
        (None, &[""]),
        (Some(&*long), &["pwd"]),
    ] {
        let error = world.logins.renew_login(id, acr, amr).await.unwrap_err();
        assert!(matches!(error, LoginError::Issue(_)), "{error}");
        world.refreshes(first.refresh_token()).await;
    }
    assert_eq!(world.store.updates(), 0);
}

/// A store whose column ignores case, for instance.
#[tokio::test]
async fn a_store_that_gives_another_session_is_an_outage() {
    struct Wrong(MemoryLogins, Mutex<Option<String>>);
    impl LoginStore for Wrong {
        fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
            *self.1.lock().unwrap() = Some(session.id.clone());
            self.0.insert(session)
        }
        fn load(&self, _: &str) -> LoginStoreFuture<Option<StoredSession>> {
            let last = self.1.lock().unwrap().clone().unwrap();
            self.0.load(&last)
        }
        fn update(&self, session: StoredSession, expected: u64) -> LoginStoreFuture<bool> {
            self.0.update(session, expected)
        }
        fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
            self.0.list(subject)
        }
    }
    let clock = FixedClock::at(NOW);
    let memory = MemoryLogins::default().with_clock(clock.clone());
    let store = Watched::new(Wrong(memory, Mutex::default()));
    let world = World::over(store, clock, |logins| logins);
    let mine = world.begin().await;
    let yours = world.logins.begin(login("bob")).await.unwrap();
    world.wait(LATER);
    let error = world.refresh(mine.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503, "{error}");
    let ended = world.logins.end(mine.session().id()).await;
    assert!(ended.unwrap_err().is_unavailable());
    world.accepts(&yours);
    let renewed = world.logins.renew_login(mine.session().id(), None, &[]);
    assert!(renewed.await.unwrap_err().is_unavailable());
    world.wait(DAY);
    world.refreshes(yours.refresh_token()).await;
}

/// A mark of an ended session lasts for the tokens that were under way then, and not for older ones.
#[tokio::test]
async fn a_refresh_that_takes_too_long_gives_no_token_and_changes_nothing() {
    let (world, wait) = with_slow_claims();
    let first = world.begin().await;
    world.wait(LATER);
    wait.store(31, Ordering::SeqCst);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503, "{error}");
    assert_eq!(world.store.updates(), 0);
    world.refreshes(first.refresh_token()).await;
}

/// A store that lists the sessions of all subjects.
#[tokio::test]
async fn a_store_that_lists_others_signs_nobody_else_out() {
    struct All(MemoryLogins);
    impl LoginStore for All {
        fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
            self.0.insert(session)
        }
        fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
            self.0.load(id)
        }
        fn update(&self, session: StoredSession, expected: u64) -> LoginStoreFuture<bool> {
            self.0.update(session, expected)
        }
        fn list(&self, _: &str) -> LoginStoreFuture<Vec<StoredSession>> {
            self.0.list("bob")
        }
    }
    let clock = FixedClock::at(NOW);
    let memory = MemoryLogins::default().with_clock(clock.clone());
    let world = World::over(Watched::new(All(memory)), clock, |logins| logins);
    let yours = world.logins.begin(login("bob")).await.unwrap();
    assert!(world.logins.sessions("alice").await.unwrap().is_empty());
    world.logins.end_all("alice").await.unwrap();
    world.accepts(&yours);
    world.refreshes(yours.refresh_token()).await;
}

/// The claims of a login are stored, so they are checked, also where the source replaces them.
#[tokio::test]
async fn a_secret_that_the_source_replaces_is_not_stored() {
    let world = World::with(|logins| {
        logins.claims_from(async |_: Session| Ok(serde_json::json!({ "password": true })))
    });
    let own = serde_json::json!({ "password": "hunter2" });
    let begun = world.logins.begin(login("alice").claims(&own)).await;
    assert!(matches!(begun.unwrap_err(), LoginError::Issue(_)));
    assert_eq!(world.store.calls(), 0);
}

#[tokio::test]
async fn a_session_that_was_idle_too_long_cannot_be_renewed() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(14 * DAY);
    let renewed = world
        .logins
        .renew_login(first.session().id(), Some("phr"), &[]);
    assert_eq!(renewed.await.unwrap_err(), LoginError::Ended);
}

/// ISSUE-D2: a session from before the settings were changed.
#[tokio::test]
async fn issue_d2_a_session_that_is_not_bound_rotates() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let logins = world.logins.clone().require_binding();
    let logins = logins.without_rotation().unwrap();
    let second = logins.refresh((first.refresh_token(), CLIENT)).await;
    assert_ne!(second.unwrap().refresh_token(), first.refresh_token());
}
