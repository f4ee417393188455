//! Checks the response of an issuer, and reads its lifetime.

use std::time::Duration;

use http::header::{
    AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::error::rejection::Excerpt;
use crate::error::shown_url::ShownUrl;
use crate::fetch::documents::DocumentError;

/// The lifetime of a response that does not state a lifetime, and the limits for a stated lifetime.
#[derive(Clone, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) usual: Duration,
    pub(crate) within: (Duration, Duration),
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            usual: Duration::from_secs(600),
            within: (Duration::from_secs(60), Duration::from_secs(24 * 3_600)),
        }
    }
}

impl Lifetimes {
    /// The lifetime of a response: `max-age` minus `Age`, or `Expires` minus `Date` (RFC 9111, section
    /// 4.2), within the limits.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Duration {
        let directives = || {
            let lines = headers.get_all(CACHE_CONTROL).iter();
            lines
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .map(str::trim)
        };
        let is_uncached = directives().any(|directive| {
            directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        });
        let max_age = directives().find_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            name.eq_ignore_ascii_case("max-age")
                .then(|| seconds(value.trim_matches('"')))?
        });
        let age = headers
            .get(AGE)
            .and_then(|age| seconds(age.to_str().ok()?))
            .unwrap_or_default();
        let (shortest, longest) = self.within;
        let lifetime = match max_age {
            _ if is_uncached => shortest,
            Some(max_age) => max_age.saturating_sub(age),
            None => headers
                .get(EXPIRES)
                .and_then(|expires| after_date(expires, headers))
                .unwrap_or(self.usual),
        };
        lifetime.clamp(shortest, longest)
    }
}

/// The headers of a conditional request, which asks for a newer document.
pub(crate) struct Validators {
    pub(crate) uri: String,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Validators {
    pub(crate) fn of(uri: String, headers: &HeaderMap) -> Option<Self> {
        let pairs = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
        let headers: Vec<_> = pairs
            .into_iter()
            .filter_map(|(given, asked)| Some((asked, headers.get(given)?.clone())))
            .collect();
        (!headers.is_empty()).then_some(Self { uri, headers })
    }
}

/// Checks status, content coding and content type, and returns the body.
pub(crate) fn checked<'r>(
    uri: &str,
    response: &'r Response<Vec<u8>>,
) -> Result<&'r [u8], DocumentError> {
    let (shown, status) = (ShownUrl(uri), response.status());
    if status != StatusCode::OK {
        return Err(DocumentError {
            retry_after: retry_after(response.headers()),
            ..DocumentError::new(format!("{shown}: status {status}"))
        });
    }
    if let Some(coding) = coding(response.headers()) {
        return Err(DocumentError::new(format!(
            "{shown}: content has the coding {}, expected none",
            Excerpt(&coding)
        )));
    }
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    if !content_type.is_none_or(may_be_json) {
        let found = Excerpt(content_type.unwrap_or_default());
        return Err(DocumentError::new(format!(
            "{shown}: content is {found}, expected JSON"
        )));
    }
    Ok(response.body())
}

/// The time in `Retry-After`, which is a number of seconds or a date.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    seconds(value.to_str().ok()?).or_else(|| after_date(value, headers))
}

/// The content coding, if there is one.
pub(crate) fn coding(headers: &HeaderMap) -> Option<String> {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    codings
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .find(|coding| {
            let coding = coding.trim();
            !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")
        })
}

/// Whether the content may be JSON. Object stores and file servers also send JSON with general types.
fn may_be_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let named = [
        "application/json",
        "application/octet-stream",
        "binary/octet-stream",
        "text/json",
        "text/plain",
    ];
    named.contains(&&*essence)
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The time between the `Date` of the response and another date. `None` if one of them is not a date.
fn after_date(moment: &HeaderValue, headers: &HeaderMap) -> Option<Duration> {
    let time = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let (moment, date) = (time(moment)?, time(headers.get(DATE)?)?);
    Some(moment.duration_since(date).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &'static str)]) -> Response<Vec<u8>> {
        let mut answer = Response::new(Vec::new());
        for (name, value) in headers {
            let value = HeaderValue::from_static(value);
            answer.headers_mut().append(*name, value);
        }
        answer
    }

    /// RFC9111-4.2.1-1
    #[test]
    fn the_lifetime_is_what_the_answer_says_within_bounds() {
        let lifetimes = Lifetimes::default();
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, expected) in [
            (vec![], 600),
            (vec![("cache-control", "max-age=300")], 300),
            (
                vec![("cache-control", "public, Max-Age=300, must-revalidate")],
                300,
            ),
            (
                vec![
                    ("cache-control", "public"),
                    ("cache-control", "max-age=300"),
                ],
                300,
            ),
            (vec![("cache-control", "max-age=300"), ("age", "100")], 200),
            (vec![("cache-control", "max-age=300"), ("age", "1000")], 60),
            (vec![("cache-control", "max-age=5")], 60),
            (vec![("cache-control", "max-age=31536000")], 86_400),
            (vec![("cache-control", "no-store, max-age=300")], 60),
            (vec![("cache-control", "max-age=soon")], 600),
            (
                vec![date, ("expires", "Sun, 06 Nov 1994 08:54:37 GMT")],
                300,
            ),
            (vec![date, ("expires", "Sun, 06 Nov 1994 08:00:00 GMT")], 60),
            (vec![date, ("expires", "0")], 600),
            (vec![("expires", "Sun, 06 Nov 1994 08:54:37 GMT")], 600),
            (
                vec![
                    date,
                    ("expires", "Sun, 06 Nov 1994 08:54:37 GMT"),
                    ("cache-control", "max-age=400"),
                ],
                400,
            ),
        ] {
            let lifetime = lifetimes.of(answer(&headers).headers());
            assert_eq!(lifetime.as_secs(), expected, "{headers:?}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, expected) in [
            (vec![("retry-after", "120")], Some(120)),
            (
                vec![date, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")],
                Some(60),
            ),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-1")], None),
            (vec![], None),
        ] {
            let mut answer = answer(&headers);
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            let error = checked("https://h/k", &answer).unwrap_err();
            assert_eq!(error.reason, "https://h/k: status 503 Service Unavailable");
            let pause = error.retry_after.map(|pause| pause.as_secs());
            assert_eq!(pause, expected, "{headers:?}");
        }
    }

    /// RFC7517-8.5.1-1
    #[test]
    fn json_comes_under_types_that_do_not_say_otherwise() {
        for (content_type, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/jwk-set+json", true),
            ("text/plain; charset=us-ascii", true),
            ("text/plain", true),
            ("application/octet-stream", true),
            ("binary/octet-stream", true),
            ("text/html", false),
            ("text/html; application/json", false),
            ("text/plainly", false),
            ("application/xhtml+xml", false),
            ("image/png", false),
            ("", false),
        ] {
            let found = checked("https://h/k", &answer(&[("content-type", content_type)])).is_ok();
            assert_eq!(found, expected, "{content_type}");
        }
        assert!(checked("https://h/k", &answer(&[])).is_ok());
    }

    #[test]
    fn a_coding_is_named() {
        for (headers, expected) in [
            (vec![("content-encoding", "identity")], None),
            (vec![("content-encoding", "")], None),
            (vec![("content-encoding", "gzip")], Some("\"gzip\"")),
            (
                vec![("content-encoding", "identity"), ("content-encoding", "br")],
                Some("\"br\""),
            ),
            // The coding is named, and not the content type of the coded content.
            (
                vec![("content-encoding", "gzip"), ("content-type", "text/html")],
                Some("\"gzip\""),
            ),
        ] {
            let answer = answer(&headers);
            let found = checked("https://h/k", &answer).map_err(|error| error.reason);
            let expected = expected.map(|coding| {
                format!("https://h/k: content has the coding {coding}, expected none")
            });
            assert_eq!(found.err(), expected, "{headers:?}");
        }
    }
}
