//! The cost of a shared denylist: a request with 100 000 marks compared with none, for a token in
//! the cache and for a new one, and the time until a mark of one instance is in force on another.
//! Starts the `redis-server` on the path, or prints that there is none.
//!
//! `cargo bench --all-features --bench revocation`

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

use std::alloc::System;
use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Runtime;
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::revocation::{RedisDenylist, Revocation};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, Claims, JwtAuth, Verifier};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    // Without `cargo bench` the code only has to run.
    let is_measured = std::env::args().any(|argument| argument == "--bench");
    let (rounds, calls, marks) = if is_measured {
        (41, 20_000, 100_000)
    } else {
        (1, 10, 100)
    };
    let directory = std::env::temp_dir().join(format!("bench-redis-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("redis.sock");
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--save", "", "--unixsocket"]);
    let server = server.arg(&socket).stdout(Stdio::null()).spawn();
    let Ok(server) = server else {
        println!("skipped: no `redis-server` on the PATH");
        return;
    };
    let _server = Server(server);
    let client = redis::Client::open(format!("redis+unix://{}", socket.display())).unwrap();
    while client.get_connection().is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    let runtime = Runtime::new().unwrap();
    let connect = |namespace| {
        let list = RedisDenylist::new(client.clone(), namespace).unwrap();
        runtime.block_on(list.connect()).unwrap()
    };
    let issuer = TestIssuer::with_algorithm(Algorithm::HS256);
    let empty = connect("none");
    fill(&client, &issuer, marks);
    let begin = Instant::now();
    let full = connect("full");
    println!("{marks} marks loaded in {:?}", begin.elapsed());
    assert_eq!(full.status().marks, marks);

    let token = issuer.token().claim("sid", "laptop").mint();
    let cached: &dyn Fn(JwtAuth) -> Verifier = &|auth| auth.verifier();
    let first: &dyn Fn(JwtAuth) -> Verifier = &|auth| auth.cache(TokenCache::off()).verifier();
    for (name, make) in [("cached", cached), ("first seen", first)] {
        let verifiers = [
            make(issuer.auth()),
            make(issuer.auth().revocation(empty.clone())),
            make(issuer.auth().revocation(full.clone())),
        ];
        let times = times(&verifiers, &token, rounds, calls);
        for (what, [without, none, many]) in ["fastest", "median"].into_iter().zip(times) {
            println!(
                "{name}, {what}: {without:.1} ns without a list, {none:.1} ns with an empty one, {many:.1} ns with {marks} marks"
            );
        }
    }

    let claims: Claims = issuer.auth().verifier().verify_now(&token).unwrap();
    // Short rounds, of which some are not interrupted on a busy machine.
    for (list, marks) in [(&empty, 0), (&full, marks)] {
        let ([fastest, median], allocations) = check(list, &claims, rounds * 40, calls / 40 + 1);
        println!(
            "the check alone: {median:.1} ns ({fastest:.1} in the fastest round) and {allocations} allocations with {marks} marks"
        );
    }

    let (here, there) = (connect("way"), connect("way"));
    let watching = issuer.auth().revocation(there).verifier();
    let mut times: Vec<_> = (0..rounds)
        .map(|at| {
            let id = format!("id-{at}");
            let token = issuer.token().claim("jti", &*id).mint();
            assert!(watching.verify_now(&token).is_ok());
            let end = SystemTime::now() + Duration::from_secs(3_600);
            let issuer = issuer.issuer().to_string();
            let begin = Instant::now();
            runtime.block_on(here.revoke_id(&issuer, &id, end)).unwrap();
            while watching.verify_now(&token).is_ok() {
                std::thread::yield_now();
            }
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    let median = times.get(times.len() / 2).unwrap();
    println!("a mark is in force on another instance after {median:?} (median)");
    drop(runtime);
    let _ = std::fs::remove_dir_all(directory);
}

/// Stores marks in the form of the list, in one step.
fn fill(client: &redis::Client, issuer: &TestIssuer, marks: usize) {
    let script = "for at = 1, tonumber(ARGV[3]) do
        redis.call('HSET', KEYS[1], ARGV[1] .. at, 'r*,' .. ARGV[2])
        end";
    let issuer = issuer.issuer().to_string();
    let end = SystemTime::now() + Duration::from_secs(3_600);
    let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg("{full}:marks");
    // Marks for sessions, because every token of the bench has a session.
    command.arg(format!("s{}:{issuer}session-", issuer.len()));
    command.arg(end.as_millis().to_string()).arg(marks);
    command.exec(&mut client.get_connection().unwrap()).unwrap();
}

/// The fastest and the median times of a verification in nanoseconds, of interleaved rounds.
fn times<const N: usize>(
    verifiers: &[Verifier; N],
    token: &str,
    rounds: usize,
    calls: u32,
) -> [[f64; N]; 2] {
    let mut times = vec![Vec::new(); N];
    for round in 0..rounds {
        // In turn forwards and backwards, because the one that comes later takes some 2 ns more.
        let mut pairs: Vec<_> = verifiers.iter().zip(&mut times).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (verifier, times) in pairs {
            let begin = Instant::now();
            for _ in 0..calls {
                verifier.verify_now(black_box(token)).unwrap();
            }
            times.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    [0, rounds / 2].map(|round| {
        std::array::from_fn(|at| *times.get(at).and_then(|times| times.get(round)).unwrap())
    })
}

/// The fastest and the median time of a check with its epoch in nanoseconds, as the verifier asks for them, and
/// the allocations of one round. The other threads of the process follow Redis, so the round with the fewest
/// allocations counts.
fn check(list: &RedisDenylist, claims: &Claims, rounds: usize, calls: u32) -> ([f64; 2], usize) {
    let mut times = Vec::with_capacity(rounds);
    let mut allocations = usize::MAX;
    for _ in 0..rounds {
        let region = Region::new(ALLOCATOR);
        let begin = Instant::now();
        for _ in 0..calls {
            black_box(list.epoch_and_check(black_box(claims)));
        }
        times.push(begin.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
        allocations = allocations.min(region.change().allocations);
    }
    times.sort_by(f64::total_cmp);
    let at = |at: usize| *times.get(at).unwrap();
    ([at(0), at(times.len() / 2)], allocations)
}

/// A Redis server that ends with the bench.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
