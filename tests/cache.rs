//! The cache of verified tokens: it changes what a verdict costs, and no verdict.

#![cfg(feature = "test-util")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use tower_jwt_auth::RejectionKind::{
    AudienceMismatch, BadSignature, Expired, KeySourceUnavailable, NotYetValid, Revoked, UnknownKey,
};
use tower_jwt_auth::config::{Leeway, TokenCache};
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{
    Algorithm, Audience, JwtAuth, Key, KeySet, KeyStore, RejectionKind, Verifier,
};

const START: u64 = 1_700_000_000;

/// An issuer with one key, a store with it, and a clock for both.
struct Fixture {
    clock: FixedClock,
    issuer: TestIssuer,
    keys: KeyStore,
}

impl Fixture {
    fn new() -> Self {
        let clock = FixedClock::at(START);
        let issuer = signer(0).with_clock(clock.clone());
        let keys = KeyStore::from(issuer.key()).with_clock(clock.clone());
        Self {
            clock,
            issuer,
            keys,
        }
    }

    fn auth(&self) -> JwtAuth {
        JwtAuth::new(self.issuer.issuer(), self.issuer.audience(), &self.keys)
            .clock(self.clock.clone())
            .cache(TokenCache::default())
    }

    fn token(&self) -> TestToken {
        self.issuer.token().expires_in(Duration::from_secs(900))
    }
}

/// A login with a secret of its own for each number.
fn signer(number: u8) -> TestIssuer {
    let secret: [u8; 32] = std::array::from_fn(|at| {
        let at = u8::try_from(at).unwrap();
        at.wrapping_mul(37) ^ number.wrapping_mul(91) ^ 0x5a
    });
    TestIssuer::with_secret(Algorithm::HS256, &secret)
}

fn refusal(verifier: &Verifier, token: &str) -> Option<RejectionKind> {
    verifier.verify_now(token).err().map(|error| error.kind())
}

static READ: AtomicUsize = AtomicUsize::new(0);

/// Own claims that count how often they are read.
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::Relaxed);
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[test]
fn own_claims_of_a_repeated_token_are_read_once() {
    let fixture = Fixture::new();
    let token = fixture.token().subject("alice").mint();
    let verifier = fixture.auth().claims::<Counted>().verifier();
    for _ in 0..10 {
        let claims = verifier.verify_now(&token).unwrap();
        assert_eq!(claims.subject(), Some("alice"));
    }
    assert_eq!(READ.load(Ordering::Relaxed), 1);
    let without = fixture.auth().cache(TokenCache::off());
    let without = without.claims::<Counted>().verifier();
    for _ in 0..10 {
        assert!(without.verify_now(&token).is_ok());
    }
    assert_eq!(READ.load(Ordering::Relaxed), 11);
}

#[test]
fn a_remembered_token_ends_with_its_time() {
    for has_issue_time in [true, false] {
        let fixture = Fixture::new();
        let token = fixture.token();
        let token = if has_issue_time {
            token
        } else {
            token.without("iat")
        };
        let (token, verifier) = (token.mint(), fixture.auth().verifier());
        for _ in 0..3 {
            assert_eq!(refusal(&verifier, &token), None);
        }
        fixture.clock.advance(Duration::from_secs(959));
        assert_eq!(refusal(&verifier, &token), None);
        assert_eq!(refusal(&verifier, &token), None);
        fixture.clock.advance(Duration::from_secs(1));
        assert_eq!(refusal(&verifier, &token), Some(Expired));
    }
}

#[test]
fn a_remembered_token_is_not_valid_before_its_time_either() {
    let fixture = Fixture::new();
    let token = fixture.token().claim("nbf", START - 10).mint();
    let verifier = fixture.auth().verifier();
    assert_eq!(refusal(&verifier, &token), None);
    fixture.clock.set(START - 71);
    assert_eq!(refusal(&verifier, &token), Some(NotYetValid));
    fixture.clock.set(START);
    assert_eq!(refusal(&verifier, &token), None);
}

/// STORE-D4
#[test]
fn a_remembered_token_dies_with_its_key_at_the_next_request() {
    let removed = |change: &dyn Fn(&Fixture)| {
        let fixture = Fixture::new();
        let (token, verifier) = (fixture.token().mint(), fixture.auth().verifier());
        assert_eq!(refusal(&verifier, &token), None);
        change(&fixture);
        refusal(&verifier, &token)
    };
    let other = signer(1).key().with_key_id("other");
    let same_id = signer(1).key().with_key_id("key-1");
    assert_eq!(removed(&|_| {}), None);
    assert_eq!(
        removed(&|fixture| assert!(fixture.keys.remove("key-1"))),
        Some(UnknownKey)
    );
    assert_eq!(
        removed(&|fixture| {
            fixture.keys.replace(KeySet::from(other.clone()));
        }),
        Some(UnknownKey)
    );
    assert_eq!(
        removed(&|fixture| {
            fixture.keys.replace(KeySet::from(same_id.clone()));
        }),
        Some(BadSignature),
        "the id alone is not the key"
    );
    // The key stays, beside another one and in another set.
    assert_eq!(
        removed(&|fixture| drop(fixture.keys.rotate(other.clone()))),
        None
    );
    let same = signer(0).key();
    assert_eq!(
        removed(&|fixture| {
            fixture.keys.replace(KeySet::from(same.clone()));
        }),
        None
    );
}

#[test]
fn a_remembered_token_dies_when_its_key_retires() {
    let fixture = Fixture::new();
    let (token, verifier) = (fixture.token().mint(), fixture.auth().verifier());
    let late = fixture.token().subject("late").mint();
    assert_eq!(refusal(&verifier, &token), None);
    assert!(fixture.keys.retire("key-1", Duration::from_secs(100)));
    for _ in 0..2 {
        assert_eq!(refusal(&verifier, &token), None);
        assert_eq!(refusal(&verifier, &late), None);
    }
    fixture.clock.advance(Duration::from_secs(99));
    assert_eq!(refusal(&verifier, &token), None);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(refusal(&verifier, &token), Some(UnknownKey));
    assert_eq!(refusal(&verifier, &late), Some(UnknownKey));
}

/// RFC9700-2.3-1
#[test]
fn layers_that_share_a_store_share_no_verdict() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let other = Audience::new("https://other.example").unwrap();
    let other = JwtAuth::new(fixture.issuer.issuer(), other, &fixture.keys);
    let other = other.clock(fixture.clock.clone()).verifier();
    let strict = fixture.auth().access_token_profile().verifier();
    let plain = fixture.auth().verifier();
    for _ in 0..3 {
        assert_eq!(refusal(&plain, &token), None);
        assert_eq!(refusal(&other, &token), Some(AudienceMismatch));
        assert!(refusal(&strict, &token).is_none());
    }
    // A setting that is changed later is another policy too.
    let auth = fixture.auth();
    assert_eq!(refusal(&auth.clone().verifier(), &token), None);
    let hmac_is_off = auth.algorithms([Algorithm::ES256]).verifier();
    assert_eq!(
        refusal(&hmac_is_off, &token),
        Some(RejectionKind::AlgorithmNotAllowed)
    );
}

#[test]
fn a_revocation_is_asked_for_a_remembered_token_too() {
    let fixture = Fixture::new();
    let denylist = Denylist::with_capacity(10).with_clock(fixture.clock.clone());
    let verifier = fixture.auth().revocation(denylist.clone()).verifier();
    let token = fixture.token().claim("jti", "1").mint();
    let claims = verifier.verify_now(&token).unwrap();
    assert_eq!(refusal(&verifier, &token), None);
    denylist.revoke(&claims).unwrap();
    assert_eq!(refusal(&verifier, &token), Some(Revoked));
    assert_eq!(refusal(&verifier, &token), Some(Revoked));
    let other = fixture.token().claim("jti", "2").mint();
    assert_eq!(refusal(&verifier, &other), None);
}

#[test]
fn no_other_text_is_taken_for_a_remembered_token() {
    let fixture = Fixture::new();
    let (token, verifier) = (fixture.token().mint(), fixture.auth().verifier());
    assert_eq!(refusal(&verifier, &token), None);
    for at in 0..token.len() {
        let mut octets = token.clone().into_bytes();
        octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(octets).unwrap();
        assert!(refusal(&verifier, &changed).is_some(), "{at}");
        assert!(refusal(&verifier, &token[..at]).is_some(), "{at}");
    }
    for behind in ["A", ".", "=", "\0", " "] {
        let longer = format!("{token}{behind}");
        assert!(refusal(&verifier, &longer).is_some(), "{behind:?}");
    }
    // The last character of 32 octets has bits that count for nothing: they must be zero.
    let (front, last) = token.split_at(token.len() - 1);
    let stray = char::from(last.as_bytes()[0] + 1);
    assert!(refusal(&verifier, &format!("{front}{stray}")).is_some());
    assert_eq!(refusal(&verifier, &token), None);
}

#[test]
fn forged_tokens_drive_no_good_one_out() {
    let fixture = Fixture::new();
    let auth = fixture.auth().cache(TokenCache::default().max_tokens(7));
    let verifier = auth.claims::<IgnoredAny>().verifier();
    let good = fixture.token().mint();
    let claims = verifier.verify_now(&good).unwrap();
    let first: *const IgnoredAny = &*claims;
    for at in 0..200 {
        let forged = fixture.token().claim("jti", at).signed_by_stranger();
        assert!(verifier.verify_now(&forged.mint()).is_err());
    }
    let again = verifier.verify_now(&good).unwrap();
    assert!(
        std::ptr::eq(first, &*again),
        "the same claims, not new ones"
    );
}

#[test]
fn keys_that_are_given_up_are_an_outage_for_remembered_tokens_too() {
    let fixture = Fixture::new();
    let keys = KeyStore::pending();
    let auth = JwtAuth::new(fixture.issuer.issuer(), fixture.issuer.audience(), &keys);
    let verifier = auth.clock(fixture.clock.clone()).verifier();
    let token = fixture.token().mint();
    assert_eq!(refusal(&verifier, &token), Some(KeySourceUnavailable));
    keys.rotate(fixture.issuer.key());
    assert_eq!(refusal(&verifier, &token), None);
    assert!(keys.remove("key-1"));
    assert_eq!(refusal(&verifier, &token), Some(UnknownKey));
}

/// Threads verify hot tokens while another one takes keys away: what starts after a removal is
/// refused.
#[test]
fn no_thread_accepts_a_token_after_its_key_was_removed() {
    let fixture = Fixture::new();
    let (token, verifier) = (fixture.token().mint(), fixture.auth().verifier());
    let key = fixture.issuer.key();
    let removals = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while removals.load(Ordering::SeqCst) < 4_001 {
                    // Odd: the key is gone and stays so until the number changes.
                    let before = removals.load(Ordering::SeqCst);
                    let refused = refusal(&verifier, &token);
                    let after = removals.load(Ordering::SeqCst);
                    if before == after {
                        let expected = (before % 2 == 1).then_some(UnknownKey);
                        assert_eq!(refused, expected, "{before}");
                    }
                }
            });
        }
        for turn in 0..2_000 {
            // In each turn both states are announced after they have come to be, and withdrawn
            // (by a number that no thread compares) before they end.
            fixture.keys.remove("key-1");
            removals.store(2 * turn + 1, Ordering::SeqCst);
            std::thread::yield_now();
            removals.store(usize::MAX / 2, Ordering::SeqCst);
            fixture.keys.rotate(key.clone());
            removals.store(2 * turn + 2, Ordering::SeqCst);
            std::thread::yield_now();
            removals.store(usize::MAX / 2, Ordering::SeqCst);
        }
        removals.store(4_001, Ordering::SeqCst);
    });
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Verify(usize),
    /// Seconds, forward or back.
    Time(i64),
    Rotate(usize),
    Retire(usize, u64),
    Remove(usize),
    Replace(Vec<usize>),
    Revoke(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let moment = prop::sample::select(vec![
        1, 29, 30, 31, 59, 60, 61, 99, 100, 101, 239, 240, 241, 299, 300, 301, 540, 599, 600, 601,
        659, 660, 661, 3_600,
    ]);
    prop_oneof![
        12 => (0..TOKENS).prop_map(Step::Verify),
        3 => moment.clone().prop_map(Step::Time),
        2 => moment.prop_map(|back: i64| Step::Time(-back)),
        1 => (0..KEYS).prop_map(Step::Rotate),
        1 => (0..KEYS, prop::sample::select(vec![0, 30, 60, 100, 300])).prop_map(|(key, after)| Step::Retire(key, after)),
        1 => (0..KEYS).prop_map(Step::Remove),
        1 => vec(0..KEYS, 1..3).prop_map(Step::Replace),
        1 => (0..TOKENS).prop_map(Step::Revoke),
    ]
}

const KEYS: usize = 4;
const KINDS: usize = 8;
const TOKENS: usize = KEYS * KINDS;

/// Four keys, two of which have the same id.
fn keys() -> Vec<(TestIssuer, Key)> {
    ["a", "b", "c", "a"]
        .iter()
        .zip(0..)
        .map(|(id, number)| {
            let issuer = signer(number).with_clock(FixedClock::at(START));
            let key = issuer.key().with_key_id(*id);
            (issuer, key)
        })
        .collect()
}

/// Tokens of each key, with what times there are.
fn tokens(keys: &[(TestIssuer, Key)]) -> Vec<String> {
    let kinds = keys.iter().enumerate().flat_map(|(number, (issuer, key))| {
        let token = move |seconds| {
            let token = issuer.token().header("kid", key.id().as_str());
            token.expires_in(Duration::from_secs(seconds))
        };
        [
            token(600),
            token(600).without("iat"),
            token(300).claim("nbf", START + 100),
            token(4_000).claim("iat", START + 30),
            token(4_000).without("iat"),
            token(300).claim("iat", START - 540),
            token(600).without_header("kid"),
            token(600).tampered(),
        ]
        .into_iter()
        .enumerate()
        .map(move |(kind, token)| token.claim("jti", format!("{number}-{kind}")).mint())
    });
    kinds.collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(4_242),
        ..ProptestConfig::default()
    })]

    /// The same history with a cache, a tiny one, one that forgets soon, and without: the same
    /// verdicts, whatever happens to time, keys and denylist meanwhile.
    #[test]
    fn no_history_of_requests_shows_whether_there_is_a_cache(rules in 0..4, steps in vec(step(), 1..80)) {
        let keys = keys();
        let tokens = tokens(&keys);
        let mut now = START;
        let clock = FixedClock::at(now);
        let store = KeyStore::from(keys[0].1.clone()).with_clock(clock.clone());
        let denylist = Denylist::with_capacity(1_000).with_clock(clock.clone());
        let verifier = |cache: TokenCache| {
            let (issuer, audience) = (keys[0].0.issuer(), keys[0].0.audience());
            let auth = JwtAuth::new(issuer, audience, &store).clock(clock.clone());
            let auth = auth.revocation(denylist.clone()).cache(cache);
            match rules {
                0 => auth,
                1 => auth.max_lifetime(Duration::from_secs(3_600)),
                2 => auth.max_age(Duration::from_secs(600)),
                _ => auth.leeway(Leeway::new(Duration::ZERO).unwrap()),
            }
            .verifier()
        };
        let without = verifier(TokenCache::off());
        let cached = [
            verifier(TokenCache::default()),
            verifier(TokenCache::default().max_tokens(2)),
            verifier(TokenCache::default().max_bytes(1)),
            verifier(TokenCache::default().max_age(Duration::from_secs(60))),
        ];
        for step in steps {
            match step {
                Step::Verify(at) => {
                    let verdict = |verifier: &Verifier| {
                        let claims = verifier.verify_now(&tokens[at]);
                        claims.map(|claims| claims.id().map(str::to_owned)).map_err(|error| error.kind())
                    };
                    let expected = verdict(&without);
                    for (number, verifier) in cached.iter().enumerate() {
                        prop_assert_eq!(&verdict(verifier), &expected, "cache {}, token {}", number, at);
                    }
                }
                Step::Time(seconds) => {
                    now = now.saturating_add_signed(seconds).max(START - 600);
                    clock.set(now);
                }
                Step::Rotate(key) => drop(store.rotate(keys[key].1.clone())),
                Step::Retire(key, after) => drop(store.retire(keys[key].1.id().as_str(), Duration::from_secs(after))),
                Step::Remove(key) => drop(store.remove(keys[key].1.id().as_str())),
                Step::Replace(set) => {
                    let set = KeySet::new(set.into_iter().map(|key| keys[key].1.clone()));
                    store.replace(set.unwrap());
                }
                Step::Revoke(at) => {
                    let id = format!("{}-{}", at / KINDS, at % KINDS);
                    let until = std::time::UNIX_EPOCH + Duration::from_secs(START + 5_000);
                    denylist.revoke_id("https://as.example", &id, until).unwrap();
                }
            }
        }
    }
}
