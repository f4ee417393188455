//! [`JwtAuthService`]: the middleware.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use serde::de::DeserializeOwned;
use tower_service::Service;

use crate::admission::{Admission, Finish, Shared};
use crate::future::ResponseFuture;
use crate::response::exchange::{Exchange, Maps};
use crate::response::respond::RespondTo;
use crate::striped::Striped;

/// Middleware that verifies the token of each request. Created by [`JwtAuth`](crate::JwtAuth).
pub struct JwtAuthService<S, C, R> {
    inner: S,
    shared: Striped<Shared<C, R>>,
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
                // The ready service is not called. Drop it, so that it releases what it holds, such
                // as a permit.
                self.inner = self.inner.clone();
                let exchange = Exchange::of(&request, R::READS_REQUEST);
                let response = shared.reject(&rejection, &exchange, Maps::of(request));
                return ResponseFuture::rejected(response);
            }
        };
        let exchange = Exchange::of(&request, R::READS_REQUEST);
        let mut finish = Finish::new(shared, &request, exchange);
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
                // The credentials of a preflight are not verified, so an inner service must not
                // treat them as verified.
                finish.conceal(&mut request);
                finish.leave_anonymous(&mut request);
                ResponseFuture::inner(finish, self.inner.call(request))
            }
            Admission::Waiting(wait) => {
                // The ready service is not called for a while. Drop it, so that it releases what it
                // holds, such as a permit. A request whose token is not verified yet must not
                // withhold the permit from other requests.
                self.inner = self.inner.clone();
                ResponseFuture::waiting(finish, wait, self.inner.clone(), request)
            }
        }
    }
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
