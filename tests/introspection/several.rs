//! Several trusts in one issuer, and two questions about one token.

use serde_json::json;
use tower_jwt_auth::RejectionKind::{
    BadSignature, Inactive, IntrospectionUnavailable, InvalidClaim,
};
use tower_jwt_auth::introspection::Introspection;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Audience, ConfigError, JwtAuth, KeySet, KeyStore, TrustedIssuer};

use crate::network::Network;
use crate::support::small_cache;
use crate::verifier::{both, test_issuer};
use crate::world::{World, active, audience, introspection, issuer, kind};

/// One issuer is trusted twice without keys, so it is not known to which trust a JWT belongs.
#[tokio::test(start_paused = true)]
async fn two_trusts_in_one_issuer_that_ask_about_its_jwts_are_told() {
    let world = World::with(|introspection| introspection.introspect_jwts().prefix("oat_"));
    let network = Network::new(|_| Ok(active(json!({}))));
    let other = introspection(&network).prefix("pat_");
    let other_audience = Audience::new("other-api").unwrap();
    let with = |other: Introspection| {
        let second = TrustedIssuer::introspected(issuer(), other_audience.clone(), other);
        world.auth().trust(second)
    };
    let auth = with(other.clone().introspect_jwts());
    let error = auth.check_settings().unwrap_err();
    assert!(matches!(error, ConfigError::Settings { .. }));
    let text = error.to_string();
    assert!(
        text.contains("https://as.example") && text.contains("once"),
        "{text}"
    );
    let test = test_issuer(&world);
    let jwt = test.token().mint();
    let verifier = auth.verifier();
    let verdict = verifier.verify(&jwt).await;
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    assert_eq!((world.network.count(), network.count()), (0, 0));
    // The opaque tokens of each trust have a prefix.
    verifier.verify("oat_1").await.unwrap();

    // The twin: only one of them asks about JWTs.
    let auth = with(other);
    auth.check_settings().unwrap();
    auth.verifier().verify(&jwt).await.unwrap();
    assert_eq!((world.network.count(), network.count()), (2, 0));
}

/// The keys decide at once, in either order of the trusts.
#[tokio::test(start_paused = true)]
async fn the_keys_of_an_issuer_count_before_it_is_asked() {
    let world = World::with(Introspection::introspect_jwts);
    world.says_inactive();
    let test = test_issuer(&world);
    let keyed = TrustedIssuer::new(test.issuer(), test.audience(), test.keys());
    let verifier = world.auth().trust(keyed).verifier();
    verifier.verify(&test.token().mint()).await.unwrap();
    assert_eq!(world.network.count(), 0);
    // The twin: the keys do not verify it, so the issuer is asked.
    let foreign = test.token().signed_by_stranger().mint();
    assert_eq!(kind(&verifier.verify(&foreign).await), Some(Inactive));
    assert_eq!(world.network.count(), 1);
}

/// A token that its issuer calls inactive is accepted under no other trust, not even when it comes
/// again.
#[tokio::test(start_paused = true)]
async fn an_inactive_jwt_is_rejected_each_time() {
    let world = World::with(Introspection::introspect_jwts);
    world.says_inactive();
    let test = test_issuer(&world);
    let keyed = TrustedIssuer::new(test.issuer(), test.audience(), test.keys());
    let auth = JwtAuth::new(test.issuer(), test.audience(), test.keys());
    let auth = auth.introspection(world.introspection.clone());
    let auth = auth
        .trust(keyed)
        .clock(world.clock.clone())
        .cache(small_cache());
    let verifier = auth.verifier();
    let jwt = test.token().mint();
    for _ in 0..3 {
        assert_eq!(kind(&verifier.verify(&jwt).await), Some(Inactive));
    }
    assert_eq!(world.network.count(), 1);
}

/// The answer to one trust says nothing about another one, which has an endpoint of its own.
#[tokio::test(start_paused = true)]
async fn a_rejection_under_one_trust_is_not_used_for_another() {
    let world = World::with(|asking| asking.introspect_jwts().prefix("oat_"));
    world.says_inactive();
    let test = test_issuer(&world);
    let network = Network::new(|_| Ok(active(json!({ "sub": null }))));
    let asking = introspection(&network).introspect_jwts().prefix("pat_");
    let keys = KeyStore::from_jwks(TestIssuer::new().jwks().as_bytes()).unwrap();
    let auth = JwtAuth::new(test.issuer(), test.audience(), keys.clone());
    let second = TrustedIssuer::introspected(issuer(), audience(), world.introspection.clone());
    let auth = auth.introspection(asking).trust(second);
    let verifier = auth.clock(world.clock.clone()).verifier();
    let jwt = test.token().mint();
    // The keys of the first trust do not verify it, so the endpoint of the second one is asked.
    for _ in 0..2 {
        assert_eq!(kind(&verifier.verify(&jwt).await), Some(Inactive));
        assert_eq!((network.count(), world.network.count()), (0, 1));
    }
    // Now they do.
    keys.replace(KeySet::from_jwks(test.jwks().as_bytes()).unwrap());
    verifier.verify(&jwt).await.unwrap();
    assert_eq!((network.count(), world.network.count()), (1, 1));
}

/// A trust that verifies a JWT and asks about it has the last word, also when the JWT comes again and during an
/// outage. Another trust, which does not ask, accepts it in none of these cases.
#[tokio::test(start_paused = true)]
async fn what_a_trust_that_asks_does_not_accept_is_not_accepted_without_asking() {
    type Say = fn(&World);
    let cases: [(Say, _); 3] = [
        (|world| world.says_inactive(), Inactive),
        (
            |world| {
                world
                    .network
                    .answers(|_| Ok(active(json!({ "sub": "bob" }))));
            },
            InvalidClaim,
        ),
        // The circuit breaker opens after five failures.
        (|world| world.network.is_down(), IntrospectionUnavailable),
    ];
    let both_orders = cases.map(|case| [(case, true), (case, false)]);
    for ((say, expected), asks_first) in both_orders.into_iter().flatten() {
        let world = World::with(Introspection::introspect_jwts);
        let test = test_issuer(&world);
        let keyed = TrustedIssuer::new(test.issuer(), test.audience(), test.keys());
        let auth = if asks_first {
            both(&world, &test).trust(keyed)
        } else {
            let asking = TrustedIssuer::new(test.issuer(), test.audience(), test.keys());
            JwtAuth::new(test.issuer(), test.audience(), test.keys())
                .clock(world.clock.clone())
                .cache(small_cache())
                .trust(asking.introspection(world.introspection.clone()))
        };
        let verifier = auth.verifier();
        say(&world);
        let jwt = test.token().mint();
        for time in 0..8 {
            let verdict = verifier.verify(&jwt).await;
            assert_eq!(kind(&verdict), Some(expected), "{time}");
        }
        let is_known = expected != IntrospectionUnavailable;
        assert_eq!(world.network.count() == 1, is_known, "{expected:?}");
        // The twin: an answer that fits.
        let answer = |_: &http::Request<Vec<u8>>| Ok(active(json!({ "sub": null })));
        world.network.answers(answer);
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        world.advance(60.0);
        verifier.verify(&jwt).await.unwrap();
    }
}

/// As designed: a text of three parts with a JOSE header is a JWT, and any other text is opaque.
#[tokio::test(start_paused = true)]
async fn other_numbers_of_parts_than_three_are_opaque() {
    let world = World::new();
    let test = test_issuer(&world);
    let verifier = both(&world, &test).verifier();
    let jwt = test.token().mint();
    for text in [
        format!("{jwt}.more"),
        format!("{jwt}.more.parts"),
        "a.b".to_owned(),
    ] {
        let asked = world.network.count();
        verifier.verify(&text).await.unwrap();
        assert_eq!(world.network.count(), asked + 1, "{text}");
    }
    // The twin: a JWT that fails here is sent to no endpoint.
    let asked = world.network.count();
    let foreign = test.token().tampered().mint();
    assert_eq!(kind(&verifier.verify(&foreign).await), Some(BadSignature));
    assert_eq!(world.network.count(), asked);
}

/// A question that begins when an older one ends has the last word: the cached result of the older
/// one does not count. The test acts in the counter of misses, between the look-up and the question.
#[cfg(feature = "metrics")]
#[test]
fn a_later_no_ends_an_answer_that_came_after_its_look_up() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, mpsc};

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, SharedString, Unit};

    struct Moment(Box<dyn Fn() + Send + Sync>);
    impl metrics::Recorder for Moment {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            if key.name() == "jwt_auth_introspection_misses_total" {
                (self.0)();
            }
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_time().build().unwrap();
    for is_jwt in [false, true] {
        let (release, released) = mpsc::channel::<()>();
        let (released, asked) = (
            Arc::new(Mutex::new(released)),
            Arc::new(AtomicUsize::new(0)),
        );
        let fetch = {
            let asked = Arc::clone(&asked);
            move |_: http::Request<Vec<u8>>, _: usize| {
                let released = Arc::clone(&released);
                let is_first = asked.fetch_add(1, Ordering::SeqCst) == 0;
                async move {
                    if !is_first {
                        return Ok(crate::network::json(r#"{"active":false}"#));
                    }
                    let waiting =
                        tokio::task::spawn_blocking(move || released.lock().unwrap().recv());
                    waiting.await.unwrap().unwrap();
                    Ok(active(json!({ "sub": null })))
                }
            }
        };
        let client = tower_jwt_auth::introspection::ClientAuth::secret_basic("api", "secret");
        let asking = Introspection::at_with(crate::world::ENDPOINT, client.unwrap(), fetch);
        let asking = asking
            .unwrap()
            .introspect_jwts()
            .cache_inactive(std::time::Duration::ZERO);
        let world = World::new();
        let test = test_issuer(&world);
        let auth = JwtAuth::new(test.issuer(), audience(), test.keys());
        let auth = auth
            .introspection(asking.clone())
            .clock(world.clock.clone());
        let auth = auth.cache(small_cache());
        let inside = runtime.enter();
        let verifier = auth.verifier();
        let token = if is_jwt {
            test.token().mint()
        } else {
            "opaque".to_owned()
        };
        verifier.verify_now(&token).unwrap_err();
        let settled = asking.clone();
        let moment = Moment(Box::new(move || {
            if settled.status().asking > 0 {
                release.send(()).unwrap();
                while settled.status().asking > 0 {
                    std::thread::yield_now();
                }
            }
        }));
        metrics::with_local_recorder(&moment, || verifier.verify_now(&token).unwrap_err());
        while asking.status().asked < 2 || asking.status().asking > 0 {
            std::thread::yield_now();
        }
        drop(inside);
        let verdict = runtime.block_on(verifier.verify(&token));
        assert_eq!(kind(&verdict), Some(Inactive), "{is_jwt}");
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}

/// A URL of the metadata that does not answer leaves time for the other one, and for the question.
#[tokio::test(start_paused = true)]
async fn a_first_place_of_the_metadata_that_hangs_leaves_time_for_the_second() {
    use tower_jwt_auth::introspection::ClientAuth;

    for (hangs, is_found) in [("oauth-authorization-server", true), ("well-known", false)] {
        let fetch = move |request: http::Request<Vec<u8>>, _: usize| async move {
            let path = request.uri().path();
            if path.contains(hangs) {
                std::future::pending::<()>().await;
            }
            let metadata = json!({
                "issuer": crate::support::ISSUER,
                "introspection_endpoint": crate::world::ENDPOINT,
            });
            Ok(match path {
                "/introspect" => active(json!({})),
                _ => crate::network::json(metadata.to_string()),
            })
        };
        let client = ClientAuth::secret_basic("calendar-api", "secret").unwrap();
        let asking = Introspection::discover_with(&issuer(), client, fetch).unwrap();
        let auth = JwtAuth::introspected(issuer(), audience(), asking);
        let verifier = auth
            .clock(|| crate::world::at(crate::support::NOW))
            .verifier();
        let began = tokio::time::Instant::now();
        let verdict = verifier.verify("opaque").await;
        assert_eq!(verdict.is_ok(), is_found, "{hangs} {verdict:?}");
        assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
        // The place that has answered is the first one from now on.
        let began = tokio::time::Instant::now();
        assert_eq!(verifier.verify("other").await.is_ok(), is_found);
        assert_eq!(began.elapsed().is_zero(), is_found);
    }
}
