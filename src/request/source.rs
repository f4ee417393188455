//! Where a request may carry its token.

use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL};

use crate::bytes;
use crate::error::config::ConfigError;
use crate::request::csrf::CsrfPolicy;

/// Where a request may carry its token. The `Authorization` header is always read; other places are
/// read only if they are added here.
///
/// A request with tokens in two places is rejected with 400 ([RFC 6750, section 2]), and so is a
/// request with two tokens in one place. The cookie is an exception: a browser sends it
/// automatically, so the cookie is ignored if a header or a subprotocol has a token.
///
/// # Example: the header of a proxy that logs people in
///
/// ```
/// use http::HeaderName;
/// use tower_jwt_auth::request::TokenSource;
///
/// let source = TokenSource::header().with_header(HeaderName::from_static("cf-access-jwt-assertion"));
/// # let _ = source;
/// ```
///
/// [RFC 6750, section 2]: https://www.rfc-editor.org/rfc/rfc6750#section-2
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TokenSource {
    pub(super) headers: Vec<HeaderName>,
    pub(super) cookie: Option<TokenCookie>,
    pub(super) subprotocol: Option<TokenSubprotocol>,
    pub(super) is_query_on: bool,
}

impl TokenSource {
    /// Reads only the `Authorization` header. This is the default.
    pub fn header() -> Self {
        Self::default()
    }

    /// Also reads this header. Its value is the bare token; a leading `Bearer` is accepted.
    ///
    /// This is for a proxy that logs people in and forwards their token in its own header, such as
    /// `Cf-Access-Jwt-Assertion` or `X-Goog-IAP-JWT-Assertion`. The token is verified like any other.
    /// Each call adds a header.
    pub fn with_header(mut self, name: HeaderName) -> Self {
        if name != AUTHORIZATION && !self.headers.contains(&name) {
            self.headers.push(name);
        }
        self
    }

    /// Also reads this cookie. Each call replaces the cookie.
    pub fn with_cookie(mut self, cookie: TokenCookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// Also reads a subprotocol that a browser offers when it opens a WebSocket. Each call replaces
    /// the subprotocol.
    pub fn with_subprotocol(mut self, subprotocol: TokenSubprotocol) -> Self {
        self.subprotocol = Some(subprotocol);
        self
    }

    /// Also reads the query parameter `access_token` ([RFC 6750, section 2.3]).
    ///
    /// Successful responses to a request with a query get `Cache-Control: private`, unless they
    /// already have `private` or `no-store`.
    ///
    /// # Security
    ///
    /// URLs, and the tokens in them, end up in logs, histories and `Referer` headers. Use only tokens
    /// that are valid for seconds, for example for a WebSocket or a download that a browser starts.
    ///
    /// [RFC 6750, section 2.3]: https://www.rfc-editor.org/rfc/rfc6750#section-2.3
    pub fn insecure_with_query(mut self) -> Self {
        self.is_query_on = true;
        self
    }

    pub(crate) fn reads_query(&self) -> bool {
        self.is_query_on
    }

    /// Whether `Authorization` is the only place that is read.
    pub(super) fn is_authorization_alone(&self) -> bool {
        self.headers.is_empty()
            && self.cookie.is_none()
            && self.subprotocol.is_none()
            && !self.is_query_on
    }

    /// The request headers that the verdict on a request depends on, for `Vary`.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = HeaderName> {
        let more = [
            self.cookie.as_ref().map(|_| COOKIE),
            self.subprotocol.as_ref().map(|_| SEC_WEBSOCKET_PROTOCOL),
        ];
        std::iter::once(AUTHORIZATION)
            .chain(self.headers.iter().cloned())
            .chain(more.into_iter().flatten())
    }
}

/// A cookie that carries the token, and its protection against requests from other sites.
///
/// A browser also sends the cookie with requests that another site triggers. The [`CsrfPolicy`] determines
/// which of these requests are rejected with 403. The `__Host-` or `__Secure-` prefix keeps the cookie off
/// unencrypted connections ([RFC 6265bis, section
/// 4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3)).
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenCookie {
    pub(super) name: Arc<str>,
    pub(super) csrf: CsrfPolicy,
}

impl TokenCookie {
    /// Creates a cookie with this name and this policy.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CookieName`] if the name does not begin with `__Host-` or `__Secure-`, or is not
    /// a valid cookie name.
    pub fn new(name: &str, csrf: CsrfPolicy) -> Result<Self, ConfigError> {
        let bare = name
            .strip_prefix("__Host-")
            .or_else(|| name.strip_prefix("__Secure-"));
        if bare.is_none_or(str::is_empty) {
            return Err(ConfigError::CookieName {
                input: name.to_owned(),
            });
        }
        Self::insecure_unprefixed(name, csrf)
    }

    /// Creates a cookie whose name needs no prefix. This is for a provider that chooses the name, such
    /// as `CF_Authorization`. The policy applies in the same way.
    ///
    /// # Security
    ///
    /// A cookie without a prefix may be sent over an unencrypted connection. A neighbouring host, or
    /// an attacker on the network, can set it, and so replace the token of the user with the token
    /// of another person. Make sure that the provider sets the cookie with `Secure` and `HttpOnly`,
    /// that every host of the domain is trusted, and that the host answers only over https, with
    /// HSTS.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CookieName`] if it is not a valid cookie name.
    pub fn insecure_unprefixed(name: &str, csrf: CsrfPolicy) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(bytes::is_token_character) {
            return Err(ConfigError::CookieName {
                input: name.to_owned(),
            });
        }
        Ok(Self::known(name, csrf))
    }

    /// A cookie whose name is known to be valid.
    pub(crate) fn known(name: &str, csrf: CsrfPolicy) -> Self {
        Self {
            name: name.into(),
            csrf,
        }
    }

    #[cfg(feature = "issue")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

/// A WebSocket subprotocol that carries the token, because browsers cannot set the `Authorization`
/// header of a WebSocket handshake.
///
/// The page offers the token in addition to the subprotocol that it uses: `new WebSocket(url,
/// ["chat", "bearer." + token])` for the prefix `bearer.`. The layer removes the entry with the
/// token from `Sec-WebSocket-Protocol` before the inner service sees the request. So the service can
/// neither select the token nor send it back ([RFC 6455, section 4.2.2]). A browser closes the
/// connection if it offered subprotocols and the service selects none, so the page must offer one
/// that the service selects.
///
/// The [`CsrfPolicy`] applies to the handshake in the same way as to a cookie ([RFC 6455, section
/// 10.2]).
///
/// [RFC 6455, section 4.2.2]: https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2
/// [RFC 6455, section 10.2]: https://www.rfc-editor.org/rfc/rfc6455#section-10.2
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenSubprotocol {
    pub(super) prefix: Arc<str>,
    pub(super) csrf: CsrfPolicy,
}

impl TokenSubprotocol {
    /// Creates a subprotocol that consists of this prefix, such as `bearer.`, and the token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Subprotocol`] if the prefix is empty, or has a character that is not allowed in
    /// a subprotocol ([RFC 6455, section 4.1]).
    ///
    /// [RFC 6455, section 4.1]: https://www.rfc-editor.org/rfc/rfc6455#section-4.1
    pub fn new(prefix: &str, csrf: CsrfPolicy) -> Result<Self, ConfigError> {
        if prefix.is_empty() || !prefix.bytes().all(bytes::is_token_character) {
            return Err(ConfigError::Subprotocol {
                input: prefix.to_owned(),
            });
        }
        Ok(Self {
            prefix: prefix.into(),
            csrf,
        })
    }
}
