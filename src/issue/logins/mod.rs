//! Logins: sessions with refresh tokens, and their stores.

mod end;
mod login;
mod memory;
#[cfg(feature = "redis")]
mod redis;
mod refresh;
mod refresh_error;
mod refresh_keys;
mod rules;
mod session;
mod settings;
mod store;
mod unanswered;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::login::{Login, LoginTokens, RefreshRequest};
pub use self::memory::MemoryLogins;
#[cfg(feature = "redis")]
pub use self::redis::RedisLogins;
pub use self::refresh_error::{LoginError, RefreshError};
pub use self::refresh_keys::RefreshKeys;
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::refresh_keys::fuzz_refresh_token;
use self::refresh_keys::{Family, Genuine};
pub use self::session::Session;
use self::session::{Row, milliseconds};
use self::settings::{ClaimsFailure, Settings};
pub use self::store::{LoginStore, LoginStoreError, LoginStoreFuture, StoredSession};
use crate::issue::token::{IssuedToken, not_empty};
use crate::scope::ScopeSet;
use crate::telemetry;

/// Manages the logins of an application. Each login is a session with short-lived access tokens, a
/// refresh token that changes with each use, and a maximum lifetime.
///
/// The application authenticates the user and shows the pages for it. This type creates the tokens.
///
/// A refresh token is for single use, with a [grace period](Self::grace) of 10 seconds for tabs that
/// refresh at the same time and for lost responses. If a token is used again after that, two parties have
/// it. The session ends, its access tokens are revoked, and the event `jwt_refresh_reused` is logged.
/// [The guide](crate::guide::refresh) explains which attacks this detects and what it costs.
///
/// Clones are cheap and share everything.
///
/// # Example: log in, refresh, log out
///
/// ```
/// use tower_jwt_auth::issue::{Login, Logins, MemoryLogins, RefreshKeys, SigningKeys, TokenIssuer};
/// use tower_jwt_auth::{Algorithm, Audience, Issuer};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tokens = TokenIssuer::new(
///     Issuer::new("https://login.example.com")?,
///     Audience::new("calendar-api")?,
///     SigningKeys::generate(Algorithm::ES256)?,
/// );
/// let logins = Logins::new(tokens, RefreshKeys::generate()?, MemoryLogins::default());
/// let auth = logins.auth(); // the layer for the routes of the API
/// # let _ = auth;
///
/// // The password was right.
/// let first = logins.begin(Login::new("alice", "web").device("Firefox on Linux")).await?;
///
/// // Some minutes later, and again in another tab.
/// let second = logins.refresh((first.refresh_token(), "web")).await?;
/// assert_eq!(second.session().device(), Some("Firefox on Linux"));
///
/// logins.end(second.session().id()).await?;
/// let error = logins.refresh((second.refresh_token(), "web")).await.unwrap_err();
/// assert_eq!((error.kind(), error.oauth_error()), ("ended", Some("invalid_grant")));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Logins(Arc<Settings>);

impl Logins {
    fn of(settings: Settings) -> Self {
        Self(Arc::new(settings))
    }

    /// Begins a session for a subject that has just authenticated.
    ///
    /// # Errors
    ///
    /// [`LoginError`], which is also logged as the event `jwt_login_failed`. After
    /// [`LoginError::Unavailable`], the store may contain a session that nobody can use.
    pub async fn begin(&self, login: Login) -> Result<LoginTokens, LoginError> {
        let result = self.try_begin(login).await;
        match &result {
            Ok(_) => telemetry::login_begun(),
            Err(error) => self.report_failure("begin", error),
        }
        result
    }

    async fn try_begin(&self, login: Login) -> Result<LoginTokens, LoginError> {
        let settings = &*self.0;
        let family = Family::random().ok_or_else(|| LoginError::unavailable("no random bytes"))?;
        let row = Row {
            id: family.session_id(),
            subject: login.subject.clone(),
            version: 1,
            data: login.into_data(
                settings.tokens.issuer().as_str(),
                settings.tokens.its_clock().now(),
            )?,
        };
        if settings.requires_binding && row.data.binding.is_none() {
            return Err(LoginError::Unbound);
        }
        // Claims that the source replaces later are kept too.
        settings.tokens.check_claims(&row.data.claims)?;
        let end = settings.lifetimes.end(&row.data);
        let access = self
            .access_token(&row, row.data.scopes.as_ref(), end)
            .await?;
        let stored = row.store(settings.lifetimes)?;
        settings.store.insert(stored).await?;
        Ok(self.login_tokens(&row, family, access))
    }

    /// Records that the subject of a session has just authenticated again. The next access tokens have this
    /// `auth_time`, `acr` and `amr`; refresh to get one. The session keeps its lifetimes.
    ///
    /// `acr` and `amr` describe this authentication. Without an `acr`, the next tokens have none.
    ///
    /// This method does not check who authenticated. Check that it is the subject of this session and not
    /// another user.
    ///
    /// # Errors
    ///
    /// [`LoginError::Ended`] if the session has ended, and other kinds of [`LoginError`].
    pub async fn renew_login(
        &self,
        session_id: &str,
        acr: Option<&str>,
        amr: &[&str],
    ) -> Result<Session, LoginError> {
        let result = self.try_renew_login(session_id, acr, amr).await;
        result.inspect_err(|error| self.report_failure("renew", error))
    }

    async fn try_renew_login(
        &self,
        session_id: &str,
        acr: Option<&str>,
        amr: &[&str],
    ) -> Result<Session, LoginError> {
        Family::from_session_id(session_id).ok_or(LoginError::SessionId)?;
        for _ in 0..ATTEMPTS {
            let now = self.now();
            let mut row = self.load(session_id).await?.ok_or(LoginError::Ended)?;
            if !self.is_alive(&row, now) {
                return Err(LoginError::Ended);
            }
            row.data.authenticated_at = now;
            row.data.acr = acr.map(str::to_owned);
            row.data.amr = amr.iter().map(|method| (*method).to_owned()).collect();
            // A session with values of which no token can be made could not be refreshed any more.
            self.access_token(
                &row,
                row.data.scopes.as_ref(),
                self.0.lifetimes.end(&row.data),
            )
            .await?;
            // A refresh at the same time is not lost: one of the two reads again.
            if self.write(&mut row).await? {
                return Ok(row.session(self.0.lifetimes));
            }
        }
        Err(LoginError::unavailable(CONTENDED))
    }

    /// The sessions of a subject that have not ended, most recently used first.
    ///
    /// # Errors
    ///
    /// [`LoginError::Issue`] if the subject is empty, and [`LoginError::Unavailable`].
    pub async fn sessions(&self, subject: &str) -> Result<Vec<Session>, LoginError> {
        let result = self.try_sessions(subject).await;
        result.inspect_err(|error| self.report_failure("list", error))
    }

    async fn try_sessions(&self, subject: &str) -> Result<Vec<Session>, LoginError> {
        not_empty("subject", subject)?;
        let now = self.now();
        let mut sessions = Vec::new();
        for stored in self.0.store.list(subject).await? {
            let row = Row::read(stored)?;
            if row.subject == subject && self.is_own(&row) && self.is_alive(&row, now) {
                sessions.push(row.session(self.0.lifetimes));
            }
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.data.advanced_at));
        Ok(sessions)
    }

    /// Reports an error whose reason the client does not get.
    fn report_failure(&self, operation: &'static str, error: &LoginError) {
        let status = error.status().as_u16();
        let budget = match status {
            500.. => &self.0.lines.failed_logins,
            _ => &self.0.lines.denied_logins,
        };
        let suppressed = budget.spend(self.now() / 1_000);
        telemetry::login_failed(operation, status, error, suppressed);
    }

    fn is_alive(&self, row: &Row, now: u64) -> bool {
        row.data.ended.is_none() && now < self.0.lifetimes.end(&row.data)
    }

    async fn load(&self, session_id: &str) -> Result<Option<Row>, LoginStoreError> {
        let Some(stored) = self.0.store.load(session_id).await? else {
            return Ok(None);
        };
        if stored.id != session_id {
            // For instance because its column ignores case.
            return Err(LoginStoreError::new("the store gave another session"));
        }
        let row = Row::read(stored)?;
        Ok(self.is_own(&row).then_some(row))
    }

    /// Whether the session was begun with this issuer.
    fn is_own(&self, row: &Row) -> bool {
        row.data.issuer == self.0.tokens.issuer().as_str()
    }

    /// Writes a changed row, if nobody has changed it since it was read.
    async fn write(&self, row: &mut Row) -> Result<bool, LoginStoreError> {
        let expected = row.version;
        row.version = expected.saturating_add(1);
        let stored = row.store(self.0.lifetimes)?;
        self.0.store.update(stored, expected).await
    }

    async fn access_token(
        &self,
        row: &Row,
        scopes: Option<&ScopeSet>,
        session_end: u64,
    ) -> Result<IssuedToken, ClaimsFailure> {
        let Row {
            id, subject, data, ..
        } = row;
        let mut claims: Map<String, Value> = data.claims.clone();
        if let Some(source) = &self.0.claims {
            claims.extend(source(row.session(self.0.lifetimes)).await?);
        }
        let tokens = &self.0.tokens;
        let mut request = tokens
            .for_subject(subject, &data.client_id)
            .session_id(id)
            .expires_by(session::time(session_end))
            .authenticated_at(session::time(data.authenticated_at))
            .authentication_methods(data.amr.iter().map(String::as_str));
        if let Some(acr) = &data.acr {
            request = request.authentication_context(acr);
        }
        if let Some(scopes) = scopes {
            request = request.scope_set(scopes);
        }
        if let Some(binding) = &data.binding {
            request = request.bound_to(binding);
        }
        if !claims.is_empty() {
            request = request.claims(&claims);
        }
        request.issue().await.map_err(ClaimsFailure::Unusable)
    }

    fn login_tokens(&self, row: &Row, family: Family, access: IssuedToken) -> LoginTokens {
        let generation = row.data.generation;
        LoginTokens {
            access,
            refresh: self.0.keys.token(Genuine { family, generation }),
            is_new: true,
            session: row.session(self.0.lifetimes),
        }
    }

    /// Milliseconds since 1970.
    fn now(&self) -> u64 {
        milliseconds(self.0.tokens.its_clock().now())
    }
}

/// Why the source of claims returns no claims for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginClaimsError {
    is_denied: bool,
    reason: String,
}

impl LoginClaimsError {
    /// The session gets no tokens at present, for example because the account is locked. The request is
    /// answered with 400. The session does not end; to end it, call [`Logins::end`].
    pub fn denied(reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self {
            is_denied: true,
            reason,
        }
    }

    /// The source did not answer. The request is answered with 503.
    pub fn unavailable(reason: impl fmt::Display) -> Self {
        let reason = reason.to_string();
        Self {
            is_denied: false,
            reason,
        }
    }
}

impl fmt::Display for LoginClaimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_denied {
            "session is denied"
        } else {
            "claims are not available"
        };
        write!(f, "{what}: {}", self.reason)
    }
}

impl std::error::Error for LoginClaimsError {}

macro_rules! from_claims_failure {
    ($($error:ident)*) => {$(
        impl From<ClaimsFailure> for $error {
            fn from(failure: ClaimsFailure) -> Self {
                match failure {
                    ClaimsFailure::Source(LoginClaimsError {
                        is_denied: true,
                        reason,
                    }) => Self::Denied { reason },
                    ClaimsFailure::Source(error) => Self::unavailable(error),
                    ClaimsFailure::Unusable(error) => Self::Issue(error),
                }
            }
        }
    )*};
}

from_claims_failure!(LoginError RefreshError);

/// How often a change is tried again, because the session was changed at the same time.
const ATTEMPTS: usize = 8;
const CONTENDED: &str = "the session is changed too often at the same time";
