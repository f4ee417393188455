//! Public keys in PEM and DER, with a second, handwritten reader.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checks::fuzz::curves::Curve;
use crate::checks::fuzz::faults::Fault;
use crate::checks::fuzz::material::Material;
use crate::checks::fuzz::readers::{unusable, well_formed};
use crate::error::config::{ConfigError, KeyError};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::Key;

/// A public key in PEM; the same bytes as DER, as DER in PEM, and as DER in a certificate.
pub fn pem(bytes: &[u8]) {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        text(algorithm, bytes);
        let read = |read: Seen| Verdict { algorithm, read };
        read(any_form(bytes)).confirm(Key::from_der(algorithm, bytes));
        for (label, seen) in [
            ("PUBLIC KEY", spki(bytes)),
            ("RSA PUBLIC KEY", pkcs1(bytes)),
            ("CERTIFICATE", certificate(bytes)),
        ] {
            read(seen).confirm(Key::from_pem(algorithm, armored(label, bytes).as_bytes()));
        }
        // A key that is good alone is good in a certificate too.
        if let Seen::Key(material) = spki(bytes) {
            let certificate = around(bytes);
            read(Seen::Key(material)).confirm(Key::from_der(algorithm, &certificate));
        }
    }
}

/// The bytes as PEM text. A reported fault of its format must be there.
fn text(algorithm: Algorithm, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let starts: Vec<_> = text.match_indices("-----BEGIN ").collect();
    let error = match Key::from_pem(algorithm, bytes) {
        Ok(key) => {
            well_formed(&key);
            assert_eq!(starts.len(), 1, "{text}");
            let der = plain(&text).map(|(_, der)| der);
            if let Some(Seen::Key(material) | Seen::Within(material)) =
                der.map(|der| any_form(&der))
            {
                material.confirm(&key);
            }
            return;
        }
        Err(error) => error,
    };
    unusable(&error);
    let ConfigError::Key { reason: error } = error else {
        panic!("{error}");
    };
    let is_true = match &error {
        KeyError::Format { expected: what } if what.contains("the two characters `\\n`") => {
            text.contains("\\n")
        }
        KeyError::Format { expected: what } if what.contains("it has no block") => {
            starts.is_empty()
        }
        KeyError::Format { expected: what } if what.contains("its block is broken") => {
            !starts.is_empty() && plain(&text).is_none()
        }
        KeyError::Format { expected: what } if what.contains("exactly one block") => {
            starts.len() > 1
        }
        KeyError::Format {
            expected: "PEM text",
        } => plain(&text).is_none(),
        KeyError::Private => text.contains("PRIVATE KEY-----"),
        KeyError::Unsupported {
            kind: "PEM block",
            input: label,
        } => {
            text.contains(&format!("-----BEGIN {label}-----")) && !LABELS.contains(&label.as_str())
        }
        _ => {
            assert!(!starts.is_empty(), "{error}: {text}");
            return if let Some((label, der)) = plain(&text) {
                let read = match label {
                    "PUBLIC KEY" => spki(&der),
                    "RSA PUBLIC KEY" => pkcs1(&der),
                    _ => certificate(&der),
                };
                Verdict { algorithm, read }.confirm(Err(ConfigError::Key { reason: error }));
            };
        }
    };
    assert!(is_true, "{error}: {text}");
}

/// A text with exactly one block, as every tool writes it (RFC 7468, section 3), with one of the labels.
fn plain(text: &str) -> Option<(&'static str, Vec<u8>)> {
    let (label, rest) = LABELS.iter().find_map(|label| {
        let rest = text.strip_prefix(&format!("-----BEGIN {label}-----\n"))?;
        Some((*label, rest))
    })?;
    let inner = rest.strip_suffix(&format!("-----END {label}-----\n"))?;
    let mut lines: Vec<_> = inner.strip_suffix('\n')?.split('\n').collect();
    let last = lines.pop()?;
    let is_full = lines.iter().all(|line| line.len() == 64);
    let der = STANDARD.decode(inner.replace('\n', "")).ok()?;
    (is_full && (1..=64).contains(&last.len())).then_some((label, der))
}

fn armored(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in STANDARD.encode(der).chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    format!("{text}\n-----END {label}-----\n")
}

/// The result of reading DER.
#[derive(Debug)]
enum Seen {
    Key(Material),
    /// A key of a type or curve that is not supported.
    Other,
    /// A key in a certificate, of which the rest is not checked.
    Within(Material),
    /// No key in this format.
    Broken,
    /// Unusual: two readers may disagree.
    Open,
}

#[derive(Debug)]
struct Verdict {
    algorithm: Algorithm,
    read: Seen,
}

impl Verdict {
    fn confirm(&self, read: Result<Key, ConfigError>) {
        match read {
            Ok(key) => {
                well_formed(&key);
                assert_eq!(key.algorithms(), [self.algorithm]);
                match &self.read {
                    Seen::Key(material) | Seen::Within(material) => {
                        assert!(material.faults().is_empty(), "{self:?}");
                        assert!(material.algorithms().contains(&self.algorithm.as_str()));
                        material.confirm(&key);
                    }
                    Seen::Open => {}
                    Seen::Broken | Seen::Other => panic!("{key:?}: {self:?}"),
                }
            }
            Err(error) => {
                unusable(&error);
                let ConfigError::Key { reason: error } = error else {
                    panic!("{error}");
                };
                let is_true = match &self.read {
                    Seen::Key(material) => {
                        let mut faults = material.faults();
                        if !material.algorithms().contains(&self.algorithm.as_str()) {
                            faults.push(Fault::Algorithm);
                        }
                        faults.contains(&Fault::from(&error))
                    }
                    Seen::Other => matches!(error, KeyError::Unsupported { .. }),
                    Seen::Broken => matches!(error, KeyError::Format { .. }),
                    Seen::Open | Seen::Within(_) => true,
                };
                assert!(is_true, "{error}: {self:?}");
            }
        }
    }
}

/// A key in any of the formats.
fn any_form(der: &[u8]) -> Seen {
    for read in [spki, pkcs1] {
        match read(der) {
            Seen::Broken => {}
            seen => return seen,
        }
    }
    certificate(der)
}

/// `SubjectPublicKeyInfo` (RFC 5280, section 4.1).
fn spki(der: &[u8]) -> Seen {
    let read = || {
        let mut outer = Items(only(der, SEQUENCE)?);
        let mut algorithm = Items(outer.next(SEQUENCE)?);
        let identifier = algorithm.next(IDENTIFIER)?;
        let parameters = algorithm.0;
        let (unused, key) = outer.next(BIT_STRING)?.split_first()?;
        outer
            .0
            .is_empty()
            .then_some((identifier, parameters, *unused, key))
    };
    let Some((identifier, parameters, unused, key)) = read() else {
        return Seen::Broken;
    };
    // The usual parameters: none, NULL, or one identifier.
    let named = only(parameters, IDENTIFIER);
    let is_usual =
        parameters.is_empty() || parameters == [5, 0] || named.is_some_and(is_identifier);
    if unused != 0 || !is_usual || !is_identifier(identifier) {
        return Seen::Open;
    }
    match (identifier, named) {
        (RSA, _) => pkcs1(key),
        (EDWARDS, _) => Seen::Key(Material::Edwards(key.to_vec())),
        (EC, Some(curve)) => {
            let known = CURVES.iter().find(|(identifier, _)| *identifier == curve);
            let curve = known.and_then(|(_, name)| Curve::of(name));
            match (curve, key) {
                (None, _) => Seen::Other,
                (Some(curve), [4, point @ ..]) if point.len() == 2 * curve.length => {
                    let (x, y) = point.split_at(curve.length);
                    Seen::Key(Material::Ec(curve, x.to_vec(), y.to_vec()))
                }
                (Some(_), [4, ..]) => Seen::Open,
                (Some(_), _) => Seen::Broken,
            }
        }
        _ => Seen::Other,
    }
}

/// `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn pkcs1(der: &[u8]) -> Seen {
    let read = || {
        let mut numbers = Items(only(der, SEQUENCE)?);
        let (modulus, exponent) = (numbers.positive()?, numbers.positive()?);
        numbers.0.is_empty().then_some((modulus, exponent))
    };
    match read() {
        Some((modulus, exponent)) => Seen::Key(Material::Rsa(modulus.to_vec(), exponent.to_vec())),
        None => Seen::Broken,
    }
}

/// The key of a certificate (RFC 5280, section 4.1).
fn certificate(der: &[u8]) -> Seen {
    let read = || {
        let mut outer = Items(only(der, SEQUENCE)?);
        let mut inner = Items(outer.next(SEQUENCE)?);
        let mut at = 0;
        while at < 5 {
            // An optional version, then serial number, algorithm, issuer, validity and subject.
            let tag = *inner.0.first()?;
            inner.next(tag)?;
            at += usize::from(tag != 0xA0);
        }
        let info = inner.0;
        inner.next(SEQUENCE)?;
        let rest = inner.0.len();
        info.get(..info.len() - rest)
    };
    match read().map(spki) {
        Some(Seen::Key(material)) => Seen::Within(material),
        Some(_) => Seen::Open,
        None => Seen::Broken,
    }
}

/// A certificate with this `SubjectPublicKeyInfo`.
fn around(spki: &[u8]) -> Vec<u8> {
    let algorithm = tagged(SEQUENCE, &tagged(IDENTIFIER, EDWARDS));
    let version = tagged(0xA0, &[2, 1, 2]);
    let serial = [2, 1, 1];
    let name = tagged(SEQUENCE, &[]);
    let validity = tagged(
        SEQUENCE,
        &[
            tagged(UTC_TIME, b"250101000000Z"),
            tagged(UTC_TIME, b"350101000000Z"),
        ]
        .concat(),
    );
    let inner = [
        &*version,
        &serial,
        &*algorithm,
        &*name,
        &*validity,
        &*name,
        spki,
    ]
    .concat();
    let signature = tagged(BIT_STRING, &[0, 1]);
    tagged(
        SEQUENCE,
        &[tagged(SEQUENCE, &inner), algorithm, signature].concat(),
    )
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length: Vec<_> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut bytes = vec![tag];
    if content.len() < 0x80 {
        bytes.extend(u8::try_from(content.len()));
    } else {
        bytes.extend(u8::try_from(length.len() + 0x80));
        bytes.extend(length);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// The remaining items of a DER value.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    /// The content of the next item, if it has this tag and its length is in the shortest form.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match usize::from(*first) {
            short @ 0..=0x7F => (short, rest),
            long @ 0x81..=0x84 => {
                let (digits, rest) = rest.split_at_checked(long - 0x80)?;
                let length = digits
                    .iter()
                    .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                let is_shortest = length >= 0x80 && digits.first() != Some(&0);
                (is_shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(content)
    }

    /// A number that is not negative, in its shortest form.
    fn positive(&mut self) -> Option<&'a [u8]> {
        let number = self.next(INTEGER)?;
        let is_shortest = match number {
            [] => false,
            [0, second, ..] => *second >= 0x80,
            [first, ..] => *first < 0x80,
        };
        (is_shortest || number == [0]).then_some(number)
    }
}

/// The content of a value, if nothing follows it.
fn only(der: &[u8], tag: u8) -> Option<&[u8]> {
    let mut items = Items(der);
    let content = items.next(tag)?;
    items.0.is_empty().then_some(content)
}

/// An object identifier that every reader can read: a known one, or one of a few small numbers.
fn is_identifier(content: &[u8]) -> bool {
    let is_known = [RSA, EC, EDWARDS].contains(&content)
        || CURVES.iter().any(|(identifier, _)| *identifier == content);
    let is_small = |number: &u8| *number < 0x80;
    is_known
        || matches!(content, [0..=0x77, rest @ ..] if (1..20).contains(&rest.len()) && rest.iter().all(is_small))
}

const LABELS: [&str; 3] = ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"];
const INTEGER: u8 = 2;
const BIT_STRING: u8 = 3;
const IDENTIFIER: u8 = 6;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1];
const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 2, 1];
const EDWARDS: &[u8] = &[0x2B, 0x65, 0x70];
const CURVES: [(&[u8], &str); 3] = [
    (&[0x2A, 0x86, 0x48, 0xCE, 0x3D, 3, 1, 7], "P-256"),
    (&[0x2B, 0x81, 4, 0, 0x22], "P-384"),
    (&[0x2B, 0x81, 4, 0, 0x23], "P-521"),
];
