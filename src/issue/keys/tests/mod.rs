//! Tests of the schedule on simulated days.

mod histories;
mod schedule;
mod world;
