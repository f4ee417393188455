//! The credentials of a request.

use http::Request;
use http::header::{AUTHORIZATION, COOKIE, HeaderValue};

use super::readers::{is_token68, percent_decoded, refused};
use crate::bearer::{self, Credentials, CsrfPolicy, TokenCookie, TokenSource};
use crate::token_size::MaxTokenSize;

/// The value of an `Authorization` header.
pub fn authorization(value: &[u8]) {
    let scheme_and_rest = || {
        let text = std::str::from_utf8(value).expect("a value that was read is text");
        let text = text.trim_matches([' ', '\t']);
        text.split_once(' ').unwrap_or((text, ""))
    };
    match bearer::parse_authorization(value, MaxTokenSize::default()) {
        Ok(Some(credentials)) => {
            let Some(token) = legal(&credentials) else {
                return;
            };
            let (scheme, rest) = scheme_and_rest();
            assert!(scheme.eq_ignore_ascii_case("bearer"), "{scheme:?}");
            assert_eq!(rest.trim_start_matches(' '), token);
            assert!(is_token68(&token), "{token:?}");
        }
        Ok(None) => assert!(!scheme_and_rest().0.eq_ignore_ascii_case("bearer")),
        Err(rejection) => refused(&rejection),
    }
}

/// The text of credentials that keep the grammar.
fn legal(credentials: &Credentials<'_>) -> Option<String> {
    match credentials.flaw() {
        None => Some(String::from_utf8(credentials.octets().to_vec()).expect("ASCII")),
        Some(rejection) => {
            refused(&rejection);
            None
        }
    }
}

/// A request, one part on a line: query, cookie, `Authorization`, method.
pub fn request(parts: &[u8]) {
    let mut lines = parts.split(|octet| *octet == b'\n');
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
    let cookie = TokenCookie::new("__Host-token", policy).expect("a good name");
    let source = TokenSource::header().or_cookie(cookie).insecure_or_query();

    let query = request.uri().query().unwrap_or_default();
    let named: Vec<_> = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| percent_decoded(name).as_deref() == Some(b"access_token"))
        .collect();
    match bearer::read(&request, &source, MaxTokenSize::default()) {
        Ok(found) => {
            let in_header = bearer::parse_authorization(authorization, MaxTokenSize::default())
                .ok()
                .flatten()
                .and_then(|found| legal(&found));
            let in_query = named.first().map(|(_, value)| {
                let octets = percent_decoded(value).expect("a value that was read is decodable");
                String::from_utf8(octets).expect("and text")
            });
            assert!(named.len() < 2, "{query}");
            assert!(in_header.is_none() || in_query.is_none());
            if let Some(found) = found {
                // Where both have nothing, it came in the cookie.
                if let Some(expected) = in_header.or(in_query) {
                    assert_eq!(found.octets(), expected.as_bytes());
                }
                assert!(legal(&found).is_none_or(|text| is_token68(&text)));
            } else {
                assert!(in_header.or(in_query).is_none());
            }
        }
        Err(rejection) => refused(&rejection),
    }
}
