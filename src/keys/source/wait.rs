//! The wait of requests for the end of a load, with a deadline under every executor.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The deadlines of the requests that wait for one store.
pub(crate) struct Waits {
    /// The runtime of the task. Its timers also serve requests that are polled elsewhere.
    runtime: Handle,
    /// For a runtime whose timers run only while a thread is in it.
    ticker: Option<Arc<Ticker>>,
}

impl Waits {
    pub(crate) fn new(runtime: Handle) -> Self {
        // The other kinds of runtime have threads that run their timers.
        let may_stand_still = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self {
            runtime,
            ticker: may_stand_still.then(Arc::default),
        }
    }

    /// Waits for the end of a load. Returns `false` if the deadline passes before.
    ///
    /// The timer belongs to the runtime of the task, so the future can be polled under any executor. When
    /// that runtime ends, the task ends, which counts as the end of a load, so the timer is not used after
    /// that.
    pub(crate) fn end_by(
        &self,
        mut finished: watch::Receiver<u64>,
        deadline: Instant,
    ) -> impl Future<Output = bool> + Send + use<> {
        let late = {
            let _inside = self.runtime.enter();
            sleep_until(deadline)
        };
        let ticks = self.ticker.as_ref().map(Ticker::listen);
        async move {
            let (mut end, mut late) = (pin!(finished.changed()), pin!(late));
            let mut late_by_ticks = pin!(has_passed(deadline, ticks));
            poll_fn(|cx| {
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                let is_late =
                    late.as_mut().poll(cx).is_ready() || late_by_ticks.as_mut().poll(cx).is_ready();
                if is_late {
                    Poll::Ready(false)
                } else {
                    Poll::Pending
                }
            })
            .await
        }
    }
}

/// Waits for the first tick after the deadline.
async fn has_passed(deadline: Instant, ticks: Option<watch::Receiver<()>>) {
    let Some(mut ticks) = ticks else {
        return pending().await;
    };
    while Instant::now() < deadline {
        if ticks.changed().await.is_err() {
            return pending().await;
        }
    }
}

/// Wakes all listeners repeatedly, from a thread that exists while there are listeners.
#[derive(Default)]
struct Ticker {
    ticks: watch::Sender<()>,
    is_running: Mutex<bool>,
}

impl Ticker {
    fn listen(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut is_running = self
            .is_running
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Subscribe under the lock, so that the thread does not end before it is known to run.
        let ticks = self.ticks.subscribe();
        if !*is_running {
            let ticker = Arc::clone(self);
            let thread = thread::Builder::new().name("jwt-keys-timer".into());
            // If the thread cannot be started, the timer of the runtime remains.
            *is_running = thread.spawn(move || ticker.run()).is_ok();
        }
        ticks
    }

    fn run(&self) {
        loop {
            thread::sleep(TICK);
            {
                let mut is_running = self
                    .is_running
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                if self.ticks.receiver_count() == 0 {
                    *is_running = false;
                    return;
                }
            }
            self.ticks.send_replace(());
        }
    }
}

/// The maximum delay of a wait after its deadline.
const TICK: Duration = Duration::from_millis(100);
