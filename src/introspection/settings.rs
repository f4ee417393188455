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
/// Set them before the introspection is passed to a layer. [The guide](crate::guide::defaults)
/// explains the defaults.
impl Introspection {
    /// Sets the prefix of all opaque tokens of this issuer, such as `oat_`. Default: every opaque
    /// token belongs to this issuer.
    ///
    /// With several introspecting issuers, each needs its own prefix, so that a token is sent only to the
    /// issuer that issued it. A prefix must not begin with another prefix. If two issuers may claim a token,
    /// it is answered with 503, an event at the error level is logged when the layer is created, and
    /// [`JwtAuth::check_settings`](crate::JwtAuth::check_settings) returns an error. A token without the
    /// prefix of any issuer is rejected without a request.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.settings.prefix = prefix.into();
        self
    }

    /// Also introspects JWTs of this issuer. A JWT must pass every check of a JWT and be active at the
    /// issuer. If the issuer has no keys ([`TrustedIssuer::introspected`]), a JWT cannot be verified, so only
    /// the answer is checked, as for an opaque token. Default: JWTs are verified only with the keys.
    ///
    /// The issuer of a JWT is known from its `iss`, so the [prefix](Self::prefix) does not apply to
    /// JWTs. If the issuer is trusted several times, the trusts with keys that introspect JWTs come first, in
    /// whatever order the trusts were added. The first of them that verifies a JWT decides alone. No other
    /// trust accepts a JWT that it rejects, or a JWT whose answer is not available during an outage.
    ///
    /// [`TrustedIssuer::introspected`]: crate::TrustedIssuer::introspected
    pub fn introspect_jwts(mut self) -> Self {
        self.settings.introspects_jwts = true;
        self
    }

    /// Accepts active tokens whose answer has no `aud`. Default: such tokens are rejected. If an `aud` is
    /// present, it must always name this API.
    ///
    /// # Security
    ///
    /// A token that was issued for another API is active too. Use this only if the endpoint reports only
    /// tokens for this API as active, or if a required scope is granted only for this API.
    pub fn insecure_allow_missing_audience(mut self) -> Self {
        self.settings.allows_missing_audience = true;
        self
    }

    /// Sets how long an answer with `"active": true` is used, from the start of the introspection
    /// request. It is never used after the `exp` of the token. Default: 30 seconds. With zero, each
    /// request causes an introspection request.
    ///
    /// A token that its issuer revokes stays usable for this time. A local
    /// [revocation](crate::JwtAuth::revocation) takes effect at once.
    pub fn cache_active(mut self, ttl: Duration) -> Self {
        self.settings.active = ttl;
        self
    }

    /// Sets how long a token is rejected without another introspection request, after an answer that it is
    /// not active or an answer that did not pass the checks. Default: 5 seconds. The last 4 096 such tokens
    /// are remembered. With zero, each request causes an introspection request.
    pub fn cache_inactive(mut self, ttl: Duration) -> Self {
        self.settings.inactive = ttl;
        self
    }

    /// Sets how long the last answer for an active token is used during an outage of the endpoint, after the
    /// answer has expired. It is never used after the `exp` of the token. Default: zero, so that a token is
    /// answered with 503. Maximum: 5 minutes.
    ///
    /// # Security
    ///
    /// During an outage, a token that its issuer revokes stays usable for this time. A failure with only
    /// this token also counts as an outage. So does a moment in which
    /// [`max_concurrent`](Self::max_concurrent) introspection requests are running, which clients together
    /// can cause if the endpoint is slow.
    pub fn stale_within(mut self, period: Duration) -> Self {
        self.settings.stale = period.min(LONGEST_STALE);
        self
    }

    /// Sets the maximum number of concurrent introspection requests. Default: 64. Above it, an unknown
    /// token is answered with 503. Tokens whose answer is known are not affected. One probe may run in
    /// addition. It tests the endpoint with a random text after failures.
    pub fn max_concurrent(mut self, questions: usize) -> Self {
        self.settings.max_concurrent = questions.max(1);
        self
    }

    /// Sets the timeout of an introspection request, which is also the maximum time that a request waits.
    /// Default and maximum: 5 seconds. Minimum: 100 milliseconds.
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
