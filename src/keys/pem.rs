//! PEM and DER: SPKI, PKCS #1 and X.509 certificates.

use der::asn1::UintRef;
use der::{Decode, Reader, SliceReader};
use spki::{ObjectIdentifier, SubjectPublicKeyInfoRef};
use x509_cert::Certificate;

use crate::error::config::{ConfigError, KeyError};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::Key;
use crate::keys::material::{Curve, Material};

impl Key {
    /// Reads a public key in PEM: `PUBLIC KEY` (SPKI), `RSA PUBLIC KEY` (PKCS #1) or `CERTIFICATE`.
    ///
    /// Only the key of a certificate is read. Its validity and its issuer are not checked. PEM does
    /// not name the algorithm of the key, so it is an argument.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the text is not exactly one such key, or if the key is private, too
    /// short, or not usable with the algorithm.
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self::build(None, Some(algorithm), &read_pem(pem)?)?)
    }

    /// Reads a public key in DER: SPKI, PKCS #1 or a certificate.
    ///
    /// # Errors
    ///
    /// The same as [`from_pem`](Self::from_pem).
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self::build(None, Some(algorithm), &read_der(der)?)?)
    }
}

fn read_pem(text: &[u8]) -> Result<Material, KeyError> {
    if text.windows(2).any(|pair| pair == b"\\n") {
        return Err(KeyError::Format {
            expected: "PEM text: it has the two characters `\\n` instead of line ends; put line ends \
                       there, or read it with `KeyStore::from_env`, which does so",
        });
    }
    let blocks = pem::parse_many(text).map_err(|_| KeyError::Format {
        expected: "PEM text",
    })?;
    // A block that begins and does not end is no block for `pem`: a file that was cut off.
    let begun = text.windows(BEGIN.len()).filter(|start| *start == BEGIN);
    let begun = begun.count();
    let block = match blocks.as_slice() {
        [block] if begun == 1 => block,
        [] if begun > 0 => {
            return Err(KeyError::Format {
                expected: "PEM text: its block is broken, or its end is missing",
            });
        }
        [] => {
            return Err(KeyError::Format {
                expected: "PEM text: it has no block",
            });
        }
        _ => {
            return Err(KeyError::Format {
                expected: "PEM text with exactly one block: leave out the rest of a certificate's chain, and \
                 put several keys into a `KeySet`",
            });
        }
    };
    match block.tag() {
        "PUBLIC KEY" => spki(block.contents()),
        "RSA PUBLIC KEY" => pkcs1(block.contents()),
        "CERTIFICATE" => certificate(block.contents()),
        tag if tag.ends_with("PRIVATE KEY") => Err(KeyError::Private),
        tag => Err(KeyError::Unsupported {
            kind: "PEM block",
            input: tag.to_owned(),
        }),
    }
}

/// Tries the three forms in turn.
fn read_der(der: &[u8]) -> Result<Material, KeyError> {
    match spki(der) {
        Err(KeyError::Format { .. }) => {}
        decided => return decided,
    }
    match pkcs1(der) {
        Err(KeyError::Format { .. }) => {}
        decided => return decided,
    }
    certificate(der).map_err(|error| match error {
        KeyError::Format { .. } => KeyError::Format {
            expected: "DER of a public key (SPKI or PKCS #1) or certificate",
        },
        other => other,
    })
}

fn spki(der: &[u8]) -> Result<Material, KeyError> {
    let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyError::Format {
        expected: "DER of an SPKI public key",
    })?;
    let curve = info.algorithm.parameters_oid().ok();
    let bytes = info.subject_public_key.as_bytes().ok_or(KeyError::Format {
        expected: "a public key of whole bytes",
    })?;
    subject_public_key(info.algorithm.oid, curve, bytes)
}

fn certificate(der: &[u8]) -> Result<Material, KeyError> {
    let certificate = Certificate::from_der(der).map_err(|_| KeyError::Format {
        expected: "DER of a certificate",
    })?;
    let info = certificate.tbs_certificate().subject_public_key_info();
    let curve = info
        .algorithm
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.decode_as().ok());
    let bytes = info.subject_public_key.as_bytes().ok_or(KeyError::Format {
        expected: "a public key of whole bytes",
    })?;
    subject_public_key(info.algorithm.oid, curve, bytes)
}

fn subject_public_key(
    algorithm: ObjectIdentifier,
    curve: Option<ObjectIdentifier>,
    bytes: &[u8],
) -> Result<Material, KeyError> {
    match (algorithm, curve) {
        (RSA_ENCRYPTION, _) => pkcs1(bytes),
        (EC_PUBLIC_KEY, Some(P256)) => point(Curve::P256, bytes),
        (EC_PUBLIC_KEY, Some(P384)) => point(Curve::P384, bytes),
        (EC_PUBLIC_KEY, Some(P521)) => point(Curve::P521, bytes),
        (ED25519, _) => Material::ed25519(bytes),
        (EC_PUBLIC_KEY, Some(curve)) => Err(KeyError::Unsupported {
            kind: "curve",
            input: curve.to_string(),
        }),
        (other, _) => Err(KeyError::Unsupported {
            kind: "key type",
            input: other.to_string(),
        }),
    }
}

fn point(curve: Curve, bytes: &[u8]) -> Result<Material, KeyError> {
    let coordinates = bytes.strip_prefix(&[4]).ok_or(KeyError::Format {
        expected: "an uncompressed point",
    })?;
    let (x, y) = coordinates
        .split_at_checked(curve.length())
        .ok_or(KeyError::Format {
            expected: "a point of the curve's length",
        })?;
    Material::ec(curve, x, y)
}

/// `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn pkcs1(der: &[u8]) -> Result<Material, KeyError> {
    let read = || -> der::Result<(&[u8], &[u8])> {
        let mut reader = SliceReader::new(der)?;
        let numbers = reader.sequence(|inner| {
            Ok::<_, der::Error>((UintRef::decode(inner)?, UintRef::decode(inner)?))
        })?;
        reader.finish()?;
        Ok((numbers.0.as_bytes(), numbers.1.as_bytes()))
    };
    let (modulus, exponent) = read().map_err(|_| KeyError::Format {
        expected: "DER of a PKCS #1 public key",
    })?;
    Material::rsa(modulus, exponent)
}

const BEGIN: &[u8] = b"-----BEGIN ";

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
