//! Keys from an issuer that fails in every way. The time is the paused time of tokio, so a pause of
//! a day takes no time.
#![cfg(feature = "remote")]

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use crate::files::Directory;
use crate::network::{JWKS, Network, json, settle, status_only};
use http::Request;
use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, RETRY_AFTER};
use tokio::time::{Instant, advance, sleep, sleep_until};
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::keys::{Freshness, KeyId};
use tower_jwt_auth::keys::{KeySnapshotFile, KeySnapshotStore, RemoteKeys};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{
    Algorithm, ConfigError, Issuer, JwtAuth, KeyStore, RejectionKind, TrustedIssuer, Verifier,
};

const METADATA: &str = "https://as.example/.well-known/oauth-authorization-server";
const OPENID: &str = "https://as.example/.well-known/openid-configuration";

/// Waits for another thread. The paused time does not advance meanwhile.
async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

fn verifier(issuer: &TestIssuer, keys: &KeyStore) -> Verifier {
    JwtAuth::new(issuer.issuer(), issuer.audience(), keys).verifier()
}

async fn rejects(verifier: &Verifier, token: &str, kind: RejectionKind) {
    let rejection = verifier.verify(token).await.unwrap_err();
    assert_eq!(rejection.kind(), kind);
}

async fn connect(network: &Network) -> KeyStore {
    RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect()
        .await
        .unwrap()
}

/// An issuer, its network, a store with its keys, and a verifier with this store.
async fn start() -> (TestIssuer, Network, KeyStore, Verifier) {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let keys = connect(&network).await;
    let verifier = verifier(&issuer, &keys);
    (issuer, network, keys, verifier)
}

#[tokio::test(start_paused = true)]
async fn a_rotated_key_works_for_the_request_that_first_shows_it() {
    let (issuer, network, _, verifier) = start().await;
    assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
    assert_eq!(network.count(), 1);

    // OIDC-CORE-10.1.1-1
    issuer.rotate();
    assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
    assert_eq!(network.count(), 2);

    // Also many times in a row: a rotation that was found does not use up the allowance.
    for _ in 0..10 {
        issuer.rotate();
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
    }
    assert_eq!(network.count(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_dies_with_the_set_that_lacks_it() {
    let (issuer, network, keys, verifier) = start().await;
    let old = issuer.token().mint();
    assert!(verifier.verify(&old).await.is_ok());

    // OIDC-CORE-10.1.1-2
    let other = TestIssuer::with_algorithm(Algorithm::ES384);
    network.answers(move |_| Ok(json(other.jwks().replace("key-1", "key-9"))));
    keys.reload().await;
    rejects(&verifier, &old, RejectionKind::UnknownKey).await;
}

/// JWKS-D1
#[tokio::test(start_paused = true)]
async fn ten_thousand_invented_key_ids_cause_no_storm() {
    let (issuer, network, _, verifier) = start().await;
    let start = Instant::now();
    for at in 0..10_000 {
        let token = issuer
            .token()
            .header("kid", format!("invented-{at}"))
            .raw_claims(claims());
        let rejected = verifier.verify(&token.mint()).await.unwrap_err();
        let expected = match at < 4 {
            true => RejectionKind::UnknownKey,
            false => RejectionKind::KeySourceUnavailable,
        };
        assert_eq!(rejected.kind(), expected, "{at}");
    }
    assert!(network.count() <= 6, "{} fetches", network.count());
    assert!(
        start.elapsed() < Duration::from_secs(30),
        "nobody waits for the cooldown"
    );
    assert!(verifier.verify(&issuer.token().mint()).await.is_ok());

    // A real rotation during the flood is found within the cooldown.
    issuer.rotate();
    advance(Duration::from_secs(30)).await;
    assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_invented_key_id_is_looked_up_once() {
    let (issuer, network, _, verifier) = start().await;
    for _ in 0..100 {
        let token = issuer.token().header("kid", "invented").mint();
        assert!(verifier.verify(&token).await.is_err());
    }
    assert_eq!(network.count(), 2);
}

/// JWKS-D1, TOWER-D2
#[tokio::test(start_paused = true)]
async fn a_hundred_requests_share_one_look_up_and_none_owns_it() {
    let (issuer, network, _, verifier) = start().await;
    network.answers_after(Some(Duration::from_secs(1)));
    issuer.rotate();
    let token = issuer.token().mint();
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let (verifier, token) = (verifier.clone(), token.clone());
            tokio::spawn(async move { verifier.verify(&token).await.is_ok() })
        })
        .collect();
    settle().await;
    // The request that caused the load is cancelled, and the load continues.
    waiting[0].abort();
    for request in waiting.into_iter().skip(1) {
        assert!(request.await.unwrap());
    }
    assert_eq!(network.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_published_while_a_load_runs_is_found_by_the_next() {
    let (issuer, network, keys, verifier) = start().await;
    network.answers_after(Some(Duration::from_secs(1)));
    let running = tokio::spawn({
        let keys = keys.clone();
        async move { keys.reload().await }
    });
    settle().await;
    // The response that is under way was written before this key was published.
    issuer.rotate();
    let (new, invented) = (
        issuer.token().mint(),
        issuer.token().header("kid", "x").mint(),
    );
    let (accepted, rejected) = tokio::join!(verifier.verify(&new), verifier.verify(&invented));
    assert!(accepted.is_ok());
    assert_eq!(rejected.unwrap_err().kind(), RejectionKind::UnknownKey);
    running.await.unwrap();
    assert_eq!(network.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn verify_now_fails_at_once_and_the_key_is_loaded_for_the_next_time() {
    let (issuer, _, _, verifier) = start().await;
    issuer.rotate();
    let token = issuer.token().mint();
    let rejected = verifier.verify_now(&token).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    settle().await;
    assert!(verifier.verify_now(&token).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_clock_of_ones_own_does_not_end_the_refresh() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let clock = tower_jwt_auth::test::FixedClock::at(1_700_000_000);
    let keys = connect(&network).await.with_clock(clock);
    assert_eq!(keys.status().freshness, Freshness::Fresh);
    let verifier = verifier(&issuer, &keys);
    issuer.rotate();
    assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
}

/// JWKS-D2
#[tokio::test(start_paused = true)]
async fn a_hanging_issuer_delays_unknown_keys_for_a_bounded_time_and_known_ones_not_at_all() {
    let (issuer, network, _, verifier) = start().await;
    network.answers_after(None);
    let (good, unknown) = (
        issuer.token().mint(),
        issuer.token().header("kid", "x").mint(),
    );
    let start = Instant::now();
    let waiting = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.verify(&unknown).await.unwrap_err().kind() }
    });
    settle().await;
    assert!(verifier.verify_now(&good).is_ok());
    // The key id may be that of a new key, so an issuer that does not respond is no reason for 401.
    assert_eq!(waiting.await.unwrap(), RejectionKind::KeySourceUnavailable);
    assert!(
        start.elapsed() <= Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

/// JWKS-D3, JWKS-D6
#[tokio::test(start_paused = true)]
async fn an_outage_keeps_the_last_good_keys_for_a_bounded_time_and_then_answers_503() {
    let (issuer, network, keys, verifier) = start().await;
    let (good, unknown) = (
        issuer.token().mint(),
        issuer.token().header("kid", "new").mint(),
    );
    network.answers(|_| Err(FetchError::new("connection refused")));

    advance(Duration::from_secs(3_600)).await;
    settle().await;
    assert!(verifier.verify(&good).await.is_ok());
    assert_eq!(keys.status().freshness, Freshness::Stale);
    assert_eq!(
        keys.status().failing.unwrap().reason,
        format!("{JWKS}: connection refused")
    );
    // The issuer may have rotated its keys. An outage of the issuer is not a fault of the token.
    let rejected = verifier.verify(&unknown).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);

    for _ in 0..30 {
        advance(Duration::from_secs(3_600)).await;
        settle().await;
    }
    assert!(!keys.is_ready());
    assert_eq!(verifier.verify(&good).await.unwrap_err().status(), 503);
    assert_eq!(keys.status().freshness, Freshness::Missing);

    // The store recovers without help.
    let back = issuer.clone();
    network.answers(move |_| Ok(json(back.jwks())));
    advance(Duration::from_secs(70)).await;
    settle().await;
    assert!(verifier.verify(&good).await.is_ok());
    assert_eq!(keys.status().freshness, Freshness::Fresh);
}

/// JWKS-D6
#[tokio::test(start_paused = true)]
async fn starts_while_the_issuer_is_down_and_recovers() {
    let issuer = TestIssuer::new();
    let network = Network::new(|_| Err(FetchError::new("connection refused")));
    let failed = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert_eq!(
        failed,
        ConfigError::KeySource {
            input: JWKS.into(),
            reason: "connection refused".into(),
        }
    );
    let sentence = format!("keys cannot be loaded: {JWKS}: connection refused");
    assert_eq!(failed.to_string(), sentence);
    assert_eq!(format!("{failed:?}"), sentence);

    let keys = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect_lazy()
        .unwrap();
    let verifier = verifier(&issuer, &keys);
    let good = issuer.token().mint();
    settle().await;
    assert_eq!(verifier.verify(&good).await.unwrap_err().status(), 503);
    assert!(!keys.is_ready());

    let up = issuer.clone();
    network.answers(move |_| Ok(json(up.jwks())));
    advance(Duration::from_secs(70)).await;
    settle().await;
    assert!(verifier.verify(&good).await.is_ok());
    assert!(keys.is_ready());
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_ever_more_slowly() {
    let network = Network::new(|_| Ok(status_only(500)));
    let keys = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect_lazy()
        .unwrap();
    let mut counts = Vec::new();
    for _ in 0..600 {
        advance(Duration::from_secs(1)).await;
        settle().await;
        counts.push(network.count());
    }
    // The pauses are 1, 2, 4 to 32 seconds, and then a minute.
    assert!((5..=6).contains(&counts[19]), "{counts:?}");
    assert!((14..=17).contains(&counts[599]), "{counts:?}");
    assert!(keys.status().failing.unwrap().reason.contains("status 500"));
}

#[tokio::test(start_paused = true)]
async fn honours_retry_after() {
    let network = Network::new(|_| {
        let mut response = status_only(429);
        response.headers_mut().insert(RETRY_AFTER, 300.into());
        Ok(response)
    });
    let _keys = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect_lazy()
        .unwrap();
    settle().await;
    advance(Duration::from_secs(290)).await;
    settle().await;
    assert_eq!(network.count(), 1);
    advance(Duration::from_secs(15)).await;
    settle().await;
    assert_eq!(network.count(), 2);
}

/// An issuer that asks for a pause of a year is asked again after ten minutes, so that a single
/// response does not let the keys expire.
#[tokio::test(start_paused = true)]
async fn no_issuer_puts_the_next_load_off_for_longer_than_ten_minutes() {
    let (issuer, network, keys, verifier) = start().await;
    network.answers(|_| {
        let mut response = status_only(429);
        response
            .headers_mut()
            .insert(RETRY_AFTER, 31_536_000.into());
        Ok(response)
    });
    keys.reload().await;
    issuer.rotate();
    network.publishes(&issuer);
    let (token, asked) = (issuer.token().mint(), network.count());
    advance(Duration::from_secs(590)).await;
    settle().await;
    let rejected = verifier.verify(&token).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    assert_eq!(network.count(), asked);
    advance(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(network.count(), asked + 1, "by itself");
    assert!(verifier.verify(&token).await.is_ok(), "{}", keys.status());
}

/// A token of a new key neither shortens nor extends the pause that the issuer asks for.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_loads_again_as_soon_as_retry_after_is_over() {
    let (issuer, network, _, verifier) = start().await;
    network.answers(|_| {
        let mut response = status_only(429);
        response.headers_mut().insert(RETRY_AFTER, 5.into());
        Ok(response)
    });
    issuer.rotate();
    let token = issuer.token().mint();
    let begin = Instant::now();
    assert!(verifier.verify(&token).await.is_err());
    // The task tries again after 5, 10, 15 and about 23 s.
    sleep_until(begin + Duration::from_secs(19)).await;
    assert_eq!(network.count(), 5);
    network.publishes(&issuer);
    let rejected = verifier.verify(&token).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    assert_eq!(network.count(), 5);
    sleep_until(begin + Duration::from_secs(21)).await;
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(network.count(), 6);
    assert_eq!(begin.elapsed().as_secs(), 21);
}

/// After each load the status has the time of the next one.
#[tokio::test(start_paused = true)]
async fn the_status_knows_the_next_load_after_each_of_them() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    let keys = keys.connect_lazy().unwrap();
    assert_eq!(keys.status().next_refresh, None);
    let ahead = |keys: &KeyStore| {
        let status = keys.status();
        let ahead = status.next_refresh.unwrap().duration_since(status.at);
        ahead.unwrap().as_secs()
    };
    settle().await;
    // 80 % of 10 minutes, give or take 5 %.
    assert!((440..=512).contains(&ahead(&keys)), "{}", ahead(&keys));
    sleep(Duration::from_secs(520)).await;
    assert_eq!(network.count(), 2);
    assert!((390..=512).contains(&ahead(&keys)), "{}", ahead(&keys));
    network.is_down();
    keys.reload().await;
    assert!(ahead(&keys) <= 1, "{}", ahead(&keys));
}

/// RFC9111-4.2.1-1: the lifetime follows the headers, within the limits. Keys are loaded again
/// after 80 % of it.
#[tokio::test(start_paused = true)]
async fn refreshes_ahead_of_the_lifetime_that_the_answer_allows() {
    for (cache_control, age, lifetime) in [
        ("", 0, 600),
        ("max-age=3600", 0, 3_600),
        ("public, MAX-AGE=3600", 600, 3_000),
        ("max-age=5", 0, 60),
        ("max-age=31536000", 0, 86_400),
        ("no-store", 0, 60),
        ("max-age=nonsense", 0, 600),
    ] {
        let issuer = TestIssuer::new();
        let network = Network::new(move |_| {
            let mut response = json(issuer.jwks());
            if !cache_control.is_empty() {
                response
                    .headers_mut()
                    .insert(CACHE_CONTROL, cache_control.parse().unwrap());
                response.headers_mut().insert(AGE, age.into());
            }
            Ok(response)
        });
        let _keys = connect(&network).await;
        settle().await;
        advance(Duration::from_secs(lifetime * 74 / 100)).await;
        settle().await;
        assert_eq!(network.count(), 1, "{cache_control} is not due yet");
        advance(Duration::from_secs(lifetime * 12 / 100)).await;
        settle().await;
        assert_eq!(network.count(), 2, "{cache_control} is due");
    }
}

/// If the response has no lifetime, the setting is used. The limits apply to both.
#[tokio::test(start_paused = true)]
async fn refreshes_ahead_of_the_lifetime_that_is_set() {
    let seconds = Duration::from_secs;
    let usual = |lifetime| (Some(seconds(lifetime)), None);
    let within = |shortest, longest| (None, Some((seconds(shortest), seconds(longest))));
    for ((usual, bounds), cache_control, lifetime) in [
        (usual(300), None, 300),
        (usual(7_200), None, 7_200),
        (usual(300), Some("max-age=3600"), 3_600),
        (usual(0), None, 60),
        (within(120, 240), None, 240),
        (within(120, 240), Some("max-age=5"), 120),
        (within(120, 240), Some("max-age=3600"), 240),
        (within(1_200, 2_400), None, 1_200),
    ] {
        let issuer = TestIssuer::new();
        let network = Network::new(move |_| {
            let mut response = json(issuer.jwks());
            if let Some(value) = cache_control {
                let headers = response.headers_mut();
                headers.insert(CACHE_CONTROL, value.parse().unwrap());
            }
            Ok(response)
        });
        let mut keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
        if let Some(usual) = usual {
            keys = keys.lifetime(usual);
        }
        if let Some((shortest, longest)) = bounds {
            keys = keys.lifetime_within(shortest, longest);
        }
        let _keys = keys.connect().await.unwrap();
        settle().await;
        advance(Duration::from_secs(lifetime) * 74 / 100).await;
        settle().await;
        assert_eq!(network.count(), 1, "{lifetime} s are not due yet");
        advance(Duration::from_secs(lifetime) * 12 / 100).await;
        settle().await;
        assert_eq!(network.count(), 2, "{lifetime} s are due");
    }
}

/// RFC9111-4.3-1
#[tokio::test(start_paused = true)]
async fn asks_whether_there_is_something_new() {
    let issuer = TestIssuer::new();
    let published = issuer.clone();
    let network = Network::new(move |request| {
        let mut response = match request.headers().get(IF_NONE_MATCH) {
            Some(tag) if tag == "\"1\"" => status_only(304),
            _ => json(published.jwks()),
        };
        response
            .headers_mut()
            .insert(ETAG, "\"1\"".parse().unwrap());
        Ok(response)
    });
    let keys = connect(&network).await;
    let generation = keys.generation();
    for _ in 0..3 {
        keys.reload().await;
    }
    assert_eq!(network.count(), 4);
    assert_eq!(keys.generation(), generation);
    assert_eq!(keys.status().freshness, Freshness::Fresh);
    assert!(
        verifier(&issuer, &keys)
            .verify(&issuer.token().mint())
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_again_are_no_change() {
    let (issuer, network, keys, _) = start().await;
    keys.reload().await;
    assert_eq!((network.count(), keys.generation()), (2, 0));
    issuer.rotate();
    keys.reload().await;
    assert_eq!((network.count(), keys.generation()), (3, 1));
}

/// JWKS-D5, RFC7517-8.5.1-1, DISC-D2: each fault has its reason, and the good keys stay in use.
#[tokio::test(start_paused = true)]
async fn a_faulty_answer_never_replaces_good_keys() {
    let issuer = TestIssuer::new();
    let jwk = issuer.jwk().to_string();
    let of_type = |kind: &'static str, body: String| {
        let mut response = json(body);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, kind.parse().unwrap());
        response
    };
    let mut redirect = status_only(302);
    redirect
        .headers_mut()
        .insert(LOCATION, "https://evil.example/jwks".parse().unwrap());
    let secret = TestIssuer::with_algorithm(Algorithm::HS256).jwk();
    for (name, response, reason) in [
        ("status", status_only(500), "status 500"),
        ("no content", status_only(204), "status 204"),
        ("redirect", redirect, "status 302"),
        ("not modified, unasked", status_only(304), "status 304"),
        (
            "html",
            of_type("text/html; charset=utf-8", "<html>".into()),
            "expected JSON",
        ),
        (
            "key set as html",
            of_type("text/html", issuer.jwks()),
            "expected JSON",
        ),
        ("no json", json("<html>"), "expected a JSON object"),
        ("invalid utf-8", json(vec![0xff]), "UTF-8"),
        ("array", json("[]"), "expected a JSON object"),
        ("no keys", json("{}"), "array `keys`"),
        ("empty", json(r#"{"keys":[]}"#), "no keys"),
        (
            "unusable",
            json(r#"{"keys":[{"kty":"new"}]}"#),
            "none of its keys is usable",
        ),
        (
            "secrets",
            json(format!(r#"{{"keys":[{secret}]}}"#)),
            "symmetric",
        ),
        (
            "duplicate",
            json(format!(r#"{{"keys":[{jwk}],"keys":[]}}"#)),
            "twice",
        ),
        ("huge", json(vec![b' '; 256 * 1_024 + 1]), "longer than"),
    ] {
        let network = Network::of(&issuer);
        let keys = connect(&network).await;
        let verifier = verifier(&issuer, &keys);
        network.answers(move |_| Ok(response.clone()));
        keys.reload().await;
        let status = keys.status();
        let failing = status
            .failing
            .unwrap_or_else(|| panic!("{name} was taken"))
            .reason;
        assert!(failing.contains(reason), "{name}: {failing}");
        assert!(failing.starts_with(JWKS), "{name}: {failing}");
        assert_eq!(status.generation, 0, "{name}");
        assert!(
            verifier.verify(&issuer.token().mint()).await.is_ok(),
            "{name}"
        );
        // It may have a signature of a new key, which cannot be fetched.
        let forged = issuer.token().tampered().mint();
        rejects(&verifier, &forged, RejectionKind::KeySourceUnavailable).await;
    }
    for kind in [
        "application/jwk-set+json",
        "application/json; charset=utf-8",
    ] {
        let network = Network::of(&issuer);
        let jwks = issuer.jwks();
        network.answers(move |_| Ok(of_type(kind, jwks.clone())));
        assert!(connect(&network).await.is_ready(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn usable_keys_count_beside_unusable_ones() {
    let issuer = TestIssuer::new();
    let jwk = issuer.jwk();
    let network = Network::new(move |_| Ok(json(format!(r#"{{"keys":[{{"kty":"new"}},{jwk}]}}"#))));
    let keys = connect(&network).await;
    assert!(
        verifier(&issuer, &keys)
            .verify(&issuer.token().mint())
            .await
            .is_ok()
    );
    assert_eq!(keys.status().skipped.len(), 1);
}

/// An issuer with metadata at one of the two URLs.
fn with_metadata(issuer: &TestIssuer, place: &'static str, metadata: &'static str) -> Network {
    let issuer = issuer.clone();
    Network::new(move |request| {
        Ok(match request.uri().to_string().as_str() {
            JWKS => json(issuer.jwks()),
            asked if asked == place => json(metadata),
            _ => status_only(404),
        })
    })
}

const GOOD_METADATA: &str =
    r#"{"issuer":"https://as.example","jwks_uri":"https://as.example/jwks"}"#;

/// RFC8414-5-1, RFC8414-3.2-1
#[tokio::test(start_paused = true)]
async fn finds_the_keys_through_either_form_of_metadata() {
    let issuer = TestIssuer::new();
    for (place, expected) in [
        (METADATA, vec![METADATA, JWKS]),
        (OPENID, vec![METADATA, OPENID, JWKS]),
    ] {
        let network = with_metadata(&issuer, place, GOOD_METADATA);
        let keys = RemoteKeys::discover(&issuer.issuer(), network.clone()).unwrap();
        let keys = keys.connect().await.unwrap();
        assert!(
            verifier(&issuer, &keys)
                .verify(&issuer.token().mint())
                .await
                .is_ok()
        );
        assert_eq!(network.addresses(), expected);
    }
}

/// RFC8414-3.3-1, OIDC-DISC-4.3-1, RFC8414-2-1
#[tokio::test(start_paused = true)]
async fn rejects_metadata_of_another_issuer() {
    let issuer = TestIssuer::new();
    for (metadata, reason) in [
        (
            r#"{"issuer":"https://as.example/","jwks_uri":"https://as.example/jwks"}"#,
            "metadata is of issuer",
        ),
        (
            r#"{"issuer":"https://AS.example","jwks_uri":"https://as.example/jwks"}"#,
            "metadata is of issuer",
        ),
        (
            r#"{"issuer":"https://as.example","jwks_uri":"http://as.example/jwks"}"#,
            "expected https",
        ),
        (r#"{"issuer":"https://as.example"}"#, "no `jwks_uri`"),
        ("[]", "not one JSON object"),
    ] {
        for place in [METADATA, OPENID] {
            let network = with_metadata(&issuer, place, metadata);
            let keys = RemoteKeys::discover(&issuer.issuer(), network.clone()).unwrap();
            let error = keys.connect().await.unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(place), "{error}");
            assert!(!network.addresses().contains(&JWKS.to_owned()));
        }
    }
}

#[test]
fn plain_http_and_odd_urls_are_rejected_before_anything_is_fetched() {
    let network = Network::new(|_| Ok(status_only(200)));
    for uri in [
        "ftp://as.example/jwks",
        "/jwks",
        "https://u:p@as.example/jwks",
        "http://u:p@as.example/jwks",
    ] {
        assert!(RemoteKeys::jwks(uri, network.clone()).is_err(), "{uri}");
        let metadata = RemoteKeys::metadata(uri, &TestIssuer::new().issuer(), network.clone());
        assert!(metadata.is_err(), "{uri}");
    }
    for issuer in ["accounts.example", "https://as.example?tenant=1"] {
        let issuer = Issuer::new(issuer).unwrap();
        assert!(
            RemoteKeys::discover(&issuer, network.clone()).is_err(),
            "{issuer}"
        );
    }
    // Whether plain http is allowed is known only after the setters, so the start checks it.
    let plain = |issuer: &str| {
        let (issuer, network) = (Issuer::new(issuer).unwrap(), network.clone());
        RemoteKeys::discover(&issuer, network)
            .unwrap()
            .connect_lazy()
    };
    let rejected = plain("http://as.example").unwrap_err().to_string();
    assert!(rejected.contains("`insecure_plain_http`"), "{rejected}");
    // Outside of a runtime no task can fetch keys.
    let keys = RemoteKeys::jwks("https://as.example/jwks", network.clone()).unwrap();
    assert!(matches!(
        keys.connect_lazy(),
        Err(ConfigError::KeySource { .. })
    ));
    assert_eq!(network.count(), 0);
}

/// Plain http to another host is an error of the start, unless the setting allows it.
#[tokio::test(start_paused = true)]
async fn plain_http_is_for_this_machine_or_spelled_out() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let jwks = |uri: &str| RemoteKeys::jwks(uri, network.clone()).unwrap();
    for uri in ["http://keycloak:8080/jwks", "http://10.0.0.1/jwks"] {
        let rejected = jwks(uri).connect().await.unwrap_err().to_string();
        assert!(rejected.contains("`insecure_plain_http`"), "{rejected}");
        let rejected = jwks(uri).connect_lazy().unwrap_err().to_string();
        assert!(rejected.contains("`insecure_plain_http`"), "{rejected}");
        assert_eq!(network.count(), 0, "nothing is fetched");
    }
    for uri in [
        "https://as.example/jwks",
        "http://127.0.0.1:1/jwks",
        "http://[::1]:1/jwks",
        "http://localhost/jwks",
        "http://login.localhost:8080/jwks",
    ] {
        assert!(jwks(uri).connect().await.is_ok(), "{uri}");
    }
    let allowed = jwks("http://keycloak:8080/jwks").insecure_plain_http();
    assert!(allowed.connect().await.is_ok());
}

/// RFC8414-2-1: if a document came by https, the URL in it must be https too. Otherwise it could
/// name a service on this machine.
#[tokio::test(start_paused = true)]
async fn metadata_lead_to_plain_http_only_from_plain_http() {
    for (issuer, jwks_uri, is_allowed, expected) in [
        (
            "https://as.example",
            "http://127.0.0.1:2375/keys",
            false,
            false,
        ),
        (
            "https://as.example",
            "http://127.0.0.1:2375/keys",
            true,
            false,
        ),
        ("https://as.example", "http://localhost/keys", false, false),
        ("https://as.example", "https://as.example/keys", false, true),
        (
            "http://127.0.0.1:8080",
            "http://127.0.0.1:8080/keys",
            false,
            true,
        ),
        (
            "http://127.0.0.1:8080",
            "https://as.example/keys",
            false,
            true,
        ),
        (
            "http://127.0.0.1:8080",
            "http://as.example/keys",
            false,
            false,
        ),
        (
            "http://keycloak:8080",
            "http://keycloak:8080/keys",
            true,
            true,
        ),
    ] {
        let signer = TestIssuer::new().named(issuer);
        let metadata = format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks_uri}"}}"#);
        let jwks = signer.jwks();
        let network = Network::new(move |request| {
            let is_metadata = request.uri().path().starts_with("/.well-known/");
            Ok(json(if is_metadata {
                metadata.clone()
            } else {
                jwks.clone()
            }))
        });
        let keys = RemoteKeys::discover(&signer.issuer(), network.clone()).unwrap();
        let keys = if is_allowed {
            keys.insecure_plain_http()
        } else {
            keys
        };
        assert_eq!(
            keys.connect().await.is_ok(),
            expected,
            "{issuer} {jwks_uri}"
        );
        let is_asked = network.addresses().contains(&jwks_uri.to_owned());
        assert_eq!(is_asked, expected, "{issuer} {jwks_uri}");
    }
}

/// The timeout applies to each request: three slow responses are no outage.
#[tokio::test(start_paused = true)]
async fn an_issuer_may_be_slow_three_times() {
    let issuer = TestIssuer::new();
    let network = with_metadata(&issuer, OPENID, GOOD_METADATA);
    network.answers_after(Some(Duration::from_millis(1_800)));
    let discover = || RemoteKeys::discover(&issuer.issuer(), network.clone()).unwrap();
    assert!(discover().connect().await.unwrap().is_ready());
    let keys = discover().connect_lazy().unwrap();
    sleep(Duration::from_secs(6)).await;
    assert!(keys.is_ready());

    // If a request exceeds the timeout, the error names its URL.
    network.answers_after(Some(Duration::from_millis(5_001)));
    let start = Instant::now();
    let error = discover().connect().await.unwrap_err().to_string();
    for place in [METADATA, OPENID] {
        assert!(
            error.contains(&format!("{place}: no answer within 5s")),
            "{error}"
        );
    }
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

/// Metadata are fetched less often than keys.
#[tokio::test(start_paused = true)]
async fn metadata_are_remembered_for_longer_than_keys() {
    let issuer = TestIssuer::new();
    for (header, hours) in [
        (None, 1),
        (Some("max-age=60"), 1),
        (Some("no-store"), 1),
        (Some("max-age=7200"), 2),
        (Some("max-age=31536000"), 24),
    ] {
        let network = with_metadata(&issuer, OPENID, GOOD_METADATA);
        let good = with_metadata(&issuer, OPENID, GOOD_METADATA);
        network.answers(move |request| {
            let mut answer = good.answer_to(request)?;
            if let Some(header) = header.filter(|_| request.uri() == OPENID) {
                let headers = answer.headers_mut();
                headers.insert(CACHE_CONTROL, header.parse().unwrap());
            }
            Ok(answer)
        });
        let keys = RemoteKeys::discover(&issuer.issuer(), network.clone());
        let keys = keys.unwrap().lifetime(Duration::from_secs(300)).connect();
        let keys = keys.await.unwrap();
        // A little less than the lifetime of the metadata, and a little more.
        for _ in 0..hours * 60 - 5 {
            sleep(Duration::from_secs(60)).await;
        }
        let paths = network.addresses();
        assert_eq!(paths[..3], [METADATA, OPENID, JWKS], "{header:?}");
        assert!(paths[3..].iter().all(|path| path == JWKS), "{header:?}");
        assert!(paths.len() > hours * 10, "{header:?}: {}", paths.len());
        sleep(Duration::from_secs(900)).await;
        let again: Vec<_> = network.addresses().split_off(3);
        let asked = again.iter().filter(|path| *path != JWKS);
        assert_eq!(asked.collect::<Vec<_>>(), [OPENID], "{header:?}");
        drop(keys);
    }
}

/// RFC8414-3.3-1
#[tokio::test(start_paused = true)]
async fn metadata_may_be_in_a_place_of_another_name() {
    const PLACE: &str = "https://tenant.example/policy/.well-known/openid-configuration";
    let issuer = TestIssuer::new();
    let network = with_metadata(&issuer, PLACE, GOOD_METADATA);
    let keys = RemoteKeys::metadata(PLACE, &issuer.issuer(), network.clone());
    let keys = keys.unwrap().connect().await.unwrap();
    let token = issuer.token().mint();
    assert!(verifier(&issuer, &keys).verify(&token).await.is_ok());
    assert_eq!(network.addresses(), [PLACE, JWKS]);
    assert_eq!(keys.status().source.as_deref(), Some(PLACE));

    // The metadata must name exactly this issuer.
    let other = Issuer::new("https://as.example/").unwrap();
    let keys = RemoteKeys::metadata(PLACE, &other, network.clone());
    let error = keys.unwrap().connect().await.unwrap_err().to_string();
    assert!(error.contains("metadata is of issuer"), "{error}");
    assert!(error.contains(PLACE), "{error}");
}

/// Of a set with too many keys only the surplus keys are skipped.
#[tokio::test(start_paused = true)]
async fn surplus_keys_of_a_set_are_skipped() {
    let issuer = TestIssuer::new();
    let named = |id: &str| {
        let mut jwk: serde_json::Value = serde_json::from_str(&issuer.jwk().to_string()).unwrap();
        jwk["kid"] = id.into();
        jwk.to_string()
    };
    let keys: Vec<_> = (0..257).map(|at| named(&format!("k{at}"))).collect();
    let set = format!(r#"{{"keys":[{{}},{{"use":"enc"}},{}]}}"#, keys.join(","));
    let network = Network::new(move |_| Ok(json(set.clone())));
    let keys = connect(&network).await;
    let status = keys.status();
    assert_eq!(status.keys.len(), 256, "the unusable ones take no place");
    assert_eq!(status.keys[255].as_str(), "k255");
    let skipped: Vec<_> = status.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(
        skipped[2..],
        [r#"key "k256": the set has more than the maximum of 256 keys"#]
    );

    let keys = RemoteKeys::jwks(JWKS, network).unwrap().max_keys(0);
    assert_eq!(keys.connect().await.unwrap().status().keys.len(), 1);
}

/// JWKS-D4
#[tokio::test(start_paused = true)]
async fn the_outage_of_one_issuer_does_not_touch_another() {
    let a = TestIssuer::new().named("https://a.example");
    let b = TestIssuer::new().named("https://b.example");
    let down = Network::new(|_| Err(FetchError::new("connection refused")));
    let keys_a = RemoteKeys::jwks("https://a.example/jwks", down)
        .unwrap()
        .connect_lazy()
        .unwrap();
    let keys_b = connect(&Network::of(&b)).await;
    let auth = JwtAuth::new(a.issuer(), a.audience(), keys_a).trust(TrustedIssuer::new(
        b.issuer(),
        b.audience(),
        keys_b,
    ));
    let verifier = auth.verifier();
    assert_eq!(
        verifier
            .verify(&a.token().mint())
            .await
            .unwrap_err()
            .status(),
        503
    );
    assert!(verifier.verify(&b.token().mint()).await.is_ok());
}

/// RFC9728-7.7-1
#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_because_of_what_a_token_says() {
    let (issuer, network, _, verifier) = start().await;
    for token in [
        issuer
            .token()
            .issuer("http://169.254.169.254/")
            .header("kid", "x"),
        issuer.token().header("jku", "https://evil.example/jwks"),
        issuer.token().audience("other").header("kid", "y"),
        issuer.token().expired().header("kid", "z"),
    ] {
        let _verdict = verifier.verify(&token.mint()).await;
    }
    assert_eq!(network.addresses(), [JWKS]);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_stores_leave_no_task_behind() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for _ in 0..2_000 {
        let waiting = RemoteKeys::jwks(JWKS, network.clone())
            .unwrap()
            .connect_lazy()
            .unwrap();
        drop((connect(&network).await, waiting));
    }
    // Tasks that hang in the middle of a load end too.
    network.answers_after(None);
    let hanging = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .connect_lazy()
        .unwrap();
    settle().await;
    drop(hanging);
    settle().await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn the_status_reads_like_a_table() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let clock = FixedClock::at(1_700_000_000);
    let keys = RemoteKeys::jwks(JWKS, network.clone())
        .unwrap()
        .clock(clock.clone());
    let keys = keys.connect().await.unwrap();
    let status = keys.status();
    let (head, next) = status
        .to_string()
        .split_once(", next in ")
        .map(|(head, rest)| (head.to_owned(), rest.to_owned()))
        .unwrap();
    assert_eq!(
        head,
        format!("keys of {JWKS}: fresh for 600 s, generation 0, loaded once")
    );
    let next: u64 = next.split(' ').next().unwrap().parse().unwrap();
    assert!((450..=510).contains(&next), "{next}");
    assert!(status.to_string().ends_with("s\n  key \"key-1\""));

    network.answers(|_| Ok(status_only(503)));
    keys.reload().await;
    advance(Duration::from_secs(700)).await;
    settle().await;
    clock.advance(Duration::from_secs(700));
    let text = keys.status().to_string();
    assert!(
        text.starts_with(&format!("keys of {JWKS}: stale for 100 s, ")),
        "{text}"
    );
    assert!(
        text.ends_with(&format!(
            "  failing for 700 s: {JWKS}: status 503 Service Unavailable"
        )),
        "{text}"
    );
    let own = KeyStore::from(issuer.key());
    assert_eq!(
        own.status().to_string(),
        "keys of application: static, generation 0, loaded 0 times\n  key \"key-1\""
    );
}

/// JWKS-D2: during an outage it is not known whether the key is a new one of the issuer.
#[tokio::test(start_paused = true)]
async fn an_unknown_key_in_an_outage_is_no_fault_of_the_token_even_while_the_keys_are_fresh() {
    let (issuer, network, keys, verifier) = start().await;
    let (good, before) = (issuer.token().mint(), issuer.clone());
    let unknown = issuer.token().header("kid", "new").mint();
    rejects(&verifier, &unknown, RejectionKind::UnknownKey).await;
    network.answers(|_| Ok(status_only(500)));
    keys.reload().await;
    assert_eq!(keys.status().freshness, Freshness::Fresh);
    let rejected = verifier.verify(&unknown).await.unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    assert!(verifier.verify(&good).await.is_ok());

    network.answers(move |_| Ok(json(before.jwks())));
    keys.reload().await;
    rejects(&verifier, &unknown, RejectionKind::UnknownKey).await;
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_do_not_press_an_issuer_that_wants_to_be_left_alone() {
    let (issuer, network, keys, verifier) = start().await;
    network.answers(|_| {
        let mut response = status_only(429);
        response.headers_mut().insert(RETRY_AFTER, 120.into());
        Ok(response)
    });
    keys.reload().await;
    assert_eq!(network.count(), 2);
    for at in 0..100 {
        let token = issuer.token().header("kid", format!("invented-{at}"));
        let rejected = verifier.verify(&token.mint()).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(network.count(), 2);
    advance(Duration::from_secs(20)).await;
    settle().await;
    assert_eq!(network.count(), 3);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_withdrawn_keys_leave_enough_for_those_of_new_keys() {
    let signers: Vec<_> = (0..8)
        .map(|at| {
            let signer = TestIssuer::new();
            let token = signer.token().header("kid", format!("key-of-{at}"));
            let jwks = signer.jwks().replace("key-1", &format!("key-of-{at}"));
            (token.mint(), jwks)
        })
        .collect();
    let network = Network::new(|_| Err(FetchError::new("not yet")));
    let publish = |at: usize| {
        let jwks = signers[at].1.clone();
        network.answers(move |_| Ok(json(jwks.clone())));
    };
    publish(0);
    let keys = connect(&network).await;
    let verifier = verifier(&TestIssuer::new(), &keys);
    for at in 1..signers.len() {
        publish(at);
        assert!(verifier.verify(&signers[at].0).await.is_ok(), "{at}");
        for (token, _) in signers.iter().take(at) {
            let rejected = verifier.verify(token).await.unwrap_err();
            assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
        }
    }
    // One load for each rotation, and two that may have brought back a withdrawn key.
    assert_eq!(network.count(), signers.len() + 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_found() {
    let (issuer, network, keys, verifier) = start().await;
    let (old, before) = (issuer.token().mint(), issuer.jwks());
    let next = issuer.jwks().replace("key-1", "key-2");
    network.answers(move |_| Ok(json(next.clone())));
    keys.reload().await;
    assert!(verifier.verify(&old).await.is_err());
    advance(Duration::from_secs(30)).await;
    network.answers(move |_| Ok(json(before.clone())));
    assert!(verifier.verify(&old).await.is_ok());
}

/// JWKS-D1
#[tokio::test(start_paused = true)]
async fn invented_key_ids_cause_no_storm_while_keys_flap_either() {
    let (issuer, network, _, verifier) = start().await;
    let (jwks, fetches) = (issuer.jwks(), Mutex::new(0));
    network.answers(move |_| {
        let mut fetches = fetches.lock().unwrap();
        *fetches += 1;
        Ok(json(jwks.replace("key-1", &format!("key-{fetches}"))))
    });
    for at in 0..1_000 {
        let token = issuer.token().header("kid", format!("invented-{at}"));
        assert!(verifier.verify(&token.mint()).await.is_err());
    }
    assert!(network.count() <= 6, "{} fetches", network.count());
}

#[tokio::test(start_paused = true)]
async fn a_reload_is_not_content_with_a_load_that_began_before_it() {
    let (issuer, network, keys, _) = start().await;
    network.answers_after(None);
    let hanging = tokio::spawn({
        let keys = keys.clone();
        async move { keys.reload().await }
    });
    settle().await;
    network.answers_after(Some(Duration::ZERO));
    issuer.rotate();
    keys.reload().await;
    assert!(keys.status().failing.is_none());
    assert_eq!(keys.status().keys.len(), 2);
    hanging.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_fail_do_not_put_off_the_next_try() {
    let (issuer, network, keys, verifier) = start().await;
    network.answers(|_| Err(FetchError::new("connection refused")));
    for at in 0..50 {
        let token = issuer.token().header("kid", format!("new-{at}")).mint();
        let rejected = verifier.verify(&token).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    }
    assert_eq!(network.count(), 5, "the first and a burst of four");
    let up = issuer.clone();
    network.answers(move |_| Ok(json(up.jwks())));
    advance(Duration::from_millis(1_200)).await;
    settle().await;
    assert!(keys.status().failing.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_panics_is_a_failure_like_any_other() {
    let (issuer, network, keys, _) = start().await;
    network.answers(|_| panic!("in the code of the user"));
    keys.reload().await;
    let failing = keys.status().failing.unwrap();
    assert_eq!(
        failing.reason,
        format!("{JWKS}: the code that loads has panicked")
    );
    let up = issuer.clone();
    network.answers(move |_| Ok(json(up.jwks())));
    keys.reload().await;
    assert!(keys.status().failing.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_hook_hears_of_each_change_and_its_panic_harms_nobody() {
    let (issuer, network, keys, _) = start().await;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    keys.on_change(|_| panic!("in the code of the user"));
    keys.on_change({
        let heard = heard.clone();
        move |change| {
            let names =
                |ids: &[KeyId]| -> Vec<_> { ids.iter().map(|id| id.as_str().to_owned()).collect() };
            heard.lock().unwrap().push(format!(
                "{}: {} +{:?} -{:?} ={}",
                change.generation,
                change.cause.as_str(),
                names(&change.added),
                names(&change.removed),
                change.count
            ));
        }
    });
    keys.reload().await; // the same keys
    issuer.rotate();
    keys.reload().await;
    let other = TestIssuer::with_algorithm(Algorithm::ES384);
    network.answers(move |_| Ok(json(other.jwks())));
    keys.reload().await; // another key under the same id
    keys.remove("key-1");
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "1: refresh +[\"key-2\"] -[] =2",
            "2: refresh +[\"key-1\"] -[\"key-2\", \"key-1\"] =1",
            "3: remove +[] -[\"key-1\"] =0",
        ]
    );
}

/// Saves keys in memory, and counts the saves.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<(Option<Vec<u8>>, usize)>>);

impl KeySnapshotStore for Kept {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().0.clone())
    }

    fn save(&self, kept: &[u8]) -> std::io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        *inner = (Some(kept.to_vec()), inner.1 + 1);
        Ok(())
    }
}

#[tokio::test]
async fn starts_with_the_keys_of_the_last_run_while_the_issuer_is_down() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let (kept, clock) = (Kept::default(), FixedClock::at(1_700_000_000));
    let start = |uri: &str| {
        RemoteKeys::jwks(uri, network.clone())
            .unwrap()
            .snapshot_store(kept.clone())
            .clock(clock.clone())
    };
    drop(start(JWKS).connect().await.unwrap());
    assert_eq!(kept.0.lock().unwrap().1, 1);

    network.answers(|_| Err(FetchError::new("connection refused")));
    clock.advance(Duration::from_secs(23 * 3_600));
    let good = issuer.token().mint();
    for keys in [start(JWKS).connect().await, start(JWKS).connect_lazy()] {
        let keys = keys.unwrap();
        until(|| keys.is_ready()).await;
        assert_eq!(keys.status().freshness, Freshness::Stale);
        assert!(verifier(&issuer, &keys).verify(&good).await.is_ok());
        // The issuer may have rotated its keys meanwhile.
        let unknown = issuer.token().header("kid", "new").mint();
        let rejected = verifier(&issuer, &keys).verify(&unknown).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
    }

    // A snapshot of another URL, one that is too old, one from the future and one that is broken
    // are not used.
    let other = start("https://other.example/jwks").connect().await;
    assert!(other.is_err());
    clock.advance(Duration::from_secs(3_600));
    assert!(start(JWKS).connect().await.is_err());
    assert!(!start(JWKS).connect_lazy().unwrap().is_ready());
    clock.set(1_600_000_000);
    assert!(start(JWKS).connect().await.is_err());
    clock.set(1_700_000_000);
    assert!(start(JWKS).connect().await.is_ok());
    kept.0.lock().unwrap().0 = Some(b"{".to_vec());
    assert!(start(JWKS).connect().await.is_err());

    // The issuer is back, and the snapshot is replaced.
    let up = issuer.clone();
    network.answers(move |_| Ok(json(up.jwks())));
    assert!(start(JWKS).connect().await.is_ok());
    network.answers(|_| Err(FetchError::new("connection refused")));
    assert!(start(JWKS).connect().await.is_ok());
}

/// A snapshot has no secret, and the query of a URL may hold an API key. The snapshot is still for
/// that URL only.
#[tokio::test]
async fn a_snapshot_is_of_one_query_and_does_not_have_it() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let kept = Kept::default();
    let start = |query: &str| {
        let keys = RemoteKeys::jwks(&format!("{JWKS}{query}"), network.clone());
        keys.unwrap().snapshot_store(kept.clone()).connect()
    };
    drop(start("?tenant=1&key=secret").await.unwrap());
    let saved = kept.load().unwrap().unwrap();
    let text = String::from_utf8(saved).unwrap();
    assert!(text.contains(JWKS), "{text}");
    assert!(!text.contains("secret"), "{text}");

    network.is_down();
    assert!(start("?tenant=1&key=secret").await.is_ok());
    for other in ["?tenant=2&key=secret", "?", ""] {
        assert!(start(other).await.is_err(), "{other}");
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_the_last_run_end_when_they_are_too_old() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let (kept, clock) = (Kept::default(), FixedClock::at(1_700_000_000));
    let start = || {
        RemoteKeys::jwks(JWKS, network.clone())
            .unwrap()
            .snapshot_store(kept.clone())
            .clock(clock.clone())
    };
    drop(start().connect().await.unwrap());
    network.answers(|_| Err(FetchError::new("connection refused")));
    clock.advance(Duration::from_secs(23 * 3_600));
    let keys = start().connect_lazy().unwrap();
    until(|| keys.is_ready()).await;
    for _ in 0..62 {
        advance(Duration::from_secs(60)).await;
        settle().await;
    }
    assert!(!keys.is_ready());
    let rejected = verifier(&issuer, &keys)
        .verify(&issuer.token().mint())
        .await
        .unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
}

#[tokio::test]
async fn a_file_keeps_keys_for_its_owner_alone() {
    let directory = Directory::new("snapshot");
    let path = directory.path.join("keys.json");
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let start = || {
        RemoteKeys::jwks(JWKS, network.clone())
            .unwrap()
            .snapshot_store(KeySnapshotFile::new(&path))
    };
    drop(start().connect().await.unwrap());
    assert!(std::fs::read_to_string(&path).unwrap().contains("key-1"));
    let names = std::fs::read_dir(&directory.path).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside it");

    network.answers(|_| Err(FetchError::new("connection refused")));
    assert!(start().connect().await.is_ok());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        let found = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(found & 0o777, 0o600);
        std::fs::set_permissions(&path, mode(0o622)).unwrap();
        assert!(start().connect().await.is_err(), "others may write it");
        std::fs::set_permissions(&path, mode(0o644)).unwrap();
        assert!(start().connect().await.is_ok());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(start().connect().await.is_err());

    // If the directory does not exist, the keys are not saved, but they are used.
    let up = issuer.clone();
    network.answers(move |_| Ok(json(up.jwks())));
    let nowhere = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    let nowhere =
        nowhere.snapshot_store(KeySnapshotFile::new(directory.path.join("none/keys.json")));
    assert!(nowhere.connect().await.unwrap().is_ready());
}

/// Whoever can replace the file of the snapshot can sign tokens.
#[cfg(unix)]
#[tokio::test]
async fn kept_keys_are_believed_only_from_a_file_that_nobody_else_can_have_put_there() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let directory = Directory::new("snapshot-trust");
    let path = directory.path.join("keys.json");
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let start = |path: &std::path::Path| {
        RemoteKeys::jwks(JWKS, network.clone())
            .unwrap()
            .snapshot_store(KeySnapshotFile::new(path))
            .connect()
    };
    start(&path).await.unwrap();
    network.answers(|_| Err(FetchError::new("connection refused")));
    let mode = |path: &std::path::Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    };

    for (bits, expected) in [(0o755, true), (0o777, false), (0o1777, true), (0o775, true)] {
        mode(&directory.path, bits);
        assert_eq!(start(&path).await.is_ok(), expected, "{bits:o}");
    }
    for (bits, expected) in [(0o620, false), (0o602, false), (0o644, true)] {
        mode(&path, bits);
        assert_eq!(start(&path).await.is_ok(), expected, "{bits:o}");
    }
    // A link is checked together with its target.
    let link = directory.path.join("link.json");
    symlink(&path, &link).unwrap();
    assert!(start(&link).await.is_ok());
    let open = directory.path.join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::copy(&path, open.join("keys.json")).unwrap();
    mode(&open, 0o777);
    std::fs::remove_file(&link).unwrap();
    symlink(open.join("keys.json"), &link).unwrap();
    assert!(start(&link).await.is_err());
    // A link in a directory that everybody may write, to a file that nobody else may write.
    let elsewhere = open.join("link.json");
    symlink(&path, &elsewhere).unwrap();
    assert!(start(&elsewhere).await.is_err());
    mode(&open, 0o1777);
    assert!(start(&elsewhere).await.is_ok());
    if std::os::unix::fs::lchown(&elsewhere, Some(12_345), None).is_ok() {
        assert!(start(&elsewhere).await.is_err(), "a link of another user");
    }
    // A file of another user. Only root can change the owner of a file, so only root tests this.
    if chown(&path, Some(12_345), None).is_ok() {
        assert!(start(&path).await.is_err(), "of another user");
        chown(&path, Some(0), None).unwrap();
        assert!(start(&path).await.is_ok());
    }
    // Something that is no regular file, such as a pipe, which would block a reader.
    std::fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    assert!(start(&path).await.is_err());
    let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    let keys = keys
        .snapshot_store(KeySnapshotFile::new(&path))
        .connect_lazy()
        .unwrap();
    keys.reload().await;
    assert!(!keys.is_ready());
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(start(&path).await.is_err());
}

/// Two instances of a service may share a file.
#[test]
fn writers_of_one_file_do_not_take_what_the_other_has_half_written() {
    let directory = Directory::new("snapshot-two");
    let path = directory.path.join("keys.json");
    let texts: Vec<_> = (b'a'..b'e').map(|letter| vec![letter; 60_000]).collect();
    // The temporary file of an instance that is writing now, and one that was left behind long ago.
    let (fresh, old) = (
        "keys.json.0123456789abcdef.new",
        "keys.json.fedcba9876543210.new",
    );
    let mine = "keys.json.notes.new";
    for name in [fresh, old, mine] {
        std::fs::write(directory.path.join(name), "{").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
    for name in [old, mine] {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(directory.path.join(name));
        file.unwrap().set_modified(long_ago).unwrap();
    }
    std::thread::scope(|scope| {
        for text in &texts {
            let path = &path;
            scope.spawn(move || {
                let file = KeySnapshotFile::new(path);
                for _ in 0..25 {
                    file.save(text).unwrap();
                    let found = file.load().unwrap().unwrap();
                    assert_eq!(found.len(), 60_000);
                    assert!(found.iter().all(|byte| *byte == found[0]));
                }
            });
        }
    });
    let mut names: Vec<_> = std::fs::read_dir(&directory.path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["keys.json", fresh, mine].map(String::from).to_vec());
}

/// Snapshot stores of an application that block, hang or panic.
enum Wayward {
    Blocks(Kept),
    Hangs,
    Panics,
}

impl KeySnapshotStore for Wayward {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        match self {
            // Panics on a thread that must not block.
            Self::Blocks(kept) => {
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(async { kept.load() })
            }
            Self::Hangs => hang(),
            Self::Panics => panic!("no store"),
        }
    }

    fn save(&self, kept: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Blocks(inner) => {
                let runtime = tokio::runtime::Handle::current();
                runtime.block_on(async { inner.save(kept) })
            }
            Self::Hangs => hang(),
            Self::Panics => panic!("no store"),
        }
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_snapshot_store_runs_where_it_may_block_and_its_faults_do_not_stop_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let kept = Kept::default();
        let start = |store: Wayward| {
            let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
            keys.timeout(Duration::from_millis(100))
                .snapshot_store(store)
        };
        let stores = || {
            [
                Wayward::Blocks(kept.clone()),
                Wayward::Hangs,
                Wayward::Panics,
            ]
        };
        for store in stores() {
            assert!(start(store).connect().await.unwrap().is_ready());
        }
        assert_eq!(kept.0.lock().unwrap().1, 1);

        network.answers(|_| Err(FetchError::new("connection refused")));
        for (store, expected) in stores().into_iter().zip([true, false, false]) {
            assert_eq!(start(store).connect().await.is_ok(), expected);
        }
        for (store, expected) in stores().into_iter().zip([true, false, false]) {
            let keys = start(store).connect_lazy().unwrap();
            if expected {
                until(|| keys.is_ready()).await;
            }
            keys.reload().await;
            assert_eq!(keys.is_ready(), expected);
        }
        // The first load does not wait for the snapshot store.
        let up = issuer.clone();
        network.answers(move |_| Ok(json(up.jwks())));
        let keys = start(Wayward::Hangs).connect_lazy().unwrap();
        keys.reload().await;
        assert!(keys.is_ready());
        assert_eq!(keys.status().generation, 1);
    });
    // A normal shutdown would wait for the threads that hang.
    runtime.shutdown_background();
}

/// Counts the saves. No save ever returns.
struct Stuck(Arc<AtomicUsize>);

impl KeySnapshotStore for Stuck {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, _: &[u8]) -> std::io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        hang()
    }
}

/// A disk that hangs blocks one thread of the runtime, and not one more with each load. No request
/// waits for it.
#[test]
fn a_snapshot_store_that_hangs_holds_one_thread_and_no_request() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let issuer = TestIssuer::new();
        let up = issuer.clone();
        let fetch = move |_: Request<Vec<u8>>, _: usize| {
            std::future::ready(Ok::<_, FetchError>(json(up.jwks())))
        };
        let saves = Arc::new(AtomicUsize::new(0));
        let keys = RemoteKeys::jwks(JWKS, fetch).unwrap();
        let keys = keys
            .snapshot_store(Stuck(Arc::clone(&saves)))
            .connect_lazy()
            .unwrap();
        until(|| saves.load(Ordering::SeqCst) == 1).await;
        assert!(keys.is_ready());
        // The paused time does not advance while a thread blocks, so a wait with a timer would
        // never end.
        issuer.rotate();
        let token = issuer.token().mint();
        let verifier = verifier(&issuer, &keys);
        let mut verdict = std::pin::pin!(verifier.verify(&token));
        let mut is_accepted = None;
        for _ in 0..1_000 {
            let polled = poll_fn(|cx| Poll::Ready(verdict.as_mut().poll(cx))).await;
            if let Poll::Ready(verdict) = polled {
                is_accepted = Some(verdict.is_ok());
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(is_accepted, Some(true));
        for round in 0..5 {
            keys.reload().await;
            assert_eq!(saves.load(Ordering::SeqCst), 1, "{round}");
        }
        assert_eq!(keys.status().loads, 7);
        // The save still runs after its timeout.
        advance(Duration::from_secs(60)).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        keys.reload().await;
        assert_eq!(saves.load(Ordering::SeqCst), 1);
    });
    // A normal shutdown would wait for the threads that hang.
    runtime.shutdown_background();
}

/// Loads the snapshot when the test says so, and reports when it has.
struct Late {
    kept: Vec<u8>,
    told: Mutex<std::sync::mpsc::Receiver<()>>,
    answered: std::sync::mpsc::Sender<()>,
}

impl KeySnapshotStore for Late {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.told.lock().unwrap().recv().unwrap();
        self.answered.send(()).unwrap();
        Ok(Some(self.kept.clone()))
    }

    fn save(&self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

/// A snapshot that is loaded late does not replace newer keys.
#[tokio::test]
async fn kept_keys_that_come_late_replace_nothing() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let kept = Kept::default();
    let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
    drop(keys.snapshot_store(kept.clone()).connect().await.unwrap());
    let old = issuer.token().mint();
    let kept = kept.load().unwrap().unwrap();

    let other = TestIssuer::with_algorithm(Algorithm::ES384);
    let set = other.jwks().replace("key-1", "key-9");
    for is_up in [true, false] {
        let set = set.clone();
        network.answers(move |_| match is_up {
            true => Ok(json(set.clone())),
            false => Err(FetchError::new("connection refused")),
        });
        let (tell, told) = std::sync::mpsc::channel();
        let (answered, answer) = std::sync::mpsc::channel();
        let keys = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
        let keys = keys.snapshot_store(Late {
            kept: kept.clone(),
            told: Mutex::new(told),
            answered,
        });
        let keys = keys.connect_lazy().unwrap();
        keys.reload().await;
        assert_eq!(keys.is_ready(), is_up);
        tell.send(()).unwrap();
        until(|| answer.try_recv().is_ok()).await;
        settle().await;
        until(|| keys.is_ready()).await;
        let verdict = verifier(&issuer, &keys).verify(&old).await;
        assert_eq!(verdict.is_ok(), !is_up, "{}", keys.status());
    }
}

/// A setting of zero causes no storm of requests, and no setting panics.
#[tokio::test(start_paused = true)]
async fn no_setting_causes_a_storm_or_a_panic() {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let (zero, most) = (Duration::ZERO, Duration::MAX);
    let with = |value: Duration| {
        RemoteKeys::jwks(JWKS, network.clone())
            .unwrap()
            .lifetime(value)
            .lifetime_within(value, value)
            .keep_stale(value)
            .unknown_key_cooldown(value)
            .timeout(value)
            .max_body(256 * 1_024)
            .max_keys(0)
    };
    let requests_of_a_minute = async |keys: KeyStore| {
        let before = network.count();
        let verifier = verifier(&issuer, &keys);
        for at in 0..600 {
            let token = issuer
                .token()
                .header("kid", format!("invented-{at}"))
                .mint();
            let _verdict = verifier.verify(&token).await;
            sleep(Duration::from_millis(100)).await;
        }
        network.count() - before
    };
    // One load for each second of lifetime, and one for each pause of 100 ms.
    let found = requests_of_a_minute(with(zero).connect().await.unwrap()).await;
    assert!(found < 700, "{found}");
    let keys = with(most).connect().await.unwrap();
    let token = issuer.token().mint();
    assert!(verifier(&issuer, &keys).verify(&token).await.is_ok());
    let found = requests_of_a_minute(keys.clone()).await;
    assert!(found <= 4, "{found}");
    println!("{}", keys.status());
    network.answers(|_| Err(FetchError::new("connection refused")));
    for value in [zero, most] {
        let keys = with(value).connect_lazy().unwrap();
        let found = requests_of_a_minute(keys.clone()).await;
        assert!(found < 700, "{found}");
        println!("{}", keys.status());
    }
    for usual in [zero, most] {
        let keys = RemoteKeys::jwks(JWKS, Network::of(&issuer)).unwrap();
        let keys = keys.lifetime(usual).lifetime_within(zero, most);
        assert!(keys.connect().await.unwrap().is_ready());
    }
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_errors_with_both() {
    let issuer = TestIssuer::new();
    let keys = || RemoteKeys::jwks(JWKS, Network::of(&issuer)).unwrap();
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let snapshot = || KeySnapshotFile::new("/nowhere/keys.json");
    let cases: [(&dyn Fn() -> RemoteKeys, _); 2] = [
        (
            &|| keys().lifetime_within(hour, minute),
            "`lifetime_within` has a minimum of 3600s, which is more than its maximum of 60s",
        ),
        (
            &|| keys().keep_stale(Duration::ZERO).snapshot_store(snapshot()),
            "`snapshot_store` saves keys, and with a `keep_stale` of 0 s they are never used",
        ),
    ];
    for (make, says) in cases {
        let lazy = make().connect_lazy().map(drop);
        for result in [lazy, make().connect().await.map(drop)] {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(JWKS) && error.ends_with(says), "{error}");
        }
    }
    let equal = keys()
        .lifetime_within(minute, minute)
        .accept_use("jwt-svid");
    assert!(equal.connect().await.is_ok());
}

/// RFC8414-2-2
#[tokio::test]
async fn in_a_set_with_encryption_keys_each_key_has_to_say_what_it_is_for() {
    let key = |rest: &str| {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}"{rest}}}"#)
    };
    let set = |keys: &[String]| format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let (plain, signing) = (key(r#","kid":"plain""#), key(r#","kid":"sig","use":"sig""#));
    let encryption = key(r#","kid":"enc","use":"enc""#);
    let load = async |text: String| {
        let keys = RemoteKeys::jwks(JWKS, Network::new(move |_| Ok(json(text.clone()))));
        let keys = keys.unwrap().connect().await.unwrap();
        let ids: Vec<_> = keys.status().keys.iter().map(ToString::to_string).collect();
        (ids, keys.status().skipped)
    };
    let (ids, skipped) = load(set(&[plain.clone(), signing.clone(), encryption])).await;
    assert_eq!(ids, ["sig"]);
    assert_eq!(
        skipped[0].to_string(),
        "key \"plain\": it is not for verifying signatures: `use` is missing, and the set has \
         keys for encryption too"
    );
    let (ids, skipped) = load(set(&[plain, signing])).await;
    assert_eq!(ids, ["plain", "sig"]);
    assert!(skipped.is_empty());
}

/// Until the first load of a new run has succeeded, the issuer may have other keys than those of
/// the snapshot.
#[test]
fn a_token_of_an_unknown_key_is_no_bad_one_while_only_kept_keys_are_there() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let kept = Kept::default();
        let remote = || {
            RemoteKeys::jwks(JWKS, network.clone())
                .unwrap()
                .timeout(Duration::from_secs(60))
                .snapshot_store(kept.clone())
        };
        drop(remote().connect().await.unwrap());
        until(|| kept.0.lock().unwrap().1 == 1).await;

        network.answers_after(Some(Duration::from_secs(30)));
        let keys = remote().connect_lazy().unwrap();
        until(|| keys.is_ready()).await;
        let verifier = verifier(&issuer, &keys);
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
        let unknown = issuer.token().header("kid", "new").mint();
        let rejected = verifier.verify(&unknown).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::KeySourceUnavailable);
        assert!(keys.status().failing.is_none());
        assert!(keys.status().fresh_until.is_none());

        // The twin: the issuer has responded, and does not have the key.
        sleep(Duration::from_secs(60)).await;
        network.answers_after(Some(Duration::ZERO));
        assert!(keys.status().fresh_until.is_some());
        let rejected = verifier.verify(&unknown).await.unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::UnknownKey);
    });
}

/// A trust bundle of SPIFFE, which has keys for two kinds of documents.
#[tokio::test]
async fn keys_with_another_use_are_used_only_if_it_is_configured() {
    let key = |id: &str, public_key_use: &str| {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        format!(
            r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{id}","use":"{public_key_use}"}}"#
        )
    };
    let keys = [
        key("jwt", "jwt-svid"),
        key("x509", "x509-svid"),
        key("sig", "sig"),
        key("enc", "enc"),
    ];
    let bundle = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    let kept = Kept::default();
    for (accepted, expected) in [
        (&[][..], &["sig"][..]),
        (&["jwt-svid"], &["jwt", "sig"]),
        (&["JWT-SVID", "jwt"], &["sig"]),
        (&["jwt-svid", "x509-svid", "enc"], &["jwt", "x509", "sig"]),
    ] {
        let text = bundle.clone();
        let network = Network::new(move |_| Ok(json(text.clone())));
        let remote = || {
            let remote = RemoteKeys::jwks(JWKS, network.clone()).unwrap();
            let remote = remote.snapshot_store(kept.clone());
            accepted
                .iter()
                .fold(remote, |remote, name| remote.accept_use(*name))
        };
        let ids = |keys: &KeyStore| -> Vec<_> {
            keys.status().keys.iter().map(ToString::to_string).collect()
        };
        assert_eq!(ids(&remote().connect().await.unwrap()), expected);
        network.is_down();
        // The snapshot is read with the same setting.
        assert_eq!(ids(&remote().connect().await.unwrap()), expected);
    }
}

/// The claims of the fixture, with the current time of the machine, which `verify` uses.
fn claims() -> String {
    r#"{"iss":"https://as.example","aud":"https://api.example","exp":4000000000}"#.into()
}
