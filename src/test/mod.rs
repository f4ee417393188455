//! An issuer for tests: it mints good and bad tokens in this process, without a network.
//!
//! # Example: test a route in three lines
//!
//! ```
//! # #[cfg(feature = "axum")] {
//! # use axum::{Router, body::Body, routing::get};
//! # use http::{Request, StatusCode};
//! # use tower::ServiceExt;
//! use tower_jwt_auth::{Claims, JwtAuth, test::TestIssuer};
//!
//! /// The router under test, as it is in production.
//! fn app(auth: JwtAuth) -> Router {
//!     Router::new().route("/me", get(async |me: Claims| me.subject().unwrap_or_default().to_owned())).layer(auth)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let issuer = TestIssuer::new();
//! for (token, expected) in [
//!     (issuer.token().subject("alice").mint(), StatusCode::OK),
//!     (issuer.token().expired().mint(), StatusCode::UNAUTHORIZED),
//!     (issuer.token().audience("https://other.example").mint(), StatusCode::UNAUTHORIZED),
//!     (issuer.token().tampered().mint(), StatusCode::UNAUTHORIZED),
//! ] {
//!     let request = Request::get("/me").header("authorization", format!("Bearer {token}"));
//!     let response = app(issuer.auth()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
//!     assert_eq!(response.status(), expected);
//! }
//! # });
//! # }
//! ```

#![expect(
    clippy::expect_used,
    reason = "a test kit fails by panic, with a sentence"
)]

#[cfg(feature = "issue")]
mod check_store;
#[cfg(feature = "introspection")]
mod opaque;
mod signer;
mod token;
#[cfg(feature = "issue")]
mod violation;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

#[cfg(feature = "issue")]
pub use self::check_store::check_store;
pub use self::token::TestToken;
#[cfg(feature = "issue")]
pub use self::violation::Violation;

use self::signer::Signer;
use crate::clock::{Clock, SystemClock};
use crate::issuer::{Audience, Issuer};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::{Key, KeyId};
use crate::keys::store::KeyStore;
use crate::layer::JwtAuth;
use crate::policy::trusted_issuer::TrustedIssuer;

/// Issuer for tests, with its own keys.
///
/// By default, its issuer is `https://as.example`, and its audience is `https://api.example`. Clones
/// share their keys.
#[derive(Clone)]
#[must_use]
pub struct TestIssuer {
    issuer: Arc<str>,
    audience: Arc<str>,
    clock: Arc<dyn Clock>,
    keys: KeyStore,
    signers: Arc<RwLock<Vec<Arc<Signer>>>>,
    /// The number of tokens with a generated id, for the next id.
    minted: Arc<AtomicU64>,
    #[cfg(feature = "introspection")]
    opaque: Arc<opaque::OpaqueTokens>,
}

impl TestIssuer {
    /// Creates an issuer that signs with ES256.
    pub fn new() -> Self {
        Self::with_algorithm(Algorithm::ES256)
    }

    /// Creates an issuer that signs with this algorithm, with a new key.
    pub fn with_algorithm(algorithm: Algorithm) -> Self {
        Self::of(Signer::generate(algorithm, "key-1"))
    }

    /// Creates an issuer that shares a secret with the API, for applications with their own login. The
    /// secret can be any text that is long enough, even a pass phrase.
    ///
    /// # Panics
    ///
    /// Panics if the algorithm is not symmetric, or if the secret is too short for it. The minimum
    /// length is 32, 48 or 64 bytes for `HS256`, `HS384` or `HS512`.
    pub fn with_secret(algorithm: Algorithm, secret: &[u8]) -> Self {
        Self::of(Signer::from_secret(algorithm, secret, "key-1"))
    }

    fn of(signer: Signer) -> Self {
        Self {
            issuer: "https://as.example".into(),
            audience: "https://api.example".into(),
            clock: Arc::new(SystemClock),
            keys: KeyStore::from(signer.key()),
            signers: Arc::new(RwLock::new(vec![Arc::new(signer)])),
            minted: Arc::default(),
            #[cfg(feature = "introspection")]
            opaque: Arc::default(),
        }
    }

    /// Replaces the keys of the first issuer that a layer trusts. Returns a test issuer with the new
    /// keys, and the changed layer.
    ///
    /// The test issuer has the name and the audience of the replaced issuer. It signs with an algorithm
    /// that the layer accepts from this issuer: the first of its [`algorithms`](JwtAuth::algorithms), or
    /// ES256 if none are set. It reads the time from the clock of the layer. The layer keeps all its
    /// settings and its other issuers. If the layer introspects opaque tokens of the issuer, the test
    /// issuer answers for its own opaque tokens.
    ///
    /// # Panics
    ///
    /// Panics if the layer accepts no algorithm.
    ///
    /// # Example: the settings of production
    ///
    /// ```
    /// # #[cfg(feature = "axum")] {
    /// # use axum::{Router, body::Body, routing::get};
    /// # use http::{Request, StatusCode};
    /// # use tower::ServiceExt;
    /// use tower_jwt_auth::response::ProblemDetails;
    /// use tower_jwt_auth::test::TestIssuer;
    /// use tower_jwt_auth::{Algorithm, Audience, Claims, ConfigError, Issuer, JwtAuth, KeyStore, NoClaims};
    ///
    /// /// The layer as it is in production.
    /// fn auth() -> Result<JwtAuth<NoClaims, ProblemDetails>, ConfigError> {
    ///     let keys = KeyStore::pending(); // in production, the keys of the issuer
    ///     Ok(JwtAuth::new(Issuer::new("https://login.example.com")?, Audience::new("calendar-api")?, keys)
    ///         .algorithms([Algorithm::PS256])
    ///         .respond_with(ProblemDetails::new()))
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (issuer, auth) = TestIssuer::in_place_of(auth()?);
    /// let app = Router::new().route("/", get(async |_: Claims| "in")).layer(auth);
    /// let request = Request::get("/").header("authorization", format!("Bearer {}", issuer.token().mint()));
    /// let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    /// assert_eq!(response.status(), StatusCode::OK);
    ///
    /// let rejected = app.oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    /// assert_eq!(rejected.headers()["content-type"], "application/problem+json");
    /// # Ok::<(), ConfigError>(())
    /// # }).unwrap();
    /// # }
    /// ```
    pub fn in_place_of<C, R>(auth: JwtAuth<C, R>) -> (Self, JwtAuth<C, R>) {
        let mut issuer = Self::new();
        let auth = auth.with_first_issuer(|clock, rules, trusted| {
            let algorithms = trusted
                .rules
                .algorithms
                .as_ref()
                .or(rules.algorithms.as_ref());
            let algorithm = match algorithms {
                Some(allowed) => *allowed.first().expect("the layer accepts some algorithm"),
                None => Algorithm::ES256,
            };
            issuer = Self::with_algorithm(algorithm)
                .named(trusted.issuer.as_str())
                .with_clock({
                    let clock = Arc::clone(clock);
                    move || clock.now()
                });
            if let Some(audience) = trusted.audience.ids().next() {
                issuer.audience = audience.into();
            }
            trusted.keys = issuer.keys();
            issuer.answers_for(trusted);
        });
        (issuer, auth)
    }

    /// Returns this issuer as an argument of [`JwtAuth::trust`].
    pub fn trusted(&self) -> TrustedIssuer {
        TrustedIssuer::new(self.issuer(), self.audience(), self.keys())
    }

    /// Sets the name of the issuer, which is the `iss` of its tokens.
    pub fn named(mut self, issuer: &str) -> Self {
        self.issuer = issuer.into();
        self
    }

    /// Sets the audience, which is the `aud` of its tokens.
    pub fn for_audience(mut self, audience: &str) -> Self {
        self.audience = audience.into();
        self
    }

    /// Sets the clock of the issuer, which is used for its tokens and for [`auth`](Self::auth).
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        let time = Arc::clone(&self.clock);
        self.keys = self.keys.with_clock(move || time.now());
        self
    }

    /// The name of the issuer.
    ///
    /// # Panics
    ///
    /// Panics if [`named`](Self::named) was called with an invalid name.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer::new(&self.issuer).expect("`named` was given the name of an issuer")
    }

    /// The audience of its tokens.
    ///
    /// # Panics
    ///
    /// Panics if [`for_audience`](Self::for_audience) was called with an empty name.
    #[must_use]
    pub fn audience(&self) -> Audience {
        Audience::new(&self.audience).expect("`for_audience` was given an audience")
    }

    /// The keys of the issuer, as the API uses them. The store follows [`rotate`](Self::rotate).
    #[must_use]
    pub fn keys(&self) -> KeyStore {
        self.keys.clone()
    }

    /// The current verification key.
    #[must_use]
    pub fn key(&self) -> Key {
        self.signer().key()
    }

    /// The current verification key as a JSON Web Key. For a symmetric algorithm it contains the secret.
    #[must_use]
    pub fn jwk(&self) -> Value {
        self.signer().jwk()
    }

    /// All keys of the issuer as a JSON Web Key Set, newest first and without secrets.
    #[must_use]
    pub fn jwks(&self) -> String {
        let signers = self.signers.read().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<_> = signers
            .iter()
            .rev()
            .filter(|signer| !signer.algorithm().is_symmetric())
            .map(|signer| signer.jwk())
            .collect();
        json!({ "keys": keys }).to_string()
    }

    /// Creates a layer that accepts the tokens of this issuer and uses its clock.
    pub fn auth(&self) -> JwtAuth {
        let clock = Arc::clone(&self.clock);
        JwtAuth::new(self.issuer(), self.audience(), self.keys()).clock(move || clock.now())
    }

    /// Creates a new key and signs with it from now on. Returns its id.
    ///
    /// The old keys stay in the store until they are removed with [`keys`](Self::keys)`().remove(..)`.
    pub fn rotate(&self) -> KeyId {
        let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
        let algorithm = signers
            .last()
            .map_or(Algorithm::ES256, |signer| signer.algorithm());
        let id = format!("key-{}", signers.len().saturating_add(1));
        let signer = Signer::generate(algorithm, &id);
        let key = signer.key();
        signers.push(Arc::new(signer));
        drop(signers);
        self.keys.rotate(key)
    }

    /// Creates a token to mint. It is valid for 5 minutes, unless a method of [`TestToken`] changes
    /// this.
    ///
    /// It is an RFC 9068 access token with the subject `subject-1` and the client `client-1`, without
    /// scopes. Its `jti` is unique for this issuer.
    pub fn token(&self) -> TestToken {
        let now = self
            .clock
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let minted = Arc::clone(&self.minted);
        let token = TestToken::new(self.signer(), &self.issuer, &self.audience, now, minted);
        #[cfg(feature = "introspection")]
        let token = token.known_to(&self.opaque);
        token
    }

    /// Answers for opaque tokens if the replaced issuer did.
    #[cfg(feature = "introspection")]
    fn answers_for(&self, trusted: &mut TrustedIssuer) {
        if let Some(introspection) = &mut trusted.introspection {
            *introspection = introspection.answered_by(self.introspection());
        }
    }

    #[cfg(not(feature = "introspection"))]
    fn answers_for(&self, _: &TrustedIssuer) {}

    fn signer(&self) -> Arc<Signer> {
        let signers = self.signers.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(signers.last().expect("an issuer has a key from the start"))
    }
}

impl Default for TestIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Clock that stands still until it is moved. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::RejectionKind;
/// use tower_jwt_auth::test::{FixedClock, TestIssuer};
///
/// let clock = FixedClock::at(1_700_000_000);
/// let issuer = TestIssuer::new().with_clock(clock.clone());
/// let verifier = issuer.auth().verifier();
/// let token = issuer.token().expires_in(Duration::from_secs(300)).mint();
/// assert!(verifier.verify_now(&token).is_ok());
///
/// clock.advance(Duration::from_secs(361)); // including 60 s of leeway
/// assert_eq!(verifier.verify_now(&token).unwrap_err().kind(), RejectionKind::Expired);
/// ```
#[derive(Clone, Debug)]
pub struct FixedClock(Arc<AtomicU64>);

impl FixedClock {
    /// Creates a clock that shows this many seconds since the epoch.
    #[must_use]
    pub fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds.saturating_mul(1_000))))
    }

    /// Moves the clock forward. The resolution is one millisecond.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets the clock to this many seconds since the epoch. It can be set back.
    pub fn set(&self, seconds: u64) {
        self.0
            .store(seconds.saturating_mul(1_000), Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_millis(self.0.load(Ordering::Relaxed)))
            .unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Claims;
    use crate::error::config::ConfigError;
    use crate::error::kinds::RejectionKind;

    #[test]
    fn every_token_has_an_id_of_its_own() {
        let issuer = TestIssuer::new();
        let verifier = issuer.auth().verifier();
        let id = |token: &str| verifier.verify_now(token).unwrap().id().map(str::to_owned);
        let token = issuer.token();
        let ids = [
            token.mint(),
            token.mint(),
            token.clone().subject("alice").mint(),
            issuer.token().mint(),
            issuer.clone().token().mint(),
        ];
        let ids: std::collections::BTreeSet<_> = ids.iter().map(|token| id(token)).collect();
        assert_eq!(ids.len(), 5);
        assert!(!ids.contains(&None));

        // The twins: a token with a given id, and a token without an id.
        let named = token.clone().claim("jti", "mine");
        for token in [named.mint(), named.mint()] {
            assert_eq!(id(&token).as_deref(), Some("mine"));
        }
        assert_eq!(id(&token.without("jti").mint()), None);
    }

    #[test]
    fn an_issuer_takes_the_place_of_the_first_one() -> Result<(), ConfigError> {
        let partner = TestIssuer::new().named("https://partner.example");
        let auth = JwtAuth::new(
            Issuer::new("https://login.example.com")?,
            Audience::any_of(["calendar-api", "old-name"])?,
            KeyStore::pending(),
        )
        .trust(TrustedIssuer::new(
            partner.issuer(),
            partner.audience(),
            partner.keys(),
        ))
        .algorithms([Algorithm::EdDSA, Algorithm::ES256])
        .access_token_profile();
        let clock = FixedClock::at(1_700_000_000);
        let (issuer, auth) = TestIssuer::in_place_of(auth.clock(clock.clone()));

        let verifier = auth.verifier();
        let kind = |token: &str| verifier.verify_now(token).map_err(|error| error.kind());
        let claims: Claims = kind(&issuer.token().mint()).unwrap();
        assert_eq!(claims.issuer(), "https://login.example.com");
        assert_eq!(claims.audience().collect::<Vec<_>>(), ["calendar-api"]);

        // The settings of the layer apply, and so does its clock.
        let rejected = |token: String, expected| assert_eq!(kind(&token).unwrap_err(), expected);
        rejected(
            issuer.token().without("sub").mint(),
            RejectionKind::MissingClaim,
        );
        rejected(
            issuer.token().audience("other").mint(),
            RejectionKind::AudienceMismatch,
        );
        let token = issuer.token().mint();
        clock.advance(Duration::from_secs(3_600));
        rejected(token, RejectionKind::Expired);
        assert!(kind(&issuer.token().mint()).is_ok());
        // The new keys do not verify tokens of another issuer, and the other issuer keeps its keys.
        rejected(
            issuer
                .token()
                .issuer("https://partner.example")
                .audience("https://api.example")
                .mint(),
            RejectionKind::AlgorithmNotAllowed,
        );
        assert!(kind(&partner.with_clock(clock).token().mint()).is_ok());
        Ok(())
    }
}
