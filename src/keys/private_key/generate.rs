//! Generates private keys, and converts them to public keys and to their form in a store.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair, RsaPublicKeyComponents,
};
use zeroize::Zeroizing;

use crate::error::config::KeyError;
use crate::keys::algorithm::Algorithm;
use crate::keys::key::{Key, KeyId};
use crate::keys::material::{Curve, Material};
use crate::keys::private_key::{Kind, Pair, PrivateKey, kind};

impl PrivateKey {
    /// Generates a new key pair. An RSA key has 2048 bits, which takes about 100 ms.
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        let pair = match kind(algorithm)? {
            Kind::Ec(curve) => EcdsaKeyPair::generate(curve).map(Pair::Ec),
            Kind::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            Kind::Rsa(encoding) => {
                RsaKeyPair::generate(KeySize::Rsa2048).map(|pair| Pair::Rsa(pair, encoding))
            }
        };
        Self::of(algorithm, pair.ok())
    }

    /// The public key, under this id or its thumbprint.
    pub(crate) fn public(&self, id: Option<&KeyId>) -> Result<Key, KeyError> {
        let material = match &*self.pair {
            Pair::Ec(pair) => {
                let curve = match self.algorithm {
                    Algorithm::ES384 => Curve::P384,
                    Algorithm::ES512 => Curve::P521,
                    _ => Curve::P256,
                };
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at_checked(curve.length()).unwrap_or_default();
                Material::ec(curve, x, y)?
            }
            Pair::Ed25519(pair) => Material::ed25519(pair.public_key().as_ref())?,
            Pair::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                Material::rsa(&public.n, &public.e)?
            }
        };
        Key::build(id.cloned(), Some(self.algorithm), &material)
    }

    /// The private key in DER, as [`from_der`](Self::from_der) reads it.
    pub(crate) fn to_der(&self) -> Option<Zeroizing<Vec<u8>>> {
        // The buffers of the backend are cleared when they are dropped. Its documents are not.
        let copy = |der: &[u8]| Zeroizing::new(der.to_vec());
        match &*self.pair {
            Pair::Ec(pair) => Some(copy(pair.private_key().as_der().ok()?.as_ref())),
            Pair::Ed25519(pair) => {
                let der: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der().ok()?;
                Some(copy(der.as_ref()))
            }
            Pair::Rsa(pair, _) => Some(copy(pair.as_der().ok()?.as_ref())),
        }
    }
}
