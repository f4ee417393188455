//! [`SigningKeys`]: the keys that sign access tokens, and their rotation.

mod error;
mod exchange;
mod file;
#[cfg(feature = "redis")]
mod redis;
mod ring;
mod schedule;
mod settings;
mod shared;
mod signing_key;
mod source;
mod status;
mod store;
mod stored;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use self::error::SigningKeyError;
pub use self::file::SigningKeyFile;
#[cfg(feature = "redis")]
pub use self::redis::RedisSigningKeys;
use self::ring::{Ring, unusable};
pub use self::settings::SigningKeySettings;
pub use self::shared::SigningKeyFailure;
pub(crate) use self::signing_key::SigningKey;
pub use self::signing_key::{Sign, SignError, Signing, SigningFuture};
pub use self::status::{SigningKeyStatus, SigningKeyTimes};
pub use self::store::{SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture, StoredKeys};
use self::stored::MAX_KEYS;
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::stored::fuzz_stored_keys;
use crate::clock::{Clock, SystemClock};
use crate::error::config::{ConfigError, KeyError};
use crate::issue::published::Jwks;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::{Key, KeyId};
use crate::keys::private_key::PrivateKey;
use crate::keys::set::KeySet;
use crate::keys::store::KeyStore;
use crate::telemetry;

/// The keys that sign access tokens. They rotate automatically.
///
/// Every key is published before it signs, and verifies tokens until its last token has expired. The
/// successor of a key is generated and published when the key begins to sign, a whole period ahead. So every
/// cache has the successor when it begins to sign, and an outage of the store of a shared set is harmless for
/// nearly a whole period.
///
/// | keys | created by | instances |
/// |---|---|---|
/// | [`generate`](Self::generate) | this process, in memory | one; its tokens become invalid when the process ends |
/// | [`shared`](Self::shared) | the first instance that needs one | any number, through a [`SigningKeyStore`] |
/// | [`from_pem`](Self::from_pem), [`from_jwk`](Self::from_jwk) | you; [`rotate`](Self::rotate) to the next one | any number |
/// | [`from_signer`](Self::from_signer) | an HSM or a key management service | any number |
/// | [`from_secret`](Self::from_secret) | you | all that have the secret; nothing is published |
///
/// A clone is cheap, and all clones share the keys. `Debug` prints ids and times, but never a key.
///
/// # Example: keys in memory
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::Algorithm;
/// use tower_jwt_auth::issue::SigningKeys;
///
/// let keys = SigningKeys::generate(Algorithm::ES256)?.rotate_every(Duration::from_secs(14 * 24 * 3600))?;
/// let verifying = keys.keys(); // for `JwtAuth::new(issuer, audience, verifying)` in the same process
/// assert_eq!(verifying.snapshot().map(|set| set.keys().count()), Some(2)); // the key, and its successor
///
/// // A lead that is shorter than caches need is an error when the program starts.
/// assert!(keys.publish_lead(Duration::from_secs(60)).is_err());
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct SigningKeys {
    ring: Arc<Ring>,
    /// The public side of the keys.
    verifying: KeyStore,
}

impl SigningKeys {
    /// Generates a key in memory, which rotates every 30 days. When the process has ended, its tokens can no
    /// longer be verified.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the algorithm is symmetric. If every service that verifies the tokens
    /// may also sign them, use [`from_secret`](Self::from_secret).
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        is_asymmetric(algorithm)?;
        let key = SigningKey::own(PrivateKey::generate(algorithm)?)?;
        Ok(Self::in_memory(Some(algorithm), key))
    }

    /// Reads a private key in PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC 1) or `RSA PRIVATE KEY`
    /// (PKCS #1). The key signs until [`rotate`](Self::rotate) adds the next key. Its id is its
    /// thumbprint.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the text is not exactly one such key, if it is weak, or if it does not fit the
    /// algorithm.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Self::given(SigningKey::own(PrivateKey::from_pem(algorithm, pem)?)?)
    }

    /// Reads a private JSON Web Key ([RFC 7517]). The id of the key is its `kid`, or its thumbprint if it has
    /// no `kid`. Without `alg`, it signs with the usual algorithm of its type: `RS256` for RSA, the algorithm
    /// of the curve for EC, `EdDSA` for OKP.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if this is not a private key, if it is weak, or if it is symmetric.
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, ConfigError> {
        Self::given(SigningKey::own(PrivateKey::from_jwk(jwk)?)?)
    }

    /// Signs with a shared secret (`HS256`, `HS384`, `HS512`). The secret must meet the requirements of
    /// [`Key::from_secret`]. Nothing is published.
    ///
    /// # Security
    ///
    /// Every service that verifies the tokens can also sign tokens. Use key pairs unless one program does
    /// both.
    ///
    /// # Errors
    ///
    /// The same as [`Key::from_secret`].
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        let key = Key::from_secret(algorithm, secret)?;
        Self::given(SigningKey::secret(key, algorithm, secret)?)
    }

    /// Signs with a key that is kept elsewhere, in an HSM or a key management service. Tokens are signed with
    /// the first algorithm of the public key ([`Key::algorithms`]).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the key is a secret.
    pub fn from_signer(public: Key, signer: impl Sign) -> Result<Self, ConfigError> {
        let algorithm = public.algorithms().into_iter().next();
        let algorithm = algorithm.filter(|algorithm| !algorithm.is_symmetric());
        let algorithm = algorithm.ok_or(KeyError::Symmetric)?;
        Self::given(SigningKey::elsewhere(public, algorithm, signer))
    }

    /// Shares the keys between all instances of a service through a store. The first instance that finds no
    /// key generates a key and its successor, which starts the rotation (every 30 days by default).
    /// `algorithm` is the algorithm of the keys that this instance generates.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the algorithm is symmetric.
    pub fn shared(
        algorithm: Algorithm,
        store: impl SigningKeyStore,
    ) -> Result<SigningKeySettings, ConfigError> {
        is_asymmetric(algorithm)?;
        Ok(SigningKeySettings::new(algorithm, store))
    }

    fn given(key: SigningKey) -> Result<Self, ConfigError> {
        Ok(Self::in_memory(None, key))
    }

    /// Keys in memory that begin with this one.
    fn in_memory(generates: Option<Algorithm>, first: SigningKey) -> Self {
        let verifying = KeyStore::from(KeySet::ending([]));
        let ring = Ring::new(generates, None, Arc::new(SystemClock));
        ring.show_in(&verifying);
        ring.begin([Arc::new(first)]);
        Self {
            ring: Arc::new(ring),
            verifying,
        }
    }

    /// Sets how long a key signs. Default: 30 days. The minimum is the sum of the
    /// [lead](Self::publish_lead) and the longest lifetime of a token (one hour). Once the keys are used, a
    /// change applies only to keys that begin to sign later.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the period is too short, or if the keys were provided and not
    /// generated.
    pub fn rotate_every(self, period: Duration) -> Result<Self, ConfigError> {
        self.ring.set_period(period)?;
        self.ring.begin_again();
        Ok(self)
    }

    /// Sets the minimum time for which a key is published before it signs: 10 minutes to 7 days. Default:
    /// one hour. The key set may be cached for half of this time ([`jwks`](Self::jwks)). The other half
    /// is a reserve for instances and caches that are late. Set it before [`rotate`](Self::rotate),
    /// because the start time of an already published key does not change.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SigningKeys`] if the lead is outside these limits, or too long for the
    /// [period](Self::rotate_every).
    pub fn publish_lead(self, lead: Duration) -> Result<Self, ConfigError> {
        self.ring.set_lead(lead)?;
        self.ring.begin_again();
        Ok(self)
    }

    /// Sets the clock of the rotation. Default: the clock of the operating system. Set it before the keys are used.
    pub fn with_clock(self, clock: impl Clock) -> Self {
        self.ring.set_clock(Arc::new(clock));
        self.ring.begin_again();
        self
    }

    /// Rotates manually to the key of `next`, and returns its id. The key is published now, and signs after
    /// the [lead](Self::publish_lead). If the keys are generated, the automatic rotation continues from this
    /// key. A key that is already present is not changed.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::IdTaken`] if another key has the id of `next`, and [`SigningKeyError::Secret`] if
    /// `next` is a secret and the other keys are published. [`SigningKeyError::Full`] if there are 32 keys,
    /// including those that have ended. For a shared set, [`SigningKeyError::Unavailable`] if its store
    /// fails, and [`SigningKeyError::NotStorable`] if `next` is a secret or a key that is kept elsewhere.
    /// After an error, nothing has changed.
    ///
    /// # Example: the next PEM file
    ///
    /// ```
    /// use tower_jwt_auth::issue::{SigningKeyError, SigningKeys};
    ///
    /// # async fn rotate(keys: SigningKeys, next: SigningKeys) -> Result<(), SigningKeyError> {
    /// // let next = SigningKeys::from_pem(Algorithm::ES256, &std::fs::read("next.pem")?)?;
    /// let id = keys.rotate(&next).await?;
    /// println!("{id} is published, and signs in an hour");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn rotate(&self, next: &Self) -> Result<KeyId, SigningKeyError> {
        let key = next.ring.active()?;
        let id = key.id().clone();
        let is_shared = self.ring.shared.is_some();
        let change = |slots: &[signing_key::Slot], now: u64, rules: &schedule::Rules| {
            if let Some(known) = slots.iter().find(|slot| slot.key.id() == key.id()) {
                if known.key.public().thumbprint() == key.public().thumbprint() {
                    return Ok(slots.to_vec());
                }
                let id = key.id().to_string();
                return Err(SigningKeyError::IdTaken { id });
            }
            let is_published = slots.iter().any(|slot| slot.key.jwk().is_some());
            if is_published && key.jwk().is_none() && !is_shared {
                return Err(SigningKeyError::Secret);
            }
            if slots.len() >= MAX_KEYS {
                return Err(SigningKeyError::Full { maximum: MAX_KEYS });
            }
            Ok(schedule::inserted(slots, now, rules, Arc::clone(&key)))
        };
        self.change(change).await?;
        telemetry::signing_key_rotated(id.as_str());
        Ok(id)
    }

    /// Revokes a key, for example because it has leaked. The key is removed from the key set and from the
    /// [verifying keys](Self::keys) of this process at once, so its tokens are rejected. If the key was
    /// signing, its successor signs at once. Caches already have the successor, unless the revoked key began
    /// to sign less than half a [lead](Self::publish_lead) ago. In that case verifiers fetch the successor,
    /// because they do not know its id.
    ///
    /// Other instances of a shared set follow when they next read the store: within a quarter of the
    /// [lead](Self::publish_lead), or when they receive a token with an unknown key id. Other services follow when their copy of the key set expires, within half
    /// of the lead.
    ///
    /// Keys that were provided have no successor. If the last one is revoked, no token is signed
    /// until [`rotate`](Self::rotate) adds the next key.
    ///
    /// # Errors
    ///
    /// [`SigningKeyError::Unknown`] if there is no such key. [`SigningKeyError::Unavailable`] if the store of
    /// a shared set fails. The key is still in use then, so try again.
    pub async fn revoke_key(&self, id: &str) -> Result<(), SigningKeyError> {
        let was_there = AtomicBool::new(false);
        let change = |slots: &[signing_key::Slot], now: u64, rules: &schedule::Rules| {
            let position = slots.iter().position(|slot| slot.key.id().as_str() == id);
            let Some(position) = position else {
                // A write at the same time may have revoked it, or an own one whose result was not known.
                let is_revoked = was_there.load(Ordering::Relaxed);
                let unknown = || SigningKeyError::Unknown { id: id.into() };
                return is_revoked.then(|| slots.to_vec()).ok_or_else(unknown);
            };
            was_there.store(true, Ordering::Relaxed);
            Ok(schedule::revoked(slots, position, now, rules))
        };
        self.change(change).await?;
        telemetry::signing_key_revoked(id);
        Ok(())
    }

    async fn change(
        &self,
        change: impl Fn(
            &[signing_key::Slot],
            u64,
            &schedule::Rules,
        ) -> Result<Vec<signing_key::Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        if self.ring.shared.is_some() {
            return self.ring.change_stored(change).await;
        }
        self.ring.is_in_use();
        let now = self.ring.now();
        self.ring
            .change(now, |slots, rules| change(slots, now, rules))?;
        self.ring.tend(now);
        Ok(())
    }

    /// The keys that verify the tokens in the same process, for [`JwtAuth`](crate::JwtAuth). They
    /// follow each change at once.
    ///
    /// Keys of a shared set are looked up: for a token with an unknown key id, the store is read once, and
    /// all requests that need the key wait up to 5 seconds. Invented key ids cause a burst of 4 reads, and
    /// then at most one in 30 seconds. If the store cannot be read, the answer is 503. An instance that only
    /// verifies tokens can drop the signing keys: this store still follows the shared set.
    ///
    /// Do not change this store yourself, because the next change of the signing keys replaces its
    /// set.
    #[must_use]
    pub fn keys(&self) -> KeyStore {
        let clock = self.ring.clock();
        self.verifying.clone().with_clock(move || clock.now())
    }

    /// The key set as a Tower service, for other services that verify the tokens.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks::new(self.clone())
    }

    /// The state of the keys, for an operator.
    #[must_use]
    pub fn status(&self) -> SigningKeyStatus {
        SigningKeyStatus::of(&self.ring)
    }

    /// Whether a token can be signed now. Useful for a readiness probe.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.active().is_ok()
    }

    /// The key that signs now, by the clock of the keys. Takes no lock and does not wait.
    pub(crate) fn active(&self) -> Result<Arc<SigningKey>, SigningKeyError> {
        self.ring.active()
    }

    /// Tells that tokens with this lifetime will be signed, so that keys stay for so long.
    pub(crate) fn cover_lifetime(&self, lifetime: Duration) -> Result<(), ConfigError> {
        self.ring.set_longest_token(lifetime)
    }

    /// The public keys that are published now, each as a JSON Web Key.
    pub(super) fn published(&self) -> Vec<String> {
        self.ring.is_in_use();
        let now = self.ring.now();
        self.ring.tend(now);
        let slots = self.ring.slots();
        let published = slots.iter().filter(|slot| now < slot.times.remove);
        published
            .filter_map(|slot| slot.key.jwk().map(str::to_owned))
            .collect()
    }

    /// How long caches may keep the key set.
    pub(super) fn max_age(&self) -> Duration {
        Duration::from_secs(self.ring.rules().lead / 2)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKeys").field(&self.status()).finish()
    }
}

fn is_asymmetric(algorithm: Algorithm) -> Result<(), ConfigError> {
    if algorithm.is_symmetric() {
        return Err(unusable(format!(
            "{algorithm} needs a secret that every verifier has: use `SigningKeys::from_secret`, or a key pair \
             such as ES256"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
