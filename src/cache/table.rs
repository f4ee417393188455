//! The table of a cache: buckets, admission, eviction and sweeps.

use crate::cache::budget::{Budget, Grow, Growth};
use crate::cache::digest::Place;
use crate::cache::{Entry, Limits};
use crate::clock::NumericDate;
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, Slot, try_lock};

/// Buckets of seven places. One thread at a time writes. No other thread waits for it.
pub(super) struct Table<V> {
    buckets: Box<[Bucket<V>]>,
    /// Maximum number of entries.
    entries: usize,
    budget: Arc<Budget>,
    state: Mutex<State>,
    /// The time of the last sweep, as the bits of an `f64`.
    swept: AtomicU64,
}

/// The entries that share a place, in one cache line.
#[repr(align(64))]
pub(super) struct Bucket<V> {
    /// One byte for each slot, the lowest byte for the first slot: the tag of its entry, or [`FREE`].
    /// The tag is only a hint. The content of the slot decides. The highest byte is the tag of the last
    /// token that was not admitted.
    tags: AtomicU64,
    slots: [Slot<Entry<V>>; WAYS],
}

/// The state of the writers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) entries: usize,
    /// The next bucket to evict an entry from.
    evict_next: usize,
    /// The next bucket to sweep.
    sweep_next: usize,
}

/// The order of eviction: the lowest rank is evicted first. An entry that is in use has no rank.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
enum Rank {
    /// The entry has expired.
    Dead,
    /// Never used since it was stored. The digest makes the order random. In the order of age, tokens
    /// that are used in turn would each evict the token that is used next.
    Unused([u64; 2]),
    /// Last used at this time, more than [`IN_USE`] ago.
    Idle(NumericDate),
}

impl<V: Grow> Table<V> {
    pub(super) fn new(limits: Limits) -> Self {
        // This few entries always fit into one bucket.
        let buckets = if limits.entries <= WAYS {
            1
        } else {
            limits.entries.div_ceil(LOAD)
        };
        Self {
            buckets: (0..buckets).map(|_| Bucket::empty()).collect(),
            entries: limits.entries,
            budget: Arc::new(Budget::new(limits.bytes)),
            state: Mutex::new(State::default()),
            swept: AtomicU64::new(0),
        }
    }

    pub(super) fn bucket(&self, place: Place) -> Option<&Bucket<V>> {
        let count = u128::try_from(self.buckets.len()).unwrap_or(0);
        let at = u128::from(place.bucket).wrapping_mul(count) >> 64;
        self.buckets.get(usize::try_from(at).ok()?)
    }

    /// Whether a token of this size gets a place now. A token for which an entry would have to be evicted
    /// before its end gets a place only when it comes again.
    pub(super) fn admits(&self, place: Place, weight: usize, now: NumericDate) -> bool {
        let (Some(bucket), Some(state)) = (self.bucket(place), try_lock(&self.state)) else {
            return false;
        };
        let has_room = bucket.free().is_some() && self.fits(&state, weight, None);
        has_room || bucket.has_dead(now) || bucket.has_seen(place.tag)
    }

    /// Stores an entry, in place of an entry that `is_same`, or of the entry with the lowest rank.
    /// Nothing is stored if all other entries are in use, or if another thread is writing.
    ///
    /// A change of a slot must check the readers of all threads, so a replacement is one change and
    /// not two.
    pub(super) fn insert(
        &self,
        place: Place,
        new: Arc<Entry<V>>,
        now: NumericDate,
        is_same: impl Fn(&Arc<Entry<V>>) -> bool,
    ) {
        // Declared first, so that entries are freed after the lock is released.
        let mut removed = Vec::new();
        let (Some(bucket), Some(mut state)) = (self.bucket(place), try_lock(&self.state)) else {
            return;
        };
        let free = bucket.free();
        let weight = new.held();
        let has_room = free.is_some() && self.fits(&state, weight, None);
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
        if !self.fits(&state, weight, replaced) {
            if old.is_some() {
                removed.extend(self.put(bucket, way, FREE, None, &mut state));
            }
            if !self.make_room(weight, now, &mut state, &mut removed) {
                return;
            }
        }
        removed.extend(self.put(bucket, way, place.tag, Some(new), &mut state));
    }

    /// Removes the entry for which `is_it` holds, unless another thread is writing.
    pub(super) fn remove(&self, place: Place, is_it: impl Fn(&Arc<Entry<V>>) -> bool) {
        let mut removed = Vec::new();
        let (Some(bucket), Some(mut state)) = (self.bucket(place), try_lock(&self.state)) else {
            return;
        };
        if let Some((way, _)) = bucket.find(place.tag, is_it) {
            removed.extend(self.put(bucket, way, FREE, None, &mut state));
        }
    }

    /// Removes expired entries from the next few buckets, unless the last sweep was less than a second
    /// ago, or another thread is writing.
    pub(super) fn sweep(&self, now: NumericDate) {
        let last = f64::from_bits(self.swept.load(Ordering::Relaxed));
        // The clock may be set back.
        if (now.0 - last).abs() < SWEEP_EVERY {
            return;
        }
        let mut removed = Vec::new();
        let Some(mut state) = try_lock(&self.state) else {
            return;
        };
        self.swept.store(now.0.to_bits(), Ordering::Relaxed);
        let count = self.buckets.len();
        let due = (count / SWEEPS).clamp(SWEEP_MIN, SWEEP_MAX).min(count);
        for _ in 0..due {
            let next = state.sweep_next.checked_rem(count).unwrap_or(0);
            state.sweep_next = next.saturating_add(1);
            let Some(bucket) = self.buckets.get(next) else {
                return;
            };
            let entries = bucket.entries();
            for (way, _) in entries.filter(|(_, kept)| kept.is_dead(now)) {
                removed.extend(self.put(bucket, way, FREE, None, &mut state));
            }
        }
    }

    /// Evicts entries until one more entry of this size fits. Returns whether it fits.
    fn make_room(
        &self,
        weight: usize,
        now: NumericDate,
        state: &mut State,
        removed: &mut Vec<Arc<Entry<V>>>,
    ) -> bool {
        for _ in 0..SEARCH {
            if self.fits(state, weight, None) {
                return true;
            }
            let Some(bucket) = self.buckets.get(state.evict_next) else {
                state.evict_next = 0;
                continue;
            };
            state.evict_next = state.evict_next.saturating_add(1);
            if let Some((way, _)) = bucket.least(now) {
                removed.extend(self.put(bucket, way, FREE, None, state));
            }
        }
        self.fits(state, weight, None)
    }

    /// Whether there is room for one more entry, or for one in place of `replaced`.
    fn fits(&self, state: &State, weight: usize, replaced: Option<&Entry<V>>) -> bool {
        let others = state.entries.saturating_sub(replaced.iter().count());
        let given_back = replaced.map_or(0, Entry::held);
        others < self.entries && self.budget.fits(weight, given_back)
    }

    /// Changes the content of a slot and the counts. Returns the old content.
    fn put(
        &self,
        bucket: &Bucket<V>,
        way: usize,
        tag: u8,
        kept: Option<Arc<Entry<V>>>,
        state: &mut State,
    ) -> Option<Arc<Entry<V>>> {
        if let Some(new) = &kept {
            state.entries = state.entries.saturating_add(1);
            self.budget.take(new.held());
            new.value
                .growth()
                .iter()
                .for_each(|growth| growth.enter(&self.budget));
        }
        let old = bucket.put(way, tag, kept);
        if let Some(old) = &old {
            state.entries = state.entries.saturating_sub(1);
            let grown = old.value.growth().map_or(0, Growth::leave);
            self.budget.give_back(old.weight.saturating_add(grown));
        }
        old
    }

    /// The number of entries and their size. `None` while another thread is writing.
    pub(super) fn held(&self) -> Option<(usize, usize)> {
        try_lock(&self.state).map(|state| (state.entries, self.budget.held()))
    }

    /// The values, sorted.
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

    /// The size of the entries, counted again.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.count().1
    }

    /// The number of entries and their size, counted again.
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

    /// The slots whose entries may have this tag, with their indices.
    #[inline]
    pub(super) fn candidates(&self, tag: u8) -> impl Iterator<Item = (usize, &Slot<Entry<V>>)> {
        let differences = self.tags.load(Ordering::Relaxed) ^ u64::from_le_bytes([tag; 8]);
        // Sets the top bit of each byte that is zero, and rarely of the byte above one.
        let mut found = differences.wrapping_sub(LOW_BITS) & !differences & (LOW_BITS << 7);
        std::iter::from_fn(move || {
            let way = usize::try_from(found.trailing_zeros() / 8).ok()?;
            found &= found.wrapping_sub(1);
            Some((way, self.slots.get(way)?))
        })
    }

    /// Whether an entry or the last token that was not admitted has this tag. Then stores the tag as that
    /// of the last token that was not admitted.
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

    /// The entry for which `is_it` holds. Called under the lock.
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

    /// The first free slot. Called under the lock, where the tags are exact.
    fn free(&self) -> Option<usize> {
        self.candidates(FREE).next().map(|(way, _)| way)
    }

    /// The entry with the lowest rank, unless all are in use.
    fn least(&self, now: NumericDate) -> Option<(usize, Arc<Entry<V>>)> {
        let entries = self.entries();
        let ranked = entries.filter_map(|(way, kept)| Some((Rank::of(&kept, now)?, way, kept)));
        let least = ranked.reduce(|least, next| if next.0 < least.0 { next } else { least });
        least.map(|(_, way, kept)| (way, kept))
    }

    fn entries(&self) -> impl Iterator<Item = (usize, Arc<Entry<V>>)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(way, slot)| Some((way, (*slot.load()).clone()?)))
    }

    /// Changes the content of a slot. Returns the old content.
    fn put(&self, way: usize, tag: u8, kept: Option<Arc<Entry<V>>>) -> Option<Arc<Entry<V>>> {
        let mut tags = self.tags.load(Ordering::Relaxed).to_le_bytes();
        *tags.get_mut(way)? = tag;
        let old = self.slots.get(way)?.swap(kept);
        self.tags.store(u64::from_le_bytes(tags), Ordering::Relaxed);
        old
    }
}

impl Rank {
    fn of<V>(entry: &Entry<V>, now: NumericDate) -> Option<Self> {
        if entry.is_dead(now) {
            return Some(Self::Dead);
        }
        match entry.last_use() {
            None => Some(Self::Unused(entry.fingerprint.digest)),
            Some(last) => ((now.0 - last.0).abs() > IN_USE).then_some(Self::Idle(last)),
        }
    }
}

/// Slots of a bucket. Together with the word of tags they fill a cache line.
const WAYS: usize = 7;
/// Average number of entries in a bucket of a full cache. It is low enough that fewer than one token
/// in 1000 finds no slot because its bucket already has [`WAYS`] entries.
const LOAD: usize = 2;
/// Maximum number of buckets from which entries are evicted for one new entry.
const SEARCH: usize = 16;
/// Minimum number of seconds between two sweeps.
const SWEEP_EVERY: f64 = 1.0;
/// Number of sweeps that examine all buckets, unless there are very few or very many.
const SWEEPS: usize = 64;
/// Minimum and maximum number of buckets that one sweep examines.
const SWEEP_MIN: usize = 16;
const SWEEP_MAX: usize = 256;
/// An entry that was used within this number of seconds is not evicted before its end.
const IN_USE: f64 = 60.0;
/// The tag of an empty slot.
const FREE: u8 = 0;
const LOW_BITS: u64 = u64::from_le_bytes([1; 8]);
