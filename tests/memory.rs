//! A cache holds no more bytes than its limit, as counted by the allocator, for all kinds of tokens
//! and uses of their claims.

#![cfg(feature = "test-util")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::alloc::System;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::claims::SubjectId;
use tower_jwt_auth::revocation::{Denylist, RevocationMark};
use tower_jwt_auth::test::{TestIssuer, TestToken};
use tower_jwt_auth::{Claims, JwtAuth, NoClaims};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const LIMIT: usize = 128 << 10;

#[derive(Deserialize)]
#[allow(dead_code, reason = "there to be read into")]
struct User {
    email: String,
    permissions: Vec<String>,
}

type All = Map<String, Value>;

/// The number of bytes that stay allocated after these tokens were sent several times, and `ask`
/// was called for each.
fn held<C>(issuer: &TestIssuer, tokens: &[String], ask: impl Fn(&Claims<C>)) -> usize
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), issuer.keys());
    let verifier = auth.cache(usual()).claims::<C>().verifier();
    let region = Region::new(ALLOCATOR);
    let mut most = 0;
    for _ in 0..2 {
        for token in tokens {
            for _ in 0..2 {
                ask(&verifier.verify_now(token).unwrap());
            }
            let change = region.change();
            most = most.max(change.bytes_allocated - change.bytes_deallocated);
        }
    }
    most
}

fn ask_nothing<C>(_: &Claims<C>) {}

fn ask_all<C: Send + Sync + 'static>(claims: &Claims<C>) {
    claims.scopes().iter().for_each(drop);
    claims.roles().iter().for_each(drop);
    claims.deserialize::<All>().unwrap();
    claims.deserialize::<Value>().unwrap();
    claims.deserialize::<User>().unwrap();
}

/// The number of bytes that the first token of a layer allocates.
fn first(issuer: &TestIssuer) -> usize {
    let verifier = issuer.auth().cache(usual()).verifier();
    let token = issuer.token().mint();
    let region = Region::new(ALLOCATOR);
    verifier.verify_now(&token).unwrap();
    region.change().bytes_allocated
}

fn usual() -> TokenCache {
    let cache = TokenCache::default().max_bytes(LIMIT).max_tokens(1_000);
    cache.max_age(Duration::from_secs(300))
}

/// The number of bytes of a list with one suspended subject of each of 1 000 issuers, and of the
/// same list after all suspensions were lifted.
fn marked() -> (usize, usize) {
    let end = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    let marks: Vec<_> = (0..1_000)
        .map(|tenant| SubjectId::new(&format!("https://{tenant}.example"), "alice"))
        .map(|alice| RevocationMark::subject(alice, end, end).suspension())
        .collect();
    let list = Denylist::default();
    let region = Region::new(ALLOCATOR);
    let held = || {
        let change = region.change();
        change
            .bytes_allocated
            .saturating_sub(change.bytes_deallocated)
    };
    marks.iter().for_each(|mark| list.mark(mark).unwrap());
    let marked = held();
    for mark in &marks {
        assert!(list.lift(mark.target()));
    }
    (marked, held())
}

/// The number of bytes that the first 100 and then all 10 000 invented tokens hold, while the endpoint
/// does not answer.
#[cfg(feature = "introspection")]
fn held_by_a_storm() -> [usize; 2] {
    use tower_jwt_auth::introspection::{ClientAuth, Introspection};

    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().build().unwrap();
    let silent = |_: http::Request<Vec<u8>>, _: usize| std::future::pending();
    let client = ClientAuth::secret_basic("calendar-api", "secret").unwrap();
    let introspection = Introspection::at_with("https://as.example/introspect", client, silent);
    let issuer = TestIssuer::new();
    let auth = JwtAuth::introspected(issuer.issuer(), issuer.audience(), introspection.unwrap());
    let verifier = auth.cache(usual()).verifier();
    let region = Region::new(ALLOCATOR);
    [0..100, 100..10_000].map(|junk| {
        runtime.block_on(async {
            for at in junk {
                let token = format!("{at}-{}", "x".repeat(1_000));
                let rejection = verifier.verify_now(&token).unwrap_err();
                assert_eq!(rejection.status().as_u16(), 503);
            }
            tokio::task::yield_now().await;
        });
        let change = region.change();
        change.bytes_allocated - change.bytes_deallocated
    })
}

/// A single test, because the counts are those of the whole process.
#[test]
fn a_cache_holds_no_more_bytes_than_it_may_and_makes_its_table_before_the_first_token() {
    #[cfg(feature = "introspection")]
    {
        let [few, many] = held_by_a_storm();
        // The open questions, each with its token.
        assert!(few < 1_000_000, "{few}");
        assert!(many <= few + 100_000, "{few} {many}");
    }
    let (marked, lifted) = marked();
    assert!(marked < 4_000_000, "{marked}");
    // The parts and the filter of one table, whose size does not depend on the number of marks and issuers.
    assert!(lifted < 170_000, "{lifted}");
    let issuer = TestIssuer::new();
    // The table of 32 kB and the key of 64 kB were allocated before.
    assert!(first(&issuer) < 8_000, "{}", first(&issuer));
    let tokens = |count: usize, shape: &dyn Fn(TestToken) -> TestToken| -> Vec<String> {
        let token = |number: usize| {
            let token = issuer.token().claim("jti", number.to_string());
            let token = token.claim("email", "ada@example.com");
            let token = token.claim("permissions", json!(["a", "b", "c"]));
            shape(token.expires_in(Duration::from_secs(3_600))).mint()
        };
        (0..count).map(token).collect()
    };
    let list = |count: usize, item: Value| Value::from(vec![item; count]);
    let plain = tokens(300, &|token| token.scope("read write").roles(["editor"]));
    let escaped = tokens(60, &|token| {
        let role = |number| format!("line\n{number}");
        let token = token.claim("roles", (0..60).map(role).collect::<Vec<_>>());
        token.claim("scope", format!("one two three\\four {}", "x".repeat(500)))
    });
    let words = tokens(60, &|token| {
        let words: Vec<_> = (0..400).map(|number| format!("{number:x}")).collect();
        token.claim("scope", words.join(" ")).claim("roles", words)
    });
    let numbers = tokens(30, &|token| token.claim("numbers", list(1_000, json!(1))));
    let lists = tokens(30, &|token| token.claim("lists", list(500, json!([1]))));
    let objects = tokens(30, &|token| {
        token.claim("objects", list(300, json!({"a": 1})))
    });
    let members = tokens(30, &|token| {
        let members = (0..300).map(|number| (format!("{number:x}"), json!(1)));
        token.claim("members", Value::Object(members.collect()))
    });
    // Little memory is not counted by the cache, because one token is verified at a time.
    let bound = LIMIT + LIMIT / 16;
    for (name, tokens) in [
        ("plain", &plain),
        ("escaped", &escaped),
        ("words", &words),
        ("numbers", &numbers),
        ("lists", &lists),
        ("objects", &objects),
        ("members", &members),
    ] {
        for (asked, bytes) in [
            ("nothing", held::<NoClaims>(&issuer, tokens, ask_nothing)),
            ("general", held::<NoClaims>(&issuer, tokens, ask_all)),
            ("own", held::<User>(&issuer, tokens, ask_nothing)),
            ("all of them", held::<All>(&issuer, tokens, ask_nothing)),
            ("everything", held::<Value>(&issuer, tokens, ask_all)),
        ] {
            assert!(bytes <= bound, "{name}, {asked}: {bytes}");
        }
    }
    // The twin: the counted bytes are really used. Most of the limit serves ordinary tokens.
    let bytes = held::<NoClaims>(&issuer, &plain, ask_nothing);
    assert!(bytes > LIMIT / 3, "{bytes}");
    let bytes = held::<User>(&issuer, &plain, ask_nothing);
    assert!(bytes > LIMIT / 3, "{bytes}");
}
