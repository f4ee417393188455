//! A real PostgreSQL for the tests, started on a free port and stopped at the end.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests fail as tests do"
)]

#[path = "required.rs"]
mod required;

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use required::or_skipped;
use tokio_postgres::NoTls;

/// A server, with its data in a folder of its own.
pub struct Server {
    pub port: u16,
    directory: PathBuf,
    child: Child,
}

/// The folder with the programs of the server. Debian has it beside the PATH.
static PROGRAMS: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter();
    let versions = versions.flatten().filter_map(Result::ok);
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let has_both = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    folders.into_iter().find(has_both)
});

/// Whether there is a PostgreSQL to test with. Says so if there is none.
pub fn is_installed() -> bool {
    let programs = "`initdb` and `postgres` on the PATH or in /usr/lib/postgresql";
    or_skipped(PROGRAMS.is_some(), programs, "POSTGRES")
}

impl Server {
    /// Starts a server with an empty database. Call [`is_installed`] first.
    pub async fn start() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-jwt-auth-postgres-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        if is_root() {
            chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut made = program("initdb");
        made.args([
            "--auth=trust",
            "--username=test",
            "--no-sync",
            "--no-locale",
        ]);
        let made = made
            .arg("--encoding=UTF8")
            .arg(&directory)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        loop {
            let port = free_port();
            let child = spawn(port, &directory);
            let mut server = Self {
                port,
                directory: directory.clone(),
                child,
            };
            // Somebody else may have been faster to take the port.
            if server.waits().await {
                return server;
            }
        }
    }

    /// What a client connects with.
    pub fn address(&self) -> String {
        let port = self.port;
        format!("host=127.0.0.1 port={port} user=test dbname=postgres")
    }

    /// Waits until it answers. Returns `false` if it has ended.
    async fn waits(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if tokio_postgres::connect(&self.address(), NoTls)
                .await
                .is_ok()
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("postgres has not started");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGQUIT: at once, with its helper processes, which SIGKILL would leave behind.
        let process = self.child.id().to_string();
        let _ = Command::new("kill").args(["-QUIT", &process]).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn spawn(port: u16, directory: &Path) -> Child {
    let port = port.to_string();
    let mut command = program("postgres");
    command.arg("-D").arg(directory).args(["-p", &port]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "max_connections=50",
    ] {
        command.args(["-c", setting]);
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// One of the programs. They do not run as root.
fn program(name: &str) -> Command {
    let folder = PROGRAMS.as_ref().expect("an installed server");
    let mut command = Command::new(folder.join(name));
    command.current_dir("/").env_clear().env("PATH", folder);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn is_root() -> bool {
    static IS_ROOT: LazyLock<bool> = LazyLock::new(|| {
        let id = Command::new("id").arg("-u").output().unwrap();
        id.stdout.trim_ascii() == b"0"
    });
    *IS_ROOT
}

/// Not one of those from which the system takes the ports of clients.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) + u64::from(std::process::id()) * 37;
        let port = 22_000 + u16::try_from(next % 10_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The user `nobody`.
const NOBODY: u32 = 65_534;

/// No test is known to need a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);
