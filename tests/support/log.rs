//! What an operator's terminal or collector gets.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

/// The log of this thread, in the usual format, as long as this lives.
pub struct Log {
    written: Lines,
    _guard: DefaultGuard,
    /// Where only one subscriber is alive, a thread without it that comes to an event first switches
    /// the event off for all; where there are two, both are asked.
    _second: Dispatch,
}

impl Log {
    /// Down to the level that is the default.
    pub fn listen() -> Self {
        Self::down_to(LevelFilter::INFO)
    }

    pub fn down_to(level: impl Into<LevelFilter>) -> Self {
        let written = Lines::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let second = Dispatch::new(tracing_subscriber::registry());
        Self {
            written,
            _guard: tracing::subscriber::set_default(subscriber),
            _second: second,
        }
    }

    /// What was written until now.
    pub fn text(&self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
