//! Signature verification with `aws-lc-rs`.
//!
//! There is one backend, and it does not depend on a process-wide default. Other backends are not
//! used: `ring` has no P-521 and no parsed keys, and the pure Rust crates need the `rsa` crate, whose
//! private-key operations leak through timing.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
};

use crate::error::config::KeyError;
use crate::keys::algorithm::Algorithm;
use crate::keys::material::{Curve, Material};

/// A parsed key for one algorithm.
pub(crate) struct VerifyingKey {
    algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    // The backend clears its copy of the secret when it is dropped.
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl VerifyingKey {
    /// Parses checked material for one algorithm.
    pub(crate) fn new(algorithm: Algorithm, material: &Material) -> Result<Self, KeyError> {
        let misfit = || KeyError::Algorithm {
            algorithm: algorithm.as_str().into(),
            key: material.describe(),
        };
        let kind = match material {
            Material::Secret(secret) => Kind::Hmac(Box::new(hmac::Key::new(
                hmac_parameters(algorithm).ok_or_else(misfit)?,
                secret,
            ))),
            Material::Rsa { modulus, exponent } => {
                let components = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                let parameters = rsa_parameters(algorithm).ok_or_else(misfit)?;
                Kind::Public(components.to_parsed_public_key(parameters).map_err(|_| {
                    KeyError::Format {
                        expected: "an RSA public key",
                    }
                })?)
            }
            Material::Ec { curve, point } => {
                let parameters = match (algorithm, curve) {
                    (Algorithm::ES256, Curve::P256) => &ECDSA_P256_SHA256_FIXED,
                    (Algorithm::ES384, Curve::P384) => &ECDSA_P384_SHA384_FIXED,
                    (Algorithm::ES512, Curve::P521) => &ECDSA_P521_SHA512_FIXED,
                    _ => return Err(misfit()),
                };
                Kind::Public(ParsedPublicKey::new(parameters, point).map_err(|_| {
                    KeyError::Format {
                        expected: "a point on its curve",
                    }
                })?)
            }
            Material::Ed25519 { point } => match algorithm {
                Algorithm::EdDSA | Algorithm::Ed25519 => {
                    Kind::Public(ParsedPublicKey::new(&ED25519, point).map_err(|_| {
                        KeyError::Format {
                            expected: "an Ed25519 public key",
                        }
                    })?)
                }
                _ => return Err(misfit()),
            },
        };
        Ok(Self { algorithm, kind })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key made `signature` over `message`. HMACs are compared in constant time.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Kind::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// Prints the algorithm, never the key.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey")
            .field(&self.algorithm)
            .finish()
    }
}

fn hmac_parameters(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
