//! Responses that are created without the settings of the layer.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::error::rejection::Rejection;
use crate::response::exchange::{Exchange, Maps};
use crate::response::presentation::{GRPC_MESSAGE, GRPC_STATUS, Presentation};
use crate::response::respond::EmptyBody;

/// Marks a response that an extractor, or a guard on a route, created for this rejection. These do
/// not know the settings of the layer, so the outer layer creates the response again.
#[derive(Clone, Debug)]
pub(crate) struct Provisional(pub(crate) Rejection);

impl Provisional {
    pub(crate) fn response<B: Default>(rejection: Rejection, exchange: &Exchange) -> Response<B> {
        let mut response =
            Presentation::default().response(&rejection, exchange, Maps::default(), &EmptyBody);
        response.extensions_mut().insert(Self(rejection));
        response
    }

    /// Removes from a response what [`response`](Self::response) has set, and keeps what was added
    /// afterwards.
    pub(crate) fn take<B>(response: &mut Response<B>) -> Option<Rejection> {
        let Self(rejection) = response.extensions_mut().remove()?;
        // A router in between has set the length of the empty body.
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
