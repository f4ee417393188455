//! The cache of verified tokens makes verdicts cheaper, and changes none of them.

use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "remote")]
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use crate::caches::{
    Checks, Counted, OTHER, Own, READ, RSA, START, fixture_time, has_own, rsa_key_for, secret,
    usual,
};
use tower_jwt_auth::RejectionKind::{
    AlgorithmNotAllowed, AudienceMismatch, BadSignature, Expired, InvalidClaim,
    KeySourceUnavailable, MissingClaim, NotYetValid, RevocationUnavailable, Revoked, UnknownKey,
};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::policy::{Leeway, RequiredClaim};
use tower_jwt_auth::revocation::Denylist;
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{
    Algorithm, Audience, Claims, JwtAuth, Key, KeySet, KeyStore, RejectionKind, TrustedIssuer,
    Verifier,
};

/// An issuer with one key, a store with this key, and a clock for both.
struct Fixture {
    clock: FixedClock,
    issuer: TestIssuer,
    keys: KeyStore,
}

impl Fixture {
    fn new() -> Self {
        Self::of(secret(0))
    }

    fn of(issuer: TestIssuer) -> Self {
        let clock = FixedClock::at(START);
        let issuer = issuer.with_clock(clock.clone());
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
            .cache(usual())
    }

    fn verifier(&self) -> Verifier {
        self.auth().verifier()
    }

    fn token(&self) -> TestToken {
        self.issuer.token().expires_in(Duration::from_secs(900))
    }

    /// Sets the clock to this many seconds and milliseconds after [`START`].
    fn at(&self, seconds: u64, milliseconds: u64) {
        self.clock.set(START + seconds);
        self.clock.advance(Duration::from_millis(milliseconds));
    }
}

fn rejection(verifier: &Verifier, token: &str) -> Option<RejectionKind> {
    verifier.verify_now(token).err().map(|error| error.kind())
}

/// Whether the token came from the cache, which shows in own claims that were read before. An error
/// is the reason of a rejection.
fn is_recalled(verifier: &Verifier, token: &str) -> Result<bool, RejectionKind> {
    let verdict = verifier.verify_now(token);
    verdict
        .map(|claims| has_own(&claims))
        .map_err(|no| no.kind())
}

const REMEMBERED: Result<bool, RejectionKind> = Ok(true);
const ANEW: Result<bool, RejectionKind> = Ok(false);

// What is shared.

#[test]
fn a_repeated_token_gives_the_same_claims_which_are_read_once_for_each_type() {
    let fixture = Fixture::new();
    let token = fixture.token().subject("alice").scope("a b");
    let (token, other) = (token.clone().mint(), token.claim("jti", "other").mint());
    let verifier = fixture.auth().claims::<Counted>().verifier();
    let first = verifier.verify_now(&token).unwrap();
    for _ in 0..10 {
        let again = verifier.verify_now(&token).unwrap();
        assert!(std::ptr::eq(&*first, &*again));
        assert_eq!(again.subject(), Some("alice"));
        assert_eq!(again.id(), first.id());
        assert_eq!(again.expires_at(), first.expires_at());
        assert_eq!(again.scopes().to_string(), "a b");
    }
    assert_eq!(READ.get(), 1);
    // Another own type, and another token.
    let own = verifier.clone().claims::<Own>();
    let level = own.verify_now(&token).unwrap();
    assert!(std::ptr::eq(&*level, &*own.verify_now(&token).unwrap()));
    assert_eq!(level.level, None);
    assert_eq!(verifier.verify_now(&other).unwrap().id(), Some("other"));
    assert_eq!(READ.get(), 2);
    // The twin: without a cache nothing is shared.
    let without = fixture.auth().cache(TokenCache::off());
    let without = without.claims::<Counted>().verifier();
    for _ in 0..10 {
        without.verify_now(&token).unwrap();
    }
    assert_eq!(READ.get(), 12);
}

#[tokio::test]
async fn a_layer_and_its_verifiers_remember_together() {
    let fixture = Fixture::new();
    let (auth, token) = (fixture.auth(), fixture.token().mint());
    let mut before: Option<Claims> = None;
    for _ in 0..3 {
        let (response, seen) =
            crate::support::send(&auth.clone(), crate::support::get(&token)).await;
        assert_eq!(response.status(), 200);
        let claims = seen.requests()[0]
            .extensions
            .get::<Claims>()
            .unwrap()
            .clone();
        assert_eq!(has_own(&claims), before.is_some());
        before = Some(claims);
    }
    assert_eq!(is_recalled(&auth.verifier(), &token), REMEMBERED);
    let forged = format!("{}A", token);
    let (response, seen) = crate::support::send(&auth, crate::support::get(&forged)).await;
    assert_eq!((response.status().as_u16(), seen.count()), (401, 0));
}

#[test]
fn own_claims_that_do_not_fit_are_rejected_each_time() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let general = auth.verifier();
    let own = auth.claims::<Own>().verifier();
    let bad = fixture.token().claim("level", "high").mint();
    for _ in 0..3 {
        assert_eq!(rejection(&general, &bad), None);
        assert_eq!(own.verify_now(&bad).unwrap_err().kind(), InvalidClaim);
    }
    let good = fixture.token().claim("level", 7).mint();
    for _ in 0..3 {
        assert_eq!(own.verify_now(&good).unwrap().level, Some(7));
    }
}

/// RFC9700-4.9.3-1
#[test]
fn a_verifier_that_remembers_a_token_prints_nothing_of_it() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let (verifier, token) = (auth.verifier(), fixture.token().mint());
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    let printed = format!("{verifier:?} {auth:#?}");
    for part in token.split('.') {
        assert!(!printed.contains(part));
    }
    assert!(printed.contains("https://api.example"));
}

// Times.

#[test]
fn a_remembered_token_ends_with_its_time() {
    for has_issue_time in [true, false] {
        let fixture = Fixture::new();
        let token = fixture.token().expires_in(Duration::from_secs(200));
        let token = if has_issue_time {
            token
        } else {
            token.without("iat")
        };
        let (token, verifier) = (token.mint(), fixture.verifier());
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        for (seconds, milliseconds) in [(0, 0), (200, 0), (259, 999)] {
            fixture.at(seconds, milliseconds);
            assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        }
        fixture.at(260, 0);
        assert_eq!(rejection(&verifier, &token), Some(Expired));
        assert_eq!(rejection(&verifier, &token), Some(Expired));
    }
}

#[test]
fn rules_about_age_end_a_remembered_token_too() {
    let fixture = Fixture::new();
    let auth = fixture.auth().leeway(Leeway::ZERO);
    let verifier = auth.max_age(Duration::from_secs(100)).verifier();
    let token = fixture.token().mint();
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    fixture.at(99, 999);
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    fixture.at(100, 0);
    assert_eq!(rejection(&verifier, &token), None);
    fixture.at(100, 1);
    assert_eq!(rejection(&verifier, &token), Some(Expired));

    // A token without `iat` is over the maximum lifetime until its end is close enough.
    let fixture = Fixture::new();
    let auth = fixture.auth().leeway(Leeway::ZERO);
    let verifier = auth.max_lifetime(Duration::from_secs(900)).verifier();
    let token = fixture.token().without("iat").mint();
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    fixture.clock.set(START - 1);
    assert_eq!(rejection(&verifier, &token), Some(InvalidClaim));
    fixture.clock.set(START);
    assert_eq!(rejection(&verifier, &token), None);
}

#[test]
fn a_remembered_token_is_not_valid_before_its_time_either() {
    for claim in ["nbf", "iat"] {
        let fixture = Fixture::new();
        let token = fixture.token().without("iat");
        let token = token.claim(claim, START - 10).mint();
        let verifier = fixture.verifier();
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        fixture.clock.set(START - 70);
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        fixture.clock.set(START - 71);
        fixture.clock.advance(Duration::from_millis(999));
        assert_eq!(rejection(&verifier, &token), Some(NotYetValid));
        fixture.clock.set(START);
        assert_eq!(rejection(&verifier, &token), None);
    }
}

#[test]
fn a_verdict_is_believed_for_as_long_as_was_said_and_no_longer() {
    for (cache, seconds) in [
        (usual(), 300),
        (usual().max_age(Duration::from_secs(10)), 10),
    ] {
        let fixture = Fixture::new();
        let verifier = fixture.auth().cache(cache).verifier();
        let token = fixture.token().mint();
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        fixture.at(seconds - 1, 999);
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        // Using the entry does not extend its time.
        fixture.at(seconds, 0);
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    }
    let fixture = Fixture::new();
    let never = fixture.auth().cache(usual().max_age(Duration::ZERO));
    let (never, token) = (never.verifier(), fixture.token().mint());
    for _ in 0..3 {
        assert_eq!(is_recalled(&never, &token), ANEW);
    }
    let long = fixture.auth().cache(usual().max_age(Duration::MAX));
    let long = long.verifier();
    assert_eq!(is_recalled(&long, &token), ANEW);
    fixture.at(959, 999);
    assert_eq!(is_recalled(&long, &token), REMEMBERED);
    fixture.at(960, 0);
    assert_eq!(rejection(&long, &token), Some(Expired));
}

// Keys.

/// STORE-D4
#[test]
fn a_remembered_token_dies_with_its_key_at_the_next_request() {
    let after = |change: &dyn Fn(&KeyStore)| {
        let fixture = Fixture::new();
        let (token, verifier) = (fixture.token().mint(), fixture.verifier());
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        change(&fixture.keys);
        let verdict = is_recalled(&verifier, &token);
        assert_eq!(is_recalled(&verifier, &token).err(), verdict.err());
        verdict
    };
    let (same, other) = (secret(0).key(), secret(1).key());
    let other_id = other.clone().with_key_id("other");
    let replace = |keys: &KeyStore, set: &[&Key]| {
        keys.replace(KeySet::new(set.iter().map(|key| (*key).clone())).unwrap());
    };
    let gone = Err(UnknownKey);
    assert_eq!(after(&|keys| assert!(keys.remove("key-1"))), gone);
    assert_eq!(
        after(&|keys| assert!(keys.retire("key-1", Duration::ZERO))),
        gone
    );
    assert_eq!(after(&|keys| replace(keys, &[&other_id])), gone);
    assert_eq!(
        after(&|keys| replace(keys, &[&same.clone().with_key_id("another")])),
        gone,
        "the token names the id"
    );
    assert_eq!(
        after(&|keys| replace(keys, &[&other])),
        Err(BadSignature),
        "the id alone is not the key"
    );
    // The twins: the key stays, next to other keys, in another set, or next to a key with its id.
    assert_eq!(after(&|_| {}), REMEMBERED);
    assert_eq!(after(&|keys| assert!(!keys.remove("other"))), REMEMBERED);
    assert_eq!(
        after(&|keys| drop(keys.rotate(other_id.clone()))),
        REMEMBERED
    );
    assert_eq!(after(&|keys| drop(keys.rotate(other.clone()))), REMEMBERED);
    assert_eq!(after(&|keys| replace(keys, &[&same])), REMEMBERED);
    assert_eq!(after(&|keys| replace(keys, &[&other, &same])), REMEMBERED);
    assert_eq!(
        after(&|keys| {
            keys.remove("key-1");
            keys.rotate(same.clone());
        }),
        REMEMBERED,
        "nobody asked while it was gone"
    );
}

#[test]
fn a_remembered_token_dies_when_its_key_retires_and_not_before() {
    let fixture = Fixture::new();
    let (token, verifier) = (fixture.token().mint(), fixture.verifier());
    let [before, after] = ["2", "3"].map(|id| fixture.token().claim("jti", id).mint());
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert!(fixture.keys.retire("key-1", Duration::from_secs(100)));
    assert_eq!(is_recalled(&verifier, &before), ANEW);
    // Other changes of the set do not cancel the end of the key.
    fixture.keys.rotate(secret(1).key().with_key_id("other"));
    assert_eq!(is_recalled(&verifier, &after), ANEW);
    for (seconds, milliseconds) in [(0, 0), (50, 0), (99, 999)] {
        fixture.at(seconds, milliseconds);
        for token in [&token, &before, &after] {
            assert_eq!(is_recalled(&verifier, token), REMEMBERED);
        }
    }
    fixture.at(100, 0);
    for token in [&token, &before, &after] {
        assert_eq!(rejection(&verifier, token), Some(UnknownKey));
    }
    // After the key is added again, it verifies tokens again.
    fixture.keys.rotate(fixture.issuer.key());
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
}

/// A token without a key id is tried with the first eight keys of the set.
#[test]
fn a_remembered_token_that_names_no_key_dies_when_its_key_is_not_tried_any_more() {
    let fixture = Fixture::new();
    let verifier = fixture.verifier();
    let named = fixture.token().mint();
    let token = fixture.token().without_header("kid").mint();
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert_eq!(is_recalled(&verifier, &named), ANEW);
    for number in 1..=8 {
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED, "{number}");
        let id = format!("other-{number}");
        fixture.keys.rotate(secret(number).key().with_key_id(id));
    }
    assert_eq!(rejection(&verifier, &token), Some(BadSignature));
    assert_eq!(is_recalled(&verifier, &named), REMEMBERED);
    fixture.keys.remove("other-8");
    assert_eq!(rejection(&verifier, &token), None);
}

#[test]
fn a_remembered_token_dies_when_its_key_is_for_another_algorithm() {
    let fixture = Fixture::of(RSA.clone());
    let (token, verifier) = (fixture.token().mint(), fixture.verifier());
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    fixture.keys.replace(rsa_key_for("RS256").into());
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    fixture.keys.replace(rsa_key_for("PS256").into());
    assert_eq!(rejection(&verifier, &token), Some(AlgorithmNotAllowed));
    fixture.keys.replace(rsa_key_for("RS256").into());
    assert_eq!(rejection(&verifier, &token), None);
}

#[test]
fn a_store_without_keys_yet_is_an_outage_and_then_remembers() {
    let fixture = Fixture::new();
    let keys = KeyStore::pending();
    let auth = JwtAuth::new(fixture.issuer.issuer(), fixture.issuer.audience(), &keys);
    let verifier = auth.clock(fixture.clock.clone()).cache(usual()).verifier();
    let token = fixture.token().mint();
    assert_eq!(rejection(&verifier, &token), Some(KeySourceUnavailable));
    keys.rotate(fixture.issuer.key());
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    assert!(keys.remove("key-1"));
    assert_eq!(rejection(&verifier, &token), Some(UnknownKey));
}

#[cfg(feature = "remote")]
mod remote {
    use http::{Request, Response};
    use tokio::time::sleep;
    use tower_jwt_auth::fetch::{Fetch, FetchError, FetchFuture};
    use tower_jwt_auth::keys::RemoteKeys;

    use super::*;

    /// The key set of an issuer. `None` during an outage.
    #[derive(Clone)]
    struct Published(Arc<Mutex<Option<String>>>);

    impl Published {
        async fn of(issuer: &TestIssuer) -> (Self, KeyStore) {
            let published = Self(Arc::new(Mutex::new(Some(issuer.jwks()))));
            let keys = RemoteKeys::jwks("https://as.example/jwks", published.clone()).unwrap();
            (published, keys.connect().await.unwrap())
        }

        fn becomes(&self, text: Option<String>) {
            *self.0.lock().unwrap() = text;
        }
    }

    impl Fetch for Published {
        fn fetch(&self, _: Request<Vec<u8>>, _: usize) -> FetchFuture {
            let text = self.0.lock().unwrap().clone();
            Box::pin(async move {
                let text = text.ok_or_else(|| FetchError::new("connection refused"))?;
                let response = Response::builder().header("content-type", "application/json");
                Ok(response.body(text.into_bytes()).unwrap())
            })
        }
    }

    fn edwards() -> Fixture {
        Fixture::of(TestIssuer::with_algorithm(Algorithm::EdDSA))
    }

    fn verifier(fixture: &Fixture, keys: &KeyStore) -> Verifier {
        JwtAuth::new(fixture.issuer.issuer(), fixture.issuer.audience(), keys)
            .clock(fixture.clock.clone())
            .cache(usual().max_age(Duration::MAX))
            .verifier()
    }

    /// The verdict after all waits.
    async fn rejected_at_last(verifier: &Verifier, token: &str) -> Option<RejectionKind> {
        verifier.verify(token).await.err().map(|error| error.kind())
    }

    /// STORE-D4
    #[tokio::test(start_paused = true)]
    async fn a_remembered_token_dies_with_the_refresh_that_lacks_its_key() {
        let (fixture, other) = (edwards(), edwards());
        let (published, keys) = Published::of(&fixture.issuer).await;
        let verifier = verifier(&fixture, &keys);
        let token = fixture.token().mint();
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        keys.reload().await;
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        published.becomes(None);
        keys.reload().await;
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        // Another key beside it, then in place of it.
        let beside = other.issuer.jwk().to_string().replace("key-1", "key-2");
        let both = format!(r#"{{"keys":[{beside},{}]}}"#, fixture.issuer.jwk());
        published.becomes(Some(both));
        keys.reload().await;
        assert_eq!(keys.snapshot().unwrap().keys().count(), 2);
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        published.becomes(Some(format!(r#"{{"keys":[{beside}]}}"#)));
        keys.reload().await;
        assert_eq!(rejected_at_last(&verifier, &token).await, Some(UnknownKey));
        // The key of another issuer under the same id.
        published.becomes(Some(fixture.issuer.jwks()));
        keys.reload().await;
        assert_eq!(rejected_at_last(&verifier, &token).await, None);
        published.becomes(Some(other.issuer.jwks()));
        keys.reload().await;
        assert_eq!(
            rejected_at_last(&verifier, &token).await,
            Some(BadSignature)
        );
    }

    /// JWKS-D3
    #[tokio::test(start_paused = true)]
    async fn a_remembered_token_is_answered_with_503_once_the_keys_are_too_old() {
        let fixture = edwards();
        let (published, keys) = Published::of(&fixture.issuer).await;
        let verifier = verifier(&fixture, &keys);
        let token = fixture.token().mint();
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        published.becomes(None);
        sleep(Duration::from_secs(3_600)).await;
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        sleep(Duration::from_secs(30 * 3_600)).await;
        assert!(!keys.is_ready());
        let rejected = verifier.verify_now(&token).unwrap_err();
        assert_eq!(rejected.kind(), KeySourceUnavailable);
        assert_eq!(rejected.status(), 503);
        published.becomes(Some(fixture.issuer.jwks()));
        sleep(Duration::from_secs(120)).await;
        assert_eq!(rejection(&verifier, &token), None);
    }
}

// Policies.

/// RFC9700-2.3-1
#[test]
fn layers_with_one_store_do_not_share_verdicts() {
    let fixture = Fixture::new();
    let store = fixture.keys.clone();
    let other = Audience::new(OTHER).unwrap();
    let other = JwtAuth::new(fixture.issuer.issuer(), other, &store)
        .clock(fixture.clock.clone())
        .cache(usual());
    let auth = || fixture.auth();
    let late = fixture.token().claim("exp", START - 59).mint();
    let good = fixture.token().mint();
    let year = Duration::from_secs(365 * 24 * 3_600);
    for (strict, lax, token, kind) in [
        (other, auth(), &good, AudienceMismatch),
        (
            auth().algorithms([Algorithm::ES256]),
            auth().algorithms([Algorithm::HS256]),
            &good,
            AlgorithmNotAllowed,
        ),
        (auth().leeway(Leeway::ZERO), auth(), &late, Expired),
        (
            auth().max_lifetime(Duration::from_secs(60)),
            auth().max_lifetime(year),
            &good,
            InvalidClaim,
        ),
        (
            auth().required_claims([RequiredClaim::NotBefore]),
            auth().required_claims([RequiredClaim::IssuedAt]),
            &good,
            MissingClaim,
        ),
    ] {
        for strict_is_first in [true, false] {
            // Two separate layers, and then two layers that were derived from one that has verified
            // tokens.
            let (strict, lax) = (strict.clone().cache(usual()), lax.clone().cache(usual()));
            let (strict, lax) = (strict.verifier(), lax.verifier());
            if strict_is_first {
                assert_eq!(rejection(&strict, token), Some(kind));
            }
            assert_eq!(is_recalled(&lax, token), ANEW);
            assert_eq!(is_recalled(&lax, token), REMEMBERED);
            assert_eq!(rejection(&strict, token), Some(kind));
            assert_eq!(is_recalled(&lax, token), REMEMBERED);
        }
    }
}

/// A setting that is changed after a layer has verified tokens gives a layer with an empty cache.
#[test]
fn a_later_setting_forgets_what_was_accepted_before() {
    let fixture = Fixture::new();
    let late = fixture.token().claim("exp", START - 59).mint();
    let good = fixture.token().mint();
    let used = |is_shared: bool| {
        let auth = fixture.auth();
        for token in [&late, &good] {
            assert_eq!(is_recalled(&auth.verifier(), token), ANEW);
            assert_eq!(is_recalled(&auth.verifier(), token), REMEMBERED);
        }
        (is_shared.then(|| auth.clone()), auth)
    };
    let stranger = KeyStore::from(secret(1).key());
    for is_shared in [true, false] {
        let after = |change: &dyn Fn(JwtAuth) -> JwtAuth, token| {
            let (kept, auth) = used(is_shared);
            let verdict = rejection(&change(auth).verifier(), token);
            if let Some(kept) = kept {
                assert_eq!(is_recalled(&kept.verifier(), token), REMEMBERED);
            }
            verdict
        };
        let (name, audience) = (fixture.issuer.issuer(), fixture.issuer.audience());
        assert_eq!(
            after(&|auth| auth.leeway(Leeway::ZERO), &late),
            Some(Expired)
        );
        assert_eq!(after(&|auth| auth.leeway(Leeway::ZERO), &good), None);
        assert_eq!(
            after(&|auth| auth.algorithms([Algorithm::ES256]), &good),
            Some(AlgorithmNotAllowed)
        );
        // Another trust in the same issuer has other keys of the same generation, or another
        // audience. It accepts no token because the first trust has accepted it.
        assert_eq!(
            after(
                &|auth| auth.trust(TrustedIssuer::new(
                    name.clone(),
                    audience.clone(),
                    &stranger
                )),
                &good
            ),
            None
        );
        let other = Audience::new(OTHER).unwrap();
        assert_eq!(
            after(
                &|auth| auth.trust(TrustedIssuer::new(
                    name.clone(),
                    other.clone(),
                    &fixture.keys
                )),
                &good
            ),
            None
        );
        let past = UNIX_EPOCH + Duration::from_secs(START - 2_000);
        assert_eq!(
            after(&|auth| auth.clock(move || past), &good),
            Some(NotYetValid)
        );
    }
}

/// RFC9700-2.3-1
#[test]
fn cached_tokens_of_two_issuers_end_independently() {
    let (ours, theirs) = (Fixture::new(), Fixture::of(secret(1).named(OTHER)));
    let auth = ours.auth().trust(TrustedIssuer::new(
        theirs.issuer.issuer(),
        theirs.issuer.audience(),
        &theirs.keys,
    ));
    let verifier = auth.verifier();
    let tokens = [ours.token().mint(), theirs.token().mint()];
    for token in &tokens {
        assert_eq!(is_recalled(&verifier, token), ANEW);
        assert_eq!(is_recalled(&verifier, token), REMEMBERED);
    }
    assert!(ours.keys.remove("key-1"));
    assert_eq!(rejection(&verifier, &tokens[0]), Some(UnknownKey));
    assert_eq!(is_recalled(&verifier, &tokens[1]), REMEMBERED);
    // The two issuers have different keys under the same id.
    assert!(theirs.keys.remove("key-1"));
    theirs.keys.rotate(ours.issuer.key());
    assert_eq!(rejection(&verifier, &tokens[1]), Some(BadSignature));
    assert_eq!(rejection(&verifier, &tokens[0]), Some(UnknownKey));
}

// Revocation.

/// CLAIMS-D2
#[test]
fn a_revocation_is_asked_for_a_remembered_token_too() {
    let fixture = Fixture::new();
    let denylist = Denylist::with_capacity(10).with_clock(fixture.clock.clone());
    let verifier = fixture.auth().revocation(denylist.clone()).verifier();
    let token = fixture.token().claim("jti", "1").mint();
    let other = fixture.token().claim("jti", "2").mint();
    let claims = verifier.verify_now(&token).unwrap();
    assert_eq!(rejection(&verifier, &token), None);
    denylist.revoke(&claims).unwrap();
    assert_eq!(rejection(&verifier, &token), Some(Revoked));
    assert_eq!(rejection(&verifier, &token), Some(Revoked));
    assert_eq!(is_recalled(&verifier, &other), ANEW);
    assert_eq!(is_recalled(&verifier, &other), REMEMBERED);
    let subject = SubjectId::new("https://as.example", "subject-1");
    let until = UNIX_EPOCH + Duration::from_secs(START + 1_000);
    denylist
        .revoke_subject(subject, fixture_time(), until)
        .unwrap();
    assert_eq!(rejection(&verifier, &other), Some(Revoked));
}

#[test]
fn a_token_whose_revocation_is_taken_back_counts_again_and_an_outage_is_none() {
    let fixture = Fixture::new();
    let checks = Checks::default();
    let verifier = fixture.auth().revocation(checks.clone()).verifier();
    let token = fixture.token().claim("jti", "1").mint();
    assert_eq!(is_recalled(&verifier, &token), ANEW);
    for _ in 0..3 {
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        checks.toggle("1");
        assert_eq!(rejection(&verifier, &token), Some(Revoked));
        checks.toggle("1");
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
        checks.break_down(true);
        assert_eq!(rejection(&verifier, &token), Some(RevocationUnavailable));
        checks.break_down(false);
    }
    // A token that was revoked when it first came is accepted once the revocation is taken back.
    let token = fixture.token().claim("jti", "2").mint();
    checks.toggle("2");
    assert_eq!(rejection(&verifier, &token), Some(Revoked));
    checks.toggle("2");
    assert_eq!(rejection(&verifier, &token), None);
}

// Other tokens.

#[test]
fn no_other_text_is_taken_for_a_remembered_token() {
    for algorithm in [Algorithm::HS256, Algorithm::ES256] {
        let fixture = Fixture::of(TestIssuer::with_algorithm(algorithm));
        let (token, verifier) = (fixture.token().mint(), fixture.verifier());
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        for at in 0..token.len() {
            for other in ["A", "_", "."] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, other);
                let is_same = changed == token;
                assert_eq!(verifier.verify_now(&changed).is_ok(), is_same, "{at}");
            }
            assert!(rejection(&verifier, &token[..at]).is_some(), "{at}");
        }
        for more in ["A", ".", "=", "==", "\0", " ", "\n", "\u{e4}"] {
            let (behind, before) = (format!("{token}{more}"), format!("{more}{token}"));
            assert!(rejection(&verifier, &behind).is_some(), "{more:?}");
            assert!(rejection(&verifier, &before).is_some(), "{more:?}");
        }
        let parts: Vec<_> = token.split('.').collect();
        let padded = format!("{}.{}=.{}", parts[0], parts[1], parts[2]);
        assert!(rejection(&verifier, &padded).is_some());
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    }
}

/// RFC4648-3.5-1: some bits of the last character of a signature are unused.
#[test]
fn a_remembered_token_has_one_spelling() {
    for (algorithm, spare) in [
        (Algorithm::HS256, 4),
        (Algorithm::ES256, 16),
        (Algorithm::RS256, 16),
    ] {
        let issuer = match algorithm {
            Algorithm::RS256 => RSA.clone(),
            other => TestIssuer::with_algorithm(other),
        };
        let fixture = Fixture::of(issuer);
        let (token, verifier) = (fixture.token().mint(), fixture.verifier());
        assert_eq!(is_recalled(&verifier, &token), ANEW);
        let (front, last) = token.split_at(token.len() - 1);
        let place = ALPHABET.find(last).unwrap();
        assert_eq!(place % spare, 0, "the bytes end before these bits");
        for stray in &ALPHABET[place + 1..place + spare]
            .chars()
            .collect::<Vec<_>>()
        {
            let same_bytes = format!("{front}{stray}");
            assert!(rejection(&verifier, &same_bytes).is_some(), "{stray}");
        }
        assert_eq!(is_recalled(&verifier, &token), REMEMBERED);
    }
}

const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[test]
fn a_flood_of_forged_tokens_is_rejected_and_drives_nothing_out() {
    let fixture = Fixture::new();
    let verifier = fixture.auth().cache(usual().max_tokens(7)).verifier();
    let good = fixture.token().mint();
    let (signing_input, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(is_recalled(&verifier, &good), ANEW);
    for number in 0..300_u32 {
        // The claims of the cached token under other signatures, some with the same end; then other
        // claims.
        let guess = guess(number);
        let (front, end) = (&guess[..35], &signature[35..]);
        for guess in [&guess, &format!("{front}{end}")] {
            let forged = format!("{signing_input}.{guess}");
            assert_eq!(rejection(&verifier, &forged), Some(BadSignature));
        }
        let forged = fixture
            .token()
            .claim("jti", number.to_string())
            .signed_by_stranger();
        assert_eq!(rejection(&verifier, &forged.mint()), Some(BadSignature));
    }
    assert_eq!(is_recalled(&verifier, &good), REMEMBERED);
    // Valid tokens that are used once do not evict it either.
    for number in 0..100 {
        let other = fixture.token().claim("jti", format!("once-{number}"));
        assert_eq!(rejection(&verifier, &other.mint()), None);
    }
    assert_eq!(is_recalled(&verifier, &good), REMEMBERED);
}

/// 43 characters, the length of an HS256 signature.
fn guess(number: u32) -> String {
    let mut text: String = (0..42)
        .map(|at| {
            let mixed = number.wrapping_add(at).wrapping_mul(2_654_435_761) >> 26;
            char::from(ALPHABET.as_bytes()[usize::try_from(mixed).unwrap()])
        })
        .collect();
    text.push('A');
    text
}

// Sizes.

#[test]
fn a_cache_of_any_size_gives_the_same_verdicts() {
    let fixture = Fixture::new();
    let token = |number: u32| fixture.token().claim("jti", number.to_string()).mint();
    let (expired, forged) = (
        fixture.token().expired().mint(),
        fixture.token().tampered().mint(),
    );
    for (cache, is_remembered) in [
        (TokenCache::off(), false),
        (usual().max_bytes(0), false),
        (usual().max_bytes(1), false),
        (usual().max_tokens(1), true),
        (usual(), true),
        (usual().max_tokens(300_000).max_bytes(usize::MAX), true),
    ] {
        let verifier = fixture.auth().cache(cache).verifier();
        assert_eq!(is_recalled(&verifier, &token(0)), ANEW);
        for number in 0..20 {
            assert_eq!(
                is_recalled(&verifier, &token(0)),
                Ok(is_remembered),
                "{cache:?}"
            );
            let claims = verifier.verify_now(&token(number)).unwrap();
            assert_eq!(claims.id(), Some(number.to_string().as_str()));
            assert_eq!(rejection(&verifier, &expired), Some(Expired));
            assert_eq!(rejection(&verifier, &forged), Some(BadSignature));
        }
    }
}

// Threads.

/// STORE-D4: a verification that starts after a key was removed, and ends before the key is back,
/// rejects the token. Tokens of the other key are accepted all the time.
#[test]
fn no_thread_accepts_a_token_after_its_key_was_removed() {
    const TURNS: u64 = 100;
    const OVER: u64 = u64::MAX;
    let fixture = Fixture::new();
    fixture.keys.rotate(secret(1).key().with_key_id("stays"));
    let verifier = fixture.verifier();
    let hot: Vec<_> = (0..3)
        .map(|number| fixture.token().claim("jti", number.to_string()).mint())
        .collect();
    let stays = secret(1).with_clock(fixture.clock.clone());
    let stays = stays.token().header("kid", "stays").mint();
    let key = fixture.issuer.key();
    let other = secret(2).key();

    // State modulo 4: in 1 the key is in the store, in 2 it is removed, in 3 another key has its
    // id. In 0 a change is being made, so no verdict is certain.
    let state = AtomicU64::new(1);
    let compared = AtomicU64::new(0);
    let expected = [None, None, Some(UnknownKey), Some(BadSignature)];
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|reader| {
                let (verifier, stays, hot) = (&verifier, &stays, &hot[reader % 3]);
                let (state, compared) = (&state, &compared);
                scope.spawn(move || {
                    loop {
                        let before = state.load(Ordering::SeqCst);
                        if before == OVER {
                            return;
                        }
                        let rejected = rejection(verifier, hot);
                        assert_eq!(rejection(verifier, stays), None);
                        if state.load(Ordering::SeqCst) == before && before % 4 != 0 {
                            let expected = expected[usize::try_from(before % 4).unwrap()];
                            assert_eq!(rejected, expected, "in state {before}");
                            compared.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        // Waits until some threads have verified in this state, or a thread has failed.
        let look = |certain: u64| {
            let before = compared.load(Ordering::SeqCst);
            state.store(certain, Ordering::SeqCst);
            while compared.load(Ordering::SeqCst) < before + 3
                && !readers.iter().any(|reader| reader.is_finished())
            {
                std::thread::yield_now();
            }
            state.store(0, Ordering::SeqCst);
        };
        for turn in 0..TURNS {
            look(4 * turn + 1);
            if turn % 2 == 0 {
                fixture.keys.remove("key-1");
            } else {
                fixture.keys.retire("key-1", Duration::ZERO);
            }
            look(4 * turn + 2);
            fixture.keys.remove("key-1");
            fixture.keys.rotate(other.clone());
            look(4 * turn + 3);
            fixture.keys.remove("key-1");
            fixture.keys.rotate(key.clone());
        }
        state.store(OVER, Ordering::SeqCst);
    });
    assert!(compared.into_inner() >= 9 * TURNS);
}
