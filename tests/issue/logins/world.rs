//! Logins over a store that is watched, and that fails when a test says so.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tower_jwt_auth::cache::TokenCache;
use tower_jwt_auth::issue::{
    Login, LoginStore, LoginStoreError, LoginStoreFuture, LoginTokens, Logins, MemoryLogins,
    RefreshError, RefreshKeys, SigningKeys, StoredSession, TokenIssuer,
};
use tower_jwt_auth::revocation::{
    Denylist, Revocation, RevocationCheck, RevocationMark, RevocationTarget, RevocationWriter,
    RevokeError, RevokeFuture,
};
use tower_jwt_auth::scope::ScopeSet;
use tower_jwt_auth::test::FixedClock;
use tower_jwt_auth::{Algorithm, Audience, Claims, Issuer, Rejection, RejectionKind, Verifier};

use crate::support::{AUDIENCE, ISSUER, NOW};

pub(super) const SECRET: &[u8] = b"3q2-7wvTqK0_jJmYt5rXz8LhGfDsA1oP";
/// A second more than the default grace.
pub(super) const LATER: Duration = Duration::from_secs(11);
pub(super) const CLIENT: &str = "web";

pub(super) struct World {
    pub(super) clock: FixedClock,
    pub(super) store: Watched,
    pub(super) list: Marks,
    pub(super) logins: Logins,
    /// Of the layer, with a cache.
    verifier: Verifier,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(|logins| logins)
    }

    /// With these settings.
    pub(super) fn with(set: impl FnOnce(Logins) -> Logins) -> Self {
        let clock = FixedClock::at(NOW);
        let memory = MemoryLogins::default().with_clock(clock.clone());
        Self::over(Watched::new(memory), clock, set)
    }

    pub(super) fn over(
        store: Watched,
        clock: FixedClock,
        set: impl FnOnce(Logins) -> Logins,
    ) -> Self {
        let list = Marks::new(Denylist::default().with_clock(clock.clone()));
        let keys = RefreshKeys::from_secret(SECRET).unwrap();
        let logins = Logins::new(issuer(&clock), keys, store.clone()).revocation(list.clone());
        let logins = set(logins);
        let cache = TokenCache::default().max_tokens(100);
        let verifier = logins.auth().cache(cache).verifier();
        Self {
            clock,
            store,
            list,
            logins,
            verifier,
        }
    }

    pub(super) async fn begin(&self) -> LoginTokens {
        self.logins.begin(login("alice")).await.unwrap()
    }

    pub(super) async fn refresh(&self, token: &str) -> Result<LoginTokens, RefreshError> {
        self.logins.refresh((token, CLIENT)).await
    }

    /// A refresh that has to be accepted.
    #[track_caller]
    pub(super) fn refreshes<'a>(
        &'a self,
        token: &'a str,
    ) -> impl Future<Output = LoginTokens> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let refreshed = self.refresh(token).await;
            refreshed.unwrap_or_else(|error| panic!("{caller}: {error}"))
        }
    }

    /// 1 000 refreshes with one token at the same time, each of which has to be accepted.
    pub(super) async fn refreshes_a_thousand_times(&self, token: &str) -> Vec<LoginTokens> {
        let tasks: Vec<_> = (0..1_000)
            .map(|_| {
                let (logins, token) = (self.logins.clone(), token.to_owned());
                tokio::spawn(async move { logins.refresh((&*token, CLIENT)).await })
            })
            .collect();
        let mut refreshed = Vec::new();
        for task in tasks {
            refreshed.push(task.await.unwrap().unwrap());
        }
        refreshed
    }

    pub(super) fn verify(&self, tokens: &LoginTokens) -> Result<Claims, Rejection> {
        self.verifier.verify_now(tokens.access_token().as_str())
    }

    #[track_caller]
    pub(super) fn accepts(&self, tokens: &LoginTokens) {
        // The second time from the cache.
        for _ in 0..2 {
            self.verify(tokens).unwrap();
        }
    }

    #[track_caller]
    pub(super) fn revoked(&self, tokens: &LoginTokens) {
        let rejection = self.verify(tokens).unwrap_err();
        assert_eq!(rejection.kind(), RejectionKind::Revoked, "{rejection}");
    }

    pub(super) fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }
}

pub(super) fn issuer(clock: &FixedClock) -> TokenIssuer {
    let keys = SigningKeys::generate(Algorithm::ES256).unwrap();
    let keys = keys.with_clock(clock.clone());
    let (issuer, audience) = (
        Issuer::new(ISSUER).unwrap(),
        Audience::new(AUDIENCE).unwrap(),
    );
    TokenIssuer::new(issuer, audience, keys).clock(clock.clone())
}

pub(super) fn login(subject: &str) -> Login {
    let scopes = ScopeSet::parse("calendar:read calendar:write").unwrap();
    Login::new(subject, CLIENT).scope_set(&scopes)
}

/// A store that counts, and that fails or waits when a test says so.
#[derive(Clone)]
pub(super) struct Watched {
    inner: Arc<dyn LoginStore>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: usize,
    updates: usize,
    fails: Option<Fails>,
    before_update: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fails {
    /// Nothing is done.
    Before,
    /// No write is done.
    BeforeWrites,
    /// Writes are done, and their answer is lost.
    AfterWrites,
    /// Writes are done, and their answer never comes.
    SilentAfterWrites,
    /// Every update finds another version.
    AlwaysLoses,
}

impl Watched {
    pub(super) fn new(inner: impl LoginStore) -> Self {
        Self {
            inner: Arc::new(inner),
            state: Arc::default(),
        }
    }

    pub(super) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    /// The number of updates that have changed a session.
    pub(super) fn updates(&self) -> usize {
        self.state.lock().unwrap().updates
    }

    pub(super) fn fail(&self, fails: impl Into<Option<Fails>>) {
        self.state.lock().unwrap().fails = fails.into();
    }

    /// Runs this once, before the next update.
    pub(super) fn before_update(&self, run: impl Future<Output = ()> + Send + 'static) {
        self.state.lock().unwrap().before_update = Some(Box::pin(run));
    }

    pub(super) async fn row(&self, id: &str) -> StoredSession {
        self.inner.load(id).await.unwrap().unwrap()
    }

    fn watch<T: Send + 'static>(
        &self,
        is_write: bool,
        run: LoginStoreFuture<T>,
    ) -> LoginStoreFuture<T> {
        let mut state = self.state.lock().unwrap();
        state.calls += 1;
        let fails = state.fails;
        Box::pin(async move {
            if fails == Some(Fails::Before) || (is_write && fails == Some(Fails::BeforeWrites)) {
                return Err(LoginStoreError::new("no route"));
            }
            let done = run.await;
            if is_write && fails == Some(Fails::AfterWrites) {
                return Err(LoginStoreError::new("no answer"));
            }
            if is_write && fails == Some(Fails::SilentAfterWrites) {
                std::future::pending::<()>().await;
            }
            done
        })
    }
}

impl LoginStore for Watched {
    fn insert(&self, session: StoredSession) -> LoginStoreFuture<()> {
        let inner = Arc::clone(&self.inner);
        self.watch(true, Box::pin(async move { inner.insert(session).await }))
    }

    fn load(&self, id: &str) -> LoginStoreFuture<Option<StoredSession>> {
        let (inner, id) = (Arc::clone(&self.inner), id.to_owned());
        self.watch(false, Box::pin(async move { inner.load(&id).await }))
    }

    fn update(&self, session: StoredSession, expected_version: u64) -> LoginStoreFuture<bool> {
        let (inner, state) = (Arc::clone(&self.inner), Arc::clone(&self.state));
        let hook = state.lock().unwrap().before_update.take();
        let updating = async move {
            if let Some(hook) = hook {
                hook.await;
            }
            if state.lock().unwrap().fails == Some(Fails::AlwaysLoses) {
                return Ok(false);
            }
            let is_updated = inner.update(session, expected_version).await?;
            state.lock().unwrap().updates += usize::from(is_updated);
            Ok(is_updated)
        };
        self.watch(true, Box::pin(updating))
    }

    fn list(&self, subject: &str) -> LoginStoreFuture<Vec<StoredSession>> {
        let (inner, subject) = (Arc::clone(&self.inner), subject.to_owned());
        self.watch(false, Box::pin(async move { inner.list(&subject).await }))
    }
}

/// A revocation list that can fail.
#[derive(Clone)]
pub(super) struct Marks {
    list: Denylist,
    state: Arc<Mutex<(bool, Vec<RevocationMark>)>>,
}

impl Marks {
    fn new(list: Denylist) -> Self {
        let state = Arc::default();
        Self { list, state }
    }

    pub(super) fn fail(&self, fails: bool) {
        self.state.lock().unwrap().0 = fails;
    }

    /// The marks that were stored.
    pub(super) fn stored(&self) -> Vec<RevocationMark> {
        self.state.lock().unwrap().1.clone()
    }
}

impl Revocation for Marks {
    fn check(&self, token: &Claims) -> RevocationCheck {
        self.list.check(token)
    }

    fn epoch(&self) -> Option<u64> {
        self.list.epoch()
    }
}

impl RevocationWriter for Marks {
    fn write(&self, mark: RevocationMark) -> RevokeFuture {
        let mut state = self.state.lock().unwrap();
        if state.0 {
            return Box::pin(async { Err(RevokeError::Full) });
        }
        state.1.push(mark.clone());
        self.list.write(mark)
    }

    fn lift(&self, target: RevocationTarget) -> RevokeFuture {
        RevocationWriter::lift(&self.list, target)
    }
}
