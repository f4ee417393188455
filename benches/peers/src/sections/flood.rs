//! Ten forged tokens for each good one.

use std::time::Instant;

use tower_jwt_auth::Algorithm;

use crate::measure::{Plan, Subject, amount, median};
use crate::ours::{self, Caching};
use crate::tokens::{World, request};
use crate::{peers, plain, table};

pub fn run(plan: &Plan) {
    let world = World::new(Algorithm::RS256);
    let good = world.pool(if plan.quick { 50 } else { 1_000 });
    let forged = world.forged(if plan.quick { 500 } else { 20_000 });
    let flood = |make: &dyn Fn() -> Box<dyn Subject>| Flood::run(make, &good, &forged, plan);

    let off = flood(&|| ours::service(&world, Caching::Off));
    let fast = median(off.here.clone()) / 2.0;
    let on = flood(&|| ours::service(&world, Caching::Default));
    let mut rows = vec![
        on.row("**tower-jwt-auth**", fast),
        off.row("**tower-jwt-auth**, cache off", fast),
        flood(&|| plain::plain_decode(&world)).row("jsonwebtoken::decode", fast),
    ];
    for peer in &peers::ALL {
        let service = || (peer.service)(&world).expect("they know RS256");
        rows.push(flood(&service).row(peer.name, fast));
    }
    table::print(
        &format!(
            "{} good tokens in turn, ten forged ones before each; RS256",
            good.len()
        ),
        &[
            "contender",
            "good, forged ones elsewhere",
            "good, forged ones here",
            "here / elsewhere",
            "hits elsewhere, here",
            "forged let through",
        ],
        &rows,
    );
    println!("\nElsewhere: another instance gets the forged ones, so that the caches of the");
    println!(
        "processor suffer alike. A hit: faster than {}, half of a verification.",
        table::time(fast)
    );
    assert_eq!(
        on.through + off.through,
        0,
        "a forged token was let through"
    );
}

/// The times of good requests while another instance or this one gets the forged ones.
struct Flood {
    elsewhere: Vec<f64>,
    here: Vec<f64>,
    through: usize,
    sent: usize,
}

impl Flood {
    fn run(
        make: &dyn Fn() -> Box<dyn Subject>,
        good: &[String],
        forged: &[String],
        plan: &Plan,
    ) -> Self {
        let (mut calm, mut flooded, mut other) = (make(), make(), make());
        for subject in [&mut calm, &mut flooded] {
            subject.answer(good.iter().map(|token| request(Some(token))).collect());
        }
        let mut flood = Self {
            elsewhere: Vec::new(),
            here: Vec::new(),
            through: 0,
            sent: 0,
        };
        let count = plan.rounds * if plan.quick { 5 } else { 25 };
        let mut forgeries = forged.iter().cycle();
        let mut next = || -> Vec<_> {
            let ten = forgeries.by_ref().take(10);
            ten.map(|token| request(Some(token))).collect()
        };
        for token in good.iter().cycle().take(count) {
            flood.through += other.answer(next()).accepted;
            flood.elsewhere.push(time(&mut *calm, token));
            flood.through += flooded.answer(next()).accepted;
            flood.here.push(time(&mut *flooded, token));
            flood.sent += 20;
        }
        flood
    }

    fn row(&self, name: &str, fast: f64) -> Vec<String> {
        let hits = |times: &[f64]| {
            let hits = times.iter().filter(|time| **time < fast).count();
            format!("{:.0} %", 100.0 * amount(hits) / amount(times.len()))
        };
        let (elsewhere, here) = (median(self.elsewhere.clone()), median(self.here.clone()));
        vec![
            name.to_owned(),
            table::time(elsewhere),
            table::time(here),
            table::ratio(here / elsewhere),
            format!("{}, {}", hits(&self.elsewhere), hits(&self.here)),
            format!("{} of {}", self.through, self.sent),
        ]
    }
}

/// The time of one request, which must be accepted.
fn time(subject: &mut dyn Subject, token: &str) -> f64 {
    let request = vec![request(Some(token))];
    let start = Instant::now();
    let answers = subject.answer(request);
    let spent = start.elapsed();
    assert_eq!(answers.accepted, 1);
    spent.as_secs_f64()
}
