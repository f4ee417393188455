//! [`Unanswered`]: refreshes whose write got no answer from the store.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The store may have made these writes, and nobody has got the new token. An outage can last longer than
/// the grace, so the previous token of such a session is not taken for a used one. Once it was used again, it has
/// the grace.
#[derive(Default)]
pub(super) struct Unanswered(Mutex<HashMap<String, Entry>>);

/// The writes that lead a session to one generation. Each attempt sends one, and the store makes one of them at most:
/// it may be the first, which comes late.
struct Entry {
    generation: u32,
    /// The earliest and the latest time of these writes, in milliseconds since 1970.
    first: u64,
    last: u64,
    /// When the previous token was used again first, in milliseconds since 1970.
    used_at: Option<u64>,
}

/// What the row has if the write was made, also after changes that do not advance the session.
#[derive(Clone, Copy)]
pub(super) struct Write {
    pub(super) generation: u32,
    /// In milliseconds since 1970.
    pub(super) advanced_at: u64,
}

/// A write that is under way. If it is dropped without an answer, it is remembered: the store has failed, or the client
/// has hung up.
pub(super) struct Sent<'t> {
    table: &'t Unanswered,
    session_id: String,
    write: Write,
    is_answered: bool,
}

impl Unanswered {
    /// Must be called before the write is sent.
    pub(super) fn sent(&self, session_id: &str, write: Write) -> Sent<'_> {
        Sent {
            table: self,
            session_id: session_id.to_owned(),
            write,
            is_answered: false,
        }
    }

    /// Whether the row is as one of these writes has left it, and the previous token may be used. Times are in
    /// milliseconds.
    pub(super) fn has(&self, session_id: &str, row: Write, now: u64, grace: u64) -> bool {
        self.writes().get(session_id).is_some_and(|known| {
            known.generation == row.generation
                && (known.first..=known.last).contains(&row.advanced_at)
                && now.abs_diff(row.advanced_at) < LIFE
                && known.used_at.is_none_or(|at| now.abs_diff(at) < grace)
        })
    }

    /// The previous token was used again, and its successor is on its way. From then on it has the grace.
    pub(super) fn used(&self, session_id: &str, now: u64) {
        if let Some(known) = self.writes().get_mut(session_id) {
            known.used_at.get_or_insert(now);
        }
    }

    fn add(&self, session_id: String, write: Write) {
        let Write {
            generation,
            advanced_at,
        } = write;
        let mut writes = self.writes();
        if let Some(known) = writes.get_mut(&session_id)
            && known.generation == generation
        {
            known.first = known.first.min(advanced_at);
            known.last = known.last.max(advanced_at);
            return;
        }
        if writes.len() >= MOST {
            writes.retain(|_, known| advanced_at.abs_diff(known.last) < LIFE);
        }
        // A longer outage than the table can bear costs some logins, and no memory.
        if writes.len() < MOST || writes.contains_key(&session_id) {
            let entry = Entry {
                generation,
                first: advanced_at,
                last: advanced_at,
                used_at: None,
            };
            writes.insert(session_id, entry);
        }
    }

    fn writes(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sent<'_> {
    /// The store has answered. If it has made the write, it makes no earlier one of this session any more.
    pub(super) fn answered(mut self, is_made: bool) {
        self.is_answered = true;
        if is_made {
            self.table.writes().remove(&self.session_id);
        }
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.table.add(mem::take(&mut self.session_id), self.write);
        }
    }
}

const MOST: usize = 10_000;
/// An hour, in milliseconds.
const LIFE: u64 = 3_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 10_000;

    fn write(advanced_at: u64) -> Write {
        Write {
            generation: 2,
            advanced_at,
        }
    }

    #[test]
    fn the_table_is_bounded_and_writes_are_forgotten_after_an_hour() {
        let table = Unanswered::default();
        for number in 0..MOST + 5 {
            drop(table.sent(&number.to_string(), write(0)));
        }
        assert_eq!(table.writes().len(), MOST);
        assert!(table.has("0", write(0), LIFE - 1, GRACE));
        assert!(!table.has("1", write(0), LIFE, GRACE));
        let further = Write {
            generation: 3,
            ..write(0)
        };
        assert!(!table.has("2", further, 0, GRACE));
        assert!(!table.has("3", write(1), 0, GRACE));
        // A session that the table has is followed also when it is full.
        drop(table.sent("2", further));
        drop(table.sent("3", write(1)));
        assert!(table.has("2", further, 0, GRACE) && !table.has("2", write(0), 0, GRACE));
        assert!(table.has("3", write(1), 0, GRACE));
        assert_eq!(table.writes().len(), MOST);
        drop(table.sent("new", write(LIFE)));
        // Session 3 has a write of the last hour.
        assert_eq!(table.writes().len(), 2);
        assert!(table.has("new", write(LIFE), LIFE, GRACE));
    }

    #[test]
    fn a_token_that_was_used_again_has_the_grace() {
        for (grace, last) in [(GRACE, Some(60_000 + GRACE - 1)), (0, None)] {
            let table = Unanswered::default();
            drop(table.sent("one", write(0)));
            // Whoever got no successor has not used it.
            assert!((0..2).all(|_| table.has("one", write(0), 50_000, grace)));
            table.used("one", 60_000);
            table.used("one", 65_000);
            if let Some(last) = last {
                assert!(table.has("one", write(0), last, grace));
            }
            let late = last.map_or(60_000, |last| last + 1);
            assert!(!table.has("one", write(0), late, grace));
        }
    }

    #[test]
    fn any_of_several_attempts_may_be_the_one_that_was_made() {
        let table = Unanswered::default();
        for time in [200, 300, 100] {
            drop(table.sent("one", write(time)));
        }
        for (time, is_known) in [
            (99, false),
            (100, true),
            (200, true),
            (300, true),
            (301, false),
        ] {
            assert_eq!(
                table.has("one", write(time), 400, GRACE),
                is_known,
                "{time}"
            );
        }
        // Another write was first: one of these may have been it.
        table.sent("one", write(310)).answered(false);
        assert!(table.has("one", write(200), 400, GRACE));
        assert!(!table.has("one", write(310), 400, GRACE));
        table.sent("one", write(250)).answered(true);
        assert!(!table.has("one", write(250), 400, GRACE));
        assert!(table.writes().is_empty());
    }
}
