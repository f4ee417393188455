//! When a key ends, and what an instance knows of a store that is slow, that lies, or that was set back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::clock::Clock;
use tower_jwt_auth::issue::{
    SigningKeyError, SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture, SigningKeys,
    StoredKeys, TokenIssuer,
};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, Issuer};

use super::key_set;
use crate::support::NOW;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: u64 = 3_600;

/// What a store does.
#[derive(Clone, Copy, Default, PartialEq)]
enum Mood {
    #[default]
    Good,
    Fails,
    /// It never answers.
    Hangs,
    /// It writes, and does not know whether it has.
    Unsure,
    /// It writes, and never answers.
    SilentAfterWrites,
}

#[derive(Clone, Default)]
struct Store {
    stored: Arc<Mutex<Option<StoredKeys>>>,
    mood: Arc<Mutex<Mood>>,
    loads: Arc<AtomicUsize>,
}

impl Store {
    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn get(&self) -> Option<StoredKeys> {
        self.stored.lock().unwrap().clone()
    }

    fn set(&self, stored: Option<StoredKeys>) {
        *self.stored.lock().unwrap() = stored;
    }

    async fn answer(&self) -> Result<Mood, SigningKeyStoreError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Fails => Err(SigningKeyStoreError::new("down for maintenance")),
            Mood::Hangs => std::future::pending().await,
            mood => Ok(mood),
        }
    }

    async fn instance(&self, clock: &FixedClock) -> SigningKeys {
        let settings = SigningKeys::shared(Algorithm::EdDSA, self.clone()).unwrap();
        let settings = settings.with_clock(clock.clone());
        settings.connect().await.unwrap()
    }
}

impl SigningKeyStore for Store {
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            self.answer().await?;
            Ok(self.get())
        })
    }

    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
        Box::pin(async move {
            let mood = self.answer().await?;
            let is_expected = self.get().as_ref().map(StoredKeys::version) == expected;
            if is_expected {
                self.set(Some(keys));
            }
            if mood == Mood::SilentAfterWrites {
                std::future::pending::<()>().await;
            }
            Ok(is_expected && mood != Mood::Unsure)
        })
    }
}

/// Longer than the time until instances look at the store.
async fn look() {
    tokio::time::sleep(1_000 * SECOND).await;
}

fn generate() -> SigningKeys {
    SigningKeys::generate(Algorithm::EdDSA).unwrap()
}

fn ids(keys: &SigningKeys) -> Vec<String> {
    let keys = keys.status().keys.into_iter();
    keys.map(|key| key.id.to_string()).collect()
}

/// With a clock of their own.
fn tokens(keys: &SigningKeys, clock: &FixedClock) -> TokenIssuer {
    let (issuer, audience) = (
        Issuer::new("https://login.example.com").unwrap(),
        Audience::new("calendar-api").unwrap(),
    );
    TokenIssuer::new(issuer, audience, keys.clone()).clock(clock.clone())
}

/// Lets an instance look at the store, as it does when it has a setting that the stored keys may not fit.
async fn look_now(keys: &SigningKeys, clock: &FixedClock) {
    let tokens = tokens(keys, clock).lifetime(600 * SECOND);
    tokio::time::sleep(SECOND).await;
    assert!(tokens.is_ok());
}

/// ROT-D1: a key ends when its last token has expired everywhere, also a key that was given, and in an outage.
#[tokio::test(start_paused = true)]
async fn rot_d1_a_key_that_was_rotated_by_hand_ends_after_its_last_token() {
    for (kind, is_down) in [
        ("generated", false),
        ("given", false),
        ("shared", false),
        ("shared", true),
    ] {
        let (clock, store) = (FixedClock::at(NOW), Store::default());
        let keys = match kind {
            "generated" => generate().with_clock(clock.clone()),
            "given" => {
                let secret: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap());
                let keys = SigningKeys::from_secret(Algorithm::HS256, &secret).unwrap();
                keys.with_clock(clock.clone())
            }
            _ => store.instance(&clock).await,
        };
        let tokens = tokens(&keys, &clock);
        let old = tokens.for_client("batch").issue().await.unwrap();
        let id = keys.status().signing.unwrap();
        let verifies = || {
            let set = keys.keys().snapshot().unwrap();
            set.keys().any(|key| *key.id() == id)
        };
        keys.rotate(&generate()).await.unwrap();
        if is_down {
            store.is(Mood::Fails);
        }
        // The lead is over, and the next key signs.
        clock.advance(Duration::from_secs(HOUR));
        look().await;
        let next = tokens.for_client("batch").issue().await.unwrap();
        assert_ne!(
            old.as_str().split('.').next(),
            next.as_str().split('.').next()
        );
        let times = keys.status().keys.remove(0);
        assert_eq!(times.id, id);
        let left = times.remove.unwrap().duration_since(clock.now()).unwrap();
        // The longest token, the leeway and the reserve. The end of a key that had one already stays.
        let last_token = Duration::from_secs(HOUR + 300 + HOUR);
        assert_eq!(left == last_token, kind == "given", "{left:?}");
        clock.advance(left - SECOND);
        look().await;
        tokens.for_client("batch").issue().await.unwrap();
        assert!(verifies());
        clock.advance(SECOND);
        let published = key_set(keys.jwks()).await;
        assert!(published.iter().all(|key| key["kid"] != id.as_str()));
        assert!(!verifies(), "{kind} {is_down}");
    }
}

/// A store that was flushed, with another instance that begins before the others look. Both sets have version 1.
#[tokio::test(start_paused = true)]
async fn new_keys_of_the_same_version_do_not_replace_those_in_use() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let first = store.instance(&clock).await;
    let known = ids(&first);
    store.set(None);
    let second = store.instance(&clock).await;
    assert_ne!(ids(&second), known);
    assert_eq!(store.get().unwrap().version(), 1);
    look().await;
    look().await;
    for keys in [&first, &second] {
        assert_eq!(ids(keys), known);
    }
}

/// ROT-D3: the store is set back, and an instance that has not seen the revocation looks last. It follows.
#[tokio::test(start_paused = true)]
async fn rot_d3_no_instance_that_is_behind_brings_a_revoked_key_back() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let first = store.instance(&clock).await;
    let behind = store.instance(&clock).await;
    let old = store.get();
    first.rotate(&generate()).await.unwrap();
    look().await;
    assert_eq!(ids(&behind), ids(&first));
    let leaked = first.status().signing.unwrap().to_string();
    first.revoke_key(&leaked).await.unwrap();
    let known = ids(&first);
    store.set(old);
    // The first instance looks first.
    look_now(&first, &clock).await;
    assert!(
        store.get().unwrap().version() > 3,
        "later than all that others have seen"
    );
    look().await;
    look().await;
    for keys in [&first, &behind] {
        assert_eq!(ids(keys), known);
        let set = keys.keys().snapshot().unwrap();
        assert!(set.keys().all(|key| key.id().as_str() != leaked));
    }
}

/// ROT-D3: the operator asks an instance that does not know yet that another one has revoked the key.
#[tokio::test(start_paused = true)]
async fn rot_d3_a_key_that_another_instance_has_revoked_is_gone_here_after_the_answer() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let (first, second) = (store.instance(&clock).await, store.instance(&clock).await);
    let leaked = first.status().signing.unwrap().to_string();
    first.revoke_key(&leaked).await.unwrap();
    let answer = second.revoke_key(&leaked).await;
    assert_eq!(answer, Err(SigningKeyError::Unknown { id: leaked }));
    assert_eq!(ids(&second), ids(&first));
}

/// A store that has made a write and does not know it: "the caller reads again", and finds that it is done.
#[tokio::test(start_paused = true)]
async fn a_revocation_whose_result_is_not_known_is_no_error() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let keys = store.instance(&clock).await;
    let leaked = keys.status().signing.unwrap().to_string();
    store.is(Mood::Unsure);
    keys.revoke_key(&leaked).await.unwrap();
    assert!(!ids(&keys).contains(&leaked));
    let next = generate();
    let id = keys.rotate(&next).await.unwrap();
    assert!(ids(&keys).contains(&id.to_string()));
}

/// ROT-D3: whoever asked for the revocation hangs up after the store has it. It is in force here soon all the same.
#[tokio::test(start_paused = true)]
async fn rot_d3_a_revocation_that_was_given_up_is_followed_at_once() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let keys = store.instance(&clock).await;
    let leaked = keys.status().signing.unwrap().to_string();
    store.is(Mood::SilentAfterWrites);
    let revoking = tokio::time::timeout(SECOND, keys.revoke_key(&leaked));
    assert!(revoking.await.is_err(), "given up");
    assert_eq!(store.get().unwrap().version(), 2);
    store.is(Mood::Good);
    tokio::time::sleep(SECOND).await;
    assert!(!ids(&keys).contains(&leaked));
    // The twin: one that has its answer asks the store no further time.
    store.loads.store(0, Ordering::SeqCst);
    let next = keys.status().signing.unwrap().to_string();
    keys.revoke_key(&next).await.unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(store.loads.load(Ordering::SeqCst), 1);
}

/// Tokens that live longer need keys that stay longer, also those that are stored already.
#[tokio::test(start_paused = true)]
async fn rot_d1_a_longer_lifetime_of_tokens_is_stored_at_once() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let (first, second) = (store.instance(&clock).await, store.instance(&clock).await);
    let end = |keys: &SigningKeys| {
        let key = keys.status().keys.remove(0);
        let end = key.remove.unwrap().duration_since(key.retire.unwrap());
        end.unwrap()
    };
    let expected = |lifetime: u64| Duration::from_secs(lifetime + 300 + HOUR);
    assert_eq!(end(&first), expected(HOUR));
    let tokens = tokens(&first, &clock);
    let _tokens = tokens
        .insecure_lifetime(Duration::from_secs(5 * HOUR))
        .unwrap();
    tokio::time::sleep(SECOND).await;
    assert_eq!(end(&first), expected(5 * HOUR));
    look().await;
    assert_eq!(end(&second), expected(5 * HOUR));
}

/// A store that never answers is a failure after 5 s, at the start and later. The keys stay in use.
#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_is_a_failure() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let keys = store.instance(&clock).await;
    store.is(Mood::Hangs);
    let settings = SigningKeys::shared(Algorithm::EdDSA, store.clone()).unwrap();
    let starting = tokio::time::timeout(6 * SECOND, settings.connect()).await;
    let error = starting.unwrap().unwrap_err().to_string();
    assert!(error.contains("no answer in 5 s"), "{error}");
    let id = ids(&keys).remove(0);
    let revoking = tokio::time::timeout(6 * SECOND, keys.revoke_key(&id)).await;
    let error = revoking.unwrap().unwrap_err();
    assert!(
        matches!(error, SigningKeyError::Unavailable { .. }),
        "{error}"
    );
    assert!(keys.is_ready());
}

/// The operator sees since when a store fails. It is asked again soon, and not all the time.
#[tokio::test(start_paused = true)]
async fn a_failure_says_since_when_and_the_store_is_asked_again_soon() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let keys = store.instance(&clock).await;
    store.is(Mood::Fails);
    look().await;
    let since = keys.status().failure.unwrap().since();
    store.loads.store(0, Ordering::SeqCst);
    clock.advance(100 * SECOND);
    tokio::time::sleep(100 * SECOND).await;
    let loads = store.loads.load(Ordering::SeqCst);
    assert!((1..=7).contains(&loads), "{loads} in 100 s");
    assert_eq!(keys.status().failure.unwrap().since(), since);
    // The first pauses are the shortest.
    store.is(Mood::Good);
    look().await;
    assert!(keys.status().failure.is_none());
    store.is(Mood::Fails);
    let id = ids(&keys).remove(0);
    keys.revoke_key(&id).await.unwrap_err();
    store.loads.store(0, Ordering::SeqCst);
    // The pause that runs ends first.
    look_now(&keys, &clock).await;
    tokio::time::sleep(29 * SECOND).await;
    let loads = store.loads.load(Ordering::SeqCst);
    assert!((3..=5).contains(&loads), "{loads} in 30 s");
}

/// The task of keys that nobody has any more ends at once, and so does the store.
#[tokio::test(start_paused = true)]
async fn keys_that_are_dropped_leave_no_task() {
    let (clock, store) = (FixedClock::at(NOW), Store::default());
    let tasks = tokio::runtime::Handle::current().metrics();
    let before = tasks.num_alive_tasks();
    let keys = store.instance(&clock).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(tasks.num_alive_tasks(), before + 1);
    drop(keys);
    tokio::time::sleep(SECOND).await;
    assert_eq!(tasks.num_alive_tasks(), before);
    assert_eq!(Arc::strong_count(&store.stored), 1);
}

/// A thread makes the successors of RSA keys, each time.
#[test]
fn each_successor_of_a_key_that_is_slow_to_make_is_made() {
    let clock = FixedClock::at(NOW);
    let keys = SigningKeys::generate(Algorithm::RS256).unwrap();
    let keys = keys.with_clock(clock.clone());
    for period in 1..=2 {
        clock.advance(30 * 24 * Duration::from_secs(HOUR));
        let known = ids(&keys).len();
        let is_made = (0..6_000).any(|_| {
            assert!(keys.is_ready());
            std::thread::sleep(Duration::from_millis(10));
            ids(&keys).len() > known
        });
        assert!(is_made, "{period}: {keys:?}");
    }
}
