//! Keys: parsed once when they enter, replaced as a whole set, rotated without a restart.
//!
//! A key comes in as [`material`] from one of the formats ([`jwk`], [`pem`]), is checked there,
//! and becomes a [`key::Key`] with the [`backend`]'s own form of it. Keys make a [`set`], a set
//! lives in a [`store`], and the store's [`contents`] are that set and what the application decided.
//! Sets that come from outside ([`local`], `remote`, `file`) are loaded again by the task in
//! `loading`, whose other end is `refresh`.

pub(crate) mod algorithm;
#[cfg(feature = "remote")]
pub(crate) mod answer;
pub(crate) mod backend;
#[cfg(feature = "remote")]
pub(crate) mod boot;
pub(crate) mod contents;
#[cfg(feature = "remote")]
pub(crate) mod discovery;
#[cfg(feature = "remote")]
mod documents;
#[cfg(feature = "watch")]
pub(crate) mod file;
#[cfg(feature = "_refresh")]
mod gate;
mod jwk;
pub(crate) mod key;
#[cfg(feature = "_refresh")]
mod load;
#[cfg(feature = "_refresh")]
mod loading;
pub(crate) mod local;
mod material;
#[cfg(feature = "_refresh")]
mod patience;
#[cfg(feature = "pem")]
mod pem;
#[cfg(feature = "_refresh")]
pub(crate) mod refresh;
#[cfg(feature = "remote")]
pub(crate) mod remote;
pub(crate) mod set;
pub(crate) mod status;
pub(crate) mod store;
mod strength;
