//! `huskarl-resource-server`: a validator over pure Rust cryptography, without a layer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request as AxumRequest;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response as AxumResponse;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use huskarl_resource_server::core::Error;
use huskarl_resource_server::core::http::{HttpClient, HttpResponse, Idempotency};
use huskarl_resource_server::core::platform::MaybeSendBoxFuture;
use huskarl_resource_server::validator::metadata::ValidatorMetadata;
use huskarl_resource_server::validator::rfc9068::Rfc9068Validator;
use serde::Deserialize;
use tower::{Service, service_fn};
use tower_jwt_auth::Algorithm;

use super::{Peer, Routes, route, wait};
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::World;

pub const PEER: Peer = Peer {
    name: "huskarl-resource-server",
    service,
    router: Routes::Axum(|world| {
        route().layer(from_fn_with_state(Arc::new(Guard::new(world)), middleware))
    }),
    takes_many: false,
    note: "`Rfc9068Validator` in the smallest service around it, as its adapters for frameworks \
           are not published; a client that hands out the key set from memory; pure Rust \
           cryptography; no HMAC from a key set",
};

fn service(world: &World) -> Result<Box<dyn Subject>, String> {
    if world.algorithm == Algorithm::HS256 {
        return Err("takes no HMAC key from a key set".into());
    }
    let guard = Arc::new(Guard::new(world));
    Ok(subject(service_fn(move |request: Request<()>| {
        let guard = Arc::clone(&guard);
        async move {
            match guard.check(request).await {
                Ok(request) => Hello::<()>::new().call(request).await,
                Err(response) => Ok::<_, Infallible>(response),
            }
        }
    })))
}

async fn middleware(
    axum::extract::State(guard): axum::extract::State<Arc<Guard>>,
    request: AxumRequest,
    next: Next,
) -> AxumResponse {
    match guard.check(request).await {
        Ok(request) => next.run(request).await,
        Err(response) => response,
    }
}

struct Guard {
    validator: Rfc9068Validator<Own>,
    metadata: ValidatorMetadata,
}

impl Guard {
    fn new(world: &World) -> Self {
        let builder = Rfc9068Validator::builder()
            .with_claims::<Own>()
            .issuer(world.issuer_name())
            .audience(world.audience())
            .clock_leeway(Duration::from_secs(60))
            .jwks_uri("https://as.example/jwks.json".parse().expect("a URL"))
            .jwks_source(Memory(world.jwks()));
        let validator = wait(builder.build()).expect("it takes the key set");
        let metadata = validator.validator_metadata(Some("https://api.example"));
        Self {
            validator,
            metadata,
        }
    }

    async fn check<B, R: Default>(
        &self,
        mut request: Request<B>,
    ) -> Result<Request<B>, Response<R>> {
        let (headers, method, uri) = (request.headers(), request.method(), request.uri());
        let result = self
            .validator
            .validate_request(headers, method, uri, None)
            .await;
        if let Some(rejection) = result.rejection(&self.metadata, None) {
            let response = rejection.apply(Response::builder()).body(R::default());
            return Err(response.expect("it made its headers itself"));
        }
        if let Ok(Some(validated)) = result.outcome {
            request.extensions_mut().insert(Arc::new(validated));
        }
        Ok(request)
    }
}

/// The claims that have no field in the crate.
#[derive(Clone, Deserialize)]
#[allow(dead_code, reason = "there to be read into")]
struct Own {
    roles: Vec<String>,
    email: String,
    name: String,
    permissions: Vec<String>,
}

/// A client that answers every request with a key set.
struct Memory(String);

impl HttpClient for Memory {
    fn execute(
        &self,
        _: Request<Bytes>,
        _: Idempotency,
    ) -> MaybeSendBoxFuture<'_, Result<HttpResponse, Error>> {
        let body = Bytes::from(self.0.clone());
        Box::pin(async move {
            Ok(HttpResponse {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body,
            })
        })
    }
}
