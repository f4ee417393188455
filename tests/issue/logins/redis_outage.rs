//! Logins on a real Redis that stops, and whose answers are lost.

use std::collections::BTreeSet;
use std::time::Duration;

use tower_jwt_auth::issue::{RedisLogins, RefreshError};
use tower_jwt_auth::test::FixedClock;

use super::world::{CLIENT, LATER, Watched, World, login};
use crate::real::{Mode, Proxy, Server, is_installed};
use crate::support::NOW;

fn world(client: redis::Client, timeout: Duration) -> World {
    let store = RedisLogins::new(client, "test").unwrap().timeout(timeout);
    let mut now = NOW;
    // Redis removes what has expired by its own clock.
    now = now.max(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs());
    World::over(Watched::new(store), FixedClock::at(now), |logins| logins)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn issue_d1_a_thousand_refreshes_on_redis_advance_once() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let world = world(server.client(), Duration::from_secs(60));
    let first = world.begin().await;
    world.wait(LATER);
    let mut successors = BTreeSet::new();
    for tokens in world
        .refreshes_a_thousand_times(first.refresh_token())
        .await
    {
        successors.insert(tokens.refresh_token().to_owned());
    }
    assert_eq!((successors.len(), world.store.updates()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stops_in_the_middle_and_nobody_is_logged_out() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let hasty = world(server.client(), Duration::from_millis(200));
    let patient = hasty.logins.clone();
    let mut sessions = Vec::new();
    for number in 0..20 {
        let login = login(&format!("user-{number}"));
        sessions.push(hasty.logins.begin(login).await.unwrap());
    }
    hasty.wait(LATER);
    server.signal("-STOP");
    for tokens in &sessions {
        let error = hasty.refresh(tokens.refresh_token()).await.unwrap_err();
        assert_eq!(error.status().as_u16(), 503, "{error}");
        assert_eq!(error.oauth_error(), None);
    }
    server.signal("-CONT");
    for tokens in &sessions {
        // The server has still to answer what it got before it stopped.
        let tokens = loop {
            match patient.refresh((tokens.refresh_token(), CLIENT)).await {
                Ok(tokens) => break tokens,
                Err(RefreshError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        hasty.accepts(&tokens);
    }
}

/// The update is made, and its answer is lost: the retry gets the successor that the update has made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_of_redis_logs_nobody_out() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let world = world(proxy.client(), Duration::from_secs(60));
    let first = world.begin().await;
    world.wait(LATER);
    proxy.set(Mode::CutAnswer);
    let error = world.refresh(first.refresh_token()).await.unwrap_err();
    assert_eq!(error.status().as_u16(), 503, "{error}");
    proxy.set(Mode::Forward);
    let second = world.refreshes(first.refresh_token()).await;
    assert_ne!(second.refresh_token(), first.refresh_token());
    let row = world.store.row(second.session().id()).await;
    assert_eq!(row.version, 2, "one advance");
    world.wait(LATER);
    world.refreshes(second.refresh_token()).await;
    // A log-out whose answer is lost can be tried again.
    proxy.set(Mode::CutAnswer);
    assert!(
        world
            .logins
            .end(second.session().id())
            .await
            .unwrap_err()
            .is_unavailable()
    );
    proxy.set(Mode::Forward);
    world.logins.end(second.session().id()).await.unwrap();
    world.revoked(&second);
}
