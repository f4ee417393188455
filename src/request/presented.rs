//! [`Presented`]: what a caller presents to show that a request is allowed.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use crate::request::credentials::Credentials;
use crate::request::scheme::Scheme;

/// What a caller presents: the credentials, and the head of the request, in which a proof of
/// possession may be. It is read once and borrows from the request.
pub(crate) struct Presented<'r> {
    credentials: Credentials<'r>,
    /// `None` for a token that did not come with a request.
    head: Option<Head<'r>>,
}

/// The head of a request.
#[derive(Clone, Copy)]
pub(crate) struct Head<'r> {
    pub(super) method: &'r Method,
    pub(super) uri: &'r Uri,
    pub(super) headers: &'r HeaderMap,
}

/// What a caller presented, for the time that the verification waits: the credentials, and the
/// parts of the head that a proof is checked with.
pub(crate) struct Kept {
    credentials: Credentials<'static>,
    head: Option<(Method, Uri, HeaderMap)>,
}

impl<'r> Presented<'r> {
    /// A token that did not come with a request.
    pub(crate) fn of_text(token: &'r str) -> Self {
        Self {
            credentials: Credentials::of_text(token),
            head: None,
        }
    }

    pub(super) fn new(credentials: Credentials<'r>, head: Head<'r>) -> Self {
        Self {
            credentials,
            head: Some(head),
        }
    }

    pub(crate) fn credentials(&self) -> &Credentials<'r> {
        &self.credentials
    }

    /// The bytes of the token.
    pub(crate) fn token(&self) -> &[u8] {
        self.credentials.bytes()
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.credentials.scheme()
    }

    pub(crate) fn is_of_request(&self) -> bool {
        self.head.is_some()
    }

    /// The fields with DPoP proofs (RFC 9449, section 7.1).
    pub(crate) fn proofs(&self) -> impl Iterator<Item = &'r HeaderValue> {
        let head = self.head.into_iter();
        head.flat_map(|head| head.headers.get_all(PROOF))
    }

    /// Copies what later checks need.
    pub(crate) fn keep(self) -> Kept {
        let proofs = self.proofs().cloned();
        let headers = proofs.map(|proof| (HeaderName::from_static(PROOF), proof));
        let headers = headers.collect();
        Kept {
            credentials: self.credentials.into_owned(),
            head: self
                .head
                .map(|head| (head.method.clone(), head.uri.clone(), headers)),
        }
    }
}

impl<'r> Head<'r> {
    pub(super) fn of<B>(request: &'r Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        }
    }
}

impl Kept {
    pub(crate) fn presented(&self) -> Presented<'_> {
        let head = self.head.as_ref();
        Presented {
            credentials: self.credentials.borrowed(),
            head: head.map(|(method, uri, headers)| Head {
                method,
                uri,
                headers,
            }),
        }
    }
}

/// Name of the field with a DPoP proof.
const PROOF: &str = "dpop";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{self, TokenSource};
    use crate::token::limits::MaxTokenSize;

    #[test]
    fn what_is_kept_is_what_was_presented() {
        for proofs in [&[][..], &["first"], &["first", "second"]] {
            let mut request = Request::post("/events?at=1")
                .header("authorization", "bEARER abc")
                .header("cookie", "other=1")
                .body(())
                .unwrap();
            for proof in proofs {
                let proof = HeaderValue::from_static(proof);
                request.headers_mut().append(PROOF, proof);
            }
            let source = TokenSource::header();
            let read = request::read(&request, &source, MaxTokenSize::default());
            let kept = read.unwrap().unwrap().keep();
            drop(request);

            let presented = kept.presented();
            assert_eq!(presented.token(), b"abc");
            assert_eq!(presented.scheme(), Scheme::Bearer);
            assert_eq!(presented.proofs().collect::<Vec<_>>(), proofs);
            let head = presented.head.unwrap();
            assert_eq!((head.method, head.uri.path()), (&Method::POST, "/events"));
            assert!(!head.headers.contains_key("cookie"));
        }
    }

    #[test]
    fn a_text_has_no_request() {
        let kept = Presented::of_text("abc").keep();
        let presented = kept.presented();
        assert_eq!(presented.token(), b"abc");
        assert!(!presented.is_of_request());
        assert_eq!(presented.proofs().count(), 0);
    }
}
