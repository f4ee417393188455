//! The signature algorithms of JOSE.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::config::{ConfigError, KeyError};

/// Generates the enum, the list of all algorithms and their names from one line for each algorithm. The name
/// in the `alg` header parameter is the name of the variant.
macro_rules! algorithms {
    ($($(#[$meta:meta])* $algorithm:ident,)*) => {
        /// A signature algorithm of [RFC 7518, section 3.1], [RFC 8037] or [RFC 9864].
        ///
        /// `none` is not supported. A token with any other algorithm is rejected as
        /// [`AlgorithmNotAllowed`](crate::RejectionKind::AlgorithmNotAllowed).
        ///
        /// [RFC 7518, section 3.1]: https://www.rfc-editor.org/rfc/rfc7518#section-3.1
        /// [RFC 8037]: https://www.rfc-editor.org/rfc/rfc8037
        /// [RFC 9864]: https://www.rfc-editor.org/rfc/rfc9864
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Algorithm {
            $($(#[$meta])* $algorithm,)*
        }

        impl Algorithm {
            /// Every algorithm, in the order of the registry.
            pub const ALL: &'static [Self] = &[$(Self::$algorithm),*];

            /// The name in the `alg` header parameter.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$algorithm => stringify!($algorithm),)*
                }
            }
        }
    };
}

algorithms! {
    /// HMAC with SHA-256, for a secret of at least 32 bytes.
    HS256,
    /// HMAC with SHA-384, for a secret of at least 48 bytes.
    HS384,
    /// HMAC with SHA-512, for a secret of at least 64 bytes.
    HS512,
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    RS384,
    /// RSA PKCS #1 v1.5 with SHA-512.
    RS512,
    /// RSA-PSS with SHA-256 and a salt of 32 bytes.
    PS256,
    /// RSA-PSS with SHA-384 and a salt of 48 bytes.
    PS384,
    /// RSA-PSS with SHA-512 and a salt of 64 bytes.
    PS512,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// ECDSA on P-384 with SHA-384.
    ES384,
    /// ECDSA on P-521 with SHA-512.
    ES512,
    /// EdDSA. Only Ed25519 is supported.
    EdDSA,
    /// Ed25519 under its fully specified name (RFC 9864).
    Ed25519,
}

impl Algorithm {
    /// The algorithm with this name, compared exactly.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|algorithm| algorithm.as_str() == name)
    }

    /// Whether signing and verifying need the same secret.
    #[must_use]
    pub const fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }

    /// The length of a signature in bytes. `None` for RSA, where it depends on the key.
    pub(crate) const fn signature_length(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 | Self::ES256 | Self::EdDSA | Self::Ed25519 => Some(64),
            Self::ES384 => Some(96),
            Self::ES512 => Some(132),
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => {
                None
            }
        }
    }

    /// The minimum length of a secret in bytes (RFC 7518, section 3.2).
    pub(crate) const fn secret_length(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 => Some(64),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Algorithm {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Parses the name in the `alg` header parameter, compared exactly.
///
/// ```
/// use tower_jwt_auth::Algorithm;
///
/// assert_eq!("RS256".parse::<Algorithm>()?, Algorithm::RS256);
/// assert!("none".parse::<Algorithm>().is_err());
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
impl FromStr for Algorithm {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        let unknown = || KeyError::Unsupported {
            kind: "algorithm",
            input: name.to_owned(),
        };
        Self::from_name(name).ok_or_else(|| unknown().into())
    }
}

/// The name.
impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<str>::deserialize(deserializer)?;
        name.parse().map_err(Error::custom)
    }
}

/// A list of algorithms for an operator: `RS256 or PS256`.
pub(crate) struct AnyAlgorithm<'a>(pub(crate) &'a [Algorithm]);

impl fmt::Display for AnyAlgorithm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|algorithm| algorithm.as_str()).collect();
        f.write_str(if names.is_empty() {
            "none (no key fits)"
        } else {
            ""
        })?;
        f.write_str(&names.join(" or "))
    }
}
