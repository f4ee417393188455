//! Tokens that were accepted a moment ago, so that they need not be verified again.
//!
//! An entry is found only by the whole token. Tokens that were refused never get in. There is one
//! cache for each policy, so that no verdict is another policy's.
//!
//! # What is kept of a token
//!
//! The claims are kept for the handlers. The signature makes them a usable token, and it is not
//! kept, nor is any other text of the token. An entry has three numbers in place of the text: the
//! length, a *sum* of 128 bits over all characters but the last 55, and a *digest* of 128 bits of
//! these last 55. Its place in the table comes from the last eight characters. Of a token that is
//! turned away its tag, 8 bits, is left for a while in the bucket in which it was looked for.
//!
//! - *The digest* is the first half of SHA-256 of the last 55 characters, each one masked with a
//!   random byte. These are all characters that one block of SHA-256 takes. In a token with HS256 they
//!   are the signature (43 characters, 256 bits) and the last twelve characters before it; with every
//!   other algorithm they are 330 bits of the signature.
//! - *The sum* is NH with words of 64 bits, which is a keyed universal hash. It gives two different
//!   texts of the same length the same sum under at most one of 2^64 keys (Black, Halevi, Krawczyk,
//!   Krovetz, Rogaway: *UMAC: Fast and Secure Message Authentication*, CRYPTO '99). Texts of one
//!   length are cut into blocks alike, the last sixteen characters being a block once more, so that
//!   different texts stay different. It is not one-way: whoever has its key and its value computes
//!   texts that fit.
//!
//! Mask, sum and place have random keys. They are drawn once for each process, before its first
//! request, and never leave it.
//!
//! What that is worth:
//!
//! - *A client that knows header and claims of a cached token, and not its signature*, can do nothing
//!   but try signatures. Each try passes with a chance of 2^-128, whatever was tried before: a
//!   rejection says no more than that it was not this one. A text that does not pass is verified like
//!   any unknown token, and rejected.
//! - *A client that has the token* and changes characters before the last 55 is found out with a
//!   chance of 2^-64 that it is not. It gains nothing by it: a hit gives the claims that were verified.
//! - *Time*: the numbers are compared at once. Which bucket a token belongs to, and under which tag,
//!   may show in the time of a look-up. Both come from the last eight characters under a key of their
//!   own, so nothing about the other keys shows.
//! - *A copy of a part of the memory*, with entries and without the keys, or with the keys and
//!   without entries: no usable token can be had from it. Without the keys no guess at a token can
//!   even be tested against an entry.
//! - *A copy of the memory with entries and keys*: a text passes for a cached token only if its last
//!   55 characters have the digest of the entry. The sum is no obstacle then, and tells 128 bits of
//!   what stands before them; the place tells 29 bits at most of the last eight characters. To find
//!   55 characters with a given digest, nothing better is known than to try: 2^128 times for one
//!   entry, and 2^106 for any one of the largest cache. To guess the signature itself is harder: 227
//!   bits or more of it stay unknown. What the sum tells does not help: for ECDSA and EdDSA the tail has the
//!   whole second half of the signature, and to compute it from the first is the discrete
//!   logarithm; of an RSA signature of 2048 bits 1 590 bits before the tail stay unknown as well.
//!
//! This is about what stays. While a request runs, the process holds its token, and memory that was
//! given back is not cleared. Whoever reads all memory finds the claims, and with HMAC the secret.
//!
//! Why not the text of header and claims, which is no secret: to compare it is faster for one token
//! that is asked for all the time, and slower for a thousand in turn, whose texts do not fit into
//! the caches of the processor. The memory for a token would be two thirds more.
//!
//! Why not SHA-256 of all: for the 342 characters of an RSA signature of 2048 bits it takes six
//! times as long, for a token of 1.4 kB more than twenty times.
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
//! that of the one that was not asked for for the longest time. An entry that was asked for
//! again, and within the last minute, is never given up before its end: then the new token is not
//! kept. So a flood of tokens that are
//! used once does not drive out those in use, and forged ones are never put in. Who has thousands of
//! good tokens, and uses each of them again, can fill the cache until they reach their time limit;
//! others are verified each time then.
//!
//! # When a place is given back
//!
//! An entry counts no more from its end on. It is removed when its token is looked up, when another
//! token needs its place, and else by a sweep. A request looks some buckets through, the next ones
//! each time, if its token is not found or was not asked for within the last second; and one request in
//! a second does so at most. 64 sweeps go through a table of up to 16 384 buckets, which is a cache of
//! 32 768 tokens; a larger one takes one sweep for each 256 buckets. So as long as a request comes every
//! second, the claims of a dead entry are freed within a minute or so. Nothing is freed while no request
//! comes.
//!
//! # Bytes
//!
//! An entry counts with what it takes up, and with what its claims may come to take up once somebody
//! asks for scopes or roles. Own claims of a type are counted when they are read: by the size of the
//! type and the JSON text that it asked for. Where there is no room for them, they are not kept, and read
//! again for each request. The table itself does not count.
//!
//! # Threads
//!
//! A look-up takes no lock and writes nothing that another one reads, but for a mark once in a
//! second for each token. One thread at a time changes the table; who finds another one at it leaves
//! the token out, or the dead entry in, until the next request.

mod budget;
mod digest;
mod settings;
mod table;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::OnceLock;

use crate::clock::NumericDate;
use crate::sync::{Arc, AtomicU64, Ordering};
pub(crate) use budget::{Grow, Growth};
use digest::{Fingerprint, Key};
pub use settings::TokenCache;
use table::Table;

/// Accepted tokens, each with a value.
pub(crate) struct Cache<V> {
    limits: Limits,
    /// See [`prepare`](Self::prepare).
    inner: OnceLock<Inner<V>>,
}

struct Inner<V> {
    key: Arc<Key>,
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
    print: Fingerprint,
    lifetime: Lifetime,
    /// The time of the last use, to the second, as the bits of a number; 0 if there was none.
    used: AtomicU64,
    generation: AtomicU64,
    /// Bytes, without what the value counts itself.
    weight: usize,
    value: V,
}

impl<V: Grow> Cache<V> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                entries: limits.entries.min(MOST),
                ..limits
            },
            inner: OnceLock::new(),
        }
    }

    /// Draws the key and makes the table, unless that is done already: what no request should wait
    /// for. `None` if the cache is off, or the system gives no randomness.
    pub(crate) fn prepare(&self) -> Option<()> {
        self.inner().map(|_| ())
    }

    fn inner(&self) -> Option<&Inner<V>> {
        if self.inner.get().is_none() && self.limits.entries > 0 {
            let key = Key::of_process()?;
            self.inner.get_or_init(|| Inner {
                key,
                table: Table::new(self.limits),
            });
        }
        self.inner.get()
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
        let Inner { key, table } = self.inner.get()?;
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
                if entry.mark(now) {
                    table.sweep(now);
                }
                return Some(accepted);
            }
            table.remove(place, |other| Arc::ptr_eq(other, entry));
            return None;
        }
        table.sweep(now);
        None
    }

    /// Keeps a token that was accepted under the key set of this generation. The value takes up
    /// `weight` bytes, and those that it counts itself.
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
        let grown = value.growth().map_or(0, Growth::bytes);
        let held = weight.saturating_add(grown);
        if entries == 0 || held > bytes || !lifetime.contains(now) {
            return;
        }
        let Some(Inner { key, table }) = self.inner() else {
            return;
        };
        let place = key.place(token);
        let Some(place) = place.filter(|place| table.admits(*place, held, now)) else {
            return;
        };
        let Some(print) = Fingerprint::of_accepted(token, key) else {
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

impl<V: Grow> Entry<V> {
    /// The bytes that it takes up now.
    fn held(&self) -> usize {
        let grown = self.value.growth().map_or(0, Growth::bytes);
        self.weight.saturating_add(grown)
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

    /// Notes a use, and says whether it did: within a second of one that was noted nothing is
    /// written, so that threads can read on.
    fn mark(&self, now: NumericDate) -> bool {
        let is_long_ago = |last: NumericDate| (now.0 - last.0).abs() >= 1.0;
        let is_news = self.last_use().is_none_or(is_long_ago);
        if is_news {
            self.used.store(now.0.to_bits(), Ordering::Relaxed);
        }
        is_news
    }

    /// Takes over the last use of an older entry of the same token.
    fn inherit(&self, old: &Self) {
        let used = old.used.load(Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }
}

/// Counts only.
impl<V: Grow> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.get();
        let held = inner.and_then(|inner| inner.table.held());
        let (entries, bytes) = held.unwrap_or_default();
        f.debug_struct("Cache")
            .field("entries", &entries)
            .field("bytes", &bytes)
            .field("limits", &self.limits)
            .finish()
    }
}

/// So many that 21 bits are enough for the bucket of one.
const MOST: usize = 1 << 22;
