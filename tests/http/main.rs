//! The layer in servers: axum, tonic, plain Tower, and beside other crates.

#![cfg(feature = "test-util")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "../support/certificates.rs"]
mod certificates;
#[path = "../support/rejections.rs"]
mod rejections;
#[path = "../support/mod.rs"]
mod support;

mod authorization;
mod compare;
mod extractors;
mod grpc;
mod http_integration;
mod mutual_tls;
mod neighbours;
mod nested_layers;
mod problem_details;
mod tower_contract;
