//! Rejections of the application, and how a rejection leaves.

use std::borrow::Cow;

use http::Response;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::reports;
use crate::response::exchange::Exchange;
use crate::response::provisional::Provisional;
use crate::scope::{ScopeSet, Shortfall};

/// # Rejections of the application
///
/// What only the application knows, such as a user row that is gone, it rejects in the way of the
/// layer: the client gets the challenge and the body of the layer outside, and log and metrics have
/// it once, when the rejection becomes a response or a `tonic::Status`. The reason is for the
/// operator alone. It must not contain a secret. [The guide](crate::guide::start) has an example.
impl Rejection {
    /// The token can no longer be used: it was revoked, or its subject is gone (401,
    /// `invalid_token`). The kind is [`RejectionKind::Revoked`].
    #[must_use]
    pub fn revoked(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::Revoked, reason).unreported()
    }

    /// The token cannot be used now: its subject is suspended (401, `invalid_token`). The kind is
    /// [`RejectionKind::Suspended`].
    #[must_use]
    pub fn suspended(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::Suspended, reason).unreported()
    }

    /// The token is good, and lacks a right that is no scope (403, `insufficient_scope`). The kind is
    /// [`RejectionKind::InsufficientRole`].
    #[must_use]
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::InsufficientRole, reason).unreported()
    }

    /// The token is good, and lacks these scopes (403, `insufficient_scope`). The challenge names
    /// them. Where the claims are at hand, [`authorize_all`](crate::Claims::authorize_all) decides
    /// and rejects in one call.
    #[must_use]
    pub fn insufficient_scope(scopes: &ScopeSet) -> Self {
        Shortfall::scopes(scopes.iter().map(str::to_owned)).into()
    }

    /// The application cannot find out whether the token may still be used, such as in an outage of
    /// its database (503). The kind is [`RejectionKind::RevocationUnavailable`].
    #[must_use]
    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        // The layer has not noticed an outage, and would not notice its end.
        let reason = reason.into().into_owned();
        Self::without_outage(RejectionKind::RevocationUnavailable, reason).unreported()
    }

    /// The HTTP response to this rejection: status, challenge, `Cache-Control: no-store`, and an
    /// empty body. A [`JwtAuth`](crate::JwtAuth) outside of it applies its own settings to it.
    #[must_use]
    pub fn into_response<B: Default>(self) -> Response<B> {
        Provisional::response(reported(self), &Exchange::default())
    }

    /// The gRPC response to this rejection: trailers only, HTTP status 200.
    #[must_use]
    pub fn into_grpc<B: Default>(self) -> Response<B> {
        Provisional::response(reported(self), &Exchange::grpc())
    }
}

/// Reports a rejection of an extractor, a guard or the application, unless somebody has.
pub(crate) fn reported(mut rejection: Rejection) -> Rejection {
    if rejection.take_unreported() {
        reports::rejected(&rejection);
    }
    rejection
}
