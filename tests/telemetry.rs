//! Events and metrics have the documented names and fields, and contain nothing of a token.

#![cfg(all(feature = "metrics", feature = "test-util", feature = "tracing"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

#[cfg(feature = "redis")]
#[path = "support/redis.rs"]
mod real;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde::Deserialize;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::revocation::{RevocationError, RevocationStatus};
use tower_jwt_auth::test::TestToken;
use tower_jwt_auth::{Claims, JwtAuth, KeyStore, RejectionKind, scope};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};

use support::log::Log;
use support::{Fixture, get, get_bare, get_with, send};

/// An event, as a subscriber gets it.
#[derive(Clone, Debug)]
struct Captured {
    name: &'static str,
    target: &'static str,
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<Captured>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        if metadata.target().starts_with("tower_jwt_auth") {
            self.0.lock().unwrap().push(Captured {
                name: metadata.name(),
                target: metadata.target(),
                level: *metadata.level(),
                fields: fields.0,
            });
        }
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// The events while `run` runs.
fn events(run: impl AsyncFnOnce()) -> Vec<Captured> {
    let capture = Capture::default();
    // If only one subscriber exists, a thread without it that reaches an event first disables the
    // event for all threads. If there are two subscribers, both are asked.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::registry().with(capture.clone());
    tracing::subscriber::with_default(subscriber, || block_on(run()));
    let events = capture.0.lock().unwrap().clone();
    for event in &events {
        assert_eq!(event.target, "tower_jwt_auth");
        // Subscribers print the message, and seldom the name.
        let (name, sentence) = event.fields["message"].split_once(": ").unwrap();
        assert_eq!(name, event.name);
        assert!(!sentence.is_empty());
    }
    events
}

/// Runs on this thread, which has the subscriber and the recorder of the test.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// The fields of the only event of this name, without its message.
#[track_caller]
fn the_one<'a>(events: &'a [Captured], name: &str, level: Level) -> Vec<(&'static str, &'a str)> {
    let found: Vec<_> = events.iter().filter(|event| event.name == name).collect();
    assert_eq!(found.len(), 1, "{name} in {events:#?}");
    assert_eq!(found[0].level, level, "{name}");
    found[0]
        .fields
        .iter()
        .filter(|(field, _)| **field != "message")
        .map(|(field, value)| (*field, value.as_str()))
        .collect()
}

fn field<'a>(fields: &[(&str, &'a str)], name: &str) -> &'a str {
    fields
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("no {name} in {fields:?}"))
        .1
}

/// A layer that has no keys yet.
fn without_keys(fixture: &Fixture) -> JwtAuth {
    let signer = fixture.signer("k1");
    JwtAuth::new(signer.issuer(), signer.audience(), KeyStore::pending())
        .clock(fixture.clock.clone())
}

/// Sends a request to a guard that is not inside a layer.
async fn send_without_a_layer(request: Request<String>) {
    let inner = service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let guard = JwtAuth::require::<scope!("read")>();
    let response = guard.layer(inner).oneshot(request).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// Sends through a layer and a guard for the scope `read`.
async fn send_guarded(auth: JwtAuth, request: Request<String>) -> Response<String> {
    let inner = service_fn(async |_: Request<String>| {
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let guard = JwtAuth::require::<scope!("read")>();
    let service = ServiceBuilder::new()
        .layer(auth)
        .layer(guard)
        .service(inner);
    service.oneshot(request).await.unwrap()
}

/// A layer whose revocation check can be made to fail.
struct Outage {
    auth: JwtAuth,
    is_out: Arc<AtomicBool>,
}

impl Outage {
    fn new(fixture: &Fixture) -> Self {
        let is_out = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&is_out);
        let check = move |_: Claims| {
            ready(if state.load(Ordering::Relaxed) {
                Err(RevocationError::new("no connection"))
            } else {
                Ok(RevocationStatus::Active)
            })
        };
        let auth = fixture.auth().revocation(check);
        Self { auth, is_out }
    }

    async fn send(&self, is_out: bool, token: &str) {
        self.is_out.store(is_out, Ordering::Relaxed);
        let (response, _) = send(&self.auth, get(token)).await;
        assert_eq!(response.status(), if is_out { 503 } else { 200 });
    }
}

/// Causes every event and every metric at least once.
async fn everything(fixture: &Fixture) {
    let good = fixture.token().mint();
    send(&fixture.auth(), get(&good)).await;
    send(&fixture.auth(), get_bare()).await;
    // A contradiction: no certificate is looked for.
    send(&fixture.auth().require_bound_tokens(), get_bare()).await;
    send(&fixture.auth(), get(&fixture.token().expired().mint())).await;
    send(&without_keys(fixture), get(&good)).await;
    let outage = Outage::new(fixture);
    outage.send(true, &good).await;
    fixture.clock.advance(Duration::from_secs(60));
    outage.send(false, &good).await;
    send_guarded(fixture.auth(), get(&good)).await;
    send_without_a_layer(get(&good)).await;

    let next = fixture.signer("e1").key().with_key_id("next");
    fixture.keys.rotate(next);
    assert!(fixture.keys.retire("next", Duration::from_secs(60)));
    fixture
        .keys
        .on_change(|_| panic!("in the code of the user"));
    assert!(fixture.keys.remove("next"));
    fixture.keys.replace(fixture.keys.snapshot().unwrap());
    assert!(fixture.keys.replace_jwks(b"{}").is_err());
    assert!(
        fixture
            .keys
            .replace_jwks(br#"{"keys":[{"kty":"new"}]}"#)
            .is_err()
    );
    let good = fixture.signer("e1").jwk();
    let set = format!(r#"{{"keys":[{{"kty":"new"}},{good}]}}"#);
    tower_jwt_auth::KeySet::from_jwks(set.as_bytes()).unwrap();
}

/// The rows of a table in the documentation: the cells, without backticks.
fn documented(table: usize) -> Vec<Vec<String>> {
    rows(include_str!("../src/events.md"), table)
}

/// The rows of a table that belong to this feature only.
#[cfg(any(feature = "introspection", feature = "logout", feature = "status-list"))]
fn documented_for(feature: &str, table: usize) -> Vec<Vec<String>> {
    let heading = format!("with the feature `{feature}`:");
    let text = include_str!("../src/events.md").split_once(&heading);
    rows(text.expect("the tables of the feature").1, table)
}

fn rows(text: &str, table: usize) -> Vec<Vec<String>> {
    let tables = text.split("\n\n").filter(|block| block.starts_with('|'));
    let rows = tables.skip(table).take(1).flat_map(str::lines).skip(2);
    rows.map(|row| {
        row.trim_matches('|')
            .split('|')
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect()
    })
    .collect()
}

/// A new metric is easily forgotten in the recipe for Prometheus.
#[test]
fn every_documented_metric_has_a_help_text_in_the_recipe() {
    let recipes = include_str!("../src/guide/recipes.md");
    let events = include_str!("../src/events.md");
    let rows = events.lines().filter_map(|row| {
        let (name, rest) = row.strip_prefix("| `jwt_auth_")?.split_once("` | ")?;
        Some((name, rest.split(' ').next().unwrap()))
    });
    let mut count = 0;
    for (name, kind) in rows {
        let call = format!("describe_{kind}!(");
        let mut described = recipes.split(&call).skip(1);
        let argument = format!("\"jwt_auth_{name}\",");
        let is_described = described.any(|text| text.trim_start().starts_with(&argument));
        assert!(is_described, "{kind} {name}");
        count += 1;
    }
    assert!(count >= 19, "{count}");
}

fn words(cell: &str) -> BTreeSet<&str> {
    cell.split(", ").filter(|word| !word.is_empty()).collect()
}

#[test]
fn every_event_is_documented_with_its_level_and_fields() {
    let fixture = Fixture::new();
    let events = events(async || everything(&fixture).await);
    check_events(&events, &documented(0));
}

/// Asserts that the events are all those of the table, with the same levels and fields.
fn check_events(events: &[Captured], rows: &[Vec<String>]) {
    let mut told = BTreeSet::new();
    for event in events {
        let row = rows.iter().find(|row| row[0] == event.name);
        let row = row.unwrap_or_else(|| panic!("{} is not documented", event.name));
        let fields: BTreeSet<_> = event.fields.keys().copied().collect();
        let expected: BTreeSet<_> = words(&row[2]).into_iter().chain(["message"]).collect();
        assert_eq!(fields, expected, "{}", event.name);
        told.insert((event.name, event.level.to_string().to_lowercase()));
    }
    let promised: BTreeSet<_> = rows
        .iter()
        .flat_map(|row| words(&row[1]).into_iter().map(|level| (&*row[0], level)))
        .map(|(name, level)| (name, level.replace(" without keys", "")))
        .collect();
    assert!(told.is_subset(&promised), "{told:?}");
    let names = |of: &BTreeSet<(&str, String)>| {
        let names = of.iter().map(|(name, _)| (*name).to_owned());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&told), names(&promised));
}

#[test]
fn every_metric_is_documented_with_its_kind_and_labels() {
    let fixture = Fixture::new();
    check_metrics(
        metrics_of(async || everything(&fixture).await),
        documented(1),
    );
}

/// Asserts that the metrics are all those of the table.
fn check_metrics(metrics: Vec<Metric>, rows: Vec<Vec<String>>) {
    let told: BTreeSet<_> = metrics
        .into_iter()
        .map(|metric| {
            let labels: Vec<_> = metric.labels.into_keys().collect();
            (metric.name, metric.kind, labels.join(", "))
        })
        .collect();
    let promised: BTreeSet<_> = rows
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    assert_eq!(told, promised);
}

#[test]
fn an_accepted_token_is_told_by_its_issuer_alone() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let events = events(async || {
        send(&fixture.auth(), get(&token)).await;
    });
    let fields = the_one(&events, "jwt_accepted", Level::DEBUG);
    assert_eq!(fields, [("issuer", "https://as.example")]);
    assert_eq!(events.len(), 1);
}

#[test]
fn a_rejection_is_one_line_with_its_kind_and_reason() {
    let fixture = Fixture::new();
    let events = events(async || {
        send(&fixture.auth(), get(&fixture.token().expired().mint())).await;
    });
    let fields = the_one(&events, "jwt_rejected", Level::INFO);
    assert_eq!(field(&fields, "kind"), "expired");
    assert_eq!(field(&fields, "status"), "401");
    assert_eq!(field(&fields, "suppressed"), "0");
    assert!(
        field(&fields, "reason").contains("3600 s ago"),
        "the operator is told by how much: {fields:?}"
    );
    assert_eq!(events.len(), 1);
}

/// A reader of the log alone learns which key and which setting to look at.
#[test]
fn a_reason_names_the_key_and_the_setting() {
    let fixture = Fixture::new();
    let auth = fixture.auth().accept_type("JOSE");
    let verifier = auth.verifier();
    let forged = fixture.token().signed_by_stranger();
    for (token, kind, reason) in [
        (
            forged.clone(),
            RejectionKind::BadSignature,
            r#"signature does not verify with key "k1" (ES256)"#,
        ),
        (
            forged.without_header("kid"),
            RejectionKind::BadSignature,
            "signature does not verify with any key for ES256",
        ),
        (
            fixture.token().header("kid", "zzz"),
            RejectionKind::UnknownKey,
            r#"key id is "zzz", expected the id of a key of https://as.example"#,
        ),
        (
            fixture.token().header("typ", "x"),
            RejectionKind::WrongType,
            r#"`typ` is "x", expected at+jwt, JWT, JOSE or absent (see `JwtAuth::accept_type`)"#,
        ),
    ] {
        let rejection = verifier.verify_now(&token.mint()).unwrap_err();
        assert_eq!(rejection.kind(), kind);
        assert_eq!(rejection.to_string(), reason);
    }
    let good = fixture.token().header("typ", "JOSE").mint();
    assert!(verifier.verify_now(&good).is_ok());
}

#[test]
fn a_missing_token_is_logged_at_debug_level_only() {
    let fixture = Fixture::new();
    let events = events(async || {
        send(&fixture.auth(), get_bare()).await;
    });
    let fields = the_one(&events, "jwt_rejected", Level::DEBUG);
    assert_eq!(field(&fields, "kind"), "missing_credentials");
    assert_eq!(events.len(), 1);
}

/// The events of one kind, and whether each is at a level that is on by default.
fn of_kind<'a>(events: &'a [Captured], kind: &str) -> Vec<(bool, &'a str)> {
    let rejected = events.iter().filter(|event| event.name == "jwt_rejected");
    rejected
        .filter(|event| event.fields["kind"] == kind)
        .map(|event| (event.level <= Level::INFO, &*event.fields["suppressed"]))
        .collect()
}

/// A client cannot fill the log: each kind has ten lines in ten seconds, and the number of the
/// omitted ones is reported.
#[test]
fn a_flood_of_one_kind_has_few_lines_and_hides_no_other_kind() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let expired = fixture.token().expired().mint();
    let forged = fixture.token().signed_by_stranger().mint();
    let later = Duration::from_secs(10);
    let events = events(async || {
        for _ in 0..500 {
            send(&auth, get(&expired)).await;
        }
        send(&auth, get(&forged)).await;
        fixture.clock.advance(later);
        for _ in 0..2 {
            send(&auth, get(&expired)).await;
        }
        // Another layer has its own budget of lines.
        send(&fixture.auth(), get(&expired)).await;
    });
    let lines = of_kind(&events, "expired");
    assert_eq!(lines.len(), 503, "at the debug level nothing is left out");
    assert_eq!(lines[..10], [(true, "0"); 10]);
    assert!(lines[10..500].iter().all(|line| *line == (false, "0")));
    assert_eq!(lines[500..], [(true, "490"), (true, "0"), (true, "0")]);
    assert_eq!(of_kind(&events, "bad_signature"), [(true, "0")]);
}

#[test]
fn a_rejection_by_a_guard_is_told_once_too() {
    let fixture = Fixture::new();
    let token = fixture.token().scope("write").mint();
    let events = events(async || {
        assert_eq!(
            send_guarded(fixture.auth(), get(&token)).await.status(),
            403
        );
    });
    let rejected: Vec<_> = events.iter().filter(|e| e.name == "jwt_rejected").collect();
    assert_eq!(rejected.len(), 1);
    let fields = &rejected[0].fields;
    assert_eq!(fields["kind"], "insufficient_scope");
    assert_eq!(fields["status"], "403");
    assert!(fields["reason"].contains("scope read"), "{fields:?}");
    the_one(&events, "jwt_accepted", Level::DEBUG);
}

/// An outage on our side is one warning with its reason, however many requests there are.
#[test]
fn an_outage_is_one_warning_whatever_it_is() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let failing = |_: Claims| {
        ready(Err::<RevocationStatus, _>(RevocationError::new(
            "no connection",
        )))
    };
    for (auth, kind, reason) in [
        (
            without_keys(&fixture),
            "key_source_unavailable",
            "keys of issuer https://as.example are not loaded yet",
        ),
        (
            fixture.auth().revocation(failing),
            "revocation_unavailable",
            "revocation check failed: no connection",
        ),
    ] {
        let events = events(async || {
            for _ in 0..100 {
                send(&auth, get(&token)).await;
            }
        });
        let fields = the_one(&events, "jwt_unavailable", Level::WARN);
        assert_eq!(fields, [("kind", kind), ("reason", reason)]);
        // At a lower level there is an event for each request.
        assert_eq!(of_kind(&events, kind), [(false, "0"); 100]);
        assert_eq!(events.len(), 101);
    }
}

#[test]
fn an_outage_ends_once_and_says_how_long_it_was() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let outage = Outage::new(&fixture);
    let wait = |seconds| fixture.clock.advance(Duration::from_secs(seconds));
    let events = events(async || {
        outage.send(false, &token).await;
        outage.send(true, &token).await;
        wait(20);
        // One request was accepted in between.
        outage.send(false, &token).await;
        outage.send(true, &token).await;
        wait(59);
        outage.send(false, &token).await;
        wait(1);
        outage.send(false, &token).await;
        outage.send(false, &token).await;
    });
    the_one(&events, "jwt_unavailable", Level::WARN);
    let fields = the_one(&events, "jwt_available", Level::INFO);
    assert_eq!(
        fields,
        [
            ("kind", "revocation_unavailable"),
            ("requests", "2"),
            ("seconds", "20"),
        ]
    );
}

#[test]
fn a_missing_layer_is_an_error_with_the_line_to_add() {
    let events = events(async || send_without_a_layer(get_bare()).await);
    let fields = the_one(&events, "jwt_layer_missing", Level::ERROR);
    let reason = field(&fields, "reason");
    assert!(reason.contains(".layer("), "{reason}");
    assert_eq!(events.len(), 1);
}

#[test]
fn changes_of_keys_are_told() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let next = fixture.signer("e1").key().with_key_id("next");
    type Change<'a> = (&'a str, [&'a str; 3], Box<dyn Fn() + 'a>);
    let changes: [Change<'_>; 4] = [
        (
            "rotate",
            ["5", "1", "0"],
            Box::new(|| drop(keys.rotate(next.clone()))),
        ),
        (
            "retire",
            ["5", "0", "0"],
            Box::new(|| assert!(keys.retire("next", Duration::from_secs(1)))),
        ),
        (
            "remove",
            // The key is removed under both of its ids.
            ["3", "0", "2"],
            Box::new(|| assert!(keys.remove("next"))),
        ),
        (
            "replace",
            ["1", "1", "3"],
            Box::new(|| {
                keys.replace(next.clone().into());
            }),
        ),
    ];
    for (generation, (change, [count, added, removed], run)) in (1..).zip(changes) {
        let events = events(async || run());
        let fields = the_one(&events, "jwt_keys_changed", Level::INFO);
        assert_eq!(
            fields,
            [
                ("added", added),
                ("change", change),
                ("generation", &*format!("{generation}")),
                ("keys", count),
                ("removed", removed),
            ]
        );
    }

    // A change of a key that the store does not have is not reported.
    let events = events(async || {
        assert!(!keys.remove("unknown"));
        assert!(!keys.retire("unknown", Duration::ZERO));
    });
    assert!(events.is_empty(), "{events:?}");
}

#[test]
fn a_rejected_key_set_is_told_with_its_reason() {
    let fixture = Fixture::new();
    let generation = fixture.keys.generation();
    let events = events(async || {
        assert!(fixture.keys.replace_jwks(br#"{"keys":[]}"#).is_err());
    });
    let fields = the_one(&events, "jwt_keys_rejected", Level::WARN);
    assert!(field(&fields, "reason").contains("no keys"), "{fields:?}");
    assert_eq!(fixture.keys.generation(), generation);
    assert_eq!(events.len(), 1);
}

/// RFC7517-5-2, RFC8037-2-1: also a private key that an issuer has published.
#[test]
fn each_skipped_key_is_told_once_with_its_reason() {
    let fixture = Fixture::new();
    let mut leaked = fixture.signer("e1").jwk();
    leaked["d"] = "AAAA".into();
    leaked["kid"] = "leaked".into();
    let good = fixture.signer("k1").jwk();
    let jwks = format!(r#"{{"keys":[{leaked},{good},{{"kty":"new"}}]}}"#);
    let events = events(async || {
        tower_jwt_auth::KeySet::from_jwks(jwks.as_bytes()).unwrap();
    });
    let reasons: Vec<_> = events
        .iter()
        .map(|event| {
            assert_eq!((event.name, event.level), ("jwt_key_skipped", Level::WARN));
            event.fields["reason"].as_str()
        })
        .collect();
    assert_eq!(reasons.len(), 2);
    assert!(
        reasons[0].contains(r#"key "leaked": it is a private key"#),
        "{reasons:?}"
    );
    assert!(reasons[1].contains("key at position 2"), "{reasons:?}");
}

/// RFC7517-5-2: the events for skipped keys are written when the set changes, and not at every
/// load. A key for another purpose has none, such as a key for encryption or a certificate in a
/// SPIFFE bundle.
#[cfg(feature = "remote")]
#[test]
fn skipped_keys_of_a_fetched_set_are_told_when_the_set_changes() {
    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::keys::RemoteKeys;

    let fixture = Fixture::new();
    let good = fixture.signer("k1").jwk();
    let encryption = r#"{"kty":"RSA","use":"enc","kid":"enc"},{"kty":"EC","key_ops":["deriveKey"]},
        {"kty":"EC","use":"x509-svid","kid":"svid","x5c":["AA=="]}"#;
    let set = |more: &str| format!(r#"{{"keys":[{more}{encryption},{good}]}}"#).into_bytes();
    // The keys have a `use`, because the set has keys for encryption.
    let set = |more: &str| {
        let text = String::from_utf8(set(more)).unwrap();
        assert!(text.contains(r#""use":"sig""#), "{text}");
        text.into_bytes()
    };
    let broken = r#"{"kty":"new","kid":"odd"},"#;
    let many = "{},".repeat(50_000);
    let published = Arc::new(Mutex::new(set("")));
    let fetch = {
        let published = Arc::clone(&published);
        move |_: Request<Vec<u8>>, _: usize| {
            ready(Ok::<_, FetchError>(Response::new(
                published.lock().unwrap().clone(),
            )))
        }
    };
    let told = events(async || {
        let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
        let keys = keys.connect().await.unwrap();
        for text in ["", broken, &many] {
            *published.lock().unwrap() = set(text);
            for _ in 0..5 {
                keys.reload().await;
            }
        }
        assert_eq!(keys.status().failing.map(|failing| failing.reason), None);
    });
    let told: Vec<_> = told
        .iter()
        .filter(|event| event.name == "jwt_key_skipped")
        .map(|event| event.fields["reason"].as_str())
        .collect();
    assert_eq!(told.len(), 1 + 9, "{told:?}");
    assert_eq!(told[0], r#"key "odd": key type "new" is not supported"#);
    assert_eq!(told[1], "key at position 0: member `kty` is missing");
    assert_eq!(told[9], "49995 more keys of the set");
}

/// A snapshot that cannot be read has an event, and the store starts without it.
#[cfg(feature = "remote")]
#[test]
fn a_key_snapshot_that_cannot_be_read_is_an_event() {
    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::keys::{KeySnapshotStore, RemoteKeys};

    struct Broken;

    impl KeySnapshotStore for Broken {
        fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
            Err(std::io::Error::other("disk is gone"))
        }

        fn save(&self, _: &[u8]) -> std::io::Result<()> {
            Ok(())
        }
    }

    let fetch = |_: Request<Vec<u8>>, _: usize| {
        ready(Err::<Response<Vec<u8>>, _>(FetchError::new("no network")))
    };
    let events = events(async || {
        let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
        assert!(keys.snapshot_store(Broken).connect().await.is_err());
    });
    let fields = the_one(&events, "jwt_key_snapshot", Level::WARN);
    assert_eq!(field(&fields, "source"), "https://as.example/jwks");
    let outcome = "the saved keys are not used: disk is gone";
    assert_eq!(field(&fields, "outcome"), outcome);
}

/// Good and bad tokens with a mark in every part.
fn marked(fixture: &Fixture) -> Vec<String> {
    let token = || {
        fixture
            .token()
            .subject("mark-sub")
            .claim("client_id", "mark-client")
            .claim("jti", "mark-jti")
            .claim("email", "mark-email")
            .claim("roles", vec!["mark-role"])
            .scope("mark-scope")
    };
    let flaws: [fn(TestToken) -> TestToken; 16] = [
        |token| token,
        TestToken::expired,
        TestToken::not_yet_valid,
        TestToken::tampered,
        TestToken::signed_by_stranger,
        TestToken::unsigned,
        |token| token.audience("mark-aud"),
        |token| token.issuer("mark-iss"),
        |token| token.header("kid", "mark-kid"),
        |token| token.header("typ", "mark-typ"),
        |token| token.header("alg", "mark-alg"),
        |token| token.header("crit", vec!["mark-crit"]),
        |token| token.claim("exp", "mark-exp"),
        |token| token.claim("scope", serde_json::json!({"mark": "mark-object"})),
        |token| token.claim("cnf", serde_json::json!({"jkt": "mark-thumbprint"})),
        |token| token.raw_claims(r#"{"iss":"mark-iss","iss":"mark-again"}"#),
    ];
    let mut tokens: Vec<_> = flaws.iter().map(|flaw| flaw(token()).mint()).collect();
    tokens.push("mark-token.mark-token.mark-token".to_owned());
    tokens.push("mark-token".to_owned());
    tokens
}

#[derive(Debug, Deserialize)]
struct Own {
    #[expect(dead_code, reason = "no token has it")]
    email: u64,
}

/// Sends each token in every place of a request, and through every kind of check.
async fn send_everywhere(fixture: &Fixture, token: &str) {
    let revoking = |_: Claims| ready(Ok(RevocationStatus::Revoked));
    send(&fixture.auth(), get(token)).await;
    send(&fixture.auth(), get_with(format!("Bearer {token} {token}"))).await;
    send(&fixture.auth(), get_with(format!("Basic {token}"))).await;
    send(&fixture.auth().claims::<Own>(), get(token)).await;
    send(&fixture.auth().access_token_profile(), get(token)).await;
    send(&fixture.auth().revocation(revoking), get(token)).await;
    send(&without_keys(fixture), get(token)).await;
    send_guarded(fixture.auth(), get(token)).await;
    send_without_a_layer(get(token)).await;

    let cookie = TokenCookie::new("__Host-session", CsrfPolicy::same_origin()).unwrap();
    let anywhere = TokenSource::header()
        .with_cookie(cookie)
        .insecure_with_query();
    let anywhere = fixture.auth().token_source(anywhere);
    let in_query = Request::get(format!("/events?access_token={token}"));
    send(&anywhere, in_query.body(String::new()).unwrap()).await;
    let in_cookie = Request::post("/events").header("cookie", format!("__Host-session={token}"));
    send(&anywhere, in_cookie.body(String::new()).unwrap()).await;
}

#[test]
fn no_event_has_a_token_or_a_part_of_it() {
    let fixture = Fixture::new();
    for token in marked(&fixture) {
        let events = events(async || send_everywhere(&fixture, &token).await);
        assert!(events.len() > 10, "every refusal is told");
        for event in &events {
            for value in event.fields.values() {
                for part in token.split('.').filter(|part| !part.is_empty()) {
                    assert!(!value.contains(part), "{event:?}");
                }
            }
        }
    }
}

/// Events may have issuer, audience, key id, type and algorithm. Other claims may be personal.
#[test]
fn no_event_has_another_claim_than_issuer_and_audience() {
    const TECHNICAL: [&str; 6] = [
        "mark-iss",
        "mark-aud",
        "mark-kid",
        "mark-typ",
        "mark-alg",
        "mark-crit",
    ];
    let fixture = Fixture::new();
    let mut told = 0;
    for token in marked(&fixture) {
        for event in events(async || send_everywhere(&fixture, &token).await) {
            for value in event.fields.values() {
                let mut rest = value.clone();
                for technical in TECHNICAL {
                    rest = rest.replace(technical, "");
                }
                assert!(!rest.contains("mark-"), "{event:?}");
                told += usize::from(rest != *value && event.level <= Level::INFO);
            }
        }
    }
    assert!(told > 0, "the operator can find out, at the default level");
}

/// A reason is one line of limited length, for any text.
#[test]
fn a_reason_of_somebody_else_is_cut_to_a_line() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let failing = |_: Claims| {
        let reason = "\u{fc}\nx".repeat(1_000_000);
        ready(Err::<RevocationStatus, _>(RevocationError::new(reason)))
    };
    let text = printed(Level::INFO, async || {
        send(&fixture.auth().revocation(failing), get(&token)).await;
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("jwt_unavailable"), "{text}");
    assert!(text.len() < 4_000, "{}", text.len());
}

/// A search for a documented name finds the event in the default output.
#[test]
fn the_default_output_has_the_names_of_the_events() {
    let fixture = Fixture::new();
    let text = printed(Level::INFO, async || {
        everything(&fixture).await;
        let wrong = fixture.token().audience("https://other.example").mint();
        send(&fixture.auth(), get(&wrong)).await;
    });
    for row in documented(0) {
        let is_on = row[1] != "debug";
        assert_eq!(text.contains(&row[0]), is_on, "{} in {text}", row[0]);
    }
    let line = text
        .lines()
        .find(|line| line.contains("audience_mismatch"))
        .unwrap();
    for part in [
        " INFO ",
        "jwt_rejected: token rejected",
        "status=401",
        "https://other.example",
        "https://api.example",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    // The page about rejections shows the same line.
    let page = include_str!("../src/guide/rejections.md");
    let shown = page.lines().find(|line| line.contains("suppressed=0"));
    let reason = |line: &str| line.split_once("reason=").unwrap().0.to_owned();
    assert!(line.contains(reason(shown.unwrap()).trim()), "{line}");
}

/// The output of a subscriber with the usual format while `run` runs.
fn printed(level: Level, run: impl AsyncFnOnce()) -> String {
    let log = Log::down_to(level);
    block_on(run());
    log.text()
}

/// RFC8725-3.10-2: an attacker chooses the key id. It must not start a new line, or move the
/// cursor.
#[test]
fn control_characters_of_a_key_id_are_escaped_in_the_log() {
    let fixture = Fixture::new();
    let long = "x".repeat(10_000);
    for (key_id, shown) in [
        ("a\n2023-11-14 INFO all is well", r"a\n2023-11-14"),
        ("a\r\nb", r"a\r\nb"),
        ("a\u{1b}[2Jb", r"a\u{1b}[2Jb"),
        ("a\u{0}b", r"a\0b"),
        ("a\u{202e}b", r"a\u{202e}b"),
        ("../../x", "../../x"),
        ("' OR 1=1", "' OR 1=1"),
        (long.as_str(), "xxx"),
    ] {
        let token = fixture.token().header("kid", key_id).mint();
        fixture.rejects(&token, RejectionKind::UnknownKey);

        let text = printed(Level::TRACE, async || {
            send(&fixture.auth(), get(&token)).await;
        });
        assert_eq!(text.lines().count(), 1, "{text:?}");
        let is_plain = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(text.chars().all(is_plain), "{text:?}");
        assert!(text.len() < 1_000, "an id is cut short");

        // The value itself is escaped, whatever the subscriber does.
        let events = events(async || {
            send(&fixture.auth(), get(&token)).await;
        });
        let fields = the_one(&events, "jwt_rejected", Level::INFO);
        assert!(field(&fields, "reason").contains(shown), "{fields:?}");
    }
}

struct Metric {
    name: String,
    kind: String,
    labels: BTreeMap<String, String>,
    value: u64,
}

/// The metrics while `run` runs. For a histogram, the number of samples.
fn metrics_of(run: impl AsyncFnOnce()) -> Vec<Metric> {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || block_on(run()));
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    metrics
        .map(|(key, _, _, value)| {
            let (kind, value) = match value {
                DebugValue::Counter(count) => ("counter", count),
                DebugValue::Gauge(_) => ("gauge", 0),
                DebugValue::Histogram(samples) => ("histogram", samples.len().try_into().unwrap()),
            };
            let labels = key.key().labels();
            Metric {
                name: key.key().name().to_owned(),
                kind: kind.to_owned(),
                labels: labels
                    .map(|label| (label.key().to_owned(), label.value().to_owned()))
                    .collect(),
                value,
            }
        })
        .collect()
}

/// The value of a counter, with this label or without one.
fn count(metrics: &[Metric], name: &str, label: Option<(&str, &str)>) -> u64 {
    let labels: BTreeMap<_, _> = label
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    metrics
        .iter()
        .filter(|metric| metric.name == name && metric.labels == labels)
        .map(|metric| metric.value)
        .sum()
}

#[test]
fn verdicts_are_counted_once_each() {
    let fixture = Fixture::new();
    let good = fixture.token().scope("write").mint();
    let metrics = metrics_of(async || {
        send(&fixture.auth(), get(&good)).await;
        send(&fixture.auth(), get(&good)).await;
        send_guarded(fixture.auth(), get(&good)).await;
        send(&fixture.auth(), get(&fixture.token().expired().mint())).await;
        send(&fixture.auth(), get_bare()).await;
        send_without_a_layer(get(&good)).await;
    });
    let rejected = |kind| count(&metrics, "jwt_auth_rejected_total", Some(("kind", kind)));
    assert_eq!(count(&metrics, "jwt_auth_accepted_total", None), 3);
    assert_eq!(rejected("expired"), 1);
    assert_eq!(rejected("insufficient_scope"), 1);
    assert_eq!(rejected("missing_credentials"), 1);
    assert_eq!(rejected("missing_layer"), 1);
    // Four tokens were verified.
    assert_eq!(count(&metrics, "jwt_auth_verification_seconds", None), 4);
}

#[test]
fn changes_of_keys_are_counted() {
    let fixture = Fixture::new();
    let keys = &fixture.keys;
    let metrics = metrics_of(async || {
        for id in ["a", "b"] {
            keys.rotate(fixture.signer("e1").key().with_key_id(id));
        }
        keys.retire("a", Duration::from_secs(1));
        keys.remove("b");
        keys.remove("b");
        keys.replace(keys.snapshot().unwrap());
        assert!(keys.replace_jwks(b"[]").is_err());
    });
    for (change, expected) in [("rotate", 2), ("retire", 1), ("remove", 1), ("replace", 1)] {
        let label = Some(("change", change));
        assert_eq!(
            count(&metrics, "jwt_auth_key_changes_total", label),
            expected,
            "{change}"
        );
    }
    assert_eq!(
        count(&metrics, "jwt_auth_key_updates_rejected_total", None),
        1
    );
}

/// Labels come from a fixed list, so a client cannot create new time series.
#[test]
fn no_label_has_anything_of_a_token() {
    let fixture = Fixture::new();
    let kinds: BTreeSet<_> = RejectionKind::ALL
        .iter()
        .map(|kind| kind.as_str())
        .collect();
    let metrics = metrics_of(async || {
        for token in marked(&fixture) {
            send_everywhere(&fixture, &token).await;
        }
    });
    let mut seen = 0;
    for metric in metrics.iter().filter(|metric| !metric.labels.is_empty()) {
        assert_eq!(metric.name, "jwt_auth_rejected_total");
        assert!(
            kinds.contains(&*metric.labels["kind"]),
            "{:?}",
            metric.labels
        );
        seen += 1;
    }
    assert!(seen > 10, "tokens were refused for many reasons: {seen}");
}

#[cfg(feature = "remote")]
mod remote {
    use super::*;

    use std::sync::atomic::AtomicUsize;

    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::keys::{KeySnapshotStore, RemoteKeys};
    use tower_jwt_auth::test::{FixedClock, TestIssuer};

    struct Broken;

    impl KeySnapshotStore for Broken {
        fn load(&self) -> io::Result<Option<Vec<u8>>> {
            Err(io::Error::other("no disk"))
        }

        fn save(&self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("no disk"))
        }
    }

    /// Successful loads with a failure in between, and more invented key ids than may be looked up.
    async fn everything() {
        let issuer = TestIssuer::new();
        let jwks = issuer.jwks();
        let loads = AtomicUsize::new(0);
        let fetch = move |_: Request<Vec<u8>>, _| {
            let is_good = matches!(loads.fetch_add(1, Ordering::Relaxed), 0 | 1 | 3);
            ready(if is_good {
                Ok(Response::new(jwks.clone().into_bytes()))
            } else {
                Err(FetchError::new("no connection"))
            })
        };
        let keys = RemoteKeys::jwks("https://as.example/jwks", fetch)
            .unwrap()
            .snapshot_store(Broken);
        let keys = keys.connect().await.unwrap();
        for _ in 0..4 {
            keys.reload().await;
        }
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys);
        for at in 0..8 {
            let token = issuer.token().header("kid", format!("invented-{at}"));
            send(&auth, get(&token.mint())).await;
        }
        let _status = of_an_ended_runtime().status();
    }

    /// A store whose task has ended with its runtime, on another thread.
    fn of_an_ended_runtime() -> KeyStore {
        let start = || {
            let jwks = TestIssuer::new().jwks().into_bytes();
            let fetch = move |_: Request<Vec<u8>>, _| ready(Ok(Response::new(jwks.clone())));
            let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
            block_on(keys.connect()).unwrap()
        };
        std::thread::spawn(start).join().unwrap()
    }

    /// A query may hold an API key, and so may the error of a client.
    #[test]
    fn no_event_error_or_status_has_the_query_of_a_url() {
        const SECRET: &str = "mark-of-a-secret";
        let url = |path: &str| format!("https://as.example/{path}?key={SECRET}");
        let issuer = TestIssuer::new();
        let (name, good) = (issuer.issuer(), issuer.jwks());
        let metadata = |uri: &str| {
            let text = serde_json::json!({"issuer": name.as_str(), "jwks_uri": uri}).to_string();
            Response::new(text.into_bytes())
        };
        let broken_types = Response::builder().header("content-type", "text/html");
        let answers = [
            ("good", Ok(Response::new(good.clone().into_bytes()))),
            ("empty", Ok(Response::new(b"{}".to_vec()))),
            ("large", Ok(Response::new(vec![b' '; 300 * 1024]))),
            ("html", Ok(broken_types.body(Vec::new()).unwrap())),
            ("metadata", Ok(metadata(&url("empty")))),
            (
                "plain",
                Ok(metadata(&url("empty").replace("https", "http"))),
            ),
            (
                "down",
                Err(FetchError::new(format!("no way to {}", url("down")))),
            ),
        ];
        let fetch = move |request: Request<Vec<u8>>, _: usize| {
            assert_eq!(request.uri().query(), Some(&*format!("key={SECRET}")));
            let path = request.uri().path().trim_start_matches('/');
            let found = answers.iter().find(|(at, _)| *at == path);
            let status = Response::builder().status(503).body(Vec::new());
            ready(found.map_or(Ok(status.unwrap()), |(_, answer)| answer.clone()))
        };
        let mut shown = Vec::new();
        let events = events(async || {
            let mut note = |failed: &dyn fmt::Display| shown.push(failed.to_string());
            for path in ["good", "empty", "large", "html", "metadata", "down", "gone"] {
                let keys = RemoteKeys::jwks(&url(path), fetch.clone()).unwrap();
                note(&format_args!("{keys:?}"));
                let keys = keys.snapshot_store(Broken);
                match keys.connect().await {
                    Ok(keys) => note(&format_args!("{keys:?} {}", keys.status())),
                    Err(error) => note(&format_args!("{error} {error:?}")),
                }
                let keys = RemoteKeys::jwks(&url(path), fetch.clone()).unwrap();
                let keys = keys.connect_lazy().unwrap();
                keys.reload().await;
                let status = keys.status();
                note(&serde_json::to_string(&status).unwrap());
                note(&format_args!("{status} {status:?}"));
                let auth = JwtAuth::new(name.clone(), issuer.audience(), &keys);
                note(&format_args!("{auth:?}"));
                for kid in ["key-1", "invented"] {
                    let token = issuer.token().header("kid", kid).mint();
                    let _ = auth
                        .verifier()
                        .verify(&token)
                        .await
                        .inspect_err(|it| note(it));
                }
            }
            for path in ["metadata", "plain", "empty", "down"] {
                let keys = RemoteKeys::metadata(&url(path), &name, fetch.clone());
                note(&keys.unwrap().connect().await.unwrap_err());
            }
            for bad in [
                url("jwks").replace("https", "ftp"),
                url("jwks").replace("as.example", &format!("user:{SECRET}@as.example")),
                url("jwks").replace("https://as.example/", "/"),
                url("jwks").replace("as.example", "as example"),
            ] {
                note(&RemoteKeys::jwks(&bad, fetch.clone()).err().unwrap());
            }
            let plain = RemoteKeys::jwks(&url("x").replace("https", "http"), fetch.clone());
            note(&plain.unwrap().connect_lazy().unwrap_err());
            let named = format!("https://as.example/?key={SECRET}").parse().unwrap();
            note(&RemoteKeys::discover(&named, fetch.clone()).err().unwrap());
            note(&KeyStore::from_jwks(&metadata(&url("jwks")).into_body()).unwrap_err());
        });
        for text in shown
            .iter()
            .chain(events.iter().flat_map(|event| event.fields.values()))
        {
            assert!(!text.contains(SECRET), "{text}");
        }
        // The text still shows which document it was.
        for (path, reason) in [
            ("gone", "status 503 Service Unavailable"),
            ("html", r#"content is "text/html", expected JSON"#),
            ("down", "no way to https://as.example/down"),
        ] {
            let expected = format!("https://as.example/{path}: {reason}");
            assert!(
                shown.iter().any(|text| text.contains(&expected)),
                "{expected}: {shown:#?}"
            );
        }
        assert!(!events.is_empty());
    }

    /// Any client can invent key ids, so they are not reported as an outage.
    #[test]
    fn a_flood_of_invented_key_ids_is_no_outage() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let good = issuer.token().mint();
        let events = events(async || {
            let jwks = issuer.jwks().into_bytes();
            let fetch = move |_: Request<Vec<u8>>, _| ready(Ok(Response::new(jwks.clone())));
            let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
            let keys = keys.connect().await.unwrap();
            let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys).clock(clock.clone());
            for round in 0..2 {
                for at in 0..100 {
                    let token = issuer
                        .token()
                        .header("kid", format!("invented-{round}-{at}"));
                    send(&auth, get(&token.mint())).await;
                }
                clock.advance(Duration::from_secs(61));
                assert_eq!(send(&auth, get(&good)).await.0.status(), 200);
            }
        });
        for name in ["jwt_unavailable", "jwt_available"] {
            assert!(events.iter().all(|event| event.name != name), "{events:#?}");
        }
        // They are reported like other rejections: a few lines, and the number of the others.
        let rejected = of_kind(&events, "key_source_unavailable");
        let told = rejected.iter().filter(|(is_told, _)| *is_told).count();
        assert_eq!(told, 20);
        assert!(rejected.len() > 150, "{}", rejected.len());
    }

    #[test]
    fn keys_that_nothing_loads_any_more_are_told_once_they_are_used() {
        let unused = events(async || drop(of_an_ended_runtime()));
        assert!(unused.is_empty(), "{unused:?}");
        let events = events(async || {
            let keys = of_an_ended_runtime();
            for _ in 0..3 {
                assert!(keys.status().failing.is_some());
                keys.reload().await;
                assert!(keys.is_ready());
            }
        });
        let fields = the_one(&events, "jwt_keys_abandoned", Level::ERROR);
        assert_eq!(field(&fields, "source"), "https://as.example/jwks");
        let reason = field(&fields, "reason");
        assert!(reason.contains("its tokio runtime has ended"), "{reason}");
    }

    #[test]
    fn what_happens_to_fetched_keys_is_documented_too() {
        let general = ["jwt_rejected", "jwt_unavailable"];
        let mut events = events(everything);
        events.retain(|event| !general.contains(&event.name));
        for event in &events {
            if let Some(source) = event.fields.get("source") {
                assert_eq!(source, "https://as.example/jwks", "{event:?}");
            }
        }
        check_events(&events, &documented(2));

        let general = ["jwt_auth_rejected_total", "jwt_auth_verification_seconds"];
        let mut metrics = metrics_of(everything);
        metrics.retain(|metric| !general.contains(&&*metric.name));
        check_metrics(metrics, documented(3));
    }

    /// An outage of an issuer is one event at its start and one at its end, however many loads
    /// fail.
    #[test]
    fn an_outage_of_an_issuer_has_a_begin_and_an_end() {
        let issuer = TestIssuer::new();
        let jwks = issuer.jwks();
        let loads = AtomicUsize::new(0);
        let fetch = move |_: Request<Vec<u8>>, _| {
            let load = loads.fetch_add(1, Ordering::Relaxed);
            ready(if matches!(load, 0 | 51 | 52) {
                Ok(Response::new(jwks.clone().into_bytes()))
            } else {
                Err(FetchError::new("no connection"))
            })
        };
        let events = events(async || {
            let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
            let keys = keys.connect().await.unwrap();
            for _ in 0..52 {
                keys.reload().await;
            }
        });
        let of = |name| events.iter().filter(move |event| event.name == name);
        let failed: Vec<_> = of("jwt_keys_failed").map(|event| event.level).collect();
        assert_eq!(failed.len(), 50);
        assert_eq!(failed[0], Level::WARN);
        assert!(failed[1..].iter().all(|level| *level == Level::DEBUG));
        let fields = the_one(&events, "jwt_keys_recovered", Level::INFO);
        assert_eq!(fields, [("source", "https://as.example/jwks")]);
        let loud = events.iter().filter(|event| event.level <= Level::INFO);
        let names: Vec<_> = loud.map(|event| event.name).collect();
        assert_eq!(names, ["jwt_keys_failed", "jwt_keys_recovered"]);
    }
}

#[cfg(feature = "introspection")]
mod introspection {
    use super::*;

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::time::Duration;

    use http::Response;
    use tower_jwt_auth::TrustedIssuer;
    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::introspection::{ClientAuth, Introspection};

    /// The endpoint, which answers with this status, or not at all for 0.
    fn endpoint(status: &Arc<AtomicU16>) -> Introspection {
        let status = Arc::clone(status);
        let answer = move |request: Request<Vec<u8>>, _: usize| {
            let status = status.load(Ordering::Relaxed);
            async move {
                if status == 0 {
                    return Err(FetchError::new("refused"));
                }
                let text = match request.body().starts_with(b"token=unknown") {
                    true => r#"{"active":false}"#,
                    false => r#"{"active":true,"aud":"https://api.example"}"#,
                };
                let response = Response::builder().status(status);
                let response = response.header("content-type", "application/json");
                Ok(response.body(text.as_bytes().to_vec()).unwrap())
            }
        };
        let client = ClientAuth::secret_basic("api", "secret").unwrap();
        Introspection::at_with("https://as.example/introspect", client, answer).unwrap()
    }

    /// Every kind of question.
    async fn story() {
        tokio::time::pause();
        let fixture = Fixture::new();
        let status = Arc::new(AtomicU16::new(200));
        let auth = fixture.auth().introspection(endpoint(&status));
        // A hit needs a cache, even if the default is none.
        let auth = auth.cache(tower_jwt_auth::cache::TokenCache::default().max_tokens(100));
        for (answer, tokens) in [
            (200, &["good", "good", "unknown"][..]),
            (401, &["denied"]),
            (401, &["denied"]),
            (200, &["fine"]),
            (0, &["down"; 5]),
            (200, &["better"]),
        ] {
            status.store(answer, Ordering::Relaxed);
            for token in tokens {
                send(&auth, get(token)).await;
            }
            // The time for a probe, and longer than the pause after it.
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_told_when_the_layer_is_created() {
        let created = async || {
            let fixture = Fixture::new();
            let status = Arc::new(AtomicU16::new(200));
            let auth = fixture.auth().introspection(endpoint(&status));
            let issuer = tower_jwt_auth::Issuer::new("https://other.example").unwrap();
            let audience = tower_jwt_auth::Audience::new("https://api.example").unwrap();
            let other = TrustedIssuer::introspected(issuer, audience, endpoint(&status));
            let _ = auth.trust(other).verifier();
        };
        let told = events(created);
        let fields = the_one(&told, "jwt_settings_rejected", Level::ERROR);
        assert!(field(&fields, "reason").contains("may claim the same opaque token"));
    }

    #[test]
    fn every_event_of_introspection_is_documented() {
        let mut events = events(async || story().await);
        events.retain(|event| event.name.starts_with("jwt_introspection"));
        check_events(&events, &documented_for("introspection", 0));
    }

    #[test]
    fn every_metric_of_introspection_is_documented() {
        let mut metrics = metrics_of(async || story().await);
        metrics.retain(|metric| metric.name.contains("introspection"));
        check_metrics(metrics, documented_for("introspection", 1));
    }
}

#[cfg(feature = "logout")]
mod notices {
    use super::*;

    use std::convert::Infallible;

    use http::header::CONTENT_TYPE;
    use http_body_util::Full;
    use hyper::body::Bytes;
    use serde_json::json;
    use tower_jwt_auth::response::FullBody;
    use tower_jwt_auth::revocation::{BackChannelLogout, Denylist, SecurityEvents};
    use tower_jwt_auth::test::{FixedClock, TestIssuer};

    const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
    const PURGED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";

    async fn send<S>(service: &S, content_type: &str, body: String)
    where
        S: Clone
            + tower::Service<Request<Full<Bytes>>, Response = Response<FullBody>, Error = Infallible>,
    {
        let request = Request::post("/")
            .header(CONTENT_TYPE, content_type)
            .body(Full::from(body))
            .unwrap();
        service.clone().oneshot(request).await.unwrap();
    }

    /// A good notice of each kind, and many that are answered with 400 and with 503.
    async fn everything() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let (list, full) = (Denylist::default(), Denylist::with_capacity(0));
        let logout = |list: &Denylist| {
            let service = BackChannelLogout::new(issuer.trusted(), list.clone());
            service.clock(clock.clone())
        };
        let form = "application/x-www-form-urlencoded";
        let token = || {
            let token = issuer.token().header("typ", "logout+jwt");
            let token = token.claim("events", json!({ EVENT: {} })).mint();
            format!("logout_token={token}")
        };
        send(&logout(&list), form, token()).await;
        let full = logout(&full);
        let good = logout(&list);
        for _ in 0..12 {
            send(&full, form, token()).await;
            send(&good, form, "logout_token=x".into()).await;
        }
        let events = SecurityEvents::new(issuer.trusted(), list).clock(clock);
        let subject = issuer.issuer();
        let subject = json!({ "format": "iss_sub", "iss": subject, "sub": "alice" });
        let token = issuer.token().header("typ", "secevent+jwt");
        let token = token.claim("events", json!({ PURGED: { "subject": subject } }));
        send(&events, "application/secevent+jwt", token.mint()).await;
        send(&events, "text/plain", token.mint()).await;
    }

    /// Without keys, no notice of this issuer is ever accepted.
    #[cfg(feature = "introspection")]
    #[test]
    fn an_issuer_without_keys_is_reported_when_the_service_is_made() {
        use tower_jwt_auth::introspection::{ClientAuth, Introspection};
        use tower_jwt_auth::{Audience, TrustedIssuer};

        let made = || async {
            let issuer = TestIssuer::new();
            let auth = ClientAuth::secret_basic("api", "a-secret-of-the-client").unwrap();
            let fetch = |_: Request<Vec<u8>>, _: usize| {
                ready(Err(tower_jwt_auth::fetch::FetchError::new("down")))
            };
            let endpoint = "https://as.example/introspect";
            let introspection = Introspection::at_with(endpoint, auth, fetch).unwrap();
            let audience = Audience::new("calendar-web").unwrap();
            let without = || {
                TrustedIssuer::introspected(
                    issuer.issuer(),
                    audience.clone(),
                    introspection.clone(),
                )
            };
            // The setters say nothing more.
            let service = BackChannelLogout::new(without(), Denylist::default());
            drop(service.max_body(1).mark_session_alone());
            let service = SecurityEvents::new(issuer.trusted(), Denylist::default());
            drop(service.trust(without()).max_body(1));
        };
        let told = events(made);
        let told: Vec<_> = told
            .iter()
            .filter(|event| event.name == "jwt_settings_rejected")
            .map(|event| event.fields["reason"].clone())
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("has no keys") && told[0].contains("logout+jwt"),
            "{told:?}"
        );
        assert!(told[1].contains("secevent+jwt"), "{told:?}");
    }

    #[test]
    fn what_issuers_report_is_documented_too() {
        let told = events(everything);
        check_events(&told, &documented_for("logout", 0));
        let of = |name: &str, level| {
            let found = told.iter().filter(|event| event.name == name);
            found.filter(|event| event.level == level).count()
        };
        assert_eq!(of("jwt_notice_accepted", Level::INFO), 2);
        assert_eq!(of("jwt_notice_rejected", Level::INFO), 10 + 1);
        assert_eq!(of("jwt_notice_rejected", Level::WARN), 10);
        assert_eq!(of("jwt_notice_rejected", Level::DEBUG), 2 + 2);

        let metrics = metrics_of(everything);
        let logout = Some(("notice", "logout"));
        assert_eq!(
            count(&metrics, "jwt_auth_notices_accepted_total", logout),
            1
        );
        assert_eq!(
            count(&metrics, "jwt_auth_notices_rejected_total", logout),
            24
        );
        let event = Some(("notice", "security_event"));
        assert_eq!(count(&metrics, "jwt_auth_notices_accepted_total", event), 1);
        assert_eq!(count(&metrics, "jwt_auth_notices_rejected_total", event), 1);
        check_metrics(metrics, documented_for("logout", 1));
    }
}

#[cfg(feature = "status-list")]
mod status_lists {
    use super::*;

    use http::header::CONTENT_TYPE;
    use serde_json::json;
    use tower_jwt_auth::fetch::FetchError;
    use tower_jwt_auth::revocation::StatusLists;
    use tower_jwt_auth::test::{FixedClock, TestIssuer};

    const LIST: &str = "https://as.example/lists/good";

    /// A list that is fetched, one that cannot be fetched, one from another place, an index that cannot be
    /// read, and one beyond the end of the list.
    async fn everything() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let list = issuer.token().header("typ", "statuslist+jwt").subject(LIST);
        let list = list.claim("status_list", json!({ "bits": 1, "lst": "eNrbuRgAAhcBXQ" }));
        let list = list.mint().into_bytes();
        let fetch = move |request: Request<Vec<u8>>, _: usize| {
            let response = Response::builder().header(CONTENT_TYPE, "application/statuslist+jwt");
            ready(match request.uri() == LIST {
                true => Ok(response.body(list.clone()).unwrap()),
                false => Err(FetchError::new("connection refused")),
            })
        };
        let lists = StatusLists::new(fetch).clock(clock);
        let prefix = "https://as.example/lists/";
        let lists = lists
            .issuer(issuer.issuer(), issuer.keys(), [prefix])
            .unwrap();
        let verifier = issuer.auth().revocation(lists).verifier();
        for (uri, index, is_good) in [
            (LIST, json!(1), true),
            ("https://as.example/lists/bad", json!(1), false),
            ("https://evil.example/lists/1", json!(1), false),
            (LIST, json!("1"), false),
            (LIST, json!(16), false),
        ] {
            let status = json!({ "status_list": { "idx": index, "uri": uri } });
            let token = issuer.token().claim("status", status).mint();
            assert_eq!(verifier.verify(&token).await.is_ok(), is_good);
        }
    }

    #[test]
    fn what_happens_to_status_lists_is_documented_too() {
        let general = ["jwt_accepted", "jwt_rejected", "jwt_unavailable"];
        let mut told = events(everything);
        told.retain(|event| !general.contains(&event.name));
        check_events(&told, &documented_for("status-list", 0));
        let fields = the_one(&told, "jwt_status_list_failed", Level::WARN);
        let reason = field(&fields, "reason");
        assert!(reason.contains("lists/bad") && reason.contains("connection refused"));
        let fields = the_one(&told, "jwt_status_list_loaded", Level::DEBUG);
        assert_eq!(
            (field(&fields, "list"), field(&fields, "bytes")),
            (LIST, "2")
        );
        let unusable = told.iter();
        let unusable = unusable.filter(|event| event.name == "jwt_status_list_reference_unusable");
        let reasons: Vec<_> = unusable
            .map(|event| {
                assert_eq!(event.level, Level::WARN);
                event.fields["reason"].clone()
            })
            .collect();
        assert_eq!(
            reasons,
            [
                "the list is behind no prefix of the issuer",
                "the reference is malformed",
                "the index is beyond the list"
            ]
        );

        let general = [
            "jwt_auth_accepted_total",
            "jwt_auth_rejected_total",
            "jwt_auth_verification_seconds",
        ];
        let mut metrics = metrics_of(everything);
        metrics.retain(|metric| !general.contains(&&*metric.name));
        check_metrics(metrics, documented_for("status-list", 1));
    }
}

#[cfg(feature = "redis")]
mod shared_denylist {
    use super::real::{Server, is_installed};
    use super::*;

    use tower_jwt_auth::revocation::RedisDenylist;

    /// A start, an outage with several attempts, a loss of marks, and a mark of a newer version.
    async fn everything(server: &mut Server) {
        let list = RedisDenylist::new(server.client(), "test").unwrap();
        let list = list.connect().await.unwrap();
        let end = std::time::SystemTime::now() + Duration::from_secs(3_600);
        list.revoke_id("https://as.example", "secret-id", end)
            .await
            .unwrap();
        server.kill();
        let until = async |is_so: &dyn Fn() -> bool| {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        until(&|| list.status().failing.is_some()).await;
        // Several attempts fit into this time, even on a slow machine.
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.restart();
        until(&|| list.is_ready() && server.ask::<i64>("HLEN", &["{test}:marks"]) == 5).await;
        server.ask::<()>("HSET", &["{test}:marks", "z1:ab", "r*,1"]);
        let other = RedisDenylist::new(server.client(), "test").unwrap();
        let other = other.connect().await.unwrap();
        assert_eq!(other.status().skipped, 1);
        until(&|| list.status().snapshots == 2).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    #[test]
    fn what_happens_to_a_shared_denylist_is_documented_too() {
        if !is_installed() {
            return;
        }
        let mut server = Server::start(&[]);
        let mut metrics = Vec::new();
        let events = events(async || everything(&mut server).await);
        for event in &events {
            for (field, value) in &event.fields {
                assert!(!value.contains("secret-id"), "{field} of {event:?}");
            }
            assert_eq!(
                event.fields["source"],
                format!("test at 127.0.0.1:{}", server.port)
            );
        }
        check_events(&events, &documented_for("redis", 0));
        server.ask::<()>("FLUSHALL", &[]);
        metrics.extend(metrics_of(async || everything(&mut server).await));
        check_metrics(metrics, documented_for("redis", 1));
    }
}

#[cfg(feature = "issue")]
mod signing_keys {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    use tower_jwt_auth::Algorithm;
    use tower_jwt_auth::issue::{
        SigningKeyFile, SigningKeyStore, SigningKeyStoreError, SigningKeyStoreFuture, SigningKeys,
        StoredKeys,
    };

    /// A file that may be away.
    struct Store(SigningKeyFile, Arc<AtomicBool>);

    impl SigningKeyStore for Store {
        fn load(&self) -> SigningKeyStoreFuture<'_, Option<StoredKeys>> {
            if self.1.load(Ordering::SeqCst) {
                return Box::pin(async { Err(SigningKeyStoreError::new("away")) });
            }
            self.0.load()
        }

        fn save(&self, keys: StoredKeys, expected: Option<u64>) -> SigningKeyStoreFuture<'_, bool> {
            self.0.save(keys, expected)
        }
    }

    /// A rotation by hand, an outage with two attempts, and a revocation.
    async fn everything(name: &str) {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let is_away = Arc::new(AtomicBool::new(false));
        let store = Store(SigningKeyFile::new(path.join("keys")), Arc::clone(&is_away));
        let keys = SigningKeys::shared(Algorithm::ES256, store).unwrap();
        let keys = keys.connect().await.unwrap();
        let next = SigningKeys::generate(Algorithm::ES256).unwrap();
        let id = keys.rotate(&next).await.unwrap();
        is_away.store(true, Ordering::SeqCst);
        keys.revoke_key(id.as_str()).await.unwrap_err();
        keys.revoke_key(id.as_str()).await.unwrap_err();
        is_away.store(false, Ordering::SeqCst);
        keys.revoke_key(id.as_str()).await.unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }

    fn documented(table: usize) -> Vec<Vec<String>> {
        let text = include_str!("../src/events.md").split_once("of signing keys, with the feature");
        rows(text.unwrap().1, table)
    }

    #[test]
    fn what_happens_to_signing_keys_is_documented_too() {
        let events = events(async || everything("signing-key-events").await);
        let of_keys = |event: &&Captured| event.name.starts_with("jwt_signing_key");
        let events: Vec<_> = events.iter().filter(of_keys).cloned().collect();
        check_events(&events, &documented(0));
        let metrics = metrics_of(async || everything("signing-key-metrics").await);
        let metrics = metrics
            .into_iter()
            .filter(|metric| metric.name.contains("signing_key"));
        check_metrics(metrics.collect(), documented(1));
    }
}
