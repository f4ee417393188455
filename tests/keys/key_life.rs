//! The life of keys that are loaded: the verdicts on tokens whose key is missing, the maximum time
//! of a wait, and the end of loading. The time is the paused time of tokio unless a test says
//! otherwise.
#![cfg(all(feature = "remote", feature = "watch"))]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use crate::files::Directory;
use crate::network::{JWKS, Network, json, settle, status_only, unless_known};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, advance};
use tower_jwt_auth::RejectionKind::{
    AlgorithmNotAllowed, BadSignature, Expired, KeySourceUnavailable, UnknownKey,
};
use tower_jwt_auth::keys::RemoteKeys;
use tower_jwt_auth::keys::{Freshness, KeyFile, KeyFormat};
use tower_jwt_auth::revocation::{RevocationError, RevocationStatus};
use tower_jwt_auth::test::{FixedClock, TestIssuer};
use tower_jwt_auth::{Algorithm, Claims, ConfigError, JwtAuth, KeyStore, RejectionKind, Verifier};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn verifier(issuer: &TestIssuer, keys: &KeyStore) -> Verifier {
    JwtAuth::new(issuer.issuer(), issuer.audience(), keys).verifier()
}

fn remote(network: &Network) -> RemoteKeys {
    RemoteKeys::jwks(JWKS, network.clone()).unwrap()
}

async fn connect(network: &Network) -> KeyStore {
    remote(network).connect().await.unwrap()
}

/// An issuer, its network, a store with its keys, and a verifier with this store.
async fn start() -> (TestIssuer, Network, KeyStore, Verifier) {
    let issuer = TestIssuer::new();
    let network = Network::of(&issuer);
    let keys = connect(&network).await;
    let verifier = verifier(&issuer, &keys);
    (issuer, network, keys, verifier)
}

/// The kind of the rejection, or `None` for an accepted token.
async fn rejection(verifier: &Verifier, token: &str) -> Option<RejectionKind> {
    let rejection = verifier.verify(token).await.err()?;
    let expected = match rejection.kind() {
        KeySourceUnavailable => 503,
        _ => 401,
    };
    assert_eq!(rejection.status(), expected, "{rejection}");
    Some(rejection.kind())
}

/// A token with a key id that no key has.
fn invented(issuer: &TestIssuer, id: impl std::fmt::Display) -> String {
    issuer
        .token()
        .header("kid", format!("invented-{id}"))
        .mint()
}

/// An issuer with the same name and another key under the same id.
fn successor() -> TestIssuer {
    TestIssuer::new()
}

/// The key set of an issuer without the ids of its keys.
fn without_ids(issuer: &TestIssuer) -> String {
    issuer
        .jwks()
        .replace(r#""kid":"key-1","#, "")
        .replace(r#","kid":"key-1""#, "")
}

mod outage {
    use super::*;

    const DISCOVERED: &str =
        r#"{"issuer":"https://as.example","jwks_uri":"https://as.example/jwks"}"#;

    fn is_metadata(request: &http::Request<Vec<u8>>) -> bool {
        request.uri().path().contains(".well-known")
    }

    /// RFC9111-4.3-1
    #[tokio::test(start_paused = true)]
    async fn keys_come_back_though_the_issuer_says_that_nothing_is_new() {
        for reloads in [false, true] {
            let issuer = TestIssuer::new();
            let network = Network::of(&issuer);
            let published = issuer.clone();
            let up = move |request: &http::Request<Vec<u8>>| {
                Ok(if is_metadata(request) {
                    json(DISCOVERED)
                } else {
                    unless_known(request, "\"1\"", published.jwks())
                })
            };
            network.answers(up.clone());
            let keys = RemoteKeys::discover(&issuer.issuer(), network.clone()).unwrap();
            let keys = keys.connect().await.unwrap();
            let verifier = verifier(&issuer, &keys);
            let good = issuer.token().mint();
            keys.reload().await;
            assert!(network.was_asked_for_news());
            assert_eq!(rejection(&verifier, &good).await, None);

            network.answers(|_| Ok(status_only(500)));
            for _ in 0..26 {
                advance(HOUR).await;
                settle().await;
            }
            assert_eq!(
                rejection(&verifier, &good).await,
                Some(KeySourceUnavailable)
            );
            assert!(!keys.is_ready());

            network.answers(up);
            if reloads {
                keys.reload().await;
            } else {
                advance(Duration::from_secs(70)).await;
                settle().await;
            }
            assert_eq!(rejection(&verifier, &good).await, None);
            assert!(keys.is_ready());
            // From then on requests are conditional, as before.
            keys.reload().await;
            assert!(network.was_asked_for_news());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_fails_takes_its_validators_along() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let published = issuer.clone();
        let up = move |request: &http::Request<Vec<u8>>| {
            Ok(unless_known(request, "\"1\"", published.jwks()))
        };
        network.answers(up.clone());
        let keys = connect(&network).await;
        network.is_down();
        keys.reload().await;
        network.answers(up);
        keys.reload().await;
        assert!(!network.was_asked_for_news());
        keys.reload().await;
        assert!(network.was_asked_for_news());
        assert_eq!(keys.generation(), 0);
    }

    /// RFC9111-4.2.3-1: the lifetime counts from the request, however late the response comes.
    #[tokio::test(start_paused = true)]
    async fn keys_that_come_when_they_are_too_old_are_not_used() {
        let (issuer, network, keys, verifier) = start().await;
        let good = issuer.token().mint();
        network.answers_after(Some(3 * SECOND));
        let running = tokio::spawn({
            let keys = keys.clone();
            async move { keys.reload().await }
        });
        settle().await;
        network.answers_after(None);
        // The process is suspended for more than a day, and after that the issuer hangs.
        advance(25 * HOUR).await;
        running.await.unwrap();
        for _ in 0..40 {
            assert_eq!(
                rejection(&verifier, &good).await,
                Some(KeySourceUnavailable)
            );
            assert!(!keys.is_ready());
            advance(HOUR).await;
            settle().await;
        }
        // The twin: a response that is late, but not too late.
        network.answers_after(Some(3 * SECOND));
        keys.reload().await;
        assert_eq!(rejection(&verifier, &good).await, None);
        let running = tokio::spawn({
            let keys = keys.clone();
            async move { keys.reload().await }
        });
        settle().await;
        network.answers_after(None);
        advance(23 * HOUR).await;
        running.await.unwrap();
        assert_eq!(rejection(&verifier, &good).await, None);
        advance(2 * HOUR).await;
        settle().await;
        assert_eq!(
            rejection(&verifier, &good).await,
            Some(KeySourceUnavailable)
        );
    }

    /// A set that came too late was not stored. With its validators the issuer would answer "not
    /// modified", and keys that it has withdrawn would stay.
    #[tokio::test(start_paused = true)]
    async fn the_validators_of_a_set_that_came_too_late_are_not_shown() {
        let (old, new) = (TestIssuer::new(), successor());
        let network = Network::of(&old);
        let publish = |issuer: &TestIssuer, max_age: &'static str| {
            let (text, tag) = (issuer.jwks(), format!("\"{}\"", issuer.key().thumbprint()));
            network.answers(move |request| {
                let mut answer = unless_known(request, &tag, text.clone());
                let headers = answer.headers_mut();
                headers.insert(http::header::CACHE_CONTROL, max_age.parse().unwrap());
                Ok(answer)
            });
        };
        publish(&old, "max-age=86400");
        let keys = remote(&network).lifetime_within(SECOND, 24 * HOUR);
        let keys = keys.keep_stale(Duration::ZERO).connect().await.unwrap();
        let verifier = verifier(&old, &keys);
        let withdrawn = old.token().mint();
        assert_eq!(rejection(&verifier, &withdrawn).await, None);

        publish(&new, "max-age=1");
        network.answers_after(Some(3 * SECOND));
        keys.reload().await;
        assert!(keys.status().failing.is_some(), "{}", keys.status());
        assert_eq!(rejection(&verifier, &withdrawn).await, None);

        publish(&new, "max-age=86400");
        network.answers_after(Some(Duration::ZERO));
        keys.reload().await;
        assert!(keys.status().failing.is_none(), "{}", keys.status());
        assert!(rejection(&verifier, &withdrawn).await.is_some());
        assert_eq!(rejection(&verifier, &new.token().mint()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_slower_than_its_keys_may_live_gives_none() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let brief = || {
            let keys = remote(&network).lifetime_within(SECOND, SECOND);
            keys.keep_stale(Duration::ZERO)
        };
        network.answers_after(Some(2 * SECOND));
        let error = brief().connect().await.unwrap_err().to_string();
        assert!(error.contains("the load took 2"), "{error}");
        let keys = brief().connect_lazy().unwrap();
        let verifier = verifier(&issuer, &keys);
        let good = issuer.token().mint();
        for _ in 0..10 {
            assert_eq!(
                rejection(&verifier, &good).await,
                Some(KeySourceUnavailable)
            );
            tokio::time::sleep(SECOND).await;
        }
        let reason = keys.status().failing.unwrap().reason;
        assert!(reason.contains("the load took 2"), "{reason}");
        network.answers_after(Some(Duration::ZERO));
        keys.reload().await;
        assert_eq!(rejection(&verifier, &good).await, None);
        assert!(brief().connect().await.is_ok());
    }

    /// JWKS-D2, KEYSRC-D1: every token that a new key of the issuer may have signed.
    #[tokio::test(start_paused = true)]
    async fn what_an_unreachable_issuer_may_have_signed_is_never_a_bad_token() {
        let (issuer, next) = (TestIssuer::new(), successor());
        let other = TestIssuer::with_algorithm(Algorithm::RS256);
        let hopeless = TestIssuer::with_algorithm(Algorithm::HS256);
        let network = Network::of(&issuer);
        let keys = connect(&network).await;
        let verifier = verifier(&issuer, &keys);
        let tokens = [
            ("unknown id", invented(&issuer, 1)),
            ("reused id", next.token().mint()),
            ("reused id, other algorithm", other.token().mint()),
            ("no id", next.token().without_header("kid").mint()),
            ("tampered", issuer.token().tampered().mint()),
        ];
        network.is_down();
        keys.reload().await;
        assert_eq!(keys.status().freshness, Freshness::Fresh);
        for (name, token) in &tokens {
            let rejected = rejection(&verifier, token).await;
            assert_eq!(rejected, Some(KeySourceUnavailable), "{name}");
        }
        // A token that no key of the issuer can have signed is rejected with 401, and a token of a
        // known key is accepted.
        let secret = hopeless.token().mint();
        assert_eq!(
            rejection(&verifier, &secret).await,
            Some(AlgorithmNotAllowed)
        );
        let short = issuer.token().mint();
        let short = &short[..short.len() - 2];
        assert_eq!(rejection(&verifier, short).await, Some(BadSignature));
        assert_eq!(rejection(&verifier, &issuer.token().mint()).await, None);

        network.publishes(&issuer);
        keys.reload().await;
        for (name, token) in &tokens[1..] {
            let rejected = rejection(&verifier, token).await.unwrap();
            assert!(
                matches!(rejected, BadSignature | AlgorithmNotAllowed),
                "{name}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_that_was_looked_for_before_the_outage_is_no_bad_token_either() {
        let (issuer, network, _, verifier) = start().await;
        issuer.rotate();
        let next = issuer.token().mint();
        network.publishes_text(TestIssuer::new().jwks());
        assert_eq!(rejection(&verifier, &next).await, Some(UnknownKey));
        network.is_down();
        for _ in 0..40 {
            advance(SECOND).await;
            assert_eq!(
                rejection(&verifier, &next).await,
                Some(KeySourceUnavailable)
            );
        }
    }
}

mod allowance {
    use super::*;

    /// JWKS-D1, JWKS-D2
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_invented_ids_makes_no_good_token_bad() {
        let (issuer, network, _, verifier) = start().await;
        for at in 0..4 {
            let rejected = rejection(&verifier, &invented(&issuer, at)).await;
            assert_eq!(rejected, Some(UnknownKey), "it was looked for");
        }
        for at in 4..1_000 {
            let rejected = rejection(&verifier, &invented(&issuer, at)).await;
            assert_eq!(rejected, Some(KeySourceUnavailable), "nobody has looked");
        }
        assert_eq!(network.count(), 5);
        issuer.rotate();
        let good = issuer.token().mint();
        assert_eq!(
            rejection(&verifier, &good).await,
            Some(KeySourceUnavailable)
        );
        advance(Duration::from_secs(30)).await;
        assert_eq!(rejection(&verifier, &good).await, None);
        assert_eq!(network.count(), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_id_that_was_guessed_before_its_time_is_found_a_moment_later() {
        let (issuer, network, _, verifier) = start().await;
        let guess = issuer.token().header("kid", "key-2").mint();
        for _ in 0..10 {
            assert_eq!(rejection(&verifier, &guess).await, Some(UnknownKey));
        }
        assert_eq!(network.count(), 2);
        issuer.rotate();
        advance(SECOND).await;
        assert_eq!(rejection(&verifier, &issuer.token().mint()).await, None);
        assert_eq!(network.count(), 3);
    }

    /// A client that guesses the id all the time delays the new key, and never makes its tokens
    /// invalid.
    #[tokio::test(start_paused = true)]
    async fn a_key_id_that_is_guessed_all_the_time_is_never_a_bad_one() {
        let (issuer, network, _, verifier) = start().await;
        let guess = issuer.token().header("kid", "key-2").mint();
        for _ in 0..20 {
            rejection(&verifier, &guess).await;
            advance(SECOND).await;
        }
        issuer.rotate();
        let good = issuer.token().mint();
        let mut seconds = 0;
        while let Some(rejected) = rejection(&verifier, &good).await {
            assert_eq!(rejected, KeySourceUnavailable);
            advance(SECOND).await;
            seconds += 1;
        }
        assert!(seconds <= 30, "{seconds}");
        assert!(network.count() <= 6, "{}", network.count());
    }

    /// JWKS-D1
    #[tokio::test(start_paused = true)]
    async fn new_material_under_an_old_id_is_found() {
        let (issuer, network, _, verifier) = start().await;
        assert_eq!(rejection(&verifier, &issuer.token().mint()).await, None);
        let next = successor();
        network.publishes(&next);
        assert_eq!(rejection(&verifier, &next.token().mint()).await, None);
        assert_eq!(
            rejection(&verifier, &issuer.token().mint()).await,
            Some(BadSignature)
        );
        let other = TestIssuer::with_algorithm(Algorithm::ES384);
        network.publishes(&other);
        advance(Duration::from_secs(30)).await;
        assert_eq!(rejection(&verifier, &other.token().mint()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn new_material_without_an_id_is_found() {
        let (issuer, next) = (TestIssuer::new(), successor());
        let network = Network::new(|_| Ok(status_only(500)));
        network.publishes_text(without_ids(&issuer));
        let keys = connect(&network).await;
        let verifier = verifier(&issuer, &keys);
        let token = |of: &TestIssuer| of.token().without_header("kid").mint();
        assert_eq!(rejection(&verifier, &token(&issuer)).await, None);
        network.publishes_text(without_ids(&next));
        assert_eq!(rejection(&verifier, &token(&next)).await, None);
        assert_eq!(
            rejection(&verifier, &token(&issuer)).await,
            Some(BadSignature)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn forged_tokens_take_nothing_from_those_of_new_keys() {
        let (issuer, network, _, verifier) = start().await;
        for at in 0..1_000 {
            let forged = issuer.token().subject(&format!("{at}")).tampered().mint();
            assert_eq!(rejection(&verifier, &forged).await, Some(BadSignature));
        }
        assert_eq!(network.count(), 3, "two of the burst of four");
        for _ in 0..2 {
            issuer.rotate();
            assert_eq!(rejection(&verifier, &issuer.token().mint()).await, None);
        }
        // One load in 30 s, for as long as the flood lasts.
        let before = network.count();
        for at in 0..600 {
            let forged = issuer.token().subject(&format!("{at}")).tampered().mint();
            assert_eq!(rejection(&verifier, &forged).await, Some(BadSignature));
            advance(SECOND).await;
        }
        let loads = network.count() - before;
        assert!((15..=24).contains(&loads), "{loads}");
        let unknown = invented(&issuer, 1);
        assert_eq!(rejection(&verifier, &unknown).await, Some(UnknownKey));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hopeless_token_with_a_bad_signature_causes_no_load() {
        let (issuer, network, keys, verifier) = start().await;
        let secret = TestIssuer::with_algorithm(Algorithm::HS256);
        for token in [
            issuer.token().tampered().expired(),
            issuer.token().tampered().not_yet_valid(),
            issuer.token().tampered().audience("other"),
            issuer.token().tampered().issuer("https://other.example"),
            issuer.token().tampered().header("typ", "dpop+jwt"),
            secret.token(),
        ] {
            assert!(rejection(&verifier, &token.mint()).await.is_some());
        }
        assert_eq!(network.count(), 1);
        let narrow = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys);
        let narrow = narrow.algorithms([Algorithm::RS256]).verifier();
        let token = issuer.token().mint();
        assert_eq!(rejection(&narrow, &token).await, Some(AlgorithmNotAllowed));
        assert_eq!(network.count(), 1);
    }
}

mod patience {
    use super::*;

    async fn timed(verifier: &Verifier, token: &str) -> (Option<RejectionKind>, Duration) {
        let start = Instant::now();
        (rejection(verifier, token).await, start.elapsed())
    }

    /// JWKS-D2: one deadline covers a running load and the load after it.
    #[tokio::test(start_paused = true)]
    async fn a_request_waits_five_seconds_at_most_whatever_for() {
        let (issuer, network, keys, verifier) = start().await;
        for delay in [Some(3 * SECOND), Some(SECOND * 9 / 2), None] {
            network.answers_after(delay);
            let running = tokio::spawn({
                let keys = keys.clone();
                async move { keys.reload().await }
            });
            settle().await;
            let at = format!("{delay:?}");
            let (rejected, waited) = timed(&verifier, &invented(&issuer, at)).await;
            assert_eq!(rejected, Some(KeySourceUnavailable), "{delay:?}");
            assert!(waited <= Duration::from_millis(5_050), "{waited:?}");
            running.await.unwrap();
            network.answers_after(Some(Duration::ZERO));
            keys.reload().await;
            advance(Duration::from_secs(120)).await;
        }
        // If two loads are fast enough, the request waits for both.
        network.answers_after(Some(2 * SECOND));
        let running = tokio::spawn({
            let keys = keys.clone();
            async move { keys.reload().await }
        });
        settle().await;
        issuer.rotate();
        let (rejected, waited) = timed(&verifier, &issuer.token().mint()).await;
        assert_eq!(rejected, None);
        assert!(waited < 4 * SECOND, "{waited:?}");
        running.await.unwrap();
    }

    /// JWKS-D6
    #[tokio::test(start_paused = true)]
    async fn the_first_requests_of_a_lazy_store_wait_for_its_first_load() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        network.answers_after(Some(2 * SECOND));
        let keys = remote(&network).connect_lazy().unwrap();
        let verifier = verifier(&issuer, &keys);
        let good = issuer.token().mint();
        assert_eq!(
            verifier.verify_now(&good).unwrap_err().kind(),
            KeySourceUnavailable
        );
        let both = tokio::join!(rejection(&verifier, &good), rejection(&verifier, &good));
        assert_eq!(both, (None, None));
        assert_eq!(network.count(), 1);
    }

    /// JWKS-D6
    #[tokio::test(start_paused = true)]
    async fn a_first_load_that_fails_or_hangs_is_waited_for_once_and_not_for_long() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        network.answers_after(None);
        let keys = remote(&network).connect_lazy().unwrap();
        let verifier = verifier(&issuer, &keys);
        let good = issuer.token().mint();
        let (rejected, waited) = timed(&verifier, &good).await;
        assert_eq!(rejected, Some(KeySourceUnavailable));
        assert!(waited <= Duration::from_millis(5_050), "{waited:?}");
        // After that the load is known to fail, also while it is tried again.
        settle().await;
        for _ in 0..20 {
            let (rejected, waited) = timed(&verifier, &good).await;
            assert_eq!(rejected, Some(KeySourceUnavailable));
            assert_eq!(waited, Duration::ZERO);
            advance(SECOND / 3).await;
            settle().await;
        }
        network.answers_after(Some(Duration::ZERO));
        advance(Duration::from_secs(70)).await;
        settle().await;
        assert_eq!(rejection(&verifier, &good).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_expires_while_its_revocation_is_asked_for_is_not_accepted() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        for (lasts, expected) in [(59, None), (60, Some(Expired)), (3_600, Some(Expired))] {
            for cached in [false, true] {
                clock.set(1_700_000_000);
                let slow = Arc::new(AtomicBool::new(!cached));
                let check = {
                    let (clock, slow) = (clock.clone(), Arc::clone(&slow));
                    move |_: Claims| {
                        let (clock, slow) = (clock.clone(), Arc::clone(&slow));
                        async move {
                            tokio::task::yield_now().await;
                            if slow.load(Ordering::Relaxed) {
                                clock.advance(Duration::from_secs(lasts));
                            }
                            Ok::<_, RevocationError>(RevocationStatus::Active)
                        }
                    }
                };
                let verifier = issuer.auth().revocation(check).verifier();
                // The leeway of a minute ends during the wait.
                let token = issuer.token().expires_in(Duration::ZERO).mint();
                if cached {
                    assert_eq!(rejection(&verifier, &token).await, None);
                    slow.store(true, Ordering::Relaxed);
                }
                assert_eq!(
                    rejection(&verifier, &token).await,
                    expected,
                    "{lasts} {cached}"
                );
            }
        }
    }
}

mod runtimes {
    use super::*;

    fn paused() -> Runtime {
        let mut builder = Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    }

    struct Parked(std::thread::Thread);

    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// An executor that knows nothing about tokio.
    fn block_on<F: Future>(future: F) -> F::Output {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Parked(std::thread::current())));
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return output;
            }
            std::thread::park();
        }
    }

    #[test]
    fn keys_of_a_runtime_that_has_ended_serve_as_long_as_stale_keys_do() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let network = Network::of(&issuer);
        let first = paused();
        let keys = first.block_on(connect(&network));
        drop(first);
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys).clock(clock.clone());
        let verifier = auth.verifier();
        let token = || issuer.token().expires_in(48 * HOUR);
        let (cached, other) = (token().mint(), token().subject("other").mint());
        paused().block_on(async {
            assert_eq!(rejection(&verifier, &cached).await, None);
            // The status says so at once.
            let status = keys.status();
            let reason = status.failing.unwrap().reason;
            assert!(reason.contains("its tokio runtime has ended"), "{reason}");
            assert_eq!(status.next_refresh, None);
            let start = Instant::now();
            let unknown = invented(&issuer, 1);
            assert_eq!(
                rejection(&verifier, &unknown).await,
                Some(KeySourceUnavailable)
            );
            keys.reload().await;
            assert_eq!(start.elapsed(), Duration::ZERO);

            for step in [600, 24 * 3_600 - 10] {
                clock.advance(Duration::from_secs(step));
                advance(Duration::from_secs(step)).await;
                assert_eq!(rejection(&verifier, &cached).await, None);
                assert!(keys.is_ready());
            }
            clock.advance(10 * SECOND);
            advance(10 * SECOND).await;
            for token in [&cached, &other] {
                assert_eq!(
                    rejection(&verifier, token).await,
                    Some(KeySourceUnavailable)
                );
            }
            assert!(!keys.is_ready());
            assert_eq!(keys.status().freshness, Freshness::Missing);
            // Keys of the application are used.
            keys.replace(issuer.keys().snapshot().unwrap());
            assert_eq!(rejection(&verifier, &cached).await, None);
        });
    }

    /// The cache is asked before the store, so an entry must not outlive the keys.
    #[test]
    fn a_cached_token_ends_with_the_keys_of_an_ended_runtime() {
        let clock = FixedClock::at(1_700_000_000);
        let issuer = TestIssuer::new().with_clock(clock.clone());
        let network = Network::of(&issuer);
        let first = paused();
        let keys = first.block_on(remote(&network).keep_stale(10 * SECOND).connect());
        let keys = keys.unwrap();
        drop(first);
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys).clock(clock.clone());
        let verifier = auth
            .cache(tower_jwt_auth::cache::TokenCache::default().max_age(48 * HOUR))
            .verifier();
        let token = issuer.token().expires_in(48 * HOUR).mint();
        paused().block_on(async {
            assert_eq!(rejection(&verifier, &token).await, None);
            clock.advance(Duration::from_secs(609));
            advance(Duration::from_secs(609)).await;
            assert_eq!(rejection(&verifier, &token).await, None);
            clock.advance(SECOND);
            advance(SECOND).await;
            assert_eq!(
                rejection(&verifier, &token).await,
                Some(KeySourceUnavailable)
            );
        });
    }

    #[test]
    fn a_verifier_works_under_any_executor() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().unwrap();
        let keys = runtime.block_on(connect(&network));
        let verifier = verifier(&issuer, &keys);
        let rejected = block_on(rejection(&verifier, &invented(&issuer, 1)));
        assert_eq!(rejected, Some(UnknownKey));
        issuer.rotate();
        assert_eq!(block_on(rejection(&verifier, &issuer.token().mint())), None);
        // A runtime without timers works too.
        let bare = Builder::new_current_thread().build().unwrap();
        let rejected = bare.block_on(rejection(&verifier, &invented(&issuer, 2)));
        assert_eq!(rejected, Some(UnknownKey));
        block_on(keys.reload());

        // The runtime of the keys ends during a wait.
        network.answers_after(None);
        let waiting = std::thread::spawn({
            let (verifier, token) = (verifier.clone(), invented(&issuer, 3));
            move || block_on(rejection(&verifier, &token))
        });
        while network.count() < 6 {
            std::thread::yield_now();
        }
        runtime.shutdown_background();
        assert_eq!(waiting.join().unwrap(), Some(KeySourceUnavailable));
    }

    /// A single-threaded runtime that nobody drives still exists, but its timers stand still.
    #[test]
    fn nobody_waits_without_end_for_a_runtime_that_stands_still() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        let keys = runtime.block_on(remote(&network).timeout(SECOND / 10).connect());
        let keys = keys.unwrap();
        let verifier = verifier(&issuer, &keys);
        let unknown = |at: u32| invented(&issuer, at);
        let late = Some(KeySourceUnavailable);
        assert_eq!(block_on(rejection(&verifier, &unknown(1))), late);
        // Inside of that runtime, in another runtime, and for several requests.
        {
            let _inside = runtime.enter();
            assert_eq!(block_on(rejection(&verifier, &unknown(2))), late);
        }
        let other = Builder::new_current_thread().build().unwrap();
        let (verifier, network) = (&verifier, &network);
        let tokens = [unknown(3), unknown(4)];
        let both = other.block_on(async {
            tokio::join!(
                rejection(verifier, &tokens[0]),
                rejection(verifier, &tokens[1]),
            )
        });
        assert_eq!(both, (late, late));
        block_on(keys.reload());
        assert_eq!(network.count(), 1);
        // When the runtime runs again, new keys are loaded.
        issuer.rotate();
        let next = issuer.token().mint();
        assert_eq!(runtime.block_on(rejection(verifier, &next)), None);
    }

    #[test]
    fn a_runtime_without_timers_is_an_error_of_the_start() {
        let directory = Directory::new("timers");
        let path = directory.path.join("keys.json");
        let issuer = TestIssuer::new();
        std::fs::write(&path, issuer.jwks()).unwrap();
        let network = Network::of(&issuer);
        let file = || KeyFile::new(&path, KeyFormat::jwks());
        let bare = Builder::new_current_thread().build().unwrap();
        let outcomes = bare.block_on(async {
            [
                remote(&network).connect_lazy(),
                remote(&network).connect().await,
                file().watch_lazy(),
                file().watch(),
            ]
        });
        for outcome in outcomes {
            let error = outcome.unwrap_err().to_string();
            assert!(error.contains("has no timers"), "{error}");
        }
        assert_eq!(network.count(), 0);
        // Outside of a runtime the error says that there is none.
        let outside = block_on(remote(&network).connect());
        assert!(matches!(outside, Err(ConfigError::KeySource { .. })));
        let timed = paused();
        assert!(timed.block_on(async { file().watch() }).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_dies_of_a_panic_is_seen() {
        let issuer = TestIssuer::new();
        let network = Network::of(&issuer);
        let broken = Arc::new(AtomicBool::new(false));
        let clock = {
            let broken = Arc::clone(&broken);
            move || match broken.load(Ordering::Relaxed) {
                true => panic!("in the code of the user"),
                false => SystemTime::now(),
            }
        };
        let keys = remote(&network).clock(clock).connect().await.unwrap();
        let keys = keys.with_clock(SystemTime::now);
        let verifier = verifier(&issuer, &keys);
        let known = issuer.token().mint();
        broken.store(true, Ordering::Relaxed);
        issuer.rotate();
        let start = Instant::now();
        let unknown = issuer.token().mint();
        for _ in 0..3 {
            assert_eq!(
                rejection(&verifier, &unknown).await,
                Some(KeySourceUnavailable)
            );
        }
        keys.reload().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(rejection(&verifier, &known).await, None);
        let reason = keys.status().failing.unwrap().reason;
        assert!(reason.contains("has ended"), "{reason}");
    }

    /// As with an issuer: the id of a removed secret is free for the next one.
    #[tokio::test(start_paused = true)]
    async fn a_new_key_in_a_file_under_the_id_of_a_dead_one_is_found_at_once() {
        let directory = Directory::new("reused");
        let path = directory.path.join("secret");
        let secrets = [
            b"LtNYhrBQgZXoHdE7P2uTiAqwV5m9xKcs",
            b"q7VnW2bXz9RkT4mYcP8sJdL3hGfA6uEo",
        ];
        let [first, second] =
            secrets.map(|secret| TestIssuer::with_secret(Algorithm::HS256, secret));
        std::fs::write(&path, secrets[0]).unwrap();
        let format = KeyFormat::secret(Algorithm::HS256).with_key_id("key-1");
        let keys = KeyFile::new(&path, format).watch().unwrap();
        let verifier = verifier(&first, &keys);
        let (old, new) = (first.token().mint(), second.token().mint());
        assert_eq!(rejection(&verifier, &old).await, None);
        assert!(keys.remove("key-1"));
        std::fs::write(&path, secrets[1]).unwrap();
        assert_eq!(rejection(&verifier, &old).await, Some(UnknownKey));
        assert_eq!(keys.status().loads, 1);
        assert_eq!(rejection(&verifier, &new).await, None);
        assert!(rejection(&verifier, &old).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_refresh_does_not_put_off_the_end_of_a_key_that_retires() {
        let directory = Directory::new("retires");
        let path = directory.path.join("keys.json");
        let clock = FixedClock::at(1_700_000_000);
        let signers = [1, 2, 3].map(|at| {
            let signer = TestIssuer::new().with_clock(clock.clone());
            let id = format!("signer-{at}");
            let jwks = signer.jwks().replace("key-1", &id);
            let token = signer.token().header("kid", id).expires_in(HOUR).mint();
            (jwks, token)
        });
        std::fs::write(&path, &signers[0].0).unwrap();
        let keys = KeyFile::new(&path, KeyFormat::jwks())
            .overlap(900 * SECOND)
            .clock(clock.clone())
            .watch()
            .unwrap();
        let issuer = TestIssuer::new();
        let auth = JwtAuth::new(issuer.issuer(), issuer.audience(), &keys);
        let verifier = auth.clock(clock.clone()).verifier();
        let accepted = || {
            signers
                .iter()
                .map(|(_, token)| verifier.verify_now(token).is_ok())
                .collect::<Vec<_>>()
        };
        std::fs::write(&path, &signers[1].0).unwrap();
        keys.reload().await;
        clock.advance(500 * SECOND);
        assert_eq!(accepted(), [true, true, false]);
        std::fs::write(&path, &signers[2].0).unwrap();
        keys.reload().await;
        clock.advance(399 * SECOND);
        assert_eq!(accepted(), [true, true, true]);
        clock.advance(SECOND);
        assert_eq!(accepted(), [false, true, true]);
        clock.advance(500 * SECOND);
        assert_eq!(accepted(), [false, false, true]);
    }
}
