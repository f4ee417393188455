//! Keys of a real OpenID provider under load: it rotates and withdraws them, is stopped, is killed
//! and comes back, and is asked for by a storm, while clients call a real axum server all the time.
//!
//! The provider is started around the test (`start.sh -- cargo test --test provider_load`) and says
//! in `IDP_ISSUER` and `IDP_DIR` where it is; without these the tests say that they skip.

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

/// One test at a time: they change the provider's keys, and each wants the machine for itself.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// How many clients ask all the while.
const CLIENTS: usize = 64;
/// How many clients of a storm there are.
const AT_ONCE: usize = 32;
/// The provider's resources, each with the family of the keys that sign for it.
const RESOURCES: [(&str, &str); 3] = [("calendar", "rsa"), ("es256", "p256"), ("eddsa", "ed25519")];
/// No condition of these tests takes this long to come about.
const PATIENCE: Duration = Duration::from_secs(30);

fn say(text: &str) {
    // Not `println`, which the test harness keeps to itself when all goes well.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn issuer(provider: &str) -> Issuer {
    Issuer::new(provider).unwrap()
}

async fn read(claims: RequireScope<scope!("calendar:read")>) -> String {
    claims.subject().unwrap_or_default().to_owned()
}

/// The requests of a storm that the service has got.
#[derive(Default)]
struct Arrivals {
    all: watch::Sender<usize>,
    /// Told to each client of the storm, which has one request under way at a time.
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

/// Starts an API with these keys, for tokens of all [`RESOURCES`].
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

/// A client with one connection, which has to last for the whole test.
struct Caller(SendRequest<Empty<Bytes>>);

/// What a client sees of an answer: the status, the error of the challenge, and whether it is told
/// to come back.
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

    /// Asks until the token is rejected; before, nobody may be allowed to look for its key.
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

    /// Asks until the token is accepted; every answer before has this status. Gives their number.
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

/// What the tokens of a key are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// They are valid.
    Published,
    /// The provider withdraws the key about now, and the service may have heard of it or not.
    Leaving,
    /// The service has a key set without it.
    Withdrawn,
}

/// What all clients have seen.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    accepted: usize,
    rejected: usize,
    renewed: usize,
}

/// Clients that ask all the time, and what each of their answers may be.
struct Traffic {
    provider: Provider,
    address: SocketAddr,
    /// Of keys that are not here, tokens are valid.
    standings: RwLock<HashMap<String, Standing>>,
    /// The id of the key whose token each client has; `None` while it fetches one.
    held: Mutex<Vec<Option<String>>>,
    counts: watch::Sender<Counts>,
    /// Whether clients fetch new tokens now and then, and not only in place of a rejected one.
    renews: AtomicBool,
    is_over: AtomicBool,
    slowest: AtomicU64,
}

impl Traffic {
    /// Starts the clients; all of them have a token when this comes back.
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

    /// Waits until the clients have been answered so many times more.
    async fn until_answered(&self, times: usize) {
        let until = self.counts.borrow().accepted + times;
        self.until(|counts| counts.accepted >= until).await;
    }

    async fn until(&self, condition: impl FnMut(&Counts) -> bool) {
        let mut counts = self.counts.subscribe();
        // Nothing is counted any more when every client has seen a wrong answer.
        let waited = timeout(PATIENCE, counts.wait_for(condition)).await;
        waited.expect("the clients go on").unwrap();
    }

    /// Ends the clients. One that has seen a wrong answer fails the test here.
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

/// One rotation or withdrawal of keys, seen from the service.
struct Change<'a> {
    traffic: &'a Traffic,
    caller: Caller,
}

impl Change<'_> {
    /// A new key signs beside the old ones. The first request that shows it is accepted.
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

    /// A new key signs in place of all old ones. The first request that shows it is their end.
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

/// All settings are the defaults, so a token of a withdrawn key costs one of the four look-ups that
/// unknown key ids have in 30 s: three keys that had tokens are withdrawn here.
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

/// The provider hangs, goes on, is killed, and comes back with other keys.
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
    // The issuer may have new key material under the old id.
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
    /// Fetches that unknown key ids may cause in a row.
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
    // Where nobody may look for the key, that it is not there is no fault of the token.
    let rejected = caller
        .is_accepted_soon(&new, StatusCode::SERVICE_UNAVAILABLE)
        .await;
    let found_after = rotated.elapsed();
    let found_by = provider.fetches().await - before;
    assert!(*arrived.borrow() < STORM, "the storm goes on");
    assert!(found_after < COOLDOWN + PATIENCE / 6, "{found_after:?}");
    // One may have been under way already.
    assert!(found_by <= 2, "{found_by}");
    while let Some(client) = storm.join_next().await {
        client.expect("not one wrong answer");
    }
    assert_eq!(*arrived.borrow(), STORM);

    // Whoever hangs up takes no fetch with him: all of them have come to their end.
    let (mut fetches, ended) = (provider.fetches().await, Instant::now());
    while keys.status().loads != fetches {
        assert!(ended.elapsed() < PATIENCE, "{fetches}, {}", keys.status());
        fetches = provider.fetches().await;
    }
    let intervals = started.elapsed().as_millis() / COOLDOWN.as_millis();
    // The first, the burst, one for each interval, and what the rotation gives back.
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

/// Another id for each number, in no order.
fn random_id(number: usize) -> String {
    let number = u64::try_from(number).unwrap();
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Sends a request and hangs up: as soon as the service has it, or after the answer, which is a
/// rejection. A client that does not wait for the service is not even heard: the server sees it gone
/// before it calls anybody.
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
        // 503 once the allowance is spent: then nobody has looked for the key.
        let is_rejected = ["HTTP/1.1 401 ", "HTTP/1.1 503 "].map(|line| answer.starts_with(line));
        assert!(is_rejected.contains(&true), "{answer}");
    }
}
