//! [`KeyStore`]: one set of keys at a time, which can be replaced while requests run.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};

use crate::clock::{Clock, NumericDate, SystemClock};
use crate::error::config::ConfigError;
use crate::keys::algorithm::Algorithm;
use crate::keys::change::{ChangeCause, KeyChange};
use crate::keys::contents::Contents;
use crate::keys::generation::Snapshot;
use crate::keys::key::{Key, KeyId};
use crate::keys::key_source::{Deadline, KeyLookUp, KeySource, LookUp};
use crate::keys::set::KeySet;
use crate::keys::status::KeyStatus;
use crate::telemetry;

/// The keys of one issuer. They can be changed while requests run.
///
/// A clone is cheap, and all clones share the keys. Keep a clone when you pass the store to
/// [`JwtAuth`](crate::JwtAuth), and rotate keys through the clone. A request reads the [`KeySet`] once
/// and never waits for a change. Every change creates a new [`generation`](Self::generation).
///
/// # Example: rotate a secret without a restart
///
/// ```
/// use std::time::Duration;
/// use tower_jwt_auth::{Algorithm, Key, KeyStore};
///
/// # let (first, second) = (std::array::from_fn::<u8, 32, _>(|i| i as u8), std::array::from_fn::<u8, 32, _>(|i| 99 - i as u8));
/// let old = Key::from_secret(Algorithm::HS256, &first)?;
/// let keys = KeyStore::from(old.clone());
/// // ... `JwtAuth::new(issuer, audience, keys.clone())` and serve; later, from anywhere:
/// keys.rotate(Key::from_secret(Algorithm::HS256, &second)?); // both verify
/// keys.retire(old.id().as_str(), Duration::from_secs(900));  // the old one for 15 more minutes
/// assert_eq!(keys.snapshot().map(|set| set.keys().count()), Some(2));
/// assert_eq!(keys.generation(), 2);
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyStore {
    pub(super) shared: Arc<Shared>,
    /// The clock of this handle, for [`retire`](Self::retire) and [`status`](Self::status).
    clock: Arc<dyn Clock>,
}

pub(super) struct Shared {
    pub(super) current: ArcSwap<Snapshot>,
    /// The generation of `current`, or the next one while a change is made.
    generation: AtomicU64,
    hooks: ArcSwap<Vec<Hook>>,
    /// `None` if the keys come only from the application.
    source: Option<Box<dyn KeySource>>,
}

type Hook = Arc<dyn Fn(&KeyChange) + Send + Sync>;

impl KeyStore {
    /// Creates a store with the public keys of a JSON Web Key Set.
    ///
    /// # Errors
    ///
    /// The same as [`KeySet::from_jwks`].
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, ConfigError> {
        KeySet::from_jwks(jwks).map(Self::from)
    }

    /// Creates a store with one public key in PEM.
    ///
    /// # Errors
    ///
    /// The same as [`Key::from_pem`].
    #[cfg(feature = "pem")]
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Key::from_pem(algorithm, pem).map(Self::from)
    }

    /// Creates a store with one shared secret.
    ///
    /// # Errors
    ///
    /// The same as [`Key::from_secret`].
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Key::from_secret(algorithm, secret).map(Self::from)
    }

    /// Creates a store without keys. Every token is answered with 503 until the first
    /// [`replace`](Self::replace) or [`rotate`](Self::rotate).
    #[must_use]
    pub fn pending() -> Self {
        Self::of(None)
    }

    /// Returns a handle to the same store that uses this clock for [`retire`](Self::retire) and
    /// [`status`](Self::status). Default: the clock of the operating system.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn of(set: Option<KeySet>) -> Self {
        Self::first(Contents::given(set), None, Arc::new(SystemClock))
    }

    /// A store in generation 0.
    pub(super) fn first(
        contents: Contents,
        source: Option<Box<dyn KeySource>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let first = Snapshot::of(contents, 0, NumericDate::now(&clock));
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(0),
            hooks: ArcSwap::default(),
            source,
        });
        Self::from_shared(shared, clock)
    }

    pub(super) fn from_shared(shared: Arc<Shared>, clock: Arc<dyn Clock>) -> Self {
        Self { shared, clock }
    }

    /// Replaces the whole set, and returns the new generation. Tokens of keys that are not in the new
    /// set are rejected from the next request on.
    ///
    /// Every key of the set verifies tokens, including a key that was removed or retired before. If
    /// the keys are loaded from a source, the set is used until the source returns a different set
    /// than before, even during an outage of the source. For the text of a key set, use
    /// [`replace_jwks`](Self::replace_jwks).
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn replace(&self, set: KeySet) -> u64 {
        self.change_all(ChangeCause::Replace, |contents, _| contents.replace(&set))
            .generation
    }

    /// Replaces the whole set with the key set in this text, and returns the new generation.
    ///
    /// The text comes from an issuer, so a key in it that was [removed](Self::remove) or
    /// [retired](Self::retire) before stays dead.
    ///
    /// # Errors
    ///
    /// The same as [`KeySet::from_jwks`]; also if all keys of the text are dead. On an error, the old
    /// set stays.
    pub fn replace_jwks(&self, jwks: &[u8]) -> Result<u64, ConfigError> {
        let replaced = KeySet::from_jwks(jwks).and_then(|set| {
            let change = self.change(ChangeCause::Replace, |contents, now| {
                contents.replace_published(&set);
                contents.set(now).is_some_and(|set| set.live(now).is_some())
            });
            let change = change.map(|change| change.generation);
            change.ok_or_else(|| ConfigError::KeySet {
                reason: "the application removed or retired each of its keys".into(),
            })
        });
        replaced.inspect_err(telemetry::keys_rejected)
    }

    /// Adds a key, and returns its id. The other keys still verify tokens.
    ///
    /// The key stays until the application removes it, even if the other keys are loaded from a
    /// source. A key that was [removed](Self::remove) or [retired](Self::retire) before verifies tokens
    /// again.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn rotate(&self, next: Key) -> KeyId {
        self.change_all(ChangeCause::Rotate, |contents, now| {
            contents.rotate(&next, now)
        });
        next.id().clone()
    }

    /// Retires the keys with this id. They verify tokens for the time `after`, and are dead
    /// afterwards. Returns `false` if there is no such key.
    ///
    /// If [`rotate`](Self::rotate) added a key with the id of an older key, the newest key stays and
    /// the others are retired. The thumbprint of a key can be used in place of its id. A key is
    /// retired under all of its ids. If a key already has an earlier end, that end stays.
    ///
    /// Each request compares the end with the clock, so no task is needed. After its end, the key
    /// is dead, like a [removed](Self::remove) key.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn retire(&self, id: &str, after: Duration) -> bool {
        let change = self.change(ChangeCause::Retire, |contents, now| {
            contents.retire(id, now.plus(after), now)
        });
        change.is_some()
    }

    /// Removes the keys with this id. Their tokens are rejected from the next request on. Returns
    /// `false` if there was no such key.
    ///
    /// The thumbprint of a key can be used in place of its id. After the last key is removed, the
    /// store rejects every token.
    ///
    /// A removed key is dead by its [thumbprint](Key::thumbprint), under every id, even if a source
    /// still publishes it. It stays dead until [`rotate`](Self::rotate), [`replace`](Self::replace) or
    /// [`reinstate`](Self::reinstate) makes it valid again. Tokens that it signed are rejected with 401
    /// and cause no load, if they name the key or name no key. Another key can use the id. A token that
    /// names the id and was not signed with the removed key is handled like a token with an unknown key
    /// id.
    ///
    /// [`status`](Self::status) lists the dead keys. The store remembers up to 1 024 of them, and
    /// forgets them when the process ends.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn remove(&self, id: &str) -> bool {
        let change = self.change(ChangeCause::Remove, |contents, now| {
            contents.remove(id, now)
        });
        change.is_some()
    }

    /// Undoes [`remove`](Self::remove) and [`retire`](Self::retire) for the keys with this id or
    /// thumbprint. A key that has not reached the end of its retirement stays in use. A key that is dead
    /// verifies tokens again at once if the source still publishes it. Returns `false` if no such key
    /// was removed or retired.
    ///
    /// If a dead key does not come from a source, use [`rotate`](Self::rotate) instead, because the
    /// store no longer has it.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn reinstate(&self, id: &str) -> bool {
        let change = self.change(ChangeCause::Reinstate, |contents, now| {
            contents.reinstate(id, now)
        });
        change.is_some()
    }

    /// The current set. `None` if no key verifies tokens now.
    #[must_use]
    pub fn snapshot(&self) -> Option<KeySet> {
        self.load().live(NumericDate::now(&self.clock))
    }

    /// The number of changes of the keys.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.load().generation
    }

    /// Whether there is a key that verifies tokens now. Useful for a readiness probe.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.snapshot().is_some()
    }

    /// Calls `hook` after every change of the keys, for example to clear a cache that depends on them.
    ///
    /// The hook runs on the thread that made the change, and should return quickly. The new keys
    /// are already in use. The hook may be called for several changes at the same time. Their order
    /// is the order of [`generation`](KeyChange::generation). A panic of the hook is caught and
    /// logged.
    pub fn on_change(&self, hook: impl Fn(&KeyChange) + Send + Sync + 'static) {
        let hook: Hook = Arc::new(hook);
        self.shared.hooks.rcu(|hooks| {
            let mut hooks = Vec::clone(hooks);
            hooks.push(Arc::clone(&hook));
            hooks
        });
    }

    /// Loads the keys again now, for example in a signal handler.
    ///
    /// Returns when the load has succeeded or failed; [`status`](Self::status) shows the result.
    /// Does nothing if the store has no source, or if the runtime in which the keys are loaded has
    /// ended.
    pub async fn reload(&self) {
        if let Some(source) = &self.shared.source {
            source.reload().await;
        }
    }

    /// The state of the keys, for an operator.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let status = KeyStatus::of(&self.load(), self.clock.now());
        match &self.shared.source {
            Some(source) => source.describe(status),
            None => status,
        }
    }

    /// Asks the source for the key with this id, which the store does not have. Without an id, asks
    /// for a key that verifies a token whose signature no key of the store verifies.
    pub(crate) fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> KeyLookUp {
        let source = self.shared.source.as_ref();
        source.map_or(KeyLookUp::NotFound, |source| source.look_up(id, deadline))
    }

    /// The first load of a store that has no keys yet. `None` if no load is expected to succeed.
    pub(crate) fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp> {
        self.shared.source.as_ref()?.first_load(deadline)
    }

    /// Lets the source load the keys soon, without waiting for the load.
    #[cfg(feature = "issue")]
    pub(crate) fn load_soon(&self) {
        if let Some(source) = &self.shared.source {
            source.load_soon();
        }
    }

    /// How long the keys may still be used if no load succeeds. `None` means that there is no
    /// limit.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let end = self.load().contents.fetched_end();
        self.shared.source.as_ref()?.rest(end)
    }

    /// Whether the source may have newer keys that could not be loaded.
    pub(crate) fn is_behind(&self) -> bool {
        let mut source = self.shared.source.iter();
        source.any(|source| source.is_behind())
    }

    /// Reads the current keys. Do not hold the result across an `.await`.
    ///
    /// Keys that are too old are given up here, so this does not depend on a task.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        let current = self.shared.current.load();
        let Some(source) = &self.shared.source else {
            return current;
        };
        let is_over = |contents: &Contents| {
            let rest = source.rest(contents.fetched_end());
            rest.is_some_and(|rest| rest.is_zero())
        };
        if !is_over(&current.contents) {
            return current;
        }
        drop(current);
        self.change(ChangeCause::Expire, |contents, _| {
            // Check again, because a load may have replaced the keys in the meantime.
            let is_over = is_over(contents);
            if is_over {
                contents.give_up();
            }
            is_over
        });
        self.shared.current.load()
    }

    /// Whether the set is still that of this generation. Cheaper than [`load`](Self::load). May return
    /// `false` too early while a change is made.
    pub(crate) fn is_still(&self, generation: u64) -> bool {
        self.shared.generation.load(Ordering::Acquire) == generation
    }

    /// Changes the contents. This is always a new generation.
    pub(super) fn change_all(
        &self,
        cause: ChangeCause,
        change: impl Fn(&mut Contents, NumericDate),
    ) -> KeyChange {
        let mut next = self.shared.current.load_full();
        let before = self.swap(&mut next, |contents, now| {
            change(contents, now);
            true
        });
        self.changed(&before, &next, cause)
    }

    /// Changes the contents if `change` returns `true`.
    pub(super) fn change(
        &self,
        cause: ChangeCause,
        change: impl Fn(&mut Contents, NumericDate) -> bool,
    ) -> Option<KeyChange> {
        let mut next = self.shared.current.load_full();
        let before = self.swap(&mut next, change);
        (!Arc::ptr_eq(&before, &next)).then(|| self.changed(&before, &next, cause))
    }

    /// Replaces the contents. Calls `change` again if another thread changed them at the same time.
    fn swap(
        &self,
        next: &mut Arc<Snapshot>,
        change: impl Fn(&mut Contents, NumericDate) -> bool,
    ) -> Arc<Snapshot> {
        let now = NumericDate::now(&self.clock);
        self.shared.current.rcu(|current| {
            let mut contents = current.contents.clone();
            if !change(&mut contents, now) {
                *next = Arc::clone(current);
                return Arc::clone(current);
            }
            let generation = current.generation.saturating_add(1);
            // This is stored before the set. A thread that has seen the new set must not find that
            // the old generation is still current.
            self.shared
                .generation
                .fetch_max(generation, Ordering::AcqRel);
            *next = Arc::new(Snapshot::of(contents, generation, now));
            Arc::clone(next)
        })
    }

    /// Reports a change to the log and to the hooks.
    fn changed(&self, before: &Snapshot, after: &Snapshot, cause: ChangeCause) -> KeyChange {
        let (old, new) = (before.set.as_ref(), after.set.as_ref());
        let change = KeyChange::between(old, new, after.generation, cause);
        change.report();
        for hook in self.shared.hooks.load().iter() {
            if catch_unwind(AssertUnwindSafe(|| hook(&change))).is_err() {
                telemetry::hook_panicked();
            }
        }
        change
    }
}

impl From<KeySet> for KeyStore {
    fn from(set: KeySet) -> Self {
        Self::of(Some(set))
    }
}

impl From<Key> for KeyStore {
    fn from(key: Key) -> Self {
        Self::from(KeySet::from(key))
    }
}

impl From<&Self> for KeyStore {
    fn from(store: &Self) -> Self {
        store.clone()
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("generation", &self.generation())
            .field("set", &self.load().set)
            .finish()
    }
}
