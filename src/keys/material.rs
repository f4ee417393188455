//! Checked key material, independent of its format.

use zeroize::Zeroizing;

use crate::error::config::KeyError;
use crate::keys::algorithm::Algorithm;
use crate::keys::randomness;

/// Key material whose size and encoding are checked.
///
/// The backend checks that a point lies on its curve, when it parses the key.
pub(crate) enum Material {
    Secret(Zeroizing<Vec<u8>>),
    /// Big-endian, without leading zeros.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The uncompressed point: 0x04 and both coordinates at full length.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519 {
        point: Vec<u8>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The length of a coordinate in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Material {
    /// A secret that looks random.
    pub(crate) fn secret(secret: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        let material = Self::chosen_secret(secret)?;
        if let Self::Secret(secret) = &material {
            randomness::check(secret)?;
        }
        Ok(material)
    }

    /// A secret that does not have to look random.
    pub(crate) fn chosen_secret(secret: Zeroizing<Vec<u8>>) -> Result<Self, KeyError> {
        if secret.len() < SECRET_MIN {
            return Err(KeyError::Size {
                bits: secret.len().saturating_mul(8),
                expected: "at least 256: make a secret with `openssl rand -base64 48`",
            });
        }
        Ok(Self::Secret(secret))
    }

    /// An RSA key from its modulus and exponent, big-endian. Leading zeros are removed.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (
            without_leading_zeros(modulus),
            without_leading_zeros(exponent),
        );
        let bits = bit_length(modulus);
        if !(RSA_MIN..=RSA_MAX).contains(&bits) {
            return Err(KeyError::Size {
                bits,
                expected: "2048 to 8192",
            });
        }
        if modulus.last().is_none_or(|byte| byte % 2 == 0) {
            return Err(KeyError::Weak {
                reason: "the RSA modulus is even",
            });
        }
        if exponent.last().is_none_or(|byte| byte % 2 == 0) || exponent == [1] {
            return Err(KeyError::Weak {
                reason: "the RSA exponent is even or 1",
            });
        }
        if bit_length(exponent) > RSA_EXPONENT_MAX {
            return Err(KeyError::Size {
                bits: bit_length(exponent),
                expected: "an RSA exponent of at most 33",
            });
        }
        if has_roca_fingerprint(modulus) {
            return Err(KeyError::Weak {
                reason: "the RSA modulus has the ROCA structure (CVE-2017-15361)",
            });
        }
        Ok(Self::Rsa {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// An EC key. Each coordinate must have the full length (RFC 7518, section 6.2.1.2).
    pub(crate) fn ec(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        for (name, coordinate) in [("x", x), ("y", y)] {
            if coordinate.len() != curve.length() {
                return Err(KeyError::Member {
                    name,
                    expected: "a coordinate of the curve's full length",
                });
            }
        }
        Ok(Self::Ec {
            curve,
            point: [&[4], x, y].concat(),
        })
    }

    /// An Ed25519 key. Points of small order are rejected, because almost any signature verifies with
    /// them.
    pub(crate) fn ed25519(point: &[u8]) -> Result<Self, KeyError> {
        let point: [u8; 32] = point.try_into().map_err(|_| KeyError::Member {
            name: "x",
            expected: "an Ed25519 point of 32 bytes",
        })?;
        let mut unsigned = point;
        if let Some(last) = unsigned.last_mut() {
            *last &= 0x7f;
        }
        if SMALL_ORDER.contains(&unsigned) {
            return Err(KeyError::Weak {
                reason: "the Ed25519 point has a small order",
            });
        }
        Ok(Self::Ed25519 {
            point: point.to_vec(),
        })
    }

    /// The kind of key, for an error.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Secret(_) => {
                "a secret of that length, which fits HS256, from 384 bits on HS384, and from 512 bits on HS512"
            }
            Self::Rsa { .. } => {
                "an RSA key, which fits RS256, RS384, RS512, PS256, PS384 and PS512"
            }
            Self::Ec {
                curve: Curve::P256, ..
            } => "an EC key on P-256, which fits ES256",
            Self::Ec {
                curve: Curve::P384, ..
            } => "an EC key on P-384, which fits ES384",
            Self::Ec {
                curve: Curve::P521, ..
            } => "an EC key on P-521, which fits ES512",
            Self::Ed25519 { .. } => "an Ed25519 key, which fits EdDSA and Ed25519",
        }
    }

    /// The algorithms that fit the key, the usual one first.
    pub(crate) fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{
            ES256, ES384, ES512, Ed25519, EdDSA, HS256, HS384, HS512, PS256, PS384, PS512, RS256,
            RS384, RS512,
        };
        match self {
            Self::Secret(secret) if secret.len() < 48 => &[HS256],
            Self::Secret(secret) if secret.len() < 64 => &[HS256, HS384],
            Self::Secret(_) => &[HS256, HS384, HS512],
            Self::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::Ec {
                curve: Curve::P256, ..
            } => &[ES256],
            Self::Ec {
                curve: Curve::P384, ..
            } => &[ES384],
            Self::Ec {
                curve: Curve::P521, ..
            } => &[ES512],
            Self::Ed25519 { .. } => &[EdDSA, Ed25519],
        }
    }
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

fn bit_length(bytes: &[u8]) -> usize {
    let bits = bytes.len().saturating_mul(8);
    bytes.first().map_or(0, |first| {
        bits.saturating_sub(usize::try_from(first.leading_zeros()).unwrap_or(0))
    })
}

/// Whether the modulus was made by the flawed library of CVE-2017-15361. Such a modulus is a power of
/// 65537 modulo each of these primes. For a sound modulus the probability is below 2^-27.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|&prime| {
        let residue = modulus
            .iter()
            .fold(0_u32, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * (65_537 % prime) % prime;
            power == residue
        })
    })
}

/// The minimum for HS256 (RFC 7518, section 3.2), in bytes.
const SECRET_MIN: usize = 32;
const RSA_MIN: usize = 2048;
const RSA_MAX: usize = 8192;
const RSA_EXPONENT_MAX: usize = 33;

/// The primes for which the fewest residues are powers of 65537.
const ROCA_PRIMES: [u32; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];

/// The encodings of points of order 1, 2, 4 and 8, without their sign bit, including the two encodings
/// that are not canonical.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    small(1, 0, 0),
    small(0xec, 0xff, 0x7f),
    small(0xed, 0xff, 0x7f),
    small(0xee, 0xff, 0x7f),
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
];

const fn small(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_trims_big_endian_numbers() {
        assert_eq!(without_leading_zeros(&[0, 0, 1, 0]), [1, 0]);
        assert_eq!(without_leading_zeros(&[0]), [0_u8; 0]);
        assert_eq!(bit_length(&[1, 0]), 9);
        assert_eq!(bit_length(&[]), 0);
    }

    #[test]
    fn rejects_weak_rsa_numbers() {
        let modulus = |bits: usize| {
            let mut bytes = vec![0x5b; bits / 8];
            bytes[0] = 0x80;
            bytes
        };
        assert!(Material::rsa(&modulus(2048), &[1, 0, 1]).is_ok());
        assert!(Material::rsa(&[&[0], &modulus(2048)[..]].concat(), &[0, 1, 0, 1]).is_ok());
        let mut short = modulus(2048);
        short[0] = 0x7f;
        for (n, e) in [
            (short, vec![1, 0, 1]),
            (modulus(1024), vec![1, 0, 1]),
            (modulus(8200), vec![1, 0, 1]),
            ([&modulus(2040)[..], &[2]].concat(), vec![1, 0, 1]),
            (modulus(2048), vec![1]),
            (modulus(2048), vec![2]),
            (modulus(2048), vec![]),
            (modulus(2048), vec![1, 0, 0, 0, 0, 0, 1]),
        ] {
            assert!(Material::rsa(&n, &e).is_err(), "{} bytes, {e:?}", n.len());
        }
    }
}
