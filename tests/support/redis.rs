//! A real Redis for the tests, started on a free port and stopped at the end, and a proxy in front of it
//! that can cut connections.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[path = "required.rs"]
mod required;

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use required::{is_on_path, or_skipped};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub struct Server {
    pub port: u16,
    directory: PathBuf,
    options: Vec<String>,
    child: Child,
}

/// Whether there is a Redis to test with. Says so if there is none.
pub fn is_installed() -> bool {
    let is_there = is_on_path("redis-server");
    or_skipped(is_there, "`redis-server` on the PATH", "REDIS")
}

impl Server {
    /// Starts a server with these options. Call [`is_installed`] first.
    pub fn start(options: &[&str]) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tower-jwt-auth-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        loop {
            let port = free_port();
            std::fs::create_dir_all(&directory).unwrap();
            let child = spawn(port, &directory, &options);
            let mut server = Self {
                port,
                directory: directory.clone(),
                options: options.clone(),
                child,
            };
            // Somebody else may have been faster to take the port.
            if server.waits() {
                return server;
            }
        }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).unwrap()
    }

    pub fn connection(&self) -> redis::Connection {
        self.client().get_connection().unwrap()
    }

    pub fn ask<T: redis::FromRedisValue>(&self, command: &str, arguments: &[&str]) -> T {
        let mut command = redis::cmd(command);
        command
            .arg(arguments)
            .query(&mut self.connection())
            .unwrap()
    }

    pub fn signal(&self, signal: &str) {
        let process = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &process]).status();
        assert!(status.unwrap().success());
    }

    /// Ends the process without a chance to save anything.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again, with what is in its folder.
    pub fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.options);
        assert!(self.waits());
    }

    /// Waits until it answers. Returns `false` if it has ended.
    fn waits(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // A server with a password answers too.
            let Ok(client) = redis::Client::open(self.url()) else {
                continue;
            };
            match client.get_connection() {
                Ok(mut connection) => {
                    let pong = redis::cmd("PING").exec(&mut connection);
                    let is_loading = |error: &redis::RedisError| error.code() == Some("LOADING");
                    if !pong.is_err_and(|error| is_loading(&error)) {
                        return true;
                    }
                }
                Err(error) if error.code().is_some() => return true,
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("redis-server has not started");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Two nodes, each with half of the slots.
pub struct Cluster {
    pub nodes: [Server; 2],
}

impl Cluster {
    pub fn start() -> Self {
        let nodes = [(); 2].map(|()| Server::start(&["--cluster-enabled", "yes"]));
        let ranges = [["0", "8191"], ["8192", "16383"]];
        for (node, range) in nodes.iter().zip(ranges) {
            node.ask::<()>("CLUSTER", &["ADDSLOTSRANGE", range[0], range[1]]);
        }
        let port = nodes[1].port.to_string();
        nodes[0].ask::<()>("CLUSTER", &["MEET", "127.0.0.1", &port]);
        let begin = Instant::now();
        for node in &nodes {
            loop {
                let info: String = node.ask("CLUSTER", &["INFO"]);
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2") {
                    break;
                }
                assert!(begin.elapsed() < PATIENCE, "no cluster: {info}");
                thread::sleep(Duration::from_millis(20));
            }
        }
        Self { nodes }
    }

    /// Moves the slot of this key with all that is in it to the other node.
    pub fn move_slot_of(&self, key: &str) {
        let slot: u16 = self.nodes[0].ask("CLUSTER", &["KEYSLOT", key]);
        let [first, second] = &self.nodes;
        let (from, to) = if slot < 8_192 {
            (first, second)
        } else {
            (second, first)
        };
        let (slot, port) = (slot.to_string(), to.port.to_string());
        let [from_id, to_id] = [from, to].map(|node| node.ask::<String>("CLUSTER", &["MYID"]));
        to.ask::<()>("CLUSTER", &["SETSLOT", &slot, "IMPORTING", &from_id]);
        from.ask::<()>("CLUSTER", &["SETSLOT", &slot, "MIGRATING", &to_id]);
        let keys: Vec<String> = from.ask("CLUSTER", &["GETKEYSINSLOT", &slot, "1000"]);
        for key in keys {
            from.ask::<()>("MIGRATE", &["127.0.0.1", &port, &key, "0", "5000"]);
        }
        for node in [to, from] {
            node.ask::<()>("CLUSTER", &["SETSLOT", &slot, "NODE", &to_id]);
        }
    }
}

/// Not one of those from which the system takes the ports of clients: a client that tries one of them
/// again and again can be connected to itself.
fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) + u64::from(std::process::id()) * 37;
        let port = 12_000 + u16::try_from(next % 10_000).unwrap();
        if StdListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn spawn(port: u16, directory: &PathBuf, options: &[String]) -> Child {
    let port = port.to_string();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port, "--bind", "127.0.0.1", "--appendonly", "no"]);
    command.args(["--save", ""]).arg("--dir").arg(directory);
    let command = command.args(options).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// A proxy that forwards bytes, and does with answers and requests what a test says.
pub struct Proxy {
    pub port: u16,
    mode: Arc<Mutex<Mode>>,
    target: Arc<Mutex<SocketAddr>>,
    cuts: watch::Sender<u64>,
}

/// What the proxy does with a script that makes a change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Forward,
    /// It accepts connections and bytes, and forwards none.
    Hold,
    /// The server gets half of the request, then the connection ends.
    CutRequest,
    /// The server gets the request, and the connection ends before the answer.
    CutAnswer,
    /// The same with the next request alone.
    CutOneAnswer,
}

impl Proxy {
    pub async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(Mutex::new(address(server)));
        let mode = Arc::new(Mutex::new(Mode::Forward));
        let cuts = watch::Sender::new(0);
        let (shared, sender, aim) = (Arc::clone(&mode), cuts.clone(), Arc::clone(&target));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mode, mut cut) = (Arc::clone(&shared), sender.subscribe());
                let target = *aim.lock().unwrap();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = forward(client, target, mode) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            mode,
            target,
            cuts,
        }
    }

    /// New connections go to this server, as after a failover.
    #[allow(dead_code, reason = "not every test crate fails over")]
    pub fn aim(&self, server: &Server) {
        *self.target.lock().unwrap() = address(server);
    }

    pub fn client(&self) -> redis::Client {
        redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub fn set(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

fn address(server: &Server) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], server.port))
}

async fn forward(
    client: TcpStream,
    target: SocketAddr,
    mode: Arc<Mutex<Mode>>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is = {
        let mode = Arc::clone(&mode);
        move |wanted: Mode| *mode.lock().unwrap() == wanted
    };
    let held = {
        let is = is.clone();
        async move || {
            while is(Mode::Hold) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let is_cut = Arc::new(AtomicBool::new(false));
    let up = {
        let (is, held, is_cut) = (is.clone(), held.clone(), Arc::clone(&is_cut));
        let mode = Arc::clone(&mode);
        async move {
            let mut buffer = vec![0; 1 << 16];
            loop {
                let length = from_client.read(&mut buffer).await?;
                if length == 0 {
                    return std::io::Result::Ok(());
                }
                held().await;
                let bytes = &buffer[..length];
                let has = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
                let is_write = has(b"XADD") || has(b"EXPIREAT");
                if is_write && is(Mode::CutRequest) {
                    to_server.write_all(&bytes[..length / 2]).await?;
                    return Ok(());
                }
                if is_write && is(Mode::CutAnswer) {
                    is_cut.store(true, Ordering::SeqCst);
                }
                if is_write && is(Mode::CutOneAnswer) {
                    is_cut.store(true, Ordering::SeqCst);
                    *mode.lock().unwrap() = Mode::Forward;
                }
                to_server.write_all(bytes).await?;
            }
        }
    };
    let down = async move {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 || is_cut.load(Ordering::SeqCst) {
                return std::io::Result::Ok(());
            }
            held().await;
            to_client.write_all(&buffer[..length]).await?;
        }
    };
    tokio::select! { end = up => end, end = down => end }
}

const PATIENCE: Duration = Duration::from_secs(30);
