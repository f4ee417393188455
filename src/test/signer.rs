//! Signing keys of every algorithm.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64_simd::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::aws_lc;
use serde_json::{Value, json};

use crate::keys::algorithm::Algorithm;
use crate::keys::key::Key;

/// A private key, or a secret, for one algorithm.
pub(super) struct Signer {
    algorithm: Algorithm,
    id: String,
    /// The verification key.
    jwk: Value,
    private: Private,
}

enum Private {
    Known(jsonwebtoken::Algorithm, EncodingKey),
    /// ES512, which `jsonwebtoken` does not support.
    P521(EcdsaKeyPair),
}

impl Signer {
    pub(super) fn generate(algorithm: Algorithm, id: &str) -> Self {
        match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                let mut secret = [0; 64];
                fill(&mut secret).expect("the system has random bytes");
                Self::from_secret(algorithm, &secret, id)
            }
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512 => Self::rsa(algorithm, id),
            Algorithm::ES256 => Self::ec(algorithm, "P-256", &ECDSA_P256_SHA256_FIXED_SIGNING, id),
            Algorithm::ES384 => Self::ec(algorithm, "P-384", &ECDSA_P384_SHA384_FIXED_SIGNING, id),
            Algorithm::ES512 => Self::ec(algorithm, "P-521", &ECDSA_P521_SHA512_FIXED_SIGNING, id),
            Algorithm::EdDSA | Algorithm::Ed25519 => Self::ed25519(algorithm, id),
        }
    }

    pub(super) fn from_secret(algorithm: Algorithm, secret: &[u8], id: &str) -> Self {
        let jwk = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode_to_string(secret) });
        let key = EncodingKey::from_secret(secret);
        Self::new(algorithm, id, jwk, Private::Known(known(algorithm), key))
    }

    fn rsa(algorithm: Algorithm, id: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key is made");
        let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let jwk = json!({
            "kty": "RSA",
            "n": URL_SAFE_NO_PAD.encode_to_string(public.n),
            "e": URL_SAFE_NO_PAD.encode_to_string(public.e),
        });
        let pkcs8 = pair.as_der().expect("an RSA key has a DER form");
        let pkcs1 = pkcs8
            .as_ref()
            .get(PKCS8_RSA_2048_HEAD..)
            .unwrap_or_default();
        let key = EncodingKey::from_rsa_der(pkcs1);
        Self::new(algorithm, id, jwk, Private::Known(known(algorithm), key))
    }

    fn ec(
        algorithm: Algorithm,
        curve: &str,
        signing: &'static EcdsaSigningAlgorithm,
        id: &str,
    ) -> Self {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(signing, &SystemRandom::new()).expect("an EC key is made");
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).expect("and read back");
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({
            "kty": "EC",
            "crv": curve,
            "x": URL_SAFE_NO_PAD.encode_to_string(x),
            "y": URL_SAFE_NO_PAD.encode_to_string(y),
        });
        let private = match algorithm {
            Algorithm::ES512 => Private::P521(pair),
            _ => Private::Known(known(algorithm), EncodingKey::from_ec_der(pkcs8.as_ref())),
        };
        Self::new(algorithm, id, jwk, private)
    }

    fn ed25519(algorithm: Algorithm, id: &str) -> Self {
        let pkcs8 =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("an Ed25519 key is made");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("and read back");
        let x = URL_SAFE_NO_PAD.encode_to_string(pair.public_key());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
        let key = EncodingKey::from_ed_der(pkcs8.as_ref());
        Self::new(algorithm, id, jwk, Private::Known(known(algorithm), key))
    }

    fn new(algorithm: Algorithm, id: &str, mut jwk: Value, private: Private) -> Self {
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".into(), id.into());
            members.insert("alg".into(), algorithm.as_str().into());
            members.insert("use".into(), "sig".into());
        }
        Self {
            algorithm,
            id: id.to_owned(),
            jwk,
            private,
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    pub(super) fn key(&self) -> Key {
        if let Some(secret) = self.jwk.get("k").and_then(Value::as_str) {
            // A secret of a test may be any text.
            let secret = URL_SAFE_NO_PAD
                .decode_to_vec(secret)
                .expect("it was encoded so");
            let key = Key::insecure_from_chosen_secret(self.algorithm, &secret);
            return key
                .unwrap_or_else(|error| panic!("{error}"))
                .with_key_id(self.id.as_str());
        }
        let text = self.jwk.to_string();
        Key::from_jwk(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.private {
            Private::Known(algorithm, key) => {
                // Not the process-wide provider, which may be a different one or none.
                let signer = (aws_lc::DEFAULT_PROVIDER.signer_factory)(algorithm, key)
                    .expect("the key is one for its algorithm");
                signer.try_sign(message).expect("a good key signs")
            }
            Private::P521(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.expect("a good key signs").as_ref().to_vec()
            }
        }
    }
}

fn known(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA | Algorithm::Ed25519 => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::ES512 => unreachable!("signed with the backend itself"),
    }
}

/// Bytes of a PKCS #8 document before the PKCS #1 key in it, for an RSA key of 2048 bits.
const PKCS8_RSA_2048_HEAD: usize = 26;
