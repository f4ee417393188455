//! Random histories of a store whose keys are fetched: what the issuer publishes and how it
//! answers, time, tokens, and changes of the application. The promises hold in every combination.
//!
//! Each run has a new seed, which it prints. `TOWER_JWT_AUTH_SEED` sets the seed.
#![cfg(feature = "remote")]

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use crate::network::{JWKS, Network, json, settle, status_only, unless_known};
use crate::support::small_cache;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use tokio::time::{Instant, advance};
use tower_jwt_auth::RejectionKind::{self, BadSignature, KeySourceUnavailable, UnknownKey};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, JwtAuth, KeySet, KeyStore, Verifier};

const CASES: u32 = 128;

const SIGNERS: usize = 4;
const IDS: [Option<&str>; 4] = [Some("a"), Some("b"), Some("c"), None];
const LIFETIME: Duration = Duration::from_secs(600);
const KEEP_STALE: Duration = Duration::from_secs(3_600);
const LONGEST_WAIT: Duration = Duration::from_millis(5_100);
const START: u64 = 1_700_000_000;

/// The index of a signer, and the index of the id under which its key is known.
type Named = (usize, usize);

#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Named>),
    Behave(Behaviour),
    Pass(u64),
    Show(Named, bool),
    /// Sends this number of tokens with invented ids at the same time.
    Invent(usize),
    Remove(usize),
    Retire(usize, u64),
    Rotate(usize),
    Reinstate(usize),
    Replace(Vec<Named>),
    /// Replaces the set by the text of a key set. Its keys that are dead stay dead.
    ReplaceText(Vec<Named>),
    /// Replaces the set by the current one.
    Restore,
    /// Removes the keys with this id.
    RemoveId(usize),
    Reload,
}

/// How the issuer responds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Behaviour {
    Good,
    /// With an `ETag`, and with 304 if the request has that tag.
    Tagged,
    /// A good response after three seconds.
    Slow,
    Hanging,
    Html,
    Refusing,
    TooMany,
}

impl Behaviour {
    fn is_reachable(self) -> bool {
        matches!(self, Self::Good | Self::Tagged | Self::Slow)
    }
}

fn step() -> impl Strategy<Value = Step> {
    let named = || (0..SIGNERS, 0..IDS.len());
    let behaviour = prop_oneof![
        3 => Just(Behaviour::Good),
        3 => Just(Behaviour::Tagged),
        1 => Just(Behaviour::Slow),
        1 => Just(Behaviour::Hanging),
        1 => Just(Behaviour::Html),
        2 => Just(Behaviour::Refusing),
        1 => Just(Behaviour::TooMany),
    ];
    let seconds = prop::sample::select(vec![1_u64, 2, 10, 30, 70, 500, 650, 3_700, 5_000, 90_000]);
    prop_oneof![
        3 => vec(named(), 1..4).prop_map(Step::Publish),
        3 => behaviour.prop_map(Step::Behave),
        4 => seconds.prop_map(Step::Pass),
        10 => (named(), prop::bool::weighted(0.15)).prop_map(|(key, forged)| Step::Show(key, forged)),
        1 => (1..12_usize).prop_map(Step::Invent),
        1 => (0..SIGNERS).prop_map(Step::Remove),
        1 => (0..SIGNERS, 0..1_000_u64).prop_map(|(signer, after)| Step::Retire(signer, after)),
        1 => (0..SIGNERS).prop_map(Step::Rotate),
        1 => (0..SIGNERS).prop_map(Step::Reinstate),
        1 => vec(named(), 1..4).prop_map(Step::Replace),
        1 => vec(named(), 1..4).prop_map(Step::ReplaceText),
        1 => Just(Step::Restore),
        1 => (0..IDS.len()).prop_map(Step::RemoveId),
        1 => Just(Step::Reload),
    ]
}

struct Signer {
    issuer: TestIssuer,
    thumbprint: String,
    jwk: String,
    /// For each id: a good token and a forged one.
    tokens: Vec<[String; 2]>,
}

/// Made once, because the tokens live longer than any history.
static POOL: LazyLock<Vec<Signer>> = LazyLock::new(|| {
    let signer = |_| {
        let issuer = TestIssuer::with_algorithm(Algorithm::EdDSA);
        let issuer = issuer.with_clock(FixedClock::at(START));
        let tokens = IDS.map(|id| {
            let token = issuer
                .token()
                .expires_in(Duration::from_secs(1_000_000_000));
            let token = match id {
                Some(id) => token.header("kid", id),
                None => token.without_header("kid"),
            };
            [token.mint(), token.tampered().mint()]
        });
        Signer {
            thumbprint: issuer.key().thumbprint().to_owned(),
            jwk: issuer.jwk().to_string(),
            tokens: tokens.to_vec(),
            issuer,
        }
    };
    (0..SIGNERS).map(signer).collect()
});

fn jwks(keys: &[Named]) -> String {
    let keys = keys.iter().map(|(signer, id)| {
        let mut jwk: serde_json::Value = serde_json::from_str(&POOL[*signer].jwk).unwrap();
        let members = jwk.as_object_mut().unwrap();
        match IDS[*id] {
            Some(id) => members.insert("kid".into(), id.into()),
            None => members.remove("kid"),
        };
        jwk.to_string()
    });
    format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","))
}

struct World {
    network: Network,
    keys: KeyStore,
    clock: FixedClock,
    cached: Verifier,
    plain: Verifier,
    published: Vec<Named>,
    behaviour: Behaviour,
    /// The time of the newest request that got a good response.
    answered: Arc<Mutex<Option<Instant>>>,
    /// The time at which the application ended the key of a signer, in seconds of the clock.
    dead_at: HashMap<usize, Duration>,
    own: Vec<usize>,
    /// The signers in the last set of the application.
    given: Vec<usize>,
    begin: Instant,
    /// The number of requests to the issuer that are allowed in addition to those that time and
    /// tokens cause.
    causes: usize,
    invented: usize,
}

impl World {
    async fn new(published: Vec<Named>, is_lazy: bool) -> Self {
        let clock = FixedClock::at(START);
        let network = Network::new(|_| Err(FetchError::new("not yet")));
        let answered = Arc::default();
        answer(&network, Behaviour::Good, &published, &answered);
        let remote = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
        let remote = remote.keep_stale(KEEP_STALE).clock(clock.clone());
        let keys = if is_lazy {
            remote.connect_lazy().unwrap()
        } else {
            remote.connect().await.unwrap()
        };
        let keys = keys.with_clock(clock.clone());
        let issuer = &POOL[0].issuer;
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys).clock(clock.clone());
        Self {
            network,
            keys,
            cached: auth.clone().cache(small_cache()).verifier(),
            plain: auth.cache(TokenCache::off()).verifier(),
            clock,
            published,
            behaviour: Behaviour::Good,
            answered,
            dead_at: HashMap::new(),
            own: Vec::new(),
            given: Vec::new(),
            begin: Instant::now(),
            causes: 2,
            invented: 0,
        }
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Sets the clock of the application to the time of the runtime.
    fn synchronize(&self) {
        self.clock.set(START);
        self.clock.advance(self.now());
    }

    fn is_held(&self, signer: usize) -> bool {
        let set = self.keys.snapshot();
        let thumbprint = &POOL[signer].thumbprint;
        set.is_some_and(|set| set.keys().any(|key| key.thumbprint() == thumbprint))
    }

    fn knows_id(&self, id: &str) -> bool {
        let set = self.keys.snapshot();
        set.is_some_and(|set| set.keys().any(|key| key.id().as_str() == id))
    }

    async fn verdict(&self, verifier: &Verifier, token: &str) -> Result<(), Verdict> {
        let start = Instant::now();
        let verdict = verifier.verify(token).await;
        self.synchronize();
        prop_assert_that(start.elapsed() <= LONGEST_WAIT, || {
            format!("a request waited {:?}", start.elapsed())
        })?;
        verdict
            .map(drop)
            .map_err(|rejection| Verdict::Rejected(rejection.kind()))
    }

    async fn take(&mut self, step: Step, accepted: &Cell<u32>) -> Result<(), TestCaseError> {
        match step {
            Step::Publish(keys) => {
                self.published = keys;
                self.causes += 2;
                self.behave(self.behaviour);
            }
            Step::Behave(behaviour) => {
                self.causes += 8;
                self.behave(behaviour);
            }
            Step::Pass(seconds) => {
                // In steps, so that the task runs at its times.
                for _ in 0..10 {
                    advance(Duration::from_millis(seconds * 100)).await;
                    self.synchronize();
                    settle().await;
                    self.synchronize();
                }
            }
            Step::Show(key, is_forged) => self.show(key, is_forged, accepted).await?,
            Step::Invent(count) => {
                for _ in 0..count {
                    self.invented += 1;
                    let id = format!("invented-{}", self.invented);
                    let token = POOL[0].issuer.token().header("kid", id).mint();
                    let verdict = self.verdict(&self.cached, &token).await;
                    prop_assert!(verdict.is_err());
                    verdict.or_else(Verdict::or_failure)?;
                }
            }
            Step::Remove(signer) => {
                if self.keys.remove(&POOL[signer].thumbprint) {
                    self.dead_at.insert(signer, Duration::ZERO);
                    self.own.retain(|own| *own != signer);
                }
            }
            Step::Retire(signer, after) => {
                if self
                    .keys
                    .retire(&POOL[signer].thumbprint, Duration::from_secs(after))
                {
                    let end = self.now() + Duration::from_secs(after);
                    let known = self.dead_at.entry(signer).or_insert(end);
                    *known = end.min(*known);
                }
            }
            Step::Rotate(signer) => {
                self.keys.rotate(POOL[signer].issuer.key());
                self.dead_at.remove(&signer);
                self.own.push(signer);
            }
            Step::Reinstate(signer) => {
                let was_dead = self.is_dead(signer);
                if self.keys.reinstate(&POOL[signer].thumbprint) {
                    self.dead_at.remove(&signer);
                    // A dead key comes back only from its source.
                    self.own.retain(|own| *own != signer || !was_dead);
                }
            }
            Step::Replace(keys) => {
                let set = KeySet::from_jwks(jwks(&keys).as_bytes()).unwrap();
                self.keys.replace(set);
                self.given = keys.iter().map(|(signer, _)| *signer).collect();
                self.own.clear();
                self.dead_at
                    .retain(|signer, _| !self.given.contains(signer));
            }
            Step::ReplaceText(keys) => {
                let is_dead = keys.iter().all(|(signer, _)| self.is_dead(*signer));
                let replaced = self.keys.replace_jwks(jwks(&keys).as_bytes());
                prop_assert_eq!(replaced.is_err(), is_dead);
                if replaced.is_ok() {
                    self.given = keys.iter().map(|(signer, _)| *signer).collect();
                    self.own.clear();
                }
            }
            Step::Restore => {
                if let Some(set) = self.keys.snapshot() {
                    let held = |signer: &usize| self.is_held(*signer);
                    self.given = (0..SIGNERS).filter(held).collect();
                    self.own.clear();
                    self.keys.replace(set);
                }
            }
            Step::RemoveId(id) => {
                let Some(id) = IDS[id] else { return Ok(()) };
                let set = self.keys.snapshot();
                let is_named = |signer: &usize| {
                    let keys = set.iter().flat_map(KeySet::keys);
                    let thumbprint = &POOL[*signer].thumbprint;
                    let mut keys = keys.filter(|key| key.thumbprint() == thumbprint);
                    keys.any(|key| key.id().as_str() == id)
                };
                let named: Vec<_> = (0..SIGNERS).filter(is_named).collect();
                prop_assert_eq!(self.keys.remove(id), !named.is_empty());
                for signer in named {
                    self.dead_at.insert(signer, Duration::ZERO);
                    self.own.retain(|own| *own != signer);
                }
            }
            Step::Reload => {
                self.causes += 2;
                self.keys.reload().await;
                self.synchronize();
            }
        }
        let asked = self.network.count();
        let seconds = usize::try_from(self.now().as_secs()).unwrap();
        let bound = 8 + self.causes + seconds / 40 + seconds / 50 + seconds / 30;
        prop_assert!(asked <= bound, "{asked} requests, at most {bound}");
        Ok(())
    }

    fn behave(&mut self, behaviour: Behaviour) {
        self.behaviour = behaviour;
        answer(&self.network, behaviour, &self.published, &self.answered);
    }

    fn is_dead(&self, signer: usize) -> bool {
        let dead_at = self.dead_at.get(&signer);
        dead_at.is_some_and(|dead_at| *dead_at <= self.now())
    }

    async fn show(
        &self,
        (signer, id): Named,
        is_forged: bool,
        accepted: &Cell<u32>,
    ) -> Result<(), TestCaseError> {
        let token = &POOL[signer].tokens[id][usize::from(is_forged)];
        let was_dead = self.is_dead(signer);
        let before = self.keys.status();
        let was_failing = before.failing.is_some();
        let answered = *self.answered.lock().unwrap();
        let is_unknown = IDS[id].is_some_and(|id| !self.knows_id(id));
        let generation = self.keys.generation();

        let first = self.verdict(&self.plain, token).await;
        let cached = self.verdict(&self.cached, token).await;
        let last = self.verdict(&self.plain, token).await;
        for verdict in [&first, &cached, &last] {
            verdict.clone().or_else(Verdict::or_failure)?;
        }
        // The verdict is the same with and without the cache, unless the keys have changed
        // meanwhile.
        if self.keys.generation() == generation && first.is_ok() == last.is_ok() {
            prop_assert_eq!(first.is_ok(), cached.is_ok(), "{:?} {:?}", first, cached);
        }
        for verdict in [&first, &cached, &last] {
            match verdict {
                Ok(()) => {
                    accepted.set(accepted.get() + 1);
                    prop_assert!(!is_forged, "a forged token");
                    prop_assert!(!was_dead, "the key is dead");
                    prop_assert!(self.is_held(signer) || self.is_dead(signer), "no such key");
                    // The key is known from a response that is not too old, or from the
                    // application.
                    let answered = *self.answered.lock().unwrap();
                    let is_late = answered.is_none_or(|at| {
                        at.elapsed() > LIFETIME + KEEP_STALE + Duration::from_secs(10)
                    });
                    let is_ours = self.own.contains(&signer) || self.given.contains(&signer);
                    prop_assert!(!is_late || is_ours, "too old a key");
                }
                Err(verdict) => {
                    let Verdict::Rejected(kind) = verdict else {
                        continue;
                    };
                    prop_assert!(
                        matches!(kind, BadSignature | KeySourceUnavailable | UnknownKey),
                        "{kind:?}"
                    );
                    // During an outage the issuer may have a key for this token.
                    let may_be_good = !is_forged && !was_dead && !self.is_dead(signer);
                    let is_down = !self.behaviour.is_reachable();
                    let was_answered_long_ago =
                        answered.is_none_or(|at| at.elapsed() > Duration::from_secs(31));
                    // A load that was running already may have succeeded meanwhile.
                    let was_asked = self.keys.status().loads != before.loads;
                    let nobody_could_ask =
                        !was_asked && (was_failing || is_unknown && was_answered_long_ago);
                    // A token that names a dead key may be rejected without a load.
                    let is_free = !self.keys.status().to_string().contains("dead key");
                    if may_be_good && is_down && nobody_could_ask && is_free {
                        prop_assert_eq!(*kind, KeySourceUnavailable, "a key that may be there");
                    }
                }
            }
        }
        Ok(())
    }

    /// At the end the issuer responds again, and the verdicts follow its key set.
    async fn ends_well(&mut self) -> Result<(), TestCaseError> {
        // A set of the application is used until the source has another one, so the source gets
        // another set first.
        let published = self.published.clone();
        let is_first = published == [(0, 0)];
        for keys in [vec![(usize::from(is_first), 0)], published] {
            self.published = keys;
            self.behave(Behaviour::Tagged);
            self.keys.reload().await;
            self.keys.reload().await;
        }
        self.synchronize();
        prop_assert!(self.keys.status().failing.is_none());
        for signer in 0..SIGNERS {
            for (id, name) in IDS.iter().enumerate() {
                let [good, forged] = &POOL[signer].tokens[id];
                let is_among =
                    |ids: &[usize]| ids.iter().any(|id| self.published.contains(&(signer, *id)));
                let is_published = match name {
                    Some(_) => is_among(&[id]),
                    None => is_among(&[0, 1, 2, 3]) || self.own.contains(&signer),
                };
                for verifier in [&self.plain, &self.cached] {
                    let verdict = self.verdict(verifier, good).await;
                    if self.is_dead(signer) {
                        prop_assert!(verdict.is_err(), "signer {} is dead", signer);
                    } else if is_published {
                        prop_assert_eq!(verdict, Ok(()), "signer {} is published", signer);
                    } else {
                        prop_assert!(verdict.is_err(), "signer {} is not published", signer);
                    }
                    prop_assert!(self.verdict(verifier, forged).await.is_err());
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    Rejected(RejectionKind),
    /// A broken promise in place of a verdict.
    Failure(String),
}

impl Verdict {
    fn or_failure(self) -> Result<(), TestCaseError> {
        match self {
            Self::Rejected(_) => Ok(()),
            Self::Failure(reason) => Err(TestCaseError::fail(reason)),
        }
    }
}

fn prop_assert_that(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Verdict> {
    if holds {
        Ok(())
    } else {
        Err(Verdict::Failure(reason()))
    }
}

/// Sets the response of the network.
fn answer(
    network: &Network,
    behaviour: Behaviour,
    published: &[Named],
    answered: &Arc<Mutex<Option<Instant>>>,
) {
    let (text, answered) = (jwks(published), Arc::clone(answered));
    network.answers_after(match behaviour {
        Behaviour::Slow => Some(Duration::from_secs(3)),
        Behaviour::Hanging => None,
        _ => Some(Duration::ZERO),
    });
    let tag = format!("{:?}", RandomState::new().hash_one(&text).to_string());
    network.answers(move |request| {
        if behaviour.is_reachable() {
            *answered.lock().unwrap() = Some(Instant::now());
        }
        match behaviour {
            Behaviour::Good | Behaviour::Slow | Behaviour::Hanging => Ok(json(text.clone())),
            Behaviour::Tagged => Ok(unless_known(request, &tag, text.clone())),
            Behaviour::Html => {
                let mut page = json("<html>");
                let html = "text/html".parse().unwrap();
                page.headers_mut().insert(CONTENT_TYPE, html);
                Ok(page)
            }
            Behaviour::Refusing => Err(FetchError::new("connection refused")),
            Behaviour::TooMany => {
                let mut response = status_only(429);
                response.headers_mut().insert(RETRY_AFTER, 20.into());
                Ok(response)
            }
        }
    });
}

#[test]
fn no_history_of_an_issuer_breaks_a_promise() {
    let given = std::env::var("TOWER_JWT_AUTH_SEED").ok();
    let seed = given.map_or_else(
        || RandomState::new().hash_one(()),
        |seed| seed.parse().unwrap(),
    );
    println!("TOWER_JWT_AUTH_SEED={seed}");
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    let accepted = Cell::new(0);
    let key = || (0..SIGNERS, 0..IDS.len());
    let histories = (vec(key(), 1..4), any::<bool>(), vec(step(), 10..50));
    let outcome = TestRunner::new(config).run(&histories, |(published, is_lazy, steps)| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(published, is_lazy).await;
            for step in steps {
                world.take(step, &accepted).await?;
            }
            world.ends_well().await
        })
    });
    if let Err(failure) = outcome {
        panic!("TOWER_JWT_AUTH_SEED={seed}: {failure}");
    }
    // Makes sure that the histories are useful.
    assert!(accepted.get() > CASES, "{}", accepted.get());
}
