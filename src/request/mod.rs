//! Where a request carries its token: in the `Authorization` header and, if configured, in another
//! header, a cookie, a WebSocket subprotocol or the query (RFC 6750, section 2).

mod conceal;
mod credentials;
mod csrf;
mod places;
mod source;

use http::Request;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::token::limits::MaxTokenSize;

pub(crate) use conceal::conceal;
pub(crate) use credentials::Credentials;
pub use csrf::CsrfPolicy;
#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use places::parse_authorization;
pub use source::{TokenCookie, TokenSource, TokenSubprotocol};

/// The only credential of a request; `None` if it has no credential that is understood here.
pub(crate) fn read<'r, B>(
    request: &'r Request<B>,
    source: &TokenSource,
    largest: MaxTokenSize,
) -> Result<Option<Credentials<'r>>, Rejection> {
    let headers = request.headers();
    let authorization = places::authorization(headers, largest)?;
    if source.is_authorization_alone() {
        return Ok(authorization);
    }
    // A malformed token here is reported before other places are read.
    let mut found = authorization.map(places::checked).transpose()?;
    for name in &source.headers {
        found = one_of(found, places::header(headers, name, largest)?)?;
    }
    if let Some(subprotocol) = &source.subprotocol {
        let token = places::subprotocol(headers, &subprotocol.prefix, largest)?;
        if token.is_some() && !subprotocol.csrf.allows(request) {
            return Err(cross_site("token came in a handshake of another origin"));
        }
        found = one_of(found, token)?;
    }
    // Another site can make a browser send a cookie, but none of the tokens above. So the cookie is
    // ignored if there is another token.
    let cookie = source.cookie.as_ref().filter(|_| found.is_none());
    if source.is_query_on {
        let query = request.uri().query().unwrap_or_default();
        found = one_of(found, places::query(query, largest)?)?;
    }
    if let Some(cookie) = cookie {
        let token = places::cookie(headers, &cookie.name, largest)?;
        if token.is_some() && !cookie.csrf.allows(request) {
            return Err(cross_site(
                "token came in a cookie with an unsafe request of another origin",
            ));
        }
        found = one_of(found, token)?;
    }
    Ok(found)
}

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

const BEARER: &[u8] = b"Bearer";
