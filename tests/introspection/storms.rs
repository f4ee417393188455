//! Many requests at the same time, an endpoint that hangs or fails, and clients that close their
//! connections.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::time::Instant;
use tower_jwt_auth::RejectionKind::{Inactive, IntrospectionUnavailable};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{JwtAuth, Rejection};

use crate::network::{settle, status_only};
use crate::support::{get, send, small_cache};
use crate::world::{TOKEN, World, active, kind};

/// INTRO-D1: many requests with one token cause one question.
#[tokio::test(start_paused = true)]
async fn a_hundred_first_requests_with_one_token_are_one_question() {
    let world = World::new();
    world.network.answers_after(Some(Duration::from_millis(50)));
    let auth = world.auth();
    let requests: Vec<_> = (0..100)
        .map(|_| {
            let auth = auth.clone();
            tokio::spawn(async move { send(&auth, get(TOKEN)).await.0.status() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.network.count(), 1);
    // The twin: other tokens cause one question each, up to the maximum.
    let requests: Vec<_> = (0..64)
        .map(|at| {
            let auth = auth.clone();
            let token = format!("{TOKEN}-{at}");
            tokio::spawn(async move { send(&auth, get(&token)).await.0.status() })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    assert_eq!(world.network.count(), 65);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_takes_no_question_with_it() {
    let world = World::new();
    world.network.answers_after(Some(Duration::from_millis(50)));
    let verifier = world.verifier();
    {
        let mut gone = std::pin::pin!(verifier.verify(TOKEN));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(gone.as_mut().poll(&mut context).is_pending());
    }
    let other = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.verify(TOKEN).await.is_ok() }
    });
    assert!(other.await.unwrap());
    verifier.verify_now(TOKEN).unwrap();
    assert_eq!(world.network.count(), 1);

    // The request is dropped, and its question still ends with a verdict.
    {
        let mut gone = std::pin::pin!(verifier.verify("another"));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(gone.as_mut().poll(&mut context).is_pending());
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    verifier.verify_now("another").unwrap();
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_junk_tokens_at_a_hung_endpoint_touch_no_known_token() {
    let world = World::new();
    let auth = world.auth();
    let issuer = TestIssuer::new().with_clock(world.clock.clone());
    let both = JwtAuth::new(issuer.issuer(), issuer.audience(), issuer.keys())
        .introspection(world.introspection.clone())
        .clock(world.clock.clone())
        .cache(small_cache());
    let jwt = issuer.token().mint();
    let known: Vec<_> = (0..20).map(|at| format!("known-{at}")).collect();
    for token in &known {
        assert_eq!(send(&auth, get(token)).await.0.status(), StatusCode::OK);
    }
    let asked = world.network.count();
    world.network.answers_after(None);

    let began = Instant::now();
    let junk: Vec<_> = (0..10_000)
        .map(|at| {
            let auth = auth.clone();
            tokio::spawn(async move { send(&auth, get(&format!("junk-{at}"))).await.0 })
        })
        .collect();
    settle().await;
    assert_eq!(world.introspection.status().asking, 64);
    assert_eq!(world.network.count() - asked, 64);
    for token in &known {
        assert_eq!(send(&auth, get(token)).await.0.status(), StatusCode::OK);
    }
    assert_eq!(send(&both, get(&jwt)).await.0.status(), StatusCode::OK);
    // A valid token that is not known yet gets 503 within the time limit.
    let (honest, _) = send(&auth, get("honest")).await;
    assert_eq!(honest.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(honest.headers().contains_key("retry-after"));
    assert!(began.elapsed() < Duration::from_secs(1));
    for request in junk {
        let response = request.await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), IntrospectionUnavailable);
    }
    assert!(
        began.elapsed() < Duration::from_millis(5_100),
        "{:?}",
        began.elapsed()
    );
    settle().await;
    assert_eq!(world.introspection.status().asking, 0);
    // The probe hangs too, and then the endpoint is not asked for a while.
    assert!(world.introspection.is_ready());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.introspection.is_ready());
    // After the outage.
    world.network.answers_after(Some(Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(send(&auth, get("honest")).await.0.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_inactive_tokens_evicts_no_active_one() {
    let world = World::new();
    let verifier = world.verifier();
    verifier.verify(TOKEN).await.unwrap();
    world.says_inactive();
    for at in 0..6_000 {
        assert_eq!(
            kind(&verifier.verify(&format!("junk-{at}")).await),
            Some(Inactive)
        );
    }
    verifier.verify_now(TOKEN).unwrap();
    // Each token causes one question, however often it comes in a short time.
    let asked = world.network.count();
    for _ in 0..10 {
        assert_eq!(kind(&verifier.verify("junk-5999").await), Some(Inactive));
    }
    assert_eq!(world.network.count(), asked);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_is_left_alone_and_probed() {
    let world = World::new();
    let auth = world.auth();
    world.network.is_down();
    let answer = async |token: String| {
        let (response, _) = send(&auth, get(&token)).await;
        let after = response.headers().get("retry-after").cloned();
        (
            response.status().as_u16(),
            after.map(|after| after.to_str().unwrap().to_owned()),
        )
    };
    for at in 0..5 {
        assert_eq!(answer(format!("a{at}")).await.0, 503);
    }
    settle().await;
    // The fifth failure causes a probe.
    let mut asked = 6;
    assert_eq!(world.network.count(), asked);
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        let (status, after) = answer("left-alone".into()).await;
        assert_eq!((status, after), (503, Some(pause.to_string())));
        assert_eq!(world.network.count(), asked);
        tokio::time::sleep(Duration::from_secs(pause)).await;
        // Of many requests, one is asked for, and a probe is sent.
        let probes: Vec<_> = (0..10)
            .map(|at| {
                let auth = auth.clone();
                let token = format!("probe-{pause}-{at}");
                tokio::spawn(async move { send(&auth, get(&token)).await.0.status() })
            })
            .collect();
        for probe in probes {
            assert_eq!(probe.await.unwrap(), 503);
        }
        settle().await;
        asked += 2;
        assert_eq!(world.network.count(), asked);
    }
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(answer("good".into()).await, (200, None));
    assert!(world.introspection.is_ready());
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_names_a_time_is_not_asked_before() {
    let world = World::new();
    let auth = world.auth();
    world.network.answers(|_| {
        let mut response = status_only(429);
        response
            .headers_mut()
            .insert("retry-after", "7".parse().unwrap());
        Ok(response)
    });
    for _ in 0..3 {
        let (response, _) = send(&auth, get(TOKEN)).await;
        assert_eq!(response.headers()["retry-after"], "7");
        settle().await;
    }
    // A question, and the probe that confirms it.
    assert_eq!(world.network.count(), 2);
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_millis(6_900)).await;
    let (response, _) = send(&auth, get(TOKEN)).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(send(&auth, get(TOKEN)).await.0.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_client_library_that_panics_is_an_outage() {
    let world = World::new();
    let verifier = world.verifier();
    world
        .network
        .answers(|_| panic!("a fault of the client library"));
    for _ in 0..7 {
        let verdict = verifier.verify(TOKEN).await;
        assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    }
    settle().await;
    assert_eq!(world.introspection.status().asking, 0);
    assert!(!world.introspection.is_ready());
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    verifier.verify(TOKEN).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_maximum_of_questions_and_the_timeout_can_be_set() {
    let world = World::with(|introspection| {
        introspection
            .max_concurrent(2)
            .timeout(Duration::from_secs(2))
    });
    world.network.answers_after(None);
    let verifier = Arc::new(world.verifier());
    let began = Instant::now();
    let requests: Vec<_> = (0..3)
        .map(|at| {
            let verifier = Arc::clone(&verifier);
            tokio::spawn(async move {
                let verdict = verifier.verify(&format!("t{at}")).await;
                verdict.unwrap_err().to_string()
            })
        })
        .collect();
    let mut reasons = Vec::new();
    for request in requests {
        reasons.push(request.await.unwrap());
    }
    assert!(reasons[0].contains("within 2"), "{reasons:?}");
    assert!(reasons[2].contains("too many"), "{reasons:?}");
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(world.network.count(), 2);
}
