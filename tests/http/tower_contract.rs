//! The contract of Tower for a middleware: readiness, backpressure, errors, cancellation, and the
//! bounds of types.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, Ready, pending, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::sync::oneshot;
use tower::limit::{ConcurrencyLimitLayer, GlobalConcurrencyLimitLayer};
use tower::util::{BoxCloneService, BoxCloneSyncService, BoxService};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::future::ResponseFuture;
use tower_jwt_auth::require::{RequireFuture, RequireLayer, RequireService};
use tower_jwt_auth::response::{Challenge, EmptyBody, ProblemDetails};
use tower_jwt_auth::revocation::{Revocation, RevocationCheck, RevocationError, RevocationStatus};
use tower_jwt_auth::service::JwtAuthService;
use tower_jwt_auth::{
    Claims, JwtAuth, KeyStore, NoClaims, Rejection, RejectionKind, Verifier, scope,
};
use tower_test::mock::{self, Handle, Spawn};

use crate::support::{Fixture, challenges, get, get_bare, get_with};

type Mock = mock::Mock<Request<String>, Response<String>>;
type Inner = Handle<Request<String>, Response<String>>;
type Answer = Result<RevocationStatus, RevocationError>;

/// A layer around a mock service.
fn mocked(auth: JwtAuth) -> (Spawn<JwtAuthService<Mock, NoClaims, EmptyBody>>, Inner) {
    mock::spawn_layer(auth)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that is ready.
#[track_caller]
fn done<F: Future>(future: F) -> F::Output {
    match poll(pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not ready"),
    }
}

/// A revocation check that the test answers.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<Vec<oneshot::Sender<Answer>>>>);

impl Gate {
    /// The sender for the oldest check that was not answered yet.
    fn next(&self) -> oneshot::Sender<Answer> {
        self.0.lock().unwrap().remove(0)
    }

    fn answer(&self, answer: Answer) {
        self.next().send(answer).expect("the check is waited for");
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Revocation for Gate {
    fn check(&self, _: &Claims) -> RevocationCheck {
        let (sender, receiver) = oneshot::channel();
        self.0.lock().unwrap().push(sender);
        RevocationCheck::Pending(Box::pin(async {
            receiver.await.expect("every check is answered")
        }))
    }
}

/// A service that checks the contract of Tower: a clone is not ready, a call needs a `poll_ready`
/// before it, and each `poll_ready` allows one call.
#[derive(Default)]
struct Strict {
    is_ready: bool,
    calls: Arc<AtomicUsize>,
}

impl Strict {
    fn calls(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.calls)
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self {
            is_ready: false,
            calls: self.calls(),
        }
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Response<String>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(self.is_ready, "called without having been polled ready");
        self.is_ready = false;
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(Response::new("hello".to_owned())))
    }
}

fn make_ready<S, B>(service: &mut S)
where
    S: Service<Request<B>>,
    S::Error: std::fmt::Debug,
{
    match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready.unwrap(),
        Poll::Pending => panic!("not ready"),
    }
}

/// TOWER-D1
#[test]
fn is_ready_when_the_inner_service_is() {
    let fixture = Fixture::new();
    let (mut service, mut inner) = mocked(fixture.auth());
    inner.allow(0);
    assert!(service.poll_ready::<Request<String>>().is_pending());
    assert!(!service.is_woken());

    inner.allow(1);
    assert!(
        service.is_woken(),
        "the waker went through to the inner service"
    );
    assert!(service.poll_ready::<Request<String>>().is_ready());

    let _response = service.call(get(&fixture.token().mint()));
    assert!(inner.poll_request().is_ready());
    assert!(
        service.poll_ready::<Request<String>>().is_pending(),
        "one call was allowed"
    );
}

/// TOWER-D1
#[test]
fn fails_in_poll_ready_as_the_inner_service_does() {
    let (mut service, mut inner) = mocked(Fixture::new().auth());
    inner.send_error("the pool is closed");
    match service.poll_ready::<Request<String>>() {
        Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "the pool is closed"),
        other => panic!("{other:?}"),
    }
}

/// TOWER-D1
#[test]
fn errors_of_the_inner_service_pass_through() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    for auth in [fixture.auth(), fixture.auth().revocation(gate.clone())] {
        let (mut service, mut inner) = mocked(auth);
        assert!(service.poll_ready::<Request<String>>().is_ready());
        let mut response = pin!(service.call(get(&fixture.token().mint())));
        if gate.asked() == 1 {
            assert!(poll(response.as_mut()).is_pending());
            gate.answer(Ok(RevocationStatus::Active));
        }
        assert!(poll(response.as_mut()).is_pending());
        let Poll::Ready(Some((_, reply))) = inner.poll_request() else {
            panic!("the inner service was not called");
        };
        reply.send_error("the disk is full");
        match poll(response) {
            Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "the disk is full"),
            other => panic!("{other:?}"),
        }
    }
}

/// TOWER-D1: the accepted twin is in all other tests of this file.
#[test]
fn a_rejected_request_never_reaches_the_inner_service() {
    let fixture = Fixture::new();
    let grpc = |request: Request<String>| {
        let (mut head, body) = request.into_parts();
        head.method = http::Method::POST;
        head.headers
            .insert("content-type", "application/grpc".parse().unwrap());
        Request::from_parts(head, body)
    };
    let with_pending_keys = || {
        JwtAuth::new(
            fixture.signer("k1").issuer(),
            fixture.signer("k1").audience(),
            KeyStore::pending(),
        )
        .clock(fixture.clock.clone())
    };
    let failing = |_: Claims| ready(Err(RevocationError::new("no connection")));
    let revoking = |_: Claims| ready(Ok(RevocationStatus::Revoked));
    let good = fixture.token().mint();
    for (auth, request, status) in [
        (fixture.auth(), get_bare(), 401),
        (fixture.auth(), grpc(get_bare()), 200),
        (fixture.auth(), get_with("Bearer"), 400),
        (fixture.auth(), get_with("Bearer two tokens"), 400),
        (fixture.auth(), get("not-a-token"), 401),
        (fixture.auth(), get(&fixture.token().expired().mint()), 401),
        (fixture.auth(), get(&fixture.token().tampered().mint()), 401),
        (fixture.auth().optional(), get("not-a-token"), 401),
        (fixture.auth().revocation(revoking), get(&good), 401),
        (fixture.auth().revocation(failing), get(&good), 503),
        (with_pending_keys(), get(&good), 503),
    ] {
        let (mut service, mut inner) = mocked(auth);
        assert!(service.poll_ready::<Request<String>>().is_ready());
        let response = done(service.call(request)).unwrap();
        assert_eq!(response.status(), status);
        assert!(response.extensions().get::<Rejection>().is_some());
        assert!(inner.poll_request().is_pending(), "{status}");
    }
}

/// TOWER-D1
#[test]
fn calls_the_service_that_was_polled_ready() {
    let fixture = Fixture::new();
    let preflight = || {
        Request::options("/events")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .body(String::new())
            .unwrap()
    };
    let token = fixture.token().scope("read").mint();
    for (auth, request) in [
        (fixture.auth(), get(&token)),
        (fixture.auth().optional(), get_bare()),
        (fixture.auth(), preflight()),
    ] {
        let inner = Strict::default();
        let calls = inner.calls();
        // The second call uses the service that stayed after the first one.
        let mut service = auth.layer(inner);
        for round in 1..=2 {
            make_ready::<_, String>(&mut service);
            let response = done(service.call(request.clone())).unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(calls.load(Ordering::Relaxed), round);
        }
    }

    let guarded = ServiceBuilder::new()
        .layer(fixture.auth())
        .layer(JwtAuth::require::<scope!("read")>());
    let mut service = guarded.service(Strict::default());
    make_ready::<_, String>(&mut service);
    let response = done(service.call(get(&token))).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

/// TOWER-D1
#[test]
fn calls_the_service_that_was_polled_ready_after_a_wait_too() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = fixture.auth().revocation(gate.clone()).layer(inner);

    make_ready::<_, String>(&mut service);
    let mut response = pin!(service.call(get(&fixture.token().mint())));
    assert!(poll(response.as_mut()).is_pending());
    assert_eq!(calls.load(Ordering::Relaxed), 0, "nobody has answered yet");

    // During the wait the service is polled ready and called again.
    make_ready::<_, String>(&mut service);
    let mut second = pin!(service.call(get(&fixture.token().mint())));
    assert!(poll(second.as_mut()).is_pending());

    // The checks are answered in the reverse order.
    let first_answer = gate.next();
    gate.answer(Ok(RevocationStatus::Active));
    match poll(second) {
        Poll::Ready(Ok(response)) => assert_eq!(response.status(), StatusCode::OK),
        other => panic!("{other:?}"),
    }
    assert!(poll(response.as_mut()).is_pending());
    first_answer.send(Ok(RevocationStatus::Revoked)).unwrap();
    match poll(response) {
        Poll::Ready(Ok(response)) => assert_eq!(response.status(), StatusCode::UNAUTHORIZED),
        other => panic!("{other:?}"),
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

/// TOWER-D1: a token that is accepted at once causes no clone of the inner service.
#[test]
fn an_accepted_request_clones_no_service() {
    #[derive(Default)]
    struct Counted(Strict, Arc<AtomicUsize>);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.1.fetch_add(1, Ordering::Relaxed);
            Self(self.0.clone(), Arc::clone(&self.1))
        }
    }

    impl Service<Request<String>> for Counted {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Service::<Request<String>>::poll_ready(&mut self.0, cx)
        }

        fn call(&mut self, request: Request<String>) -> Self::Future {
            self.0.call(request)
        }
    }

    let fixture = Fixture::new();
    let inner = Counted::default();
    let clones = Arc::clone(&inner.1);
    let mut service = fixture.auth().optional().layer(inner);
    let token = fixture.token().mint();
    for (request, status, expected) in [
        (get(&token), 200, 0),
        (get(&token), 200, 0),
        (get_bare(), 200, 0),
        // A rejection releases what the ready service held.
        (get("not-a-token"), 401, 1),
    ] {
        make_ready::<_, String>(&mut service);
        let response = done(service.call(request)).unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(clones.load(Ordering::Relaxed), expected);
    }
}

/// TOWER-D1
#[test]
#[should_panic(expected = "service not ready")]
fn a_call_without_poll_ready_reaches_the_inner_service() {
    let fixture = Fixture::new();
    let (mut service, _inner) = mocked(fixture.auth());
    drop(service.call(get(&fixture.token().mint())));
}

/// TOWER-D1: a rejected request must not keep a permit of a limit inside.
#[test]
fn a_rejection_gives_back_what_the_ready_service_held() {
    let fixture = Fixture::new();
    let token = |scope: &str| fixture.token().scope(scope).mint();
    for (request, status) in [(get_bare(), 401), (get(&token("read")), 403)] {
        let service = ServiceBuilder::new()
            .layer(fixture.auth())
            .layer(JwtAuth::require::<scope!("write")>())
            .layer(GlobalConcurrencyLimitLayer::new(1))
            .service(Strict::default());
        let (mut rejected, mut other) = (service.clone(), service);

        make_ready::<_, String>(&mut rejected);
        let taken = Service::<Request<String>>::poll_ready(
            &mut other,
            &mut Context::from_waker(Waker::noop()),
        );
        assert!(taken.is_pending(), "there is one permit");
        let response = done(rejected.call(request)).unwrap();
        assert_eq!(response.status(), status);

        // The service `rejected` still exists, as that of a connection that a client keeps open.
        make_ready::<_, String>(&mut other);
        let response = done(other.call(get(&token("write")))).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        drop(rejected);
    }
}

/// TOWER-D1: a request that waits for its verification must not keep a permit of a limit inside. It
/// takes a permit again when it continues.
#[test]
fn a_wait_gives_back_what_the_ready_service_held() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let token = fixture.token().mint();
    let is_waited_for = fixture.auth().revocation(gate.clone());
    let inner = Strict::default();
    let calls = inner.calls();
    let limited = GlobalConcurrencyLimitLayer::new(1).layer(inner);
    let (mut waiting, mut other) = (is_waited_for.layer(limited.clone()), limited);
    let mut context = Context::from_waker(Waker::noop());

    make_ready::<_, String>(&mut waiting);
    let mut response = Box::pin(waiting.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());

    // The permit is free while the first request waits, although its service still exists.
    make_ready::<_, String>(&mut other);
    let other_response = other.call(get(&token));
    assert_eq!(calls.load(Ordering::Relaxed), 1);

    // The verification has ended, but the permit is taken, so the first request waits for it.
    gate.answer(Ok(RevocationStatus::Active));
    assert!(poll(response.as_mut()).is_pending());
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    drop(other_response);
    match poll(response.as_mut()) {
        Poll::Ready(Ok(response)) => assert_eq!(response.status(), StatusCode::OK),
        other => panic!("{other:?}"),
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    drop(response);

    // A rejection after a wait takes no permit.
    make_ready::<_, String>(&mut waiting);
    let mut response = pin!(waiting.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());
    let held = Service::<Request<String>>::poll_ready(&mut other, &mut context);
    assert!(held.is_ready());
    gate.answer(Ok(RevocationStatus::Revoked));
    match poll(response.as_mut()) {
        Poll::Ready(Ok(response)) => assert_eq!(response.status(), StatusCode::UNAUTHORIZED),
        other => panic!("{other:?}"),
    }
}

/// TOWER-D1
#[test]
fn an_error_of_readiness_after_a_wait_is_the_callers() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let (mut service, mut inner) = mocked(fixture.auth().revocation(gate.clone()));
    assert!(service.poll_ready::<Request<String>>().is_ready());
    let mut response = pin!(service.call(get(&fixture.token().mint())));
    assert!(poll(response.as_mut()).is_pending());
    inner.send_error("the pool is closed");
    gate.answer(Ok(RevocationStatus::Active));
    match poll(response) {
        Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "the pool is closed"),
        other => panic!("{other:?}"),
    }
}

/// TOWER-D2: a request can be dropped in any state, and the same service serves the next request.
#[tokio::test]
async fn a_request_can_be_dropped_at_any_time() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let token = fixture.token().mint();
    // If a dropped request kept the only permit, it would never be free again.
    let (mut waiting, mut inner) = mock::spawn_with(|mock: Mock| {
        ServiceBuilder::new()
            .layer(fixture.auth().revocation(gate.clone()))
            .layer(ConcurrencyLimitLayer::new(1))
            .service(mock)
    });
    let become_ready =
        |service: &mut Spawn<_>| assert!(service.poll_ready::<Request<String>>().is_ready());

    // Rejected, before it was polled.
    become_ready(&mut waiting);
    drop(waiting.call(get_bare()));

    // Waiting, before it was polled.
    become_ready(&mut waiting);
    drop(waiting.call(get(&token)));
    assert!(
        gate.next().is_closed(),
        "the check is dropped with its request"
    );

    // Waiting, polled.
    become_ready(&mut waiting);
    let mut response = Box::pin(waiting.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());
    drop(response);
    assert!(
        gate.next().is_closed(),
        "the check is dropped with its request"
    );

    // The check was answered, and the future was not polled again.
    become_ready(&mut waiting);
    let mut response = Box::pin(waiting.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());
    gate.answer(Ok(RevocationStatus::Active));
    drop(response);
    assert!(inner.poll_request().is_pending(), "it was never called");

    // Rejected after the wait, and finished.
    become_ready(&mut waiting);
    let mut response = Box::pin(waiting.call(get(&token)));
    gate.answer(Ok(RevocationStatus::Revoked));
    assert!(poll(response.as_mut()).is_ready());
    drop(response);

    // Waiting for the inner service.
    become_ready(&mut waiting);
    let mut response = Box::pin(waiting.call(get(&token)));
    gate.answer(Ok(RevocationStatus::Active));
    assert!(poll(response.as_mut()).is_pending());
    let Poll::Ready(Some((_, reply))) = inner.poll_request() else {
        panic!("the inner service was not called");
    };
    drop(response);
    reply.send_response(Response::new("to nobody".to_owned()));

    // The next request is served normally.
    become_ready(&mut waiting);
    let mut response = pin!(waiting.call(get(&token)));
    gate.answer(Ok(RevocationStatus::Active));
    assert!(poll(response.as_mut()).is_pending());
    let Poll::Ready(Some((request, reply))) = inner.poll_request() else {
        panic!("the inner service was not called");
    };
    assert!(request.extensions().get::<Claims>().is_some());
    reply.send_response(Response::new("hello".to_owned()));
    assert_eq!(response.await.unwrap().body(), "hello");
    assert_eq!(gate.asked(), 0);
}

/// TOWER-D2: the keys can change while a request waits. The change does not wait for the request,
/// and a dropped request does not undo it.
#[test]
fn keys_change_while_a_dropped_request_was_waiting() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let token = fixture.token().mint();
    let mut service = fixture
        .auth()
        .revocation(gate.clone())
        .layer(Strict::default());

    make_ready::<_, String>(&mut service);
    let mut response = Box::pin(service.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());
    assert!(fixture.keys.remove("k1"));
    drop(response);

    let mut send = |token: &str| {
        make_ready::<_, String>(&mut service);
        let mut response = pin!(service.call(get(token)));
        if let Poll::Ready(response) = poll(response.as_mut()) {
            return response.unwrap().status();
        }
        gate.0.lock().unwrap().retain(|check| !check.is_closed());
        gate.answer(Ok(RevocationStatus::Active));
        done(response).unwrap().status()
    };
    assert_eq!(send(&token), StatusCode::UNAUTHORIZED, "its key is gone");
    assert_eq!(send(&fixture.token_of("k2").mint()), StatusCode::OK);
}

/// TOWER-D2
#[test]
fn a_verification_without_http_can_be_dropped_too() {
    let fixture = Fixture::new();
    let gate = Gate::default();
    let verifier = fixture.auth().revocation(gate.clone()).verifier();
    let token = fixture.token().mint();

    let mut dropped = Box::pin(verifier.verify(&token));
    assert!(poll(dropped.as_mut()).is_pending());
    drop(dropped);
    assert!(gate.next().is_closed());

    let mut verdict = pin!(verifier.verify(&token));
    assert!(poll(verdict.as_mut()).is_pending());
    gate.answer(Ok(RevocationStatus::Active));
    assert!(matches!(poll(verdict), Poll::Ready(Ok(_))));
}

/// TOWER-D2
#[tokio::test]
async fn a_timeout_outside_ends_a_wait_and_harms_no_other_request() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    // The first check never ends.
    let asked = Arc::new(AtomicUsize::new(0));
    let check = move |_: Claims| {
        let is_first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if is_first {
                pending::<()>().await;
            }
            Ok(RevocationStatus::Active)
        }
    };
    let inner = Strict::default();
    let calls = inner.calls();
    let mut service = ServiceBuilder::new()
        .timeout(Duration::from_millis(1))
        .layer(fixture.auth().revocation(check))
        .concurrency_limit(1)
        .service(inner);

    let ready = ServiceExt::<Request<String>>::ready(&mut service).await;
    let error = ready.unwrap().call(get(&token)).await;
    assert!(error.unwrap_err().is::<tower::timeout::error::Elapsed>());
    assert_eq!(calls.load(Ordering::Relaxed), 0);

    let ready = ServiceExt::<Request<String>>::ready(&mut service).await;
    let response = ready.unwrap().call(get(&token)).await;
    assert_eq!(response.unwrap().status(), StatusCode::OK);
}

/// TOWER-D1
#[tokio::test]
async fn works_between_the_layers_of_tower() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let layers = || {
        ServiceBuilder::new()
            .timeout(Duration::from_secs(30))
            .concurrency_limit(2)
            .layer(fixture.auth())
            .timeout(Duration::from_secs(30))
            .concurrency_limit(2)
            .service(Strict::default())
    };

    let clone: BoxCloneService<Request<String>, Response<String>, BoxError> =
        layers().boxed_clone();
    let shared = BoxCloneSyncService::new(layers());
    let single: BoxService<Request<String>, Response<String>, BoxError> = layers().boxed();
    let buffered = ServiceBuilder::new().buffer(4).service(layers());
    let shedding = ServiceBuilder::new().load_shed().service(layers());

    async fn statuses<S>(mut service: S, token: &str) -> [StatusCode; 3]
    where
        S: Service<Request<String>, Response = Response<String>, Error = BoxError>,
    {
        let mut statuses = [StatusCode::IM_A_TEAPOT; 3];
        for (status, request) in statuses
            .iter_mut()
            .zip([get(token), get_bare(), get(token)])
        {
            let response = service.ready().await.unwrap().call(request).await;
            *status = response.unwrap().status();
        }
        statuses
    }
    let expected = [StatusCode::OK, StatusCode::UNAUTHORIZED, StatusCode::OK];
    assert_eq!(statuses(layers(), &token).await, expected);
    assert_eq!(statuses(clone, &token).await, expected);
    assert_eq!(statuses(shared, &token).await, expected);
    assert_eq!(statuses(single, &token).await, expected);
    assert_eq!(statuses(buffered, &token).await, expected);
    assert_eq!(statuses(shedding, &token).await, expected);
}

/// TOWER-D1: the backpressure of a limit inside reaches the caller, and rejected requests hold no
/// permit.
#[test]
fn the_backpressure_of_a_limit_inside_reaches_the_caller() {
    let fixture = Fixture::new();
    let token = fixture.token().mint();
    let (mut service, mut inner) = mock::spawn_with(|mock: Mock| {
        ServiceBuilder::new()
            .layer(fixture.auth())
            .concurrency_limit(1)
            .service(mock)
    });
    for _ in 0..3 {
        assert!(service.poll_ready::<Request<String>>().is_ready());
        let rejected = done(service.call(get_bare())).unwrap();
        assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    }

    assert!(service.poll_ready::<Request<String>>().is_ready());
    let mut response = pin!(service.call(get(&token)));
    assert!(poll(response.as_mut()).is_pending());
    assert!(service.poll_ready::<Request<String>>().is_pending());

    let Poll::Ready(Some((_, reply))) = inner.poll_request() else {
        panic!("the inner service was not called");
    };
    reply.send_response(Response::new("hello".to_owned()));
    assert!(poll(response).is_ready());
}

/// TOWER-D1
#[tokio::test]
async fn a_guard_inside_answers_in_the_layers_name() {
    let fixture = Fixture::new();
    let auth = fixture
        .auth()
        .challenge(Challenge::new("calendar").unwrap());
    let guarded = ServiceBuilder::new()
        .layer(auth)
        .layer(JwtAuth::require::<scope!("write")>());
    let token = |scope: &str| fixture.token().scope(scope).mint();

    let (mut service, mut inner) = mock::spawn_with(|mock: Mock| guarded.clone().service(mock));
    assert!(service.poll_ready::<Request<String>>().is_ready());
    let rejected = done(service.call(get(&token("read")))).unwrap();
    assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
    let [challenge] = challenges(rejected.headers()).try_into().unwrap();
    assert_eq!(challenge.parameter("realm"), Some("calendar"));
    assert_eq!(challenge.parameter("error"), Some("insufficient_scope"));
    assert_eq!(challenge.parameter("scope"), Some("write"));
    assert!(
        inner.poll_request().is_pending(),
        "the inner service was called"
    );

    let granted = guarded.service(Strict::default());
    let granted = granted.oneshot(get(&token("write"))).await.unwrap();
    assert_eq!(granted.status(), StatusCode::OK);
}

/// TOWER-D1: a guard outside of every layer accepts no request.
#[test]
fn a_guard_outside_lets_nobody_through() {
    let fixture = Fixture::new();
    let token = fixture.token().scope("write").mint();
    let (mut service, mut inner) = mock::spawn_with(|mock: Mock| {
        ServiceBuilder::new()
            .layer(JwtAuth::require::<scope!("write")>())
            .layer(fixture.auth())
            .service(mock)
    });
    assert!(service.poll_ready::<Request<String>>().is_ready());
    let response = done(service.call(get(&token))).unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(response.body().is_empty());
    let rejection = response.extensions().get::<Rejection>().unwrap();
    assert_eq!(rejection.kind(), RejectionKind::MissingLayer);
    assert!(inner.poll_request().is_pending());
}

/// TOWER-D1
#[test]
fn a_guard_forwards_readiness_and_errors() {
    let (mut service, mut inner): (Spawn<RequireService<Mock, scope!("write")>>, Inner) =
        mock::spawn_layer(JwtAuth::require::<scope!("write")>());
    inner.allow(0);
    assert!(service.poll_ready::<Request<String>>().is_pending());
    inner.allow(1);
    assert!(service.poll_ready::<Request<String>>().is_ready());
    inner.send_error("the pool is closed");
    assert!(matches!(
        service.poll_ready::<Request<String>>(),
        Poll::Ready(Err(_))
    ));
}

/// The body of a request is passed on unread, so its type needs no bounds.
#[test]
fn bodies_of_requests_need_no_bounds() {
    struct Odd(Rc<Cell<u8>>);

    let fixture = Fixture::new();
    let inner = service_fn(|request: Request<Odd>| {
        request.body().0.set(7);
        ready(Ok::<_, Infallible>(Response::new(String::new())))
    });
    let service = fixture.auth().layer(inner);
    let (head, _) = get(&fixture.token().mint()).into_parts();
    let cell = Rc::new(Cell::new(0));
    let body = Odd(Rc::clone(&cell));
    let response = done(service.oneshot(Request::from_parts(head, body))).unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(cell.get(), 7);
}

/// The body type of responses needs `Default` only if the responder requires it.
#[test]
fn bodies_of_responses_need_what_the_responder_needs() {
    /// The body type of a proxy or of a tracing layer, which has no default.
    #[derive(Debug, PartialEq)]
    enum Proxied {
        Hello,
        Text(&'static str),
        Problem(String),
    }

    impl From<String> for Proxied {
        fn from(text: String) -> Self {
            Self::Problem(text)
        }
    }

    let fixture = Fixture::new();
    let hello = || {
        service_fn(|_: Request<String>| ready(Ok::<_, Infallible>(Response::new(Proxied::Hello))))
    };
    let post = |content_type: &str| {
        let request = Request::post("/").header("content-type", content_type);
        request.body(String::new()).unwrap()
    };
    let head = || Request::head("/").body(String::new()).unwrap();
    let sentence = |rejection: &Rejection, head: &mut http::response::Parts| {
        head.headers
            .insert("content-type", "text/plain".parse().unwrap());
        Proxied::Text(rejection.client_text())
    };
    let pair = (sentence, || Proxied::Text(""));

    let auth = fixture.auth().respond_with(pair);
    let answer = |request| done(auth.layer(hello()).oneshot(request)).unwrap();
    assert_eq!(*answer(get(&fixture.token().mint())).body(), Proxied::Hello);
    let rejected = answer(get_bare());
    assert_eq!(
        *rejected.body(),
        Proxied::Text("Authentication is required")
    );
    assert_eq!(rejected.headers()["content-type"], "text/plain");
    // The same head, without content.
    let rejected = answer(head());
    assert_eq!(*rejected.body(), Proxied::Text(""));
    assert_eq!(rejected.headers()["content-type"], "text/plain");
    // A gRPC rejection has headers only.
    let rejected = answer(post("application/grpc"));
    assert_eq!(*rejected.body(), Proxied::Text(""));
    assert_eq!(rejected.headers()["content-type"], "application/grpc");

    // The same for a guard, whose response the outer layer replaces.
    let guard = JwtAuth::require::<scope!("write")>().respond_with(pair);
    let guarded = auth.layer(guard.layer(hello()));
    let write = fixture.token().scope("write").mint();
    let granted = done(guarded.clone().oneshot(get(&write))).unwrap();
    assert_eq!(*granted.body(), Proxied::Hello);
    let rejected = done(guarded.oneshot(get(&fixture.token().mint()))).unwrap();
    assert_eq!(rejected.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        *rejected.body(),
        Proxied::Text("The access token lacks a required scope")
    );
    assert_eq!(rejected.headers()["content-type"], "text/plain");
    let alone = done(guard.layer(hello()).oneshot(get(&write))).unwrap();
    assert_eq!(alone.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(*alone.body(), Proxied::Text(""));

    let auth = fixture.auth().respond_with(ProblemDetails::new());
    let answer = |request| done(auth.layer(hello()).oneshot(request)).unwrap();
    match answer(get_bare()).body() {
        Proxied::Problem(text) => assert!(text.contains("about:blank"), "{text}"),
        other => panic!("{other:?}"),
    }
    for request in [head(), post("application/grpc+proto")] {
        assert_eq!(*answer(request).body(), Proxied::Problem(String::new()));
    }
}

/// Inside there is a layer of `tower-http` with its own body type.
#[tokio::test]
async fn a_body_type_without_a_constructor_can_be_mapped() {
    use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
    use hyper::body::Bytes;

    let fixture = Fixture::new();
    let service = ServiceBuilder::new()
        .layer(fixture.auth())
        .map_response(|response: Response<_>| response.map(UnsyncBoxBody::new))
        .layer(tower_http::trace::TraceLayer::new_for_http())
        .service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
    let response = service
        .clone()
        .oneshot(get(&fixture.token().mint()))
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello");
    let rejected = service.oneshot(get_bare()).await.unwrap();
    assert_eq!(rejected.status(), StatusCode::UNAUTHORIZED);
    assert!(
        rejected
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .is_empty()
    );
}

/// A layer is stored in a router, a service in a connection, and a future in a task of a runtime.
#[test]
fn types_fit_where_services_go() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    fn spawned<T: Send + 'static>() {}

    struct Own;
    type Read = scope!("read");

    shared::<JwtAuth>();
    shared::<JwtAuth<Own>>();
    shared::<JwtAuth<Own, ProblemDetails>>();
    shared::<Verifier<Own>>();
    shared::<KeyStore>();
    shared::<JwtAuthService<Strict, Own, ProblemDetails>>();
    spawned::<ResponseFuture<Strict, String, Own, ProblemDetails>>();
    shared::<RequireLayer<Read>>();
    shared::<RequireService<Strict, Read>>();
    spawned::<RequireFuture<Ready<Result<Response<String>, Infallible>>>>();
    shared::<Claims<Own>>();
    shared::<Rejection>();

    // If the inner service is not `Send`, the middleware is not `Send` either.
    #[derive(Clone)]
    struct Local(Rc<()>);
    fn built<T>(_: T) {}
    let local = Local(Rc::new(()));
    assert_eq!(Rc::strong_count(&local.0), 1);
    built(Fixture::new().auth().layer(local));
}
