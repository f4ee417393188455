//! What policy and verifier ask of an [`Introspection`].

use crate::clock::NumericDate;
use crate::introspection::Introspection;

impl Introspection {
    /// The text with which its tokens begin. Empty if it is not set.
    pub(crate) fn token_prefix(&self) -> &str {
        &self.settings.prefix
    }

    pub(crate) fn introspects_jwts(&self) -> bool {
        self.settings.introspects_jwts
    }

    pub(crate) fn allows_missing_audience(&self) -> bool {
        self.settings.allows_missing_audience
    }

    /// The time until which an answer counts, and the time until which it counts during an outage.
    pub(crate) fn ends_of_answer(&self, now: NumericDate) -> (NumericDate, NumericDate) {
        let fresh = now.plus(self.settings.active);
        (fresh, fresh.plus(self.settings.stale))
    }

    /// The same settings, with answers from elsewhere.
    #[cfg(feature = "test-util")]
    pub(crate) fn answered_by(&self, other: Self) -> Self {
        Self {
            settings: self.settings.clone(),
            ..other
        }
    }

    /// Counts a request whose answer was known.
    pub(crate) fn count_hit(&self) {
        self.state.hit();
    }
}
