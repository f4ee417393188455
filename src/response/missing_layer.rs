//! Why a request has no claims, as far as the cause is visible where claims are needed.

use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;

/// What needs the claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// A layer around routes, created by [`JwtAuth::require`](crate::JwtAuth::require).
    Guard,
    /// An argument of a handler or of a middleware.
    #[cfg_attr(
        not(any(feature = "axum", test)),
        expect(dead_code, reason = "only axum has them")
    )]
    Handler,
    /// A method of a tonic service.
    #[cfg_attr(
        not(any(feature = "grpc", test)),
        expect(dead_code, reason = "only tonic has them")
    )]
    Method,
}

/// The rejection of a request that passed through no layer, as far as can be seen.
///
/// A layer marks the token of a request as sensitive. This mark remains if a middleware copies the
/// headers but not the extensions. `is_marked` is `None` if there is no token to look at.
pub(crate) fn missing_layer(asker: Asker, is_marked: Option<bool>) -> Rejection {
    let reason = reason(asker, is_marked, HAS_LAYER.load(Ordering::Relaxed));
    Rejection::because(RejectionKind::MissingLayer, reason)
}

/// Whether the token of a request is marked as sensitive, if it has one.
pub(crate) fn is_marked(headers: &HeaderMap) -> Option<bool> {
    headers
        .get(AUTHORIZATION)
        .map(http::HeaderValue::is_sensitive)
}

/// Remembers that this process has a layer.
pub(crate) fn layer_created() {
    HAS_LAYER.store(true, Ordering::Relaxed);
}

static HAS_LAYER: AtomicBool = AtomicBool::new(false);

fn reason(asker: Asker, is_marked: Option<bool>, has_layer: bool) -> &'static str {
    match (asker, is_marked) {
        (_, Some(true)) if has_layer => {
            "claims are lost: a middleware inside of the layer made a new request without the extensions of the old one; change the request in place, or use `Request::into_parts`"
        }
        (Asker::Guard | Asker::Handler, _) if !has_layer => {
            "there is no layer: add `.layer(JwtAuth::new(issuer, audience, keys))` in the line after the last route; if there is one, it is of another version of this crate (`cargo tree -d` lists both)"
        }
        (Asker::Method, _) if !has_layer => {
            "there is no layer: add `Server::builder().layer(JwtAuth::new(issuer, audience, keys))`; if there is one, it is of another version of this crate (`cargo tree -d` lists both)"
        }
        (Asker::Guard, _) => {
            "a guard (`JwtAuth::require`) is outside of the layer, or around routes without one: put it in a line before `.layer(auth)`; in a `ServiceBuilder`, after it"
        }
        (Asker::Handler, Some(_)) => {
            "the request did not pass the layer: the route, the fallback or the middleware is in a line after `.layer(auth)`, or in a router without the layer; put `.layer(auth)` after the last line of that router"
        }
        (Asker::Handler, None) => {
            "the request did not pass the layer: the route, the fallback or the middleware is in a line after `.layer(auth)`, or in a router without the layer; or a middleware inside of the layer made a new request without the extensions of the old one"
        }
        (Asker::Method, _) => {
            "the call did not pass the layer: this service is served by a server without `.layer(auth)`; or a middleware inside of the layer made a new request without the extensions of the old one"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_follows_what_can_be_seen() {
        use Asker::{Guard, Handler, Method};

        for (asker, is_marked, has_layer, said) in [
            // A mark that was set by something else does not prove that there is a layer.
            (
                Handler,
                Some(true),
                false,
                "there is no layer: add `.layer(JwtAuth::new(",
            ),
            (
                Handler,
                Some(false),
                false,
                "there is no layer: add `.layer(JwtAuth::new(",
            ),
            (
                Guard,
                None,
                false,
                "there is no layer: add `.layer(JwtAuth::new(",
            ),
            (
                Method,
                None,
                false,
                "there is no layer: add `Server::builder()",
            ),
            (Handler, Some(true), true, "claims are lost"),
            (Guard, Some(true), true, "claims are lost"),
            (Method, Some(true), true, "claims are lost"),
            (
                Guard,
                Some(false),
                true,
                "a guard (`JwtAuth::require`) is outside",
            ),
            (Guard, None, true, "a guard (`JwtAuth::require`) is outside"),
            (
                Handler,
                Some(false),
                true,
                "did not pass the layer: the route",
            ),
            (Handler, None, true, "or a middleware inside of the layer"),
            (Method, None, true, "the call did not pass the layer"),
        ] {
            let reason = reason(asker, is_marked, has_layer);
            assert!(
                reason.contains(said),
                "{asker:?} {is_marked:?} {has_layer}: {reason}"
            );
        }
    }
}
