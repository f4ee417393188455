//! Instances with clocks of their own, one stored set, tokens, and verifiers with caches.
//!
//! Keys are numbers here, and everything else is the code that instances run.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use crate::issue::keys::schedule::{Rules, Slot, inserted, is_due, maintained, revoked, signing};

type Keys = Vec<Slot<u32>>;

pub(super) struct World {
    /// The true time.
    pub(super) now: i64,
    pub(super) rules: Rules,
    token: i64,
    /// Whether clocks are set by so much that the copies of verifiers cannot be right.
    pub(super) has_wild_clocks: bool,
    store: Option<(u64, Keys)>,
    pub(super) instances: Vec<Instance>,
    verifiers: Vec<Verifier>,
    made: u32,
    /// For each key, the true time at which its last token has expired everywhere.
    tokens: BTreeMap<u32, i64>,
    /// Keys that had to sign before caches could have them: the first one, and successors of revoked keys.
    unannounced: BTreeSet<u32>,
    revoked: BTreeSet<u32>,
    pub(super) starts: u32,
    pub(super) signed: BTreeSet<u32>,
}

pub(super) struct Instance {
    /// Its clock minus the true time, in seconds.
    pub(super) skew: i64,
    known: Keys,
    next_look: i64,
    pub(super) store_is_down: bool,
    /// It stands still: it answers nothing and looks at nothing.
    pub(super) is_still: bool,
}

/// A copy of the key set of one instance.
struct Verifier {
    keys: BTreeSet<u32>,
    until: i64,
}

impl World {
    pub(super) fn new(rules: Rules, token: i64, instances: usize, verifiers: usize) -> Self {
        let instance = || Instance {
            skew: 0,
            known: Vec::new(),
            next_look: 0,
            store_is_down: false,
            is_still: false,
        };
        let verifier = || Verifier {
            keys: BTreeSet::new(),
            until: 0,
        };
        Self {
            now: 1_700_000_000,
            rules,
            token,
            has_wild_clocks: false,
            store: None,
            instances: std::iter::repeat_with(instance).take(instances).collect(),
            verifiers: std::iter::repeat_with(verifier).take(verifiers).collect(),
            made: 0,
            tokens: BTreeMap::new(),
            unannounced: BTreeSet::new(),
            revoked: BTreeSet::new(),
            starts: 0,
            signed: BTreeSet::new(),
        }
    }

    fn lead(&self) -> i64 {
        i64::try_from(self.rules.lead).unwrap()
    }

    fn clock(&self, instance: usize) -> u64 {
        u64::try_from(self.now + self.instances[instance].skew).unwrap()
    }

    /// The time passes, instances look at the store when it is time, and each of them signs a token.
    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        for at in 0..self.instances.len() {
            let instance = &self.instances[at];
            if !instance.is_still && instance.next_look <= self.now {
                self.exchange(at, |keys, _, _| keys.to_vec());
                self.instances[at].next_look = self.now + self.lead() / 4;
            }
        }
        self.fetch();
        for at in 0..self.instances.len() {
            if !self.instances[at].is_still {
                self.sign(at);
            }
        }
        self.check_removals();
    }

    /// What `Ring::exchange` does.
    fn exchange(&mut self, at: usize, change: impl Fn(&[Slot<u32>], u64, &Rules) -> Keys) -> bool {
        if self.instances[at].store_is_down {
            return false;
        }
        let now = self.clock(at);
        let (version, stored) = self.store.clone().unwrap_or_default();
        let changed = change(&stored, now, &self.rules);
        let mut made = self.made;
        let make = || {
            made += 1;
            Ok::<_, Infallible>(made)
        };
        let Ok(next) = maintained(&changed, now, &self.rules, make);
        assert!(
            !is_due(&next, now, &self.rules),
            "everything is done at once"
        );
        self.made = made;
        let is_new = |slot: &&Slot<u32>| !changed.iter().any(|old| old.key == slot.key);
        for new in next.iter().filter(is_new) {
            if new.times.sign < new.times.publish + self.rules.lead {
                // A start. Nothing that was published could go on.
                let longest = now + self.rules.lead;
                let ahead = now + self.rules.period.unwrap();
                assert!(
                    changed
                        .iter()
                        .all(|old| old.times.remove < longest || ahead < old.times.sign),
                    "a start at {now} beside {changed:?}"
                );
                self.unannounced.insert(new.key);
                self.starts += 1;
            }
        }
        assert!(next.is_sorted_by_key(|slot| slot.times.sign), "{next:?}");
        if self.store.is_none() || next.len() != stored.len() || changed_times(&stored, &next) {
            self.store = Some((version + 1, next.clone()));
        }
        self.instances[at].known = next;
        true
    }

    /// All instances look at the store, as after a start.
    pub(super) fn look(&mut self) {
        for at in 0..self.instances.len() {
            self.exchange(at, |keys, _, _| keys.to_vec());
        }
    }

    pub(super) fn rotate(&mut self, at: usize) {
        self.made += 1;
        let key = self.made;
        self.exchange(at, |keys, now, rules| inserted(keys, now, rules, key));
    }

    pub(super) fn revoke(&mut self, at: usize) {
        let now = self.clock(at);
        let mut gone = None;
        let (_, stored) = self.store.clone().unwrap_or_default();
        if let Some(position) = signing(&stored, now)
            && !self.instances[at].store_is_down
        {
            gone = Some(stored[position].key);
            if let Some(successor) = stored.get(position + 1)
                && now < successor.times.publish + self.rules.lead
            {
                self.unannounced.insert(successor.key);
            }
        }
        self.revoked.extend(gone);
        self.exchange(at, |keys, now, rules| {
            let position = keys.iter().position(|slot| Some(slot.key) == gone);
            position.map_or_else(
                || keys.to_vec(),
                |position| revoked(keys, position, now, rules),
            )
        });
    }

    fn published(&self, at: usize) -> BTreeSet<u32> {
        let now = self.clock(at);
        let known = self.instances[at].known.iter();
        let known = known.filter(|slot| now < slot.times.remove);
        known.map(|slot| slot.key).collect()
    }

    /// Verifiers whose copy has ended fetch the key set again, each from another instance.
    fn fetch(&mut self) {
        let running: Vec<_> = (0..self.instances.len())
            .filter(|at| !self.instances[*at].is_still)
            .collect();
        for number in 0..self.verifiers.len() {
            let turn = usize::try_from(self.now).unwrap() / 7 + number;
            let Some(at) = running.get(turn % running.len().max(1)) else {
                return;
            };
            if self.verifiers[number].until <= self.now {
                // Verifiers are not in step.
                let age = self.lead() / 2 - i64::try_from(number).unwrap() * 61 % (self.lead() / 4);
                self.verifiers[number] = Verifier {
                    keys: self.published(*at),
                    until: self.now + age,
                };
            }
        }
    }

    /// Signs a token. No verifier may be without its key.
    fn sign(&mut self, at: usize) {
        let now = self.clock(at);
        let known = &self.instances[at].known;
        let Some(position) = signing(known, now) else {
            let last = known.last().map_or(0, |last| last.times.retire);
            assert!(last <= now, "no key before the known keys are over");
            return;
        };
        let key = known[position].key;
        if self.revoked.contains(&key) {
            // This instance has not looked since.
            return;
        }
        self.signed.insert(key);
        let expires = i64::try_from(now).unwrap() + self.token + LEEWAY;
        let last = self.tokens.entry(key).or_insert(expires);
        *last = (*last).max(expires);
        if self.has_wild_clocks || self.unannounced.contains(&key) {
            return;
        }
        for (number, verifier) in self.verifiers.iter().enumerate() {
            let has = verifier.until <= self.now || verifier.keys.contains(&key);
            assert!(
                has,
                "at {}: verifier {number} has {:?}, instance {at} signs with {key}: {known:?}",
                self.now, verifier.keys
            );
        }
    }

    /// A key whose token lives is published by every instance.
    fn check_removals(&mut self) {
        self.tokens
            .retain(|key, until| *until > self.now && !self.revoked.contains(key));
        for at in 0..self.instances.len() {
            let instance = &self.instances[at];
            // A clock that is far ahead takes the tokens of others for expired.
            let ahead = instance.skew.max(0);
            if instance.is_still {
                continue;
            }
            let published = self.published(at);
            for (key, until) in &self.tokens {
                let is_new = self.unannounced.contains(key);
                assert!(
                    published.contains(key) || *until <= self.now + ahead || is_new,
                    "at {}: instance {at} has removed {key}, whose token lives until {until}: {:?}",
                    self.now,
                    instance.known
                );
            }
        }
    }
}

fn changed_times(first: &[Slot<u32>], second: &[Slot<u32>]) -> bool {
    let known = |slot: &Slot<u32>| (slot.key, slot.times);
    !first.iter().map(known).eq(second.iter().map(known))
}

/// The longest leeway of a verifier.
const LEEWAY: i64 = 300;
