//! Bodies of rejections: problem details (RFC 9457), and bodies of closures.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rejections::{RejectedRequest, rejections, rejections_but};
use crate::support::{Fixture, challenges, get, get_bare, send};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::response::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::response::{ProblemDetails, RequestHead, WithRequest};
use tower_jwt_auth::test::TestToken;
use tower_jwt_auth::{JwtAuth, Rejection, RejectionKind, scope};

/// All rejections that call the responder. A missing layer has no responder.
async fn problems(
    problem: ProblemDetails,
    adjust: impl Fn(&mut Request<String>),
) -> Vec<RejectedRequest> {
    let mut rejections = rejections(|auth| auth.respond_with(problem.clone()), adjust).await;
    rejections.retain(|rejection| rejection.kind != RejectionKind::MissingLayer);
    rejections
}

/// The members of a body, which must be an object without duplicates.
fn members(body: &str) -> serde_json::Map<String, Value> {
    let value: Value = serde_json::from_str(body).unwrap();
    let members = value.as_object().unwrap().clone();
    for name in members.keys() {
        assert_eq!(body.matches(&format!("\"{name}\":")).count(), 1, "{body}");
    }
    members
}

fn no_change(_: &mut Request<String>) {}

/// RFC9457-3-1, RFC9457-3.1.2-1. A problem of type `about:blank` has the title of its status (section 4.2.1).
#[tokio::test]
async fn every_rejection_is_a_problem_whose_members_agree_with_the_response() {
    for RejectedRequest { kind, response, .. } in problems(ProblemDetails::new(), no_change).await {
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let rejection = response.extensions().get::<Rejection>().unwrap();
        let members = members(response.body());
        assert_eq!(members["type"], "about:blank");
        assert_eq!(
            members["title"],
            response.status().canonical_reason().unwrap()
        );
        assert_eq!(members["status"], response.status().as_u16());
        assert_eq!(members["detail"], rejection.client_text());
        assert_eq!(
            members.get("error"),
            rejection.oauth_error().map(Value::from).as_ref()
        );

        // The body has the error of the challenge.
        let challenge = challenges(response.headers()).pop();
        let said = |name: &str| {
            let challenge = challenge.as_ref()?;
            challenge.parameter(name).map(Value::from)
        };
        assert_eq!(members.get("error"), said("error").as_ref(), "{kind:?}");
        assert_eq!(members.get("scope"), said("scope").as_ref(), "{kind:?}");
        if members.contains_key("error") {
            assert_eq!(Some(members["detail"].clone()), said("error_description"));
        }
        let known = ["type", "title", "status", "detail", "error", "scope"];
        assert!(members.keys().all(|name| known.contains(&name.as_str())));
    }
}

/// RFC9457-4-1: each type has one title and one status, which are documented (section 3.1.3).
#[tokio::test]
async fn a_base_gives_every_problem_a_type_with_one_title() {
    const BASE: &str = "https://api.example/problems/";
    let mut rows: BTreeSet<String> = BTreeSet::new();
    let mut add = |name: &str, members: &serde_json::Map<String, Value>| {
        let (title, status) = (members["title"].as_str().unwrap(), &members["status"]);
        rows.insert(format!("| `{name}` | {title} | {status} |"));
    };
    for RejectedRequest { kind, response, .. } in
        problems(ProblemDetails::with_base(BASE), no_change).await
    {
        use RejectionKind::*;
        let members = members(response.body());
        let name = members["type"]
            .as_str()
            .unwrap()
            .strip_prefix(BASE)
            .unwrap();
        let expected = match kind {
            MissingCredentials => "authentication_required",
            MalformedRequest => "invalid_request",
            InsufficientRole | InsufficientScope => "insufficient_scope",
            CrossSiteRequest | InsecureConnection => "forbidden",
            IntrospectionUnavailable | KeySourceUnavailable | RevocationUnavailable => {
                "temporarily_unavailable"
            }
            _ => "invalid_token",
        };
        assert_eq!(name, expected, "{kind:?}");
        add(name, &members);
    }
    let hidden = |auth: JwtAuth| {
        let problem = ProblemDetails::with_base(BASE);
        auth.hide_forbidden().respond_with(problem)
    };
    for RejectedRequest { response, .. } in rejections(hidden, no_change).await {
        if response.status() == StatusCode::NOT_FOUND {
            add("not_found", &members(response.body()));
        }
    }
    let documentation = include_str!("../../src/response/problem.rs");
    let documented = documentation
        .lines()
        .filter_map(|line| line.trim().strip_prefix("/// "))
        .filter(|line| line.starts_with("| `"));
    assert_eq!(
        rows.iter().map(String::as_str).collect::<Vec<_>>(),
        documented.collect::<Vec<_>>()
    );
}

/// RFC9457-3.1.3-1: the body helps the client, and does not say what the operator gets to know.
#[tokio::test]
async fn two_failures_of_one_kind_have_the_same_body() {
    let fixture = Fixture::new();
    let auth = fixture.auth().respond_with(ProblemDetails::new());
    let answer = async |token: TestToken| {
        let (response, _) = send(&auth, get(&token.mint())).await;
        let rejection = response.extensions().get::<Rejection>().unwrap();
        (rejection.to_string(), response.body().clone())
    };
    let [one, other] = ["https://one.example", "https://other.example"];
    let (reason, body) = answer(fixture.token().audience(one)).await;
    let (other_reason, other_body) = answer(fixture.token().audience(other)).await;
    assert!(reason.contains(one) && other_reason.contains(other));
    assert_eq!(body, other_body);
    assert!(
        !body.contains("example") && !body.contains("audience"),
        "{body}"
    );
    // The twin: a client can do something about another kind.
    let (_, expired) = answer(fixture.token().expired()).await;
    assert_eq!(members(&expired)["title"], members(&body)["title"]);
    assert_ne!(members(&expired)["detail"], members(&body)["detail"]);
}

/// RFC9457-3-1: without the responder there is no body.
#[tokio::test]
async fn a_problem_changes_nothing_but_body_and_content_type() {
    let plain = rejections(|auth| auth, no_change).await;
    let plain = plain
        .into_iter()
        .filter(|rejection| rejection.kind != RejectionKind::MissingLayer);
    for (with, without) in problems(ProblemDetails::new(), no_change)
        .await
        .into_iter()
        .zip(plain)
    {
        assert_eq!(with.kind, without.kind);
        assert_eq!(with.response.status(), without.response.status());
        let mut headers = with.response.headers().clone();
        headers.remove(CONTENT_TYPE);
        assert_eq!(&headers, without.response.headers(), "{:?}", with.kind);
        assert_eq!(without.response.body(), "");
    }
}

/// RFC9110-15.5.4-1: the body of a hidden rejection does not show the reason.
#[tokio::test]
async fn a_hidden_problem_is_that_of_any_resource_that_is_not_there() {
    let mut hidden = 0;
    for (problem, name) in [
        (ProblemDetails::new(), "about:blank"),
        (ProblemDetails::with_base("urn:p:"), "urn:p:not_found"),
    ] {
        let layer = |auth: JwtAuth| auth.hide_forbidden().respond_with(problem.clone());
        for RejectedRequest { kind, response, .. } in rejections(layer, no_change).await {
            assert_ne!(response.status(), StatusCode::FORBIDDEN, "{kind:?}");
            if response.status() != StatusCode::NOT_FOUND {
                continue;
            }
            hidden += 1;
            assert_eq!(
                Value::from(members(response.body())),
                json!({"type": name, "title": "Not Found", "status": 404})
            );
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
            assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        }
    }
    assert_eq!(hidden, 2 * 4, "a scope, a role, another site and no TLS");
}

/// RFC9110-9.3.2-1
#[tokio::test]
async fn a_problem_has_no_content_for_head_and_the_same_fields() {
    let with = async |method: Method| {
        let change = |request: &mut Request<String>| *request.method_mut() = method.clone();
        let layer = |auth: JwtAuth| auth.respond_with(ProblemDetails::new());
        // The rejection of a request from another site depends on its unsafe method, and HEAD is
        // safe.
        rejections_but(&[RejectionKind::CrossSiteRequest], layer, change).await
    };
    let (to_head, to_get) = (with(Method::HEAD).await, with(Method::GET).await);
    for (head, get) in to_head.into_iter().zip(to_get) {
        assert_eq!(head.kind, get.kind);
        assert_eq!(head.response.status(), get.response.status());
        assert_eq!(
            head.response.headers(),
            get.response.headers(),
            "{:?}",
            head.kind
        );
        assert_eq!(head.response.body(), "");
        let has_body = head.kind != RejectionKind::MissingLayer;
        assert_eq!(!get.response.body().is_empty(), has_body);
    }
}

/// GRPC-1: the gRPC response to a rejection has no body, with any responder.
#[tokio::test]
async fn a_grpc_rejection_has_no_problem() {
    let grpc = |request: &mut Request<String>| {
        let value = HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, value);
        *request.method_mut() = http::Method::POST;
    };
    for RejectedRequest { kind, response, .. } in problems(ProblemDetails::new(), grpc).await {
        assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        assert_eq!(response.body(), "", "{kind:?}");
    }
}

#[tokio::test]
async fn a_closure_answers_with_a_body_of_its_own() {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let respond = move |rejection: &Rejection, head: &mut Parts| {
        count.fetch_add(1, Ordering::Relaxed);
        // The head has status, challenge and rejection already.
        assert_eq!(head.status, rejection.status());
        assert_eq!(head.headers[CACHE_CONTROL], "no-store");
        assert!(head.extensions.get::<Rejection>().is_some());
        head.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if rejection.kind() == RejectionKind::MissingCredentials {
            head.headers
                .append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate"));
        }
        if rejection.kind() == RejectionKind::Expired {
            head.status = StatusCode::IM_A_TEAPOT;
        }
        format!("{}.", rejection.client_text())
    };
    let fixture = Fixture::new();
    let auth = fixture.auth().respond_with(respond);

    let (response, _) = send(&auth, get_bare()).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.body(), "Authentication is required.");
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
    assert_eq!(challenges(response.headers()).len(), 2);

    let (response, _) = send(&auth, get(&fixture.token().expired().mint())).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.body(), "The access token expired.");
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    // The responder is not called for an accepted request.
    let (response, _) = send(&auth, get(&fixture.token().mint())).await;
    assert_eq!(response.body(), "hello");
    assert_eq!(calls.load(Ordering::Relaxed), 2);

    let all = rejections(|jwt| jwt.respond_with(auth_responder), no_change).await;
    for RejectedRequest { kind, response, .. } in all {
        let expected = match kind {
            RejectionKind::MissingLayer => "",
            _ => kind.as_str(),
        };
        assert_eq!(response.body(), expected);
    }
}

/// A function can be a responder too.
fn auth_responder(rejection: &Rejection, _: &mut Parts) -> String {
    rejection.kind().as_str().to_owned()
}

/// A responder sees the same head of the request, whatever rejected the request.
#[tokio::test]
async fn a_responder_can_see_the_head_of_the_request() {
    fn respond(rejection: &Rejection, request: &RequestHead, head: &mut Parts) -> String {
        assert!(head.extensions.get::<RequestHead>().is_none());
        assert!(!format!("{request:?}").contains("secret"));
        let id = request.request_id().map(|id| id.to_str().unwrap());
        let trace = request.trace_parent().map(|trace| trace.to_str().unwrap());
        let (method, path) = (request.method(), request.path());
        format!(
            "{} {method} {path} {id:?} {trace:?}",
            rejection.kind().as_str()
        )
    }

    let fixture = Fixture::new();
    let auth = fixture.auth().respond_with(WithRequest::new(respond));
    let guard = JwtAuth::require::<scope!("calendar:read")>();
    let inner = service_fn(async |request: Request<String>| {
        let rejected = request.uri().path() == "/rejected";
        Ok::<_, Infallible>(match rejected {
            true => Rejection::revoked("user row is gone").into_response(),
            false => Response::new("in".to_owned()),
        })
    });
    let app = auth.layer(guard.layer(inner));
    let send = async |path: &str, token: Option<TestToken>, id: Option<&str>| {
        let mut request = Request::post(format!("{path}?access_token=secret"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.mint()));
        }
        if let Some(id) = id {
            request = request
                .header("x-request-id", id)
                .header("traceparent", "00-1");
        }
        let request = request.body(String::new()).unwrap();
        app.clone().oneshot(request).await.unwrap().into_body()
    };
    let token = || fixture.token().scope("calendar:read");
    for (path, token, expected) in [
        ("/a", None, "missing_credentials POST /a"),
        ("/b", Some(token().expired()), "expired POST /b"),
        ("/c", Some(fixture.token()), "insufficient_scope POST /c"),
        ("/rejected", Some(token()), "revoked POST /rejected"),
    ] {
        let body = send(path, token.clone(), Some("id-1")).await;
        assert_eq!(body, format!("{expected} Some(\"id-1\") Some(\"00-1\")"));
        let body = send(path, token, None).await;
        assert_eq!(body, format!("{expected} None None"));
    }
    assert_eq!(send("/a", Some(token()), Some("id-1")).await, "in");
}
