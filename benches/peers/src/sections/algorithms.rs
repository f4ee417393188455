//! Every algorithm, with good and bad tokens, and the decoding without a layer.

use std::hint::black_box;
use std::sync::Arc;

use tower_jwt_auth::Algorithm;

use crate::measure::{Calls, Figures, Lane, Plan, Requests, Tokens, race};
use crate::ours::{self, Caching};
use crate::support::ALGORITHMS;
use crate::tokens::{Kind, World};
use crate::{peers, plain, table};

pub fn run(plan: &Plan) {
    let plan = &Plan {
        rounds: plan.rounds / 2 + 1,
        time: plan.time / 2,
        ..*plan
    };
    println!("\nCells: median time, times the time without auth, allocations; the status where it");
    println!("is neither 200 for a good token nor 401 for a bad one.");
    let mut decoding = Vec::new();
    for algorithm in ALGORITHMS {
        let world = World::new(algorithm);
        requests(&world, plan);
        decoding.extend(decode(&world, plan));
    }
    table::print(
        "Token text to typed claims, without HTTP; ours verifies every time",
        &[
            "algorithm",
            "ours",
            "jsonwebtoken::decode",
            "ours / jsonwebtoken",
            "allocations",
        ],
        &decoding,
    );
}

/// One table: the contenders, and what is wrong with the token.
fn requests(world: &World, plan: &Plan) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for kind in Kind::ALL {
        let mut lanes = lanes(world, kind, plan);
        let figures = race(&mut lanes, plan);
        let base = figures.first().expect("no auth is the first");
        if rows.is_empty() {
            names = figures.iter().map(|row| row.name.clone()).collect();
            rows = names.iter().map(|name| vec![name.clone()]).collect();
        }
        for (name, cells) in names.iter().zip(&mut rows) {
            let row = figures.iter().find(|row| row.name == *name);
            cells.push(row.map_or_else(|| "-".into(), |row| cell(row, base, kind)));
        }
    }
    let mut columns = vec!["contender"];
    columns.extend(Kind::ALL.map(Kind::name));
    let heading = format!("Whole request, {}", world.algorithm.as_str());
    table::print(&heading, &columns, &rows);
    for peer in &peers::ALL {
        if let Err(reason) = (peer.service)(world) {
            println!("\n{} is not here: {reason}.", peer.name);
        }
    }
}

fn lanes(world: &World, kind: Kind, plan: &Plan) -> Vec<Box<dyn Lane>> {
    let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
    let token = world.token_of(kind);
    let mut add = |name: &str, subject, tokens| {
        lanes.push(Box::new(Requests::new(name, subject, tokens)));
    };
    let again = || Tokens::one(token.clone());
    add("no auth", plain::no_auth(), again());
    if kind == Kind::Accepted {
        let fresh = world.pool(if plan.quick { 100 } else { 1_000 });
        let stream = || Tokens::once(Arc::clone(&fresh), plan.rounds);
        let bare = plain::bare_check(world, &fresh);
        let ours = ours::service(world, Caching::Default);
        add("no auth + bare signature check", bare, stream());
        add("**tower-jwt-auth**, first-seen stream", ours, stream());
    }
    add(
        "**tower-jwt-auth**",
        ours::service(world, Caching::Default),
        again(),
    );
    add(
        "**tower-jwt-auth**, cache off",
        ours::service(world, Caching::Off),
        again(),
    );
    add("jsonwebtoken::decode", plain::plain_decode(world), again());
    for peer in &peers::ALL {
        if let Ok(service) = (peer.service)(world) {
            add(peer.name, service, again());
        }
    }
    lanes
}

fn cell(row: &Figures, base: &Figures, kind: Kind) -> String {
    let figures = format!(
        "{}, {}, {}",
        table::time(row.median()),
        table::ratio(row.times(base)),
        table::count(row.allocations),
    );
    let expected = if kind == Kind::Accepted { 200 } else { 401 };
    match row.status {
        Some(status) if status != expected && row.name != base.name => {
            format!("{figures} ({status})")
        }
        _ => figures,
    }
}

fn decode(world: &World, plan: &Plan) -> Option<Vec<String>> {
    let (token, peer) = (world.token(), plain::Decode::new(world));
    let verifier = ours::layer(world, Caching::Off).verifier();
    let mut lanes: Vec<Box<dyn Lane + '_>> = vec![
        Box::new(Calls::new("ours", || {
            black_box(verifier.verify_now(black_box(&token)).expect("good"));
        })),
        Box::new(Calls::new("theirs", || {
            black_box(peer.decode(black_box(&token)).expect("good"));
        })),
    ];
    let figures = race(&mut lanes, plan);
    let [ours, theirs] = figures.as_slice() else {
        return None;
    };
    Some(vec![
        name(world.algorithm),
        table::time(ours.median()),
        table::time(theirs.median()),
        table::both_ratios(ours, theirs),
        format!(
            "{} / {}",
            table::count(ours.allocations),
            table::count(theirs.allocations)
        ),
    ])
}

fn name(algorithm: Algorithm) -> String {
    algorithm.as_str().to_owned()
}
