//! Status lists.

#![cfg(all(feature = "status-list", feature = "test-util"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers fail as tests do"
)]

#[path = "support/network.rs"]
mod network;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::{Method, Request, Response};
use miniz_oxide::deflate::compress_to_vec_zlib;
use serde_json::{Value, json};
use tokio::time::advance;
use tower_jwt_auth::RejectionKind::{RevocationUnavailable, Revoked, Suspended};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::fetch::{Fetch, FetchError};
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::revocation::{Revocation, RevocationCheck, RevocationStatus, StatusLists};
use tower_jwt_auth::test::{FixedClock, TestIssuer, TestToken};
use tower_jwt_auth::{Claims, ConfigError, Issuer, JwtAuth, KeyStore, RejectionKind, Verifier};

use network::{JWKS, Network, settle};

const NOW: u64 = 1_700_000_000;
const LIST: &str = "https://as.example/lists/1";
const PREFIX: &str = "https://as.example/lists/";
/// The statuses 0, 1, 2 and 3.
const FOUR: &[u8] = &[0b1110_0100];

struct World {
    clock: FixedClock,
    issuer: TestIssuer,
    network: Network,
}

impl World {
    /// An issuer with a status list of four statuses.
    fn new() -> Self {
        let clock = FixedClock::at(NOW);
        let issuer = TestIssuer::new()
            .named("https://as.example")
            .with_clock(clock.clone());
        let network = Network::new(|_| Err(FetchError::new("no answer yet")));
        let world = Self {
            clock,
            issuer,
            network,
        };
        world.publishes(&world.list(2, FOUR));
        world
    }

    /// A good status list token.
    fn list(&self, bits: u8, statuses: &[u8]) -> TestToken {
        self.issuer
            .token()
            .header("typ", "statuslist+jwt")
            .subject(LIST)
            .without("aud")
            .without("client_id")
            .without("exp")
            .claim("ttl", 600)
            .claim("status_list", packed(bits, statuses))
    }

    fn publishes(&self, list: &TestToken) {
        let list = list.mint();
        self.network.answers(move |_| Ok(answer(&list)));
    }

    fn lists(&self) -> StatusLists {
        self.lists_over(self.network.clone())
    }

    fn lists_over(&self, fetch: impl Fetch) -> StatusLists {
        let lists = StatusLists::new(fetch).clock(self.clock.clone());
        let lists = lists.issuer(self.issuer.issuer(), self.issuer.keys(), [PREFIX]);
        lists.unwrap()
    }

    fn api(&self, lists: StatusLists) -> Api {
        let auth: JwtAuth = self.issuer.auth().revocation(lists);
        Api(auth.verifier())
    }

    /// A token with this index in the list.
    fn token(&self, index: u64) -> String {
        self.token_in(LIST, index).mint()
    }

    fn token_in(&self, uri: &str, index: u64) -> TestToken {
        let status = json!({ "status_list": { "idx": index, "uri": uri } });
        self.issuer.token().claim("status", status)
    }
}

#[derive(Clone)]
struct Api(Verifier);

impl Api {
    async fn verdict(&self, token: &str) -> Option<RejectionKind> {
        let verdict = self.0.verify(token).await;
        verdict.err().map(|rejection| rejection.kind())
    }
}

fn packed(bits: u8, statuses: &[u8]) -> Value {
    let list = URL_SAFE_NO_PAD.encode(compress_to_vec_zlib(statuses, 9));
    json!({ "bits": bits, "lst": list })
}

fn answer(list: &str) -> Response<Vec<u8>> {
    Response::builder()
        .header(CONTENT_TYPE, "application/statuslist+jwt")
        .body(list.into())
        .unwrap()
}

/// TSL-7.1-1, TSL-8.3-4
#[tokio::test]
async fn a_token_has_the_status_at_its_place() {
    let world = World::new();
    let api = world.api(world.lists());
    for (index, verdict) in [
        (0, None),
        (1, Some(Revoked)),
        (2, Some(Suspended)),
        (3, Some(Revoked)),
        (4, Some(Revoked)),
        (u64::MAX, Some(Revoked)),
    ] {
        // The second time the token comes from the cache.
        let token = world.token(index);
        for _ in 0..2 {
            assert_eq!(api.verdict(&token).await, verdict, "{index}");
        }
    }
    assert_eq!(world.network.count(), 1);
    let bare = world.issuer.token().mint();
    assert_eq!(api.verdict(&bare).await, None);
    for (status, verdict) in [
        (RevocationStatus::Active, None),
        (RevocationStatus::Suspended, Some(Suspended)),
        (RevocationStatus::Revoked, Some(Revoked)),
    ] {
        let lists = world.lists().other_statuses(move |other| {
            assert_eq!(other, 3);
            status
        });
        let api = world.api(lists);
        assert_eq!(api.verdict(&world.token(3)).await, verdict);
        assert_eq!(api.verdict(&world.token(1)).await, Some(Revoked));
    }
}

/// TSL-4.1-1
#[tokio::test]
async fn the_list_says_how_many_bits_a_status_has() {
    let world = World::new();
    for (bits, index) in [(1, 9), (2, 4), (4, 2), (8, 1)] {
        world.publishes(&world.list(bits, &[0xF0, if bits == 1 { 2 } else { 1 }, 0]));
        let api = world.api(world.lists());
        assert_eq!(
            api.verdict(&world.token(index)).await,
            Some(Revoked),
            "{bits}"
        );
        assert_eq!(
            api.verdict(&world.token(0)).await,
            if bits == 8 { Some(Revoked) } else { None }
        );
    }
}

/// TSL-6.2-1
#[tokio::test]
async fn a_reference_that_cannot_be_read_is_a_rejection() {
    let world = World::new();
    let api = world.api(world.lists());
    let of = |list: Value| json!({ "status_list": list });
    for status in [
        json!("x"),
        json!([]),
        json!(0),
        of(json!(1)),
        of(Value::Null),
        of(json!({ "uri": LIST })),
        of(json!({ "idx": 0 })),
        of(json!({ "idx": -1, "uri": LIST })),
        of(json!({ "idx": "1", "uri": LIST })),
        of(json!({ "idx": 1.5, "uri": LIST })),
        of(json!({ "idx": 0.0, "uri": LIST })),
        of(json!({ "idx": null, "uri": LIST })),
        of(json!({ "idx": 0, "uri": 1 })),
        of(json!({ "idx": 0, "uri": "" })),
        of(json!({ "idx": 0, "uri": "not a url" })),
    ] {
        let token = world.issuer.token().claim("status", status.clone()).mint();
        assert_eq!(api.verdict(&token).await, Some(Revoked), "{status}");
    }
    assert_eq!(world.network.count(), 0);
    for status in [Value::Null, json!({}), json!({ "another": 1 })] {
        let token = world.issuer.token().claim("status", status.clone()).mint();
        assert_eq!(api.verdict(&token).await, None, "{status}");
    }
}

/// TSL-8.3-1
#[tokio::test]
async fn no_list_is_fetched_for_a_token_that_is_not_valid() {
    let world = World::new();
    let api = world.api(world.lists());
    let token = || world.token_in(LIST, 0);
    for token in [
        token().expired(),
        token().not_yet_valid(),
        token().audience("other"),
        token().issuer("https://other.example"),
        token().tampered(),
        token().unsigned(),
        token().signed_by_stranger(),
        token().header("typ", "statuslist+jwt"),
    ] {
        assert!(api.verdict(&token.mint()).await.is_some());
    }
    assert_eq!(world.network.count(), 0);
    assert_eq!(api.verdict(&token().mint()).await, None);
    assert_eq!(world.network.count(), 1);
}

/// TSL-8.1-1
#[tokio::test]
async fn a_list_is_fetched_from_the_places_that_are_configured_and_in_its_own_type() {
    let world = World::new();
    let list = world.list(2, FOUR).mint();
    let asked = {
        let list = list.clone();
        move |request: Request<Vec<u8>>, _: usize| {
            assert_eq!(request.method(), Method::GET);
            assert!(request.body().is_empty());
            assert_eq!(request.headers()[ACCEPT], "application/statuslist+jwt");
            assert_eq!(request.headers()[ACCEPT_ENCODING], "identity");
            std::future::ready(Ok(answer(&list)))
        }
    };
    let api = world.api(world.lists_over(asked));
    assert_eq!(api.verdict(&world.token(0)).await, None);

    let api = world.api(world.lists());
    for uri in [
        "https://evil.example/lists/1",
        "https://as.example.evil.example/lists/1",
        "https://as.example/other/1",
        "https://as.example/lists/../other",
        "http://as.example/lists/1",
        "http://169.254.169.254/lists/1",
        "file:///lists/1",
    ] {
        let token = world.token_in(uri, 0).mint();
        assert_eq!(api.verdict(&token).await, Some(Revoked), "{uri}");
    }
    assert_eq!(world.network.count(), 0);

    let with = |change: fn(&mut Response<Vec<u8>>)| {
        let mut response = answer(&list);
        change(&mut response);
        response
    };
    for (verdict, response) in [
        (None, with(|_| {})),
        (
            None,
            with(|response| *response.status_mut() = 203.try_into().unwrap()),
        ),
        (
            None,
            with(|response| {
                let full = "Application/StatusList+JWT; charset=utf-8";
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, full.parse().unwrap());
            }),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| {
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, "application/jwt".parse().unwrap());
            }),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| {
                response.headers_mut().remove(CONTENT_TYPE);
            }),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| {
                response
                    .headers_mut()
                    .insert(CONTENT_ENCODING, "gzip".parse().unwrap());
            }),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| *response.status_mut() = 404.try_into().unwrap()),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| *response.status_mut() = 302.try_into().unwrap()),
        ),
        (
            Some(RevocationUnavailable),
            with(|response| response.body_mut().clear()),
        ),
    ] {
        let api = world.api(world.lists());
        let label = format!("{response:?}");
        world.network.answers(move |_| Ok(response.clone()));
        assert_eq!(api.verdict(&world.token(0)).await, verdict, "{label}");
    }
}

/// TSL-5.1-1, TSL-8.3-2, TSL-8.3-3
#[tokio::test]
async fn every_defect_of_a_list_makes_it_unusable() {
    let world = World::new();
    let good = || world.list(2, FOUR);
    let stranger = TestIssuer::new()
        .named("https://as.example")
        .with_clock(world.clock.clone());
    let lst = packed(2, FOUR)["lst"].clone();
    for (label, list) in [
        ("another list", good().subject("https://as.example/lists/2")),
        ("no `sub`", good().without("sub")),
        ("`sub` a number", good().claim("sub", 1)),
        ("another issuer", good().issuer("https://other.example")),
        ("`iss` a number", good().claim("iss", 1)),
        ("no `iat`", good().without("iat")),
        ("`iat` in the future", good().claim("iat", NOW + 61)),
        ("expired", good().claim("exp", NOW - 60)),
        ("`exp` a string", good().claim("exp", "x")),
        ("`ttl` zero", good().claim("ttl", 0)),
        ("`ttl` negative", good().claim("ttl", -1)),
        ("`ttl` a string", good().claim("ttl", "600")),
        ("an access token", good().header("typ", "at+jwt")),
        ("a JWT", good().header("typ", "JWT")),
        ("no type", good().without_header("typ")),
        ("an unknown key", good().header("kid", "key-9")),
        ("a stranger's key", good().signed_by_stranger()),
        ("tampered", good().tampered()),
        ("unsigned", good().unsigned()),
        ("no list", good().without("status_list")),
        (
            "a list that is no object",
            good().claim("status_list", json!([])),
        ),
        (
            "no bits",
            good().claim("status_list", json!({ "lst": lst })),
        ),
        (
            "three bits",
            good().claim("status_list", json!({ "bits": 3, "lst": lst })),
        ),
        (
            "no `lst`",
            good().claim("status_list", json!({ "bits": 1 })),
        ),
        (
            "not zlib",
            good().claim("status_list", json!({ "bits": 1, "lst": "AAAA" })),
        ),
        (
            "a duplicate member",
            good().raw_claims(r#"{"sub":"a","sub":"b"}"#),
        ),
        ("not UTF-8", good().raw_claims(b"\xff")),
        (
            "a stranger's list",
            stranger.token().header("typ", "statuslist+jwt"),
        ),
    ] {
        world.publishes(&list);
        let api = world.api(world.lists());
        let verdict = api.verdict(&world.token(0)).await;
        assert_eq!(verdict, Some(RevocationUnavailable), "{label}");
    }
    for (label, list) in [
        ("as it is", good()),
        (
            "the type in full",
            good().header("typ", "application/StatusList+jwt"),
        ),
        ("no `iss`", good().without("iss")),
        ("no `ttl`", good().without("ttl")),
        ("no `kid`", good().without_header("kid")),
        (
            "nulls",
            good().claim("exp", Value::Null).claim("ttl", Value::Null),
        ),
        (
            "further members",
            good().claim("status_list", {
                let mut list = packed(2, FOUR);
                list["aggregation_uri"] = json!("https://as.example/all");
                list
            }),
        ),
        (
            "within the leeway",
            good().claim("iat", NOW + 60).claim("exp", NOW - 59),
        ),
    ] {
        world.publishes(&list);
        let api = world.api(world.lists());
        assert_eq!(api.verdict(&world.token(0)).await, None, "{label}");
        assert_eq!(api.verdict(&world.token(1)).await, Some(Revoked), "{label}");
    }
}

/// TSL-8.3-2
#[tokio::test]
async fn swapped_lists_are_not_used() {
    let world = World::new();
    let other = "https://as.example/lists/2";
    let (one, two) = (
        world.list(2, FOUR).mint(),
        world.list(2, FOUR).subject(other).mint(),
    );
    let api = world.api(world.lists());
    world.network.answers(move |request| {
        let is_one = request.uri() == LIST;
        Ok(answer(if is_one { &two } else { &one }))
    });
    for uri in [LIST, other] {
        let token = world.token_in(uri, 0).mint();
        assert_eq!(api.verdict(&token).await, Some(RevocationUnavailable));
    }
}

/// TSL-8.3-3
#[tokio::test(start_paused = true)]
async fn a_list_is_fetched_again_when_its_time_is_over() {
    for (ttl, header, lifetime) in [
        (Some(600), None, 600),
        (Some(600), Some("max-age=90"), 600),
        (Some(1), None, 30),
        (Some(1_000_000), None, 3_600),
        (None, None, 300),
        (None, Some("max-age=90"), 90),
        (None, Some("max-age=1"), 30),
        (None, Some("no-store"), 30),
    ] {
        let world = World::new();
        let publish = |statuses: &[u8]| {
            let list = world.list(2, statuses);
            let list = match ttl {
                Some(ttl) => list.claim("ttl", ttl),
                None => list.without("ttl"),
            };
            let mut response = answer(&list.mint());
            if let Some(header) = header {
                response
                    .headers_mut()
                    .insert(CACHE_CONTROL, header.parse().unwrap());
            }
            world.network.answers(move |_| Ok(response.clone()));
        };
        publish(FOUR);
        let api = world.api(world.lists());
        let token = world.token(0);
        assert_eq!(api.verdict(&token).await, None);
        publish(&[1]);
        advance(Duration::from_secs(lifetime * 8 / 10 - 1)).await;
        assert_eq!(api.verdict(&token).await, None);
        assert_eq!(world.network.count(), 1, "{ttl:?} {header:?}");
        // After 80 % of its lifetime the list is fetched in advance, and no request waits.
        advance(Duration::from_secs(2)).await;
        assert_eq!(api.verdict(&token).await, None);
        settle().await;
        assert_eq!(world.network.count(), 2, "{ttl:?} {header:?}");
        assert_eq!(api.verdict(&token).await, Some(Revoked));
        // Without requests the list is not fetched.
        advance(Duration::from_secs(lifetime + 1)).await;
        settle().await;
        assert_eq!(world.network.count(), 2);
        publish(FOUR);
        assert_eq!(api.verdict(&token).await, None, "it waits for the new list");
        assert_eq!(world.network.count(), 3);
    }
}

/// TSL-8.3-3
#[tokio::test(start_paused = true)]
async fn a_list_is_not_used_after_its_end() {
    let world = World::new();
    world.publishes(&world.list(2, FOUR).claim("exp", NOW + 10));
    let api = world.api(world.lists());
    assert_eq!(api.verdict(&world.token(0)).await, None);
    world.clock.advance(Duration::from_secs(69));
    assert_eq!(api.verdict(&world.token(0)).await, None);
    world.clock.advance(Duration::from_secs(1));
    let verdict = api.verdict(&world.issuer.token().mint()).await;
    assert_eq!(verdict, None, "a token without a list");
    assert_eq!(
        api.verdict(&world.token(0)).await,
        Some(RevocationUnavailable)
    );
    world.publishes(&world.list(2, FOUR).claim("iat", NOW + 70));
    advance(Duration::from_secs(1)).await;
    assert_eq!(api.verdict(&world.token(0)).await, None);
}

/// Status lists that count how often a token is looked up.
#[derive(Clone)]
struct Counted(StatusLists, Arc<AtomicUsize>);

impl Counted {
    fn new(lists: StatusLists) -> Self {
        Self(lists, Arc::default())
    }

    /// The look-ups since the last call.
    fn taken(&self) -> usize {
        self.1.swap(0, Ordering::Relaxed)
    }
}

impl Revocation for Counted {
    fn check(&self, token: &Claims) -> RevocationCheck {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.check(token)
    }

    fn epoch(&self) -> Option<u64> {
        self.0.epoch()
    }
}

/// An API with a cache of tokens, whatever size the other tests use.
fn cached(world: &World, lists: &Counted) -> Api {
    let auth: JwtAuth = world.issuer.auth().revocation(lists.clone());
    Api(auth.cache(TokenCache::default().max_tokens(100)).verifier())
}

#[tokio::test(start_paused = true)]
async fn a_cached_token_is_looked_up_again_only_when_a_list_has_changed() {
    let world = World::new();
    let lists = Counted::new(world.lists());
    let api = cached(&world, &lists);
    let tokens = [world.token(0), world.issuer.token().mint()];
    let look_ups = async |rounds: usize| {
        for token in tokens.iter().cycle().take(rounds * tokens.len()) {
            assert_eq!(api.verdict(token).await, None);
        }
        settle().await;
        lists.taken()
    };
    let begin = lists.0.epoch().unwrap();
    // The list came with the first look-up of its own token, so that one is not the last.
    look_ups(2).await;
    assert_eq!(look_ups(5).await, 0);
    let loaded = lists.0.epoch().unwrap();
    assert!(loaded > begin);
    advance(Duration::from_secs(479)).await;
    assert_eq!((look_ups(5).await, world.network.count()), (0, 1));
    // The time of the next load is a change, and so is the new list.
    advance(Duration::from_secs(2)).await;
    assert!((2..=4).contains(&look_ups(5).await));
    assert_eq!(world.network.count(), 2);
    look_ups(1).await;
    assert_eq!(look_ups(5).await, 0);
    let loaded_again = lists.0.epoch().unwrap();
    assert!(loaded_again > loaded);
    // The list cannot be fetched again, and its lifetime ends.
    world.network.is_down();
    advance(Duration::from_secs(599)).await;
    assert_eq!(api.verdict(&tokens[0]).await, None);
    settle().await;
    advance(Duration::from_secs(2)).await;
    assert_eq!(api.verdict(&tokens[0]).await, Some(RevocationUnavailable));
    assert_eq!(api.verdict(&tokens[1]).await, None, "it names no list");
    assert!(lists.0.epoch().unwrap() > loaded_again);
    world.publishes(&world.list(2, &[1]));
    advance(Duration::from_secs(60)).await;
    assert_eq!(api.verdict(&tokens[0]).await, Some(Revoked));
}

/// TSL-8.3-3: by the clock that `exp` is compared with, which a test sets.
#[tokio::test(start_paused = true)]
async fn a_cached_token_whose_list_has_expired_is_looked_up_again() {
    let world = World::new();
    let token = world.token(0);
    let lists = Counted::new(world.lists());
    let api = cached(&world, &lists);
    world.publishes(&world.list(2, FOUR).claim("exp", NOW + 10));
    for _ in 0..3 {
        assert_eq!(api.verdict(&token).await, None);
    }
    lists.taken();
    // The twin: the leeway has not passed.
    world.clock.advance(Duration::from_secs(69));
    assert_eq!(api.verdict(&token).await, None);
    assert_eq!(lists.taken(), 0);
    let before = lists.0.epoch().unwrap();
    world.clock.advance(Duration::from_secs(1));
    assert!(lists.0.epoch().unwrap() > before);
    // The list that comes now has expired too.
    assert_eq!(api.verdict(&token).await, Some(RevocationUnavailable));
    // A list that has ended is not used again, even if the clock is set back.
    world.clock.set(NOW + 69);
    assert_eq!(api.verdict(&token).await, Some(RevocationUnavailable));
    world.publishes(&world.list(2, FOUR).claim("exp", NOW + 20).claim("ttl", 600));
    advance(Duration::from_secs(1)).await;
    for _ in 0..3 {
        assert_eq!(api.verdict(&token).await, None);
    }
    // A list without `exp` beside it does not hide the end.
    let other = "https://as.example/lists/2";
    world.publishes(&world.list(2, FOUR).subject(other));
    assert_eq!(api.verdict(&world.token_in(other, 0).mint()).await, None);
    world.clock.set(NOW + 79);
    assert_eq!(api.verdict(&token).await, None);
    world.clock.set(NOW + 80);
    assert_eq!(api.verdict(&token).await, Some(RevocationUnavailable));
    assert_eq!(api.verdict(&world.token_in(other, 0).mint()).await, None);
}

/// A token that is accepted without its list is looked up for each request.
#[tokio::test(start_paused = true)]
async fn a_token_that_is_accepted_without_its_list_has_no_epoch() {
    let world = World::new();
    let lists = Counted::new(world.lists().insecure_accept_unavailable());
    let api = cached(&world, &lists);
    world.network.is_down();
    for _ in 0..3 {
        assert_eq!(api.verdict(&world.token(1)).await, None);
    }
    assert_eq!((lists.0.epoch(), lists.taken()), (None, 3));
    world.publishes(&world.list(2, FOUR));
    advance(Duration::from_secs(1)).await;
    assert_eq!(api.verdict(&world.token(1)).await, Some(Revoked));
}

/// The refresh of a list that is in use is tried again, although no request looks anything up.
#[tokio::test(start_paused = true)]
async fn a_list_that_could_not_be_fetched_again_is_tried_again() {
    let world = World::new();
    let lists = Counted::new(world.lists());
    let api = cached(&world, &lists);
    let token = world.token(0);
    assert_eq!(api.verdict(&token).await, None);
    world.network.is_down();
    advance(Duration::from_secs(480)).await;
    let mut counts = Vec::new();
    for _ in 0..8 {
        for _ in 0..3 {
            assert_eq!(api.verdict(&token).await, None);
            settle().await;
        }
        counts.push(world.network.count());
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(counts, [2, 3, 3, 4, 4, 4, 4, 5], "pauses of 1, 2 and 4 s");
    assert!(lists.taken() < 20);
    world.publishes(&world.list(2, &[1]));
    advance(Duration::from_secs(8)).await;
    assert_eq!(api.verdict(&token).await, None);
    settle().await;
    assert_eq!(api.verdict(&token).await, Some(Revoked));
    // At the end of a list the next load starts at once, without a pause.
    let world = World::new();
    let (api, token) = (world.api(world.lists()), world.token(0));
    assert_eq!(api.verdict(&token).await, None);
    world.network.is_down();
    advance(Duration::from_secs(480)).await;
    for _ in 480..599 {
        assert_eq!(api.verdict(&token).await, None);
        settle().await;
        advance(Duration::from_secs(1)).await;
    }
    world.publishes(&world.list(2, FOUR));
    advance(Duration::from_secs(1)).await;
    assert_eq!(api.verdict(&token).await, None);
}

/// A cache in between, or a host that was restored from a backup, may return an older list.
#[tokio::test(start_paused = true)]
async fn an_older_list_does_not_replace_a_newer_one_before_its_end() {
    for (age, is_replaced) in [(1, false), (0, true), (-1, true)] {
        let world = World::new();
        let iat = |age: i64| NOW.saturating_add_signed(-age);
        let api = world.api(world.lists());
        let (active, revoked) = (world.token(0), world.token(1));
        let ok = async |is_active: bool| {
            let verdict = api.verdict(&revoked).await;
            assert_eq!(verdict, (!is_active).then_some(Revoked), "{age}");
            assert_eq!(api.verdict(&active).await, None, "{age}");
        };
        ok(false).await;
        world.publishes(&world.list(2, &[0]).claim("iat", iat(age)));
        advance(Duration::from_secs(481)).await;
        ok(false).await;
        settle().await;
        ok(is_replaced).await;
        if is_replaced {
            continue;
        }
        // It is fetched again and again, and never used.
        for _ in 0..11 {
            advance(Duration::from_secs(10)).await;
            ok(false).await;
            settle().await;
        }
        assert!(world.network.count() >= 5);
        // After the newer list has ended, the older one is accepted, because the host may have gone
        // back for good.
        advance(Duration::from_secs(10)).await;
        ok(true).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_without_end_is_no_panic() {
    let world = World::new();
    let second = Duration::from_secs(1);
    let api = world.api(
        world
            .lists()
            .lifetime_within(second, Duration::MAX)
            .unwrap(),
    );
    world.publishes(
        &world
            .list(2, FOUR)
            .claim("ttl", 1e300)
            .claim("exp", NOW + 10),
    );
    assert_eq!(api.verdict(&world.token(0)).await, None);
    advance(Duration::from_secs(3_600)).await;
    assert_eq!(api.verdict(&world.token(0)).await, None);
    world.clock.advance(Duration::from_secs(70));
    assert_eq!(
        api.verdict(&world.token(0)).await,
        Some(RevocationUnavailable)
    );
}

#[test]
fn a_prefix_may_be_written_in_each_usual_form() {
    let add = || {
        let lists = StatusLists::new(Network::new(|_| Err(FetchError::new("down"))));
        (
            lists,
            Issuer::new("https://as.example").unwrap(),
            KeyStore::pending(),
        )
    };
    const ARRAY: &[&str; 1] = &[PREFIX];
    let several = || vec![PREFIX.to_owned()];
    let of = |(lists, issuer, keys): (StatusLists, Issuer, KeyStore)| {
        [
            lists.clone().issuer(issuer.clone(), keys.clone(), PREFIX),
            lists
                .clone()
                .issuer(issuer.clone(), keys.clone(), &several()[0]),
            lists
                .clone()
                .issuer(issuer.clone(), keys.clone(), several().remove(0)),
            lists
                .clone()
                .issuer(issuer.clone(), keys.clone(), [PREFIX, "https://b.example/"]),
            lists.clone().issuer(issuer.clone(), keys.clone(), ARRAY),
            lists
                .clone()
                .issuer(issuer.clone(), keys.clone(), several()),
            lists.issuer(issuer, keys, &several()[..]),
        ]
    };
    assert!(of(add()).iter().all(Result::is_ok));
    let (lists, issuer, keys) = add();
    assert!(lists.issuer(issuer, keys, "https://as.example").is_err());
}

/// TSL-8.3-5
#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_be_had_is_503_unless_chosen_otherwise() {
    let world = World::new();
    world.network.is_down();
    let api = world.api(world.lists());
    let open = world.api(world.lists().insecure_accept_unavailable());
    for _ in 0..10 {
        assert_eq!(
            api.verdict(&world.token(0)).await,
            Some(RevocationUnavailable)
        );
    }
    assert_eq!(world.network.count(), 1, "not each request asks");
    for _ in 0..10 {
        assert_eq!(open.verdict(&world.token(1)).await, None);
    }
    let reason = api.0.verify(&world.token(0)).await.unwrap_err().to_string();
    assert!(
        reason.contains(LIST) && reason.contains("connection refused"),
        "{reason}"
    );
    // A token without a list is accepted, and a list from another place is rejected, as before.
    assert_eq!(api.verdict(&world.issuer.token().mint()).await, None);
    let foreign = world.token_in("https://evil.example/lists/1", 0).mint();
    assert_eq!(open.verdict(&foreign).await, Some(Revoked));
    world.publishes(&world.list(2, FOUR));
    advance(Duration::from_secs(1)).await;
    assert_eq!(api.verdict(&world.token(0)).await, None);
    assert_eq!(open.verdict(&world.token(1)).await, Some(Revoked));
    // A list is used until the end of its lifetime.
    world.network.is_down();
    advance(Duration::from_secs(599)).await;
    assert_eq!(api.verdict(&world.token(0)).await, None);
    advance(Duration::from_secs(1)).await;
    assert_eq!(
        api.verdict(&world.token(0)).await,
        Some(RevocationUnavailable)
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_repeated_with_growing_pauses() {
    let world = World::new();
    world.network.is_down();
    let api = world.api(world.lists());
    let mut loads = Vec::new();
    for _ in 0..300 {
        api.verdict(&world.token(0)).await;
        loads.push(world.network.count());
        advance(Duration::from_secs(1)).await;
    }
    // The loads are at 0, 1, 3, 7, 15, 31 and 63 s, and then every minute.
    assert_eq!((loads[0], loads[1], loads[2], loads[3]), (1, 2, 2, 3));
    assert!((8..=12).contains(loads.last().unwrap()), "{loads:?}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_hangs_delays_nobody_for_more_than_five_seconds() {
    let world = World::new();
    world.network.answers_after(None);
    let api = world.api(world.lists());
    let begin = tokio::time::Instant::now();
    assert_eq!(
        api.verdict(&world.token(0)).await,
        Some(RevocationUnavailable)
    );
    assert_eq!(begin.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_requests_are_one_fetch_and_the_first_may_go_away() {
    let world = Arc::new(World::new());
    world.network.answers_after(Some(Duration::from_secs(2)));
    let api = world.api(world.lists());
    let ask = |index| {
        let (api, token) = (api.clone(), world.token(index));
        tokio::spawn(async move { api.verdict(&token).await })
    };
    let first = ask(0);
    settle().await;
    let others: Vec<_> = (0..100).map(|at| ask(at % 3)).collect();
    settle().await;
    first.abort();
    for (at, other) in others.into_iter().enumerate() {
        let expected = [None, Some(Revoked), Some(Suspended)][at % 3];
        assert_eq!(other.await.unwrap(), expected);
    }
    assert_eq!(world.network.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn lists_have_a_maximum_number_and_a_maximum_size() {
    let world = World::new();
    let issuer = world.issuer.clone();
    let template = world.list(8, &[0; 1_000]);
    drop(issuer);
    let network = world.network.clone();
    network.answers(move |request| {
        let list = template.clone().subject(&request.uri().to_string());
        Ok(answer(&list.mint()))
    });
    let token = |at: u64| world.token_in(&format!("{PREFIX}{at}"), 0).mint();
    for lists in [
        world.lists().max_lists(2),
        world.lists().max_bytes(1_000, 2_999).unwrap(),
    ] {
        let api = world.api(lists);
        let before = network.count();
        for (at, fetched) in [
            (1, 1),
            (2, 2),
            (1, 2),
            (3, 3),
            (1, 3),
            (2, 4),
            (1, 4),
            (2, 4),
            (3, 5),
        ] {
            advance(Duration::from_secs(1)).await;
            assert_eq!(api.verdict(&token(at)).await, None);
            assert_eq!(network.count() - before, fetched, "{at}");
        }
    }
    // TSL-4.1-2
    for (lists, verdict) in [
        (world.lists().max_bytes(1_000, 1_000).unwrap(), None),
        (
            world.lists().max_bytes(999, 10_000).unwrap(),
            Some(RevocationUnavailable),
        ),
        (world.lists().max_body(100), Some(RevocationUnavailable)),
    ] {
        assert_eq!(world.api(lists).verdict(&token(1)).await, verdict);
    }
    world.publishes(&world.list(1, &vec![0; 17 * 1_024 * 1_024]));
    let bomb = world.api(world.lists()).verdict(&world.token(0)).await;
    assert_eq!(bomb, Some(RevocationUnavailable), "17 MiB out of 17 KiB");
}

#[test]
fn limits_that_contradict_each_other_are_errors_with_both() {
    let world = World::new();
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    for (error, says) in [
        (
            world.lists().lifetime_within(hour, minute),
            "`lifetime_within` has a minimum of 3600s, which is more than its maximum of 60s",
        ),
        (
            world.lists().max_bytes(1_000, 999),
            "`max_bytes` allows 1000 bytes for one list, and 999 bytes for all lists",
        ),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with(says), "{error}");
    }
    assert!(world.lists().lifetime_within(minute, minute).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_lists_has_a_limit_and_known_lists_go_on() {
    let world = World::new();
    let api = world.api(world.lists());
    assert_eq!(api.verdict(&world.token(0)).await, None);
    world.network.answers_after(None);
    let token = |at: u64| world.token_in(&format!("{PREFIX}flood-{at}"), 0).mint();
    let waiting: Vec<_> = (0..64)
        .map(|at| {
            let (api, token) = (api.clone(), token(at));
            tokio::spawn(async move { api.verdict(&token).await })
        })
        .collect();
    settle().await;
    assert_eq!(world.network.count(), 65);
    assert_eq!(api.verdict(&token(64)).await, Some(RevocationUnavailable));
    assert_eq!(world.network.count(), 65, "it is not asked for");
    assert_eq!(api.verdict(&world.token(0)).await, None);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap(), Some(RevocationUnavailable));
    }
    world.network.answers_after(Some(Duration::ZERO));
    advance(Duration::from_secs(60)).await;
    api.verdict(&token(65)).await;
    assert_eq!(world.network.count(), 66, "old failures make room");
}

/// The key of a list is looked up like that of a token.
#[tokio::test(start_paused = true)]
async fn the_keys_of_lists_may_be_remote() {
    let world = World::new();
    let keys = RemoteKeys::jwks(JWKS, Network::of(&world.issuer)).unwrap();
    let keys = keys.connect_lazy().unwrap();
    let lists = StatusLists::new(world.network.clone()).clock(world.clock.clone());
    let lists = lists.issuer(world.issuer.issuer(), keys, [PREFIX]).unwrap();
    let api = world.api(lists);
    assert_eq!(api.verdict(&world.token(1)).await, Some(Revoked));

    let pending = StatusLists::new(world.network.clone()).clock(world.clock.clone());
    let pending = pending.issuer(world.issuer.issuer(), KeyStore::pending(), [PREFIX]);
    let api = world.api(pending.unwrap());
    assert_eq!(
        api.verdict(&world.token(0)).await,
        Some(RevocationUnavailable)
    );
}

#[tokio::test]
async fn each_issuer_has_its_own_lists() {
    let world = World::new();
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(world.clock.clone());
    let lists = world.lists();
    let lists = lists
        .issuer(other.issuer(), other.keys(), ["https://other.example/"])
        .unwrap();
    let auth: JwtAuth = world.issuer.auth().trust(other.trusted()).revocation(lists);
    let api = Api(auth.verifier());
    let status = |uri: &str| json!({ "status_list": { "idx": 0, "uri": uri } });
    // The list of one issuer does not apply to tokens of the other.
    let theirs = other.token().claim("status", status(LIST)).mint();
    assert_eq!(api.verdict(&theirs).await, Some(Revoked));
    assert_eq!(world.network.count(), 0);
    assert_eq!(api.verdict(&world.token(0)).await, None);
    // A token of an issuer without status lists.
    let auth: JwtAuth = world
        .issuer
        .auth()
        .revocation(StatusLists::new(world.network.clone()));
    let api = Api(auth.verifier());
    assert_eq!(api.verdict(&world.token(0)).await, Some(Revoked));
    assert_eq!(api.verdict(&world.issuer.token().mint()).await, None);
}

/// The number of changes is that of the lists of all issuers.
#[tokio::test(start_paused = true)]
async fn a_new_list_of_any_issuer_reaches_its_cached_tokens() {
    let world = World::new();
    let other = TestIssuer::new()
        .named("https://other.example")
        .with_clock(world.clock.clone());
    let uri = "https://other.example/1";
    let lists = world.lists().issuer(other.issuer(), other.keys(), uri);
    let auth: JwtAuth = world.issuer.auth().trust(other.trusted());
    let auth = auth.cache(TokenCache::default().max_tokens(100));
    let api = Api(auth.revocation(lists.unwrap()).verifier());
    let publishes = |statuses: &[u8]| {
        let list = other.token().header("typ", "statuslist+jwt").subject(uri);
        let list = list.claim("status_list", packed(1, statuses));
        world.publishes(&list.claim("ttl", 600).without("exp"));
    };
    publishes(&[0]);
    let status = json!({ "status_list": { "idx": 0, "uri": uri } });
    let token = other.token().claim("status", status).mint();
    for _ in 0..3 {
        assert_eq!(api.verdict(&token).await, None);
    }
    publishes(&[1]);
    advance(Duration::from_secs(481)).await;
    assert_eq!(api.verdict(&token).await, None);
    settle().await;
    assert_eq!(api.verdict(&token).await, Some(Revoked));
}

#[test]
fn a_prefix_is_a_url_with_a_path() {
    let add = |prefixes: &[&str]| {
        let lists = StatusLists::new(Network::new(|_| Err(FetchError::new("down"))));
        let issuer = Issuer::new("https://as.example").unwrap();
        lists.issuer(issuer, KeyStore::pending(), prefixes)
    };
    for prefix in [
        "https://as.example/",
        "https://as.example/lists/",
        "http://127.0.0.1:8080/lists/",
        "http://localhost/",
    ] {
        assert!(add(&[prefix]).is_ok(), "{prefix}");
    }
    for prefix in [
        "",
        "/",
        "https://",
        "https://as.example",
        "http://as.example/",
        "ftp://a/",
        "as.example/",
        "https://a@as.example/",
    ] {
        let error = add(&["https://as.example/", prefix]).unwrap_err();
        assert!(matches!(error, ConfigError::StatusList { .. }), "{prefix}");
        assert!(
            error
                .to_string()
                .starts_with("status lists are not usable: ")
        );
    }
    assert!(add(&[]).is_err());
}

#[test]
fn outside_of_a_runtime_a_list_cannot_be_had() {
    let world = World::new();
    let api = world.api(world.lists());
    let rejection = api.0.verify_now(&world.token(0)).unwrap_err();
    assert_eq!(rejection.kind(), RevocationUnavailable, "{rejection}");
    assert!(rejection.to_string().contains("tokio"), "{rejection}");
}

/// If a runtime ends before it starts a load, later loads are not blocked.
#[test]
fn a_load_that_ended_with_its_runtime_is_made_again() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let world = World::new();
    let api = world.api(world.lists());
    let token = world.token(0);
    runtime().block_on(async {
        let mut request = std::pin::pin!(api.verdict(&token));
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(request.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
    });
    assert_eq!(runtime().block_on(api.verdict(&token)), None);
}
