//! The requirements of the RFCs, published vectors, and comparisons with other readers of tokens.

#![cfg(feature = "test-util")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/rejections.rs"]
mod rejections;
#[path = "../support/mod.rs"]
mod support;

mod differential;
mod properties;
mod rfc6750_challenges;
mod rfc6750_credentials;
mod rfc7515_parsing;
mod rfc7518_algorithms;
mod rfc7519_claims;
mod rfc7800_confirmation;
mod rfc8705_certificates;
mod rfc8725_attacks;
mod rfc9068_profile;
mod rfc9700_proxies;
mod vectors;
