//! [`Header`]: the header parameters that have a meaning here (RFC 7515, section 4).

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::json::{self, Raw};
use crate::keys::algorithm::Algorithm;
use crate::token::malformed::{malformed, shape};
use crate::token::registered::Registered;

/// A header that has been checked.
#[derive(Clone)]
pub(crate) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    typ: TokenType,
}

/// The `typ` header parameter (RFC 7515, section 4.1.9; RFC 9068, section 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenType {
    Absent,
    AccessToken,
    Jwt,
    Other(String),
}

impl Header {
    pub(crate) fn typ(&self) -> &TokenType {
        &self.typ
    }

    pub(super) fn read(text: &str) -> Result<(Self, Replicated), Rejection> {
        let mut found = Parameters::default();
        json::read_object(text, json::MAX_MEMBERS, |name, value| {
            found.take(&name, value)
        })
        .map_err(|error| malformed("header", error))?;
        if let Some(name) = found.invalid {
            return Err(shape(format!(
                "header: parameter `{name}` has the wrong JSON type"
            )));
        }
        if found.critical {
            return Err(Rejection::of(RejectionKind::UnsupportedCritical));
        }
        if found.unencoded {
            return Err(shape("header: `b64` is not for JWTs"));
        }
        if found.nested {
            return Err(Rejection::because(
                RejectionKind::WrongType,
                "header: `cty` says that the payload is another JWT",
            ));
        }
        let name = found
            .algorithm
            .ok_or_else(|| shape("header: `alg` is missing"))?;
        let algorithm = Algorithm::from_name(&name).ok_or_else(|| {
            Rejection::mismatch(
                RejectionKind::AlgorithmNotAllowed,
                "algorithm",
                "a supported signature algorithm",
                &name,
            )
        })?;
        let typ = found
            .typ
            .map_or(TokenType::Absent, |typ| TokenType::of(&typ));
        Ok((
            Self {
                algorithm,
                // An empty id names no key, as in a JSON Web Key.
                key_id: found.key_id.filter(|id| !id.is_empty()),
                typ,
            },
            found.replicated,
        ))
    }
}

/// The header parameters that this crate interprets, before they are checked.
#[derive(Default)]
struct Parameters {
    algorithm: Option<String>,
    key_id: Option<String>,
    typ: Option<String>,
    critical: bool,
    unencoded: bool,
    nested: bool,
    replicated: Replicated,
    invalid: Option<&'static str>,
}

impl Parameters {
    fn take(&mut self, name: &str, value: Raw<'_>) {
        let string = || value.string().map(String::from);
        let (name, slot) = match name {
            "alg" => ("alg", &mut self.algorithm),
            "kid" => ("kid", &mut self.key_id),
            "typ" => ("typ", &mut self.typ),
            "iss" => ("iss", &mut self.replicated.issuer),
            "sub" => ("sub", &mut self.replicated.subject),
            "aud" => {
                match one_or_more(value) {
                    Some(audience) => self.replicated.audience = Some(audience),
                    None => self.invalid = Some("aud"),
                }
                return;
            }
            "cty" => {
                match string() {
                    Some(cty) => self.nested = is_same_media_type(&cty, "jwt"),
                    None => self.invalid = Some("cty"),
                }
                return;
            }
            "b64" => return self.unencoded = value.text() != "true",
            // No extension is supported, so the value does not matter.
            "crit" => return self.critical = true,
            // `jku`, `jwk`, `x5u`, `x5c` and all others are ignored. They must never choose a key.
            _ => return,
        };
        *slot = string();
        if slot.is_none() {
            self.invalid = Some(name);
        }
    }
}

/// Claims that are repeated in the header (RFC 7519, section 5.3).
#[derive(Default)]
pub(super) struct Replicated {
    issuer: Option<String>,
    subject: Option<String>,
    audience: Option<Vec<String>>,
}

impl Replicated {
    pub(super) fn is_empty(&self) -> bool {
        self.issuer.is_none() && self.subject.is_none() && self.audience.is_none()
    }

    pub(super) fn check_equal(&self, claims: &Registered) -> Result<(), Rejection> {
        let differs = |name: &str| {
            Rejection::because(
                RejectionKind::InvalidClaim,
                format!("`{name}` in the header is not that of the claims"),
            )
        };
        if self.issuer.is_some() && self.issuer.as_deref() != claims.issuer() {
            return Err(differs("iss"));
        }
        // An empty subject counts as absent, as in the claims.
        let subject = self
            .subject
            .as_deref()
            .filter(|subject| !subject.is_empty());
        if self.subject.is_some() && subject != claims.subject() {
            return Err(differs("sub"));
        }
        // An empty list is also a value. It differs from an absent `aud`.
        if self
            .audience
            .as_ref()
            .is_some_and(|audience| !claims.has_audience() || !claims.audience().eq(audience))
        {
            return Err(differs("aud"));
        }
        Ok(())
    }
}

impl TokenType {
    fn of(typ: &str) -> Self {
        if is_same_media_type(typ, "jwt") {
            Self::Jwt
        } else if is_same_media_type(typ, "at+jwt") {
            Self::AccessToken
        } else {
            Self::Other(typ.to_owned())
        }
    }
}

fn one_or_more(value: Raw<'_>) -> Option<Vec<String>> {
    match value.string() {
        Some(one) => Some(vec![one.into_owned()]),
        None => value
            .items()?
            .into_iter()
            .map(|item| item.string().map(String::from))
            .collect(),
    }
}

/// Whether two values of `typ` or `cty` are the same media type. Case is ignored, and the prefix
/// `application/` is optional (RFC 7515, sections 4.1.9 and 4.1.10).
pub(crate) fn is_same_media_type(one: &str, other: &str) -> bool {
    without_prefix(one).eq_ignore_ascii_case(without_prefix(other))
}

fn without_prefix(value: &str) -> &str {
    match value.split_once('/') {
        Some((kind, bare)) if kind.eq_ignore_ascii_case("application") && !bare.contains('/') => {
            bare
        }
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_ignore_case_and_the_application_prefix() {
        for typ in [
            "at+jwt",
            "AT+JWT",
            "at+JWT",
            "application/at+jwt",
            "Application/AT+jwt",
        ] {
            assert_eq!(TokenType::of(typ), TokenType::AccessToken, "{typ}");
        }
        for typ in [
            "text/at+jwt",
            "at+jwt;x=1",
            "application/application/at+jwt",
            " at+jwt",
            "",
        ] {
            assert_eq!(TokenType::of(typ), TokenType::Other(typ.into()), "{typ}");
        }
    }
}
