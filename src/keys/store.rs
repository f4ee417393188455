//! The store: one set at a time, swapped while requests run.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
#[cfg(feature = "_refresh")]
use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
#[cfg(feature = "_refresh")]
use tokio::time::Instant;

use crate::clock::{Clock, NumericDate, SystemClock};
use crate::error::config::ConfigError;
use crate::keys::algorithm::Algorithm;
use crate::keys::contents::{Contents, DeadCandidate};
use crate::keys::key::{Key, KeyId};
use crate::keys::set::KeySet;
use crate::keys::status::{ChangeCause, KeyChange, KeyStatus};
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
    shared: Arc<Shared>,
    /// Where this handle reads the time for [`retire`](Self::retire) from.
    clock: Arc<dyn Clock>,
}

pub(super) struct Shared {
    current: ArcSwap<Snapshot>,
    /// The generation of `current`, or a later one that is about to come.
    generation: AtomicU64,
    hooks: ArcSwap<Vec<Hook>>,
    #[cfg(feature = "_refresh")]
    refresher: Option<crate::keys::source::refresh::Refresher>,
}

type Hook = Arc<dyn Fn(&KeyChange) + Send + Sync>;

/// A load of keys that a request waits for.
pub(crate) struct LookUp {
    /// Gives whether the load has come to an end, or only the patience with it.
    pub(crate) end: Pin<Box<dyn Future<Output = bool> + Send>>,
    /// The load had begun before it was asked for, so it may have been too early for the key.
    pub(crate) is_joined: bool,
    /// When the patience ends: for this load, and for one behind it.
    pub(crate) deadline: Deadline,
}

impl LookUp {
    /// All of these loads, which run side by side.
    pub(crate) fn of_all(loads: Vec<Self>) -> Option<Self> {
        loads.into_iter().reduce(|one, other| Self {
            end: Box::pin(async move {
                let has_ended = one.end.await;
                other.end.await && has_ended
            }),
            is_joined: one.is_joined || other.is_joined,
            deadline: one.deadline.min(other.deadline),
        })
    }
}

/// Until when a request waits.
pub(crate) type Deadline = std::time::Instant;

/// Whether a key that is not there may come.
#[cfg_attr(
    not(feature = "_refresh"),
    expect(dead_code, reason = "what nobody loads does not come")
)]
pub(crate) enum Prospect {
    /// Where the keys come from there is no such key, as far as is known there.
    Answered,
    /// A load may bring it.
    Load(LookUp),
    /// Nobody has asked, and nobody may now.
    Unasked,
}

/// What one request sees.
pub(crate) struct Snapshot {
    /// `None` until keys were had for the first time.
    pub(crate) set: Option<KeySet>,
    pub(crate) generation: u64,
    /// What the set was made of.
    pub(super) contents: Contents,
}

impl Snapshot {
    fn first(contents: Contents, clock: &Arc<dyn Clock>) -> Self {
        Self {
            set: contents.set(NumericDate::now(clock)),
            generation: 0,
            contents,
        }
    }

    /// The keys that a token with this id may be of and that the application ended. Without an id,
    /// all whose signatures can be known.
    pub(crate) fn dead_keys(&self, id: Option<&str>, now: NumericDate) -> Vec<DeadCandidate<'_>> {
        self.contents.dead(id, now)
    }

    /// The keys that verify at this time; `None` if there are none.
    fn live(&self, now: NumericDate) -> Option<KeySet> {
        self.set.as_ref().and_then(|set| set.live(now))
    }
}

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
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let first = Snapshot::first(Contents::given(set), &clock);
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(0),
            hooks: ArcSwap::default(),
            #[cfg(feature = "_refresh")]
            refresher: None,
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
            change.ok_or_else(|| {
                ConfigError::KeySet("the application removed or retired each of its keys".into())
            })
        });
        replaced.inspect_err(telemetry::keys_refused)
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

    /// How the keys are doing.
    #[must_use]
    pub fn status(&self) -> KeyStatus {
        let current = self.load();
        let now = self.clock.now();
        let status = KeyStatus::of(&current, now);
        #[cfg(feature = "_refresh")]
        if let Some(refresher) = &self.shared.refresher {
            return refresher.describe(status);
        }
        status
    }

    /// Loads the keys again that have no key with this id, or without an id none that verifies a
    /// token, if the store has somewhere to load them from and the allowance is not used up.
    pub(crate) fn look_up(&self, id: Option<&str>, deadline: Option<Deadline>) -> Prospect {
        #[cfg(feature = "_refresh")]
        if let Some(refresher) = &self.shared.refresher {
            return refresher.look_up(id, deadline);
        }
        let _ = (id, deadline);
        Prospect::Answered
    }

    /// The load that brings keys to a store that has none, unless it is known to fail.
    pub(crate) fn first_load(&self, deadline: Option<Deadline>) -> Option<LookUp> {
        #[cfg(feature = "_refresh")]
        if let Some(refresher) = &self.shared.refresher {
            return refresher.first_load(deadline);
        }
        let _ = deadline;
        None
    }

    /// For how long the keys may still be used if no load succeeds; `None` where that has no end.
    pub(crate) fn rest(&self) -> Option<Duration> {
        #[cfg(feature = "_refresh")]
        return self.load().contents.rest();
        #[cfg(not(feature = "_refresh"))]
        None
    }

    /// Whether there may be newer keys, which cannot be had.
    pub(crate) fn is_behind(&self) -> bool {
        #[cfg(feature = "_refresh")]
        if let Some(refresher) = &self.shared.refresher {
            return refresher.is_behind();
        }
        false
    }

    /// The one read of a request. Not to be held across an `.await`.
    ///
    /// Keys that are too old are given up here, so that this needs no task that does it in time.
    pub(crate) fn load(&self) -> Guard<Arc<Snapshot>> {
        let current = self.shared.current.load();
        #[cfg(feature = "_refresh")]
        let current = self.without_outlived_keys(current);
        current
    }

    /// Whether the set is still that of this generation. Costs less than [`load`](Self::load), and
    /// says no at times while the set is being changed.
    pub(crate) fn is_still(&self, generation: u64) -> bool {
        self.shared.generation.load(Ordering::Acquire) == generation
    }

    /// Changes the contents, whatever comes of it.
    fn change_all(
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
    fn change(
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
            *next = Arc::new(Snapshot {
                set: contents.set(now),
                generation,
                contents,
            });
            Arc::clone(next)
        })
    }

    /// Tells of a change.
    fn changed(&self, before: &Snapshot, after: &Snapshot, cause: ChangeCause) -> KeyChange {
        let change = KeyChange::between(before, after, cause);
        telemetry::keys_changed(&change);
        for hook in self.shared.hooks.load().iter() {
            if catch_unwind(AssertUnwindSafe(|| hook(&change))).is_err() {
                telemetry::hook_panicked();
            }
        }
        change
    }
}

#[cfg(feature = "_refresh")]
impl KeyStore {
    /// A store whose keys are loaded again by a task.
    pub(super) fn refreshing(
        first: Option<(KeySet, Instant)>,
        refresher: crate::keys::source::refresh::Refresher,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let first = Snapshot::first(Contents::fetched(first), &clock);
        let shared = Arc::new(Shared {
            current: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(0),
            hooks: ArcSwap::default(),
            refresher: Some(refresher),
        });
        Self::from_shared(shared, clock)
    }

    pub(super) fn downgrade(&self) -> Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    /// Loads the keys again now, for a signal handler or an operator. Comes back when that is
    /// done or has failed; [`status`](Self::status) tells which. A store without a source stays
    /// as it is, and so does one whose loading has ended with its runtime.
    pub async fn reload(&self) {
        if let Some(refresher) = &self.shared.refresher {
            refresher.reload().await;
        }
    }

    /// Whether this set was loaded last. What the application decided does not count.
    pub(super) fn has_same_keys(&self, set: &KeySet) -> bool {
        self.load().contents.is_base(set)
    }

    /// Takes a loaded set, which is given up at `end` unless a load succeeds before. Keys that it no
    /// longer has verify for `overlap` more.
    pub(super) fn refreshed(&self, set: &KeySet, end: Instant, overlap: Duration) -> KeyChange {
        self.change_all(ChangeCause::Refresh, |contents, now| {
            let overlap_end = (!overlap.is_zero()).then(|| now.plus(overlap));
            contents.refresh(set, end, now, overlap_end);
        })
    }

    /// Puts off the end of the loaded keys, which the source still has. The keys are the same, and
    /// so is the generation. `false` if they were given up meanwhile.
    pub(super) fn extend(&self, end: Instant) -> bool {
        let mut is_there = false;
        self.shared.current.rcu(|current| {
            let mut contents = current.contents.clone();
            is_there = contents.extend(end);
            Snapshot {
                set: current.set.clone(),
                generation: current.generation,
                contents,
            }
        });
        is_there
    }

    /// Takes the keys of an earlier run until this end, if none were loaded yet; says whether it has.
    #[cfg(feature = "remote")]
    pub(super) fn begin_with(&self, kept: &KeySet, end: Instant) -> bool {
        let change = self.change(ChangeCause::Refresh, |contents, now| {
            contents.begin_with(kept, end, now)
        });
        change.is_some()
    }

    /// What there is when loaded keys are forgotten that have outlived what an outage may last.
    fn without_outlived_keys(&self, current: Guard<Arc<Snapshot>>) -> Guard<Arc<Snapshot>> {
        if let Some(refresher) = &self.shared.refresher {
            refresher.tell_if_ended();
        }
        if !current.contents.is_over() {
            return current;
        }
        drop(current);
        self.change(ChangeCause::Expire, |contents, _| {
            // Asked once more: a load may have been quicker.
            let is_over = contents.is_over();
            if is_over {
                contents.give_up();
            }
            is_over
        });
        self.shared.current.load()
    }

    /// Whether there is a set that was loaded.
    pub(super) fn has_loaded_keys(&self) -> bool {
        self.load().contents.has_base()
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
