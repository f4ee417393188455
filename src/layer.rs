//! [`JwtAuth`]: the configuration of the layer.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use crate::admission::{Settings, Shared};
use crate::cache::TokenCache;
use crate::claims::NoClaims;
use crate::clock::Clock;
use crate::error::config::ConfigError;
#[cfg(feature = "introspection")]
use crate::introspection::Introspection;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::Policy;
use crate::policy::rules::{Rules, rule_setters};
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::request::{CertificateSource, TlsSource, TokenSource};
use crate::require::RequireLayer;
use crate::response::challenge::Challenge;
use crate::response::missing_layer::layer_created;
use crate::response::respond::EmptyBody;
use crate::revocation::Revocation;
use crate::scope::Requirement;
use crate::service::JwtAuthService;
use crate::striped::Striped;
use crate::telemetry;
use crate::token::limits::MaxTokenSize;
use crate::verifier::core::Core;
use crate::verifier::{self, Verifier};

/// Layer that verifies the access token of each request except a CORS preflight (`OPTIONS`).
///
/// A request with a valid token gets the [`Claims`] of the token in its extensions and is passed
/// on. The layer answers every other request itself. A [preflight](Self::check_preflights) is
/// passed on without claims, because browsers never send a token with it.
///
/// Issuer, audience and keys are required. Everything else has a [default](crate::guide::defaults)
/// and a setter. Clones are cheap.
///
/// Put this layer around the routes that need a token, and put a CORS layer around this layer. A
/// browser shows a rejection to the page only if the response has CORS headers.
///
/// Layers can be nested. Each layer verifies the request with its own settings. The service sees
/// only the claims from the inner layer, because the inner layer removes the claims that the outer
/// layer added.
///
/// # Example: protect a service
///
/// ```
/// # #[cfg(feature = "test-util")] {
/// # use http::{Request, Response, StatusCode};
/// # use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use tower_jwt_auth::{Audience, Claims, Issuer, JwtAuth, test::TestIssuer};
///
/// # let test = TestIssuer::new();
/// # let jwks = test.jwks();
/// let keys = tower_jwt_auth::KeyStore::from_jwks(jwks.as_bytes())?;
/// let auth = JwtAuth::new(Issuer::new("https://as.example")?, Audience::new("https://api.example")?, keys);
///
/// let service = ServiceBuilder::new().layer(auth).service_fn(async |request: Request<String>| {
///     let response = match request.extensions().get::<Claims>() {
///         Some(user) => Response::new(format!("hello {}", user.subject().unwrap_or("stranger"))),
///         None => Response::default(), // a CORS preflight
///     };
///     Ok::<_, std::convert::Infallible>(response)
/// });
/// # let token = test.token().subject("alice").mint();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = Request::get("/").header("authorization", format!("Bearer {token}"));
/// let response = service.clone().oneshot(request.body(String::new()).unwrap()).await.unwrap();
/// assert_eq!(response.body(), "hello alice");
///
/// let rejected = service.oneshot(Request::new(String::new())).await.unwrap();
/// assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(rejected.headers()["www-authenticate"], r#"Bearer realm="api""#);
/// # });
/// # }
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
///
/// [`Claims`]: crate::Claims
#[must_use]
pub struct JwtAuth<C = NoClaims, R = EmptyBody> {
    verification: Arc<verifier::core::Settings>,
    /// The verifier, created on first use.
    core: Arc<OnceLock<Arc<Core>>>,
    settings: Arc<Settings>,
    responder: R,
    /// State shared by all services of this layer, created with the first service. A router may
    /// wrap its routes again for each request.
    shared: Arc<OnceLock<Striped<Shared<C, R>>>>,
}

impl JwtAuth {
    /// Creates a layer that accepts tokens from this issuer, for this audience, signed with one of
    /// these keys.
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        Self::from(TrustedIssuer::new(issuer, audience, keys))
    }

    /// Creates a layer that accepts opaque tokens from this issuer, for this audience. The layer
    /// introspects each token at the issuer, and caches the answer. JWTs are rejected unless
    /// [`introspect_jwts`](Introspection::introspect_jwts) is set.
    #[cfg(feature = "introspection")]
    pub fn introspected(issuer: Issuer, audience: Audience, introspection: Introspection) -> Self {
        Self::from(TrustedIssuer::introspected(issuer, audience, introspection))
    }

    /// Creates a layer for routes inside this layer. It passes on only requests whose token grants
    /// `R`.
    ///
    /// # Example: a route that needs a scope
    ///
    /// ```
    /// use axum::{Router, routing::delete};
    /// use tower_jwt_auth::{JwtAuth, scope};
    ///
    /// let events: Router = Router::new()
    ///     .route("/events/{id}", delete(async || "deleted"))
    ///     .route_layer(JwtAuth::require::<scope!("calendar:write")>());
    /// ```
    ///
    /// If the response body does not implement [`Default`], give the guard the same responder as
    /// the layer, with [`RequireLayer::respond_with`].
    pub fn require<R: Requirement>() -> RequireLayer<R> {
        RequireLayer::new()
    }
}

impl<C, R> JwtAuth<C, R> {
    /// Trusts another issuer, with its own audience, keys and rules. A key of one issuer never
    /// verifies a token of another issuer, even if both use the same key id.
    ///
    /// The same issuer can be added more than once, for example for two tenants of one issuer, or
    /// for a secret in addition to a remote key set while an issuer moves to a new algorithm. Each
    /// entry has its own audience, keys and rules. A token is accepted if it passes every check of
    /// one entry. The keys of one entry are never used for the audience of another.
    ///
    /// The order of the calls does not matter.
    pub fn trust(mut self, issuer: TrustedIssuer) -> Self {
        self.verification_mut().issuers.push(issuer);
        self
    }

    /// Accepts opaque tokens from the issuer that this layer was created with. Each of them is introspected
    /// at the issuer, and the answer is cached. For another issuer, use [`TrustedIssuer::introspection`].
    /// For details, see [the guide](crate::guide::opaque).
    ///
    /// A token with the shape of a JWT is verified with the keys and is never sent to the issuer, even if it
    /// is not valid. With [`introspect_jwts`](Introspection::introspect_jwts), valid JWTs are introspected
    /// too.
    #[cfg(feature = "introspection")]
    pub fn introspection(mut self, introspection: Introspection) -> Self {
        if let Some(issuer) = self.verification_mut().issuers.first_mut() {
            issuer.introspection = Some(introspection);
        }
        self
    }

    rule_setters!(rules_mut);

    fn rules_mut(&mut self) -> &mut Rules {
        &mut self.verification_mut().rules
    }

    /// Makes the layer deserialize the claims of each token into this type. A token whose claims do
    /// not fit the type is rejected with 401. Handlers can still request other types.
    pub fn claims<D>(self) -> JwtAuth<D, R> {
        JwtAuth {
            verification: self.verification,
            core: self.core,
            settings: self.settings,
            responder: self.responder,
            shared: Arc::default(),
        }
    }

    /// Sets the responder, which creates the body of each rejection, such as
    /// [`ProblemDetails`](crate::response::ProblemDetails). Default: [`EmptyBody`]. A service whose
    /// body does not implement [`Default`] needs a responder that creates one; see
    /// [`RespondTo`](crate::response::RespondTo).
    pub fn respond_with<T>(self, responder: T) -> JwtAuth<C, T> {
        JwtAuth {
            verification: self.verification,
            core: self.core,
            settings: self.settings,
            responder,
            shared: Arc::default(),
        }
    }

    /// Adds a revocation check. It runs after all other checks of the token. Default: none.
    ///
    /// Each call adds a check. A token is accepted if every check finds it active. If one check
    /// finds the token revoked and another check fails, the answer is 401 and not 503.
    pub fn revocation(mut self, revocation: impl Revocation) -> Self {
        let revocations = &mut self.verification_mut().revocations;
        revocations.push(Arc::new(revocation));
        self
    }

    /// Sets the source of the current time. Default: the clock of the operating system.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.verification_mut().clock = Arc::new(clock);
        self
    }

    /// Sets how many verified tokens are cached, and for how long. Default: 10 000 tokens for 5
    /// minutes. [`TokenCache::off`] turns the cache off.
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.verification_mut().cache = cache;
        self
    }

    /// Sets the realm and the other parameters of the challenge in `WWW-Authenticate`. Default:
    /// `realm="api"`.
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.settings_mut().presentation.set_challenge(challenge);
        self
    }

    /// Sets the maximum size of a token. Default: 16 KiB; up to 64 KiB.
    pub fn max_token_size(mut self, size: MaxTokenSize) -> Self {
        self.verification_mut().max_token_size = size;
        self
    }

    /// Sets where a request may carry its token. Default: only the `Authorization` header.
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.settings_mut().source = source;
        self
    }

    /// Sets the source of client certificates. With a source, tokens that are bound to a client
    /// certificate (`cnf.x5t#S256`, [RFC 8705]) are accepted. Default: no source; such tokens are
    /// rejected.
    ///
    /// A bound token is accepted only in a request with its certificate, whether it is a JWT or opaque,
    /// cached or not. With another certificate, or without one, it is rejected with 401. A token that is not
    /// bound is a bearer token and needs no certificate; [`require_bound_tokens`](Self::require_bound_tokens)
    /// rejects it. A token that is also bound to something else is rejected, because no other proof is
    /// checked yet.
    ///
    /// If the certificate is in a header field, a response to a request with a bound token gets `Vary` with
    /// the name of the field ([RFC 9440, section 2.4]).
    ///
    /// [RFC 8705]: https://www.rfc-editor.org/rfc/rfc8705
    /// [RFC 9440, section 2.4]: https://www.rfc-editor.org/rfc/rfc9440#section-2.4
    pub fn client_certificates(mut self, source: CertificateSource) -> Self {
        self.settings_mut().certificates = Some(source);
        self
    }

    /// Rejects each request that did not come over TLS, before its token is read. The status is 403,
    /// and the challenge contains only the realm. Default: off, because most services leave TLS to a
    /// proxy that accepts nothing else.
    ///
    /// This also applies to requests without a token and to CORS preflights. There is no redirect to
    /// `https`: with a redirect, clients would send the token in clear text first, each time. A token
    /// that was sent in clear text may have been read by others, so its client should get a new one.
    pub fn require_tls(mut self, source: TlsSource) -> Self {
        self.settings_mut().tls = Some(source);
        self
    }

    /// Passes on a request that has no token. The handler gets no claims. Default: such a request is
    /// rejected with 401.
    ///
    /// A token that is present must be valid. An invalid token is rejected and never treated as
    /// missing. Handlers take `Option<Claims>`. A handler that takes `Claims` still rejects a
    /// request without a token. Responses get `Vary: Authorization`.
    pub fn optional(mut self) -> Self {
        self.settings_mut().is_optional = true;
        self
    }

    /// Answers with 404 instead of 403, so that a client does not learn what exists. Default: 403,
    /// with the required scope. A gRPC client gets `NOT_FOUND` from a [guard](Self::require). A
    /// tonic method answers with the status that it returns itself.
    ///
    /// Like every rejection, the 404 has `Cache-Control: no-store` and the body of the
    /// [responder](Self::respond_with). It looks like a 404 of the service only if that 404 has the
    /// same header and the same body.
    pub fn hide_forbidden(mut self) -> Self {
        self.settings_mut().presentation.hides_forbidden = true;
        self
    }

    /// Requires a token for CORS preflights too. Browsers never send a token with a preflight.
    ///
    /// Default: a preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) passes
    /// without claims, whatever credentials it carries. It reaches everything inside this layer that
    /// answers `OPTIONS`: a CORS layer, a route for every method (`any`), a fallback, a proxy, a plain
    /// Tower service. Its headers come from the client, and its `Authorization` header is not
    /// verified; [`remove_credentials`](Self::remove_credentials) removes it from a preflight too. A
    /// CORS layer outside this layer answers preflights before they get here.
    pub fn check_preflights(mut self) -> Self {
        self.settings_mut().checks_preflights = true;
        self
    }

    /// Removes the token from each request that is passed on, so that no handler forwards it by
    /// mistake. Default: the token stays, and its header is marked as sensitive.
    ///
    /// The token is removed from every place that the [`TokenSource`] reads. The `Authorization`
    /// header and the other configured headers are removed completely. Only the token cookie is
    /// removed from `Cookie`, and only the parameter `access_token` from the URI. Other cookies and
    /// parameters stay byte for byte. A subprotocol that carries the token is always removed, even
    /// without this setting. Copies made outside this layer, such as the `OriginalUri` of axum, are
    /// not changed. A [preflight](Self::check_preflights) is also passed on without credentials,
    /// although its token is not verified.
    pub fn remove_credentials(mut self) -> Self {
        self.settings_mut().removes_credentials = true;
        self
    }

    /// Checks that the settings do not contradict each other. Call it when the program starts, or in a
    /// test.
    ///
    /// The setters cannot fail, and some contradictions are known only when all issuers are known. A layer
    /// whose settings contradict each other logs the event `jwt_settings_rejected` at the error level when
    /// it is created, and answers the affected tokens with 503, or with 401 if only bound tokens are
    /// accepted.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Settings`] in each of these cases:
    ///
    /// - Two introspecting issuers may claim the same opaque token, because they have no prefixes or because
    ///   one prefix begins with the other.
    /// - A prefix has characters that no token has.
    /// - An issuer that is trusted several times without keys would be asked about its JWTs each time.
    /// - [`require_bound_tokens`](Self::require_bound_tokens) is set without
    ///   [`client_certificates`](Self::client_certificates), so no token is accepted.
    /// - [`algorithms`](Self::algorithms) is empty, so no token is accepted.
    /// - [`accept_type`](Self::accept_type) names a type that
    ///   [`access_token_profile`](Self::access_token_profile) excludes.
    pub fn check_settings(&self) -> Result<(), ConfigError> {
        let verification = &self.verification;
        let policy = Policy::new(&verification.issuers, &verification.rules);
        match (policy.contradiction()).or_else(|| self.contradiction_of_binding()) {
            Some(reason) => Err(ConfigError::Settings { reason }),
            None => Ok(()),
        }
    }

    /// The reason, if an issuer must bind its tokens to something that is never checked.
    fn contradiction_of_binding(&self) -> Option<String> {
        let verification = &self.verification;
        let of_all = verification.rules.requires_binding;
        let mut issuers = verification.issuers.iter();
        let trusted = issuers.find(|trusted| of_all || trusted.rules.requires_binding)?;
        self.settings.certificates.is_none().then(|| {
            format!(
                "tokens of issuer {} must be bound to a client certificate, and it is not known where \
                 certificates are: add `client_certificates`",
                trusted.issuer
            )
        })
    }

    /// Returns the verifier of this layer, for tokens that do not come with a request.
    #[must_use]
    pub fn verifier(&self) -> Verifier<C> {
        let core = self.core.get_or_init(|| {
            let settings = verifier::core::Settings::clone(&self.verification);
            Arc::new(Core::new(settings))
        });
        Verifier::of(Arc::clone(core))
    }

    /// Changes the first trusted issuer, for a test.
    #[cfg(feature = "test-util")]
    pub(crate) fn with_first_issuer(
        mut self,
        change: impl FnOnce(&Arc<dyn Clock>, &Rules, &mut TrustedIssuer),
    ) -> Self {
        let verification = self.verification_mut();
        let rules = verification.rules.clone();
        if let Some(issuer) = verification.issuers.first_mut() {
            change(&verification.clock, &rules, issuer);
        }
        self
    }

    /// Returns the settings for a change, and drops the verifier. The next verifier starts with an
    /// empty cache.
    fn verification_mut(&mut self) -> &mut verifier::core::Settings {
        self.core = Arc::default();
        self.shared = Arc::default();
        Arc::make_mut(&mut self.verification)
    }

    fn settings_mut(&mut self) -> &mut Settings {
        self.shared = Arc::default();
        Arc::make_mut(&mut self.settings)
    }
}

/// Creates a layer that accepts tokens from this issuer.
impl From<TrustedIssuer> for JwtAuth {
    fn from(issuer: TrustedIssuer) -> Self {
        layer_created();
        Self {
            verification: Arc::new(verifier::core::Settings::new(issuer)),
            core: Arc::default(),
            settings: Arc::default(),
            responder: EmptyBody,
            shared: Arc::default(),
        }
    }
}

impl<S, C, R: Clone> Layer<S> for JwtAuth<C, R> {
    type Service = JwtAuthService<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let shared = self.shared.get_or_init(|| {
            self.settings.presentation.prepare();
            if let Some(reason) = self.contradiction_of_binding() {
                telemetry::settings_rejected(&reason);
            }
            Striped::new(Shared {
                verifier: self.verifier(),
                settings: Arc::clone(&self.settings),
                responder: self.responder.clone(),
            })
        });
        JwtAuthService::new(inner, shared.clone())
    }
}

impl<C, R: Clone> Clone for JwtAuth<C, R> {
    fn clone(&self) -> Self {
        // A router clones the layer for each of its routes, and may wrap the first route when the
        // first request arrives. That request must not wait for random bytes.
        self.verification.cache.draw_key();
        Self {
            verification: Arc::clone(&self.verification),
            core: Arc::clone(&self.core),
            settings: Arc::clone(&self.settings),
            responder: self.responder.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C, R> fmt::Debug for JwtAuth<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuth")
            .field("verification", &self.verification)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
