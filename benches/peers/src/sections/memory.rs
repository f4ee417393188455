//! The memory of a cached token.

use std::sync::Arc;

use tower_jwt_auth::Algorithm;

use crate::measure::{Plan, Tokens, amount};
use crate::ours::{self, Caching, HAS_CACHE};
use crate::support::User;
use crate::table;
use crate::tokens::World;

pub fn run(_: &Plan) {
    if !HAS_CACHE {
        println!("\nMemory of cached tokens: there is no cache yet.");
        return;
    }
    let world = World::new(Algorithm::HS256);
    let tokens = world.pool(20_000);
    let verifier = ours::layer(&world, Caching::Off).verifier();

    let before = resident();
    let own: Vec<Arc<User>> = tokens
        .iter()
        .map(|token| {
            let claims = verifier.verify_now(token).expect("a good token");
            Arc::new(User {
                email: claims.email.clone(),
                name: claims.name.clone(),
                permissions: claims.permissions.clone(),
            })
        })
        .collect();
    let claims = resident() - before;

    let mut service = ours::service(&world, Caching::For(tokens.len() * 2));
    let before = resident();
    let mut turns = Tokens::turns(Arc::clone(&tokens));
    for _ in 0..tokens.len() {
        service.answer(turns.requests(1));
    }
    let cached = resident() - before;
    drop(own);

    let each = |bytes: f64| format!("{:.0}", bytes / amount(tokens.len()));
    let length = tokens.first().map_or(0, String::len);
    table::print(
        &format!(
            "Bytes of memory for each of {} tokens of {length} bytes",
            tokens.len()
        ),
        &["cached token", "of it own claims", "above them"],
        &[vec![each(cached), each(claims), each(cached - claims)]],
    );
}

/// The bytes of this process that are in memory.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    size.unwrap_or(f64::NAN) * 1_024.0
}
