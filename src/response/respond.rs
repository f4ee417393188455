//! [`RespondTo`]: creates the body of the response to a rejection.

use std::fmt;

use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;

use crate::error::rejection::Rejection;
use crate::response::request_head::RequestHead;

/// Creates the body of the response to a rejection.
///
/// | responder | type of the body |
/// |---|---|
/// | [`EmptyBody`] | any type with `Default` |
/// | [`ProblemDetails`](crate::response::ProblemDetails) | any type with `From<String>` |
/// | a closure | any type with `Default`; responses without content use the default |
/// | [`WithRequest`] with a closure | the same; the closure sees the head of the request |
/// | a pair of closures | any type; the second closure creates an empty body |
///
/// A closure must take both arguments, even if it does not use the second one. Otherwise the compiler
/// reports `closure is expected to take 2 arguments, but it takes 1 argument`, at the layer and not at
/// the closure. Write `|rejection: &Rejection, _: &mut http::response::Parts|`.
///
/// # Example: plain text
///
/// ```
/// use http::header::CONTENT_TYPE;
/// use tower_jwt_auth::Rejection;
///
/// let respond = |rejection: &Rejection, head: &mut http::response::Parts| {
///     head.headers.insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
///     format!("{}\n", rejection.client_text())
/// };
/// # fn check(_: impl tower_jwt_auth::response::RespondTo<String>) {}
/// # check(respond);
/// ```
///
/// # Example: a body type without a default
///
/// ```
/// use http::response::Parts;
/// use tower_jwt_auth::{JwtAuth, Rejection};
/// # use tower_jwt_auth::response::RespondTo;
///
/// enum Body {
///     File(std::fs::File),
///     Text(&'static str),
/// }
///
/// fn with_text(auth: JwtAuth) -> JwtAuth<tower_jwt_auth::NoClaims, impl RespondTo<Body>> {
///     auth.respond_with((
///         |rejection: &Rejection, _: &mut Parts| Body::Text(rejection.client_text()),
///         || Body::Text(""),
///     ))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer with a body of type `{B}`",
    note = "`EmptyBody` needs `{B}: Default`, and `ProblemDetails` needs `{B}: From<String>`",
    note = "a responder of your own is a closure `|rejection: &Rejection, head: &mut http::response::Parts| -> {B}`; where `{B}` has no default, it is a pair of that and a closure `|| -> {B}` that makes an empty body"
)]
pub trait RespondTo<B>: Clone + Send + Sync + 'static {
    /// Whether the responder reads the [`RequestHead`]. If so, the extensions of `head` contain it.
    /// Default: `false`.
    ///
    /// `true` costs one allocation for each request, accepted or rejected.
    const READS_REQUEST: bool = false;

    /// Creates the body for this rejection.
    ///
    /// `head` already has the status, the challenges and `Cache-Control`, and its extensions contain
    /// the [`Rejection`]. A responder may change all of these. It must set `Content-Type` if the body
    /// is not empty.
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B;

    /// Creates an empty body, for a gRPC call or a `HEAD` request. The response to `HEAD` has the
    /// headers that [`respond`](Self::respond) sets.
    fn empty(&self) -> B;
}

impl<B, F> RespondTo<B> for F
where
    B: Default,
    F: Fn(&Rejection, &mut Parts) -> B + Clone + Send + Sync + 'static,
{
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B {
        self(rejection, head)
    }

    fn empty(&self) -> B {
        B::default()
    }
}

#[diagnostic::do_not_recommend]
impl<B, F, E> RespondTo<B> for (F, E)
where
    F: Fn(&Rejection, &mut Parts) -> B + Clone + Send + Sync + 'static,
    E: Fn() -> B + Clone + Send + Sync + 'static,
{
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B {
        self.0(rejection, head)
    }

    fn empty(&self) -> B {
        self.1()
    }
}

/// The response headers of this crate for `Access-Control-Expose-Headers`: `WWW-Authenticate`,
/// `Retry-After` and `DPoP-Nonce`.
///
/// Without that setting, a browser hides these headers from pages of other origins. Pass this list
/// to the CORS layer. For an example, see [the guide](crate::guide::start).
pub const EXPOSED_HEADERS: [HeaderName; 3] = [
    WWW_AUTHENTICATE,
    RETRY_AFTER,
    HeaderName::from_static("dpop-nonce"),
];

/// Responder that creates an empty body. This is the default.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EmptyBody;

#[diagnostic::do_not_recommend]
impl<B: Default> RespondTo<B> for EmptyBody {
    fn respond(&self, _: &Rejection, _: &mut Parts) -> B {
        B::default()
    }

    fn empty(&self) -> B {
        B::default()
    }
}

/// Responder that sees the [`RequestHead`]: a closure with one more argument.
///
/// It costs one allocation for each request, even for accepted requests, because a handler may still
/// reject the request. Other responders do not have this cost.
///
/// The closure returns the body type of the service. With axum this is `axum::body::Body`, for
/// example `format!(..).into()`.
///
/// # Example: the request id in the body
///
/// ```
/// use http::response::Parts;
/// use tower_jwt_auth::response::{RequestHead, WithRequest};
/// use tower_jwt_auth::{JwtAuth, Rejection};
/// # use tower_jwt_auth::response::RespondTo;
///
/// fn with_id(auth: JwtAuth) -> JwtAuth<tower_jwt_auth::NoClaims, impl RespondTo<String>> {
///     auth.respond_with(WithRequest::new(
///         |rejection: &Rejection, request: &RequestHead, _: &mut Parts| {
///             let id = request.request_id().and_then(|id| id.to_str().ok());
///             format!("{} (request {})\n", rejection.client_text(), id.unwrap_or("unknown"))
///         },
///     ))
/// }
/// ```
#[derive(Clone, Copy)]
pub struct WithRequest<F>(F);

impl<F> WithRequest<F> {
    /// Creates a responder from this closure.
    #[must_use]
    pub fn new<B>(respond: F) -> Self
    where
        F: Fn(&Rejection, &RequestHead, &mut Parts) -> B + Clone + Send + Sync + 'static,
    {
        Self(respond)
    }
}

#[diagnostic::do_not_recommend]
impl<B, F> RespondTo<B> for WithRequest<F>
where
    B: Default,
    F: Fn(&Rejection, &RequestHead, &mut Parts) -> B + Clone + Send + Sync + 'static,
{
    const READS_REQUEST: bool = true;

    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B {
        let request = head.extensions.remove::<RequestHead>();
        self.0(rejection, &request.unwrap_or_default(), head)
    }

    fn empty(&self) -> B {
        B::default()
    }
}

impl<F> fmt::Debug for WithRequest<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithRequest").finish_non_exhaustive()
    }
}
