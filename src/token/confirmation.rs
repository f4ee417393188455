//! [`Confirmation`]: the `cnf` claim.

use std::fmt;

use base64_simd::URL_SAFE_NO_PAD;

use crate::json::Raw;
use crate::token::names::Collector;
use crate::token::span::Span;

/// The `cnf` claim: what a token is bound to (RFC 7800).
///
/// A token with the claim is always bound, even if the claim cannot be read. Several bindings in
/// one token must all hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// `jkt`: the thumbprint of the key that signs DPoP proofs (RFC 9449, section 6.1). Empty if
    /// absent.
    key: Span,
    /// `x5t#S256`: the thumbprint of a client certificate (RFC 8705, section 3.1). Empty if absent.
    certificate: Span,
    /// The token is bound in another way, or the claim cannot be read.
    is_other: bool,
}

impl Confirmation {
    pub(super) fn read(value: Raw<'_>, texts: &mut Collector<'_>) -> Self {
        let mut found = Self::default();
        let is_object = value.each_member(|name, value| {
            let thumbprint = match &*name {
                "jkt" => &mut found.key,
                "x5t#S256" => &mut found.certificate,
                name => {
                    found.is_other |= OTHER_METHODS.contains(&name);
                    return;
                }
            };
            match read_thumbprint(value, texts) {
                Some(read) => *thumbprint = read,
                None => found.is_other = true,
            }
        });
        // A claim that names no method must not count as no binding.
        found.is_other |=
            is_object.is_none() || (found.key.is_empty() && found.certificate.is_empty());
        found
    }

    /// Whether the token is bound to the key that signs DPoP proofs.
    pub(crate) fn names_a_proof_key(self) -> bool {
        !self.key.is_empty()
    }

    /// The thumbprint of the client certificate, if the token is bound to a certificate and to nothing
    /// else. `buffer` is that of the token.
    pub(super) fn certificate_alone(self, buffer: &str) -> Option<[u8; 32]> {
        if self.is_other || !self.key.is_empty() {
            return None;
        }
        let text = self.certificate.present()?.text(buffer);
        let digest = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        digest.try_into().ok()
    }

    /// Whether two tokens are bound to the same things. Each claim is passed with the buffer of its
    /// token.
    pub(super) fn is_same(one: (Self, &str), other: (Self, &str)) -> bool {
        let parts = |(binding, buffer): (Self, &'_ str)| {
            let texts = [binding.key, binding.certificate].map(|span| span.text(buffer).to_owned());
            (texts, binding.is_other)
        };
        parts(one) == parts(other)
    }
}

/// Names what the token is bound to.
impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (!self.key.is_empty()).then_some("the key of a DPoP proof (`cnf.jkt`)"),
            (!self.certificate.is_empty()).then_some("a client certificate (`cnf.x5t#S256`)"),
            self.is_other
                .then_some("something that is not known here (`cnf`)"),
        ];
        let parts = parts.into_iter().flatten().enumerate();
        for (at, part) in parts {
            f.write_str(if at == 0 { "" } else { " and " })?;
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// Reads the base64url form of a SHA-256 digest.
fn read_thumbprint(value: Raw<'_>, texts: &mut Collector<'_>) -> Option<Span> {
    let text = value.string()?;
    let is_digest = text.len() == DIGEST && URL_SAFE_NO_PAD.check(text.as_bytes()).is_ok();
    is_digest.then(|| texts.string(value)).flatten()
}

/// Characters of 32 bytes in base64url without padding.
const DIGEST: usize = 43;
/// The other registered methods (RFC 7800, section 3; RFC 9203, section 3.2). Any other member must
/// be ignored (RFC 7800, section 3.1).
const OTHER_METHODS: [&str; 5] = ["jku", "jwe", "jwk", "kid", "osc"];

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST_A: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn read(claim: &str) -> String {
        let claim = claim.replace("DIGEST", DIGEST_A);
        let mut texts = Collector::new(&claim);
        let value = Raw::of_accepted(&claim, 0..claim.len());
        Confirmation::read(value, &mut texts).to_string()
    }

    #[test]
    fn a_binding_is_what_the_claim_says() {
        const KEY: &str = "the key of a DPoP proof (`cnf.jkt`)";
        const CERTIFICATE: &str = "a client certificate (`cnf.x5t#S256`)";
        for (claim, expected) in [
            (r#"{"jkt":"DIGEST"}"#, KEY.to_owned()),
            (
                r#"{"\u006akt":"\u0030ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
                KEY.to_owned(),
            ),
            (r#"{"x5t#S256":"DIGEST"}"#, CERTIFICATE.to_owned()),
            (
                r#"{"x5t#S256":"DIGEST","jkt":"DIGEST"}"#,
                format!("{KEY} and {CERTIFICATE}"),
            ),
            (r#"{"new":[1],"jkt":"DIGEST","":null}"#, KEY.to_owned()),
        ] {
            assert_eq!(read(claim), expected, "{claim}");
        }
    }

    #[test]
    fn a_binding_that_cannot_be_read_counts_as_an_unknown_binding() {
        const OTHER: &str = "something that is not known here (`cnf`)";
        let mut claims: Vec<_> = [
            "null",
            "true",
            "\"x\"",
            "[]",
            "{}",
            r#"[{"jkt":"DIGEST"}]"#,
            r#"{"JKT":"DIGEST"}"#,
            r#"{"jkt":null}"#,
            r#"{"jkt":5}"#,
            r#"{"jkt":["DIGEST"]}"#,
            r#"{"jkt":""}"#,
            r#"{"jkt":"DIGEST="}"#,
            r#"{"jkt":"DIGESTA"}"#,
            // The unused bits of the last character are not zero.
            r#"{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"}"#,
            r#"{"jkt":"0ZcOCORZNYy+DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}"#,
            r#"{"x5t#S256":"d1970e08e459358cbe0d6a6aab7d2367"}"#,
        ]
        .map(str::to_owned)
        .into();
        claims.extend(OTHER_METHODS.map(|name| format!(r#"{{"{name}":"DIGEST"}}"#)));
        for claim in claims {
            assert_eq!(read(&claim), OTHER, "{claim}");
        }
        // A readable binding does not compensate for an unreadable one.
        for claim in [
            r#"{"jkt":"DIGEST","x5t#S256":"x"}"#,
            r#"{"jwk":{},"jkt":"DIGEST"}"#,
        ] {
            let expected = format!("the key of a DPoP proof (`cnf.jkt`) and {OTHER}");
            assert_eq!(read(claim), expected, "{claim}");
        }
    }
}
