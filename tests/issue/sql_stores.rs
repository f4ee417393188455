//! The SQL stores of the examples, on a real SQLite and a real PostgreSQL.

use std::sync::Arc;

use rusqlite::Connection;
use tower_jwt_auth::issue::{LoginStore, StoredSession};
use tower_jwt_auth::test::check_store;

#[cfg(unix)]
#[path = "../support/postgres.rs"]
mod server;

#[allow(dead_code, unreachable_pub, reason = "written for users")]
#[path = "../../examples/stores/postgres.rs"]
mod postgres;
#[allow(dead_code, unreachable_pub, reason = "written for users")]
#[path = "../../examples/stores/sqlite.rs"]
mod sqlite;

use postgres::PostgresLogins;
use sqlite::SqliteLogins;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_memory_keeps_sessions() {
    let store = SqliteLogins::new(Connection::open_in_memory().unwrap()).unwrap();
    check(store.clone()).await;
    removes_what_has_expired(&store, async |now| {
        u64::try_from(store.remove_expired(now).await.unwrap()).unwrap()
    })
    .await;
}

/// Two processes have a connection of their own to one file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_in_a_file_keeps_sessions_of_several_connections() {
    let name = format!("tower-jwt-auth-sqlite-{}.db", std::process::id());
    let path = std::env::temp_dir().join(name);
    let open = || SqliteLogins::new(Connection::open(&path).unwrap()).unwrap();
    let (one, other) = (open(), open());
    one.insert(row("a", 1, 100)).await.unwrap();
    assert!(other.update(row("a", 2, 100), 1).await.unwrap());
    assert!(!one.update(row("a", 2, 100), 1).await.unwrap());
    assert_eq!(one.load("a").await.unwrap().unwrap().version, 2);
    drop((one, other));
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_keeps_sessions() {
    if !server::is_installed() {
        return;
    }
    let server = server::Server::start().await;
    let connect = || PostgresLogins::connect(server.address().parse().unwrap());
    let store = connect().await.unwrap();
    check(store.clone()).await;
    removes_what_has_expired(&store, async |now| store.remove_expired(now).await.unwrap()).await;

    // The schema is there already.
    let other = connect().await.unwrap();
    other.insert(row("b", 1, 100)).await.unwrap();
    // An administrator ends all other connections. The next statement connects again.
    let (admin, connection) = tokio_postgres::connect(&server.address(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE pid <> pg_backend_pid() AND datname = 'postgres'";
    admin.batch_execute(end).await.unwrap();
    while store.load("b").await.is_err() {}
    assert_eq!(store.load("b").await.unwrap(), Some(row("b", 1, 100)));

    // A stopped server is an error, and not a missing session.
    drop((admin, server));
    let error = store.load("b").await.unwrap_err().to_string();
    assert!(error.starts_with("sessions are not available: "), "{error}");
}

/// A connection can be open and lead nowhere, for instance after a firewall has forgotten it.
#[cfg(unix)]
#[tokio::test]
async fn a_connection_to_postgres_that_never_answers_is_replaced() {
    if !server::is_installed() {
        return;
    }
    let server = server::Server::start().await;
    let store = PostgresLogins::connect(server.address().parse().unwrap());
    let store = store.await.unwrap();
    let (admin, connection) = tokio_postgres::connect(&server.address(), tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    let other = "SELECT pid FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let process: i32 = admin.query_one(other, &[]).await.unwrap().get(0);
    let signal = |name: &str| {
        let process = process.to_string();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args([name, &process]).status().unwrap().success());
    };
    signal("-STOP");
    // The wait of 5 s takes no time.
    tokio::time::pause();
    let error = store.load("b").await.unwrap_err().to_string();
    assert!(error.contains("has not answered in 5 s"), "{error}");
    tokio::time::resume();
    let loaded = store.load("b").await;
    signal("-CONT");
    assert_eq!(loaded.unwrap(), None);
}

fn row(id: &str, version: u64, expires_at: u64) -> StoredSession {
    let data = format!("{{\"version\":{version},\"text\":\"'; DROP TABLE login_sessions; --é\"}}");
    StoredSession::new(
        id.into(),
        format!("subject of {id}"),
        version,
        expires_at,
        data,
    )
}

/// With 1 000 tasks that race.
async fn check(store: impl LoginStore) {
    let store: Arc<dyn LoginStore> = Arc::new(store);
    assert_eq!(check_store(async || Arc::clone(&store)).await, []);
}

async fn removes_what_has_expired(store: &dyn LoginStore, remove: impl AsyncFn(u64) -> u64) {
    for (id, end) in [("old", 100), ("new", 5_000)] {
        store.insert(row(id, 1, end)).await.unwrap();
    }
    assert_eq!(remove(100).await, 0);
    assert_eq!(remove(101).await, 1);
    assert_eq!(store.load("old").await.unwrap(), None);
    let listed = store.list("subject of new").await.unwrap();
    assert_eq!(listed, [row("new", 1, 5_000)]);
    assert_eq!(store.list("nobody").await.unwrap(), []);
}
