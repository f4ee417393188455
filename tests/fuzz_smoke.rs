//! Runs every function of the fuzzer over its seeds and over mutations of them, on every toolchain.

#![cfg(all(
    feature = "_fuzz",
    feature = "introspection",
    feature = "issue",
    feature = "logout",
    feature = "pem",
    feature = "redis",
    feature = "remote",
    feature = "status-list"
))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use std::path::{Path, PathBuf};

use tower_jwt_auth::checks::fuzz;

macro_rules! targets {
    ($($name:ident)*) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        mod no_mutated_seed_breaks {
            $(#[test] fn $name() { super::smoke(stringify!($name), super::fuzz::$name); })*
        }
    };
}

targets! {
    authorization challenge claims compact dates fetched header introspection_answer issued json jwk
    jwks logout_token pem redis_entry request scopes security_event settings status_list verdicts verifier
}

#[test]
fn every_target_of_the_fuzzer_is_run_here() {
    let mut found: Vec<_> = std::fs::read_dir(fuzz_folder().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    found.sort_unstable();
    assert_eq!(found, TARGETS);
}

#[test]
fn the_seeds_of_the_verifier_are_tokens_that_it_accepts() {
    for (name, token) in fuzz::tokens() {
        let seed = std::fs::read_to_string(fuzz_folder().join("seeds/verifier").join(name));
        assert_eq!(seed.unwrap(), token, "{name}");
    }
}

/// Every run has other cases. `TOWER_JWT_AUTH_SEED` repeats the cases of one run.
#[test]
fn made_tokens_get_the_verdict_of_the_model() {
    let seed = fresh_seed();
    println!("TOWER_JWT_AUTH_SEED={seed}");
    let mut random = Random(seed | 1);
    for _ in 0..CASES {
        let length = random.below(48);
        let choices: Vec<_> = (0..length).map(|_| random.byte()).collect();
        fuzz::verdicts(&choices);
    }
}

fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};

    match std::env::var("TOWER_JWT_AUTH_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => RandomState::new().hash_one("seed"),
    }
}

/// Runs a function over its seeds, and then over mutations of them.
fn smoke(name: &str, function: fn(&[u8])) {
    let mut files: Vec<_> = std::fs::read_dir(fuzz_folder().join("seeds").join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_unstable();
    let seeds: Vec<_> = files
        .iter()
        .map(|file| std::fs::read(file).unwrap())
        .collect();
    assert!(!seeds.is_empty());
    for seed in seeds.iter().chain([&Vec::new()]) {
        function(seed);
    }
    let words = dictionary();
    let mut random = Random(0x7519);
    for _ in 0..MUTATIONS {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &seeds, &words, &mut random);
        }
        function(&bytes);
    }
}

/// One mutation, of the kinds that a fuzzer uses.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(40) {
        // Lengths up to the limits of size, and slightly beyond.
        0 => {
            let end = at + random.below((bytes.len() - at).min(40) + 1);
            let piece = bytes[at..end].to_vec();
            let times = random.below(LONGEST) / piece.len().max(20);
            let room = LONGEST.saturating_sub(bytes.len()) / piece.len().max(1);
            bytes.splice(at..at, piece.repeat(times.min(room)));
        }
        1 => {
            let first = random.below(10_000);
            let members = (first..first + random.below(1_100)).map(|at| format!("\"{at}\":0,"));
            let members: String = members.collect();
            bytes.splice(at..at, members.bytes());
        }
        2..=7 => bytes.insert(at, random.byte()),
        8..=14 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        15..=20 if at < bytes.len() => bytes[at] = random.byte(),
        21..=26 if at < bytes.len() => {
            let end = at + 1 + random.below((bytes.len() - at).min(8));
            bytes.drain(at..end);
        }
        27..=32 => {
            // Inserts a part of another seed, or of the same seed.
            let donor = &seeds[random.below(seeds.len())];
            let start = random.below(donor.len() + 1);
            let end = (start + random.below(24)).min(donor.len());
            bytes.splice(at..at, donor[start..end].iter().copied());
        }
        _ => {
            let word = &words[random.below(words.len())];
            bytes.splice(at..at, word.iter().copied());
        }
    }
}

/// The words of the fuzzer's dictionary: one in quotes on each line, with `\\`, `\"` and `\xHH`.
fn dictionary() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(fuzz_folder().join("dictionary")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with('"'));
    let words = lines.map(|line| {
        let inner = line.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let mut word = Vec::new();
        let mut rest = inner.bytes();
        while let Some(byte) = rest.next() {
            word.push(match byte {
                b'\\' => match rest.next().unwrap() {
                    b'x' => {
                        let digits = [rest.next().unwrap(), rest.next().unwrap()];
                        u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                    }
                    escaped => escaped,
                },
                plain => plain,
            });
        }
        word
    });
    words.collect()
}

/// A generator of pseudo-random numbers (xorshift64*), the same on every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

const MUTATIONS: usize = 2_000;
const CASES: usize = 4_000;
/// Longer than the maximum length of a credential.
const LONGEST: usize = 17 * 1024;
