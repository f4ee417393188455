//! What is offered as a token, before anything is known of it.

use std::borrow::Cow;
use std::fmt;

use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::{BEARER, malformed};
use crate::token::limits::MaxTokenSize;

/// What is offered as a token: bytes of which nothing is known but that they are not too many.
///
/// Whether they are the characters of a credential is asked when they turn out to be no token:
/// each character of a token is looked at anyway, and most credentials are one.
#[derive(Clone)]
pub(crate) struct Credentials<'r> {
    bytes: Cow<'r, [u8]>,
    /// They came with a request, whose grammar they have to keep.
    is_of_request: bool,
}

impl<'r> Credentials<'r> {
    /// A token that did not come with a request.
    pub(crate) fn of_text(token: &'r str) -> Self {
        Self {
            bytes: Cow::Borrowed(token.as_bytes()),
            is_of_request: false,
        }
    }

    pub(super) fn of_request(
        bytes: impl Into<Cow<'r, [u8]>>,
        largest: MaxTokenSize,
    ) -> Result<Self, Rejection> {
        let credentials = Self {
            bytes: bytes.into(),
            is_of_request: true,
        };
        credentials.fit(largest)?;
        Ok(credentials)
    }

    /// Asks whether they are not too many.
    pub(crate) fn fit(&self, largest: MaxTokenSize) -> Result<(), Rejection> {
        let kind = if self.is_of_request {
            RejectionKind::MalformedRequest
        } else {
            RejectionKind::MalformedToken
        };
        if self.bytes.len() > largest.bytes() {
            return Err(too_long(kind, "token", self.bytes.len(), largest));
        }
        Ok(())
    }

    pub(crate) fn octets(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_owned(self) -> Credentials<'static> {
        Credentials {
            bytes: Cow::Owned(self.bytes.into_owned()),
            is_of_request: self.is_of_request,
        }
    }

    /// What makes the request malformed, if these are no `token68` (RFC 9110, section 11.2).
    pub(crate) fn flaw(&self) -> Option<Rejection> {
        if !self.is_of_request {
            return None;
        }
        let padding = self.bytes.iter().rev().take_while(|byte| **byte == b'=');
        let bare = self.bytes.len().saturating_sub(padding.count());
        let bare = self.bytes.get(..bare).unwrap_or_default();
        if !bare.is_empty() && bytes::all(bare, is_legal) {
            return None;
        }
        let (start, rest) = self
            .bytes
            .split_at_checked(BEARER.len())
            .unwrap_or_default();
        Some(malformed(match &*self.bytes {
            [] => "request has a place for a token with nothing in it",
            _ if start.eq_ignore_ascii_case(BEARER) && matches!(rest, [b' ', ..]) => {
                "scheme `Bearer` stands twice before the token"
            }
            [b'"', ..] => "token is in quotation marks",
            [b'{', ..] => "token is JSON text: a JWT has the compact form alone",
            octets if !octets.is_ascii() => "token is not ASCII",
            _ => "credentials are not one token",
        }))
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The rejection of what is longer than the setting allows, which it names.
pub(super) fn too_long(
    kind: RejectionKind,
    what: &str,
    length: usize,
    largest: MaxTokenSize,
) -> Rejection {
    let largest = largest.bytes();
    Rejection::because(
        kind,
        format!(
            "{what} is too long: {length} bytes, and at most {largest} are read (see `JwtAuth::max_token_size`)"
        ),
    )
}

/// Whether a byte is one of `token68` before its padding.
fn is_legal(byte: u8) -> bool {
    // Letters of either case, then digits with `-`, `.` and `/`, which stand before them.
    (byte | 0x20).is_ascii_lowercase() || matches!(byte, b'-'..=b'9' | b'_' | b'~' | b'+')
}
