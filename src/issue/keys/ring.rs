//! [`Ring`]: the signing keys of one process, and how they follow the time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use crate::clock::{Clock, NumericDate};
use crate::error::config::ConfigError;
use crate::issue::keys::error::SigningKeyError;
use crate::issue::keys::schedule::{self, Rules};
use crate::issue::keys::shared::Shared;
use crate::issue::keys::signing_key::{SigningKey, Slot};
use crate::keys::algorithm::Algorithm;
use crate::keys::key::KeyId;
use crate::keys::loaded::WeakKeyStore;
use crate::keys::private_key::PrivateKey;
use crate::keys::set::KeySet;
use crate::keys::store::KeyStore;
use crate::telemetry::{self, seconds};

/// The keys, their rules, and the verifying side that follows them.
pub(super) struct Ring {
    slots: ArcSwap<Vec<Slot>>,
    /// The public side, which whoever has the keys holds, and what it has: each key with its end.
    verifying: OnceLock<WeakKeyStore>,
    shown: Mutex<Vec<(KeyId, String, Option<u64>)>>,
    /// The algorithm of keys that are made here. `None` if keys are given.
    generates: Option<Algorithm>,
    /// In seconds. 0 means that keys have no end.
    period: AtomicU64,
    lead: AtomicU64,
    longest_token: AtomicU64,
    clock: ArcSwap<Arc<dyn Clock>>,
    /// Held while keys change in memory.
    changing: Mutex<()>,
    /// Whether a thread makes a key.
    is_making: AtomicBool,
    /// Whether a token was signed, a key published, or the keys changed by hand.
    is_used: AtomicBool,
    /// The store, if instances share the keys.
    pub(super) shared: Option<Shared>,
}

impl Ring {
    pub(super) fn new(
        generates: Option<Algorithm>,
        shared: Option<Shared>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let period = generates.map_or(0, |_| PERIOD.as_secs());
        Self {
            slots: ArcSwap::default(),
            verifying: OnceLock::new(),
            shown: Mutex::default(),
            generates,
            period: AtomicU64::new(period),
            lead: AtomicU64::new(LEAD.as_secs()),
            longest_token: AtomicU64::new(LONGEST_TOKEN.as_secs()),
            clock: ArcSwap::from_pointee(clock),
            changing: Mutex::default(),
            is_making: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            shared,
        }
    }

    /// Sets the public side, before there are keys.
    pub(super) fn show_in(&self, verifying: &KeyStore) {
        // It is set once.
        let _ = self.verifying.set(verifying.weak());
    }

    fn verifying(&self) -> Option<KeyStore> {
        self.verifying.get()?.upgrade(self.clock())
    }

    /// Begins the schedule with these keys, and makes those that are missing.
    pub(super) fn begin(&self, keys: impl IntoIterator<Item = Arc<SigningKey>>) {
        let (now, rules) = (self.now(), self.rules());
        let mut keys = keys.into_iter();
        let mut slots = Vec::new();
        if let Some(first) = keys.next() {
            slots = schedule::inserted(&slots, now, &rules, first);
        }
        let next = || keys.next().map_or_else(|| self.make(), Ok);
        match schedule::maintained(&slots, now, &rules, next) {
            Ok(all) => slots = all,
            Err(error) => telemetry::signing_keys_failed(&error, true),
        }
        self.put(slots, now);
    }

    /// Makes the schedule of keys in memory anew. For settings. Once the keys are used, none of them is dropped.
    pub(super) fn begin_again(&self) {
        // Otherwise a change by hand in the same moment could be undone.
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_used.load(Ordering::Acquire) || self.shared.is_some() {
            return;
        }
        let slots = self.slots();
        self.begin(slots.iter().map(|slot| Arc::clone(&slot.key)));
    }

    pub(super) fn rules(&self) -> Rules {
        let period = self.period.load(Ordering::Acquire);
        Rules {
            period: (period > 0).then_some(period),
            lead: self.lead.load(Ordering::Acquire),
            longest_token: self.longest_token.load(Ordering::Acquire),
        }
    }

    pub(super) fn set_period(&self, period: Duration) -> Result<(), ConfigError> {
        if self.generates.is_none() {
            return Err(unusable(
                "keys that are given do not rotate by themselves: use `SigningKeys::generate` or \
                 `SigningKeys::shared`, or `rotate` to a next key"
                    .into(),
            ));
        }
        let rules = self.rules();
        check(period, Duration::from_secs(rules.lead), rules.longest_token)?;
        self.period.store(period.as_secs(), Ordering::Release);
        Ok(())
    }

    pub(super) fn set_lead(&self, lead: Duration) -> Result<(), ConfigError> {
        if !(SHORTEST_LEAD..=LONGEST_LEAD).contains(&lead) {
            return Err(unusable(format!(
                "a publish lead of {} s, expected {} to {} s: caches keep the key set for half of the lead, \
                 and 5 minutes are for what is late",
                lead.as_secs(),
                SHORTEST_LEAD.as_secs(),
                LONGEST_LEAD.as_secs()
            )));
        }
        let rules = self.rules();
        if let Some(period) = rules.period {
            check(Duration::from_secs(period), lead, rules.longest_token)?;
        }
        self.lead.store(lead.as_secs(), Ordering::Release);
        Ok(())
    }

    /// Tells that tokens with this lifetime will be signed.
    pub(super) fn set_longest_token(&self, lifetime: Duration) -> Result<(), ConfigError> {
        let begun = u64::from(lifetime.subsec_nanos() > 0);
        let lifetime = lifetime.as_secs().saturating_add(begun);
        let rules = self.rules();
        if let Some(period) = rules.period {
            let lead = Duration::from_secs(rules.lead);
            let longest = rules.longest_token.max(lifetime);
            check(Duration::from_secs(period), lead, longest)?;
        }
        self.longest_token.fetch_max(lifetime, Ordering::AcqRel);
        if self.shared.is_none() {
            self.maintain(self.now());
        } else {
            self.look_soon();
        }
        Ok(())
    }

    pub(super) fn set_clock(&self, clock: Arc<dyn Clock>) {
        self.clock.store(Arc::new(clock));
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock.load())
    }

    pub(super) fn time(&self) -> SystemTime {
        self.clock.load().now()
    }

    pub(super) fn now(&self) -> u64 {
        seconds(self.time())
    }

    pub(super) fn slots(&self) -> Arc<Vec<Slot>> {
        self.slots.load_full()
    }

    /// The time between two looks at the store.
    pub(super) fn pause(&self) -> Duration {
        Duration::from_secs(self.rules().lead) / 4
    }

    /// Tells that settings count only for keys that begin to sign later.
    pub(super) fn is_in_use(&self) {
        if !self.is_used.load(Ordering::Acquire) {
            self.is_used.store(true, Ordering::Release);
        }
    }

    /// The key that signs now.
    pub(super) fn active(self: &Arc<Self>) -> Result<Arc<SigningKey>, SigningKeyError> {
        self.is_in_use();
        let now = self.now();
        self.tend(now);
        let slots = self.slots.load();
        let position = schedule::signing(&slots, now);
        let slot = position.and_then(|position| slots.get(position));
        slot.map(|slot| Arc::clone(&slot.key))
            .ok_or_else(|| self.no_key())
    }

    fn no_key(&self) -> SigningKeyError {
        let Some(shared) = &self.shared else {
            return SigningKeyError::NoKey;
        };
        if let Some(failure) = shared.failure() {
            let reason = failure.reason().to_owned();
            return SigningKeyError::Unavailable { reason };
        }
        // The clock was set, or the machine stood still, and the task does not know it yet.
        self.look_soon();
        SigningKeyError::NoKey
    }

    /// Lets the task look at the store.
    pub(super) fn look_soon(&self) {
        if let Some(verifying) = self.verifying() {
            verifying.load_soon();
        }
    }

    /// Does what is due, if the keys are in memory. Keys in a store are tended by a task.
    pub(super) fn tend(self: &Arc<Self>, now: u64) {
        if self.shared.is_some() || !schedule::is_due(&self.slots.load(), now, &self.rules()) {
            return;
        }
        let is_slow = self.generates.is_some_and(is_slow);
        if !is_slow || schedule::signing(&self.slots.load(), now).is_none() {
            return self.maintain(now);
        }
        // The key is needed a whole period later, so nobody waits for it.
        if self.is_making.swap(true, Ordering::AcqRel) {
            return;
        }
        let ring = Arc::clone(self);
        let thread = thread::Builder::new().name("jwt-signing-key".into());
        let spawned = thread.spawn(move || {
            ring.maintain(now);
            ring.is_making.store(false, Ordering::Release);
        });
        if spawned.is_err() {
            self.maintain(now);
            self.is_making.store(false, Ordering::Release);
        }
    }

    fn maintain(&self, now: u64) {
        let changed = self.change(now, |slots, rules| {
            schedule::maintained(slots, now, rules, || self.make())
        });
        if let Err(error) = changed {
            telemetry::signing_keys_failed(&error, true);
        }
    }

    /// Changes keys in memory.
    pub(super) fn change(
        &self,
        now: u64,
        change: impl FnOnce(&[Slot], &Rules) -> Result<Vec<Slot>, SigningKeyError>,
    ) -> Result<(), SigningKeyError> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(&self.slots.load(), &self.rules())?;
        self.put(next, now);
        Ok(())
    }

    /// Makes a key for the algorithm.
    pub(super) fn make(&self) -> Result<Arc<SigningKey>, SigningKeyError> {
        let failed = |reason: String| SigningKeyError::Unavailable { reason };
        let algorithm = self.generates;
        let algorithm = algorithm.ok_or_else(|| failed("keys are given".into()))?;
        let key = PrivateKey::generate(algorithm).and_then(SigningKey::own);
        key.map(Arc::new).map_err(|error| failed(error.to_string()))
    }

    /// Takes these keys into use, on the verifying side first: no token is signed with a key that it does
    /// not know.
    pub(super) fn put(&self, slots: Vec<Slot>, now: u64) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        // A key that signs or will sign has no end yet, so cached tokens of it are checked at full speed.
        let end = |slot: &Slot| (slot.times.retire <= now).then_some(slot.times.remove);
        let next: Vec<_> = slots
            .iter()
            .map(|slot| {
                let public = slot.key.public();
                (
                    public.id().clone(),
                    public.thumbprint().to_owned(),
                    end(slot),
                )
            })
            .collect();
        if *shown != next {
            let set = KeySet::ending(slots.iter().map(|slot| {
                let end = end(slot).map(|end| NumericDate::from(unix(end)));
                (slot.key.public().clone(), end)
            }));
            if let Some(verifying) = self.verifying() {
                verifying.follow(&set);
            }
            *shown = next;
        }
        self.slots.store(Arc::new(slots));
    }
}

/// The time of these seconds since the epoch.
pub(super) fn unix(seconds: u64) -> SystemTime {
    let since = Duration::from_secs(seconds.min(FAR_FUTURE));
    SystemTime::UNIX_EPOCH
        .checked_add(since)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

pub(super) fn unusable(reason: String) -> ConfigError {
    ConfigError::SigningKeys { reason }
}

fn check(period: Duration, lead: Duration, longest_token: u64) -> Result<(), ConfigError> {
    let shortest = lead.saturating_add(Duration::from_secs(longest_token));
    if period < shortest {
        return Err(unusable(format!(
            "a new key every {} s, expected at least {} s: the publish lead of {} s, and the longest lifetime of \
             a token, {longest_token} s",
            period.as_secs(),
            shortest.as_secs(),
            lead.as_secs()
        )));
    }
    Ok(())
}

/// Whether it takes long to make a key.
fn is_slow(algorithm: Algorithm) -> bool {
    algorithm.signature_length().is_none()
}

/// How long a key signs.
const PERIOD: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a key is published before it signs, at least.
const LEAD: Duration = Duration::from_secs(3_600);
/// Twice 5 minutes: the lead is at least 5 minutes longer than caches keep the key set.
const SHORTEST_LEAD: Duration = Duration::from_secs(600);
const LONGEST_LEAD: Duration = Duration::from_secs(7 * 24 * 3_600);
/// The longest lifetime of tokens that needs no `insecure_` setting.
const LONGEST_TOKEN: Duration = Duration::from_secs(3_600);
/// The last second of the year 9999.
const FAR_FUTURE: u64 = 253_402_300_799;
