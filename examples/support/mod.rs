//! What every server among the examples does alike: where it listens, what it prints, and when it
//! stops.

use std::future::Future;
use std::io;

use tokio::net::TcpListener;

/// Listens on the loopback interface alone, at port 3000 or the one in `PORT`; 0 is a free one.
/// From here on the second part waits for Ctrl-C and for SIGTERM.
pub(crate) async fn listen() -> io::Result<(TcpListener, impl Future<Output = ()>)> {
    let port = match std::env::var("PORT") {
        Ok(port) => port.parse().map_err(io::Error::other)?,
        Err(_) => 3000,
    };
    let stopped = stopped()?;
    Ok((TcpListener::bind(("127.0.0.1", port)).await?, stopped))
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

/// Prints the requests in the head of an example, ready to paste: with the port that it listens
/// on, and with real tokens in place of their names.
pub(crate) fn print_requests(
    example: &str,
    listener: &TcpListener,
    tokens: &[(&str, String)],
) -> io::Result<()> {
    let address = listener.local_addr()?.to_string();
    for line in example.lines() {
        let Some(line) = line.strip_prefix("//! ") else {
            continue;
        };
        if line.starts_with("curl ") || line.starts_with("# ") {
            let line = line.replace("127.0.0.1:3000", &address);
            let with_tokens = tokens.iter().fold(line, |line, (name, token)| {
                line.replace(&format!("${name}\""), &format!("{token}\""))
            });
            println!("{with_tokens}");
        }
    }
    println!("Listening on http://{address}. Ctrl-C stops it.");
    Ok(())
}
