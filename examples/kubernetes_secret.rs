//! A secret that is mounted by Kubernetes changes while the API runs. The directory has the layout
//! of the kubelet: the file is a symbolic link through `..data`, `..data` is a link to a dated
//! directory, and an update renames a new `..data` over the old one.
//!
//! ```sh
//! cargo run --example kubernetes_secret --features test-util,watch
//! ```
//!
//! It runs once and prints the status for two tokens, one for each secret:
//!
//! ```text
//!                                    october  november
//! mounted                            200      401
//! swapped, october for 15 min more   200      200
//! a broken file replaces nothing     200      200
//! swapped again, october is gone     401      200
//! ```

#[path = "support/client.rs"]
mod client;

use std::error::Error;
use std::fs;
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::{Router, routing::get};
use client::Client;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tower_jwt_auth::keys::{KeyFile, KeyFormat};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, Claims, JwtAuth};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Changes the secret as the kubelet does.
fn publish(mount: &Path, version: &str, content: &str) -> Result<()> {
    fs::create_dir(mount.join(version))?;
    fs::write(mount.join(version).join("jwt"), content)?;
    symlink(version, mount.join("..data_tmp"))?;
    fs::rename(mount.join("..data_tmp"), mount.join("..data"))?;
    Ok(())
}

/// A new secret as text, and a token of the login that signs with it.
fn secret(clock: &FixedClock) -> Result<(String, TestIssuer, String)> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes)?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let login = TestIssuer::with_secret(Algorithm::HS256, text.as_bytes());
    let login = login.with_clock(clock.clone());
    let token = login.token().expires_in(Duration::from_secs(3600)).mint();
    Ok((text, login, token))
}

#[tokio::main]
async fn main() -> Result<()> {
    let clock = FixedClock::at(1_800_000_000);
    let (october, login, october_token) = secret(&clock)?;
    let (november, _, november_token) = secret(&clock)?;
    let mount = std::env::temp_dir().join(format!("kubernetes_secret-{}", std::process::id()));
    fs::create_dir(&mount)?;
    publish(&mount, "..2026_10_01", &october)?;
    symlink("..data/jwt", mount.join("jwt"))?;

    let format = KeyFormat::secret(Algorithm::HS256).with_key_id("key-1");
    let keys = KeyFile::new(mount.join("jwt"), format)
        .check_every(Duration::from_millis(100))
        .overlap(Duration::from_secs(15 * 60))
        .clock(clock.clone())
        .watch()?;
    let changed = Arc::new(Notify::new());
    keys.on_change({
        let changed = changed.clone();
        move |_| changed.notify_one()
    });

    let auth = JwtAuth::new(login.issuer(), login.audience(), &keys).clock(clock.clone());
    let app = Router::new()
        .route("/", get(async |_: Claims| "hello"))
        .layer(auth);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let server = listener.local_addr()?;
    tokio::spawn(async { axum::serve(listener, app).await });

    let client = Client::new();
    let show = async |what: &str| -> Result<()> {
        let mut answers = Vec::new();
        for token in [&october_token, &november_token] {
            answers.push(client.get(server, token).await?.0.as_u16().to_string());
        }
        println!("{what:34} {}", answers.join("      "));
        Ok(())
    };

    println!("{:34} october  november", "");
    show("mounted").await?;
    publish(&mount, "..2026_11_01", &november)?;
    changed.notified().await; // automatically, within 100 ms
    show("swapped, october for 15 min more").await?;
    publish(&mount, "..2026_11_02", "half")?;
    keys.reload().await; // as a handler of SIGHUP would
    show("a broken file replaces nothing").await?;
    clock.advance(Duration::from_secs(15 * 60));
    publish(&mount, "..2026_11_03", &november)?;
    keys.reload().await;
    show("swapped again, october is gone").await?;
    fs::remove_dir_all(&mount)?;
    Ok(())
}
