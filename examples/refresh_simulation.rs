//! Counts how many honest sessions end and how many thefts are caught, with a grace period of 10
//! seconds, and with strict single use of refresh tokens. `simulation/mod.rs` lists the
//! assumptions.
//!
//! ```sh
//! cargo run --example refresh_simulation --features issue
//! ```
//!
//! It prints:
//!
//! ```text
//! 2 sessions of 14 days for each number
//! | tabs | lost answers | honest sessions ended | if strict | thefts caught | if strict |
//! |---|---|---|---|---|---|
//! | 1 | 0.1 % | 0.0 % | 50.0 % | 100.0 % | 100.0 % |
//! | 1 | 0.5 % | 0.0 % | 100.0 % | 100.0 % | 100.0 % |
//! | 1 | 2.0 % | 0.0 % | 100.0 % | 100.0 % | 100.0 % |
//! | 3 | 0.1 % | 0.0 % | 100.0 % | 100.0 % | - |
//! | 3 | 0.5 % | 0.0 % | 100.0 % | 100.0 % | - |
//! | 3 | 2.0 % | 0.0 % | 100.0 % | 100.0 % | - |
//! | 6 | 0.1 % | 0.0 % | 100.0 % | 100.0 % | 100.0 % |
//! | 6 | 0.5 % | 0.0 % | 100.0 % | 100.0 % | 100.0 % |
//! | 6 | 2.0 % | 0.0 % | 100.0 % | 100.0 % | 100.0 % |
//! ```
//!
//! For the table in the guide, add `--release` and `-- 400`. This simulates 400 sessions for each number.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a simulation ends at the first thing that it did not expect"
)]

mod simulation;

use std::env;
use std::time::Duration;

use simulation::{Scenario, run};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sessions = env::args().nth(1).map(|number| number.parse());
    let sessions: u64 = sessions.transpose()?.unwrap_or(2);
    println!("{sessions} sessions of 14 days for each number");
    println!(
        "| tabs | lost answers | honest sessions ended | if strict | thefts caught | if strict |"
    );
    println!("|---|---|---|---|---|---|");
    for tabs in [1, 3, 6] {
        for lost in [1, 5, 20] {
            print!("| {tabs} | {}.{} % |", lost / 10, lost % 10);
            for has_thief in [false, true] {
                for seconds in [10, 0] {
                    let grace = Duration::from_secs(seconds);
                    let scenario = Scenario {
                        tabs,
                        lost,
                        grace,
                        has_thief,
                    };
                    let outcome = run(scenario, sessions, SEED)?;
                    match has_thief {
                        false => share(outcome.honest_ended, outcome.sessions),
                        true => share(outcome.caught, outcome.thefts),
                    }
                }
            }
            println!();
        }
    }
    Ok(())
}

/// Prints a percentage. Without a session that lives until the theft, there is nothing to catch.
fn share(part: u64, whole: u64) {
    match (part * 1_000).checked_div(whole) {
        Some(tenths) => print!(" {}.{} % |", tenths / 10, tenths % 10),
        None => print!(" - |"),
    }
}

const SEED: u64 = 1;
