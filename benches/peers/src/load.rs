//! Load over sockets: from `wrk` if it is installed, and otherwise from a small client of this
//! package.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measure::amount;

/// Requests with these tokens in turn, over connections that stay open.
pub struct Load {
    /// The input files of `wrk`: its script, and the tokens, one on each line.
    files: Option<(PathBuf, PathBuf)>,
    requests: Vec<String>,
}

impl Load {
    /// `quick` uses the client of this package, because `wrk` runs for whole seconds.
    pub fn new(name: &str, tokens: &[String], quick: bool) -> Self {
        let requests = tokens.iter().map(|token| {
            format!(
                "GET /events HTTP/1.1\r\nhost: api.example\r\nauthorization: Bearer {token}\r\n\r\n"
            )
        });
        let requests = requests.collect();
        let has_wrk = !quick && Command::new("wrk").arg("-v").output().is_ok();
        let files = has_wrk.then(|| {
            let own = format!("tower-jwt-auth-peers-{}-{name}", std::process::id());
            let file = |end: &str, content: String| {
                let path = std::env::temp_dir().join(format!("{own}.{end}"));
                std::fs::write(&path, content).expect("the folder for such files is writable");
                path
            };
            (file("lua", SCRIPT.into()), file("txt", tokens.join("\n")))
        });
        Self { files, requests }
    }

    pub fn generator(&self) -> &'static str {
        match self.files {
            Some(_) => "wrk, one thread",
            None => "a client in the same process",
        }
    }

    /// Sends requests for about this time. Returns the requests per second, and their number.
    ///
    /// # Panics
    ///
    /// If a status is not 200.
    pub fn run(&self, server: SocketAddr, time: Duration) -> (f64, f64) {
        match &self.files {
            Some((script, tokens)) => {
                let output = Command::new("wrk")
                    .args(["-t1", &format!("-c{CONNECTIONS}"), "-d1s", "-s"])
                    .arg(script)
                    .arg(format!("http://{server}/events"))
                    .arg("--")
                    .arg(tokens)
                    .output()
                    .expect("it ran before");
                let output = String::from_utf8_lossy(&output.stdout);
                assert!(
                    !output.contains("Non-2xx"),
                    "a request is rejected: {output}"
                );
                let number = |line: &str| {
                    let word = line.split_whitespace().find_map(|word| word.parse().ok());
                    word.unwrap_or_else(|| panic!("no number in: {line}"))
                };
                let line = |part: &str| output.lines().find(|line| line.contains(part));
                let [rate, count] = ["Requests/sec:", " requests in "].map(line);
                (
                    number(rate.unwrap_or_default()),
                    number(count.unwrap_or_default()),
                )
            }
            None => self.run_here(server, time),
        }
    }

    fn run_here(&self, server: SocketAddr, time: Duration) -> (f64, f64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let start = Instant::now();
        let end = start + time;
        // On another thread, because this one is in a runtime already.
        let count = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                runtime.expect("a runtime").block_on(async {
                    let connections = (0..CONNECTIONS).map(|at| self.connection(server, at, end));
                    let mut count = 0;
                    let mut running: Vec<_> = connections.map(Box::pin).collect();
                    std::future::poll_fn(|cx| {
                        running.retain_mut(|connection| match connection.as_mut().poll(cx) {
                            std::task::Poll::Ready(answered) => {
                                count += answered;
                                false
                            }
                            std::task::Poll::Pending => true,
                        });
                        if running.is_empty() {
                            std::task::Poll::Ready(())
                        } else {
                            std::task::Poll::Pending
                        }
                    })
                    .await;
                    count
                })
            });
            client.join().expect("the client does not panic")
        });
        (amount(count) / start.elapsed().as_secs_f64(), amount(count))
    }

    async fn connection(&self, server: SocketAddr, at: usize, end: Instant) -> usize {
        let mut stream = TcpStream::connect(server).await.expect("it listens");
        stream.set_nodelay(true).expect("it can be set");
        let turns = self
            .requests
            .iter()
            .cycle()
            .skip(at * self.requests.len() / CONNECTIONS);
        let (mut count, mut buffer) = (0, Vec::with_capacity(4_096));
        for request in turns {
            if Instant::now() >= end {
                break;
            }
            stream
                .write_all(request.as_bytes())
                .await
                .expect("it reads");
            buffer.clear();
            // The response ends with its body.
            while !buffer.ends_with(BODY.as_bytes()) {
                let read = stream.read_buf(&mut buffer).await.expect("it answers");
                assert!(read > 0 && buffer.starts_with(b"HTTP/1.1 200"), "rejected");
            }
            count += 1;
        }
        count
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some((script, tokens)) = &self.files {
            for file in [script, tokens] {
                if let Err(error) = std::fs::remove_file(file) {
                    eprintln!("{} stays: {error}", file.display());
                }
            }
        }
    }
}

/// The body of the responses of the route.
pub const BODY: &str = "nothing to do today";

const CONNECTIONS: usize = 8;

const SCRIPT: &str = r#"
local requests, at = {}, 0
function init(args)
    for token in io.lines(args[1]) do
        requests[#requests + 1] = wrk.format("GET", "/events", { Authorization = "Bearer " .. token })
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
"#;
