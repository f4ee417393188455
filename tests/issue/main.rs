//! The side that issues tokens.

#![cfg(all(feature = "issue", feature = "test-util"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panic"
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
mod sql_stores;
mod tokens;
