//! What is measured, one file for each question.

use crate::measure::Plan;

mod algorithms;
mod distinct;
mod flood;
mod keys;
mod layer;
mod memory;
mod sockets;
mod storm;
mod threads;

/// The sections by name, in the order in which they run.
pub const ALL: &[Section] = &[
    // While the heap is fresh: it is measured from outside.
    ("memory", memory::run),
    ("layer", layer::run),
    ("algorithms", algorithms::run),
    ("threads", threads::run),
    ("tokens", distinct::run),
    ("keys", keys::run),
    ("storm", storm::run),
    ("flood", flood::run),
    ("sockets", sockets::run),
];

/// A name, and what it runs.
pub type Section = (&'static str, fn(&Plan));
