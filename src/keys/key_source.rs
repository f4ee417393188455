//! The interface between a store and the source of its keys.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::keys::status::KeyStatus;

/// The source of the keys of a store.
pub(crate) trait KeySource: Send + Sync {
    /// Looks for a load that may bring the key with this id. Without an id: a key that verifies a token
    /// that no key of the store verifies. The load may be running already, or starts now.
    fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> KeyLookUp;

    /// The first load. `None` if loads are failing, or have ended.
    fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp>;

    /// Loads the keys again now, and waits for the end of the load.
    fn reload(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// The time until this end, or zero after it. Called for each read of the keys.
    fn rest(&self, end: Option<Instant>) -> Option<Duration>;

    /// Whether the source may have newer keys that could not be loaded.
    fn is_behind(&self) -> bool;

    /// Adds the state of the loads to a status.
    fn describe(&self, status: KeyStatus) -> KeyStatus;
}

/// A load of keys for which a request waits.
pub(crate) struct LookUp {
    /// Returns `true` when the load has ended, and `false` when the deadline has passed before.
    pub(crate) end: Pin<Box<dyn Future<Output = bool> + Send>>,
    /// Whether the load started before the request, so that it may be too early for the key.
    pub(crate) is_joined: bool,
    /// The end of the wait, for this load and for the one after it.
    pub(crate) deadline: Deadline,
}

impl LookUp {
    /// Combines loads that run at the same time.
    pub(crate) fn of_all(loads: Vec<Self>) -> Option<Self> {
        loads.into_iter().reduce(|one, other| Self {
            end: Box::pin(async move {
                let has_ended = one.end.await;
                other.end.await && has_ended
            }),
            is_joined: one.is_joined || other.is_joined,
            deadline: one.deadline.min(other.deadline),
        })
    }
}

/// The time until which a request waits.
pub(crate) type Deadline = Instant;

/// The result of looking up a key that the store does not have.
#[cfg_attr(
    not(feature = "_refresh"),
    expect(dead_code, reason = "without a source no key is loaded")
)]
pub(crate) enum KeyLookUp {
    /// The source does not have the key.
    NotFound,
    /// A load may bring the key.
    Loading(LookUp),
    /// It is not known whether the source has the key, and no load may start now.
    Unknown,
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn look_up(has_ended: bool, is_joined: bool, deadline: Instant) -> LookUp {
        LookUp {
            end: Box::pin(async move { has_ended }),
            is_joined,
            deadline,
        }
    }

    #[test]
    fn several_loads_are_waited_for_until_the_first_of_their_deadlines() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for (first, second) in [(early, late), (late, early)] {
            for (one, other) in [(true, true), (true, false), (false, true)] {
                let loads = vec![look_up(one, false, first), look_up(other, one, second)];
                let all = LookUp::of_all(loads).unwrap();
                assert_eq!(all.deadline, early);
                assert_eq!(all.is_joined, one);
                let mut end = pin!(all.end);
                let polled = end.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert_eq!(polled, Poll::Ready(one && other));
            }
        }
        assert!(LookUp::of_all(Vec::new()).is_none());
    }
}
