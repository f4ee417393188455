//! Time that passes while the issuer is asked, and the effect of one token on all others.

use std::time::Duration;

use http::header::RETRY_AFTER;
use serde_json::json;
use tower_jwt_auth::RejectionKind::{Expired, Inactive, IntrospectionUnavailable};
use tower_jwt_auth::introspection::{ClientAuth, Introspection};
use tower_jwt_auth::{Claims, JwtAuth, Rejection, RejectionKind, TrustedIssuer, Verifier};
use tracing_subscriber::filter::LevelFilter;

use crate::network::{Network, json, settle, status_only};
use crate::support::log::Log;
use crate::support::{ISSUER, NOW, get, send};
use crate::verifier::{both, test_issuer};
use crate::world::{CLIENT_SECRET, ENDPOINT, TOKEN, World, active, at, audience, issuer, kind};

/// The verdict on a token, if so many seconds of the clock pass before the issuer answers.
async fn verdict_after(
    world: &World,
    verifier: &Verifier,
    token: &str,
    seconds: f64,
) -> Result<Claims, Rejection> {
    let asking = Duration::from_millis(500);
    world.network.answers_after(Some(asking));
    let (verifier, token) = (verifier.clone(), token.to_owned());
    let verdict = tokio::spawn(async move { verifier.verify(&token).await });
    settle().await;
    world.advance(seconds);
    let verdict = verdict.await.unwrap();
    world.network.answers_after(Some(Duration::ZERO));
    verdict
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_that_ends_during_the_question_does_not_count() {
    // The answer ends after its own time, or at the `exp` of the token.
    for (exp, last) in [(NOW + 3_600, 89.0), (NOW + 40, 39.0)] {
        for (passing, expected) in [(0.9, None), (1.0, Some(IntrospectionUnavailable))] {
            let world =
                World::with(|introspection| introspection.stale_within(Duration::from_secs(60)));
            let verifier = world.verifier();
            world
                .network
                .answers(move |_| Ok(active(json!({ "exp": exp }))));
            verifier.verify(TOKEN).await.unwrap();
            world.network.is_down();
            world.advance(last);
            let verdict = verdict_after(&world, &verifier, TOKEN, passing).await;
            assert_eq!(kind(&verdict), expected, "{exp} {passing}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_jwt_that_expires_during_the_question_is_rejected() {
    for (passing, expected) in [(0.9, None), (1.0, Some(Expired))] {
        let world = World::with(Introspection::introspect_jwts);
        let issuer = test_issuer(&world);
        let verifier = both(&world, &issuer).verifier();
        world
            .network
            .answers(|_| Ok(active(json!({"sub": "subject-1", "exp": null}))));
        let jwt = issuer.token().claim("exp", NOW + 10).mint();
        // The leeway is 60 s.
        world.advance(69.0);
        let verdict = verdict_after(&world, &verifier, &jwt, passing).await;
        assert_eq!(kind(&verdict), expected, "{passing}");
    }
}

/// The time of an answer starts with the question, because the issuer may have revoked the token
/// right after it wrote the answer.
#[tokio::test(start_paused = true)]
async fn a_late_answer_counts_no_longer_than_an_early_one() {
    for jwts in [false, true] {
        let world = World::with(|introspection| match jwts {
            true => introspection.introspect_jwts(),
            false => introspection,
        });
        let test = test_issuer(&world);
        let verifier = both(&world, &test).verifier();
        world
            .network
            .answers(|_| Ok(active(json!({"sub": "subject-1"}))));
        let jwt = test.token().mint();
        let token = if jwts { &*jwt } else { TOKEN };
        let verdict = verdict_after(&world, &verifier, token, 4.0).await;
        assert_eq!(kind(&verdict), None);
        world.says_inactive();
        world.advance(25.9);
        verifier.verify_now(token).unwrap();
        world.advance(0.1);
        assert_eq!(kind(&verifier.verify(token).await), Some(Inactive));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_count_before_it_was_given() {
    for jwts in [false, true] {
        let world = World::with(|introspection| match jwts {
            true => introspection.introspect_jwts(),
            false => introspection,
        });
        let issuer = test_issuer(&world);
        let verifier = both(&world, &issuer).verifier();
        world
            .network
            .answers(|_| Ok(active(json!({"sub": "subject-1"}))));
        let jwt = issuer.token().claim("iat", NOW - 7_200);
        let jwt = jwt.claim("exp", NOW + 7_200).mint();
        let token = if jwts { &*jwt } else { TOKEN };
        verifier.verify(token).await.unwrap();
        verifier.verify_now(token).unwrap();
        // The clock is set back, so the age of the answer is unknown.
        world.clock.set(NOW - 600);
        world.says_inactive();
        assert_eq!(kind(&verifier.verify(token).await), Some(Inactive));
    }
}

/// Otherwise a client could make this service fetch the metadata for each of its texts.
#[tokio::test(start_paused = true)]
async fn a_text_that_the_endpoint_does_not_take_causes_no_search_for_the_endpoint() {
    for (status, is_down, searches) in [
        (400, false, 1),
        (403, false, 1),
        (404, false, 1),
        (404, true, 3),
    ] {
        let network = Network::new(move |request| {
            let metadata = json!({"issuer": ISSUER, "introspection_endpoint": ENDPOINT});
            let is_odd = request.body().starts_with(b"token=odd");
            Ok(match request.uri().path() {
                "/introspect" if is_odd || is_down => status_only(status),
                "/introspect" => active(json!({})),
                _ => json(metadata.to_string()),
            })
        });
        let auth = ClientAuth::secret_basic("calendar-api", CLIENT_SECRET).unwrap();
        let introspection = Introspection::discover_with(&issuer(), auth, network.clone());
        let layer = JwtAuth::introspected(issuer(), audience(), introspection.unwrap());
        let verifier = layer.clock(|| at(NOW)).verifier();
        for at in 0..20 {
            let verdict = verifier.verify(&format!("odd-{at}")).await;
            assert_eq!(
                kind(&verdict),
                Some(RejectionKind::IntrospectionUnavailable)
            );
        }
        // The twin: if the probe and the next one get no answer either, the endpoint may have
        // moved.
        settle().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        verifier.verify("odd-20").await.unwrap_err();
        let found = network.addresses();
        let found = found.iter().filter(|it| it.contains(".well-known"));
        assert_eq!(found.count(), searches, "{status} {is_down}");
    }
}

/// If the endpoint fails for every second token, that is reported once in a while, and not for each
/// token.
#[tokio::test(start_paused = true)]
async fn failures_that_come_and_go_do_not_fill_the_log() {
    let log = Log::down_to(LevelFilter::DEBUG);
    let world = World::new();
    let verifier = world.verifier();
    world.network.answers(|request| {
        Ok(match request.body().starts_with(b"token=odd") {
            true => status_only(500),
            false => active(json!({})),
        })
    });
    let lines = |level: &str| {
        let text = log.text();
        let of_event = text
            .lines()
            .filter(|it| it.contains("_introspection_failed"));
        of_event.filter(|it| it.contains(level)).count()
    };
    for at in 0..50 {
        verifier.verify(&format!("odd-{at}")).await.unwrap_err();
        verifier.verify(&format!("even-{at}")).await.unwrap();
    }
    assert_eq!((lines("WARN"), lines("DEBUG")), (1, 49));
    tokio::time::advance(Duration::from_secs(10)).await;
    verifier.verify("odd-50").await.unwrap_err();
    assert_eq!((lines("WARN"), lines("DEBUG")), (2, 49));
}

/// If one issuer is trusted with keys and also without keys, an outage of its endpoint is not a
/// fault of the token, whatever the keys say.
#[tokio::test(start_paused = true)]
async fn an_outage_beside_keys_of_the_same_issuer_is_an_outage() {
    let world = World::with(Introspection::introspect_jwts);
    let test = test_issuer(&world);
    let keyed = TrustedIssuer::new(test.issuer(), test.audience(), test.keys());
    let verifier = world.auth().trust(keyed).verifier();
    let jwt = test.token().signed_by_stranger().mint();
    world.says_inactive();
    assert_eq!(kind(&verifier.verify(&jwt).await), Some(Inactive));
    world.advance(5.0);
    world.network.is_down();
    for at in 0..5 {
        verifier.verify(&format!("t{at}")).await.unwrap_err();
    }
    settle().await;
    assert!(!world.introspection.is_ready());
    let verdict = verifier.verify(&jwt).await;
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    // The twin: one of the keys verifies the token.
    verifier.verify(&test.token().mint()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_the_time_after_which_the_endpoint_is_asked() {
    for (says, told) in [("0", "1"), ("7", "7"), ("86400", "30")] {
        let world = World::new();
        let auth = world.auth();
        world.network.answers(move |_| {
            let mut response = status_only(503);
            response
                .headers_mut()
                .insert(RETRY_AFTER, says.parse().unwrap());
            Ok(response)
        });
        for _ in 0..2 {
            let (response, _) = send(&auth, get(TOKEN)).await;
            assert_eq!(response.headers()[RETRY_AFTER], told);
            settle().await;
        }
        assert_eq!(world.network.count(), 2);
    }
}
