//! The sources of keys, and the task that loads keys from them.
//!
//! `loading` contains the task, `refresh` the side of the store, and `link` the state that both share.
//! The sources are `remote`, `file` and `local`, and the shared signing keys of `issue`.

#[cfg(feature = "_refresh")]
mod budget;
#[cfg(feature = "watch")]
pub(crate) mod file;
#[cfg(feature = "_refresh")]
mod link;
#[cfg(feature = "_refresh")]
pub(crate) mod load;
#[cfg(feature = "_refresh")]
mod loading;
pub(crate) mod local;
#[cfg(not(feature = "reqwest"))]
mod no_client;
#[cfg(feature = "reqwest")]
mod own_client;
#[cfg(feature = "_refresh")]
pub(crate) mod refresh;
#[cfg(feature = "remote")]
pub(crate) mod remote;
#[cfg(feature = "remote")]
mod remote_source;
#[cfg(feature = "remote")]
pub(crate) mod snapshot;
#[cfg(any(feature = "remote", feature = "watch"))]
mod unstarted;
#[cfg(feature = "_refresh")]
pub(crate) mod wait;
