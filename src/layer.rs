//! [`JwtAuth`]: what is configured.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tower_layer::Layer;

use crate::admission::{Settings, Shared};
use crate::cache::TokenCache;
use crate::claims::NoClaims;
use crate::clock::Clock;
use crate::issuer::{Audience, Issuer};
use crate::keys::store::KeyStore;
use crate::policy::rules::{Rules, rule_setters};
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::request::TokenSource;
use crate::require::RequireLayer;
use crate::response::challenge::Challenge;
use crate::response::respond::EmptyBody;
use crate::revocation::Revocation;
use crate::scope::Requirement;
use crate::service::JwtAuthService;
use crate::striped::Striped;
use crate::token::limits::MaxTokenSize;
use crate::verifier::core::Core;
use crate::verifier::{self, Verifier};

/// Layer that verifies the access token of each request except a CORS preflight (`OPTIONS`).
///
/// It puts the [`Claims`] of a good token into the extensions of the request, and answers every
/// other request itself. A [preflight](Self::check_preflights) passes without claims, because
/// browsers never send a token with it.
///
/// Issuer, audience and keys are the three things that cannot be left out. Everything else has a
/// [default](crate::guide::defaults) and a setter. A clone is cheap.
///
/// Put it around the routes that need a token, and a CORS layer around it: a browser shows its
/// page a rejection only if that has CORS headers too.
///
/// Two layers may stand one inside the other. Each verifies the request by its own settings. The
/// service sees the verdict of the inner one alone: that layer removes the claims that the outer
/// one has put into the extensions.
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
/// let refused = service.oneshot(Request::new(String::new())).await.unwrap();
/// assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
/// assert_eq!(refused.headers()["www-authenticate"], r#"Bearer realm="api""#);
/// # });
/// # }
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
///
/// [`Claims`]: crate::Claims
#[must_use]
pub struct JwtAuth<C = NoClaims, R = EmptyBody> {
    verification: Arc<verifier::core::Settings>,
    /// The verifier, made when it is first asked for.
    core: Arc<OnceLock<Arc<Core>>>,
    settings: Arc<Settings>,
    responder: R,
    /// What all services of this layer share, made with the first of them: a router may wrap its
    /// routes anew for each request.
    shared: Arc<OnceLock<Striped<Shared<C, R>>>>,
}

impl JwtAuth {
    /// A layer that accepts tokens of this issuer, for this audience, signed with these keys.
    pub fn new(issuer: Issuer, audience: Audience, keys: impl Into<KeyStore>) -> Self {
        Self::from(TrustedIssuer::new(issuer, audience, keys))
    }

    /// Layer for routes inside of this one, which lets those requests through whose token grants
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
    /// If the body of the responses has no default, give the guard the responder of the layer with
    /// [`RequireLayer::respond_with`].
    pub fn require<R: Requirement>() -> RequireLayer<R> {
        RequireLayer::new()
    }
}

impl<C, R> JwtAuth<C, R> {
    /// Trusts a further issuer, with its own audience, keys and rules. A key of one issuer never
    /// verifies a token of another, whatever its id.
    ///
    /// An issuer that is trusted already gets a second trust beside the first: two tenants of one
    /// issuer, say, or a secret beside a remote key set while a login moves to a new algorithm. Each
    /// has its own audience, keys and rules. A token is accepted if one of them accepts it whole; the
    /// keys of the one never serve for the audience of the other.
    ///
    /// The order of the calls does not matter.
    pub fn trust(mut self, issuer: TrustedIssuer) -> Self {
        self.verification_mut().issuers.push(issuer);
        self
    }

    rule_setters!(rules_mut);

    fn rules_mut(&mut self) -> &mut Rules {
        &mut self.verification_mut().rules
    }

    /// Deserializes own claims of this type in the layer, and refuses tokens whose claims do not
    /// fit it with 401. Handlers can ask for other types all the same.
    pub fn claims<D>(self) -> JwtAuth<D, R> {
        JwtAuth {
            verification: self.verification,
            core: self.core,
            settings: self.settings,
            responder: self.responder,
            shared: Arc::default(),
        }
    }

    /// Answers rejections with a body, such as [`ProblemDetails`](crate::response::ProblemDetails).
    /// Default: [`EmptyBody`]. A service whose body has no default needs a responder that makes
    /// one; see [`RespondTo`](crate::response::RespondTo).
    pub fn respond_with<T>(self, responder: T) -> JwtAuth<C, T> {
        JwtAuth {
            verification: self.verification,
            core: self.core,
            settings: self.settings,
            responder,
            shared: Arc::default(),
        }
    }

    /// Asks this check whether a token was revoked, after every other check. Default: none.
    ///
    /// Called again, it adds a check. A token is accepted if every check finds it active. One that
    /// revokes it beats one that fails, so that the answer is 401 and not 503.
    pub fn revocation(mut self, revocation: impl Revocation) -> Self {
        let revocations = &mut self.verification_mut().revocations;
        revocations.push(Arc::new(revocation));
        self
    }

    /// Where the time comes from. Default: the clock of the operating system.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.verification_mut().clock = Arc::new(clock);
        self
    }

    /// How many verified tokens are remembered, and for how long. Default: 10 000 for 5 minutes;
    /// [`TokenCache::off`] for none.
    pub fn cache(mut self, cache: TokenCache) -> Self {
        self.verification_mut().cache = cache;
        self
    }

    /// The realm, and what else a challenge says. Default: `realm="api"`.
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.settings_mut().dress.set_challenge(challenge);
        self
    }

    /// The maximum size of a token. Default: 16 KiB; up to 64 KiB.
    pub fn max_token_size(mut self, size: MaxTokenSize) -> Self {
        self.verification_mut().max_token_size = size;
        self
    }

    /// Where a request may carry its token. Default: the `Authorization` header alone.
    pub fn token_source(mut self, source: TokenSource) -> Self {
        self.settings_mut().source = source;
        self
    }

    /// Lets requests without a token through, without claims. Default: they are answered with 401.
    ///
    /// A token that is there must be good: a bad one is refused, never taken for none. Handlers
    /// take `Option<Claims>`; one that takes `Claims` still refuses a request without a token.
    /// Responses get `Vary: Authorization`.
    pub fn optional(mut self) -> Self {
        self.settings_mut().is_optional = true;
        self
    }

    /// Answers 404 instead of 403, so that a client does not learn what exists. Default: 403 with
    /// the scope that is needed. A gRPC client gets `NOT_FOUND` from a
    /// [guard](Self::require), while a tonic method answers with what it returns.
    pub fn hide_forbidden(mut self) -> Self {
        self.settings_mut().dress.hides_forbidden = true;
        self
    }

    /// Requires a token of CORS preflights too. No browser sends one with them.
    ///
    /// Default: a preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) passes
    /// without claims, whatever credentials it carries. Everything inside that answers `OPTIONS`
    /// sees it: a CORS layer, a route for every method (`any`), a fallback, a proxy, a plain Tower
    /// service. Its headers are those of the client, and nobody has verified an `Authorization`
    /// among them; [`remove_credentials`](Self::remove_credentials) takes it off here too. A CORS
    /// layer outside answers preflights before they come here.
    pub fn check_preflights(mut self) -> Self {
        self.settings_mut().checks_preflights = true;
        self
    }

    /// Takes the token off each request that is let through, so that no handler passes it on by
    /// mistake. Default: it stays, and its header is marked as sensitive.
    ///
    /// The token goes from every place that the [`TokenSource`] reads: the `Authorization` header
    /// and the other headers as a whole, from `Cookie` the token cookie alone, from the URI the
    /// parameter `access_token` alone. Other cookies and parameters stay byte for byte. A subprotocol
    /// that carries the token goes in any case. Copies that were made outside of the layer, such as
    /// the `OriginalUri` of axum, are not changed. A [preflight](Self::check_preflights) is let through
    /// without them as well, although its token is not verified.
    pub fn remove_credentials(mut self) -> Self {
        self.settings_mut().removes_credentials = true;
        self
    }

    /// The verifier of this layer, for tokens that do not come with a request.
    #[must_use]
    pub fn verifier(&self) -> Verifier<C> {
        let core = self.core.get_or_init(|| {
            let settings = verifier::core::Settings::clone(&self.verification);
            Arc::new(Core::new(settings))
        });
        Verifier::of(Arc::clone(core))
    }

    /// Changes the first issuer that is trusted, for a test.
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

    /// For a change. The verifier that is made after it has accepted nothing yet.
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

/// A layer that accepts tokens of this issuer.
impl From<TrustedIssuer> for JwtAuth {
    fn from(issuer: TrustedIssuer) -> Self {
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
            self.settings.dress.prepare();
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
        // A router takes a clone for each route that it is put around, and may wrap the first one
        // when the first request comes. That request must not wait for random bytes.
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
