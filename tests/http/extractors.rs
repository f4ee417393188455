//! Axum handlers whose arguments say what they need.

#![cfg(feature = "axum")]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::support::{AUDIENCE, Fixture, ISSUER, challenges};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, Path};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Service, ServiceExt};
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::response::{Challenge, ProblemDetails};
use tower_jwt_auth::scope::AllOf;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{
    Claims, JwtAuth, Rejection, RejectionKind, RequireRole, RequireScope, TrustedIssuer, role,
    scope,
};

#[derive(Deserialize)]
struct User {
    locale: String,
}

#[derive(Deserialize)]
struct Tenant {
    tenant: u32,
}

mod calendar {
    tower_jwt_auth::scopes! {
        pub(crate) Read = "calendar:read";
        pub(crate) Write = "calendar:write";
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn code(&self) -> Option<String> {
        self.parameter("error")
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let challenge = challenges(&self.headers).into_iter().next()?;
        challenge.parameter(name).map(str::to_owned)
    }
}

async fn call(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: head.status,
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn request(method: Method, path: &str, token: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Body::empty()).unwrap()
}

async fn get_path(app: &Router, path: &str, token: Option<&str>) -> Answer {
    call(app, request(Method::GET, path, token)).await
}

/// A router with one route, inside the layer of the fixture.
fn app<H: axum::handler::Handler<T, ()>, T: 'static>(fixture: &Fixture, handler: H) -> Router {
    Router::new().route("/", get(handler)).layer(fixture.auth())
}

#[tokio::test]
async fn a_handler_takes_the_claims() {
    let fixture = Fixture::new();
    let app = app(&fixture, async |claims: Claims| {
        let id = claims.subject_id().unwrap();
        format!("{} {} {:?}", id.issuer(), id.subject(), claims.client_id())
    });
    let token = fixture.token().subject("alice").mint();
    let answer = get_path(&app, "/", Some(&token)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, format!(r#"{ISSUER} alice Some("client-1")"#));

    let answer = get_path(&app, "/", None).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::UNAUTHORIZED, "")
    );
    assert_eq!(answer.code(), None);
    let tampered = fixture.token().subject("alice").tampered().mint();
    let answer = get_path(&app, "/", Some(&tampered)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.code().as_deref(), Some("invalid_token"));
}

#[tokio::test]
async fn a_handler_takes_own_claims_whatever_the_type_of_the_layer() {
    async fn both(user: Claims<User>, tenant: Claims<Tenant>, general: Claims) -> String {
        assert_eq!(user.subject(), general.subject());
        assert_eq!(tenant.subject(), general.subject());
        format!("{} {}", user.locale, tenant.tenant)
    }
    let fixture = Fixture::new();
    let route = || Router::new().route("/", get(both));
    let good = fixture
        .token()
        .claim("locale", "de")
        .claim("tenant", 7)
        .mint();
    let no_tenant = fixture.token().claim("locale", "de").mint();
    let wrong_tenant = fixture
        .token()
        .claim("locale", "de")
        .claim("tenant", "7")
        .mint();
    for app in [
        route().layer(fixture.auth()),
        route().layer(fixture.auth().claims::<User>()),
        route().layer(fixture.auth().claims::<Tenant>()),
        route().layer(fixture.auth().claims::<serde_json::Map<String, Value>>()),
    ] {
        // A second request with the same token gets the same claims.
        for _ in 0..2 {
            let answer = get_path(&app, "/", Some(&good)).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (StatusCode::OK, "de 7")
            );
        }
        for token in [&no_tenant, &wrong_tenant] {
            let answer = get_path(&app, "/", Some(token)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
            assert_eq!(answer.code().as_deref(), Some("invalid_token"));
            assert_eq!(answer.body, "");
        }
    }
}

#[tokio::test]
async fn the_layer_rejects_claims_that_do_not_fit_its_own_type() {
    let fixture = Fixture::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let handler = async move || {
        count.fetch_add(1, Ordering::Relaxed);
        "in"
    };
    let app = Router::new()
        .route("/", get(handler))
        .layer(fixture.auth().claims::<User>());
    let good = fixture.token().claim("locale", "de").mint();
    assert_eq!(get_path(&app, "/", Some(&good)).await.body, "in");
    let answer = get_path(&app, "/", Some(&fixture.token().mint())).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// RFC6750-3.1-5
#[tokio::test]
async fn a_handler_requires_a_scope() {
    async fn inline(user: RequireScope<scope!("calendar:read"), User>) -> String {
        format!("{} {}", user.subject().unwrap(), user.locale)
    }
    async fn named(user: RequireScope<calendar::Read>) -> String {
        user.into_claims().subject().unwrap().to_owned()
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/inline", get(inline))
        .route("/named", get(named))
        .layer(fixture.auth());
    let token = fixture.token().claim("locale", "de").subject("alice");
    let granted = token.clone().scope("calendar:read").mint();
    let answer = get_path(&app, "/inline", Some(&granted)).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (StatusCode::OK, "alice de")
    );
    assert_eq!(get_path(&app, "/named", Some(&granted)).await.body, "alice");

    for scope in [
        "calendar:write",
        "calendar:readonly",
        "Calendar:Read",
        "calendar",
    ] {
        let token = token.clone().scope(scope).mint();
        for path in ["/inline", "/named"] {
            let answer = get_path(&app, path, Some(&token)).await;
            assert_eq!(
                (answer.status, answer.body.as_str()),
                (StatusCode::FORBIDDEN, "")
            );
            assert_eq!(answer.code().as_deref(), Some("insufficient_scope"));
            assert_eq!(answer.parameter("scope").as_deref(), Some("calendar:read"));
            assert_eq!(answer.headers[CACHE_CONTROL], "no-store");
        }
    }
}

#[tokio::test]
async fn a_handler_requires_a_role() {
    async fn audit(admin: RequireRole<role!("admin" | "auditor")>) -> String {
        admin.subject().unwrap().to_owned()
    }
    async fn own(admin: RequireRole<role!("admin"), Tenant>) -> String {
        admin.tenant.to_string()
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/audit", get(audit))
        .route("/own", get(own))
        .layer(fixture.auth());
    let token = fixture.token().claim("tenant", 7);
    let (admin, auditor) = (
        token.clone().roles(["admin"]),
        token.clone().roles(["auditor"]),
    );
    for (path, token, body) in [
        ("/audit", &admin, "subject-1"),
        ("/audit", &auditor, "subject-1"),
        ("/own", &admin, "7"),
    ] {
        assert_eq!(get_path(&app, path, Some(&token.mint())).await.body, body);
    }
    for (path, token) in [
        ("/own", &auditor),
        ("/audit", &token.clone().roles(["user"])),
        ("/audit", &token.clone().scope("admin")),
    ] {
        let answer = get_path(&app, path, Some(&token.mint())).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.parameter("scope"), None);
    }
}

#[tokio::test]
async fn several_guards_in_one_handler_each_see_the_claims() {
    async fn all(
        read: RequireScope<calendar::Read, User>,
        write: RequireScope<scope!("calendar:write")>,
        admin: RequireRole<role!("admin")>,
        claims: Claims<Tenant>,
        _: Option<Claims>,
        Path(id): Path<u32>,
    ) -> String {
        let subjects = [
            read.subject(),
            write.subject(),
            admin.subject(),
            claims.subject(),
        ];
        assert!(subjects.iter().all(|subject| *subject == Some("alice")));
        format!("{} {} {id}", read.locale, claims.tenant)
    }
    let fixture = Fixture::new();
    let app = Router::new().route("/{id}", get(all)).layer(fixture.auth());
    let token = |scope: &str, roles: &[&str]| {
        let token = fixture
            .token()
            .subject("alice")
            .claim("locale", "de")
            .claim("tenant", 7);
        token.scope(scope).roles(roles.iter().copied()).mint()
    };
    let granted = token("calendar:read calendar:write", &["admin"]);
    assert_eq!(get_path(&app, "/4", Some(&granted)).await.body, "de 7 4");
    for (token, needed) in [
        (token("calendar:write", &["admin"]), Some("calendar:read")),
        (token("calendar:read", &["admin"]), Some("calendar:write")),
        (token("calendar:read calendar:write", &["user"]), None),
    ] {
        let answer = get_path(&app, "/4", Some(&token)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        assert_eq!(answer.parameter("scope").as_deref(), needed);
    }
}

#[tokio::test]
async fn a_guard_on_routes_decides_as_the_argument_does() {
    let fixture = Fixture::new();
    let guarded = Router::new()
        .route(
            "/events",
            get(async |claims: Claims<User>| claims.locale.clone()),
        )
        .route_layer(JwtAuth::require::<calendar::Read>());
    let both = Router::new()
        .route("/both", get(async || "both"))
        .route_layer(JwtAuth::require::<AllOf<(calendar::Read, role!("admin"))>>());
    let app = Router::new()
        .route(
            "/me",
            get(async |me: Claims| me.subject().unwrap().to_owned()),
        )
        .merge(guarded)
        .merge(both)
        .layer(fixture.auth());

    let token = fixture.token().claim("locale", "de");
    let (none, reader) = (token.mint(), token.clone().scope("calendar:read").mint());
    let admin = token.scope("calendar:read").roles(["admin"]).mint();
    for (path, token, status) in [
        ("/me", &none, 200),
        ("/events", &none, 403),
        ("/events", &reader, 200),
        ("/both", &none, 403),
        ("/both", &reader, 403),
        ("/both", &admin, 200),
        // A guard on the routes does not apply to an unknown path.
        ("/nowhere", &reader, 404),
    ] {
        assert_eq!(
            get_path(&app, path, Some(token)).await.status,
            status,
            "{path}"
        );
    }
    let answer = get_path(&app, "/events", Some(&none)).await;
    assert_eq!(answer.parameter("scope").as_deref(), Some("calendar:read"));
    assert_eq!(get_path(&app, "/events", Some(&reader)).await.body, "de");
    assert_eq!(get_path(&app, "/events", None).await.status, 401);
}

#[tokio::test]
async fn a_missing_layer_is_500_with_an_empty_body() {
    let fixture = Fixture::new();
    let app: Router = Router::new()
        .route("/claims", get(async |_: Claims| "in"))
        .route("/own", get(async |_: Claims<User>| "in"))
        .route("/optional", get(async |_: Option<Claims>| "in"))
        .route("/scope", get(async |_: RequireScope<calendar::Read>| "in"))
        .route(
            "/optional-scope",
            get(async |_: Option<RequireScope<calendar::Read>>| "in"),
        )
        .route("/role", get(async |_: RequireRole<role!("admin")>| "in"))
        .route(
            "/guard",
            get(async || "in").layer(JwtAuth::require::<calendar::Read>()),
        );
    let token = fixture
        .token()
        .scope("calendar:read")
        .roles(["admin"])
        .claim("locale", "de")
        .mint();
    let paths = [
        "/claims",
        "/own",
        "/optional",
        "/scope",
        "/optional-scope",
        "/role",
        "/guard",
    ];
    for path in paths {
        for token in [None, Some(token.as_str())] {
            let answer = get_path(&app, path, token).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
            assert_eq!(answer.body, "", "{path}");
            assert!(!answer.headers.contains_key(WWW_AUTHENTICATE), "{path}");
        }
    }
    let protected = app.layer(fixture.auth());
    for path in paths {
        assert_eq!(
            get_path(&protected, path, Some(&token)).await.body,
            "in",
            "{path}"
        );
        assert_eq!(get_path(&protected, path, None).await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn a_layer_inside_of_the_routes_it_should_protect_is_a_missing_layer() {
    let fixture = Fixture::new();
    // `layer` wraps only the routes that were added before.
    let app = Router::new()
        .route("/before", get(async |_: Claims| "in"))
        .layer(fixture.auth())
        .route("/behind", get(async |_: Claims| "in"));
    let token = fixture.token().mint();
    assert_eq!(get_path(&app, "/before", Some(&token)).await.status, 200);
    assert_eq!(get_path(&app, "/behind", Some(&token)).await.status, 500);
}

#[tokio::test]
async fn a_missing_layer_tells_the_operator_what_the_cause_may_be() {
    /// Makes a new request with only the headers of the old one.
    async fn renew(request: Request<Body>, next: Next) -> Response {
        let (old, body) = request.into_parts();
        let mut new = Request::new(body);
        *new.headers_mut() = old.headers;
        next.run(new).await
    }

    let fixture = Fixture::new();
    let routes = || Router::<()>::new().route("/", get(async |_: Claims| "in"));
    let open = || Router::<()>::new().route("/", get(async || "in"));
    let guard = || JwtAuth::require::<calendar::Read>();
    let token = fixture.token().scope("calendar:read").mint();
    let token = Some(token.as_str());
    let behind = Router::new().layer(fixture.auth()).merge(routes());
    let lost = routes().layer(from_fn(renew)).layer(fixture.auth());
    let guard_outside = open().layer(fixture.auth()).layer(guard());
    for (app, token, said) in [
        (&behind, token, "did not pass the layer: the route"),
        (&behind, None, "or a middleware inside of the layer"),
        (&lost, token, "claims are lost"),
        (&guard_outside, token, "a guard (`JwtAuth::require`)"),
    ] {
        let mut request = Request::get("/");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), RejectionKind::MissingLayer);
        let reason = rejection.to_string();
        assert!(reason.contains(said), "{said}: {reason}");
    }
    let right = open().layer(guard()).layer(fixture.auth());
    assert_eq!(get_path(&right, "/", token).await.status, 200);
}

/// A body that counts how often it is polled.
struct Counting(Arc<AtomicUsize>);

impl hyper::body::Body for Counting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        let asked = self.0.fetch_add(1, Ordering::Relaxed);
        let frame = hyper::body::Frame::data(Bytes::from_static(b"\"dinner\""));
        Poll::Ready((asked == 0).then_some(Ok(frame)))
    }
}

/// RFC9110-10.1.1-1
#[tokio::test]
async fn authorization_is_decided_before_the_body_is_read() {
    async fn create(_: RequireScope<calendar::Write>, Json(event): Json<String>) -> String {
        event
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/argument", post(create))
        .route("/guard", post(async |body: Bytes| body))
        .route_layer(JwtAuth::require::<calendar::Write>())
        .route("/own", post(async |_: Claims<User>, body: Bytes| body))
        .layer(fixture.auth());
    let post = async |path: &str, token: Option<&str>| {
        let polls = Arc::new(AtomicUsize::new(0));
        let (mut head, _) = request(Method::POST, path, token).into_parts();
        let json = HeaderValue::from_static("application/json");
        head.headers.insert(CONTENT_TYPE, json);
        let body = Body::new(Counting(Arc::clone(&polls)));
        let answer = call(&app, Request::from_parts(head, body)).await;
        (
            answer.status.as_u16(),
            answer.body,
            polls.load(Ordering::Relaxed),
        )
    };
    let good = fixture
        .token()
        .scope("calendar:write")
        .claim("locale", "de")
        .mint();
    let lacking = fixture.token().mint();
    let rejected = |status: u16| (status, String::new(), 0);
    for path in ["/argument", "/guard"] {
        assert_eq!(post(path, Some(&lacking)).await, rejected(403));
    }
    for path in ["/argument", "/guard", "/own"] {
        assert_eq!(post(path, None).await, rejected(401));
        assert_eq!(post(path, Some("abc")).await, rejected(401));
        let (status, body, polls) = post(path, Some(&good)).await;
        assert_eq!((status, body.trim_matches('"')), (200, "dinner"));
        assert!(polls > 0);
    }
    assert_eq!(post("/own", Some(&lacking)).await, rejected(401));
}

/// RFC6750-3-2: extractors do not know the settings of the layer, so the layer replaces their
/// responses.
#[tokio::test]
async fn rejections_of_extractors_follow_the_settings_of_the_layer() {
    let fixture = Fixture::new();
    let routes = || {
        Router::new()
            .route(
                "/argument",
                get(async |_: RequireScope<calendar::Read>| "in"),
            )
            .route("/own", get(async |_: Claims<User>| "in"))
            .route(
                "/guard",
                get(async || "in").layer(JwtAuth::require::<calendar::Read>()),
            )
            .route(
                "/code",
                get(async |claims: Claims| claims.authorize::<calendar::Read>()),
            )
    };
    let settings = |auth: JwtAuth| {
        let challenge = Challenge::new("calendar")
            .and_then(|challenge| challenge.error_uri("https://docs.example/errors"))
            .and_then(|challenge| challenge.additional_scheme("Negotiate"));
        auth.challenge(challenge.unwrap())
    };
    let token = fixture.token().mint();
    let app = routes().layer(settings(fixture.auth()).respond_with(ProblemDetails::new()));
    // A router that is a service itself sets the length of the empty body. That length must not
    // stay.
    let nested = Router::new()
        .nest_service("/n", routes())
        .layer(settings(fixture.auth()).respond_with(ProblemDetails::new()));
    for (path, status, code) in [
        ("/argument", 403, "insufficient_scope"),
        ("/own", 401, "invalid_token"),
        ("/guard", 403, "insufficient_scope"),
        ("/code", 403, "insufficient_scope"),
    ] {
        for (app, path) in [(&app, path.to_owned()), (&nested, format!("/n{path}"))] {
            let answer = get_path(app, &path, Some(&token)).await;
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(
                answer.parameter("realm").as_deref(),
                Some("calendar"),
                "{path}"
            );
            assert_eq!(answer.code().as_deref(), Some(code), "{path}");
            let uri = answer.parameter("error_uri");
            assert_eq!(
                uri.as_deref(),
                Some("https://docs.example/errors"),
                "{path}"
            );
            let schemes = challenges(&answer.headers)
                .into_iter()
                .map(|read| read.scheme);
            assert_eq!(
                schemes.collect::<Vec<_>>(),
                ["Bearer", "Negotiate"],
                "{path}"
            );
            assert_eq!(answer.headers[CONTENT_TYPE], "application/problem+json");
            assert_eq!(answer.headers.get_all(CACHE_CONTROL).iter().count(), 1);
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!(problem["status"], status, "{path}");
            assert_eq!(problem["error"], code, "{path}");
            if let Some(length) = answer.headers.get(CONTENT_LENGTH) {
                assert_eq!(length, &answer.body.len().to_string(), "{path}");
            }
        }
    }
    let hiding = routes().layer(fixture.auth().hide_forbidden());
    for path in ["/argument", "/guard", "/code"] {
        let answer = get_path(&hiding, path, Some(&token)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(!answer.headers.contains_key(WWW_AUTHENTICATE), "{path}");
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{path}");
    }
    assert_eq!(get_path(&hiding, "/own", Some(&token)).await.status, 401);
    // The same routes inside a layer without these settings.
    let plain = routes().layer(fixture.auth());
    let answer = get_path(&plain, "/argument", Some(&token)).await;
    assert_eq!(answer.parameter("realm").as_deref(), Some("api"));
    assert_eq!(answer.body, "");
}

/// A router that is the inner service sets the length of its empty body. The body of the problem is
/// longer.
#[tokio::test]
async fn a_problem_around_a_whole_router_has_its_own_length() {
    let fixture = Fixture::new();
    let router = Router::new().route("/", get(async |_: RequireScope<calendar::Read>| "in"));
    let auth = fixture.auth().respond_with(ProblemDetails::new());
    let service = tower::ServiceBuilder::new().layer(auth).service(router);
    let response = service
        .oneshot(request(Method::GET, "/", Some(&fixture.token().mint())))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let length = response.headers().get(CONTENT_LENGTH).cloned();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    assert!(!body.is_empty());
    assert!(length.is_none_or(|length| length == body.len().to_string().as_str()));
}

/// RFC9110-9.3.2-1
#[tokio::test]
async fn a_rejection_of_an_extractor_has_no_content_for_head() {
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/", get(async |_: RequireScope<calendar::Read>| "in"))
        .layer(fixture.auth().respond_with(ProblemDetails::new()));
    let token = fixture.token().mint();
    let head = call(&app, request(Method::HEAD, "/", Some(&token))).await;
    let get = call(&app, request(Method::GET, "/", Some(&token))).await;
    assert_eq!(head.status, get.status);
    for name in [WWW_AUTHENTICATE, CONTENT_TYPE, CACHE_CONTROL] {
        assert_eq!(head.headers[&name], get.headers[&name]);
    }
    assert_eq!(head.body, "");
    assert_ne!(get.body, "");
}

#[tokio::test]
async fn an_optional_layer_lets_a_handler_see_who_is_there_if_anybody() {
    async fn who(claims: Option<Claims<User>>) -> String {
        claims.map_or("nobody".into(), |claims| claims.locale.clone())
    }
    async fn reads(claims: Option<RequireScope<calendar::Read>>) -> &'static str {
        claims.map_or("nobody", |_| "reader")
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/who", get(who))
        .route("/reads", get(reads))
        .route("/must", get(async |_: Claims| "in"))
        .route("/scope", get(async |_: RequireScope<calendar::Read>| "in"))
        .route(
            "/guard",
            get(async || "in").layer(JwtAuth::require::<calendar::Read>()),
        )
        .layer(fixture.auth().optional());
    let reader = fixture
        .token()
        .claim("locale", "de")
        .scope("calendar:read")
        .mint();
    let other = fixture.token().claim("locale", "de").mint();
    for (path, token, status, body) in [
        ("/who", None, 200, "nobody"),
        ("/who", Some(&other), 200, "de"),
        ("/reads", None, 200, "nobody"),
        ("/reads", Some(&reader), 200, "reader"),
        // A token that is present must have the scope.
        ("/reads", Some(&other), 403, ""),
        ("/must", None, 401, ""),
        ("/must", Some(&other), 200, "in"),
        ("/scope", None, 401, ""),
        ("/scope", Some(&other), 403, ""),
        ("/scope", Some(&reader), 200, "in"),
        ("/guard", None, 401, ""),
        ("/guard", Some(&reader), 200, "in"),
    ] {
        let answer = get_path(&app, path, token.map(String::as_str)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body),
            "{path}"
        );
        if token.is_none() && status == 401 {
            assert_eq!(answer.code(), None, "{path}");
        }
    }
    // An invalid token is never treated as a missing one.
    let bad = [
        fixture.token().expired().mint(),
        fixture.token().tampered().mint(),
        "a".into(),
    ];
    for token in bad {
        for path in ["/who", "/reads", "/must"] {
            let answer = get_path(&app, path, Some(&token)).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.code().as_deref(), Some("invalid_token"));
        }
    }
    // Claims that do not fit the type are an error, and not a missing token.
    let misfit = fixture.token().claim("locale", 7).mint();
    assert_eq!(get_path(&app, "/who", Some(&misfit)).await.status, 401);
}

#[tokio::test]
async fn an_extractor_of_ones_own_builds_on_the_claims() {
    struct Me(String);
    impl<S: Send + Sync> FromRequestParts<S> for Me {
        type Rejection = Rejection;

        async fn from_request_parts(
            parts: &mut http::request::Parts,
            state: &S,
        ) -> Result<Self, Rejection> {
            let claims =
                <RequireScope<calendar::Read, User> as FromRequestParts<S>>::from_request_parts(
                    parts, state,
                )
                .await?;
            Ok(Self(claims.locale.clone()))
        }
    }
    async fn soft(
        claims: Result<RequireScope<calendar::Read>, Rejection>,
    ) -> axum::response::Response {
        match claims {
            Ok(_) => "in".into_response(),
            Err(rejection) => format!("{:?}", rejection.kind()).into_response(),
        }
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/me", get(async |Me(locale): Me| locale))
        .route("/soft", get(soft))
        .layer(fixture.auth());
    let good = fixture
        .token()
        .claim("locale", "de")
        .scope("calendar:read")
        .mint();
    let lacking = fixture.token().claim("locale", "de").mint();
    assert_eq!(get_path(&app, "/me", Some(&good)).await.body, "de");
    let answer = get_path(&app, "/me", Some(&lacking)).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.parameter("scope").as_deref(), Some("calendar:read"));
    assert_eq!(get_path(&app, "/soft", Some(&good)).await.body, "in");
    let answer = get_path(&app, "/soft", Some(&lacking)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "InsufficientScope")
    );
}

#[tokio::test]
async fn nested_routers_are_protected_by_the_layer_around_them() {
    let fixture = Fixture::new();
    let events = Router::new()
        .route("/", get(async |_: RequireScope<calendar::Read>| "events"))
        .route(
            "/{id}",
            get(async |claims: Claims, Path(id): Path<u32>| {
                format!("{id} of {}", claims.subject().unwrap())
            }),
        );
    let api = Router::new()
        .nest("/events", events)
        .route_layer(JwtAuth::require::<calendar::Read>());
    let app = Router::new()
        .nest("/api", api.layer(fixture.auth()))
        .route("/health", get(async || "well"))
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here"));
    let (reader, other) = (
        fixture.token().scope("calendar:read").mint(),
        fixture.token().mint(),
    );
    for (path, token, status, body) in [
        ("/health", None, 200, "well"),
        ("/elsewhere", None, 404, "nothing here"),
        ("/api/events", None, 401, ""),
        ("/api/events", Some(&other), 403, ""),
        ("/api/events", Some(&reader), 200, "events"),
        ("/api/events/4", None, 401, ""),
        ("/api/events/4", Some(&other), 403, ""),
        ("/api/events/4", Some(&reader), 200, "4 of subject-1"),
    ] {
        let answer = get_path(&app, path, token.map(String::as_str)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.body.as_str()),
            (status, body),
            "{path}"
        );
    }
}

#[tokio::test]
async fn of_two_layers_the_inner_one_decides() {
    let fixture = Fixture::new();
    let clock = fixture.clock.clone();
    let partner = TestIssuer::new()
        .named("https://partner.example")
        .with_clock(clock);
    let both = || {
        fixture.auth().trust(TrustedIssuer::new(
            partner.issuer(),
            partner.audience(),
            partner.keys(),
        ))
    };

    let strict = Router::new()
        .route(
            "/inner",
            get(async |user: RequireScope<calendar::Read>| user.issuer().to_owned()),
        )
        .layer(fixture.auth().challenge(Challenge::new("inner").unwrap()));
    let app = Router::new()
        .route("/outer", get(async |_: RequireScope<calendar::Read>| "in"))
        .merge(strict)
        .layer(
            both()
                .challenge(Challenge::new("outer").unwrap())
                .respond_with(ProblemDetails::new()),
        );

    let own = fixture.token().scope("calendar:read").mint();
    let lacking = fixture.token().mint();
    let of_partner = partner.token().scope("calendar:read").mint();
    for (path, token, status, realm) in [
        ("/outer", None, 401, "outer"),
        ("/inner", None, 401, "outer"),
        ("/outer", Some(&lacking), 403, "outer"),
        ("/inner", Some(&lacking), 403, "inner"),
        // The inner layer does not accept every token that the outer one does.
        ("/inner", Some(&of_partner), 401, "inner"),
    ] {
        let answer = get_path(&app, path, token.map(String::as_str)).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(challenges(&answer.headers).len(), 1, "{path}");
        assert_eq!(answer.parameter("realm").as_deref(), Some(realm), "{path}");
        assert_eq!(answer.body.is_empty(), realm == "inner", "{path}");
    }
    assert_eq!(get_path(&app, "/outer", Some(&of_partner)).await.body, "in");
    assert_eq!(get_path(&app, "/inner", Some(&own)).await.body, ISSUER);
}

#[tokio::test]
async fn a_strict_layer_within_an_optional_one_is_strict() {
    let fixture = Fixture::new();
    let app = Router::new()
        .route(
            "/strict",
            get(async |claims: Option<Claims>| claims.is_some().to_string()),
        )
        .layer(fixture.auth())
        .route(
            "/open",
            get(async |claims: Option<Claims>| claims.is_some().to_string()),
        )
        .layer(fixture.auth().optional());
    let token = fixture.token().mint();
    assert_eq!(get_path(&app, "/open", None).await.body, "false");
    assert_eq!(get_path(&app, "/open", Some(&token)).await.body, "true");
    assert_eq!(get_path(&app, "/strict", None).await.status, 401);
    assert_eq!(get_path(&app, "/strict", Some(&token)).await.body, "true");

    // A strict layer inside an optional one stays strict.
    let app = Router::new()
        .route(
            "/",
            get(async |claims: Option<Claims>| claims.is_some().to_string()),
        )
        .layer(fixture.auth().optional())
        .layer(fixture.auth());
    assert_eq!(get_path(&app, "/", None).await.status, 401);
    assert_eq!(get_path(&app, "/", Some(&token)).await.body, "true");
}

/// If one request has two tokens and each layer verifies one, own claims come from the token whose
/// scopes are checked.
#[tokio::test]
async fn own_claims_belong_to_the_token_that_was_authorized() {
    async fn who(user: RequireScope<calendar::Write, User>, general: Claims) -> String {
        assert_eq!(user.subject(), general.subject());
        format!("{} {}", user.subject().unwrap(), user.locale)
    }
    let fixture = Fixture::new();
    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    let inner = fixture
        .auth()
        .token_source(TokenSource::header().with_cookie(cookie));
    let outer = fixture.auth().claims::<User>().remove_credentials();
    let app = Router::new().route("/", get(who)).layer(inner).layer(outer);

    let alice = fixture
        .token()
        .subject("alice")
        .claim("locale", "de")
        .mint();
    let bob = fixture
        .token()
        .subject("bob")
        .claim("locale", "fr")
        .scope("calendar:write")
        .mint();
    let mut request = request(Method::GET, "/", Some(&alice));
    let cookie = HeaderValue::from_str(&format!("__Host-token={bob}")).unwrap();
    request.headers_mut().insert("cookie", cookie);
    assert_eq!(call(&app, request).await.body, "bob fr");
}

#[tokio::test]
async fn a_rejection_that_a_handler_returns_is_answered_like_others() {
    async fn delete(claims: Claims, Path(id): Path<u32>) -> Result<String, Rejection> {
        claims.authorize::<scope!("calendar:write" & "calendar:delete")>()?;
        Ok(format!("deleted {id}"))
    }
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/{id}", get(delete))
        .layer(fixture.auth());
    let token = fixture
        .token()
        .scope("calendar:write calendar:delete")
        .mint();
    assert_eq!(get_path(&app, "/4", Some(&token)).await.body, "deleted 4");
    let answer = get_path(&app, "/4", Some(&fixture.token().mint())).await;
    assert_eq!(answer.status, 403);
    assert_eq!(
        answer.parameter("scope").as_deref(),
        Some("calendar:write calendar:delete")
    );
}

/// FETCH-3.3-D1: what the guide says about a preflight that no CORS layer outside has answered.
#[tokio::test]
async fn a_preflight_reaches_every_handler_of_options() {
    let fixture = Fixture::new();
    let who = async |claims: Option<Claims>| claims.map_or("nobody", |_| "somebody");
    let app = Router::new()
        .route("/get", get(async |_: Claims| "in"))
        .route("/claims", any(async |_: Claims| "in"))
        .route("/scope", any(async |_: RequireScope<calendar::Read>| "in"))
        .route("/may", any(who))
        .route(
            "/proxy",
            any(async |headers: HeaderMap| headers.contains_key(AUTHORIZATION).to_string()),
        )
        .fallback(who);
    let forged = fixture.token().scope("calendar:read").tampered().mint();
    let token = fixture.token().scope("calendar:read").mint();
    let ask = async |app: &Router, path: &str, token: Option<&str>, is_preflight: bool| {
        let mut request = request(Method::OPTIONS, path, token);
        if is_preflight {
            let headers = request.headers_mut();
            let origin = HeaderValue::from_static("https://app.example");
            headers.insert("origin", origin);
            let method = HeaderValue::from_static("GET");
            headers.insert("access-control-request-method", method);
        }
        let answer = call(app, request).await;
        (answer.status.as_u16(), answer.body)
    };
    let lenient = app.clone().layer(fixture.auth());
    for token in [None, Some(forged.as_str()), Some(token.as_str())] {
        for (path, status, body) in [
            ("/get", 405, ""),
            ("/claims", 401, ""),
            ("/scope", 401, ""),
            ("/may", 200, "nobody"),
            ("/nowhere", 200, "nobody"),
        ] {
            let found = ask(&lenient, path, token, true).await;
            assert_eq!(found, (status, body.to_owned()), "{path}");
        }
        // The header of a preflight is not verified.
        let found = ask(&lenient, "/proxy", token, true).await;
        assert_eq!(found, (200, token.is_some().to_string()));
    }
    // The twins: an `OPTIONS` request that is no preflight, and a layer that checks preflights too.
    let strict = app.layer(fixture.auth().check_preflights());
    for (app, is_preflight) in [(&lenient, false), (&strict, true)] {
        for path in ["/get", "/claims", "/may", "/proxy", "/nowhere"] {
            assert_eq!(ask(app, path, None, is_preflight).await.0, 401, "{path}");
            assert_eq!(
                ask(app, path, Some(&forged), is_preflight).await.0,
                401,
                "{path}"
            );
        }
        assert_eq!(
            ask(app, "/may", Some(&token), is_preflight).await.1,
            "somebody"
        );
    }
}

/// GRPC-1, GRPC-2: a rejection by an axum route for a gRPC request.
#[tokio::test]
async fn rejections_of_extractors_are_grpc_where_the_request_is() {
    let fixture = Fixture::new();
    let app = Router::new()
        .route("/", post(async |_: RequireScope<calendar::Read>| "in"))
        .route(
            "/guard",
            post(async || "in").layer(JwtAuth::require::<calendar::Read>()),
        )
        .layer(fixture.auth().respond_with(ProblemDetails::new()));
    let token = fixture.token().mint();
    for path in ["/", "/guard"] {
        for (token, code) in [(None, "16"), (Some(token.as_str()), "7")] {
            let mut request = request(Method::POST, path, token);
            let value = HeaderValue::from_static("application/grpc+proto");
            request.headers_mut().insert(CONTENT_TYPE, value);
            let answer = call(&app, request).await;
            assert_eq!(
                (answer.status.as_u16(), answer.body.as_str()),
                (200, ""),
                "{path}"
            );
            assert_eq!(answer.headers["grpc-status"], code, "{path}");
            assert_eq!(answer.headers[CONTENT_TYPE], "application/grpc+proto");
            assert_eq!(challenges(&answer.headers).len(), 1);
        }
    }
}

/// RFC9110-15.5.2-1: without a layer a rejection has a challenge too.
#[test]
fn a_rejection_is_a_response_by_itself() {
    let fixture = Fixture::new();
    let rejection = fixture
        .verify(&fixture.token().expired().mint())
        .unwrap_err();
    let response = IntoResponse::into_response(rejection);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let read = challenges(response.headers());
    assert_eq!(read[0].parameter("error"), Some("invalid_token"));
    let kept = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(kept.kind(), RejectionKind::Expired);
}

/// TOWER-D1
#[tokio::test]
async fn routers_with_the_layer_are_cheap_services_that_can_be_called_again() {
    let fixture = Fixture::new();
    let mut app = app(&fixture, async |claims: Claims| {
        assert_eq!(claims.audience().collect::<Vec<_>>(), [AUDIENCE]);
        Json(json!({"sub": claims.subject()}))
    });
    let token = fixture.token().mint();
    for _ in 0..3 {
        let service = ServiceExt::<Request<Body>>::ready(&mut app).await.unwrap();
        let response = service
            .call(request(Method::GET, "/", Some(&token)))
            .await
            .unwrap();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(body, r#"{"sub":"subject-1"}"#);
    }
}
