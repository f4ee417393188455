//! Requests wait for the end of a task here, with a deadline that works under every executor.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

#[cfg(feature = "issue")]
use crate::keys::source::load::after;

/// The deadlines of the requests that wait for one task, or for the tasks of one runtime.
pub(crate) struct Waits {
    /// The runtime of the task. Its timers also serve requests that are polled elsewhere.
    runtime: Handle,
    /// For a runtime whose timers run only while a thread is in it.
    ticker: Option<Arc<Ticker>>,
}

impl Waits {
    pub(crate) fn new(runtime: Handle) -> Self {
        Self::sharing(runtime, &Arc::default())
    }

    /// The same, with a shared ticker.
    pub(crate) fn sharing(runtime: Handle, ticker: &Arc<Ticker>) -> Self {
        // The other kinds of runtime have threads that run their timers.
        let may_stand_still = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
        Self {
            runtime,
            ticker: may_stand_still.then(|| Arc::clone(ticker)),
        }
    }

    /// Waits for the end of a task. The task changes or drops the watched value at its end. Returns `false`
    /// if the deadline passes before.
    ///
    /// The timer runs in a separate task. A request may be polled by any executor, and a timer that is
    /// polled after the end of its runtime panics. A task ends with its runtime, and then the wait is
    /// over.
    pub(crate) fn end_by<T: Send + Sync + 'static>(
        &self,
        mut finished: watch::Receiver<T>,
        deadline: Instant,
    ) -> impl Future<Output = bool> + Send + use<T> {
        // Aborts the task if the request ends first.
        let mut timer = JoinSet::new();
        let ticks = self.ticker.as_ref().map(Ticker::listen);
        let slot = self
            .ticker
            .as_ref()
            .map(|ticker| ticker.timers.clone().try_acquire_owned());
        if !matches!(slot, Some(Err(_))) {
            let run = async move {
                sleep_until(deadline).await;
                drop(slot);
            };
            timer.spawn_on(run, &self.runtime);
        }
        async move {
            let mut end = pin!(finished.changed());
            let mut late_by_ticks = pin!(has_passed(deadline, ticks));
            poll_fn(|cx| {
                if end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                let has_fired = !timer.is_empty() && timer.poll_join_next(cx).is_ready();
                if has_fired || late_by_ticks.as_mut().poll(cx).is_ready() {
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

/// Runs a future of the application to its end. Returns `None` if the limit passes before. The limit holds under
/// every executor, because it needs no runtime and no timer of one.
#[cfg(feature = "issue")]
pub(crate) async fn within<F: Future>(
    limit: Duration,
    future: F,
    ticker: &Arc<Ticker>,
) -> Option<F::Output> {
    let deadline = after(Instant::now(), limit);
    let mut future = pin!(future);
    let mut is_late = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        // Only a future that has to wait needs the ticker.
        if is_late.is_none() {
            is_late.set(Some(has_passed(deadline, Some(ticker.listen()))));
        }
        match is_late.as_mut().as_pin_mut() {
            Some(is_late) => is_late.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

/// Wakes all listeners repeatedly, from a thread that exists while there are listeners.
pub(crate) struct Ticker {
    ticks: watch::Sender<()>,
    is_running: Mutex<bool>,
    /// The permits for timers of the runtime. While the runtime is not running, it does not free
    /// the timers of cancelled requests.
    timers: Arc<Semaphore>,
}

impl Default for Ticker {
    fn default() -> Self {
        Self {
            ticks: watch::Sender::default(),
            is_running: Mutex::default(),
            timers: Arc::new(Semaphore::new(TIMERS_MAX)),
        }
    }
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
/// The maximum number of timers in a runtime that may not be running. Further waits end with a
/// tick.
const TIMERS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use tokio::runtime::Builder;

    use super::*;

    /// A request is polled by another executor while the runtime of the keys ends.
    #[test]
    fn a_wait_ends_with_the_runtime_of_its_timer() {
        for is_started in [false, true] {
            let mut kinds = [Builder::new_current_thread(), Builder::new_multi_thread()];
            for kind in &mut kinds {
                let runtime = kind.worker_threads(1).enable_time().build().unwrap();
                let waits = Waits::new(runtime.handle().clone());
                let finished = watch::Sender::new(0);
                let deadline = Instant::now() + Duration::from_secs(60);
                let mut end = pin!(waits.end_by(finished.subscribe(), deadline));
                let mut context = Context::from_waker(Waker::noop());
                if is_started {
                    assert_eq!(end.as_mut().poll(&mut context), Poll::Pending);
                }
                drop(runtime);
                assert_eq!(end.as_mut().poll(&mut context), Poll::Ready(false));
                // The twin: a load that has ended counts, even after the end of the runtime.
                let end = pin!(waits.end_by(finished.subscribe(), deadline));
                finished.send_replace(1);
                assert_eq!(end.poll(&mut context), Poll::Ready(true));
            }
        }
    }

    /// The runtime keeps the timer tasks in memory even after their requests were cancelled.
    #[test]
    fn a_runtime_that_stands_still_gets_a_bounded_number_of_timers() {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let waits = Waits::new(runtime.handle().clone());
        let finished = watch::Sender::new(0);
        for _ in 0..2 * TIMERS_MAX {
            drop(waits.end_by(finished.subscribe(), Instant::now()));
        }
        assert_eq!(runtime.metrics().num_alive_tasks(), TIMERS_MAX);
        // The timers are freed when the runtime runs. Then a wait gets a timer again.
        runtime.block_on(tokio::task::yield_now());
        let end = waits.end_by(finished.subscribe(), Instant::now());
        assert!(!runtime.block_on(end));
    }
}
