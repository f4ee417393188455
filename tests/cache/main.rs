//! The cache of verified tokens.

#![cfg(feature = "test-util")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/caches.rs"]
mod caches;
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod cache_histories;
