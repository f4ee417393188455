//! A denylist that instances share, on a real Redis server that the tests start, stop, pause, empty
//! and disconnect. No test depends on the speed of the machine, because each waits for a state.

#![cfg(all(feature = "redis", feature = "test-util"))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panic"
)]

#[path = "support/redis.rs"]
mod real;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use real::{Cluster, Mode, Proxy, Server, is_installed};
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::revocation::{
    RedisDenylist, RevocationMark, RevocationTarget, RevocationWriter, RevokeError,
};
use tower_jwt_auth::test::{TestIssuer, TestToken};
use tower_jwt_auth::{JwtAuth, RejectionKind};

/// An instance of a service: its layer and its list.
struct Instance {
    issuer: TestIssuer,
    auth: JwtAuth,
    list: RedisDenylist,
}

impl Instance {
    async fn start(issuer: &TestIssuer, client: redis::Client) -> Self {
        Self::with_lag(issuer, client, Duration::from_secs(60)).await
    }

    async fn with_lag(issuer: &TestIssuer, client: redis::Client, max_lag: Duration) -> Self {
        let list = RedisDenylist::new(client, "test").unwrap().max_lag(max_lag);
        Self::of(issuer, list.connect().await.unwrap())
    }

    fn of(issuer: &TestIssuer, list: RedisDenylist) -> Self {
        Self {
            issuer: issuer.clone(),
            auth: issuer.auth().revocation(list.clone()),
            list,
        }
    }

    fn verdict(&self, token: &TestToken) -> Option<RejectionKind> {
        self.verdict_on(&token.mint())
    }

    fn verdict_on(&self, token: &str) -> Option<RejectionKind> {
        let verdict = self.auth.verifier().verify_now(token);
        verdict.err().map(|rejection| rejection.kind())
    }

    /// A token with this id.
    fn token(&self, id: &str) -> TestToken {
        self.issuer.token().claim("jti", id)
    }

    async fn revoke(&self, id: &str) -> Result<(), RevokeError> {
        self.list.revoke_id(&self.iss(), id, end()).await
    }

    fn iss(&self) -> String {
        self.issuer.issuer().to_string()
    }

    /// Waits until this instance rejects the token with this id as revoked.
    async fn sees(&self, id: &str) {
        let token = self.token(id);
        let what = format!("{id} is revoked: {}", self.list.status());
        eventually(&what, || self.verdict(&token) == Some(Revoked)).await;
    }
}

use RejectionKind::{RevocationUnavailable, Revoked, Suspended};

fn end() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3_600)
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

macro_rules! redis_or_skip {
    () => {
        if !is_installed() {
            return;
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_of_each_kind_is_in_force_on_the_other_instance() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    let there = Instance::start(&issuer, server.client()).await;
    let token = |claim: &str, value: &str| issuer.token().claim(claim, value);
    let (iss, now) = (here.iss(), SystemTime::now());
    let alice = || SubjectId::new(&iss, "alice");
    let cases = [
        (
            RevocationMark::token_id(&iss, "one", end()),
            token("jti", "one"),
            token("jti", "two"),
        ),
        (
            RevocationMark::session(&iss, "phone", end()),
            token("sid", "phone"),
            token("sid", "laptop"),
        ),
        (
            RevocationMark::subject(alice(), now, end()),
            token("sub", "alice"),
            token("sub", "bob"),
        ),
        (
            RevocationMark::client(&iss, "app", now, end()),
            token("client_id", "app"),
            token("client_id", "other"),
        ),
    ];
    for (mark, hit, miss) in cases {
        assert_eq!(there.verdict(&hit), None);
        here.list.write(mark).await.unwrap();
        // In force here at once.
        assert_eq!(here.verdict(&hit), Some(Revoked));
        eventually("revoked there", || there.verdict(&hit) == Some(Revoked)).await;
        assert_eq!(here.verdict(&miss), None);
        assert_eq!(there.verdict(&miss), None);
    }
    let any = token("jti", "any");
    let mark = RevocationMark::issuer(&iss, now - Duration::from_secs(3_600), end());
    there.list.mark(&mark).await.unwrap();
    assert_eq!(there.verdict(&any), None, "issued later");
    let mark = RevocationMark::issuer(&iss, SystemTime::now(), end());
    there.list.mark(&mark).await.unwrap();
    eventually("all are revoked", || here.verdict(&any) == Some(Revoked)).await;
    assert_eq!(here.list.status().marks, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cached_token_is_rejected_too_and_a_lifted_suspension_ends() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    let there = Instance::start(&issuer, server.client()).await;
    let token = issuer.token().subject("alice").mint();
    let alice = SubjectId::new(&here.iss(), "alice");
    let target = RevocationTarget::Subject(alice.clone());
    for _ in 0..3 {
        eventually("active", || there.verdict_on(&token).is_none()).await;
        assert_eq!(there.verdict_on(&token), None);
        let suspended = here
            .list
            .suspend_subject(alice.clone(), SystemTime::now(), end());
        suspended.await.unwrap();
        assert_eq!(here.verdict_on(&token), Some(Suspended));
        eventually("suspended", || there.verdict_on(&token) == Some(Suspended)).await;
        // The other instance lifts the suspension.
        assert_eq!(there.list.lift(&target).await, Ok(true));
        assert_eq!(there.verdict_on(&token), None);
        eventually("lifted", || here.verdict_on(&token).is_none()).await;
        assert_eq!(there.list.lift(&target).await, Ok(false));
    }
    // A revocation of the same target stays.
    let mark = RevocationMark::subject(alice, SystemTime::now(), end());
    here.list.mark(&mark.clone().suspension()).await.unwrap();
    here.list.mark(&mark).await.unwrap();
    assert_eq!(here.list.lift(&target).await, Ok(true));
    assert_eq!(here.verdict_on(&token), Some(Revoked));
    eventually("revoked", || there.verdict_on(&token) == Some(Revoked)).await;
}

/// The store contains only names and times.
#[tokio::test(flavor = "multi_thread")]
async fn the_store_has_nothing_of_a_token() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let here = Instance::start(&TestIssuer::new(), server.client()).await;
    let token = here.token("one").claim("email", "alice@example.com").mint();
    let claims = here.auth.verifier().verify_now(&token).unwrap();
    here.list.revoke(&claims).await.unwrap();
    let mut keys: Vec<String> = server.ask("KEYS", &["*"]);
    keys.sort_unstable();
    assert_eq!(keys, ["{test}:ends", "{test}:log", "{test}:marks"]);
    let rows: Vec<String> = server.ask("HGETALL", &["{test}:marks"]);
    let ends: Vec<String> = server.ask("ZRANGE", &["{test}:ends", "0", "-1"]);
    let log: redis::Value = server.ask("XRANGE", &["{test}:log", "-", "+"]);
    let text = format!("{rows:?} {ends:?} {log:?}");
    assert!(text.contains("one"));
    for part in token.split('.').chain(["alice@example.com"]) {
        assert!(!text.contains(part));
    }
    let life: i64 = server.ask("TTL", &["{test}:log"]);
    assert!((1..=3_600).contains(&life), "{life}");
}

/// OIDC-BCL: an outage is 503, and never a rejection of the token.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_is_503_after_max_lag_and_then_good_again() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let lag = Duration::from_millis(500);
    let here = Instance::with_lag(&issuer, server.client(), lag).await;
    let bold = RedisDenylist::new(server.client(), "test").unwrap();
    let bold = bold.max_lag(lag).insecure_accept_when_behind();
    let bold = Instance::of(&issuer, bold.connect().await.unwrap());
    let other = Instance::start(&issuer, server.client()).await;
    let (good, bad) = (here.token("good").mint(), here.token("bad").mint());
    other.revoke("bad").await.unwrap();
    for instance in [&here, &bold] {
        instance.sees("bad").await;
        eventually("good", || instance.verdict_on(&good).is_none()).await;
    }
    for round in 0..2 {
        server.signal("-STOP");
        eventually("503", || {
            here.verdict_on(&good) == Some(RevocationUnavailable)
        })
        .await;
        // A token that is known to be revoked is still rejected with 401.
        assert_eq!(here.verdict_on(&bad), Some(Revoked));
        assert!(!here.list.is_ready() && here.list.status().is_behind);
        assert!(here.list.status().lag.unwrap() > lag);
        eventually("a reason", || here.list.status().failing.is_some()).await;
        eventually("also behind", || !bold.list.is_ready()).await;
        assert_eq!(bold.verdict_on(&good), None);
        assert_eq!(bold.verdict_on(&bad), Some(Revoked));
        let unstored = here.list.revoke_id("https://x.example", "x", end()).await;
        assert!(
            matches!(unstored, Err(RevokeError::Unavailable { .. })),
            "{unstored:?}"
        );
        server.signal("-CONT");
        eventually("good again", || here.verdict_on(&good).is_none()).await;
        assert_eq!(here.verdict_on(&bad), Some(Revoked));
        let id = format!("round {round}");
        other.revoke(&id).await.unwrap();
        here.sees(&id).await;
        bold.sees(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_503_until_it_is() {
    redis_or_skip!();
    let mut server = Server::start(&[]);
    server.kill();
    let issuer = TestIssuer::new();
    let settings = || RedisDenylist::new(server.client(), "test").unwrap();
    let error = settings().connect().await.unwrap_err().to_string();
    let port = server.port.to_string();
    assert!(
        error.contains("shared denylist") && error.contains(&port),
        "{error}"
    );
    let strict = Instance::of(&issuer, settings().connect_lazy().unwrap());
    let bold = settings().insecure_accept_when_behind();
    let bold = Instance::of(&issuer, bold.connect_lazy().unwrap());
    let token = issuer.token().mint();
    assert_eq!(strict.verdict_on(&token), Some(RevocationUnavailable));
    assert_eq!(bold.verdict_on(&token), None);
    assert!(!bold.list.is_ready() && bold.list.status().lag.is_none());
    let unstored = strict.revoke("x").await;
    assert!(
        matches!(unstored, Err(RevokeError::Unavailable { .. })),
        "{unstored:?}"
    );
    server.restart();
    eventually("good", || strict.verdict_on(&token).is_none()).await;
    eventually("ready", || bold.list.is_ready()).await;
    strict.revoke("x").await.unwrap();
    bold.sees("x").await;
    let status = strict.list.status();
    assert!(
        status.connected_since.is_some() && status.failing.is_none(),
        "{status:?}"
    );
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(
        (&json["is_behind"], &json["marks"]),
        (&false.into(), &1.into())
    );
}

/// The store loses its marks in three ways.
#[tokio::test(flavor = "multi_thread")]
async fn marks_that_an_instance_knows_are_written_back_to_a_store_that_lost_them() {
    redis_or_skip!();
    let mut server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    let there = Instance::start(&issuer, server.client()).await;
    here.revoke("early").await.unwrap();
    there.sees("early").await;
    let alice = SubjectId::new(&here.iss(), "alice");
    let mark = RevocationMark::subject(alice, SystemTime::now(), end());
    there.list.mark(&mark.suspension()).await.unwrap();
    let suspended = issuer.token().subject("alice").claim("jti", "of alice");
    eventually("suspended", || here.verdict(&suspended) == Some(Suspended)).await;

    for loss in ["flushed", "restarted empty", "restarted with older data"] {
        match loss {
            "flushed" => server.ask::<()>("FLUSHALL", &[]),
            "restarted empty" => {
                server.kill();
                server.restart();
            }
            _ => {
                server.ask::<()>("SAVE", &[]);
                here.revoke("after the snapshot").await.unwrap();
                there.sees("after the snapshot").await;
                server.kill();
                server.restart();
            }
        }
        let written = || server.ask::<i64>("HLEN", &["{test}:marks"]) > 4;
        eventually(loss, written).await;
        for instance in [&here, &there] {
            // The token is never accepted, and the outage does not last long.
            assert_eq!(instance.verdict(&instance.token("early")), Some(Revoked));
            assert_eq!(instance.verdict(&suspended), Some(Suspended));
            eventually("ready", || instance.list.is_ready()).await;
        }
        // A new instance gets the marks.
        let new = Instance::start(&issuer, server.client()).await;
        new.sees("early").await;
        eventually(loss, || new.verdict(&suspended) == Some(Suspended)).await;
        if loss == "restarted with older data" {
            new.sees("after the snapshot").await;
        }
        // The three instances exchange marks as before.
        let id = format!("after it was {loss}");
        new.revoke(&id).await.unwrap();
        here.sees(&id).await;
        there.sees(&id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_away_revives_no_suspension_that_was_lifted_after_a_loss() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    let there = Instance::with_lag(&issuer, proxy.client(), Duration::from_secs(2)).await;
    let alice = SubjectId::new(&here.iss(), "alice");
    let target = RevocationTarget::Subject(alice.clone());
    let mark = RevocationMark::subject(alice, SystemTime::now(), end()).suspension();
    here.list.mark(&mark).await.unwrap();
    let token = issuer.token().subject("alice");
    eventually("suspended", || there.verdict(&token) == Some(Suspended)).await;
    proxy.set(Mode::Hold);
    server.ask::<()>("FLUSHALL", &[]);
    let written = || server.ask::<i64>("HLEN", &["{test}:marks"]) > 4;
    eventually("written back", written).await;
    assert_eq!(here.list.lift(&target).await, Ok(true));
    proxy.set(Mode::Forward);
    eventually("lifted", || there.verdict(&token).is_none()).await;
    assert_eq!(here.verdict(&token), None);
    assert!(!written());
    // The subject can be suspended again.
    here.list.mark(&mark).await.unwrap();
    eventually("again", || there.verdict(&token) == Some(Suspended)).await;
    assert_eq!(here.verdict(&token), Some(Suspended));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_trimmed_is_replaced_by_a_snapshot() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    let there = Instance::start(&issuer, proxy.client()).await;
    let bob = SubjectId::new(&here.iss(), "bob");
    let target = RevocationTarget::Subject(bob.clone());
    let mark = RevocationMark::subject(bob, SystemTime::now(), end()).suspension();
    here.list.mark(&mark).await.unwrap();
    let of_bob = issuer.token().subject("bob");
    eventually("suspended", || there.verdict(&of_bob) == Some(Suspended)).await;
    for (round, how) in ["trimmed", "removed"].into_iter().enumerate() {
        let snapshots = there.list.status().snapshots;
        proxy.set(Mode::Hold);
        for at in 0..5 {
            here.revoke(&format!("{round} {at}")).await.unwrap();
        }
        if round == 0 {
            // The lift happens while the other instance is away, and the log no longer has its
            // entry.
            here.list.lift(&target).await.unwrap();
        }
        match how {
            "trimmed" => server.ask::<()>("XTRIM", &["{test}:log", "MAXLEN", "1"]),
            _ => server.ask::<()>("DEL", &["{test}:log"]),
        }
        proxy.set(Mode::Forward);
        for at in 0..5 {
            there.sees(&format!("{round} {at}")).await;
        }
        eventually("lifted", || there.verdict(&of_bob).is_none()).await;
        assert_eq!(there.list.status().snapshots, snapshots + 1, "{how}");
        here.revoke(&format!("{round} later")).await.unwrap();
        there.sees(&format!("{round} later")).await;
        assert_eq!(there.list.status().snapshots, snapshots + 1, "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_in_a_change_leaves_all_of_it_or_nothing() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let proxy = Proxy::start(&server).await;
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, proxy.client()).await;
    let there = Instance::start(&issuer, server.client()).await;
    here.revoke("before").await.unwrap();
    there.sees("before").await;
    for (mode, is_stored) in [(Mode::CutRequest, false), (Mode::CutAnswer, true)] {
        let id = if is_stored { "answer" } else { "request" };
        proxy.set(mode);
        let result = here.revoke(id).await;
        assert!(
            matches!(result, Err(RevokeError::Unavailable { .. })),
            "{result:?}"
        );
        proxy.set(Mode::Forward);
        // Another instance makes a later change, which comes after this one in the log.
        there.revoke(&format!("behind {id}")).await.unwrap();
        here.sees(&format!("behind {id}")).await;
        let expected = is_stored.then_some(Revoked);
        assert_eq!(there.verdict(&there.token(id)), expected, "{id}");
        assert_eq!(here.verdict(&here.token(id)), expected, "{id}");
        // Repeating the change does no harm, and stores the mark.
        here.revoke(id).await.unwrap();
        assert_eq!(here.verdict(&here.token(id)), Some(Revoked));
        there.sees(id).await;
    }
    // If the connection was closed since the last change, that is not even an error.
    proxy.cut();
    here.revoke("after the cut").await.unwrap();
    there.sees("after the cut").await;
    eventually("connected", || here.list.status().failing.is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_marks_are_loaded_at_the_start() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let first = Instance::start(&issuer, server.client()).await;
    let iss = first.iss();
    let fill = "for at = 1, 100000 do
        local target = ARGV[1] .. at
        redis.call('HSET', KEYS[1], target, 'r*,' .. ARGV[2])
        redis.call('ZADD', KEYS[2], ARGV[2], target)
        end";
    let target = format!("t{}:{iss}id-", iss.len());
    let ends = end().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let ends = ends.as_millis().to_string();
    let keys = ["{test}:marks", "{test}:ends"];
    server.ask::<()>("EVAL", &[fill, "2", keys[0], keys[1], &target, &ends]);
    let begin = Instant::now();
    let here = Instance::start(&issuer, server.client()).await;
    println!("100 000 marks loaded in {:?}", begin.elapsed());
    assert_eq!(here.list.status().marks, 100_000);
    for id in ["id-1", "id-50000", "id-100000"] {
        assert_eq!(here.verdict(&here.token(id)), Some(Revoked));
    }
    assert_eq!(here.verdict(&here.token("id-0")), None);
    // The list is full now, so a further revocation is an error.
    assert_eq!(here.revoke("one more").await, Err(RevokeError::Full));
    assert_eq!(here.verdict(&here.token("one more")), None);
    // A known target can still get a later time.
    here.revoke("id-7").await.unwrap();
    // When other marks have ended, there is room again.
    let mut ended = "local all = redis.call('ZRANGE', KEYS[2], 0, 99)
        for _, target in ipairs(all) do redis.call('ZADD', KEYS[2], 1, target) end";
    server.ask::<()>("EVAL", &[std::mem::take(&mut ended), "2", keys[0], keys[1]]);
    here.revoke("one more").await.unwrap();
    assert_eq!(here.verdict(&here.token("one more")), Some(Revoked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_used_and_never_shown() {
    redis_or_skip!();
    let server = Server::start(&["--requirepass", "correct horse"]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port);
    let settings = |url: String| {
        let client = redis::Client::open(url).unwrap();
        RedisDenylist::new(client, "test").unwrap()
    };
    let right = settings(url("correct%20horse"));
    let shown = format!("{right:?}");
    let list = right.connect().await.unwrap();
    let shown = format!("{shown} {list:?} {:?} {}", list.status(), list.status());
    assert!(!shown.contains("horse"), "{shown}");
    list.revoke_id("i", "x", end()).await.unwrap();
    for wrong in [url("battery%20staple"), server.url()] {
        let error = settings(wrong).connect().await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("staple") && !text.contains("horse"),
            "{text}"
        );
    }
}

/// The rights of the user in the guide are sufficient.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_rights_of_the_guide_can_do_it_all() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let guide = include_str!("../src/guide/revocation.md");
    let rights = guide.split_once("ACL SETUSER calendar ").unwrap().1;
    let rights = rights.split_once("```").unwrap().0;
    let rights = rights.replace("{calendar}", "{test}");
    let rights: Vec<_> = ["SETUSER", "calendar"]
        .into_iter()
        .chain(rights.split_whitespace())
        .collect();
    server.ask::<()>("ACL", &rights);
    let url = format!("redis://calendar:PASSWORD@127.0.0.1:{}", server.port);
    let client = || redis::Client::open(&*url).unwrap();
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, client()).await;
    let there = Instance::start(&issuer, client()).await;
    here.revoke("one").await.unwrap();
    there.sees("one").await;
    let run: String = server.ask("HGET", &["{test}:marks", "#run"]);
    assert_eq!(run.len(), 40);
    // An ended mark is removed, and a suspension is lifted.
    here.list.suspend_id("i", "x", end()).await.unwrap();
    let target = RevocationTarget::Token {
        issuer: "i".into(),
        id: "x".into(),
    };
    assert_eq!(there.list.lift(&target).await, Ok(true));
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    here.list.revoke_id("i", "old", long_ago).await.unwrap();
    here.revoke("two").await.unwrap();
    assert_eq!(server.ask::<i64>("ZCARD", &["{test}:ends"]), 2);
}

/// Without `INFO` a restart of the server that loses the last marks would not be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_not_call_info_is_an_error() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let user = ["SETUSER", "app", "on", ">pw", "~*", "+@all", "-@dangerous"];
    server.ask::<()>("ACL", &user);
    let client = || {
        let url = format!("redis://app:pw@127.0.0.1:{}", server.port);
        redis::Client::open(url).unwrap()
    };
    let list = RedisDenylist::new(client(), "test").unwrap();
    let error = list.connect().await.unwrap_err().to_string();
    assert!(
        error.contains("INFO") && error.contains("run_id"),
        "{error}"
    );
    server.ask::<()>("ACL", &["SETUSER", "app", "+info"]);
    let here = Instance::start(&TestIssuer::new(), client()).await;
    here.revoke("x").await.unwrap();
    here.sees("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_wrote_is_skipped_and_kept() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, server.client()).await;
    here.revoke("one").await.unwrap();
    let known = format!("t{}:{}new", here.iss().len(), here.iss());
    let set = |target: &str, marks: &str| {
        let change = "local id = redis.call('HGET', KEYS[1], '#id')
            local number = redis.call('HINCRBY', KEYS[1], '#number', 1)
            redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
            redis.call('XADD', KEYS[2], number .. '-0', 'i', id, 't', ARGV[1], 'm', ARGV[2])";
        let keys = ["{test}:marks", "{test}:log"];
        server.ask::<()>("EVAL", &[change, "2", keys[0], keys[1], target, marks]);
    };
    set("z3:abcdef", "r*,99999999999999");
    set(&known, "r*,99999999999999;z5");
    eventually("skipped", || here.list.status().skipped == 2).await;
    // This version must not overwrite the mark.
    let result = here.revoke("new").await;
    assert!(
        matches!(result, Err(RevokeError::Unavailable { .. })),
        "{result:?}"
    );
    assert_eq!(
        server.ask::<String>("HGET", &["{test}:marks", &known]),
        "r*,99999999999999;z5"
    );
    here.revoke("two").await.unwrap();
    let there = Instance::start(&issuer, server.client()).await;
    assert_eq!(there.list.status().skipped, 2);
    there.sees("two").await;
    assert_eq!(here.list.status().snapshots, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_not_followed() {
    redis_or_skip!();
    let main = Server::start(&[]);
    let port = main.port.to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]);
    let settings = RedisDenylist::new(replica.client(), "test").unwrap();
    let error = settings.connect().await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("read"), "{error}");
    // A replica that was promoted is followed.
    replica.ask::<()>("REPLICAOF", &["NO", "ONE"]);
    let here = Instance::start(&TestIssuer::new(), replica.client()).await;
    here.revoke("x").await.unwrap();
    here.sees("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_found_through_any_of_its_nodes() {
    redis_or_skip!();
    let nodes = Cluster::start().nodes;
    let port = nodes[1].port.to_string();
    let issuer = TestIssuer::new();
    let here = Instance::start(&issuer, nodes[0].client()).await;
    let there = Instance::start(&issuer, nodes[1].client()).await;
    here.revoke("one").await.unwrap();
    there.sees("one").await;
    there.revoke("two").await.unwrap();
    here.sees("two").await;
    // Moves the slot to the other node, key by key.
    let slot: u16 = nodes[0].ask("CLUSTER", &["KEYSLOT", "{test}:marks"]);
    let slot = slot.to_string();
    let owns = |at: usize| {
        let answer: String = nodes[at].ask("CLUSTER", &["COUNTKEYSINSLOT", &slot]);
        answer
    };
    let (from, to) = (&nodes[0], &nodes[1]);
    let name = |node: &Server| node.ask::<String>("CLUSTER", &["MYID"]);
    let (from_id, to_id) = (name(from), name(to));
    to.ask::<()>("CLUSTER", &["SETSLOT", &slot, "IMPORTING", &from_id]);
    from.ask::<()>("CLUSTER", &["SETSLOT", &slot, "MIGRATING", &to_id]);
    for key in ["{test}:marks", "{test}:log", "{test}:ends"] {
        from.ask::<()>("MIGRATE", &["127.0.0.1", &port, key, "0", "5000"]);
        let between = here.revoke("between").await;
        assert!(
            matches!(between, Ok(()) | Err(RevokeError::Unavailable { .. })),
            "{between:?}"
        );
        println!("{key}: {between:?}, {}", here.list.status());
        assert_eq!(there.verdict(&there.token("one")), Some(Revoked));
    }
    for node in [to, from] {
        node.ask::<()>("CLUSTER", &["SETSLOT", &slot, "NODE", &to_id]);
    }
    println!("keys: {} {}", owns(0), owns(1));
    let stored = || here.list.status().failing.is_none() && there.list.status().failing.is_none();
    eventually("connected", stored).await;
    for (instance, other, id) in [(&here, &there, "three"), (&there, &here, "four")] {
        let begin = Instant::now();
        while instance.revoke(id).await.is_err() {
            assert!(begin.elapsed() < PATIENCE, "never stored: {id}");
        }
        other.sees(id).await;
        for id in ["one", "two"] {
            assert_eq!(instance.verdict(&instance.token(id)), Some(Revoked));
        }
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_errors() {
    let client = || redis::Client::open("redis://127.0.0.1:1").unwrap();
    let long = "x".repeat(129);
    for namespace in ["", "a b", "{a}", "a{", "ä", "a\n", &long] {
        let error = RedisDenylist::new(client(), namespace).unwrap_err();
        assert!(error.to_string().contains("namespace"), "{error}");
    }
    let list = RedisDenylist::new(client(), "a:b/c.d").unwrap();
    let list = list.connect_lazy().unwrap();
    let long = "x".repeat(5_000);
    let result = list.revoke_id("i", &long, end()).await;
    assert_eq!(result, Err(RevokeError::TooLong));
    let client = client();
    let outside = std::thread::spawn(|| RedisDenylist::new(client, "a").unwrap().connect_lazy());
    let error = outside.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("tokio runtime"), "{error}");
}

/// The task ends with its runtime. Then the copy grows old, and marks are errors.
#[test]
fn a_list_whose_runtime_has_ended_says_so() {
    if !is_installed() {
        return;
    }
    let server = Server::start(&[]);
    let issuer = TestIssuer::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let lag = Duration::from_millis(300);
    let here = runtime.block_on(Instance::with_lag(&issuer, server.client(), lag));
    drop(runtime);
    let other = tokio::runtime::Runtime::new().unwrap();
    let token = here.token("one");
    other.block_on(async {
        let result = here.revoke("two").await;
        assert!(
            matches!(result, Err(RevokeError::Unavailable { .. })),
            "{result:?}"
        );
        let is_out = || here.verdict(&token) == Some(RevocationUnavailable);
        eventually("503", is_out).await;
    });
    let failing = here.list.status().failing.unwrap();
    assert!(
        failing.reason.contains("no longer read"),
        "{}",
        failing.reason
    );
}

/// A mark that one process sets is in force in another process. Prints the time that it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_reaches_another_process() {
    redis_or_skip!();
    let server = Server::start(&[]);
    let here = Instance::start(&TestIssuer::new(), server.client()).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["the_other_process", "--exact", "--nocapture"])
        .env(OTHER_PROCESS, server.url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = |wanted: &str| {
        for line in lines.by_ref() {
            if line.unwrap().ends_with(wanted) {
                return;
            }
        }
        panic!("the other process has ended before {wanted:?}");
    };
    line("watching 0");
    let mut times = Vec::new();
    for at in 0..MARKS {
        let begin = Instant::now();
        here.revoke(&format!("id-{at}")).await.unwrap();
        line(&format!("revoked {at}"));
        times.push(begin.elapsed());
        line(&format!("watching {}", at + 1));
    }
    input.write_all(b"end\n").unwrap();
    assert!(child.wait().unwrap().success());
    times.sort_unstable();
    let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "a mark is in force in the other process after {median:?} (median), {last:?} (maximum)"
    );
}

/// The process that the test above starts.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_process() {
    let Ok(url) = std::env::var(OTHER_PROCESS) else {
        return;
    };
    let client = redis::Client::open(url).unwrap();
    let there = Instance::start(&TestIssuer::new(), client).await;
    for at in 0..MARKS {
        let token = there.token(&format!("id-{at}")).mint();
        assert_eq!(there.verdict_on(&token), None);
        println!("watching {at}");
        let begin = Instant::now();
        while there.verdict_on(&token) != Some(Revoked) {
            assert!(begin.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        println!("revoked {at}");
    }
    println!("watching {MARKS}");
    let mut end = String::new();
    std::io::stdin().read_line(&mut end).unwrap();
}

const OTHER_PROCESS: &str = "TOWER_JWT_AUTH_OTHER_PROCESS";
const MARKS: usize = 30;
