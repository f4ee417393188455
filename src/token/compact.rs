//! The compact form, the header, and the signature (RFC 7515).
//!
//! An [`Unverified`] token shows its claims only for rejecting it early. Its [`verify`](Signed::verify)
//! is the only function that returns an [`Attested`] token.

use std::borrow::Cow;

use aws_lc_rs::digest;
use base64_simd::URL_SAFE_NO_PAD;
use memchr::{memchr, memrchr};

use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::{Excerpt, Rejection};
use crate::keys::algorithm::{Algorithm, AnyAlgorithm};
use crate::keys::backend::VerifyingKey;
use crate::keys::contents::DeadCandidate;
use crate::keys::key::Key;
use crate::keys::set::{Candidate, Candidates, KeySet};
use crate::token::header::Replicated;
use crate::token::header::{Header, TokenType};
use crate::token::introspected::ActiveAnswer;
use crate::token::known_headers;
use crate::token::known_headers::{KnownHeader, KnownHeaders};
use crate::token::limits::LARGEST;
use crate::token::malformed::{flaw_of_text, shape};
use crate::token::registered::Registered;
use crate::token::span;

/// A well-formed token whose signature has not been checked.
pub(crate) struct Unverified<'t> {
    signed: Compact<'t>,
    claims: Registered,
}

/// The compact form of a JWS with a valid header and any payload.
pub(crate) struct Compact<'t> {
    header: Cow<'t, Header>,
    replicated: Option<Box<Replicated>>,
    payload: Vec<u8>,
    signing_input: &'t [u8],
    /// The encoded header.
    segment: &'t [u8],
    signature: Vec<u8>,
}

/// A signed text whose signature has not been checked.
pub(crate) trait Signed {
    /// The same text, after its signature was verified.
    type Attested;

    fn compact(&self) -> &Compact<'_>;

    /// Verifies the signature with the candidates, using only the `allowed` algorithms. If it
    /// verifies, the header is remembered. If it verifies only with a `dead` key, no new key is
    /// looked up for it.
    fn verify<'d>(
        self,
        candidates: &Candidates<'_>,
        dead: impl FnOnce(Option<&str>) -> Vec<DeadCandidate<'d>>,
        allowed: Option<&[Algorithm]>,
        headers: &KnownHeaders,
    ) -> Result<Self::Attested, Unproven>;
}

/// A token with the proof that its issuer created it. Its claims still have to be validated.
///
/// Only [`verify`](Signed::verify) of an [`Unverified`], and [`Attested::of_answer`], create one.
pub(crate) struct Attested<'t> {
    /// `None` if the token has no header that is read here.
    header: Option<Cow<'t, Header>>,
    claims: Registered,
    /// The id of the token, if its claims contain none.
    identity: Option<String>,
    by: Attestation,
}

/// The proof that an issuer created a token.
#[derive(Clone)]
pub(crate) enum Attestation {
    /// An answer of the introspection endpoint of the issuer.
    Answer,
    /// A signature by this key.
    Signature(Signer),
}

impl Attested<'_> {
    /// A token that is active according to its issuer. Without `iss`, the issuer is the one that
    /// introspected the token. Without `jti`, the identity of the token is the SHA-256 hash of its text,
    /// which is the same on every instance.
    ///
    /// # Errors
    ///
    /// If the answer has no room for the issuer.
    pub(crate) fn of_answer(
        answer: ActiveAnswer,
        issuer: &str,
        token: &[u8],
    ) -> Result<Self, Rejection> {
        let mut claims = answer.into_claims();
        claims.issued_by(issuer)?;
        let identity = claims.id().is_none().then(|| {
            let hash = digest::digest(&digest::SHA256, token);
            URL_SAFE_NO_PAD.encode_to_string(hash.as_ref())
        });
        Ok(Self {
            header: None,
            claims,
            identity,
            by: Attestation::Answer,
        })
    }

    /// `None` for an answer, which has no header.
    pub(crate) fn typ(&self) -> Option<&TokenType> {
        self.header.as_ref().map(|header| header.typ())
    }

    pub(crate) fn claims(&self) -> &Registered {
        &self.claims
    }

    /// The claims with the identity of the token, and the proof.
    pub(crate) fn into_parts(mut self) -> Result<(Registered, Attestation), Rejection> {
        if let (Some(identity), None) = (&self.identity, self.claims.id()) {
            self.claims.identify(identity)?;
        }
        Ok((self.claims, self.by))
    }
}

/// A token whose signature does not verify with any of the keys that were tried.
pub(crate) struct Unproven {
    pub(crate) rejection: Rejection,
    /// Whether the signature may verify with a key that the issuer has published in the meantime.
    pub(crate) may_be_of_a_new_key: bool,
}

/// The key that verifies the signature of a token, and how the key was found.
#[derive(Clone)]
pub(crate) struct Signer {
    key: Key,
    algorithm: Algorithm,
    /// Whether the token names the key.
    is_named: bool,
    /// Whether the key stops verifying at some time although the key set stays the same.
    pub(crate) is_retiring: bool,
}

impl<'t> Unverified<'t> {
    /// Parses the compact form and the claims. A header in `known` is not read again.
    pub(crate) fn parse(token: &'t [u8], known: &'t [KnownHeader]) -> Result<Self, Rejection> {
        let mut signed = Compact::parse(token, known)?;
        let claims = signed.take_claims()?;
        Ok(Self { signed, claims })
    }

    /// The untrusted claims, for choosing the issuer and for rejecting the token early.
    pub(crate) fn untrusted(&self) -> &Registered {
        &self.claims
    }

    pub(crate) fn typ(&self) -> &TokenType {
        self.signed.header.typ()
    }
}

impl<'t> Signed for Unverified<'t> {
    type Attested = Attested<'t>;

    fn compact(&self) -> &Compact<'_> {
        &self.signed
    }

    fn verify<'d>(
        self,
        candidates: &Candidates<'_>,
        dead: impl FnOnce(Option<&str>) -> Vec<DeadCandidate<'d>>,
        allowed: Option<&[Algorithm]>,
        headers: &KnownHeaders,
    ) -> Result<Attested<'t>, Unproven> {
        let signer = self
            .signed
            .signer_among(candidates, dead, allowed, headers)?;
        Ok(Attested {
            header: Some(self.signed.header),
            claims: self.claims,
            identity: None,
            by: Attestation::Signature(signer),
        })
    }
}

impl<'t> Compact<'t> {
    /// Parses the three parts and the header.
    pub(crate) fn parse(token: &'t [u8], known: &'t [KnownHeader]) -> Result<Self, Rejection> {
        if token.len() > LARGEST {
            return Err(shape(format!(
                "token has {} bytes, at most {LARGEST} are read",
                token.len()
            )));
        }
        // The decoder rejects every byte that must not be in a part, so a valid token needs no
        // separate check of its characters. For an invalid token, a flaw of the text is reported
        // before other flaws.
        Self::decode(token, known).map_err(|flaw| flaw_of_text(token).unwrap_or(flaw))
    }

    /// Parses a text whose size the caller has bounded.
    #[cfg(feature = "status-list")]
    pub(super) fn parse_any_size(
        token: &'t [u8],
        known: &'t [KnownHeader],
    ) -> Result<Self, Rejection> {
        Self::decode(token, known).map_err(|flaw| flaw_of_text(token).unwrap_or(flaw))
    }

    #[cfg(feature = "status-list")]
    pub(super) fn into_type_and_payload(self) -> (TokenType, Vec<u8>) {
        (self.header.typ().clone(), self.payload)
    }

    fn decode(token: &'t [u8], known: &'t [KnownHeader]) -> Result<Self, Rejection> {
        let Some((signing_input, signature)) = split(token, memrchr(b'.', token)) else {
            return Err(NOT_THREE_PARTS);
        };
        let Some((segment, payload)) = split(signing_input, memchr(b'.', signing_input)) else {
            return Err(NOT_THREE_PARTS);
        };
        let (header, replicated) = match known_headers::find(known, segment) {
            Some(header) => (Cow::Borrowed(header), None),
            None => {
                let text = text("header", decode_base64("header", segment)?)?;
                let (header, replicated) = Header::read(&text)?;
                let replicated = (!replicated.is_empty()).then(|| Box::new(replicated));
                (Cow::Owned(header), replicated)
            }
        };
        let payload = decode_base64("claims", payload)?;
        if signature.is_empty() {
            return Err(shape("token has no signature"));
        }
        let signature = decode_base64("signature", signature)?;
        Ok(Self {
            header,
            replicated,
            payload,
            signing_input,
            segment,
            signature,
        })
    }

    /// Reads the payload as claims, and leaves it empty.
    pub(crate) fn take_claims(&mut self) -> Result<Registered, Rejection> {
        let payload = text("claims", std::mem::take(&mut self.payload))?;
        if !span::has_room_for(&payload) {
            return Err(shape(
                "claims: too much text with escapes (`\\`) for a token of this size",
            ));
        }
        let claims = Registered::read(payload)?;
        if let Some(replicated) = &self.replicated {
            replicated.check_equal(&claims)?;
        }
        Ok(claims)
    }

    /// Remembers the header, so that it is not read again for the next token. A header that repeats
    /// claims is not remembered, because it differs for each token.
    pub(crate) fn remember_header(&self, headers: &KnownHeaders) {
        if let (Cow::Owned(header), None) = (&self.header, &self.replicated) {
            headers.remember(self.segment, header);
        }
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// Verifies the signature, whatever the payload is.
    pub(crate) fn verify(
        &self,
        candidates: &Candidates<'_>,
        allowed: Option<&[Algorithm]>,
    ) -> Result<Signer, Unproven> {
        let algorithm = self.header.algorithm;
        let unproven = |rejection, may_be_of_a_new_key| Unproven {
            rejection,
            may_be_of_a_new_key,
        };
        let mut keys = usable(candidates, algorithm, allowed).peekable();
        if keys.peek().is_none() {
            let of_keys: Vec<_> = candidates
                .iter()
                .flat_map(|candidate| candidate.key.algorithms())
                .take(MAX_CANDIDATES)
                .collect();
            let expected = allowed.unwrap_or(&of_keys);
            let rejection = wrong_algorithm(algorithm, AnyAlgorithm(expected));
            // Issuers do not publish secrets, so a new key cannot be symmetric.
            let is_possible = !algorithm.is_symmetric()
                && allowed.is_none_or(|allowed| allowed.contains(&algorithm));
            return Err(unproven(rejection, is_possible));
        }
        if algorithm
            .signature_length()
            .is_some_and(|length| self.signature.len() != length)
        {
            let length = self.signature.len();
            let rejection = Rejection::because(
                RejectionKind::BadSignature,
                format!("signature has {length} bytes, which {algorithm} never has"),
            );
            return Err(unproven(rejection, false));
        }
        let (signer, _) = keys
            .find(|(_, key)| key.verifies(self.signing_input, &self.signature))
            .ok_or_else(|| unproven(self.does_not_verify(), true))?;
        Ok(Signer {
            key: signer.key.clone(),
            algorithm,
            is_named: self.header.key_id.is_some(),
            is_retiring: signer.is_retiring,
        })
    }

    /// The key that verifies the signature; see [`Signed::verify`].
    pub(super) fn signer_among<'d>(
        &self,
        candidates: &Candidates<'_>,
        dead: impl FnOnce(Option<&str>) -> Vec<DeadCandidate<'d>>,
        allowed: Option<&[Algorithm]>,
        headers: &KnownHeaders,
    ) -> Result<Signer, Unproven> {
        let signer = self.verify(candidates, allowed).map_err(|unproven| {
            if !unproven.may_be_of_a_new_key {
                return unproven;
            }
            let flaw = self.flaw_of_dead(&dead(self.key_id()), allowed);
            flaw.map_or(unproven, |rejection| Unproven {
                rejection,
                may_be_of_a_new_key: false,
            })
        })?;
        self.remember_header(headers);
        Ok(signer)
    }

    /// The rejection of the token if its signature verifies with one of these dead keys.
    pub(crate) fn flaw_of_dead(
        &self,
        dead: &[DeadCandidate<'_>],
        allowed: Option<&[Algorithm]>,
    ) -> Option<Rejection> {
        let algorithm = self.header.algorithm;
        let fitting = dead.iter().filter_map(|dead| {
            let key = dead.key?.verifying(algorithm, allowed)?;
            Some((dead, key))
        });
        let (message, signature) = (self.signing_input, &self.signature);
        let mut tried = fitting.take(MAX_CANDIDATES);
        let signer = tried.find(|(_, key)| key.verifies(message, signature));
        signer.map(|(dead, _)| Rejection::because(RejectionKind::UnknownKey, dead.to_string()))
    }

    /// Whether the algorithm is symmetric. Issuers do not publish the keys of such algorithms.
    pub(crate) fn is_symmetric(&self) -> bool {
        self.header.algorithm.is_symmetric()
    }

    fn does_not_verify(&self) -> Rejection {
        let algorithm = self.header.algorithm;
        let reason = match self.key_id() {
            Some(id) => format!(
                "signature does not verify with key {} ({algorithm})",
                Excerpt(id)
            ),
            None => format!("signature does not verify with any key for {algorithm}"),
        };
        Rejection::because(RejectionKind::BadSignature, reason)
    }
}

impl Signer {
    /// The same key in a newer set, if a token like this one would still be verified with it.
    pub(crate) fn find_in<'s>(
        &self,
        set: &'s KeySet,
        allowed: Option<&[Algorithm]>,
        now: NumericDate,
    ) -> Option<Candidate<'s>> {
        let id = self.is_named.then(|| self.key.id().as_str());
        let candidates = set.candidates(id, now);
        usable(&candidates, self.algorithm, allowed)
            .map(|(candidate, _)| candidate)
            .find(|candidate| candidate.key.is_same_material(&self.key))
    }
}

/// The candidates that are tried, each with its parsed form for the algorithm.
fn usable<'s>(
    candidates: &Candidates<'s>,
    algorithm: Algorithm,
    allowed: Option<&[Algorithm]>,
) -> impl Iterator<Item = (Candidate<'s>, &'s VerifyingKey)> {
    candidates
        .iter()
        .filter_map(move |candidate| {
            Some((candidate, candidate.key.verifying(algorithm, allowed)?))
        })
        .take(MAX_CANDIDATES)
}

/// The rejection of an algorithm that no candidate key has.
fn wrong_algorithm(presented: Algorithm, allowed: impl std::fmt::Display) -> Rejection {
    Rejection::mismatch(
        RejectionKind::AlgorithmNotAllowed,
        "algorithm",
        allowed,
        presented.as_str(),
    )
}

/// Splits the text into the parts before and after the byte at this position.
fn split(bytes: &[u8], at: Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, rest) = bytes.split_at_checked(at?)?;
    Some((before, rest.get(1..)?))
}

fn decode_base64(part: &str, encoded: &[u8]) -> Result<Vec<u8>, Rejection> {
    URL_SAFE_NO_PAD.decode_to_vec(encoded).map_err(|_| {
        shape(format!(
            "{part}: not base64url without padding and stray bits"
        ))
    })
}

fn text(part: &str, bytes: Vec<u8>) -> Result<String, Rejection> {
    String::from_utf8(bytes).map_err(|_| shape(format!("{part}: not UTF-8")))
}

/// Replaced by the rejection of [`flaw_of_text`].
const NOT_THREE_PARTS: Rejection = Rejection::of(RejectionKind::MalformedToken);
/// Maximum number of keys that are tried for one token.
const MAX_CANDIDATES: usize = 8;
