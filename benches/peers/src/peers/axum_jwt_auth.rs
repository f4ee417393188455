//! `axum-jwt-auth`: an extractor over `jsonwebtoken` 10.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::{Arc, Once};

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use axum::routing::get;
use axum_jwt_auth::{Claims, Decoder, LocalDecoder};
use http::Request;
use jsonwebtoken_10::{DecodingKey, Validation, crypto};
use tower::{Service, service_fn};

use super::{Peer, Routes};
use crate::load::BODY;
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::{Everything, World};

pub const PEER: Peer = Peer {
    name: "axum-jwt-auth",
    service,
    router: Routes::Axum(router),
    takes_many: false,
    note: "`LocalDecoder`, which tries every key and reads no key id; its extractor called by a \
           service; jsonwebtoken 10 with the provider aws-lc-rs installed, as the default one is \
           slower",
};

fn service(world: &World) -> Result<Box<dyn Subject>, String> {
    let decoder = decoder(world);
    Ok(subject(service_fn(move |request: Request<()>| {
        let decoder = Arc::clone(&decoder);
        async move {
            let (mut parts, body) = request.into_parts();
            match Claims::<Everything>::from_request_parts(&mut parts, &decoder).await {
                Ok(claims) => {
                    black_box(&claims);
                    let request = Request::from_parts(parts, body);
                    Hello::<Body>::new().call(request).await
                }
                Err(rejected) => Ok::<_, Infallible>(rejected.into_response()),
            }
        }
    })))
}

fn router(world: &World) -> Router {
    let handler = async |claims: Claims<Everything>| {
        black_box(&claims);
        BODY
    };
    let router = Router::new().route("/events", get(handler));
    router.with_state(decoder(world))
}

fn decoder(world: &World) -> Decoder<Everything> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let installed = crypto::aws_lc::DEFAULT_PROVIDER.install_default();
        assert!(installed.is_ok(), "nobody was faster");
    });
    let jwk = serde_json::from_value(world.issuer.jwk()).expect("a good key");
    let key = DecodingKey::from_jwk(&jwk).expect("a good key");
    let algorithm = world.algorithm.as_str().parse().expect("known to it");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[world.issuer_name()]);
    validation.set_audience(&[world.audience()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    let decoder = LocalDecoder::builder().keys(vec![key]);
    Arc::new(decoder.validation(validation).build().expect("complete"))
}
