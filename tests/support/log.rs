//! The log as an operator gets it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::filter::LevelFilter;

/// The log of this thread in the default format, until this is dropped.
pub struct Log {
    written: Lines,
    _guard: DefaultGuard,
    /// With only one subscriber, a thread without it that reaches an event first disables the event for all
    /// threads. With two subscribers, both are asked.
    _second: Dispatch,
}

impl Log {
    /// Logs from the default level on.
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

    /// The text that was written so far.
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
