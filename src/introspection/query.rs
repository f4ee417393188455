//! What is asked, and why nothing is asked. The same with and without the feature.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::Digest;
use crate::clock::Clock;
use crate::issuer::{Audience, Issuer};

/// What is asked.
pub(crate) struct Query {
    pub(crate) digest: Digest,
    pub(crate) token: String,
    /// The position of the trust.
    pub(crate) trust: usize,
    pub(crate) issuer: Issuer,
    pub(crate) audience: Audience,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Why a token is not asked for.
pub(crate) enum NotAsked {
    /// There are too many questions. Any client can cause that.
    Busy,
    /// The endpoint has failed, and is not asked for this time.
    Open(Duration),
    /// There is no way to ask.
    Unable(&'static str),
}
