//! The way of a request.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::error::rejection::{Rejection, RejectionKind};
use crate::future::ResponseFuture;
use crate::layer::Settings;
use crate::request;
use crate::require;
use crate::response::respond::{Exchange, Maps, Provisional, RespondTo};
use crate::striped::{Stripe, Striped};
use crate::token::claims::Claims;
use crate::verifier::{Verdict, Verifier, Wait};

/// Middleware that verifies the token of each request; made by [`JwtAuth`](crate::JwtAuth).
pub struct JwtAuthService<S, C, R> {
    inner: S,
    shared: Striped<Shared<C, R>>,
}

/// What all clones of a service share.
pub(crate) struct Shared<C, R> {
    pub(crate) verifier: Verifier<C>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) responder: R,
}

/// What is to become of a request.
enum Admission<C> {
    Accepted(Claims<C>),
    Anonymous,
    Preflight,
    Waiting(Wait<C>),
}

impl<S, C, R> JwtAuthService<S, C, R> {
    pub(crate) fn new(inner: S, shared: Striped<Shared<C, R>>) -> Self {
        Self { inner, shared }
    }
}

impl<S, C, R, B, ResBody> Service<Request<B>> for JwtAuthService<S, C, R>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    C: DeserializeOwned + Send + Sync + 'static,
    R: RespondTo<ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, C, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let shared = self.shared.here();
        let admission = match shared.admit(&request) {
            Ok(admission) => admission,
            Err(rejection) => {
                // Nobody calls the ready service now: what it holds, such as a permit, goes back.
                self.inner = self.inner.clone();
                let exchange = Exchange::of(&request);
                let response = shared.reject(&rejection, &exchange, Maps::of(request));
                return ResponseFuture::rejected(response);
            }
        };
        let finish = Finish::new(shared, &request);
        match admission {
            Admission::Accepted(claims) => {
                finish.enrich(&mut request, claims);
                ResponseFuture::inner(finish, self.inner.call(request))
            }
            Admission::Anonymous => {
                finish.leave_anonymous(&mut request);
                ResponseFuture::inner(finish, self.inner.call(request))
            }
            Admission::Preflight => {
                // Nobody has looked at what it carries, and nobody inside should take it for a token
                // that somebody has verified.
                finish.conceal(&mut request);
                finish.leave_anonymous(&mut request);
                ResponseFuture::inner(finish, self.inner.call(request))
            }
            Admission::Waiting(wait) => {
                // Nobody calls the ready service for a while. What it holds, such as a permit, goes
                // back: a request whose token is not verified must not keep it from others.
                self.inner = self.inner.clone();
                ResponseFuture::waiting(finish, wait, self.inner.clone(), request)
            }
        }
    }
}

impl<C: DeserializeOwned + Send + Sync + 'static, R> Shared<C, R> {
    fn admit<B>(&self, request: &Request<B>) -> Result<Admission<C>, Rejection> {
        if !self.settings.checks_preflights && is_preflight(request) {
            return Ok(Admission::Preflight);
        }
        let policy = self.verifier.policy();
        match request::read(request, &self.settings.source, policy.max_token_size) {
            Ok(Some(credentials)) => match self.verifier.start(credentials)? {
                Verdict::Accepted(claims) => Ok(Admission::Accepted(claims)),
                Verdict::Waiting(wait, _) => Ok(Admission::Waiting(wait)),
            },
            Ok(None) if self.settings.is_optional => Ok(Admission::Anonymous),
            Ok(None) => Err(Rejection::of(RejectionKind::MissingCredentials))
                .inspect_err(|rejection| policy.report(rejection)),
            Err(rejection) => Err(rejection).inspect_err(|rejection| policy.report(rejection)),
        }
    }
}

impl<C, R> Shared<C, R> {
    fn reject<ResBody>(
        &self,
        rejection: &Rejection,
        exchange: &Exchange,
        maps: Maps,
    ) -> Response<ResBody>
    where
        R: RespondTo<ResBody>,
    {
        let dress = &self.settings.dress;
        let mut response = dress.response(rejection, exchange, maps, &self.responder);
        self.mark(response.headers_mut());
        response
    }

    /// Says which request headers the verdict depends on.
    fn mark(&self, headers: &mut HeaderMap) {
        if self.settings.is_optional {
            for name in self.settings.source.header_names() {
                headers.append(VARY, HeaderValue::from(name));
            }
        }
    }
}

/// What remains to be done to a request that is let through, and to its response.
pub(crate) struct Finish<C, R> {
    shared: Arc<Stripe<Shared<C, R>>>,
    exchange: Exchange,
    /// Whether the token may have come in the query.
    has_query: bool,
}

impl<C: 'static, R> Finish<C, R> {
    fn new<B>(shared: &Arc<Stripe<Shared<C, R>>>, request: &Request<B>) -> Self {
        let has_query = shared.settings.source.reads_query() && request.uri().query().is_some();
        Self {
            shared: Arc::clone(shared),
            exchange: Exchange::of(request),
            has_query,
        }
    }

    /// Puts the claims into the extensions.
    pub(crate) fn enrich<B>(&self, request: &mut Request<B>, claims: Claims<C>)
    where
        C: Send + Sync,
    {
        self.conceal(request);
        require::leave_claims(request.extensions_mut(), claims);
        self.prepare(request);
    }

    /// Says in the extensions that nobody was verified.
    fn leave_anonymous<B>(&self, request: &mut Request<B>) {
        require::leave_anonymous(request.extensions_mut());
        self.prepare(request);
    }

    /// Hides the token from what comes behind, as the settings say.
    fn conceal<B>(&self, request: &mut Request<B>) {
        let settings = &self.shared.settings;
        request::conceal(request, &settings.source, settings.removes_credentials);
    }

    /// Gives tonic methods the challenge for their own refusals.
    fn prepare<B>(&self, request: &mut Request<B>) {
        if self.exchange.is_grpc() {
            request
                .extensions_mut()
                .insert(self.shared.settings.dress.challenge().clone());
        }
    }

    pub(crate) fn reject<ResBody>(&self, rejection: &Rejection) -> Response<ResBody>
    where
        R: RespondTo<ResBody>,
    {
        self.shared
            .reject(rejection, &self.exchange, Maps::default())
    }

    /// Gives a response of the inner service what HTTP asks of this layer.
    pub(crate) fn finish<ResBody>(&self, mut response: Response<ResBody>) -> Response<ResBody>
    where
        R: RespondTo<ResBody>,
    {
        if let Some(rejection) = Provisional::take(&mut response) {
            let (ours, body) = self.reject(&rejection).into_parts();
            let (mut head, _) = response.into_parts();
            head.status = ours.status;
            head.version = ours.version;
            for (name, value) in &ours.headers {
                head.headers.append(name, value.clone());
            }
            return Response::from_parts(head, body);
        }
        self.shared.mark(response.headers_mut());
        if self.has_query && response.status().is_success() {
            make_private(response.headers_mut());
        }
        response
    }
}

/// RFC 6750, section 2.3.
fn make_private(headers: &mut HeaderMap) {
    let is_safe = headers
        .get_all(CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').map(str::trim).any(|directive| {
                directive.eq_ignore_ascii_case("private")
                    || directive.eq_ignore_ascii_case("no-store")
            })
        });
    if !is_safe {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}

/// A request that a browser sends before another, and never with credentials (Fetch standard,
/// CORS-preflight fetch).
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl<S: Clone, C, R> Clone for JwtAuthService<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for JwtAuthService<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthService")
            .field("inner", &self.inner)
            .field("verifier", &self.shared.here().verifier)
            .finish_non_exhaustive()
    }
}
