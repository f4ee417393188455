//! The places of a request where a token may be, one function for each.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, SEC_WEBSOCKET_PROTOCOL};

use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::credentials::{Credentials, too_long};
use crate::request::malformed;
use crate::request::scheme::Scheme;
use crate::token::limits::MaxTokenSize;

type Found<'r> = Result<Option<Credentials<'r>>, Rejection>;

/// The token in the `Authorization` header (RFC 9110, section 11.6.2; RFC 6750, section 2.1).
pub(super) fn authorization(headers: &HeaderMap, max_size: MaxTokenSize) -> Found<'_> {
    let mut lines = headers.get_all(AUTHORIZATION).into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(malformed("request has two `Authorization` headers"));
    }
    parse_authorization(line.as_bytes(), max_size)
}

/// The token in the value of an `Authorization` header. `None` if its scheme is not accepted.
pub(crate) fn parse_authorization(value: &[u8], max_size: MaxTokenSize) -> Found<'_> {
    if value.len() > max_size.bytes().saturating_add(SCHEME_ROOM) {
        let kind = RejectionKind::MalformedRequest;
        let length = value.len();
        return Err(too_long(kind, "`Authorization` header", length, max_size));
    }
    let value = bytes::trimmed(value);
    match Scheme::split(value) {
        Some((scheme, token)) if scheme.is_accepted() => {
            Credentials::of_request(scheme, token, max_size).map(Some)
        }
        _ => check_other_scheme(value).map(|()| None),
    }
}

/// The scheme of an `Authorization` header that has one of the known schemes.
pub(super) fn known_scheme(headers: &HeaderMap) -> Option<Scheme> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    Scheme::split(bytes::trimmed(value)).map(|(scheme, _)| scheme)
}

/// Rejects a header that has no scheme.
fn check_other_scheme(value: &[u8]) -> Result<(), Rejection> {
    if std::str::from_utf8(value).is_err() {
        return Err(malformed("`Authorization` header is not ASCII"));
    }
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    if scheme.is_empty() || !bytes::all(scheme, bytes::is_token_character) {
        return Err(malformed(
            "`Authorization` header does not begin with a scheme",
        ));
    }
    // A bare token counts as a token. Otherwise `optional` would let an invalid one pass.
    if scheme.len() == value.len() && looks_like_token(value) {
        return Err(Rejection::because(
            RejectionKind::MissingCredentials,
            "`Authorization` header has a token without the scheme `Bearer` before it",
        ));
    }
    Ok(())
}

/// Whether this word has the parts of a JWT, signed or encrypted, even with other text attached. No
/// scheme has two dots in its name.
fn looks_like_token(word: &[u8]) -> bool {
    memchr::memchr_iter(b'.', word).nth(1).is_some()
}

/// The token in another header. A leading `Bearer` is accepted.
pub(super) fn header<'r>(
    headers: &'r HeaderMap,
    name: &HeaderName,
    max_size: MaxTokenSize,
) -> Found<'r> {
    let mut lines = headers.get_all(name).into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    if lines.next().is_some() {
        return Err(malformed("request has two of the headers with the token"));
    }
    let value = bytes::trimmed(line.as_bytes());
    let token = match Scheme::split(value) {
        Some((Scheme::Bearer, token)) => token,
        _ => value,
    };
    checked(Credentials::bearer(token, max_size)?).map(Some)
}

/// The token in the query (RFC 6750, section 2.3). It may be percent-encoded.
pub(super) fn query(query: &str, max_size: MaxTokenSize) -> Found<'_> {
    let mut found = None;
    for parameter in query.split('&') {
        let Some(value) = token_of_parameter(parameter) else {
            continue;
        };
        if found.is_some() {
            return Err(malformed("query has `access_token` twice"));
        }
        // Decoding turns three characters into one byte.
        let encoded = memchr::memchr_iter(b'%', value.as_bytes()).count();
        let length = value.len().saturating_sub(encoded.saturating_mul(2));
        if length > max_size.bytes() {
            let kind = RejectionKind::MalformedRequest;
            return Err(too_long(kind, "token", length, max_size));
        }
        let value = decode_percent(value)
            .ok_or_else(|| malformed("query has a bad percent encoding in `access_token`"))?;
        let bytes = match value {
            Cow::Borrowed(value) => Cow::Borrowed(value.as_bytes()),
            Cow::Owned(value) => Cow::Owned(value.into_bytes()),
        };
        found = Some(checked(Credentials::bearer(bytes, max_size)?)?);
    }
    Ok(found)
}

/// The value of a query parameter, if its name is `access_token`.
pub(super) fn token_of_parameter(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    // A longer name cannot decode to it.
    let is_short = name.len() <= 3 * PARAMETER.len();
    (is_short && decode_percent(name).as_deref() == Some(PARAMETER)).then_some(value)
}

/// The token in a cookie.
pub(super) fn cookie<'r>(headers: &'r HeaderMap, name: &str, max_size: MaxTokenSize) -> Found<'r> {
    let Some(token) = value_of_only_cookie(headers, name)? else {
        return Ok(None);
    };
    checked(Credentials::bearer(token, max_size)?).map(Some)
}

/// The value of the cookie with a token. Cookies are split as bytes, because the cookie of another
/// application may have any bytes (RFC 6265, section 5.4).
pub(super) fn value_of_only_cookie<'r>(
    headers: &'r HeaderMap,
    name: &str,
) -> Result<Option<&'r [u8]>, Rejection> {
    let lines = headers.get_all(COOKIE).into_iter();
    let mut values = lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| value_of_cookie(pair, name));
    let value = values.next();
    if values.next().is_some() {
        return Err(malformed("request has the token cookie twice"));
    }
    Ok(value)
}

/// The value of a cookie, if it has this name.
pub(super) fn value_of_cookie<'r>(pair: &'r [u8], name: &str) -> Option<&'r [u8]> {
    let (found, value) = bytes::split_once(pair, b'=').unwrap_or((pair, &[]));
    (bytes::trimmed(found) == name.as_bytes()).then(|| bytes::trimmed(value))
}

/// The token in the subprotocol with this prefix.
pub(super) fn subprotocol<'r>(
    headers: &'r HeaderMap,
    prefix: &str,
    max_size: MaxTokenSize,
) -> Found<'r> {
    let mut tokens =
        subprotocols(headers).filter_map(|offered| offered.strip_prefix(prefix.as_bytes()));
    let Some(token) = tokens.next() else {
        return Ok(None);
    };
    if tokens.next().is_some() {
        return Err(malformed("request offers two subprotocols with a token"));
    }
    checked(Credentials::bearer(token, max_size)?).map(Some)
}

/// The subprotocols that a request offers, in one line or several (RFC 6455, section 11.3.4).
pub(super) fn subprotocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).into_iter();
    lines
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(bytes::trimmed)
}

/// Checks the characters at once.
pub(super) fn checked(credentials: Credentials<'_>) -> Result<Credentials<'_>, Rejection> {
    credentials.flaw().map_or(Ok(credentials), Err)
}

pub(super) fn decode_percent(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    decoded.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, rest) = part
            .split_at_checked(2)
            .filter(|(code, _)| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(code, 16).ok()?);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// Name of the query parameter.
const PARAMETER: &str = "access_token";
/// Bytes allowed for the scheme and the spaces around it.
const SCHEME_ROOM: usize = 256;
