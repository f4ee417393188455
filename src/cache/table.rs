//! The places of a cache, and who gets one.

use crate::cache::budget::{Budget, Grow, Growth};
use crate::cache::digest::Place;
use crate::cache::{Entry, Limits};
use crate::clock::NumericDate;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Slot, try_lock};

/// Buckets of seven places. One thread at a time writes; no other waits for it.
pub(super) struct Table<V> {
    buckets: Box<[Bucket<V>]>,
    /// How many entries there may be.
    entries: usize,
    budget: Arc<Budget>,
    books: Mutex<Accounts>,
    /// When some buckets were last looked through for entries past their end, as the bits of a
    /// number.
    swept: AtomicU64,
}

/// The entries that are looked for in the same place; one cache line.
#[repr(align(64))]
pub(super) struct Bucket<V> {
    /// One octet for each slot, the lowest for the first: the tag of its entry, or [`FREE`]. A hint
    /// only: what is in the slot counts. The highest octet is the tag of the token that was turned
    /// away last.
    tags: AtomicU64,
    slots: [Slot<Entry<V>>; WAYS],
}

/// What is in the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Accounts {
    pub(super) entries: usize,
    /// The bucket that gives up an entry next.
    hand: usize,
    /// The bucket that is looked through next.
    broom: usize,
}

/// How little an entry is worth: the first is given up first, and within one the lower number.
/// An entry that is in use has none.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Worth {
    /// Past its end.
    Dead,
    /// Not asked for since it came; with a number that says nothing. By age, tokens that are used
    /// in turn would each drive out the one that comes next.
    Unused([u64; 2]),
    /// Last asked for then, a while ago.
    Idle(NumericDate),
}

impl<V: Grow> Table<V> {
    pub(super) fn new(limits: Limits) -> Self {
        // What fits into one bucket finds a place there.
        let buckets = if limits.entries <= WAYS {
            1
        } else {
            limits.entries.div_ceil(LOAD)
        };
        Self {
            buckets: (0..buckets).map(|_| Bucket::empty()).collect(),
            entries: limits.entries,
            budget: Arc::new(Budget::new(limits.bytes)),
            books: Mutex::new(Accounts::default()),
            swept: AtomicU64::new(0),
        }
    }

    pub(super) fn bucket(&self, place: Place) -> Option<&Bucket<V>> {
        let count = u128::try_from(self.buckets.len()).unwrap_or(0);
        let at = u128::from(place.bucket).wrapping_mul(count) >> 64;
        self.buckets.get(usize::try_from(at).ok()?)
    }

    /// Whether a token of this weight may have a place now. One for which another entry would have
    /// to go before its end may so when it comes again.
    pub(super) fn admits(&self, place: Place, weight: usize, now: NumericDate) -> bool {
        let (Some(bucket), Some(books)) = (self.bucket(place), try_lock(&self.books)) else {
            return false;
        };
        let has_room = bucket.free().is_some() && self.fits(&books, weight, None);
        has_room || bucket.has_dead(now) || bucket.has_seen(place.tag)
    }

    /// Puts an entry in its place, instead of one that `is_same`, or of one that is worth less.
    /// Nothing happens if all others are in use, or another thread is writing.
    ///
    /// Each change of a slot asks every thread whether it is reading there, so one that takes
    /// another entry's place does both at once.
    pub(super) fn insert(
        &self,
        place: Place,
        new: Arc<Entry<V>>,
        now: NumericDate,
        is_same: impl Fn(&Arc<Entry<V>>) -> bool,
    ) {
        // Declared first, so that entries are freed after the lock is.
        let mut gone = Vec::new();
        let (Some(bucket), Some(mut books)) = (self.bucket(place), try_lock(&self.books)) else {
            return;
        };
        let free = bucket.free();
        let weight = new.held();
        let has_room = free.is_some() && self.fits(&books, weight, None);
        let same = bucket.find(place.tag, is_same);
        if let Some((_, same)) = &same {
            new.inherit(same);
        }
        let old = match same {
            None if !has_room => bucket.least(now),
            same => same,
        };
        let Some(way) = old.as_ref().map(|(way, _)| *way).or(free) else {
            return;
        };
        let replaced = old.as_ref().map(|(_, old)| &**old);
        if !self.fits(&books, weight, replaced) {
            if old.is_some() {
                gone.extend(self.put(bucket, way, FREE, None, &mut books));
            }
            if !self.make_room(weight, now, &mut books, &mut gone) {
                return;
            }
        }
        gone.extend(self.put(bucket, way, place.tag, Some(new), &mut books));
    }

    /// Removes the entry that `is_it`, unless another thread is writing.
    pub(super) fn remove(&self, place: Place, is_it: impl Fn(&Arc<Entry<V>>) -> bool) {
        let mut gone = Vec::new();
        let (Some(bucket), Some(mut books)) = (self.bucket(place), try_lock(&self.books)) else {
            return;
        };
        if let Some((way, _)) = bucket.find(place.tag, is_it) {
            gone.extend(self.put(bucket, way, FREE, None, &mut books));
        }
    }

    /// Removes entries past their end from some buckets, the next ones each time, unless that was
    /// done within the last second or another thread is writing.
    pub(super) fn sweep(&self, now: NumericDate) {
        let last = f64::from_bits(self.swept.load(Ordering::Relaxed));
        // The clock may be set back.
        if (now.0 - last).abs() < SWEEP_EVERY {
            return;
        }
        let mut gone = Vec::new();
        let Some(mut books) = try_lock(&self.books) else {
            return;
        };
        self.swept.store(now.0.to_bits(), Ordering::Relaxed);
        let count = self.buckets.len();
        let due = (count / SWEEPS).clamp(SWEEP_LEAST, SWEEP_MOST).min(count);
        for _ in 0..due {
            let next = books.broom.checked_rem(count).unwrap_or(0);
            books.broom = next.saturating_add(1);
            let Some(bucket) = self.buckets.get(next) else {
                return;
            };
            let entries = bucket.entries();
            for (way, _) in entries.filter(|(_, kept)| kept.is_dead(now)) {
                gone.extend(self.put(bucket, way, FREE, None, &mut books));
            }
        }
    }

    /// Whether one more entry of this weight fits, after others were given up if need be.
    fn make_room(
        &self,
        weight: usize,
        now: NumericDate,
        books: &mut Accounts,
        gone: &mut Vec<Arc<Entry<V>>>,
    ) -> bool {
        for _ in 0..SEARCH {
            if self.fits(books, weight, None) {
                return true;
            }
            let Some(bucket) = self.buckets.get(books.hand) else {
                books.hand = 0;
                continue;
            };
            books.hand = books.hand.saturating_add(1);
            if let Some((way, _)) = bucket.least(now) {
                gone.extend(self.put(bucket, way, FREE, None, books));
            }
        }
        self.fits(books, weight, None)
    }

    /// Whether there is room for one more entry, or for one in place of another.
    fn fits(&self, books: &Accounts, weight: usize, replaced: Option<&Entry<V>>) -> bool {
        let others = books.entries.saturating_sub(replaced.iter().count());
        let given_back = replaced.map_or(0, Entry::held);
        others < self.entries && self.budget.fits(weight, given_back)
    }

    /// Changes what is in a slot, and the books. Gives what was there before.
    fn put(
        &self,
        bucket: &Bucket<V>,
        way: usize,
        tag: u8,
        kept: Option<Arc<Entry<V>>>,
        books: &mut Accounts,
    ) -> Option<Arc<Entry<V>>> {
        if let Some(new) = &kept {
            books.entries = books.entries.saturating_add(1);
            self.budget.take(new.held());
            new.value
                .growth()
                .iter()
                .for_each(|growth| growth.enter(&self.budget));
        }
        let old = bucket.put(way, tag, kept);
        if let Some(old) = &old {
            books.entries = books.entries.saturating_sub(1);
            let grown = old.value.growth().map_or(0, Growth::leave);
            self.budget.give_back(old.weight.saturating_add(grown));
        }
        old
    }

    /// How many entries there are, and their bytes. `None` while another thread is writing.
    pub(super) fn held(&self) -> Option<(usize, usize)> {
        try_lock(&self.books).map(|books| (books.entries, self.budget.held()))
    }

    /// The values, in order.
    #[cfg(test)]
    pub(super) fn values(&self) -> Vec<V>
    where
        V: Clone + Ord,
    {
        let entries = self.buckets.iter().flat_map(Bucket::entries);
        let mut values: Vec<V> = entries.map(|(_, kept)| kept.value.clone()).collect();
        values.sort();
        values
    }

    /// What the entries hold.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.count().1
    }

    /// What the books should say.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        let entries = self.buckets.iter().flat_map(Bucket::entries);
        entries.fold((0, 0), |(count, bytes), (_, kept)| {
            (count + 1, bytes + kept.held())
        })
    }
}

impl<V> Bucket<V> {
    fn empty() -> Self {
        Self {
            tags: AtomicU64::new(0),
            slots: std::array::from_fn(|_| Slot::empty()),
        }
    }

    /// The slots whose entries may have this tag, and which they are.
    #[inline]
    pub(super) fn candidates(&self, tag: u8) -> impl Iterator<Item = (usize, &Slot<Entry<V>>)> {
        let differences = self.tags.load(Ordering::Relaxed) ^ u64::from_le_bytes([tag; 8]);
        // The top bit of each octet that is zero, and of few others above one.
        let mut found = differences.wrapping_sub(LOW_BITS) & !differences & (LOW_BITS << 7);
        std::iter::from_fn(move || {
            let way = usize::try_from(found.trailing_zeros() / 8).ok()?;
            found &= found.wrapping_sub(1);
            Some((way, self.slots.get(way)?))
        })
    }

    /// Whether the tag is that of an entry or of the token that was turned away last, which this one
    /// now is.
    fn has_seen(&self, tag: u8) -> bool {
        let mut tags = self.tags.load(Ordering::Relaxed).to_le_bytes();
        let has_seen = tags.contains(&tag);
        let [.., last] = &mut tags;
        *last = tag;
        self.tags.store(u64::from_le_bytes(tags), Ordering::Relaxed);
        has_seen
    }

    fn has_dead(&self, now: NumericDate) -> bool {
        let mut slots = self.slots.iter().map(Slot::load);
        slots.any(|held| held.as_ref().is_some_and(|kept| kept.is_dead(now)))
    }

    /// The entry that `is_it`, under the lock.
    fn find(
        &self,
        tag: u8,
        is_it: impl Fn(&Arc<Entry<V>>) -> bool,
    ) -> Option<(usize, Arc<Entry<V>>)> {
        self.candidates(tag).find_map(|(way, slot)| {
            let held = slot.load();
            let entry = held.as_ref().filter(|entry| is_it(entry))?;
            Some((way, Arc::clone(entry)))
        })
    }

    /// The first free slot, under the lock: there the tags are right.
    fn free(&self) -> Option<usize> {
        self.candidates(FREE).next().map(|(way, _)| way)
    }

    /// The entry that is worth least, unless all are in use.
    fn least(&self, now: NumericDate) -> Option<(usize, Arc<Entry<V>>)> {
        let entries = self.entries();
        let worth = entries.filter_map(|(way, kept)| Some((Worth::of(&kept, now)?, way, kept)));
        let least = worth.reduce(|least, next| if next.0 < least.0 { next } else { least });
        least.map(|(_, way, kept)| (way, kept))
    }

    fn entries(&self) -> impl Iterator<Item = (usize, Arc<Entry<V>>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(way, slot)| Some((way, (*slot.load()).clone()?)))
    }

    /// Changes what is in a slot. Gives what was there before.
    fn put(&self, way: usize, tag: u8, kept: Option<Arc<Entry<V>>>) -> Option<Arc<Entry<V>>> {
        let mut tags = self.tags.load(Ordering::Relaxed).to_le_bytes();
        *tags.get_mut(way)? = tag;
        let old = self.slots.get(way)?.swap(kept);
        self.tags.store(u64::from_le_bytes(tags), Ordering::Relaxed);
        old
    }
}

impl Worth {
    fn of<V>(entry: &Entry<V>, now: NumericDate) -> Option<Self> {
        if entry.is_dead(now) {
            return Some(Self::Dead);
        }
        match entry.last_use() {
            None => Some(Self::Unused(entry.print.digest)),
            Some(last) => ((now.0 - last.0).abs() > IN_USE).then_some(Self::Idle(last)),
        }
    }
}

/// Places in a bucket: with the word of their tags they fill a cache line.
const WAYS: usize = 7;
/// Entries in a bucket on average when the cache is full: few enough that less than one of 1000
/// finds no place, because more than [`WAYS`] want to be in the same bucket.
const LOAD: usize = 2;
/// How many buckets give up an entry at most when the cache is full and a new one comes.
const SEARCH: usize = 16;
/// Seconds from one sweep to the next, at least.
const SWEEP_EVERY: f64 = 1.0;
/// Sweeps that go through all buckets, unless these are very few or very many.
const SWEEPS: usize = 64;
/// Buckets that one sweep looks through, at least and at most.
const SWEEP_LEAST: usize = 16;
const SWEEP_MOST: usize = 256;
/// An entry that was asked for within so many seconds is not given up for a new one.
const IN_USE: f64 = 60.0;
/// The tag of an empty slot.
const FREE: u8 = 0;
const LOW_BITS: u64 = u64::from_le_bytes([1; 8]);
