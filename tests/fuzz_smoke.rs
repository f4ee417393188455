//! Every function of the fuzzer over its seeds and over mutations of them: its work in small, on
//! every run and on every toolchain.

#![cfg(all(feature = "_fuzz", feature = "pem", feature = "remote"))]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use std::path::{Path, PathBuf};

use tower_jwt_auth::fuzz;

macro_rules! targets {
    ($($name:ident)*) => {
        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        mod no_mutated_seed_breaks {
            $(#[test] fn $name() { super::smoke(stringify!($name), super::fuzz::$name); })*
        }
    };
}

targets! {
    authorization challenge claims compact dates fetched header json jwk jwks pem request scopes
    settings verifier
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

/// Runs a function over its seeds, then over changed ones.
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
    let mut random = Random(0x7519);
    for _ in 0..MUTATIONS {
        let mut octets = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut octets, &seeds, &mut random);
        }
        function(&octets);
    }
}

/// One change of the kinds that a fuzzer makes.
fn mutate(octets: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(octets.len() + 1);
    match random.below(6) {
        0 => octets.insert(at, random.octet()),
        1 if at < octets.len() => octets[at] ^= 1 << random.below(8),
        2 if at < octets.len() => octets[at] = random.octet(),
        3 if at < octets.len() => {
            let end = at + 1 + random.below((octets.len() - at).min(8));
            octets.drain(at..end);
        }
        4 => {
            // A piece of another seed, or of the same one a second time.
            let donor = &seeds[random.below(seeds.len())];
            let start = random.below(donor.len() + 1);
            let end = (start + random.below(24)).min(donor.len());
            octets.splice(at..at, donor[start..end].iter().copied());
        }
        _ => {
            let word = WORDS[random.below(WORDS.len())];
            octets.splice(at..at, word.iter().copied());
        }
    }
}

/// A generator of numbers that gives the same ones on every run (xorshift64*).
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

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

const MUTATIONS: usize = 2_000;

/// Pieces that mean something to one of the parsers.
const WORDS: [&[u8]; 20] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"\\ud83d",
    b"1e999",
    b"null",
    b" ",
    b"\n",
    b"=",
    b"%",
    b"&access_token=",
    b"; __Host-token=",
    b"Bearer ",
    b".",
    b"\xff",
];
