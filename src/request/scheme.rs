//! [`Scheme`]: the authentication scheme of credentials.

/// The authentication scheme of credentials (RFC 9110, section 11.1). Case is ignored.
///
/// A token in another place, such as a cookie, has no scheme in the request. It is a bearer token:
/// whoever has it can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// RFC 6750, section 2.1.
    Bearer,
    /// RFC 9449, section 7.1.
    Dpop,
}

impl Scheme {
    /// Splits credentials into the scheme and the text after its spaces. `None` if the scheme is
    /// not one of these.
    pub(super) fn split(credentials: &[u8]) -> Option<(Self, &[u8])> {
        [Self::Bearer, Self::Dpop]
            .into_iter()
            .find_map(|scheme| Some((scheme, scheme.strip_from(credentials)?)))
    }

    /// Whether tokens of this scheme are read. Proofs are not checked yet, so DPoP is treated like
    /// any scheme that is not supported (RFC 6750, section 3.1).
    pub(super) fn is_accepted(self) -> bool {
        match self {
            Self::Bearer => true,
            Self::Dpop => false,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }

    fn strip_from(self, credentials: &[u8]) -> Option<&[u8]> {
        let name = self.as_str().as_bytes();
        let (scheme, rest) = credentials.split_at_checked(name.len())?;
        if !scheme.eq_ignore_ascii_case(name) || !matches!(rest, [] | [b' ', ..]) {
            return None;
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        rest.get(spaces..)
    }
}
