//! [`Jwks`]: the key set of an issuer.

use crate::issue::keys::SigningKeys;
use crate::issue::published::document::{Document, publishes};

/// Tower service that publishes the public keys of [`SigningKeys`] as a JSON Web Key Set ([RFC 7517, section
/// 5]). Created by [`SigningKeys::jwks`].
///
/// | request | response |
/// |---|---|
/// | `GET`, `HEAD` | 200 `application/jwk-set+json`, with `ETag` and `Cache-Control: public, max-age=` half of the [publish lead](SigningKeys::publish_lead); 304 if `If-None-Match` has the tag |
/// | `OPTIONS` | 204, with the methods and `Access-Control-Allow-*` |
/// | any other method | 405 with `Allow` |
///
/// Any origin may read the response. Each key has `kid`, `alg`, `use` and only public members. A secret is
/// never published.
///
/// # Example: the key set as a route
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Router;
/// use tower_jwt_auth::issue::SigningKeys;
///
/// fn app(keys: &SigningKeys) -> Router {
///     Router::new().route_service("/.well-known/jwks.json", keys.jwks())
/// }
/// # }
/// ```
///
/// [RFC 7517, section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
#[derive(Clone, Debug)]
pub struct Jwks(SigningKeys);

impl Jwks {
    pub(crate) fn new(keys: SigningKeys) -> Self {
        Self(keys)
    }

    fn document(&self) -> Document {
        Document {
            text: format!(r#"{{"keys":[{}]}}"#, self.0.published().join(",")),
            media_type: "application/jwk-set+json",
            max_age: self.0.max_age(),
        }
    }
}

publishes!(Jwks);
