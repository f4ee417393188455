//! Compares this crate with its peers: medians, ratios and allocations in one run, as Markdown.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml`. Names of sections after `--` run
//! only those, and `--quick` checks in a minute that everything runs. Compare the ratios, because
//! times depend on the machine. Counting makes each allocation a few instructions slower, for every
//! contender.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has to stop"
)]

use std::process::{Command, ExitCode};
use std::time::Duration;

use crate::measure::Plan;

mod load;
mod measure;
mod ours;
mod peers;
mod plain;
mod sections;
#[path = "../../support/mod.rs"]
mod support;
mod table;
mod tokens;

#[global_allocator]
static ALLOCATOR: alloc_counter::AllocCounterSystem = alloc_counter::AllocCounterSystem;

fn main() -> ExitCode {
    let (flags, names): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let unknown = names
        .iter()
        .filter(|name| sections::ALL.iter().all(|(known, _)| known != name))
        .chain(flags.iter().filter(|flag| *flag != "--quick"))
        .next();
    if let Some(unknown) = unknown {
        let known: Vec<_> = sections::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("{unknown} is none of --quick, {}", known.join(", "));
        return ExitCode::FAILURE;
    }
    let plan = if flags.is_empty() { FULL } else { QUICK };

    print_machine();
    peers::print_notes();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    // Some peers spawn a task at the start, or fetch keys from the issuer.
    let _guard = runtime.enter();
    for (name, run) in sections::ALL {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            run(&plan);
        }
    }
    ExitCode::SUCCESS
}

fn print_machine() {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| {
        model.trim_start_matches(['\t', ' ', ':'])
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(|_| "rustc unknown".into(), |output| output.stdout);
    println!(
        "{model}, {cores} cores, {}",
        String::from_utf8_lossy(&rustc).trim()
    );
    println!("\n{}", versions().join(", "));
}

/// The versions of the contenders in the lock file.
fn versions() -> Vec<String> {
    let lock = include_str!("../Cargo.lock");
    let mut versions = Vec::new();
    for package in lock.split("[[package]]") {
        let value = |name: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim_matches([' ', '=', '"']).to_owned())
        };
        if let (Some(name), Some(version)) = (value("name "), value("version "))
            && NAMED.contains(&name.as_str())
        {
            versions.push(format!("{name} {version}"));
        }
    }
    versions
}

const FULL: Plan = Plan {
    rounds: 40,
    time: Duration::from_micros(1_500),
    quick: false,
};

const QUICK: Plan = Plan {
    rounds: 3,
    time: Duration::from_micros(200),
    quick: true,
};

/// The packages whose versions are printed.
const NAMED: [&str; 13] = [
    "aliri",
    "aliri_tower",
    "aws-lc-rs",
    "axum",
    "axum-jwt-auth",
    "huskarl-resource-server",
    "jsonwebtoken",
    "jwt-authorizer",
    "oauth-resource-server",
    "ring",
    "rsa",
    "tower-jwt-auth",
    "tower-oauth2-resource-server",
];
