//! Thumbprints, which identify a key under every id.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64_simd::URL_SAFE_NO_PAD;

use crate::keys::material::Material;

/// The thumbprint of a public key (RFC 7638). For a secret it is a MAC of a fixed label, which does not
/// disclose the secret.
pub(super) fn thumbprint(material: &Material) -> String {
    if let Material::Secret(secret) = material {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        return encode(hmac::sign(&key, SECRET_LABEL).as_ref());
    }
    let members = public_members(material).unwrap_or_default();
    encode(digest(&SHA256, members.as_bytes()).as_ref())
}

/// The required members of a public key as JSON: in alphabetical order, without spaces (RFC 7638,
/// section 3). `None` for a secret.
pub(super) fn public_members(material: &Material) -> Option<String> {
    Some(match material {
        Material::Secret(_) => return None,
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
    })
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

const SECRET_LABEL: &[u8] = b"tower-jwt-auth key id";
