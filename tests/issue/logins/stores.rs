//! What `check_store` finds, and what it does not find.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::task::yield_now;
use tower_jwt_auth::issue::{
    LoginStore, LoginStoreError, LoginStoreFuture, MemoryLogins, StoredSession,
};
use tower_jwt_auth::test::{Violation, check_store};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_wrong_with_memory() {
    let store: Arc<dyn LoginStore> = Arc::new(MemoryLogins::default());
    let violations = check_store(async || Arc::clone(&store)).await;
    assert_eq!(violations, []);
    // The same store again, which has the rows of the first check.
    let violations = check_store(async || Arc::clone(&store)).await;
    assert_eq!(violations, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_faults_are_found() {
    use Violation::{
        Altered, Duplicate, Inserted, Leaked, LostUpdate, Missing, Mixed, Returned, Stale,
    };
    for (fault, expected) in [
        (Fault::None, vec![]),
        (Fault::ReadsAndThenWrites, vec![LostUpdate]),
        (
            Fault::IgnoresTheVersion,
            vec![LostUpdate, Inserted, Returned],
        ),
        (Fault::UpdateInserts, vec![Inserted]),
        (Fault::ReadsAReplica, vec![Stale]),
        (Fault::KeepsTheFirstVersion, vec![Returned]),
        (Fault::InsertReplaces, vec![Duplicate]),
        (Fault::ListIgnoresCase, vec![Leaked]),
        (Fault::ListMatchesAPrefix, vec![Leaked]),
        (Fault::ListIsShort, vec![Missing]),
        (Fault::IdsIgnoreCase, vec![Mixed]),
        (Fault::CutsData, vec![Altered]),
        (Fault::ForgetsTheEnd, vec![Stale]),
    ] {
        let faulty = Faulty::new(fault);
        let store: Arc<dyn LoginStore> = Arc::new(faulty);
        let violations = check_store(async || Arc::clone(&store)).await;
        assert_eq!(
            violations.is_empty(),
            expected.is_empty(),
            "{fault:?}: {violations:?}"
        );
        let missed = expected.iter().find(|one| !violations.contains(one));
        // An id that is mixed up ends a part of the check.
        let is_failure = |one: &Violation| matches!(one, Violation::Failed { .. });
        let failed = violations.iter().any(is_failure);
        assert!(missed.is_none() || failed, "{fault:?}: {violations:?}");
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_violation() {
    let down: Arc<dyn LoginStore> = Arc::new(Down);
    let violations = check_store(async || Arc::clone(&down)).await;
    let texts: Vec<_> = violations.iter().map(ToString::to_string).collect();
    let expected = ["insert", "load"]
        .map(|operation| format!("`{operation}` fails: sessions are not available: no route"));
    assert_eq!(texts, expected);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    ReadsAndThenWrites,
    IgnoresTheVersion,
    UpdateInserts,
    ReadsAReplica,
    KeepsTheFirstVersion,
    InsertReplaces,
    ListIgnoresCase,
    ListMatchesAPrefix,
    ListIsShort,
    IdsIgnoreCase,
    CutsData,
    ForgetsTheEnd,
}

/// A store with one fault.
#[derive(Clone)]
struct Faulty {
    fault: Fault,
    rows: Arc<Mutex<HashMap<String, Vec<StoredSession>>>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        let rows = Arc::default();
        Self { fault, rows }
    }

    fn key(&self, id: &str) -> String {
        match self.fault {
            Fault::IdsIgnoreCase => id.to_lowercase(),
            _ => id.to_owned(),
        }
    }

    /// The version that a read sees.
    fn seen<'v>(&self, versions: &'v [StoredSession]) -> Option<&'v StoredSession> {
        match self.fault {
            // The last write has not reached the replica.
            Fault::ReadsAReplica if versions.len() > 1 => versions.get(versions.len() - 2),
            // Of an ended session, the row before the first update is served.
            Fault::KeepsTheFirstVersion if versions.last()?.data.contains("ended") => {
                versions.first()
            }
            _ => versions.last(),
        }
    }
}

impl LoginStore for Faulty {
    fn insert(&self, mut session: StoredSession) -> LoginStoreFuture<()> {
        let store = self.clone();
        Box::pin(async move {
            if store.fault == Fault::CutsData {
                session.data.truncate(4096);
            }
            let key = store.key(&session.id);
            let mut rows = store.rows.lock().unwrap();
            if rows.contains_key(&key) && store.fault != Fault::InsertReplaces {
                return Err(LoginStoreError::new("it is there"));
            }
            rows.insert(key, vec![session]);
            Ok(())
        })
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let (store, key) = (self.clone(), self.key(id));
        Box::pin(async move {
            let rows = store.rows.lock().unwrap();
            Ok(rows.get(&key).and_then(|row| store.seen(row)).cloned())
        })
    }

    fn update(&self, mut session: StoredSession, expected: u64) -> LoginStoreFuture<bool> {
        let store = self.clone();
        Box::pin(async move {
            let key = store.key(&session.id);
            let version = |store: &Self| {
                let rows = store.rows.lock().unwrap();
                rows.get(&key).and_then(|row| Some(row.last()?.version))
            };
            let found = version(&store);
            if store.fault == Fault::ReadsAndThenWrites {
                yield_now().await;
            }
            let is_expected = match (store.fault, found) {
                (Fault::IgnoresTheVersion, _) | (Fault::UpdateInserts, None) => true,
                (_, found) => found == Some(expected),
            };
            let mut rows = store.rows.lock().unwrap();
            // Without the fault, the look and the write are under one lock.
            let now = rows.get(&key).and_then(|row| Some(row.last()?.version));
            if now != found && store.fault != Fault::ReadsAndThenWrites {
                return Ok(false);
            }
            if is_expected {
                let row = rows.entry(key).or_default();
                if let (Fault::ForgetsTheEnd, Some(last)) = (store.fault, row.last()) {
                    session.expires_at = last.expires_at;
                }
                row.push(session);
            }
            Ok(is_expected)
        })
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let (store, subject) = (self.clone(), subject.to_owned());
        Box::pin(async move {
            let rows = store.rows.lock().unwrap();
            let is_listed = |one: &&StoredSession| match store.fault {
                Fault::ListIgnoresCase => one.subject.to_lowercase() == subject.to_lowercase(),
                Fault::ListMatchesAPrefix => one.subject.starts_with(&subject),
                _ => one.subject == subject,
            };
            let seen = rows.values().filter_map(|row| store.seen(row));
            let mut found: Vec<_> = seen.filter(is_listed).cloned().collect();
            if store.fault == Fault::ListIsShort {
                found.truncate(1);
            }
            Ok(found)
        })
    }
}

/// A store that cannot be reached.
struct Down;

impl LoginStore for Down {
    fn insert(&self, _: StoredSession) -> LoginStoreFuture<()> {
        Box::pin(async { Err(LoginStoreError::new("no route")) })
    }

    fn load(&self, _: &str) -> LoginStoreFuture<Option<StoredSession>> {
        Box::pin(async { Err(LoginStoreError::new("no route")) })
    }

    fn update(&self, _: StoredSession, _: u64) -> LoginStoreFuture<bool> {
        Box::pin(async { Err(LoginStoreError::new("no route")) })
    }

    fn list(&self, _: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        Box::pin(async { Err(LoginStoreError::new("no route")) })
    }
}
