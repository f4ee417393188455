//! Keys from an issuer on a real socket, with every kind of failure: the verdicts on good, unknown
//! and forged tokens before, during and after the failure, the number of requests to the issuer,
//! and what the operator reads.
//!
//! The schedule of the loads is tested in `tests/keys/remote.rs`, where tests set the clock.
#![cfg(all(feature = "reqwest", feature = "test-util"))]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

mod support {
    pub(crate) mod certificates;
    pub(crate) mod faults;
}

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use reqwest::Client;
use reqwest::redirect::Policy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tower_jwt_auth::RejectionKind::{self, BadSignature, KeySourceUnavailable, UnknownKey};
use tower_jwt_auth::fetch::Fetch;
use tower_jwt_auth::keys::Freshness;
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, JwtAuth, KeyStore, Verifier};

use support::certificates::Certificate;
use support::faults::{ENDLESS, Fault, FaultyIssuer, JWKS, METADATA, OPENID};

/// The timeout of a load in these tests. Only faults that hang use it up.
const PATIENCE: Duration = Duration::from_millis(300);

/// The documents that have the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The key set, at a URL that the configuration names.
    KeySet,
    /// The metadata, at both URLs.
    Metadata,
}

impl Place {
    fn paths(self) -> &'static [&'static str] {
        match self {
            Self::KeySet => &[JWKS],
            Self::Metadata => &[METADATA, OPENID],
        }
    }

    fn keys(self, issuer: &FaultyIssuer) -> RemoteKeys {
        let keys = match self {
            Self::KeySet => KeyStore::remote(&issuer.url(JWKS)),
            Self::Metadata => KeyStore::discover(&issuer.signer.issuer()),
        };
        keys.unwrap()
    }

    /// The number of requests of a load that fails.
    fn failing_requests(self, fault: Fault) -> usize {
        // Either both URLs of the metadata, or the key set.
        let places = self.paths().len();
        match fault {
            Fault::Refused => 0,
            // A request on a connection that closes without a response is sent once more.
            Fault::Closed | Fault::Reset => 2 * places,
            _ => places,
        }
    }

    /// The URL of the fault, as the operator reads it.
    fn names(self, issuer: &FaultyIssuer) -> String {
        issuer.url(self.paths().first().unwrap())
    }
}

/// Sets a short timeout for faults that hang.
fn patient(keys: RemoteKeys, fault: Fault) -> RemoteKeys {
    if hangs(fault) {
        keys.timeout(PATIENCE)
    } else {
        keys
    }
}

fn hangs(fault: Fault) -> bool {
    matches!(fault, Fault::Drip | Fault::HalfSilent | Fault::Silent)
}

/// Whether the response has `Retry-After`.
fn asks_for_a_pause(fault: Fault) -> bool {
    matches!(fault, Fault::Answer { headers, .. } if headers.contains("Retry-After"))
}

/// The verifier of an API, and tokens for it.
struct Api {
    verifier: Verifier,
    good: String,
    forged: String,
}

impl Api {
    fn new(issuer: &FaultyIssuer, keys: &KeyStore) -> Self {
        let signer = &issuer.signer;
        Self {
            verifier: JwtAuth::new(signer.issuer(), signer.audience(), keys).verifier(),
            good: signer.token().mint(),
            forged: signer.token().tampered().mint(),
        }
    }

    /// The kind of the rejection, or `None` for an accepted token. Asserts 503 if keys are missing,
    /// and 401 otherwise.
    async fn rejection(&self, token: &str) -> Option<RejectionKind> {
        let rejection = self.verifier.verify(token).await.err()?;
        let expected = match rejection.kind() {
            KeySourceUnavailable => 503,
            _ => 401,
        };
        assert_eq!(rejection.status(), expected, "{rejection}");
        Some(rejection.kind())
    }

    /// Same as [`rejection`](Self::rejection), without waiting.
    fn rejection_now(&self, token: &str) -> Option<RejectionKind> {
        Some(self.verifier.verify_now(token).err()?.kind())
    }

    /// The verdicts on a good token, a forged one, and one whose key id is invented.
    async fn rejections(
        &self,
        issuer: &FaultyIssuer,
        invented: &str,
    ) -> [Option<RejectionKind>; 3] {
        let unknown = issuer.signer.token().header("kid", invented).mint();
        [
            self.rejection(&self.good).await,
            self.rejection(&self.forged).await,
            self.rejection(&unknown).await,
        ]
    }
}

/// A store keeps its verdicts during a fault, and recovers after it.
async fn is_outlived(fault: Fault, reason: &str) {
    let place = Place::KeySet;
    let mut issuer = FaultyIssuer::start().await;
    let keys = patient(place.keys(&issuer), fault).connect().await.unwrap();
    let api = Api::new(&issuer, &keys);
    assert_eq!(issuer.requests(), 1, "one fetch at the start");
    assert_eq!(
        api.rejections(&issuer, "invented-1").await,
        [None, Some(BadSignature), Some(UnknownKey)],
        "before"
    );
    let before = issuer.requests();
    assert_eq!(before, 3, "one for the signature, and one for the key id");

    issuer.fails(place.paths(), fault).await;
    let since = Instant::now();
    tokio::join!(keys.reload(), async {
        if place.failing_requests(fault) > 0 {
            issuer.has_been_asked(before + 1).await;
        }
        assert_eq!(api.rejection_now(&api.good), None, "while it loads");
        // Once the load is known to run, it may bring the key of the forged token.
        let expected = match place.failing_requests(fault) {
            0 => BadSignature,
            _ => KeySourceUnavailable,
        };
        assert_eq!(api.rejection_now(&api.forged), Some(expected));
        // `verify_now` does not wait for the load, which is still running.
        assert!(!hangs(fault) || keys.status().failing.is_none());
    });
    let status = keys.status();
    let failing = status.failing.expect("the load has failed").reason;
    assert!(
        failing.starts_with(&place.names(&issuer)) && failing.contains(reason),
        "{failing}"
    );
    assert_eq!((status.loads, status.generation), (3, 0), "nothing changed");

    assert_eq!(
        api.rejections(&issuer, "invented-2").await,
        [None, Some(KeySourceUnavailable), Some(KeySourceUnavailable)],
        "during: that the issuer cannot be asked is not the token's fault"
    );
    issuer.signer.rotate();
    let rotated = issuer.signer.token().mint();
    assert_eq!(api.rejection(&rotated).await, Some(KeySourceUnavailable));

    // One load for the reload, and one for each of the two key ids. On a slow machine the scheduled
    // retries also count. They are at least a second apart.
    let loads = if asks_for_a_pause(fault) { 1 } else { 3 };
    let retries = usize::try_from(since.elapsed().as_millis() / 900).unwrap();
    let each = place.failing_requests(fault);
    let during = issuer.requests() - before;
    assert!(
        (loads * each..=(loads + retries) * each).contains(&during),
        "{during} requests in {:?}",
        since.elapsed()
    );

    issuer.recovers();
    let before = issuer.requests();
    keys.reload().await;
    let status = keys.status();
    assert!(status.failing.is_none(), "{status}");
    assert_eq!(status.freshness, Freshness::Fresh);
    assert_eq!(issuer.requests() - before, 1, "one fetch");
    assert_eq!(
        api.rejection(&rotated).await,
        None,
        "the key that came meanwhile"
    );
    // The allowance for loads that tokens cause is used up, unless the issuer has sent
    // `Retry-After`.
    let (loads, unknown) = if asks_for_a_pause(fault) {
        (2, UnknownKey)
    } else {
        (1, KeySourceUnavailable)
    };
    assert_eq!(
        api.rejections(&issuer, "invented-3").await,
        [None, Some(BadSignature), Some(unknown)],
        "after"
    );
    assert_eq!(issuer.requests() - before, loads);
    assert_eq!(issuer.strayed(), 0, "nobody else was asked");
}

/// At the start, `connect` returns the fault as an error, and `connect_lazy` recovers when the
/// fault is over.
async fn is_told_at_the_start(place: Place, fault: Fault, reason: &str) {
    let mut issuer = FaultyIssuer::start().await;
    issuer.fails(place.paths(), fault).await;
    let keys = || patient(place.keys(&issuer), fault);
    let error = keys().connect().await.unwrap_err().to_string();
    let names = place.names(&issuer);
    assert!(error.contains(&names) && error.contains(reason), "{error}");
    assert_eq!(issuer.requests(), place.failing_requests(fault));

    let keys = keys().connect_lazy().unwrap();
    let api = Api::new(&issuer, &keys);
    keys.reload().await;
    assert!(!keys.is_ready());
    let status = keys.status();
    assert_eq!(status.freshness, Freshness::Missing);
    let failing = status.failing.expect("the load has failed").reason;
    assert!(
        failing.starts_with(&names) && failing.contains(reason),
        "{failing}"
    );
    assert_eq!(
        api.rejections(&issuer, "invented-1").await,
        [Some(KeySourceUnavailable); 3],
        "nothing can be said about any token"
    );

    issuer.recovers();
    keys.reload().await;
    assert!(keys.is_ready());
    assert!(keys.status().failing.is_none());
    assert_eq!(
        api.rejections(&issuer, "invented-2").await,
        [None, Some(BadSignature), Some(UnknownKey)],
        "after"
    );
    assert_eq!(issuer.strayed(), 0, "nobody else was asked");
}

/// Makes a module with tests for each fault. Faults of the metadata are tested at the start only,
/// because the URL of the key set is remembered.
macro_rules! faults {
    (Place::KeySet; $($name:ident: $fault:expr => $reason:expr;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn is_outlived() {
                super::super::is_outlived($fault, $reason).await;
            }

            #[tokio::test]
            async fn is_told_at_the_start() {
                super::super::is_told_at_the_start(Place::KeySet, $fault, $reason).await;
            }
        })*
    };
    (Place::Metadata; $($name:ident: $fault:expr => $reason:expr;)*) => {
        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn is_told_at_the_start() {
                super::super::is_told_at_the_start(Place::Metadata, $fault, $reason).await;
            }
        })*
    };
}

/// JWKS-D2, JWKS-D3, JWKS-D5, JWKS-D6, DISC-D2
mod key_set {
    use super::*;

    faults! { Place::KeySet;
        array: Fault::body(|_| b"[]".into()) => "expected a JSON object";
        body_of_100_mb: Fault::Endless => "longer than 262144 bytes";
        body_that_hangs: Fault::HalfSilent => "no answer within 300ms";
        body_that_is_half_there: Fault::HalfThere => "end of file";
        closed_connection: Fault::Closed => "connection closed before message completed";
        duplicate_member: Fault::body(|good| good.replacen('{', r#"{"keys":[],"#, 1).into())
            => "twice";
        duplicate_member_in_a_key: Fault::body(|good| good.replace(r#""kid""#, r#""kty":"EC","kid""#).into())
            => "twice";
        empty_set: Fault::body(|_| br#"{"keys":[]}"#.into()) => "no keys";
        coded: Fault::headers("Content-Type: application/json\r\nContent-Encoding: gzip\r\n")
            => r#"coding "gzip""#;
        head_without_end: Fault::EndlessHead => "head";
        html: Fault::Answer {
            status: "200 OK",
            headers: "Content-Type: text/html; charset=utf-8\r\n",
            body: |_| b"<html>down for maintenance</html>".into(),
        } => r#"content is "text/html; charset=utf-8", expected JSON"#;
        invalid_utf_8: Fault::body(|good| [good.as_bytes(), &[0xff]].concat()) => "UTF-8";
        no_answer: Fault::Silent => "no answer within 300ms";
        no_http: Fault::Answer {
            status: "\0",
            headers: "",
            body: |_| Vec::new(),
        } => "invalid HTTP";
        metadata_instead: Fault::body(|_| br#"{"issuer":"https://as.example","jwks_uri":"https://as.example/keys"}"#.into())
            => r#"found the metadata of an issuer, whose key set is at "https://as.example/keys""#;
        not_found: Fault::status("404 Not Found") => "status 404";
        not_modified_though_nobody_asked: Fault::status("304 Not Modified") => "status 304";
        redirect: Fault::Redirect => "status 302";
        refused_connection: Fault::Refused => "onnection refused";
        reset_connection: Fault::Reset => "reset";
        reset_in_the_body: Fault::ResetHalfway => "reset";
        server_error: Fault::status("500 Internal Server Error") => "status 500";
        slow_drip: Fault::Drip => "no answer within 300ms";
        ten_thousand_broken_keys: Fault::body(ten_thousand_broken_keys)
            => "and 9992 more";
        ten_thousand_whole_keys: Fault::body(ten_thousand_whole_keys) => "longer than 262144 bytes";
        too_many_requests: Fault::Answer {
            status: "429 Too Many Requests",
            headers: "Retry-After: 300\r\n",
            body: |_| Vec::new(),
        } => "status 429";
        unusable_keys: Fault::body(|good| good.replace("P-256", "P-257").into())
            => "none of its keys is usable";
        wrong_content_type: Fault::headers("Content-Type: image/png\r\n")
            => r#"content is "image/png", expected JSON"#;
    }

    fn ten_thousand_broken_keys(_: &str) -> Vec<u8> {
        let keys = vec![r#"{"kty":"?"}"#; 10_000].join(",");
        format!(r#"{{"keys":[{keys}]}}"#).into()
    }

    fn ten_thousand_whole_keys(good: &str) -> Vec<u8> {
        let key = good
            .trim_start_matches(r#"{"keys":["#)
            .trim_end_matches("]}");
        format!(r#"{{"keys":[{}]}}"#, vec![key; 10_000].join(",")).into()
    }
}

/// JWKS-D6, DISC-D2, RFC8414-2-1, RFC8414-3.2-1, RFC8414-3.3-1, OIDC-DISC-4.3-1
mod metadata {
    use super::*;

    faults! { Place::Metadata;
        array: Fault::body(|_| b"[]".into()) => "not one JSON object";
        body_of_100_mb: Fault::Endless => "longer than 262144 bytes";
        body_that_hangs: Fault::HalfSilent => "no answer within 300ms";
        body_that_is_half_there: Fault::HalfThere => "end of file";
        closed_connection: Fault::Closed => "connection closed before message completed";
        duplicate_member: Fault::body(|good| good.replacen('{', r#"{"jwks_uri":"x","#, 1).into())
            => "not one JSON object";
        html: Fault::Answer {
            status: "200 OK",
            headers: "Content-Type: text/html\r\n",
            body: |_| b"<html>please log in</html>".into(),
        } => r#"content is "text/html", expected JSON"#;
        invalid_utf_8: Fault::body(|good| [good.as_bytes(), &[0xff]].concat()) => "UTF-8";
        issuer_of_another_case: Fault::body(|good| good.replace(r#""issuer":"http"#, r#""issuer":"HTTP"#).into())
            => "metadata is of issuer";
        issuer_that_is_another: Fault::body(|good| good.replace(r#"","jwks_uri"#, r#"/","jwks_uri"#).into())
            => "metadata is of issuer";
        jwks_uri_of_another_scheme: Fault::body(|good| good.replace(r#""jwks_uri":"http:"#, r#""jwks_uri":"ftp:"#).into())
            => "expected https";
        jwks_uri_of_plain_http: Fault::body(|good| good.replace(r#""jwks_uri":"http://127.0.0.1"#, r#""jwks_uri":"http://192.0.2.1"#).into())
            => "expected https";
        jwks_uri_that_is_absent: Fault::body(|good| good.replace("jwks_uri", "keys_uri").into())
            => "no `jwks_uri`";
        no_answer: Fault::Silent => "no answer within 300ms";
        no_content: Fault::status("204 No Content") => "status 204";
        not_found: Fault::status("404 Not Found") => "status 404";
        redirect: Fault::Redirect => "status 302";
        refused_connection: Fault::Refused => "onnection refused";
        reset_connection: Fault::Reset => "reset";
        server_error: Fault::status("500 Internal Server Error") => "status 500";
        slow_drip: Fault::Drip => "no answer within 300ms";
        too_many_requests: Fault::Answer {
            status: "429 Too Many Requests",
            headers: "Retry-After: 300\r\n",
            body: |_| Vec::new(),
        } => "status 429";
    }
}

/// The store of an issuer without a fault.
async fn connect(issuer: &FaultyIssuer) -> KeyStore {
    Place::KeySet.keys(issuer).connect().await.unwrap()
}

/// DISC-D2
#[tokio::test]
async fn reads_a_bounded_part_of_an_endless_response() {
    for fault in [Fault::Endless, Fault::EndlessHead] {
        let mut issuer = FaultyIssuer::start().await;
        issuer.fails(&[JWKS], fault).await;
        Place::KeySet.keys(&issuer).connect().await.unwrap_err();
        issuer.all_closed().await;
        // The limit of the body, and what both ends of the connection buffer.
        let taken = issuer.bytes_taken();
        assert!(taken < ENDLESS / 5, "{fault:?}: {taken} bytes");
    }
}

/// The twins of the faults: unusual responses that are valid HTTP with good keys.
#[tokio::test]
async fn accepts_unusual_responses_that_are_valid() {
    for fault in [
        Fault::Chunked,
        Fault::headers(""),
        Fault::headers("Connection: close\r\n"),
        Fault::headers("content-type:APPLICATION/JWK-SET+JSON;charset=utf-8\r\n"),
        Fault::body(|good| good.replacen('[', r#"[{"kty":"new"},"#, 1).into()),
        Fault::body(|good| good.replacen('{', r#"{"more":{"keys":[]},"#, 1).into()),
        Fault::body(|good| {
            let broken = r#"{"kty":"?"},"#.repeat(9_999);
            good.replacen('[', &format!("[{broken}"), 1).into()
        }),
        Fault::headers("Content-Type: text/plain; charset=utf-8\r\n"),
        Fault::headers("Content-Type: application/octet-stream\r\n"),
        Fault::headers("Content-Type: application/json\r\nContent-Encoding: identity\r\n"),
    ] {
        let mut issuer = FaultyIssuer::start().await;
        issuer.fails(&[JWKS], fault).await;
        let keys = connect(&issuer).await;
        let api = Api::new(&issuer, &keys);
        assert_eq!(
            api.rejections(&issuer, "invented").await,
            [None, Some(BadSignature), Some(UnknownKey)],
            "{fault:?}"
        );
    }
}

/// It is not an outage if the issuer has closed an idle connection, or closes it at the next
/// request.
#[tokio::test]
async fn a_connection_that_is_closed_without_an_answer_is_tried_again_once() {
    for fault in [Fault::ClosedIfUsed, Fault::Closed] {
        let mut issuer = FaultyIssuer::start().await;
        let keys = connect(&issuer).await;
        issuer.fails(&[JWKS], fault).await;
        keys.reload().await;
        let failing = keys.status().failing.map(|failing| failing.reason);
        let is_tried_in_vain = matches!(fault, Fault::Closed);
        assert_eq!(failing.is_some(), is_tried_in_vain, "{failing:?}");
        // The first load, the request on the old connection, and the one on a new connection.
        assert_eq!(issuer.requests(), 3, "{fault:?}");
        assert_eq!(issuer.connections(), 2, "{fault:?}");
    }
}

/// RFC8414-5-1
#[tokio::test]
async fn remembers_which_place_has_the_metadata() {
    let mut issuer = FaultyIssuer::start().await;
    issuer
        .fails(&[METADATA], Fault::status("404 Not Found"))
        .await;
    let keys = Place::Metadata.keys(&issuer).connect().await.unwrap();
    keys.reload().await;
    assert_eq!(issuer.paths(), [METADATA, OPENID, JWKS, JWKS]);

    // After a failure the metadata are fetched again, first from the URL that had them.
    issuer.fails(&[JWKS], Fault::status("410 Gone")).await;
    keys.reload().await;
    keys.reload().await;
    assert_eq!(issuer.paths()[4..], [JWKS, OPENID, JWKS]);
    issuer.recovers();
    keys.reload().await;
    assert_eq!(issuer.paths()[7..], [OPENID, JWKS]);
    assert!(keys.status().failing.is_none());
}

/// RFC8414-5-1: if one URL hangs, the other one is still asked.
#[tokio::test]
async fn a_place_that_hangs_does_not_hide_the_other() {
    let mut issuer = FaultyIssuer::start().await;
    issuer.fails(&[METADATA], Fault::Silent).await;
    let keys = Place::Metadata.keys(&issuer).timeout(4 * PATIENCE);
    assert!(keys.connect().await.unwrap().is_ready());
    assert_eq!(issuer.paths(), [METADATA, OPENID, JWKS]);
}

/// Requests accept no content coding.
#[tokio::test]
async fn asks_for_a_plain_body() {
    let issuer = FaultyIssuer::start().await;
    Place::Metadata.keys(&issuer).connect().await.unwrap();
    for asked in issuer.asked() {
        assert_eq!(asked.header("accept-encoding"), Some("identity"));
    }
}

/// Every load returns another key set. A token is accepted while its key is published, and at no
/// other time.
#[tokio::test]
async fn follows_keys_that_flap() {
    let issuer = FaultyIssuer::start().await;
    let other = TestIssuer::new().named(&issuer.url(""));
    let sets = [issuer.signer.jwks(), other.jwks().replace("key-1", "key-9")];
    issuer.publishes_in_turn(sets);
    let keys = connect(&issuer).await;
    let api = Api::new(&issuer, &keys);
    let of_other = other.token().header("kid", "key-9").mint();
    for round in 0..10 {
        // First the set of the one key, then that of the other.
        assert_eq!(api.rejection_now(&api.good), None, "round {round}");
        keys.reload().await;
        assert_eq!(keys.generation(), 2 * round + 1);
        assert_eq!(api.rejection_now(&of_other), None, "round {round}");
        keys.reload().await;
    }
    assert_eq!(issuer.requests(), 21);

    // The same when tokens cause the loads.
    assert_eq!(api.rejection(&of_other).await, None);
    assert_eq!(api.rejection(&api.good).await, None);
    assert_eq!(issuer.requests(), 23);
    assert!(api.rejection(&api.forged).await.is_some());
    assert_eq!(issuer.requests(), 24);
}

#[tokio::test]
async fn a_clock_that_jumps_changes_the_verdicts_on_tokens_and_nothing_about_keys() {
    let issuer = FaultyIssuer::start().await;
    let clock = FixedClock::at(START);
    let keys = connect(&issuer).await.with_clock(clock.clone());
    let signer = issuer.signer.clone().with_clock(clock.clone());
    let verifier = JwtAuth::new(signer.issuer(), signer.audience(), &keys)
        .clock(clock.clone())
        .verifier();
    let rejection = |token: &str| Some(verifier.verify_now(token).err()?.kind());
    let first = signer.token().mint();
    assert_eq!(rejection(&first), None);

    for jump in [START + 3_600, START + 100 * YEAR] {
        clock.set(jump);
        assert_eq!(rejection(&first), Some(RejectionKind::Expired), "at {jump}");
        let later = signer.token().mint();
        assert_eq!(rejection(&later), None, "at {jump}");
        let status = keys.status();
        assert_eq!(status.freshness, Freshness::Fresh, "at {jump}");
        // 80 % of ten minutes, give or take a few percent.
        let pause = seconds_to(status.next_refresh, jump);
        assert!((400..=510).contains(&pause), "at {jump}: {pause} s");
        assert_eq!(issuer.requests(), 1, "keys age by the time that passes");

        clock.set(START);
        assert_eq!(rejection(&later), Some(RejectionKind::NotYetValid));
        assert_eq!(rejection(&first), None, "back again from {jump}");
    }

    // A load works at any time of the clock.
    clock.set(0);
    issuer.signer.rotate();
    keys.reload().await;
    assert_eq!(rejection(&signer.token().mint()), None, "in 1970");
    assert_eq!(issuer.requests(), 2);
}

/// The number of seconds from `now` to another time.
fn seconds_to(then: Option<SystemTime>, now: u64) -> u64 {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now);
    then.expect("a time").duration_since(now).unwrap().as_secs()
}

const START: u64 = 1_700_000_000;
const YEAR: u64 = 365 * 24 * 3_600;

/// DISC-D2
#[tokio::test]
async fn a_client_of_ones_own_must_not_follow_redirects() {
    for place in [Place::KeySet, Place::Metadata] {
        for (policy, reason, strayed) in [
            (Policy::none(), "status 302", false),
            (
                Policy::default(),
                "the client followed a redirect, expected a client that does not",
                true,
            ),
        ] {
            let mut issuer = FaultyIssuer::start().await;
            issuer.fails(place.paths(), Fault::Redirect).await;
            let client = Client::builder()
                .redirect(policy)
                .no_proxy()
                .build()
                .unwrap();
            let keys = match place {
                Place::KeySet => RemoteKeys::jwks(&issuer.url(JWKS), client),
                Place::Metadata => RemoteKeys::discover(&issuer.signer.issuer(), client),
            };
            let keys = keys.unwrap().connect_lazy().unwrap();
            keys.reload().await;
            let failing = keys.status().failing.expect("the load has failed").reason;
            assert!(failing.contains(reason), "{failing}");
            assert_eq!(issuer.strayed() > 0, strayed, "{place:?}: {reason}");
            // The other server has keys, and they are not trusted.
            let api = Api::new(&issuer, &keys);
            let token = issuer.stranger.token().mint();
            assert_eq!(api.rejection(&token).await, Some(KeySourceUnavailable));

            issuer.recovers();
            keys.reload().await;
            assert_eq!(api.rejection(&api.good).await, None, "{place:?}: {reason}");
            assert_eq!(api.rejection(&token).await, Some(BadSignature));
        }
    }
}

/// RFC9111-4.3-1
#[tokio::test]
async fn asks_over_the_wire_whether_there_is_something_new() {
    let issuer = FaultyIssuer::start().await;
    let last_modified = "Wed, 15 Nov 2023 00:00:00 GMT";
    issuer.also_sends(&format!(
        "ETag: \"1\"\r\nLast-Modified: {last_modified}\r\n"
    ));
    let keys = connect(&issuer).await;
    keys.reload().await;
    keys.reload().await;
    let asked = issuer.asked();
    let tags: Vec<_> = asked
        .iter()
        .map(|asked| asked.header("if-none-match"))
        .collect();
    assert_eq!(tags, [None, Some("\"1\""), Some("\"1\"")]);
    let dates = asked.iter().map(|asked| asked.header("if-modified-since"));
    assert_eq!(dates.flatten().collect::<Vec<_>>(), [last_modified; 2]);
    let status = keys.status();
    assert_eq!((status.loads, status.generation), (3, 0), "{status}");
    let api = Api::new(&issuer, &keys);
    assert_eq!(api.rejection_now(&api.good), None);

    // The twin: another `ETag` comes with another set.
    issuer.signer.rotate();
    issuer.also_sends("ETag: \"2\"\r\n");
    keys.reload().await;
    assert_eq!(keys.generation(), 1);
    let rotated = issuer.signer.token().mint();
    assert_eq!(api.rejection_now(&rotated), None);

    // Without an `ETag` the next request is not conditional.
    issuer.also_sends("");
    keys.reload().await;
    keys.reload().await;
    let asked = issuer.asked();
    let tags: Vec<_> = asked
        .iter()
        .skip(3)
        .map(|asked| asked.header("if-none-match"))
        .collect();
    assert_eq!(tags, [Some("\"1\""), Some("\"2\""), None]);
}

#[tokio::test]
async fn keeps_to_the_pause_that_the_issuer_asks_for() {
    for (fault, shortest, longest) in [
        (retry_after("Retry-After: 300\r\n"), 290, 300),
        (retry_after("Retry-After: 99999999999\r\n"), 590, 600),
        // The twins: an absent header, and values that are not valid.
        (retry_after(""), 0, 2),
        (retry_after("Retry-After: soon\r\n"), 0, 2),
        (retry_after("Retry-After: -300\r\n"), 0, 2),
    ] {
        for place in [Place::KeySet, Place::Metadata] {
            let mut issuer = FaultyIssuer::start().await;
            issuer.fails(place.paths(), fault).await;
            let keys = place.keys(&issuer).connect_lazy().unwrap();
            keys.reload().await;
            let next = keys.status().next_refresh.expect("a next time");
            let pause = next.duration_since(SystemTime::now()).unwrap_or_default();
            assert!(
                (shortest..=longest).contains(&pause.as_secs()),
                "{place:?}, {fault:?}: {pause:?}"
            );
        }
    }
}

const fn retry_after(headers: &'static str) -> Fault {
    Fault::Answer {
        status: "503 Service Unavailable",
        headers,
        body: |_| Vec::new(),
    }
}

/// RFC8414-5-1, RFC8414-3.2-1
#[tokio::test]
async fn finds_the_second_form_of_metadata_when_the_first_fails() {
    let issuer = FaultyIssuer::start().await;
    Place::Metadata.keys(&issuer).connect().await.unwrap();
    assert_eq!(issuer.paths(), [METADATA, JWKS], "the first form is enough");

    for fault in [
        Fault::status("404 Not Found"),
        Fault::status("204 No Content"),
        Fault::headers("Content-Type: text/html\r\n"),
        Fault::body(|_| b"[]".into()),
        Fault::body(|good| good.replace("jwks_uri", "keys_uri").into()),
        Fault::Closed,
        Fault::Redirect,
    ] {
        let mut issuer = FaultyIssuer::start().await;
        issuer.fails(&[METADATA], fault).await;
        let keys = Place::Metadata.keys(&issuer).connect().await.unwrap();
        let mut paths = issuer.paths();
        // A request on a connection that closes without a response is sent once more.
        paths.dedup();
        assert_eq!(paths, [METADATA, OPENID, JWKS], "{fault:?}");
        assert_eq!(issuer.strayed(), 0, "{fault:?}");
        let api = Api::new(&issuer, &keys);
        assert_eq!(
            api.rejections(&issuer, "invented").await,
            [None, Some(BadSignature), Some(UnknownKey)],
            "{fault:?}"
        );
    }

    // If both URLs fail, the error names both, each with its reason.
    let mut issuer = FaultyIssuer::start().await;
    issuer
        .fails(&[METADATA], Fault::status("404 Not Found"))
        .await;
    issuer
        .fails(&[OPENID], Fault::status("403 Forbidden"))
        .await;
    let error = Place::Metadata
        .keys(&issuer)
        .connect()
        .await
        .unwrap_err()
        .to_string();
    for part in [
        format!("{}: status 404", issuer.url(METADATA)),
        format!("{}: status 403", issuer.url(OPENID)),
    ] {
        assert!(error.contains(&part), "{error}");
    }
}

/// DISC-D1: if the metadata of an issuer list HS256, its public key is not used as a secret, and no
/// other algorithm is allowed.
#[tokio::test]
async fn algorithms_that_metadata_list_allow_nothing() {
    let issuer = FaultyIssuer::start().await;
    issuer.also_says(
        r#","id_token_signing_alg_values_supported":["HS256","none","RS256"],"token_endpoint_auth_signing_alg_values_supported":["HS256"]"#,
    );
    let rsa = TestIssuer::with_algorithm(Algorithm::RS256).named(&issuer.url(""));
    let both = [issuer.signer.jwks(), rsa.jwks().replace("key-1", "key-9")];
    let both = both.map(|set| {
        set.trim_start_matches(r#"{"keys":["#)
            .trim_end_matches("]}")
            .to_owned()
    });
    issuer.publishes_in_turn([format!(r#"{{"keys":[{}]}}"#, both.join(","))]);
    let keys = Place::Metadata.keys(&issuer).connect().await.unwrap();
    let api = Api::new(&issuer, &keys);
    assert_eq!(api.rejection(&api.good).await, None);

    let jwk = issuer.signer.jwk();
    let x = jwk.get("x").and_then(|x| x.as_str()).unwrap();
    for secret in [jwk.to_string().as_str(), &issuer.signer.jwks(), x] {
        for id in ["key-1", "key-9"] {
            let forger = TestIssuer::with_secret(Algorithm::HS256, secret.as_bytes());
            let token = forger.named(&issuer.url("")).token().header("kid", id);
            let rejection = api.rejection(&token.mint()).await;
            assert_eq!(rejection, Some(RejectionKind::AlgorithmNotAllowed));
        }
    }
    let unsigned = issuer.signer.token().unsigned().mint();
    let rejection = api.rejection(&unsigned).await;
    assert_eq!(rejection, Some(RejectionKind::AlgorithmNotAllowed));

    // A token with RS256 is accepted if all algorithms of the keys are allowed, and rejected if
    // only ES256 is.
    let other = rsa.token().header("kid", "key-9").mint();
    assert_eq!(api.rejection(&other).await, None);
    let narrow = JwtAuth::new(rsa.issuer(), rsa.audience(), &keys)
        .algorithms([Algorithm::ES256])
        .verifier();
    assert!(narrow.verify(&api.good).await.is_ok());
    let rejection = narrow.verify(&other).await.unwrap_err().kind();
    assert_eq!(rejection, RejectionKind::AlgorithmNotAllowed);
}

/// DISC-D2
#[tokio::test]
async fn sends_neither_cookies_nor_credentials() {
    let issuer = FaultyIssuer::start().await;
    issuer.also_sends("Set-Cookie: session=1; Path=/\r\n");
    let keys = Place::Metadata.keys(&issuer).connect().await.unwrap();
    keys.reload().await;
    let asked = issuer.asked();
    assert_eq!(asked.len(), 3);
    for asked in asked {
        for name in ["cookie", "authorization", "proxy-authorization", "referer"] {
            assert_eq!(asked.header(name), None, "{asked:?}");
        }
        let agent = asked.header("user-agent").unwrap();
        assert!(agent.starts_with("tower-jwt-auth/"), "{agent}");
        assert!(asked.header("accept").unwrap().contains("application/json"));
    }
}

/// DISC-D2
#[tokio::test]
async fn takes_no_proxy_from_the_environment() {
    const INSIDE: &str = "TOWER_JWT_AUTH_TEST_WITH_PROXY";
    if std::env::var_os(INSIDE).is_none() {
        // A test cannot safely change the environment of its own process, so it starts another one.
        let mut process = Command::new(std::env::current_exe().unwrap());
        process.args(["--exact", "takes_no_proxy_from_the_environment"]);
        process.env(INSIDE, "1").env_remove("REQUEST_METHOD");
        for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            process.env(name, "http://127.0.0.1:1");
        }
        process.env_remove("no_proxy").env_remove("NO_PROXY");
        let output = process.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}"
        );
        return;
    }
    let issuer = FaultyIssuer::start().await;
    assert!(connect(&issuer).await.is_ready());
    // The twin: a client that uses the proxy of the environment fails, because no proxy is there.
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let keys = RemoteKeys::jwks(&issuer.url(JWKS), client).unwrap();
    let error = keys.connect().await.unwrap_err().to_string();
    assert!(error.contains("onnection refused"), "{error}");
    assert_eq!(issuer.requests(), 1);
}

/// RFC8414-6.1-1
#[tokio::test]
async fn trusts_no_certificate_without_a_trusted_root() {
    let Some(certificate) = Certificate::make("IP:127.0.0.1", "faults") else {
        return;
    };
    let tls = TlsFront::start(&certificate).await;
    let name = tls.issuer.signer.issuer();
    let keys = KeyStore::discover(&name).unwrap().connect_lazy().unwrap();
    keys.reload().await;
    let failing = keys.status().failing.expect("the load has failed").reason;
    assert!(failing.contains("invalid peer certificate"), "{failing}");
    let error = KeyStore::discover(&name)
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    let error = KeyStore::remote(&tls.issuer.url(JWKS))
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("invalid peer certificate"),
        "{error}"
    );
    assert_eq!(tls.issuer.requests(), 0, "nothing was asked of it");
    let api = Api::new(&tls.issuer, &keys);
    assert_eq!(api.rejection(&api.good).await, Some(KeySourceUnavailable));

    // The twin: a client of the user that trusts the certificate.
    let keys = RemoteKeys::discover(&name, certificate.client()).unwrap();
    let keys = keys.connect().await.unwrap();
    let api = Api::new(&tls.issuer, &keys);
    assert_eq!(
        api.rejections(&tls.issuer, "invented").await,
        [None, Some(BadSignature), Some(UnknownKey)]
    );
    assert_eq!(tls.issuer.requests(), 4);
}

/// RFC8414-6.1-1
#[tokio::test]
async fn trusts_no_certificate_of_another_host() {
    let Some(certificate) = Certificate::make("IP:127.0.0.2", "faults") else {
        return;
    };
    let tls = TlsFront::start(&certificate).await;
    let name = tls.issuer.signer.issuer();
    let keys = RemoteKeys::discover(&name, certificate.client()).unwrap();
    let error = keys.connect().await.unwrap_err().to_string();
    assert!(error.contains("certificate not valid for name"), "{error}");
    assert_eq!(tls.issuer.requests(), 0, "nothing was asked of it");
}

impl Certificate {
    /// A client that trusts this certificate.
    fn client(&self) -> Client {
        let pem = std::fs::read(self.path("certificate")).unwrap();
        let certificate = reqwest::Certificate::from_pem(&pem).unwrap();
        let client = Client::builder().redirect(Policy::none()).no_proxy();
        client.tls_certs_merge([certificate]).build().unwrap()
    }

    fn server(&self) -> TlsAcceptor {
        let chain = CertificateDer::from_pem_file(self.path("certificate")).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path("key")).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(config.with_single_cert(vec![chain], key).unwrap()).into()
    }
}

/// An issuer behind TLS.
struct TlsFront {
    issuer: FaultyIssuer,
    server: tokio::task::JoinHandle<()>,
}

impl TlsFront {
    async fn start(certificate: &Certificate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("https://{}", listener.local_addr().unwrap());
        let issuer = FaultyIssuer::start_behind(Some(name)).await;
        let server = tokio::spawn(relay(listener, certificate.server(), issuer.address()));
        Self { issuer, server }
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn relay(listener: TcpListener, tls: TlsAcceptor, issuer: SocketAddr) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let tls = tls.clone();
        tokio::spawn(async move {
            // A client that does not trust the certificate closes the connection here.
            let Ok(mut outside) = tls.accept(stream).await else {
                return;
            };
            let mut inside = TcpStream::connect(issuer).await.unwrap();
            let _ended = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
        });
    }
}

/// Many stores that use one client are created and dropped. Neither tasks nor connections remain.
#[tokio::test]
async fn thousands_of_stores_leave_neither_tasks_nor_connections() {
    let mut issuer = FaultyIssuer::start().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    // The client keeps no idle connections.
    let client = Client::builder().redirect(Policy::none()).no_proxy();
    let client = client.pool_max_idle_per_host(0).build().unwrap();
    let keys = || RemoteKeys::jwks(&issuer.url(JWKS), client.clone()).unwrap();

    for _ in 0..1_000 {
        let (fetched, unborn) = (
            keys().connect().await.unwrap(),
            keys().connect_lazy().unwrap(),
        );
        assert!(fetched.is_ready());
        drop((fetched, unborn));
    }
    issuer.fails(&[JWKS], Fault::Silent).await;
    let keys = || {
        let keys = RemoteKeys::jwks(&issuer.url(JWKS), client.clone()).unwrap();
        // The load ends only when its store is dropped.
        keys.timeout(Duration::from_secs(600))
    };
    for _ in 0..20 {
        // The store is dropped during a load.
        let asked = issuer.requests();
        let hanging: Vec<_> = (0..50).map(|_| keys().connect_lazy().unwrap()).collect();
        issuer.has_been_asked(asked + hanging.len()).await;
        drop(hanging);
    }
    issuer.all_closed().await;
    let start = Instant::now();
    while tasks() > before && start.elapsed() < Duration::from_secs(10) {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks(), before);
    assert!(issuer.connections() >= 2_000, "{}", issuer.connections());
}

/// The client of this crate sends method and body as they are. It does not repeat a request that
/// the server may have processed.
#[tokio::test]
async fn a_request_reaches_the_server_with_its_method_and_body_and_a_post_does_so_once() {
    let (address, asked) = recorder().await;
    let client = Client::builder().redirect(Policy::none()).no_proxy();
    let client = client.build().unwrap();
    let fetch = async |method: &str, path: &str, body: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.as_bytes().to_vec())
            .unwrap();
        client.fetch(request, 100).await
    };
    let take = || std::mem::take(&mut *asked.lock().unwrap());

    let answer = fetch("POST", "/introspect", "token=abc").await.unwrap();
    assert_eq!(answer.body(), b"{}");
    let requests = take();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].starts_with("POST /introspect HTTP/1.1\r\n"));
    assert!(requests[0].contains("content-type: application/x-www-form-urlencoded"));
    assert!(requests[0].ends_with("\r\n\r\ntoken=abc"));

    assert!(fetch("GET", "/jwks", "").await.is_ok());
    let requests = take();
    assert!(requests[0].starts_with("GET /jwks HTTP/1.1\r\n"));
    assert!(requests[0].ends_with("\r\n\r\n"));
    assert!(!requests[0].contains("content-length"), "{}", requests[0]);

    // A redirect is returned as a response, and not followed.
    let answer = fetch("POST", "/moved", "token=abc").await.unwrap();
    assert_eq!(answer.status(), 307);
    assert_eq!(take().len(), 1);

    // The server closes the connection without a response.
    for (method, body, times) in [("POST", "token=abc", 1), ("GET", "", 2)] {
        assert!(fetch(method, "/closed", body).await.is_err(), "{method}");
        assert_eq!(take().len(), times, "{method}");
    }
}

/// A server that notes each request. It responds with `{}`, except at two paths.
async fn recorder() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
    let notes: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read_request(&mut stream).await;
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = match path {
                "/closed" => "",
                "/moved" => "HTTP/1.1 307 Moved\r\nlocation: /jwks\r\ncontent-length: 0\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            };
            notes.lock().unwrap().push(request.clone());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, asked)
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        let mut part = [0; 1_024];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "the request has no end: {text}");
        text.push_str(std::str::from_utf8(part.get(..read).unwrap()).unwrap());
    }
}
