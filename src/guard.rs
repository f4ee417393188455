//! A requirement as a layer around routes.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Extensions, Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::challenge::Challenge;
use crate::claims::Claims;
use crate::error::{Rejection, RejectionKind};
use crate::respond::{Exchange, Provisional, missing_layer};
use crate::scope::Requirement;
use crate::telemetry;

/// Layer that lets those requests through whose token grants `R`; made by
/// [`JwtAuth::require`](crate::JwtAuth::require).
///
/// It belongs inside of a [`JwtAuth`](crate::JwtAuth), which verified the token and whose settings
/// its answers follow.
#[must_use]
pub struct RequireLayer<R>(PhantomData<fn() -> R>);

/// Middleware that authorizes each request by its claims.
pub struct RequireService<S, R> {
    inner: S,
    requirement: PhantomData<fn() -> R>,
}

impl<R> RequireLayer<R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<S, R> Layer<S> for RequireLayer<R> {
    type Service = RequireService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService {
            inner,
            requirement: PhantomData,
        }
    }
}

impl<S, R, B, ResBody> Service<Request<B>> for RequireService<S, R>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    R: Requirement,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RequireFuture {
            state: match authorize::<R>(request.extensions()) {
                Ok(_) => State::Inner {
                    future: self.inner.call(request),
                },
                Err(rejection) => {
                    // As in `JwtAuthService`: a permit of the ready service goes back.
                    self.inner = self.inner.clone();
                    State::Rejected {
                        rejection,
                        exchange: Exchange::of(&request),
                    }
                }
            },
        }
    }
}

/// In the extensions of a request that a layer let through without a token.
#[derive(Clone, Copy, Debug)]
struct Anonymous;

/// Leaves the claims of a verified token in the extensions of a request.
pub(crate) fn leave_claims<C: Send + Sync + 'static>(
    extensions: &mut Extensions,
    claims: Claims<C>,
) {
    clear(extensions);
    claims.insert_into(extensions);
}

/// Leaves in the extensions of a request that nobody was verified.
pub(crate) fn leave_anonymous(extensions: &mut Extensions) {
    clear(extensions);
    extensions.insert(Anonymous);
}

/// Removes what a layer outside has left: its policy is another one, and the verdict of the layer
/// that is next to the service counts.
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

/// The claims that a layer has put into the extensions of a request.
pub(crate) fn verified(extensions: &Extensions) -> Result<&Claims, Rejection> {
    match extensions.get::<Claims>() {
        Some(claims) => Ok(claims),
        None if is_anonymous(extensions) => Err(Rejection::of(RejectionKind::MissingCredentials)),
        None => Err(missing_layer()),
    }
    .inspect_err(telemetry::rejected)
}

/// Whether a layer has let the request through without a token.
pub(crate) fn is_anonymous(extensions: &Extensions) -> bool {
    extensions.get::<Anonymous>().is_some() && extensions.get::<Claims>().is_none()
}

/// The same, if they grant `R`.
pub(crate) fn authorize<R: Requirement>(extensions: &Extensions) -> Result<&Claims, Rejection> {
    let claims = verified(extensions)?;
    claims.authorize::<R>().inspect_err(telemetry::rejected)?;
    Ok(claims)
}

pin_project! {
    /// Response future for [`RequireService`].
    pub struct RequireFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Rejected { rejection: Rejection, exchange: Exchange },
        Inner { #[pin] future: F },
    }
}

impl<F, E, ResBody> Future for RequireFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project().state.project() {
            StateProjection::Rejected {
                rejection,
                exchange,
            } => Poll::Ready(Ok(Provisional::response(rejection.clone(), exchange))),
            StateProjection::Inner { future } => Poll::Ready(ready!(future.poll(cx))),
        }
    }
}

impl<R> Clone for RequireLayer<R> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<S: Clone, R> Clone for RequireService<S, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            requirement: PhantomData,
        }
    }
}

impl<R: Requirement> fmt::Debug for RequireLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RequireLayer")
            .field(&format_args!("{}", R::describe()))
            .finish()
    }
}

impl<S: fmt::Debug, R: Requirement> fmt::Debug for RequireService<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService")
            .field("inner", &self.inner)
            .field("requirement", &format_args!("{}", R::describe()))
            .finish()
    }
}

impl<F> fmt::Debug for RequireFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireFuture").finish_non_exhaustive()
    }
}
