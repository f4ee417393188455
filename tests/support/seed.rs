//! The seed of a test with random histories. It differs in each run.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

use std::hash::{BuildHasher, Hasher, RandomState};

/// A new seed, or that in the variable `TOWER_JWT_AUTH_SEED`. It is printed, so that a failed run can be
/// repeated.
pub fn seed() -> u64 {
    let seed = match std::env::var("TOWER_JWT_AUTH_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().build_hasher().finish(),
    };
    println!("TOWER_JWT_AUTH_SEED={seed}");
    seed
}
