//! The bar for rotation: honest people stay, thieves are caught.

use std::time::Duration;

#[path = "../../../examples/simulation/mod.rs"]
mod simulation;

use simulation::{Outcome, Scenario, run};

fn outcome(tabs: usize, has_thief: bool, grace: u64, sessions: u64) -> Outcome {
    let scenario = Scenario {
        tabs,
        lost: 5,
        grace: Duration::from_secs(grace),
        has_thief,
    };
    run(scenario, sessions, 7).unwrap()
}

/// At most 5 % of honest sessions end at 0.5 % of lost answers, and at least 98 % of thefts are caught. Strict
/// single use ends most of them.
#[test]
fn few_honest_sessions_end_and_thefts_are_caught() {
    for (tabs, sessions) in [(1, 8), (6, 2)] {
        let honest = outcome(tabs, false, 10, sessions);
        assert_eq!(
            honest.honest_ended, 0,
            "{tabs} tabs: of {}",
            honest.sessions
        );
        let strict = outcome(tabs, false, 0, sessions);
        assert!(
            strict.honest_ended * 4 >= strict.sessions * 3,
            "{}",
            strict.honest_ended
        );
        let stolen = outcome(tabs, true, 10, sessions * 2);
        assert!(stolen.thefts >= sessions);
        assert_eq!(stolen.caught, stolen.thefts, "{tabs} tabs");
    }
}
