//! An issuer on a loopback socket that fails on demand, in every part of its answers.
//!
//! The HTTP is handwritten, because a server library would not allow most of the faults.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test target uses a part of it"
)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;
use tower_jwt_auth::test::TestIssuer;

/// The paths of its documents.
pub const JWKS: &str = "/jwks";
pub const METADATA: &str = "/.well-known/oauth-authorization-server";
pub const OPENID: &str = "/.well-known/openid-configuration";

/// The length of an endless answer in bytes. It ends, in case a client reads all of it.
pub const ENDLESS: usize = 100_000_000;

/// What the issuer does instead of the good answer.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Another answer: status, headers, and the body made of the good one.
    Answer {
        status: &'static str,
        headers: &'static str,
        body: fn(&str) -> Vec<u8>,
    },
    /// The good body in chunks.
    Chunked,
    /// Closes the connection without an answer.
    Closed,
    /// Gives the good answer to the first request of a connection, and closes it at the second one.
    ClosedIfUsed,
    /// The good body, one byte at a time, with pauses.
    Drip,
    /// A body of [`ENDLESS`] bytes.
    Endless,
    /// Endless header fields.
    EndlessHead,
    /// Half of the announced body, then nothing.
    HalfSilent,
    /// Half of the announced body, then the end of the connection.
    HalfThere,
    /// A redirect to a server that would have keys.
    Redirect,
    /// Does not listen.
    Refused,
    /// A reset of the connection instead of an answer.
    Reset,
    /// A reset in the middle of the body.
    ResetHalfway,
    /// Neither answers nor closes the connection.
    Silent,
}

impl Fault {
    /// An answer with this status, and a good body.
    pub const fn status(status: &'static str) -> Self {
        Self::Answer {
            status,
            headers: JSON,
            body: same,
        }
    }

    /// The good answer with other header fields, each with its line end.
    pub const fn headers(headers: &'static str) -> Self {
        Self::Answer {
            status: "200 OK",
            headers,
            body: same,
        }
    }

    /// The good answer with another body.
    pub const fn body(body: fn(&str) -> Vec<u8>) -> Self {
        Self::Answer {
            status: "200 OK",
            headers: JSON,
            body,
        }
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    head: String,
}

impl Asked {
    /// The value of the first field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// An issuer on a loopback socket. It ends with the test.
pub struct FaultyIssuer {
    /// Mints its tokens, and has its published keys.
    pub signer: TestIssuer,
    /// Has keys too, and must not receive a request.
    pub stranger: TestIssuer,
    shared: Arc<Shared>,
    /// Reserves the port while the issuer does not listen. It accepts no connection.
    _port: TcpSocket,
    server: Option<JoinHandle<()>>,
    elsewhere: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    /// Its name, with which its URLs begin.
    name: String,
    elsewhere: SocketAddr,
    strayed: AtomicUsize,
    signer: TestIssuer,
    state: Mutex<State>,
    counts: watch::Sender<Counts>,
}

#[derive(Default)]
struct State {
    faults: HashMap<&'static str, Fault>,
    /// Key sets that are published in turn, instead of that of the signer.
    flapping: Vec<String>,
    /// Additional members of the metadata, each after a comma.
    members: String,
    /// Additional header fields of good answers, each with its line end.
    headers: String,
    asked: Vec<Asked>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// The number of accepted connections, and of those that are open.
    connections: usize,
    open: usize,
    requests: usize,
    /// The number of bytes of endless bodies that a client has read.
    bytes: usize,
}

impl FaultyIssuer {
    pub async fn start() -> Self {
        Self::start_behind(None).await
    }

    /// The same behind another server, whose URL is the name of the issuer.
    pub async fn start_behind(front: Option<String>) -> Self {
        let port = socket("127.0.0.1:0".parse().unwrap());
        let address = port.local_addr().unwrap();
        let name = front.unwrap_or_else(|| format!("http://{address}"));
        let signer = TestIssuer::new().named(&name);
        let stranger = TestIssuer::new().named(&name);
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            address,
            name,
            elsewhere: other.local_addr().unwrap(),
            strayed: AtomicUsize::new(0),
            signer: signer.clone(),
            state: Mutex::default(),
            counts: watch::Sender::default(),
        });
        let elsewhere = tokio::spawn(tempt(other, stranger.jwks(), Arc::clone(&shared)));
        let mut issuer = Self {
            signer,
            stranger,
            shared,
            _port: port,
            server: None,
            elsewhere,
        };
        issuer.listen();
        issuer
    }

    /// The URL of one of its documents.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shared.name)
    }

    /// The address at which it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// These documents have this fault from now on.
    pub async fn fails(&mut self, paths: &[&'static str], fault: Fault) {
        if matches!(fault, Fault::Refused) {
            if let Some(server) = self.server.take() {
                server.abort();
                let _ended = server.await;
            }
            self.all_closed().await;
            return;
        }
        let mut state = self.shared.state.lock().unwrap();
        state.faults.extend(paths.iter().map(|path| (*path, fault)));
    }

    /// All answers are good from now on.
    pub fn recovers(&mut self) {
        self.shared.state.lock().unwrap().faults.clear();
        if self.server.is_none() {
            self.listen();
        }
    }

    /// Publishes another of these key sets with each answer.
    pub fn publishes_in_turn(&self, sets: impl IntoIterator<Item = String>) {
        self.shared.state.lock().unwrap().flapping = sets.into_iter().collect();
    }

    /// Adds members to the metadata, each after a comma.
    pub fn also_says(&self, members: &str) {
        members.clone_into(&mut self.shared.state.lock().unwrap().members);
    }

    /// Adds header fields to good answers, each with its line end. If an `ETag` is among them, a request with
    /// this tag is answered with 304.
    pub fn also_sends(&self, headers: &str) {
        headers.clone_into(&mut self.shared.state.lock().unwrap().headers);
    }

    /// The requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state.lock().unwrap().asked.clone()
    }

    /// The paths of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// The number of requests so far.
    pub fn requests(&self) -> usize {
        self.shared.counts.borrow().requests
    }

    /// The number of accepted connections so far.
    pub fn connections(&self) -> usize {
        self.shared.counts.borrow().connections
    }

    /// The number of bytes of endless bodies that clients have read so far.
    pub fn bytes_taken(&self) -> usize {
        self.shared.counts.borrow().bytes
    }

    /// The number of connections of the server to which a redirect points.
    pub fn strayed(&self) -> usize {
        self.shared.strayed.load(Ordering::Relaxed)
    }

    /// Waits for this number of requests.
    pub async fn has_been_asked(&self, count: usize) {
        self.until(|counts| counts.requests >= count).await;
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        self.until(|counts| counts.open == 0).await;
    }

    async fn until(&self, is_there: impl Fn(&Counts) -> bool) {
        let mut counts = self.shared.counts.subscribe();
        let waiting = counts.wait_for(is_there);
        if tokio::time::timeout(LONG, waiting).await.is_err() {
            panic!("waited in vain: {:?}", *self.shared.counts.borrow());
        }
    }

    fn listen(&mut self) {
        let listener = socket(self.shared.address).listen(1_024).unwrap();
        self.server = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }
}

impl Drop for FaultyIssuer {
    fn drop(&mut self) {
        self.elsewhere.abort();
        if let Some(server) = &self.server {
            server.abort();
        }
    }
}

/// A socket whose port can be shared, so that no other process gets it.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // All connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection is taken");
        let open = Open::new(&shared);
        connections.spawn(async move {
            // A client may close its connection at any time.
            let _ended = converse(stream, &open.0).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// The server that a redirect points to.
async fn tempt(listener: TcpListener, jwks: String, shared: Arc<Shared>) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection is taken");
        shared.strayed.fetch_add(1, Ordering::Relaxed);
        let answer = answer(
            "200 OK",
            &format!("{JSON}Connection: close\r\n"),
            jwks.as_bytes(),
        );
        if head(&mut stream, &mut Vec::new()).await.is_ok() {
            let _sent = stream.write_all(&answer).await;
        }
    }
}

/// Counts a connection as open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.counts.send_modify(|counts| {
            counts.connections += 1;
            counts.open += 1;
        });
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.open -= 1);
    }
}

/// Answers requests until the client or a fault ends the connection.
async fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut is_used = false;
    while let Some(asked) = head(&mut stream, &mut buffer).await? {
        let (good, fault) = {
            let mut state = shared.state.lock().unwrap();
            let fault = state.faults.get(asked.path.as_str()).copied();
            let good = shared.good(&asked, &mut state);
            state.asked.push(asked);
            (good, fault)
        };
        shared.counts.send_modify(|counts| counts.requests += 1);
        match fault {
            None => stream.write_all(&good.answer()).await?,
            Some(Fault::ClosedIfUsed) if !is_used => stream.write_all(&good.answer()).await?,
            Some(fault) => {
                if !misbehave(&mut stream, fault, &good, shared).await? {
                    return Ok(());
                }
            }
        }
        is_used = true;
    }
    Ok(())
}

/// A good answer in its parts.
struct Good {
    status: &'static str,
    headers: String,
    body: String,
}

impl Good {
    fn answer(&self) -> Vec<u8> {
        answer(self.status, &self.headers, self.body.as_bytes())
    }
}

impl Shared {
    fn good(&self, asked: &Asked, state: &mut State) -> Good {
        let body = match asked.path.as_str() {
            JWKS => match state.flapping.first().cloned() {
                Some(next) => {
                    state.flapping.rotate_left(1);
                    next
                }
                None => self.signer.jwks(),
            },
            METADATA | OPENID => format!(
                r#"{{"issuer":"{name}","jwks_uri":"{name}{JWKS}"{}}}"#,
                state.members,
                name = self.name,
            ),
            _ => String::new(),
        };
        let is_known = asked
            .header("if-none-match")
            .is_some_and(|tag| state.headers.contains(tag));
        let status = match (body.is_empty(), is_known) {
            (true, _) => "404 Not Found",
            (false, true) => "304 Not Modified",
            (false, false) => "200 OK",
        };
        Good {
            status,
            headers: format!("{JSON}{}", state.headers),
            body: if status == "200 OK" {
                body
            } else {
                String::new()
            },
        }
    }
}

/// Whether the connection stays open.
async fn misbehave(
    stream: &mut TcpStream,
    fault: Fault,
    good: &Good,
    shared: &Shared,
) -> io::Result<bool> {
    let whole = good.answer();
    let half = whole.len() - good.body.len() / 2;
    let half = whole.get(..half).unwrap_or_default();
    match fault {
        Fault::Answer {
            status,
            headers,
            body,
        } => {
            let answer = answer(status, headers, &body(&good.body));
            stream.write_all(&answer).await?;
            return Ok(true);
        }
        Fault::Chunked => {
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in good.body.as_bytes().chunks(7) {
                answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
                answer.extend(chunk);
                answer.extend(b"\r\n");
            }
            answer.extend(b"0\r\n\r\n");
            stream.write_all(&answer).await?;
            return Ok(true);
        }
        Fault::Closed | Fault::ClosedIfUsed | Fault::Refused => {}
        Fault::Drip => {
            let mut pauses = interval(Duration::from_millis(20));
            for byte in whole {
                pauses.tick().await;
                stream.write_all(&[byte]).await?;
            }
            return Ok(true);
        }
        Fault::Endless => {
            let head = format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: {ENDLESS}\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            let (piece, mut rest) = (vec![b' '; 65_536], ENDLESS);
            while rest > 0 {
                let piece = piece.get(..rest.min(piece.len())).unwrap_or_default();
                let taken = stream.write(piece).await?;
                rest -= taken;
                shared.counts.send_modify(|counts| counts.bytes += taken);
            }
        }
        Fault::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let piece = "X-Endless: 0123456789\r\n".repeat(1_000);
            loop {
                let taken = stream.write(piece.as_bytes()).await?;
                shared.counts.send_modify(|counts| counts.bytes += taken);
            }
        }
        Fault::HalfSilent => {
            stream.write_all(half).await?;
            until_closed(stream).await?;
        }
        Fault::HalfThere => stream.write_all(half).await?,
        Fault::Redirect => {
            let location = format!("Location: http://{}{JWKS}\r\n", shared.elsewhere);
            let answer = answer("302 Found", &location, b"");
            stream.write_all(&answer).await?;
            return Ok(true);
        }
        Fault::Reset => stream.set_zero_linger()?,
        Fault::ResetHalfway => {
            stream.write_all(half).await?;
            stream.set_zero_linger()?;
        }
        Fault::Silent => until_closed(stream).await?,
    }
    Ok(false)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// The next request. `None` if the client sends no other one.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            let head = String::from_utf8(head).expect("a request is text");
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            return Ok(Some(Asked { path, head }));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 1_024]).await? > 0 {}
    Ok(())
}

fn same(good: &str) -> Vec<u8> {
    good.into()
}

const JSON: &str = "Content-Type: application/json\r\n";
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);
