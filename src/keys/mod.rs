//! Keys: parsed once when they enter, replaced as a whole set, rotated without a restart.
//!
//! A [`Key`](crate::Key) is made from one of many formats, is checked then, and is kept in the form
//! that the crypto backend uses. Keys make a [`KeySet`](crate::KeySet), a set lives in a
//! [`KeyStore`](crate::KeyStore). Where sets come from is one of the constructors of the store; keys
//! that are fetched from an issuer are [`RemoteKeys`].

pub(crate) mod algorithm;
pub(crate) mod backend;
mod change;
pub(crate) mod contents;
mod generation;
mod jwk;
pub(crate) mod key;
pub(crate) mod key_source;
#[cfg(feature = "_refresh")]
mod loaded;
mod material;
#[cfg(feature = "pem")]
mod pem;
pub(crate) mod set;
pub(crate) mod source;
mod status;
pub(crate) mod store;
mod strength;
mod thumbprint;

pub use change::{ChangeCause, KeyChange};
pub use key::KeyId;
pub use set::SkippedKey;
#[cfg(feature = "watch")]
pub use source::file::KeyFile;
pub use source::local::KeyFormat;
#[cfg(feature = "remote")]
pub use source::remote::RemoteKeys;
#[cfg(feature = "remote")]
pub use source::snapshot::{KeySnapshotFile, KeySnapshotStore};
pub use status::{DeadKey, Freshness, KeyStatus, LoadFailure, RetiringKey};
