//! [`TokenCache`]: the limits of the cache.

use std::time::Duration;

use super::Limits;
use super::digest::Key;

/// The limits of the cache of verified tokens: maximum number of tokens, maximum size, and maximum age.
///
/// A client usually sends the same token for minutes. With the cache, its signature is verified once.
/// Only accepted tokens are cached. The text of a token is not stored. The signature is stored as a
/// keyed digest, which cannot be used as a token. When the cache is full, a new token is cached only
/// if it is sent a second time soon after the first.
///
/// An entry is not used after the `exp` of its token (plus the [leeway](crate::JwtAuth::leeway)),
/// after its key is no longer accepted, or after [`max_age`](Self::max_age). The
/// [revocation checks](crate::JwtAuth::revocation) apply to cached tokens too. A check runs for each
/// request, unless its [`epoch`](crate::revocation::Revocation::epoch) shows that no answer has
/// changed.
///
/// [The guide](crate::guide::performance) describes the cost and the security of the cache.
///
/// # Example: no cache
///
/// ```
/// use tower_jwt_auth::cache::TokenCache;
/// # use tower_jwt_auth::JwtAuth;
///
/// fn always_verify(auth: JwtAuth) -> JwtAuth {
///     auth.cache(TokenCache::off())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct TokenCache {
    pub(crate) limits: Limits,
    pub(crate) longest: Duration,
}

impl TokenCache {
    /// Turns the cache off. The signature of every request is verified.
    pub fn off() -> Self {
        Self::default().max_tokens(0)
    }

    /// Sets the maximum number of cached tokens. Default: 10 000. Limited to 4 194 304.
    ///
    /// The table of the cache takes 32 bytes for each token. It is allocated when the layer or the
    /// verifier is created.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.limits.entries = tokens;
        self
    }

    /// Sets the maximum size of all cached tokens in bytes. Default: 64 MiB.
    ///
    /// The size of a token includes its claims, and your own claims in each type into which they were
    /// deserialized. The size of your own claims is estimated from the size of the type and the JSON text
    /// that was read. A type that takes more memory than a `serde_json::Value` of the same text is
    /// underestimated. If there is no room for them, they are deserialized again for each
    /// request. The table of [`max_tokens`](Self::max_tokens) is not included.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets the maximum time for which a token stays in the cache after it was verified. Default: 5
    /// minutes.
    pub fn max_age(mut self, age: Duration) -> Self {
        self.longest = age;
        self
    }
}

impl TokenCache {
    /// Draws the random key of the process, unless the cache is off.
    pub(crate) fn draw_key(self) {
        if self.limits.entries > 0 {
            let _ = Key::draw();
        }
    }
}

impl Default for TokenCache {
    fn default() -> Self {
        Self {
            limits: default_limits(),
            longest: Duration::from_secs(300),
        }
    }
}

fn default_limits() -> Limits {
    limits_of_a_test_run().unwrap_or(Limits {
        entries: 10_000,
        bytes: 64 << 20,
    })
}

#[cfg(not(tower_jwt_auth_cache))]
fn limits_of_a_test_run() -> Option<Limits> {
    None
}

/// No verdict may depend on the cache, so the tests of this crate also run with other cache sizes.
/// An environment variable sets the maximum number of tokens. See `.ci/run`.
#[cfg(tower_jwt_auth_cache)]
fn limits_of_a_test_run() -> Option<Limits> {
    let entries = std::env::var("TOWER_JWT_AUTH_CACHE").ok()?;
    Some(Limits {
        entries: entries
            .parse()
            .unwrap_or_else(|_| panic!("TOWER_JWT_AUTH_CACHE is not a number of tokens")),
        bytes: usize::MAX,
    })
}
