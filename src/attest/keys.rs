//! The look-up of the key of a signed text if the key is missing.

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::issuer::Issuer;
use crate::keys::algorithm::Algorithm;
use crate::keys::key_source::{Deadline, KeyLookUp, LookUp};
use crate::keys::set::KeySet;
use crate::keys::store::KeyStore;

/// The keys of an issuer, and how texts that they verify must be signed.
#[derive(Clone, Copy)]
pub(crate) struct IssuerKeys<'k> {
    pub(crate) issuer: &'k Issuer,
    pub(crate) keys: &'k KeyStore,
    /// The algorithms that may be used. `None` if the keys alone decide.
    pub(crate) algorithms: Option<&'k [Algorithm]>,
    pub(crate) requires_key_id: bool,
}

/// Whether keys may still be loaded for a token, and the deadline of the wait.
#[derive(Clone, Copy)]
pub(crate) enum KeyLoads {
    /// The deadline is set if the request has waited before.
    Allowed(Option<Deadline>),
    NotAllowed,
}

/// The first load of the keys of an issuer.
pub(super) fn first_load_of(
    of_issuer: &IssuerKeys<'_>,
    key_loads: KeyLoads,
) -> Result<LookUp, Rejection> {
    let load = match key_loads {
        KeyLoads::Allowed(deadline) => of_issuer.keys.first_load(deadline),
        KeyLoads::NotAllowed => None,
    };
    load.ok_or_else(|| {
        Rejection::because(
            RejectionKind::KeySourceUnavailable,
            format!("keys of issuer {} are not loaded yet", of_issuer.issuer),
        )
    })
}

/// Looks up the key of a token. The result is a load that may bring the key with this id or, without
/// an id, another key for the token. If no load is possible, the token is rejected: with 503 if the
/// key cannot be looked up at the issuer, because the token may be valid, and with `flaw` otherwise.
pub(super) fn look_up_or(
    flaw: impl FnOnce() -> Rejection,
    id: Option<&str>,
    of_issuer: &IssuerKeys<'_>,
    key_loads: KeyLoads,
) -> Result<LookUp, Rejection> {
    let result = match key_loads {
        KeyLoads::Allowed(deadline) => of_issuer.keys.look_up(id, deadline),
        KeyLoads::NotAllowed => KeyLookUp::NotFound,
    };
    let because = |reason| {
        format!(
            "keys of issuer {} {reason}, and none is that of the token",
            of_issuer.issuer
        )
    };
    match result {
        KeyLookUp::Loading(look_up) => Ok(look_up),
        _ if of_issuer.keys.is_behind() => Err(Rejection::because(
            RejectionKind::KeySourceUnavailable,
            because("cannot be refreshed"),
        )),
        // Without an id the usual rejection applies: with a known key, this is a bad signature.
        KeyLookUp::Unknown if id.is_some() => Err(Rejection::without_outage(
            RejectionKind::KeySourceUnavailable,
            because("may not be loaded again yet"),
        )),
        KeyLookUp::NotFound | KeyLookUp::Unknown => Err(flaw()),
    }
}

/// Whether a token may be rejected for this reason only because its key is not loaded yet.
pub(super) fn may_lack_a_key(rejection: &Rejection) -> bool {
    matches!(
        rejection.kind(),
        RejectionKind::AlgorithmNotAllowed
            | RejectionKind::BadSignature
            | RejectionKind::KeySourceUnavailable
            | RejectionKind::UnknownKey
    )
}

pub(super) fn unknown_key(id: Option<&str>, keys: &KeySet, issuer: &Issuer) -> Rejection {
    let unknown = |reason| Rejection::because(RejectionKind::UnknownKey, reason);
    let Some(id) = id else {
        return unknown(format!(
            "token names no key, and the key set of {issuer} has none"
        ));
    };
    if let Some(skipped) = keys.skipped_key(id) {
        return unknown(format!(
            "the key set of {issuer} has it, and it cannot be used: {skipped}"
        ));
    }
    let hint = if keys.has_unnamed_keys() {
        "; some key was given none: see `Key::with_key_id`"
    } else {
        ""
    };
    Rejection::mismatch(
        RejectionKind::UnknownKey,
        "key id",
        format_args!("the id of a key of {issuer}{hint}"),
        id,
    )
}
