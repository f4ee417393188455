//! [`Document`]: a signed text of any size, such as a status list, whose payload is read by its owner.

use crate::error::rejection::Rejection;
use crate::keys::algorithm::Algorithm;
use crate::keys::contents::DeadCandidate;
use crate::keys::set::Candidates;
use crate::token::compact::{Compact, Signed, Unproven};
use crate::token::header::TokenType;
use crate::token::known_headers::KnownHeaders;

/// A signed document whose signature has not been checked.
pub(crate) struct Document<'t>(Compact<'t>);

/// The type and the payload of a signed document.
pub(crate) struct AttestedDocument {
    pub(crate) typ: TokenType,
    pub(crate) payload: Vec<u8>,
}

impl<'t> Document<'t> {
    /// Parses the three parts and the header. The caller bounds the size.
    pub(crate) fn parse(text: &'t [u8]) -> Result<Self, Rejection> {
        Compact::parse_any_size(text, &[]).map(Self)
    }
}

impl Signed for Document<'_> {
    type Attested = AttestedDocument;

    fn compact(&self) -> &Compact<'_> {
        &self.0
    }

    fn verify<'d>(
        self,
        candidates: &Candidates<'_>,
        dead: impl FnOnce(Option<&str>) -> Vec<DeadCandidate<'d>>,
        allowed: Option<&[Algorithm]>,
        headers: &KnownHeaders,
    ) -> Result<AttestedDocument, Unproven> {
        self.0.signer_among(candidates, dead, allowed, headers)?;
        let (typ, payload) = self.0.into_type_and_payload();
        Ok(AttestedDocument { typ, payload })
    }
}
