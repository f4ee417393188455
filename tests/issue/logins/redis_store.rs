//! Sessions on a real Redis.

use std::time::Duration;

use tower_jwt_auth::issue::{LoginStore, RedisLogins, StoredSession};
use tower_jwt_auth::test::check_store;

use crate::real::{Cluster, Mode, Proxy, Server, is_installed};

const END: u64 = 4_000_000_000;

fn row(id: &str, version: u64, data: &str) -> StoredSession {
    StoredSession::new(id.into(), "alice".into(), version, END, data.into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_wrong_with_redis() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let make = async || {
        let store = RedisLogins::new(server.client(), "test").unwrap();
        store.timeout(Duration::from_secs(60))
    };
    assert_eq!(check_store(make).await, []);
    // Every key has an expiry.
    let keys: Vec<String> = server.ask("KEYS", &["*"]);
    assert!(keys.len() > 20);
    for key in keys {
        assert!(key.starts_with("{test}:"), "{key}");
        let rest: i64 = server.ask("TTL", &[&key]);
        assert!(rest > 0, "{key}: {rest}");
    }
}

#[tokio::test]
async fn expired_sessions_are_removed_with_their_place_in_the_index() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let store = RedisLogins::new(server.client(), "test").unwrap();
    store.check().await.unwrap();
    let mut old = row("old", 1, "{}");
    old.expires_at = 1_000;
    store.insert(old).await.unwrap();
    assert!(store.load("old").await.unwrap().is_none());
    store.insert(row("new", 1, "{}")).await.unwrap();
    let listed = store.list("alice").await.unwrap();
    assert_eq!(listed, [row("new", 1, "{}")]);
    let indexed: Vec<String> = server.ask("ZRANGE", &["{test}:subject:alice", "0", "-1"]);
    assert_eq!(indexed, ["new"]);
}

/// The server has made the write, and the connection ends before the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_without_an_answer_counts_once() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let store = RedisLogins::new(proxy.client(), "test").unwrap();
    store.insert(row("a", 1, "first")).await.unwrap();
    proxy.set(Mode::CutAnswer);
    // The first attempt is cut on the old connection, and so is the second one on the new connection.
    assert!(store.update(row("a", 2, "second"), 1).await.is_err());
    proxy.set(Mode::Forward);
    // Whether it was stored is found by reading.
    assert_eq!(store.load("a").await.unwrap(), Some(row("a", 2, "second")));
    assert!(
        !store.update(row("a", 2, "second"), 1).await.unwrap(),
        "another writer"
    );
    assert!(store.update(row("a", 3, "third"), 2).await.unwrap());
    // A connection that ended while it was idle is no failure.
    proxy.cut();
    assert!(store.update(row("a", 4, "fourth"), 3).await.unwrap());
}

/// The server has made the write, and the connection ends before the answer. The write is sent once more, and finds
/// that it was made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_is_sent_twice_knows_itself() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let store = RedisLogins::new(proxy.client(), "test").unwrap();
    let store = store.timeout(Duration::from_secs(60));
    store.check().await.unwrap();
    proxy.set(Mode::CutOneAnswer);
    store.insert(row("a", 1, "first")).await.unwrap();
    proxy.set(Mode::CutOneAnswer);
    assert!(store.update(row("a", 2, "second"), 1).await.unwrap());
    assert_eq!(store.load("a").await.unwrap(), Some(row("a", 2, "second")));
    // The twin: another writer with the same session is told that it was late, also after a lost answer.
    let other = RedisLogins::new(proxy.client(), "test").unwrap();
    let other = other.timeout(Duration::from_secs(60));
    other.check().await.unwrap();
    assert!(other.insert(row("a", 1, "first")).await.is_err());
    proxy.set(Mode::CutOneAnswer);
    assert!(!other.update(row("a", 2, "second"), 1).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_found_through_any_of_its_nodes() {
    if !is_installed() {
        return;
    }
    let cluster = Cluster::start();
    let [first, second] = [0, 1].map(|at: usize| {
        let store = RedisLogins::new(cluster.nodes[at].client(), "test").unwrap();
        store.timeout(Duration::from_secs(60))
    });
    first.insert(row("a", 1, "first")).await.unwrap();
    assert!(second.update(row("a", 2, "second"), 1).await.unwrap());
    for store in [&first, &second] {
        assert_eq!(store.list("alice").await.unwrap(), [row("a", 2, "second")]);
    }
    // The slot moves while both are connected. Nobody is logged out, and no request fails.
    cluster.move_slot_of("{test}:session:a");
    assert!(first.update(row("a", 3, "third"), 2).await.unwrap());
    assert_eq!(second.load("a").await.unwrap(), Some(row("a", 3, "third")));
    assert_eq!(first.list("alice").await.unwrap(), [row("a", 3, "third")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_an_error_within_the_timeout() {
    if !is_installed() {
        return;
    }
    let mut server = Server::start(&[]);
    let store = RedisLogins::new(server.client(), "test").unwrap();
    let store = store.timeout(Duration::from_secs(60));
    store.insert(row("a", 1, "first")).await.unwrap();
    server.signal("-STOP");
    let store = store.timeout(Duration::from_millis(50));
    let error = store.load("a").await.unwrap_err().to_string();
    assert!(
        error.starts_with("sessions are not available: 127.0.0.1:") && error.ends_with("0.05 s"),
        "{error}"
    );
    server.signal("-CONT");
    let patient = store.timeout(Duration::from_secs(60));
    assert!(patient.load("a").await.unwrap().is_some());
    server.kill();
    assert!(patient.load("a").await.is_err());
    server.restart();
    assert!(
        patient.load("a").await.unwrap().is_none(),
        "nothing was saved"
    );
}

/// After a failover the old primary is a replica, and its connections stay open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_has_become_a_replica_is_left() {
    if !is_installed() {
        return;
    }
    let (old, new) = (Server::start(&[]), Server::start(&[]));
    let proxy = Proxy::start(&old).await;
    let store = RedisLogins::new(proxy.client(), "test").unwrap();
    store.insert(row("a", 1, "first")).await.unwrap();
    let _: () = old.ask("REPLICAOF", &["127.0.0.1", "1"]);
    proxy.aim(&new);
    let error = store.insert(row("b", 1, "first")).await.unwrap_err();
    assert!(error.to_string().contains("read only replica"), "{error}");
    store.insert(row("b", 1, "first")).await.unwrap();
}

#[test]
fn a_namespace_is_checked() {
    for wrong in ["", "a b", "{a}", "ä", &"a".repeat(129)] {
        let client = redis::Client::open("redis://127.0.0.1:1").unwrap();
        let error = RedisLogins::new(client, wrong).unwrap_err().to_string();
        assert!(error.contains("1 to 128 visible ASCII"), "{error}");
    }
    let client = redis::Client::open("redis://:password@127.0.0.1:1").unwrap();
    let store = RedisLogins::new(client, "a").unwrap();
    let text = format!("{store:?}");
    assert!(
        text.contains("127.0.0.1:1") && !text.contains("password"),
        "{text}"
    );
}
