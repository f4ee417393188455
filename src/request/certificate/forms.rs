//! The forms in which proxies forward a certificate.

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::STANDARD;

use crate::bytes;
use crate::request::fields::{parts, value_of};
use crate::request::places::decode_percent;

/// The form of a header field with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Base64Der,
    EscapedPem,
    Rfc9440,
    Xfcc,
}

type Thumbprint = [u8; 32];

impl Form {
    /// The thumbprint of the certificate in the value of a field, or what is wrong with the value.
    pub(super) fn thumbprint(self, value: &[u8]) -> Result<Thumbprint, &'static str> {
        if value.len() > MAX_FIELD {
            return Err("is too long");
        }
        let value = bytes::trimmed(value);
        match self {
            Self::Base64Der => of_base64(value),
            Self::EscapedPem => of_escaped_pem(value),
            Self::Rfc9440 => match value {
                [b':', base64 @ .., b':'] => of_base64(base64),
                _ => Err("is not base64 text between two colons"),
            },
            Self::Xfcc => of_elements(value),
        }
    }
}

fn of_base64(base64: &[u8]) -> Result<Thumbprint, &'static str> {
    let der = STANDARD.decode_to_vec(base64);
    let der = der.map_err(|_| "is not base64 text")?;
    if !is_one_sequence(&der) {
        return Err("is not the DER of one certificate");
    }
    Ok(thumbprint_of(&der))
}

/// One PEM block (RFC 7468, section 5.1), percent-encoded. A `+` belongs to base64 and is not a
/// space.
fn of_escaped_pem(value: &[u8]) -> Result<Thumbprint, &'static str> {
    let value = std::str::from_utf8(value).map_err(|_| "is not ASCII")?;
    let pem = decode_percent(value).ok_or("is not percent-encoded text")?;
    let base64 = pem
        .trim_ascii()
        .strip_prefix("-----BEGIN CERTIFICATE-----")
        .and_then(|pem| pem.strip_suffix("-----END CERTIFICATE-----"))
        .ok_or("is not the PEM text of a certificate")?;
    if base64.contains('-') {
        return Err("has more than one certificate");
    }
    let base64: Vec<u8> = base64
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    of_base64(&base64)
}

/// The elements that Envoy writes, one for each hop. `Hash` is the SHA-256 digest of the certificate in
/// hexadecimal.
fn of_elements(value: &[u8]) -> Result<Thumbprint, &'static str> {
    let mut elements = parts(value, b',');
    let element = elements.next().unwrap_or_default();
    if elements.next().is_some() {
        return Err("has more than one element");
    }
    let hash = value_of(element, "Hash").map_err(|_| "has a bad element")?;
    let hash = hash.ok_or("has no `Hash`")?;
    let bytes = hash.chunks(2).map(|digits| match digits {
        [high, low] => hex(*high)?.checked_mul(16)?.checked_add(hex(*low)?),
        _ => None,
    });
    let hash: Option<Vec<u8>> = bytes.collect();
    let hash = hash.and_then(|hash| Thumbprint::try_from(hash).ok());
    hash.ok_or("has a `Hash` that is no SHA-256 digest in hexadecimal")
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// The thumbprint of a certificate with these DER bytes (RFC 8705, section 3.1).
pub(super) fn thumbprint_of(der: &[u8]) -> Thumbprint {
    let mut thumbprint = Thumbprint::default();
    // Both have 32 bytes.
    for (to, from) in thumbprint.iter_mut().zip(digest(&SHA256, der).as_ref()) {
        *to = *from;
    }
    thumbprint
}

/// Whether these bytes are one DER sequence, as a certificate is, with nothing after it.
fn is_one_sequence(der: &[u8]) -> bool {
    let (length, content) = match der {
        [0x30, length @ ..=0x7F, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high, low, content @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), content)
        }
        _ => return false,
    };
    length == content.len()
}

/// Maximum length of a field in bytes. A certificate has one or two kilobytes, and a chain a few more.
const MAX_FIELD: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const FORMS: [Form; 4] = [Form::Base64Der, Form::EscapedPem, Form::Rfc9440, Form::Xfcc];

    /// A sequence with this content, in the shortest form of its length.
    fn sequence(content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        let [high, low] = length.to_be_bytes();
        let head = match length {
            ..=0x7F => vec![0x30, low],
            0x80..=0xFF => vec![0x30, 0x81, low],
            _ => vec![0x30, 0x82, high, low],
        };
        [head, content.to_vec()].concat()
    }

    #[test]
    fn one_sequence_is_told_from_more_and_from_less() {
        for length in [0, 1, 127, 128, 255, 256, 3_000] {
            let der = sequence(&vec![7; length]);
            assert!(is_one_sequence(&der), "{length}");
            assert!(!is_one_sequence(&der[..der.len() - 1]), "{length}");
            assert!(!is_one_sequence(&[&der[..], &[0]].concat()), "{length}");
            assert!(!is_one_sequence(&[&der[..], &der[..]].concat()), "{length}");
        }
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x31, 0],
            &[0x30, 0x83, 0, 0, 0],
        ] {
            assert!(!is_one_sequence(der), "{der:?}");
        }
    }

    fn config() -> ProptestConfig {
        ProptestConfig {
            cases: 128,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(8_705),
            ..ProptestConfig::default()
        }
    }

    proptest! {
        #![proptest_config(config())]

        /// A value is one certificate in one form, or it is rejected.
        #[test]
        fn any_value_is_a_certificate_or_is_rejected(value in vec(any::<u8>(), 0..80)) {
            for form in FORMS {
                prop_assert!(form.thumbprint(&value).is_err());
            }
        }

        #[test]
        fn almost_good_values_never_panic(value in "[:%0-9A-Fa-f\",;=+/ \\\\-]{0,40}(Hash=[0-9a-f]{60,66}|-----BEGIN CERTIFICATE-----|%2D)?[:%\",;=A-F-]{0,40}") {
            for form in FORMS {
                let _ = form.thumbprint(value.as_bytes());
            }
        }

        /// The same certificate in each form has the same thumbprint.
        #[test]
        fn each_form_gives_the_thumbprint_of_the_certificate(content in vec(any::<u8>(), 0..600)) {
            let der = sequence(&content);
            let thumbprint = thumbprint_of(&der);
            let base64 = STANDARD.encode_to_string(&der);
            let hash: String = thumbprint.iter().map(|byte| format!("{byte:02X}")).collect();
            let pem = format!("-----BEGIN%20CERTIFICATE-----%0A{base64}%0A-----END%20CERTIFICATE-----");
            for (form, value) in [
                (Form::Base64Der, base64.clone()),
                (Form::EscapedPem, pem),
                (Form::Rfc9440, format!(":{base64}:")),
                (Form::Xfcc, format!("By=a;Hash={hash}")),
            ] {
                prop_assert_eq!(form.thumbprint(value.as_bytes()), Ok(thumbprint));
            }
        }
    }
}
