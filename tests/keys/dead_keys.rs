//! Decisions of the application about fetched keys. A removed or retired key stays dead whatever
//! its issuer publishes. An added key stays in use.
#![cfg(feature = "remote")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::time::{advance, sleep};
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::keys::{ChangeCause, Freshness};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, JwtAuth, Key, KeyStore, Rejection, RejectionKind, Verifier};

const NOW: u64 = 1_700_000_000;

/// An issuer, the key set that it publishes, and a service that fetches it.
struct World {
    issuer: TestIssuer,
    clock: FixedClock,
    /// `None` during an outage.
    published: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    keys: KeyStore,
    verifier: Verifier,
    /// A token that is signed with `key-1` and names `key-9`.
    renamed: String,
}

impl World {
    /// An issuer with the keys `key-1` and `key-2`, and a token of each.
    async fn new() -> (Self, [String; 2]) {
        let clock = FixedClock::at(NOW);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let old = token(&issuer);
        let renamed = issuer.token().header("kid", "key-9").mint();
        issuer.rotate();
        let new = token(&issuer);
        let published = Arc::new(Mutex::new(Some(issuer.jwks())));
        let asked = Arc::new(AtomicUsize::new(0));
        let keys = {
            let (published, asked) = (published.clone(), asked.clone());
            let fetch = move |request: Request<Vec<u8>>, _: usize| {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = published.lock().unwrap().clone();
                std::future::ready(match answer {
                    Some(jwks) => Ok(answer_of(&request, jwks)),
                    None => Err(FetchError::new("connection refused")),
                })
            };
            let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
            keys.clock(clock.clone()).connect().await.unwrap()
        };
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys);
        let verifier = auth.clock(clock.clone()).verifier();
        let world = Self {
            issuer,
            clock,
            published,
            asked,
            keys,
            verifier,
            renamed,
        };
        for token in [&old, &new] {
            assert_eq!(world.verdict(token).await, Ok(()));
        }
        (world, [old, new])
    }

    async fn verdict(&self, token: &str) -> Result<(), RejectionKind> {
        self.said(token).await.map_err(|rejection| rejection.kind())
    }

    async fn said(&self, token: &str) -> Result<(), Rejection> {
        self.verifier.verify(token).await.map(drop)
    }

    fn publish(&self, jwks: impl Into<String>) {
        *self.published.lock().unwrap() = Some(jwks.into());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn dead(&self) -> Vec<(String, ChangeCause, bool)> {
        let dead = self.keys.status().dead;
        let row =
            |key: &tower_jwt_auth::keys::DeadKey| (key.id.to_string(), key.cause, key.is_published);
        dead.iter().map(row).collect()
    }
}

/// The response: 304 if the client has this text already.
fn answer_of(request: &Request<Vec<u8>>, jwks: String) -> Response<Vec<u8>> {
    let mut hasher = DefaultHasher::new();
    jwks.hash(&mut hasher);
    let tag = format!("\"{}\"", hasher.finish());
    let is_known = request
        .headers()
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known == tag.as_str());
    let answer = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header(ETAG, tag);
    let (status, body) = if is_known {
        (304, String::new())
    } else {
        (200, jwks)
    };
    answer.status(status).body(body.into_bytes()).unwrap()
}

fn token(issuer: &TestIssuer) -> String {
    issuer
        .token()
        .expires_in(Duration::from_secs(86_400))
        .mint()
}

fn unnamed(jwks: &str, id: &str, other: &str) -> String {
    let mut set: Value = serde_json::from_str(jwks).unwrap();
    for key in set["keys"].as_array_mut().unwrap() {
        if key["kid"] == id {
            key["kid"] = json!(other);
        }
    }
    set.to_string()
}

const DEAD: Result<(), RejectionKind> = Err(RejectionKind::UnknownKey);

#[tokio::test(start_paused = true)]
async fn a_removed_key_stays_dead_whatever_its_issuer_publishes() {
    let (world, [old, new]) = World::new().await;
    assert!(world.keys.remove("key-1"));
    let asked = world.asked();
    for _ in 0..10 {
        assert_eq!(world.verdict(&old).await, DEAD);
        assert_eq!(world.verdict(&new).await, Ok(()));
    }
    assert_eq!(world.asked(), asked, "its tokens cause no load");

    // After 304, after the same keys in another text, and after more keys.
    world.keys.reload().await;
    assert_eq!(world.verdict(&old).await, DEAD);
    let generation = world.keys.generation();
    world.publish(world.issuer.jwks() + "\n");
    world.keys.reload().await;
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(
        world.keys.generation(),
        generation,
        "the same keys are no change"
    );
    world.issuer.rotate();
    let newest = token(&world.issuer);
    world.publish(world.issuer.jwks());
    assert_eq!(world.verdict(&newest).await, Ok(()));
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(world.verdict(&new).await, Ok(()));
    let removed = [("key-1".to_owned(), ChangeCause::Remove, true)];
    assert_eq!(world.dead(), removed);
    let shown = world.keys.status().to_string();
    assert!(
        shown.contains("dead key \"key-1\", removed 0 s ago, still published"),
        "{shown}"
    );
    let said = world.said(&old).await.unwrap_err().to_string();
    assert_eq!(said, r#"key "key-1" was removed by the application"#);

    // After hours of refreshes, and during an outage. It is a fault of the token, so the answer is
    // never 503.
    for _ in 0..10 {
        advance(Duration::from_secs(600)).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.verdict(&old).await, DEAD);
    *world.published.lock().unwrap() = None;
    world.keys.reload().await;
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(world.verdict(&new).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_stays_dead_under_another_id() {
    let (world, [old, new]) = World::new().await;
    assert!(world.keys.remove("key-1"));
    world.publish(unnamed(&world.issuer.jwks(), "key-1", "key-9"));
    world.keys.reload().await;
    let asked = world.asked();
    assert_eq!(world.verdict(&world.renamed).await, DEAD);
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(world.verdict(&new).await, Ok(()));
    assert_eq!(world.asked(), asked);
    // Another key can use the id.
    world.publish(unnamed(&world.issuer.jwks(), "key-2", "key-1"));
    world.keys.reload().await;
    let other = world.issuer.token().header("kid", "key-1").mint();
    assert_eq!(world.verdict(&other).await, Ok(()));
    assert!(world.verdict(&old).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_retired_key_stays_dead_after_its_end() {
    let (world, [old, new]) = World::new().await;
    assert!(world.keys.retire("key-1", Duration::from_secs(100)));
    // A refresh does not cancel the end, with the same set or with another one.
    world.keys.reload().await;
    world.issuer.rotate();
    world.publish(world.issuer.jwks());
    world.keys.reload().await;
    let status = world.keys.status();
    assert_eq!(status.keys.len(), 3);
    assert_eq!(status.retiring.len(), 1);
    assert_eq!(status.retiring[0].id.as_str(), "key-1");
    let shown = status.to_string();
    assert!(shown.contains("key \"key-1\", retires in 100 s"), "{shown}");
    world.clock.advance(Duration::from_secs(99));
    assert_eq!(world.verdict(&old).await, Ok(()));
    world.clock.advance(Duration::from_secs(1));
    let asked = world.asked();
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(world.verdict(&new).await, Ok(()));
    assert_eq!(world.asked(), asked, "its tokens cause no load");
    let status = world.keys.status();
    assert_eq!((status.keys.len(), status.retiring.len()), (2, 0));
    assert_eq!(world.keys.snapshot().unwrap().keys().count(), 2);
    world.publish(world.issuer.jwks() + " ");
    world.keys.reload().await;
    assert_eq!(world.verdict(&old).await, DEAD);
    assert_eq!(
        world.dead(),
        [("key-1".to_owned(), ChangeCause::Retire, true)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_dead_key_counts_again_when_the_application_says_so() {
    let (world, [old, _]) = World::new().await;
    let set = world.keys.snapshot().unwrap();
    let key = set.keys().find(|key| key.id().as_str() == "key-1").unwrap();

    assert!(world.keys.remove("key-1"));
    assert!(world.keys.reinstate("key-1"));
    assert!(!world.keys.reinstate("key-1"));
    assert_eq!(world.verdict(&old).await, Ok(()));
    assert!(world.dead().is_empty());

    assert!(world.keys.remove(key.thumbprint()));
    assert_eq!(world.verdict(&old).await, DEAD);
    world.keys.rotate(key.clone());
    assert_eq!(world.verdict(&old).await, Ok(()));

    assert!(world.keys.remove("key-1"));
    world.keys.replace(set);
    assert_eq!(world.verdict(&old).await, Ok(()));

    // `replace_jwks` does not make the key valid again, because the text comes from the issuer.
    assert!(world.keys.remove("key-1"));
    world
        .keys
        .replace_jwks(world.issuer.jwks().as_bytes())
        .unwrap();
    assert_eq!(world.verdict(&old).await, DEAD);
    assert!(world.keys.remove("key-2"));
    let rejected = world.keys.replace_jwks(world.issuer.jwks().as_bytes());
    assert!(
        rejected
            .unwrap_err()
            .to_string()
            .contains("removed or retired")
    );
    assert!(!world.keys.is_ready());
    assert_eq!(world.keys.status().freshness, Freshness::Missing);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_the_application_stays_beside_those_that_are_fetched() {
    let (world, [old, new]) = World::new().await;
    let secret = b"LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs";
    let login = TestIssuer::with_secret(Algorithm::HS256, secret).with_clock(world.clock.clone());
    let own = login
        .named(world.issuer.issuer().as_str())
        .token()
        .header("kid", "internal")
        .expires_in(Duration::from_secs(86_400))
        .mint();
    assert!(world.verdict(&own).await.is_err());
    let key = Key::from_secret(Algorithm::HS256, secret).unwrap();
    world.keys.rotate(key.with_key_id("internal"));
    assert_eq!(world.verdict(&own).await, Ok(()));
    world.issuer.rotate();
    for jwks in [world.issuer.jwks(), world.issuer.jwks() + " "] {
        world.publish(jwks);
        world.keys.reload().await;
        for token in [&own, &old, &new] {
            assert_eq!(world.verdict(token).await, Ok(()));
        }
    }
    let generation = world.keys.generation();
    world.publish(world.issuer.jwks() + "  ");
    world.keys.reload().await;
    assert_eq!(
        world.keys.generation(),
        generation,
        "the same keys are no change"
    );

    // After days without the issuer its keys are given up. The key of the application stays.
    *world.published.lock().unwrap() = None;
    for _ in 0..30 {
        advance(Duration::from_secs(3_600)).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.verdict(&own).await, Ok(()));
    assert_eq!(
        world.verdict(&old).await,
        Err(RejectionKind::KeySourceUnavailable)
    );
    assert!(world.keys.remove("internal"));
    assert!(world.verdict(&own).await.is_err());
}

/// A set that the application gives in place of fetched keys does not have their age.
#[tokio::test(start_paused = true)]
async fn a_set_that_the_application_gave_in_an_outage_outlasts_the_fetched_keys() {
    let (world, [old, new]) = World::new().await;
    *world.published.lock().unwrap() = None;
    sleep(Duration::from_secs(20 * 3_600)).await;
    let set = world.keys.snapshot().unwrap();
    let key = set.keys().find(|key| key.id().as_str() == "key-2").unwrap();
    world.keys.replace(key.clone().into());
    sleep(Duration::from_secs(20 * 3_600)).await;
    assert!(world.keys.is_ready());
    assert_eq!(world.verdict(&new).await, Ok(()));
    assert_eq!(
        world.verdict(&old).await,
        Err(RejectionKind::KeySourceUnavailable),
        "the issuer may have it"
    );
    // The source is back, first with the same set as before, and then with another one.
    world.publish(world.issuer.jwks());
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.verdict(&old).await, DEAD);
    world.issuer.rotate();
    world.publish(world.issuer.jwks());
    sleep(Duration::from_secs(600)).await;
    assert_eq!(world.verdict(&old).await, Ok(()));
    // The fetched set is given up at its usual time.
    *world.published.lock().unwrap() = None;
    sleep(Duration::from_secs(40 * 3_600)).await;
    assert!(!world.keys.is_ready());
}

/// A set counts as another one if it has other keys, and not if only the text or the status
/// differs.
#[tokio::test(start_paused = true)]
async fn a_replaced_set_counts_until_the_source_has_another_one_and_not_only_another_text() {
    let (world, [old, new]) = World::new().await;
    let set = world.keys.snapshot().unwrap();
    let key = set.keys().find(|key| key.id().as_str() == "key-2").unwrap();
    world.keys.replace(key.clone().into());
    for text in [world.issuer.jwks(), world.issuer.jwks() + "\n"] {
        world.publish(text);
        world.keys.reload().await;
        assert_eq!(world.verdict(&old).await, DEAD);
        assert_eq!(world.verdict(&new).await, Ok(()));
    }
    world.issuer.rotate();
    let newest = token(&world.issuer);
    world.publish(world.issuer.jwks());
    for token in [&newest, &old, &new] {
        assert_eq!(world.verdict(token).await, Ok(()));
    }
}

/// The id of a dead key is free: the issuer may use it for another key at any time.
#[tokio::test(start_paused = true)]
async fn a_new_key_under_the_id_of_a_dead_one_is_found_at_once() {
    for is_retired in [false, true] {
        let (world, [old, new]) = World::new().await;
        if is_retired {
            assert!(world.keys.retire("key-1", Duration::from_secs(1)));
            world.clock.advance(Duration::from_secs(1));
        } else {
            assert!(world.keys.remove("key-1"));
        }
        // If the key is retired, the new set lacks it. Otherwise the set has it, next to the new
        // key.
        let next = TestIssuer::new().with_clock(world.clock.clone());
        let next_key: Value = serde_json::from_str(&next.jwk().to_string()).unwrap();
        let mut set: Value = serde_json::from_str(&world.issuer.jwks()).unwrap();
        let keys = set["keys"].as_array_mut().unwrap();
        if is_retired {
            keys.retain(|key| key["kid"] != "key-1");
        }
        keys.push(next_key);
        world.publish(set.to_string());

        let asked = world.asked();
        assert_eq!(world.verdict(&old).await, DEAD);
        assert_eq!(world.asked(), asked, "it is known to be of the dead key");
        assert_eq!(world.verdict(&token(&next)).await, Ok(()));
        assert_eq!(world.asked(), asked + 1);
        for _ in 0..1_000 {
            assert_eq!(world.verdict(&old).await, DEAD);
        }
        assert_eq!(world.verdict(&token(&next)).await, Ok(()));
        assert_eq!(world.verdict(&new).await, Ok(()));
        assert_eq!(world.asked(), asked + 1);
    }
}

/// JWKS-D1: a token that names a dead key and was not signed with it uses the same allowance as a
/// token with an unknown key id.
#[tokio::test(start_paused = true)]
async fn tokens_that_name_a_dead_key_cause_no_storm() {
    let (world, [old, new]) = World::new().await;
    assert!(world.keys.remove("key-1"));
    let asked = world.asked();
    let forged = TestIssuer::new().with_clock(world.clock.clone());
    let mut verdicts = Vec::new();
    for at in 0..1_000 {
        let token = forged.token().subject(&format!("{at}")).mint();
        verdicts.push(world.verdict(&token).await.unwrap_err());
    }
    assert_eq!(verdicts[0], RejectionKind::UnknownKey, "it was looked for");
    assert!(world.asked() - asked <= 2, "{}", world.asked() - asked);
    // New keys are still found.
    world.issuer.rotate();
    world.publish(world.issuer.jwks());
    assert_eq!(world.verdict(&token(&world.issuer)).await, Ok(()));
    assert_eq!(world.verdict(&new).await, Ok(()));
    assert_eq!(world.verdict(&old).await, DEAD);

    // During an outage it is not known whether another key has the id. That the dead key is dead is
    // known.
    *world.published.lock().unwrap() = None;
    world.keys.reload().await;
    let unavailable = Err(RejectionKind::KeySourceUnavailable);
    assert_eq!(world.verdict(&token(&forged)).await, unavailable);
    assert_eq!(world.verdict(&old).await, DEAD);
}

/// JWKS-D2: also without a key id, and after an outage so long that all keys were given up.
#[tokio::test(start_paused = true)]
async fn a_token_of_a_dead_key_is_a_bad_one_in_an_outage_whatever_it_names() {
    let (world, _) = World::new().await;
    let long = Duration::from_secs(86_400 * 9);
    let dead = [
        world.issuer.token().expires_in(long).mint(),
        world
            .issuer
            .token()
            .without_header("kid")
            .expires_in(long)
            .mint(),
    ];
    let other = TestIssuer::new().with_clock(world.clock.clone());
    let unknown = [
        other.token().header("kid", "key-2").expires_in(long).mint(),
        other.token().without_header("kid").expires_in(long).mint(),
    ];
    assert!(world.keys.remove("key-2"));
    *world.published.lock().unwrap() = None;
    world.keys.reload().await;
    for hours in [0, 30] {
        sleep(Duration::from_secs(hours * 3_600)).await;
        assert_eq!(world.keys.is_ready(), hours == 0);
        for token in &dead {
            assert_eq!(world.verdict(token).await, DEAD, "{hours}");
        }
        for token in &unknown {
            let unavailable = Err(RejectionKind::KeySourceUnavailable);
            assert_eq!(world.verdict(token).await, unavailable, "{hours}");
        }
    }
}

/// The key is dead, and not only one of its ids.
#[tokio::test(start_paused = true)]
async fn a_removed_or_retired_key_is_dead_under_each_of_its_ids() {
    let clock = FixedClock::at(NOW);
    let issuer = TestIssuer::new().with_clock(clock.clone());
    let other = TestIssuer::new().with_clock(clock.clone());
    let set = tower_jwt_auth::KeySet::new([
        issuer.key().with_key_id("a"),
        issuer.key().with_key_id("b"),
        other.key().with_key_id("c"),
    ]);
    let set = set.unwrap();
    let own = issuer.key().with_key_id("own");
    for is_retired in [false, true] {
        for is_own in [false, true] {
            clock.set(NOW);
            let keys = KeyStore::from(set.clone()).with_clock(clock.clone());
            if is_own {
                keys.rotate(own.clone());
            }
            let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys);
            let verifier = auth.clock(clock.clone()).verifier();
            let names = ["a", "b", "own"].map(|id| issuer.token().header("kid", id).mint());
            let unnamed = issuer.token().without_header("kid").mint();
            let is_good = |token: &String| verifier.verify_now(token).is_ok();
            assert_eq!(names.each_ref().map(is_good), [true, true, is_own]);
            if is_retired {
                assert!(keys.retire("b", Duration::from_secs(60)));
                assert_eq!(names.each_ref().map(is_good), [true, true, is_own]);
                clock.advance(Duration::from_secs(60));
            } else {
                assert!(keys.remove("b"));
            }
            for token in names.iter().chain([&unnamed]) {
                assert!(!is_good(token), "{is_retired} {is_own}");
            }
            assert!(is_good(&other.token().header("kid", "c").mint()));
            let status = keys.status();
            assert_eq!(
                status.keys.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
                ["c"]
            );
            assert_eq!(status.dead.len(), 1);
            assert_eq!(status.dead[0].id.as_str(), "b");
            assert_eq!(status.dead[0].thumbprint, issuer.key().thumbprint());
            assert!(!keys.remove("a"));
        }
    }
}
