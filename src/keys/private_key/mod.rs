//! [`PrivateKey`]: a key that signs.

#[cfg(feature = "issue")]
mod generate;
mod jwk;
mod pem;

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    RsaEncoding, RsaKeyPair,
};

use self::jwk::Members;
use crate::error::config::KeyError;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::KeyId;

/// A private key, which is parsed once, for one algorithm.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    pair: Arc<Pair>,
    algorithm: Algorithm,
    /// The `kid` of a JWK.
    id: Option<KeyId>,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl PrivateKey {
    /// Reads PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC 1) or `RSA PRIVATE KEY` (PKCS #1).
    pub(crate) fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, KeyError> {
        Self::from_der(algorithm, &pem::der_of(pem)?)
    }

    /// Reads DER: PKCS #8, SEC 1 or PKCS #1.
    pub(crate) fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyError> {
        let pair = match kind(algorithm)? {
            Kind::Ec(curve) => EcdsaKeyPair::from_private_key_der(curve, der).map(Pair::Ec),
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Pair::Ed25519),
            Kind::Rsa(encoding) => RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .map(|pair| Pair::Rsa(pair, encoding)),
        };
        Self::of(algorithm, pair.ok())
    }

    /// Reads a private JSON Web Key (RFC 7517).
    pub(crate) fn from_jwk(jwk: &[u8]) -> Result<Self, KeyError> {
        let members = Members::read(jwk)?;
        let usual = match (members.text("kty")?, members.text("crv").ok()) {
            ("RSA", _) => Algorithm::RS256,
            ("EC", Some("P-256")) => Algorithm::ES256,
            ("EC", Some("P-384")) => Algorithm::ES384,
            ("EC", Some("P-521")) => Algorithm::ES512,
            ("OKP", Some("Ed25519")) => Algorithm::EdDSA,
            (kty, curve) => {
                let (kind, name) = match (kty, curve) {
                    ("EC" | "OKP", Some(curve)) => ("curve", curve),
                    _ => ("key type", kty),
                };
                return Err(KeyError::Unsupported {
                    kind,
                    input: name.to_owned(),
                });
            }
        };
        let algorithm = match members.text("alg") {
            Ok(name) => Algorithm::from_name(name).ok_or_else(|| KeyError::Unsupported {
                kind: "algorithm",
                input: name.to_owned(),
            })?,
            Err(_) => usual,
        };
        let pair = match kind(algorithm)? {
            Kind::Ec(curve) => members.ec(curve)?,
            Kind::Ed25519 => {
                let (seed, point) = (members.bytes("d")?, members.bytes("x")?);
                Ed25519KeyPair::from_seed_and_public_key(&seed, &point)
                    .ok()
                    .map(Pair::Ed25519)
            }
            Kind::Rsa(encoding) => members.rsa()?.map(|pair| Pair::Rsa(pair, encoding)),
        };
        let mut key = Self::of(algorithm, pair)?;
        key.id = members.text("kid").ok().map(KeyId::from);
        Ok(key)
    }

    fn of(algorithm: Algorithm, pair: Option<Pair>) -> Result<Self, KeyError> {
        let pair = pair.ok_or(KeyError::Format {
            expected: "a private key for the algorithm",
        })?;
        Ok(Self {
            pair: Arc::new(pair),
            algorithm,
            id: None,
        })
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` of the JWK that was read.
    pub(crate) fn id(&self) -> Option<&KeyId> {
        self.id.as_ref()
    }

    /// Sets the id.
    #[cfg(feature = "issue")]
    pub(crate) fn with_id(mut self, id: KeyId) -> Self {
        self.id = Some(id);
        self
    }

    /// Signs a message. `None` if the backend cannot sign.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
            Pair::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}

enum Kind {
    Ec(&'static EcdsaSigningAlgorithm),
    Ed25519,
    Rsa(&'static dyn RsaEncoding),
}

fn kind(algorithm: Algorithm) -> Result<Kind, KeyError> {
    Ok(match algorithm {
        Algorithm::ES256 => Kind::Ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => Kind::Ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::ES512 => Kind::Ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
        Algorithm::EdDSA | Algorithm::Ed25519 => Kind::Ed25519,
        Algorithm::RS256 => Kind::Rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::RS384 => Kind::Rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::RS512 => Kind::Rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::PS256 => Kind::Rsa(&signature::RSA_PSS_SHA256),
        Algorithm::PS384 => Kind::Rsa(&signature::RSA_PSS_SHA384),
        Algorithm::PS512 => Kind::Rsa(&signature::RSA_PSS_SHA512),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            return Err(KeyError::Algorithm {
                algorithm: algorithm.as_str().into(),
                key: "a private key",
            });
        }
    })
}
