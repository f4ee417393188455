//! Shared by the layer and the service: the settings, the verdict on a request, and the last changes
//! to the response.

use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CACHE_CONTROL, ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde::de::DeserializeOwned;

use crate::claims::Claims;
use crate::error::rejection::Rejection;
use crate::request;
use crate::request::{CertificateSource, TlsSource, TokenSource};
use crate::require;
use crate::response::exchange::{Exchange, Maps};
use crate::response::presentation::Presentation;
use crate::response::provisional::Provisional;
use crate::response::respond::RespondTo;
use crate::striped::Stripe;
use crate::verifier::{Verdict, Verifier, Wait};

/// The settings that only concern HTTP.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) source: TokenSource,
    /// Where the certificate of a client is, for bound tokens.
    pub(crate) certificates: Option<CertificateSource>,
    /// How to determine whether a request came over TLS, if TLS is required.
    pub(crate) tls: Option<TlsSource>,
    pub(crate) presentation: Presentation,
    pub(crate) is_optional: bool,
    pub(crate) checks_preflights: bool,
    pub(crate) removes_credentials: bool,
}

/// The state that all clones of a service share.
pub(crate) struct Shared<C, R> {
    pub(crate) verifier: Verifier<C>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) responder: R,
}

/// The verdict on a request.
pub(crate) enum Admission<C> {
    Accepted(Claims<C>),
    Anonymous,
    Preflight,
    Waiting(Wait<C>),
}

impl<C: DeserializeOwned + Send + Sync + 'static, R> Shared<C, R> {
    pub(crate) fn admit<B>(&self, request: &Request<B>) -> Result<Admission<C>, Rejection> {
        let (core, settings) = (self.verifier.core(), &*self.settings);
        if let Some(tls) = &settings.tls {
            let came = request::require_tls(request, tls);
            came.inspect_err(|rejection| core.report(rejection))?;
        }
        if !settings.checks_preflights && is_preflight(request) {
            return Ok(Admission::Preflight);
        }
        let certificates = settings.certificates.as_ref();
        let max_size = core.settings.max_token_size;
        match request::read(request, &settings.source, max_size, certificates) {
            Ok(Some(presented)) => match self.verifier.start(presented)? {
                Verdict::Accepted(claims) => Ok(Admission::Accepted(claims)),
                Verdict::Waiting(wait, _) => Ok(Admission::Waiting(wait)),
            },
            Ok(None) if settings.is_optional => Ok(Admission::Anonymous),
            Ok(None) => {
                Err(request::missing(request)).inspect_err(|rejection| core.report(rejection))
            }
            Err(rejection) => Err(rejection).inspect_err(|rejection| core.report(rejection)),
        }
    }
}

impl<C, R> Shared<C, R> {
    pub(crate) fn reject<ResBody>(
        &self,
        rejection: &Rejection,
        exchange: &Exchange,
        maps: Maps,
    ) -> Response<ResBody>
    where
        R: RespondTo<ResBody>,
    {
        let presentation = &self.settings.presentation;
        let mut response = presentation.response(rejection, exchange, maps, &self.responder);
        self.mark(response.headers_mut());
        response
    }

    /// Adds `Vary`: the request headers on which the verdict depends.
    fn mark(&self, headers: &mut HeaderMap) {
        if self.settings.is_optional {
            for name in self.settings.source.header_names() {
                headers.append(VARY, HeaderValue::from(name));
            }
        }
    }
}

/// The last changes to a request that is passed on, and to its response.
pub(crate) struct Finish<C, R> {
    shared: Arc<Stripe<Shared<C, R>>>,
    exchange: Exchange,
    /// Whether the token may have come in the query.
    has_query: bool,
    /// Whether the token is bound, so that the verdict depends on the certificate of the client.
    is_bound: bool,
}

impl<C: 'static, R> Finish<C, R> {
    pub(crate) fn new<B>(
        shared: &Arc<Stripe<Shared<C, R>>>,
        request: &Request<B>,
        exchange: Exchange,
    ) -> Self {
        let has_query = shared.settings.source.reads_query() && request.uri().query().is_some();
        Self {
            shared: Arc::clone(shared),
            exchange,
            has_query,
            is_bound: false,
        }
    }

    /// Puts the claims into the extensions.
    pub(crate) fn enrich<B>(&mut self, request: &mut Request<B>, claims: Claims<C>)
    where
        C: Send + Sync,
    {
        self.is_bound = claims.is_bound();
        self.conceal(request);
        require::leave_claims(request.extensions_mut(), claims);
        self.prepare(request);
    }

    /// Records in the extensions that no token was verified.
    pub(crate) fn leave_anonymous<B>(&self, request: &mut Request<B>) {
        require::leave_anonymous(request.extensions_mut());
        self.prepare(request);
    }

    /// Hides the token from the inner service, according to the settings.
    pub(crate) fn conceal<B>(&self, request: &mut Request<B>) {
        let settings = &self.shared.settings;
        request::conceal(request, &settings.source, settings.removes_credentials);
    }

    /// Passes the challenge to tonic methods, for their own rejections.
    fn prepare<B>(&self, request: &mut Request<B>) {
        if self.exchange.is_grpc() {
            request
                .extensions_mut()
                .insert(self.shared.settings.presentation.challenge().clone());
        }
    }

    pub(crate) fn reject<ResBody>(&self, rejection: &Rejection) -> Response<ResBody>
    where
        R: RespondTo<ResBody>,
    {
        self.shared
            .reject(rejection, &self.exchange, Maps::default())
    }

    /// Adds the headers that HTTP requires of this layer to a response of the inner service.
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
        if self.is_bound {
            self.mark_certificate(response.headers_mut());
        }
        if self.has_query && response.status().is_success() {
            make_private(response.headers_mut());
        }
        response
    }
}

impl<C, R> Finish<C, R> {
    /// Adds `Vary`: the field with the certificate on which the verdict depends (RFC 9440, section 2.4).
    fn mark_certificate(&self, headers: &mut HeaderMap) {
        let source = self.shared.settings.certificates.as_ref();
        if let Some(name) = source.and_then(CertificateSource::field_name) {
            headers.append(VARY, HeaderValue::from(name.clone()));
        }
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

/// Whether this is a CORS preflight, which a browser sends before another request and always without
/// credentials (Fetch standard, CORS-preflight fetch).
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
