//! `aliri_tower`: request validation over `aliri`.

use aliri::jwt::{Audience, Audiences, CoreClaims, CoreValidator, Issuer, IssuerRef};
use aliri::jwt::{Subject as TokenSubject, SubjectRef};
use aliri::{Jwks, jwa};
use aliri_clock::UnixTime;
use aliri_oauth2::{Authority, HasScope, Scope};
use aliri_tower::Oauth2Authorizer;
use axum::body::Body;
use serde::Deserialize;
use tower::Layer;
use tower_jwt_auth::Algorithm;

use super::{Changing, Peer, Routes, route};
use crate::measure::{Subject, subject};
use crate::plain::Hello;
use crate::tokens::World;

pub const PEER: Peer = Peer {
    name: "aliri_tower",
    service,
    router: Routes::Axum(|world| {
        let authority = authority(world, jwa::Algorithm::RS256);
        let authorizer = Oauth2Authorizer::new().with_claims::<Everything>();
        let authorizer = authorizer.with_terse_error_handler::<Body>();
        route().layer(authorizer.jwt_layer(authority))
    }),
    takes_many: true,
    note: "a `Jwks` that is there; HMAC and RSA over ring, EC over OpenSSL; no EdDSA",
};

fn service(world: &World) -> Result<Box<dyn Subject>, String> {
    Ok(around(authority(world, algorithm(world)?)))
}

/// The service, and a function that replaces its key set by another one with the same key.
pub fn changing(world: &World) -> Option<Changing> {
    let authority = authority(world, algorithm(world).ok()?);
    let service = around(authority.clone());
    let set = key_set(&world.jwks());
    Some((service, Box::new(move |_| authority.set_jwks(set.clone()))))
}

fn algorithm(world: &World) -> Result<jwa::Algorithm, String> {
    Ok(match world.algorithm {
        Algorithm::HS256 => jwa::Algorithm::HS256,
        Algorithm::RS256 => jwa::Algorithm::RS256,
        Algorithm::PS256 => jwa::Algorithm::PS256,
        #[cfg(feature = "openssl")]
        Algorithm::ES256 => jwa::Algorithm::ES256,
        #[cfg(feature = "openssl")]
        Algorithm::ES384 => jwa::Algorithm::ES384,
        _ => return Err("it does not know the algorithm".into()),
    })
}

fn around(authority: Authority) -> Box<dyn Subject> {
    let authorizer = Oauth2Authorizer::new().with_claims::<Everything>();
    let authorizer = authorizer.with_terse_error_handler::<Body>();
    let layer = authorizer.jwt_layer::<()>(authority);
    subject(layer.layer(Hello::<Body>::new()))
}

fn authority(world: &World, algorithm: jwa::Algorithm) -> Authority {
    let validator = CoreValidator::default()
        .check_expiration()
        // If `nbf` is checked, it is required, and the tokens do not have it.
        .ignore_not_before()
        .with_leeway_secs(60)
        .add_approved_algorithm(algorithm)
        .add_allowed_audience(Audience::new(world.audience()))
        .require_issuer(Issuer::new(world.issuer_name()));
    Authority::new(key_set(&world.jwks()), validator)
}

fn key_set(jwks: &str) -> Jwks {
    serde_json::from_str(jwks).expect("it takes the key set")
}

/// All twelve claims, in the types of the crate where it requires them.
#[derive(Clone, Deserialize)]
#[allow(dead_code, reason = "there to be read into")]
struct Everything {
    iss: Issuer,
    sub: TokenSubject,
    aud: Audiences,
    client_id: String,
    iat: UnixTime,
    exp: UnixTime,
    nbf: Option<UnixTime>,
    jti: String,
    scope: Scope,
    roles: Vec<String>,
    email: String,
    name: String,
    permissions: Vec<String>,
}

impl CoreClaims for Everything {
    fn nbf(&self) -> Option<UnixTime> {
        self.nbf
    }

    fn exp(&self) -> Option<UnixTime> {
        Some(self.exp)
    }

    fn aud(&self) -> &Audiences {
        &self.aud
    }

    fn iss(&self) -> Option<&IssuerRef> {
        Some(&self.iss)
    }

    fn sub(&self) -> Option<&SubjectRef> {
        Some(&self.sub)
    }
}

impl HasScope for Everything {
    fn scope(&self) -> &Scope {
        &self.scope
    }
}
