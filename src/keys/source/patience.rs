//! The wait of requests for the end of a load: bounded wherever they are polled.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Bounds the waits of one store.
pub(crate) struct Patience {
    /// Of the task. Its timers serve requests that are polled anywhere.
    runtime: Handle,
    /// For a runtime that may be alive without anybody who drives its timers.
    ticker: Option<Arc<Ticker>>,
}

impl Patience {
    pub(crate) fn new(runtime: Handle) -> Self {
        // The threads of the other kinds drive their timers by themselves.
        let may_stand_still = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self {
            runtime,
            ticker: may_stand_still.then(Arc::default),
        }
    }

    /// Waits for the end of a load, or until the deadline; says whether it was the former.
    ///
    /// The timer is that of the task's runtime, so this can be polled anywhere. It is not touched
    /// once that runtime has ended: the end of the task counts as the end of a load.
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

/// Comes back at the first tick after the deadline.
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

/// Wakes those who listen again and again, from a thread that lives while there are any.
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
        // Under the lock: the thread must not end between the two.
        let ticks = self.ticks.subscribe();
        if !*is_running {
            let ticker = Arc::clone(self);
            let thread = thread::Builder::new().name("jwt-keys-timer".into());
            // Without a thread there is still the timer of the runtime.
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

/// How much longer than the deadline a wait may last.
const TICK: Duration = Duration::from_millis(100);
