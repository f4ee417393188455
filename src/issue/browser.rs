//! [`LoginCookies`]: the tokens of a login in the cookies of a browser.

use std::time::Duration;

use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use crate::error::config::ConfigError;
use crate::error::rejection::Rejection;
use crate::issue::logins::LoginTokens;
use crate::issue::response::no_store;
use crate::request::{self, CsrfPolicy, TokenCookie, TokenSource};
use crate::telemetry;

/// Stores the two tokens of a login in browser cookies, which the scripts of a page cannot read.
///
/// Both cookies have a `__Host-` name, `Secure`, `HttpOnly`, `SameSite` and `Path=/`. They are sent only over
/// https, only to the host that set them, and not with background requests from other sites. Each cookie
/// expires with its token. Browsers accept them over plain http only if the host is `localhost` or a loopback
/// address, so development needs no certificate.
///
/// [`token_source`](Self::token_source) makes the layer read the access token. The handlers for signing in,
/// refreshing and signing out use the other methods. [The guide](crate::guide::login) shows all of these
/// handlers.
///
/// # Who clears the cookies
///
/// Call [`clear`](Self::clear) only in a handler that signs out, and never after a failed refresh. Another
/// tab may have refreshed or signed in again in the meantime. The browser then already has its new cookies,
/// and a late response would delete them. Cookies of a login that has ended are harmless: they are rejected,
/// and they expire.
///
/// # Example: the handlers for signing in, refreshing and signing out
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::extract::State;
/// use axum::response::Result;
/// use http::{HeaderMap, StatusCode, request::Parts};
/// use tower_jwt_auth::issue::{Login, LoginCookies, Logins};
///
/// type App = State<(Logins, LoginCookies)>;
///
/// async fn sign_in(State((logins, cookies)): App, parts: Parts) -> Result<HeaderMap> {
///     cookies.check_site(&parts)?;
///     // ... check the password ...
///     Ok(cookies.set(&logins.begin(Login::new("user-1", "web")).await?))
/// }
///
/// async fn refresh(State((logins, cookies)): App, parts: Parts) -> Result<HeaderMap> {
///     let token = cookies.refresh_token(&parts)?.ok_or(StatusCode::BAD_REQUEST)?;
///     Ok(cookies.set(&logins.refresh((token, "web")).await?))
/// }
///
/// async fn sign_out(State((logins, cookies)): App, parts: Parts) -> Result<HeaderMap> {
///     if let Some(token) = cookies.refresh_token(&parts)? {
///         logins.end_by_token(token).await?;
///     }
///     Ok(cookies.clear())
/// }
/// # use axum::{Router, routing::post};
/// # let routes: Router<(Logins, LoginCookies)> = Router::new()
/// #     .route("/sign-in", post(sign_in))
/// #     .route("/refresh", post(refresh))
/// #     .route("/sign-out", post(sign_out));
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LoginCookies {
    access: TokenCookie,
    refresh: TokenCookie,
    csrf: CsrfPolicy,
    same_site: &'static str,
}

impl LoginCookies {
    /// Uses cookies with the names `__Host-access` and `__Host-refresh`, and `SameSite=Lax`. The policy
    /// determines which other sites may make requests with them.
    pub fn new(csrf: CsrfPolicy) -> Self {
        let [access, refresh] =
            ["__Host-access", "__Host-refresh"].map(|name| TokenCookie::known(name, csrf.clone()));
        Self {
            access,
            refresh,
            csrf,
            same_site: "Lax",
        }
    }

    /// Adds this word to both names, for example `__Host-shop-access`. Two applications on one host need
    /// different names, because a browser keeps one set of cookies for all ports of a host.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CookieName`] if the word has a character that is not allowed in the name of a
    /// cookie.
    pub fn named(self, application: &str) -> Result<Self, ConfigError> {
        let cookie = |what| {
            let name = format!("__Host-{application}-{what}");
            TokenCookie::new(&name, self.csrf.clone())
        };
        Ok(Self {
            access: cookie("access")?,
            refresh: cookie("refresh")?,
            ..self
        })
    }

    /// Uses `SameSite=Strict` instead of `Lax`. With this setting, the first request after a user
    /// follows a link from another site has no cookies either. Later requests of the page have them.
    pub fn same_site_strict(mut self) -> Self {
        self.same_site = "Strict";
        self
    }

    /// Returns the setting for [`JwtAuth::token_source`](crate::JwtAuth::token_source): the `Authorization`
    /// header and the cookie with the access token.
    pub fn token_source(&self) -> TokenSource {
        TokenSource::header().with_cookie(self.access.clone())
    }

    /// Rejects a request that another site triggered. Call it in a handler that signs in: at that point there
    /// are no cookies, so the layer checks nothing. Without it, another site could sign its visitors in as
    /// somebody else, and see what they enter.
    ///
    /// # Errors
    ///
    /// A rejection with 403 if the [`CsrfPolicy`] does not allow the request.
    pub fn check_site(&self, parts: &Parts) -> Result<(), Rejection> {
        request::require_site(parts, &self.csrf).map_err(Rejection::unreported)
    }

    /// Returns the refresh token of a request, or `None` if there is no refresh token. The route should
    /// accept only `POST` requests, because the [`CsrfPolicy`] accepts all `GET` requests.
    ///
    /// The policy also applies to a request without a refresh token. When another site submits a form to this
    /// host, the browser does not send the cookies, but accepts the cookies of the response. Without this
    /// check, a handler that [clears](Self::clear) the cookies would sign out the visitors of that site.
    ///
    /// # Errors
    ///
    /// A rejection with 403 if the [`CsrfPolicy`] does not allow the request, and with 400 if the request has
    /// two refresh tokens.
    pub fn refresh_token<'r>(&self, parts: &'r Parts) -> Result<Option<&'r str>, Rejection> {
        let token = request::value_of_cookie(parts, &self.refresh);
        let token = token.map_err(Rejection::unreported)?;
        if token.is_none() {
            self.check_site(parts)?;
        }
        Ok(token)
    }

    /// Returns the response headers that set the cookies, with `Cache-Control: no-store`. With axum, they can
    /// be a part of the return value of a handler.
    ///
    /// If the client presented the same refresh token, its cookie is not set again. The response may arrive
    /// after that of another tab, and must not replace a newer token. A token that
    /// [never changes](crate::issue::Logins::without_rotation) is set again when its session advances, so that the
    /// cookie lasts as long.
    ///
    /// A browser ignores a cookie of more than 4 096 bytes. If a token is too long, an event is logged at the
    /// error level.
    #[must_use]
    pub fn set(&self, tokens: &LoginTokens) -> HeaderMap {
        let access = tokens.access_token();
        let now = access.expires_at().checked_sub(access.lifetime());
        let left = now.and_then(|now| tokens.refresh_expires_at().duration_since(now).ok());
        let access = (&self.access, access.as_str(), access.lifetime());
        let refresh = tokens.refresh_token();
        let refresh = (&self.refresh, refresh, left.unwrap_or_default());
        let refresh = tokens.has_new_refresh_token().then_some(refresh);
        self.headers([access].into_iter().chain(refresh))
    }

    /// Returns the response headers that delete both cookies. Use them only for signing out; see
    /// [above](Self).
    #[must_use]
    pub fn clear(&self) -> HeaderMap {
        self.headers([
            (&self.access, "", Duration::ZERO),
            (&self.refresh, "", Duration::ZERO),
        ])
    }

    fn headers<'c>(
        &self,
        cookies: impl IntoIterator<Item = (&'c TokenCookie, &'c str, Duration)>,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (cookie, token, age) in cookies {
            let name = cookie.name();
            let length = name.len().saturating_add(token.len());
            if length > MAX_COOKIE {
                telemetry::login_cookie_too_long(name, length);
            }
            let line = format!(
                "{name}={token}; Max-Age={}; Path=/; Secure; HttpOnly; SameSite={}",
                age.as_secs(),
                self.same_site
            );
            // Names and tokens have only characters that a header may have.
            if let Ok(mut line) = HeaderValue::try_from(line) {
                line.set_sensitive(true);
                headers.append(SET_COOKIE, line);
            }
        }
        no_store(&mut headers);
        headers
    }
}

/// The maximum number of bytes of the name and the value together (RFC 6265bis, section 5.6).
const MAX_COOKIE: usize = 4_096;
