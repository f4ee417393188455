//! Keys that change while requests run: rotated, replaced, retired and removed.

#![cfg(feature = "tracing")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use crate::support::log::Log;
use crate::support::{AUDIENCE, Fixture, ISSUER, NOW, get, send, small_cache};
use tower_jwt_auth::keys::Freshness;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, Audience, Issuer, JwtAuth, Key, KeySet, KeyStore, RejectionKind, TrustedIssuer,
    Verifier,
};

/// Issuers with one name whose keys have different ids, and a clock for all of them.
struct Signers {
    clock: FixedClock,
    signers: Vec<(String, TestIssuer)>,
}

impl Signers {
    fn new(count: usize) -> Self {
        let clock = FixedClock::at(NOW);
        let signer = |at| {
            let signer = TestIssuer::with_algorithm(Algorithm::ES256).with_clock(clock.clone());
            (format!("k{at}"), signer)
        };
        let signers = (1..=count).map(signer).collect();
        Self { clock, signers }
    }

    /// The key with this number, from 1.
    fn key(&self, at: usize) -> Key {
        let (id, signer) = &self.signers[at - 1];
        signer.key().with_key_id(id.as_str())
    }

    fn token(&self, at: usize) -> String {
        let (id, signer) = &self.signers[at - 1];
        signer.token().header("kid", id.as_str()).mint()
    }

    fn store(&self, places: impl IntoIterator<Item = usize>) -> KeyStore {
        KeyStore::from(self.set(places)).with_clock(self.clock.clone())
    }

    fn set(&self, places: impl IntoIterator<Item = usize>) -> KeySet {
        KeySet::new(places.into_iter().map(|at| self.key(at))).unwrap()
    }

    fn jwks(&self, at: usize) -> String {
        self.signers[at - 1].1.jwks()
    }

    fn auth(&self, store: &KeyStore) -> JwtAuth {
        let (issuer, audience) = (Issuer::new(ISSUER), Audience::new(AUDIENCE));
        JwtAuth::new(issuer.unwrap(), audience.unwrap(), store)
            .clock(self.clock.clone())
            .cache(small_cache())
    }
}

fn verdict(verifier: &Verifier, token: &str) -> Result<(), RejectionKind> {
    let verdict = verifier.verify_now(token).map(drop);
    verdict.map_err(|rejection| rejection.kind())
}

/// STORE-D2
#[tokio::test]
async fn old_and_new_keys_verify_together_until_the_old_one_is_removed() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let auth = signers.auth(&store);
    let status = async |at| {
        send(&auth, get(&signers.token(at)))
            .await
            .0
            .status()
            .as_u16()
    };
    assert_eq!((status(1).await, status(2).await), (200, 401));

    let id = store.rotate(signers.key(2));
    assert_eq!(id.as_str(), "k2");
    assert_eq!((status(1).await, status(2).await), (200, 200));

    assert!(store.remove("k1"));
    assert_eq!((status(1).await, status(2).await), (401, 200));
    assert_eq!(
        verdict(&auth.verifier(), &signers.token(1)),
        Err(RejectionKind::UnknownKey)
    );
}

/// STORE-D4: no verdict on a token outlives its key, although verdicts are cached.
#[tokio::test]
async fn a_token_accepted_a_moment_ago_is_rejected_at_once_when_its_key_goes() {
    let signers = Signers::new(2);
    let store = signers.store([1, 2]);
    let auth = signers.auth(&store);
    let verifier = auth.verifier();
    let token = signers.token(1);
    for _ in 0..3 {
        let (response, _) = send(&auth, get(&token)).await;
        assert_eq!(response.status(), 200);
        assert_eq!(verdict(&verifier, &token), Ok(()));
    }
    assert!(store.remove("k1"));
    let (response, seen) = send(&auth, get(&token)).await;
    assert_eq!(response.status(), 401);
    assert_eq!(seen.count(), 0);
    assert_eq!(verdict(&verifier, &token), Err(RejectionKind::UnknownKey));
    // The same with `replace` and `retire`, and for a layer that was cloned before.
    let clone = auth.clone();
    let token = signers.token(2);
    assert_eq!(send(&clone, get(&token)).await.0.status(), 200);
    assert!(store.retire("k2", Duration::ZERO));
    assert_eq!(send(&clone, get(&token)).await.0.status(), 401);
    store.replace(signers.set([2]));
    assert_eq!(send(&clone, get(&token)).await.0.status(), 200);
    store.replace(signers.set([1]));
    assert_eq!(send(&clone, get(&token)).await.0.status(), 401);
}

/// STORE-D4: another key under the same id does not verify the token.
#[test]
fn a_token_accepted_a_moment_ago_is_rejected_when_another_key_takes_the_id() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let verifier = signers.auth(&store).verifier();
    let token = signers.token(1);
    assert_eq!(verdict(&verifier, &token), Ok(()));
    let other = signers.key(2).with_key_id("k1");
    store.replace(KeySet::from(other));
    assert_eq!(verdict(&verifier, &token), Err(RejectionKind::BadSignature));
}

/// STORE-D3
#[test]
fn a_bad_update_keeps_the_good_keys() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let verifier = signers.auth(&store).verifier();
    let secret = r#"{"keys":[{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    for bad in [
        "",
        "<html>",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[{"kty":"EC","crv":"P-256"}]}"#,
        secret,
    ] {
        assert!(store.replace_jwks(bad.as_bytes()).is_err(), "{bad}");
        assert_eq!(verdict(&verifier, &signers.token(1)), Ok(()), "{bad}");
        assert_eq!(store.generation(), 0);
    }
    // The twin: a good text replaces the set.
    let generation = store.replace_jwks(signers.jwks(2).as_bytes()).unwrap();
    assert_eq!((generation, store.generation()), (1, 1));
    let token = signers.signers[1].1.token().mint();
    assert_eq!(verdict(&verifier, &token), Ok(()));
    assert_eq!(
        verdict(&verifier, &signers.token(1)),
        Err(RejectionKind::UnknownKey)
    );
}

/// STORE-D3: a rejected update has an event, and so has every change.
#[test]
fn rejected_and_accepted_updates_are_events() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let log = Log::listen();
    store.replace_jwks(b"<html>").unwrap_err();
    store
        .replace_jwks(br#"{"keys":[{"kty":"AKP","kid":"pq"}]}"#)
        .unwrap_err();
    store.rotate(signers.key(2));
    let lines = log.text();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("key update rejected"));
    // This key is the only one, so its reason is that of the set.
    assert!(lines[1].contains("WARN") && lines[1].contains("key update rejected"));
    assert!(lines[1].contains("pq"), "{}", lines[1]);
    assert!(lines[2].contains("INFO") && lines[2].contains("rotate"));
}

/// STORE-D3
#[test]
fn a_store_is_emptied_by_removing_its_last_key_alone() {
    assert!(KeySet::new([]).is_err());
    let signers = Signers::new(1);
    let store = signers.store([1]);
    let verifier = signers.auth(&store).verifier();
    assert!(store.remove("k1"));
    assert!(store.snapshot().is_none() && !store.is_ready());
    assert_eq!(store.status().freshness, Freshness::Missing);
    // The answer is 401 and not 503, because the application wanted it so.
    assert_eq!(
        verdict(&verifier, &signers.token(1)),
        Err(RejectionKind::UnknownKey)
    );
    store.rotate(signers.key(1));
    assert_eq!(verdict(&verifier, &signers.token(1)), Ok(()));
}

/// A store without keys is a fault of this service, and not of a token.
#[tokio::test]
async fn a_pending_store_answers_503_until_its_first_keys() {
    let signers = Signers::new(1);
    let store = KeyStore::pending();
    let auth = signers.auth(&store);
    let (response, seen) = send(&auth, get(&signers.token(1))).await;
    assert_eq!((response.status().as_u16(), seen.count()), (503, 0));
    assert!(response.headers().contains_key("retry-after"));
    assert!(!response.headers().contains_key("www-authenticate"));
    // A failed update does not end this state.
    store.replace_jwks(b"{}").unwrap_err();
    assert_eq!(send(&auth, get(&signers.token(1))).await.0.status(), 503);

    store.replace(signers.set([1]));
    assert_eq!(send(&auth, get(&signers.token(1))).await.0.status(), 200);
}

#[test]
fn a_retired_key_verifies_until_its_end_and_never_again() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let verifier = signers.auth(&store).verifier();
    store.rotate(signers.key(2));
    assert!(store.retire("k1", Duration::from_secs(100)));

    // New tokens for each verdict, so that only the key can have ended.
    let verdicts = || {
        let first = verdict(&verifier, &signers.token(1));
        (first, verdict(&verifier, &signers.token(2)))
    };
    assert_eq!(verdicts(), (Ok(()), Ok(())));
    signers.clock.advance(Duration::from_millis(99_999));
    assert_eq!(verdicts(), (Ok(()), Ok(())));
    signers.clock.advance(Duration::from_millis(1));
    assert_eq!(verdicts(), (Err(RejectionKind::UnknownKey), Ok(())));
}

#[test]
fn of_two_retirements_the_shorter_counts_whichever_comes_first() {
    for retirements in [[10, 1_000], [1_000, 10]] {
        let signers = Signers::new(1);
        let store = signers.store([1]);
        let verifier = signers.auth(&store).verifier();
        for seconds in retirements {
            store.retire("k1", Duration::from_secs(seconds));
        }
        signers.clock.advance(Duration::from_secs(9));
        assert_eq!(verdict(&verifier, &signers.token(1)), Ok(()));
        signers.clock.advance(Duration::from_secs(1));
        let expected = Err(RejectionKind::UnknownKey);
        assert_eq!(verdict(&verifier, &signers.token(1)), expected);
        // Adding the key again cancels the end.
        store.rotate(signers.key(1));
        assert_eq!(verdict(&verifier, &signers.token(1)), Ok(()));
    }
}

/// A login that keeps one key id and changes the secret several times.
#[test]
fn keys_are_exchanged_under_one_id() {
    let signers = Signers::new(3);
    let keyed = |at: usize| signers.key(at).with_key_id("k");
    let store = KeyStore::from(keyed(1)).with_clock(signers.clock.clone());
    let verifier = signers.auth(&store).verifier();
    let verdicts = || {
        [1, 2, 3].map(|at: usize| {
            let token = signers.signers[at - 1].1.token().header("kid", "k").mint();
            verdict(&verifier, &token).is_ok()
        })
    };
    assert_eq!(verdicts(), [true, false, false]);
    store.rotate(keyed(2));
    assert!(store.retire("k", Duration::from_secs(100)));
    assert!(store.retire("k", Duration::from_secs(100)));
    assert_eq!(verdicts(), [true, true, false]);
    signers.clock.advance(Duration::from_secs(50));
    store.rotate(keyed(3));
    assert!(store.retire("k", Duration::from_secs(100)));
    assert_eq!(verdicts(), [true, true, true]);
    signers.clock.advance(Duration::from_secs(50));
    assert_eq!(verdicts(), [false, true, true]);
    signers.clock.advance(Duration::from_secs(50));
    assert_eq!(verdicts(), [false, false, true]);
    signers.clock.advance(Duration::from_secs(1_000));
    assert_eq!(verdicts(), [false, false, true]);

    // The twin: if an id has one key, that key retires.
    assert!(store.retire("k", Duration::ZERO));
    assert_eq!(verdicts(), [false; 3]);
    store.rotate(keyed(1));
    store.rotate(keyed(2));
    assert!(store.retire(signers.key(2).thumbprint(), Duration::ZERO));
    assert_eq!(verdicts(), [true, false, false]);
    store.rotate(keyed(2));
    assert!(store.remove("k"));
    assert_eq!(verdicts(), [false; 3], "a leak is no exchange");
}

/// RFC7517-4.5-2: keys that were given together under one id retire together.
#[test]
fn keys_that_share_an_id_from_the_start_retire_together() {
    let signers = Signers::new(2);
    let set = KeySet::new([1, 2].map(|at| signers.key(at).with_key_id("k"))).unwrap();
    let store = KeyStore::from(set).with_clock(signers.clock.clone());
    assert!(store.retire("k", Duration::ZERO));
    assert!(store.snapshot().is_none());
}

/// STORE-D3: `snapshot` gives no set if the store has no keys, or if the end of all keys has
/// passed.
#[test]
fn a_store_without_live_keys_has_no_snapshot() {
    let signers = Signers::new(1);
    assert!(KeyStore::pending().snapshot().is_none());
    assert!(!KeyStore::pending().is_ready());
    let store = signers.store([1]);
    assert!(store.snapshot().is_some() && store.is_ready());
    store.retire("k1", Duration::from_secs(10));
    assert_eq!(
        store.snapshot().map(|set| ids(&set)),
        Some(vec!["k1".into()])
    );
    signers.clock.advance(Duration::from_secs(10));
    assert!(store.snapshot().is_none() && !store.is_ready());
    let status = store.status();
    assert!(status.keys.is_empty() && status.retiring.is_empty());
    assert_eq!(status.dead.len(), 1);
    assert_eq!(status.dead[0].thumbprint, signers.key(1).thumbprint());
}

/// The reason follows the clock of the layer, even if the set was not changed at the end of the
/// key.
#[test]
fn the_token_of_a_dead_key_says_why() {
    let signers = Signers::new(2);
    let store = signers.store([1, 2]);
    let verifier = signers.auth(&store).verifier();
    store.retire("k1", Duration::from_secs(10));
    store.remove("k2");
    signers.clock.advance(Duration::from_secs(10));
    for (at, why) in [(1, "\"k1\" was retired"), (2, "\"k2\" was removed")] {
        let rejected = verifier.verify_now(&signers.token(at)).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
        assert!(rejected.to_string().contains(why), "{rejected}");
    }
}

#[test]
fn the_status_serializes() {
    let signers = Signers::new(3);
    let store = signers.store([1, 2, 3]);
    store.retire("k1", Duration::from_secs(10));
    store.remove("k2");
    let status = serde_json::to_value(store.status()).unwrap();
    let expected = serde_json::json!({
        "at": NOW,
        "source": null,
        "freshness": "static",
        "fresh_until": null,
        "generation": 2,
        "keys": ["k1", "k3"],
        "retiring": [{"id": "k1", "until": NOW + 10}],
        "dead": [{
            "id": "k2",
            "thumbprint": signers.key(2).thumbprint(),
            "since": NOW,
            "cause": "remove",
            "is_published": false,
        }],
        "skipped": [],
        "failing": null,
        "next_refresh": null,
        "loads": 0,
    });
    assert_eq!(status, expected);
    let jwk = signers.signers[0].1.jwk();
    let odd = serde_json::json!({"kty": "AKP", "kid": "pq"});
    let jwks = serde_json::json!({"keys": [jwk, odd]}).to_string();
    store.replace_jwks(jwks.as_bytes()).unwrap();
    let status = serde_json::to_value(store.status()).unwrap();
    assert_eq!(status["skipped"][0]["id"], "pq");
    assert_eq!(status["skipped"][0]["position"], 1);
    let reason = status["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("not supported"), "{reason}");
}

/// One secret under two ids: `remove` removes the key under both.
#[test]
fn a_key_of_ones_own_can_change_its_id() {
    let signers = Signers::new(1);
    let store = signers.store([1]);
    let verifier = signers.auth(&store).verifier();
    let renamed = signers.signers[0].1.token().header("kid", "new").mint();
    store.rotate(signers.key(1).with_key_id("new"));
    assert_eq!(verdict(&verifier, &renamed), Ok(()));
    assert!(store.remove("k1"));
    assert_eq!(verdict(&verifier, &renamed), Err(RejectionKind::UnknownKey));
    // `replace` makes the key valid again, and so does `rotate`.
    store.replace(signers.key(1).with_key_id("new").into());
    assert_eq!(verdict(&verifier, &renamed), Ok(()));
    assert!(store.remove("new"));
    store.rotate(signers.key(1).with_key_id("new"));
    assert_eq!(verdict(&verifier, &renamed), Ok(()));
    assert_eq!(
        verdict(&verifier, &signers.token(1)),
        Err(RejectionKind::UnknownKey)
    );
}

#[test]
fn what_is_not_there_cannot_be_retired_or_removed() {
    let signers = Signers::new(1);
    let store = signers.store([1]);
    assert!(!store.retire("K1", Duration::ZERO));
    assert!(!store.remove("k2"));
    assert_eq!(store.generation(), 0);
    assert!(store.remove("k1"));
    assert!(!store.remove("k1"));
    assert_eq!(store.generation(), 1);
}

#[test]
fn every_change_is_a_new_generation() {
    let signers = Signers::new(3);
    let store = signers.store([1]);
    assert_eq!(store.generation(), 0);
    store.rotate(signers.key(2));
    store.retire("k1", Duration::from_secs(60));
    assert_eq!(store.replace(signers.set([3])), 3);
    store.remove("k3");
    assert_eq!(store.generation(), 4);
    assert_eq!(store.clone().generation(), 4, "a clone is the same store");
}

#[test]
fn a_key_rotated_in_twice_is_there_once() {
    let signers = Signers::new(1);
    let store = signers.store([1]);
    store.rotate(signers.key(1));
    store.rotate(signers.key(1));
    assert_eq!(store.snapshot().unwrap().keys().count(), 1);
}

/// Retired keys are dropped at the next rotation, so that the set does not grow forever.
#[test]
fn keys_whose_time_is_over_leave_with_the_next_rotation() {
    let signers = Signers::new(3);
    let store = signers.store([1]);
    for at in [2, 3] {
        let old = format!("k{}", at - 1);
        store.retire(&old, Duration::from_secs(1));
        signers.clock.advance(Duration::from_secs(1));
        store.rotate(signers.key(at));
        let ids: Vec<_> = ids(&store.snapshot().unwrap());
        assert_eq!(ids, [format!("k{at}")]);
    }
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let signers = Signers::new(2);
    let store = signers.store([1]);
    let before = store.snapshot().unwrap();
    store.rotate(signers.key(2));
    store.remove("k1");
    assert_eq!(ids(&before), ["k1"]);
    assert_eq!(ids(&store.snapshot().unwrap()), ["k2"]);
    // The set can be put back.
    store.replace(before);
    let verifier = signers.auth(&store).verifier();
    assert_eq!(verdict(&verifier, &signers.token(1)), Ok(()));
}

fn ids(set: &KeySet) -> Vec<String> {
    set.keys().map(|key| key.id().to_string()).collect()
}

/// STORE-D1: 8 readers and 1000 swaps. `k3` is in every set, `k1` and `k2` are in one set each and
/// have the id `k`. The readers fill the cache of one verifier. After each swap the verdicts are
/// exactly those of the new set. If the cache kept a verdict of the old set for the new one, that
/// would fail.
#[test]
fn requests_see_the_old_set_or_the_new_one_and_never_a_mix() {
    const SWAPS: u64 = 1_000;
    let signers = Signers::new(3);
    let always = signers.key(3);
    let sets = [1, 2].map(|at| {
        let changing = signers.key(at).with_key_id("k");
        KeySet::new([always.clone(), changing]).unwrap()
    });
    let store = KeyStore::from(sets[0].clone());
    let auth = signers.auth(&store);
    let token = |at: usize| signers.signers[at - 1].1.token().header("kid", "k").mint();
    let (stable, changing) = (signers.token(3), [token(1), token(2)]);
    let verifier = auth.verifier();
    let expected = |swap: u64| {
        let bad = Err(RejectionKind::BadSignature);
        if swap % 2 == 1 {
            [bad, Ok(())]
        } else {
            [Ok(()), bad]
        }
    };

    let (ends, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    while !ends.load(Ordering::Acquire) {
                        assert_eq!(verdict(&verifier, &stable), Ok(()));
                        for token in &changing {
                            let verdict = verdict(&verifier, token);
                            assert!(
                                matches!(verdict, Ok(()) | Err(RejectionKind::BadSignature)),
                                "{verdict:?}"
                            );
                        }
                        reads.fetch_add(1, Ordering::Release);
                    }
                })
            })
            .collect();
        for swap in 1..=SWAPS {
            store.replace(sets[usize::from(swap % 2 == 1)].clone());
            let verdicts = [0, 1].map(|at: usize| verdict(&verifier, &changing[at]));
            assert_eq!(verdicts, expected(swap), "swap {swap}");
            assert_eq!(verdict(&verifier, &stable), Ok(()));
            // Some swaps wait for a reader, so that the test does not end before the first read.
            if swap % 25 != 0 {
                continue;
            }
            let before = reads.load(Ordering::Acquire);
            while reads.load(Ordering::Acquire) == before
                && !readers.iter().any(ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
        }
        ends.store(true, Ordering::Release);
    });
    assert!(reads.into_inner() >= 40);
    assert_eq!(store.generation(), SWAPS);
}

/// STORE-D1: writers do not lose changes of each other.
#[test]
fn keys_rotated_in_by_several_threads_are_all_there() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 50;
    let signers = Signers::new(1);
    let store = signers.store([1]);
    let start = Barrier::new(WRITERS);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, start, key) = (&store, &start, signers.key(1));
            scope.spawn(move || {
                start.wait();
                for round in 0..ROUNDS {
                    store.rotate(key.clone().with_key_id(format!("{writer}-{round}")));
                }
            });
        }
    });
    assert_eq!(store.generation(), 400);
    assert_eq!(
        store.snapshot().unwrap().keys().count(),
        1 + WRITERS * ROUNDS
    );
    let verifier = signers.auth(&store).verifier();
    for id in ["k1", "0-0", "3-7", "7-49"] {
        let token = signers.signers[0].1.token().header("kid", id).mint();
        assert_eq!(verdict(&verifier, &token), Ok(()), "{id}");
    }
}

/// The layer uses the store that the caller kept. Each issuer has its own store.
#[test]
fn stores_of_different_issuers_change_apart() {
    let fixture = Fixture::new();
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(fixture.clock.clone());
    let auth = fixture.auth().trust(TrustedIssuer::new(
        other.issuer(),
        other.audience(),
        other.keys(),
    ));
    let verifier = auth.verifier();
    assert_eq!(verdict(&verifier, &fixture.token().mint()), Ok(()));
    assert_eq!(verdict(&verifier, &other.token().mint()), Ok(()));
    other.keys().remove("key-1");
    assert_eq!(verdict(&verifier, &fixture.token().mint()), Ok(()));
    assert_eq!(
        verdict(&verifier, &other.token().mint()),
        Err(RejectionKind::UnknownKey)
    );
    other.rotate();
    assert_eq!(verdict(&verifier, &other.token().mint()), Ok(()));
}
