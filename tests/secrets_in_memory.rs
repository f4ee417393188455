//! Nothing of a secret stays in the memory of the process after a key was made of it, however it
//! was read. That includes freed blocks, such as those that a growing buffer leaves behind.
//!
//! Each way of reading runs in its own process, which then searches its own heap.
#![cfg(all(target_os = "linux", feature = "test-util"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers fail as tests do"
)]

#[path = "support/files.rs"]
mod files;

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use files::Directory;
use tower_jwt_auth::keys::KeyFormat;
use tower_jwt_auth::{Algorithm, Key, KeyStore};

/// Each way of reading, and the content of its file or variable.
type Way = (&'static str, fn(&[u8]) -> Vec<u8>, fn(&Path));

const WAYS: &[Way] = &[
    ("bytes", <[u8]>::to_vec, |path| {
        // The copy of the caller, which the caller clears.
        let secret = zeroize::Zeroizing::new(fs::read(path).unwrap());
        drop(Key::from_secret(Algorithm::HS512, &secret).unwrap());
    }),
    ("file", <[u8]>::to_vec, |path| {
        drop(KeyStore::from_file(path, &KeyFormat::secret(Algorithm::HS512)).unwrap());
    }),
    (
        "base64",
        |secret| STANDARD.encode(secret).into_bytes(),
        |path| {
            drop(KeyStore::from_file(path, &KeyFormat::base64_secret(Algorithm::HS512)).unwrap());
        },
    ),
    (
        "hex",
        |secret| hex(secret).into_bytes(),
        |path| {
            drop(KeyStore::from_file(path, &KeyFormat::hex_secret(Algorithm::HS512)).unwrap());
        },
    ),
    ("jwk", jwk, |path| {
        drop(KeyStore::from_file(path, &KeyFormat::jwk()).unwrap());
    }),
    (
        "text",
        |secret| URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        |path| {
            drop(KeyStore::from_file(path, &KeyFormat::secret(Algorithm::HS512)).unwrap());
        },
    ),
    (
        "variable",
        |secret| URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        |_| {
            drop(KeyStore::from_env(VARIABLE, &KeyFormat::secret(Algorithm::HS512)).unwrap());
        },
    ),
    (
        "refused",
        |secret| [secret, b" and ", secret].concat(),
        |path| {
            let format = KeyFormat::base64_secret(Algorithm::HS512);
            KeyStore::from_file(path, &format).unwrap_err();
        },
    ),
    #[cfg(feature = "introspection")]
    (
        "client_secret",
        |secret| hex(secret).into_bytes(),
        clients::secret,
    ),
    #[cfg(feature = "introspection")]
    ("client_key_der", private::der, clients::key_from_der),
    #[cfg(feature = "introspection")]
    ("client_key_pem", private::pem, clients::key_from_pem),
    #[cfg(feature = "introspection")]
    ("client_key_jwk", private::jwk, clients::key_from_jwk),
    #[cfg(feature = "issue")]
    ("signing_key_pem", private::pem, signing::key_from_pem),
    #[cfg(feature = "issue")]
    (
        "signing_key_secret",
        <[u8]>::to_vec,
        signing::key_from_secret,
    ),
    #[cfg(feature = "issue")]
    (
        "signing_keys_stored",
        signing::stored,
        signing::keys_from_file,
    ),
];

/// A private key in the formats that are read.
#[cfg(any(feature = "introspection", feature = "issue"))]
mod private {
    #[cfg(feature = "introspection")]
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    /// The bytes of an Ed25519 key that begins with the secret.
    pub(super) fn der(secret: &[u8]) -> Vec<u8> {
        const HEAD: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        [HEAD, &secret[..32]].concat()
    }

    pub(super) fn pem(secret: &[u8]) -> Vec<u8> {
        let text = STANDARD.encode(der(secret));
        format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").into_bytes()
    }

    #[cfg(feature = "introspection")]
    pub(super) fn jwk(secret: &[u8]) -> Vec<u8> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&secret[..32]).unwrap();
        let [d, x] =
            [&secret[..32], pair.public_key().as_ref()].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!(r#"{{"d":"{d}","kty":"OKP","crv":"Ed25519","x":"{x}"}}"#).into_bytes()
    }
}

/// The keys that sign tokens.
#[cfg(feature = "issue")]
mod signing {
    use tower_jwt_auth::issue::{SigningKeyFile, SigningKeys};
    use zeroize::Zeroizing;

    use super::*;

    pub(super) fn key_from_pem(path: &Path) {
        let content = Zeroizing::new(fs::read(path).unwrap());
        drop(SigningKeys::from_pem(Algorithm::EdDSA, &content).unwrap());
    }

    pub(super) fn key_from_secret(path: &Path) {
        let content = Zeroizing::new(fs::read(path).unwrap());
        drop(SigningKeys::from_secret(Algorithm::HS512, &content).unwrap());
    }

    /// A private key, as a store has it.
    pub(super) fn stored(secret: &[u8]) -> Vec<u8> {
        URL_SAFE_NO_PAD.encode(private::der(secret)).into_bytes()
    }

    /// Reads a set whose only key signs, and writes it again with a successor.
    pub(super) fn keys_from_file(path: &Path) {
        let der = Zeroizing::new(fs::read(path).unwrap());
        let mut content = Zeroizing::new(Vec::with_capacity(512));
        content.extend(br#"{"format":1,"keys":[{"alg":"EdDSA","kid":"k","der":""#);
        content.extend(&*der);
        content.extend(br#"","publish":1,"sign":1,"retire":7000000000,"remove":7000000001}]}"#);
        let directory = path.with_extension("stored");
        fs::create_dir_all(&directory).unwrap();
        let first = directory.join("keys.1");
        fs::write(&first, &*content).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&first, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let keys = runtime.unwrap().block_on(async {
            let store = SigningKeyFile::new(directory.join("keys"));
            let keys = SigningKeys::shared(Algorithm::EdDSA, store).unwrap();
            keys.connect().await.unwrap()
        });
        assert!(keys.is_ready());
        assert!(directory.join("keys.2").exists(), "a successor was stored");
        drop(keys);
    }
}

/// The credentials of this service at an introspection endpoint.
#[cfg(feature = "introspection")]
mod clients {
    use tower_jwt_auth::introspection::{ClientAuth, ClientKey, ClientSecret};
    use zeroize::Zeroizing;

    use super::*;

    pub(super) fn secret(path: &Path) {
        let text = Zeroizing::new(fs::read_to_string(path).unwrap());
        let secret = ClientSecret::from(text.as_str());
        let auth = ClientAuth::secret_basic("files-api", secret.clone()).unwrap();
        secret.replace("another").unwrap();
        secret.replace(text.as_str()).unwrap();
        drop((auth, secret));
    }

    pub(super) fn key_from_der(path: &Path) {
        let content = Zeroizing::new(fs::read(path).unwrap());
        drop(ClientKey::from_der(Algorithm::EdDSA, &content).unwrap());
    }

    pub(super) fn key_from_pem(path: &Path) {
        let content = Zeroizing::new(fs::read(path).unwrap());
        drop(ClientKey::from_pem(Algorithm::EdDSA, &content).unwrap());
    }

    pub(super) fn key_from_jwk(path: &Path) {
        let content = Zeroizing::new(fs::read(path).unwrap());
        drop(ClientKey::from_jwk(&content).unwrap());
    }
}

#[test]
fn nothing_of_a_secret_stays_behind() {
    if let Some(way) = std::env::var_os(CHILD) {
        return child(way.to_str().unwrap());
    }
    let directory = Directory::new("memory");
    let secret: Vec<u8> = (0..192_u8).map(|at| at.wrapping_mul(83) ^ 0xa5).collect();
    for (way, content, _) in WAYS {
        let (file, traces) = (directory.path.join(way), directory.path.join("traces"));
        let content = content(&secret);
        fs::write(&file, &content).unwrap();
        // In another form, so that the search does not find its own copy.
        let hidden = |part: &[u8]| part.iter().map(|byte| byte ^ HIDDEN).collect::<Vec<_>>();
        // Also sorted, because the number of different bytes is counted on a sorted copy.
        let mut sorted = secret.clone();
        sorted.sort_unstable();
        let parts = parts(&secret).chain(parts(&content)).chain(parts(&sorted));
        fs::write(&traces, parts.flat_map(hidden).collect::<Vec<_>>()).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "nothing_of_a_secret_stays_behind"])
            .env(CHILD, way)
            .env(FILE, &file)
            .env(TRACES, &traces)
            // A single heap for all threads, so that the search knows where to look.
            .env("MALLOC_ARENA_MAX", "1");
        if let ("variable", Ok(content)) = (*way, String::from_utf8(content)) {
            command.env(VARIABLE, content);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{way}: {said}");
        // The twin: a copy that is not cleared is found, so the search works.
        let leaks = command.env(LEAK, "1").output().unwrap();
        assert!(!leaks.status.success(), "{way}: no leak was found");
    }
}

/// Freeing a block overwrites its beginning, so the search looks for any part of the secret.
fn parts(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.chunks_exact(PART)
}

fn child(way: &str) {
    let path = |name| std::path::PathBuf::from(std::env::var_os(name).unwrap());
    let (_, _, run) = WAYS.iter().find(|(name, ..)| *name == way).unwrap();
    let kept = crowded_heap();
    run(&path(FILE));
    drop(kept);
    if std::env::var_os(LEAK).is_some() {
        // More copies than the following allocations can overwrite.
        let copies: Vec<_> = (0..COPIES).map(|_| fs::read(path(FILE)).unwrap()).collect();
        drop(copies);
    }
    let traces = fs::read(path(TRACES)).unwrap();
    let found = search(&traces);
    assert!(found.is_empty(), "{way}: parts {found:?} are still there");
}

/// Leaves gaps of many sizes between allocated blocks, so that a growing buffer has to move.
fn crowded_heap() -> Vec<Vec<u8>> {
    let sizes = (1..=64).flat_map(|size| std::iter::repeat_n(16 * size, 8));
    let blocks: Vec<Vec<u8>> = sizes.map(|size| vec![1; size]).collect();
    let mut at = 0_u8;
    blocks
        .into_iter()
        .filter(|_| {
            at = at.wrapping_add(1);
            at.is_multiple_of(2)
        })
        .collect()
}

/// The indices of the parts that are in the heap of this process.
fn search(traces: &[u8]) -> Vec<usize> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let heap = maps.lines().find(|line| line.ends_with("[heap]")).unwrap();
    let (start, end) = heap
        .split_whitespace()
        .next()
        .unwrap()
        .split_once('-')
        .unwrap();
    let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
    let memory = File::open("/proc/self/mem").unwrap();
    let traces = traces.chunks_exact(PART).enumerate();
    let traces: HashMap<_, _> = traces.map(|(number, part)| (part, number)).collect();
    let mut found = BTreeSet::new();
    // On the stack, which is not searched.
    let mut window = [0; 4_096];
    let mut at = start;
    while at < end {
        let length = memory.read_at(&mut window, at).unwrap();
        for byte in &mut window {
            *byte ^= HIDDEN;
        }
        let places = window[..length].windows(PART);
        found.extend(places.filter_map(|place| traces.get(place)));
        // The next window overlaps this one, so that no part is cut at its end.
        at += u64::try_from(length.saturating_sub(PART)).unwrap() + 1;
    }
    found.into_iter().collect()
}

fn hex(secret: &[u8]) -> String {
    secret.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn jwk(secret: &[u8]) -> Vec<u8> {
    let secret = URL_SAFE_NO_PAD.encode(secret);
    format!(r#"{{"kty":"oct","alg":"HS512","kid":"own","k":"{secret}"}}"#).into_bytes()
}

const PART: usize = 8;
const COPIES: usize = 64;
const HIDDEN: u8 = 0x5c;
const CHILD: &str = "TOWER_JWT_AUTH_WAY";
const FILE: &str = "TOWER_JWT_AUTH_FILE";
const LEAK: &str = "TOWER_JWT_AUTH_LEAK";
const TRACES: &str = "TOWER_JWT_AUTH_TRACES";
const VARIABLE: &str = "TOWER_JWT_AUTH_MEMORY";
