//! gRPC as clients see it: a tonic client, a tonic server and a client for plain HTTP/2, on a
//! loopback address.

#![cfg(feature = "grpc")]

use std::collections::HashMap;
use std::net::SocketAddr;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request as HttpRequest, Response as HttpResponse, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::codegen::tokio_stream::{self, Iter, StreamExt};
use tonic::metadata::MetadataValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::grpc::RequestExt;
use tower_jwt_auth::response::Challenge;
use tower_jwt_auth::revocation::{RevocationError, RevocationStatus};
use tower_jwt_auth::{Claims, JwtAuth, KeyStore, Rejection, RejectionKind, role, scope};

use crate::support::{Fixture, ReadChallenge, challenges, read_challenge};

type Read = scope!("health:read");
type Watch = scope!("health:watch");

#[derive(Debug, Deserialize)]
struct Own {
    tenant: String,
}

/// A service that answers tokens with the scope. A name of another tenant gets `NOT_FOUND`.
struct Guarded;

#[tonic::async_trait]
impl Health for Guarded {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let caller = request.require::<Read>()?;
        assert_eq!(caller.subject(), Some("alice"));
        if !request.get_ref().service.is_empty() {
            let own: Claims<Own> = request.claims()?;
            if own.tenant != request.get_ref().service {
                return Err(Status::not_found("another tenant's"));
            }
        }
        Ok(Response::new(serving()))
    }

    type WatchStream = Iter<std::vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        request.require::<Watch>()?;
        let messages = vec![Ok(serving()), Ok(serving()), Ok(serving())];
        Ok(Response::new(tokio_stream::iter(messages)))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

/// A server on a loopback address, which ends with the test.
struct Running {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Running {
    async fn with(auth: impl Into<Option<JwtAuth>>) -> Self {
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = HealthServer::new(Guarded);
        let server = match auth.into() {
            Some(auth) => tokio::spawn(async move {
                let server = Server::builder().layer(auth).add_service(service);
                server.serve_with_incoming(incoming).await.unwrap();
            }),
            None => tokio::spawn(async move {
                let server = Server::builder().add_service(service);
                server.serve_with_incoming(incoming).await.unwrap();
            }),
        };
        Self { address, server }
    }

    async fn client(&self) -> HealthClient<Channel> {
        let endpoint = Endpoint::try_from(format!("http://{}", self.address)).unwrap();
        HealthClient::new(endpoint.connect().await.unwrap())
    }

    /// The outcome of a unary call with this `authorization`.
    async fn check(&self, authorization: Option<&str>) -> Result<HealthCheckResponse, Status> {
        let call = call(authorization, "");
        let answer = self.client().await.check(call).await;
        answer.map(Response::into_inner)
    }

    /// The number of messages of a streaming call.
    async fn watch(&self, authorization: Option<&str>) -> Result<usize, Status> {
        let call = call(authorization, "");
        let mut messages = self.client().await.watch(call).await?.into_inner();
        let mut count = 0;
        while let Some(message) = messages.next().await {
            message?;
            count += 1;
        }
        Ok(count)
    }

    /// Sends one HTTP/2 request without a gRPC library.
    async fn raw(&self, headers: &[(&str, &str)]) -> HttpResponse<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let uri = format!("http://{}/grpc.health.v1.Health/Check", self.address);
        let mut request = HttpRequest::post(uri).header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // An empty message, in a frame of five bytes.
        let body = Full::new(Bytes::from_static(&[0; 5]));
        sender
            .send_request(request.body(body).unwrap())
            .await
            .unwrap()
    }
}

fn call(authorization: Option<&str>, service: &str) -> Request<HealthCheckRequest> {
    let mut request = Request::new(HealthCheckRequest {
        service: service.to_owned(),
    });
    if let Some(value) = authorization {
        let value = MetadataValue::try_from(value).unwrap();
        request.metadata_mut().insert(AUTHORIZATION.as_str(), value);
    }
    request
}

fn auth(fixture: &Fixture) -> JwtAuth {
    fixture.auth().challenge(Challenge::new("health").unwrap())
}

/// `Bearer` and a good token of alice with these scopes.
fn alice(fixture: &Fixture, scope: &str) -> String {
    let token = fixture.token().subject("alice").scope(scope);
    format!("Bearer {}", token.claim("tenant", "acme").mint())
}

/// The one challenge of a status, as a client reads it.
fn challenge(status: &Status) -> ReadChallenge {
    let lines: Vec<_> = status
        .metadata()
        .get_all("www-authenticate")
        .iter()
        .collect();
    assert_eq!(lines.len(), 1, "{status:?}");
    read_challenge(lines[0].to_str().unwrap())
}

/// GRPC-2: the accepted twin of the tests below.
#[tokio::test]
async fn a_granted_call_is_answered() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    let caller = alice(&fixture, "health:read health:watch");
    let answer = server.check(Some(&caller)).await.unwrap();
    assert_eq!(answer.status(), ServingStatus::Serving);
    assert_eq!(server.watch(Some(&caller)).await.unwrap(), 3);

    // Own claims are deserialized when the method asks for them.
    let mut client = server.client().await;
    let own = client.check(call(Some(&caller), "acme")).await;
    assert!(own.is_ok(), "{own:?}");
    let other = client.check(call(Some(&caller), "others")).await;
    assert_eq!(other.unwrap_err().code(), Code::NotFound);
}

/// GRPC-2, GRPC-5
#[tokio::test]
async fn a_call_without_a_token_is_unauthenticated() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    for status in [
        server.check(None).await.unwrap_err(),
        server.watch(None).await.unwrap_err(),
        server.check(Some("Basic YTpi")).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), "Authentication is required");
        let challenge = challenge(&status);
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.parameter("realm"), Some("health"));
        assert_eq!(challenge.parameter("error"), None);
    }
}

/// GRPC-2, GRPC-5
#[tokio::test]
async fn a_call_with_a_bad_token_is_unauthenticated() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    for (token, text) in [
        (fixture.token().expired(), "The access token expired"),
        (
            fixture.token().not_yet_valid(),
            "The access token is not valid yet",
        ),
        (fixture.token().tampered(), "The access token is invalid"),
        (
            fixture.token().audience("https://other.example"),
            "The access token is invalid",
        ),
    ] {
        let authorization = format!("Bearer {}", token.mint());
        for status in [
            server.check(Some(&authorization)).await.unwrap_err(),
            server.watch(Some(&authorization)).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.message(), text);
            let challenge = challenge(&status);
            assert_eq!(challenge.parameter("realm"), Some("health"));
            assert_eq!(challenge.parameter("error"), Some("invalid_token"));
            assert_eq!(challenge.parameter("error_description"), Some(text));
        }
    }
}

/// GRPC-2, GRPC-5
#[tokio::test]
async fn a_call_without_the_scope_is_denied_and_told_which_one() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    let (reader, watcher) = (
        alice(&fixture, "health:read"),
        alice(&fixture, "health:watch"),
    );
    for (status, scope) in [
        (
            server.check(Some(&watcher)).await.unwrap_err(),
            "health:read",
        ),
        (
            server.watch(Some(&reader)).await.unwrap_err(),
            "health:watch",
        ),
    ] {
        assert_eq!(status.code(), Code::PermissionDenied);
        let challenge = challenge(&status);
        assert_eq!(challenge.parameter("realm"), Some("health"));
        assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
        assert_eq!(challenge.parameter("scope"), Some(scope));
    }
}

/// GRPC-2, GRPC-5: a guard between layer and service answers like a method.
#[tokio::test]
async fn a_guard_around_the_server_denies_in_the_layers_name() {
    let fixture = Fixture::new();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = incoming.local_addr().unwrap();
    let server = Server::builder()
        .layer(auth(&fixture))
        .layer(JwtAuth::require::<Read>())
        .add_service(HealthServer::new(Guarded))
        .serve_with_incoming(incoming);
    let server = Running {
        address,
        server: tokio::spawn(async { server.await.unwrap() }),
    };

    let reader = alice(&fixture, "health:read");
    assert!(server.check(Some(&reader)).await.is_ok());
    let watcher = alice(&fixture, "health:watch");
    let status = server.watch(Some(&watcher)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let challenge = challenge(&status);
    assert_eq!(challenge.parameter("realm"), Some("health"));
    assert_eq!(challenge.parameter("scope"), Some("health:read"));
}

/// GRPC-2, GRPC-5: an outage on our side is not a fault of the token.
#[tokio::test]
async fn a_call_that_cannot_be_decided_is_unavailable() {
    let fixture = Fixture::new();
    let signer = fixture.signer("k1");
    let keys = KeyStore::pending();
    let pending = JwtAuth::new(signer.issuer(), signer.audience(), keys.clone());
    let pending = pending.clock(fixture.clock.clone());
    let failing =
        async |_: Claims| Err::<RevocationStatus, _>(RevocationError::new("no connection"));
    let failing = auth(&fixture).revocation(failing);
    let caller = alice(&fixture, "health:read health:watch");

    let waiting_for_keys = Running::with(pending).await;
    for server in [&waiting_for_keys, &Running::with(failing).await] {
        for status in [
            server.check(Some(&caller)).await.unwrap_err(),
            server.watch(Some(&caller)).await.unwrap_err(),
        ] {
            assert_eq!(status.code(), Code::Unavailable);
            assert!(status.metadata().get("www-authenticate").is_none());
        }
    }

    // Once there are keys, the same server accepts the token.
    keys.rotate(signer.key().with_key_id("k1"));
    assert!(waiting_for_keys.check(Some(&caller)).await.is_ok());
}

/// GRPC-2, GRPC-5: an optional layer passes on calls without a token. A method that needs claims
/// still rejects them.
#[tokio::test]
async fn an_anonymous_call_is_rejected_by_the_method_that_needs_claims() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture).optional()).await;
    let status = server.check(None).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(challenge(&status).parameter("realm"), Some("health"));
    assert!(
        server
            .check(Some(&alice(&fixture, "health:read")))
            .await
            .is_ok()
    );
}

/// GRPC-2: own claims that do not fit are a fault of the token, in the method as in the layer.
#[tokio::test]
async fn own_claims_that_do_not_fit_are_rejected() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    let token = fixture.token().subject("alice").scope("health:read").mint();
    let call = call(Some(&format!("Bearer {token}")), "acme");
    let status = server.client().await.check(call).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let challenge = challenge(&status);
    assert_eq!(challenge.parameter("realm"), Some("health"));
    assert_eq!(challenge.parameter("error"), Some("invalid_token"));
}

/// GRPC-2: a missing layer is a mistake of the operator, and the client learns nothing about it.
#[tokio::test]
async fn a_server_without_the_layer_fails_internally() {
    let fixture = Fixture::new();
    let server = Running::with(None).await;
    let caller = alice(&fixture, "health:read");
    let status = server.check(Some(&caller)).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "Internal error");
    assert!(status.metadata().get("www-authenticate").is_none());
}

/// GRPC-3: never HTTP 400 or 401, because clients map these to gRPC codes by a table of their own.
#[tokio::test]
async fn a_malformed_header_is_unauthenticated_with_http_200() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    let content_type = ("content-type", "application/grpc");
    for authorization in ["Bearer", "Bearer two tokens", "Bearer a, Bearer b"] {
        let status = server.check(Some(authorization)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{authorization}");
        assert_eq!(
            challenge(&status).parameter("error"),
            Some("invalid_request")
        );
        let response = server
            .raw(&[content_type, ("authorization", authorization)])
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "16");
    }
    // Two `Authorization` headers.
    let good = alice(&fixture, "health:read");
    let twice = [
        content_type,
        ("authorization", &good),
        ("authorization", &good),
    ];
    let response = server.raw(&twice).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "16");
    // The twin: one of them.
    let response = server.raw(&twice[..2]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get("grpc-status"), None);
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}

/// GRPC-1, GRPC-5: one HEADERS frame with END_STREAM, which has a status and one challenge. Nothing
/// follows.
#[tokio::test]
async fn a_rejection_is_one_frame_of_headers() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    let watcher = alice(&fixture, "health:watch");
    for (content_type, authorization, grpc_status) in [
        ("application/grpc", None, "16"),
        ("application/grpc+proto", None, "16"),
        ("application/grpc;charset=utf-8", None, "16"),
        ("application/grpc", Some("Bearer not-a-token"), "16"),
        // Rejected by the method, and not by the layer.
        ("application/grpc", Some(watcher.as_str()), "7"),
    ] {
        let mut headers = vec![("content-type", content_type)];
        headers.extend(authorization.map(|value| ("authorization", value)));
        let response = server.raw(&headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        // hyper knows that the stream has ended after the head only if the head had END_STREAM.
        assert!(response.body().is_end_stream(), "{headers:?}");
        assert_eq!(response.headers()["grpc-status"], grpc_status);
        assert!(
            response.headers()[CONTENT_TYPE]
                .to_str()
                .unwrap()
                .starts_with("application/grpc")
        );
        assert_eq!(response.headers().get("content-length"), None);
        assert_eq!(challenges(response.headers()).len(), 1);
        let collected = response.into_body().collect().await.unwrap();
        assert!(collected.trailers().is_none());
        assert!(collected.to_bytes().is_empty());
    }

    // The twin: a successful response has a message and trailers.
    let reader = alice(&fixture, "health:read");
    let headers = [
        ("content-type", "application/grpc"),
        ("authorization", &*reader),
    ];
    let response = server.raw(&headers).await;
    assert!(!response.body().is_end_stream());
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    assert!(!collected.to_bytes().is_empty());
}

/// GRPC-1: a content type that only begins like that of gRPC is plain HTTP.
#[tokio::test]
async fn other_content_types_are_answered_in_http() {
    let fixture = Fixture::new();
    let server = Running::with(auth(&fixture)).await;
    for content_type in ["application/grpcfoo", "application/json", "text/grpc"] {
        let response = server.raw(&[("content-type", content_type)]).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers().get("grpc-status"), None);
        assert_eq!(challenges(response.headers()).len(), 1);
    }
}

/// axum and tonic on one port: an unknown path gets 404, and not an empty page.
#[tokio::test]
async fn axum_and_tonic_share_a_layer() {
    use axum::{Router, body::Body, routing::get};
    use tonic::service::Routes;

    let fixture = Fixture::new();
    let rest = || Router::new().route("/me", get(async || "me"));
    let grpc = || Routes::new(HealthServer::new(Guarded)).into_axum_router();
    let app = rest().merge(grpc().reset_fallback()).layer(auth(&fixture));
    let reader = alice(&fixture, "health:read");
    let ask = async |app: &Router, method: &str, path: &str, authorization: Option<&str>| {
        let mut request = HttpRequest::builder().method(method).uri(path);
        if method == "POST" {
            request = request.header(CONTENT_TYPE, "application/grpc");
        }
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        // An empty message, in a frame of five bytes.
        let body = if method == "POST" {
            Body::from(vec![0; 5])
        } else {
            Body::empty()
        };
        let response = app
            .clone()
            .oneshot(request.body(body).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let grpc = head
            .headers
            .get("grpc-status")
            .or_else(|| body.trailers()?.get("grpc-status"));
        (
            head.status.as_u16(),
            grpc.map(|value| value.to_str().unwrap().to_owned()),
        )
    };
    let is = |http: u16, grpc: Option<&str>| (http, grpc.map(str::to_owned));
    let check = "/grpc.health.v1.Health/Check";
    assert_eq!(ask(&app, "GET", "/me", Some(&reader)).await, is(200, None));
    assert_eq!(
        ask(&app, "POST", check, Some(&reader)).await,
        is(200, Some("0"))
    );
    assert_eq!(ask(&app, "GET", "/me", None).await, is(401, None));
    assert_eq!(ask(&app, "POST", check, None).await, is(200, Some("16")));
    // An unknown path, and an unknown gRPC service.
    assert_eq!(
        ask(&app, "GET", "/nowhere", Some(&reader)).await,
        is(404, None)
    );
    assert_eq!(
        ask(&app, "POST", "/a.B/C", Some(&reader)).await,
        is(404, None)
    );
    assert_eq!(ask(&app, "GET", "/nowhere", None).await, is(401, None));
    // This is why the guide removes the fallback of tonic.
    let with_fallback = rest().merge(grpc()).layer(auth(&fixture));
    assert_eq!(
        ask(&with_fallback, "GET", "/nowhere", Some(&reader)).await,
        is(200, Some("12"))
    );
}

/// The response of the layer alone to a request with these headers.
async fn through_the_layer(auth: JwtAuth, headers: &[(&str, &str)]) -> HttpResponse<String> {
    let inner = service_fn(async |_: HttpRequest<String>| {
        Ok::<_, std::convert::Infallible>(HttpResponse::new("hello".to_owned()))
    });
    let mut request = HttpRequest::post("/grpc.health.v1.Health/Check");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(String::new()).unwrap();
    auth.layer(inner).oneshot(request).await.unwrap()
}

/// GRPC-1: a gRPC call is a POST. A cache could store the response to a `GET` with the content type
/// of gRPC, so `GET` and every other method get an HTTP response.
#[tokio::test]
async fn a_request_that_is_no_post_is_no_grpc_call() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let guarded = |auth: JwtAuth| {
        ServiceBuilder::new()
            .layer(auth)
            .layer(JwtAuth::require::<Read>())
    };
    let pending = || {
        let signer = fixture.signer("k1");
        let pending = JwtAuth::new(signer.issuer(), signer.audience(), KeyStore::pending());
        pending.clock(fixture.clock.clone())
    };
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "QUERY", "POST"] {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
        ] {
            for (auth, authorization, http, grpc) in [
                (auth(&fixture), None, 401, "16"),
                (auth(&fixture), Some("Bearer".to_owned()), 400, "16"),
                (auth(&fixture), Some(format!("Bearer {token}")), 403, "7"),
                (
                    auth(&fixture).hide_forbidden(),
                    Some(format!("Bearer {token}")),
                    404,
                    "5",
                ),
                (pending(), Some(format!("Bearer {token}")), 503, "14"),
            ] {
                let mut request = HttpRequest::builder().method(method).uri("/a.B/C");
                request = request.header(CONTENT_TYPE, content_type);
                if let Some(value) = authorization {
                    request = request.header(AUTHORIZATION, value);
                }
                let inner = service_fn(async |_: HttpRequest<String>| {
                    Ok::<_, std::convert::Infallible>(HttpResponse::new("hello".to_owned()))
                });
                let request = request.body(String::new()).unwrap();
                let response = guarded(auth).service(inner).oneshot(request).await.unwrap();
                let is_call = method == "POST";
                assert_eq!(
                    response.status().as_u16(),
                    if is_call { 200 } else { http },
                    "{method}"
                );
                assert_eq!(
                    response
                        .headers()
                        .get("grpc-status")
                        .map(HeaderValue::as_bytes),
                    is_call.then_some(grpc.as_bytes())
                );
                // No cache stores the response, whatever its form.
                assert_eq!(
                    response.headers()["cache-control"],
                    "no-store",
                    "{method} {http}"
                );
            }
        }
    }
}

/// The response that an application makes of a rejection has `no-store` too.
#[test]
fn every_rejection_says_no_store() {
    let fixture = Fixture::new();
    for kind in [
        fixture.verify("not-a-token").unwrap_err(),
        fixture
            .verify(&fixture.token().expired().mint())
            .unwrap_err(),
        fixture
            .accepts(&fixture.token().mint())
            .authorize::<Read>()
            .unwrap_err(),
    ] {
        let response: HttpResponse<String> = kind.clone().into_grpc();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let response: HttpResponse<String> = kind.into_response();
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

/// GRPC-6
#[tokio::test]
async fn grpc_web_gets_its_status_in_the_headers() {
    let fixture = Fixture::new();
    for content_type in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
    ] {
        let content = ("content-type", content_type);
        let response = through_the_layer(auth(&fixture), &[content]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], content_type);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(response.body().is_empty());
        let [challenge] = challenges(response.headers()).try_into().unwrap();
        assert_eq!(challenge.parameter("realm"), Some("health"));

        let token = alice(&fixture, "");
        let accepted = [content, ("authorization", &*token)];
        let response = through_the_layer(auth(&fixture), &accepted).await;
        assert_eq!(response.body(), "hello");
        assert_eq!(response.headers().get("grpc-status"), None);
    }
}

/// GRPC-4: numbers without leading zeros, and a message that every client decodes to the text that
/// HTTP clients get.
#[tokio::test]
async fn status_and_message_are_encoded_as_grpc_asks() {
    let fixture = Fixture::new();
    let pending = || {
        let signer = fixture.signer("k1");
        JwtAuth::new(signer.issuer(), signer.audience(), KeyStore::pending())
            .clock(fixture.clock.clone())
    };
    let (good, bad) = (alice(&fixture, ""), "Bearer not-a-token");
    let mut seen = HashMap::new();
    for (auth, authorization) in [
        (auth(&fixture), bad),
        (auth(&fixture), "Bearer"),
        (pending(), &*good),
    ] {
        let headers = [
            ("content-type", "application/grpc"),
            ("authorization", authorization),
        ];
        let response = through_the_layer(auth, &headers).await;
        let status = Status::from_header_map(response.headers()).unwrap();
        let number = response.headers()["grpc-status"].to_str().unwrap();
        assert_eq!(number, i32::from(status.code()).to_string());
        let message = response.headers()["grpc-message"].as_bytes();
        assert!(
            message
                .iter()
                .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'%'),
            "our own sentences need no escapes"
        );
        let rejection = response
            .extensions()
            .get::<tower_jwt_auth::Rejection>()
            .unwrap();
        assert_eq!(status.message(), rejection.client_text());
        seen.insert(rejection.kind(), status.code());
    }
    assert_eq!(
        seen,
        HashMap::from([
            (RejectionKind::MalformedToken, Code::Unauthenticated),
            (RejectionKind::MalformedRequest, Code::Unauthenticated),
            (RejectionKind::KeySourceUnavailable, Code::Unavailable),
        ])
    );
}

/// GRPC-2: a rejection that the application turns into a response is the same in HTTP and gRPC.
#[test]
fn http_and_grpc_tell_the_same_of_a_rejection() {
    let fixture = Fixture::new();
    let rejection = |token: String| fixture.verify(&token).unwrap_err();
    let claims = fixture.accepts(&fixture.token().mint());
    let pending = {
        let signer = fixture.signer("k1");
        JwtAuth::new(signer.issuer(), signer.audience(), KeyStore::pending())
            .clock(fixture.clock.clone())
            .verifier()
    };
    for (rejection, kind, http, grpc) in [
        (
            rejection("not-a-token".into()),
            RejectionKind::MalformedToken,
            401,
            Code::Unauthenticated,
        ),
        (
            rejection(fixture.token().expired().mint()),
            RejectionKind::Expired,
            401,
            Code::Unauthenticated,
        ),
        (
            rejection(fixture.token().signed_by_stranger().mint()),
            RejectionKind::BadSignature,
            401,
            Code::Unauthenticated,
        ),
        (
            claims.authorize::<Read>().unwrap_err(),
            RejectionKind::InsufficientScope,
            403,
            Code::PermissionDenied,
        ),
        (
            claims.authorize::<role!("admin")>().unwrap_err(),
            RejectionKind::InsufficientRole,
            403,
            Code::PermissionDenied,
        ),
        (
            pending.verify_now(&fixture.token().mint()).unwrap_err(),
            RejectionKind::KeySourceUnavailable,
            503,
            Code::Unavailable,
        ),
    ] {
        assert_eq!(rejection.kind(), kind);
        assert_eq!(rejection.status(), http);
        let status = Status::from(rejection.clone());
        assert_eq!(status.code(), grpc, "{kind:?}");
        let response: HttpResponse<String> = rejection.clone().into_grpc();
        assert_eq!(response.status(), StatusCode::OK);
        let from_wire = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(from_wire.code(), grpc);
        assert_eq!(from_wire.message(), status.message());

        let response: HttpResponse<String> = rejection.into_response();
        assert_eq!(response.status(), http);
        let lines = status.metadata().get_all("www-authenticate");
        let lines: Vec<_> = lines
            .iter()
            .map(|line| read_challenge(line.to_str().unwrap()))
            .collect();
        assert_eq!(lines, challenges(response.headers()));
    }
}

/// The status of a method has the challenge of the layer, and the rejection is reported once.
#[cfg(feature = "tracing")]
#[test]
fn a_rejection_of_a_method_is_told_to_the_caller_and_reported_once() {
    let mut request = Request::new(());
    request
        .extensions_mut()
        .insert(Challenge::new("files").unwrap());
    let rejection = || Rejection::revoked("user row is gone");
    for (realm, reject) in [("api", false), ("files", true)] {
        let log = crate::support::log::Log::listen();
        let status = match reject {
            true => request.reject(rejection()),
            false => rejection().into(),
        };
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.message(), "The access token was revoked");
        let challenge = challenge(&status);
        assert_eq!(challenge.parameter("realm"), Some(realm));
        assert_eq!(challenge.parameter("error"), Some("invalid_token"));
        let text = log.text();
        assert_eq!(text.matches("user row is gone").count(), 1, "{text}");
    }
}
