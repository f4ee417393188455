//! Rejections that an application creates, and the response to a rejection.

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
/// An application can reject a request for a reason that the layer does not know, such as a deleted
/// user. The client gets the same challenge and body as for a rejection of the layer. The rejection is
/// logged and counted once, when it becomes a response or a `tonic::Status`. Only the operator sees
/// the reason. It must not contain a secret. For an example, see [the guide](crate::guide::start).
impl Rejection {
    /// The token was revoked, or its subject no longer exists (401, `invalid_token`). The kind is [`RejectionKind::Revoked`].
    #[must_use]
    pub fn revoked(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::Revoked, reason).unreported()
    }

    /// The subject of the token is suspended, so the token cannot be used at present (401,
    /// `invalid_token`). The kind is [`RejectionKind::Suspended`].
    #[must_use]
    pub fn suspended(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::Suspended, reason).unreported()
    }

    /// The token is valid, but lacks a right that is not a scope (403, `insufficient_scope`). The kind is
    /// [`RejectionKind::InsufficientRole`].
    #[must_use]
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(RejectionKind::InsufficientRole, reason).unreported()
    }

    /// The token is valid, but lacks these scopes (403, `insufficient_scope`). The challenge names
    /// them. If you have the claims, [`authorize_all`](crate::Claims::authorize_all) checks the scopes
    /// and returns this rejection.
    #[must_use]
    pub fn insufficient_scope(scopes: &ScopeSet) -> Self {
        Shortfall::scopes(scopes.iter().map(str::to_owned)).into()
    }

    /// The application cannot determine whether the token may still be used, for example because its
    /// database is down (503). The kind is [`RejectionKind::RevocationUnavailable`].
    #[must_use]
    pub fn unavailable(reason: impl Into<Cow<'static, str>>) -> Self {
        // The layer logs the start and the end of an outage. It cannot see the end of this one.
        let reason = reason.into().into_owned();
        Self::without_outage(RejectionKind::RevocationUnavailable, reason).unreported()
    }

    /// The HTTP response to this rejection: status, challenge, `Cache-Control: no-store`, and an
    /// empty body. An outer [`JwtAuth`](crate::JwtAuth) replaces the challenge and the body with
    /// its own.
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

/// Logs and counts a rejection of an extractor, a guard or the application, unless that was already
/// done.
pub(crate) fn reported(mut rejection: Rejection) -> Rejection {
    if rejection.take_unreported() {
        reports::rejected(&rejection);
    }
    rejection
}
