//! Opaque tokens, about which their issuer is asked (RFC 7662).

#![cfg(all(feature = "introspection", feature = "test-util"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/network.rs"]
mod network;
#[path = "../support/mod.rs"]
mod support;

mod bound;
mod client;
mod delays;
mod histories;
mod probes;
mod several;
mod storms;
mod verifier;
mod world;
