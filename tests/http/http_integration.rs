//! The layer together with other parts of HTTP and Tower: HEAD, CORS, `Expect`, trailers, upgrades,
//! readiness, gRPC. Also that logs contain no secret.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::rejections::{RejectedRequest, rejections, rejections_but};
use crate::support::{Fixture, challenges, get, get_bare, get_with, send};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE,
    COOKIE, HeaderName, ORIGIN, UPGRADE, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tower_jwt_auth::request::{CsrfPolicy, TokenCookie, TokenSource};
use tower_jwt_auth::response::{EXPOSED_HEADERS, ProblemDetails};
use tower_jwt_auth::revocation::RevocationStatus;
use tower_jwt_auth::{Claims, JwtAuth, KeyStore, Rejection, RejectionKind};

/// Serves HTTP/1.1 and HTTP/2 on a loopback address.
async fn serve<S>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // It does not matter if a client closes the connection early.
                let _ = server
                    .serve_connection_with_upgrades(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// A service behind the layer that returns the body of the request.
fn echo<R>(
    auth: JwtAuth<tower_jwt_auth::NoClaims, R>,
) -> impl Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static
where
    R: tower_jwt_auth::response::RespondTo<Full<Bytes>>,
{
    auth.layer(service_fn(async |request: Request<Incoming>| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::new(Full::new(body)))
    }))
}

/// A connection of HTTP/2.
async fn connect<B>(address: SocketAddr) -> hyper::client::conn::http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// Sends these bytes, and returns all that the server sends until it closes the connection.
async fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn bearer(token: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer {token}")).unwrap()
}

/// RFC9110-9.3.2-1
#[tokio::test]
async fn a_rejection_of_head_has_the_fields_of_get_and_no_content() {
    let with = async |method: Method| {
        let change = |request: &mut Request<String>| *request.method_mut() = method.clone();
        // HEAD is a safe method, so it is accepted from another site.
        rejections_but(&[RejectionKind::CrossSiteRequest], |auth| auth, change).await
    };
    let to_get = with(Method::GET).await;
    for (head, get) in with(Method::HEAD).await.into_iter().zip(to_get) {
        assert_eq!(head.response.status(), get.response.status());
        assert_eq!(head.response.headers(), get.response.headers());
        assert_eq!(head.response.body(), "");
    }

    let auth = Fixture::new().auth().respond_with(ProblemDetails::new());
    let address = serve(echo(auth)).await;
    let request =
        |method: &str| format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, &request("HEAD")).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(head.contains("www-authenticate: Bearer "), "{head}");
    assert!(
        head.contains("content-type: application/problem+json"),
        "{head}"
    );
    assert_eq!(body, "");
    let answer = exchange(address, &request("GET")).await;
    assert!(answer.ends_with('}'), "{answer}");
}

/// An `OPTIONS` request with these headers.
fn options(headers: &[(HeaderName, &str)]) -> Request<String> {
    let mut request = Request::options("/events");
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(String::new()).unwrap()
}

fn preflight() -> Request<String> {
    options(&[
        (ORIGIN, "https://app.example"),
        (ACCESS_CONTROL_REQUEST_METHOD, "GET"),
        (ACCESS_CONTROL_REQUEST_HEADERS, "authorization"),
    ])
}

/// CORS as the guide shows it.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(HeaderValue::from_static("https://app.example"))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([AUTHORIZATION, HeaderName::from_static("dpop")])
        .expose_headers(EXPOSED_HEADERS)
}

/// FETCH-3.3-1
#[tokio::test]
async fn a_preflight_reaches_cors_on_either_side_of_the_layer() {
    let inner = service_fn(async |_: Request<String>| {
        Ok::<_, Infallible>(Response::new("handler".to_owned()))
    });
    let auth = Fixture::new().auth();
    let inside = auth.layer(cors().layer(inner)).oneshot(preflight()).await;
    let outside = cors().layer(auth.layer(inner)).oneshot(preflight()).await;
    for response in [inside.unwrap(), outside.unwrap()] {
        assert!(response.status().is_success());
        let headers = response.headers();
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert!(!headers.contains_key(WWW_AUTHENTICATE));
        assert_ne!(response.body(), "handler");
    }
    // With preflights checked, it is a request like any other.
    let strict = auth.check_preflights();
    let response = strict
        .layer(cors().layer(inner))
        .oneshot(preflight())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

/// FETCH-3.3-D1
#[tokio::test]
async fn nothing_but_a_true_preflight_is_let_through_and_it_has_no_claims() {
    let fixture = Fixture::new();
    let auth = fixture.auth();
    let origin = (ORIGIN, "https://app.example");
    let method = (ACCESS_CONTROL_REQUEST_METHOD, "GET");
    let headers = (ACCESS_CONTROL_REQUEST_HEADERS, "authorization");
    for request in [
        options(&[]),
        options(std::slice::from_ref(&origin)),
        options(std::slice::from_ref(&method)),
        options(&[origin.clone(), headers.clone()]),
    ] {
        let (response, seen) = send(&auth, request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(seen.count(), 0);
    }
    for other in ["GET", "POST", "HEAD", "options", "PUT"] {
        let mut request = preflight();
        *request.method_mut() = Method::from_bytes(other.as_bytes()).unwrap();
        let (response, seen) = send(&auth, request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{other}");
        assert_eq!(seen.count(), 0);
    }
    let mut with_token = preflight();
    let good = bearer(&fixture.token().mint());
    with_token.headers_mut().insert(AUTHORIZATION, good);
    for request in [preflight(), with_token] {
        let (response, seen) = send(&auth, request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(seen.requests()[0].extensions.get::<Claims>().is_none());
    }
    // A guard inside rejects a request without claims.
    let inner = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::default()));
    let guarded = JwtAuth::require::<tower_jwt_auth::scope!("a")>().layer(inner);
    let response: Response<String> = auth.layer(guarded).oneshot(preflight()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

/// FETCH-3.3-2: `*` does not cover `Authorization`, so it is listed by name.
#[tokio::test]
async fn the_recipe_for_cors_lists_authorization_by_name() {
    let inner = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::default()));
    let service = cors().layer(Fixture::new().auth().layer(inner));
    let response: Response<String> = service.oneshot(preflight()).await.unwrap();
    let allowed = response.headers()[ACCESS_CONTROL_ALLOW_HEADERS]
        .to_str()
        .unwrap();
    let names: Vec<_> = allowed.split(',').map(str::trim).collect();
    assert_eq!(names, ["authorization", "dpop"]);
}

/// FETCH-3.3-D2
#[tokio::test]
async fn a_page_of_another_origin_can_read_a_rejection() {
    let inner = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::default()));
    let auth = Fixture::new().auth();
    let cross_origin = || {
        let mut request = get_bare();
        let origin = HeaderValue::from_static("https://app.example");
        request.headers_mut().insert(ORIGIN, origin);
        request
    };
    let service = cors().layer(auth.layer(inner));
    let response: Response<String> = service.oneshot(cross_origin()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        "https://app.example"
    );
    assert_eq!(
        response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS],
        "www-authenticate,retry-after,dpop-nonce"
    );
    assert_eq!(challenges(response.headers()).len(), 1);
    // During an outage `Retry-After` is set, and the page can read it.
    let pending = JwtAuth::new(
        Fixture::new().signer("k1").issuer(),
        Fixture::new().signer("k1").audience(),
        KeyStore::pending(),
    )
    .clock(Fixture::new().clock);
    let mut request = cross_origin();
    let token = Fixture::new().token().mint();
    request.headers_mut().insert(AUTHORIZATION, bearer(&token));
    let service = cors().layer(pending.layer(inner));
    let response: Response<String> = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let exposed = response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .unwrap();
    assert!(exposed.contains("retry-after"), "{exposed}");

    // This is why CORS belongs outside: inside, it does not see rejections.
    let service = auth.layer(cors().layer(inner));
    let response: Response<String> = service.oneshot(cross_origin()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
}

/// A body that counts how often it is polled.
struct Counting(Arc<AtomicUsize>);

impl Body for Counting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(None)
    }
}

/// RFC9110-10.1.1-1
#[tokio::test]
async fn a_rejection_does_not_ask_for_the_body() {
    let fixture = Fixture::new();
    let inner = service_fn(async |request: Request<Counting>| {
        request.into_body().collect().await.unwrap();
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let service = fixture.auth().layer(inner);
    for (value, status, polls) in [
        (None, 401, 0),
        (Some("Basic dTpw".parse().unwrap()), 401, 0),
        (Some("Bearer a b".parse().unwrap()), 400, 0),
        (Some(bearer(&fixture.token().expired().mint())), 401, 0),
        (Some(bearer(&fixture.token().mint())), 200, 1),
    ] {
        let count = Arc::new(AtomicUsize::new(0));
        let mut request = Request::post("/")
            .body(Counting(Arc::clone(&count)))
            .unwrap();
        if let Some(value) = value {
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(count.load(Ordering::Relaxed), polls, "{status}");
    }
}

/// RFC9110-10.1.1-1
#[tokio::test]
async fn a_client_that_waits_to_continue_gets_the_rejection_at_once() {
    let fixture = Fixture::new();
    let address = serve(echo(fixture.auth())).await;
    let head = |authorization: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n{authorization}connection: close\r\n\r\n"
        )
    };
    // The body is never sent.
    let answer = exchange(address, &head("")).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");

    let authorization = format!("authorization: Bearer {}\r\n", fixture.token().mint());
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream
        .write_all(head(&authorization).as_bytes())
        .await
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.trim_start().starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
}

/// RFC9110-6.5.1-1
#[tokio::test]
async fn a_token_in_the_trailers_is_no_credential() {
    let fixture = Fixture::new();
    let inner = service_fn(async |request: Request<Incoming>| {
        assert_eq!(request.headers().get_all(AUTHORIZATION).iter().count(), 1);
        assert!(request.extensions().get::<Claims>().is_some());
        let body = request.into_body().collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or_default();
        let answer = format!(
            "{} in trailers",
            trailers.get_all(AUTHORIZATION).iter().count()
        );
        Ok::<_, Infallible>(Response::new(Full::from(answer)))
    });
    let address = serve(fixture.auth().layer(inner)).await;
    let token = fixture.token().mint();
    let send = async |in_header: bool| {
        let mut trailers = HeaderMap::new();
        trailers.insert(AUTHORIZATION, bearer(&token));
        let body = Full::new(Bytes::from_static(b"data"))
            .with_trailers(Box::pin(async move { Some(Ok::<_, Infallible>(trailers)) }));
        let mut request = Request::post(format!("http://{address}/"))
            .body(body)
            .unwrap();
        if in_header {
            request.headers_mut().insert(AUTHORIZATION, bearer(&token));
        }
        let response = connect(address).await.send_request(request).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        let (head, body) = response.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    };
    let (head, body) = send(false).await;
    assert_eq!(head.status, StatusCode::UNAUTHORIZED);
    let challenge = challenges(&head.headers);
    assert_eq!(challenge[0].parameter("error"), None);
    assert!(body.is_empty());

    let (head, body) = send(true).await;
    assert_eq!(head.status, StatusCode::OK);
    assert_eq!(body, "1 in trailers");
}

/// RFC9110-15.2-D1
#[tokio::test]
async fn every_status_of_the_service_inside_passes() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    for auth in [
        fixture.auth(),
        fixture.auth().optional(),
        fixture.auth().hide_forbidden(),
    ] {
        for code in 100..600 {
            let Ok(status) = StatusCode::from_u16(code) else {
                continue;
            };
            let inner = service_fn(move |_: Request<String>| async move {
                let mut response = Response::new("inner".to_owned());
                *response.status_mut() = status;
                response
                    .headers_mut()
                    .insert("link", HeaderValue::from_static("</a>"));
                Ok::<_, Infallible>(response)
            });
            let response = auth.layer(inner).oneshot(get(&token)).await.unwrap();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["link"], "</a>");
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
            assert_eq!(response.body(), "inner");
        }
    }
}

/// RFC9110-15.2-D1
#[tokio::test]
async fn an_upgrade_goes_through_once_the_token_is_verified() {
    let fixture = Fixture::new();
    let upgrades = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&upgrades);
    let inner = service_fn(move |mut request: Request<Incoming>| {
        count.fetch_add(1, Ordering::Relaxed);
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(upgrade.await.unwrap());
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.unwrap();
            bytes.reverse();
            stream.write_all(&bytes).await.unwrap();
        });
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(UPGRADE, "reverse")
            .header("connection", "upgrade")
            .body(Full::default());
        async { Ok::<_, Infallible>(response.unwrap()) }
    });
    let source = TokenSource::header().insecure_with_query();
    let address = serve(fixture.auth().token_source(source).layer(inner)).await;
    let head = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: reverse\r\n\r\n")
    };
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    // A browser cannot set a header for a WebSocket.
    let good = head(&format!("/?access_token={}", fixture.token().mint()));
    stream.write_all(good.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    stream.write_all(b"abcd").await.unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"dcba");

    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.write_all(head("/").as_bytes()).await.unwrap();
    line.clear();
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 401 "), "{line}");
    assert_eq!(upgrades.load(Ordering::Relaxed), 1);
}

type Mock = tower_test::mock::Mock<Request<String>, Response<String>>;

/// TOWER-D1: the mock panics if it is called before it is ready.
#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let waiting = fixture.auth().revocation(async |_: Claims| {
        tokio::task::yield_now().await;
        Ok(RevocationStatus::Active)
    });
    for auth in [fixture.auth(), waiting] {
        let (mut service, mut handle) =
            tower_test::mock::spawn_layer::<Request<String>, Response<String>, _>(auth);
        handle.allow(0);
        assert!(
            service.poll_ready().is_pending(),
            "the readiness is the inner one's"
        );
        handle.allow(1);
        assert!(service.poll_ready().is_ready());
        let answer = async {
            let (request, reply) = handle.next_request().await.unwrap();
            assert!(request.extensions().get::<Claims>().is_some());
            reply.send_response(Response::new("answer".to_owned()));
        };
        let (response, ()) = tokio::join!(service.call(get(&token)), answer);
        assert_eq!(response.unwrap().body(), "answer");

        // One request was allowed, and it was made.
        assert!(service.poll_ready().is_pending());
    }
}

/// TOWER-D1
#[tokio::test]
async fn a_rejection_does_not_call_the_service_inside() {
    let (mock, mut handle): (Mock, _) = tower_test::mock::pair();
    handle.allow(1);
    let mut service = Fixture::new().auth().layer(mock);
    let ready = service.ready().await.unwrap();
    let response = ready.call(get_bare()).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    drop(service);
    assert!(handle.next_request().await.is_none(), "nobody called it");
}

/// TOWER-D1
#[tokio::test]
async fn an_error_of_the_service_inside_stays_that_error() {
    let fixture = Fixture::new();
    let (mock, mut handle): (Mock, _) = tower_test::mock::pair();
    let service = fixture.auth().layer(mock);
    let answer = async {
        let (_, reply) = handle.next_request().await.unwrap();
        reply.send_error("out of paper");
    };
    let call = service.oneshot(get(&fixture.token().mint()));
    let (response, ()) = tokio::join!(call, answer);
    assert_eq!(response.unwrap_err().to_string(), "out of paper");
}

/// TOWER-D2
#[tokio::test]
async fn a_dropped_request_leaves_everything_as_it_was() {
    let fixture = Fixture::new();
    let checks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&checks);
    let auth = fixture.auth().revocation(move |_: Claims| {
        let is_first = count.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok(RevocationStatus::Active)
        }
    });
    let token = fixture.token().mint();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let service = auth.layer(service_fn(move |_: Request<String>| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::<String>::default()) }
    }));
    {
        let mut first = pin!(service.clone().oneshot(get(&token)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut context).is_pending());
        // The keys change during the wait.
        assert!(fixture.keys.remove("h1"));
        assert!(first.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let response = service.clone().oneshot(get(&token)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        (
            checks.load(Ordering::Relaxed),
            calls.load(Ordering::Relaxed)
        ),
        (2, 1)
    );
    let of_removed = fixture.token_of("h1").mint();
    let response = service.oneshot(get(&of_removed)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

fn cookie() -> TokenSource {
    let cookie = TokenCookie::new("__Host-token", CsrfPolicy::same_origin()).unwrap();
    TokenSource::header().with_cookie(cookie)
}

/// RFC9700-4.9.3-1
#[tokio::test]
async fn a_verified_token_is_marked_as_sensitive() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let waiting = fixture
        .auth()
        .revocation(async |_: Claims| Ok(RevocationStatus::Active));
    for auth in [fixture.auth(), fixture.auth().optional(), waiting] {
        let (_, seen) = send(&auth, get(&token)).await;
        let headers = &seen.requests()[0].headers;
        assert!(headers[AUTHORIZATION].is_sensitive());
        assert_eq!(headers[AUTHORIZATION], bearer(&token));
        let shown = format!("{:?}", seen.requests());
        assert_leaks_nothing(&shown, &token);
    }
    let mut request = get_bare();
    let pair = HeaderValue::from_str(&format!("__Host-token={token}")).unwrap();
    request
        .headers_mut()
        .insert(COOKIE, HeaderValue::from_static("theme=dark"));
    request.headers_mut().append(COOKIE, pair);
    let (response, seen) = send(&fixture.auth().token_source(cookie()), request).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_leaks_nothing(&format!("{:?}", seen.requests()), &token);
}

/// RFC6750-5.2-D1
#[tokio::test]
async fn credentials_can_be_taken_off_the_request() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let waiting = fixture
        .auth()
        .revocation(async |_: Claims| Ok(RevocationStatus::Active));
    for auth in [fixture.auth(), waiting] {
        let (_, seen) = send(&auth, get(&token)).await;
        assert!(seen.requests()[0].headers.contains_key(AUTHORIZATION));

        let (response, seen) = send(&auth.remove_credentials(), get(&token)).await;
        assert_eq!(response.status(), StatusCode::OK);
        let request = &seen.requests()[0];
        assert!(!request.headers.contains_key(AUTHORIZATION));
        assert!(request.extensions.get::<Claims>().is_some());
    }
    // Credentials that are not a token for this layer are not removed.
    let optional = fixture.auth().optional().remove_credentials();
    let (_, seen) = send(&optional, get_with("Basic dTpw")).await;
    assert_eq!(seen.requests()[0].headers[AUTHORIZATION], "Basic dTpw");
}

/// Asserts that the text contains no twelve consecutive bytes of the credential.
#[track_caller]
fn assert_leaks_nothing(text: &str, credential: &str) {
    for window in credential.as_bytes().windows(12) {
        let window = std::str::from_utf8(window).unwrap();
        assert!(!text.contains(window), "{window:?} of a token is in {text}");
    }
}

/// RFC9700-4.9.3-1
#[tokio::test]
async fn what_can_be_printed_has_no_token() {
    let all = rejections(|auth| auth, |_| ()).await;
    let credentials = credentials_of(&all);
    for RejectedRequest { response, .. } in &all {
        let rejection = response.extensions().get::<Rejection>().unwrap();
        let shown = format!("{rejection} {rejection:?} {response:?}");
        for credential in &credentials {
            assert_leaks_nothing(&shown, credential);
        }
    }
    let fixture = Fixture::new();
    let token = fixture.token_of("h1").mint();
    let auth = fixture.auth();
    let claims = fixture.accepts(&token);
    let call = auth.layer(service_fn(|_: Request<String>| {
        std::future::ready(Ok::<_, Infallible>(Response::<String>::default()))
    }));
    let mut ready = call.clone();
    let future = ready.call(get(&token));
    let shown = format!("{auth:?} {:?} {claims:?} {future:?}", auth.verifier());
    assert_leaks_nothing(&shown, &token);
    let secret = fixture.signer("h1").jwk()["k"].as_str().unwrap().to_owned();
    assert_leaks_nothing(&shown, &secret);
    assert_leaks_nothing(&format!("{:?}", fixture.keys), &secret);
    assert!(future.await.unwrap().status().is_success());
}

/// All credentials of the rejected requests.
fn credentials_of(rejections: &[RejectedRequest]) -> Vec<String> {
    let headers = rejections.iter().flat_map(|rejection| {
        [AUTHORIZATION, COOKIE].map(|name| rejection.request.headers().get(name))
    });
    headers
        .flatten()
        .flat_map(|value| value.to_str().unwrap().split([' ', '.', '=']))
        .filter(|part| part.len() > 12)
        .map(str::to_owned)
        .collect()
}

#[cfg(feature = "tracing")]
mod logs {
    use crate::support::log::Log;
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    /// The log at this level for every kind of request, and the credentials of these requests.
    async fn log_of_all_paths(level: LevelFilter) -> (String, Vec<String>) {
        let log = Log::down_to(level);
        let all = rejections(|auth| auth, |_| ()).await;
        let mut credentials = credentials_of(&all);
        let grpc = |request: &mut Request<String>| {
            let value = HeaderValue::from_static("application/grpc");
            request.headers_mut().insert(CONTENT_TYPE, value);
        };
        let all = rejections(|auth| auth.optional().hide_forbidden(), grpc).await;
        credentials.extend(credentials_of(&all));

        let fixture = Fixture::new();
        let source = cookie().insecure_with_query();
        let auth = fixture.auth().token_source(source);
        for token in [
            fixture
                .token_of("k2")
                .subject("very-private-subject")
                .mint(),
            fixture.token_of("h1").expired().mint(),
            format!("{}%22", fixture.token_of("e1").mint()),
        ] {
            let header = get_with(format!("bEaReR {token}"));
            let query = Request::get(format!("/?access_token={token}"));
            let cookie = Request::get("/").header(COOKIE, format!("__Host-token={token}"));
            let (query, cookie) = (query.body(String::new()), cookie.body(String::new()));
            for request in [header, query.unwrap(), cookie.unwrap()] {
                send(&auth, request).await;
            }
            credentials.extend(token.split('.').map(str::to_owned));
        }
        fixture
            .keys
            .rotate(fixture.signer("h1").key().with_key_id("h2"));
        assert!(fixture.keys.remove("h1"));
        assert!(fixture.keys.replace_jwks(b"no key set").is_err());
        credentials.push(fixture.signer("h1").jwk()["k"].as_str().unwrap().to_owned());

        (log.text(), credentials)
    }

    /// RFC9700-4.9.3-1
    #[tokio::test]
    async fn no_event_has_a_token_or_a_secret() {
        let (text, credentials) = log_of_all_paths(LevelFilter::TRACE).await;
        for kind in RejectionKind::ALL {
            let is_told = text.contains(kind.as_str()) || *kind == RejectionKind::MissingLayer;
            assert!(is_told, "nothing was logged of {kind:?}");
        }
        for expected in [
            "token accepted",
            "keys changed",
            "key update rejected",
            "layer missing",
        ] {
            assert!(text.contains(expected), "{expected}");
        }
        assert!(credentials.len() > 60);
        for credential in credentials {
            assert_leaks_nothing(&text, &credential);
        }
    }

    /// RFC9700-4.9.3-1
    #[tokio::test]
    async fn no_event_has_a_claim_that_is_not_technical() {
        for level in [LevelFilter::INFO, LevelFilter::TRACE] {
            let (text, _) = log_of_all_paths(level).await;
            assert!(text.contains("kind=\"expired\" status=401"), "{text}");
            for claim in [
                "very-private-subject",
                "subject-1",
                "client-1",
                "token-1",
                "tomorrow",
            ] {
                assert!(!text.contains(claim), "{claim} is in {text}");
            }
            for technical in ["other.example", "unheard-of-key"] {
                assert!(text.contains(technical), "the operator can see why: {text}");
            }
        }
    }
}

fn grpc_type(value: &'static str) -> impl Fn(&mut Request<String>) {
    move |request| {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(CONTENT_TYPE, value);
        *request.method_mut() = Method::POST;
    }
}

/// Decodes `grpc-message`, as a client does.
fn decode_percent(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

/// GRPC-1, GRPC-2, GRPC-3, GRPC-4, GRPC-5
#[tokio::test]
async fn a_grpc_rejection_is_trailers_only() {
    use RejectionKind::*;
    for RejectedRequest { kind, response, .. } in
        rejections(|auth| auth, grpc_type("application/grpc")).await
    {
        assert_eq!(response.status(), StatusCode::OK, "{kind:?}");
        let headers = response.headers();
        assert_eq!(headers[CONTENT_TYPE], "application/grpc");
        let code = match kind {
            CrossSiteRequest | InsecureConnection | InsufficientRole | InsufficientScope => "7",
            MissingLayer => "13",
            IntrospectionUnavailable | KeySourceUnavailable | RevocationUnavailable => "14",
            _ => "16",
        };
        assert_eq!(headers["grpc-status"], code, "{kind:?}");
        let rejection = response.extensions().get::<Rejection>().unwrap();
        assert_eq!(rejection.grpc_code().to_string(), code);
        let message = headers["grpc-message"].to_str().unwrap();
        assert!(message.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        assert_eq!(decode_percent(message), rejection.client_text());
        assert_eq!(response.body(), "");

        let challenge = challenges(headers);
        assert_eq!(
            challenge.is_empty(),
            matches!(code, "13" | "14"),
            "{kind:?}"
        );
        if let Some(challenge) = challenge.first() {
            assert_eq!(challenge.parameter("error"), rejection.oauth_error());
        }
        let own: Response<String> = rejection.clone().into_grpc();
        assert_eq!(own.headers(), headers, "{kind:?}");
    }
}

/// GRPC-1, GRPC-6
#[tokio::test]
async fn a_grpc_rejection_has_the_content_type_of_the_request() {
    let fixture = Fixture::new();
    for value in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json",
        "application/grpc;charset=utf-8",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
    ] {
        let mut request = get_bare();
        grpc_type(value)(&mut request);
        let (response, seen) = send(&fixture.auth(), request.clone()).await;
        assert_eq!(response.status(), StatusCode::OK, "{value}");
        assert_eq!(response.headers()[CONTENT_TYPE], value);
        assert_eq!(response.headers()["grpc-status"], "16", "{value}");
        assert_eq!((response.body().as_str(), seen.count()), ("", 0), "{value}");

        let good = bearer(&fixture.token().mint());
        request.headers_mut().insert(AUTHORIZATION, good);
        let (response, _) = send(&fixture.auth(), request).await;
        assert_eq!(response.body(), "hello", "{value}");
        assert!(!response.headers().contains_key("grpc-status"));
    }
    for value in [
        "application/grpcfoo",
        "application/grpc-webby",
        "application/grp",
        "application/json",
        "text/application/grpc",
        "application/grpc/x",
        "",
    ] {
        let mut request = get_bare();
        grpc_type(value)(&mut request);
        let (response, _) = send(&fixture.auth(), request).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{value}");
        assert!(!response.headers().contains_key("grpc-status"), "{value}");
    }
}

/// GRPC-2, RFC9110-15.5.4-1
#[tokio::test]
async fn a_hidden_grpc_rejection_says_not_found_and_nothing_else() {
    let hidden = rejections(|auth| auth.hide_forbidden(), grpc_type("application/grpc")).await;
    let hidden: Vec<_> = hidden
        .into_iter()
        .filter(|rejection| rejection.response.headers()["grpc-status"] == "5")
        .collect();
    assert_eq!(hidden.len(), 4, "a scope, a role, another site and no TLS");
    for RejectedRequest { response, .. } in hidden {
        assert_eq!(response.status(), StatusCode::OK);
        let mut names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-type", "grpc-status"]);
    }
}

/// GRPC-1
#[tokio::test]
async fn a_grpc_rejection_is_one_block_of_headers_on_the_wire() {
    let fixture = Fixture::new();
    let address = serve(echo(fixture.auth())).await;
    let mut client = connect(address).await;
    let request = |token: Option<String>| {
        let request = Request::post(format!("http://{address}/calendar.Events/List"));
        let request = request
            .header(CONTENT_TYPE, "application/grpc")
            .header("te", "trailers");
        let mut request = request
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        if let Some(token) = token {
            request.headers_mut().insert(AUTHORIZATION, bearer(&token));
        }
        request
    };
    let response = client.send_request(request(None)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "16");
    assert!(
        response.body().is_end_stream(),
        "END_STREAM stands on the headers"
    );

    let response = client
        .send_request(request(Some(fixture.token().mint())))
        .await
        .unwrap();
    assert!(!response.body().is_end_stream());
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        [0; 5].as_slice()
    );
}
