//! The responses of an introspection endpoint.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value};

use super::readers::{one_line, rejected};
use super::{AUDIENCE, ISSUER, NOW};
use crate::clock::NumericDate;
use crate::introspection::response::body_of;
use crate::introspection::signed;
use crate::issuer::{Audience, Issuer};
use crate::token::introspected::Answer;
use crate::token::registered::Registered;

/// A response: a byte for its status, a line for each header that matters, and the rest for its body. The
/// body is also read as the claims of a signed response.
pub fn introspection_answer(bytes: &[u8]) {
    let (status, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut lines = rest.splitn(5, |byte| *byte == b'\n');
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = match status {
        b'2' => StatusCode::OK,
        b'3' => StatusCode::TEMPORARY_REDIRECT,
        b'4' => StatusCode::BAD_REQUEST,
        b'5' => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    };
    for name in [CONTENT_ENCODING, CONTENT_TYPE, DATE, RETRY_AFTER] {
        let value = lines.next().map(HeaderValue::from_bytes);
        if let Some(Ok(value)) = value.filter(|value| value.as_ref().is_ok_and(|it| !it.is_empty()))
        {
            answer.headers_mut().insert(name, value);
        }
    }
    *answer.body_mut() = lines.next().unwrap_or_default().to_vec();

    for is_signed in [false, true] {
        match body_of(&answer, is_signed) {
            Err(failure) => {
                one_line(&failure.reason);
                assert_eq!(failure.may_be_the_token, *status == b'4');
            }
            Ok(_) => assert_eq!(answer.status(), StatusCode::OK),
        }
    }
    if let Ok(text) = std::str::from_utf8(answer.body()) {
        plain(text);
        claims_of_signed(text);
    }
}

fn plain(text: &str) {
    let reference = serde_json::from_str::<Map<String, Value>>(text);
    let active = reference
        .as_ref()
        .ok()
        .and_then(|members| members.get("active"));
    match Answer::read(text.to_owned()) {
        Ok(Answer::Active(answer)) => {
            assert_eq!(answer.claims().payload(), text);
            assert_active(text, active, true);
        }
        Ok(Answer::Inactive) => assert_active(text, active, false),
        Ok(Answer::Invalid(rejection)) => {
            rejected(&rejection);
            assert_active(text, active, true);
        }
        Err(reason) => {
            one_line(&reason);
            // Any other reason is stricter than `serde_json` on purpose.
            let is_boolean = active.is_some_and(Value::is_boolean);
            assert!(
                !is_boolean || !reason.contains("active"),
                "{reason}: {text}"
            );
        }
    }
}

/// Near the greatest number the rounding of `serde_json` overflows, and it returns an error.
fn assert_active(text: &str, active: Option<&Value>, expected: bool) {
    if serde_json::from_str::<Map<String, Value>>(text).is_ok() {
        assert_eq!(active, Some(&Value::Bool(expected)), "{text}");
    }
}

fn claims_of_signed(text: &str) {
    let Ok(claims) = Registered::read(text.to_owned()) else {
        return;
    };
    let issuer = Issuer::new(ISSUER).expect("a good issuer");
    let audience = Audience::new(AUDIENCE).expect("a good audience");
    let now = NumericDate(f64::from(NOW));
    match signed::inner(&claims, &issuer, Some("files-api"), &audience, now) {
        Err(reason) => one_line(&reason),
        Ok(_) => {
            let Ok(value) = serde_json::from_str::<Value>(text) else {
                return;
            };
            let member = |name| value.get(name);
            assert_eq!(member("iss").and_then(Value::as_str), Some(ISSUER));
            let audience = member("aud").expect("an audience");
            let names = audience
                .as_array()
                .map_or_else(|| vec![audience], |all| all.iter().collect());
            let is_us = |name: &&Value| [AUDIENCE, "files-api"].map(Some).contains(&name.as_str());
            assert!(names.iter().any(is_us), "{text}");
            let issued_at = member("iat").and_then(Value::as_f64).expect("a time");
            let age = f64::from(NOW) - issued_at;
            assert!((-60.0..=600.0).contains(&age), "{text}");
            let inner = member("token_introspection").and_then(|inner| inner.get("active"));
            assert!(inner.is_some_and(Value::is_boolean), "{text}");
        }
    }
}
