//! The side that issues tokens.

#![cfg(all(feature = "issue", feature = "test-util"))]
#![allow(
    clippy::duplicate_mod,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panic, and the examples have modules in common"
)]

#[cfg(feature = "redis")]
#[path = "../support/redis.rs"]
mod real;
#[path = "../support/mod.rs"]
mod support;

mod browser;
mod compare;
mod keys;
mod logins;
#[cfg(feature = "axum")]
mod spa;
mod sql_stores;
mod tokens;
