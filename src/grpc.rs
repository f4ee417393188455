//! Claims and requirements in tonic services.

use http::header::{AUTHORIZATION, CACHE_CONTROL, WWW_AUTHENTICATE};
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::claims::Claims;
use crate::error::rejection::Rejection;
use crate::reject::reported;
use crate::require;
use crate::response::challenge::Challenge;
use crate::response::missing_layer::{Asker, missing_layer};
use crate::scope::Requirement;

/// Extension trait for [`tonic::Request`]: the claims of the caller, verified by a
/// [`JwtAuth`](crate::JwtAuth) layer around the server.
///
/// # Example: a method that needs a scope
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_jwt_auth::{grpc::RequestExt, scope};
///
/// async fn delete(request: Request<u64>) -> Result<Response<()>, Status> {
///     let caller = request.require::<scope!("calendar:write")>()?;
///     println!("{} deletes {}", caller.subject().unwrap_or("nobody"), request.get_ref());
///     Ok(Response::new(()))
/// }
/// ```
///
/// A status that is created from a [`Rejection`] has the challenge in its metadata
/// (`www-authenticate`).
pub trait RequestExt: sealed::Sealed {
    /// Returns the claims of the caller, with your own claims as type `C`.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if the layer passed on the call without a token, or if the claims do not fit
    /// the type. `INTERNAL` if there is no layer.
    fn claims<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Claims<C>, Status>;

    /// Returns the claims of the caller if they grant `R`.
    ///
    /// # Errors
    ///
    /// The same as [`claims`](Self::claims), and `PERMISSION_DENIED` if the claims do not grant
    /// `R`.
    fn require<R: Requirement>(&self) -> Result<Claims, Status>;

    /// Returns the status for a rejection that the application creates, such as
    /// [`Rejection::revoked`]. The status has the challenge of the layer around the server.
    fn reject(&self, rejection: Rejection) -> Status;
}

impl<T> RequestExt for Request<T> {
    fn claims<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Claims<C>, Status> {
        require::verified(self.extensions(), || missing(self))
            .and_then(|claims| claims.deserialize().map_err(reported))
            .map_err(|rejection| status(&rejection, self))
    }

    fn require<R: Requirement>(&self) -> Result<Claims, Status> {
        require::authorize::<R>(self.extensions(), || missing(self))
            .cloned()
            .map_err(|rejection| status(&rejection, self))
    }

    fn reject(&self, rejection: Rejection) -> Status {
        status(&reported(rejection), self)
    }
}

/// Creates a status whose challenge has the realm `api`. [`RequestExt::reject`] uses the challenge of
/// the layer.
impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        with_challenge(&reported(rejection), &Challenge::default())
    }
}

fn missing<T>(call: &Request<T>) -> Rejection {
    let token = call.metadata().get(AUTHORIZATION.as_str());
    missing_layer(Asker::Method, token.map(MetadataValue::is_sensitive))
}

fn status<T>(rejection: &Rejection, request: &Request<T>) -> Status {
    match request.extensions().get::<Challenge>() {
        Some(challenge) => with_challenge(rejection, challenge),
        None => rejection.clone().into(),
    }
}

fn with_challenge(rejection: &Rejection, challenge: &Challenge) -> Status {
    let code = Code::from_i32(rejection.grpc_code().into());
    let mut status = Status::new(code, rejection.client_text());
    let no_store = MetadataValue::from_static("no-store");
    status
        .metadata_mut()
        .insert(CACHE_CONTROL.as_str(), no_store);
    for line in challenge.lines(rejection) {
        if let Ok(value) = MetadataValue::try_from(line.as_bytes()) {
            status
                .metadata_mut()
                .append(WWW_AUTHENTICATE.as_str(), value);
        }
    }
    status
}

mod sealed {
    #[expect(unnameable_types, reason = "only this crate implements `RequestExt`")]
    pub trait Sealed {}

    impl<T> Sealed for tonic::Request<T> {}
}
