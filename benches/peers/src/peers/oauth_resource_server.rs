//! `oauth-resource-server`: a layer over `jsonwebtoken` 9.

use std::sync::Arc;

use oauth_resource_server::http_layer::HttpAuthLayer;
use oauth_resource_server::{KeyNaming, OAuthConfig, OAuthValidator};
use tower::Layer;
use tower_jwt_auth::Algorithm;

use super::{Peer, Routes, route};
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::World;

pub const PEER: Peer = Peer {
    name: "oauth-resource-server",
    service,
    router: Routes::Axum(|world| route().layer(layer(world))),
    takes_many: false,
    note: "`initial_jwks`, and a loopback server to ask for unknown keys; `HttpAuthLayer`; one \
           required scope, as it demands one; no own claims; jsonwebtoken 9 over ring; no HMAC",
};

fn service(world: &World) -> Result<Box<dyn Subject>, String> {
    if world.algorithm == Algorithm::HS256 {
        return Err("rejects HMAC".into());
    }
    Ok(subject(layer(world).layer(Hello::<()>::new())))
}

fn layer(world: &World) -> HttpAuthLayer {
    let config = OAuthConfig {
        enabled: true,
        issuer: world.issuer_name(),
        jwks_uri: Some(world.jwks_url.clone()),
        audience: world.audience(),
        resource: world.audience(),
        required_scopes: vec!["calendar:read".into()],
        ..OAuthConfig::default()
    };
    let config = config.resolve(KeyNaming::Dotted("oauth"));
    let config = config.expect("complete").expect("enabled");
    let validator = OAuthValidator::builder(&config).initial_jwks(&world.jwks());
    let validator = Arc::new(validator.build().expect("it takes the key set"));
    let layer = HttpAuthLayer::builder().oauth(validator).build();
    layer.expect("complete")
}
