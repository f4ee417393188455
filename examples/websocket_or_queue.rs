//! The verifier without HTTP: tokens in messages of a queue or a WebSocket. The token is verified
//! when the message is processed, not when it was sent.
//!
//! ```sh
//! cargo run --example websocket_or_queue --features test-util
//! ```
//!
//! It runs once and prints:
//!
//! ```text
//! print a report: done for alice
//! delete a report: rejected, insufficient_scope
//! delete a report: done for olga
//! delete a report: rejected, bad_signature
//! delete a report: rejected, malformed_token
//! print a report: rejected, expired
//! ```

use std::error::Error;
use std::time::Duration;

use tokio::sync::mpsc;
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Claims, Rejection, Verifier, scope};

struct Message {
    token: String,
    command: Command,
}

enum Command {
    Print,
    Delete,
}

/// Processes one message. Only the claims identify the sender.
async fn work(verifier: &Verifier, message: &Message) -> Result<Claims, Rejection> {
    let sender = verifier.verify(&message.token).await?;
    match message.command {
        Command::Print => sender.authorize::<scope!("reports:print")>()?,
        Command::Delete => sender.authorize::<scope!("reports:print" & "reports:delete")>()?,
    }
    Ok(sender)
}

/// Processes the messages one by one, and continues after a bad message.
async fn worker(verifier: Verifier, mut queue: mpsc::Receiver<Message>) {
    while let Some(message) = queue.recv().await {
        let command = match message.command {
            Command::Print => "print a report",
            Command::Delete => "delete a report",
        };
        match work(&verifier, &message).await {
            Ok(sender) => println!("{command}: done for {}", sender.subject().unwrap_or("-")),
            Err(rejection) => {
                println!("{command}: rejected, {}", rejection.kind().as_str());
                eprintln!("{rejection}"); // the whole reason, for the operator
            }
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = FixedClock::at(1_800_000_000);
    let issuer = TestIssuer::new().with_clock(clock.clone());
    let token = issuer.token().expires_in(Duration::from_secs(3600));
    let alice = token.clone().subject("alice").scope("reports:print");
    let olga = token.subject("olga").scope("reports:print reports:delete");

    let (sender, queue) = mpsc::channel(16);
    for (token, command) in [
        (alice.mint(), Command::Print),
        (alice.mint(), Command::Delete),
        (olga.mint(), Command::Delete),
        (olga.tampered().mint(), Command::Delete),
        ("no token at all".to_owned(), Command::Delete),
        (
            alice.expires_in(Duration::from_secs(300)).mint(),
            Command::Print,
        ),
    ] {
        sender.send(Message { token, command }).await?;
    }
    drop(sender);

    clock.advance(Duration::from_secs(600)); // the messages wait, the last one for too long
    worker(issuer.auth().verifier(), queue).await;
    Ok(())
}
