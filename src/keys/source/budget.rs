//! The budget for loads that tokens cause, so that a flood of invented key ids does not flood the issuer.
//!
//! Key ids that were not looked up before may use the whole allowance. Everything else may use only the
//! part above [`RESERVE`]: ids that were looked up and not found, ids of withdrawn keys, and signatures
//! that do not verify. A client can send any number of these.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::keys::key::KeyId;

/// The budget for loads that tokens cause.
pub(crate) struct Budget {
    /// Whether a load is running, or is about to start.
    is_pending: bool,
    /// The start of the last load.
    began: Instant,
    /// The start of the last load that succeeded.
    answered: Option<Instant>,
    /// The number of loads that tokens may cause now.
    allowance: u32,
    refilled: Instant,
    /// The number of loads since then that found their key and were refunded.
    refunds: u32,
    cooldown: Duration,
    /// The id that caused the running load.
    sought: Option<u64>,
    /// The ids that wait for the running load, including `sought`.
    asked: HashSet<u64>,
    /// The time before which the source does not want another request (`Retry-After`).
    not_before: Option<Instant>,
    /// Ids that were looked up and not found.
    missed: HashSet<u64>,
    /// Ids of keys that a load removed. Until they come back, their tokens must not use up the allowance
    /// for new keys.
    withdrawn: HashSet<u64>,
    hasher: RandomState,
}

impl Budget {
    pub(crate) fn new(cooldown: Duration) -> Self {
        let now = Instant::now();
        Self {
            is_pending: false,
            began: now,
            answered: None,
            allowance: BURST,
            refilled: now,
            refunds: 0,
            cooldown,
            sought: None,
            asked: HashSet::new(),
            not_before: None,
            missed: HashSet::new(),
            withdrawn: HashSet::new(),
            hasher: RandomState::new(),
        }
    }

    /// Records the start of a load.
    pub(crate) fn load_started(&mut self) {
        self.is_pending = true;
        self.began = Instant::now();
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// A load has failed. No token causes another one before this time.
    pub(crate) fn load_failed(&mut self, not_before: Option<Instant>) {
        self.load_ended();
        self.not_before = not_before;
    }

    /// A load has succeeded, and has added and withdrawn these keys.
    pub(crate) fn load_succeeded(&mut self, added: &[KeyId], withdrawn: &[KeyId]) {
        if self.missed.len() >= REMEMBERED {
            self.missed.clear();
        }
        self.missed.extend(self.sought);
        let mut is_found = false;
        for id in added {
            let id = self.hasher.hash_one(id.as_str());
            is_found |= self.asked.contains(&id);
            self.missed.remove(&id);
            self.withdrawn.remove(&id);
        }
        self.load_ended();
        self.answered = Some(self.began);
        self.not_before = None;
        if is_found && self.refunds < REFUNDS {
            // The load found a key that was looked up, so it does not count.
            self.refunds = self.refunds.saturating_add(1);
            self.allowance = self.allowance.saturating_add(1).min(BURST);
        }
        if self.withdrawn.len().saturating_add(withdrawn.len()) > REMEMBERED {
            self.withdrawn.clear();
        }
        let ids = withdrawn.iter().take(REMEMBERED);
        let ids = ids.map(|id| self.hasher.hash_one(id.as_str()));
        self.withdrawn.extend(ids);
    }

    fn load_ended(&mut self) {
        self.is_pending = false;
        self.sought = None;
        self.asked.clear();
    }

    /// Decides whether a token waits for a running load, or causes one. `id` is `None` for a signature
    /// that does not verify.
    pub(crate) fn admit(&mut self, id: Option<&str>) -> Admission {
        let id = id.map(|id| self.hasher.hash_one(id));
        if self.is_pending {
            if self.asked.len() < REMEMBERED {
                self.asked.extend(id);
            }
            return Admission::Join;
        }
        let now = Instant::now();
        if self.not_before.is_some_and(|at| now < at) {
            return Admission::Spent;
        }
        let is_among = |ids: &HashSet<u64>| id.is_some_and(|id| ids.contains(&id));
        let (is_missed, is_withdrawn) = (is_among(&self.missed), is_among(&self.withdrawn));
        let is_answered_within = |limit: Duration| {
            let at = self.answered;
            at.is_some_and(|at| now.saturating_duration_since(at) < limit)
        };
        if is_missed && is_answered_within(LATELY) {
            return Admission::Answered;
        }
        let is_known_to_be_gone = is_withdrawn && is_answered_within(self.cooldown);
        self.refill(now);
        let is_new = id.is_some() && !is_missed && !is_withdrawn;
        let kept_back = if is_new { 0 } else { RESERVE };
        if self.allowance <= kept_back {
            // If the source withdrew the key a short time ago, it is known not to have the key.
            return if is_known_to_be_gone {
                Admission::Answered
            } else {
                Admission::Spent
            };
        }
        if self.allowance == BURST {
            self.refilled = now;
        }
        self.allowance = self.allowance.saturating_sub(1);
        self.sought = id;
        self.load_started();
        self.asked.extend(id);
        Admission::Begin
    }

    /// Same as [`admit`](Self::admit) for the first load, which does not use the allowance.
    pub(crate) fn admit_first(&mut self) -> Admission {
        if self.is_pending {
            return Admission::Join;
        }
        self.load_started();
        Admission::Begin
    }

    /// Adds one load for each cooldown that has passed, up to [`BURST`].
    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled);
        if passed < self.cooldown {
            return;
        }
        let cooldown = self.cooldown.as_nanos();
        let loads = passed.as_nanos().checked_div(cooldown);
        let loads = loads.and_then(|loads| u32::try_from(loads).ok());
        self.allowance = self
            .allowance
            .saturating_add(loads.unwrap_or(BURST))
            .min(BURST);
        let rest = passed.as_nanos().checked_rem(cooldown).unwrap_or_default();
        let rest = Duration::from_nanos(u64::try_from(rest).unwrap_or_default());
        self.refilled = now.checked_sub(rest).unwrap_or(now);
        self.refunds = 0;
    }
}

/// The decision about a token whose key is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A recent load did not find the key.
    Answered,
    /// The caller starts a load.
    Begin,
    /// A load is running.
    Join,
    /// No load may start now.
    Spent,
}

/// The number of loads that tokens may cause in a row.
const BURST: u32 = 4;
/// The part of the burst that is reserved for key ids that were not looked up before.
const RESERVE: u32 = 2;
/// The maximum number of loads in one cooldown that do not count because they found their key.
const REFUNDS: u32 = 16;
/// The time after which a key id that was not found is looked up again, because it may be published by
/// then.
const LATELY: Duration = Duration::from_secs(1);
/// The maximum number of key ids that are remembered as not found, as withdrawn, and as waiting.
const REMEMBERED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::Admission::{Answered, Begin, Join, Spent};
    use super::*;
    use tokio::time::advance;

    const COOLDOWN: Duration = Duration::from_secs(30);

    fn budget() -> Budget {
        Budget::new(COOLDOWN)
    }

    /// Looks up an id. If a load starts, it ends at once without new keys.
    fn look(budget: &mut Budget, id: impl AsRef<str>) -> Admission {
        let admission = budget.admit(Some(id.as_ref()));
        if admission == Begin {
            budget.load_succeeded(&[], &[]);
        }
        admission
    }

    /// Same as [`look`] for a bad signature.
    fn forge(budget: &mut Budget) -> Admission {
        let admission = budget.admit(None);
        if admission == Begin {
            budget.load_succeeded(&[], &[]);
        }
        admission
    }

    fn loads(budget: &mut Budget, ids: std::ops::Range<u32>) -> usize {
        ids.filter(|id| look(budget, format!("id-{id}")) == Begin)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_four_and_then_one_for_each_cooldown() {
        let mut budget = budget();
        assert_eq!(loads(&mut budget, 0..250), 4);
        advance(COOLDOWN - Duration::from_millis(1)).await;
        assert_eq!(loads(&mut budget, 250..500), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(loads(&mut budget, 500..750), 1);
        assert_eq!(loads(&mut budget, 750..1_000), 0, "not a second time");
        for round in 0..10 {
            advance(COOLDOWN).await;
            let from = 1_000 + 100 * round;
            assert_eq!(loads(&mut budget, from..from + 100), 1, "{round}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_grows_with_the_time_and_not_beyond_the_burst() {
        for (cooldowns, expected) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4), (100_000, 4)] {
            let mut budget = budget();
            assert_eq!(loads(&mut budget, 0..10), 4);
            advance(COOLDOWN * cooldowns).await;
            assert_eq!(loads(&mut budget, 10..260), expected, "{cooldowns}");
        }
        // A part of a cooldown is not lost.
        let mut budget = budget();
        loads(&mut budget, 0..10);
        advance(COOLDOWN * 3 / 2).await;
        assert_eq!(loads(&mut budget, 10..20), 1);
        advance(COOLDOWN / 2).await;
        assert_eq!(loads(&mut budget, 20..30), 1);
        // Unused loads do not add up.
        let mut budget = self::budget();
        advance(COOLDOWN * 1_000).await;
        assert_eq!(loads(&mut budget, 0..250), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cooldown_of_zero_is_no_division_by_zero() {
        let mut budget = Budget::new(Duration::ZERO);
        assert_eq!(loads(&mut budget, 0..10), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_looked_for_again_when_the_answer_is_old() {
        let mut budget = budget();
        assert_eq!(look(&mut budget, "a"), Begin);
        assert_eq!(look(&mut budget, "a"), Answered);
        advance(LATELY).await;
        assert_eq!(look(&mut budget, "a"), Begin);
        assert_eq!(look(&mut budget, "a"), Answered);
        advance(LATELY).await;
        // The reserve is for new ids.
        assert_eq!(look(&mut budget, "a"), Spent);
        assert_eq!(look(&mut budget, "b"), Begin);
        // The load for `b` also answered the look-up of `a`.
        assert_eq!(look(&mut budget, "a"), Answered);
        assert_eq!(look(&mut budget, "c"), Begin);
        assert_eq!(look(&mut budget, "d"), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_as_old_as_the_load_that_it_ends() {
        let mut budget = budget();
        assert_eq!(budget.admit(Some("a")), Begin);
        advance(LATELY).await;
        assert_eq!(budget.admit(Some("a")), Join);
        budget.load_succeeded(&[], &[]);
        assert_eq!(budget.admit(Some("a")), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_no_answer() {
        let mut budget = budget();
        for at in 0..4 {
            assert_eq!(budget.admit(Some("a")), Begin, "{at}");
            budget.load_failed(None);
        }
        assert_eq!(budget.admit(Some("a")), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn no_load_starts_before_the_time_of_retry_after() {
        let mut budget = budget();
        budget.load_started();
        budget.load_failed(Some(Instant::now() + COOLDOWN));
        assert_eq!(look(&mut budget, "a"), Spent);
        assert_eq!(forge(&mut budget), Spent);
        advance(COOLDOWN).await;
        assert_eq!(look(&mut budget, "a"), Begin);
        budget.load_started();
        budget.load_failed(Some(Instant::now() + COOLDOWN));
        // A load that was not caused by a token has succeeded.
        budget.load_started();
        budget.load_succeeded(&[], &[]);
        assert_eq!(look(&mut budget, "b"), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn bad_signatures_leave_half_of_the_burst() {
        let mut budget = budget();
        let forged = (0..250).filter(|_| forge(&mut budget) == Begin).count();
        assert_eq!(forged, 2);
        assert_eq!(loads(&mut budget, 0..250), 2);
        assert_eq!(forge(&mut budget), Spent);
        advance(COOLDOWN * 2).await;
        assert_eq!(forge(&mut budget), Spent);
        advance(COOLDOWN).await;
        assert_eq!(forge(&mut budget), Begin);
        assert_eq!(forge(&mut budget), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn every_token_joins_a_running_load() {
        let mut budget = budget();
        assert_eq!(budget.admit_first(), Begin);
        assert_eq!(budget.admit_first(), Join);
        assert_eq!(budget.admit(Some("a")), Join);
        assert_eq!(budget.admit(None), Join);
        budget.load_succeeded(&[], &[]);
        assert_eq!(
            loads(&mut budget, 0..250),
            4,
            "they do not use the allowance"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn loads_that_find_their_key_do_not_count_up_to_a_bound() {
        let mut budget = budget();
        let found = |budget: &mut Budget| {
            (0..250)
                .take_while(|at| {
                    let id = format!("found-{at}");
                    let begins = budget.admit(Some(&id)) == Begin;
                    budget.load_succeeded(&[KeyId::new(&id)], &[]);
                    begins
                })
                .count()
        };
        let bound = usize::try_from(REFUNDS + BURST).unwrap();
        assert_eq!(found(&mut budget), bound);
        // A key that no token needed refunds nothing.
        budget.load_started();
        budget.load_succeeded(&[KeyId::new("unasked")], &[]);
        assert_eq!(look(&mut budget, "a"), Spent);
        advance(COOLDOWN).await;
        assert_eq!(found(&mut budget), usize::try_from(REFUNDS + 1).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawn_id_is_answered_and_leaves_the_reserve() {
        let mut budget = budget();
        budget.load_started();
        budget.load_succeeded(&[], &[KeyId::new("old")]);
        for expected in [Begin, Begin, Answered, Answered] {
            assert_eq!(look(&mut budget, "old"), expected);
            advance(LATELY).await;
        }
        assert_eq!(loads(&mut budget, 0..250), 2);
        advance(COOLDOWN).await;
        // The load of this cooldown is reserved for new ids, and the key was withdrawn long ago.
        assert_eq!(look(&mut budget, "old"), Spent);
        // The key comes back, and its id is handled like any other.
        budget.load_started();
        budget.load_succeeded(&[KeyId::new("old")], &[]);
        advance(2 * COOLDOWN).await;
        assert_eq!(look(&mut budget, "old"), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let mut budget = Budget::new(Duration::ZERO);
        let bound = u32::try_from(REMEMBERED).unwrap();
        loads(&mut budget, 0..bound + 10);
        assert!(budget.missed.len() <= REMEMBERED);
        budget.load_started();
        for at in 0..bound + 10 {
            assert_eq!(budget.admit(Some(&format!("{at}"))), Join);
        }
        assert!(budget.asked.len() <= REMEMBERED);
        let ids = |from: u32, count: u32| -> Vec<_> {
            let ids = from..from.saturating_add(count);
            ids.map(|at| KeyId::from(format!("{at}"))).collect()
        };
        for round in 0..4 {
            budget.load_succeeded(&[], &ids(round * bound, bound / 2 + 1));
            assert!(budget.withdrawn.len() <= REMEMBERED, "{round}");
        }
        budget.load_succeeded(&[], &ids(0, bound + 10));
        assert_eq!(budget.withdrawn.len(), REMEMBERED);
        // Ids that fit are remembered.
        let mut budget = self::budget();
        for round in 0..2 {
            budget.load_succeeded(&[], &ids(round * bound, bound / 2));
        }
        assert_eq!(budget.withdrawn.len(), REMEMBERED);
    }
}
