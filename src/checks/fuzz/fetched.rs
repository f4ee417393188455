//! The responses of an issuer, and key snapshots.

use http::header::{AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, EXPIRES, RETRY_AFTER};
use http::{HeaderValue, Response};
use serde_json::Value;

use crate::fetch::freshness::{Lifetimes, checked};
use crate::fetch::metadata::{Wanted, metadata_uris, wanted_url};
use crate::fetch::plain_http::PlainHttp;
use crate::keys::source::snapshot::SavedKeys;

/// A response: a byte for its status, a line for each header that matters, and the rest for its body.
pub fn fetched(bytes: &[u8]) {
    let (status, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut lines = rest.splitn(7, |byte| *byte == b'\n');
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = match status {
        b'2' => http::StatusCode::OK,
        b'3' => http::StatusCode::FOUND,
        b'4' => http::StatusCode::TOO_MANY_REQUESTS,
        _ => http::StatusCode::SERVICE_UNAVAILABLE,
    };
    for name in [AGE, CACHE_CONTROL, CONTENT_TYPE, DATE, EXPIRES, RETRY_AFTER] {
        let value = lines.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value.filter(|value| value.as_ref().is_ok_and(|it| !it.is_empty()))
        {
            answer.headers_mut().insert(name, value);
        }
    }
    *answer.body_mut() = lines.next().unwrap_or_default().to_vec();

    let lifetimes = Lifetimes::default();
    let lifetime = lifetimes.of(answer.headers());
    assert!(lifetimes.within.0 <= lifetime && lifetime <= lifetimes.within.1);

    match checked("https://as.example", &answer) {
        Err(error) => super::readers::one_line(&error.reason),
        Ok(body) => metadata(body),
    }
}

fn jwks_uri_behind_https(body: &[u8], issuer: &str) -> Result<String, String> {
    wanted_url(
        body,
        issuer,
        Wanted::KEY_SET,
        PlainHttp::Anywhere.behind(issuer),
    )
}

fn metadata(body: &[u8]) {
    let issuer = "https://as.example/t1";
    match wanted_url(body, issuer, Wanted::KEY_SET, PlainHttp::Loopback) {
        Err(reason) => super::readers::one_line(&reason),
        Ok(uri) => {
            let value: Value = serde_json::from_slice(body).expect("metadata are JSON");
            let text = |name| value.get(name).and_then(Value::as_str);
            assert_eq!(text("issuer"), Some(issuer));
            assert_eq!(text("jwks_uri"), Some(&*uri));
            // A scheme may be written in any case (RFC 3986, section 3.1).
            let scheme = uri.split_once("://").map(|(scheme, _)| scheme);
            let scheme = scheme.expect("an absolute URL").to_ascii_lowercase();
            assert!(scheme == "https" || scheme == "http", "{uri}");
            assert!(PlainHttp::Loopback.check(&uri).is_ok());
            // The document came by https.
            let behind = jwks_uri_behind_https(body, issuer);
            assert_eq!(behind.is_ok(), scheme == "https", "{uri}");
        }
    }
    let text = String::from_utf8_lossy(body);
    for uri in metadata_uris(&text).into_iter().flatten() {
        assert!(uri.contains("/.well-known/"), "{uri}");
    }
    if let Some(saved) = SavedKeys::read(body) {
        let again = SavedKeys::read(&saved.write()).expect("what is written is read");
        assert_eq!((again.source, again.jwks), (saved.source, saved.jwks));
    }
}
