//! What a verifier remembers of tokens that it has accepted, and when it may still believe it.
//!
//! [`cache`](crate::cache) finds the entry of a token; here is what is asked before it counts.
//! Everything that a verdict depends on is either part of the policy, which has a cache of its own,
//! or asked again: the time, and the key. Revocation is asked on every request anyway.

use std::time::Duration;

use crate::bearer::Credentials;
use crate::cache::{Cache, Entry, Grow, Growth, Lifetime, Limits};
use crate::claims::Claims;
use crate::clock::NumericDate;
use crate::jws::Signer;
use crate::policy::{Policy, Trust};
use crate::validate;

/// How many verified tokens a verifier remembers, and for how long.
///
/// A client sends the same token for minutes, and each time the signature would be checked again.
/// Only accepted tokens are remembered, in a form that nobody can send: the signature is kept as a
/// keyed digest. Once there are as many as may be, a new one is remembered if it soon comes a second
/// time. A token is forgotten with its `exp`, with its key, and with the time limit; a
/// [revocation check](crate::JwtAuth::revocation) is asked on every request all the same. What the
/// cache costs and protects is in [the guide](crate::guide::performance).
///
/// # Example: no cache
///
/// ```
/// use tower_jwt_auth::config::TokenCache;
/// # use tower_jwt_auth::JwtAuth;
///
/// fn always_verify(auth: JwtAuth) -> JwtAuth {
///     auth.cache(TokenCache::off())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TokenCache {
    limits: Limits,
    longest: Duration,
}

impl TokenCache {
    /// Every request pays for its signature.
    pub fn off() -> Self {
        Self::default().max_tokens(0)
    }

    /// Tokens at most. Default: 10 000; more than 4 194 304 are not held.
    ///
    /// The table for them, 32 bytes for each, is made with the layer or the verifier.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.limits.entries = tokens;
        self
    }

    /// Maximum bytes of what is remembered. Default: 64 MiB.
    ///
    /// A token counts with its claims, and with own claims in each type that somebody asks for. What
    /// these take up is estimated by the size of the type and the JSON text that it has read; a type
    /// that makes more of its text than `serde_json::Value` does counts for less than it takes up. If
    /// there is no room for own claims, they are read again for each request. The table of
    /// [`max_tokens`](Self::max_tokens) does not count.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// How long a verdict is believed. Default: 5 minutes.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.longest = age;
        self
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        #[cfg(feature = "_fuzz")]
        if let Some(cache) = of_the_test_run() {
            return cache;
        }
        Self {
            limits: Limits::default(),
            longest: Duration::from_secs(300),
        }
    }
}

/// The cache that a run of all tests asks for with the variable `TOWER_JWT_AUTH_CACHE`, as the
/// verdicts have to be the same with every one: none (`off`), two tokens (`tiny`), or 20 000
/// (`huge`). Only the tests have this feature.
#[cfg(feature = "_fuzz")]
fn of_the_test_run() -> Option<TokenCache> {
    static ENTRIES: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    let entries = ENTRIES.get_or_init(|| {
        let name = std::env::var("TOWER_JWT_AUTH_CACHE").ok()?;
        Some(match name.as_str() {
            "off" => 0,
            "tiny" => 2,
            "huge" => 20_000,
            // Else a run would seem to show what it does not.
            _ => panic!("TOWER_JWT_AUTH_CACHE is off, tiny or huge, not {name:?}"),
        })
    });
    entries.map(|entries| TokenCache {
        limits: Limits {
            entries,
            bytes: usize::MAX,
        },
        longest: Duration::from_secs(300),
    })
}

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
