//! [`KeptLists`]: the lists of one issuer that are in use, and the number of their changes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::clock::{Clock, NumericDate};
use crate::epoch::Epoch;
use crate::revocation::status_list::packed::Packed;

/// The lists of one issuer. Requests take no lock.
pub(super) struct KeptLists {
    /// The beginning of all times in nanoseconds.
    start: Instant,
    lists: ArcSwap<HashMap<Arc<str>, Arc<Kept>>>,
    /// Rises if a list is replaced, ends, or is to be fetched again.
    epoch: Epoch,
    /// The next time at which a list ends by its lifetime, or is to be fetched again.
    next: AtomicU64,
    /// The first end of a list by its `exp`, as the bits of an `f64`. Infinite if no list has one.
    first_end: AtomicU64,
    /// Held during a change.
    changing: Mutex<()>,
}

/// A list, and how long it is used.
pub(super) struct Kept {
    pub(super) list: Packed,
    pub(super) issued_at: NumericDate,
    pub(super) expires_at: Option<NumericDate>,
    fresh_until: u64,
    /// [`NEVER`] while it is being fetched again.
    load_at: AtomicU64,
    /// The second of the last use.
    used: AtomicU64,
}

/// The time by both clocks: nanoseconds since the start, and the clock that `exp` is compared with.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    at: u64,
    date: NumericDate,
}

/// The maximum number of lists, and of their bytes.
pub(super) struct Room {
    pub(super) lists: usize,
    pub(super) bytes: usize,
}

impl KeptLists {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            lists: ArcSwap::default(),
            epoch: Epoch::new(),
            next: AtomicU64::new(NEVER),
            first_end: AtomicU64::new(f64::INFINITY.to_bits()),
            changing: Mutex::default(),
        }
    }

    // Read by requests.

    /// The number of changes. `None` while one is made.
    pub(super) fn epoch(&self, clock: &Arc<dyn Clock>) -> Option<u64> {
        // Read before the number: a later time is set after the number has risen.
        let next = self.next.load(Ordering::Acquire);
        let first_end = NumericDate(f64::from_bits(self.first_end.load(Ordering::Acquire)));
        // A clock is read only if something can end by it.
        let has_turned = next != NEVER && self.at() >= next;
        let has_end = first_end != NumericDate(f64::INFINITY);
        if has_turned || (has_end && NumericDate::now(clock) >= first_end) {
            return self.turn(self.moment(clock));
        }
        Some(self.epoch.get())
    }

    pub(super) fn moment(&self, clock: &Arc<dyn Clock>) -> Moment {
        Moment {
            at: self.at(),
            date: NumericDate::now(clock),
        }
    }

    /// The list at this URL, if it is in use.
    pub(super) fn find(&self, uri: &str, now: Moment) -> Option<Arc<Kept>> {
        let lists = self.lists.load();
        let kept = lists.get(uri).filter(|kept| kept.is_in_use(now))?;
        kept.note_use(now);
        Some(Arc::clone(kept))
    }

    /// Notes that time alone has changed something. Requests come here, so they do not wait for a lock.
    fn turn(&self, now: Moment) -> Option<u64> {
        let _changing = match self.changing.try_lock() {
            Ok(changing) => changing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let lists = self.lists.load();
        // What has ended stays so, even if a clock is set back.
        if !lists.values().all(|kept| kept.is_in_use(now)) {
            let lists = lists.iter().filter(|(_, kept)| kept.is_in_use(now));
            let lists = lists.map(|(uri, kept)| (Arc::clone(uri), Arc::clone(kept)));
            self.lists.store(Arc::new(lists.collect()));
        }
        // Before the next times, so that nobody finds these with the old number.
        self.epoch.raise();
        let (mut next, mut first_end) = (NEVER, f64::INFINITY);
        for kept in self.lists.load().values() {
            let (at, end) = kept.next_change(now);
            (next, first_end) = (next.min(at), first_end.min(end));
        }
        self.next.store(next, Ordering::Release);
        self.first_end.store(first_end.to_bits(), Ordering::Release);
        Some(self.epoch.get())
    }

    // Written by loads.

    /// A list that is used from now on, for this time.
    pub(super) fn kept(
        &self,
        list: Packed,
        issued_at: NumericDate,
        expires_at: Option<NumericDate>,
        lifetime: Duration,
    ) -> Kept {
        let now = self.at();
        let after = |part: Duration| now.saturating_add(nanos(part));
        Kept {
            list,
            issued_at,
            expires_at,
            fresh_until: after(lifetime),
            load_at: AtomicU64::new(after(lifetime.mul_f64(REFRESH_AHEAD))),
            used: AtomicU64::new(in_seconds(now)),
        }
    }

    /// Keeps a list. Others make room for it: those that are no longer in use, and then those that were not
    /// used for the longest time.
    pub(super) fn insert(
        &self,
        uri: &Arc<str>,
        kept: Arc<Kept>,
        room: &Room,
        now: Moment,
    ) -> Result<(), &'static str> {
        let size = kept.list.size();
        if size > room.bytes {
            return Err("it is larger than the memory for all lists");
        }
        let _changing = self.changing();
        let mut lists = HashMap::clone(&self.lists.load());
        lists.retain(|_, kept| kept.is_in_use(now));
        let known = lists.remove(uri);
        if known.is_some_and(|known| kept.issued_at < known.issued_at) {
            return Err(
                "its `iat` is before that of the list in use, which stays in use until its end",
            );
        }
        loop {
            let bytes: usize = lists.values().map(|kept| kept.list.size()).sum();
            let has_room =
                bytes.saturating_add(size) <= room.bytes && lists.len() < room.lists.max(1);
            let oldest = lists
                .iter()
                .min_by_key(|(_, kept)| kept.used.load(Ordering::Relaxed))
                .map(|(uri, _)| Arc::clone(uri));
            match oldest.filter(|_| !has_room) {
                Some(oldest) => lists.remove(&oldest),
                None => break,
            };
        }
        let (at, end) = kept.next_change(now);
        lists.insert(Arc::clone(uri), kept);
        self.lists.store(Arc::new(lists));
        self.turn_at(at, end);
        // After the change, so that a request that sees the new number sees it.
        self.epoch.raise();
        Ok(())
    }

    /// Has the list at this URL fetched again after this time, if it is in use. Returns whether it is.
    pub(super) fn load_again(&self, uri: &str, pause: Duration, now: Moment) -> bool {
        let at = now.at.saturating_add(nanos(pause));
        let _changing = self.changing();
        let lists = self.lists.load();
        let Some(kept) = lists.get(uri).filter(|kept| kept.is_in_use(now)) else {
            return false;
        };
        kept.load_at.store(at, Ordering::Release);
        self.turn_at(at, f64::INFINITY);
        true
    }

    /// Lets the number rise at these times, if it would not rise earlier. The lock is held.
    fn turn_at(&self, next: u64, end: f64) {
        self.next.fetch_min(next, Ordering::AcqRel);
        let first_end = f64::from_bits(self.first_end.load(Ordering::Acquire));
        self.first_end
            .store(first_end.min(end).to_bits(), Ordering::Release);
    }

    fn at(&self) -> u64 {
        nanos(Instant::now().saturating_duration_since(self.start))
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_in_use(&self, now: Moment) -> bool {
        now.at < self.fresh_until && self.expires_at.is_none_or(|end| now.date < end)
    }

    /// Whether it is to be fetched again, and no other request has begun with it.
    pub(super) fn begins_load(&self, now: Moment) -> bool {
        let at = self.load_at.load(Ordering::Acquire);
        let begun = |at| {
            self.load_at
                .compare_exchange(at, NEVER, Ordering::AcqRel, Ordering::Acquire)
        };
        now.at >= at && begun(at).is_ok()
    }

    /// The next times at which this list is to be fetched again or ends, by both clocks.
    fn next_change(&self, now: Moment) -> (u64, f64) {
        let load_at = self.load_at.load(Ordering::Acquire);
        let is_next = |at: &u64| *at > now.at;
        let next = [load_at, self.fresh_until]
            .into_iter()
            .filter(is_next)
            .min();
        let end = self.expires_at.map_or(f64::INFINITY, |end| end.0);
        (next.unwrap_or(NEVER), end)
    }

    /// Notes a use. At most once in a second, so that requests do not write all the time.
    fn note_use(&self, now: Moment) {
        let second = in_seconds(now.at);
        if self.used.load(Ordering::Relaxed) != second {
            self.used.store(second, Ordering::Relaxed);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

fn in_seconds(nanos: u64) -> u64 {
    Duration::from_nanos(nanos).as_secs()
}

/// A time that never comes.
const NEVER: u64 = u64::MAX;
/// The part of the lifetime after which a list is fetched again.
const REFRESH_AHEAD: f64 = 0.8;

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use tokio::time::advance;

    use super::*;

    const ROOM: Room = Room {
        lists: 10,
        bytes: 100,
    };

    fn clock(seconds: u64) -> Arc<dyn Clock> {
        let at: SystemTime = UNIX_EPOCH + Duration::from_secs(seconds);
        Arc::new(move || at)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    impl KeptLists {
        /// Keeps a list with this lifetime, and this end if it is not 0.
        fn insert_for(&self, uri: &str, lifetime: u64, end: f64) -> Arc<Kept> {
            let list = Packed::new(1, vec![0]).unwrap();
            let end = (end > 0.0).then_some(NumericDate(end));
            let kept = Arc::new(self.kept(list, NumericDate(1.0), end, seconds(lifetime)));
            let now = self.moment(&clock(0));
            self.insert(&uri.into(), Arc::clone(&kept), &ROOM, now)
                .unwrap();
            kept
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_rises_with_each_change_and_at_no_other_time() {
        let lists = KeptLists::new();
        let epoch = || lists.epoch(&clock(0)).unwrap();
        assert_eq!([epoch(), epoch()], [0, 0]);
        lists.insert_for("a", 100, 0.0);
        assert_eq!([epoch(), epoch()], [1, 1]);
        advance(Duration::from_millis(79_999)).await;
        assert_eq!(epoch(), 1);
        advance(Duration::from_millis(1)).await;
        assert_eq!([epoch(), epoch()], [2, 2], "it is to be fetched again");
        lists.insert_for("b", 50, 0.0); // 40 s: before the end of `a` comes nothing
        assert_eq!(epoch(), 3);
        advance(seconds(20)).await;
        assert_eq!([epoch(), epoch()], [4, 4], "`a` has ended");
        assert!(lists.find("a", lists.moment(&clock(0))).is_none());
        assert!(lists.find("b", lists.moment(&clock(0))).is_some());
        advance(seconds(20)).await;
        assert_eq!([epoch(), epoch()], [5, 5], "`b` is to be fetched again");
        advance(seconds(10)).await;
        assert_eq!([epoch(), epoch()], [6, 6], "`b` has ended");
        advance(seconds(10_000)).await;
        assert_eq!(epoch(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_end_by_the_clock_counts() {
        let lists = KeptLists::new();
        let at = |second: u64| lists.epoch(&clock(second)).unwrap();
        lists.insert_for("a", 1_000, 30.0);
        lists.insert_for("b", 1_000, 20.0);
        lists.insert_for("c", 1_000, 0.0);
        assert_eq!([at(0), at(19), at(20), at(20), at(29)], [3, 3, 4, 4, 4]);
        // A clock that is set back does not bring `b` back.
        assert!(lists.find("b", lists.moment(&clock(10))).is_none());
        assert_eq!([at(10), at(20), at(30), at(31)], [4, 4, 5, 5]);
        assert!(lists.find("c", lists.moment(&clock(1_000))).is_some());
    }

    /// No request waits while another one, or a load, makes a change.
    #[tokio::test(start_paused = true)]
    async fn there_is_no_number_while_a_change_is_made() {
        let lists = KeptLists::new();
        lists.insert_for("a", 100, 0.0);
        let changing = lists.changing();
        assert_eq!(lists.epoch(&clock(0)), Some(1), "nothing is due");
        drop(changing);
        advance(seconds(80)).await;
        let changing = lists.changing();
        assert_eq!(lists.epoch(&clock(0)), None);
        drop(changing);
        assert_eq!(lists.epoch(&clock(0)), Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_fetches_a_list_again_and_after_a_failure_another_one() {
        let lists = KeptLists::new();
        let kept = lists.insert_for("a", 100, 0.0);
        let moment = || lists.moment(&clock(0));
        assert!(!kept.begins_load(moment()));
        advance(seconds(80)).await;
        lists.epoch(&clock(0));
        assert_eq!(
            [kept.begins_load(moment()), kept.begins_load(moment())],
            [true, false]
        );
        let before = lists.epoch(&clock(0));
        assert!(lists.load_again("a", seconds(3), moment()));
        assert!(!lists.load_again("b", seconds(3), moment()));
        assert_eq!(lists.epoch(&clock(0)), before);
        assert!(!kept.begins_load(moment()));
        advance(seconds(3)).await;
        assert_eq!(lists.epoch(&clock(0)), before.map(|before| before + 1));
        assert_eq!(
            [kept.begins_load(moment()), kept.begins_load(moment())],
            [true, false]
        );
        advance(seconds(17)).await;
        assert!(!lists.load_again("a", seconds(3), moment()), "it has ended");
    }
}
