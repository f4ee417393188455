//! Helpers of the cache tests: caches of known sizes, claims that show whether a token was cached, and a
//! revocation check that can change its answer.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::revocation::{Revocation, RevocationCheck, RevocationError, RevocationStatus};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, Claims, Key};

pub const START: u64 = 1_700_000_000;
pub const OTHER: &str = "https://other.example";

/// The default cache of a layer. It is explicit, because a test run can choose another default.
pub fn usual() -> TokenCache {
    TokenCache::default()
        .max_tokens(10_000)
        .max_bytes(64 << 20)
        .max_age(Duration::from_secs(300))
}

/// The same for fewer tokens, but several times as many as a history has. Its table takes a fraction of the
/// time to make and to drop.
pub fn small() -> TokenCache {
    usual().max_tokens(500)
}

/// A login for each number, each with its own secret.
pub fn secret(number: u8) -> TestIssuer {
    let secret: [u8; 32] = std::array::from_fn(|at| {
        let at = u8::try_from(at).unwrap();
        at.wrapping_mul(37) ^ number.wrapping_mul(91) ^ 0x5a
    });
    TestIssuer::with_secret(Algorithm::HS256, &secret)
}

pub static RSA: LazyLock<TestIssuer> =
    LazyLock::new(|| TestIssuer::with_algorithm(Algorithm::RS256));

/// The RSA key, bound to this algorithm.
pub fn rsa_key_for(algorithm: &str) -> Key {
    let mut jwk = RSA.jwk();
    jwk["alg"] = algorithm.into();
    Key::from_jwk(jwk.to_string().as_bytes()).unwrap()
}

pub fn fixture_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(START)
}

pub fn has_own(claims: &Claims) -> bool {
    let before = READ.get();
    claims.deserialize::<Counted>().unwrap();
    READ.get() == before
}

thread_local! {
    pub static READ: Cell<usize> = const { Cell::new(0) };
}

/// Own claims that count how often this thread reads them.
#[derive(Debug)]
pub struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.set(READ.get() + 1);
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// Own claims that not every token has.
#[derive(Debug, Deserialize)]
pub struct Own {
    pub level: Option<u8>,
}

/// A revocation check that can take back what it said, and fail.
#[derive(Clone, Default)]
pub struct Checks(Arc<(Mutex<BTreeSet<String>>, AtomicBool)>);

impl Checks {
    pub fn toggle(&self, id: &str) {
        let mut revoked = self.0.0.lock().unwrap();
        if !revoked.remove(id) {
            revoked.insert(id.to_owned());
        }
    }

    pub fn break_down(&self, is_broken: bool) {
        self.0.1.store(is_broken, Ordering::SeqCst);
    }
}

impl Revocation for Checks {
    fn check(&self, token: &Claims) -> RevocationCheck {
        let (revoked, is_broken) = &*self.0;
        if is_broken.load(Ordering::SeqCst) {
            return RevocationCheck::Ready(Err(RevocationError::new("no connection")));
        }
        let is_revoked = revoked.lock().unwrap().contains(token.id().unwrap());
        RevocationCheck::Ready(Ok(if is_revoked {
            RevocationStatus::Revoked
        } else {
            RevocationStatus::Active
        }))
    }
}
