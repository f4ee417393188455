//! The material of a key, and all its faults.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::checks::fuzz::curves;
use crate::checks::fuzz::curves::Curve;
use crate::checks::fuzz::faults::{ALGORITHMS, Fault};
use crate::keys::key::Key;

/// The material of a key, from any format.
#[derive(Debug)]
pub(super) enum Material {
    Secret(Vec<u8>),
    Rsa(Vec<u8>, Vec<u8>),
    Ec(&'static Curve, Vec<u8>, Vec<u8>),
    Edwards(Vec<u8>),
}

impl Material {
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        match self {
            Self::Secret(secret) => {
                if secret.len() < 32 {
                    faults.push(Fault::Size(secret.len() * 8));
                }
            }
            Self::Rsa(modulus, exponent) => {
                let is_odd = |number: &[u8]| number.last().is_some_and(|last| last % 2 == 1);
                if !(2_048..=8_192).contains(&bits(modulus)) {
                    faults.push(Fault::Size(bits(modulus)));
                }
                if !is_odd(modulus) {
                    faults.push(Fault::Weak("the RSA modulus is even"));
                }
                if !is_odd(exponent) || bits(exponent) == 1 {
                    faults.push(Fault::Weak("the RSA exponent is even or 1"));
                }
                if bits(exponent) > 33 {
                    faults.push(Fault::Size(bits(exponent)));
                }
                if ROCA.iter().all(|prime| is_power_of_65537(modulus, *prime)) {
                    faults.push(Fault::Weak("ROCA"));
                }
            }
            Self::Ec(curve, x, y) => {
                for (name, coordinate) in [("x", x), ("y", y)] {
                    if coordinate.len() != curve.length {
                        faults.push(Fault::Member(name.to_owned()));
                    }
                }
                if faults.is_empty() && !curve.has(x, y) {
                    faults.push(Fault::Form);
                }
            }
            Self::Edwards(point) if point.len() == 32 => {
                if curves::has_small_order(point) {
                    faults.push(Fault::Weak("the Ed25519 point has a small order"));
                }
            }
            Self::Edwards(_) => faults.push(Fault::Member("x".to_owned())),
        }
        faults
    }

    /// The names of all algorithms that fit it, for a public key the usual one first.
    pub(super) fn algorithms(&self) -> Vec<&'static str> {
        match self {
            Self::Secret(secret) => [("HS256", 0), ("HS384", 48), ("HS512", 64)]
                .iter()
                .filter(|(_, least)| secret.len() >= *least)
                .map(|(name, _)| *name)
                .collect(),
            Self::Rsa(..) => ALGORITHMS[3..9].to_vec(),
            Self::Ec(curve, ..) => vec![curve.algorithm],
            Self::Edwards(_) => vec!["EdDSA", "Ed25519"],
        }
    }

    /// Asserts that the key has this material, compared by thumbprint (RFC 7638).
    pub(super) fn confirm(&self, key: &Key) {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let bare = |number: &[u8]| {
            let start = number.iter().take_while(|byte| **byte == 0).count();
            text(number.get(start..).unwrap_or_default())
        };
        let members = match self {
            Self::Secret(_) => return,
            Self::Rsa(n, e) => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, bare(e), bare(n)),
            Self::Ec(curve, x, y) => format!(
                r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
                curve.name,
                text(x),
                text(y)
            ),
            Self::Edwards(x) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        };
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
        assert_eq!(key.thumbprint(), text(digest.as_ref()));
    }
}

fn bits(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    digits.next().map_or(0, |first| {
        let first: usize = (0..8).filter(|bit| first >> bit != 0).count();
        first + digits.count() * 8
    })
}

/// Whether a number is a power of 65537 modulo a prime. Those are the solutions of `x^order = 1`,
/// as the group is cyclic.
fn is_power_of_65537(number: &[u8], prime: u64) -> bool {
    let power = |base: u64, times: u64| (0..times).fold(1, |power, _| power * base % prime);
    let order = (1..prime).find(|times| power(65_537 % prime, *times) == 1);
    let rest = number
        .iter()
        .fold(0, |rest, byte| (rest * 256 + u64::from(*byte)) % prime);
    order.is_some_and(|order| power(rest, order) == 1)
}

const ROCA: [u64; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];
