//! The long documentation: how to start, what to watch out for, and why things are as they are.

#[doc = include_str!("guide/start.md")]
pub mod start {}

#[doc = include_str!("guide/mistakes.md")]
pub mod mistakes {}

#[doc = include_str!("guide/keys.md")]
pub mod keys {}

#[doc = include_str!("guide/defaults.md")]
pub mod defaults {}

#[doc = include_str!("guide/limitations.md")]
pub mod limitations {}

#[doc = include_str!("guide/compare.md")]
pub mod compare {}
