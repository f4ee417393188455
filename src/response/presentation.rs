//! The response to a rejection in HTTP and in gRPC, without the body.

use std::fmt;
use std::fmt::Write as _;
use std::sync::OnceLock;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::error::kinds::{GrpcCode, RejectionKind, Row};
use crate::error::rejection::Rejection;
use crate::response::challenge::Challenge;
use crate::response::exchange::{Exchange, Maps};
use crate::response::request_head::RequestHead;
use crate::response::respond::RespondTo;

/// The settings for responses to rejections, without the responder that creates the body.
#[derive(Clone, Default)]
pub(crate) struct Presentation {
    challenge: Challenge,
    pub(crate) hides_forbidden: bool,
    ready: Ready,
}

/// Prints the settings and not the headers that were created from them.
impl fmt::Debug for Presentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presentation")
            .field("challenge", &self.challenge)
            .field("hides_forbidden", &self.hides_forbidden)
            .finish_non_exhaustive()
    }
}

/// The headers for each kind of rejection whose headers are always the same. They are created when
/// they are first needed.
struct Ready([OnceLock<HeaderMap>; KINDS]);

impl Ready {
    /// The place for the headers of this kind. `None` if the headers depend on the rejection.
    fn of(&self, kind: RejectionKind) -> Option<&OnceLock<HeaderMap>> {
        if !is_ready(kind) {
            return None;
        }
        let at = RejectionKind::ALL.iter().position(|known| *known == kind);
        at.and_then(|at| self.0.get(at))
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self([const { OnceLock::new() }; KINDS])
    }
}

/// Whether the headers of this kind of rejection are always the same. The other kinds name scopes
/// (403), can be hidden (403), or have no challenge (500 and 503).
fn is_ready(kind: RejectionKind) -> bool {
    matches!(kind.row().status.as_u16(), 400 | 401)
}

/// A clone starts empty, because its challenge may be changed.
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

    /// Creates the headers that are always the same, so that no request has to.
    pub(crate) fn prepare(&self) {
        for kind in RejectionKind::ALL.iter().filter(|kind| is_ready(**kind)) {
            let _ = self.ready(&Rejection::of(*kind));
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
        let body = match exchange.grpc_type() {
            Some(content_type) => {
                self.grpc_head(rejection, content_type, &mut head);
                responder.empty()
            }
            None => {
                self.http_head(rejection, &mut head);
                if let Some(request) = exchange.request() {
                    head.extensions.insert(request.clone());
                }
                let full = responder.respond(rejection, &mut head);
                head.extensions.remove::<RequestHead>();
                // A response to HEAD has the same fields and no content (RFC 9110, section 9.3.2).
                if exchange.is_head() {
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
        if let Some(pause) = rejection.retry_after() {
            // Whole seconds, rounded up: a client that comes too early gets another 503.
            let seconds = pause.as_millis().div_ceil(1_000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            head.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
    }

    /// The headers of the rejection, if they are always the same for its kind.
    fn ready(&self, rejection: &Rejection) -> Option<&HeaderMap> {
        let ready = self.ready.of(rejection.kind())?;
        Some(ready.get_or_init(|| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, NO_STORE);
            self.challenges(rejection, &mut headers);
            headers
        }))
    }

    /// A trailers-only response. The HTTP status is always 200: clients map any other status to a gRPC
    /// status with a table that is meant for proxies.
    fn grpc_head(&self, rejection: &Rejection, content_type: &HeaderValue, head: &mut Parts) {
        let &Row { grpc, text, .. } = rejection.kind().row();
        head.headers.insert(CONTENT_TYPE, content_type.clone());
        // By default no cache stores the response to a POST. A proxy may be configured to do so.
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

impl Rejection {
    /// The `Bearer` challenge of a response to this rejection, with the realm `api`. `None` if the
    /// response has no challenge (500 and 503).
    #[must_use]
    pub fn challenge(&self) -> Option<HeaderValue> {
        Challenge::default().lines(self).next()
    }

    /// The number of the gRPC status that the client gets: 7, 13, 14 or 16.
    #[must_use]
    pub fn grpc_code(&self) -> u16 {
        self.kind().row().grpc.number()
    }
}

/// The encoding of `grpc-message`: every byte is percent-encoded, except printable ASCII other than
/// `%`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            match byte {
                b'%' | ..b' ' | b'\x7f'.. => {
                    // Writing to a string does not fail.
                    let _ = write!(out, "%{byte:02X}");
                }
                _ => out.push(char::from(byte)),
            }
            out
        })
}

const KINDS: usize = RejectionKind::ALL.len();
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
pub(super) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_NOT_FOUND: HeaderValue = HeaderValue::from_static("5");

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::response::respond::EmptyBody;

    /// One rejection of every kind.
    pub(crate) fn every_kind() -> impl Iterator<Item = Rejection> {
        RejectionKind::ALL.iter().copied().map(Rejection::of)
    }

    /// The stored headers equal those that would be created, at the first and the second use, and
    /// after a change of the challenge.
    #[test]
    fn headers_that_are_ready_are_those_of_the_kind() {
        let exchange = Exchange::default();
        let mut presentation = Presentation::default();
        for realm in ["api", "calendar"] {
            presentation.set_challenge(Challenge::new(realm).unwrap());
            for rejection in every_kind().chain(every_kind()) {
                let response =
                    presentation.response::<()>(&rejection, &exchange, Maps::default(), &EmptyBody);
                let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter().cloned();
                let expected: Vec<_> = presentation.challenge.lines(&rejection).collect();
                assert_eq!(challenges.collect::<Vec<_>>(), expected, "{rejection:?}");
                assert_eq!(response.status(), rejection.status());
                assert_eq!(response.headers()[CACHE_CONTROL], NO_STORE);
            }
        }
        let ready = presentation
            .ready
            .0
            .iter()
            .filter(|ready| ready.get().is_some());
        assert_eq!(
            ready.count(),
            every_kind().filter(|one| is_ready(one.kind())).count()
        );
    }

    #[test]
    fn grpc_4_messages_are_percent_encoded() {
        assert_eq!(percent_encode("100 % é\n~"), "100 %25 %C3%A9%0A~");
    }
}
