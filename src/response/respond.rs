//! [`RespondTo`]: what makes the body of a rejection.

use std::fmt;

use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;

use crate::error::rejection::Rejection;
use crate::response::request_head::RequestHead;

/// Makes the body of the response to a rejection.
///
/// | responder | body of a response |
/// |---|---|
/// | [`EmptyBody`] | any type with a default |
/// | [`ProblemDetails`](crate::response::ProblemDetails) | any type that is made from a `String` |
/// | a closure | any type with a default, for the answers without content |
/// | [`WithRequest`] of a closure | the same, and the closure sees the head of the request |
/// | a pair of closures | any type: the second one makes an empty body |
///
/// # Example: a sentence
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
/// # Example: a service whose body has no default
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
    /// Whether the responder reads the [`RequestHead`], which is then in the extensions of `head`.
    /// Keeping it costs an allocation for each request, an accepted one too. Default: `false`.
    const READS_REQUEST: bool = false;

    /// The body for this rejection.
    ///
    /// Status, challenges and `Cache-Control` are in `head` already, and the [`Rejection`] is in
    /// its extensions. A responder may change them, and has to name the type of its content.
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B;

    /// A body without content: for a gRPC call, and for a `HEAD` request, whose response has the
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

/// Response headers of this crate that a browser shows to a page of another origin only if
/// `Access-Control-Expose-Headers` names them: `WWW-Authenticate`, `Retry-After` and `DPoP-Nonce`.
///
/// Give them to the CORS layer. [The guide](crate::guide::start) has an example.
pub const EXPOSED_HEADERS: [HeaderName; 3] = [
    WWW_AUTHENTICATE,
    RETRY_AFTER,
    HeaderName::from_static("dpop-nonce"),
];

/// No body: the default. Status and challenge say everything.
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

/// A responder that sees the [`RequestHead`]: a closure with one argument more.
///
/// Keeping the head costs an allocation for each request, an accepted one too, because a handler may
/// reject it later. Other responders do not have this cost.
///
/// # Example: the id of the request in the body
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
    /// A responder that is this closure.
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
