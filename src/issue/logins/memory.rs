//! [`MemoryLogins`]: sessions in the memory of this process.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use crate::clock::{Clock, SystemClock};
use crate::issue::logins::store::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};

/// Stores sessions in the memory of this process. They end with the process.
///
/// Use it for a service with one instance, for development and for tests. Clones share the sessions.
/// Expired sessions are removed. A full store returns an error for a new session, and never drops a
/// session that has not expired.
#[derive(Clone)]
pub struct MemoryLogins(Arc<Shared>);

struct Shared {
    capacity: usize,
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sessions: HashMap<String, StoredSession>,
    /// The ids of the sessions of each subject.
    by_subject: HashMap<String, BTreeSet<String>>,
    /// The ids by the time after which they are removed.
    by_end: BTreeSet<(u64, String)>,
}

impl MemoryLogins {
    /// Creates an empty store with a maximum number of sessions. Default: 100 000.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self::of(capacity, Arc::new(SystemClock))
    }

    /// Creates an empty store with the same capacity. Sessions expire according to this clock. Default:
    /// the clock of the operating system.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self::of(self.0.capacity, Arc::new(clock))
    }

    /// The number of sessions, including expired sessions that have not been removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table().sessions.len()
    }

    /// Whether there are no sessions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn of(capacity: usize, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            capacity,
            clock,
            table: Mutex::default(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        let since = self.0.clock.now().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }
}

impl Default for MemoryLogins {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

/// Prints the number of sessions.
impl fmt::Debug for MemoryLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLogins")
            .field("sessions", &self.len())
            .field("capacity", &self.0.capacity)
            .finish()
    }
}

impl LoginStore for MemoryLogins {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        let now = self.now();
        let mut table = self.table();
        table.remove_expired(now);
        let result = if table.sessions.contains_key(&session.id) {
            Err(LoginStoreError::new("a session with this id is there"))
        } else if table.sessions.len() >= self.0.capacity {
            let reason = format!("there are {} sessions already", self.0.capacity);
            Err(LoginStoreError::new(reason))
        } else {
            table.put(session);
            Ok(())
        };
        Box::pin(ready(result))
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let found = self.table().sessions.get(id).cloned();
        Box::pin(ready(Ok(found)))
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        let mut table = self.table();
        let is_expected = table
            .sessions
            .get(&session.id)
            .is_some_and(|stored| stored.version == expected_version);
        if is_expected {
            table.remove(&session.id);
            table.put(session);
        }
        Box::pin(ready(Ok(is_expected)))
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let now = self.now();
        let table = self.table();
        let ids = table.by_subject.get(subject).into_iter().flatten();
        let sessions = ids.filter_map(|id| table.sessions.get(id));
        let found = sessions.filter(|session| session.expires_at >= now);
        let found = found.cloned().collect();
        Box::pin(ready(Ok(found)))
    }
}

impl Table {
    fn put(&mut self, session: StoredSession) {
        let id = session.id.clone();
        let ids = self.by_subject.entry(session.subject.clone()).or_default();
        ids.insert(id.clone());
        self.by_end.insert((session.expires_at, id.clone()));
        self.sessions.insert(id, session);
    }

    fn remove(&mut self, id: &str) {
        let Some(session) = self.sessions.remove(id) else {
            return;
        };
        self.by_end.remove(&(session.expires_at, session.id));
        if let Some(ids) = self.by_subject.get_mut(&session.subject) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_subject.remove(&session.subject);
            }
        }
    }

    fn remove_expired(&mut self, now: u64) {
        while let Some((end, id)) = self.by_end.first().cloned()
            && end < now
        {
            self.remove(&id);
            self.by_end.remove(&(end, id));
        }
    }
}

const CAPACITY: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use super::*;

    fn ready<T>(mut future: LoginStoreFuture<T>) -> Result<T, LoginStoreError> {
        match future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(result) => result,
            Poll::Pending => panic!("memory never waits"),
        }
    }

    fn session(id: &str, expires_at: u64) -> StoredSession {
        StoredSession::new(id.into(), "alice".into(), 1, expires_at, "{}".into())
    }

    #[test]
    fn a_full_store_rejects_a_login_and_keeps_every_session() {
        let store = MemoryLogins::with_capacity(2).with_clock(|| UNIX_EPOCH);
        for id in ["a", "b"] {
            ready(store.insert(session(id, 10))).unwrap();
        }
        let error = ready(store.insert(session("c", 10))).unwrap_err();
        assert!(
            error.to_string().contains("there are 2 sessions"),
            "{error}"
        );
        for id in ["a", "b"] {
            assert!(ready(store.load(id)).unwrap().is_some());
        }
    }

    #[test]
    fn expired_sessions_make_room_and_leave_nothing_behind() {
        let now = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&now);
        let clock = move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::Relaxed));
        let store = MemoryLogins::with_capacity(2).with_clock(clock);
        for id in ["a", "b"] {
            ready(store.insert(session(id, 10))).unwrap();
        }
        // An update moves the end.
        let mut later = session("b", 20);
        later.version = 2;
        assert!(ready(store.update(later, 1)).unwrap());
        now.store(11, Ordering::Relaxed);
        assert_eq!(ready(store.list("alice")).unwrap().len(), 1);
        ready(store.insert(session("c", 20))).unwrap();
        assert!(ready(store.load("a")).unwrap().is_none());
        assert!(ready(store.load("b")).unwrap().is_some());
        now.store(21, Ordering::Relaxed);
        ready(store.insert(session("d", 30))).unwrap();
        assert_eq!(store.len(), 1);
        let table = store.table();
        assert_eq!((table.by_end.len(), table.by_subject.len()), (1, 1));
        assert_eq!(table.by_subject["alice"].len(), 1);
    }
}
