//! Refreshes that the store has made, and of which nobody knows: what the owner gets later, and what a thief.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::issue::{
    LoginClaimsError, LoginStore, LoginStoreError, LoginStoreFuture, MemoryLogins, RefreshError,
    RefreshRequest, Session, StoredSession,
};
use tower_jwt_auth::test::FixedClock;

use super::world::{CLIENT, Fails, LATER, Watched, World};
use crate::support::NOW;

const MINUTE: Duration = Duration::from_secs(60);

impl World {
    /// Refreshes, and hangs up while the store works.
    async fn hangs_up(&self, token: &str) {
        tokio::select! {
            biased;
            answer = self.refresh(token) => panic!("{answer:?}"),
            () = std::future::ready(()) => {}
        }
    }

    async fn is_reused(&self, token: &str) {
        let error = self.refresh(token).await.unwrap_err();
        assert_eq!(error, RefreshError::Reused);
    }
}

/// A server drops the future of a request whose client has hung up.
#[tokio::test]
async fn a_client_that_hangs_up_during_an_outage_is_not_logged_out() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::SilentAfterWrites);
    world.hangs_up(first.refresh_token()).await;
    world.store.fail(None);
    world.wait(10 * MINUTE);
    let second = world.refreshes(first.refresh_token()).await;
    assert_ne!(second.refresh_token(), first.refresh_token());
    assert_eq!(world.store.updates(), 1);
    // The twin: the owner has got the successor.
    world.wait(LATER);
    world.is_reused(first.refresh_token()).await;
    world.revoked(&second);
}

/// A thief who hangs up has used the token, and the owner shows it.
#[tokio::test]
async fn a_thief_who_hangs_up_is_caught() {
    let world = World::new();
    let stolen = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::SilentAfterWrites);
    world.hangs_up(stolen.refresh_token()).await;
    world.store.fail(None);
    world.wait(MINUTE);
    // The owner.
    let second = world.refreshes(stolen.refresh_token()).await;
    world.wait(LATER);
    world.is_reused(stolen.refresh_token()).await;
    world.revoked(&second);
}

/// The first of two writes that got no answer is made in the end, and the second one finds another version.
#[tokio::test]
async fn a_write_that_comes_late_logs_nobody_out() {
    struct Late(MemoryLogins, Arc<Mutex<Vec<(StoredSession, u64)>>>);
    impl LoginStore for Late {
        fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
            self.0.insert(session)
        }
        fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
            self.0.load(id)
        }
        fn update(&self, session: StoredSession, expected: u64) -> LoginStoreFuture<bool> {
            self.1.lock().unwrap().push((session, expected));
            Box::pin(async { Err(LoginStoreError::new("no answer in 5 s")) })
        }
        fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
            self.0.list(subject)
        }
    }
    for made in [0, 1, 2] {
        let clock = FixedClock::at(NOW);
        let memory = MemoryLogins::default().with_clock(clock.clone());
        let writes = Arc::new(Mutex::new(Vec::new()));
        let store = Watched::new(Late(memory.clone(), Arc::clone(&writes)));
        let world = World::over(store, clock, |logins| logins);
        let first = world.begin().await;
        world.wait(LATER);
        for _ in 0..3 {
            let error = world.refresh(first.refresh_token()).await.unwrap_err();
            assert_eq!(error.status().as_u16(), 503, "{error}");
            world.wait(Duration::from_secs(5));
        }
        let (session, expected) = writes.lock().unwrap().swap_remove(made);
        assert!(memory.update(session, expected).await.unwrap());
        let others = std::mem::take(&mut *writes.lock().unwrap());
        for (session, expected) in others {
            assert!(!memory.update(session, expected).await.unwrap());
        }
        world.wait(MINUTE);
        let second = world.refreshes(first.refresh_token()).await;
        assert_ne!(second.refresh_token(), first.refresh_token(), "{made}");
        world.accepts(&second);
    }
}

/// Whoever gets no successor has not used the token, so it is as good as before.
#[tokio::test]
async fn a_retry_that_fails_after_an_outage_can_be_made_again() {
    let is_down = Arc::new(AtomicBool::new(false));
    let down = Arc::clone(&is_down);
    let world = World::with(move |logins| {
        logins.claims_from(move |_: Session| {
            let answer = match down.load(Ordering::SeqCst) {
                true => Err(LoginClaimsError::unavailable("no route")),
                false => Ok(serde_json::json!({})),
            };
            async { answer }
        })
    });
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    world.refresh(first.refresh_token()).await.unwrap_err();
    world.store.fail(None);
    world.wait(MINUTE);
    // The source of the claims comes back later than the store, and a client asks for too much.
    is_down.store(true, Ordering::SeqCst);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.kind(), "unavailable");
    is_down.store(false, Ordering::SeqCst);
    world.wait(MINUTE);
    let request = RefreshRequest::new(first.refresh_token(), CLIENT).scope("admin");
    let error = world.logins.refresh(request).await.unwrap_err();
    assert_eq!(error, RefreshError::Scope);
    world.wait(MINUTE);
    let second = world.refreshes(first.refresh_token()).await;
    world.wait(Duration::from_millis(9_999));
    let again = world.refreshes(first.refresh_token()).await;
    assert_eq!(again.refresh_token(), second.refresh_token());
    // The twin: each of these uses is no new begin of the grace.
    world.wait(Duration::from_millis(1));
    world.is_reused(first.refresh_token()).await;
    world.revoked(&second);
}

/// The person proves again who it is, with the access token that is still good, and refreshes then.
#[tokio::test]
async fn a_renewed_login_after_an_outage_logs_nobody_out() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    world.refresh(first.refresh_token()).await.unwrap_err();
    world.store.fail(None);
    world.wait(MINUTE);
    let renewed = world
        .logins
        .renew_login(first.session().id(), Some("phr"), &["hwk"])
        .await;
    assert!(renewed.is_ok());
    let second = world.refreshes(first.refresh_token()).await;
    let claims = world.verify(&second).unwrap();
    assert_eq!(claims.authentication_context(), Some("phr"));
}

/// The answer to a later attempt came, so whoever has the old token has used it, whatever the clock says.
#[tokio::test]
async fn a_write_that_was_answered_ends_what_is_remembered() {
    for is_set_back in [false, true] {
        let world = World::new();
        let first = world.begin().await;
        world.wait(LATER);
        for _ in 0..2 {
            world.store.fail(Fails::BeforeWrites);
            world.refresh(first.refresh_token()).await.unwrap_err();
            world.wait(MINUTE);
        }
        world.store.fail(None);
        if is_set_back {
            // Between the two attempts.
            world.clock.set(NOW + 40);
        }
        let second = world.refreshes(first.refresh_token()).await;
        world.wait(LATER);
        world.is_reused(first.refresh_token()).await;
        world.revoked(&second);
    }
}

/// Older tokens than the previous one are used ones, whatever is remembered.
#[tokio::test]
async fn an_outage_excuses_the_previous_token_alone() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    world.wait(LATER);
    world.store.fail(Fails::AfterWrites);
    world.refresh(second.refresh_token()).await.unwrap_err();
    world.store.fail(None);
    world.wait(MINUTE);
    world.is_reused(first.refresh_token()).await;
}

/// An hour after the write, the previous token is a used one.
#[tokio::test]
async fn what_is_remembered_ends_after_an_hour() {
    for (wait, is_good) in [(59 * MINUTE, true), (60 * MINUTE, false)] {
        let world = World::new();
        let first = world.begin().await;
        world.wait(LATER);
        world.store.fail(Fails::AfterWrites);
        world.refresh(first.refresh_token()).await.unwrap_err();
        world.store.fail(None);
        world.wait(wait);
        if is_good {
            world.refreshes(first.refresh_token()).await;
        } else {
            world.is_reused(first.refresh_token()).await;
        }
    }
}
