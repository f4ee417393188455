//! The store: one set at a time, swapped while requests run.

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
use crate::keys::key_source::{Deadline, KeySource, LookUp, Prospect};
use crate::keys::set::KeySet;
use crate::keys::status::KeyStatus;
use crate::telemetry;

/// The keys of one issuer, changed while requests run.
///
/// A cheap clone around one atomic pointer to an immutable [`KeySet`]: keep a clone when you give
/// the store to [`JwtAuth`](crate::JwtAuth), and rotate through it. A request reads the set once
/// and never waits for a writer. Every change is a new [`generation`](Self::generation).
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
    /// Where this handle reads the time for [`retire`](Self::retire) from.
    clock: Arc<dyn Clock>,
}

pub(super) struct Shared {
    pub(super) current: ArcSwap<Snapshot>,
    /// The generation of `current`, or a later one that is about to come.
    generation: AtomicU64,
    hooks: ArcSwap<Vec<Hook>>,
    /// `None` if the keys come from the application alone.
    source: Option<Box<dyn KeySource>>,
}

type Hook = Arc<dyn Fn(&KeyChange) + Send + Sync>;

impl KeyStore {
    /// A store with the public keys of a JSON Web Key Set.
    ///
    /// # Errors
    ///
    /// As [`KeySet::from_jwks`].
    pub fn from_jwks(jwks: &[u8]) -> Result<Self, ConfigError> {
        KeySet::from_jwks(jwks).map(Self::from)
    }

    /// A store with one public key in PEM.
    ///
    /// # Errors
    ///
    /// As [`Key::from_pem`].
    #[cfg(feature = "pem")]
    pub fn from_pem(algorithm: Algorithm, pem: &[u8]) -> Result<Self, ConfigError> {
        Key::from_pem(algorithm, pem).map(Self::from)
    }

    /// A store with one shared secret.
    ///
    /// # Errors
    ///
    /// As [`Key::from_secret`].
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, ConfigError> {
        Key::from_secret(algorithm, secret).map(Self::from)
    }

    /// A store whose keys come later: until the first [`replace`](Self::replace) or
    /// [`rotate`](Self::rotate) every token is answered with 503, which is nobody's fault but ours.
    #[must_use]
    pub fn pending() -> Self {
        Self::of(None)
    }

    /// A handle of the same store that reads the time for [`retire`](Self::retire) from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    fn of(set: Option<KeySet>) -> Self {
        Self::first(Contents::given(set), None, Arc::new(SystemClock))
    }

    /// A store in its first generation.
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

    /// Swaps the whole set: keys that are not in the new one are dead at once.
    ///
    /// Gives the new generation. A set cannot be empty or broken, so neither can the store become
    /// so; see [`replace_jwks`](Self::replace_jwks) for text. Each key of the set counts, also one
    /// that was removed or retired before. Where the keys are loaded from elsewhere, the set counts
    /// until the source has another one than it had, however long an outage of the source lasts.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn replace(&self, set: KeySet) -> u64 {
        self.change_all(ChangeCause::Replace, |contents, _| contents.replace(&set))
            .generation
    }

    /// Swaps the set for that of a key set text, if it is a good one.
    ///
    /// The text is what an issuer publishes: a key in it that was [removed](Self::remove) or
    /// [retired](Self::retire) before stays dead.
    ///
    /// # Errors
    ///
    /// As [`KeySet::from_jwks`]; also if all its keys are dead. The set that was there stays.
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

    /// Adds a key beside those that are there: tokens of either verify. Gives the id of the key.
    ///
    /// It stays until the application takes it away, also where the other keys are loaded from
    /// elsewhere again and again. A key that was [removed](Self::remove) or
    /// [retired](Self::retire) before counts again.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn rotate(&self, next: Key) -> KeyId {
        self.change_all(ChangeCause::Rotate, |contents, now| {
            contents.rotate(&next, now)
        });
        next.id().clone()
    }

    /// Lets the keys with this id verify for `after` more, then never again.
    ///
    /// `false` if there is none. Where [`rotate`](Self::rotate) has put a new key beside others with
    /// the same id, only the others retire. A thumbprint in place of the id names exactly one key.
    /// A key retires under all of its ids. An earlier end wins over a later one.
    ///
    /// The end is kept to by every request's own reading of the clock; no task waits for it. From
    /// then on the key is dead, as a [removed](Self::remove) one is.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn retire(&self, id: &str, after: Duration) -> bool {
        let change = self.change(ChangeCause::Retire, |contents, now| {
            contents.retire(id, now.plus(after), now)
        });
        change.is_some()
    }

    /// Removes the keys with this id: tokens of theirs are rejected from the next request on.
    ///
    /// `false` if there was none. Removing the last key leaves a store that rejects every token. A
    /// thumbprint in place of the id names exactly one key.
    ///
    /// A removed key is dead by its [thumbprint](Key::thumbprint), under all of its ids and under
    /// whatever id a source may still publish it, until [`rotate`](Self::rotate),
    /// [`replace`](Self::replace) or [`reinstate`](Self::reinstate) says otherwise. Tokens that it
    /// signed are rejected with 401, and cause no load, if they name it or name no key. The id is
    /// free: a token that names it and has another signature may be of a new key, which is looked
    /// for as one with an unknown id is. [`status`](Self::status) lists dead keys. They are
    /// remembered while the store lives, up to 1 024 of them, and not beyond a restart of the
    /// process.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn remove(&self, id: &str) -> bool {
        let change = self.change(ChangeCause::Remove, |contents, now| {
            contents.remove(id, now)
        });
        change.is_some()
    }

    /// Takes [`remove`](Self::remove) and [`retire`](Self::retire) back for the keys with this id or
    /// thumbprint: where their source still publishes them, they verify again at once.
    ///
    /// `false` if no such key was removed or retired. Where the keys come from the application
    /// alone, use [`rotate`](Self::rotate): the store does not keep what was removed from it.
    #[expect(clippy::must_use_candidate, reason = "called for its effect")]
    pub fn reinstate(&self, id: &str) -> bool {
        let change = self.change(ChangeCause::Reinstate, |contents, _| contents.reinstate(id));
        change.is_some()
    }

    /// The set as it is now; `None` if there is no key that verifies.
    #[must_use]
    pub fn snapshot(&self) -> Option<KeySet> {
        self.load().live(NumericDate::now(&self.clock))
    }

    /// How often the set has changed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.load().generation
    }

    /// Whether there are keys to verify with now: the answer for a readiness probe.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.snapshot().is_some()
    }

    /// Calls `hook` after every change of the keys, as long as the store lives: to log it, to warm
    /// or clear what depends on the keys, to tell other instances.
    ///
    /// It runs where the change was made and should come back soon; the new keys are in use by
    /// then. Changes at the same time may be told at the same time;
    /// [`generation`](KeyChange::generation) is their order. If it panics, that is an event, and
    /// nothing else suffers.
    pub fn on_change(&self, hook: impl Fn(&KeyChange) + Send + Sync + 'static) {
        let hook: Hook = Arc::new(hook);
        self.shared.hooks.rcu(|hooks| {
            let mut hooks = Vec::clone(hooks);
            hooks.push(Arc::clone(&hook));
            hooks
        });
    }

    /// Loads the keys again now, for a signal handler or an operator.
    ///
    /// Comes back when that is done or has failed; [`status`](Self::status) tells which. A store
    /// whose keys come from the application alone stays as it is, and so does one whose loading has
    /// ended with its runtime.
    pub async fn reload(&self) {
        if let Some(source) = &self.shared.source {
            source.reload().await;
        }
    }

    /// How the keys are doing.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let status = KeyStatus::of(&self.load(), self.clock.now());
        match &self.shared.source {
            Some(source) => source.describe(status),
            None => status,
        }
    }

    /// Loads the keys again that have no key with this id, or without an id none that verifies a
    /// token, if the store has somewhere to load them from and the allowance is not used up.
    pub(crate) fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> Prospect {
        let source = self.shared.source.as_ref();
        source.map_or(Prospect::Answered, |source| source.look_up(id, deadline))
    }

    /// The load that brings keys to a store that has none, unless it is known to fail.
    pub(crate) fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp> {
        self.shared.source.as_ref()?.first_load(deadline)
    }

    /// For how long the keys may still be used if no load succeeds; `None` where that has no end.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let end = self.load().contents.fetched_end();
        self.shared.source.as_ref()?.rest(end)
    }

    /// Whether there may be newer keys, which cannot be had.
    pub(crate) fn is_behind(&self) -> bool {
        let mut source = self.shared.source.iter();
        source.any(|source| source.is_behind())
    }

    /// The one read of a request. Not to be held across an `.await`.
    ///
    /// Keys that are too old are given up here, so that this needs no task that does it in time.
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
            // Asked once more: a load may have been quicker.
            let is_over = is_over(contents);
            if is_over {
                contents.give_up();
            }
            is_over
        });
        self.shared.current.load()
    }

    /// Whether the set is still that of this generation. Costs less than [`load`](Self::load), and
    /// says no at times while the set is being changed.
    pub(crate) fn is_still(&self, generation: u64) -> bool {
        self.shared.generation.load(Ordering::Acquire) == generation
    }

    /// Changes the contents, whatever comes of it.
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

    /// Changes the contents if `change` says so; else everything stays as it was.
    pub(super) fn change(
        &self,
        cause: ChangeCause,
        change: impl Fn(&mut Contents, NumericDate) -> bool,
    ) -> Option<KeyChange> {
        let mut next = self.shared.current.load_full();
        let before = self.swap(&mut next, change);
        (!Arc::ptr_eq(&before, &next)).then(|| self.changed(&before, &next, cause))
    }

    /// Swaps the contents for what `change` makes of them; asks again if another writer was faster.
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
            // Before the set is there: who has seen it, or what came after, is not told that the
            // old one still stands.
            self.shared
                .generation
                .fetch_max(generation, Ordering::AcqRel);
            *next = Arc::new(Snapshot::of(contents, generation, now));
            Arc::clone(next)
        })
    }

    /// Tells of a change.
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
