//! The settings of an [`Introspection`].

use std::time::Duration;

use crate::introspection::Introspection;

/// When an endpoint is asked, and how long its answers count.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) prefix: Box<str>,
    pub(super) introspects_jwts: bool,
    pub(super) allows_missing_audience: bool,
    pub(super) active: Duration,
    pub(super) inactive: Duration,
    pub(super) stale: Duration,
    pub(super) max_concurrent: usize,
    pub(super) timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefix: Box::default(),
            introspects_jwts: false,
            allows_missing_audience: false,
            active: Duration::from_secs(30),
            inactive: Duration::from_secs(5),
            stale: Duration::ZERO,
            max_concurrent: 64,
            timeout: LONGEST_WAIT,
        }
    }
}

/// # Settings
///
/// Set them before the introspection is passed to a layer. [The guide](crate::guide::defaults) has the
/// reasons for the defaults.
impl Introspection {
    /// Sets the text with which all opaque tokens of this issuer begin, such as `oat_`. Default: every
    /// opaque token is one of this issuer.
    ///
    /// With several introspecting issuers, each needs a prefix of its own, so that a token is shown only to
    /// the issuer that issued it. A prefix must not begin with another one. If two issuers may claim a token,
    /// it is answered with 503, an event at the error level says so when the layer is created, and
    /// [`JwtAuth::check_settings`](crate::JwtAuth::check_settings) returns an error. A token with the prefix
    /// of no issuer is rejected, and nobody is asked.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Asks for JWTs of this issuer too. A JWT has to pass every check of a JWT, and it has to be active at
    /// the issuer. An issuer without keys ([`TrustedIssuer::introspected`]) cannot verify a JWT, so there the
    /// answer alone counts, as for an opaque token. Default: JWTs are verified with the keys alone.
    ///
    /// The issuer of a JWT is known from its `iss`, so the [prefix](Self::prefix) does not concern JWTs.
    ///
    /// [`TrustedIssuer::introspected`]: crate::TrustedIssuer::introspected
    pub fn introspect_jwts(mut self) -> Self {
        self.settings.introspects_jwts = true;
        self
    }

    /// Accepts active tokens whose answer has no `aud`. Default: such tokens are rejected. An `aud` that is
    /// there must always name this API.
    ///
    /// # Security
    ///
    /// A token that was issued for another API is active too. Use this only if the endpoint tells its caller
    /// only of tokens for this API, or if a required scope is granted for this API alone.
    pub fn insecure_allow_missing_audience(mut self) -> Self {
        self.settings.allows_missing_audience = true;
        self
    }

    /// Sets how long the answer that a token is active counts, from the moment of the question. It never counts
    /// after the `exp` of the token. Default: 30 seconds. Zero asks for each request.
    ///
    /// A token that its issuer revokes stays usable for this time. A
    /// [revocation](crate::JwtAuth::revocation) on this side is in force at once.
    pub fn cache_active(mut self, ttl: Duration) -> Self {
        self.settings.active = ttl;
        self
    }

    /// Sets how long a token stays rejected without a further question, after the issuer said that it is not
    /// active, or after its answer did not pass the checks. Default: 5 seconds. The last 4 096 such tokens are
    /// known. Zero asks for each request.
    pub fn cache_inactive(mut self, ttl: Duration) -> Self {
        self.settings.inactive = ttl;
        self
    }

    /// Uses the last answer for an active token during an outage of the endpoint, for this time after it
    /// would no longer count, and never after the `exp` of the token. Default: zero, which means that a token
    /// is answered with 503. Maximum: 5 minutes.
    ///
    /// # Security
    ///
    /// A token that its issuer revokes stays usable during an outage for this time. An outage is also a
    /// failure with this one token, and a moment in which [`max_concurrent`](Self::max_concurrent) questions
    /// are open, which clients can cause together if the endpoint is slow.
    pub fn stale_within(mut self, period: Duration) -> Self {
        self.settings.stale = period.min(LONGEST_STALE);
        self
    }

    /// Sets the maximum number of questions at a time. Default: 64. Another unknown token is answered with
    /// 503. Tokens whose answer is known are not affected. One probe, which tests the endpoint after failures
    /// with a random text, may be asked beside them.
    pub fn max_concurrent(mut self, questions: usize) -> Self {
        self.settings.max_concurrent = questions.max(1);
        self
    }

    /// Sets the timeout of a question, which is also the time that a request waits. Default: 5 seconds, which
    /// is also the maximum. Minimum: 100 milliseconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let timeout = timeout.clamp(SHORTEST_WAIT, LONGEST_WAIT);
        self.settings.timeout = timeout;
        self.endpoint.documents.timeout = timeout;
        self
    }
}

/// No request waits longer, whatever for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Without this minimum a setting of zero would let no question succeed.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_STALE: Duration = Duration::from_secs(300);
