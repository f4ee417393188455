//! What a request presents. The token is in the `Authorization` header or, if configured, in another
//! header, a cookie, a WebSocket subprotocol or the query (RFC 6750, section 2). The certificate of
//! the client comes from the connection, or from a header field of a trusted proxy.

mod certificate;
mod conceal;
mod credentials;
mod csrf;
mod fields;
mod head;
mod peer;
mod places;
mod presented;
mod scheme;
mod source;
mod tls;

use http::Request;
#[cfg(feature = "issue")]
use http::request::Parts;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::token::limits::MaxTokenSize;

#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use certificate::fuzz_client_certificate;
pub use certificate::{CertificateSource, ClientCertificate};
pub(crate) use conceal::conceal;
pub(crate) use credentials::Credentials;
pub use csrf::CsrfPolicy;
use head::Head;
pub use peer::{PeerAddress, TrustedProxies};
use places::known_scheme;
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use places::parse_authorization;
pub(crate) use presented::{Kept, Presented};
pub use source::{TokenCookie, TokenSource, TokenSubprotocol};
pub use tls::{TlsConnection, TlsSource};

/// Reads what a request presents. `None` if it has no token in an accepted place and under an
/// accepted scheme.
pub(crate) fn read<'r, B>(
    request: &'r Request<B>,
    source: &TokenSource,
    max_size: MaxTokenSize,
    certificates: Option<&'r CertificateSource>,
) -> Result<Option<Presented<'r>>, Rejection> {
    let head = Head::of(request);
    let credentials = credentials(head, source, max_size)?;
    Ok(credentials.map(|credentials| Presented::new(credentials, head, certificates)))
}

/// Rejects a request that came over a connection without TLS.
pub(crate) fn require_tls<B>(request: &Request<B>, source: &TlsSource) -> Result<(), Rejection> {
    source.check(&Head::of(request))
}

/// The value of a cookie with a token that is not an access token. The rules for cross-site requests are
/// those for access tokens.
#[cfg(feature = "issue")]
pub(crate) fn value_of_cookie<'r>(
    parts: &'r Parts,
    cookie: &TokenCookie,
) -> Result<Option<&'r str>, Rejection> {
    let Some(value) = places::value_of_only_cookie(&parts.headers, &cookie.name)? else {
        return Ok(None);
    };
    check_site(&Head::of_parts(parts), &cookie.csrf, IN_COOKIE)?;
    let value = std::str::from_utf8(value).map_err(|_| malformed("token is not ASCII"))?;
    Ok(Some(value))
}

/// Rejects a request that another site triggered, whether or not it has a token.
#[cfg(feature = "issue")]
pub(crate) fn require_site(parts: &Parts, csrf: &CsrfPolicy) -> Result<(), Rejection> {
    let reason = "unsafe request came from another origin";
    check_site(&Head::of_parts(parts), csrf, reason)
}

/// The rejection of a request for which [`read`] has found nothing.
pub(crate) fn missing<B>(request: &Request<B>) -> Rejection {
    match known_scheme(request.headers()) {
        Some(scheme) if !scheme.is_accepted() => Rejection::because(
            RejectionKind::MissingCredentials,
            "request has no bearer token: its token has the scheme `DPoP`, and DPoP proofs are not checked here",
        ),
        _ => Rejection::of(RejectionKind::MissingCredentials),
    }
}

/// The credentials of a request. Two tokens are an error.
fn credentials<'r>(
    head: Head<'r>,
    source: &TokenSource,
    max_size: MaxTokenSize,
) -> Result<Option<Credentials<'r>>, Rejection> {
    let headers = head.headers;
    let authorization = places::authorization(headers, max_size)?;
    if source.is_authorization_alone() {
        return Ok(authorization);
    }
    // A malformed token here is reported before other places are read.
    let mut found = authorization.map(places::checked).transpose()?;
    for name in &source.headers {
        found = one_of(found, places::header(headers, name, max_size)?)?;
    }
    if let Some(subprotocol) = &source.subprotocol {
        let token = places::subprotocol(headers, &subprotocol.prefix, max_size)?;
        if token.is_some() && !subprotocol.csrf.allows(&head) {
            return Err(cross_site("token came in a handshake of another origin"));
        }
        found = one_of(found, token)?;
    }
    // Another site can make a browser send a cookie, but not a token in the places above. So the
    // cookie is ignored if there is another token.
    let cookie = source.cookie.as_ref().filter(|_| found.is_none());
    if source.is_query_on {
        let query = head.uri.query().unwrap_or_default();
        found = one_of(found, places::query(query, max_size)?)?;
    }
    if let Some(cookie) = cookie {
        let token = places::cookie(headers, &cookie.name, max_size)?;
        if token.is_some() {
            check_site(&head, &cookie.csrf, IN_COOKIE)?;
        }
        found = one_of(found, token)?;
    }
    Ok(found)
}

/// Rejects a request that another site triggered, if it is not safe.
fn check_site(head: &Head<'_>, csrf: &CsrfPolicy, reason: &'static str) -> Result<(), Rejection> {
    if csrf.allows(head) {
        return Ok(());
    }
    Err(cross_site(reason))
}

const IN_COOKIE: &str = "token came in a cookie with an unsafe request of another origin";

fn one_of<'r>(
    one: Option<Credentials<'r>>,
    other: Option<Credentials<'r>>,
) -> Result<Option<Credentials<'r>>, Rejection> {
    if one.is_some() && other.is_some() {
        return Err(malformed("request has tokens in two places"));
    }
    Ok(one.or(other))
}

fn malformed(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::MalformedRequest, reason)
}

fn cross_site(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::CrossSiteRequest, reason)
}
