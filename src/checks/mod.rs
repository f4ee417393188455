//! Oracles of the tests of this crate. They are not part of the public API.

pub mod fuzz;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;
