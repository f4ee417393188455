//! What can go wrong: while an application starts ([`ConfigError`](crate::ConfigError)), and while it
//! runs ([`Rejection`](crate::Rejection)).

pub(crate) mod config;
pub(crate) mod kinds;
pub(crate) mod rejection;

pub use config::KeyError;
