//! What is measured, one file for each question.

use crate::measure::Plan;

mod layer;

/// The sections by name, in the order in which they run.
pub const ALL: &[(&str, fn(&Plan))] = &[("layer", layer::run)];
