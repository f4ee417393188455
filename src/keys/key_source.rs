//! The interface between a store and the source of its keys.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
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

    /// Loads the keys soon, without waiting for the load.
    #[cfg(feature = "issue")]
    fn load_soon(&self);

    /// The time until this end, or zero after the end. Called for each read of the keys.
    fn rest(&self, end: Option<Instant>) -> Option<Duration>;

    /// Whether the source may have newer keys that could not be loaded.
    fn is_behind(&self) -> bool;

    /// Adds the state of the loads to a status.
    fn describe(&self, status: KeyStatus) -> KeyStatus;
}

/// Loads of keys for which a request waits.
pub(crate) struct LookUp {
    /// The loads that have not ended. Usually there is one: several sources are used at the same time only
    /// if an issuer is trusted several times.
    running: Vec<EndOfLoad>,
    /// Whether a load started before the request, so that it may be too early for the key.
    pub(crate) is_joined: bool,
    /// The end of the wait, for these loads and for the ones after them.
    pub(crate) deadline: Deadline,
}

/// Returns `true` when a load has ended, and `false` if the deadline passes first.
pub(crate) type EndOfLoad = Pin<Box<dyn Future<Output = bool> + Send>>;

/// The reason why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The deadline has passed.
    TooLong,
    /// A load has ended, and others are still running.
    ForOne,
    /// All loads have ended.
    ForAll,
}

impl LookUp {
    #[cfg_attr(
        not(any(feature = "_refresh", test)),
        expect(dead_code, reason = "without a source no key is loaded")
    )]
    pub(crate) fn new(end: EndOfLoad, is_joined: bool, deadline: Deadline) -> Self {
        Self {
            running: vec![end],
            is_joined,
            deadline,
        }
    }

    /// Combines loads that run at the same time.
    pub(crate) fn of_all(loads: Vec<Self>) -> Option<Self> {
        loads.into_iter().reduce(|mut all, other| {
            all.running.extend(other.running);
            all.is_joined |= other.is_joined;
            all.deadline = all.deadline.min(other.deadline);
            all
        })
    }

    /// Waits until one of the loads ends, because it may have brought the key.
    pub(crate) async fn wait(&mut self) -> Waited {
        poll_fn(|context| {
            let (before, mut is_late) = (self.running.len(), false);
            self.running
                .retain_mut(|end| match end.as_mut().poll(context) {
                    Poll::Ready(has_ended) => {
                        is_late |= !has_ended;
                        false
                    }
                    Poll::Pending => true,
                });
            if is_late {
                return Poll::Ready(Waited::TooLong);
            }
            match self.running.len() {
                0 => Poll::Ready(Waited::ForAll),
                left if left < before => Poll::Ready(Waited::ForOne),
                _ => Poll::Pending,
            }
        })
        .await
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
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn waited(loads: Vec<LookUp>) -> Vec<Poll<Waited>> {
        let mut all = LookUp::of_all(loads).unwrap();
        let mut waited = Vec::new();
        while waited.len() < 3 && !all.running.is_empty() {
            let mut context = Context::from_waker(Waker::noop());
            waited.push(pin!(all.wait()).poll(&mut context));
        }
        waited
    }

    fn ended(has_ended: bool) -> LookUp {
        LookUp::new(Box::pin(ready(has_ended)), false, Instant::now())
    }

    fn running() -> LookUp {
        LookUp::new(Box::pin(pending()), false, Instant::now())
    }

    #[test]
    fn a_wait_is_over_when_one_of_several_loads_has_ended() {
        use Poll::{Pending, Ready};
        use Waited::{ForAll, ForOne, TooLong};

        assert_eq!(waited(vec![ended(true)]), [Ready(ForAll)]);
        assert_eq!(waited(vec![ended(true), ended(true)]), [Ready(ForAll)]);
        assert_eq!(waited(vec![ended(true), ended(false)]), [Ready(TooLong)]);
        let late = waited(vec![running(), ended(false)]);
        assert_eq!(late, [Ready(TooLong), Pending, Pending]);
        for loads in [vec![running(), ended(true)], vec![ended(true), running()]] {
            assert_eq!(waited(loads), [Ready(ForOne), Pending, Pending]);
        }
    }

    #[test]
    fn several_loads_have_the_first_of_their_deadlines() {
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_secs(60));
        for (first, second) in [(early, late), (late, early)] {
            for (one, other) in [(true, true), (true, false), (false, true), (false, false)] {
                let load = |is_joined, until| LookUp::new(Box::pin(ready(true)), is_joined, until);
                let all = LookUp::of_all(vec![load(one, first), load(other, second)]).unwrap();
                assert_eq!(all.deadline, early);
                assert_eq!(all.is_joined, one || other);
            }
        }
        assert!(LookUp::of_all(Vec::new()).is_none());
    }
}
