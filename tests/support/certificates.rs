//! Certificates for tests, made by the command `openssl`.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "helpers of tests fail as tests do"
)]

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A certificate that signs itself, for a host.
pub struct Certificate {
    directory: PathBuf,
}

impl Certificate {
    /// `None` where there is no `openssl` command, unless it is required.
    pub fn make(host: &str, purpose: &str) -> Option<Self> {
        let name = format!(
            "{purpose}-{}-{}",
            std::process::id(),
            host.replace([':', '.'], "-")
        );
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let made = Self { directory };
        std::fs::write(
            made.path("request"),
            format!(
                "[req]\nprompt=no\ndistinguished_name=name\nx509_extensions=more\n\
                 [name]\nCN=tests of tower-jwt-auth\n\
                 [more]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName={host}\n"
            ),
        )
        .unwrap();
        let mut openssl = Command::new("openssl");
        openssl
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .arg("-config")
            .arg(made.path("request"))
            .arg("-keyout")
            .arg(made.path("key"))
            .arg("-out")
            .arg(made.path("certificate"));
        match openssl.output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "openssl: {text}");
                Some(made)
            }
            Err(error) => {
                let required =
                    std::env::var_os("TOWER_JWT_AUTH_REQUIRE").is_some_and(|it| it == "1");
                assert!(!required, "the command `openssl` is required: {error}");
                let sentence = "skipped: there is no command `openssl` to make a certificate with";
                // Not `eprintln`, which the test harness captures.
                let _ = writeln!(std::io::stderr(), "{sentence}");
                None
            }
        }
    }

    /// `certificate` and `key` are the files in PEM.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
