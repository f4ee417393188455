//! Tests of the schedule on simulated days.

mod rotation;
mod schedule;
mod world;
