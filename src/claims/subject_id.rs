//! [`SubjectId`]: the identity of a subject across issuers.

use std::fmt;

/// The subject together with its issuer, which identifies a subject across issuers.
///
/// The `sub` claim alone does not identify it, because two issuers may use the same `sub` for
/// different people ([RFC 7519, section
/// 4.1.2](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.2)).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubjectId {
    issuer: Box<str>,
    subject: Box<str>,
}

impl SubjectId {
    /// Creates the id of this subject of this issuer, for code that has no token of the subject. The
    /// id can be used to [revoke](crate::revocation::Denylist::revoke_subject) all tokens of the
    /// subject.
    #[must_use]
    pub fn new(issuer: &str, subject: &str) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
        }
    }

    /// The issuer of the subject: `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The subject: `sub`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// Prints the issuer, and nothing about the person.
impl fmt::Debug for SubjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubjectId")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
