//! [`Unanswered`]: refreshes whose write got no answer from the store.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The store may have made these writes, and nobody has got the new token. An outage can last longer than
/// the grace, so the previous token of such a session is not taken for a used one.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<HashMap<String, Write>>);

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
            writes.retain(|_, known| write.advanced_at.abs_diff(known.advanced_at) < LIFE);
        }
        // A longer outage than the table can bear costs some logins, and no memory.
        if writes.len() < MOST {
            writes.insert(session_id.to_owned(), write);
        }
    }

    /// Whether the row is still as this write has left it.
    pub(super) fn has(&self, session_id: &str, row: Write, now: u64) -> bool {
        let writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = writes.get(session_id);
        known.is_some_and(|known| *known == row && now.abs_diff(row.advanced_at) < LIFE)
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
        assert!(table.has("0", write(0), LIFE - 1));
        assert!(!table.has("0", write(0), LIFE));
        assert!(!table.has(
            "0",
            Write {
                version: 3,
                ..write(0)
            },
            0
        ));
        assert!(!table.has("0", write(1), 0));
        table.add("new", write(LIFE));
        assert_eq!(table.0.lock().unwrap().len(), 1);
        assert!(table.has("new", write(LIFE), LIFE));
    }
}
