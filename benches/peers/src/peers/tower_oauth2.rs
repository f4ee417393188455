//! `tower-oauth2-resource-server`: a layer over `jsonwebtoken` 11.

use tower::Layer;
use tower_oauth2_resource_server::layer::OAuth2ResourceServerLayer;
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;

use super::{Peer, Routes, route, wait};
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::{Everything, World};

pub const PEER: Peer = Peer {
    name: "tower-oauth2-resource-server",
    service: |world| Ok(service(world)),
    router: Routes::Axum(|world| route().layer(layer(world))),
    takes_many: true,
    note: "`static_builder`; feature `jwt-aws-lc-rs` instead of the slower default",
};

fn service(world: &World) -> Box<dyn Subject> {
    subject(layer(world).layer(Hello::<()>::new()))
}

fn layer<B: Default>(world: &World) -> OAuth2ResourceServerLayer<B, Everything> {
    let audiences = vec![world.audience()];
    // The recommended settings without `nbf`, which they require and the tokens do not have.
    let claims = ClaimsValidationSpec::recommended(&world.issuer_name(), &audiences).nbf(false);
    let algorithm = world.algorithm.as_str().parse().expect("known to it");
    let tenant = TenantConfiguration::static_builder(world.jwks())
        .audiences(&audiences)
        .claims_validation(claims)
        .allowed_algorithms(&[algorithm])
        .build()
        .expect("it takes the key set");
    let builder = OAuth2ResourceServer::<Everything>::builder().add_tenant(tenant);
    let server = wait(builder.build()).expect("nothing has to be fetched");
    server.into_layer()
}
