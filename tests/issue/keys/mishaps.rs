//! Settings in any order, keys that contradict each other, stores that lose their content, and wrong clocks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::issue::{
    Discovery, SigningKeyError, SigningKeyStore, SigningKeyStoreFuture, SigningKeys, StoredKeys,
    TokenIssuer,
};
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, ConfigError, Issuer, KeyStore};

use super::key_set;
use crate::support::NOW;

const DAY: Duration = Duration::from_secs(86_400);
const ISSUER: &str = "https://login.example.com";

fn ids(keys: &SigningKeys) -> Vec<String> {
    let keys = keys.status().keys.into_iter();
    keys.map(|key| key.id.to_string()).collect()
}

fn verifying(store: &KeyStore) -> Vec<String> {
    let set = store.snapshot().unwrap();
    set.keys().map(|key| key.id().to_string()).collect()
}

fn tokens(keys: &SigningKeys) -> TokenIssuer {
    let (issuer, audience) = (Issuer::new(ISSUER), Audience::new("calendar-api"));
    TokenIssuer::new(issuer.unwrap(), audience.unwrap(), keys.clone())
}

/// A private key as a JSON Web Key, with these members.
fn jwk(members: &[(&str, serde_json::Value)]) -> Vec<u8> {
    use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref();
    let secret = AsBigEndian::<EcPrivateKeyBin<'_>>::as_be_bytes(&pair.private_key()).unwrap();
    let mut jwk = serde_json::json!({
        "kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]),
        "d": encode(secret.as_ref()),
    });
    for (name, value) in members {
        jwk[*name] = value.clone();
    }
    jwk.to_string().into_bytes()
}

/// A setting that comes late drops no key.
#[tokio::test]
async fn settings_after_a_rotation_by_hand_drop_no_key() {
    let clock = FixedClock::at(NOW);
    let generate = || SigningKeys::generate(Algorithm::EdDSA).unwrap();
    for generates in [false, true] {
        let first = if generates {
            generate()
        } else {
            SigningKeys::from_jwk(&jwk(&[])).unwrap()
        };
        let keys = first.with_clock(clock.clone());
        let signing = keys.status().signing.unwrap();
        let next = keys.rotate(&generate()).await.unwrap();
        let known = ids(&keys);
        let keys = keys.publish_lead(Duration::from_secs(7_200)).unwrap();
        let keys = keys.with_clock(clock.clone());
        assert_eq!(ids(&keys), known);
        if generates {
            let keys = keys.clone().rotate_every(40 * DAY).unwrap();
            assert_eq!(ids(&keys), known);
        }
        assert_eq!(keys.status().signing.as_ref(), Some(&signing));
        clock.advance(Duration::from_secs(7_201));
        assert_eq!(keys.status().signing, Some(next));
    }

    // A token was signed.
    let keys = generate().with_clock(clock.clone());
    let tokens = tokens(&keys).clock(clock.clone());
    let token = tokens.for_client("batch").issue().await.unwrap();
    clock.advance(31 * DAY);
    let late = tokens.for_client("batch").issue().await.unwrap();
    let known = ids(&keys);
    let keys = keys.publish_lead(Duration::from_secs(7_200)).unwrap();
    assert_eq!(ids(&keys), known);
    let verifier = tokens.auth().verifier();
    assert!(verifier.verify_now(late.as_str()).is_ok());
    drop(token);
}

/// Tokens with a clock of their own change no key.
#[tokio::test]
async fn the_clock_of_the_tokens_does_not_move_the_keys() {
    let keys = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let known = ids(&keys);
    for time in [NOW, 7_000_000_000] {
        let tokens = tokens(&keys).clock(FixedClock::at(time));
        let token = tokens.for_client("batch").issue().await.unwrap();
        let set = key_set(keys.jwks()).await;
        assert_eq!(set.len(), 2);
        assert_eq!(ids(&keys), known);
        let verifier = tokens.auth().verifier();
        assert!(verifier.verify_now(token.as_str()).is_ok());
    }
}

/// What `rotate` cannot do is an error, and not silence.
#[tokio::test]
async fn a_next_key_that_contradicts_those_that_are_there_is_an_error() {
    let named = |name: &str| SigningKeys::from_jwk(&jwk(&[("kid", name.into())])).unwrap();
    let (keys, other) = (named("main"), named("main"));
    let error = keys.rotate(&other).await.unwrap_err();
    assert!(
        error.to_string().contains("another key has the id"),
        "{error}"
    );
    assert_eq!(ids(&keys), ["main"]);
    // The same key once more is no mistake.
    assert_eq!(keys.rotate(&keys.clone()).await.unwrap().as_str(), "main");
    assert_eq!(ids(&keys), ["main"]);

    // A secret is not published, so other services could not verify its tokens.
    let bytes: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7 + 3).unwrap());
    let secret = || SigningKeys::from_secret(Algorithm::HS256, &bytes).unwrap();
    let error = keys.rotate(&secret()).await.unwrap_err();
    assert!(error.to_string().contains("secret"), "{error}");
    assert_eq!(ids(&keys), ["main"]);
    let before = secret();
    assert!(before.rotate(&named("main")).await.is_ok());
    assert_eq!(ids(&before).len(), 2);
}

/// RFC 7517, sections 4.2 and 4.3.
#[test]
fn a_private_jwk_that_is_not_for_signatures_does_not_sign() {
    for (name, value, is_good) in [
        ("use", serde_json::json!("sig"), true),
        ("use", serde_json::json!("enc"), false),
        ("use", serde_json::json!("other"), false),
        ("key_ops", serde_json::json!(["sign"]), true),
        ("key_ops", serde_json::json!(["sign", "verify"]), true),
        ("key_ops", serde_json::json!(["verify"]), false),
        ("key_ops", serde_json::json!(["deriveKey"]), false),
        ("key_ops", serde_json::json!(["sign", "deriveBits"]), false),
        ("key_ops", serde_json::json!([]), false),
        ("key_ops", serde_json::json!("sign"), false),
    ] {
        let read = SigningKeys::from_jwk(&jwk(&[(name, value.clone())]));
        assert_eq!(read.is_ok(), is_good, "{name} {value}: {read:?}");
    }
}

/// The bounds that the documentation names hold together.
#[test]
fn the_shortest_period_has_room_for_tokens_of_an_hour() {
    let hour = Duration::from_secs(3_600);
    let keys = SigningKeys::generate(Algorithm::EdDSA).unwrap();
    let keys = keys.rotate_every(2 * hour).unwrap();
    assert!(tokens(&keys).lifetime(hour).is_ok());
    let longer = tokens(&keys).insecure_lifetime(hour + Duration::from_secs(1));
    assert!(longer.is_err());
}

/// What is published has no password.
#[test]
fn metadata_with_a_password_are_an_error_without_it() {
    let issuer = Issuer::new(ISSUER).unwrap();
    let uri = "https://app:correct-horse@login.example.com/jwks.json";
    let error = Discovery::new(&issuer, uri).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("correct-horse"), "{shown}");
}

/// A store that forgets.
#[derive(Clone, Default)]
struct Forgetful {
    stored: Arc<Mutex<Option<StoredKeys>>>,
    panics: Arc<AtomicBool>,
    loads: Arc<AtomicUsize>,
}

impl Forgetful {
    fn get(&self) -> Option<StoredKeys> {
        self.stored.lock().unwrap().clone()
    }

    fn set(&self, stored: Option<StoredKeys>) {
        *self.stored.lock().unwrap() = stored;
    }
}

impl SigningKeyStore for Forgetful {
    fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            assert!(
                !self.panics.load(Ordering::SeqCst),
                "a mistake in the store"
            );
            Ok(self.get())
        })
    }

    fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
        Box::pin(async move {
            let is_expected = self.get().as_ref().map(StoredKeys::version) == expected;
            if is_expected {
                self.set(Some(keys));
            }
            Ok(is_expected)
        })
    }
}

async fn instance(store: &Forgetful, clock: &FixedClock) -> Result<SigningKeys, ConfigError> {
    let settings = SigningKeys::shared(Algorithm::EdDSA, store.clone())?;
    settings.with_clock(clock.clone()).connect().await
}

/// Longer than the time until instances look at the store.
async fn look() {
    tokio::time::sleep(Duration::from_secs(1_000)).await;
}

/// A store that was flushed gets the keys back from an instance that runs. No token dies.
#[tokio::test(start_paused = true)]
async fn a_store_that_lost_the_keys_gets_them_back() {
    let (clock, store) = (FixedClock::at(NOW), Forgetful::default());
    let first = instance(&store, &clock).await.unwrap();
    let second = instance(&store, &clock).await.unwrap();
    let known = ids(&first);
    let token = tokens(&first).clock(clock.clone());
    let token = token.for_client("batch").issue().await.unwrap();
    store.set(None);
    look().await;
    for keys in [&first, &second] {
        assert_eq!(ids(keys), known);
        let verifier = tokens(keys).clock(clock.clone()).auth().verifier();
        assert!(verifier.verify_now(token.as_str()).is_ok());
        assert!(keys.status().failure.is_none());
    }
    assert_eq!(ids(&instance(&store, &clock).await.unwrap()), known);

    // Another instance has made new keys before.
    store.set(None);
    let third = instance(&store, &clock).await.unwrap();
    assert_ne!(ids(&third), known);
    look().await;
    look().await;
    for keys in [&first, &second, &third] {
        assert_eq!(ids(keys), known);
    }
}

/// A store that was set back, as after a failover to a replica that was behind, brings back no revoked key.
#[tokio::test(start_paused = true)]
async fn a_store_that_was_set_back_brings_no_revoked_key_back() {
    let (clock, store) = (FixedClock::at(NOW), Forgetful::default());
    let keys = instance(&store, &clock).await.unwrap();
    let old = store.get();
    let leaked = keys.status().signing.unwrap();
    keys.revoke_key(leaked.as_str()).await.unwrap();
    let known = ids(&keys);
    store.set(old);
    look().await;
    assert_eq!(ids(&keys), known);
    assert!(!verifying(&keys.keys()).contains(&leaked.to_string()));
    assert_eq!(ids(&instance(&store, &clock).await.unwrap()), known);
}

/// One machine whose clock is far behind or ahead destroys nothing.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_far_off_does_not_destroy_the_keys_of_others() {
    let (clock, store) = (FixedClock::at(NOW), Forgetful::default());
    let keys = instance(&store, &clock).await.unwrap();
    let known = ids(&keys);
    let error = instance(&store, &FixedClock::at(1)).await.unwrap_err();
    assert!(error.to_string().contains("clock"), "{error}");
    look().await;
    assert_eq!(ids(&keys), known);

    // Far ahead, the keys look as after a long time in which nothing ran.
    let ahead = FixedClock::at(NOW);
    ahead.advance(200 * DAY);
    let other = instance(&store, &ahead).await.unwrap();
    assert_ne!(ids(&other), known);
    drop(other);
    look().await;
    assert_eq!(ids(&keys), known);
    assert!(keys.status().failure.is_none());
    assert_eq!(ids(&instance(&store, &clock).await.unwrap()), known);
}

/// A machine that begins with the clock of its last shutdown or of 1970, and one that stood still for months. The task
/// that makes keys looks every 15 minutes, by a clock that does not know of it.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_over_all_keys_leaves_no_gap() {
    let (clock, store) = (FixedClock::at(1_000), Forgetful::default());
    let keys = instance(&store, &clock).await.unwrap();
    assert!(keys.is_ready());
    for jump in [NOW - 1_000, 200 * 86_400] {
        let before = ids(&keys);
        clock.advance(Duration::from_secs(jump));
        assert!(!keys.is_ready());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(keys.is_ready());
        assert!(ids(&keys).iter().all(|id| !before.contains(id)));
        let tokens = tokens(&keys).clock(clock.clone());
        let token = tokens.for_client("batch").issue().await.unwrap();
        let verifier = tokens.auth().verifier();
        assert!(verifier.verify_now(token.as_str()).is_ok());
    }
    // The twin: a store that is down is not asked more often than after any failure.
    store.panics.store(true, Ordering::SeqCst);
    store.loads.store(0, Ordering::SeqCst);
    clock.advance(200 * DAY);
    for _ in 0..600 {
        assert!(!keys.is_ready());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let loads = store.loads.load(Ordering::SeqCst);
    assert!((4..=6).contains(&loads), "{loads} in a minute");
    store.panics.store(false, Ordering::SeqCst);
    look().await;
    assert!(keys.is_ready());
}

/// A store that panics is a failure, and the keys are followed on.
#[tokio::test(start_paused = true)]
async fn a_store_that_panics_is_asked_again() {
    let (clock, store) = (FixedClock::at(NOW), Forgetful::default());
    let keys = instance(&store, &clock).await.unwrap();
    store.panics.store(true, Ordering::SeqCst);
    look().await;
    let failure = keys.status().failure.unwrap();
    assert!(failure.reason().contains("panicked"), "{failure:?}");
    assert!(keys.is_ready());
    let revoked = keys.revoke_key(&ids(&keys)[0]).await;
    assert!(matches!(revoked, Err(SigningKeyError::Unavailable { .. })));
    store.panics.store(false, Ordering::SeqCst);
    look().await;
    assert!(keys.status().failure.is_none());
}

#[test]
fn a_runtime_without_timers_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let store = Forgetful::default();
    let connecting = async { instance(&store, &FixedClock::at(NOW)).await };
    let error = runtime.unwrap().block_on(connecting).unwrap_err();
    assert!(error.to_string().contains("timers"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_directory_that_everybody_may_write_is_an_error_at_the_first_start() {
    use std::os::unix::fs::PermissionsExt;
    use tower_jwt_auth::issue::SigningKeyFile;
    let directory = super::files::Directory::new("signing-keys-open");
    let open = PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&directory.path, open).unwrap();
    let file = SigningKeyFile::new(directory.path.join("keys"));
    let settings = SigningKeys::shared(Algorithm::EdDSA, file).unwrap();
    let error = settings.connect().await.unwrap_err();
    assert!(error.to_string().contains("directory"), "{error}");
    assert_eq!(std::fs::read_dir(&directory.path).unwrap().count(), 0);
}
