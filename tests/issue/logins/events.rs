//! What an operator sees.

use std::collections::BTreeMap;

use http::StatusCode;
use tower_jwt_auth::issue::LoginClaimsError;

use super::world::{Fails, LATER, World, login};
use crate::support::log::Log;

#[tokio::test]
async fn a_token_that_is_used_again_is_loud_and_names_the_session_alone() {
    let log = Log::listen();
    let world = World::new();
    let first = world.begin().await;
    world.wait(LATER);
    let second = world.refreshes(first.refresh_token()).await;
    assert!(!log.text().contains("refresh"), "{}", log.text());
    world.wait(LATER);
    world.refresh(first.refresh_token()).await.unwrap_err();
    let text = log.text();
    let reused: Vec<_> = text
        .lines()
        .filter(|line| line.contains("jwt_refresh_reused"))
        .collect();
    let [line] = &reused[..] else {
        panic!("{text}")
    };
    assert!(
        line.contains("WARN") && line.contains("session=\""),
        "{line}"
    );
    assert!(line.contains(first.session().id()), "{line}");
    assert!(text.contains("kind=\"reused\" status=400"), "{text}");
    // Later attempts are rejections like others.
    world.refresh(second.refresh_token()).await.unwrap_err();
    let text = log.text();
    assert_eq!(text.matches("jwt_refresh_reused").count(), 1);
    assert!(text.contains("kind=\"ended\""), "{text}");
    for secret in [
        &first.refresh_token()[10..],
        &second.refresh_token()[10..],
        "alice",
        "web",
    ] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn rejections_are_limited_and_an_outage_is_a_warning() {
    let log = Log::listen();
    let world = World::new();
    let first = world.begin().await;
    for _ in 0..100 {
        world.refresh("rt_nonsense").await.unwrap_err();
    }
    assert_eq!(log.text().matches("kind=\"malformed\"").count(), 10);
    world.store.fail(Fails::Before);
    world.refresh(first.refresh_token()).await.unwrap_err();
    world.logins.end(first.session().id()).await.unwrap_err();
    for _ in 0..100 {
        world.logins.end(first.session().id()).await.unwrap_err();
    }
    let text = log.text();
    let failed = text
        .lines()
        .filter(|line| line.contains("jwt_session_end_failed") && line.contains("WARN"));
    assert_eq!(failed.count(), 10);
    let is_warned = |name: &str| {
        let mut lines = text.lines();
        lines.any(|line| line.contains("WARN") && line.contains(name))
    };
    assert!(
        is_warned("jwt_refresh_rejected") && is_warned("jwt_session_end_failed"),
        "{text}"
    );
    assert!(text.contains("status=503"), "{text}");
}

/// The client gets the status alone, so the operator has to get the reason.
#[tokio::test]
async fn a_login_that_fails_says_why_and_shows_no_claim() {
    let log = Log::listen();
    let world = World::new();
    let first = world.begin().await;
    world.logins.sessions("alice").await.unwrap();
    assert!(!log.text().contains("jwt_login_failed"), "{}", log.text());

    let claims = BTreeMap::from([("password", "correct-horse")]);
    for _ in 0..100 {
        let secret = login("alice").claims(&claims);
        let error = world.logins.begin(secret).await.unwrap_err();
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
    let text = log.text();
    let mut lines = text
        .lines()
        .filter(|line| line.contains("jwt_login_failed"));
    let line = lines.next().unwrap();
    let has_reason = line.contains("operation=\"begin\" status=500 reason=")
        && line.contains("looks like a password");
    assert!(line.contains("WARN") && has_reason, "{line}");
    assert_eq!(lines.count(), 9, "{text}");
    for personal in ["correct-horse", "alice"] {
        assert!(!text.contains(personal), "{text}");
    }

    let log = Log::listen();
    let world = World::new();
    let id = first.session().id();
    world.store.fail(Fails::Before);
    world.logins.begin(login("alice")).await.unwrap_err();
    world.logins.renew_login(id, None, &[]).await.unwrap_err();
    world.logins.sessions("alice").await.unwrap_err();
    world.logins.end_all("alice").await.unwrap_err();
    let text = log.text();
    for operation in ["begin", "renew", "list"] {
        let fields = format!("operation=\"{operation}\" status=503");
        assert!(text.contains(&fields), "{operation}: {text}");
    }
    assert!(text.contains("jwt_session_end_failed"), "{text}");

    let log = Log::listen();
    let world = World::with(|logins| {
        logins
            .claims_from(async |_| Err::<(), _>(LoginClaimsError::denied("the account is closed")))
    });
    let error = world.logins.begin(login("alice")).await.unwrap_err();
    assert_eq!(error.status(), StatusCode::FORBIDDEN);
    let text = log.text();
    assert!(
        text.contains("INFO") && text.contains("operation=\"begin\" status=403"),
        "{text}"
    );
    assert!(text.contains("the account is closed"), "{text}");
}
