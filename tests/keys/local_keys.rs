//! Keys in files and environment variables, and files that change while requests are served.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::files::Directory;
use tower_jwt_auth::keys::KeyFormat;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, ConfigError, JwtAuth, KeyStore};

/// As `openssl rand` would print them.
const FIRST: &[u8; 32] = b"LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs";

fn secret() -> KeyFormat {
    KeyFormat::secret(Algorithm::HS256).with_key_id("key-1")
}

fn login(secret: &[u8]) -> TestIssuer {
    TestIssuer::with_secret(Algorithm::HS256, secret)
}

/// Whether a token of this login verifies now.
fn accepts(keys: &KeyStore, login: &TestIssuer) -> bool {
    let auth = JwtAuth::new(login.issuer(), login.audience(), keys);
    auth.verifier().verify_now(&login.token().mint()).is_ok()
}

#[test]
fn reads_each_form_from_a_file() {
    let directory = Directory::new("forms");
    let path = directory.path.join("keys");
    let store = |content: &[u8], format: &KeyFormat| {
        fs::write(&path, content).unwrap();
        KeyStore::from_file(&path, format)
    };
    let text = [FIRST.as_slice(), b"\n"].concat();
    assert!(accepts(&store(&text, &secret()).unwrap(), &login(FIRST)));
    let issuer = TestIssuer::with_algorithm(Algorithm::ES256);
    let set = issuer.jwks();
    assert!(accepts(
        &store(set.as_bytes(), &KeyFormat::jwks()).unwrap(),
        &issuer
    ));
    let jwk = set.strip_prefix(r#"{"keys":["#).unwrap();
    let jwk = jwk.strip_suffix("]}").unwrap();
    assert!(accepts(
        &store(jwk.as_bytes(), &KeyFormat::jwk()).unwrap(),
        &issuer
    ));
    for (content, format) in [
        (set.as_bytes(), KeyFormat::jwk()),
        (jwk.as_bytes(), KeyFormat::jwks()),
        (b"short", secret()),
        (set.as_bytes(), secret()),
        (b"", KeyFormat::jwks()),
    ] {
        let rejected = store(content, &format).unwrap_err();
        let ConfigError::KeySource { input, .. } = &rejected else {
            panic!("{rejected:?}")
        };
        assert_eq!(input, path.to_str().unwrap());
        let sentence = rejected.to_string();
        assert_eq!(sentence.matches(input).count(), 1, "{sentence}");
    }
    let rejected = store(&[b'a'; 300_000], &secret()).unwrap_err();
    assert!(rejected.to_string().ends_with(": longer than 262144 bytes"));
    let missing = KeyStore::from_file(directory.path.join("none"), &secret());
    assert!(missing.unwrap_err().to_string().contains("/none: "));
}

/// Opening a pipe without a writer would block the start, and a device may have no end.
#[cfg(unix)]
#[test]
fn reads_regular_files_alone() {
    let directory = Directory::new("irregular");
    let pipe = pipe(&directory);
    let link = directory.path.join("link");
    std::os::unix::fs::symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link, Path::new("/dev/zero"), &directory.path] {
        let rejected = KeyStore::from_file(path, &secret())
            .unwrap_err()
            .to_string();
        assert!(
            rejected.ends_with(": it is not a regular file"),
            "{rejected}"
        );
    }
    // The twin: a link to a regular file, as in a mounted secret.
    let (file, link) = (directory.path.join("file"), directory.path.join("other"));
    fs::write(&file, FIRST).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    assert!(KeyStore::from_file(&link, &secret()).is_ok());
}

#[cfg(unix)]
fn pipe(directory: &Directory) -> std::path::PathBuf {
    let path = directory.path.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path
}

#[cfg(feature = "pem")]
#[test]
fn reads_pem_under_the_id_that_its_tokens_name() {
    let directory = Directory::new("pem");
    let path = directory.path.join("key.pem");
    fs::write(&path, include_str!("../data/keys/rsa.spki.pem")).unwrap();
    let format = KeyFormat::pem(Algorithm::RS256).with_key_id("2026-11");
    let keys = KeyStore::from_file(&path, &format).unwrap();
    assert_eq!(keys.status().keys[0].as_str(), "2026-11");
    let wrong = KeyStore::from_file(&path, &KeyFormat::pem(Algorithm::ES256));
    assert!(wrong.is_err());
}

/// The environment of a running process cannot be changed safely, so the test starts another
/// process with another environment.
#[test]
fn reads_a_variable_or_the_file_that_one_names() {
    if std::env::var_os("TOWER_JWT_AUTH_CHILD").is_some() {
        let keys = KeyStore::from_env("TOWER_JWT_AUTH_SECRET", &secret());
        assert!(accepts(&keys.unwrap(), &login(FIRST)));
        return;
    }
    let directory = Directory::new("variable");
    let path = directory.path.join("secret");
    fs::write(&path, FIRST).unwrap();
    let succeeds = |name: &str, value: &Path| {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "local_keys::reads_a_variable_or_the_file_that_one_names",
            ])
            .env("TOWER_JWT_AUTH_CHILD", "1")
            .env(name, value)
            .output()
            .unwrap()
            .status
            .success()
    };
    let value = std::str::from_utf8(FIRST).unwrap();
    assert!(succeeds("TOWER_JWT_AUTH_SECRET", value.as_ref()));
    assert!(succeeds("TOWER_JWT_AUTH_SECRET_FILE", &path));
    assert!(!succeeds("TOWER_JWT_AUTH_SECRET", &path));
    assert!(!succeeds("TOWER_JWT_AUTH_SECRET_FILE", value.as_ref()));
    assert!(!succeeds("TOWER_JWT_AUTH_OTHER", value.as_ref()));
}

#[cfg(feature = "watch")]
mod watched {
    use std::time::Duration;

    use tokio::time::{advance, sleep};
    use tower_jwt_auth::keys::{Freshness, KeyFile};
    use tower_jwt_auth::test::FixedClock;

    use super::*;

    const SECOND: &[u8; 32] = b"w8JfR3yUeCk6SbMzDv1pGx4aNq0tHoLi";

    fn file(path: &Path) -> KeyFile {
        KeyFile::new(path, secret())
    }

    /// Lets the task read the file. It reads on another thread, for which the paused clock waits.
    async fn look() {
        advance(Duration::from_secs(6)).await;
        sleep(Duration::from_secs(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_secret_is_taken_and_the_old_one_is_dead() {
        let directory = Directory::new("watch");
        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        let keys = file(&path).watch().unwrap();
        assert!(accepts(&keys, &login(FIRST)));
        look().await;
        assert_eq!(keys.generation(), 0, "the same content is no change");

        fs::write(&path, SECOND).unwrap();
        look().await;
        assert!(accepts(&keys, &login(SECOND)));
        assert!(!accepts(&keys, &login(FIRST)));
        assert_eq!(keys.generation(), 1);
        assert_eq!(keys.status().source.as_deref(), path.to_str());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_file_changes_nothing_and_the_reason_can_be_read() {
        let directory = Directory::new("broken");
        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        let keys = file(&path).watch().unwrap();
        for content in [&b""[..], b"half", b"{\"keys\":["] {
            fs::write(&path, content).unwrap();
            keys.reload().await;
            assert!(accepts(&keys, &login(FIRST)), "{content:?}");
            let failing = keys.status().failing.unwrap();
            assert!(failing.reason.contains("secret: key is not usable: "));
        }
        fs::remove_file(&path).unwrap();
        keys.reload().await;
        assert!(
            keys.status()
                .failing
                .unwrap()
                .reason
                .contains("No such file")
        );
        // A missing file does not withdraw its keys, not even after days.
        for _ in 0..48 {
            advance(Duration::from_secs(3_600)).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert!(accepts(&keys, &login(FIRST)));
        assert_eq!(keys.status().freshness, Freshness::Stale);

        fs::write(&path, SECOND).unwrap();
        keys.reload().await;
        assert!(accepts(&keys, &login(SECOND)));
        assert!(keys.status().failing.is_none());
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_mounted_secret_is_followed_through_the_links_that_are_swapped() {
        use std::os::unix::fs::symlink;

        let directory = Directory::new("mounted");
        let at = |name: &str| directory.path.join(name);
        let publish = |version: &str, secret: &[u8]| {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("jwt"), secret).unwrap();
            symlink(version, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        publish("..2026_11_01", FIRST);
        symlink("..data/jwt", at("jwt")).unwrap();
        let keys = file(&at("jwt")).watch().unwrap();
        assert!(accepts(&keys, &login(FIRST)));

        publish("..2026_11_25", SECOND);
        fs::remove_dir_all(at("..2026_11_01")).unwrap();
        look().await;
        assert!(accepts(&keys, &login(SECOND)));
        assert!(!accepts(&keys, &login(FIRST)));
    }

    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_pipe_in_the_place_of_the_file_stops_nothing() {
        let directory = Directory::new("piped");
        let pipe = pipe(&directory);
        let rejected = file(&pipe).watch().unwrap_err().to_string();
        assert!(rejected.ends_with("it is not a regular file"), "{rejected}");
        let waiting = file(&pipe).watch_lazy().unwrap();
        look().await;
        assert!(!waiting.is_ready());
        assert!(waiting.status().failing.unwrap().reason.contains("regular"));

        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        let keys = file(&path).watch().unwrap();
        fs::rename(&pipe, &path).unwrap();
        keys.reload().await;
        assert!(keys.status().failing.unwrap().reason.contains("regular"));
        assert!(accepts(&keys, &login(FIRST)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, SECOND).unwrap();
        keys.reload().await;
        assert!(accepts(&keys, &login(SECOND)));
    }

    /// A removed secret stays dead, although the file is read again and still has it.
    #[tokio::test(start_paused = true)]
    async fn a_removed_secret_stays_dead_though_the_file_has_it() {
        let directory = Directory::new("removed");
        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        let keys = file(&path).watch().unwrap();
        assert!(keys.remove("key-1"));
        for content in [FIRST.to_vec(), [FIRST.as_slice(), b"\n"].concat()] {
            fs::write(&path, content).unwrap();
            look().await;
            keys.reload().await;
            assert!(!accepts(&keys, &login(FIRST)));
        }
        fs::write(&path, SECOND).unwrap();
        keys.reload().await;
        assert!(accepts(&keys, &login(SECOND)));
        fs::write(&path, FIRST).unwrap();
        keys.reload().await;
        assert!(!accepts(&keys, &login(FIRST)));
        assert!(keys.reinstate("key-1"));
        assert!(accepts(&keys, &login(FIRST)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_old_secret_verifies_for_as_long_as_is_said() {
        let directory = Directory::new("overlap");
        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        let clock = FixedClock::at(1_700_000_000);
        let keys = file(&path)
            .overlap(Duration::from_secs(900))
            .clock(clock.clone());
        let keys = keys.watch().unwrap();
        let accepted = || {
            [FIRST, SECOND].map(|secret| {
                let login = login(secret).with_clock(clock.clone());
                let auth = JwtAuth::new(login.issuer(), login.audience(), &keys);
                let verifier = auth.clock(clock.clone()).verifier();
                verifier.verify_now(&login.token().mint()).is_ok()
            })
        };
        fs::write(&path, SECOND).unwrap();
        keys.reload().await;
        assert_eq!(accepted(), [true, true]);
        clock.advance(Duration::from_secs(899));
        assert_eq!(accepted(), [true, true]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(accepted(), [false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_may_come_later() {
        let directory = Directory::new("later");
        let path = directory.path.join("secret");
        assert!(file(&path).watch().is_err());
        let keys = file(&path).watch_lazy().unwrap();
        look().await;
        assert!(!keys.is_ready());
        assert!(!accepts(&keys, &login(FIRST)));
        fs::write(&path, FIRST).unwrap();
        look().await;
        assert!(accepts(&keys, &login(FIRST)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_with_a_new_key_id_causes_a_look() {
        let directory = Directory::new("unknown");
        let path = directory.path.join("keys.json");
        let issuer = TestIssuer::new();
        fs::write(&path, issuer.jwks()).unwrap();
        let keys = KeyFile::new(&path, KeyFormat::jwks())
            .check_every(Duration::from_secs(3_600))
            .watch()
            .unwrap();
        let verifier = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys).verifier();
        issuer.rotate();
        fs::write(&path, issuer.jwks()).unwrap();
        assert!(verifier.verify(&issuer.token().mint()).await.is_ok());
        let invented = issuer.token().header("kid", "invented").mint();
        assert_eq!(verifier.verify(&invented).await.unwrap_err().status(), 401);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_zero_does_not_panic() {
        let directory = Directory::new("pauses");
        let path = directory.path.join("secret");
        fs::write(&path, FIRST).unwrap();
        for pause in [Duration::ZERO, Duration::MAX] {
            let keys = file(&path).check_every(pause).overlap(pause);
            let keys = keys.watch().unwrap();
            assert!(accepts(&keys, &login(FIRST)));
            let later = file(&path).check_every(pause).watch_lazy().unwrap();
            later.reload().await;
            assert!(later.is_ready(), "{}", later.status());
            assert!(keys.retire("key-1", pause));
            assert_eq!(accepts(&keys, &login(FIRST)), !pause.is_zero());
        }
    }

    #[test]
    fn says_that_it_needs_a_runtime() {
        let error = file(Path::new("/none")).watch_lazy().unwrap_err();
        assert_eq!(
            error.to_string(),
            "keys cannot be loaded: /none: expected to be called inside of a tokio runtime"
        );
    }
}
