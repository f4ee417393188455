//! The schedule of signing keys: which key signs now, and what has to be done next.
//!
//! Everything here is a function of the time and of the stored keys. Instances that share the keys compute
//! the same result, each with its own clock, so none of them leads.
//!
//! A key is published, signs, retires and is removed, in this order. The successor of a key is published when
//! the key begins to sign, so it is published for a whole period before it signs. It begins to sign at the
//! second at which its predecessor retires.

/// The instants of a key, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// From when on the key is published.
    pub(crate) publish: u64,
    /// From when on the key signs.
    pub(crate) sign: u64,
    /// From when on the key no longer signs.
    pub(crate) retire: u64,
    /// From when on the key no longer verifies. This never becomes earlier.
    pub(crate) remove: u64,
}

/// A key with its instants.
#[derive(Clone, Debug)]
pub(crate) struct Slot<K> {
    pub(crate) key: K,
    pub(crate) times: Times,
}

/// What the instants of new keys depend on, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How long a key signs. `None` if keys are given and not generated: the last one has no end.
    pub(crate) period: Option<u64>,
    /// How long a key is published before it signs, at least.
    pub(crate) lead: u64,
    /// The longest lifetime of tokens.
    pub(crate) longest_token: u64,
}

impl Rules {
    /// When a key that begins to sign now retires.
    fn retire(&self, sign: u64) -> u64 {
        self.period
            .map_or(u64::MAX, |period| sign.saturating_add(period))
    }

    /// When a key is removed: not before its last token has expired everywhere. The lead is a reserve: a
    /// key whose retirement is put off at the last moment is known as extended to all instances before
    /// they would remove it.
    fn remove(&self, retire: u64) -> u64 {
        let last_token = retire.saturating_add(self.longest_token);
        last_token.saturating_add(LEEWAY).saturating_add(self.lead)
    }

    fn times(&self, publish: u64, sign: u64) -> Times {
        let retire = self.retire(sign);
        Times {
            publish,
            sign,
            retire,
            remove: self.remove(retire),
        }
    }

    /// Sets the end of a key. Its removal only ever becomes later, once it is known.
    fn retire_at(&self, times: &mut Times, retire: u64) {
        times.retire = retire;
        let remove = self.remove(retire);
        times.remove = match times.remove {
            // A key that is given has no end before its successor is known.
            u64::MAX => remove,
            known => known.max(remove),
        };
    }
}

/// The key that signs now: the first one that has not retired, in the order in which they sign.
///
/// It may sign a little before its time, if the clock was set back, or if a successor signs at once and the
/// clock of another instance is ahead. It was published long before in any case.
pub(crate) fn signing<K>(slots: &[Slot<K>], now: u64) -> Option<usize> {
    slots.iter().position(|slot| now < slot.times.retire)
}

/// Whether [`maintained`] would change the keys.
pub(crate) fn is_due<K>(slots: &[Slot<K>], now: u64, rules: &Rules) -> bool {
    let is_forgotten = |slot: &Slot<K>| rules.is_forgotten(&slot.times, now);
    let is_short = |slot: &Slot<K>| slot.times.remove < rules.remove(slot.times.retire);
    slots
        .iter()
        .any(|slot| is_forgotten(slot) || is_short(slot))
        || (rules.period.is_some()
            && slots
                .last()
                .is_none_or(|last| last.times.sign <= now || rules.is_of_the_future(slots, now)))
}

impl Rules {
    /// Whether a key may be deleted. It stays for one more period after its removal, so that it is there if
    /// a clock that was wrong is set back.
    fn is_forgotten(&self, times: &Times, now: u64) -> bool {
        let kept = times.remove.saturating_add(self.period.unwrap_or(0));
        kept <= now
    }

    /// Whether all keys were made by a clock that was far ahead. Otherwise no key would follow for long.
    pub(crate) fn is_of_the_future<K>(&self, slots: &[Slot<K>], now: u64) -> bool {
        let ahead = now.saturating_add(self.period.unwrap_or(u64::MAX));
        slots.first().is_some_and(|slot| ahead < slot.times.sign)
    }
}

/// The keys after what has to be done now. Makes a key with `make` for each one that is missing.
pub(crate) fn maintained<K: Clone, E>(
    slots: &[Slot<K>],
    now: u64,
    rules: &Rules,
    mut make: impl FnMut() -> Result<K, E>,
) -> Result<Vec<Slot<K>>, E> {
    let mut next = slots.to_vec();
    for slot in &mut next {
        // The lifetime of tokens may have become longer.
        let retire = slot.times.retire;
        rules.retire_at(&mut slot.times, retire);
    }
    next.retain(|slot| !rules.is_forgotten(&slot.times, now));
    if rules.period.is_none() {
        return Ok(next);
    }
    if rules.is_of_the_future(&next, now) {
        next.clear();
    }
    // The program stood still for longer than the keys that it had made last.
    let is_over = next.last().is_none_or(|last| last.times.retire <= now);
    if is_over && !extend(&mut next, now, rules) {
        // Nothing that is known could sign. No cache knows the new key either, and verifiers fetch it
        // because its id is unknown.
        next.push(Slot {
            key: make()?,
            times: rules.times(now, now),
        });
    }
    if let Some(last) = next.last_mut().filter(|last| last.times.sign <= now) {
        let sign = last.times.retire.max(now.saturating_add(rules.lead));
        rules.retire_at(&mut last.times, sign);
        next.push(Slot {
            key: make()?,
            times: rules.times(now, sign),
        });
    }
    Ok(next)
}

/// Lets the last key sign again for the time of the lead, if it is published for so long in any case.
fn extend<K>(slots: &mut [Slot<K>], now: u64, rules: &Rules) -> bool {
    let until = now.saturating_add(rules.lead);
    match slots.last_mut() {
        Some(last) if until <= last.times.remove => {
            rules.retire_at(&mut last.times, until);
            true
        }
        _ => false,
    }
}

/// The keys with a further one, which is published now and signs after the lead. It signs at once if no
/// other key does.
pub(crate) fn inserted<K: Clone>(
    slots: &[Slot<K>],
    now: u64,
    rules: &Rules,
    key: K,
) -> Vec<Slot<K>> {
    let mut next = slots.to_vec();
    let sign = match signing(&next, now) {
        Some(_) => now.saturating_add(rules.lead),
        None => now,
    };
    let position = next.partition_point(|slot| slot.times.sign <= sign);
    if sign > now {
        let before = position.checked_sub(1).and_then(|at| next.get_mut(at));
        if let Some(before) = before {
            rules.retire_at(&mut before.times, sign);
        }
    }
    let times = rules.times(now, sign);
    next.insert(position, Slot { key, times });
    follow(&mut next, position, rules);
    next
}

/// The keys without one of them. If it signs, its successor signs at once.
pub(crate) fn revoked<K: Clone>(
    slots: &[Slot<K>],
    position: usize,
    now: u64,
    rules: &Rules,
) -> Vec<Slot<K>> {
    let mut next = slots.to_vec();
    let signed = signing(&next, now);
    if position >= next.len() {
        return next;
    }
    next.remove(position);
    let Some(signed) = signed.filter(|signed| *signed <= position) else {
        return next;
    };
    if signed == position {
        if let Some(successor) = next.get_mut(position) {
            successor.times.sign = now.min(successor.times.sign);
            let retire = rules.retire(now);
            rules.retire_at(&mut successor.times, retire);
        }
        follow(&mut next, position, rules);
    } else {
        let sign = next.get(position).map(|slot| slot.times.sign);
        let before = position.checked_sub(1).and_then(|at| next.get_mut(at));
        if let Some(before) = before {
            let last = match rules.period {
                Some(_) => before.times.retire,
                None => u64::MAX,
            };
            rules.retire_at(&mut before.times, sign.unwrap_or(last));
        }
    }
    next
}

/// Lets each key after this position begin when the one before it retires. Keys that are given begin when
/// they were meant to, and retire when the next one begins.
fn follow<K>(slots: &mut [Slot<K>], position: usize, rules: &Rules) {
    let mut rest = slots.get_mut(position..).unwrap_or_default();
    while let [slot, behind @ ..] = rest {
        if let Some(next) = behind.first_mut() {
            if rules.period.is_some() {
                next.times.sign = slot.times.retire;
                let retire = rules.retire(next.times.sign);
                rules.retire_at(&mut next.times, retire);
            } else {
                rules.retire_at(&mut slot.times, next.times.sign);
            }
        }
        rest = behind;
    }
}

/// The longest leeway of a verifier, in seconds.
const LEEWAY: u64 = 300;
