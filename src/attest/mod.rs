//! The proof that an issuer created a signed text of any kind: the key that verifies it, and the load that
//! may bring a missing key.

mod keys;

use crate::attest::keys::{first_load_of, look_up_or, may_lack_a_key, unknown_key};
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::keys::key_source::{LookUp, Waited};
use crate::token::compact::Signed;
use crate::token::known_headers::KnownHeaders;

pub(crate) use crate::attest::keys::{IssuerKeys, KeyLoads};

/// The result of a step that may need keys that must be loaded first.
pub(crate) enum Step<T> {
    Done(T),
    /// The issuer may have published the key in the meantime, so the keys are loaded.
    Loading(LookUp),
}

/// A text and the proof that its issuer created it.
pub(crate) struct Proven<A> {
    pub(crate) attested: A,
    /// The generation of the keys that verified it.
    pub(crate) generation: u64,
}

/// Verifies the signature of a text with the keys of one issuer.
pub(crate) fn attest<S: Signed>(
    text: S,
    of_issuer: &IssuerKeys<'_>,
    now: NumericDate,
    key_loads: KeyLoads,
    headers: &KnownHeaders,
) -> Result<Step<Proven<S::Attested>>, Rejection> {
    let snapshot = of_issuer.keys.load();
    let allowed = of_issuer.algorithms;
    let dead = |id: Option<&str>| snapshot.dead_keys(id, now);
    let signed = text.compact();
    let id = signed.key_id();
    let Some(keys) = &snapshot.set else {
        let flaw = signed.flaw_of_dead(&dead(id), allowed);
        let load = flaw.map_or_else(|| first_load_of(of_issuer, key_loads), Err)?;
        return Ok(Step::Loading(load));
    };
    if of_issuer.requires_key_id && id.is_none() {
        return Err(Rejection::because(
            RejectionKind::UnknownKey,
            "token names no key (`kid`)",
        ));
    }
    let candidates = keys.candidates(id, now);
    if candidates.is_empty() {
        let dead = dead(id);
        // The key with this id was removed. Another key may have been published under the same id.
        let flaw = || match dead.first().filter(|_| id.is_some()) {
            Some(dead) => Rejection::because(RejectionKind::UnknownKey, dead.to_string()),
            None => unknown_key(id, keys, of_issuer.issuer),
        };
        if let Some(flaw) = signed.flaw_of_dead(&dead, allowed) {
            return Err(flaw);
        }
        // A removed secret is no longer in memory, so the signature cannot be verified with it.
        if signed.is_symmetric() && dead.iter().any(|dead| dead.key.is_none()) {
            return Err(flaw());
        }
        return look_up_or(flaw, id, of_issuer, key_loads).map(Step::Loading);
    }
    match text.verify(&candidates, dead, allowed, headers) {
        Ok(attested) => Ok(Step::Done(Proven {
            attested,
            generation: snapshot.generation,
        })),
        Err(unproven) if unproven.may_be_of_a_new_key => {
            look_up_or(|| unproven.rejection, None, of_issuer, key_loads).map(Step::Loading)
        }
        Err(unproven) => Err(unproven.rejection),
    }
}

/// Decides again after a look-up of keys has ended, whether or not it brought the key. With several
/// loads, each may bring the key, so the decision is tried after each load.
pub(crate) async fn after<T>(
    mut look_up: LookUp,
    mut decide: impl FnMut(KeyLoads) -> Result<Step<T>, Rejection>,
) -> Result<T, Rejection> {
    // A load that started earlier may have missed the key. Then one more load is allowed, within the
    // rest of the timeout.
    let mut one_more_load = if look_up.is_joined {
        KeyLoads::Allowed(Some(look_up.deadline))
    } else {
        KeyLoads::NotAllowed
    };
    loop {
        let waited = look_up.wait().await;
        let key_loads = match waited {
            Waited::ForAll => one_more_load,
            Waited::ForOne | Waited::TooLong => KeyLoads::NotAllowed,
        };
        match decide(key_loads) {
            Ok(Step::Done(decided)) => return Ok(decided),
            Ok(Step::Loading(next)) => {
                look_up = next;
                one_more_load = KeyLoads::NotAllowed;
            }
            // What is wrong with a present key stays wrong, whatever other keys may come.
            Err(rejection) if !may_lack_a_key(&rejection) => return Err(rejection),
            Err(rejection) => match waited {
                Waited::ForAll => return Err(rejection),
                Waited::ForOne => {}
                Waited::TooLong => {
                    return Err(Rejection::because(
                        RejectionKind::KeySourceUnavailable,
                        "the keys are still being loaded",
                    ));
                }
            },
        }
    }
}
