//! [`Credentials`]: a token that was presented, before it is read.

use std::borrow::Cow;
use std::fmt;

use crate::bytes;
use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::request::malformed;
use crate::request::scheme::Scheme;
use crate::token::limits::MaxTokenSize;

/// A presented token. Only its length has been checked.
///
/// The characters are checked by [`flaw`](Self::flaw) after the text has turned out not to be a
/// JWT. Reading a JWT checks each character anyway, so a good token costs no second pass.
#[derive(Clone)]
pub(crate) struct Credentials<'r> {
    scheme: Scheme,
    bytes: Cow<'r, [u8]>,
    /// Whether the token came with a request, whose grammar it must follow.
    is_of_request: bool,
}

impl<'r> Credentials<'r> {
    /// A token that did not come with a request.
    pub(crate) fn of_text(token: &'r str) -> Self {
        Self {
            scheme: Scheme::Bearer,
            bytes: Cow::Borrowed(token.as_bytes()),
            is_of_request: false,
        }
    }

    pub(super) fn of_request(
        scheme: Scheme,
        bytes: impl Into<Cow<'r, [u8]>>,
        max_size: MaxTokenSize,
    ) -> Result<Self, Rejection> {
        let credentials = Self {
            scheme,
            bytes: bytes.into(),
            is_of_request: true,
        };
        credentials.check_size(max_size)?;
        Ok(credentials)
    }

    /// A bearer token from a place that has no scheme.
    pub(super) fn bearer(
        bytes: impl Into<Cow<'r, [u8]>>,
        max_size: MaxTokenSize,
    ) -> Result<Self, Rejection> {
        Self::of_request(Scheme::Bearer, bytes, max_size)
    }

    pub(crate) fn check_size(&self, max_size: MaxTokenSize) -> Result<(), Rejection> {
        let kind = if self.is_of_request {
            RejectionKind::MalformedRequest
        } else {
            RejectionKind::MalformedToken
        };
        if self.bytes.len() > max_size.bytes() {
            return Err(too_long(kind, "token", self.bytes.len(), max_size));
        }
        Ok(())
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn borrowed(&self) -> Credentials<'_> {
        Credentials {
            bytes: Cow::Borrowed(&self.bytes),
            ..*self
        }
    }

    pub(super) fn into_owned(self) -> Credentials<'static> {
        Credentials {
            scheme: self.scheme,
            bytes: Cow::Owned(self.bytes.into_owned()),
            is_of_request: self.is_of_request,
        }
    }

    /// The rejection of an opaque token that is not a `token68`.
    pub(crate) fn flaw_of_opaque(&self) -> Option<Rejection> {
        if self.is_of_request || self.is_token68() {
            return self.flaw();
        }
        let reason = "token has characters that no token has";
        Some(Rejection::because(RejectionKind::MalformedToken, reason))
    }

    /// Whether the token is a `token68` (RFC 9110, section 11.2).
    fn is_token68(&self) -> bool {
        let padding = self.bytes.iter().rev().take_while(|byte| **byte == b'=');
        let bare = self.bytes.len().saturating_sub(padding.count());
        let bare = self.bytes.get(..bare).unwrap_or_default();
        !bare.is_empty() && bytes::all(bare, bytes::is_token68_character)
    }

    /// The rejection of the request if the token is not a `token68` (RFC 9110, section 11.2).
    pub(crate) fn flaw(&self) -> Option<Rejection> {
        if !self.is_of_request || self.is_token68() {
            return None;
        }
        let scheme = Scheme::split(&self.bytes).map(|(scheme, _)| scheme);
        Some(malformed(match &*self.bytes {
            [] => "request has an empty token",
            _ if scheme == Some(Scheme::Bearer) => "scheme `Bearer` occurs twice before the token",
            [b'"', ..] => "token is in quotation marks",
            [b'{', ..] => "token is JSON text: a JWT has the compact form alone",
            bytes if !bytes.is_ascii() => "token is not ASCII",
            _ => "credentials are not one token",
        }))
    }
}

/// Does not print the token.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// The rejection of a text that is longer than the setting allows. It names the setting.
pub(super) fn too_long(
    kind: RejectionKind,
    what: &str,
    length: usize,
    max_size: MaxTokenSize,
) -> Rejection {
    let max_size = max_size.bytes();
    Rejection::because(
        kind,
        format!(
            "{what} is too long: {length} bytes, and at most {max_size} are read (see `JwtAuth::max_token_size`)"
        ),
    )
}
