//! Random histories with the cache of verified tokens and without it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::caches::{
    Checks, OTHER, Own, RSA, START, fixture_time, has_own, rsa_key_for, secret, small,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use serde_json::json;
use tower_jwt_auth::RejectionKind::{
    AlgorithmNotAllowed, BadSignature, Expired, InvalidClaim, KeySourceUnavailable, NotYetValid,
    RevocationUnavailable, Revoked, UnknownKey,
};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::policy::Leeway;
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{
    Algorithm, Audience, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind, TrustedIssuer,
    Verifier,
};

/// Any history of requests, clock steps, key changes and revocations gives the same verdicts
/// without a cache and with caches of several sizes, over the same stores.
#[test]
fn every_history_has_the_same_verdicts_with_and_without_a_cache() {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(SEED),
        ..ProptestConfig::default()
    };
    let tally = RefCell::new(Tally::default());
    let histories = (
        subsequence((0..POLICIES).collect::<Vec<_>>(), 3),
        any::<bool>(),
        vec(step(), 20..80),
    );
    let outcome = TestRunner::new(config).run(&histories, |(policies, is_pending, steps)| {
        let mut world = World::new(&policies, is_pending);
        steps
            .into_iter()
            .try_for_each(|step| world.take(step, &mut tally.borrow_mut()))
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    // Makes sure that the histories are useful: tokens came from the cache, and were rejected later
    // for every reason.
    let tally = tally.into_inner();
    assert!(tally.recalled > u64::from(CASES) * 20, "{tally:?}");
    assert!(
        tally.rejected.contains_key(&KeySourceUnavailable),
        "{tally:?}"
    );
    for kind in [
        AlgorithmNotAllowed,
        BadSignature,
        Expired,
        InvalidClaim,
        NotYetValid,
        RevocationUnavailable,
        Revoked,
        UnknownKey,
    ] {
        assert!(tally.ended.contains_key(&kind), "{kind:?}: {tally:?}");
    }
}

const CASES: u32 = 64;
const SEED: u64 = 4_242;

/// What happened in all histories, counted.
#[derive(Debug, Default)]
struct Tally {
    recalled: u64,
    accepted: u64,
    rejected: HashMap<RejectionKind, u64>,
    /// Rejections of tokens that the same policy had accepted before.
    ended: HashMap<RejectionKind, u64>,
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    /// A policy and a token.
    Verify(Index, Index),
    /// The same policy and token as the last time.
    Again,
    /// All tokens under all policies.
    Sweep,
    Clock(Moment, i64),
    Keys(usize, Change),
    /// A change, with requests before and after it, and before and after its end.
    Around(usize, Change),
    Toggle(Index),
    RevokeSubject(usize),
    Outage(bool),
}

/// The time to which the clock is set. Some milliseconds are added or subtracted.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// The next time at which a time of a token changes a verdict.
    Next,
    Previous,
    Any(Index),
    /// The end of a retirement or of a maximum age. 0 is the newest.
    Noted(usize),
    Now,
}

/// A change of a store. The numbers are indices into the pool.
#[derive(Clone, Debug)]
enum Change {
    Rotate(usize),
    /// The index of an id, and the time in milliseconds.
    Retire(usize, u64),
    Remove(usize),
    Replace(Vec<usize>),
    /// The text of a key set, valid or not.
    Text(bool),
    /// Eight other keys before this one.
    Crowd(usize),
    Save,
    Restore,
}

fn step() -> impl Strategy<Value = Step> {
    let milliseconds = || select(vec![-1_000, -1, -1, 0, 0, 0, 1, 1, 1_000]);
    let moment = prop_oneof![
        4 => Just(Moment::Next),
        3 => Just(Moment::Previous),
        2 => any::<Index>().prop_map(Moment::Any),
        5 => (0..3_usize).prop_map(Moment::Noted),
    ];
    let wait = select(vec![
        -3_600_000, -60_000, -1_000, -1, 1, 1_000, 30_000, 60_000, 299_999, 300_000, 3_600_000,
    ]);
    let pair = || (any::<Index>(), any::<Index>());
    prop_oneof![
        9 => pair().prop_map(|(policy, token)| Step::Verify(policy, token)),
        9 => Just(Step::Again),
        2 => Just(Step::Sweep),
        7 => (moment, milliseconds()).prop_map(|(moment, by)| Step::Clock(moment, by)),
        2 => wait.prop_map(|by| Step::Clock(Moment::Now, by)),
        5 => (0..2_usize, change()).prop_map(|(store, change)| Step::Keys(store, change)),
        3 => (0..2_usize, change()).prop_map(|(store, change)| Step::Around(store, change)),
        1 => any::<Index>().prop_map(Step::Toggle),
        1 => (0..2_usize).prop_map(Step::RevokeSubject),
        1 => any::<bool>().prop_map(Step::Outage),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let key = || 0..POOL.keys.len();
    let after = select(vec![0, 1, 1_000, 30_000, 100_000, 400_000]);
    prop_oneof![
        4 => key().prop_map(Change::Rotate),
        4 => (0..IDS.len(), after).prop_map(|(id, after)| Change::Retire(id, after)),
        2 => (0..IDS.len()).prop_map(Change::Remove),
        3 => vec(key(), 1..5).prop_map(Change::Replace),
        1 => any::<bool>().prop_map(Change::Text),
        1 => key().prop_map(Change::Crowd),
        1 => Just(Change::Save),
        2 => Just(Change::Restore),
    ]
}

/// The keys and tokens of all histories, made once.
struct Pool {
    keys: Vec<Key>,
    crowd: Vec<Key>,
    jwks: String,
    tokens: Vec<Minted>,
    /// The times at which a time of a token changes a verdict, in milliseconds since the epoch.
    moments: Vec<u64>,
}

struct Minted {
    text: String,
    id: String,
}

const IDS: [&str; 5] = ["a", "b", "c", "e", "r"];

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let clock = FixedClock::at(START);
    let made = |issuer: TestIssuer| issuer.with_clock(clock.clone());
    let [m0, m1, m2] = [0, 1, 2].map(|number| made(secret(number)));
    let edwards = made(TestIssuer::with_algorithm(Algorithm::EdDSA));
    let rsa = made(RSA.clone());
    let keys = vec![
        m0.key().with_key_id("a"),
        m1.key().with_key_id("b"),
        m2.key().with_key_id("c"),
        edwards.key().with_key_id("e"),
        rsa_key_for("RS256").with_key_id("r"),
        // The same key for another algorithm, and other keys under the same ids.
        rsa_key_for("PS256").with_key_id("r"),
        m1.key().with_key_id("a"),
        m0.key().with_key_id("b"),
        m0.key().with_key_id("a"),
    ];
    let crowd = (0..8).map(|number| secret(100 + number).key().with_key_id(format!("f{number}")));
    let jwk = |issuer: &TestIssuer, id: &str| {
        let mut jwk = issuer.jwk();
        jwk["kid"] = id.into();
        jwk
    };
    let jwks = json!({ "keys": [jwk(&edwards, "e"), jwk(&rsa, "r")] }).to_string();

    let at = |seconds: f64| json!(f64::from(u32::try_from(START).unwrap()) + seconds);
    // Values of `iat`, `nbf` and `exp`. NaN means that the claim is left out.
    const NO: f64 = f64::NAN;
    let times = [
        [0.0, NO, 300.0],
        [NO, NO, 600.0],
        [0.0, 100.0, 700.0],
        [30.0, NO, 3_900.0],
        [NO, NO, 3_630.0],
        [-540.0, NO, 300.0],
        [NO, 0.25, 290.5],
        [0.0, NO, NO],
        [-3.0, -10.0, 100.0],
    ];
    let timed = |mut token: TestToken, times: [f64; 3]| {
        for (name, time) in ["iat", "nbf", "exp"].into_iter().zip(times) {
            token = if time.is_nan() {
                token.without(name)
            } else {
                token.claim(name, at(time))
            };
        }
        token
    };
    let of = |issuer: &TestIssuer, id: &str| issuer.token().header("kid", id);
    let other = |issuer: &TestIssuer, id: &str| of(issuer, id).issuer(OTHER);
    let mut tokens: Vec<_> = times.map(|times| timed(of(&m0, "a"), times)).into();
    tokens.extend(
        times[..3]
            .iter()
            .map(|times| timed(other(&m0, "a"), *times)),
    );
    let unnamed = |token: TestToken| token.without_header("kid");
    tokens.extend([
        timed(unnamed(of(&m0, "a")), times[0]),
        timed(unnamed(of(&m0, "a")), times[1]),
        timed(unnamed(other(&m0, "a")), times[2]),
        timed(unnamed(of(&rsa, "r")), times[1]),
        timed(of(&m1, "b"), times[0]),
        timed(of(&m1, "a"), times[1]),
        timed(other(&m1, "b"), times[4]),
        timed(of(&m2, "c"), times[2]),
        timed(of(&edwards, "e"), times[0]),
        timed(other(&edwards, "e"), times[1]),
        timed(of(&rsa, "r"), times[1]),
        timed(of(&rsa, "r"), times[2]),
        // A token for both APIs, and a token with own claims for another subject.
        of(&m0, "a").claim("aud", json!(["https://api.example", OTHER])),
        of(&m0, "a").claim("level", 3).subject("subject-0"),
        // Tokens with one defect.
        of(&m0, "a").claim("level", "high"),
        of(&m0, "a").header("typ", "JWT"),
        of(&m0, "a").audience(OTHER),
        of(&m0, "a").tampered(),
        of(&m0, "a").signed_by_stranger(),
        of(&m0, "nobody"),
        of(&m0, "a").claim("cnf", json!({"jkt": "x"})),
    ]);
    let mut tokens: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(number, token)| Minted {
            text: token.claim("jti", number.to_string()).mint(),
            id: number.to_string(),
        })
        .collect();
    // Forgeries of the first token: the same claims under another signature with the same end, and
    // its signature under other claims of the same length.
    let (signing_input, signature) = tokens[0].text.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let mallory = of(&m0, "a").claim("jti", "0").subject("subject-9");
    let mallory = timed(mallory, times[0]).mint();
    let (claims, _) = mallory.rsplit_once('.').unwrap();
    assert_eq!(claims.len(), signing_input.len());
    let forged = [
        format!("{signing_input}.{first}{}", &signature[1..]),
        format!("{claims}.{signature}"),
    ];
    tokens.extend(forged.map(|text| Minted {
        text,
        id: "0".into(),
    }));

    // The times at which a claim begins or ends to matter, with each leeway and with the maximum
    // age and lifetime.
    let begins = times
        .iter()
        .flat_map(|[iat, nbf, exp]| [*iat, *nbf, exp - 3_600.0]);
    let ends = times.iter().flat_map(|[iat, _, exp]| [*exp, iat + 600.0]);
    let begins = begins.flat_map(|begin| [0.0, 30.0, 60.0].map(|leeway| begin - leeway));
    let ends = ends.flat_map(|end| [0.0, 30.0, 60.0].map(|leeway| end + leeway));
    let moments: BTreeSet<_> = begins
        .chain(ends)
        .filter(|seconds| !seconds.is_nan())
        .map(|seconds| {
            let moment = fixture_time()
                .checked_add(Duration::from_secs(10_000))
                .unwrap();
            let moment = moment - Duration::from_secs_f64(10_000.0 - seconds);
            milliseconds(moment)
        })
        .collect();
    Pool {
        keys,
        crowd: crowd.collect(),
        jwks,
        tokens,
        moments: moments.into_iter().collect(),
    }
});

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

const POLICIES: usize = 8;
const FOR_OTHER_API: usize = 7;

fn policy(number: usize, auth: JwtAuth) -> JwtAuth {
    match number {
        0 => auth,
        1 => auth.leeway(Leeway::ZERO),
        2 => auth
            .max_lifetime(Duration::from_secs(3_600))
            .leeway(Leeway::new(Duration::from_secs(30)).unwrap()),
        3 => auth.max_age(Duration::from_secs(600)),
        4 => auth.access_token_profile(),
        5 => auth.algorithms([Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256]),
        6 => auth.require_key_id().insecure_allow_missing_expiry(),
        FOR_OTHER_API => auth,
        _ => unreachable!("there are {POLICIES}"),
    }
}

/// One policy, in layers without a cache and with several caches.
struct Layers {
    plain: Verifier,
    cached: Vec<Verifier>,
    accepted: BTreeSet<usize>,
}

struct World {
    now: Arc<AtomicU64>,
    stores: [KeyStore; 2],
    saved: [Option<KeySet>; 2],
    checks: Checks,
    denied: Denylist,
    layers: Vec<Layers>,
    noted: Vec<u64>,
    last: (usize, usize),
}

impl World {
    fn new(policies: &[usize], is_pending: bool) -> Self {
        let now = Arc::new(AtomicU64::new(START * 1_000));
        let time = Arc::clone(&now);
        let clock = move || UNIX_EPOCH + Duration::from_millis(time.load(Ordering::Relaxed));
        let first = KeySet::new([0, 1, 2, 3, 4].map(|at| POOL.keys[at].clone())).unwrap();
        let second = if is_pending {
            KeyStore::pending()
        } else {
            first.clone().into()
        };
        let stores = [first.into(), second].map(|store: KeyStore| store.with_clock(clock.clone()));
        let (checks, denied) = (Checks::default(), Denylist::default());
        let (ours, theirs) = (
            Issuer::new("https://as.example").unwrap(),
            Issuer::new(OTHER).unwrap(),
        );
        let layer = |number: usize, cache: TokenCache| {
            let id = if number == FOR_OTHER_API {
                OTHER
            } else {
                "https://api.example"
            };
            let audience = Audience::new(id).unwrap();
            let auth = JwtAuth::new(ours.clone(), audience, &stores[0])
                .trust(TrustedIssuer::new(
                    theirs.clone(),
                    Audience::new("https://api.example").unwrap(),
                    &stores[1],
                ))
                .clock(clock.clone())
                .revocation(checks.clone())
                .revocation(denied.clone())
                .cache(cache);
            policy(number, auth).verifier()
        };
        let layers = policies.iter().map(|number| Layers {
            plain: layer(*number, TokenCache::off()),
            cached: [
                small(),
                small().max_tokens(2),
                small().max_age(Duration::from_secs(45)),
                small().max_age(Duration::from_secs(7_200)),
            ]
            .map(|cache| layer(*number, cache))
            .into(),
            accepted: BTreeSet::new(),
        });
        let layers = layers.collect();
        Self {
            now,
            stores,
            saved: [None, None],
            checks,
            denied,
            layers,
            noted: Vec::new(),
            last: (0, 0),
        }
    }

    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn take(&mut self, step: Step, tally: &mut Tally) -> Result<(), TestCaseError> {
        match step {
            Step::Verify(policy, token) => {
                self.last = (
                    policy.index(self.layers.len()),
                    token.index(POOL.tokens.len()),
                );
                return self.verify(self.last, tally);
            }
            Step::Again => return self.verify(self.last, tally),
            Step::Sweep => return self.sweep(tally),
            Step::Clock(moment, by) => self.set_clock(moment, by),
            Step::Keys(store, change) => self.change(store, &change),
            Step::Around(store, change) => {
                let began = self.now();
                self.sweep(tally)?;
                self.change(store, &change);
                self.sweep(tally)?;
                if let Change::Retire(_, after) = change {
                    let end = began + after;
                    for moment in [end - 1, end] {
                        self.now.store(moment, Ordering::Relaxed);
                        self.sweep(tally)?;
                    }
                }
            }
            Step::Toggle(token) => {
                let token = token.index(POOL.tokens.len());
                self.checks.toggle(&POOL.tokens[token].id);
            }
            Step::RevokeSubject(number) => {
                let subject = SubjectId::new("https://as.example", &format!("subject-{number}"));
                let until = fixture_time() + Duration::from_secs(10_000);
                // Revokes the tokens of the subject that were issued before the start, or have no
                // `iat`.
                let at = fixture_time() - Duration::from_secs(1);
                self.denied.revoke_subject(subject, at, until).unwrap();
            }
            Step::Outage(is_broken) => self.checks.break_down(is_broken),
        }
        self.verify(self.last, tally)
    }

    fn set_clock(&mut self, moment: Moment, by: i64) {
        let now = self.now();
        let moment = match moment {
            Moment::Next => POOL.moments.iter().find(|at| **at > now),
            Moment::Previous => POOL.moments.iter().rev().find(|at| **at < now),
            Moment::Any(index) => Some(&POOL.moments[index.index(POOL.moments.len())]),
            Moment::Noted(back) => self.noted.iter().rev().nth(back),
            Moment::Now => None,
        };
        let moment = moment.copied().unwrap_or(now).saturating_add_signed(by);
        // The clock stays within two hours of the start.
        let start = START * 1_000;
        let moment = moment.clamp(start - 7_200_000, start + 7_200_000);
        self.now.store(moment, Ordering::Relaxed);
    }

    fn note(&mut self, moment: u64) {
        if !self.noted.contains(&moment) {
            self.noted.push(moment);
        }
    }

    fn change(&mut self, at: usize, change: &Change) {
        let store = &self.stores[at];
        let key = |at: &usize| POOL.keys[*at].clone();
        match change {
            Change::Rotate(at) => drop(store.rotate(key(at))),
            Change::Retire(id, after) => {
                if store.retire(IDS[*id], Duration::from_millis(*after)) {
                    self.note(self.now() + after);
                }
            }
            Change::Remove(id) => drop(store.remove(IDS[*id])),
            Change::Replace(keys) => {
                store.replace(KeySet::new(keys.iter().map(key)).unwrap());
            }
            Change::Text(is_good) => {
                let text = if *is_good { POOL.jwks.as_str() } else { "{}" };
                // A valid text is also rejected if all its keys are dead.
                assert!(store.replace_jwks(text.as_bytes()).is_ok() <= *is_good);
            }
            Change::Crowd(at) => {
                let keys = POOL.crowd.iter().cloned().chain([key(at)]);
                store.replace(KeySet::new(keys).unwrap());
            }
            Change::Save => self.saved[at] = store.snapshot(),
            Change::Restore => {
                if let Some(set) = &self.saved[at] {
                    store.replace(set.clone());
                }
            }
        }
    }

    fn sweep(&mut self, tally: &mut Tally) -> Result<(), TestCaseError> {
        for layer in 0..self.layers.len() {
            for token in 0..POOL.tokens.len() {
                self.verify((layer, token), tally)?;
            }
        }
        Ok(())
    }

    /// Asks all verifiers of a policy. All must give the same verdict.
    fn verify(
        &mut self,
        (at, number): (usize, usize),
        tally: &mut Tally,
    ) -> Result<(), TestCaseError> {
        let token = &POOL.tokens[number];
        let layers = &mut self.layers[at];
        let expected = said(&layers.plain, &token.text, &mut 0);
        for (cache, verifier) in layers.cached.iter().enumerate() {
            let said = said(verifier, &token.text, &mut tally.recalled);
            prop_assert_eq!(
                &said,
                &expected,
                "layer {}, cache {}, token {}",
                at,
                cache,
                number
            );
        }
        match expected {
            Ok(_) => {
                tally.accepted += 1;
                layers.accepted.insert(number);
                for seconds in [45, 300] {
                    self.note_limit(seconds);
                }
            }
            Err(kind) => {
                if layers.accepted.contains(&number) {
                    *tally.ended.entry(kind).or_default() += 1;
                }
                *tally.rejected.entry(kind).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Notes the time at which the verdict leaves the cache, because of the maximum age.
    fn note_limit(&mut self, seconds: u64) {
        let moment = self.now() + seconds * 1_000;
        if !self.noted.contains(&moment) {
            // Inserts it behind the last retirements, which are rarer.
            let before = self.noted.len().saturating_sub(2);
            self.noted.insert(before, moment);
        }
    }
}

/// The verdict of a verifier: issuer, subject, id and own claims, or the kind of the rejection.
type Said = Result<(String, String, String, Result<Option<u8>, RejectionKind>), RejectionKind>;

fn said(verifier: &Verifier, token: &str, recalled: &mut u64) -> Said {
    let claims = verifier.verify_now(token).map_err(|no| no.kind())?;
    *recalled += u64::from(has_own(&claims));
    let own = claims.deserialize::<Own>();
    Ok((
        claims.issuer().to_owned(),
        claims.subject().unwrap_or_default().to_owned(),
        claims.id().unwrap_or_default().to_owned(),
        own.map(|own| own.level).map_err(|no| no.kind()),
    ))
}
