//! What one client can do to the questions of all others, and what opens the circuit breaker.

use std::collections::HashSet;
use std::future::pending;
use std::time::Duration;

use http::{Request, Response};
use serde_json::json;
use tower_jwt_auth::RejectionKind::IntrospectionUnavailable;
use tower_jwt_auth::fetch::FetchError;
use tower_jwt_auth::introspection::{ClientAuth, ClientSecret, Introspection};
use tower_jwt_auth::{JwtAuth, Verifier};
use tracing_subscriber::filter::LevelFilter;

use crate::network::{Answer, Network, json as json_of, settle, status_only};
use crate::support::log::Log;
use crate::support::{ISSUER, NOW};
use crate::world::{ENDPOINT, TOKEN, World, active, asked_for, at, audience, issuer, kind};

/// A status that an endpoint, or a firewall in front of it, may give to the texts of one client.
fn odd_answers() -> Vec<(String, Answer)> {
    let statuses = [
        204, 302, 400, 401, 403, 404, 413, 414, 422, 429, 431, 500, 502, 503,
    ];
    let statuses = statuses.map(|status| (status.to_string(), Ok(status_only(status))));
    let patient = [429, 503].map(|status| {
        let mut response = status_only(status);
        response
            .headers_mut()
            .insert("retry-after", "30".parse().unwrap());
        (format!("{status} for a time"), Ok(response))
    });
    let large = format!(r#"{{"active":true,"x":"{}"}}"#, "x".repeat(70_000));
    let mut page = json_of("<html>blocked</html>");
    page.headers_mut()
        .insert("content-type", "text/html".parse().unwrap());
    let others = [
        ("too large".to_owned(), Ok(json_of(large))),
        ("malformed".to_owned(), Ok(json_of(r#"{"active":"yes"}"#))),
        ("a page".to_owned(), Ok(page)),
        (
            "a reset".to_owned(),
            Err(FetchError::new("connection reset")),
        ),
    ];
    statuses.into_iter().chain(patient).chain(others).collect()
}

/// A client that sends invalid texts, many or always the same, stops no question of others. The
/// twin: the same answers to every text are an outage.
#[tokio::test(start_paused = true)]
async fn odd_texts_of_one_client_stop_no_question_and_an_outage_does() {
    for (name, answer) in odd_answers() {
        for is_one_token in [true, false] {
            let world = World::new();
            let verifier = world.verifier();
            let odd = answer.clone();
            world.network.answers(
                move |request| match request.body().starts_with(b"token=odd") {
                    true => odd.clone(),
                    false => Ok(active(json!({}))),
                },
            );
            for at in 0..30 {
                let at = if is_one_token { 0 } else { at };
                let verdict = verifier.verify(&format!("odd-{at}")).await;
                assert_eq!(kind(&verdict), Some(IntrospectionUnavailable), "{name}");
                assert!(world.introspection.is_ready(), "{name}");
            }
            verifier.verify(TOKEN).await.unwrap();

            let down = answer.clone();
            world.network.answers(move |_| down.clone());
            for at in 0..5 {
                verifier.verify(&format!("new-{at}")).await.unwrap_err();
            }
            settle().await;
            let is_about_the_token = ["400", "413", "414", "422", "431"].contains(&&*name);
            assert_eq!(world.introspection.is_ready(), is_about_the_token, "{name}");
        }
    }
}

/// A text for which the endpoint never answers cannot keep the breaker open.
#[tokio::test(start_paused = true)]
async fn no_text_of_a_client_holds_the_probe() {
    let network = |is_healed: bool| {
        move |request: Request<Vec<u8>>, _: usize| async move {
            let is_odd = request.body().starts_with(b"token=odd");
            if is_odd {
                pending::<()>().await;
            }
            match is_healed {
                true => Ok::<Response<Vec<u8>>, FetchError>(active(json!({}))),
                false => Ok(status_only(500)),
            }
        }
    };
    let client = ClientAuth::secret_basic("calendar-api", "secret").unwrap();
    let healed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fetch = {
        let healed = healed.clone();
        move |request: Request<Vec<u8>>, limit: usize| {
            network(healed.load(std::sync::atomic::Ordering::Relaxed))(request, limit)
        }
    };
    let introspection = Introspection::at_with(ENDPOINT, client, fetch).unwrap();
    let auth = JwtAuth::introspected(issuer(), audience(), introspection.clone());
    let verifier = auth.clock(|| at(NOW)).verifier();
    for at in 0..5 {
        verifier.verify(&format!("t{at}")).await.unwrap_err();
    }
    settle().await;
    assert!(!introspection.is_ready());
    healed.store(true, std::sync::atomic::Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let odd = tokio::spawn({
        let verifier = verifier.clone();
        async move { verifier.verify("odd").await.is_err() }
    });
    settle().await;
    assert!(introspection.is_ready() && !odd.is_finished());
    verifier.verify(TOKEN).await.unwrap();
    assert!(odd.await.unwrap());
    assert!(introspection.is_ready());
}

/// Each probe sends another text, which is not a token.
#[tokio::test(start_paused = true)]
async fn a_probe_asks_about_a_random_text_with_the_prefix() {
    let world = World::with(|introspection| introspection.prefix("oat_"));
    let verifier = world.verifier();
    world.network.is_down();
    for round in 0..10 {
        for at in 0..5 {
            let token = format!("oat_client-{round}-{at}");
            let _ = verifier.verify(&token).await;
        }
        settle().await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    let asked = world.network.requests();
    let asked: Vec<_> = asked.iter().map(asked_for).collect();
    let probes = asked.iter().filter(|text| !text.contains("client"));
    let probes: HashSet<_> = probes.collect();
    assert!(probes.len() >= 10, "{asked:?}");
    assert!(
        probes
            .iter()
            .all(|text| text.starts_with("oat_") && text.len() == 36)
    );
}

/// RFC7662-2.3-1: the operator sees at once that the secret is wrong, and not only after five
/// tokens.
#[tokio::test(start_paused = true)]
async fn a_wrong_secret_is_one_loud_line_and_shown_by_the_status_at_once() {
    let log = Log::down_to(LevelFilter::INFO);
    let secret = ClientSecret::from("wrong");
    let network = Network::new(|request| {
        // `calendar-api:right`
        let right = request.headers()["authorization"] == "Basic Y2FsZW5kYXItYXBpOnJpZ2h0";
        Ok(if right {
            active(json!({}))
        } else {
            status_only(401)
        })
    });
    let client = ClientAuth::secret_basic("calendar-api", secret.clone()).unwrap();
    let introspection = Introspection::at_with(ENDPOINT, client, network.clone()).unwrap();
    let auth = JwtAuth::introspected(issuer(), audience(), introspection.clone());
    let verifier = auth.clock(|| at(NOW)).verifier();
    let verdict = verifier.verify(TOKEN).await;
    assert_eq!(kind(&verdict), Some(IntrospectionUnavailable));
    settle().await;
    let status = introspection.status();
    assert!(!status.is_healthy && !introspection.is_ready());
    let reason = status.failing.unwrap().reason;
    assert!(reason.contains("credentials of this service"), "{reason}");
    let text = log.text();
    let lines = text
        .lines()
        .filter(|line| line.contains("jwt_introspection"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(
        lines[0].contains("ERROR") && lines[0].contains("jwt_introspection_denied"),
        "{text}"
    );
    assert!(lines[0].contains("tokens that it is asked about"), "{text}");

    // The twin: the right secret, after the pause.
    secret.replace("right").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    verifier.verify(TOKEN).await.unwrap();
    assert!(introspection.status().failing.is_none() && introspection.is_ready());
    assert_eq!(ISSUER, "https://as.example");
}

/// So many failures call for a probe, which fails too.
async fn fail_five_times(world: &World, verifier: &Verifier) {
    world.network.is_down();
    for at in 0..5 {
        verifier.verify(&format!("t{at}")).await.unwrap_err();
    }
    settle().await;
}

/// A text outside of the usual alphabet is rejected here, so the endpoint never sees it, not even
/// during a test.
#[tokio::test(start_paused = true)]
async fn texts_of_other_characters_ask_nothing() {
    let world = World::new();
    let verifier = world.verifier();
    fail_five_times(&world, &verifier).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = world.network.count();
    for text in [
        "<script>", "a b", "a\u{0}", "'; DROP", "ünusual", "a=b", "==", "", "a,b",
    ] {
        let verdict = verifier.verify(text).await;
        assert_ne!(kind(&verdict), Some(IntrospectionUnavailable), "{text}");
        assert!(verdict.is_err());
    }
    assert_eq!(world.network.count(), asked);
    // The twin: a question for a usual text, and a probe.
    verifier.verify("a-._~+/b==").await.unwrap_err();
    settle().await;
    assert_eq!(world.network.count(), asked + 2);
}

/// An instance that is not ready gets no requests, and a request is what asks again.
#[tokio::test(start_paused = true)]
async fn it_is_ready_again_after_each_pause_although_no_request_comes() {
    let world = World::new();
    let verifier = world.verifier();
    fail_five_times(&world, &verifier).await;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        tokio::time::sleep(Duration::from_millis(pause * 1_000 - 10)).await;
        assert!(!world.introspection.is_ready(), "{pause}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(world.introspection.is_ready(), "{pause}");
        assert!(!world.introspection.status().is_healthy);
        verifier.verify("next").await.unwrap_err();
        settle().await;
        assert!(!world.introspection.is_ready(), "{pause}");
    }
    world.network.answers(|_| Ok(active(json!({}))));
    tokio::time::sleep(Duration::from_secs(30)).await;
    verifier.verify(TOKEN).await.unwrap();
    let status = world.introspection.status();
    assert!(world.introspection.is_ready() && status.is_healthy);
}

/// RFC 6749, section 5.2: the credentials of this service may be rejected with 400 too. The twin: another 400
/// is about the text.
#[tokio::test(start_paused = true)]
async fn a_400_about_the_credentials_opens_the_breaker() {
    for (code, opens) in [
        ("invalid_client", true),
        ("unauthorized_client", true),
        ("invalid_request", false),
        ("unsupported_token_type", false),
    ] {
        let world = World::new();
        world.network.answers(move |_| {
            let mut response = json_of(json!({ "error": code }).to_string());
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
            Ok(response)
        });
        let verdict = world.verifier().verify(TOKEN).await;
        assert_eq!(kind(&verdict), Some(IntrospectionUnavailable), "{code}");
        settle().await;
        assert_eq!(world.introspection.is_ready(), !opens, "{code}");
    }
}

/// An endpoint that does not take the text of a probe has answered. The twin: it fails for the probe too.
#[tokio::test(start_paused = true)]
async fn a_probe_whose_text_is_not_taken_was_answered() {
    for (status, opens) in [(400, false), (422, false), (404, true)] {
        let world = World::new();
        let verifier = world.verifier();
        world.network.answers(move |request| {
            let is_of_client = request.body().starts_with(b"token=odd");
            Ok(status_only(if is_of_client { 500 } else { status }))
        });
        for at in 0..6 {
            verifier.verify(&format!("odd-{at}")).await.unwrap_err();
        }
        settle().await;
        assert_eq!(world.introspection.is_ready(), !opens, "{status}");
    }
}
