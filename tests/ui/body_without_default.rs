//! The body type of the service has no default.

use std::convert::Infallible;

use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::JwtAuth;

struct Body(String);

fn serve(_: impl Service<Request<String>, Response = Response<Body>>) {}

async fn answer(_: Request<String>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body("hello".to_owned())))
}

fn start(auth: JwtAuth) {
    serve(auth.layer(service_fn(answer)));
}

fn main() {}
