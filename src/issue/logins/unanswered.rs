//! [`Unanswered`]: refreshes whose write got no answer from the store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The store may have made these writes, and nobody has got the new token. An outage can last longer than
/// the grace, so the previous token of such a session is not taken for a used one. Once it was used again, it has
/// the grace.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<HashMap<String, Entry>>);

struct Entry {
    write: Write,
    /// When the previous token was used again first, in milliseconds since 1970.
    used_at: Option<u64>,
}

/// What the row has if the write was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) version: u64,
    /// In milliseconds since 1970.
    pub(super) advanced_at: u64,
}

impl Unanswered {
    pub(super) fn add(&self, session_id: &str, write: Write) {
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if writes.len() >= MOST {
            writes.retain(|_, known| write.advanced_at.abs_diff(known.write.advanced_at) < LIFE);
        }
        // A longer outage than the table can bear costs some logins, and no memory.
        if writes.len() < MOST {
            let used_at = None;
            writes.insert(session_id.to_owned(), Entry { write, used_at });
        }
    }

    /// Whether the row is still as this write has left it, and the previous token may be used. Times are in
    /// milliseconds.
    pub(super) fn uses(&self, session_id: &str, row: Write, now: u64, grace: u64) -> bool {
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = writes.get_mut(session_id) else {
            return false;
        };
        let used_at = *known.used_at.get_or_insert(now);
        known.write == row
            && now.abs_diff(row.advanced_at) < LIFE
            && (used_at == now || now.abs_diff(used_at) < grace)
    }
}

const MOST: usize = 10_000;
/// An hour, in milliseconds.
const LIFE: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_writes_are_forgotten_after_an_hour() {
        let table = Unanswered::default();
        let write = |advanced_at| Write {
            version: 2,
            advanced_at,
        };
        for number in 0..MOST + 5 {
            table.add(&number.to_string(), write(0));
        }
        assert_eq!(table.0.lock().unwrap().len(), MOST);
        assert!(table.uses("0", write(0), LIFE - 1, GRACE));
        assert!(!table.uses("1", write(0), LIFE, GRACE));
        let changed = Write {
            version: 3,
            ..write(0)
        };
        assert!(!table.uses("2", changed, 0, GRACE));
        assert!(!table.uses("3", write(1), 0, GRACE));
        table.add("new", write(LIFE));
        assert_eq!(table.0.lock().unwrap().len(), 1);
        assert!(table.uses("new", write(LIFE), LIFE, GRACE));
    }

    #[test]
    fn a_token_that_was_used_again_has_the_grace() {
        let write = Write {
            version: 2,
            advanced_at: 0,
        };
        for (grace, last) in [(GRACE, 60_000 + GRACE - 1), (0, 60_000)] {
            let table = Unanswered::default();
            table.add("one", write);
            for now in [60_000, last] {
                assert!(table.uses("one", write, now, grace));
            }
            assert!(!table.uses("one", write, last + 1, grace));
        }
    }

    const GRACE: u64 = 10_000;
}
