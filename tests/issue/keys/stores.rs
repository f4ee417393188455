//! Keys that instances share: in a file, in Redis, and in a store of a user's own.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::issue::{
    SigningKeyError, SigningKeyFile, SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture,
    SigningKeys, StoredKeys, TokenIssuer,
};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer, RejectionKind};

use super::files::Directory;
use super::key_set;
use crate::support::NOW;

/// A store of a user's own, which can fail.
#[derive(Clone, Default)]
struct Own {
    stored: Arc<Mutex<Option<StoredKeys>>>,
    is_down: Arc<AtomicBool>,
    loads: Arc<AtomicUsize>,
}

impl Own {
    fn check(&self) -> Result<(), SigningKeyStoreError> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(SigningKeyStoreError::new("down for maintenance"));
        }
        Ok(())
    }
}

impl SigningKeyStore for Own {
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
        Box::pin(async {
            self.loads.fetch_add(1, Ordering::SeqCst);
            self.check()?;
            Ok(self.stored.lock().unwrap().clone())
        })
    }

    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
        Box::pin(async move {
            self.check()?;
            let mut stored = self.stored.lock().unwrap();
            let is_expected = stored.as_ref().map(StoredKeys::version) == expected;
            if is_expected {
                *stored = Some(keys);
            }
            Ok(is_expected)
        })
    }
}

async fn instance(
    store: impl SigningKeyStore,
    clock: &FixedClock,
) -> Result<SigningKeys, ConfigError> {
    let settings = SigningKeys::shared(Algorithm::EdDSA, store)?;
    settings.with_clock(clock.clone()).connect().await
}

fn ids(keys: &SigningKeys) -> Vec<String> {
    let keys = keys.status().keys.into_iter();
    keys.map(|key| key.id.to_string()).collect()
}

/// Many instances that start at the same time end with the same keys.
async fn race<S: SigningKeyStore + Clone>(store: S) {
    let clock = FixedClock::at(NOW);
    let starting: Vec<_> = (0..16)
        .map(|_| {
            let (store, clock) = (store.clone(), clock.clone());
            tokio::spawn(async move { instance(store, &clock).await.map(|keys| ids(&keys)) })
        })
        .collect();
    let mut all = BTreeSet::new();
    for starting in starting {
        all.insert(starting.await.unwrap().unwrap());
    }
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all.first().unwrap().len(), 2);

    // Changes at the same time are all made, one after the other.
    let keys = instance(store.clone(), &clock).await.unwrap();
    let rotating: Vec<_> = (0..8)
        .map(|_| {
            let (store, clock) = (store.clone(), clock.clone());
            tokio::spawn(async move {
                let next = SigningKeys::generate(Algorithm::ES256).unwrap();
                let keys = instance(store, &clock).await.unwrap();
                keys.rotate(&next).await.unwrap().to_string()
            })
        })
        .collect();
    let mut rotated = BTreeSet::new();
    for rotating in rotating {
        rotated.insert(rotating.await.unwrap());
    }
    let last = instance(store.clone(), &clock).await.unwrap();
    let known = ids(&last);
    assert!(rotated.iter().all(|id| known.contains(id)), "{known:?}");
    assert_eq!(known.len(), 10);
    // The key that signed goes on until the lead is over, also where nobody has looked since.
    assert_eq!(last.status().signing, keys.status().signing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_share_one_set_in_a_store_of_a_users_own() {
    race(Own::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_share_one_set_in_a_file() {
    let directory = Directory::new("signing-keys-race");
    race(SigningKeyFile::new(directory.path.join("keys"))).await;
    let names: Vec<_> = std::fs::read_dir(&directory.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 1, "older versions are gone: {names:?}");
}

/// Of all writers that have seen the same version, at most one wins, however slow the others are, and no write is
/// lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_version_of_a_file_is_written_once() {
    let directory = Directory::new("signing-keys-versions");
    let file = SigningKeyFile::new(directory.path.join("keys"));
    let writers: Vec<_> = (0..16_u8)
        .map(|writer| {
            let file = file.clone();
            tokio::spawn(async move {
                let mut won = Vec::new();
                for _ in 0..40 {
                    let seen = file.load().await.unwrap();
                    let expected = seen.as_ref().map(StoredKeys::version);
                    let mut text = seen.map_or(Vec::new(), |seen| seen.as_bytes().to_vec());
                    text.push(writer);
                    let version = expected.unwrap_or(0) + 1;
                    let next = StoredKeys::new(version, text);
                    if file.save(next, expected).await.unwrap() {
                        won.push((version, writer));
                    }
                }
                won
            })
        })
        .collect();
    let mut won = Vec::new();
    for writer in writers {
        won.extend(writer.await.unwrap());
    }
    let last = file.load().await.unwrap().unwrap();
    // Each version has one byte more than the one before.
    let count = |bytes: &[u8]| u64::try_from(bytes.len()).unwrap();
    assert_eq!(last.version(), count(last.as_bytes()));
    assert!(won.len() > 16, "{}", won.len());
    for (version, writer) in won {
        let at = usize::try_from(version - 1).unwrap();
        assert_eq!(last.as_bytes()[at], writer, "version {version}");
    }
    for (version, expected) in [(1, None), (7, Some(6))] {
        let late = StoredKeys::new(version, Vec::new());
        assert!(!file.save(late, expected).await.unwrap());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_may_read_or_write_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new("signing-keys-permissions");
    let clock = FixedClock::at(NOW);
    let file = SigningKeyFile::new(directory.path.join("keys"));
    let first = ids(&instance(file.clone(), &clock).await.unwrap());
    let path = directory.path.join("keys.1");
    let mode =
        |mode: u32| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for (bits, sentence) in [
        (0o620, "may write the file"),
        (0o602, "may write the file"),
        (0o640, "may read the file"),
        (0o604, "may read the file"),
    ] {
        mode(bits);
        let rejected = instance(file.clone(), &clock)
            .await
            .unwrap_err()
            .to_string();
        assert!(rejected.contains(sentence), "{bits:o}: {rejected}");
        assert!(rejected.contains("keys"), "{rejected}");
    }
    mode(0o600);
    assert_eq!(ids(&instance(file, &clock).await.unwrap()), first);
    let missing = SigningKeyFile::new(directory.path.join("none").join("keys"));
    assert!(instance(missing, &clock).await.is_err());
}

/// Content that cannot be read is never overwritten, and the error does not quote it.
#[tokio::test]
async fn stored_keys_that_cannot_be_read_stop_the_start() {
    let clock = FixedClock::at(NOW);
    let store = Own::default();
    let _ = instance(store.clone(), &clock).await.unwrap();
    let good = store.stored.lock().unwrap().clone().unwrap();
    let good = String::from_utf8(good.as_bytes().to_vec()).unwrap();
    let newer = good.replace(r#""format":1"#, r#""format":2"#);
    let other = good.replacen("EdDSA", "ES256", 1);
    let cut = good[..good.len() - 9].to_owned();
    let mut many: serde_json::Value = serde_json::from_str(&good).unwrap();
    let key = many["keys"][0].clone();
    many["keys"] = vec![key; 33].into();
    let (many, long) = (
        many.to_string(),
        format!("{good}{}", " ".repeat(512 * 1_024)),
    );
    for (bad, sentence) in [
        ("", "not usable"),
        (&many, "more than 32 keys"),
        (&long, "more than 524288 bytes"),
        ("{}", "not usable"),
        ("[1]", "not usable"),
        (&newer, "format 2, expected 1"),
        (&other, "a private key for the algorithm"),
        (&cut, "not usable"),
    ] {
        *store.stored.lock().unwrap() = Some(StoredKeys::new(9, bad.into()));
        let rejected = instance(store.clone(), &clock)
            .await
            .unwrap_err()
            .to_string();
        assert!(rejected.contains(sentence), "{rejected}");
        assert!(
            !rejected.contains("MC4C") && rejected.len() < 200,
            "{rejected}"
        );
        let stored = store.stored.lock().unwrap().clone().unwrap();
        assert_eq!((stored.version(), stored.as_bytes()), (9, bad.as_bytes()));
    }
}

/// The key that is published ahead does not sign before its time, whatever the order in the store is.
#[tokio::test]
async fn the_order_of_stored_keys_does_not_matter() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let known = ids(&instance(store.clone(), &clock).await.unwrap());
    let stored = store.stored.lock().unwrap().clone().unwrap();
    let mut turned: serde_json::Value = serde_json::from_slice(stored.as_bytes()).unwrap();
    turned["keys"].as_array_mut().unwrap().reverse();
    let turned = StoredKeys::new(9, turned.to_string().into_bytes());
    *store.stored.lock().unwrap() = Some(turned);
    let keys = instance(store, &clock).await.unwrap();
    assert_eq!(ids(&keys), known);
    assert_eq!(keys.status().signing.unwrap().as_str(), known[0]);
}

/// An outage of nearly a period does no harm: the successor is known for a whole period ahead.
#[tokio::test(start_paused = true)]
async fn an_outage_of_nearly_a_period_does_no_harm() {
    const DAY: Duration = Duration::from_secs(86_400);
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let keys = instance(store.clone(), &clock).await.unwrap();
    let known = ids(&keys);
    store.is_down.store(true, Ordering::SeqCst);
    for day in 0..59 {
        let signing = keys.status().signing.unwrap();
        assert_eq!(signing.as_str(), known[usize::from(day >= 30)], "day {day}");
        assert!(keys.is_ready());
        clock.advance(DAY);
        tokio::time::sleep(DAY).await;
    }
    let failure = keys.status().failure.unwrap();
    assert!(
        failure.reason().contains("down for maintenance"),
        "{failure:?}"
    );
    let revoked = keys.revoke_key(&known[1]).await;
    assert!(
        matches!(revoked, Err(SigningKeyError::Unavailable { .. })),
        "{revoked:?}"
    );
    assert_eq!(keys.status().signing.unwrap().as_str(), known[1]);
    // When the last known key is over, there is no key, and the reason is the outage.
    clock.advance(DAY);
    assert!(!keys.is_ready());
    // The store is back: the key that is still published goes on, and a successor follows it.
    store.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    let status = keys.status();
    assert!(status.failure.is_none());
    assert_eq!(status.signing.unwrap().as_str(), known[1]);
    assert_eq!(status.keys.len(), 3);
}

/// OIDC-CORE-10.1.1-3, ROT-D1: two instances with clocks 20 s apart, over 14 days. Each token of one verifies at the
/// other to its end, and with a copy of the key set that is as old as it may be.
#[tokio::test(start_paused = true)]
async fn two_instances_with_clocks_20_s_apart_verify_each_others_tokens() {
    const LEAD: Duration = Duration::from_secs(6 * 3_600);
    const STEP: Duration = Duration::from_secs(3_000);
    let store = Own::default();
    let mut instances = Vec::new();
    for skew in [0, 20] {
        let clock = FixedClock::at(NOW + skew);
        let keys = SigningKeys::shared(Algorithm::EdDSA, store.clone()).unwrap();
        let keys = keys.with_clock(clock.clone()).publish_lead(LEAD).unwrap();
        let keys = keys.rotate_every(Duration::from_secs(86_400)).unwrap();
        let keys = keys.connect().await.unwrap();
        let (issuer, audience) = (
            Issuer::new("https://login.example.com").unwrap(),
            Audience::new("calendar-api").unwrap(),
        );
        let tokens = TokenIssuer::new(issuer, audience, keys.clone())
            .clock(clock.clone())
            .lifetime(STEP + Duration::from_secs(30))
            .unwrap();
        let verifier = tokens.auth().verifier();
        instances.push((clock, keys, tokens, verifier));
    }
    let mut live = Vec::new();
    let mut copies: Vec<(BTreeSet<String>, Duration)> = vec![Default::default(); 2];
    let mut signed = BTreeSet::new();
    let mut time = Duration::ZERO;
    while time < Duration::from_secs(14 * 86_400) {
        for (at, (copy, until)) in copies.iter_mut().enumerate() {
            if *until <= time {
                let set = key_set(instances[at].1.jwks()).await;
                let ids = set
                    .iter()
                    .map(|key| key["kid"].as_str().unwrap().to_owned());
                (*copy, *until) = (ids.collect(), time + LEAD / 2);
            }
        }
        let mut issued = Vec::new();
        for (_, keys, tokens, _) in &instances {
            let token = tokens.for_subject("alice", "web").issue().await.unwrap();
            issued.push(token.as_str().to_owned());
            let signing = keys.status().signing.unwrap().to_string();
            let day = time.as_secs_f64() / 86_400.0;
            assert!(
                copies.iter().all(|(copy, _)| copy.contains(&signing)),
                "day {day}"
            );
            signed.insert(signing);
        }
        for token in live.iter().chain(&issued) {
            for (_, _, _, verifier) in &instances {
                verifier.verify_now(token).unwrap();
            }
        }
        live = issued;
        time += STEP;
        for (clock, ..) in &instances {
            clock.advance(STEP);
        }
        tokio::time::sleep(STEP).await;
    }
    assert_eq!(signed.len(), 14);
}

/// ROT-D3: the other instance follows within a quarter of the lead.
#[tokio::test(start_paused = true)]
async fn rot_d3_other_instances_follow_a_revocation() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let first = instance(store.clone(), &clock).await.unwrap();
    let second = instance(store, &clock).await.unwrap();
    let verifying = second.keys();
    let leaked = first.status().signing.unwrap();
    first.revoke_key(leaked.as_str()).await.unwrap();
    assert_eq!(second.status().signing.as_ref(), Some(&leaked));
    tokio::time::sleep(Duration::from_secs(901)).await;
    assert_eq!(ids(&second), ids(&first));
    assert!(
        verifying
            .snapshot()
            .unwrap()
            .keys()
            .all(|key| *key.id() != leaked)
    );
}

fn tokens(keys: &SigningKeys, clock: &FixedClock) -> TokenIssuer {
    let issuer = Issuer::new("https://login.example.com").unwrap();
    let audience = Audience::new("calendar-api").unwrap();
    TokenIssuer::new(issuer, audience, keys.clone()).clock(clock.clone())
}

async fn token(keys: &SigningKeys, clock: &FixedClock) -> String {
    let tokens = tokens(keys, clock);
    let token = tokens.for_subject("alice", "web").issue().await.unwrap();
    token.as_str().to_owned()
}

/// The same token with another key id, which nobody has signed.
fn with_key_id(token: &str, id: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (_, rest) = token.split_once('.').unwrap();
    let header = format!(r#"{{"alg":"EdDSA","typ":"at+jwt","kid":"{id}"}}"#);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header))
}

/// Two instances, of which the second one has missed a rotation by hand. Returns a token of the new key.
async fn missed_rotation(store: &Own, clock: &FixedClock) -> (SigningKeys, SigningKeys, String) {
    let first = instance(store.clone(), clock).await.unwrap();
    let second = instance(store.clone(), clock).await.unwrap();
    let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    first.rotate(&next).await.unwrap();
    clock.advance(Duration::from_secs(3_601));
    let token = token(&first, clock).await;
    assert_ne!(ids(&first), ids(&second));
    (first, second, token)
}

/// The verifying side looks at the store once for all requests, also when nobody signs any more.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_of_a_shared_set_is_looked_up_once() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let (first, second, token) = missed_rotation(&store, &clock).await;
    let verifier = tokens(&second, &clock).auth().verifier();
    drop(second);
    let before = store.loads.load(Ordering::SeqCst);
    let verifying: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify(&token).await.map(drop) })
        })
        .collect();
    for verifying in verifying {
        verifying.await.unwrap().unwrap();
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), before + 1);
    // Rotations that are missed again and again do not use up the allowance.
    for _ in 0..8 {
        let signing = first.status().signing.unwrap();
        first.revoke_key(signing.as_str()).await.unwrap();
        let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
        first.rotate(&next).await.unwrap();
        clock.advance(Duration::from_secs(3_601));
        let token = self::token(&first, &clock).await;
        verifier.verify(&token).await.unwrap();
    }
}

/// Invented key ids cost no more than the allowance, and known keys go on meanwhile.
#[tokio::test(start_paused = true)]
async fn invented_key_ids_of_a_shared_set_cost_no_more_than_the_allowance() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let keys = instance(store.clone(), &clock).await.unwrap();
    let verifier = tokens(&keys, &clock).auth().verifier();
    let good = token(&keys, &clock).await;
    let before = store.loads.load(Ordering::SeqCst);
    let mut unknown = 0;
    for at in 0..1_000 {
        let forged = with_key_id(&good, &format!("invented-{at}"));
        let rejected = verifier.verify(&forged).await.unwrap_err();
        match rejected.kind() {
            RejectionKind::UnknownKey => unknown += 1,
            // Nobody could look whether there is such a key.
            kind => assert_eq!(kind, RejectionKind::KeySourceUnavailable),
        }
    }
    assert_eq!(unknown, 4);
    assert_eq!(store.loads.load(Ordering::SeqCst), before + 4);
    verifier.verify(&good).await.unwrap();
    tokio::time::sleep(Duration::from_secs(31)).await;
    let rejected = verifier.verify(&with_key_id(&good, "one-more")).await;
    assert_eq!(rejected.unwrap_err().kind(), RejectionKind::UnknownKey);
}

/// A store that fails, or does not answer, is an outage, and no bad token.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_while_the_store_is_down_is_an_outage() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let keys = instance(store.clone(), &clock).await.unwrap();
    let known = token(&keys, &clock).await;
    let next = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let other = instance(store.clone(), &clock).await.unwrap();
    let verifier = tokens(&other, &clock).auth().verifier();
    keys.rotate(&next).await.unwrap();
    clock.advance(Duration::from_secs(3_601));
    let token = token(&keys, &clock).await;
    store.is_down.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let rejected = verifier.verify(&token).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
        let response = rejected.into_response::<String>();
        assert_eq!(response.status().as_u16(), 503);
        assert!(response.headers().contains_key("retry-after"));
    }
    let failure = other.status().failure.unwrap();
    assert!(failure.reason().contains("down for maintenance"));
    // Known keys go on: the other token has only expired.
    let rejected = verifier.verify(&known).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::Expired);
    store.is_down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    verifier.verify(&token).await.unwrap();
}

/// An instance that only verifies drops the signing keys. It follows the store until nobody verifies any more.
#[tokio::test(start_paused = true)]
async fn the_verifying_side_outlives_the_signing_keys_of_an_instance() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let first = instance(store.clone(), &clock).await.unwrap();
    let second = instance(store.clone(), &clock).await.unwrap();
    let verifying = second.keys();
    let verifier = tokens(&second, &clock).auth().verifier();
    drop(second);
    let leaked = token(&first, &clock).await;
    verifier.verify(&leaked).await.unwrap();
    let signing = first.status().signing.unwrap();
    first.revoke_key(signing.as_str()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(901)).await;
    // The key is known to be revoked, so nobody looks at the store again.
    let before = store.loads.load(Ordering::SeqCst);
    for _ in 0..10 {
        let rejected = verifier.verify_now(&leaked).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
    }
    assert_eq!(store.loads.load(Ordering::SeqCst), before);
    drop((first, verifying, verifier));
    tokio::task::yield_now().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(Arc::strong_count(&store.loads), 1, "its tasks have ended");
}

#[tokio::test]
async fn keys_that_are_not_here_cannot_be_shared() {
    let (clock, store) = (FixedClock::at(NOW), Own::default());
    let keys = instance(store.clone(), &clock).await.unwrap();
    let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap());
    let secret = SigningKeys::from_secret(Algorithm::HS256, &secret).unwrap();
    assert_eq!(
        keys.rotate(&secret).await,
        Err(SigningKeyError::NotStorable)
    );
    assert_eq!(ids(&keys).len(), 2);
    assert!(SigningKeys::shared(Algorithm::HS256, store).is_err());
}

#[cfg(feature = "redis")]
mod redis {
    use tower_jwt_auth::issue::RedisSigningKeys;

    use super::{FixedClock, NOW, ids, instance, race};
    use crate::real::{Cluster, Server, is_installed};

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn instances_share_one_set_in_redis() {
        if !is_installed() {
            return;
        }
        let server = Server::start(&[]);
        race(RedisSigningKeys::new(server.client(), "calendar").unwrap()).await;
        for bad in ["", "a b", "a{b}", &"n".repeat(129)] {
            assert!(
                RedisSigningKeys::new(server.client(), bad).is_err(),
                "{bad}"
            );
        }
        let other = RedisSigningKeys::new(server.client(), "files").unwrap();
        let shown = format!("{other:?}");
        assert!(shown.contains("{files}:signing-keys"), "{shown}");
        let client = server.client();
        drop(server);
        let gone = RedisSigningKeys::new(client, "calendar").unwrap();
        assert!(instance(gone, &FixedClock::at(NOW)).await.is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn a_cluster_is_found_through_any_of_its_nodes() {
        if !is_installed() {
            return;
        }
        let (cluster, clock) = (Cluster::start(), FixedClock::at(NOW));
        let store =
            |at: usize| RedisSigningKeys::new(cluster.nodes[at].client(), "calendar").unwrap();
        let first = instance(store(0), &clock).await.unwrap();
        assert_eq!(ids(&instance(store(1), &clock).await.unwrap()), ids(&first));
        cluster.move_slot_of("{calendar}:signing-keys");
        let signing = first.status().signing.unwrap();
        first.revoke_key(signing.as_str()).await.unwrap();
        assert_eq!(ids(&instance(store(1), &clock).await.unwrap()), ids(&first));
    }
}
