//! Keys of a real OpenID provider under load, while clients send requests to a real axum server all
//! the time. The provider rotates and withdraws keys, is stopped, is killed and comes back. A storm
//! of tokens names unknown keys.
//!
//! A script starts the provider around the test (`start.sh -- cargo test --test provider_load`).
//! The variables `IDP_ISSUER` and `IDP_DIR` say where it is. Without them the tests print that they
//! are skipped.

#![cfg(all(feature = "axum", feature = "reqwest", feature = "test-util", unix))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panic"
)]

#[path = "support/files.rs"]
mod files;
#[path = "support/provider.rs"]
mod provider;
mod support;

use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::routing::get;
use http::StatusCode;
use http::header::{AUTHORIZATION, HOST, RETRY_AFTER};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::util::MapRequestLayer;
use tower_jwt_auth::{Audience, Issuer, JwtAuth, KeyStore, RequireScope, scope};

use provider::{Place, Process, Provider, Token};
use support::challenges;

/// One test runs at a time, because each changes the keys of the provider and needs the whole
/// machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The number of clients that send requests all the time.
const CLIENTS: usize = 64;
/// The number of clients of a storm.
const AT_ONCE: usize = 32;
/// The resources of the provider, each with the family of keys that signs its tokens.
const RESOURCES: [(&str, &str); 3] = [("calendar", "rsa"), ("es256", "p256"), ("eddsa", "ed25519")];
/// The maximum time for a condition to come true.
const PATIENCE: Duration = Duration::from_secs(30);

fn say(text: &str) {
    // Not `println`, which the test harness captures.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn issuer(provider: &str) -> Issuer {
    Issuer::new(provider).unwrap()
}

async fn read(claims: RequireScope<scope!("calendar:read")>) -> String {
    claims.subject().unwrap_or_default().to_owned()
}

/// The requests of a storm that have reached the service.
#[derive(Default)]
struct Arrivals {
    all: watch::Sender<usize>,
    /// Notifies each client of the storm. A client has one request at a time.
    each: [Notify; AT_ONCE],
}

impl Arrivals {
    fn count(&self, request: &Request) {
        let client = request.uri().path().strip_prefix("/storm/");
        if let Some(client) = client {
            let client: usize = client.parse().unwrap();
            self.all.send_modify(|count| *count += 1);
            self.each[client].notify_one();
        }
    }
}

/// Starts an API with these keys, for the tokens of all [`RESOURCES`].
async fn serve(provider: &str, keys: &KeyStore, arrivals: Arc<Arrivals>) -> SocketAddr {
    let audience = RESOURCES.map(|(resource, _)| format!("https://{resource}.example/"));
    let audience = Audience::any_of(&audience).unwrap();
    let count = MapRequestLayer::new(move |request: Request| {
        arrivals.count(&request);
        request
    });
    let app = Router::new()
        .route("/events", get(read))
        .route("/storm/{client}", get(read))
        .layer(JwtAuth::new(issuer(provider), audience, keys))
        .layer(count);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A client with one connection, which stays open during the whole test.
struct Caller(SendRequest<Empty<Bytes>>);

/// What a client sees of an answer: the status, the error of the challenge, and whether there is a
/// `Retry-After`.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    error: Option<String>,
    is_told_to_retry: bool,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn ask(&mut self, token: &str) -> Answer {
        let request = http::Request::get("/events")
            .header(HOST, "calendar.example")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(Empty::new())
            .unwrap();
        self.0.ready().await.expect("the connection is kept");
        let response = self.0.send_request(request).await;
        let (head, body) = response.expect("every request is answered").into_parts();
        body.collect().await.expect("every answer is whole");
        Answer {
            status: head.status,
            error: challenges(&head.headers)
                .first()
                .and_then(|challenge| challenge.parameter("error").map(str::to_owned)),
            is_told_to_retry: head.headers.contains_key(RETRY_AFTER),
        }
    }

    async fn is_accepted(&mut self, label: &str, token: &Token) {
        let answer = self.ask(&token.text).await;
        assert_eq!(answer.status, StatusCode::OK, "{label}: {answer:?}");
    }

    async fn is_rejected(&mut self, label: &str, token: &str) {
        self.ask(token).await.is_rejection(label);
    }

    /// Sends requests until the token is rejected with 401. Before that, 503 is allowed, because no
    /// load may start.
    async fn is_rejected_soon(&mut self, label: &str, token: &str) {
        let started = Instant::now();
        loop {
            let answer = self.ask(token).await;
            if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                return answer.is_rejection(label);
            }
            assert!(started.elapsed() < PATIENCE, "{label}: {answer:?}");
        }
    }

    /// Sends requests until the token is accepted, and returns the number of answers before that.
    /// Each of them must have this status.
    async fn is_accepted_soon(&mut self, token: &Token, meanwhile: StatusCode) -> u64 {
        let started = Instant::now();
        let mut rejected = 0;
        loop {
            let answer = self.ask(&token.text).await;
            if answer.status == StatusCode::OK {
                return rejected;
            }
            assert_eq!(answer.status, meanwhile, "{answer:?}");
            assert!(started.elapsed() < PATIENCE, "{answer:?}");
            rejected += 1;
        }
    }
}

impl Answer {
    #[track_caller]
    fn is_rejection(&self, label: &str) {
        let error = Some("invalid_token");
        assert_eq!(self.status, StatusCode::UNAUTHORIZED, "{label}: {self:?}");
        assert_eq!(self.error.as_deref(), error, "{label}");
    }

    #[track_caller]
    fn is_nobodys_fault(&self, label: &str) {
        let expected = (StatusCode::SERVICE_UNAVAILABLE, None, true);
        let seen = (self.status, self.error.as_deref(), self.is_told_to_retry);
        assert_eq!(seen, expected, "{label}");
    }
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Its tokens are valid.
    Published,
    /// The provider is withdrawing the key. The service may or may not have the new set.
    Leaving,
    /// The service has a key set without the key.
    Withdrawn,
}

/// The answers to all clients, counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    accepted: usize,
    rejected: usize,
    renewed: usize,
}

/// Clients that send requests all the time, and the answers that each may get.
struct Traffic {
    provider: Provider,
    address: SocketAddr,
    /// A key that is not in the map is published.
    standings: RwLock<HashMap<String, Standing>>,
    /// The key id of the token of each client. `None` while the client fetches a token.
    held: Mutex<Vec<Option<String>>>,
    counts: watch::Sender<Counts>,
    /// Whether clients also fetch a new token from time to time, and not only after a rejection.
    renews: AtomicBool,
    is_over: AtomicBool,
    slowest: AtomicU64,
}

impl Traffic {
    /// Starts the clients, and returns when all of them have a token.
    async fn start(
        provider: &Provider,
        address: SocketAddr,
        clients: usize,
        renews: bool,
    ) -> (Arc<Self>, JoinSet<()>) {
        let traffic = Arc::new(Self {
            provider: provider.clone(),
            address,
            standings: RwLock::default(),
            held: Mutex::new(vec![None; clients]),
            counts: watch::Sender::default(),
            renews: renews.into(),
            is_over: AtomicBool::new(false),
            slowest: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            tasks.spawn(Arc::clone(&traffic).keep_asking(number));
        }
        traffic.until_all_hold_good_tokens().await;
        (traffic, tasks)
    }

    async fn keep_asking(self: Arc<Self>, number: usize) {
        let mut caller = Caller::connect(self.address).await;
        let (resource, _) = RESOURCES[number % RESOURCES.len()];
        let mut token = self.new_token(number, resource).await;
        let mut asked = number;
        while !self.is_over.load(Ordering::Acquire) {
            let before = self.standing(&token);
            let sent = Instant::now();
            let answer = caller.ask(&token.text).await;
            let after = self.standing(&token);
            let label = format!("a token of {} ({before:?}, {after:?})", token.key_id);
            let is_accepted = answer.status == StatusCode::OK;
            if is_accepted {
                assert_ne!(before, Standing::Withdrawn, "{label}");
                let took = u64::try_from(sent.elapsed().as_micros()).unwrap();
                self.slowest.fetch_max(took, Ordering::Relaxed);
            } else {
                answer.is_rejection(&label);
                assert_ne!(after, Standing::Published, "{label}");
            }
            self.counts.send_modify(|counts| {
                counts.accepted += usize::from(is_accepted);
                counts.rejected += usize::from(!is_accepted);
            });
            asked += 1;
            if !is_accepted || (self.renews.load(Ordering::Acquire) && asked.is_multiple_of(100)) {
                token = self.new_token(number, resource).await;
            }
        }
    }

    async fn new_token(&self, number: usize, resource: &str) -> Token {
        self.held.lock().unwrap()[number] = None;
        let token = self.provider.token(resource).await;
        self.held.lock().unwrap()[number] = Some(token.key_id.clone());
        self.counts.send_modify(|counts| counts.renewed += 1);
        token
    }

    fn standing(&self, token: &Token) -> Standing {
        let standings = self.standings.read().unwrap();
        let standing = standings.get(&token.key_id).copied();
        standing.unwrap_or(Standing::Published)
    }

    fn are_now(&self, ids: &[String], standing: Standing) {
        let mut standings = self.standings.write().unwrap();
        standings.extend(ids.iter().map(|id| (id.clone(), standing)));
    }

    /// Waits until no client has a token of a withdrawn key.
    async fn until_all_hold_good_tokens(&self) {
        self.until(|_| {
            let standings = self.standings.read().unwrap();
            let held = self.held.lock().unwrap();
            held.iter().all(|id| {
                let standing = id.as_ref().map(|id| standings.get(id));
                standing.is_some_and(|standing| standing != Some(&Standing::Withdrawn))
            })
        })
        .await;
    }

    /// Waits until this number of further requests was accepted.
    async fn until_answered(&self, times: usize) {
        let until = self.counts.borrow().accepted + times;
        self.until(|counts| counts.accepted >= until).await;
    }

    async fn until(&self, condition: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        // If every client has failed, nothing is counted any more.
        let waited = timeout(PATIENCE, counts.wait_for(condition)).await;
        waited.expect("the clients go on").unwrap();
    }

    /// Ends the clients. If a client saw a wrong answer, the test fails here.
    async fn end(&self, mut tasks: JoinSet<()>) -> String {
        self.is_over.store(true, Ordering::Release);
        while let Some(client) = tasks.join_next().await {
            client.expect("not one wrong answer");
        }
        let Counts {
            accepted,
            rejected,
            renewed,
        } = *self.counts.borrow();
        let slowest = Duration::from_micros(self.slowest.load(Ordering::Relaxed));
        format!(
            "{accepted} requests accepted (the slowest took {slowest:.1?}), {rejected} refused, \
             none wrongly, {renewed} tokens fetched"
        )
    }
}

/// A rotation or withdrawal of keys, as the service sees it.
struct Change<'a> {
    traffic: &'a Traffic,
    caller: Caller,
}

impl Change<'_> {
    /// A new key signs, and the old ones stay valid. The first request with the new key is
    /// accepted.
    async fn rotate(&mut self, resource: &str) {
        let provider = &self.traffic.provider;
        let old = provider.token(resource).await;
        let id = provider.rotate(family_of(resource)).await;
        let new = provider.token(resource).await;
        assert_eq!(new.key_id, id);
        self.caller.is_accepted("a new key", &new).await;
        self.caller.is_accepted("a key beside it", &old).await;
        self.traffic.until_answered(500).await;
    }

    /// A new key signs, and the old ones are withdrawn. The first request with the new key is
    /// accepted, and loads the set without the old ones.
    async fn replace(&mut self, resource: &str) {
        let provider = &self.traffic.provider;
        let family = family_of(resource);
        let old = provider.token(resource).await;
        let leaving = provider.published(family).await;
        self.traffic.are_now(&leaving, Standing::Leaving);
        let id = provider.replace(family).await;
        let new = provider.token(resource).await;
        assert_eq!(new.key_id, id);
        self.caller.is_accepted("a key in place of it", &new).await;
        self.traffic.are_now(&leaving, Standing::Withdrawn);
        self.caller.is_rejected("a withdrawn key", &old.text).await;
        self.traffic.until_all_hold_good_tokens().await;
        self.traffic.until_answered(500).await;
    }
}

fn family_of(resource: &str) -> &'static str {
    let found = RESOURCES.iter().find(|(name, _)| *name == resource);
    found.unwrap().1
}

/// All settings have their defaults. A token of a withdrawn key uses one of the four loads that
/// unknown key ids may cause, with one more every 30 s. Three keys that had tokens are withdrawn
/// here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_valid_token_is_rejected_while_the_provider_changes_its_keys() {
    let test = "changes of keys under load";
    let Some(place) = Place::of_environment(test) else {
        return;
    };
    let _turn = ONE_AT_A_TIME.lock().await;
    let provider = Provider::new(&place.issuer);
    provider.forget_counts().await;
    let keys = KeyStore::discover(&issuer(&place.issuer)).unwrap();
    let keys = keys.connect().await.unwrap();
    let address = serve(&place.issuer, &keys, Arc::default()).await;
    let (traffic, clients) = Traffic::start(&provider, address, CLIENTS, true).await;
    let mut change = Change {
        traffic: &traffic,
        caller: Caller::connect(address).await,
    };

    change.rotate("calendar").await;
    change.rotate("es256").await;
    change.replace("calendar").await;
    change.rotate("es256").await;
    change.replace("eddsa").await;
    change.rotate("calendar").await;

    let seen = traffic.end(clients).await;
    assert!(
        traffic.counts.borrow().rejected > 0,
        "withdrawn tokens were shown"
    );
    // The first, one for each change, one for each of the three withdrawn keys.
    let fetches = provider.fetches().await;
    assert!((7..=10).contains(&fetches), "{fetches}");
    assert_eq!(keys.generation(), 6);
    say(&format!(
        "{test}: {CLIENTS} clients, 6 changes, {fetches} fetches, {seen}"
    ));
}

/// The provider hangs, continues, is killed, and comes back with other keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_valid_token_is_rejected_while_the_provider_is_away() {
    let test = "an outage under load";
    let Some(place) = Place::of_environment(test) else {
        return;
    };
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut process = Process::start(&place.app, "provider-outage").await;
    let provider = Provider::new(&process.issuer());
    let keys = KeyStore::discover(&issuer(&process.issuer())).unwrap();
    let keys = keys.timeout(Duration::from_millis(1_500));
    let keys = keys.unknown_key_cooldown(Duration::from_millis(200));
    let keys = keys.connect().await.unwrap();
    let address = serve(&process.issuer(), &keys, Arc::default()).await;
    let (traffic, clients) = Traffic::start(&provider, address, CLIENTS, false).await;
    let mut caller = Caller::connect(address).await;
    let token = provider.token("es256").await;
    caller
        .is_rejected("before", &token.with_key_id("x-0"))
        .await;
    let failing = || keys.status().failing.expect("loading fails").reason;

    process.signal("STOP").await;
    let before = *traffic.counts.borrow();
    let mut unknown = JoinSet::new();
    for number in 0..8 {
        let token = token.with_key_id(&format!("x-{number}-hanging"));
        let mut caller = Caller::connect(address).await;
        unknown.spawn(async move { caller.ask(&token).await });
    }
    while let Some(answer) = unknown.join_next().await {
        answer.unwrap().is_nobodys_fault("unknown while it hangs");
    }
    let meanwhile = traffic.counts.borrow().accepted - before.accepted;
    assert!(meanwhile > 0, "requests go on while others wait");
    assert!(failing().contains("no answer within"), "{}", failing());
    // The issuer may have a new key under the old id.
    let forged = caller.ask(&token.forged()).await;
    forged.is_nobodys_fault("forged while it hangs");
    caller.is_accepted("known while it hangs", &token).await;

    process.signal("CONT").await;
    provider.rotate("p256").await;
    let next = provider.token("es256").await;
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let hung = caller.is_accepted_soon(&next, unavailable).await;
    caller.is_accepted("known before it hung", &token).await;
    assert!(keys.status().failing.is_none());

    let mut old = Vec::new();
    for (_, family) in RESOURCES {
        old.extend(provider.published(family).await);
    }
    process.kill().await;
    for number in 0..20 {
        let token = token.with_key_id(&format!("x-{number}-killed"));
        caller
            .ask(&token)
            .await
            .is_nobodys_fault("unknown while it is away");
    }
    assert!(failing().contains("refused"), "{}", failing());
    traffic.until_answered(2_000).await;
    let forged = caller.ask(&next.forged()).await;
    forged.is_nobodys_fault("forged while it is away");
    caller.is_accepted("known while it is away", &next).await;

    traffic.are_now(&old, Standing::Leaving);
    process.start_again().await;
    let mut away = 0;
    for (resource, _) in RESOURCES {
        let new = provider.token(resource).await;
        away += caller.is_accepted_soon(&new, unavailable).await;
    }
    traffic.are_now(&old, Standing::Withdrawn);
    caller
        .is_rejected_soon("a key of the last run", &next.text)
        .await;
    caller
        .is_rejected_soon("unknown again", &token.with_key_id("x-1"))
        .await;
    traffic.until_all_hold_good_tokens().await;
    traffic.renews.store(true, Ordering::Release);
    traffic.until_answered(1_000).await;

    let seen = traffic.end(clients).await;
    say(&format!(
        "{test}: {CLIENTS} clients, {meanwhile} requests accepted while 8 waited for a provider \
         that hung, {hung} and {away} answers 503 until new keys were there, {seen}"
    ));
}

/// JWKS-D1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_unknown_key_ids_hides_neither_known_keys_nor_a_rotation() {
    const STORM: usize = 10_000;
    /// The number of loads in a row that unknown key ids may cause.
    const BURST: u64 = 4;
    const COOLDOWN: Duration = Duration::from_millis(500);

    let test = "a storm of unknown key ids";
    let Some(place) = Place::of_environment(test) else {
        return;
    };
    let _turn = ONE_AT_A_TIME.lock().await;
    let provider = Provider::new(&place.issuer);
    provider.forget_counts().await;
    let started = Instant::now();
    let keys = KeyStore::discover(&issuer(&place.issuer)).unwrap();
    let keys = keys.unknown_key_cooldown(COOLDOWN).connect().await.unwrap();
    let arrivals = Arc::<Arrivals>::default();
    let address = serve(&place.issuer, &keys, Arc::clone(&arrivals)).await;
    let (traffic, clients) = Traffic::start(&provider, address, 8, false).await;
    let mut caller = Caller::connect(address).await;
    let token = provider.token("es256").await;

    let mut storm = JoinSet::new();
    for client in 0..AT_ONCE {
        let (token, arrivals) = (token.clone(), Arc::clone(&arrivals));
        storm.spawn(async move {
            for number in (client..STORM).step_by(AT_ONCE) {
                let token = token.with_key_id(&random_id(number));
                let arrived = arrivals.each[client].notified();
                hit_and_run(address, client, &token, arrived, number.is_multiple_of(8)).await;
            }
        });
    }
    let mut arrived = arrivals.all.subscribe();
    let third = timeout(PATIENCE, arrived.wait_for(|arrived| *arrived >= STORM / 3)).await;
    third.expect("the storm arrives").unwrap();
    let (before, rotated) = (provider.fetches().await, Instant::now());
    provider.rotate("p256").await;
    let new = provider.token("es256").await;
    // If no load may start, the missing key is not a fault of the token.
    let rejected = caller
        .is_accepted_soon(&new, StatusCode::SERVICE_UNAVAILABLE)
        .await;
    let found_after = rotated.elapsed();
    let found_by = provider.fetches().await - before;
    assert!(*arrived.borrow() < STORM, "the storm goes on");
    assert!(found_after < COOLDOWN + PATIENCE / 6, "{found_after:?}");
    // One load may have been under way already.
    assert!(found_by <= 2, "{found_by}");
    while let Some(client) = storm.join_next().await {
        client.expect("not one wrong answer");
    }
    assert_eq!(*arrived.borrow(), STORM);

    // A client that closes its connection does not cancel a load: all loads have ended.
    let (mut fetches, ended) = (provider.fetches().await, Instant::now());
    while keys.status().loads != fetches {
        assert!(ended.elapsed() < PATIENCE, "{fetches}, {}", keys.status());
        fetches = provider.fetches().await;
    }
    let intervals = started.elapsed().as_millis() / COOLDOWN.as_millis();
    // The first load, the burst, one for each cooldown, and the one that the rotation gives back.
    let allowed = 1 + BURST + u64::try_from(intervals).unwrap() + 1;
    assert!((3..=allowed).contains(&fetches), "{fetches} of {allowed}");
    assert_eq!(keys.generation(), 1, "the rotation alone");
    let seen = traffic.end(clients).await;
    assert_eq!(traffic.counts.borrow().rejected, 0);
    say(&format!(
        "{test}: {STORM} requests, {fetches} fetches of {allowed} allowed, the rotation was found \
         after {found_after:.1?} and {rejected} answers 503; known keys: {seen}"
    ));
}

/// Another id for each number, without an order.
fn random_id(number: usize) -> String {
    let number = u64::try_from(number).unwrap();
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Sends a request, and closes the connection when the service has it, or after the answer, which
/// must be a rejection. If the client did not wait for the service, the server could notice the end
/// of the connection before it calls the service.
async fn hit_and_run(
    address: SocketAddr,
    client: usize,
    token: &str,
    arrived: impl Future<Output = ()>,
    is_patient: bool,
) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /storm/{client} HTTP/1.1\r\nhost: calendar.example\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    arrived.await;
    if is_patient {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        // 503 if the allowance is used up, because then no load may start.
        let is_rejected = ["HTTP/1.1 401 ", "HTTP/1.1 503 "].map(|line| answer.starts_with(line));
        assert!(is_rejected.contains(&true), "{answer}");
    }
}
