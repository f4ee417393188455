//! [`Verdicts`]: the cache of verified tokens, with the checks before an entry is used.
//!
//! [`cache`](crate::cache) finds the entry of a token. A verdict depends on the settings, which are
//! fixed for each verifier, on the time and on the key. Time and key are checked again here. The
//! verifier runs the revocation checks.

use std::ops::Range;

use crate::cache::{Cache, Digest, Entry, Grow, Growth, Lifetime, TokenCache};
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::policy::{Policy, Trust, validate};
use crate::token::compact::{Attestation, Signer};

/// The verdicts of one verifier.
#[derive(Debug)]
pub(crate) struct Verdicts {
    settings: TokenCache,
    cache: Cache<Accepted>,
}

/// A token that was accepted.
struct Accepted(Claims);

/// A token that was accepted before, and is still valid.
pub(crate) struct Known<'p> {
    pub(crate) claims: Claims,
    /// The trust under which it was accepted.
    pub(crate) trust: &'p Trust,
    /// The time from which the verdict no longer holds.
    pub(crate) until: NumericDate,
}

impl Grow for Accepted {
    fn growth(&self) -> Option<&Growth> {
        Some(self.0.growth())
    }
}

impl Verdicts {
    /// Draws the random key of the cache and allocates its table, so that no request has to wait for
    /// them.
    pub(crate) fn new(settings: TokenCache) -> Self {
        let cache = Cache::new(settings.limits);
        cache.prepare();
        Self { settings, cache }
    }

    /// A token that was accepted before and is still valid.
    pub(crate) fn find<'p>(
        &self,
        token: &[u8],
        policy: &'p Policy,
        now: NumericDate,
    ) -> Option<Known<'p>> {
        self.cache.get(token, now, |entry| {
            let known = known(entry, policy)?;
            is_signed_by_live_key(entry, known.trust, now).then_some(known)
        })
    }

    /// The same for an introspected token. The answer may be stale; see
    /// [`Basis::is_fresh`](crate::claims::Basis::is_fresh).
    pub(crate) fn find_answer<'p>(
        &self,
        digest: &Digest,
        policy: &'p Policy,
        now: NumericDate,
    ) -> Option<Known<'p>> {
        self.cache
            .get_digest(digest, now, |entry| known(entry, policy))
    }

    /// Stores a token that is active according to its issuer, from now until the end of the period and never
    /// after its `exp`.
    pub(crate) fn remember_answer(
        &self,
        digest: &Digest,
        claims: &mut Claims,
        read_own: fn(&Claims),
        trust: &Trust,
        period: Range<NumericDate>,
    ) {
        if self.settings.limits.entries == 0 {
            return;
        }
        let Range { start: now, end } = period;
        let (from, until) = validate::window(claims.registered(), &trust.rules);
        let ends = [
            until,
            end,
            now.plus(self.settings.longest),
            claims.registered().expires_at().unwrap_or(until),
        ];
        let lifetime = Lifetime {
            // An answer holds for some seconds. If the clock is set back, this period has not
            // begun.
            from: if from < now { now } else { from },
            until: NumericDate(ends.iter().fold(f64::INFINITY, |end, at| end.min(at.0))),
        };
        claims.shrink();
        read_own(claims);
        let weight = Cache::<Accepted>::weight().saturating_add(claims.weight());
        let accepted = Accepted(claims.clone());
        self.cache
            .put_digest(digest, now, lifetime, accepted, weight);
    }

    /// Removes a token that is no longer active according to its issuer.
    pub(crate) fn forget_answer(&self, digest: &Digest) {
        self.cache.remove_digest(digest);
    }

    /// Stores a token that was accepted under the key set of this generation, from now until the end of the
    /// period and never after its `exp`. `read_own` reads own claims first, so that there is room for them.
    pub(crate) fn remember(
        &self,
        token: &[u8],
        claims: &mut Claims,
        read_own: fn(&Claims),
        trust: &Trust,
        generation: u64,
        period: Range<NumericDate>,
    ) {
        if self.settings.limits.entries == 0 {
            return;
        }
        let Range { start: now, end } = period;
        let (from, until) = validate::window(claims.registered(), &trust.rules);
        // No longer than the keys are valid if they are not refreshed.
        let longest = self.settings.longest;
        let limit = now.plus(trust.keys.rest().map_or(longest, |rest| rest.min(longest)));
        let limit = if end < limit { end } else { limit };
        let needed_an_answer = end.0.is_finite();
        let lifetime = Lifetime {
            // As for an answer: if the clock is set back, the period has not begun.
            from: if needed_an_answer && from < now {
                now
            } else {
                from
            },
            until: if until < limit { until } else { limit },
        };
        claims.shrink();
        read_own(claims);
        let generation = match claims.basis().attestation() {
            Attestation::Signature(signer) if signer.is_retiring => NO_GENERATION,
            _ => generation,
        };
        let weight = Cache::<Accepted>::weight().saturating_add(claims.weight());
        let accepted = Accepted(claims.clone());
        self.cache
            .put(token, now, lifetime, generation, accepted, weight);
    }
}

/// The content of an entry, unless its issuer has withdrawn the token.
fn known<'p>(entry: &Entry<Accepted>, policy: &'p Policy) -> Option<Known<'p>> {
    let Accepted(claims) = entry.value();
    let trust = policy.trust(claims.basis().trust())?;
    (!claims.basis().is_withdrawn()).then(|| Known {
        claims: claims.clone(),
        trust,
        until: entry.until(),
    })
}

/// Whether the keys of the issuer would verify the token now. If the generation of the key set is
/// unchanged, no look-up is needed.
fn is_signed_by_live_key(entry: &Entry<Accepted>, trust: &Trust, now: NumericDate) -> bool {
    if trust.keys.is_still(entry.generation()) {
        return true;
    }
    let Accepted(claims) = entry.value();
    match claims.basis().attestation() {
        Attestation::Signature(signer) => is_live(signer, entry, trust, now),
        // It is stored under its digest, and does not depend on a key.
        Attestation::Answer => false,
    }
}

fn is_live(signer: &Signer, entry: &Entry<Accepted>, trust: &Trust, now: NumericDate) -> bool {
    let snapshot = trust.keys.load();
    let allowed = trust.rules.algorithms.as_deref();
    let found = snapshot
        .set
        .as_ref()
        .and_then(|set| signer.find_in(set, allowed, now));
    match found {
        Some(found) => {
            if !found.is_retiring {
                entry.confirm(snapshot.generation);
            }
            true
        }
        None => false,
    }
}

/// No key set has this generation. It is used for a key that will retire, so that the key is looked
/// up each time.
const NO_GENERATION: u64 = u64::MAX;
