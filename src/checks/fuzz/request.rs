//! The credentials of a request.

use http::Request;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};

use crate::checks::fuzz::readers::{is_token68, percent_decoded, rejected};
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request;
use crate::request::{Credentials, CsrfPolicy, TokenCookie, TokenSource};
use crate::token::limits::MaxTokenSize;

/// The result of a second reader for one place of a request.
#[derive(Debug, PartialEq)]
enum Found {
    Nothing,
    Token(Vec<u8>),
    /// Phrases of the reasons to reject it, all of which apply.
    Faults(Vec<&'static str>),
}

/// The value of an `Authorization` header.
pub fn authorization(value: &[u8]) {
    let read = request::parse_authorization(value, MaxTokenSize::default());
    confirm(read.and_then(checked), in_authorization(value));
}

/// A request, one part on each line: query, cookie, `Authorization`, method. Each line is also read as the value
/// of a field with a certificate.
pub fn request(parts: &[u8]) {
    let lines = parts.split(|byte| *byte == b'\n');
    lines.for_each(request::fuzz_client_certificate);
    let mut lines = parts.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let query = String::from_utf8_lossy(line()).into_owned();
    let (cookie, authorization) = (line(), line());
    let method = String::from_utf8_lossy(line()).into_owned();
    let mut builder = Request::builder().uri(format!("/?{query}"));
    for (name, value) in [(COOKIE, cookie), (AUTHORIZATION, authorization)] {
        if !value.is_empty() {
            let Ok(value) = HeaderValue::from_bytes(value) else {
                return;
            };
            builder = builder.header(name, value);
        }
    }
    if !method.is_empty() {
        builder = builder
            .method(method.as_str())
            .header("origin", "https://other.example");
    }
    let Ok(request) = builder.body(()) else {
        return;
    };
    let policy = CsrfPolicy::same_origin();
    let token_cookie = TokenCookie::new("__Host-token", policy).expect("a good name");
    let source = TokenSource::header()
        .with_cookie(token_cookie)
        .insecure_with_query();

    let in_header = if authorization.is_empty() {
        Found::Nothing
    } else {
        in_authorization(authorization)
    };
    let is_foreign = !matches!(method.as_str(), "" | "GET" | "HEAD" | "OPTIONS");
    let in_cookie = match (&in_header, in_cookie(cookie)) {
        // A browser sends a cookie with every request, so it does not count beside a header.
        (Found::Token(_), _) => Found::Nothing,
        (_, Found::Token(_)) if is_foreign => Found::Faults(vec![CROSS_SITE]),
        (_, found) => found,
    };
    let in_query = in_query(request.uri().query().unwrap_or_default());
    let read = request::read(&request, &source, MaxTokenSize::default(), None);
    let read = read.map(|read| read.map(|presented| presented.credentials().clone()));
    let expected = one_of(in_header, one_of(in_query, in_cookie));
    confirm(read.and_then(checked), expected);
}

/// Asserts that the verdict is that of the other reader.
fn confirm(read: Result<Option<Vec<u8>>, Rejection>, found: Found) {
    match (read, found) {
        (Ok(None), Found::Nothing) => {}
        (Ok(Some(token)), Found::Token(other)) => assert_eq!(token, other),
        (Err(rejection), Found::Faults(faults)) => {
            rejected(&rejection);
            let reason = rejection.to_string();
            let is_true = faults.iter().any(|words| reason.contains(words));
            assert!(is_true, "{reason}: {faults:?}");
            let kind = if reason.contains(CROSS_SITE) {
                RejectionKind::CrossSiteRequest
            } else if reason.contains(NO_BEARER) {
                RejectionKind::MissingCredentials
            } else {
                RejectionKind::MalformedRequest
            };
            assert_eq!(rejection.kind(), kind, "{reason}");
        }
        (read, found) => panic!("{read:?}, and expected {found:?}"),
    }
}

/// The bytes of credentials that follow the grammar.
fn checked(credentials: Option<Credentials<'_>>) -> Result<Option<Vec<u8>>, Rejection> {
    let Some(credentials) = credentials else {
        return Ok(None);
    };
    match credentials.flaw() {
        Some(rejection) => Err(rejection),
        None => Ok(Some(credentials.bytes().to_vec())),
    }
}

fn one_of(one: Found, other: Found) -> Found {
    match (one, other) {
        (Found::Nothing, found) | (found, Found::Nothing) => found,
        (Found::Token(_), Found::Token(_)) => Found::Faults(vec!["tokens in two places"]),
        // It is not defined which of them is found first.
        (Found::Faults(mut faults), Found::Faults(more)) => {
            faults.extend(more);
            Found::Faults(faults)
        }
        (Found::Faults(faults), Found::Token(_)) | (Found::Token(_), Found::Faults(faults)) => {
            Found::Faults(faults)
        }
    }
}

/// RFC 9110, section 11.4: a scheme, spaces, credentials.
fn in_authorization(value: &[u8]) -> Found {
    if value.len() > MAX_TOKEN + 256 {
        return Found::Faults(vec!["`Authorization` header is too long"]);
    }
    let value = trimmed(value);
    let mut words = value.splitn(2, |byte| *byte == b' ');
    let scheme = words.next().unwrap_or_default();
    let rest = words.next();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        let rest = rest.unwrap_or_default();
        let blank = rest.iter().take_while(|byte| **byte == b' ').count();
        return token(rest.iter().skip(blank).copied().collect());
    }
    let mut faults = Vec::new();
    if String::from_utf8(value.to_vec()).is_err() {
        faults.push("`Authorization` header is not ASCII");
    }
    let in_token =
        |byte: &u8| matches!(byte, b'!'..=b'~') && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
    if scheme.is_empty() || !scheme.iter().all(in_token) {
        faults.push("does not begin with a scheme");
    }
    let dots = value.iter().filter(|byte| **byte == b'.').count();
    if rest.is_none() && dots >= 2 {
        faults.push(NO_BEARER);
    }
    if faults.is_empty() {
        Found::Nothing
    } else {
        Found::Faults(faults)
    }
}

fn in_cookie(value: &[u8]) -> Found {
    let pairs = value.split(|byte| *byte == b';').map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || trimmed(halves.next().unwrap_or_default());
        (half(), half())
    });
    only(
        pairs.filter(|(name, _)| *name == b"__Host-token"),
        |(_, value)| token(value.to_vec()),
        "token cookie twice",
    )
}

fn in_query(query: &str) -> Found {
    let pairs = query.split('&');
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    only(
        pairs.filter(|(name, _)| percent_decoded(name).as_deref() == Some(b"access_token")),
        |(_, value)| {
            let encoded = value.chars().filter(|one| *one == '%').count();
            if value.len().saturating_sub(encoded * 2) > MAX_TOKEN {
                return Found::Faults(vec![TOO_LONG]);
            }
            match percent_decoded(value).map(String::from_utf8) {
                Some(Ok(text)) => token(text.into_bytes()),
                _ => Found::Faults(vec!["bad percent encoding"]),
            }
        },
        "query has `access_token` twice",
    )
}

/// The only item, or the faults of the first one and of their number.
fn only<T>(
    mut items: impl Iterator<Item = T>,
    read: impl FnOnce(T) -> Found,
    twice: &'static str,
) -> Found {
    let Some(first) = items.next() else {
        return Found::Nothing;
    };
    match (read(first), items.next()) {
        (found, None) => found,
        (Found::Faults(mut faults), Some(_)) => {
            faults.push(twice);
            Found::Faults(faults)
        }
        (_, Some(_)) => Found::Faults(vec![twice]),
    }
}

/// A `token68`, or the reason why it is none.
fn token(bytes: Vec<u8>) -> Found {
    if bytes.len() > MAX_TOKEN {
        return Found::Faults(vec![TOO_LONG]);
    }
    if std::str::from_utf8(&bytes).is_ok_and(is_token68) {
        return Found::Token(bytes);
    }
    let start: Vec<_> = bytes.iter().take(7).map(u8::to_ascii_lowercase).collect();
    let marks = [
        (bytes.is_empty(), "an empty token"),
        (start == b"bearer ", "scheme `Bearer` occurs twice"),
        (start.starts_with(b"\""), "in quotation marks"),
        (start.starts_with(b"{"), "JSON text"),
        (bytes.iter().any(|byte| *byte > 0x7F), "token is not ASCII"),
    ];
    let marks = marks.iter().filter(|(is_there, _)| *is_there);
    let mut faults: Vec<_> = marks.map(|(_, words)| *words).collect();
    if faults.is_empty() {
        faults.push("credentials are not one token");
    }
    Found::Faults(faults)
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().take_while(|byte| is_blank(byte)).count();
    let value = value.get(start..).unwrap_or_default();
    let end = value.iter().rev().take_while(|byte| is_blank(byte)).count();
    value.get(..value.len() - end).unwrap_or_default()
}

const CROSS_SITE: &str = "came in a cookie with an unsafe request of another origin";
const NO_BEARER: &str = "a token without the scheme `Bearer`";
const TOO_LONG: &str = "token is too long";
const MAX_TOKEN: usize = 16_384;
