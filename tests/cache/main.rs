//! The cache of verified tokens.

#![cfg(feature = "test-util")]

#[path = "../support/caches.rs"]
mod caches;
#[path = "../support/mod.rs"]
mod support;

mod cache;
mod cache_histories;
