//! [`BackChannelLogout`]: logout tokens of an OpenID provider.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode};

use crate::claims::SubjectId;
use crate::clock::NumericDate;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::policy::Leeway;
use crate::policy::trusted_issuer::TrustedIssuer;
use crate::response::FullBody;
use crate::revocation::logout::form;
use crate::revocation::logout::receiver::{
    Accepted, Failure, Notice, Receiver, Settings, empty, respond,
};
use crate::revocation::logout::replays::Replays;
use crate::revocation::logout::service::service;
use crate::revocation::logout::statement::StatementKind;
use crate::revocation::{RevocationMark, RevocationWriter};
use crate::token::registered::Registered;

/// Tower service that receives logout tokens ([OpenID Connect Back-Channel Logout 1.0]). When a person
/// logs out at the issuer, the issuer sends a logout token to this service, and the access tokens of the
/// person are revoked.
///
/// The issuer of the [`TrustedIssuer`] is the OpenID provider. Its audience is the **client id** whose
/// `backchannel_logout_uri` at the provider is the address of this service. Of its rules, `algorithms`,
/// `leeway`, `max_age`, `max_lifetime` and `require_key_id` apply.
///
/// A logout token must have `typ` `logout+jwt`, `iss`, `aud`, `iat`, `exp`, `jti`, the logout event, and
/// `sub` or `sid`, and no `nonce`. It marks the session (`sid`) and the subject (`sub`). Both are marked by
/// default, because many issuers write no `sid` into access tokens; see
/// [`mark_session_alone`](Self::mark_session_alone).
///
/// | mark | applies to |
/// |---|---|
/// | session | all access tokens of the session, whenever they are issued |
/// | subject | access tokens that were issued before the logout token arrived, but no later than 5 seconds after its `iat` |
///
/// Issuers end a session after they have sent the logout token, so a refresh can still succeed in between.
/// The access token of such a refresh is rejected too. A late or repeated logout token does not end a newer
/// login that began more than 5 seconds after its `iat`.
///
/// | response | meaning |
/// |---|---|
/// | 200 | the marks are stored and have taken effect |
/// | 400 | the token is not valid, or was already accepted |
/// | 405, 415 | not a POST request, or not a form |
/// | 503 | the marks could not be stored, or the keys of the issuer could not be loaded: the issuer may send the token again |
///
/// Every response has `Cache-Control: no-store`. A received token is processed even if the issuer closes the
/// connection before the response. If the body does not end within 5 seconds, the response is 400. If the
/// writer does not answer within 5 seconds, the response is 503. Outside a tokio runtime, these two timeouts
/// do not apply. Each instance remembers up to 100 000 accepted tokens until they expire.
///
/// Mount the service outside the layer, because the issuer sends no access token.
///
/// # Example: log out everywhere
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Router;
/// use tower_jwt_auth::revocation::{BackChannelLogout, Denylist};
/// use tower_jwt_auth::{Audience, ConfigError, Issuer, JwtAuth, KeyStore, TrustedIssuer};
///
/// fn app(keys: KeyStore) -> Result<Router, ConfigError> {
///     let issuer = Issuer::new("https://login.example.com")?;
///     let denylist = Denylist::default();
///     let client = TrustedIssuer::new(issuer.clone(), Audience::new("calendar-web")?, keys.clone());
///     let logout = BackChannelLogout::new(client, denylist.clone());
///     let auth = JwtAuth::new(issuer, Audience::new("calendar-api")?, keys).revocation(denylist);
///     Ok(Router::new()
///         // .route("/events", ..)
///         .layer(auth)
///         .route_service("/backchannel-logout", logout))
/// }
/// # }
/// ```
///
/// [OpenID Connect Back-Channel Logout 1.0]: https://openid.net/specs/openid-connect-backchannel-1_0.html
#[derive(Clone)]
pub struct BackChannelLogout(Arc<Inner>);

struct Inner {
    receiver: Receiver,
    replays: Arc<Replays>,
    /// How long a token is accepted after its `exp`, at most.
    leeway: Duration,
}

impl BackChannelLogout {
    /// Creates a service for the logout tokens of this issuer. The writer stores the marks, for
    /// example in the [`Denylist`](crate::revocation::Denylist) that the layer checks.
    #[must_use]
    pub fn new(issuer: TrustedIssuer, writer: impl RevocationWriter) -> Self {
        let kind = StatementKind {
            typ: "logout+jwt",
            accepts_untyped: false,
            needs_expiry: true,
        };
        let settings = Settings::new(issuer, writer, kind);
        let replays = Arc::new(Replays::new(MAX_REPLAYS));
        Self(Arc::new(Inner::new(settings, replays)))
    }

    /// Sets the maximum number of accepted tokens that are remembered until they expire. Default:
    /// 100 000. While this number is reached, logout tokens are answered with 503.
    #[must_use]
    pub fn max_replays(self, tokens: usize) -> Self {
        let settings = self.0.receiver.settings.clone();
        let replays = Arc::new(Replays::new(tokens));
        Self(Arc::new(Inner::new(settings, replays)))
    }
}

service!(BackChannelLogout);

impl Notice for Inner {
    const NAME: &str = "logout";
    const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

    fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    async fn accept(&self, body: &[u8]) -> Result<Accepted, Failure> {
        let token = form::parameter(body, "logout_token")?;
        let statement = self.receiver.verify(token.as_bytes()).await?;
        let claims = statement.claims();
        check(claims)?;
        let (issuer, id) = (
            claims.issuer().unwrap_or_default(),
            claims.id().unwrap_or_default(),
        );
        self.replays.check(issuer, id)?;
        let marks = self.marks(claims);
        let accepted = Accepted {
            issuer: issuer.into(),
            marks: marks.len(),
        };
        self.receiver.store(marks).await?;
        // Last, so that a token whose marks are not stored can be sent again.
        let now = NumericDate::from(self.receiver.now());
        let until = claims.expires_at().unwrap_or(now).plus(self.leeway);
        self.replays.insert(issuer, id, until, now)?;
        Ok(accepted)
    }

    fn response(result: Result<Accepted, Failure>) -> Response<FullBody> {
        match result {
            Ok(_) => empty(StatusCode::OK),
            Err(failure) => failure.response(|_| ERROR.to_owned()),
        }
    }
}

impl Inner {
    fn new(settings: Settings, replays: Arc<Replays>) -> Self {
        let leeways = settings.issuers.iter().map(|issuer| issuer.rules.leeway());
        Self {
            leeway: leeways.max().unwrap_or(Leeway::default().duration()),
            receiver: Receiver::new(settings),
            replays,
        }
    }

    fn with(&self, settings: Settings) -> Self {
        Self::new(settings, Arc::clone(&self.replays))
    }

    fn marks(&self, claims: &Registered) -> Vec<RevocationMark> {
        let issuer = claims.issuer().unwrap_or_default();
        let until = issued_until(self.receiver.issued_at(claims), self.receiver.now());
        let expiry = self.receiver.end_of_marks(until);
        let session = claims.session_id();
        let is_alone = session.is_some() && self.receiver.settings.marks_session_alone;
        let subject = claims.subject().filter(|_| !is_alone);
        let session = session.map(|id| RevocationMark::session(issuer, id, expiry));
        let subject = subject
            .map(|subject| RevocationMark::subject(SubjectId::new(issuer, subject), until, expiry));
        session.into_iter().chain(subject).collect()
    }
}

/// The mark for the subject applies to tokens that were issued until this time: until the logout token arrived,
/// but not long after its `iat`. Before that, the issuer may not have ended the session, and the browser that
/// logs out usually waits. Later tokens are of another login. The `iat` of access tokens is of the clock of the
/// issuer, so the `iat` of the logout token counts if our own clock is behind.
fn issued_until(issued_at: SystemTime, now: SystemTime) -> SystemTime {
    let latest = issued_at.checked_add(DELIVERY).unwrap_or(issued_at);
    now.clamp(issued_at, latest)
}

/// Back-Channel Logout 1.0, section 2.6: what a logout token has beside the claims of every statement.
pub(crate) fn check(claims: &Registered) -> Result<(), Rejection> {
    let invalid = |reason| Err(Rejection::because(RejectionKind::InvalidClaim, reason));
    // An ID token never passes for a logout token: `null` is a value too.
    if claims.claim("nonce").is_some() {
        return invalid("claim `nonce` is not for logout tokens");
    }
    let events = claims.claim("events");
    let events = events.map(|events| events.value(claims.payload()));
    let event = events.and_then(|events| events.member(EVENT));
    if !event.is_some_and(|event| event.is_object()) {
        return invalid("claim `events` has no logout event");
    }
    let session = claims.claim("sid");
    let session = session.map(|session| session.value(claims.payload()));
    if session.is_some_and(|session| !session.is_null() && !session.is_string()) {
        return invalid("claim `sid` has the wrong JSON type");
    }
    if claims.subject().is_none() && claims.session_id().is_none() {
        return invalid("token has neither `sub` nor `sid`");
    }
    Ok(())
}

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The body of 400.
const ERROR: &str =
    r#"{"error":"invalid_request","error_description":"The logout token is invalid"}"#;
/// The time in which a logout token is usually delivered. Issuers wait no longer for the response.
const DELIVERY: Duration = Duration::from_secs(5);
/// Maximum number of accepted tokens that are remembered.
const MAX_REPLAYS: usize = 100_000;
