//! Responses that are made before the settings of the layer are known.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::error::kinds::RejectionKind;
use crate::error::rejection::Rejection;
use crate::response::exchange::{Exchange, Maps};
use crate::response::presentation::{GRPC_MESSAGE, GRPC_STATUS, Presentation};
use crate::response::respond::EmptyBody;

/// A response that was made from this rejection without the settings of the layer: by an
/// extractor, or a guard on a route. The layer outside makes it anew.
#[derive(Clone, Debug)]
pub(crate) struct Provisional(pub(crate) Rejection);

impl Provisional {
    pub(crate) fn response<B: Default>(rejection: Rejection, exchange: &Exchange) -> Response<B> {
        let mut response =
            Presentation::default().response(&rejection, exchange, Maps::default(), &EmptyBody);
        response.extensions_mut().insert(Self(rejection));
        response
    }

    /// Takes what [`response`](Self::response) has made of a rejection out of a response, and
    /// leaves what others have added since.
    pub(crate) fn take<B>(response: &mut Response<B>) -> Option<Rejection> {
        let Self(rejection) = response.extensions_mut().remove()?;
        // The length is what a router between has made of the empty body.
        let ours = [
            WWW_AUTHENTICATE,
            CACHE_CONTROL,
            CONTENT_LENGTH,
            CONTENT_TYPE,
            RETRY_AFTER,
        ];
        for name in ours.iter().chain([&GRPC_STATUS, &GRPC_MESSAGE]) {
            response.headers_mut().remove(name);
        }
        Some(rejection)
    }
}

/// The response to a request that no layer looked at.
pub(crate) fn missing_layer() -> Rejection {
    Rejection::of(RejectionKind::MissingLayer)
}
