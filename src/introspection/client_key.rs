//! [`ClientKey`]: the private key of this service.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    RsaEncoding, RsaKeyPair,
};
use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::clock::NumericDate;
use crate::error::config::{ConfigError, KeyError};
use crate::issuer::Issuer;
use crate::json;
use crate::keys::KeyId;
use crate::keys::algorithm::Algorithm;

/// The private key of this service, for
/// [`ClientAuth::private_key_jwt`](crate::introspection::ClientAuth::private_key_jwt).
///
/// `Debug` prints the algorithm, and never the key.
#[derive(Clone)]
pub struct ClientKey {
    private: Arc<Private>,
    algorithm: Algorithm,
    id: Option<KeyId>,
    is_typed: bool,
}

enum Private {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

impl ClientKey {
    /// Reads a private key in PEM: `PRIVATE KEY` (PKCS #8), `EC PRIVATE KEY` (SEC 1) or
    /// `RSA PRIVATE KEY` (PKCS #1).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the text is not exactly one such key, if it does not fit the algorithm,
    /// or if the algorithm is symmetric.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Self::from_der(algorithm, &der_of(pem)?)
    }

    /// Reads a private key in DER: PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if this is not a private key for the algorithm, or if the algorithm is
    /// symmetric.
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, ConfigError> {
        let private = match kind(algorithm)? {
            Kind::Ec(curve) => EcdsaKeyPair::from_private_key_der(curve, der).map(Private::Ec),
            Kind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Private::Ed25519),
            Kind::Rsa(encoding) => RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .map(|pair| Private::Rsa(pair, encoding)),
        };
        Self::of(algorithm, private.ok())
    }

    /// Reads a private JSON Web Key ([RFC 7517]). Its `kid` is used, if there is one.
    ///
    /// A key without `alg` signs with the usual algorithm of its type: `RS256` for RSA, the algorithm of
    /// the curve for EC, `EdDSA` for OKP.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if this is not a private key, or if it is symmetric.
    ///
    /// [RFC 7517]: https://www.rfc-editor.org/rfc/rfc7517
    pub fn from_jwk(jwk: &[u8]) -> Result<Self, ConfigError> {
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
                return Err(ConfigError::from(KeyError::Unsupported {
                    kind,
                    input: name.to_owned(),
                }));
            }
        };
        let algorithm = match members.text("alg") {
            Ok(name) => Algorithm::from_name(name).ok_or_else(|| KeyError::Unsupported {
                kind: "algorithm",
                input: name.to_owned(),
            })?,
            Err(_) => usual,
        };
        let private = match kind(algorithm)? {
            Kind::Ec(curve) => members.ec(curve)?,
            Kind::Ed25519 => {
                let (seed, point) = (members.bytes("d")?, members.bytes("x")?);
                Ed25519KeyPair::from_seed_and_public_key(&seed, &point)
                    .ok()
                    .map(Private::Ed25519)
            }
            Kind::Rsa(encoding) => members.rsa()?.map(|pair| Private::Rsa(pair, encoding)),
        };
        let mut key = Self::of(algorithm, private)?;
        key.id = members.text("kid").ok().map(KeyId::from);
        Ok(key)
    }

    fn of(algorithm: Algorithm, private: Option<Private>) -> Result<Self, ConfigError> {
        let private = private.ok_or(KeyError::Format {
            expected: "a private key for the algorithm",
        })?;
        Ok(Self {
            private: Arc::new(private),
            algorithm,
            id: None,
            is_typed: true,
        })
    }

    /// Sets the `kid` of the statements, by which the server finds the public key.
    #[must_use]
    pub fn with_key_id(mut self, id: impl Into<KeyId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Leaves out the type `client-authentication+jwt` of the statements. For servers that reject it.
    #[must_use]
    pub fn untyped(mut self) -> Self {
        self.is_typed = false;
        self
    }

    /// A statement of this client for one request (RFC 7523, section 3).
    pub(super) fn assertion(
        &self,
        client_id: &str,
        issuer: &Issuer,
        now: NumericDate,
    ) -> Result<Zeroizing<String>, &'static str> {
        let mut random = [0_u8; 16];
        fill(&mut random).map_err(|_| "the system has no random bytes")?;
        let header = Header {
            alg: self.algorithm.as_str(),
            typ: self.is_typed.then_some("client-authentication+jwt"),
            kid: self.id.as_ref().map(KeyId::as_str),
        };
        // Whole seconds, because some servers read nothing else.
        let now = now.to_system_time().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let claims = Claims {
            iss: client_id,
            sub: client_id,
            aud: issuer.as_str(),
            jti: URL_SAFE_NO_PAD.encode_to_string(random),
            iat: now,
            exp: now.saturating_add(LIFETIME),
        };
        let mut text = format!("{}.{}", encoded(&header)?, encoded(&claims)?);
        let signature = self.sign(text.as_bytes()).ok_or("the key does not sign")?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode_to_string(signature));
        Ok(Zeroizing::new(text))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &*self.private {
            Private::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Private::Ed25519(pair) => Some(pair.try_sign(message).ok()?.as_ref().to_vec()),
            Private::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
        }
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The header of a statement.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    typ: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

/// The claims of a statement.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    jti: String,
    iat: u64,
    exp: u64,
}

fn encoded(part: &impl Serialize) -> Result<String, &'static str> {
    let json = serde_json::to_vec(part).map_err(|_| "the statement is no JSON")?;
    Ok(URL_SAFE_NO_PAD.encode_to_string(json))
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

/// The one private key in a PEM text (RFC 7468).
///
/// Why not the crate `pem`: it leaves copies of the key in memory.
fn der_of(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let format = |expected| KeyError::Format { expected };
    let text = std::str::from_utf8(pem).map_err(|_| format("PEM text"))?;
    if text.contains("\\n") {
        return Err(format(
            "PEM text: it has the two characters `\\n` instead of line ends",
        ));
    }
    let mut found = None;
    for block in text.split("-----BEGIN ").skip(1) {
        let broken = || format("PEM text: its block is broken, or its end is missing");
        let (label, rest) = block.split_once("-----").ok_or_else(broken)?;
        let end = rest.find("-----END ").ok_or_else(broken)?;
        let (body, rest) = rest.split_at_checked(end).ok_or_else(broken)?;
        let end = rest.strip_prefix("-----END ");
        let end = end.and_then(|end| end.strip_prefix(label));
        if !end.is_some_and(|end| end.starts_with("-----")) {
            return Err(broken());
        }
        match label {
            // `openssl ecparam -genkey` writes the name of the curve before the key.
            "EC PARAMETERS" => continue,
            "ENCRYPTED PRIVATE KEY" => return Err(format(ENCRYPTED)),
            // Headers of an older format.
            _ if body.contains(':') => return Err(format(ENCRYPTED)),
            "PRIVATE KEY" | "EC PRIVATE KEY" | "RSA PRIVATE KEY" => {}
            label => {
                return Err(KeyError::Unsupported {
                    kind: "PEM block",
                    input: label.to_owned(),
                });
            }
        }
        if found.is_some() {
            return Err(format("PEM text with exactly one private key"));
        }
        let mut encoded = Zeroizing::new(Vec::with_capacity(body.len()));
        encoded.extend(body.bytes().filter(|byte| !byte.is_ascii_whitespace()));
        let decoded = STANDARD.decode_to_vec(&*encoded).map_err(|_| broken())?;
        found = Some(Zeroizing::new(decoded));
    }
    found.ok_or_else(|| format("PEM text with exactly one private key"))
}

/// What is expected in place of a private key that is encrypted.
const ENCRYPTED: &str = "a private key without a passphrase: it is encrypted";

/// The members of a private key, which are cleared when they are dropped.
struct Members(Vec<(String, Zeroizing<String>)>);

impl Members {
    fn read(jwk: &[u8]) -> Result<Self, KeyError> {
        let expected = || KeyError::Format {
            expected: "a JSON Web Key: one JSON object without duplicate members",
        };
        let text = std::str::from_utf8(jwk).map_err(|_| expected())?;
        let mut members = Vec::new();
        json::read_object(text, json::MAX_MEMBERS, |name, value| {
            if let Some(value) = value.string().filter(|value| !value.is_empty()) {
                members.push((name.into_owned(), Zeroizing::new(value.into_owned())));
            }
        })
        .map_err(|_| expected())?;
        Ok(Self(members))
    }

    fn text(&self, name: &'static str) -> Result<&str, KeyError> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or(KeyError::MissingMember { name })
    }

    fn bytes(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let decoded = URL_SAFE_NO_PAD.decode_to_vec(self.text(name)?.as_bytes());
        decoded.map(Zeroizing::new).map_err(|_| KeyError::Member {
            name,
            expected: "base64url without padding",
        })
    }

    fn ec(&self, curve: &'static EcdsaSigningAlgorithm) -> Result<Option<Private>, KeyError> {
        let (x, y) = (self.bytes("x")?, self.bytes("y")?);
        let point = [&[4][..], &x, &y].concat();
        let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &self.bytes("d")?, &point);
        Ok(pair.ok().map(Private::Ec))
    }

    fn rsa(&self) -> Result<Option<RsaKeyPair>, KeyError> {
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: self.bytes("n")?,
                e: self.bytes("e")?,
            },
            d: self.bytes("d")?,
            p: self.bytes("p")?,
            q: self.bytes("q")?,
            dP: self.bytes("dp")?,
            dQ: self.bytes("dq")?,
            qInv: self.bytes("qi")?,
        };
        Ok(RsaKeyPair::from_components(&components).ok())
    }
}

/// The lifetime of a statement in seconds.
const LIFETIME: u64 = 60;
