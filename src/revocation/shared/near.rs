//! [`Near`]: the copy of the store in the memory of this process.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::clock::Clock;
use crate::revocation::lists::Lists;
use crate::revocation::marks::Marks;
use crate::revocation::shared::entry::{Entry, Row, target_text};
use crate::revocation::shared::order::{Order, Standing};
use crate::revocation::shared::status::Progress;
use crate::revocation::shared::store::{Beat, Change, Head, Outcome, StoreError, Wish, Written};
use crate::revocation::{RevocationError, RevocationTarget};
use crate::telemetry;

/// The copy. Requests read it without a lock.
///
/// Revocations are final, so they are only ever added. A suspension can end, so the last change counts,
/// in the order of the store.
pub(super) struct Near {
    pub(super) lists: Lists,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_lag: Duration,
    pub(super) accepts_when_behind: bool,
    /// The maximum number of targets.
    limit: usize,
    began: Instant,
    /// Nanoseconds from `began` to the time until which the copy was current. 0 if it never was.
    current_until: AtomicU64,
    order: Mutex<Order>,
    progress: Mutex<Progress>,
}

impl Near {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        max_lag: Duration,
        accepts_when_behind: bool,
        capacity: usize,
    ) -> Self {
        Self {
            lists: Lists::new(),
            clock,
            max_lag,
            accepts_when_behind,
            // Other instances may have a greater capacity.
            limit: capacity.saturating_mul(10).max(SMALLEST_LIMIT),
            began: Instant::now(),
            current_until: AtomicU64::new(0),
            order: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    // Read by requests.

    /// The number of changes, or `None` if the copy is too old to be relied on.
    pub(super) fn epoch(&self) -> Option<u64> {
        (self.accepts_when_behind || !self.is_behind()).then(|| self.lists.epoch())
    }

    /// # Errors
    ///
    /// If the copy is too old to be relied on.
    pub(super) fn relied_on(&self) -> Result<(), RevocationError> {
        if self.accepts_when_behind || !self.is_behind() {
            return Ok(());
        }
        Err(RevocationError::new(match self.lag() {
            None => "the marks of the shared denylist have not been loaded yet".to_owned(),
            Some(lag) => format!(
                "the copy of the shared denylist is {:.1} s old (`max_lag` is {:.1} s)",
                lag.as_secs_f64(),
                self.max_lag.as_secs_f64()
            ),
        }))
    }

    pub(super) fn is_behind(&self) -> bool {
        self.now() >= self.current_until.load(Ordering::Acquire)
    }

    /// The time since which changes may be missing. `None` if the copy was never current.
    pub(super) fn lag(&self) -> Option<Duration> {
        let until = self.current_until.load(Ordering::Acquire);
        let since = Duration::from_nanos(until).checked_sub(self.max_lag);
        let since = since.filter(|_| until > 0)?;
        Some(Duration::from_nanos(self.now()).saturating_sub(since))
    }

    fn now(&self) -> u64 {
        self.nanos(Instant::now())
    }

    fn nanos(&self, at: Instant) -> u64 {
        let nanos = at.saturating_duration_since(self.began).as_nanos();
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    // Written by the follower.

    /// Notes that the copy has all that the store had at this time.
    pub(super) fn proved(&self, at: Instant) {
        let lag = u64::try_from(self.max_lag.as_nanos()).unwrap_or(u64::MAX);
        let until = self.nanos(at).saturating_add(lag).max(1);
        self.current_until.fetch_max(until, Ordering::Release);
    }

    pub(super) fn standing(&self, head: &Head) -> Standing {
        self.order().standing(head)
    }

    /// Forgets its position if the clock was set back since marks were dropped that had ended. They may not have
    /// ended, and the store has them still.
    pub(super) fn heed_clock(&self) {
        let now = self.clock.now();
        let mut order = self.order();
        if order.ended_by.is_some_and(|ended_by| now < ended_by) {
            (order.ended_by, order.position) = (None, None);
        }
    }

    pub(super) fn position(&self) -> Option<Head> {
        self.order().position.clone()
    }

    /// Applies changes in the order of the log. Returns `false` if one is missing.
    pub(super) fn apply(&self, entries: Vec<Entry>) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let mut order = self.order();
        let mut has_changed = false;
        let mut result = Ok(true);
        for entry in entries {
            let Some(position) = &order.position else {
                result = Ok(false);
                break;
            };
            let is_next = position.number.checked_add(1) == Some(entry.number);
            if *position.id != *entry.store || !is_next {
                order.position = None;
                result = Ok(false);
                break;
            }
            let head = Head {
                id: entry.store,
                number: entry.number,
            };
            if let Some((target, marks)) = self.readable(entry.row) {
                match self.put(&mut order, &target, marks, &head, now) {
                    Ok(is_new) => has_changed |= is_new,
                    // The position stays before it.
                    Err(full) => {
                        result = Err(full);
                        break;
                    }
                }
            }
            order.knows(&head.id, head.number);
            order.position = Some(head);
        }
        self.changed_if(has_changed, order);
        result
    }

    /// Begins to read all rows of a store. Returns the suspensions that the store must confirm.
    pub(super) fn begin(&self, beat: &Beat) -> Option<HashSet<Box<str>>> {
        let mut order = self.order();
        let has = |known: &Head| {
            let mut ids = beat.past.iter().chain([&beat.head]);
            ids.any(|past| past.id == known.id && past.number >= known.number)
        };
        // Changes of this process may be in a later store than the home.
        let is_home = self.len() == 0
            || (order.home.as_ref().is_some_and(has) && order.own.values().all(has));
        if is_home {
            order.set_home(&beat.head);
        } else {
            // Until all is written back, however often that begins.
            order.home = None;
        }
        drop(order);
        // After a loss the store does not know them.
        is_home.then(|| {
            let rows = (0..self.lists.parts()).flat_map(|at| self.lists.part(at));
            let suspended = rows.filter(|(_, marks)| marks.suspension.is_some());
            suspended
                .filter_map(|(target, _)| Some(target_text(&target)?.into()))
                .collect()
        })
    }

    /// Applies some of the rows of a store.
    pub(super) fn apply_rows(
        &self,
        rows: Vec<Row>,
        head: &Head,
        suspended: &mut Option<HashSet<Box<str>>>,
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut order = self.order();
        let mut has_changed = false;
        let mut result = Ok(());
        for row in rows {
            let Some((target, mut marks)) = self.readable(row) else {
                continue;
            };
            if marks.suspension.is_some() {
                if let (Some(suspended), Some(text)) = (suspended.as_mut(), target_text(&target)) {
                    suspended.remove(&*text);
                }
            } else {
                // Whether it was lifted is known at the end.
                let known = self.known(&target);
                marks.suspension = known.suspension;
            }
            match self.put(&mut order, &target, marks, head, now) {
                Ok(is_new) => has_changed |= is_new,
                Err(full) => {
                    result = Err(full);
                    break;
                }
            }
        }
        self.changed_if(has_changed, order);
        result
    }

    /// Notes that all rows of a store were read.
    pub(super) fn end(&self, head: &Head, unconfirmed: Option<HashSet<Box<str>>>) {
        let mut order = self.order();
        let mut has_changed = false;
        for text in unconfirmed.into_iter().flatten() {
            let target = super::entry::parse_target(text.as_bytes());
            if let Some(target) = target.ok().filter(|_| !order.is_ahead(&text, head)) {
                has_changed |= self.end_suspension(&target);
            }
        }
        order.position = Some(head.clone());
        order.knows(&head.id, head.number);
        order
            .own
            .retain(|_, own| own.id == head.id && own.number > head.number);
        self.changed_if(has_changed, order);
        let mut progress = self.progress();
        progress.snapshots = progress.snapshots.saturating_add(1);
    }

    /// Whether the store with this id has all marks of this copy.
    pub(super) fn is_home(&self, id: &str) -> bool {
        self.order()
            .home
            .as_ref()
            .is_some_and(|home| *home.id == *id)
    }

    pub(super) fn set_home(&self, head: &Head) {
        self.order().set_home(head);
    }

    /// Ends the suspensions that were not written back, because they were lifted in this store.
    pub(super) fn restored(&self, changes: &[Change], written: &Written) {
        let order = self.order();
        let mut has_changed = false;
        for (change, outcome) in changes.iter().zip(&written.outcomes) {
            let (Wish::Restore(sent), Outcome::Stored { marks, .. }) = (&change.wish, outcome)
            else {
                continue;
            };
            let is_lifted = sent.suspension.is_some() && marks.suspension.is_none();
            let text = target_text(&change.target).unwrap_or_default();
            if is_lifted && !order.is_ahead(&text, &written.head) {
                has_changed |= self.end_suspension(&change.target);
            }
        }
        self.changed_if(has_changed, order);
    }

    /// Forgets marks whose tokens have expired.
    pub(super) fn forget_ended(&self) {
        let now = self.clock.now();
        let mut order = self.order();
        let before = self.len();
        self.lists.forget_ended(now);
        if self.len() < before {
            order.dropped_ended(now);
        }
        let position = order.position.clone();
        order.own.retain(|_, own| {
            position
                .as_ref()
                .is_none_or(|at| at.id != own.id || own.number > at.number)
        });
    }

    // Written by this process.

    /// Applies a change of this process, which the store has confirmed.
    pub(super) fn own(&self, change: &Change, written: &Written) {
        let Some(Outcome::Stored { marks, .. }) = written.outcomes.first() else {
            return;
        };
        let (target, head) = (&change.target, &written.head);
        let mut order = self.order();
        let position = order.position.as_ref().filter(|at| at.id == head.id);
        let text = target_text(target).unwrap_or_default();
        // A later change of this process may have been answered first.
        let is_stale = order.is_ahead(&text, head);
        let is_passed = is_stale || position.is_some_and(|at| at.number >= head.number);
        let is_home = order.home.as_ref().is_some_and(|home| home.id == head.id);
        order.knows(&head.id, head.number);
        let known = self.known(target);
        let mut new = known.with_revocation(marks.revocation);
        if !is_passed {
            new.suspension = marks.suspension;
            order.own.insert(text.into(), head.clone());
        } else if !is_stale && !is_home && matches!(change.wish, Wish::Lift) {
            // The store did not know this suspension any more.
            new.suspension = marks.suspension;
        }
        if new == known {
            return;
        }
        let (table, name) = self.lists.table(target);
        table.put(target.issuer(), name, new);
        self.changed_if(true, order);
    }

    // Helpers.

    /// Adds the marks of a target, as they were after this change. Returns whether that has changed anything.
    /// The lock is held.
    ///
    /// # Errors
    ///
    /// If there is no room for another target. Then nothing is changed.
    fn put(
        &self,
        order: &mut Order,
        target: &RevocationTarget,
        marks: Marks,
        head: &Head,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let known = self.known(target);
        if known.end().is_none() && marks.end().is_some_and(|end| end > now) {
            self.make_room(order, now)?;
        }
        let mut new = known.with_revocation(marks.revocation);
        let is_ahead = (!order.own.is_empty())
            .then(|| target_text(target))
            .flatten()
            .is_some_and(|text| {
                let is_ahead = order.is_ahead(&text, head);
                if !is_ahead {
                    order.own.remove(&*text);
                }
                is_ahead
            });
        if !is_ahead {
            new.suspension = marks.suspension;
        }
        if new == known {
            return Ok(false);
        }
        if known.end().is_none() && new.end().is_none_or(|end| end <= now) {
            order.dropped_ended(now);
            return Ok(false);
        }
        let (table, name) = self.lists.table(target);
        table.put(target.issuer(), name, new);
        Ok(true)
    }

    /// Returns `false` if there is no suspension. The lock is held.
    fn end_suspension(&self, target: &RevocationTarget) -> bool {
        let mut marks = self.known(target);
        let has_ended = marks.end_suspension();
        if has_ended {
            let (table, name) = self.lists.table(target);
            table.put(target.issuer(), name, marks);
        }
        has_ended
    }

    /// Ends changes. The number is raised under the lock: whoever finds a mark there may say that it is
    /// in effect, also for cached tokens.
    fn changed_if(&self, has_changed: bool, order: MutexGuard<'_, Order>) {
        if has_changed {
            self.lists.changed();
        }
        drop(order);
    }

    /// Marks of this process need none: the store has a capacity for these.
    fn make_room(&self, order: &mut Order, now: SystemTime) -> Result<(), StoreError> {
        if self.len() >= self.limit {
            self.lists.forget_ended(now);
            order.dropped_ended(now);
        }
        if self.len() < self.limit {
            return Ok(());
        }
        Err(StoreError(format!(
            "the store has more marks than the {} that this instance can keep",
            self.limit
        )))
    }

    fn readable(&self, row: Row) -> Option<(RevocationTarget, Marks)> {
        row.inspect_err(|why| {
            let mut progress = self.progress();
            progress.skipped = progress.skipped.saturating_add(1);
            telemetry::revocation_mark_skipped(&progress.source, why, progress.skipped);
        })
        .ok()
    }

    fn known(&self, target: &RevocationTarget) -> Marks {
        let (table, name) = self.lists.table(target);
        table.get(target.issuer(), name).unwrap_or_default()
    }

    pub(super) fn len(&self) -> usize {
        let tables = self.lists.tables();
        tables.iter().map(|(_, table)| table.len()).sum()
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self) -> MutexGuard<'_, Order> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SMALLEST_LIMIT: usize = 10_000;
