//! Checks the response of an introspection endpoint before its body is read.

use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};

use crate::fetch::freshness::{coding, retry_after};
use crate::introspection::failure::AskFailure;
use crate::introspection::signed;
use crate::json;

/// Checks status, content coding and content type, and returns the body.
///
/// No reason quotes the response, because a server may write the token into it.
pub(crate) fn body_of(response: &Response<Vec<u8>>, is_signed: bool) -> Result<&[u8], AskFailure> {
    if response.status() != StatusCode::OK {
        return Err(rejected(response));
    }
    if coding(response.headers()).is_some() {
        return Err(AskFailure::new(
            "the answer has a content coding, expected none",
        ));
    }
    let mut types = response.headers().get_all(CONTENT_TYPE).iter();
    let (content_type, None) = (types.next(), types.next()) else {
        return Err(AskFailure::new("the answer has several content types"));
    };
    let content_type = content_type.map(|value| value.to_str().unwrap_or_default());
    let content_type = content_type.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is = |name: &str| essence.eq_ignore_ascii_case(name);
    let expected = if is_signed { signed::MEDIA_TYPE } else { JSON };
    if is(expected) {
        return Ok(response.body());
    }
    let found = match () {
        () if essence.is_empty() => "without a content type",
        () if is(JSON) => "not signed",
        () if is(signed::MEDIA_TYPE) => "signed, and `Introspection::signed` is not set",
        () if is("text/html") => "an HTML page",
        () if is("text/plain") => "plain text",
        () => "of another content type",
    };
    Err(AskFailure::new(format!(
        "the answer is {found}, expected {expected}"
    )))
}

/// The failure that a response with another status than 200 means.
fn rejected(response: &Response<Vec<u8>>) -> AskFailure {
    let status = response.status();
    let is_ours = matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
    );
    let code = is_ours.then(|| error_code(response.body())).flatten();
    let is_about_us = code.is_some_and(|code| ABOUT_THIS_SERVICE.contains(&code));
    let reason = match (status, code) {
        (_, Some("unsupported_token_type")) => format!(
            "status {status}, unsupported_token_type: the server does not introspect tokens of this \
             kind, often because they are JWTs, which are to be verified with its keys"
        ),
        (StatusCode::BAD_REQUEST, code) if !is_about_us => format!(
            "status {status}{}: the server does not understand the request of this service",
            after_comma(code)
        ),
        (StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED, code) => format!(
            "status {status}{}: the server does not accept the credentials of this service",
            after_comma(code)
        ),
        (StatusCode::FORBIDDEN, code) => format!(
            "status {status}{}: the server does not let this service introspect tokens",
            after_comma(code)
        ),
        _ if status.is_redirection() => format!("status {status}: redirects are not followed"),
        _ => format!("status {status}"),
    };
    let names_a_time = matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    );
    let time = names_a_time.then(|| retry_after(response.headers()));
    AskFailure {
        retry_after: time.flatten(),
        is_ours,
        may_be_the_token: ABOUT_THE_TOKEN.contains(&status) && !is_about_us,
        ..AskFailure::new(reason)
    }
}

fn after_comma(code: Option<&'static str>) -> String {
    code.map(|code| format!(", {code}")).unwrap_or_default()
}

/// The registered `error` of a response (RFC 6749, section 5.2; RFC 6750, section 3.1; RFC 7009, section
/// 2.2.1).
fn error_code(body: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(body).ok()?;
    let mut found = None;
    let read = json::read_object(text, json::MAX_MEMBERS, |name, value| {
        if name == "error" {
            let code = value.string();
            found = CODES
                .into_iter()
                .find(|known| code.as_deref() == Some(*known));
        }
    });
    read.ok()?;
    found
}

const JSON: &str = "application/json";
/// The statuses that a server may answer for an odd text alone, or for one that is too long.
const ABOUT_THE_TOKEN: [StatusCode; 5] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::URI_TOO_LONG,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
];
/// The codes that are about the credentials of this service. RFC 6749, section 5.2, allows them with 400 too.
const ABOUT_THIS_SERVICE: [&str; 2] = ["invalid_client", "unauthorized_client"];
const CODES: [&str; 8] = [
    "access_denied",
    "insufficient_scope",
    "invalid_client",
    "invalid_request",
    "invalid_token",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_token_type",
];
