//! The side that issues tokens.

#![cfg(all(feature = "issue", feature = "test-util"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panic"
)]

mod logins;
mod sql_stores;
