//! Errors: [`ConfigError`](crate::ConfigError) while an application starts, and
//! [`Rejection`](crate::Rejection) while it runs.

pub(crate) mod config;
pub(crate) mod kinds;
pub(crate) mod rejection;

pub use config::KeyError;
