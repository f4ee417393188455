//! Who may cause a load of keys by a token whose key is not there, so that a flood of invented ones
//! cannot.
//!
//! The allowance has two sides. All of it is for key ids that nobody has looked for yet. Only what
//! lies above [`RESERVE`] is for everything else: ids that were looked for in vain, ids of withdrawn
//! keys, and signatures that do not verify, which anybody can make as many of as they like.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use crate::keys::key::KeyId;

/// Who may cause a load by a token whose key is not there.
pub(crate) struct Budget {
    /// A load runs, or is about to.
    is_pending: bool,
    /// When the newest load began.
    began: Instant,
    /// When the newest load began that the other side has answered.
    answered: Option<Instant>,
    /// Loads that tokens may still cause at once.
    allowance: u32,
    refilled: Instant,
    /// Loads that have found what they were for, and were given back, since then.
    refunds: u32,
    cooldown: Duration,
    /// The id that has caused the load that runs.
    sought: Option<u64>,
    /// Ids that wait for the load that runs, `sought` among them.
    asked: HashSet<u64>,
    /// When the other side wants to be asked again, after it has refused.
    not_before: Option<Instant>,
    /// Ids that the other side did not have when it was asked for them.
    missed: HashSet<u64>,
    /// Ids of keys that a load has taken away. They may come back, but until then their tokens must
    /// not use up what new keys need.
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

    /// A load begins, or is about to.
    pub(crate) fn open(&mut self) {
        self.is_pending = true;
        self.began = Instant::now();
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// A load has failed. Not to be asked again before then.
    pub(crate) fn close_failed(&mut self, not_before: Option<Instant>) {
        self.close();
        self.not_before = not_before;
    }

    /// A load has succeeded, and these keys have come and gone.
    pub(crate) fn close_answered(&mut self, added: &[KeyId], withdrawn: &[KeyId]) {
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
        self.close();
        self.answered = Some(self.began);
        self.not_before = None;
        if is_found && self.refunds < REFUNDS {
            // A real rotation costs honest users nothing.
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

    fn close(&mut self) {
        self.is_pending = false;
        self.sought = None;
        self.asked.clear();
    }

    /// Whether a load is under way that may bring the key with this id, or may begin for it. Without
    /// an id: another key than those that do not verify the token.
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
            // That a key was taken away is an answer, as long as it is news.
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
        self.open();
        self.asked.extend(id);
        Admission::Begin
    }

    /// The same for the first load of all, which is on nobody's account.
    pub(crate) fn admit_first(&mut self) -> Admission {
        if self.is_pending {
            return Admission::Join;
        }
        self.open();
        Admission::Begin
    }

    /// One load for each cooldown that has passed, up to the burst.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The other side was asked lately, and has no such key.
    Answered,
    /// A load begins, or is about to.
    Begin,
    /// A load is under way.
    Join,
    /// Nobody may look now.
    Spent,
}

/// Loads that tokens may cause in a row before the cooldown bounds them.
const BURST: u32 = 4;
/// What of that is for key ids alone that nobody has looked for.
const RESERVE: u32 = 2;
/// Loads within one cooldown that cost nothing, as they have found the key that was asked for.
const REFUNDS: u32 = 16;
/// How long an answer counts for a key id that was looked for: a key may be published at any time.
const LATELY: Duration = Duration::from_secs(1);
/// Key ids remembered as looked for in vain, as withdrawn, and as waiting.
const REMEMBERED: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::Admission::{Answered, Begin, Join, Spent};
    use super::*;
    use tokio::time::advance;

    const COOLDOWN: Duration = Duration::from_secs(30);

    fn gate() -> Budget {
        Budget::new(COOLDOWN)
    }

    /// Asks, and answers the load at once if one begins: nothing new.
    fn look(gate: &mut Budget, id: impl AsRef<str>) -> Admission {
        let admission = gate.admit(Some(id.as_ref()));
        if admission == Begin {
            gate.close_answered(&[], &[]);
        }
        admission
    }

    /// The same for a bad signature.
    fn forge(gate: &mut Budget) -> Admission {
        let admission = gate.admit(None);
        if admission == Begin {
            gate.close_answered(&[], &[]);
        }
        admission
    }

    fn loads(gate: &mut Budget, ids: std::ops::Range<u32>) -> usize {
        ids.filter(|id| look(gate, format!("id-{id}")) == Begin)
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_four_and_then_one_for_each_cooldown() {
        let mut gate = gate();
        assert_eq!(loads(&mut gate, 0..250), 4);
        advance(COOLDOWN - Duration::from_millis(1)).await;
        assert_eq!(loads(&mut gate, 250..500), 0);
        advance(Duration::from_millis(1)).await;
        assert_eq!(loads(&mut gate, 500..750), 1);
        assert_eq!(loads(&mut gate, 750..1_000), 0, "not a second time");
        for round in 0..10 {
            advance(COOLDOWN).await;
            let from = 1_000 + 100 * round;
            assert_eq!(loads(&mut gate, from..from + 100), 1, "{round}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_allowance_grows_with_the_time_and_not_beyond_the_burst() {
        for (cooldowns, expected) in [(0, 0), (1, 1), (3, 3), (4, 4), (5, 4), (100_000, 4)] {
            let mut gate = gate();
            assert_eq!(loads(&mut gate, 0..10), 4);
            advance(COOLDOWN * cooldowns).await;
            assert_eq!(loads(&mut gate, 10..260), expected, "{cooldowns}");
        }
        // A part of a cooldown is not lost.
        let mut gate = gate();
        loads(&mut gate, 0..10);
        advance(COOLDOWN * 3 / 2).await;
        assert_eq!(loads(&mut gate, 10..20), 1);
        advance(COOLDOWN / 2).await;
        assert_eq!(loads(&mut gate, 20..30), 1);
        // What nobody needed is no credit.
        let mut gate = self::gate();
        advance(COOLDOWN * 1_000).await;
        assert_eq!(loads(&mut gate, 0..250), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn no_cooldown_is_no_division_by_it() {
        let mut gate = Budget::new(Duration::ZERO);
        assert_eq!(loads(&mut gate, 0..10), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_looked_for_again_when_the_answer_is_old() {
        let mut gate = gate();
        assert_eq!(look(&mut gate, "a"), Begin);
        assert_eq!(look(&mut gate, "a"), Answered);
        advance(LATELY).await;
        assert_eq!(look(&mut gate, "a"), Begin);
        assert_eq!(look(&mut gate, "a"), Answered);
        advance(LATELY).await;
        // The rest is for ids that nobody has looked for.
        assert_eq!(look(&mut gate, "a"), Spent);
        assert_eq!(look(&mut gate, "b"), Begin);
        // Whose load has answered for the other too.
        assert_eq!(look(&mut gate, "a"), Answered);
        assert_eq!(look(&mut gate, "c"), Begin);
        assert_eq!(look(&mut gate, "d"), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_as_old_as_the_load_that_it_ends() {
        let mut gate = gate();
        assert_eq!(gate.admit(Some("a")), Begin);
        advance(LATELY).await;
        assert_eq!(gate.admit(Some("a")), Join);
        gate.close_answered(&[], &[]);
        assert_eq!(gate.admit(Some("a")), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_no_answer() {
        let mut gate = gate();
        for at in 0..4 {
            assert_eq!(gate.admit(Some("a")), Begin, "{at}");
            gate.close_failed(None);
        }
        assert_eq!(gate.admit(Some("a")), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_asks_before_the_other_side_wants_it() {
        let mut gate = gate();
        gate.open();
        gate.close_failed(Some(Instant::now() + COOLDOWN));
        assert_eq!(look(&mut gate, "a"), Spent);
        assert_eq!(forge(&mut gate), Spent);
        advance(COOLDOWN).await;
        assert_eq!(look(&mut gate, "a"), Begin);
        gate.open();
        gate.close_failed(Some(Instant::now() + COOLDOWN));
        // A load of another kind has been answered.
        gate.open();
        gate.close_answered(&[], &[]);
        assert_eq!(look(&mut gate, "b"), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn bad_signatures_leave_half_of_the_burst() {
        let mut gate = gate();
        let forged = (0..250).filter(|_| forge(&mut gate) == Begin).count();
        assert_eq!(forged, 2);
        assert_eq!(loads(&mut gate, 0..250), 2);
        assert_eq!(forge(&mut gate), Spent);
        advance(COOLDOWN * 2).await;
        assert_eq!(forge(&mut gate), Spent);
        advance(COOLDOWN).await;
        assert_eq!(forge(&mut gate), Begin);
        assert_eq!(forge(&mut gate), Spent);
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_joins_a_load_that_runs() {
        let mut gate = gate();
        assert_eq!(gate.admit_first(), Begin);
        assert_eq!(gate.admit_first(), Join);
        assert_eq!(gate.admit(Some("a")), Join);
        assert_eq!(gate.admit(None), Join);
        gate.close_answered(&[], &[]);
        assert_eq!(loads(&mut gate, 0..250), 4, "none of them has paid");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_is_paid_back_up_to_a_bound() {
        let mut gate = gate();
        let found = |gate: &mut Budget| {
            (0..250)
                .take_while(|at| {
                    let id = format!("found-{at}");
                    let begins = gate.admit(Some(&id)) == Begin;
                    gate.close_answered(&[KeyId::new(&id)], &[]);
                    begins
                })
                .count()
        };
        let bound = usize::try_from(REFUNDS + BURST).unwrap();
        assert_eq!(found(&mut gate), bound);
        // A key that nobody has asked for pays nothing back.
        gate.open();
        gate.close_answered(&[KeyId::new("unasked")], &[]);
        assert_eq!(look(&mut gate, "a"), Spent);
        advance(COOLDOWN).await;
        assert_eq!(found(&mut gate), usize::try_from(REFUNDS + 1).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_withdrawn_id_is_answered_and_leaves_the_reserve() {
        let mut gate = gate();
        gate.open();
        gate.close_answered(&[], &[KeyId::new("old")]);
        for expected in [Begin, Begin, Answered, Answered] {
            assert_eq!(look(&mut gate, "old"), expected);
            advance(LATELY).await;
        }
        assert_eq!(loads(&mut gate, 0..250), 2);
        advance(COOLDOWN).await;
        // One more load was allowed for a new id alone, and it is long ago that the key was gone.
        assert_eq!(look(&mut gate, "old"), Spent);
        // It comes back: an id like any other.
        gate.open();
        gate.close_answered(&[KeyId::new("old")], &[]);
        advance(2 * COOLDOWN).await;
        assert_eq!(look(&mut gate, "old"), Begin);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let mut gate = Budget::new(Duration::ZERO);
        let bound = u32::try_from(REMEMBERED).unwrap();
        loads(&mut gate, 0..bound + 10);
        assert!(gate.missed.len() <= REMEMBERED);
        gate.open();
        for at in 0..bound + 10 {
            assert_eq!(gate.admit(Some(&format!("{at}"))), Join);
        }
        assert!(gate.asked.len() <= REMEMBERED);
        let ids = |from: u32, count: u32| -> Vec<_> {
            let ids = from..from.saturating_add(count);
            ids.map(|at| KeyId::from(format!("{at}"))).collect()
        };
        for round in 0..4 {
            gate.close_answered(&[], &ids(round * bound, bound / 2 + 1));
            assert!(gate.withdrawn.len() <= REMEMBERED, "{round}");
        }
        gate.close_answered(&[], &ids(0, bound + 10));
        assert_eq!(gate.withdrawn.len(), REMEMBERED);
        // What fits is kept.
        let mut gate = self::gate();
        for round in 0..2 {
            gate.close_answered(&[], &ids(round * bound, bound / 2));
        }
        assert_eq!(gate.withdrawn.len(), REMEMBERED);
    }
}
