//! The inputs and outputs of logins: [`Login`], [`RefreshRequest`], [`LoginTokens`].

use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::issue::logins::session::{Data, FORMAT, Session, milliseconds};
use crate::issue::token::{IssueError, IssuedToken, TokenBinding};
use crate::scope::{ScopeSet, ScopeTypes};

/// A subject that has just authenticated, and the client that it uses.
///
/// The application has checked the password, or another proof of the subject. This type passes the result
/// to [`Logins::begin`](crate::issue::Logins::begin).
///
/// ```
/// use tower_jwt_auth::issue::Login;
///
/// let login = Login::new("user-1f3a", "web").device("Firefox on Linux");
/// # let _ = login;
/// ```
#[derive(Clone)]
#[must_use = "pass it to `Logins::begin`"]
pub struct Login {
    pub(super) subject: String,
    client_id: String,
    scopes: Option<ScopeSet>,
    device: Option<String>,
    acr: Option<String>,
    amr: Vec<String>,
    claims: Result<Map<String, Value>, IssueError>,
    binding: Option<TokenBinding>,
}

impl Login {
    /// Creates a login of this subject (`sub`) at this client (`client_id`).
    pub fn new(subject: &str, client_id: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            client_id: client_id.to_owned(),
            scopes: None,
            device: None,
            acr: None,
            amr: Vec::new(),
            claims: Ok(Map::new()),
            binding: None,
        }
    }

    /// Sets the scopes of the session, with the types that guard the handlers: one type or a tuple. Default:
    /// none.
    ///
    /// For `.scopes("calendar:read")` the compiler reports "this method takes 0 arguments". Write
    /// `.scopes::<scope!("calendar:read")>()`.
    pub fn scopes<R: ScopeTypes>(mut self) -> Self {
        self.scopes = Some(ScopeSet::of::<R>());
        self
    }

    /// Sets the scopes of the session. Default: none.
    pub fn scope_set(mut self, scopes: &ScopeSet) -> Self {
        self.scopes = Some(scopes.clone());
        self
    }

    /// Sets `acr`: how the subject authenticated. Default: none.
    pub fn authentication_context(mut self, acr: &str) -> Self {
        self.acr = Some(acr.to_owned());
        self
    }

    /// Sets `amr`: the methods with which the subject authenticated, such as `pwd` and `otp`. Default:
    /// none.
    pub fn authentication_methods<'a>(mut self, amr: impl IntoIterator<Item = &'a str>) -> Self {
        self.amr = amr.into_iter().map(str::to_owned).collect();
        self
    }

    /// Sets the name of the device, for a list of sessions. It is truncated to 256 bytes. Default:
    /// none.
    pub fn device(mut self, device: &str) -> Self {
        let end = (0..=LONGEST_DEVICE)
            .rev()
            .find(|at| device.is_char_boundary(*at));
        let cut = device.get(..end.unwrap_or_default().min(device.len()));
        self.device = Some(cut.unwrap_or(device).to_owned());
        self
    }

    /// Binds the access tokens and the refresh tokens of the session to this key or certificate. Each
    /// refresh must prove possession of it. Default: not bound.
    pub fn bound_to(mut self, binding: &TokenBinding) -> Self {
        self.binding = Some(binding.clone());
        self
    }

    /// Adds your own claims to all access tokens of the session. The value must serialize to an object. The
    /// claims are stored with the session. To create the claims again at each refresh, use
    /// [`Logins::claims_from`](crate::issue::Logins::claims_from). Default: none.
    pub fn claims(mut self, own: &impl Serialize) -> Self {
        self.claims = object(own);
        self
    }

    pub(super) fn into_data(self, issuer: &str, now: SystemTime) -> Result<Data, IssueError> {
        let now = milliseconds(now);
        Ok(Data {
            format: FORMAT,
            issuer: issuer.to_owned(),
            client_id: self.client_id,
            began_at: now,
            authenticated_at: now,
            advanced_at: now,
            generation: 0,
            scopes: self.scopes,
            device: self.device,
            acr: self.acr,
            amr: self.amr,
            claims: self.claims?,
            binding: self.binding,
            ended: None,
        })
    }
}

/// Prints the client.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// A request for new tokens: `grant_type=refresh_token`
/// ([RFC 6749, section 6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
///
/// A pair of the token and the client id can also be used as a request.
#[derive(Clone)]
#[must_use = "pass it to `Logins::refresh`"]
pub struct RefreshRequest<'a> {
    pub(super) token: &'a str,
    pub(super) client_id: &'a str,
    pub(super) scope: Option<&'a str>,
    pub(super) binding: Option<TokenBinding>,
}

impl<'a> RefreshRequest<'a> {
    /// Creates a request with this refresh token from this client. If the client has credentials, the
    /// application must have authenticated it.
    pub fn new(token: &'a str, client_id: &'a str) -> Self {
        Self {
            token,
            client_id,
            scope: None,
            binding: None,
        }
    }

    /// Sets the parameter `scope`: some of the scopes of the session, for this access token only. Default,
    /// and for an empty string: all of them.
    pub fn scope(mut self, scope: &'a str) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Sets what the request has proved: the key of its DPoP proof, or the certificate of its
    /// connection. The application must have verified the proof. Default: nothing.
    pub fn proves(mut self, binding: &TokenBinding) -> Self {
        self.binding = Some(binding.clone());
        self
    }
}

impl<'a> From<(&'a str, &'a str)> for RefreshRequest<'a> {
    fn from((token, client_id): (&'a str, &'a str)) -> Self {
        Self::new(token, client_id)
    }
}

/// Prints the client, never the token.
impl fmt::Debug for RefreshRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The tokens of a login or a refresh. Each response with these tokens must have `Cache-Control:
/// no-store`.
pub struct LoginTokens {
    pub(super) access: IssuedToken,
    pub(super) refresh: Zeroizing<String>,
    /// Whether the refresh token is another one than the client has presented.
    pub(super) is_new: bool,
    pub(super) session: Session,
}

impl LoginTokens {
    /// The access token.
    #[must_use]
    pub fn access_token(&self) -> &IssuedToken {
        &self.access
    }

    /// The refresh token. It replaces the token that the client presented.
    #[must_use]
    pub fn refresh_token(&self) -> &str {
        &self.refresh
    }

    /// Whether the client has to store [`refresh_token`](Self::refresh_token): it differs from the token that the
    /// client presented, or the session now ends later and its token stays the same. If not, do not store it
    /// where another tab or thread may have stored a newer token in the meantime.
    /// [`LoginCookies`](crate::issue::LoginCookies) sets no cookie in this case.
    #[must_use]
    pub fn has_new_refresh_token(&self) -> bool {
        self.is_new
    }

    /// When the refresh token is no longer accepted.
    #[must_use]
    pub fn refresh_expires_at(&self) -> SystemTime {
        self.session.expires_at()
    }

    /// The session of the tokens.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }
}

/// Prints neither token.
impl fmt::Debug for LoginTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginTokens")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// Own claims as an object.
pub(super) fn object(own: &impl Serialize) -> Result<Map<String, Value>, IssueError> {
    let claims = |reason: String| IssueError::OwnClaims { reason };
    match serde_json::to_value(own) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(claims(
            "expected a value that serializes to an object".to_owned(),
        )),
        // The text of a foreign `Serialize` may have a value.
        Err(_) => Err(claims("they cannot be serialized".to_owned())),
    }
}

const LONGEST_DEVICE: usize = 256;
