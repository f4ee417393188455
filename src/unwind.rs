//! Panics that must not end the task in which they happen.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

/// Runs code of the user, and returns `None` if it panics.
pub(crate) async fn unless_panicked<T>(code: impl Future<Output = T>) -> Option<T> {
    let mut code = pin!(code);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| code.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// Whether the current tokio runtime has timers. Tokio has no function for this.
pub(crate) fn has_timers() -> bool {
    catch_unwind(|| drop(sleep(Duration::ZERO))).is_ok()
}
