//! A process that is killed between the update of a session and its answer.

use std::process::Command;

use tower_jwt_auth::issue::{LoginStore, LoginStoreFuture, RedisLogins, StoredSession};
use tower_jwt_auth::test::FixedClock;

use super::world::{LATER, Watched, World};
use crate::real::{Server, is_installed};

/// Kills this process when an update is stored.
struct Killed(RedisLogins);

impl LoginStore for Killed {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        self.0.insert(session)
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        self.0.load(id)
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        let update = self.0.update(session, expected_version);
        Box::pin(async move {
            assert!(update.await.unwrap());
            std::process::abort();
        })
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        self.0.list(subject)
    }
}

fn store(url: &str) -> RedisLogins {
    RedisLogins::new(redis::Client::open(url).unwrap(), "test").unwrap()
}

/// This test runs itself once more, as the process that is killed.
#[tokio::test]
async fn the_retry_gets_the_successor_of_a_process_that_was_killed() {
    if let Ok(parts) = std::env::var(VICTIM) {
        let [url, token, now] = parts.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{parts}");
        };
        let clock = FixedClock::at(now.parse().unwrap());
        let world = World::over(Watched::new(Killed(store(url))), clock, |logins| logins);
        drop(world.refresh(token).await);
        unreachable!("it was killed");
    }
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let url = server.url();
    // Redis removes what has expired by its own clock.
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let world = World::over(Watched::new(store(&url)), FixedClock::at(now), |logins| {
        logins
    });
    let first = world.begin().await;
    world.wait(LATER);
    let now = now + LATER.as_secs();
    let (_, module) = module_path!().split_once("::").unwrap();
    let test = format!("{module}::the_retry_gets_the_successor_of_a_process_that_was_killed");
    let victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test])
        .env(VICTIM, format!("{url} {} {now}", first.refresh_token()))
        .output()
        .unwrap();
    assert!(!victim.status.success());
    let said = String::from_utf8_lossy(&victim.stdout);
    assert!(!said.contains("panicked"), "{said}");
    let row = world.store.row(first.session().id()).await;
    assert_eq!(row.version, 2, "the update is stored");

    let second = world.refreshes(first.refresh_token()).await;
    assert_ne!(second.refresh_token(), first.refresh_token());
    assert_eq!(
        world.store.updates(),
        0,
        "it is the successor of that update"
    );
    world.accepts(&second);
    world.wait(LATER);
    world.refreshes(second.refresh_token()).await;
}

const VICTIM: &str = "TOWER_JWT_AUTH_TEST_VICTIM";
