//! Thumbprints, which identify a key under every id.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64_simd::URL_SAFE_NO_PAD;

use crate::keys::material::Material;

/// The thumbprint of a public key (RFC 7638). For a secret it is a MAC of a fixed label, which does not
/// disclose the secret.
pub(super) fn thumbprint(material: &Material) -> String {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
    // The members in alphabetical order, without spaces (RFC 7638, section 3).
    let members = match material {
        Material::Secret(secret) => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            return encode(hmac::sign(&key, SECRET_LABEL).as_ref());
        }
        Material::Rsa { modulus, exponent } => {
            let (n, e) = (encode(modulus), encode(exponent));
            format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
        }
        Material::Ec { curve, point } => {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates
                .split_at_checked(curve.length())
                .unwrap_or_default();
            let (crv, x, y) = (curve.name(), encode(x), encode(y));
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
        }
        Material::Ed25519 { point } => {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(point))
        }
    };
    encode(digest(&SHA256, members.as_bytes()).as_ref())
}

const SECRET_LABEL: &[u8] = b"tower-jwt-auth key id";
