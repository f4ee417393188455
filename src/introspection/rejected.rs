//! Tokens that were rejected a moment ago.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::cache::Digest;
use crate::clock::NumericDate;
use crate::error::rejection::Rejection;

/// The tokens that were rejected a moment ago, so that a client that repeats one does not cause a question
/// each time.
///
/// The size is limited. A flood of different tokens replaces other rejected tokens, and nothing else.
pub(super) struct Rejected(Box<[Mutex<Shard>]>);

/// A token, and the position of the trust under which its issuer was asked. The answer to one trust says nothing
/// about another one, which has its own endpoint, audience and rules.
pub(super) type Asked = (Digest, usize);

/// Empty until the first token comes.
type Shard = Vec<Option<Entry>>;

struct Entry {
    token: Asked,
    from: NumericDate,
    until: NumericDate,
    rejection: Rejection,
}

impl Rejected {
    /// An empty table, or one that keeps nothing.
    pub(super) fn new(is_used: bool) -> Self {
        let shards = if is_used { SHARDS } else { 0 };
        Self((0..shards).map(|_| Mutex::default()).collect())
    }

    pub(super) fn get(&self, token: Asked, now: NumericDate) -> Option<Rejection> {
        let (shard, place) = self.place(token)?;
        let slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = slots.get(place)?.as_ref();
        let entry = entry.filter(|entry| entry.token == token)?;
        // The clock may be set back.
        let counts = entry.from <= now && now < entry.until;
        counts.then(|| entry.rejection.clone())
    }

    pub(super) fn put(&self, token: Asked, rejection: &Rejection, now: NumericDate, ttl: Duration) {
        let entry = Entry {
            token,
            from: now,
            until: now.plus(ttl),
            rejection: rejection.clone(),
        };
        let Some((shard, place)) = self.place(token) else {
            return;
        };
        let mut slots = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.is_empty() {
            slots.resize_with(PLACES, || None);
        }
        if let Some(slot) = slots.get_mut(place) {
            *slot = Some(entry);
        }
    }

    fn place(&self, (digest, _): Asked) -> Option<(&Mutex<Shard>, usize)> {
        let number = usize::try_from(digest.number() >> 32).unwrap_or_default();
        Some((self.0.get(number % SHARDS)?, number / SHARDS % PLACES))
    }
}

/// The number of locks, and of tokens behind each: 4 096 in all.
const SHARDS: usize = 64;
const PLACES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kinds::RejectionKind;

    const NOW: NumericDate = NumericDate(1_700_000_000.0);
    const TTL: Duration = Duration::from_secs(5);

    fn token(number: u32) -> Asked {
        (Digest::of(&number.to_le_bytes()).unwrap(), 0)
    }

    #[test]
    fn a_rejection_counts_for_its_time_and_only_then() {
        let table = Rejected::new(true);
        let rejection = Rejection::of(RejectionKind::Inactive);
        table.put(token(1), &rejection, NOW, TTL);
        for (seconds, counts) in [(-0.1, false), (0.0, true), (4.9, true), (5.0, false)] {
            let at = NumericDate(NOW.0 + seconds);
            assert_eq!(table.get(token(1), at).is_some(), counts, "{seconds}");
        }
        assert!(table.get(token(2), NOW).is_none());
        let of_another_trust = (token(1).0, 1);
        assert!(table.get(of_another_trust, NOW).is_none());
        let unused = Rejected::new(false);
        unused.put(token(1), &rejection, NOW, TTL);
        assert!(unused.get(token(1), NOW).is_none());
    }

    #[test]
    fn most_of_as_many_tokens_as_it_has_places_are_kept_and_a_flood_changes_no_size() {
        let table = Rejected::new(true);
        let rejection = Rejection::of(RejectionKind::Inactive);
        for number in 0..20_000 {
            table.put(token(number), &rejection, NOW, TTL);
        }
        let kept = (0..20_000).filter(|number| table.get(token(*number), NOW).is_some());
        let kept = kept.count();
        assert!((3_900..=SHARDS * PLACES).contains(&kept), "{kept}");
    }
}
