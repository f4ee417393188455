//! [`Presented`]: what a caller presents to show that a request is allowed.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::request::certificate::{CertificateSource, ClientCertificate, Reading};
use crate::request::credentials::Credentials;
use crate::request::head::Head;
use crate::request::scheme::Scheme;

/// What a caller presents: the credentials, and the head of the request, which may contain a proof
/// of possession. It is read once and borrows from the request.
pub(crate) struct Presented<'r> {
    credentials: Credentials<'r>,
    /// `None` for a token that did not come with a request.
    head: Option<Head<'r>>,
    /// Where the certificate of the client is, if that is known.
    certificates: Option<&'r CertificateSource>,
    certificate: Reading,
}

/// What a caller presented, kept while the verification waits: the credentials, and the parts of
/// the head that are needed to check a proof.
pub(crate) struct Kept {
    credentials: Credentials<'static>,
    head: Option<(Method, Uri, HeaderMap, Extensions)>,
    certificates: Option<CertificateSource>,
    certificate: Reading,
}

impl<'r> Presented<'r> {
    /// A token that did not come with a request.
    pub(crate) fn of_text(token: &'r str) -> Self {
        Self {
            credentials: Credentials::of_text(token),
            head: None,
            certificates: None,
            certificate: Reading::default(),
        }
    }

    pub(super) fn new(
        credentials: Credentials<'r>,
        head: Head<'r>,
        certificates: Option<&'r CertificateSource>,
    ) -> Self {
        Self {
            credentials,
            head: Some(head),
            certificates,
            certificate: Reading::default(),
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

    /// The certificate of the client, or the reason why there is none, and its source. `None` if
    /// there is no request or no source.
    pub(crate) fn certificate(
        &self,
    ) -> Option<(
        Result<ClientCertificate, &'static str>,
        &'r CertificateSource,
    )> {
        let (head, source) = (self.head?, self.certificates?);
        Some((self.certificate.of(source, &head), source))
    }

    /// Copies what later checks need.
    pub(crate) fn keep(self) -> Kept {
        let proofs = self.proofs().cloned();
        let headers = proofs.map(|proof| (HeaderName::from_static(PROOF), proof));
        let mut headers = headers.collect();
        let mut extensions = Extensions::new();
        if let (Some(head), Some(source)) = (&self.head, self.certificates) {
            self.certificate
                .keep(source, head, &mut headers, &mut extensions);
        }
        Kept {
            credentials: self.credentials.into_owned(),
            head: self
                .head
                .map(|head| (head.method.clone(), head.uri.clone(), headers, extensions)),
            certificates: self.certificates.cloned(),
            certificate: self.certificate,
        }
    }
}

impl Kept {
    pub(crate) fn presented(&self) -> Presented<'_> {
        let head = self.head.as_ref();
        Presented {
            credentials: self.credentials.borrowed(),
            head: head.map(|(method, uri, headers, extensions)| Head {
                method,
                uri,
                headers,
                extensions,
            }),
            certificates: self.certificates.as_ref(),
            certificate: self.certificate.clone(),
        }
    }
}

/// Name of the field with a DPoP proof.
const PROOF: &str = "dpop";

#[cfg(test)]
mod tests {
    use http::Request;

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
            let read = request::read(&request, &source, MaxTokenSize::default(), None);
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
