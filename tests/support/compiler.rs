//! Compares the errors for files that do not compile with the texts beside them.
//!
//! The files are compiled with the libraries of `cargo test`. A separate project would build every
//! dependency again.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::Value;

#[path = "required.rs"]
mod required;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Compares the errors for each file of a folder with the text of the same name. With `UI_TEXTS=overwrite`
/// it writes the texts again. Another compiler than that of the texts is not judged by them.
///
/// `features` is the option that cargo has built this test with. With another one, it would build the crate
/// once more.
pub fn assert_rejections(folder: &str, features: &str) {
    let wanted = channel();
    let is_there = overwrites() || is_of_channel(&version(), &wanted);
    let programs = format!("Rust {wanted}, whose texts are in {folder}");
    if !required::or_skipped(is_there, &programs, "UI") {
        return;
    }
    let mut files: Vec<PathBuf> = fs::read_dir(Path::new(ROOT).join(folder))
        .unwrap()
        .map(|entry| Path::new(folder).join(entry.unwrap().file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    assert!(!files.is_empty());

    let libraries = libraries(features);
    let (next, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let Some(file) = files.get(next.fetch_add(1, Relaxed)) {
                    if !is_as_written(file, &said_to(file, &libraries)) {
                        failures.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    let (failures, files) = (failures.into_inner(), files.len());
    assert!(failures == 0, "{failures} of {files} texts differ");
}

/// The version of Rust in `tests/ui/rust-toolchain.toml`.
fn channel() -> String {
    let file = Path::new(ROOT).join("tests/ui/rust-toolchain.toml");
    let text = fs::read_to_string(file).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("channel = "));
    line.expect("a channel").trim_matches('"').to_owned()
}

/// What the compiler says of its version: `rustc 1.95.0 (59807616e 2026-04-14)`.
fn version() -> String {
    let output = Command::new(rustc()).arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// A channel without a patch version stands for each of them. Nightly and beta versions have texts of their own.
pub fn is_of_channel(version: &str, channel: &str) -> bool {
    let number = version.split(' ').nth(1).unwrap_or_default();
    let patch = number.strip_prefix(channel);
    patch
        .and_then(|patch| patch.strip_prefix('.'))
        .is_some_and(|patch| patch.parse::<u32>().is_ok())
}

fn overwrites() -> bool {
    std::env::var("UI_TEXTS").is_ok_and(|texts| texts == "overwrite")
}

fn rustc() -> String {
    std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned())
}

fn is_as_written(file: &Path, said: &str) -> bool {
    let path = Path::new(ROOT).join(file).with_extension("stderr");
    if overwrites() {
        fs::write(path, said).unwrap();
        return true;
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    let same = !said.is_empty() && written.replace("\r\n", "\n") == said;
    if !same {
        let file = file.display();
        println!("{file}\n\nEXPECTED:\n{written}\nACTUAL:\n{said}\n");
    }
    same
}

/// The arguments that name the libraries of this test. Cargo prints their paths.
fn libraries(features: &str) -> Vec<String> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(ROOT)
        .args(["test", "--no-run", "--test=ui", "--quiet"]);
    command.args(["--message-format=json", features]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let mut arguments = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        let name = message["target"]["name"]
            .as_str()
            .unwrap_or_default()
            .replace('-', "_");
        if !["axum", "http", "serde", "tower", "tower_jwt_auth"].contains(&name.as_str()) {
            continue;
        }
        let files = message["filenames"].as_array().into_iter().flatten();
        for file in files
            .filter_map(Value::as_str)
            .filter(|file| file.ends_with(".rmeta"))
        {
            let folder = Path::new(file).parent().unwrap();
            arguments.push(format!("--extern={name}={file}"));
            arguments.push(format!("-Ldependency={}", folder.display()));
        }
    }
    assert_eq!(arguments.len(), 5 * 2, "{arguments:?}");
    arguments
}

/// The errors of the compiler. Empty if it compiles the file.
fn said_to(file: &Path, libraries: &[String]) -> String {
    let output = Command::new(rustc())
        .current_dir(ROOT)
        .args(["--edition=2024", "--emit=metadata", "-Adead_code"])
        .args(["--error-format=json", "--diagnostic-width=140"])
        .arg(concat!("--out-dir=", env!("CARGO_TARGET_TMPDIR")))
        .args(libraries)
        .arg(file)
        .output()
        .unwrap();
    if output.status.success() {
        return String::new();
    }
    let said: Vec<String> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|message: &Value| !message["spans"].as_array().unwrap().is_empty())
        .map(|message| lasting(message["rendered"].as_str().unwrap(), file))
        .collect();
    said.join("\n")
}

/// A message without what depends on the machine or on other lines of the crate: it has no line numbers of
/// other files, and no space for them.
fn lasting(message: &str, file: &Path) -> String {
    let own = file.to_str().unwrap().replace('\\', "/");
    let mut lines = Vec::new();
    let (mut room, mut needed, mut elsewhere) = (None, 1, false);
    let kept_names = [
        "the full name for the type has been written",
        "consider using `--verbose`",
    ];
    for line in message.lines() {
        // The path of the file with a long name.
        if kept_names.iter().any(|text| line.contains(text)) {
            continue;
        }
        let text = line.trim_start();
        let indent = &line[..line.len() - text.len()];
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let arrow = text.get(..4).filter(|text| ["--> ", "::: "].contains(text));
        if let Some(arrow) = arrow {
            room = room.or(Some(indent.len()));
            elsewhere = !text[4..].starts_with(&own);
            if elsewhere {
                let path = text[4..].replace(ROOT, "");
                let path = path.trim_start_matches('/').split(':').next().unwrap();
                lines.push(format!("{indent}{arrow}{path}"));
                continue;
            }
        } else if digits == 0 && !text.starts_with(['|', '.']) {
            elsewhere = false;
        }
        let others = text
            .strip_prefix("and ")
            .and_then(|text| text.strip_suffix(" others"));
        if others.is_some_and(|count| count.parse::<usize>().is_ok()) {
            lines.push(format!("{indent}and $N others"));
        } else if elsewhere && digits > 0 {
            lines.push(format!("{indent}{}{}", " ".repeat(digits), &text[digits..]));
        } else {
            needed = needed.max(digits);
            lines.push(line.to_owned());
        }
    }
    let excess = " ".repeat(room.unwrap_or(needed) - needed);
    let lines = lines
        .iter()
        .map(|line| line.strip_prefix(&excess).unwrap_or(line).trim_end());
    lines
        .flat_map(|line| [line, "\n"])
        .collect::<String>()
        .trim_end()
        .to_owned()
        + "\n"
}
