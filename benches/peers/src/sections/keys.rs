//! Ten keys in the set, and a hundred thousand.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, KeySet};

use crate::measure::{Lane, Plan, Requests, Subject, Tokens, race};
use crate::ours::{self, Caching};
use crate::tokens::World;
use crate::{peers, support, table};

pub fn run(plan: &Plan) {
    let few = with_keys(10);
    let many = with_keys(if plan.quick { 1_000 } else { 100_000 });
    let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
    let mut add = |name: &str, service: &dyn Fn(&World) -> Box<dyn Subject>| {
        for (world, tokens) in [&few, &many] {
            let name = format!("{name}, {} keys", world.keys.len());
            let tokens = Tokens::turns(tokens.clone());
            lanes.push(Box::new(Requests::new(name, service(world), tokens)));
        }
    };
    add("**tower-jwt-auth**, cache off", &|world| {
        ours::service(world, Caching::Off)
    });
    for peer in peers::ALL.iter().filter(|peer| peer.takes_many) {
        add(peer.name, &|world| {
            (peer.service)(world).expect("they know HS256")
        });
    }
    let figures = race(&mut lanes, plan);
    let rows = figures.chunks_exact(2).filter_map(|pair| {
        let [few, many] = pair else { return None };
        let name = few.name.rsplit_once(", ").map_or("", |(name, _)| name);
        Some(vec![
            name.to_owned(),
            table::time(few.median()),
            table::time(many.median()),
            table::both_ratios(many, few),
        ])
    });
    table::print(
        "Key by id among many; HS256, tokens of one key after the other, each verified",
        &["contender", "10 keys", "many keys", "many / 10"],
        &rows.collect::<Vec<_>>(),
    );
    println!(
        "\nMany: {}. The others take no set of secrets, or fewer of them.",
        many.0.keys.len()
    );
}

/// An issuer with this number of secrets, and tokens of up to a thousand of them.
fn with_keys(count: usize) -> (World, Vec<String>) {
    let mut world = World::new(Algorithm::HS256);
    let mut keys = Vec::with_capacity(count);
    let mut tokens = Vec::new();
    let step = (count / 1_000).max(1);
    for at in 0..count {
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).expect("the system has random bytes");
        let id = format!("key-{at}");
        let jwk = json!({
            "kty": "oct", "kid": id, "alg": "HS256", "k": URL_SAFE_NO_PAD.encode(secret),
        });
        let key = tower_jwt_auth::Key::from_jwk(jwk.to_string().as_bytes());
        keys.push(key.expect("a good key"));
        world.keys.push(jwk);
        if at % step == 0 {
            let issuer = TestIssuer::with_secret(Algorithm::HS256, &secret);
            tokens.push(support::token(&issuer).header("kid", id).mint());
        }
    }
    let set = KeySet::new(keys).expect("there are keys");
    world.issuer.keys().replace(set);
    (world, tokens)
}
