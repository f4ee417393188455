//! [`ResponseFuture`]: a rejection, a wait, or the future of the inner service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::admission::Finish;
use crate::response::respond::RespondTo;
use crate::verifier::Wait;

pin_project! {
    /// Response future for [`JwtAuthService`](crate::service::JwtAuthService).
    pub struct ResponseFuture<S: Service<Request<B>>, B, C, R> {
        #[pin]
        state: State<S, B, S::Future, C, S::Response>,
        // `None` for a rejection, which is complete.
        finish: Option<Finish<C, R>>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<S, B, F, C, O> {
        Rejected { response: Option<O> },
        /// A verification that waits, and the call to make afterwards. The call is boxed, so that the
        /// futures of requests that do not wait stay small.
        Waiting { wait: Wait<C>, call: Option<Box<(S, Request<B>)>> },
        /// The token was accepted, and the inner service must become ready again.
        Accepted { call: Option<Box<(S, Request<B>)>> },
        Inner { #[pin] future: F },
    }
}

impl<S: Service<Request<B>>, B, C, R> ResponseFuture<S, B, C, R> {
    pub(crate) fn rejected(response: S::Response) -> Self {
        Self {
            state: State::Rejected {
                response: Some(response),
            },
            finish: None,
        }
    }

    /// `service` is polled for readiness after the verification has ended.
    pub(crate) fn waiting(
        finish: Finish<C, R>,
        wait: Wait<C>,
        service: S,
        request: Request<B>,
    ) -> Self {
        Self {
            state: State::Waiting {
                wait,
                call: Some(Box::new((service, request))),
            },
            finish: Some(finish),
        }
    }

    pub(crate) fn inner(finish: Finish<C, R>, future: S::Future) -> Self {
        Self {
            state: State::Inner { future },
            finish: Some(finish),
        }
    }
}

impl<S, B, C, R, ResBody> Future for ResponseFuture<S, B, C, R>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    C: Send + Sync + 'static,
    R: RespondTo<ResBody>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Rejected { response } => {
                    #[expect(clippy::expect_used, reason = "polled after completion")]
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response));
                }
                StateProjection::Inner { future } => {
                    let response = ready!(future.poll(cx))?;
                    return Poll::Ready(Ok(match this.finish {
                        Some(finish) => finish.finish(response),
                        None => response,
                    }));
                }
                StateProjection::Waiting { wait, call } => match ready!(wait.as_mut().poll(cx)) {
                    Ok(claims) => {
                        let mut call = call.take();
                        if let (Some((_, request)), Some(finish)) =
                            (call.as_deref_mut(), this.finish.as_mut())
                        {
                            finish.enrich(request, claims);
                        }
                        this.state.set(State::Accepted { call });
                    }
                    Err(rejection) => {
                        let response = this.finish.as_ref().map(|finish| finish.reject(&rejection));
                        this.state.set(State::Rejected { response });
                    }
                },
                StateProjection::Accepted { call } => {
                    if let Some((service, _)) = call.as_deref_mut() {
                        ready!(service.poll_ready(cx))?;
                    }
                    #[expect(clippy::expect_used, reason = "polled after completion")]
                    let (mut service, request) = *call.take().expect("polled after completion");
                    let future = service.call(request);
                    this.state.set(State::Inner { future });
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B, C, R> fmt::Debug for ResponseFuture<S, B, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field(
                "state",
                match self.state {
                    State::Rejected { .. } => &"rejected",
                    State::Waiting { .. } | State::Accepted { .. } => &"waiting",
                    State::Inner { .. } => &"inner",
                },
            )
            .finish_non_exhaustive()
    }
}
