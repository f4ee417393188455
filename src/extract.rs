//! Extractors: the arguments of axum handlers.
//!
//! All of them implement [`FromRequestParts`], so they run before the body of the request is read.
//! They do not remove the claims from the request, so a handler can have several extractors.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::claims::{Claims, NoClaims};
use crate::error::rejection::Rejection;
use crate::reject::reported;
use crate::require::{authorize, verified};
use crate::response::missing_layer::{Asker, is_marked, missing_layer};
use crate::scope::Requirement;

/// Extractor for the claims of a token that grants `R`. A token that does not grant it is rejected
/// with 403, and the challenge names the required scope.
///
/// It derefs to [`Claims<C>`], and through it to your own claims. The route must be inside a
/// [`JwtAuth`](crate::JwtAuth) layer.
///
/// # Example: who may read, who may write
///
/// ```
/// # #[cfg(feature = "test-util")] {
/// # use axum::body::Body;
/// # use http::{Request, StatusCode};
/// # use tower::ServiceExt;
/// use axum::{Router, routing::get};
/// use tower_jwt_auth::{RequireScope, scope, test::TestIssuer};
///
/// async fn list(user: RequireScope<scope!("calendar:read")>) -> String {
///     format!("events of {}", user.subject().unwrap_or("nobody"))
/// }
///
/// async fn create(_: RequireScope<scope!("calendar:write")>) -> StatusCode {
///     StatusCode::CREATED
/// }
///
/// let issuer = TestIssuer::new();
/// let app: Router = Router::new().route("/events", get(list).post(create)).layer(issuer.auth());
/// let token = issuer.token().subject("alice").scope("calendar:read").mint();
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = |method: &str| {
///     Request::builder().method(method).uri("/events").header("authorization", format!("Bearer {token}"))
/// };
/// let listed = app.clone().oneshot(request("GET").body(Body::empty()).unwrap()).await.unwrap();
/// assert_eq!(listed.status(), StatusCode::OK);
///
/// let rejected = app.oneshot(request("POST").body(Body::empty()).unwrap()).await.unwrap();
/// assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
/// let challenge = rejected.headers()["www-authenticate"].to_str().unwrap();
/// assert!(challenge.contains(r#"scope="calendar:write""#));
/// # });
/// # }
/// ```
pub struct RequireScope<R: Requirement, C = NoClaims> {
    claims: Claims<C>,
    requirement: PhantomData<fn() -> R>,
}

/// Extractor for the claims of a token that grants the role `R`: [`RequireScope`] under a name that
/// fits [`role!`](crate::role!).
///
/// ```
/// use tower_jwt_auth::{RequireRole, role};
///
/// async fn audit(admin: RequireRole<role!("admin" | "auditor")>) -> String {
///     format!("shown to {}", admin.subject().unwrap_or("nobody"))
/// }
/// ```
pub type RequireRole<R, C = NoClaims> = RequireScope<R, C>;

impl<R: Requirement, C> RequireScope<R, C> {
    /// Returns the claims.
    #[must_use]
    pub fn into_claims(self) -> Claims<C> {
        self.claims
    }
}

impl<R: Requirement, C> Deref for RequireScope<R, C> {
    type Target = Claims<C>;

    fn deref(&self) -> &Claims<C> {
        &self.claims
    }
}

impl<R: Requirement, C> Clone for RequireScope<R, C> {
    fn clone(&self) -> Self {
        Self {
            claims: self.claims.clone(),
            requirement: PhantomData,
        }
    }
}

impl<R: Requirement, C> fmt::Debug for RequireScope<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScope")
            .field("claims", &self.claims)
            .field("requirement", &format_args!("{}", R::describe()))
            .finish()
    }
}

impl<S, R, C> FromRequestParts<S> for RequireScope<R, C>
where
    S: Send + Sync,
    R: Requirement,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        authorize::<R>(&parts.extensions, || missing(parts))?;
        Ok(Self {
            claims: claims_in(parts)?,
            requirement: PhantomData,
        })
    }
}

impl<S, R, C> OptionalFromRequestParts<S> for RequireScope<R, C>
where
    S: Send + Sync,
    R: Requirement,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        if is_anonymous(parts) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map(Some)
    }
}

impl<S, C> FromRequestParts<S> for Claims<C>
where
    S: Send + Sync,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        claims_in(parts)
    }
}

/// Returns `None` for a request without a token. Such a request is passed on only by an
/// [optional](crate::JwtAuth::optional) layer, or if it is a
/// [preflight](crate::JwtAuth::check_preflights).
impl<S, C> OptionalFromRequestParts<S> for Claims<C>
where
    S: Send + Sync,
    C: DeserializeOwned + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        if is_anonymous(parts) {
            return Ok(None);
        }
        claims_in(parts).map(Some)
    }
}

/// Returns the claims with the type that the handler names.
fn claims_in<C>(parts: &Parts) -> Result<Claims<C>, Rejection>
where
    C: DeserializeOwned + Send + Sync + 'static,
{
    let claims = verified(&parts.extensions, || missing(parts))?;
    claims.deserialize().map_err(reported)
}

fn missing(parts: &Parts) -> Rejection {
    missing_layer(Asker::Handler, is_marked(&parts.headers))
}

fn is_anonymous(parts: &Parts) -> bool {
    crate::require::is_anonymous(&parts.extensions)
}

/// Returns the response of [`Rejection::into_response`].
impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        Self::into_response(self)
    }
}
