//! Verified tokens that are remembered.

#![cfg(feature = "test-util")]

#[path = "../support/caches.rs"]
mod caches;
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod cache_histories;
