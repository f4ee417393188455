//! Keys that change every millisecond.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, KeySet};

use crate::measure::{Lane, Plan, Requests, Subject, Tokens, median};
use crate::ours::{self, Caching};
use crate::tokens::{World, request};
use crate::{peers, plain, support, table};

pub fn run(plan: &Plan) {
    let mut rows = Vec::new();
    for algorithm in [Algorithm::RS256, Algorithm::HS256] {
        let world = World::new(algorithm);
        for (name, caching) in [
            ("as it comes", Caching::Default),
            ("cache off", Caching::Off),
        ] {
            let name = format!("**tower-jwt-auth**, {name}, {}", algorithm.as_str());
            let (keys, sets) = (world.issuer.keys(), sets(&world));
            let change = |turn: usize| {
                if let Some(set) = sets.get(turn % 2) {
                    keys.replace(set.clone());
                }
            };
            rows.push(row(
                &name,
                ours::service(&world, caching),
                &world,
                plan,
                &change,
            ));
        }
        if let Some((service, change)) = peers::changing(&world) {
            let name = format!("aliri_tower, {}", algorithm.as_str());
            rows.push(row(&name, service, &world, plan, &*change));
        }
        let name = format!(
            "jsonwebtoken::decode, whose key stays, {}",
            algorithm.as_str()
        );
        rows.push(row(
            &name,
            plain::plain_decode(&world),
            &world,
            plan,
            &|_| {},
        ));
    }
    table::print(
        "A token of a key that stays, while the key set is replaced every millisecond",
        &[
            "contender",
            "calm",
            "storm",
            "storm / calm",
            "changes",
            "wrong verdicts",
        ],
        &rows,
    );
    println!("\nThe other peers take new keys from a URL alone, at intervals of theirs.");
    let times = if plan.quick { 50 } else { 2_000 };
    let wrong = revoked(times);
    println!(
        "\nA key that goes and comes {times} times: {wrong} wrong verdicts at the next request."
    );
    let last = |row: &Vec<String>| row.last().is_some_and(|wrong| wrong != "0");
    assert!(wrong == 0 && !rows.iter().any(last), "a verdict was wrong");
}

/// The key of the issuer alone, and together with another key.
fn sets(world: &World) -> [KeySet; 2] {
    let other = TestIssuer::with_algorithm(world.algorithm);
    let other = other.key().with_key_id("other");
    let both = KeySet::new([other, world.issuer.key()]);
    [KeySet::from(world.issuer.key()), both.expect("two keys")]
}

fn row(
    name: &str,
    subject: Box<dyn Subject>,
    world: &World,
    plan: &Plan,
    change: &(dyn Fn(usize) + Sync),
) -> Vec<String> {
    let (mut judge, token) = (subject.twin(), world.token());
    let mut lane = Requests::new(name, subject, Tokens::one(Some(token.clone())));
    let (storm, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let changes = AtomicUsize::new(0);
    let (mut calm, mut stormy, mut wrong) = (Vec::new(), Vec::new(), 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if storm.load(Ordering::Relaxed) {
                    change(changes.fetch_add(1, Ordering::Relaxed));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        for _ in 0..plan.rounds {
            storm.store(false, Ordering::Relaxed);
            calm.push(lane.run(plan.time * 4));
            storm.store(true, Ordering::Relaxed);
            stormy.push(lane.run(plan.time * 4));
            let requests: Vec<_> = (0..50).map(|_| request(Some(&token))).collect();
            wrong += 50 - judge.answer(requests).accepted;
        }
        done.store(true, Ordering::Relaxed);
    });
    let ratios = stormy.iter().zip(&calm).map(|(storm, calm)| storm / calm);
    let ratio = table::ratio(median(ratios.collect()));
    let changes = changes.into_inner().to_string();
    let (calm, stormy) = (table::time(median(calm)), table::time(median(stormy)));
    vec![
        name.to_owned(),
        calm,
        stormy,
        ratio,
        changes,
        wrong.to_string(),
    ]
}

/// Removes and adds a key this number of times. Returns the number of requests that did not see a
/// change at once.
fn revoked(times: usize) -> usize {
    let world = World::new(Algorithm::ES256);
    let (keys, token) = (world.issuer.keys(), world.token());
    let other = TestIssuer::new();
    let without = KeySet::from(other.key().with_key_id("other"));
    let with = KeySet::from(world.issuer.key());
    let stray = support::token(&other).header("kid", "other").mint();
    let mut service = ours::service(&world, Caching::Default);
    let mut accepted = |token: &str| service.answer(vec![request(Some(token))]).accepted;
    let mut wrong = 0;
    for _ in 0..times {
        keys.replace(with.clone());
        wrong += 1 - accepted(&token) + accepted(&stray);
        keys.replace(without.clone());
        wrong += accepted(&token) + 1 - accepted(&stray);
    }
    wrong
}
