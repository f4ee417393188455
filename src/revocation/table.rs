//! [`Table`]: the marks of one kind of target, by name.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

use crate::claims::Claims;
use crate::revocation::RevocationMark;

/// Marks by name, in parts, so that a change copies only one part. The first mark allocates the parts,
/// because there may be many issuers, each with one kind of marks.
pub(super) struct Table {
    hasher: RandomState,
    len: AtomicUsize,
    parts: OnceLock<Box<[ArcSwapOption<Part>]>>,
}

type Part = HashMap<Arc<str>, Marks>;

impl Table {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
            parts: OnceLock::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    fn part<'t>(
        &self,
        parts: &'t [ArcSwapOption<Part>],
        name: &str,
    ) -> Option<&'t ArcSwapOption<Part>> {
        let hash = self.hasher.hash_one(name) % PARTS;
        usize::try_from(hash).ok().and_then(|at| parts.get(at))
    }

    pub(super) fn get(&self, name: &str) -> Option<Marks> {
        if self.is_empty() {
            return None;
        }
        let place = self.part(self.parts.get()?, name)?;
        place.load().as_ref()?.get(name).copied()
    }

    pub(super) fn put(&self, name: &str, marks: Option<Marks>) {
        let empty = || (0..PARTS).map(|_| ArcSwapOption::empty()).collect();
        let Some(place) = self.part(self.parts.get_or_init(empty), name) else {
            return;
        };
        let mut part = place.load().as_deref().cloned().unwrap_or_default();
        let before = part.len();
        match marks {
            Some(marks) => part.insert(name.into(), marks),
            None => part.remove(name),
        };
        let added = part.len().saturating_sub(before);
        let removed = before.saturating_sub(part.len());
        place.store(some_unless_empty(part));
        // After the marks, so that a request that sees the new number sees them.
        self.len.fetch_add(added, Ordering::Release);
        self.len.fetch_sub(removed, Ordering::Release);
    }

    /// Removes marks whose tokens have expired. Returns the number of marks that are left.
    pub(super) fn forget_ended(&self, now: SystemTime) -> usize {
        let mut left = 0_usize;
        for place in self.parts.get().into_iter().flatten() {
            let Some(part) = place.load_full() else {
                continue;
            };
            if part.values().any(|marks| marks.have_ended(now)) {
                let mut part = Part::clone(&part);
                part.retain(|_, marks| !marks.have_ended(now));
                left = left.saturating_add(part.len());
                place.store(some_unless_empty(part));
            } else {
                left = left.saturating_add(part.len());
            }
        }
        self.len.store(left, Ordering::Release);
        left
    }
}

/// The marks of one target. A suspension can end, and must not take a revocation with it.
#[derive(Clone, Copy, Default)]
pub(super) struct Marks {
    revocation: Option<Mark>,
    suspension: Option<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    /// The mark applies to tokens that were issued until then. `None` means all tokens.
    issued_until: Option<SystemTime>,
    /// From this time on no such token is accepted, so the mark can be removed.
    ends: SystemTime,
}

impl Marks {
    /// Adds a mark. Two calls for one target may come in the wrong order, so the later times count.
    pub(super) fn with(mut self, mark: &RevocationMark) -> Self {
        let place = if mark.is_suspension {
            &mut self.suspension
        } else {
            &mut self.revocation
        };
        let mut new = Mark {
            issued_until: mark.issued_until,
            ends: with_leeway(mark.expires_at),
        };
        if let Some(known) = *place {
            let until = known.issued_until.zip(new.issued_until);
            new.issued_until = until.map(|(known, new)| known.max(new));
            new.ends = new.ends.max(known.ends);
        }
        *place = Some(new);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.revocation.is_none() && self.suspension.is_none()
    }

    /// Returns `false` if there is no suspension.
    pub(super) fn end_suspension(&mut self) -> bool {
        self.suspension.take().is_some()
    }

    pub(super) fn revoke(&self, token: &Claims) -> bool {
        applies(self.revocation, token)
    }

    pub(super) fn suspend(&self, token: &Claims) -> bool {
        applies(self.suspension, token)
    }

    /// Whether all tokens that these marks apply to have expired.
    pub(super) fn have_ended(&self, now: SystemTime) -> bool {
        let marks = [self.revocation, self.suspension];
        marks.into_iter().flatten().all(|mark| mark.ends <= now)
    }
}

fn some_unless_empty(part: Part) -> Option<Arc<Part>> {
    (!part.is_empty()).then(|| Arc::new(part))
}

fn applies(mark: Option<Mark>, token: &Claims) -> bool {
    let Some(mark) = mark else { return false };
    let Some(until) = mark.issued_until else {
        return true;
    };
    token.issued_at().is_none_or(|issued| issued <= until)
}

/// The time until which a token with this `exp` may be accepted.
fn with_leeway(expiry: SystemTime) -> SystemTime {
    expiry.checked_add(LONGEST_LEEWAY).unwrap_or(expiry)
}

/// The number of parts of a table. A change copies one of them.
const PARTS: u64 = 256;
/// The maximum of [`Leeway`](crate::policy::Leeway).
const LONGEST_LEEWAY: Duration = Duration::from_secs(300);
