//! Random histories of requests, answers, marks, times and outages. A layer that remembers answers
//! gives the same verdicts as a layer that asks each time, with the answer that still counts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestRunner};
use serde_json::json;
use tower_jwt_auth::RejectionKind::{
    self, AudienceMismatch, Expired, Inactive, IntrospectionUnavailable, NotYetValid, Revoked,
    Suspended, UnknownKey,
};
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::introspection::{ClientAuth, ClientSecret, Introspection};
use tower_jwt_auth::revocation::{Denylist, RevocationMark, RevocationTarget};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{JwtAuth, KeyStore, Verifier};

use crate::network::{Network, json, status_only};
use crate::support::{ISSUER, NOW, small_cache};
use crate::world::{ENDPOINT, active_text, asked_for, at, audience, issuer, kind};

#[test]
fn no_history_shows_more_of_the_cache_than_the_time_of_an_answer() {
    let config = ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(SEED),
        ..ProptestConfig::default()
    };
    let tally = RefCell::new(Tally::default());
    let histories = vec(step(), 20..90);
    let outcome = TestRunner::new(config).run(&histories, |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            let mut outcome = Ok(());
            for step in steps {
                outcome = outcome.and(world.take(&step).await);
            }
            tally.borrow_mut().add(world.tally);
            outcome
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    // Makes sure that the histories are useful.
    let tally = tally.into_inner();
    assert!(tally.remembered > u64::from(CASES) * 5, "{tally:?}");
    assert!(tally.differs > u64::from(CASES), "{tally:?}");
    for kind in [
        AudienceMismatch,
        Expired,
        Inactive,
        IntrospectionUnavailable,
        NotYetValid,
        Revoked,
        Suspended,
        UnknownKey,
    ] {
        assert!(tally.ended.contains_key(&kind), "{kind:?}: {tally:?}");
    }
}

const CASES: u32 = 48;
const SEED: u64 = 7_662;
const TOKENS: usize = 4;
/// The index of the last token, which is a JWT that must be active too.
const JWT: usize = TOKENS - 1;

#[derive(Debug, Default)]
struct Tally {
    /// Verdicts without a question to the endpoint.
    remembered: u64,
    /// Verdicts that the endpoint would not give any more.
    differs: u64,
    /// Rejections of tokens that were accepted before.
    ended: HashMap<RejectionKind, u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.remembered += other.remembered;
        self.differs += other.differs;
        for (kind, count) in other.ended {
            *self.ended.entry(kind).or_default() += count;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Verify(usize),
    Clock(u64),
    Says(usize, Says),
    Outage(bool),
    Revoke(usize),
    Suspend(bool),
    /// A mark for another token. It only raises the epoch.
    Elsewhere(u64),
    /// The secret is replaced at the server. `true`: here too.
    Secret(bool),
    RemoveKey,
}

/// What the endpoint says about a token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Active,
    /// Active until this number of seconds from now.
    Until(i64),
    From(i64),
    ForAnother,
    Inactive,
}

fn step() -> impl Strategy<Value = Step> {
    let says = prop_oneof![
        3 => Just(Says::Active),
        2 => (-70_i64..70).prop_map(Says::Until),
        1 => (40_i64..90).prop_map(Says::From),
        1 => Just(Says::ForAnother),
        3 => Just(Says::Inactive),
    ];
    prop_oneof![
        12 => (0..TOKENS).prop_map(Step::Verify),
        5 => prop_oneof![0_u64..2_000, 2_000_u64..12_000, 25_000_u64..35_000].prop_map(Step::Clock),
        4 => (0..TOKENS, says).prop_map(|(token, says)| Step::Says(token, says)),
        1 => any::<bool>().prop_map(Step::Outage),
        1 => (0..TOKENS).prop_map(Step::Revoke),
        1 => any::<bool>().prop_map(Step::Suspend),
        1 => any::<u64>().prop_map(Step::Elsewhere),
        1 => any::<bool>().prop_map(Step::Secret),
        1 => Just(Step::RemoveKey).prop_filter("rarely", |_| true),
    ]
}

/// The state of the endpoint.
struct Server {
    texts: Vec<String>,
    tokens: Vec<String>,
    is_down: bool,
    secret: u32,
}

/// What the layer has learned about a token.
#[derive(Clone)]
struct Known {
    text: String,
    at: f64,
    /// The end of the answer, if the token was accepted.
    end: f64,
    verdict: Option<RejectionKind>,
}

struct World {
    clock: FixedClock,
    now: f64,
    issuer: TestIssuer,
    keys: KeyStore,
    denylist: Denylist,
    server: Arc<Mutex<Server>>,
    secret: ClientSecret,
    is_ours_known: bool,
    network: Network,
    cached: Verifier,
    known: Vec<Option<Known>>,
    ever: Vec<bool>,
    tally: Tally,
}

impl World {
    fn new() -> Self {
        let clock = FixedClock::at(NOW);
        let signer = TestIssuer::new().with_clock(clock.clone());
        let jwt = signer.token().expires_in(Duration::from_secs(100_000));
        let mut tokens: Vec<_> = (0..JWT).map(|at| format!("opaque-{at}")).collect();
        tokens.push(jwt.claim("jti", "id-3").claim("sub", "subject").mint());
        let texts = (0..TOKENS).map(|at| text(at, Says::Active, 0.0)).collect();
        let server = Arc::new(Mutex::new(Server {
            texts,
            tokens,
            is_down: false,
            secret: 0,
        }));
        let network = answering(&server, None);
        let secret = ClientSecret::from(secret_of(0));
        let denylist = Denylist::default().with_clock(clock.clone());
        let keys = KeyStore::from(signer.key()).with_clock(clock.clone());
        let cached = layer(&network, &secret, &keys, &denylist, &clock).verifier();
        Self {
            clock,
            now: 0.0,
            issuer: signer,
            keys,
            denylist,
            server,
            secret,
            is_ours_known: true,
            network,
            cached,
            known: vec![None; TOKENS],
            ever: vec![false; TOKENS],
            tally: Tally::default(),
        }
    }

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Verify(token) => return self.verify(token).await,
            Step::Clock(milliseconds) => {
                let by = Duration::from_millis(milliseconds);
                self.clock.advance(by);
                self.now += by.as_secs_f64();
            }
            Step::Says(token, says) => {
                self.server.lock().unwrap().texts[token] = text(token, says, self.now);
            }
            Step::Outage(is_down) => {
                self.server.lock().unwrap().is_down = is_down;
                // After this time the endpoint is asked again at once.
                tokio::time::sleep(Duration::from_secs(31)).await;
            }
            Step::Revoke(token) => {
                let id = format!("id-{token}");
                self.denylist
                    .revoke_id(ISSUER, &id, at(NOW + 1_000_000))
                    .unwrap();
            }
            Step::Suspend(is_suspended) => {
                let subject = SubjectId::new(ISSUER, "subject");
                if is_suspended {
                    let (now, end) = (at(NOW + 1_000_000), at(NOW + 2_000_000));
                    let mark = RevocationMark::subject(subject, now, end).suspension();
                    self.denylist.mark(&mark).unwrap();
                } else {
                    self.denylist.lift(&RevocationTarget::Subject(subject));
                }
            }
            Step::Elsewhere(id) => {
                let id = format!("elsewhere-{id}");
                self.denylist
                    .revoke_id(ISSUER, &id, at(NOW + 1_000_000))
                    .unwrap();
            }
            Step::Secret(is_told) => {
                self.replace_secret(is_told);
                tokio::time::sleep(Duration::from_secs(31)).await;
            }
            Step::RemoveKey => {
                // Not early, because it is final.
                if self.now > 150.0 {
                    self.keys.remove(self.issuer.key().id().as_str());
                }
            }
        }
        Ok(())
    }

    fn replace_secret(&mut self, is_told: bool) {
        let mut server = self.server.lock().unwrap();
        server.secret += 1;
        self.is_ours_known = is_told;
        if is_told {
            self.secret.replace(secret_of(server.secret)).unwrap();
        }
    }

    async fn verify(&mut self, token: usize) -> Result<(), TestCaseError> {
        let name = self.server.lock().unwrap().tokens[token].clone();
        let asked = self.network.count();
        let verdict = kind(&self.cached.verify(&name).await);
        let was_asked = self.network.count() > asked;
        let now = self.now;
        let counts = |known: &&Known| match known.verdict {
            None => known.at <= now && now < known.end,
            Some(_) => now < known.at + 5.0,
        };
        let known = self.known[token].clone();
        let known = known.as_ref().filter(counts);
        // The verdict of a layer that remembers nothing, with the answer that counts.
        let current = self.server.lock().unwrap().texts[token].clone();
        let works = !self.server.lock().unwrap().is_down && self.is_ours_known;
        let (text, is_answered) = match known {
            Some(known) => (known.text.clone(), true),
            None => (current.clone(), works),
        };
        let fresh = answering(&self.server, Some(is_answered.then_some(text.clone())));
        let uncached = self.fresh(&fresh).verify(&name).await;
        let expected = kind(&uncached);
        prop_assert_eq!(verdict, expected, "token {} at {}: {}", token, now, text);
        let is_local = expected == Some(UnknownKey);
        if !is_local {
            if known.is_some() {
                prop_assert!(!was_asked, "token {token} at {now} is known");
            }
            if known.is_none() && works {
                prop_assert!(was_asked, "token {token} at {now} is not known");
            }
        }
        if known.is_some() {
            self.tally.remembered += 1;
            let today = answering(&self.server, Some(works.then_some(current.clone())));
            let today = kind(&self.fresh(&today).verify(&name).await);
            self.tally.differs += u64::from(today != verdict);
        }
        if verdict.is_none() {
            self.ever[token] = true;
        } else if let (Some(kind), true) = (verdict, self.ever[token]) {
            *self.tally.ended.entry(kind).or_default() += 1;
        }
        if known.is_none() && works && !is_local {
            self.known[token] = self.learned(text, &name).await;
        }
        Ok(())
    }

    /// What a layer remembers of an answer. Marks are not part of it, because they are checked for
    /// each request.
    async fn learned(&self, text: String, name: &str) -> Option<Known> {
        let network = answering(&self.server, Some(Some(text.clone())));
        let unmarked = layer(
            &network,
            &self.secret,
            &self.keys,
            &Denylist::default(),
            &self.clock,
        );
        let verdict = kind(&unmarked.verifier().verify(name).await);
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        let exp = answer["exp"].as_f64().unwrap_or(f64::INFINITY);
        let epoch = f64::from(u32::try_from(NOW).unwrap());
        (verdict != Some(NotYetValid)).then_some(Known {
            text,
            at: self.now,
            end: (self.now + 30.0).min(exp - epoch),
            verdict,
        })
    }

    fn fresh(&self, network: &Network) -> Verifier {
        layer(
            network,
            &self.secret,
            &self.keys,
            &self.denylist,
            &self.clock,
        )
        .verifier()
    }
}

fn layer(
    network: &Network,
    secret: &ClientSecret,
    keys: &KeyStore,
    denylist: &Denylist,
    clock: &FixedClock,
) -> JwtAuth {
    let auth = ClientAuth::secret_post("api", secret.clone()).unwrap();
    let introspection = Introspection::at_with(ENDPOINT, auth, network.clone()).unwrap();
    JwtAuth::new(issuer(), audience(), keys)
        .introspection(introspection.introspect_jwts())
        .revocation(denylist.clone())
        .clock(clock.clone())
        .cache(small_cache())
}

/// An endpoint that answers from the state of the server, always with one answer, or not at all.
fn answering(server: &Arc<Mutex<Server>>, fixed: Option<Option<String>>) -> Network {
    let server = Arc::clone(server);
    Network::new(move |request| {
        if let Some(fixed) = &fixed {
            return match fixed {
                Some(text) => Ok(json(text.clone())),
                None => Err(FetchError::new("connection refused")),
            };
        }
        let server = server.lock().unwrap();
        if server.is_down {
            return Err(FetchError::new("connection refused"));
        }
        let body = String::from_utf8_lossy(request.body()).into_owned();
        if !body.contains(&format!("client_secret={}", secret_of(server.secret))) {
            return Ok(status_only(401));
        }
        let asked = asked_for(request);
        let token = server.tokens.iter().position(|token| *token == asked);
        // A probe asks for a text that is not a token.
        let unknown = r#"{"active":false}"#.to_owned();
        Ok(json(
            token.map_or(unknown, |token| server.texts[token].clone()),
        ))
    })
}

fn secret_of(number: u32) -> String {
    format!("secret-number-{number}-of-this-api")
}

fn text(token: usize, says: Says, now: f64) -> String {
    let epoch = f64::from(u32::try_from(NOW).unwrap());
    let in_seconds = |seconds: i64| epoch + now + f64::from(i32::try_from(seconds).unwrap());
    let mut members = json!({
        "jti": format!("id-{token}"),
        "sub": "subject",
        "iat": NOW,
        "exp": NOW + 100_000,
    });
    match says {
        Says::Active => {}
        Says::Until(seconds) => members["exp"] = in_seconds(seconds).into(),
        Says::From(seconds) => members["nbf"] = in_seconds(seconds).into(),
        Says::ForAnother => members["aud"] = "https://other.example".into(),
        Says::Inactive => return json!({ "active": false }).to_string(),
    }
    active_text(members)
}
