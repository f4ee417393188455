//! What a store knows of where its keys come from.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use crate::keys::status::KeyStatus;

/// Where the keys of a store come from, and come from again.
pub(crate) trait KeySource: Send + Sync {
    /// A load that may bring the key with this id, or without one another key than those that do
    /// not verify a token: one that is under way, or that begins for it.
    fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> Prospect;

    /// The first load of all, unless it is known to fail.
    fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp>;

    /// Loads the keys again now, and waits for the end.
    fn reload(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;

    /// For how long keys may still be used that have this end; zero once that has passed. Each read
    /// of the keys asks.
    fn rest(&self, end: Option<Instant>) -> Option<Duration>;

    /// Whether there may be newer keys, which cannot be had.
    fn is_behind(&self) -> bool;

    /// A status with what is known of the loads.
    fn describe(&self, status: KeyStatus) -> KeyStatus;
}

/// A load of keys that a request waits for.
pub(crate) struct LookUp {
    /// Gives whether the load has come to an end, or only the patience with it.
    pub(crate) end: Pin<Box<dyn Future<Output = bool> + Send>>,
    /// The load had begun before it was asked for, so it may have been too early for the key.
    pub(crate) is_joined: bool,
    /// When the patience ends: for this load, and for one behind it.
    pub(crate) deadline: Deadline,
}

impl LookUp {
    /// All of these loads, which run side by side.
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

/// Until when a request waits.
pub(crate) type Deadline = Instant;

/// Whether a key that is not there may come.
#[cfg_attr(
    not(feature = "_refresh"),
    expect(dead_code, reason = "what nobody loads does not come")
)]
pub(crate) enum Prospect {
    /// Where the keys come from there is no such key, as far as is known there.
    Answered,
    /// A load may bring it.
    Load(LookUp),
    /// Nobody has asked, and nobody may now.
    Unasked,
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

    /// A request that waits for several loads waits no longer than for the most impatient one.
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
