//! The settings of [`Logins`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::config::ConfigError;
use crate::issue::logins::login::object;
use crate::issue::logins::refresh_keys::RefreshKeys;
use crate::issue::logins::session::{Lifetimes, Session};
use crate::issue::logins::store::LoginStore;
use crate::issue::logins::unanswered::Unanswered;
use crate::issue::logins::{LoginClaimsError, Logins};
use crate::issue::token::{IssueError, TokenIssuer};
use crate::layer::JwtAuth;
use crate::revocation::{Denylist, Revocation, RevocationWriter};
use crate::telemetry::LineBudget;

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) tokens: TokenIssuer,
    pub(super) keys: RefreshKeys,
    pub(super) store: Arc<dyn LoginStore>,
    pub(super) lifetimes: Lifetimes,
    /// Whether the application has set the idle lifetime.
    is_idle_set: bool,
    /// In milliseconds.
    pub(super) grace: u64,
    pub(super) list: Arc<dyn RevocationWriter>,
    /// Makes a layer obey the list.
    obeys: Arc<dyn Fn(JwtAuth) -> JwtAuth + Send + Sync>,
    pub(super) claims: Option<Arc<ClaimsSource>>,
    pub(super) requires_binding: bool,
    pub(super) rotates_bound: bool,
    pub(super) lines: Arc<Lines>,
    pub(super) unanswered: Arc<Unanswered>,
}

/// Limits for events.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) failures: LineBudget,
    pub(super) failed_ends: LineBudget,
    pub(super) failed_logins: LineBudget,
    pub(super) denied_logins: LineBudget,
    pub(super) rejections: LineBudget,
}

pub(super) type ClaimsSource = dyn Fn(Session) -> ClaimsFuture + Send + Sync;
type ClaimsFuture = Pin<Box<dyn Future<Output = Result<Map<String, Value>, ClaimsFailure>> + Send>>;

/// Why there are no claims.
pub(super) enum ClaimsFailure {
    Source(LoginClaimsError),
    Unusable(IssueError),
}

impl Logins {
    /// Creates logins with access tokens issued by `tokens`, refresh tokens of these keys, and
    /// sessions in this store.
    ///
    /// The clock is that of `tokens`.
    pub fn new(tokens: TokenIssuer, keys: RefreshKeys, store: impl LoginStore) -> Self {
        let clock = Arc::clone(tokens.its_clock());
        let list = Denylist::default().with_clock(move || clock.now());
        let idle = idle_by_default(&tokens, ABSOLUTE);
        let settings = Settings {
            tokens,
            keys,
            store: Arc::new(store),
            lifetimes: Lifetimes {
                idle,
                absolute: ABSOLUTE,
            },
            is_idle_set: false,
            grace: GRACE,
            list: Arc::new(list.clone()),
            obeys: Arc::new(move |auth| auth.revocation(list.clone())),
            claims: None,
            requires_binding: false,
            rotates_bound: true,
            lines: Arc::default(),
            unanswered: Arc::default(),
        };
        Self::of(settings)
    }

    /// Sets the time after which a session ends if it is not refreshed. The minimum is the lifetime of
    /// an access token plus one minute. The maximum is 366 days, and the
    /// [absolute lifetime](Self::absolute_lifetime). Default: 14 days, within these limits.
    ///
    /// Access tokens end with their session at the latest.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SessionLifetime`] outside these limits. With a shorter lifetime, a client that
    /// refreshes when its access token has expired would be too late. [`ConfigError::Settings`] if the
    /// absolute lifetime is shorter. If both are longer than 90 days, set the absolute lifetime first.
    pub fn idle_lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        let shortest = shortest_idle(&self.0.tokens);
        let idle = within(lifetime, "idle lifetime", shortest, LONGEST)?;
        not_longer(idle, self.0.lifetimes.absolute)?;
        Ok(self.with(|settings| {
            settings.lifetimes.idle = idle;
            settings.is_idle_set = true;
        }))
    }

    /// Sets the maximum duration of a session: 1 minute to 366 days. Default: 90 days.
    ///
    /// Access tokens end with their session at the latest.
    ///
    /// # Errors
    ///
    /// [`ConfigError::SessionLifetime`] outside these limits. [`ConfigError::Settings`] if a longer
    /// [idle lifetime](Self::idle_lifetime) was set before.
    pub fn absolute_lifetime(self, lifetime: Duration) -> Result<Self, ConfigError> {
        let absolute = within(lifetime, "absolute lifetime", SHORTEST, LONGEST)?;
        let idle = if self.0.is_idle_set {
            self.0.lifetimes.idle
        } else {
            idle_by_default(&self.0.tokens, absolute)
        };
        not_longer(idle, absolute)?;
        Ok(self.with(|settings| settings.lifetimes = Lifetimes { idle, absolute }))
    }

    /// Sets the grace period: for this time after a refresh, the previous token gets the same successor
    /// again. 0 to 60 seconds. Default: 10 seconds.
    ///
    /// The grace period is for tabs that refresh at the same time, and for lost responses. It begins when the
    /// successor is stored, and a request is in time if it arrives before the end. 0 means strict single use,
    /// which logs out every user with two tabs sooner or later; see [the guide](crate::guide::refresh).
    ///
    /// # Errors
    ///
    /// [`ConfigError::SessionLifetime`] outside these limits.
    pub fn grace(self, grace: Duration) -> Result<Self, ConfigError> {
        let grace = within(grace, "grace", 0, LONGEST_GRACE)?;
        Ok(self.with(|settings| settings.grace = grace))
    }

    /// Writes the marks of ended sessions to this denylist, which [`auth`](Self::auth) checks. Several
    /// instances of a service need a shared denylist, such as `RedisDenylist`. Default: a new [`Denylist`]
    /// in the memory of this process.
    #[must_use]
    pub fn revocation<R>(self, list: R) -> Self
    where
        R: Revocation + RevocationWriter + Clone,
    {
        self.with(|settings| {
            settings.list = Arc::new(list.clone());
            settings.obeys = Arc::new(move |auth| auth.revocation(list.clone()));
        })
    }

    /// Sets the source of your own claims in the access tokens. It is called when a session begins and at each
    /// refresh, so the claims are never older than the access token. They are added to those of
    /// [`Login::claims`](crate::issue::Login::claims), and replace claims with the same name. Default: none.
    ///
    /// The closure runs before the refresh is stored. If it fails, the refresh token stays valid.
    ///
    /// # Example: the current role of a user
    ///
    /// ```
    /// use tower_jwt_auth::issue::{LoginClaimsError, Logins, Session};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Own { role: &'static str }
    ///
    /// # async fn role_of(_: &str) -> Result<Option<&'static str>, std::io::Error> { Ok(None) }
    /// # fn f(logins: Logins) -> Logins {
    /// logins.claims_from(async |session: Session| {
    ///     match role_of(session.subject()).await {
    ///         Ok(Some(role)) => Ok(Own { role }),
    ///         Ok(None) => Err(LoginClaimsError::denied("the account is closed")), // 400
    ///         Err(error) => Err(LoginClaimsError::unavailable(error)), // 503, nobody is logged out
    ///     }
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn claims_from<C, A>(self, source: impl Fn(Session) -> A + Send + Sync + 'static) -> Self
    where
        C: Serialize,
        A: Future<Output = Result<C, LoginClaimsError>> + Send + 'static,
    {
        let source = move |session| -> ClaimsFuture {
            let making = source(session);
            Box::pin(async move {
                let own = making.await.map_err(ClaimsFailure::Source)?;
                object(&own).map_err(ClaimsFailure::Unusable)
            })
        };
        self.with(|settings| settings.claims = Some(Arc::new(source)))
    }

    /// Rejects logins that are not [bound](crate::issue::Login::bound_to) to a key or a certificate. Default:
    /// off.
    #[must_use]
    pub fn require_binding(self) -> Self {
        self.with(|settings| settings.requires_binding = true)
    }

    /// Uses one refresh token for the whole lifetime of a bound session, as the [FAPI 2.0 Security
    /// Profile](https://openid.net/specs/fapi-security-profile-2_0-final.html) requires (section
    /// 5.3.2.1). A stolen token is useless without the key. Default: off.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Settings`] if [`require_binding`](Self::require_binding) was not called before.
    pub fn without_rotation(self) -> Result<Self, ConfigError> {
        if !self.0.requires_binding {
            return Err(ConfigError::Settings {
                reason: "refresh tokens that do not rotate must be bound: call `require_binding` before `without_rotation`".to_owned(),
            });
        }
        Ok(self.with(|settings| settings.rotates_bound = false))
    }

    /// Returns the layer for the access tokens. It is the layer of [`TokenIssuer::auth`], and also rejects
    /// the tokens of ended sessions.
    pub fn auth(&self) -> JwtAuth {
        (self.0.obeys)(self.0.tokens.auth())
    }

    /// The issuer of the access tokens.
    pub fn tokens(&self) -> &TokenIssuer {
        &self.0.tokens
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

/// Prints the lifetimes.
impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = Duration::from_millis;
        f.debug_struct("Logins")
            .field("idle_lifetime", &milliseconds(self.0.lifetimes.idle))
            .field(
                "absolute_lifetime",
                &milliseconds(self.0.lifetimes.absolute),
            )
            .field("grace", &milliseconds(self.0.grace))
            .finish_non_exhaustive()
    }
}

/// The shortest idle lifetime in milliseconds.
fn shortest_idle(tokens: &TokenIssuer) -> u64 {
    let token = u64::try_from(tokens.token_lifetime().as_millis()).unwrap_or(u64::MAX);
    token.saturating_add(SHORTEST).min(LONGEST)
}

/// The default fits the other lifetimes, in milliseconds.
fn idle_by_default(tokens: &TokenIssuer, absolute: u64) -> u64 {
    IDLE.max(shortest_idle(tokens)).min(absolute)
}

fn not_longer(idle: u64, absolute: u64) -> Result<(), ConfigError> {
    if idle <= absolute {
        return Ok(());
    }
    let seconds = |milliseconds| Duration::from_millis(milliseconds).as_secs_f64();
    Err(ConfigError::Settings {
        reason: format!(
            "the idle lifetime of {} s is longer than the absolute lifetime of {} s, after which every session ends",
            seconds(idle),
            seconds(absolute)
        ),
    })
}

/// The milliseconds of a duration within these bounds.
fn within(
    input: Duration,
    what: &'static str,
    shortest: u64,
    longest: u64,
) -> Result<u64, ConfigError> {
    let milliseconds = u64::try_from(input.as_millis()).unwrap_or(u64::MAX);
    if (shortest..=longest).contains(&milliseconds) {
        return Ok(milliseconds);
    }
    Err(ConfigError::SessionLifetime {
        what,
        input,
        shortest: Duration::from_millis(shortest),
        longest: Duration::from_millis(longest),
    })
}

const DAY: u64 = 86_400_000;
const IDLE: u64 = 14 * DAY;
const ABSOLUTE: u64 = 90 * DAY;
pub(super) const GRACE: u64 = 10_000;
const SHORTEST: u64 = 60_000;
const LONGEST: u64 = 366 * DAY;
const LONGEST_GRACE: u64 = 60_000;
