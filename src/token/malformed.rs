//! Rejections of a token that is malformed.

use std::borrow::Cow;

use memchr::memchr_iter;

use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::{Excerpt, Rejection};
use crate::json::JsonError;

/// The rejection of a token that is not a JWT.
pub(super) fn shape(reason: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::because(RejectionKind::MalformedToken, reason)
}

/// The rejection of a text that cannot be a JWT.
pub(super) fn flaw_of_text(token: &[u8]) -> Option<Rejection> {
    if let Some(flaw) = flaw_of_word(token) {
        return Some(flaw);
    }
    let dots = memchr_iter(b'.', token).count();
    // Without dots this is not a JWT, whatever its characters. Opaque tokens are long, and checking
    // each character would take longer than the rest of the rejection.
    if dots == 0 {
        return Some(parts_expected(1));
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !bytes::all(token, legal) {
        return Some(shape("token has characters that no compact JWT has"));
    }
    (dots != 2).then(|| parts_expected(dots.saturating_add(1)))
}

/// The rejection of a word that programs send in place of a token.
pub(crate) fn flaw_of_word(token: &[u8]) -> Option<Rejection> {
    matches!(token, b"undefined" | b"null").then(|| {
        shape(
            "token is the word `undefined` or `null`: the client had no token when it made the request",
        )
    })
}

fn parts_expected(parts: usize) -> Rejection {
    match parts {
        1 => shape(
            "token has no dots, so it is no JWT: probably an opaque token, which its issuer alone can read",
        ),
        5 => Rejection::of(RejectionKind::EncryptedToken),
        _ => shape(format!("token has {parts} parts, expected 3")),
    }
}

/// The rejection of a header or a payload that the JSON reader did not accept.
pub(crate) fn malformed(part: &str, error: JsonError) -> Rejection {
    match error {
        JsonError::Duplicate(name) => {
            let name = Excerpt(&name).to_string();
            Rejection::because(
                RejectionKind::DuplicateMember,
                format!("{part}: member {name} occurs twice in one object"),
            )
        }
        JsonError::Reserved => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: a member has a reserved name"),
        ),
        JsonError::Syntax(at) => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: not one JSON object, at byte {at}"),
        ),
        JsonError::TooLarge(what) => Rejection::because(
            RejectionKind::MalformedToken,
            format!("{part}: {what} exceeds the limit"),
        ),
    }
}
