//! Hides the token of a request from the inner service.

use http::header::{AUTHORIZATION, COOKIE, Entry, HeaderName, SEC_WEBSOCKET_PROTOCOL};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Request, Uri};

use crate::request::places;
use crate::request::source::TokenSource;

/// Marks the token as sensitive in the headers, or removes every token from every place that the
/// source reads. A subprotocol with a token is always removed, because it must not be selected.
pub(crate) fn conceal<B>(request: &mut Request<B>, source: &TokenSource, removes: bool) {
    for name in std::iter::once(&AUTHORIZATION).chain(&source.headers) {
        if removes {
            request.headers_mut().remove(name);
        } else {
            mark_sensitive(request.headers_mut(), name);
        }
    }
    if let Some(cookie) = &source.cookie {
        if removes {
            remove_cookie(request.headers_mut(), &cookie.name);
        }
        mark_sensitive(request.headers_mut(), &COOKIE);
    }
    if let Some(subprotocol) = &source.subprotocol {
        remove_subprotocol(request.headers_mut(), &subprotocol.prefix);
    }
    if removes && source.is_query_on {
        remove_parameter(request.uri_mut());
    }
}

/// Marks every value of a header as sensitive.
fn mark_sensitive(headers: &mut HeaderMap, name: &HeaderName) {
    if let Entry::Occupied(mut lines) = headers.entry(name) {
        lines.iter_mut().for_each(|line| line.set_sensitive(true));
    }
}

/// Removes a cookie. The other cookies stay unchanged, in the same lines.
fn remove_cookie(headers: &mut HeaderMap, name: &str) {
    let is_other = |pair: &&[u8]| places::value_of_cookie(pair, name).is_none();
    replace_lines(headers, &COOKIE, |lines| {
        lines
            .map(|line| {
                let pairs = line.as_bytes().split(|byte| *byte == b';');
                let kept: Vec<_> = pairs.filter(is_other).collect();
                kept.join(&b';')
            })
            .collect()
    });
}

fn remove_subprotocol(headers: &mut HeaderMap, prefix: &str) {
    let has_token = |offered: &[u8]| offered.starts_with(prefix.as_bytes());
    if !places::subprotocols(headers).any(has_token) {
        return;
    }
    let offered = places::subprotocols(headers).filter(|offered| !has_token(offered));
    let offered = offered.collect::<Vec<_>>().join(&b", "[..]);
    replace_lines(headers, &SEC_WEBSOCKET_PROTOCOL, |_| vec![offered]);
}

/// Replaces the lines of a header. Empty lines are left out.
fn replace_lines(
    headers: &mut HeaderMap,
    name: &HeaderName,
    change: impl FnOnce(http::header::ValueIter<'_, HeaderValue>) -> Vec<Vec<u8>>,
) {
    let lines = change(headers.get_all(name).into_iter());
    headers.remove(name);
    for line in lines {
        let line = crate::bytes::trimmed(&line);
        if line.is_empty() {
            continue;
        }
        // Never fails, because a part of a valid value is valid.
        if let Ok(line) = HeaderValue::from_bytes(line) {
            headers.append(name, line);
        }
    }
}

/// Removes the parameter with the token. The other parameters stay unchanged.
fn remove_parameter(uri: &mut Uri) {
    let Some(query) = uri.query() else {
        return;
    };
    let is_other = |parameter: &&str| places::token_of_parameter(parameter).is_none();
    let kept: Vec<_> = query.split('&').filter(is_other).collect();
    let path = match kept.as_slice() {
        [] => uri.path().to_owned(),
        kept => format!("{}?{}", uri.path(), kept.join("&")),
    };
    let mut parts = std::mem::take(uri).into_parts();
    // Never fails, because a part of a valid path and query is valid.
    parts.path_and_query = PathAndQuery::try_from(path).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}
