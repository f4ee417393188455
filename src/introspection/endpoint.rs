//! [`Endpoint`]: asks an issuer about one token (RFC 7662).

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::clock::{Clock, NumericDate};
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::{DocumentError, Documents};
use crate::fetch::metadata::Discovery;
use crate::fetch::plain_http::PlainHttp;
use crate::introspection::client_auth::ClientAuth;
use crate::introspection::failure::AskFailure;
use crate::introspection::form::{Form, encoded};
use crate::introspection::response::body_of;
use crate::introspection::signed;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::token::introspected::Answer;

/// Where an issuer is asked, and how.
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) place: Place,
    pub(super) documents: Documents,
    pub(super) auth: ClientAuth,
    /// The keys that verify answers. `None` if answers are not signed.
    pub(super) keys: Option<KeyStore>,
}

/// What must not be read in a log. An HTTP client may quote in an error what it sent.
struct Secrets(Vec<Zeroizing<String>>);

impl Secrets {
    fn of(request: &Request<Vec<u8>>, token: &str, auth: &ClientAuth) -> Self {
        let text = |bytes| Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        let form = text(request.body());
        let assertion = form.split("client_assertion=").nth(1).unwrap_or_default();
        let assertion = assertion.split('&').next().unwrap_or_default();
        let assertion = Zeroizing::new(assertion.to_owned());
        let mut secrets = vec![form, assertion];
        let authorization = request.headers().get(AUTHORIZATION);
        if let Some(value) =
            authorization.and_then(|value| value.as_bytes().splitn(2, |byte| *byte == b' ').nth(1))
        {
            secrets.push(text(value));
        }
        for secret in [Some(Zeroizing::new(token.to_owned())), auth.secret()]
            .into_iter()
            .flatten()
        {
            secrets.push(encoded(&secret));
            secrets.push(secret);
        }
        Self(secrets)
    }

    fn concealed_in(&self, mut failure: AskFailure) -> AskFailure {
        for secret in &self.0 {
            failure.conceal(secret);
        }
        failure
    }
}

/// Where the endpoint is.
#[derive(Clone)]
pub(super) enum Place {
    Fixed(Arc<str>),
    Metadata(Arc<Finder>),
}

impl Endpoint {
    /// Asks about one token: one request, or up to three if the endpoint has to be found first.
    pub(super) async fn ask(
        self,
        token: String,
        issuer: Issuer,
        audience: Audience,
        clock: Arc<dyn Clock>,
    ) -> Result<Answer, AskFailure> {
        let plain_http = self.auth.plain_http();
        let url = self.place.url(&self.documents, plain_http, &issuer).await?;
        self.answer_of(&url, &token, &issuer, &audience, &clock)
            .await
    }

    async fn answer_of(
        &self,
        url: &str,
        token: &str,
        issuer: &Issuer,
        audience: &Audience,
        clock: &Arc<dyn Clock>,
    ) -> Result<Answer, AskFailure> {
        let failed =
            |reason: &dyn fmt::Display| AskFailure::new(format!("{}: {reason}", ShownUrl(url)));
        let request = self.request(url, token, issuer, NumericDate::now(clock));
        let request = request.map_err(|reason| AskFailure {
            is_ours: true,
            ..failed(&reason)
        })?;
        let secrets = Secrets::of(&request, token, &self.auth);
        let response = self.documents.send(url, request).await;
        let response = response.map_err(|error| secrets.concealed_in(error.into()))?;
        let body = body_of(&response, self.keys.is_some()).map_err(|failure| failure.at(url))?;
        let answer = match &self.keys {
            Some(keys) => {
                let client_id = self.auth.client_id();
                signed::answer(body, keys, issuer, client_id, audience, clock).await
            }
            None => match std::str::from_utf8(body) {
                Ok(text) => Answer::read(text.to_owned()),
                Err(_) => Err("not UTF-8".to_owned()),
            },
        };
        answer.map_err(|reason| failed(&format_args!("the answer is not usable: {reason}")))
    }

    fn request(
        &self,
        url: &str,
        token: &str,
        issuer: &Issuer,
        now: NumericDate,
    ) -> Result<Request<Vec<u8>>, String> {
        let mut form = Form::new();
        form.add("token", token);
        form.add("token_type_hint", "access_token");
        let authorization = self.auth.add_to(&mut form, issuer, now)?;
        let accepted = match self.keys {
            Some(_) => signed::MEDIA_TYPE,
            None => "application/json",
        };
        let mut request = Request::post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, HeaderValue::from_static(accepted));
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(form.as_bytes().to_vec());
        request.map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("place", &format_args!("{}", self.place))
            .field("auth", &self.auth)
            .field("is_signed", &self.keys.is_some())
            .finish_non_exhaustive()
    }
}

impl Place {
    async fn url(
        &self,
        documents: &Documents,
        plain_http: PlainHttp,
        issuer: &Issuer,
    ) -> Result<String, AskFailure> {
        match self {
            Self::Fixed(url) => Ok(url.to_string()),
            Self::Metadata(finder) => Ok(finder.url(documents, plain_http, issuer).await?),
        }
    }

    /// Forgets the URL, because the endpoint may have moved. Not called for a failure with a token, or a
    /// client could cause a search with each odd text.
    pub(super) async fn forget(&self) {
        if let Self::Metadata(finder) = self {
            finder.discovery.lock().await.forget();
        }
    }
}

/// The URL of the endpoint, or the issuer that names it.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(url) => ShownUrl(url).fmt(f),
            Self::Metadata(finder) => fmt::Display::fmt(&finder.issuer, f),
        }
    }
}

/// Finds the endpoint in the metadata of the issuer, for one question at a time.
pub(super) struct Finder {
    issuer: Issuer,
    discovery: Mutex<Discovery>,
    /// The number of failures, and the last one.
    failures: AtomicU64,
    last: Lock<Option<DocumentError>>,
}

impl Finder {
    pub(super) fn new(issuer: Issuer, discovery: Discovery) -> Self {
        Self {
            issuer,
            discovery: Mutex::new(discovery),
            failures: AtomicU64::new(0),
            last: Lock::new(None),
        }
    }

    async fn url(
        &self,
        documents: &Documents,
        plain_http: PlainHttp,
        issuer: &Issuer,
    ) -> Result<String, DocumentError> {
        if *issuer != self.issuer {
            return Err(DocumentError::new(format!(
                "the endpoint is that of issuer {:?}, and the token is one of {:?}: write the same issuer",
                self.issuer.as_str(),
                issuer.as_str(),
            )));
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut discovery = self.discovery.lock().await;
        // Whoever waited for a search that failed does not begin another one, or many questions would
        // wait for each other in a row.
        if self.failures.load(Ordering::Acquire) != failures
            && let Some(error) = &*self.last.lock().unwrap_or_else(PoisonError::into_inner)
        {
            return Err(error.clone());
        }
        let found = discovery.url(documents, plain_http).await;
        if let Err(error) = &found {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
            self.failures.fetch_add(1, Ordering::Release);
        }
        found
    }
}
