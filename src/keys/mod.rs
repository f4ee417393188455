//! Keys: parsed once when they enter, replaced as a whole set, rotated without a restart.
//!
//! A key comes in as [`material`] from one of the formats ([`jwk`], [`pem`]), is checked there,
//! and becomes a [`key::Key`] with the [`backend`]'s own form of it. Keys make a [`set`], a set
//! lives in a [`store`].

pub(crate) mod algorithm;
pub(crate) mod backend;
#[cfg(feature = "remote")]
mod discovery;
mod jwk;
pub(crate) mod key;
mod material;
#[cfg(feature = "pem")]
mod pem;
#[cfg(feature = "remote")]
mod refresh;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod store;
