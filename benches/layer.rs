//! The time that the layer adds to a request: the whole Tower `call`, around a service that answers at
//! once.
//!
//! `cargo bench --all-features --bench layer`. Compare the ratios, because times depend on the machine.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

mod support;

use std::convert::Infallible;
use std::future::Ready;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, Response, StatusCode};
use tower::{Layer, Service};
#[cfg(feature = "introspection")]
use tower_jwt_auth::JwtAuth;
use tower_jwt_auth::revocation::{Denylist, Revocation};
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{Algorithm, KeySet, Verifier};

use crate::support::{ALGORITHMS, Signature, User, token};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn no_auth(bencher: Bencher<'_, '_>) {
    let token = token(&TestIssuer::new()).mint();
    run(bencher, Hello, Some(&token), StatusCode::OK);
}

#[divan::bench(args = ALGORITHMS)]
fn accepted(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let issuer = TestIssuer::with_algorithm(algorithm);
    let token = token(&issuer).mint();
    run(
        bencher,
        issuer.auth().layer(Hello),
        Some(&token),
        StatusCode::OK,
    );
}

/// As [`accepted`], with own claims.
#[divan::bench(args = ALGORITHMS)]
fn accepted_with_own_claims(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let issuer = TestIssuer::with_algorithm(algorithm);
    let token = token(&issuer).mint();
    run(
        bencher,
        issuer.auth().claims::<User>().layer(Hello),
        Some(&token),
        StatusCode::OK,
    );
}

/// As [`accepted`], with a denylist of this many marks.
#[divan::bench(args = [0, 100_000])]
fn accepted_with_a_denylist(bencher: Bencher<'_, '_>, marks: usize) {
    let issuer = TestIssuer::with_algorithm(Algorithm::ES256);
    let auth = issuer.auth().revocation(denylist(&issuer, marks));
    let token = token(&issuer).mint();
    run(bencher, auth.layer(Hello), Some(&token), StatusCode::OK);
}

/// As [`accepted`], in a layer that introspects: a JWT, and opaque tokens whose answers are known, of 32, 43 and
/// 683 characters, and as long as the JWT.
#[cfg(feature = "introspection")]
#[divan::bench(args = ["jwt", "opaque_32", "opaque_43", "opaque_683", "opaque_as_jwt"])]
fn accepted_by_an_introspecting_layer(bencher: Bencher<'_, '_>, kind: &str) {
    let (issuer, verifying, runtime) = introspecting(Duration::from_secs(3_600));
    let token = match kind {
        "jwt" => token(&issuer).mint(),
        "opaque_32" => token(&issuer).mint_opaque(),
        "opaque_43" => token(&issuer).mint_opaque_with_prefix(&"p".repeat(11)),
        "opaque_683" => token(&issuer).mint_opaque_with_prefix(&"p".repeat(651)),
        _ => {
            let prefix = token(&issuer).mint().len().saturating_sub(32);
            token(&issuer).mint_opaque_with_prefix(&"p".repeat(prefix))
        }
    };
    let verifier: Verifier = verifying.verifier();
    runtime.block_on(verifier.verify(&token)).unwrap();
    run(
        bencher,
        verifying.layer(Hello),
        Some(&token),
        StatusCode::OK,
    );
}

/// An opaque token for which the endpoint is asked each time. The endpoint is in this process, so
/// this is the cost of a question without the round trip.
#[cfg(feature = "introspection")]
#[divan::bench]
fn question(bencher: Bencher<'_, '_>) {
    let (issuer, verifying, runtime) = introspecting(Duration::ZERO);
    let token = token(&issuer).mint_opaque();
    let verifier: Verifier = verifying.verifier();
    bencher.bench_local(|| {
        runtime
            .block_on(verifier.verify(black_box(&token)))
            .unwrap()
    });
}

/// An issuer, a layer that asks it and keeps its answers for this time, and the runtime of the questions.
#[cfg(feature = "introspection")]
fn introspecting(ttl: Duration) -> (TestIssuer, JwtAuth, tokio::runtime::Runtime) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let issuer = TestIssuer::with_algorithm(Algorithm::ES256);
    let introspection = issuer.introspection().cache_active(ttl);
    let auth = issuer.auth().introspection(introspection);
    (issuer, auth, runtime.enable_time().build().unwrap())
}

/// What a denylist of this many marks adds to a token that was not seen before.
#[divan::bench(args = [0, 100_000])]
fn denylist_check(bencher: Bencher<'_, '_>, marks: usize) {
    let issuer = TestIssuer::with_algorithm(Algorithm::ES256);
    let list = denylist(&issuer, marks);
    let verifier: Verifier = issuer.auth().verifier();
    let claims = verifier.verify_now(&token(&issuer).mint()).unwrap();
    bencher.bench(|| list.check(black_box(&claims)));
}

fn denylist(issuer: &TestIssuer, marks: usize) -> Denylist {
    let list = Denylist::with_capacity(marks);
    let end = SystemTime::now() + Duration::from_secs(3_600);
    for mark in 0..marks {
        list.revoke_id(issuer.issuer().as_str(), &format!("token-{mark}"), end)
            .unwrap();
    }
    list
}

/// The minimum for [`accepted`]: no layer, and a signature check with a parsed key.
#[divan::bench(args = ALGORITHMS)]
fn no_auth_and_bare_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let issuer = TestIssuer::with_algorithm(algorithm);
    let token = token(&issuer).mint();
    let signature = Arc::new(Signature::of(&token, &issuer, algorithm));
    run(
        bencher,
        SignatureThenHello(signature),
        Some(&token),
        StatusCode::OK,
    );
}

#[divan::bench]
fn no_token(bencher: Bencher<'_, '_>) {
    let service = TestIssuer::new().auth().layer(Hello);
    run(bencher, service, None, StatusCode::UNAUTHORIZED);
}

#[divan::bench]
fn malformed(bencher: Bencher<'_, '_>) {
    let issuer = TestIssuer::new();
    let token = token(&issuer).mint().replace('.', "!");
    let service = issuer.auth().layer(Hello);
    run(bencher, service, Some(&token), StatusCode::BAD_REQUEST);
}

#[divan::bench(threads = 8)]
fn eight_threads(bencher: Bencher<'_, '_>) {
    let issuer = TestIssuer::with_algorithm(Algorithm::HS256);
    let token = token(&issuer).mint();
    run(
        bencher,
        issuer.auth().layer(Hello),
        Some(&token),
        StatusCode::OK,
    );
}

/// As [`eight_threads`], while another thread replaces the key set a thousand times a second.
#[divan::bench(threads = 8)]
fn eight_threads_while_keys_rotate(bencher: Bencher<'_, '_>) {
    let issuer = TestIssuer::with_algorithm(Algorithm::HS256);
    let token = token(&issuer).mint();
    let other = TestIssuer::new().key().with_key_id("other");
    let sets = [
        KeySet::from(issuer.key()),
        KeySet::new([other, issuer.key()]).unwrap(),
    ];
    let (keys, done) = (issuer.keys(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for set in sets.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                keys.replace(set.clone());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        run(
            bencher,
            issuer.auth().layer(Hello),
            Some(&token),
            StatusCode::OK,
        );
        done.store(true, Ordering::Relaxed);
    });
}

/// Measures `call` and the one poll that finishes it, without making the request.
fn run<S>(bencher: Bencher<'_, '_>, service: S, token: Option<&str>, expected: StatusCode)
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone + Sync,
{
    let request = || {
        let request = Request::get("/events?from=2024-01-01").header("host", "api.example");
        match token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
        .body(())
        .unwrap()
    };
    assert_eq!(answer(&mut service.clone(), request()).status(), expected);
    bencher
        .with_inputs(|| (service.clone(), request()))
        .bench_values(|(mut service, request)| answer(&mut service, black_box(request)));
}

fn answer<S>(service: &mut S, request: Request<()>) -> Response<()>
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => unreachable!("nothing here has to be waited for"),
    }
}

/// The service under the layer.
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
        std::future::ready(Ok(Response::new(())))
    }
}

/// The same service behind a bare signature check.
#[derive(Clone)]
struct SignatureThenHello(Arc<Signature>);

impl Service<Request<()>> for SignatureThenHello {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.check();
        Hello.call(request)
    }
}
