//! [`RequireLayer`]: a requirement as a layer around routes.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::claims::Claims;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::reject::reported;
use crate::reports;
use crate::response::challenge::Challenge;
use crate::response::exchange::Exchange;
use crate::response::missing_layer::{Asker, is_marked, missing_layer};
use crate::response::provisional::Provisional;
use crate::response::respond::{EmptyBody, RespondTo};
use crate::scope::Requirement;

/// Layer that passes on only requests whose token grants `R`. Created by
/// [`JwtAuth::require`](crate::JwtAuth::require).
///
/// It must be inside a [`JwtAuth`](crate::JwtAuth) layer, which verifies the token. The settings of
/// that layer apply to the rejections of this one.
#[must_use]
pub struct RequireLayer<R, T = EmptyBody> {
    responder: T,
    requirement: PhantomData<fn() -> R>,
}

/// Middleware that authorizes each request by its claims. Created by [`RequireLayer`].
pub struct RequireService<S, R, T = EmptyBody> {
    inner: S,
    responder: T,
    requirement: PhantomData<fn() -> R>,
}

impl<R> RequireLayer<R> {
    pub(crate) fn new() -> Self {
        Self {
            responder: EmptyBody,
            requirement: PhantomData,
        }
    }
}

impl<R, T> RequireLayer<R, T> {
    /// Sets the responder, which creates the bodies. Default: [`EmptyBody`], for a response body that
    /// implements [`Default`].
    ///
    /// Only [`RespondTo::empty`] is called. The outer [`JwtAuth`](crate::JwtAuth) layer replaces the
    /// response with its own, so use the same responder for both.
    ///
    /// # Example: a service whose body has no default
    ///
    /// ```
    /// use http::response::Parts;
    /// use tower_jwt_auth::require::RequireLayer;
    /// use tower_jwt_auth::response::RespondTo;
    /// use tower_jwt_auth::{JwtAuth, Rejection, role};
    ///
    /// type Admin = role!("admin");
    ///
    /// enum Body {
    ///     File(std::fs::File),
    ///     Text(&'static str),
    /// }
    ///
    /// fn for_admins() -> RequireLayer<Admin, impl RespondTo<Body>> {
    ///     JwtAuth::require::<Admin>().respond_with((
    ///         |rejection: &Rejection, _: &mut Parts| Body::Text(rejection.client_text()),
    ///         || Body::Text(""),
    ///     ))
    /// }
    /// ```
    pub fn respond_with<U>(self, responder: U) -> RequireLayer<R, U> {
        RequireLayer {
            responder,
            requirement: PhantomData,
        }
    }
}

impl<S, R, T: Clone> Layer<S> for RequireLayer<R, T> {
    type Service = RequireService<S, R, T>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService {
            inner,
            responder: self.responder.clone(),
            requirement: PhantomData,
        }
    }
}

impl<S, R, T, B, ResBody> Service<Request<B>> for RequireService<S, R, T>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    R: Requirement,
    T: RespondTo<ResBody>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RequireFuture {
            state: match admit::<R, B>(&request) {
                Ok(_) => State::Inner {
                    future: self.inner.call(request),
                },
                Err(rejection) => {
                    // As in `JwtAuthService`: the ready service is not called, so it is dropped and
                    // releases what it holds.
                    self.inner = self.inner.clone();
                    State::Rejected {
                        rejection,
                        exchange: Exchange::of(&request, false),
                        responder: self.responder.clone(),
                    }
                }
            },
        }
    }
}

/// A mark in the extensions of a request that a layer passed on without a token.
#[derive(Clone, Copy, Debug)]
struct Anonymous;

/// Puts the claims of a verified token into the extensions of a request.
pub(crate) fn leave_claims<C: Send + Sync + 'static>(
    extensions: &mut Extensions,
    claims: Claims<C>,
) {
    clear(extensions);
    claims.insert_into(extensions);
}

/// Marks in the extensions of a request that it has no verified token.
pub(crate) fn leave_anonymous(extensions: &mut Extensions) {
    clear(extensions);
    extensions.insert(Anonymous);
}

/// Removes what an outer layer has put into the extensions. That layer has a different policy, and
/// the verdict of the innermost layer counts.
fn clear(extensions: &mut Extensions) {
    if extensions.is_empty() {
        return;
    }
    let claims = extensions.remove::<Claims>();
    if let Some(claims) = &claims {
        claims.withdraw_from(extensions);
    }
    if extensions.remove::<Anonymous>().is_some() || claims.is_some() {
        extensions.remove::<Challenge>();
    }
}

fn admit<R: Requirement, B>(request: &Request<B>) -> Result<&Claims, Rejection> {
    authorize::<R>(request.extensions(), || {
        missing_layer(Asker::Guard, is_marked(request.headers()))
    })
}

/// Returns the claims that a layer has put into the extensions of a request. `missing_layer` creates
/// the rejection of a request that passed through no layer.
pub(crate) fn verified(
    extensions: &Extensions,
    missing_layer: impl FnOnce() -> Rejection,
) -> Result<&Claims, Rejection> {
    match extensions.get::<Claims>() {
        Some(claims) => Ok(claims),
        None if is_anonymous(extensions) => Err(Rejection::of(RejectionKind::MissingCredentials)),
        None => Err(missing_layer()),
    }
    .inspect_err(reports::rejected)
}

/// Whether a layer has passed on the request without a token.
pub(crate) fn is_anonymous(extensions: &Extensions) -> bool {
    extensions.get::<Anonymous>().is_some() && extensions.get::<Claims>().is_none()
}

/// Returns the [verified] claims if they grant `R`.
pub(crate) fn authorize<R: Requirement>(
    extensions: &Extensions,
    missing_layer: impl FnOnce() -> Rejection,
) -> Result<&Claims, Rejection> {
    let claims = verified(extensions, missing_layer)?;
    claims.authorize::<R>().map_err(reported)?;
    Ok(claims)
}

pin_project! {
    /// Response future for [`RequireService`].
    pub struct RequireFuture<F, T = EmptyBody> {
        #[pin]
        state: State<F, T>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F, T> {
        Rejected { rejection: Rejection, exchange: Exchange, responder: T },
        Inner { #[pin] future: F },
    }
}

impl<F, T, E, ResBody> Future for RequireFuture<F, T>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    T: RespondTo<ResBody>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProjection::Rejected {
                rejection,
                exchange,
                responder,
            } => {
                let response = Provisional::response(rejection.clone(), exchange);
                Poll::Ready(Ok(response.map(|()| responder.empty())))
            }
            StateProjection::Inner { future } => Poll::Ready(ready!(future.poll(cx))),
        }
    }
}

impl<R, T: Clone> Clone for RequireLayer<R, T> {
    fn clone(&self) -> Self {
        Self {
            responder: self.responder.clone(),
            requirement: PhantomData,
        }
    }
}

impl<S: Clone, R, T: Clone> Clone for RequireService<S, R, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            responder: self.responder.clone(),
            requirement: PhantomData,
        }
    }
}

impl<R: Requirement, T> fmt::Debug for RequireLayer<R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireLayer")
            .field(&format_args!("{}", R::describe()))
            .finish()
    }
}

impl<S: fmt::Debug, R: Requirement, T> fmt::Debug for RequireService<S, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService")
            .field("inner", &self.inner)
            .field("requirement", &format_args!("{}", R::describe()))
            .finish()
    }
}

impl<F, T> fmt::Debug for RequireFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}
