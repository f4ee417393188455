//! Scopes and roles: their sources, what grants which right, and how a rejection names what is
//! missing (RFC 6749, section 3.3; RFC 6750, section 3.1).

#![cfg(all(feature = "axum", feature = "tracing"))]

use crate::support::log::Log;
use crate::support::{Fixture, ISSUER, ReadChallenge, challenges, small_cache};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_jwt_auth::response::{Challenge, ProblemDetails};
use tower_jwt_auth::scope::{AllOf, AnyOf, Grants, Requirement, ScopeSet, Shortfall};
use tower_jwt_auth::test::TestToken;
use tower_jwt_auth::token::{ClaimPointer, MaxTokenSize};
use tower_jwt_auth::{
    Audience, Claims, ConfigError, Issuer, JwtAuth, Rejection, RejectionKind, RequireRole,
    RequireScope, role, roles, scope, scopes,
};

scopes! {
    Read = "calendar:read";
    Both = "calendar:read" & "calendar:write";
    Either = "a" | "b";
}

roles! {
    Admin = "admin";
}

/// The decision on a verified token.
fn decide<R: Requirement>(token: &TestToken) -> Result<(), Rejection> {
    let claims = Fixture::new().accepts(&token.mint());
    claims.authorize::<R>()
}

fn token() -> TestToken {
    Fixture::new().token()
}

async fn call(app: Router, token: Option<&TestToken>) -> Response<Body> {
    let mut request = Request::get("/");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {}", token.mint()));
    }
    let request = request.body(Body::empty()).unwrap();
    app.oneshot(request).await.unwrap()
}

/// The only challenge of a response.
#[track_caller]
fn challenge(response: &Response<Body>) -> ReadChallenge {
    let challenges = challenges(response.headers());
    assert_eq!(challenges.len(), 1, "{challenges:?}");
    challenges.into_iter().next().unwrap()
}

/// Two ways to guard a route: an argument of the handler, and a layer around the route.
fn guarded<R: Requirement>() -> [Router; 2] {
    let argument = get(async |_: RequireScope<R>| "in");
    let around = get(async || "in").route_layer(JwtAuth::require::<R>());
    [argument, around].map(|route| Router::new().route("/", route))
}

/// RFC6749-7-1
#[tokio::test]
async fn a_route_that_needs_a_scope_is_for_tokens_that_have_it() {
    let fixture = Fixture::new();
    for route in guarded::<scope!("calendar:read")>() {
        let app = route.layer(fixture.auth());
        let granted = call(app.clone(), Some(&token().scope("mail:read calendar:read"))).await;
        assert_eq!(granted.status(), 200);
        let rejected = call(app, Some(&token().scope("mail:read"))).await;
        assert_eq!(rejected.status(), 403);
        let challenge = challenge(&rejected);
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
        assert_eq!(challenge.parameter("scope"), Some("calendar:read"));
    }
}

/// RFC6749-7-1: the same in code, inline and by name.
#[test]
fn claims_authorize_the_same_requirement_in_code() {
    let good = token().scope("calendar:read");
    assert!(decide::<Read>(&good).is_ok());
    assert!(decide::<scope!("calendar:read")>(&good).is_ok());
    let rejected = decide::<Read>(&token().scope("mail:read")).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::InsufficientScope);
    assert_eq!(rejected.status(), 403);
    assert_eq!(rejected.required_scopes(), ["calendar:read"]);
    assert!(rejected.to_string().contains("calendar:read"), "{rejected}");
}

/// RFC6749-3.3-1
#[test]
fn scopes_compare_exactly_and_in_any_order() {
    for granted in [
        "calendar:read",
        "calendar:write calendar:read",
        "calendar:read calendar:write",
    ] {
        assert!(decide::<Read>(&token().scope(granted)).is_ok(), "{granted}");
    }
    for granted in [
        "calendar:readonly",
        "Calendar:Read",
        "CALENDAR:READ",
        "calendar",
        "calendar:",
        "calendar:*",
        "*",
        "calendar.read",
        "calendar:read,calendar:write",
        "calendar:read\tcalendar:write",
        "calendar:read\u{a0}",
    ] {
        let rejected = decide::<Read>(&token().scope(granted));
        assert!(rejected.is_err(), "{granted}");
    }
}

/// RFC6749-3.3-D1
#[test]
fn sloppy_spacing_and_repetition_in_scopes_do_no_harm() {
    let fixture = Fixture::new();
    for (scope, expected) in [
        (" a  b a", &["a", "b"][..]),
        ("a", &["a"]),
        ("", &[]),
        ("   ", &[]),
    ] {
        let claims = fixture.accepts(&fixture.token().scope(scope).mint());
        let names: Vec<_> = claims.scopes().iter().collect();
        assert_eq!(names, expected, "{scope:?}");
    }
    let claims = fixture.accepts(&fixture.token().scope(" a  b a").mint());
    assert_eq!(claims.scopes().len(), 2);
    assert_eq!(claims.scopes().to_string(), "a b");
}

/// A set of names never prints like a set of another size.
#[test]
fn a_name_with_a_space_does_not_print_as_two() {
    let fixture = Fixture::new();
    let token = fixture.token().claim("scp", json!(["a b", "c"]));
    let token = token.roles(["Global Admin", "staff", "Gruppe-Ä", "x\ny"]);
    let claims = fixture.accepts(&token.mint());
    assert_eq!(claims.scopes().len(), 2);
    assert_eq!(claims.scopes().to_string(), r#""a b" c"#);
    assert_eq!(
        claims.roles().to_string(),
        r#""Global Admin" staff Gruppe-Ä "x\ny""#
    );
    // A word of the name grants nothing.
    assert!(!claims.has_scope("a") && !claims.has_scope("b"));
}

#[test]
fn claims_say_whether_they_have_a_scope() {
    let claims = Fixture::new().accepts(&token().scope("calendar:read b").mint());
    assert!(claims.has_scope("calendar:read") && claims.has_scope("b"));
    for other in [
        "calendar",
        "calendar:readonly",
        "CALENDAR:READ",
        "",
        "calendar:read b",
    ] {
        assert!(!claims.has_scope(other), "{other}");
    }
}

/// AUTHZ-D1
#[tokio::test]
async fn a_token_without_scopes_lacks_them() {
    let fixture = Fixture::new();
    for route in guarded::<Read>() {
        let app = route.layer(fixture.auth());
        for token in [token(), token().scope("")] {
            let response = call(app.clone(), Some(&token)).await;
            assert_eq!(response.status(), 403);
            let challenge = challenge(&response);
            assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
        }
    }
}

/// AUTHZ-D2
#[tokio::test]
async fn a_rejection_names_all_of_all_and_the_first_of_any() {
    let fixture = Fixture::new();
    let scope_of = async |apps: [Router; 2]| {
        let mut scopes = Vec::new();
        for app in apps {
            let response = call(app.layer(fixture.auth()), Some(&token())).await;
            assert_eq!(response.status(), 403);
            scopes.push(challenge(&response).parameter("scope").unwrap().to_owned());
        }
        assert_eq!(scopes[0], scopes[1]);
        scopes.remove(0)
    };
    assert_eq!(scope_of(guarded::<Either>()).await, "a");
    assert_eq!(scope_of(guarded::<scope!("b" | "a")>()).await, "b");
    assert_eq!(
        scope_of(guarded::<Both>()).await,
        "calendar:read calendar:write"
    );
    assert_eq!(
        scope_of(guarded::<scope!(("a" & "b") | "c")>()).await,
        "a b"
    );
    assert_eq!(
        scope_of(guarded::<AllOf<(Read, AnyOf<(scope!("x"), scope!("y"))>)>>()).await,
        "calendar:read x"
    );
}

/// AUTHZ-D2
#[test]
fn all_of_needs_every_scope_and_any_of_needs_one() {
    for (granted, all, any) in [
        ("a b", true, true),
        ("a", false, true),
        ("b", false, true),
        ("c", false, false),
    ] {
        let token = token().scope(granted);
        assert_eq!(decide::<scope!("a" & "b")>(&token).is_ok(), all);
        assert_eq!(decide::<scope!("a" | "b")>(&token).is_ok(), any);
        assert_eq!(
            decide::<AnyOf<(scope!("a"), role!("b"))>>(&token).is_ok(),
            granted.contains('a')
        );
    }
    let mixed = token().scope("a").roles(["editor"]);
    assert!(decide::<AllOf<(scope!("a"), role!("editor"))>>(&mixed).is_ok());
    assert!(decide::<AllOf<(scope!("a"), role!("admin"))>>(&mixed).is_err());
    assert!(decide::<AnyOf<(scope!("x"), role!("editor"))>>(&mixed).is_ok());
}

/// AUTHZ-D3
#[tokio::test]
async fn a_handler_without_the_layer_rejects_and_tells_the_developer() {
    let claims = Router::new().route("/", get(async |_: Claims| "in"));
    let optional = Router::new().route("/", get(async |_: Option<Claims>| "in"));
    let scope = Router::new().route("/", get(async |_: Option<RequireScope<Read>>| "in"));
    let [argument, around] = guarded::<Read>();
    for app in [claims, optional, scope, argument, around] {
        let log = Log::listen();
        for credentials in [None, Some(token().scope("calendar:read"))] {
            let response = call(app.clone(), credentials.as_ref()).await;
            assert_eq!(response.status(), 500);
            assert!(response.headers().get("www-authenticate").is_none());
            let body = axum::body::to_bytes(response.into_body(), 1024)
                .await
                .unwrap();
            assert!(body.is_empty());
        }
        let lines = log.text();
        assert_eq!(lines.matches("ERROR").count(), 2, "{lines}");
        assert!(lines.contains(".layer("), "{lines}");
    }
}

/// AUTHZ-D4
#[tokio::test]
async fn an_optional_layer_accepts_a_missing_token_and_rejects_a_bad_one() {
    let fixture = Fixture::new();
    let handler = get(async |claims: Option<Claims>| match claims {
        Some(claims) => claims.subject().unwrap_or_default().to_owned(),
        None => "anonymous".into(),
    });
    let app = Router::new()
        .route("/", handler)
        .layer(fixture.auth().optional());
    let text = async |token: Option<&TestToken>| {
        let response = call(app.clone(), token).await;
        assert_eq!(response.status(), 200);
        let body = axum::body::to_bytes(response.into_body(), 1024).await;
        String::from_utf8(body.unwrap().to_vec()).unwrap()
    };
    assert_eq!(text(None).await, "anonymous");
    assert_eq!(text(Some(&token())).await, "subject-1");
    for bad in [
        token().expired(),
        token().signed_by_stranger(),
        token().audience("https://other.example"),
    ] {
        let response = call(app.clone(), Some(&bad)).await;
        assert_eq!(response.status(), 401);
        assert_eq!(
            challenge(&response).parameter("error"),
            Some("invalid_token")
        );
    }
}

/// AUTHZ-D5
#[tokio::test]
async fn a_handler_that_needs_more_than_an_anonymous_request_asks_for_a_token() {
    let fixture = Fixture::new();
    let [argument, around] = guarded::<Read>();
    let claims = Router::new().route("/", get(async |_: Claims| "in"));
    for route in [argument, around, claims] {
        let app = route.layer(fixture.auth().optional());
        let response = call(app.clone(), None).await;
        assert_eq!(response.status(), 401);
        let challenge = challenge(&response);
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.parameter("error"), None);
        assert_eq!(challenge.parameter("scope"), None);
        let response = call(app, Some(&token().scope("calendar:read"))).await;
        assert_eq!(response.status(), 200);
    }
}

/// AUTHZ-D5: an optional requirement does not apply to a request without a token. It applies in
/// full to a request with one.
#[tokio::test]
async fn an_optional_requirement_still_binds_a_request_with_a_token() {
    let fixture = Fixture::new();
    let handler = get(async |user: Option<RequireScope<Read>>| user.is_some().to_string());
    let app = Router::new()
        .route("/", handler)
        .layer(fixture.auth().optional());
    assert_eq!(call(app.clone(), None).await.status(), 200);
    let granted = token().scope("calendar:read");
    assert_eq!(call(app.clone(), Some(&granted)).await.status(), 200);
    assert_eq!(call(app, Some(&token())).await.status(), 403);
}

/// AUTHZ-D6
#[tokio::test]
async fn a_missing_role_names_no_scope() {
    let fixture = Fixture::new();
    let argument = Router::new().route("/", get(async |_: RequireRole<role!("admin")>| "in"));
    let [_, around] = guarded::<Admin>();
    for route in [argument, around] {
        let app = route.layer(fixture.auth());
        let granted = call(app.clone(), Some(&token().roles(["admin"]))).await;
        assert_eq!(granted.status(), 200);
        // Another role is not enough, and neither is a scope of the same name.
        for token in [
            token(),
            token().roles(["Admin", "administrator"]),
            token().scope("admin"),
        ] {
            let rejected = call(app.clone(), Some(&token)).await;
            assert_eq!(rejected.status(), 403);
            let challenge = challenge(&rejected);
            assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
            assert_eq!(challenge.parameter("scope"), None);
        }
    }
}

/// AUTHZ-D6: a client that asked for scopes that it already has would get the same token again.
#[test]
fn a_missing_role_beside_a_granted_scope_names_no_scope() {
    type Rule = AllOf<(Read, Admin)>;
    let rejected = decide::<Rule>(&token().scope("calendar:read")).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::InsufficientRole);
    assert!(rejected.required_scopes().is_empty());
    let rejected = decide::<Rule>(&token().roles(["admin"])).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::InsufficientScope);
    assert_eq!(rejected.required_scopes(), ["calendar:read"]);
}

/// A requirement of the application is used like the others.
#[test]
fn a_rule_of_ones_own_looks_at_what_the_token_grants() {
    struct Narrow;

    impl Requirement for Narrow {
        fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
            let holds =
                grants.scopes().len() == 1 && grants.roles().is_empty() && !grants.is_client();
            Shortfall::right_unless(holds, Self::describe())
        }

        fn describe() -> String {
            "one scope and nothing else".into()
        }
    }

    let narrow = token().scope("a");
    assert!(decide::<Narrow>(&narrow).is_ok());
    for wide in [
        token().scope("a b"),
        narrow.clone().roles(["admin"]),
        narrow.subject("client-1"),
    ] {
        let rejected = decide::<Narrow>(&wide).unwrap_err();
        assert_eq!(rejected.kind(), RejectionKind::InsufficientRole);
        assert!(rejected.to_string().contains("one scope and nothing else"));
    }
}

/// For an API whose issuer sends no `aud`.
#[test]
fn a_rule_of_ones_own_can_name_the_client() {
    struct OurApp;

    impl Requirement for OurApp {
        fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
            let holds = grants.client_id() == Some("our-app");
            Shortfall::right_unless(holds, Self::describe())
        }

        fn describe() -> String {
            "the client our-app".into()
        }
    }

    assert!(decide::<OurApp>(&token().claim("client_id", "our-app")).is_ok());
    let azp = token().without("client_id").claim("azp", "our-app");
    assert!(decide::<OurApp>(&azp).is_ok());
    for other in [
        token(),
        token().without("client_id"),
        azp.claim("client_id", "Our-App"),
    ] {
        assert_eq!(decide::<OurApp>(&other).unwrap_err().status(), 403);
    }
}

/// A requirement of the application can use the subject, the client, the audience and any claim.
#[test]
fn a_rule_of_ones_own_can_ask_for_any_claim() {
    struct OurPipelines;

    impl Requirement for OurPipelines {
        fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
            let holds = grants.issuer() == ISSUER
                && grants.subject() == Some("repo:acme/app")
                && grants.audience().eq([crate::support::AUDIENCE])
                && grants.claim::<String>("/repository_owner").as_deref() == Some("acme")
                && grants.claim::<u64>("/run/id") == Some(7);
            Shortfall::right_unless(holds, Self::describe())
        }

        fn describe() -> String {
            "a pipeline of acme".into()
        }
    }

    let ours = token()
        .subject("repo:acme/app")
        .claim("repository_owner", "acme")
        .claim("run", json!({"id": 7}));
    assert!(decide::<OurPipelines>(&ours).is_ok());
    let escaped = json!({
        "iss": ISSUER, "aud": crate::support::AUDIENCE, "exp": crate::support::NOW + 300,
        "sub": "repo:acme/app", "repository_owner": "acme", "run": {"id": 7},
    });
    let escaped = escaped.to_string().replace("\"acme\"", r#""\u0061cme""#);
    assert!(decide::<OurPipelines>(&token().raw_claims(escaped)).is_ok());
    for other in [
        ours.clone().without("repository_owner"),
        ours.clone().claim("repository_owner", "Acme"),
        ours.clone().claim("repository_owner", json!(["acme"])),
        ours.clone().claim("repository_owner", json!({"": "acme"})),
        ours.clone().claim("run", json!({"id": "7"})),
        ours.clone().claim("run", 7),
        ours.clone().subject("repo:acme/other"),
        ours.clone().claim(
            "aud",
            json!([crate::support::AUDIENCE, "https://other.example"]),
        ),
    ] {
        let rejected = decide::<OurPipelines>(&other).unwrap_err();
        assert_eq!(
            rejected.kind(),
            RejectionKind::InsufficientRole,
            "{other:?}"
        );
    }
}

#[test]
fn a_text_that_is_no_pointer_finds_nothing() {
    struct Found<const AT: usize>;
    const POINTERS: [&str; 5] = ["/sub", "sub", "", "/", "/sub~"];

    impl<const AT: usize> Requirement for Found<AT> {
        fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
            assert!(!format!("{grants:?}").contains("subject-1"));
            let holds = grants.claim::<Value>(POINTERS[AT]).is_some();
            Shortfall::right_unless(holds, Self::describe())
        }

        fn describe() -> String {
            "a claim".into()
        }
    }

    assert!(decide::<Found<0>>(&token()).is_ok());
    assert!(decide::<Found<1>>(&token()).is_err());
    assert!(decide::<Found<2>>(&token()).is_err());
    assert!(decide::<Found<3>>(&token()).is_err());
    assert!(decide::<Found<4>>(&token()).is_err());
    assert!(decide::<Found<3>>(&token().claim("", 1)).is_ok());
}

/// One rejection names everything that is missing.
#[test]
fn one_rejection_says_all_that_is_missing() {
    struct Fresh;

    impl Requirement for Fresh {
        fn check(grants: Grants<'_>) -> Result<(), Shortfall> {
            let age = grants
                .auth_time()
                .and_then(|time| grants.now().duration_since(time).ok());
            let is_fresh = age.is_some_and(|age| age.as_secs() <= 300);
            Shortfall::right_unless(
                is_fresh && grants.acr() == Some("mfa") && grants.session_id().is_some(),
                Self::describe(),
            )
        }

        fn describe() -> String {
            "a login of the last five minutes".into()
        }
    }

    type Rule = AllOf<(Both, Admin, Fresh)>;
    let login = |at: u64| {
        let token = token().claim("auth_time", at).claim("acr", "mfa");
        token.claim("sid", "session-1")
    };
    let good = login(crate::support::NOW - 300)
        .scope("calendar:read calendar:write")
        .roles(["admin"]);
    assert!(decide::<Rule>(&good).is_ok());

    let rejected =
        decide::<Rule>(&login(crate::support::NOW - 301).scope("calendar:read")).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::InsufficientScope);
    let both = ["calendar:read", "calendar:write"];
    assert_eq!(
        rejected.required_scopes(),
        both,
        "what the next token needs"
    );
    assert_eq!(
        rejected.to_string(),
        "token does not have what is required: scope calendar:write and role admin and \
         a login of the last five minutes"
    );

    let rejected = decide::<Rule>(&good.without("acr")).unwrap_err();
    assert_eq!(rejected.kind(), RejectionKind::InsufficientRole);
    assert!(rejected.required_scopes().is_empty());

    // For alternatives the challenge names the first, and the sentence for the operator names all.
    type Choice = AnyOf<(AllOf<(Both, Admin)>, scope!("root"))>;
    let rejected = decide::<Choice>(&token().scope("calendar:write")).unwrap_err();
    assert_eq!(rejected.required_scopes(), both);
    let sentence = rejected.to_string();
    assert!(
        sentence.ends_with("(scope calendar:read and role admin) or scope root"),
        "{sentence}"
    );
    assert!(decide::<Choice>(&token().scope("root")).is_ok());
}

/// A rejection of the application looks like a rejection of the layer, and is reported once.
#[tokio::test]
async fn a_rejection_of_the_application_looks_like_one_of_the_layer() {
    let scopes = ScopeSet::parse("files:read files:write").unwrap();
    let narrow = move |claims: Claims| {
        let scopes = scopes.clone();
        async move { claims.authorize_all(&scopes) }
    };
    let both = ScopeSet::parse("files:read files:write").unwrap();
    let cases = [
        (
            get(async || Rejection::revoked("user row is gone")),
            (401, Some("invalid_token"), None),
            RejectionKind::Revoked,
            "user row is gone",
        ),
        (
            get(async || Rejection::suspended("user row is locked".to_owned())),
            (401, Some("invalid_token"), None),
            RejectionKind::Suspended,
            "user row is locked",
        ),
        (
            get(async || Rejection::forbidden("calendar of another team")),
            (403, Some("insufficient_scope"), None),
            RejectionKind::InsufficientRole,
            "calendar of another team",
        ),
        (
            get(async move || Rejection::insufficient_scope(&both)),
            (
                403,
                Some("insufficient_scope"),
                Some("files:read files:write"),
            ),
            RejectionKind::InsufficientScope,
            "scopes files:read files:write",
        ),
        (
            get(narrow),
            (
                403,
                Some("insufficient_scope"),
                Some("files:read files:write"),
            ),
            RejectionKind::InsufficientScope,
            "scope files:write",
        ),
        (
            get(async |claims: Claims| claims.authorize::<Admin>()),
            (403, Some("insufficient_scope"), None),
            RejectionKind::InsufficientRole,
            "role admin",
        ),
        (
            get(async || Rejection::unavailable("database is down")),
            (503, None, None),
            RejectionKind::RevocationUnavailable,
            "database is down",
        ),
    ];
    for (handler, (status, code, scope), kind, reason) in cases {
        let log = Log::listen();
        let auth = Fixture::new()
            .auth()
            .challenge(Challenge::new("files").unwrap())
            .respond_with(ProblemDetails::new());
        let app = Router::new().route("/", handler).layer(auth);
        let response = call(app, Some(&token().scope("files:read"))).await;
        assert_eq!(response.status(), status, "{kind:?}");
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.kind(), kind);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers().contains_key("retry-after"),
            status == 503
        );
        if status != 503 {
            let challenge = challenge(&response);
            assert_eq!(challenge.parameter("realm"), Some("files"));
            assert_eq!(challenge.parameter("error"), code);
            assert_eq!(challenge.parameter("scope"), scope);
        }
        let body = axum::body::to_bytes(response.into_body(), 4_096)
            .await
            .unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["status"], status);
        assert!(!body.to_string().contains(reason), "{body}");
        let text = log.text();
        assert_eq!(text.matches("jwt_rejected").count(), 1, "{text}");
        assert!(
            text.contains(reason) && text.contains(kind.as_str()),
            "{text}"
        );
        // A 503 is not reported as a rejection of the token.
        let is_of_token = text.contains("jwt_rejected: token rejected");
        assert_eq!(is_of_token, status == 401, "{text}");
    }
}

/// The layer outside chooses the form that the request asks for, whatever form the application
/// chose.
#[tokio::test]
async fn a_rejection_of_the_application_has_the_form_that_the_request_asks_for() {
    let handlers = [
        get(async || Rejection::unavailable("database is down").into_grpc::<Body>()),
        get(async || Rejection::unavailable("database is down").into_response::<Body>()),
    ];
    for handler in handlers {
        let app = Router::new().route("/", handler);
        let app = app.layer(Fixture::new().auth());
        let response = call(app, Some(&token())).await;
        assert_eq!(response.status(), 503);
        for (name, value) in [("cache-control", "no-store"), ("retry-after", "5")] {
            let lines: Vec<_> = response.headers().get_all(name).iter().collect();
            assert_eq!(lines, [value], "{name}");
        }
        for name in ["content-type", "grpc-message", "grpc-status"] {
            assert!(!response.headers().contains_key(name), "{name}");
        }
    }
}

/// A client that asked for scopes that it already has would get the same token again.
#[test]
fn a_rule_that_names_a_granted_scope_asks_for_none() {
    struct Odd;
    impl Requirement for Odd {
        fn check(_: Grants<'_>) -> Result<(), Shortfall> {
            Err(Shortfall::scopes(["calendar:read"]))
        }

        fn describe() -> String {
            "nobody".into()
        }
    }
    for (scope, asked) in [("calendar:read", &[][..]), ("other", &["calendar:read"])] {
        let rejection = decide::<Odd>(&token().scope(scope)).unwrap_err();
        assert_eq!(rejection.required_scopes(), asked, "{scope}");
        assert_eq!(rejection.status(), 403);
    }
}

/// RFC6750-3-4: scopes from a configuration file.
#[test]
fn a_text_that_is_no_scope_is_a_configuration_error() {
    for bad in [
        "a b", " ", "", "a ", "a\tb", "a\"b", "a\\b", "\u{e4}", "\u{7f}", "a\n",
    ] {
        for scopes in [vec![bad], vec!["a", bad], vec![bad, "a"]] {
            let rejected = ScopeSet::new(scopes).unwrap_err();
            assert_eq!(
                rejected,
                ConfigError::Scope {
                    input: bad.to_owned()
                }
            );
            assert!(rejected.to_string().contains("scope"), "{rejected}");
        }
    }
    assert!(ScopeSet::new([]).is_err());
    for bad in ["", "  ", "a\tb", "a \"b\""] {
        assert!(ScopeSet::parse(bad).is_err(), "{bad:?}");
    }
    let set = ScopeSet::parse(" b a  b ").unwrap();
    assert_eq!(set.iter().collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(set, ScopeSet::new(["b", "a"]).unwrap());
    assert_eq!(set.to_string(), "b a");
}

#[test]
fn scopes_of_the_configuration_authorize_as_others_do() {
    let set = ScopeSet::parse("calendar:read calendar:write").unwrap();
    for (granted, all, any) in [
        ("calendar:read calendar:write", true, true),
        ("calendar:write", false, true),
        ("calendar:readonly", false, false),
        ("", false, false),
    ] {
        let claims = Fixture::new().accepts(&token().scope(granted).mint());
        assert_eq!(claims.authorize_all(&set).is_ok(), all, "{granted}");
        assert_eq!(claims.authorize_any(&set).is_ok(), any, "{granted}");
    }
    let claims = Fixture::new().accepts(&token().mint());
    let [all, any] = [claims.authorize_all(&set), claims.authorize_any(&set)];
    let [all, any] = [all, any].map(Result::unwrap_err);
    assert_eq!(all.kind(), RejectionKind::InsufficientScope);
    assert_eq!(all.required_scopes(), ["calendar:read", "calendar:write"]);
    assert_eq!(any.required_scopes(), ["calendar:read"]);
    assert!(any.to_string().contains("calendar:write"), "{any}");
}

/// A layer can answer 404 to requests without the right.
#[tokio::test]
async fn a_forbidden_route_can_be_answered_with_404() {
    let fixture = Fixture::new();
    for route in guarded::<Read>() {
        let app = route.layer(fixture.auth().hide_forbidden());
        let response = call(app.clone(), Some(&token())).await;
        assert_eq!(response.status(), 404);
        assert!(response.headers().get("www-authenticate").is_none());
        let granted = call(app, Some(&token().scope("calendar:read"))).await;
        assert_eq!(granted.status(), 200);
    }
}

// The claims that providers send.

/// Scopes and roles of a token with these claims, in a layer for the audience `calendar`.
fn grants(adjust: impl Fn(JwtAuth) -> JwtAuth, claims: Value) -> (Vec<String>, Vec<String>) {
    try_grants(adjust, claims).unwrap()
}

fn try_grants(
    adjust: impl Fn(JwtAuth) -> JwtAuth,
    claims: Value,
) -> Result<(Vec<String>, Vec<String>), Rejection> {
    let fixture = Fixture::new();
    let (issuer, audience) = (Issuer::new(ISSUER), Audience::new("calendar"));
    let auth = JwtAuth::new(issuer.unwrap(), audience.unwrap(), &fixture.keys);
    let mut token = fixture.token().audience("calendar").header("typ", "JWT");
    for (name, value) in claims.as_object().unwrap() {
        token = token.claim(name, value.clone());
    }
    let verifier = adjust(auth)
        .clock(fixture.clock.clone())
        .cache(small_cache())
        .verifier();
    let claims = verifier.verify_now(&token.mint())?;
    let owned =
        |names: tower_jwt_auth::claims::NameSet<'_>| names.iter().map(str::to_owned).collect();
    Ok((owned(claims.scopes()), owned(claims.roles())))
}

#[track_caller]
fn assert_grants(claims: Value, scopes: &[&str], roles: &[&str]) {
    let (found_scopes, found_roles) = grants(|auth| auth, claims.clone());
    assert_eq!(found_scopes, scopes, "{claims}");
    assert_eq!(found_roles, roles, "{claims}");
}

/// RFC9068-2.2.3-1
#[test]
fn grants_of_auth0_are_read() {
    assert_grants(
        json!({"scope": "openid read:events", "permissions": ["read:events", "edit:events"]}),
        &["openid", "read:events"],
        &["read:events", "edit:events"],
    );
}

/// RFC9068-2.2.3-1
#[test]
fn grants_of_okta_are_read() {
    assert_grants(
        json!({"scp": ["openid", "calendar:read"], "cid": "0oa1", "groups": ["Everyone"]}),
        &["openid", "calendar:read"],
        &[],
    );
    let (_, roles) = grants(
        |auth| auth.roles_from(ClaimPointer::new("/groups").unwrap()),
        json!({"groups": ["Everyone"]}),
    );
    assert_eq!(roles, ["Everyone"]);
}

/// RFC9068-2.2.3-1
#[test]
fn grants_of_entra_are_read() {
    assert_grants(
        json!({"scp": "Events.Read Events.Write", "roles": ["Calendar.Admin"], "ver": "2.0"}),
        &["Events.Read", "Events.Write"],
        &["Calendar.Admin"],
    );
}

/// RFC9068-2.2.3.1-1
#[test]
fn grants_of_keycloak_are_read_and_other_clients_roles_left_out() {
    assert_grants(
        json!({
            "typ": "Bearer",
            "scope": "profile email",
            "realm_access": {"roles": ["offline_access", "staff"]},
            "resource_access": {
                "calendar": {"roles": ["editor"]},
                "account": {"roles": ["manage-account"]},
                "Calendar": {"roles": ["owner"]},
            },
        }),
        &["profile", "email"],
        &["offline_access", "staff", "editor"],
    );
}

/// Claims that grant roles are read strictly: another shape rejects the token, and does not
/// silently grant nothing. A claim that is not read for roles may have any shape.
#[test]
fn roles_of_another_shape_reject_the_token_where_they_are_read() {
    let rejected = |adjust: fn(JwtAuth) -> JwtAuth, claims: &Value| {
        let rejection = try_grants(adjust, claims.clone()).expect_err(&claims.to_string());
        assert_eq!(rejection.kind(), RejectionKind::InvalidClaim, "{claims}");
    };
    let bad = [
        json!(5),
        json!(true),
        json!({}),
        json!({"value": "admin"}),
        json!([5]),
        json!(["admin", null]),
        json!([["admin"]]),
        json!([{"display": "admin"}]),
        json!([{"value": 5}]),
    ];
    let good = [
        json!("admin"),
        json!(["admin"]),
        json!([{"value": "admin"}, "admin"]),
    ];
    let none = [json!(null), json!([])];
    type Sources = [(fn(JwtAuth) -> JwtAuth, fn(Value) -> Value); 7];
    let sources: Sources = [
        (|auth| auth, |roles| json!({"roles": roles})),
        (|auth| auth, |roles| json!({"entitlements": roles})),
        (|auth| auth, |roles| json!({"permissions": roles})),
        (|auth| auth, |roles| json!({"cognito:groups": roles})),
        (
            |auth| auth,
            |roles| json!({"realm_access": {"roles": roles}}),
        ),
        (
            |auth| auth,
            |roles| json!({"resource_access": {"calendar": {"roles": roles}}}),
        ),
        (
            |auth| auth.roles_from(ClaimPointer::new("/ext/groups").unwrap()),
            |roles| json!({"ext": {"groups": roles}, "roles": {"a": 5}}),
        ),
    ];
    for (adjust, claims) in sources {
        for bad in &bad {
            rejected(adjust, &claims(bad.clone()));
        }
        for good in &good {
            assert_eq!(grants(adjust, claims(good.clone())).1, ["admin"]);
        }
        for none in &none {
            assert!(grants(adjust, claims(none.clone())).1.is_empty());
        }
    }
    // The value around the roles must be an object.
    for bad in [json!("admin"), json!(["admin"]), json!(5)] {
        rejected(|auth| auth, &json!({"realm_access": bad}));
        rejected(|auth| auth, &json!({"resource_access": bad}));
        rejected(|auth| auth, &json!({"resource_access": {"calendar": bad}}));
        rejected(
            |auth| auth.roles_from(ClaimPointer::new("/ext/groups").unwrap()),
            &json!({"ext": bad}),
        );
        rejected(
            |auth| auth.scopes_from(ClaimPointer::new("/ext/scopes").unwrap()),
            &json!({"ext": bad}),
        );
    }
    let empty = json!({"realm_access": {}, "resource_access": {"calendar": null, "other": 5}});
    assert_grants(empty, &[], &[]);
}

#[test]
fn a_claim_that_is_no_source_of_roles_may_have_any_shape() {
    let foreign = json!({
        "urn:zitadel:iam:org:project:1:roles": {"editor": {"2": "acme.example"}},
        "groups": {"admin": true},
        "role": 5,
        "https://example.com/roles": {"admin": 1},
        "authorization": {"permissions": [{"rsid": "1"}]},
    });
    assert_grants(foreign, &[], &[]);
    // If the configuration names another claim, the usual claims may have any shape.
    let claims = json!({
        "own": ["editor"],
        "roles": [{"id": "1", "key": "admin"}],
        "permissions": 5,
        "realm_access": 5,
        "resource_access": 5,
        "scope": 5,
        "scp": {},
        "words": "a",
    });
    let (scopes, roles) = grants(
        |auth| {
            auth.roles_from(ClaimPointer::new("/own").unwrap())
                .scopes_from(ClaimPointer::new("/words").unwrap())
        },
        claims,
    );
    assert_eq!((scopes, roles), (vec!["a".into()], vec!["editor".into()]));
}

/// RFC9068-2.2.3.1-1: an API with two audiences gets the roles of both clients.
#[test]
fn roles_of_each_client_that_the_audience_names_are_read() {
    let fixture = Fixture::new();
    let audience = Audience::any_of(["calendar", "mail"]).unwrap();
    let auth = JwtAuth::new(Issuer::new(ISSUER).unwrap(), audience, &fixture.keys);
    let verifier = auth.clock(fixture.clock.clone()).verifier();
    let token = fixture.token().audience("calendar").claim(
        "resource_access",
        json!({
            "mail": {"roles": ["sender"]},
            "account": {"roles": ["manage-account"]},
            "calendar": {"roles": ["editor", "sender"]},
        }),
    );
    let claims: Claims = verifier.verify_now(&token.mint()).unwrap();
    assert_eq!(
        claims.roles().iter().collect::<Vec<_>>(),
        ["editor", "sender"]
    );
}

/// RFC9068-2.2.3.1-1
#[test]
fn grants_of_cognito_are_read() {
    assert_grants(
        json!({"token_use": "access", "scope": "calendar/read", "cognito:groups": ["staff"]}),
        &["calendar/read"],
        &["staff"],
    );
}

/// RFC9068-2.2.3-1: if both claims are present, the registered claim is used.
#[test]
fn scope_goes_before_scp() {
    assert_grants(json!({"scope": "a", "scp": ["b"]}), &["a"], &[]);
    assert_grants(json!({"scope": "", "scp": ["b"]}), &[], &[]);
}

#[test]
fn a_role_of_one_claim_is_not_repeated_by_another() {
    assert_grants(
        json!({"roles": ["a", "b"], "permissions": ["b", "c"], "entitlements": "a"}),
        &[],
        &["a", "b", "c"],
    );
}

/// RFC9068-2.2.3-1: the configuration can name any claim.
#[test]
fn scopes_and_roles_can_come_from_any_claim() {
    let pointer = |text| ClaimPointer::new(text).unwrap();
    let claims = json!({
        "scope": "ignored",
        "roles": ["ignored"],
        "https://calendar.example/roles": ["editor"],
        "ext": {"access": {"scopes": "a b", "groups": [{"value": "staff"}]}, "a~b": ["tilde"]},
    });
    let (scopes, roles) = grants(
        |auth| {
            auth.scopes_from(pointer("/ext/access/scopes"))
                .scopes_from(pointer("/ext/a~0b"))
                .roles_from(pointer("/https:~1~1calendar.example~1roles"))
                .roles_from(pointer("/ext/access/groups"))
        },
        claims.clone(),
    );
    assert_eq!(scopes, ["a", "b", "tilde"]);
    assert_eq!(roles, ["editor", "staff"]);
    // If the named claim is absent, it grants nothing, and the usual claims are not read either.
    let (scopes, roles) = grants(
        |auth| {
            auth.scopes_from(pointer("/ext/none"))
                .roles_from(pointer("/none/at/all"))
        },
        claims,
    );
    assert!(scopes.is_empty() && roles.is_empty());
}

#[test]
fn a_claim_pointer_is_a_json_pointer() {
    for bad in ["", "roles", "#/roles", "/a~", "/a~2b"] {
        let rejected = ClaimPointer::new(bad);
        assert_eq!(
            rejected.unwrap_err(),
            ConfigError::ClaimPointer {
                input: bad.to_owned()
            }
        );
    }
    for good in ["/roles", "/a/b", "/a~1b~0c", "/", "/a//b"] {
        assert!(ClaimPointer::new(good).is_ok(), "{good}");
    }
}

/// Types that a configuration file can contain, each in its text form.
#[test]
fn configuration_files_hold_issuers_audiences_scopes_and_pointers() {
    #[derive(Debug, PartialEq, serde::Deserialize, serde::Serialize)]
    struct File {
        issuer: Issuer,
        audience: Audience,
        scopes: ScopeSet,
        roles: ClaimPointer,
        size: MaxTokenSize,
    }

    let text = json!({
        "issuer": ISSUER,
        "audience": "calendar",
        "scopes": "calendar:read calendar:write",
        "roles": "/https:~1~1example.com~1roles/~0",
        "size": 8_192,
    });
    let file: File = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&file).unwrap(), text);
    assert_eq!(file.issuer, ISSUER.parse().unwrap());
    assert_eq!(file.issuer.as_ref(), ISSUER);
    assert_eq!(file.audience, "calendar".parse().unwrap());
    assert_eq!(file.scopes, "calendar:read calendar:write".parse().unwrap());
    assert_eq!(file.roles, text["roles"].as_str().unwrap().parse().unwrap());
    assert_eq!(file.roles.to_string(), text["roles"]);

    let with = |name: &str, value: Value| {
        let mut text = text.clone();
        text[name] = value;
        serde_json::from_value::<File>(text)
    };
    let several = with("audience", json!(["a", "b"])).unwrap().audience;
    assert_eq!(several, Audience::any_of(["a", "b"]).unwrap());
    assert_eq!(several.to_string(), "a, b");
    assert_eq!(serde_json::to_value(&several).unwrap(), json!(["a", "b"]));
    let scopes = with("scopes", json!(["calendar:read", "calendar:write"]));
    assert_eq!(scopes.unwrap(), file);
    for (name, bad) in [
        ("issuer", json!("")),
        ("issuer", json!("https://a .example")),
        ("audience", json!("")),
        ("audience", json!([])),
        ("audience", json!(["a", ""])),
        ("audience", json!(null)),
        ("audience", json!(["a", 1])),
        ("scopes", json!("")),
        ("scopes", json!(["a b"])),
        ("roles", json!("roles")),
        ("size", json!(0)),
        ("size", json!(65_537)),
    ] {
        assert!(with(name, bad.clone()).is_err(), "{name}: {bad}");
    }
    // An insecure setting cannot come from a configuration file.
    assert!(serde_json::to_value(Audience::insecure_any()).is_err());
    assert_eq!(Audience::insecure_any().to_string(), "any");
}

/// A `main` that returns the error prints a sentence.
#[test]
fn a_configuration_error_reads_the_same_for_debugging() {
    let error = Issuer::new("").unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
}

#[test]
fn scopes_iterate_and_compare_as_a_set() {
    let claims = |scope: &str| Fixture::new().accepts(&token().scope(scope).mint());
    let [ab, ba, a] = ["a b", "b a", "a"].map(claims);
    let mut names = Vec::new();
    for scope in ab.scopes() {
        names.push(scope);
    }
    assert_eq!(names, ["a", "b"]);
    assert_eq!(ab.scopes(), ba.scopes());
    assert_ne!(ab.scopes(), a.scopes());
    assert_ne!(a.scopes(), ab.scopes());
}
