//! One token, a thousand tokens and a hundred thousand tokens.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use http::Request;
use tower::{Service, service_fn};
use tower_jwt_auth::Algorithm;

use crate::measure::{Lane, Plan, Requests, Subject, Tokens, race, subject};
use crate::ours::{self, Caching, HAS_CACHE};
use crate::plain::{self, Hello, bearer};
use crate::tokens::{Everything, World};
use crate::{peers, table};

pub fn run(plan: &Plan) {
    let world = World::new(Algorithm::ES256);
    let counts: [usize; 3] = if plan.quick {
        [1, 100, 1_000]
    } else {
        [1, 1_000, 100_000]
    };
    for count in counts {
        let mut tokens = world.pool(count).to_vec();
        shuffle(&mut tokens);
        let tokens: Arc<[String]> = tokens.into();
        let turns = || Tokens::turns(Arc::clone(&tokens));
        let mut lanes: Vec<Box<dyn Lane>> = Vec::new();
        let mut add = |name: &str, subject| {
            lanes.push(Box::new(Requests::new(name, subject, turns())));
        };
        add("no auth", plain::no_auth());
        add(TABLE, bare_table(&world, &tokens));
        let mut ours = ours::service(&world, Caching::For(count * 2));
        if HAS_CACHE {
            // Every token has been seen before the race.
            ours.answer(turns().requests(count));
        }
        add("**tower-jwt-auth**, room for all", ours);
        let mut as_it_comes = ours::service(&world, Caching::Default);
        if HAS_CACHE {
            as_it_comes.answer(turns().requests(count));
        }
        add("**tower-jwt-auth**, as it comes", as_it_comes);
        add(
            "**tower-jwt-auth**, cache off",
            ours::service(&world, Caching::Off),
        );
        add("jsonwebtoken::decode", plain::plain_decode(&world));
        for peer in &peers::ALL {
            if let Ok(service) = (peer.service)(&world) {
                add(peer.name, service);
            }
        }
        let figures = race(&mut lanes, plan);
        let heading = match count {
            1 => "One token; ES256".to_owned(),
            _ => format!("{count} tokens, one after the other in random order; ES256"),
        };
        table::race(
            &heading,
            &figures,
            &[("no auth", "x no auth"), (TABLE, "x bare table")],
        );
    }
}

/// The claims of all tokens in a table of the standard library. The key is eight bytes of the
/// signature, and then the whole token is compared.
fn bare_table(world: &World, tokens: &[String]) -> Box<dyn Subject> {
    let decode = plain::Decode::new(world);
    let mut table: HashMap<u64, (Box<str>, Arc<Everything>), PlainState> = HashMap::default();
    for token in tokens {
        let claims = decode.decode(token).expect("a good token").claims;
        table.insert(slot(token), (token.as_str().into(), Arc::new(claims)));
    }
    let (table, mut hello) = (Arc::new(table), Hello::<()>::new());
    subject(service_fn(move |mut request: Request<()>| {
        let token = bearer(&request).unwrap_or_default();
        let (known, claims) = table.get(&slot(token)).expect("it is there");
        assert_eq!(**known, *token);
        request.extensions_mut().insert(Arc::clone(claims));
        hello.call(request)
    }))
}

fn slot(token: &str) -> u64 {
    let end = token.as_bytes().last_chunk::<10>();
    let end = end.and_then(|end| end.first_chunk::<8>());
    u64::from_ne_bytes(*end.expect("a token is longer"))
}

/// Signatures are random, so they need no further hash.
#[derive(Default)]
struct Plain(u64);

type PlainState = BuildHasherDefault<Plain>;

impl Hasher for Plain {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, value: u64) {
        // Each of the eight characters of base64url has six random bits. The product spreads them.
        self.0 = value.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

/// The same random order in every run.
fn shuffle(tokens: &mut [String]) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for at in (1..tokens.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let other = state % u64::try_from(at + 1).unwrap_or(1);
        tokens.swap(at, usize::try_from(other).unwrap_or(0));
    }
}

const TABLE: &str = "bare table with a ready `Arc`";
