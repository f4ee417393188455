//! [`ClientAuth`]: how this service authenticates to an authorization server.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64_simd::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::clock::NumericDate;
use crate::error::config::ConfigError;
use crate::fetch::plain_http::PlainHttp;
use crate::introspection::client_key::ClientKey;
use crate::introspection::form::{Form, encoded};
use crate::issuer::Issuer;

/// The credentials with which this service authenticates to an authorization server (RFC 6749,
/// section 2.3).
///
/// An introspection endpoint answers only authenticated callers (RFC 7662, section 2.1), so credentials
/// are required. `Debug` prints the method and the client id, but never a secret.
///
/// # Example: a secret that is replaced while the service runs
///
/// ```
/// use tower_jwt_auth::introspection::{ClientAuth, ClientSecret};
///
/// let secret = ClientSecret::from("the first secret");
/// let auth = ClientAuth::secret_basic("files-api", secret.clone())?;
/// // ... `Introspection::discover(&issuer, auth)` and serve; later, from anywhere:
/// secret.replace("the second secret")?;
/// # drop(auth);
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ClientAuth {
    method: Method,
    plain_http: PlainHttp,
}

#[derive(Clone)]
enum Method {
    Basic {
        id: Arc<str>,
        secret: ClientSecret,
        is_raw: bool,
    },
    Bearer(ClientSecret),
    MutualTls(Arc<str>),
    Post {
        id: Arc<str>,
        secret: ClientSecret,
    },
    PrivateKeyJwt {
        id: Arc<str>,
        key: ClientKey,
    },
}

impl ClientAuth {
    /// Sends id and secret as HTTP Basic credentials (`client_secret_basic`). Both are form-encoded
    /// first ([RFC 6749, section 2.3.1]).
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientAuth`] if the id or the secret is empty or has a control character, such as
    /// the line break at the end of a file.
    ///
    /// [RFC 6749, section 2.3.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
    pub fn secret_basic(
        client_id: &str,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, ConfigError> {
        let secret = secret.into();
        Ok(Self::of(Method::Basic {
            id: checked_id(client_id)?,
            secret: secret.checked(client_id)?,
            is_raw: false,
        }))
    }

    /// The same as [`secret_basic`](Self::secret_basic), but without the form encoding. Use this
    /// for servers that do not decode it, although the standard requires them to.
    ///
    /// The encoding does not change an id or a secret that consists of letters, digits, `-`, `.`
    /// and `_`.
    ///
    /// # Security
    ///
    /// The first colon separates the id from the secret. An id with a colon is an error, because the
    /// server would read a different id and secret.
    ///
    /// # Errors
    ///
    /// The same as [`secret_basic`](Self::secret_basic); also if the id has a colon.
    pub fn insecure_raw_basic(
        client_id: &str,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, ConfigError> {
        if client_id.contains(':') {
            return Err(unusable(client_id, "a client id without a colon"));
        }
        let secret = secret.into();
        Ok(Self::of(Method::Basic {
            id: checked_id(client_id)?,
            secret: secret.checked(client_id)?,
            is_raw: true,
        }))
    }

    /// Sends id and secret in the form (`client_secret_post`). Prefer
    /// [`secret_basic`](Self::secret_basic) if the server accepts both.
    ///
    /// # Errors
    ///
    /// The same as [`secret_basic`](Self::secret_basic).
    pub fn secret_post(
        client_id: &str,
        secret: impl Into<ClientSecret>,
    ) -> Result<Self, ConfigError> {
        let secret = secret.into();
        Ok(Self::of(Method::Post {
            id: checked_id(client_id)?,
            secret: secret.checked(client_id)?,
        }))
    }

    /// Signs an assertion with a private key (`private_key_jwt`, [RFC 7523]), so that no secret is
    /// sent.
    ///
    /// Each request has a new assertion, which is valid for 60 seconds. Its only audience is the
    /// identifier of the issuer, and its type is `client-authentication+jwt`. For a server that
    /// rejects the type, see [`ClientKey::untyped`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientAuth`] if the id is empty or has a control character.
    ///
    /// [RFC 7523]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn private_key_jwt(client_id: &str, key: ClientKey) -> Result<Self, ConfigError> {
        Ok(Self::of(Method::PrivateKeyJwt {
            id: checked_id(client_id)?,
            key,
        }))
    }

    /// Sends the client id. The proof is the client certificate that your HTTP client presents in
    /// the TLS connection (`tls_client_auth`, [RFC 8705]).
    ///
    /// If the endpoint comes from the metadata of the issuer, the one in `mtls_endpoint_aliases` is
    /// preferred.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientAuth`] if the id is empty or has a control character.
    ///
    /// [RFC 8705]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    pub fn mutual_tls(client_id: &str) -> Result<Self, ConfigError> {
        Ok(Self::of(Method::MutualTls(checked_id(client_id)?)))
    }

    /// Sends an access token of this service itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientAuth`] if the token is empty, or has characters that are not allowed in
    /// bearer tokens (RFC 6750, section 2.1).
    pub fn bearer(token: impl Into<ClientSecret>) -> Result<Self, ConfigError> {
        let token = token.into();
        if bearer_header(&token.0.load()).is_none() {
            return Err(unusable("", "a bearer token (RFC 6750, section 2.1)"));
        }
        Ok(Self::of(Method::Bearer(token)))
    }

    /// Also allows plain `http` for hosts that are not loopback addresses, such as `http://keycloak:8080` in
    /// a compose file or a mesh. If the metadata comes over `https`, the URL of the endpoint must still be
    /// `https`.
    ///
    /// ```
    /// # #[cfg(feature = "reqwest")] {
    /// use tower_jwt_auth::introspection::{ClientAuth, Introspection};
    ///
    /// let url = "http://keycloak:8080/realms/files/protocol/openid-connect/token/introspect";
    /// let auth = ClientAuth::secret_basic("files-api", "secret")?;
    /// assert!(Introspection::at(url, auth.clone()).is_err());
    /// assert!(Introspection::at(url, auth.insecure_plain_http()).is_ok());
    /// # }
    /// # Ok::<(), tower_jwt_auth::ConfigError>(())
    /// ```
    ///
    /// # Security
    ///
    /// Whoever can read the connection sees these credentials and the tokens of all users. Whoever can answer
    /// in place of the issuer can make any text an active token. Use this only in a network where nobody can
    /// do that, or that encrypts and authenticates connections itself.
    #[must_use]
    pub fn insecure_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::Anywhere;
        self
    }

    fn of(method: Method) -> Self {
        Self {
            method,
            plain_http: PlainHttp::Loopback,
        }
    }

    /// The hosts that may be asked by plain http.
    pub(super) fn plain_http(&self) -> PlainHttp {
        self.plain_http
    }

    /// The client id, which an issuer writes into the `aud` of a signed answer.
    pub(super) fn client_id(&self) -> Option<&str> {
        match &self.method {
            Method::Basic { id, .. }
            | Method::MutualTls(id)
            | Method::Post { id, .. }
            | Method::PrivateKeyJwt { id, .. } => Some(id),
            Method::Bearer(_) => None,
        }
    }

    /// Whether the connection has the proof.
    pub(super) fn is_by_certificate(&self) -> bool {
        matches!(self.method, Method::MutualTls(_))
    }

    /// The secret, for keeping it out of errors.
    pub(super) fn secret(&self) -> Option<Zeroizing<String>> {
        match &self.method {
            Method::Basic { secret, .. } | Method::Bearer(secret) | Method::Post { secret, .. } => {
                Some(Zeroizing::clone(&secret.0.load()))
            }
            Method::MutualTls(_) | Method::PrivateKeyJwt { .. } => None,
        }
    }

    /// Adds the credentials to the form, or returns them as the value of `Authorization`.
    ///
    /// # Errors
    ///
    /// Why there are no credentials, without any secret.
    pub(super) fn add_to(
        &self,
        form: &mut Form,
        issuer: &Issuer,
        now: NumericDate,
    ) -> Result<Option<HeaderValue>, &'static str> {
        match &self.method {
            Method::Basic { id, secret, is_raw } => {
                return Ok(Some(basic_header(id, &secret.0.load(), *is_raw)?));
            }
            Method::Bearer(token) => {
                let header = bearer_header(&token.0.load());
                return header
                    .map(Some)
                    .ok_or("the bearer token of this service is not one (RFC 6750, section 2.1)");
            }
            Method::MutualTls(id) => form.add("client_id", id),
            Method::Post { id, secret } => {
                form.add("client_id", id);
                form.add("client_secret", &secret.0.load());
            }
            Method::PrivateKeyJwt { id, key } => {
                form.add("client_id", id);
                form.add("client_assertion_type", JWT_BEARER);
                form.add("client_assertion", &key.assertion(id, issuer, now)?);
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match &self.method {
            Method::Basic { is_raw: false, .. } => "client_secret_basic",
            Method::Basic { is_raw: true, .. } => "client_secret_basic, not encoded",
            Method::Bearer(_) => "bearer",
            Method::MutualTls(_) => "tls_client_auth",
            Method::Post { .. } => "client_secret_post",
            Method::PrivateKeyJwt { .. } => "private_key_jwt",
        };
        f.debug_struct("ClientAuth")
            .field("method", &method)
            .field("client_id", &self.client_id())
            .finish_non_exhaustive()
    }
}

/// A secret of this service at an authorization server, which can be replaced while it is in use.
///
/// A clone is cheap, and all clones share the secret. It is cleared from memory when it is replaced or
/// when the last clone is dropped.
#[derive(Clone)]
pub struct ClientSecret(Arc<ArcSwap<Zeroizing<String>>>);

impl ClientSecret {
    /// Replaces the secret. Later requests use the new secret.
    ///
    /// # Errors
    ///
    /// [`ConfigError::ClientAuth`] if the new secret is empty or has a control character, such as the
    /// line break at the end of a file. The old secret stays in use.
    pub fn replace(&self, secret: impl Into<String>) -> Result<(), ConfigError> {
        let secret = Zeroizing::new(secret.into());
        check_text(&secret).map_err(|expected| unusable("", expected))?;
        self.0.store(Arc::new(secret));
        Ok(())
    }

    fn checked(self, client_id: &str) -> Result<Self, ConfigError> {
        check_text(&self.0.load()).map_err(|expected| unusable(client_id, expected))?;
        Ok(self)
    }
}

impl From<String> for ClientSecret {
    fn from(secret: String) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Zeroizing::new(secret))))
    }
}

impl From<&str> for ClientSecret {
    fn from(secret: &str) -> Self {
        Self::from(secret.to_owned())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecret").finish_non_exhaustive()
    }
}

fn basic_header(id: &str, secret: &str, is_raw: bool) -> Result<HeaderValue, &'static str> {
    let pair = Zeroizing::new(if is_raw {
        [id, ":", secret].concat()
    } else {
        let (id, secret) = (encoded(id), encoded(secret));
        [id.as_str(), ":", secret.as_str()].concat()
    });
    let pair = Zeroizing::new(STANDARD.encode_to_string(pair.as_bytes()));
    let value = Zeroizing::new(["Basic ", pair.as_str()].concat());
    sensitive(&value).ok_or("the credentials of this service are too long")
}

/// The header with a bearer token. `None` if the text is no bearer token.
fn bearer_header(token: &str) -> Option<HeaderValue> {
    let bare = token.trim_end_matches('=');
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(is_legal) {
        return None;
    }
    let value = Zeroizing::new(["Bearer ", token].concat());
    sensitive(&value)
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn checked_id(client_id: &str) -> Result<Arc<str>, ConfigError> {
    if client_id.is_empty() || client_id.chars().any(char::is_control) {
        let expected = "a client id that is not empty and has no control characters";
        return Err(unusable(client_id, expected));
    }
    Ok(client_id.into())
}

fn check_text(secret: &str) -> Result<(), &'static str> {
    if secret.is_empty() {
        return Err("a secret that is not empty");
    }
    if secret.ends_with(['\n', '\r']) {
        return Err("a secret without a line break at its end");
    }
    if secret.chars().any(char::is_control) {
        return Err("a secret without control characters");
    }
    Ok(())
}

fn unusable(client_id: &str, expected: &'static str) -> ConfigError {
    ConfigError::ClientAuth {
        input: client_id.to_owned(),
        expected,
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
