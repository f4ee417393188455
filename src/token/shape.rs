//! Which tokens are JWTs, by their shape, and which are opaque.

use base64_simd::URL_SAFE_NO_PAD;
use memchr::{memchr, memchr_iter};

use crate::json;
use crate::token::known_headers::{self, KnownHeader};

/// Whether a token may be a JWT. `false` is certain, and costs little: most opaque tokens differ in their first
/// character, which is that of `{` or of white space in base64url.
pub(crate) fn may_be_jwt(token: &[u8]) -> bool {
    matches!(token, [b'e' | b'I' | b'C' | b'D', ..]) && memchr(b'.', token).is_some()
}

/// Whether a token has the shape of a JWT: three parts, of which the first is a JSON object with `alg`.
///
/// In case of doubt, a token is a JWT. A damaged JWT is rejected here, and is not sent to an introspection
/// endpoint, which may belong to another issuer.
pub(crate) fn is_jwt(token: &[u8], known: &[KnownHeader]) -> bool {
    let mut dots = memchr_iter(b'.', token);
    let (Some(end), Some(_), None) = (dots.next(), dots.next(), dots.next()) else {
        return false;
    };
    let segment = token.get(..end).unwrap_or_default();
    if known_headers::find(known, segment).is_some() {
        return true;
    }
    match URL_SAFE_NO_PAD.decode_to_vec(segment) {
        Ok(header) => is_jose_header(&header),
        // `{` in base64url, followed by a quotation mark or white space. A few stray characters do not
        // make a JWT opaque.
        Err(_) => segment.starts_with(b"ey") || segment.starts_with(b"ew"),
    }
}

/// Whether this is a JSON object with `alg`, or the beginning of a damaged one.
fn is_jose_header(header: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(header) else {
        return header.trim_ascii_start().starts_with(b"{");
    };
    let mut has_algorithm = false;
    let read = json::read_object(text, json::MAX_MEMBERS, |name, _| {
        has_algorithm |= name == "alg";
    });
    has_algorithm || (read.is_err() && text.trim_ascii_start().starts_with('{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of(header: &str, rest: &str) -> bool {
        let token = format!("{}{rest}", URL_SAFE_NO_PAD.encode_to_string(header));
        let is_jwt = is_jwt(token.as_bytes(), &[]);
        assert!(!is_jwt || may_be_jwt(token.as_bytes()));
        is_jwt
    }

    #[test]
    fn a_jwt_has_three_parts_and_a_header_with_alg() {
        for header in [
            r#"{"alg":"RS256"}"#,
            r#" { "typ":"JWT", "alg":null}"#,
            r#"{"\u0061lg":"none"}"#,
            // Damaged JWTs, which must not be sent to an endpoint.
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256""#,
            r#"{"typ""#,
        ] {
            assert!(shape_of(header, ".e30.c2ln"), "{header}");
            assert!(shape_of(header, ".e30."), "{header}");
            assert!(shape_of(header, ".e30.not base64url"), "{header}");
            // The twins: another number of parts.
            for rest in ["", ".e30", ".e30.a.b", ".a.b.c.d"] {
                assert!(!shape_of(header, rest), "{header} {rest}");
            }
        }
        assert!(is_jwt(b"eyJhbGciOiJSUzI1NiJ9=.e30.c2ln", &[]));
        assert!(is_jwt(b"eyJhbGciOiJSUzI1NiJ9 .e30.c2ln", &[]));
        // The twins: white space in the header.
        for header in [
            "{ \"alg\":1}",
            "{\n\"alg\":1}",
            "{\r\n \"alg\":1}",
            "{\t\"alg\":1}",
        ] {
            assert!(shape_of(header, "=.e30.c2ln"), "{header}");
        }
        // White space of every kind before a header, even before a damaged header, and no other first
        // byte.
        for first in 0..=u8::MAX {
            for rest in [&br#"{"alg":1}"#[..], br#"{"alg"#] {
                let header = [&[first][..], rest].concat();
                let token = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode_to_string(header));
                let is_jwt = is_jwt(token.as_bytes(), &[]);
                assert!(!is_jwt || may_be_jwt(token.as_bytes()), "{first}");
            }
        }
        assert!(!may_be_jwt(b"no.header.c2ln") && !may_be_jwt(b"e30"));
    }

    #[test]
    fn everything_else_is_opaque() {
        for header in ["", "[]", "null", r#""alg""#, r#"{"typ":"JWT"}"#, "{}", "v4"] {
            assert!(!shape_of(header, ".e30.c2ln"), "{header}");
        }
        for token in [
            "",
            "2YotnFZFEjr1zCsicMWpAA",
            "a.b.c",
            "v4.local.c2ln",
            "..",
            ". .",
            "a b.c.d",
        ] {
            assert!(!is_jwt(token.as_bytes(), &[]), "{token}");
        }
    }
}
