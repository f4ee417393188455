//! Private keys in PEM.

use base64_simd::STANDARD;
use zeroize::Zeroizing;

use crate::error::config::KeyError;

/// The one private key in a PEM text (RFC 7468).
///
/// The crate `pem` is not used because it leaves copies of the key in memory.
pub(super) fn der_of(pem: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
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
            "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => return Err(format(PUBLIC)),
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

/// What is expected in place of a public key.
const PUBLIC: &str = "a private key, but a public key or a certificate";
/// What is expected in place of a private key that is encrypted.
const ENCRYPTED: &str = "a private key without a passphrase: it is encrypted";
