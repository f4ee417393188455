//! One thread and two: what contenders share between processors.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use tower_jwt_auth::Algorithm;

use crate::measure::{Plan, Subject, amount, median};
use crate::ours::{self, Caching};
use crate::tokens::{World, request};
use crate::{peers, plain, table};

pub fn run(plan: &Plan) {
    let world = World::new(Algorithm::RS256);
    let tokens = world.pool(if plan.quick { 50 } else { 1_000 });
    let (one, all) = (tokens.get(..1).unwrap_or_default(), &*tokens);
    let mut rows = Vec::new();
    let mut add = |name: &str, subject: Box<dyn Subject>, tokens: &[String]| {
        rows.push(row(name, &*subject, tokens, plan));
    };
    add("no auth", plain::no_auth(), one);
    add(
        "floor: a ready `Arc`, one for both",
        plain::floor(&world),
        one,
    );
    let service = |caching| ours::service(&world, caching);
    add(
        "**tower-jwt-auth**, one token",
        service(Caching::Default),
        one,
    );
    add(
        "**tower-jwt-auth**, 1 000 tokens",
        service(Caching::Default),
        all,
    );
    add("**tower-jwt-auth**, cache off", service(Caching::Off), one);
    add("jsonwebtoken::decode", plain::plain_decode(&world), one);
    for peer in &peers::ALL {
        let service = (peer.service)(&world).expect("they know RS256");
        add(peer.name, service, one);
    }
    table::print(
        "One thread and two, RS256: requests per second, from the median of all batches",
        &["contender", "one", "two", "two / one", "best / best"],
        &rows,
    );
    println!("\nBoth threads begin each batch together. Other work on the machine takes more from");
    println!("two threads than from one: the best batches are what the contender can do.");
}

fn row(name: &str, subject: &dyn Subject, tokens: &[String], plan: &Plan) -> Vec<String> {
    let batch = if plan.quick { 32 } else { 256 };
    let mut warm = subject.twin();
    warm.answer(tokens.iter().map(|token| request(Some(token))).collect());
    // The number of batches per round that fit the time, at least one.
    let first = batches(subject, tokens, 1, batch, 1);
    let fitting = plan.time.as_secs_f64() * 2.0 / median(first);
    let count = (1..50).rev().find(|count| amount(*count) <= fitting);
    let count = count.unwrap_or(1);

    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for _ in 0..plan.rounds {
        for (threads, times) in (1..).zip(&mut times) {
            times.extend(batches(subject, tokens, threads, batch, count));
        }
    }
    let [one, two] = times;
    let least = |times: &[f64]| times.iter().copied().fold(f64::INFINITY, f64::min);
    let best = 2.0 * least(&one) / least(&two);
    let (one, two) = (amount(batch) / median(one), amount(2 * batch) / median(two));
    vec![
        name.to_owned(),
        format!("{one:.0}"),
        format!("{two:.0}"),
        table::ratio(two / one),
        table::ratio(best),
    ]
}

/// The time of each batch, which is that of the slower thread.
fn batches(
    subject: &dyn Subject,
    tokens: &[String],
    threads: usize,
    batch: usize,
    count: usize,
) -> Vec<f64> {
    let gate = &AtomicUsize::new(0);
    let runtime = &tokio::runtime::Handle::current();
    let all: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let mut subject = subject.twin();
                // Each thread begins with another token.
                let turns = tokens.iter().cycle().skip(thread * tokens.len() / 2);
                scope.spawn(move || {
                    let _guard = runtime.enter();
                    let mut turns = turns;
                    let time = |at: usize| {
                        let requests = turns.by_ref().take(batch);
                        let requests = requests.map(|token| request(Some(token))).collect();
                        gate.fetch_add(1, Ordering::AcqRel);
                        wait(gate, (at + 1) * threads);
                        let start = Instant::now();
                        let answers = subject.answer(requests);
                        let spent = start.elapsed().as_secs_f64();
                        assert_eq!(answers.accepted, batch);
                        spent
                    };
                    (0..count).map(time).collect()
                })
            })
            .collect();
        let all = running.into_iter().map(|thread| thread.join());
        all.map(|times| times.expect("no panic")).collect()
    });
    let slower = |at: usize| {
        let times = all.iter().filter_map(|times| times.get(at).copied());
        times.fold(0.0, f64::max)
    };
    (0..count).map(slower).collect()
}

/// Waits for all threads without sleeping, because a thread that wakes up starts late.
fn wait(gate: &AtomicUsize, all: usize) {
    let mut spins = 0_u32;
    while gate.load(Ordering::Acquire) < all {
        spins += 1;
        if spins.is_multiple_of(10_000) {
            // The other thread may need this processor.
            std::thread::yield_now();
        }
        spin_loop();
    }
}
