//! The number of allocations of a request, and the memory that it leaves behind. Both are the same
//! on every machine, so a longer hot path shows at once.
#![cfg(feature = "test-util")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests fail as tests do"
)]

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use serde::Deserialize;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};
use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{JwtAuth, NoClaims};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The service inside, which needs no memory.
#[derive(Clone)]
struct Hello;

impl Service<Request<()>> for Hello {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(())))
    }
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "there to be read into")]
struct User {
    email: String,
    permissions: Vec<String>,
}

/// The maximum number of allocations that the layer adds to a request with one of these tokens.
fn count<C>(auth: &JwtAuth<C>, tokens: &[String], status: u16) -> usize
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let mut service = auth.layer(Hello);
    let mut context = Context::from_waker(Waker::noop());
    let mut counts = tokens.iter().map(|token| {
        let request = Request::get("/events");
        let request = match token.as_str() {
            "" => request,
            token => request.header("authorization", format!("Bearer {token}")),
        };
        let request = request.body(()).unwrap();
        let region = Region::new(ALLOCATOR);
        let mut answer = pin!(service.call(request));
        let Poll::Ready(Ok(response)) = answer.as_mut().poll(&mut context) else {
            panic!("the layer has nothing to wait for")
        };
        let count = region.change().allocations;
        assert_eq!(response.status(), status);
        count
    });
    // Allocations that are made once, for the first request, do not count.
    counts.next();
    counts.max().unwrap()
}

/// The number of allocations of a request to a router that is called directly and wraps its routes
/// again for each request. Subtracts those of an `Extension` layer in place of the layer under
/// test.
#[cfg(feature = "axum")]
fn count_in_router<C>(auth: &JwtAuth<C>, token: &str) -> usize
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
{
    use axum::{Extension, Router, body::Body, routing::get};

    let routes = || Router::new().route("/events", get(async || "hello"));
    let count = |router: Router| {
        let mut context = Context::from_waker(Waker::noop());
        let counts = (0..8).map(|_| {
            let request =
                Request::get("/events").header("authorization", format!("Bearer {token}"));
            let request = request.body(Body::empty()).unwrap();
            let mut router = router.clone();
            let region = Region::new(ALLOCATOR);
            let mut answer = pin!(router.call(request));
            let Poll::Ready(Ok(response)) = answer.as_mut().poll(&mut context) else {
                panic!("there is nothing to wait for")
            };
            let count = region.change().allocations;
            assert_eq!(response.status(), 200);
            count
        });
        counts.skip(1).max().unwrap()
    };
    let with_auth = count(routes().layer(auth.clone()));
    with_auth - count(routes().layer(Extension(std::sync::Arc::new(7))))
}

/// The number of allocations of the first request to a route that is wrapped when that request
/// arrives.
#[cfg(feature = "axum")]
fn count_of_the_first_request(auth: JwtAuth) -> usize {
    use axum::{Router, body::Body, routing::get};

    let route = get(async || "hello").route_layer(auth);
    let mut router = Router::new().route("/events", route);
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    let mut answer = pin!(router.call(request));
    let Poll::Ready(Ok(response)) = answer.as_mut().poll(&mut context) else {
        panic!("there is nothing to wait for")
    };
    let count = region.change().allocations;
    assert_eq!(response.status(), 401);
    count
}

/// The number of bytes that the layer allocates while it rejects a request with this
/// `Authorization` with 400.
fn bytes_of(auth: &JwtAuth, authorization: &str) -> usize {
    let mut service = auth.layer(Hello);
    let mut context = Context::from_waker(Waker::noop());
    let request = Request::get("/events").header("authorization", authorization);
    let request = request.body(()).unwrap();
    let region = Region::new(ALLOCATOR);
    let mut answer = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = answer.as_mut().poll(&mut context) else {
        panic!("the layer has nothing to wait for")
    };
    let bytes = region.change().bytes_allocated;
    assert_eq!(response.status(), 400);
    bytes
}

/// The number of bytes that each of these tokens leaves behind in the cache.
fn kept(auth: &JwtAuth, tokens: &[String]) -> usize {
    let verifier = auth.verifier();
    let (first, rest) = tokens.split_first().unwrap();
    verifier.verify_now(first).unwrap();
    let region = Region::new(ALLOCATOR);
    for token in rest {
        verifier.verify_now(token).unwrap();
    }
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated) / rest.len()
}

/// A single test, because the counts are those of the whole process.
#[test]
fn a_request_costs_few_allocations() {
    let issuer = TestIssuer::new();
    let token = |number: usize| {
        let token = issuer
            .token()
            .claim("jti", number.to_string())
            .scope("read write");
        token
            .roles(["editor", "viewer"])
            .claim("email", "ada@example.com")
            .claim("permissions", vec!["a", "b", "c"])
            .expires_in(Duration::from_secs(3_600))
            .mint()
    };
    let repeated = vec![token(0); 8];
    let fresh: Vec<_> = (1..32).map(token).collect();
    let auth = || {
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), issuer.keys());
        auth.cache(TokenCache::default()).claims::<NoClaims>()
    };
    // The first request of a process does not draw the random key, because the router drew it when
    // it was built.
    #[cfg(feature = "axum")]
    {
        let first = count_of_the_first_request(auth());
        assert_eq!(first, count_of_the_first_request(auth()));
        // The first request allocates the table. A cache that is off has none.
        let off = auth().cache(TokenCache::off());
        assert!(first > count_of_the_first_request(off));
    }
    // The map of extensions, its table, and the claims in it.
    assert_eq!(count(&auth(), &repeated, 200), 3);
    // The claims in two types.
    assert_eq!(count(&auth().claims::<User>(), &repeated, 200), 4);
    // Wrapping a service only increments a reference count.
    let wrapping = auth();
    drop(wrapping.layer(Hello));
    let region = Region::new(ALLOCATOR);
    for _ in 0..8 {
        black_box(wrapping.clone().layer(Hello));
    }
    assert_eq!(region.change().allocations, 0);
    // Routers wrap their routes again for each request. That costs nothing but the claims in a
    // second type.
    #[cfg(feature = "axum")]
    {
        assert_eq!(count_in_router(&auth(), &repeated[0]), 0);
        assert_eq!(count_in_router(&auth().claims::<User>(), &repeated[0]), 1);
    }
    // A token that is not in the cache: its claims, and with an own type its strings too.
    let off = auth().cache(TokenCache::off());
    assert_eq!(count(&off, &fresh, 200), 7);
    assert_eq!(count(&off.claims::<User>(), &fresh, 200), 15);
    // One more allocation for the entry in the cache.
    assert_eq!(count(&auth(), &fresh, 200), 8);
    // A request without a token, or with a malformed one: the rejection in the extensions and the
    // label of the metric. The response uses the header map of the request again, if the request
    // has one.
    let rejected = if cfg!(feature = "metrics") { 4 } else { 3 };
    assert_eq!(count(&auth(), &vec![String::new(); 8], 401), rejected + 2);
    assert_eq!(count(&auth(), &vec!["a!".to_owned(); 8], 400), rejected);
    // The same for a long text that is no token: nothing of it is copied or decoded.
    assert_eq!(count(&auth(), &vec!["x".repeat(1_400); 8], 401), rejected);
    // LIMIT-D1: a credential that is too long is not copied or decoded either, under any scheme.
    for scheme in ["Bearer", "Basic", "Negotiate"] {
        for text in ["a".repeat(1 << 20), fresh[0].repeat(1_000)] {
            let bytes = bytes_of(&auth(), &format!("{scheme} {text}"));
            assert!(bytes < 4_096, "{scheme}: {bytes} for {}", text.len());
        }
    }
    // A cached token leaves behind its payload and at most 680 bytes more.
    let kept = kept(&auth(), &fresh);
    let payload = fresh[0].split('.').nth(1).map_or(0, str::len) * 3 / 4;
    assert!(
        (payload..=payload + 680).contains(&kept),
        "{kept} for {payload}"
    );
}
