//! Keys that verify tokens, and their sources.
//!
//! A [`Key`](crate::Key) is parsed and checked once, when it is created. A [`KeySet`](crate::KeySet) is
//! an immutable set of keys. A [`KeyStore`](crate::KeyStore) has one set at a time, and the application
//! or a source can replace it while requests run. [`RemoteKeys`] fetches keys from an issuer. `KeyFile`
//! reads keys from a file and follows its changes.

pub(crate) mod algorithm;
pub(crate) mod backend;
mod change;
pub(crate) mod contents;
mod format;
mod generation;
mod jwk;
pub(crate) mod key;
pub(crate) mod key_source;
#[cfg(feature = "_refresh")]
pub(crate) mod loaded;
pub(crate) mod material;
#[cfg(not(feature = "pem"))]
mod no_pem;
#[cfg(any(feature = "issue", feature = "remote"))]
pub(crate) mod owned_file;
#[cfg(feature = "pem")]
mod pem;
#[cfg(any(feature = "introspection", feature = "issue"))]
pub(crate) mod private_key;
mod randomness;
pub(crate) mod set;
pub(crate) mod source;
mod status;
pub(crate) mod store;
mod thumbprint;

pub use change::{ChangeCause, KeyChange};
pub use format::KeyFormat;
pub use key::KeyId;
pub use set::SkippedKey;
#[cfg(feature = "watch")]
pub use source::file::KeyFile;
#[cfg(feature = "remote")]
pub use source::remote::RemoteKeys;
#[cfg(feature = "remote")]
pub use source::snapshot::{KeySnapshotFile, KeySnapshotStore};
pub use status::{DeadKey, Freshness, KeyStatus, LoadFailure, RetiringKey};
