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

/// What a request offers as its token; nothing about it is known but its place.
pub(crate) struct Credentials<'r>(Cow<'r, [u8]>);

impl Credentials<'_> {
    pub(crate) fn octets(&self) -> &[u8] {
        &self.0
    }

    /// The text, once its characters are checked: a token that was accepted before needs no check.
    pub(crate) fn token(&self) -> Result<&str, Rejection> {
        checked(ascii(&self.0)?)
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
    let mut found = from_header(request.headers())?.map(Cow::Borrowed);
    let mut also = |token: Option<Cow<'r, [u8]>>| match (&found, token) {
        (Some(_), Some(_)) => Err(malformed("request has tokens in two places")),
        (None, token) => {
            found = token;
            Ok(())
        }
        (Some(_), None) => Ok(()),
    };
    if source.is_query_on {
        let token = from_query(request.uri().query().unwrap_or_default())?;
        also(token.map(|token| match token {
            Cow::Borrowed(token) => Cow::Borrowed(token.as_bytes()),
            Cow::Owned(token) => Cow::Owned(token.into_bytes()),
        }))?;
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
        also(token.map(|token| Cow::Borrowed(token.as_bytes())))?;
    }
    Ok(found.map(Credentials))
}

/// RFC 9110, section 11.6.2, and RFC 6750, section 2.1.
fn from_header(headers: &HeaderMap) -> Result<Option<&[u8]>, Rejection> {
    let mut lines = headers.get_all(AUTHORIZATION).into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(malformed("request has two `Authorization` headers"));
    }
    let value = line.as_bytes();
    match value.strip_prefix(b"Bearer ") {
        // The usual spelling, whose characters can wait.
        Some(rest) if value.len() <= MAX_VALUE => Ok(Some(trimmed(rest))),
        _ => Ok(parse_authorization(value)?.map(str::as_bytes)),
    }
}

/// Without the spaces in front, and the white space behind.
fn trimmed(mut rest: &[u8]) -> &[u8] {
    while let [b' ', after @ ..] = rest {
        rest = after;
    }
    while let [before @ .., b' ' | b'\t'] = rest {
        rest = before;
    }
    rest
}

fn ascii(value: &[u8]) -> Result<&str, Rejection> {
    std::str::from_utf8(value).map_err(|_| malformed("`Authorization` header is not ASCII"))
}

/// The bearer token in the value of an `Authorization` header; `None` for another scheme.
pub(crate) fn parse_authorization(value: &[u8]) -> Result<Option<&str>, Rejection> {
    if value.len() > MAX_VALUE {
        return Err(malformed("`Authorization` header is too long"));
    }
    let value = ascii(value)?.trim_matches([' ', '\t']);
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let is_token = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet));
    if !is_token {
        return Err(malformed(
            "`Authorization` header does not begin with a scheme",
        ));
    }
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Ok(None);
    }
    checked(rest.trim_start_matches(' ')).map(Some)
}

/// RFC 6750, section 2.3. The value may be percent-encoded.
fn from_query(query: &str) -> Result<Option<Cow<'_, str>>, Rejection> {
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
        checked(&value)?;
        found = Some(value);
    }
    Ok(found)
}

fn from_cookie<'r>(headers: &'r HeaderMap, name: &str) -> Result<Option<&'r str>, Rejection> {
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
            found = Some(checked(value)?);
        }
    }
    Ok(found)
}

/// `token68` (RFC 9110, section 11.2) within the limit.
fn checked(token: &str) -> Result<&str, Rejection> {
    if token.len() > MAX_CREDENTIALS {
        return Err(malformed("token is longer than the limit of 16 KiB"));
    }
    let bare = token.trim_end_matches('=');
    if bare.is_empty() || !are_legal(bare.as_bytes()) {
        return Err(malformed("credentials are not one token"));
    }
    Ok(token)
}

/// Whether all octets are those of `token68` before its padding.
///
/// Without a way out of the loop within a block, it becomes vector instructions: a tenth of the
/// time that looking at one octet after the other takes.
fn are_legal(octets: &[u8]) -> bool {
    let legal = |octet: u8| {
        let letter = octet | 0x20;
        letter.wrapping_sub(b'a') < 26
            // `-./` and the digits stand together.
            || octet.wrapping_sub(b'-') < 13
            || octet == b'_'
            || octet == b'~'
            || octet == b'+'
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
/// Octets that are looked at before it matters whether one of them was wrong.
const BLOCK: usize = 256;
/// Room for the scheme and the spaces around it.
const SCHEME_ROOM: usize = 256;
/// Octets of the value of an `Authorization` header at most.
const MAX_VALUE: usize = MAX_CREDENTIALS + SCHEME_ROOM;
/// Where a browser says that a request comes from (Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_of_a_token_is_looked_at() {
        for octet in 0..=u8::MAX {
            let is_legal = octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet);
            for (before, after) in [(0, 0), (7, 30), (BLOCK - 1, 1), (BLOCK, 0), (700, 600)] {
                let octets = [vec![b'a'; before], vec![octet], vec![b'z'; after]].concat();
                assert_eq!(are_legal(&octets), is_legal, "{octet} behind {before}");
            }
        }
    }
}
