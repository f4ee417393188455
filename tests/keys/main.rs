//! Keys: their sources, their changes and their end.

#![cfg(feature = "test-util")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/files.rs"]
mod files;
#[cfg(feature = "remote")]
#[path = "../support/network.rs"]
mod network;
#[path = "../support/mod.rs"]
mod support;

mod dead_keys;
mod fetched_histories;
mod key_life;
mod keys;
mod load_rotation;
mod local_keys;
mod remote;
mod rotation;
mod several_trusts;
