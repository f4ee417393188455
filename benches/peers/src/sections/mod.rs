//! The sections, one file for each question.

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

/// The sections by name, in the order of the run.
pub const ALL: &[Section] = &[
    // First, because the memory of the process is measured and the heap is still small.
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

/// The name of a section, and its function.
pub type Section = (&'static str, fn(&Plan));
