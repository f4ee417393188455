//! Tokens that were accepted a moment ago, so that they need not be verified again.
//!
//! An entry is found only by the whole token. Tokens that were refused never get in. There is one
//! cache for each policy, so that no verdict is another policy's.
//!
//! # What is kept of a token
//!
//! The claims are kept for the handlers. The signature makes them a usable token, and it is not
//! kept, nor is any other text of the token: there are the lengths of its parts, a digest of the
//! signature of 127 bits, a sum over header and claims of 128 bits, and the place of the entry. Of a
//! token that is turned away its tag is left for a while, in the bucket in which it was looked for.
//!
//! Both are keyed universal hashes. Their keys are random, one for each cache, and never leave it.
//! NH gives two different texts of the same length the same sum under at most one of 2^64 keys
//! (Black, Halevi, Krawczyk, Krovetz, Rogaway: *UMAC: Fast and Secure Message Authentication*,
//! CRYPTO '99). Texts of one length are cut into blocks alike, the last sixteen characters being a
//! block once more, so that different texts stay different. The lengths are compared beside it.
//!
//! - *Header and claims* have one NH sum of 64-bit words. Nobody has anything to gain from two texts
//!   with the same one: a hit gives the claims that were verified, and only to somebody who has
//!   their signature. The sum decides whether a token that was damaged is refused, and is wrong
//!   about one of 2^64.
//! - *The signature* has two sums under independent keys, both the same for two signatures under one
//!   of 2^128, and then a multilinear hash of their four words modulo the prime 2^127 - 1. For
//!   different sums that is the same for one value of one of its keys modulo the prime (Carter,
//!   Wegman: *Universal Classes of Hash Functions*, 1979), and of the 2^127 keys at most two have one
//!   value. Together that is less than 2^-125.
//!
//! What that is worth:
//!
//! - *Somebody who knows header and claims of a cached token* can do nothing but try signatures.
//!   Each try has a chance of less than 2^-125, whatever was tried before: a refusal says no more
//!   than that it was not this one, as the digest shows in nothing else. A forged signature is
//!   verified like that of any unknown token, and refused.
//! - *Time*: the numbers are compared at once. Which bucket a token belongs to, and under which tag,
//!   may show in the time of a look-up. Both come from the last eight characters of the token under
//!   a key of their own, so nothing about the other keys shows.
//! - *A copy of the memory* has the keys too. The digest then tells 127 bits of the signature, the
//!   tag 8, and the bucket at most 21: of an HMAC of 256 bits more than 100 stay unknown, which can
//!   only be guessed by asking the API. An Ed25519 or ECDSA signature has as many or more, and for
//!   RSA no way is known to use so few of 2048 bits. The process holds what it needs for a request
//!   while that runs, the token too; this is about what stays.
//!
//! Why not the text of header and claims, which is no secret: to compare it is faster for one token
//! that is asked for all the time, and slower for a thousand in turn, whose texts do not fit into
//! the caches of the processor. The memory for a token would be two thirds more.
//!
//! Why not SHA-256: for the 342 characters of an RSA signature of 2048 bits it takes more than four
//! times as long. GMAC through the crypto library takes more than two times as long.
//!
//! # Who gets a place
//!
//! A bucket has seven places. As long as the cache is not full, an accepted token gets a free one at
//! once, and at any time that of an entry past its end. Else it has to come twice: the first time
//! only its tag is noted, in the one octet that each bucket has for this, until the next one is turned
//! away there. A stream of tokens that are used once so turns over no memory, and costs little more
//! than without a cache.
//!
//! A token that comes again gets the place of an entry that was not asked for again, by lot; else
//! that of the one that was not asked for for the longest time. An entry that was asked for within
//! the last minute is never given up: then the new token is not kept. So a flood of tokens that are
//! used once does not drive out those in use, and forged ones are never put in. Who has thousands of
//! good tokens, and uses each of them again, can fill the cache until they reach their time limit;
//! others are verified each time then.
//!
//! # Threads
//!
//! A look-up takes no lock and writes nothing that another one reads, but for a mark once in a
//! second for each token. One thread at a time changes the table; who finds another one at it leaves
//! the token out, or the dead entry in, until the next request.

mod digest;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

use crate::clock::NumericDate;
use crate::sync::{Arc, AtomicU64, Ordering};
use digest::{Key, Print};
use table::{Books, Table};

/// Accepted tokens, each with a value.
pub(crate) struct Cache<V> {
    limits: Limits,
    /// Made when the first token comes. Without randomness for a key there is none.
    inner: OnceLock<Option<Inner<V>>>,
}

struct Inner<V> {
    key: Key,
    table: Table<V>,
}

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many tokens; 0 turns the cache off, and more than 4 194 304 are not held.
    pub(crate) entries: usize,
    /// How many bytes, by the weights of the entries.
    pub(crate) bytes: usize,
}

impl Default for Limits {
    /// 10 000 tokens, 64 MiB.
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 64 << 20,
        }
    }
}

/// When a verdict holds: from the first moment on, and until before the second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lifetime {
    pub(crate) from: NumericDate,
    pub(crate) until: NumericDate,
}

impl Lifetime {
    fn has_begun(self, now: NumericDate) -> bool {
        self.from <= now
    }

    fn contains(self, now: NumericDate) -> bool {
        self.has_begun(now) && now < self.until
    }
}

/// What is kept of a token.
pub(crate) struct Entry<V> {
    print: Print,
    lifetime: Lifetime,
    /// The time of the last use, to the second, as the bits of a number; 0 if there was none.
    used: AtomicU64,
    generation: AtomicU64,
    weight: usize,
    value: V,
}

impl<V> Cache<V> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                entries: limits.entries.min(MOST),
                ..limits
            },
            inner: OnceLock::new(),
        }
    }

    /// What `accept` makes of the entry of this token, if there is one that holds `now`.
    ///
    /// `None` from `accept` means that the verdict has come to an end, for instance because its key
    /// is gone: the entry is removed.
    pub(crate) fn get<R>(
        &self,
        token: &[u8],
        now: NumericDate,
        accept: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        let Inner { key, table } = self.inner.get()?.as_ref()?;
        let place = key.place(token)?;
        for (_, slot) in table.bucket(place)?.candidates(place.tag) {
            let held = slot.load();
            let Some(entry) = held.as_ref().filter(|entry| entry.print.is_of(token, key)) else {
                continue;
            };
            if !entry.lifetime.has_begun(now) {
                return None; // it will hold, or the clock was set back
            }
            if entry.lifetime.contains(now)
                && let Some(accepted) = accept(entry)
            {
                entry.mark(now);
                return Some(accepted);
            }
            table.remove(place, |other| Arc::ptr_eq(other, entry));
            return None;
        }
        None
    }

    /// Keeps a token that was accepted under the key set of this generation.
    ///
    /// It is left out if it does not hold `now`, if the table does not admit it, or if another
    /// thread is writing.
    pub(crate) fn put(
        &self,
        token: &[u8],
        now: NumericDate,
        lifetime: Lifetime,
        generation: u64,
        value: V,
        weight: usize,
    ) {
        let Limits { entries, bytes } = self.limits;
        if entries == 0 || weight > bytes || !lifetime.contains(now) {
            return;
        }
        let inner = self.inner.get_or_init(|| Inner::new(self.limits)).as_ref();
        let Some(Inner { key, table }) = inner else {
            return;
        };
        let place = key.place(token);
        let Some(place) = place.filter(|place| table.admits(*place, weight, now)) else {
            return;
        };
        let Some(print) = Print::of(token, key) else {
            return;
        };
        let entry = Arc::new(Entry {
            print,
            lifetime,
            used: AtomicU64::new(0),
            generation: AtomicU64::new(generation),
            weight,
            value,
        });
        table.insert(place, entry, now, |other| other.print == print);
    }

    /// The bytes that a token takes up here without its value: what to add to that of the value
    /// for the `weight` of [`put`](Self::put).
    pub(crate) fn weight() -> usize {
        // Half of a bucket of 64 bytes, two counts, and what the allocator adds.
        size_of::<Entry<V>>().saturating_add(64)
    }
}

impl<V> Inner<V> {
    fn new(limits: Limits) -> Option<Self> {
        Some(Self {
            key: Key::random()?,
            table: Table::new(limits),
        })
    }
}

impl<V> Entry<V> {
    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    /// The latest generation of the key set under which the token was found to be good.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Notes that the token is good under the key set of this generation too.
    pub(crate) fn confirm(&self, generation: u64) {
        // A request may come late with an older set.
        self.generation.fetch_max(generation, Ordering::Relaxed);
    }

    fn is_dead(&self, now: NumericDate) -> bool {
        self.lifetime.until <= now
    }

    fn last_use(&self) -> Option<NumericDate> {
        let used = self.used.load(Ordering::Relaxed);
        (used != 0).then(|| NumericDate(f64::from_bits(used)))
    }

    /// Notes a use. Within a second of one that was noted nothing is written, so that threads can
    /// read on.
    fn mark(&self, now: NumericDate) {
        let is_news = |last: NumericDate| (now.0 - last.0).abs() >= 1.0;
        if self.last_use().is_none_or(is_news) {
            self.used.store(now.0.to_bits(), Ordering::Relaxed);
        }
    }

    /// Takes over the last use of an older entry of the same token.
    fn inherit(&self, old: &Self) {
        let used = old.used.load(Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }
}

/// Counts only.
impl<V> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Books { entries, bytes, .. } = match self.inner.get() {
            Some(Some(inner)) => inner.table.books().unwrap_or_default(),
            _ => Books::default(),
        };
        f.debug_struct("Cache")
            .field("entries", &entries)
            .field("bytes", &bytes)
            .field("limits", &self.limits)
            .finish()
    }
}

/// So many that 21 bits are enough for the bucket of one.
const MOST: usize = 1 << 22;
