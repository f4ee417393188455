//! [`Key`] and [`KeyId`].

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::error::config::{ConfigError, KeyError};
use crate::keys::algorithm::Algorithm;
use crate::keys::backend::VerifyingKey;
use crate::keys::material::Material;
use crate::keys::thumbprint::{public_members, thumbprint};

/// A key that verifies signatures, and the algorithms that it may be used with.
///
/// A clone is cheap. [`Debug`](fmt::Debug) prints the id and the algorithms, never key material. A
/// secret is cleared from memory when the last clone is dropped.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    id: KeyId,
    /// Whether the key was given an id. If not, the id is the thumbprint.
    named: bool,
    thumbprint: String,
    /// The members of a public key in a JWK, as JSON. `None` for a secret.
    members: Option<Arc<str>>,
    /// Whether the key was given an algorithm.
    bound: bool,
    /// One for each algorithm that fits the key. The usual algorithm is first.
    verifying: Arc<[VerifyingKey]>,
}

/// The id of a key, which tokens have in `kid`. It is compared exactly.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl KeyId {
    /// Creates an id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The text of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for KeyId {
    fn from(id: &str) -> Self {
        Self::new(id)
    }
}

impl From<String> for KeyId {
    fn from(id: String) -> Self {
        Self(id.into())
    }
}

/// Any text is an id.
impl FromStr for KeyId {
    type Err = Infallible;

    fn from_str(id: &str) -> Result<Self, Infallible> {
        Ok(Self::new(id))
    }
}

impl AsRef<str> for KeyId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Key {
    /// Creates a key from a shared secret for HMAC. The secret must have at least 32, 48 or 64 bytes
    /// for `HS256`, `HS384` or `HS512` ([RFC 7518, section 3.2]).
    ///
    /// Whoever can verify tokens with a secret can also create tokens. Share it only between the
    /// services of one team. If another team issues the tokens, use a key pair.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the algorithm is not symmetric, if the secret is too short, or if it
    /// does not look random ([RFC 8725, section 3.5]): a pass phrase, even in hexadecimal digits or
    /// base64; a repeated text; few different characters; an example from a well-known tutorial; the
    /// text of a PEM or JWK. Random bytes are accepted, and so are their hexadecimal digits or base64.
    ///
    /// # Example: a secret and a pass phrase
    ///
    /// ```
    /// use tower_jwt_auth::{Algorithm, Key};
    ///
    /// # let random = *b"\x8f\x01\xc4\x55\x1d\xe2\x90\x3a\x77\xb8\x09\xf6\x42\xad\x6c\x13\xd8\x5e\x2b\xf1\x84\x3f\xca\x66\x0d\x97\x71\xbe\x25\xe9\x58\xa3";
    /// assert!(Key::from_secret(Algorithm::HS256, &random).is_ok());
    /// assert!(Key::from_secret(Algorithm::HS256, b"correct horse").is_err());
    /// ```
    ///
    /// [RFC 7518, section 3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
    /// [RFC 8725, section 3.5]: https://www.rfc-editor.org/rfc/rfc8725#section-3.5
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Self::shared(algorithm, secret, Material::secret)
    }

    /// The same as [`from_secret`](Self::from_secret), but the secret does not have to look random.
    ///
    /// # Security
    ///
    /// An attacker who has one token can try billions of secrets per second offline. Use this only if
    /// you know that the secret was generated randomly.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the algorithm is not symmetric, or the secret is too short for it.
    pub fn insecure_from_chosen_secret(
        algorithm: Algorithm,
        secret: &[u8],
    ) -> Result<Self, ConfigError> {
        Self::shared(algorithm, secret, Material::chosen_secret)
    }

    fn shared(
        algorithm: Algorithm,
        secret: &[u8],
        checked: fn(Zeroizing<Vec<u8>>) -> Result<Material, KeyError>,
    ) -> Result<Self, ConfigError> {
        let expected = match algorithm.secret_length() {
            Some(32) => "at least 256: make a secret with `openssl rand -base64 48`",
            Some(48) => "at least 384: make a secret with `openssl rand -base64 48`",
            Some(_) => "at least 512: make a secret with `openssl rand -hex 64`",
            None => {
                return Err(KeyError::Algorithm {
                    algorithm: algorithm.as_str().into(),
                    key: "a secret, which fits HS256, HS384 and HS512",
                }
                .into());
            }
        };
        if algorithm
            .secret_length()
            .is_some_and(|length| secret.len() < length)
        {
            return Err(KeyError::Size {
                bits: secret.len().saturating_mul(8),
                expected,
            }
            .into());
        }
        let material = checked(Zeroizing::new(secret.to_vec()))?;
        Ok(Self::build(None, Some(algorithm), &material)?)
    }

    /// Sets the id of the key. Tokens with this `kid` are verified with the key.
    #[must_use]
    pub fn with_key_id(self, id: impl Into<KeyId>) -> Self {
        let Inner {
            thumbprint,
            members,
            bound,
            verifying,
            ..
        } = &*self.0;
        Self(Arc::new(Inner {
            id: id.into(),
            named: true,
            thumbprint: thumbprint.clone(),
            members: members.clone(),
            bound: *bound,
            verifying: Arc::clone(verifying),
        }))
    }

    /// The id of the key. Default: the thumbprint.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.0.id
    }

    /// The SHA-256 thumbprint of a public key ([RFC 7638]), 43 characters.
    ///
    /// For a secret, it is a MAC with the secret, which identifies the secret but does not disclose
    /// it.
    ///
    /// [RFC 7638]: https://www.rfc-editor.org/rfc/rfc7638
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.0.thumbprint
    }

    /// The algorithms that the key is used with by default: one algorithm, or the two names of
    /// Ed25519. [`JwtAuth::algorithms`](crate::JwtAuth::algorithms) can allow others.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let count = if self.is_edwards() { 2 } else { 1 };
        self.0
            .verifying
            .iter()
            .take(count)
            .map(VerifyingKey::algorithm)
            .collect()
    }

    /// Parses the material for each algorithm that fits it.
    pub(super) fn build(
        id: Option<KeyId>,
        algorithm: Option<Algorithm>,
        material: &Material,
    ) -> Result<Self, KeyError> {
        let verifying = match algorithm {
            Some(one) if material.algorithms().contains(&one) => {
                vec![VerifyingKey::new(one, material)?]
            }
            Some(one) => {
                return Err(KeyError::Algorithm {
                    algorithm: one.as_str().into(),
                    key: material.describe(),
                });
            }
            None => {
                // For a secret, the usual algorithm is the longest HMAC that fits.
                let usual = material.algorithms().iter();
                let usual: Vec<_> = match material {
                    Material::Secret(_) => usual.rev().collect(),
                    _ => usual.collect(),
                };
                usual
                    .into_iter()
                    .map(|one| VerifyingKey::new(*one, material))
                    .collect::<Result<_, _>>()?
            }
        };
        let thumbprint = thumbprint(material);
        Ok(Self(Arc::new(Inner {
            named: id.is_some(),
            id: id.unwrap_or_else(|| KeyId::new(&thumbprint)),
            thumbprint,
            members: public_members(material).map(Arc::from),
            bound: algorithm.is_some(),
            verifying: verifying.into(),
        })))
    }

    /// The parsed key for this algorithm, if it is the key's own or usual one, or one of `allowed`.
    pub(crate) fn verifying(
        &self,
        algorithm: Algorithm,
        allowed: Option<&[Algorithm]>,
    ) -> Option<&VerifyingKey> {
        let usual = if self.0.bound || allowed.is_some() {
            usize::MAX
        } else if self.is_edwards() {
            2
        } else {
            1
        };
        if allowed.is_some_and(|allowed| !allowed.contains(&algorithm)) {
            return None;
        }
        self.0
            .verifying
            .iter()
            .take(usual)
            .find(|key| key.algorithm() == algorithm)
    }

    /// Whether the key is a public key and not a secret.
    pub(super) fn is_public(&self) -> bool {
        let mut verifying = self.0.verifying.iter();
        verifying.all(|key| !key.algorithm().is_symmetric())
    }

    /// The public key as a JSON Web Key for this algorithm (RFC 7517), with `kid` and `use`. `None` for a
    /// secret.
    #[cfg(feature = "issue")]
    pub(crate) fn public_jwk(&self, algorithm: Algorithm) -> Option<String> {
        let members = self.0.members.as_ref()?.strip_suffix('}')?;
        let id = serde_json::Value::from(self.id().as_str());
        Some(format!(
            r#"{members},"alg":"{algorithm}","kid":{id},"use":"sig"}}"#
        ))
    }

    /// Whether both verify the same signatures.
    pub(crate) fn is_same_material(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.thumbprint == other.0.thumbprint
    }

    /// Whether both have the same id and verify the same signatures.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.id() == other.id() && self.thumbprint() == other.thumbprint()
    }

    /// What distinguishes this key from others.
    #[cfg(feature = "_refresh")]
    pub(super) fn identity(&self) -> (KeyId, String, Vec<Algorithm>, bool) {
        let algorithms = self
            .0
            .verifying
            .iter()
            .map(VerifyingKey::algorithm)
            .collect();
        (
            self.0.id.clone(),
            self.0.thumbprint.clone(),
            algorithms,
            self.0.bound,
        )
    }

    /// Whether the key was given an id. If not, its id is its thumbprint.
    pub(crate) fn is_named(&self) -> bool {
        self.0.named
    }

    fn is_edwards(&self) -> bool {
        self.0
            .verifying
            .iter()
            .any(|key| matches!(key.algorithm(), Algorithm::EdDSA | Algorithm::Ed25519))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.0.id.as_str())
            .field("algorithms", &self.algorithms())
            .finish()
    }
}
