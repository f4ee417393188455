//! Two layers around one service, each with its own policy. The service sees the verdict of the
//! inner layer, and nothing of the outer one.

#![cfg(all(feature = "axum", feature = "grpc"))]

use std::convert::Infallible;

use axum::body::{Body, to_bytes};
use axum::routing::any;
use axum::{Extension, Router};
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::grpc::RequestExt;
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::response::Challenge;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Claims, JwtAuth, NoClaims, RequireRole, role};

use crate::support::{Fixture, challenges};

#[derive(Clone, Debug, Deserialize)]
struct User {
    locale: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Staff {
    desk: u32,
}

type Admin = role!("admin");

/// The issuer of the outer layer, where anybody can become a customer.
fn customers(fixture: &Fixture) -> TestIssuer {
    TestIssuer::new()
        .named("https://customers.example")
        .with_clock(fixture.clock.clone())
}

fn cookie() -> TokenSource {
    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    TokenSource::header().with_cookie(cookie)
}

/// Routes that read claims in every possible way, and answer with what they found.
fn routes() -> Router {
    fn named<C>(claims: Option<&Claims<C>>) -> String {
        claims.map_or("nobody".into(), |claims| {
            claims.subject().unwrap().to_owned()
        })
    }
    Router::new()
        .route("/must", any(async |me: Claims| named(Some(&me))))
        .route(
            "/user",
            any(async |me: Claims<User>| format!("{} {}", named(Some(&me)), me.locale)),
        )
        .route(
            "/staff",
            any(async |me: Claims<Staff>| format!("{} {}", named(Some(&me)), me.desk)),
        )
        .route(
            "/role",
            any(async |me: RequireRole<Admin>| named(Some(&me))),
        )
        .route(
            "/user-role",
            any(async |me: RequireRole<Admin, User>| named(Some(&me))),
        )
        .route(
            "/guard",
            any(async || "in").layer(JwtAuth::require::<Admin>()),
        )
        .route("/may", any(async |me: Option<Claims>| named(me.as_ref())))
        .route(
            "/may-user",
            any(async |me: Option<Claims<User>>| named(me.as_ref())),
        )
        .route(
            "/may-role",
            any(async |me: Option<RequireRole<Admin>>| named(me.as_deref())),
        )
        .route(
            "/extension",
            any(async |me: Option<Extension<Claims>>| named(me.as_deref())),
        )
        .route(
            "/extension-user",
            any(async |me: Option<Extension<Claims<User>>>| named(me.as_deref())),
        )
        .route(
            "/extension-staff",
            any(async |me: Option<Extension<Claims<Staff>>>| named(me.as_deref())),
        )
        .route(
            "/request",
            any(async |request: Request<Body>| {
                assert!(
                    request
                        .extensions()
                        .get::<Claims<User>>()
                        .is_none_or(|user| user.subject()
                            == request.extensions().get::<Claims>().unwrap().subject())
                );
                named(request.extensions().get::<Claims>())
            }),
        )
}

fn request(
    method: Method,
    path: &str,
    header: Option<&str>,
    cookie: Option<&str>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = header {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    if let Some(token) = cookie {
        request = request.header("cookie", format!("__Host-token={token}"));
    }
    request.body(Body::empty()).unwrap()
}

async fn answer(app: &Router, request: Request<Body>) -> (u16, String) {
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The answers of the routes if there are no claims.
const NOBODY: [(&str, u16, &str); 13] = [
    ("/must", 401, ""),
    ("/user", 401, ""),
    ("/staff", 401, ""),
    ("/role", 401, ""),
    ("/user-role", 401, ""),
    ("/guard", 401, ""),
    ("/may", 200, "nobody"),
    ("/may-user", 200, "nobody"),
    ("/may-role", 200, "nobody"),
    ("/extension", 200, "nobody"),
    ("/extension-user", 200, "nobody"),
    ("/extension-staff", 200, "nobody"),
    ("/request", 200, "nobody"),
];

/// The answers of the routes to a token of the staff. An extension of another type is present if
/// the inner layer has that type.
const STAFF: [(&str, &str); 11] = [
    ("/must", "staff"),
    ("/user", "staff de"),
    ("/staff", "staff 7"),
    ("/role", "staff"),
    ("/user-role", "staff"),
    ("/guard", "in"),
    ("/may", "staff"),
    ("/may-user", "staff"),
    ("/may-role", "staff"),
    ("/extension", "staff"),
    ("/request", "staff"),
];

fn around<A, B>(outer: JwtAuth<A>, inner: JwtAuth<B>) -> Router
where
    A: DeserializeOwned + Send + Sync + 'static,
    B: DeserializeOwned + Send + Sync + 'static,
{
    routes().layer(inner).layer(outer)
}

/// Every pair of own claims types of two layers.
fn pairs(outer: &JwtAuth, inner: &JwtAuth) -> Vec<Router> {
    let (outer, inner) = (|| outer.clone(), || inner.clone());
    vec![
        around(outer(), inner()),
        around(outer(), inner().claims::<User>()),
        around(outer().claims::<User>(), inner()),
        around(outer().claims::<User>(), inner().claims::<User>()),
        around(outer().claims::<User>(), inner().claims::<Staff>()),
        around(outer().claims::<Staff>(), inner().claims::<User>()),
        around(outer().claims::<NoClaims>(), inner().claims::<Staff>()),
    ]
}

fn token(issuer: tower_jwt_auth::test::TestToken, subject: &str) -> String {
    let token = issuer.subject(subject).roles(["admin"]);
    token.claim("locale", "de").claim("desk", 7).mint()
}

#[tokio::test]
async fn an_optional_layer_inside_does_not_vouch_for_the_claims_of_one_outside() {
    let fixture = Fixture::new();
    let customers = customers(&fixture);
    let customer = token(customers.token(), "customer");
    let staff = token(fixture.token(), "staff");
    let by_header = customers.auth().remove_credentials();
    let by_cookie = customers.auth().token_source(cookie());
    let inner = fixture.auth().optional();
    let inner_cookie = inner.clone().token_source(cookie());

    for (outer, inner, header, cookie) in [
        (&by_cookie, &inner, None, Some(customer.as_str())),
        (&by_header, &inner, Some(customer.as_str()), None),
        (&by_header, &inner_cookie, Some(customer.as_str()), None),
        (
            &by_cookie.clone().optional(),
            &inner,
            None,
            Some(customer.as_str()),
        ),
        (&by_header.clone().optional(), &inner, None, None),
    ] {
        for app in pairs(outer, inner) {
            for (path, status, body) in NOBODY {
                let found = answer(&app, request(Method::GET, path, header, cookie)).await;
                assert_eq!(found, (status, body.to_owned()), "{path}");
            }
        }
    }

    // The twin: a token that the inner layer accepts.
    for outer in [by_header.clone(), by_header.optional()] {
        for app in pairs(&outer, &inner_cookie) {
            for (path, expected) in STAFF {
                for header in [Some(customer.as_str()), None] {
                    if header.is_none()
                        && answer(&app, request(Method::GET, path, None, None)).await.0 == 401
                    {
                        continue; // the outer layer is not optional
                    }
                    let request = request(Method::GET, path, header, Some(&staff));
                    assert_eq!(
                        answer(&app, request).await,
                        (200, expected.to_owned()),
                        "{path}"
                    );
                }
            }
        }
    }
}

/// A claims type that only the outer layer has does not show the token of that layer.
#[tokio::test]
async fn no_type_of_claims_shows_the_token_of_the_layer_outside() {
    let fixture = Fixture::new();
    let customers = customers(&fixture);
    let customer = token(customers.token(), "customer");
    let staff = token(fixture.token(), "staff");
    let outer = customers.auth().remove_credentials();
    let inner = fixture.auth().token_source(cookie());
    for app in pairs(&outer, &inner) {
        for path in ["/extension-user", "/extension-staff"] {
            let request = request(Method::GET, path, Some(&customer), Some(&staff));
            let (status, body) = answer(&app, request).await;
            assert_eq!(status, 200);
            assert!(
                ["nobody", "staff"].contains(&body.as_str()),
                "{path}: {body}"
            );
        }
    }
}

fn preflight(path: &str, header: Option<&str>) -> Request<Body> {
    let mut request = request(Method::OPTIONS, path, header, None);
    let headers = request.headers_mut();
    headers.insert("origin", HeaderValue::from_static("https://app.example"));
    headers.insert(
        "access-control-request-method",
        HeaderValue::from_static("GET"),
    );
    request
}

/// FETCH-3.3-D1: a preflight has no claims, whichever layer passes it on.
#[tokio::test]
async fn a_preflight_through_two_layers_has_no_claims() {
    let fixture = Fixture::new();
    let customers = customers(&fixture);
    let customer = token(customers.token(), "customer");
    let staff = token(fixture.token(), "staff");
    let (outer, inner) = (customers.auth(), fixture.auth());
    let checking = outer.clone().check_preflights();
    for (outer, token) in [
        (&outer, None),
        (&outer, Some(&customer)),
        (&checking, Some(&customer)),
    ] {
        for app in pairs(outer, &inner) {
            for (path, status, body) in NOBODY {
                let found = answer(&app, preflight(path, token.map(String::as_str))).await;
                assert_eq!(found, (status, body.to_owned()), "{path}");
            }
        }
    }
    // In the reverse order the verdict of the inner layer counts.
    let app = around(outer, inner.check_preflights());
    for (path, body) in [
        ("/must", "staff"),
        ("/may", "staff"),
        ("/guard", "in"),
        ("/request", "staff"),
    ] {
        let found = answer(&app, preflight(path, Some(&staff))).await;
        assert_eq!(found, (200, body.to_owned()), "{path}");
    }
    assert_eq!(
        answer(&app, preflight("/may", Some(&customer))).await.0,
        401
    );
    assert_eq!(answer(&app, preflight("/may", None)).await.0, 401);
}

/// The mark that the outer layer sets for a request without a token ends when the inner layer
/// verifies a token. If a middleware then removes the claims, the layer counts as missing, and the
/// request does not count as anonymous.
#[tokio::test]
async fn a_mark_of_the_layer_outside_goes_with_the_verdict_of_the_one_inside() {
    let fixture = Fixture::new();
    let staff = token(fixture.token(), "staff");
    let app = routes()
        .layer(tower::util::MapRequestLayer::new(
            |mut request: Request<Body>| {
                request.extensions_mut().remove::<Claims>();
                request
            },
        ))
        .layer(fixture.auth().token_source(cookie()))
        .layer(customers(&fixture).auth().optional());
    for path in ["/must", "/may", "/role", "/guard"] {
        let request = request(Method::GET, path, None, Some(&staff));
        assert_eq!(answer(&app, request).await.0, 500, "{path}");
    }
}

/// The results of a tonic method that asks for claims, and for a role.
async fn tonic_says<L, S>(
    layers: L,
    request: Request<String>,
) -> (Result<String, Status>, Result<String, Status>)
where
    L: Layer<
            tower::util::BoxCloneService<Request<String>, Response<String>, Infallible>,
            Service = S,
        >,
    S: tower::Service<Request<String>, Response = Response<String>, Error = Infallible>,
{
    let (sender, receiver) = std::sync::mpsc::channel();
    let method = service_fn(move |request: Request<String>| {
        let (head, body) = request.into_parts();
        let call = tonic::Request::from_parts(
            MetadataMap::from_headers(head.headers),
            head.extensions,
            body,
        );
        let name = |claims: Claims| claims.subject().unwrap().to_owned();
        sender
            .send((call.claims().map(name), call.require::<Admin>().map(name)))
            .unwrap();
        std::future::ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    layers
        .layer(method.boxed_clone())
        .oneshot(request)
        .await
        .unwrap();
    receiver.recv().unwrap()
}

fn call(header: Option<&str>) -> Request<String> {
    let mut call = Request::post("/health.Health/Check").header(CONTENT_TYPE, "application/grpc");
    if let Some(token) = header {
        call = call.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    call.body(String::new()).unwrap()
}

/// GRPC-5: the same in the extensions of tonic, with the challenge of the inner layer.
#[tokio::test]
async fn a_method_of_tonic_believes_the_layer_inside() {
    let realm = |name: &str| Challenge::new(name).unwrap();
    let fixture = Fixture::new();
    let customers = customers(&fixture);
    let customer = token(customers.token(), "customer");
    let staff = token(fixture.token(), "staff");
    let outer = customers
        .auth()
        .claims::<User>()
        .remove_credentials()
        .challenge(realm("outer"));
    let inner = fixture.auth().optional().challenge(realm("inner"));
    let rejected = |verdict: Result<String, Status>, expected: &str| {
        let status = verdict.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        let headers = status.metadata().clone().into_headers();
        assert_eq!(challenges(&headers)[0].parameter("realm"), Some(expected));
    };

    let both = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(inner.clone());
    let (claims, role) = tonic_says(both, call(Some(&customer))).await;
    rejected(claims, "inner");
    rejected(role, "inner");

    // A middleware between the two layers has changed the content type, so it is no gRPC request
    // for the inner layer.
    let translated = ServiceBuilder::new()
        .layer(outer)
        .map_request(|mut request: Request<String>| {
            request.headers_mut().remove(CONTENT_TYPE);
            request
        })
        .layer(inner.clone());
    let (claims, _) = tonic_says(translated, call(Some(&customer))).await;
    rejected(claims, "api");

    // The twin: an accepted token.
    let (claims, role) = tonic_says(ServiceBuilder::new().layer(inner), call(Some(&staff))).await;
    assert_eq!(
        (claims.unwrap(), role.unwrap()),
        ("staff".into(), "staff".into())
    );
}
