//! The credential of a request: from the `Authorization` header, and if switched on from a cookie
//! or the query (RFC 6750, section 2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, Request, Uri};

use crate::config_error::ConfigError;
use crate::error::{Rejection, RejectionKind};

/// Where a request may carry its token: the `Authorization` header, always, and more if asked for.
///
/// A request with tokens in two places is refused (RFC 6750, section 2).
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct TokenSource {
    cookie: Option<TokenCookie>,
    is_query_on: bool,
}

impl TokenSource {
    /// The header alone: the default.
    pub fn header() -> Self {
        Self::default()
    }

    /// Also the cookie.
    pub fn or_cookie(mut self, cookie: TokenCookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// Also the query parameter `access_token` ([RFC 6750, section 2.3]).
    ///
    /// # Security
    ///
    /// URLs end up in logs, histories and `Referer` headers, and the token with them. What must
    /// replace the header's safety: tokens that live for seconds, as for a WebSocket or a download
    /// that a browser starts. Successful answers get `Cache-Control: private`.
    ///
    /// [RFC 6750, section 2.3]: https://www.rfc-editor.org/rfc/rfc6750#section-2.3
    pub fn insecure_or_query(mut self) -> Self {
        self.is_query_on = true;
        self
    }

    pub(crate) fn reads_query(&self) -> bool {
        self.is_query_on
    }

    pub(crate) fn reads_cookie(&self) -> bool {
        self.cookie.is_some()
    }
}

/// A cookie that carries the token, with its protection against requests from other sites.
///
/// A browser sends cookies with whatever another site makes it request. Such requests are refused
/// with 403 unless their method is safe: `Sec-Fetch-Site` says where a request comes from, and
/// where a browser does not send it, `Origin` must be that of the `Host`. The `__Host-` or
/// `__Secure-` prefix keeps the cookie off unencrypted connections
/// ([RFC 6265bis, section 4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3)).
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenCookie {
    name: Arc<str>,
    csrf: CsrfPolicy,
}

impl TokenCookie {
    /// The cookie of this name, under this policy.
    ///
    /// # Errors
    ///
    /// [`ConfigError::CookieName`] without one of the two prefixes.
    pub fn new(name: &str, csrf: CsrfPolicy) -> Result<Self, ConfigError> {
        let bare = name
            .strip_prefix("__Host-")
            .or_else(|| name.strip_prefix("__Secure-"))
            .unwrap_or_default();
        if bare.is_empty()
            || !bare
                .bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet))
        {
            return Err(ConfigError::CookieName(name.to_owned()));
        }
        Ok(Self {
            name: name.into(),
            csrf,
        })
    }
}

/// Which sites may make requests that are authorized by a cookie.
#[derive(Clone, Debug)]
#[must_use]
pub struct CsrfPolicy {
    origins: Arc<[String]>,
}

impl CsrfPolicy {
    /// The API's own origin alone.
    pub fn same_origin() -> Self {
        Self {
            origins: Arc::new([]),
        }
    }

    /// Another origin too, such as `https://app.example.com`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Origin`] if it is not of the form `scheme://host[:port]`.
    pub fn and_origin(self, origin: &str) -> Result<Self, ConfigError> {
        let refused = || ConfigError::Origin(origin.to_owned());
        let uri: Uri = origin.parse().map_err(|_| refused())?;
        let is_bare = uri.path() == "/" && uri.query().is_none() && !origin.ends_with('/');
        if uri.scheme().is_none() || uri.authority().is_none() || !is_bare {
            return Err(refused());
        }
        Ok(Self {
            origins: self
                .origins
                .iter()
                .cloned()
                .chain([origin.to_owned()])
                .collect(),
        })
    }

    fn allows(&self, method: &Method, headers: &HeaderMap, uri: &Uri) -> bool {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return true;
        }
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(&ORIGIN);
        if origin.is_some_and(|origin| self.origins.iter().any(|trusted| trusted == origin)) {
            return true;
        }
        if headers.contains_key(&SEC_FETCH_SITE) {
            return matches!(text(&SEC_FETCH_SITE), Some("same-origin" | "none"));
        }
        if !headers.contains_key(ORIGIN) {
            return true; // no browser that could be misled: those send one of the two
        }
        let host = uri
            .authority()
            .map(http::uri::Authority::as_str)
            .or_else(|| text(&HOST));
        let of_origin = origin
            .and_then(|origin| origin.split_once("://"))
            .map(|(_, host)| host);
        host.is_some() && host == of_origin
    }
}

/// What is offered as a token: octets of which nothing is known but that they are not too many.
///
/// Whether they are the characters of a credential is asked when they turn out to be no token:
/// each character of a token is looked at anyway, and most credentials are one.
#[derive(Clone)]
pub(crate) struct Credentials<'r> {
    octets: Cow<'r, [u8]>,
    /// They came with a request, whose grammar they have to keep.
    is_of_request: bool,
}

impl<'r> Credentials<'r> {
    /// A token that did not come with a request.
    pub(crate) fn of_text(token: &'r str) -> Self {
        Self {
            octets: Cow::Borrowed(token.as_bytes()),
            is_of_request: false,
        }
    }

    fn of_request(octets: impl Into<Cow<'r, [u8]>>) -> Result<Self, Rejection> {
        let octets = octets.into();
        if octets.len() > MAX_CREDENTIALS {
            return Err(malformed("token is longer than the limit of 16 KiB"));
        }
        Ok(Self {
            octets,
            is_of_request: true,
        })
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(crate) fn into_owned(self) -> Credentials<'static> {
        Credentials {
            octets: Cow::Owned(self.octets.into_owned()),
            is_of_request: self.is_of_request,
        }
    }

    /// What makes the request malformed, if these are no `token68` (RFC 9110, section 11.2).
    pub(crate) fn flaw(&self) -> Option<Rejection> {
        if !self.is_of_request {
            return None;
        }
        let padding = self.octets.iter().rev().take_while(|octet| **octet == b'=');
        let bare = self.octets.len().saturating_sub(padding.count());
        let bare = self.octets.get(..bare).unwrap_or_default();
        if !bare.is_empty() && are_legal(bare) {
            None
        } else if std::str::from_utf8(&self.octets).is_err() {
            Some(malformed("`Authorization` header is not ASCII"))
        } else {
            Some(malformed("credentials are not one token"))
        }
    }
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The one credential of a request; `None` if it offers none that is understood here.
pub(crate) fn read<'r, B>(
    request: &'r Request<B>,
    source: &TokenSource,
) -> Result<Option<Credentials<'r>>, Rejection> {
    let mut found = from_header(request.headers())?;
    if source.is_query_on || source.cookie.is_some() {
        // A bad token here matters before those in other places are looked at.
        found = found.map(checked).transpose()?;
    }
    let mut also = |token: Option<Credentials<'r>>| match (&found, token) {
        (Some(_), Some(_)) => Err(malformed("request has tokens in two places")),
        (None, token) => {
            found = token;
            Ok(())
        }
        (Some(_), None) => Ok(()),
    };
    if source.is_query_on {
        also(from_query(request.uri().query().unwrap_or_default())?)?;
    }
    if let Some(cookie) = &source.cookie {
        let token = from_cookie(request.headers(), &cookie.name)?;
        if token.is_some()
            && !cookie
                .csrf
                .allows(request.method(), request.headers(), request.uri())
        {
            return Err(Rejection::because(
                RejectionKind::CrossSiteRequest,
                "token came in a cookie with an unsafe request of another origin",
            ));
        }
        also(token)?;
    }
    Ok(found)
}

/// RFC 9110, section 11.6.2, and RFC 6750, section 2.1.
fn from_header(headers: &HeaderMap) -> Result<Option<Credentials<'_>>, Rejection> {
    let mut lines = headers.get_all(AUTHORIZATION).into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(malformed("request has two `Authorization` headers"));
    }
    parse_authorization(line.as_bytes())
}

/// The bearer token in the value of an `Authorization` header; `None` for another scheme.
pub(crate) fn parse_authorization(value: &[u8]) -> Result<Option<Credentials<'_>>, Rejection> {
    if value.len() > MAX_CREDENTIALS.saturating_add(SCHEME_ROOM) {
        return Err(malformed("`Authorization` header is too long"));
    }
    let value = trimmed(value);
    let (scheme, rest) = value.split_at_checked(BEARER.len()).unwrap_or((value, &[]));
    if !scheme.eq_ignore_ascii_case(BEARER) || !matches!(rest, [] | [b' ', ..]) {
        return other_scheme(value).map(|()| None);
    }
    let blank = rest.iter().take_while(|octet| **octet == b' ').count();
    let credentials = Credentials::of_request(rest.get(blank..).unwrap_or_default())?;
    Ok(Some(credentials))
}

fn other_scheme(value: &[u8]) -> Result<(), Rejection> {
    if std::str::from_utf8(value).is_err() {
        return Err(malformed("`Authorization` header is not ASCII"));
    }
    let scheme = value
        .split(|octet| *octet == b' ')
        .next()
        .unwrap_or_default();
    let legal = |octet: &u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet);
    if scheme.is_empty() || !scheme.iter().all(legal) {
        return Err(malformed(
            "`Authorization` header does not begin with a scheme",
        ));
    }
    Ok(())
}

/// Without blanks and tabs at both ends.
fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// RFC 6750, section 2.3. The value may be percent-encoded.
fn from_query(query: &str) -> Result<Option<Credentials<'_>>, Rejection> {
    let mut found = None;
    for (name, value) in query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        if decode_percent(name).as_deref() != Some("access_token") {
            continue;
        }
        if found.is_some() {
            return Err(malformed("query has `access_token` twice"));
        }
        let value = decode_percent(value)
            .ok_or_else(|| malformed("query has a bad percent encoding in `access_token`"))?;
        let octets = match value {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        };
        found = Some(checked(Credentials::of_request(octets)?)?);
    }
    Ok(found)
}

fn from_cookie<'r>(
    headers: &'r HeaderMap,
    name: &str,
) -> Result<Option<Credentials<'r>>, Rejection> {
    let mut found = None;
    for line in headers.get_all(COOKIE) {
        // A line that is no text has no cookie of ours: a token is ASCII.
        let pairs = line.to_str().unwrap_or_default().split(';');
        for (_, value) in pairs
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
        {
            if found.is_some() {
                return Err(malformed("request has the token cookie twice"));
            }
            found = Some(checked(Credentials::of_request(value.as_bytes())?)?);
        }
    }
    Ok(found)
}

/// Asks at once whether they are the characters of a credential.
fn checked(credentials: Credentials<'_>) -> Result<Credentials<'_>, Rejection> {
    credentials.flaw().map_or(Ok(credentials), Err)
}

/// Whether all octets are those of `token68` before its padding.
///
/// Without a way out of the loop within a block, it becomes vector instructions, which need a
/// tenth of the time.
fn are_legal(octets: &[u8]) -> bool {
    let legal = |octet: u8| {
        octet.is_ascii_alphanumeric() || matches!(octet, b'-'..=b'/' | b'_' | b'~' | b'+')
    };
    octets
        .chunks(BLOCK)
        .all(|block| block.iter().fold(true, |all, octet| all & legal(*octet)))
}

fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut octets = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    octets.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, rest) = part
            .split_at_checked(2)
            .filter(|(code, _)| code.bytes().all(|octet| octet.is_ascii_hexdigit()))?;
        octets.push(u8::from_str_radix(code, 16).ok()?);
        octets.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}

fn malformed(reason: &'static str) -> Rejection {
    Rejection::because(RejectionKind::MalformedRequest, reason)
}

/// Octets of a token that are looked at; longer ones are refused by their length.
pub(crate) const MAX_CREDENTIALS: usize = crate::jws::MAX_TOKEN;
const BEARER: &[u8] = b"Bearer";
/// Octets that are looked at before it matters whether one of them was wrong.
const BLOCK: usize = 64;
/// Room for the scheme and the spaces around it.
const SCHEME_ROOM: usize = 256;
/// Where a browser says that a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_of_a_credential_is_looked_at() {
        for octet in 0..=u8::MAX {
            let is_legal = octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
            for (before, after) in [(0, 0), (7, 30), (BLOCK - 1, 1), (BLOCK, 0), (700, 600)] {
                let octets = [vec![b'a'; before], vec![octet], vec![b'z'; after]].concat();
                assert_eq!(are_legal(&octets), is_legal, "{octet} behind {before}");
            }
        }
    }
}
