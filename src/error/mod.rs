//! Errors: [`ConfigError`](crate::ConfigError) while an application starts, and
//! [`Rejection`](crate::Rejection) while it runs.

pub(crate) mod config;
pub(crate) mod kinds;
pub(crate) mod rejection;
pub(crate) mod shown_url;

pub use config::KeyError;
