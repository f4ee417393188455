//! A rejection as a response: HTTP, or gRPC where the request is gRPC.

use std::fmt::Write as _;
use std::sync::OnceLock;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::response::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::error::kinds::{GrpcCode, RejectionKind, Row};
use crate::error::rejection::Rejection;
use crate::response::challenge::Challenge;

/// Makes the body of the response to a rejection.
///
/// | responder | body of a response |
/// |---|---|
/// | [`EmptyBody`] | any type with a default |
/// | [`ProblemDetails`] | any type that is made from a `String` |
/// | a closure | any type with a default, for the answers without content |
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

/// A body of `application/problem+json` ([RFC 9457]) with `type`, `title`, `status`, `detail` (the
/// sentence for the client) and, as in the challenge, `error` and `scope`.
///
/// The `type` is `about:blank`, or [`ProblemDetails::with_base`] and the name of the kind of
/// rejection as [the client may know it](Self::with_base).
///
/// [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457
#[derive(Clone, Debug, Default)]
pub struct ProblemDetails {
    base: Option<&'static str>,
}

impl ProblemDetails {
    /// Problems of type `about:blank`.
    #[must_use]
    pub const fn new() -> Self {
        Self { base: None }
    }

    /// Problems whose `type` is this URI, followed by the OAuth error code (`invalid_token`,
    /// `insufficient_scope`, `invalid_request`), or `authentication_required`, `forbidden`,
    /// `not_found` or `temporarily_unavailable` where there is none.
    #[must_use]
    pub const fn with_base(base: &'static str) -> Self {
        Self { base: Some(base) }
    }
}

#[diagnostic::do_not_recommend]
impl<B: From<String>> RespondTo<B> for ProblemDetails {
    fn respond(&self, rejection: &Rejection, head: &mut Parts) -> B {
        head.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        let code = rejection
            .oauth_error()
            .filter(|_| head.status != StatusCode::NOT_FOUND);
        let name = code.unwrap_or(match head.status.as_u16() {
            401 => "authentication_required",
            403 => "forbidden",
            404 => "not_found",
            503 => "temporarily_unavailable",
            _ => "error",
        });
        let kind = self
            .base
            .map_or_else(|| "about:blank".into(), |base| format!("{base}{name}"));
        let mut problem = serde_json::Map::new();
        problem.insert("type".into(), kind.into());
        // One title for each type, and for `about:blank` that of the status.
        problem.insert("title".into(), head.status.canonical_reason().into());
        problem.insert("status".into(), head.status.as_u16().into());
        if head.status != StatusCode::NOT_FOUND {
            problem.insert("detail".into(), rejection.client_text().into());
        }
        if let Some(code) = code {
            problem.insert("error".into(), code.into());
            if !rejection.required_scopes().is_empty() {
                problem.insert("scope".into(), rejection.required_scopes().join(" ").into());
            }
        }
        serde_json::Value::Object(problem).to_string().into()
    }

    fn empty(&self) -> B {
        String::new().into()
    }
}

/// What a request expects of its response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    /// The content type to answer with, if the request is gRPC.
    grpc: Option<Box<HeaderValue>>,
    is_head: bool,
}

impl Exchange {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self {
            // A call is a POST: a response to another method may be kept by caches and shown by
            // browsers, and has to be one of HTTP.
            grpc: (request.method() == Method::POST)
                .then(|| grpc_type(request.headers()).map(Box::new))
                .flatten(),
            is_head: request.method() == Method::HEAD,
        }
    }

    /// A call of gRPC.
    pub(crate) fn grpc() -> Self {
        Self {
            grpc: Some(Box::new(HeaderValue::from_static("application/grpc"))),
            is_head: false,
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc.is_some()
    }
}

/// The maps of a response, empty. Those of a request that goes no further have room already.
#[derive(Default)]
pub(crate) struct Maps {
    headers: HeaderMap,
    extensions: Extensions,
}

impl Maps {
    pub(crate) fn of<B>(request: Request<B>) -> Self {
        let (head, _) = request.into_parts();
        let (mut headers, mut extensions) = (head.headers, head.extensions);
        headers.clear();
        extensions.clear();
        Self {
            headers,
            extensions,
        }
    }
}

/// The content type of a gRPC request: `application/grpc` and `application/grpc-web`, alone or
/// with a format behind `+`, or parameters behind `;`.
fn grpc_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(CONTENT_TYPE)?;
    let rest = value.to_str().ok()?.strip_prefix("application/grpc")?;
    let rest = rest
        .strip_prefix("-web-text")
        .or_else(|| rest.strip_prefix("-web"))
        .unwrap_or(rest);
    (rest.is_empty() || rest.starts_with(['+', ';'])).then(|| value.clone())
}

/// How a rejection is dressed: everything but the body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presentation {
    challenge: Challenge,
    pub(crate) hides_forbidden: bool,
    ready: Ready,
}

/// The headers of refusals that are the same each time, made when they are needed first.
#[derive(Debug, Default)]
struct Ready([OnceLock<HeaderMap>; READY]);

impl Ready {
    /// The place of a kind of rejection. Kinds that look alike to a client share one.
    fn of(&self, kind: RejectionKind) -> Option<&OnceLock<HeaderMap>> {
        let &Row { status, text, .. } = kind.row();
        let alike = match status.as_u16() {
            400 => 0,
            401 => ALIKE
                .iter()
                .position(|one| one.row().text == text)?
                .saturating_add(1),
            _ => return None,
        };
        self.0.get(alike)
    }
}

/// A copy may be given another challenge.
impl Clone for Ready {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Presentation {
    pub(crate) fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    pub(crate) fn set_challenge(&mut self, challenge: Challenge) {
        self.challenge = challenge;
        self.ready = Ready::default();
    }

    /// Makes the headers that are the same each time.
    pub(crate) fn prepare(&self) {
        let kinds = ALIKE.into_iter().chain([RejectionKind::MalformedRequest]);
        for rejection in kinds.map(Rejection::of) {
            let _ = self.ready(&rejection);
        }
    }

    /// The response to a rejection.
    pub(crate) fn response<B>(
        &self,
        rejection: &Rejection,
        exchange: &Exchange,
        maps: Maps,
        responder: &impl RespondTo<B>,
    ) -> Response<B> {
        let (mut head, ()) = Response::new(()).into_parts();
        (head.headers, head.extensions) = (maps.headers, maps.extensions);
        head.extensions.insert(rejection.clone());
        let body = match &exchange.grpc {
            Some(content_type) => {
                self.grpc_head(rejection, content_type, &mut head);
                responder.empty()
            }
            None => {
                self.http_head(rejection, &mut head);
                let full = responder.respond(rejection, &mut head);
                // To HEAD the same fields, and no content (RFC 9110, section 9.3.2).
                if exchange.is_head {
                    responder.empty()
                } else {
                    full
                }
            }
        };
        Response::from_parts(head, body)
    }

    fn http_head(&self, rejection: &Rejection, head: &mut Parts) {
        let &Row { status, .. } = rejection.kind().row();
        if let Some(ready) = self.ready(rejection) {
            head.status = status;
            if head.headers.capacity() == 0 {
                head.headers = ready.clone();
            } else {
                for (name, value) in ready {
                    head.headers.append(name, value.clone());
                }
            }
            return;
        }
        head.headers.insert(CACHE_CONTROL, NO_STORE);
        if self.hides_forbidden && status == StatusCode::FORBIDDEN {
            head.status = StatusCode::NOT_FOUND;
            return;
        }
        head.status = status;
        self.challenges(rejection, &mut head.headers);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            head.headers
                .insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
    }

    /// The headers of a rejection that are the same each time.
    fn ready(&self, rejection: &Rejection) -> Option<&HeaderMap> {
        let ready = self.ready.of(rejection.kind())?;
        Some(ready.get_or_init(|| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, NO_STORE);
            self.challenges(rejection, &mut headers);
            headers
        }))
    }

    /// A trailers-only response. Never another HTTP status than 200: clients would translate it
    /// by a table that is not meant for servers.
    fn grpc_head(&self, rejection: &Rejection, content_type: &HeaderValue, head: &mut Parts) {
        let &Row { grpc, text, .. } = rejection.kind().row();
        head.headers.insert(CONTENT_TYPE, content_type.clone());
        // No cache keeps the response to a POST unless it is told to. A proxy may be told so.
        head.headers.insert(CACHE_CONTROL, NO_STORE);
        if self.hides_forbidden && grpc == GrpcCode::PermissionDenied {
            head.headers.insert(GRPC_STATUS, GRPC_NOT_FOUND);
            return;
        }
        head.headers
            .insert(GRPC_STATUS, HeaderValue::from(grpc.number()));
        if let Ok(message) = HeaderValue::try_from(percent_encode(text)) {
            head.headers.insert(GRPC_MESSAGE, message);
        }
        self.challenges(rejection, &mut head.headers);
    }

    fn challenges(&self, rejection: &Rejection, headers: &mut HeaderMap) {
        for line in self.challenge.lines(rejection) {
            headers.append(WWW_AUTHENTICATE, line);
        }
    }
}

/// A response that was made from this rejection without the settings of the layer: by an
/// extractor, or a guard on a route. The layer outside makes it anew.
#[derive(Clone, Debug)]
pub(crate) struct Provisional(pub(crate) Rejection);

impl Provisional {
    pub(crate) fn response<B: Default>(rejection: Rejection, exchange: &Exchange) -> Response<B> {
        let mut response =
            Presentation::default().response(&rejection, exchange, Maps::default(), &EmptyBody);
        response.extensions_mut().insert(Self(rejection));
        response
    }

    /// Takes what [`response`](Self::response) has made of a rejection out of a response, and
    /// leaves what others have added since.
    pub(crate) fn take<B>(response: &mut Response<B>) -> Option<Rejection> {
        let Self(rejection) = response.extensions_mut().remove()?;
        // The length is what a router between has made of the empty body.
        let ours = [
            WWW_AUTHENTICATE,
            CACHE_CONTROL,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            RETRY_AFTER,
        ];
        for name in ours.iter().chain([&GRPC_STATUS, &GRPC_MESSAGE]) {
            response.headers_mut().remove(name);
        }
        Some(rejection)
    }
}

impl Rejection {
    /// The `Bearer` challenge of a response to this rejection, with the realm `api`; `None` where
    /// authentication is not the matter (500 and 503).
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        Challenge::default().lines(self).next()
    }

    /// The number of the gRPC status that a client gets: 7, 13, 14 or 16.
    #[must_use]
    pub fn grpc_code(&self) -> u16 {
        self.kind().row().grpc.number()
    }
}

/// The response to a request that no layer looked at.
pub(crate) fn missing_layer() -> Rejection {
    Rejection::of(RejectionKind::MissingLayer)
}

/// The encoding of `grpc-message`: printable ASCII but the percent sign stands for itself.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, octet| {
            match octet {
                b'%' | ..b' ' | b'\x7f'.. => {
                    // Writing to a string does not fail.
                    let _ = write!(out, "%{octet:02X}");
                }
                _ => out.push(char::from(octet)),
            }
            out
        })
}

/// One kind for each sentence that comes with 401.
const ALIKE: [RejectionKind; 5] = [
    RejectionKind::MissingCredentials,
    RejectionKind::MalformedToken,
    RejectionKind::Expired,
    RejectionKind::NotYetValid,
    RejectionKind::Revoked,
];
/// Those, and 400.
const READY: usize = ALIKE.len() + 1;
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_NOT_FOUND: HeaderValue = HeaderValue::from_static("5");
/// When to come back after 503.
const RETRY_AFTER_SECONDS: &str = "5";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// One rejection of every kind.
    pub(crate) fn every_kind() -> impl Iterator<Item = Rejection> {
        RejectionKind::ALL.iter().copied().map(Rejection::of)
    }

    /// What is kept ready is what would be made: for each kind, twice, and after a change.
    #[test]
    fn headers_that_are_ready_are_those_of_the_kind() {
        let exchange = Exchange::default();
        let mut dress = Presentation::default();
        for realm in ["api", "calendar"] {
            dress.set_challenge(Challenge::new(realm).unwrap());
            for rejection in every_kind().chain(every_kind()) {
                let response =
                    dress.response::<()>(&rejection, &exchange, Maps::default(), &EmptyBody);
                let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().cloned();
                let expected: Vec<_> = dress.challenge.lines(&rejection).collect();
                assert_eq!(challenges.collect::<Vec<_>>(), expected, "{rejection:?}");
                assert_eq!(response.status(), rejection.status());
                assert_eq!(response.headers()[CACHE_CONTROL], NO_STORE);
            }
        }
        let ready = dress.ready.0.iter().filter(|ready| ready.get().is_some());
        assert_eq!(ready.count(), READY);
    }

    #[test]
    fn grpc_4_messages_are_percent_encoded() {
        assert_eq!(percent_encode("100 % é\n~"), "100 %25 %C3%A9%0A~");
    }

    #[test]
    fn grpc_1_content_types_are_told_apart() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            grpc_type(&headers).is_some()
        };
        for value in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text",
        ] {
            assert!(of(value), "{value}");
        }
        for value in [
            "application/grpcfoo",
            "application/grpc-webby",
            "text/plain",
            "grpc",
        ] {
            assert!(!of(value), "{value}");
        }
    }
}
