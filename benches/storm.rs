//! The time of requests with a known key or a known opaque token while other requests have invented ones,
//! compared with a quiet time.
//!
//! `cargo bench --all-features --bench storm`. In `storm` a second thread only sends tokens with unknown key
//! ids, and in `opaque_storm` only invented opaque tokens, while the endpoint does not answer. In `busy` and
//! `opaque_busy` that thread sends known tokens, because two threads on a small machine slow each other down
//! whatever they do. `storm` should take no longer than `busy`, and `opaque_storm` no longer than
//! `opaque_busy`.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has to stop"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use divan::{Bencher, black_box};
use http::{Request, Response};
use tokio::runtime::Runtime;
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::test::TestIssuer;
use tower_jwt_auth::{JwtAuth, Verifier};

use crate::support::{User, token};

fn main() {
    divan::main();
}

/// A verifier with keys that are fetched, and the runtime that fetches them.
fn remote(issuer: &TestIssuer) -> (Verifier<User>, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let published = issuer.clone();
    let fetch = move |_: Request<Vec<u8>>, _| {
        std::future::ready(Ok(Response::new(published.jwks().into_bytes())))
    };
    let keys = RemoteKeys::jwks("https://as.example/jwks", fetch).unwrap();
    let keys = runtime.block_on(keys.connect()).unwrap();
    let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), keys);
    (auth.claims::<User>().verifier(), runtime)
}

/// A thread that verifies these tokens in turn until it is told to stop.
struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn start(verifier: Verifier<User>, tokens: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for token in tokens.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let _ = black_box(verifier.verify_now(token));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn measure(bencher: Bencher<'_, '_>, neighbour: Option<fn(&TestIssuer, usize) -> String>) {
    let issuer = TestIssuer::new();
    let (verifier, runtime) = remote(&issuer);
    let known = token(&issuer).mint();
    let neighbour = neighbour.map(|token| {
        let tokens = (0..1_000).map(|at| token(&issuer, at)).collect();
        Neighbour::start(verifier.clone(), tokens)
    });
    bencher.bench(|| verifier.verify_now(black_box(&known)).unwrap());
    drop((neighbour, runtime));
}

#[divan::bench]
fn quiet(bencher: Bencher<'_, '_>) {
    measure(bencher, None);
}

#[divan::bench]
fn busy(bencher: Bencher<'_, '_>) {
    measure(bencher, Some(|issuer, _| token(issuer).mint()));
}

#[divan::bench]
fn storm(bencher: Bencher<'_, '_>) {
    measure(
        bencher,
        Some(|issuer, at| token(issuer).header("kid", format!("invented-{at}")).mint()),
    );
}

/// The time of an opaque token whose answer is known. The neighbour sends tokens with this beginning in turn,
/// about which the endpoint does not answer.
#[cfg(feature = "introspection")]
fn measure_opaque(bencher: Bencher<'_, '_>, neighbour: Option<&'static str>) {
    use std::time::Duration;
    use tower_jwt_auth::introspection::{ClientAuth, Introspection};

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let active =
        r#"{"active":true,"aud":"https://api.example","sub":"alice","scope":"calendar:read"}"#;
    let answer = move |request: Request<Vec<u8>>, _| async move {
        if request.body().starts_with(b"token=junk") {
            std::future::pending::<()>().await;
        }
        let response = Response::builder().header("content-type", "application/json");
        Ok(response.body(active.as_bytes().to_vec()).unwrap())
    };
    let issuer = TestIssuer::new();
    let client = ClientAuth::secret_basic("calendar-api", "secret").unwrap();
    let introspection = Introspection::at_with("https://as.example/introspect", client, answer);
    let introspection = introspection
        .unwrap()
        .insecure_allow_missing_audience()
        .cache_active(Duration::from_secs(3_600));
    let audience = tower_jwt_auth::Audience::new("https://api.example").unwrap();
    let verifier = runtime.block_on(async {
        let auth = JwtAuth::introspected(issuer.issuer(), audience, introspection);
        auth.verifier()
    });
    let known: Vec<String> = (0..1_000)
        .map(|at| format!("known-2YotnFZFEjr1zCsicMWpAA-{at}"))
        .collect();
    for token in &known {
        runtime.block_on(verifier.verify(token)).unwrap();
    }
    let neighbour = neighbour.map(|beginning| {
        let tokens = (0..10_000).map(|at| {
            let at = if beginning == "known" { at % 1_000 } else { at };
            format!("{beginning}-2YotnFZFEjr1zCsicMWpAA-{at}")
        });
        Neighbour::start(verifier.clone().claims(), tokens.collect())
    });
    let token = known.first().unwrap();
    bencher.bench(|| verifier.verify_now(black_box(token)).unwrap());
    drop(neighbour);
    runtime.shutdown_background();
}

#[cfg(feature = "introspection")]
#[divan::bench]
fn opaque_quiet(bencher: Bencher<'_, '_>) {
    measure_opaque(bencher, None);
}

#[cfg(feature = "introspection")]
#[divan::bench]
fn opaque_busy(bencher: Bencher<'_, '_>) {
    measure_opaque(bencher, Some("known"));
}

/// 10 000 invented tokens in turn, at an endpoint that hangs.
#[cfg(feature = "introspection")]
#[divan::bench]
fn opaque_storm(bencher: Bencher<'_, '_>) {
    measure_opaque(bencher, Some("junk"));
}
