//! A whole request through the layer on a bare Tower service.

use std::sync::Arc;

use tower_jwt_auth::Algorithm;

use crate::measure::{Lane, Plan, Requests, Tokens, race};
use crate::ours::{self, Caching, HAS_CACHE};
use crate::tokens::World;
use crate::{peers, plain, table};

pub fn run(plan: &Plan) {
    let world = World::new(Algorithm::RS256);
    let token = world.token();
    let again = || Tokens::one(Some(token.clone()));
    let fresh = world.pool(if plan.quick { 100 } else { 4_000 });
    let stream = || Tokens::once(Arc::clone(&fresh), plan.rounds);

    let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
    let mut add = |name: &str, subject, tokens| {
        lanes.push(Box::new(Requests::new(name, subject, tokens)));
    };
    add(NO_AUTH, plain::no_auth(), again());
    add(FLOOR, plain::floor(&world), again());
    let service = |caching| ours::service(&world, caching);
    add(
        "**tower-jwt-auth**, repeated token",
        service(Caching::Default),
        again(),
    );
    add(
        "**tower-jwt-auth**, first-seen stream",
        service(Caching::Default),
        stream(),
    );
    // As many tokens as are used before the first round.
    add(
        "**tower-jwt-auth**, first-seen stream, cache full",
        service(Caching::For(16)),
        stream(),
    );
    add(
        "**tower-jwt-auth**, cache off",
        service(Caching::Off),
        again(),
    );
    add(BARE, plain::bare_check(&world, &fresh), stream());
    add("jsonwebtoken::decode", plain::plain_decode(&world), again());

    for peer in &peers::ALL {
        add(
            peer.name,
            (peer.service)(&world).expect("they know RS256"),
            again(),
        );
    }

    let figures = race(&mut lanes, plan);
    for row in &figures {
        assert_eq!(row.status, Some(200), "{} rejects a good token", row.name);
    }
    table::race(
        "Whole request, RS256, 1.4 kB token with 12 claims",
        &figures,
        &[
            (NO_AUTH, "x no auth"),
            (FLOOR, "x floor"),
            (BARE, "x bare check"),
        ],
    );
    if !HAS_CACHE {
        println!("\nThe layer has no cache yet: each of its three rows verifies every time.");
    }
}

const NO_AUTH: &str = "no auth";
const FLOOR: &str = "floor: a ready `Arc` into the extensions";
const BARE: &str = "no auth + bare signature check";
