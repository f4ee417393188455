//! [`AskFailure`]: why there is no answer about a token.

use std::time::Duration;

use crate::error::rejection::Seconds;
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::DocumentError;

/// Why there is no answer about a token. This is an outage, and never a fault of the caller.
#[derive(Clone, Debug)]
pub(crate) struct AskFailure {
    /// The sentence for the operator. It begins with a URL, and has no token and no secret.
    pub(crate) reason: String,
    /// The time after which the server accepts requests again.
    pub(crate) retry_after: Option<Duration>,
    /// Whether the server rejects the credentials or the requests of this service (400, 401, 403).
    pub(crate) is_ours: bool,
    /// Whether the failure may be due to this one token (413 and the like, 400 without an error that names this
    /// service), so that it says nothing about others. Any client can cause such a failure, if the server answers odd texts so.
    pub(crate) may_be_the_token: bool,
}

impl AskFailure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            retry_after: None,
            is_ours: false,
            may_be_the_token: false,
        }
    }

    pub(super) fn no_answer_within(limit: Duration) -> Self {
        Self::new(format!(
            "no answer within {} s",
            Seconds(limit.as_secs_f64())
        ))
    }

    /// The caller is told no longer time than the endpoint is left alone.
    pub(super) fn within_longest_pause(mut self) -> Self {
        self.retry_after = self.retry_after.map(|pause| pause.min(LONGEST_PAUSE));
        self
    }

    /// Puts the URL before the reason.
    pub(super) fn at(mut self, url: &str) -> Self {
        self.reason.insert_str(0, ": ");
        self.reason.insert_str(0, &ShownUrl(url).to_string());
        self
    }

    /// Removes a text that must not be read in a log. An HTTP client may quote what it sent.
    pub(super) fn conceal(&mut self, text: &str) {
        if !text.is_empty() && self.reason.contains(text) {
            self.reason = self.reason.replace(text, "(secret)");
        }
    }
}

impl From<DocumentError> for AskFailure {
    fn from(error: DocumentError) -> Self {
        Self {
            retry_after: error.retry_after,
            ..Self::new(error.reason)
        }
    }
}

/// The longest time for which an endpoint is not asked.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
