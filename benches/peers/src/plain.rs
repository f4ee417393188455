//! Contenders that are not crates: no layer, plain `jsonwebtoken`, and lower bounds.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use jsonwebtoken::{DecodingKey, TokenData, Validation};
use tower::{Service, service_fn};
use tower_jwt_auth::Algorithm;

use crate::measure::{Subject, subject};
use crate::tokens::{Everything, World};

/// The service under every layer. It answers at once, with an empty response.
pub struct Hello<B = ()>(PhantomData<fn() -> B>);

impl<B> Hello<B> {
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<B> Clone for Hello<B> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<B: Default, Q> Service<Request<Q>> for Hello<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(B::default())))
    }
}

pub fn no_auth() -> Box<dyn Subject> {
    subject(Hello::<()>::new())
}

/// A lower bound for every layer that passes on claims.
pub fn floor(world: &World) -> Box<dyn Subject> {
    let decode = Decode::new(world);
    let claims = decode.decode(&world.token()).expect("a good token");
    let claims = Arc::new(claims.claims);
    let mut hello = Hello::<()>::new();
    subject(service_fn(move |mut request: Request<()>| {
        request.extensions_mut().insert(Arc::clone(&claims));
        hello.call(request)
    }))
}

/// The same around a route: the cost of an axum layer without any work.
pub fn with_floor(route: axum::Router) -> axum::Router {
    let claims = Arc::new(String::from("claims"));
    route.layer(tower::util::MapRequestLayer::new(
        move |mut request: axum::extract::Request| {
            request.extensions_mut().insert(Arc::clone(&claims));
            request
        },
    ))
}

/// No layer, but a bare check of the signature with a parsed key and decoded signatures. The
/// requests must have the tokens in this order.
pub fn bare_check(world: &World, tokens: &[String]) -> Box<dyn Subject> {
    let key = Arc::new(BareKey::new(world));
    let signatures: Arc<[Vec<u8>]> = tokens
        .iter()
        .map(|token| decoded(token.rsplit('.').next().unwrap_or_default()))
        .collect();
    let (mut hello, mut next) = (Hello::<()>::new(), 0_usize);
    subject(service_fn(move |request: Request<()>| {
        let signature = signatures.get(next % signatures.len()).expect("in range");
        next += 1;
        let token = bearer(&request).unwrap_or_default();
        let message = token.rsplit_once('.').map_or("", |(message, _)| message);
        let is_good = key.verifies(message.as_bytes(), signature);
        assert!(is_good, "the tokens come in another order");
        hello.call(request)
    }))
}

enum BareKey {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl BareKey {
    fn new(world: &World) -> Self {
        let jwk = world.issuer.jwk();
        let bytes = |member: &str| {
            let text = jwk.get(member).and_then(|value| value.as_str());
            decoded(text.expect("the key has this member"))
        };
        let point = || [vec![4], bytes("x"), bytes("y")].concat();
        let rsa = |parameters| {
            let (n, e) = (bytes("n"), bytes("e"));
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)
        };
        let parsed = match world.algorithm {
            Algorithm::HS256 => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes("k"));
                return Self::Hmac(Box::new(key));
            }
            Algorithm::RS256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::PS256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::ES256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point()),
            Algorithm::ES384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point()),
            Algorithm::EdDSA => ParsedPublicKey::new(&ED25519, bytes("x")),
            other => panic!("{} is not measured", other.as_str()),
        };
        Self::Public(parsed.expect("a good key"))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// Plain `jsonwebtoken`, as an application would use it: one key, and those checks that the library
/// has too.
#[derive(Clone)]
pub struct Decode(Arc<(DecodingKey, Validation)>);

impl Decode {
    pub fn new(world: &World) -> Self {
        let jwk = serde_json::from_value(world.issuer.jwk()).expect("a good key");
        let algorithm = world.algorithm.as_str().parse().expect("known to it");
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[world.issuer_name()]);
        validation.set_audience(&[world.audience()]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        let key = DecodingKey::from_jwk(&jwk).expect("a good key");
        Self(Arc::new((key, validation)))
    }

    pub fn decode(&self, token: &str) -> jsonwebtoken::errors::Result<TokenData<Everything>> {
        jsonwebtoken::decode(token, &self.0.0, &self.0.1)
    }
}

/// The smallest layer around [`Decode`].
pub fn plain_decode(world: &World) -> Box<dyn Subject> {
    let (decode, mut hello) = (Decode::new(world), Hello::<()>::new());
    subject(service_fn(move |mut request: Request<()>| {
        match bearer(&request).map(|token| decode.decode(token)) {
            Some(Ok(token)) => {
                request.extensions_mut().insert(Arc::new(token.claims));
                hello.call(request)
            }
            _ => ready(Ok(rejected())),
        }
    }))
}

pub fn rejected<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
}

pub fn bearer<B>(request: &Request<B>) -> Option<&str> {
    let header = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    header.strip_prefix("Bearer ")
}

fn decoded(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("it is base64url")
}
