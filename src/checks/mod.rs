//! Oracles of the crate's own tests. No part of the public API.

pub mod fuzz;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;
