//! Shared parts of the example servers: the log, the listener, the printed requests, and the end.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;

use tokio::net::TcpListener;

/// The error of `main`. It is printed as a sentence, not as a structure.
pub(crate) struct Failure(Box<dyn Error>);

impl<E: Into<Box<dyn Error>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Writes events of the level `INFO` and above to standard error. Rejected tokens are among them.
pub(crate) fn log() {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
}

/// Listens on the loopback interface, at port 3000 or the port in the variable `PORT`. 0 means any free port.
/// The second part of the result waits for Ctrl-C or SIGTERM.
pub(crate) async fn listen() -> Result<(TcpListener, impl Future<Output = ()>), Failure> {
    let port = match std::env::var("PORT") {
        Ok(text) => text.parse().map_err(|_| {
            format!("the variable PORT is {text:?}: expected a number from 0 to 65535")
        })?,
        Err(_) => 3000,
    };
    let stopped = stopped()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen on port {port}: {error}. The variable PORT chooses another one")
    })?;
    Ok((listener, stopped))
}

#[cfg(unix)]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
    })
}

/// Prints lines for another terminal: the tokens with their names, and the requests in the comment at the top of
/// an example, with its port.
pub(crate) fn print_requests(
    example: &str,
    listener: &TcpListener,
    tokens: &[(&str, String)],
) -> io::Result<()> {
    let address = listener.local_addr()?.to_string();
    for (name, token) in tokens {
        println!("export {name}={token}");
    }
    for line in example.lines() {
        let Some(line) = line.strip_prefix("//! ") else {
            continue;
        };
        if line.starts_with("curl ") || line.starts_with("# ") {
            println!("{}", line.replace("127.0.0.1:3000", &address));
        }
    }
    println!("Listening on http://{address}. Ctrl-C stops it.");
    Ok(())
}
