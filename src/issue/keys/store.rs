//! [`SigningKeyStore`]: the store through which instances share their signing keys.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use zeroize::Zeroizing;

/// Storage for the signing keys that all instances of a service share. It stores one text with a version.
/// [`SigningKeyFile`](super::SigningKeyFile) and, with the feature `redis`, `RedisSigningKeys` implement it.
///
/// If a store loses its content, or is set back to an older version, a running instance restores the keys. To
/// begin with new keys, use [`revoke_key`](super::SigningKeys::revoke_key), or stop all instances first.
///
/// A call that does not return within 5 seconds counts as failed. After a failure the keys in use stay
/// unchanged, and the call is retried.
///
/// # Security
///
/// The text contains private keys. Whoever can read it can sign tokens, and whoever can write it can make
/// this service sign with their keys.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not keep signing keys",
    note = "pass `SigningKeyFile::new(path)`, or another type that implements `SigningKeyStore`"
)]
pub trait SigningKeyStore: Send + Sync + 'static {
    /// Reads the keys. Returns `None` if nothing was stored.
    ///
    /// # Errors
    ///
    /// Return an error if the store cannot be read. Do not return `None` in this case, because new
    /// keys would be generated.
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>>;

    /// Replaces the keys if the stored version is `expected`; `None` means that the store must be empty.
    /// Returns `false` if another version is stored, or if that is not known. The caller then reads again.
    /// The comparison and the write must be one atomic step: if two instances write at the same time, one of
    /// them must get `false`.
    ///
    /// # Errors
    ///
    /// Return an error if the keys may not have been stored.
    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool>;
}

/// The future that a store returns.
pub type SigningKeyStoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, SigningKeyStoreError>> + Send + 'a>>;

/// Stored signing keys, which are cleared from memory when they are dropped. `Debug` prints only the version.
#[derive(Clone)]
pub struct StoredKeys {
    version: u64,
    bytes: Zeroizing<Vec<u8>>,
}

impl StoredKeys {
    /// Creates a value from the stored data.
    #[must_use]
    pub fn new(version: u64, bytes: Vec<u8>) -> Self {
        Self {
            version,
            bytes: Zeroizing::new(bytes),
        }
    }

    /// The number of changes. A store compares it, and stores it with the bytes.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The keys, as JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The error of a failed store.
#[derive(Clone, Debug)]
pub struct SigningKeyStoreError(String);

impl SigningKeyStoreError {
    /// Creates an error with this reason, which only the operator sees.
    pub fn new(reason: impl fmt::Display) -> Self {
        Self(reason.to_string())
    }
}

impl fmt::Display for SigningKeyStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "store of signing keys failed: {}", self.0)
    }
}

impl std::error::Error for SigningKeyStoreError {}
