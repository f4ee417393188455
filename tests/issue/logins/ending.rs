//! The end of sessions: row, mark, and what is between them.

use std::time::Duration;

use tower_jwt_auth::issue::{LoginError, RefreshError};
use tower_jwt_auth::revocation::RevocationTarget;

use super::world::{CLIENT, Fails, LATER, World, login};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_log_out_ends_the_refresh_token_and_the_access_tokens_at_once() {
    let world = World::new();
    let (here, there) = (world.begin().await, world.begin().await);
    let tokens = world.refreshes(here.refresh_token()).await;
    for tokens in [&here, &tokens, &there] {
        world.accepts(tokens);
    }
    world.logins.end(here.session().id()).await.unwrap();
    for tokens in [&here, &tokens] {
        world.revoked(tokens);
    }
    assert_eq!(
        world.refresh(here.refresh_token()).await.unwrap_err(),
        RefreshError::Ended
    );
    let renewed = world
        .logins
        .renew_login(here.session().id(), None, &[])
        .await;
    assert_eq!(renewed.unwrap_err(), LoginError::Ended);
    // The other device stays.
    world.accepts(&there);
    world.wait(LATER);
    world.refreshes(there.refresh_token()).await;
    // Again, it does no harm.
    world.logins.end(here.session().id()).await.unwrap();
}

#[tokio::test]
async fn a_session_is_ended_by_any_of_its_refresh_tokens() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    world.wait(LATER);
    // A token that was used before ends the session too, but not as a theft.
    world
        .logins
        .end_by_token(first.refresh_token())
        .await
        .unwrap();
    world.revoked(&second);
    let error = world.refresh(second.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Ended);
}

/// The marks outlive every access token, also that of an instance with the longest lifetime.
#[tokio::test]
async fn a_mark_lasts_longer_than_any_access_token() {
    let world = World::new();
    let tokens = world.begin().await;
    world.logins.end(tokens.session().id()).await.unwrap();
    let marks = world.list.stored();
    let [mark] = &marks[..] else {
        panic!("{marks:?}")
    };
    assert!(mark.expires_at() >= tokens.session().began_at() + HOUR + Duration::from_secs(60));
    let is_session = |target: &RevocationTarget| match target {
        RevocationTarget::Session { session_id, .. } => **session_id == *tokens.session().id(),
        _ => false,
    };
    assert!(is_session(mark.target()));
}

/// The row is ended first. Until the mark is stored, `end` is an error, and whoever comes next stores it.
#[tokio::test]
async fn a_mark_that_cannot_be_stored_is_an_error_and_is_stored_by_the_next_one() {
    for next in ["end", "refresh", "end_by_token", "end_all"] {
        let world = World::new();
        let tokens = world.begin().await;
        let id = tokens.session().id();
        world.list.fail(true);
        let error = world.logins.end(id).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        // No live session with a dead mark, or the other way round.
        assert!(world.logins.sessions("alice").await.unwrap().is_empty());
        let error = world.refresh(tokens.refresh_token()).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 503, "the mark is still missing");
        world.accepts(&tokens);
        world.list.fail(false);
        match next {
            "end" => world.logins.end(id).await.unwrap(),
            "refresh" => {
                let error = world.refresh(tokens.refresh_token()).await.unwrap_err();
                assert_eq!(error, RefreshError::Ended);
            }
            "end_by_token" => world
                .logins
                .end_by_token(tokens.refresh_token())
                .await
                .unwrap(),
            _ => world.logins.end_all("alice").await.unwrap(),
        }
        world.revoked(&tokens);
        // Once it is stored, a token of an ended session writes nothing any more.
        let marks = world.list.stored().len();
        for _ in 0..5 {
            world.refresh(tokens.refresh_token()).await.unwrap_err();
        }
        assert_eq!(world.list.stored().len(), marks, "{next}");
    }
}

/// The thief is caught while the list is full: the session is over all the same.
#[tokio::test]
async fn a_reuse_whose_mark_cannot_be_stored_ends_the_session_all_the_same() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    world.wait(LATER);
    world.list.fail(true);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    let error = world.refresh(second.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503);
    world.list.fail(false);
    let error = world.refresh(second.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Ended);
    world.revoked(&second);
}

#[tokio::test]
async fn a_store_that_fails_while_a_session_ends_is_an_error_that_can_be_tried_again() {
    for fails in [Fails::Before, Fails::AfterWrites] {
        let world = World::new();
        let tokens = world.begin().await;
        world.store.fail(fails);
        let error = world.logins.end(tokens.session().id()).await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        world.store.fail(None);
        world.logins.end(tokens.session().id()).await.unwrap();
        world.revoked(&tokens);
    }
}

/// The store has lost the session: its access tokens end all the same.
#[tokio::test]
async fn an_unknown_session_is_marked() {
    let world = World::new();
    let tokens = World::new().begin().await;
    world.logins.end(tokens.session().id()).await.unwrap();
    assert_eq!(world.list.stored().len(), 1);
    for wrong in ["", "alice", "not a session of 22 ch"] {
        assert_eq!(
            world.logins.end(wrong).await.unwrap_err(),
            LoginError::SessionId
        );
        let renewed = world.logins.renew_login(wrong, None, &[]).await;
        assert_eq!(renewed.unwrap_err(), LoginError::SessionId);
    }
}

/// A log-out comes while a refresh is under way: no token leaves.
#[tokio::test]
async fn a_refresh_loses_against_the_end_of_its_session() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let (logins, id) = (world.logins.clone(), first.session().id().to_owned());
    world
        .store
        .before_update(async move { logins.end(&id).await.unwrap() });
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error, RefreshError::Ended);
    world.revoked(&first);
}

/// A refresh comes while a log-out is under way: its token is dead.
#[tokio::test]
async fn the_end_of_a_session_ends_a_refresh_that_was_faster() {
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let (logins, token) = (world.logins.clone(), first.refresh_token().to_owned());
    let refreshed = std::sync::Arc::new(std::sync::Mutex::new(None));
    let place = std::sync::Arc::clone(&refreshed);
    world.store.before_update(async move {
        *place.lock().unwrap() = Some(logins.refresh((&*token, CLIENT)).await.unwrap());
    });
    world.logins.end(first.session().id()).await.unwrap();
    let second = refreshed.lock().unwrap().take().unwrap();
    world.revoked(&second);
    assert_eq!(
        world.refresh(second.refresh_token()).await.unwrap_err(),
        RefreshError::Ended
    );
}

#[tokio::test]
async fn sign_out_everywhere_ends_all_sessions_of_one_subject() {
    let world = World::new();
    let mine = [
        world.begin().await,
        world.begin().await,
        world.begin().await,
    ];
    let yours = world.logins.begin(login("bob")).await.unwrap();
    // A token without a session, of the same issuer.
    let bare = world
        .logins
        .tokens()
        .for_subject("alice", CLIENT)
        .issue()
        .await
        .unwrap();
    world.wait(Duration::from_secs(2));
    for tokens in mine.iter().chain([&yours]) {
        world.accepts(tokens);
    }
    world.logins.end_all("alice").await.unwrap();
    for tokens in &mine {
        world.revoked(tokens);
        assert_eq!(
            world.refresh(tokens.refresh_token()).await.unwrap_err(),
            RefreshError::Ended
        );
    }
    let verifier = world.logins.auth().verifier();
    assert!(verifier.verify_now(bare.as_str()).is_err());
    world.accepts(&yours);
    assert!(world.logins.sessions("alice").await.unwrap().is_empty());
    // A new login in the same second is good.
    let new = world.begin().await;
    world.accepts(&new);
    world.logins.end_all("nobody").await.unwrap();
    world.accepts(&new);
}

#[tokio::test]
async fn sign_out_everywhere_goes_on_after_a_failure_and_can_be_tried_again() {
    let world = World::new();
    let mine = [world.begin().await, world.begin().await];
    world.list.fail(true);
    assert!(
        world
            .logins
            .end_all("alice")
            .await
            .unwrap_err()
            .is_unavailable()
    );
    assert!(
        world.logins.sessions("alice").await.unwrap().is_empty(),
        "all rows are ended"
    );
    world.list.fail(false);
    world.logins.end_all("alice").await.unwrap();
    for tokens in &mine {
        world.revoked(tokens);
    }
}

#[tokio::test]
async fn a_list_of_devices_has_the_living_sessions_the_last_used_first() {
    let world = World::new();
    let mut begun = Vec::new();
    for device in ["phone", "laptop", "tablet"] {
        begun.push(
            world
                .logins
                .begin(login("alice").device(device))
                .await
                .unwrap(),
        );
        world.wait(LATER);
    }
    let yours = world
        .logins
        .begin(login("bob").device("desk"))
        .await
        .unwrap();
    world.refreshes(begun[0].refresh_token()).await;
    world.logins.end(begun[1].session().id()).await.unwrap();
    let devices = async |subject: &str| {
        let sessions = world.logins.sessions(subject).await.unwrap();
        let devices = sessions
            .iter()
            .map(|session| session.device().unwrap().to_owned());
        devices.collect::<Vec<_>>()
    };
    assert_eq!(devices("alice").await, ["phone", "tablet"]);
    assert_eq!(devices("bob").await, ["desk"]);
    world.wait(14 * DAY - Duration::from_secs(5));
    assert_eq!(devices("alice").await, ["phone"]);
    assert!(world.refresh(yours.refresh_token()).await.is_ok());
    // A long name is cut at a character.
    let long = "é".repeat(200);
    let tokens = world
        .logins
        .begin(login("carol").device(&long))
        .await
        .unwrap();
    assert_eq!(tokens.session().device().unwrap().len(), 256);
}

/// A subject that is missing is a mistake of the caller. It does not look like a log-out.
#[tokio::test]
async fn nobody_has_an_empty_subject() {
    let world = World::new();
    let login = world.begin().await;
    let ended = world.logins.end_all("").await.unwrap_err();
    assert_eq!(
        ended.to_string(),
        world.logins.sessions("").await.unwrap_err().to_string()
    );
    assert!(ended.to_string().contains("subject"), "{ended}");
    assert!(!ended.is_unavailable());
    world.refreshes(login.refresh_token()).await;
}
