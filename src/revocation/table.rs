//! [`Table`]: the marks of one kind of target, by name.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use crate::revocation::marks::Marks;

/// The marks of one kind of target, in parts, so that a change copies only one part. Readers take no
/// lock. Writers come one at a time.
pub(super) struct Table {
    hasher: RandomState,
    len: AtomicUsize,
    /// Allocated by the first mark.
    parts: OnceLock<Box<[ArcSwapOption<Part>]>>,
    /// Allocated by the first mark too.
    filter: OnceLock<Filter>,
    /// No target ends before this time, so a search for ended targets is not needed before it. `None` if
    /// there is no target. Only writers use it.
    first_end: Mutex<Option<SystemTime>>,
}

/// Targets in the order of their hashes. A map of the standard library would hash each name a second
/// time, and a look-up is part of the time that a new token takes.
type Part = Vec<(u64, Arc<Entry>)>;

struct Entry {
    issuer: Box<str>,
    /// Empty if the target is the issuer itself.
    name: Box<str>,
    marks: Marks,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
            parts: OnceLock::new(),
            filter: OnceLock::new(),
            first_end: Mutex::default(),
        }
    }

    /// The number of targets with marks.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn get(&self, issuer: &str, name: &str) -> Option<Marks> {
        if self.is_empty() {
            return None;
        }
        let hash = self.hash(issuer, name);
        if !self.filter.get()?.may_have(hash) {
            return None;
        }
        let part = part(self.parts.get()?, hash)?.load();
        let part = part.as_deref()?;
        let at = search(part, hash, issuer, name).ok()?;
        part.get(at).map(|(_, entry)| entry.marks)
    }

    /// Replaces the marks of a target. Without marks the target is removed.
    pub(super) fn put(&self, issuer: &str, name: &str, marks: Marks) {
        let empty = || (0..PARTS).map(|_| ArcSwapOption::empty()).collect();
        let hash = self.hash(issuer, name);
        let Some(place) = part(self.parts.get_or_init(empty), hash) else {
            return;
        };
        let mut part = place.load().as_deref().cloned().unwrap_or_default();
        let before = part.len();
        let found = search(&part, hash, issuer, name);
        if let Ok(at) = found {
            part.remove(at);
        }
        if let Some(end) = marks.end() {
            // Before the marks, so that nobody who looks for them is told that there are none.
            self.filter.get_or_init(Filter::new).insert(hash);
            let mut first_end = self.first_end();
            *first_end = Some(first_end.map_or(end, |first| first.min(end)));
            let (issuer, name) = (issuer.into(), name.into());
            let (Ok(at) | Err(at)) = found;
            part.insert(
                at,
                (
                    hash,
                    Arc::new(Entry {
                        issuer,
                        name,
                        marks,
                    }),
                ),
            );
        }
        let added = part.len().saturating_sub(before);
        let removed = before.saturating_sub(part.len());
        place.store(some_unless_empty(part));
        // After the marks, so that a request that sees the new number sees them.
        self.len.fetch_add(added, Ordering::Release);
        self.len.fetch_sub(removed, Ordering::Release);
    }

    /// The targets in one part of the table, with their marks.
    #[cfg(feature = "redis")]
    pub(super) fn part(&self, at: usize) -> Vec<(Box<str>, Box<str>, Marks)> {
        let parts = self.parts.get();
        let part = parts.and_then(|parts| parts.get(at)?.load_full());
        let entries = part.iter().flat_map(|part| part.iter());
        let entry = |(_, entry): &(u64, Arc<Entry>)| {
            (entry.issuer.clone(), entry.name.clone(), entry.marks)
        };
        entries.map(entry).collect()
    }

    /// Removes the targets whose tokens have all expired. Looks at the targets only if one may have ended,
    /// so a full table costs the same as another one until then.
    pub(super) fn forget_ended(&self, now: SystemTime) {
        let mut first_end = self.first_end();
        if first_end.is_none_or(|first| now < first) {
            return;
        }
        let (mut left, mut first, kept) = (0_usize, None, Filter::new());
        for place in self.parts.get().into_iter().flatten() {
            let Some(part) = place.load_full() else {
                continue;
            };
            let end = |(_, entry): &(u64, Arc<Entry>)| entry.marks.end();
            let lives = |known: &(u64, Arc<Entry>)| end(known).is_some_and(|end| now < end);
            let ends = part.iter().filter(|known| lives(known)).filter_map(end);
            first = ends.chain(first).min();
            for (hash, _) in part.iter().filter(|known| lives(known)) {
                kept.insert(*hash);
            }
            let living = part.iter().filter(|known| lives(known)).count();
            if living < part.len() {
                place.store(some_unless_empty(
                    part.iter().filter(|known| lives(known)).cloned().collect(),
                ));
            }
            left = left.saturating_add(living);
        }
        self.len.store(left, Ordering::Release);
        *first_end = first;
        if let Some(filter) = self.filter.get() {
            filter.replace_by(&kept);
        }
    }

    fn first_end(&self) -> MutexGuard<'_, Option<SystemTime>> {
        self.first_end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, issuer: &str, name: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(issuer.as_bytes());
        hasher.write(name.as_bytes());
        hasher.finish()
    }
}

/// Tells for most targets without marks that they have none, with one look at memory that is small enough for a
/// near cache. The rest of a look-up would be several times as long.
struct Filter(Box<[AtomicU64]>);

impl Filter {
    fn new() -> Self {
        Self((0..FILTER_WORDS).map(|_| AtomicU64::new(0)).collect())
    }

    /// Whether a target with this hash may have marks. `false` is certain.
    fn may_have(&self, hash: u64) -> bool {
        let (word, bit) = self.place(hash);
        word.is_none_or(|word| word.load(Ordering::Acquire) & bit != 0)
    }

    fn insert(&self, hash: u64) {
        let (word, bit) = self.place(hash);
        if let Some(word) = word {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// Takes over what the other one has. Only a writer calls this, so nothing is inserted in the meantime. A hash
    /// that both have is never missing.
    fn replace_by(&self, other: &Self) {
        for (word, kept) in self.0.iter().zip(&other.0) {
            word.store(kept.load(Ordering::Relaxed), Ordering::Release);
        }
    }

    /// By other bits of the hash than those that choose the part.
    fn place(&self, hash: u64) -> (Option<&AtomicU64>, u64) {
        let at = usize::try_from((hash >> 32) & WORD_OF_HASH).ok();
        (at.and_then(|at| self.0.get(at)), 1 << (hash >> 58))
    }
}

/// The part for a hash.
fn part(parts: &[ArcSwapOption<Part>], hash: u64) -> Option<&ArcSwapOption<Part>> {
    let at = usize::try_from(hash & PART_OF_HASH).ok()?;
    parts.get(at)
}

/// The index of a target, or the index at which it would be inserted.
fn search(part: &Part, hash: u64, issuer: &str, name: &str) -> Result<usize, usize> {
    let first = part.partition_point(|(known, _)| *known < hash);
    let same = part.iter().enumerate().skip(first);
    let mut same = same.take_while(|(_, (known, _))| *known == hash);
    let found = same.find(|(_, (_, entry))| *entry.name == *name && *entry.issuer == *issuer);
    found.map(|(at, _)| at).ok_or(first)
}

fn some_unless_empty(part: Part) -> Option<Arc<Part>> {
    (!part.is_empty()).then(|| Arc::new(part))
}

/// The number of parts of a table. A change copies one of them.
pub(super) const PARTS: usize = 4096;
/// The bits of a hash that say which part it belongs to.
const PART_OF_HASH: u64 = 4095;
/// The words of a filter: 128 KiB. With 100 000 targets a tenth of the bits is set.
const FILTER_WORDS: usize = 16_384;
/// The bits of a hash that say which word it belongs to.
const WORD_OF_HASH: u64 = 16_383;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::revocation::RevocationMark;
    use crate::revocation::marks::LONGEST_LEEWAY;

    #[test]
    fn targets_with_the_same_hash_are_told_apart() {
        let known = |hash, issuer: &str, name: &str| {
            let marks = Marks::default();
            let (issuer, name) = (issuer.into(), name.into());
            (
                hash,
                Arc::new(Entry {
                    issuer,
                    name,
                    marks,
                }),
            )
        };
        let part = vec![
            known(1, "i", "a"),
            known(5, "i", "b"),
            known(5, "j", "a"),
            known(9, "i", "a"),
        ];
        for (at, (hash, entry)) in part.iter().enumerate() {
            assert_eq!(search(&part, *hash, &entry.issuer, &entry.name), Ok(at));
        }
        assert_eq!(search(&part, 5, "i", "a"), Err(1));
        assert_eq!(search(&part, 10, "i", "a"), Err(4));
        assert_eq!(search(&part, 0, "i", "a"), Err(0));
    }

    fn until(end: u64) -> Marks {
        let end = UNIX_EPOCH + Duration::from_secs(end);
        Marks::default().with(&RevocationMark::token_id("i", "a", end))
    }

    #[test]
    fn a_filter_finds_what_was_inserted_and_little_else() {
        let filter = Filter::new();
        let hash = |number: u64| RandomState::new().hash_one(number);
        let [own, others]: [Vec<u64>; 2] =
            [100, 10_000].map(|count| (0..count).map(hash).collect());
        assert!(own.iter().all(|hash| !filter.may_have(*hash)));
        own.iter().for_each(|hash| filter.insert(*hash));
        assert!(own.iter().all(|hash| filter.may_have(*hash)));
        let wrong = others.iter().filter(|hash| filter.may_have(**hash)).count();
        assert!(wrong < 100, "{wrong} of 10 000, and 1 is expected");

        let half = Filter::new();
        let (kept, gone) = own.split_at(50);
        kept.iter().for_each(|hash| half.insert(*hash));
        filter.replace_by(&half);
        assert!(kept.iter().all(|hash| filter.may_have(*hash)));
        assert!(gone.iter().filter(|hash| filter.may_have(**hash)).count() < 5);
        // Each bit of the hash that chooses a place counts.
        let one = Filter::new();
        one.insert(0);
        for bit in (32..46).chain(58..64) {
            assert!(!one.may_have(1 << bit), "{bit}");
        }
    }

    #[test]
    fn a_table_finds_its_marks_after_others_have_ended() {
        let table = Table::new();
        for number in 0..1_000 {
            let end = if number % 2 == 0 { 10 } else { 20 };
            table.put("i", &number.to_string(), until(end));
        }
        let now = UNIX_EPOCH + Duration::from_secs(10) + LONGEST_LEEWAY;
        table.forget_ended(now);
        for number in 0..1_000 {
            let found = table.get("i", &number.to_string());
            assert_eq!(found.is_some(), number % 2 == 1, "{number}");
        }
        table.put("i", "0", until(30));
        assert!(table.get("i", "0").is_some());
        table.put("i", "0", Marks::default());
        assert!(table.get("i", "0").is_none());
    }

    /// From when its `put` has returned, and whatever is stored and removed beside it.
    #[test]
    fn a_mark_is_found_at_any_time_while_others_come_and_go() {
        let (table, kept, is_done) = (Table::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let at = |end: u64| UNIX_EPOCH + Duration::from_secs(end) + LONGEST_LEEWAY;
        std::thread::scope(|scope| {
            let read = || {
                while is_done.load(Ordering::Acquire) == 0 {
                    for number in (0..kept.load(Ordering::Acquire)).rev().step_by(7) {
                        assert!(table.get("i", &number.to_string()).is_some(), "{number}");
                    }
                }
            };
            let readers = [(); 2].map(|()| scope.spawn(read));
            for number in 0..3_000_u64 {
                table.put("i", &number.to_string(), until(10_000));
                kept.fetch_add(1, Ordering::Release);
                table.put("i", &format!("gone-{number}"), until(number));
                if number % 16 == 0 {
                    table.forget_ended(at(number));
                }
            }
            is_done.store(1, Ordering::Release);
            for reader in readers {
                reader.join().unwrap();
            }
        });
        table.forget_ended(at(3_000));
        assert_eq!(table.len(), 3_000);
    }

    /// The number of targets that are looked at, for which the time of the first end stands.
    #[test]
    fn the_first_end_is_that_of_the_targets_that_are_left() {
        let table = Table::new();
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds) + LONGEST_LEEWAY;
        let first_end = || *table.first_end();
        table.forget_ended(at(0));
        assert_eq!(first_end(), None);
        for (name, end) in [("a", 30), ("b", 10), ("c", 20)] {
            table.put("i", name, until(end));
        }
        assert_eq!(first_end(), Some(at(10)));
        table.forget_ended(at(9));
        assert_eq!((table.len(), first_end()), (3, Some(at(10))));
        table.forget_ended(at(10));
        assert_eq!((table.len(), first_end()), (2, Some(at(20))));
        // A later end is seen at the next search, an earlier one at once.
        table.put("i", "c", until(40));
        table.forget_ended(at(20));
        assert_eq!((table.len(), first_end()), (2, Some(at(30))));
        table.put("i", "a", until(25));
        assert_eq!(first_end(), Some(at(25)));
        table.forget_ended(at(25));
        assert_eq!((table.len(), first_end()), (1, Some(at(40))));
        table.forget_ended(at(40));
        assert_eq!((table.len(), first_end()), (0, None));
    }
}
