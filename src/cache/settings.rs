//! [`TokenCache`]: how much a verifier may remember.

use std::time::Duration;

use super::Limits;
use super::digest::Key;

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
