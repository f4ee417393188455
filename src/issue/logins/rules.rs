//! The three rules of rotation, as a function of a row, a token and the time.

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The generation of the token that was given out last.
    pub(super) generation: u32,
    /// When the session began, or advanced last, in milliseconds since 1970.
    pub(super) advanced_at: u64,
}

/// What to do about a genuine token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Give out the token of the next generation.
    Advance,
    /// The store has lost writes: the token is newer than the session. Give out the token after it.
    CatchUp,
    /// Give out the token of the current generation again.
    Repeat,
    /// Two parties have the token. End the session.
    Reuse,
}

impl Progress {
    /// Judges a genuine token of this generation. A grace of 0 is strict single use.
    ///
    /// 1. The current token, older than the grace, advances.
    /// 2. Within the grace, the current token and the previous one get the same successor again. These are
    ///    tabs that refresh at the same time, and an answer that was lost.
    /// 3. Any other genuine token was used before.
    ///
    /// A token that is newer than the session is neither: it was given out last, and the store was set
    /// back, as a Redis that fails over to a replica may be. Only its owner loses by ending the session.
    pub(super) fn step(self, generation: u32, now: u64, grace: u64) -> Step {
        let age = i128::from(now) - i128::from(self.advanced_at);
        let is_fresh = age < i128::from(grace);
        // Clocks of two instances differ a little. A clock that was set back is another matter: the session
        // would not advance until it has caught up.
        let is_set_back = age < -i128::from(SKEW);
        if generation > self.generation {
            Step::CatchUp
        } else if generation == self.generation {
            if is_fresh && !is_set_back && grace > 0 {
                Step::Repeat
            } else {
                Step::Advance
            }
        } else if self.generation.checked_sub(1) == Some(generation) && is_fresh && grace > 0 {
            Step::Repeat
        } else {
            Step::Reuse
        }
    }
}

/// Maximum difference between the clocks of two instances, in milliseconds.
const SKEW: u64 = 60_000;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const GRACE: u64 = 10_000;
    const T: u64 = 1_700_000_000_000;

    #[test]
    fn the_bounds_of_the_grace_are_exact() {
        let progress = Progress {
            generation: 5,
            advanced_at: T,
        };
        for (generation, age, expected) in [
            (5, 0, Step::Repeat),
            (5, 9_999, Step::Repeat),
            (5, 10_000, Step::Advance),
            (4, 9_999, Step::Repeat),
            (4, 10_000, Step::Reuse),
            (3, 0, Step::Reuse),
            (0, 0, Step::Reuse),
            (6, 0, Step::CatchUp),
            (u32::MAX, 20_000, Step::CatchUp),
            // The clock of another instance is behind, or the clock was set back.
            (5, -60_000, Step::Repeat),
            (5, -60_001, Step::Advance),
            (4, -1_000_000, Step::Repeat),
            (3, -1, Step::Reuse),
        ] {
            let now = T.checked_add_signed(age).unwrap();
            assert_eq!(
                progress.step(generation, now, GRACE),
                expected,
                "{generation} {age}"
            );
        }
    }

    #[test]
    fn without_a_grace_each_token_is_used_once() {
        let progress = Progress {
            generation: 5,
            advanced_at: T,
        };
        for now in [0, T - 1, T, T + 1] {
            assert_eq!(progress.step(5, now, 0), Step::Advance);
            assert_eq!(progress.step(4, now, 0), Step::Reuse);
        }
        let first = Progress {
            generation: 0,
            advanced_at: T,
        };
        assert_eq!(first.step(0, T, 0), Step::Advance);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A model that keeps when each token was given out first, and knows nothing of generations.
        #[test]
        fn the_rules_agree_with_a_model(uses in prop::collection::vec((0..6_usize, 0..25_000_u64), 1..60)) {
            let mut now = T;
            let mut progress = Progress { generation: 0, advanced_at: T };
            // The tokens in the order in which they were given out, with the time.
            let mut given = vec![(0_u32, now)];
            let mut uses_of = BTreeMap::<u32, u64>::new();
            for (back, wait) in uses {
                now += wait;
                let at = given.len().saturating_sub(1 + back);
                let (token, _) = given[at];
                let (_, last_given) = *given.last().unwrap();
                let is_within = now - last_given < GRACE;
                let expected = match given.len() - 1 - at {
                    0 if !is_within => Step::Advance,
                    0 => Step::Repeat,
                    1 if is_within => Step::Repeat,
                    _ => Step::Reuse,
                };
                let step = progress.step(token, now, GRACE);
                prop_assert_eq!(step, expected);
                match step {
                    Step::Advance => {
                        // A token has one successor.
                        prop_assert!(uses_of.insert(token, now).is_none());
                        progress = Progress { generation: token + 1, advanced_at: now };
                        given.push((token + 1, now));
                    }
                    Step::Repeat => {}
                    Step::Reuse => break,
                    Step::CatchUp => prop_assert!(false, "no token is newer"),
                }
            }
        }
    }
}
