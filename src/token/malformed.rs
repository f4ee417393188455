//! Rejections of a token that is malformed.

use std::borrow::Cow;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::{Excerpt, Rejection};
use crate::json::JsonError;

/// The rejection of a token that is not a JWT.
pub(super) fn shape(reason: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::because(RejectionKind::MalformedToken, reason)
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
