//! Claims and requirements in tonic services.

use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};

use crate::claims::Claims;
use crate::error::rejection::Rejection;
use crate::reject::reported;
use crate::require;
use crate::response::challenge::Challenge;
use crate::scope::Requirement;

/// What a [`JwtAuth`](crate::JwtAuth) around a tonic server knows about a call.
///
/// # Example: a method that needs a scope
///
/// ```
/// use tonic::{Request, Response, Status};
/// use tower_jwt_auth::{grpc::RequestExt, scope};
///
/// async fn delete(request: Request<u64>) -> Result<Response<()>, Status> {
///     let caller = request.require::<scope!("calendar:write")>()?;
///     println!("{:?} deletes {}", caller.subject(), request.get_ref());
///     Ok(Response::new(()))
/// }
/// ```
///
/// A status made from a [`Rejection`] carries the challenge as metadata `www-authenticate`.
pub trait RequestExt: sealed::Sealed {
    /// The claims of the caller, with own claims of this type.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` if the layer let the call through without a token, or the claims do not
    /// fit the type; `INTERNAL` if there is no layer.
    fn claims<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Claims<C>, Status>;

    /// The claims of the caller, if they grant `R`.
    ///
    /// # Errors
    ///
    /// As [`claims`](Self::claims); `PERMISSION_DENIED` if they do not.
    fn require<R: Requirement>(&self) -> Result<Claims, Status>;

    /// The status for a rejection of the application, such as [`Rejection::revoked`], with the
    /// challenge of the layer around the server.
    fn reject(&self, rejection: Rejection) -> Status;
}

impl<T> RequestExt for Request<T> {
    fn claims<C: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Claims<C>, Status> {
        require::verified(self.extensions())
            .and_then(|claims| claims.deserialize().map_err(reported))
            .map_err(|rejection| status(&rejection, self))
    }

    fn require<R: Requirement>(&self) -> Result<Claims, Status> {
        require::authorize::<R>(self.extensions())
            .cloned()
            .map_err(|rejection| status(&rejection, self))
    }

    fn reject(&self, rejection: Rejection) -> Status {
        status(&reported(rejection), self)
    }
}

/// With the realm `api`; [`RequestExt`] knows the one of the layer.
impl From<Rejection> for Status {
    fn from(rejection: Rejection) -> Self {
        with_challenge(&reported(rejection), &Challenge::default())
    }
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
    #[expect(unnameable_types, reason = "nobody else implements `RequestExt`")]
    pub trait Sealed {}

    impl<T> Sealed for tonic::Request<T> {}
}
