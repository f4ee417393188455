//! What a verifier remembers of tokens that it has accepted, and when it may still believe it.
//!
//! [`cache`](crate::cache) finds the entry of a token; here is what is asked before it counts.
//! Everything that a verdict depends on is either part of the policy, which has a cache of its own,
//! or asked again: the time, and the key. Revocation is asked on every request anyway.

use crate::cache::{Cache, Entry, Grow, Growth, Lifetime, TokenCache};
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::policy::validate;
use crate::policy::{Policy, Trust};
use crate::request::Credentials;
use crate::token::compact::Signer;

/// The memory of one policy.
#[derive(Debug)]
pub(crate) struct Memory {
    settings: TokenCache,
    cache: Cache<Accepted>,
}

/// A token that was accepted: what it says, and what that rests on.
struct Accepted {
    claims: Claims,
    /// The position in the policy of the trust under which it was accepted.
    trust: usize,
    signer: Signer,
}

impl Grow for Accepted {
    fn growth(&self) -> Option<&Growth> {
        Some(self.claims.growth())
    }
}

impl Memory {
    pub(crate) fn new(settings: TokenCache) -> Self {
        Self {
            settings,
            cache: Cache::new(settings.limits),
        }
    }

    /// Makes what the first accepted token would have to wait for otherwise.
    pub(crate) fn prepare(&self) {
        self.cache.prepare();
    }

    /// Makes the part of it that takes long, and leaves the table out.
    pub(crate) fn draw_key(&self) {
        self.cache.draw_key();
    }

    /// The claims of a token that was accepted before and would be again, and the trust in its
    /// issuer.
    pub(crate) fn recall<'p>(
        &self,
        token: &[u8],
        policy: &'p Policy,
        now: NumericDate,
    ) -> Option<(Claims, &'p Trust)> {
        self.cache.get(token, now, |entry| {
            let accepted = entry.value();
            let trust = policy.trusts.get(accepted.trust)?;
            is_signed_by_live_key(entry, trust, now).then(|| (accepted.claims.clone(), trust))
        })
    }

    /// Remembers a token that was accepted under the key set of this generation. Own claims are read
    /// by `read_own` before, so that there is room for them.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of it is what a verdict rests on"
    )]
    pub(crate) fn remember(
        &self,
        token: &Credentials<'_>,
        claims: &mut Claims,
        read_own: fn(&Claims),
        signer: Signer,
        trust: &Trust,
        generation: u64,
        now: NumericDate,
    ) {
        if self.settings.limits.entries == 0 {
            return;
        }
        let (from, until) = validate::window(claims.registered(), &trust.rules);
        // No longer than the keys are, if nobody loads them again.
        let longest = self.settings.longest;
        let limit = now.plus(trust.keys.rest().map_or(longest, |rest| rest.min(longest)));
        let lifetime = Lifetime {
            from,
            until: if until < limit { until } else { limit },
        };
        claims.shrink();
        read_own(claims);
        let generation = if signer.is_retiring { ASK } else { generation };
        let weight = Cache::<Accepted>::weight().saturating_add(claims.weight());
        let accepted = Accepted {
            claims: claims.clone(),
            trust: trust.index,
            signer,
        };
        let token = token.octets();
        self.cache
            .put(token, now, lifetime, generation, accepted, weight);
    }
}

/// Whether the keys of the issuer would verify the token now. In the generation in which they did
/// nothing has changed, and nothing has to be looked up.
fn is_signed_by_live_key(entry: &Entry<Accepted>, trust: &Trust, now: NumericDate) -> bool {
    if trust.keys.is_still(entry.generation()) {
        return true;
    }
    let snapshot = trust.keys.load();
    let signer = &entry.value().signer;
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

/// A verifier with other settings begins anew.
impl Clone for Memory {
    fn clone(&self) -> Self {
        Self::new(self.settings)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(TokenCache::default())
    }
}

/// The generation of no set: the key retires at some time, so it is looked up each time.
const ASK: u64 = u64::MAX;
