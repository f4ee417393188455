//! What stands in place of [`introspection`](crate::introspection) without the feature: nothing that can be
//! made, so no token is opaque.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use crate::clock::NumericDate;

pub(crate) use crate::token::introspected::Answer;

pub(crate) mod query;

#[derive(Clone, Debug)]
pub(crate) enum Introspection {}

impl Introspection {
    pub(crate) fn token_prefix(&self) -> &str {
        match *self {}
    }

    pub(crate) fn introspects_jwts(&self) -> bool {
        match *self {}
    }

    pub(crate) fn allows_missing_audience(&self) -> bool {
        match *self {}
    }

    pub(crate) fn ends_of_answer(&self, _: NumericDate) -> (NumericDate, NumericDate) {
        match *self {}
    }

    pub(crate) fn count_hit(&self) {
        match *self {}
    }
}

/// Why a question has no usable answer.
pub(crate) struct AskFailure {
    pub(crate) reason: String,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) never: Infallible,
}

pub(crate) mod flight {
    use super::*;
    use crate::cache::Digest;
    use crate::error::rejection::Rejection;
    use crate::introspection::query::{NotAsked, Query};
    use crate::keys::key_source::Deadline;

    pub(crate) struct Questions<T>(PhantomData<fn() -> T>);

    pub(crate) struct Question<T>(Infallible, PhantomData<fn() -> T>);

    impl<T> Questions<T> {
        pub(crate) fn new(_: bool) -> Self {
            Self(PhantomData)
        }

        pub(crate) fn rejection(&self, _: Digest, _: usize, _: NumericDate) -> Option<Rejection> {
            None
        }

        pub(crate) fn reject(
            &self,
            _: Digest,
            _: usize,
            _: &Rejection,
            _: NumericDate,
            introspection: &Introspection,
        ) {
            match *introspection {}
        }

        pub(crate) fn ask(
            &self,
            introspection: &Introspection,
            _: Query,
            _: impl FnOnce(Result<Answer, AskFailure>) -> T + Send + 'static,
        ) -> Result<Question<T>, NotAsked> {
            match *introspection {}
        }
    }

    impl<T> Question<T> {
        pub(crate) async fn verdict(self, _: Option<Deadline>) -> Result<T, String> {
            match self.0 {}
        }
    }
}
