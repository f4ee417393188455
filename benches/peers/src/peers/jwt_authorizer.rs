//! `jwt-authorizer`: a layer over `jsonwebtoken` 9, for axum 0.7.

use axum_07::body::Body;
use jwt_authorizer::layer::AuthorizationLayer;
use jwt_authorizer::{Authorizer, IntoLayer, JwtAuthorizer, Validation};
use tower::Layer;

use super::{Peer, Routes, route_07, wait};
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::{Everything, World};

pub const PEER: Peer = Peer {
    name: "jwt-authorizer",
    service,
    router: Routes::Axum07(|world| route_07().layer(layer(world))),
    takes_many: true,
    note: "`from_jwks_text`; jsonwebtoken 9 over ring; responses of axum 0.7",
};

fn service(world: &World) -> Result<Box<dyn Subject>, String> {
    Ok(subject(layer(world).layer(Hello::<Body>::new())))
}

fn layer(world: &World) -> AuthorizationLayer<Everything> {
    let validation = Validation::new()
        .iss(&[world.issuer_name()])
        .aud(&[world.audience()])
        .nbf(true);
    let authorizer: Authorizer<Everything> = wait(
        JwtAuthorizer::from_jwks_text(&world.jwks())
            .validation(validation)
            .build(),
    )
    .expect("it takes the key set");
    authorizer.into_layer()
}
