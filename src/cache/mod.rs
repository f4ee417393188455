//! Cache of accepted tokens, so that the signature of a token is verified once.
//!
//! An entry is found only by the whole token. Rejected tokens are never stored. Each verifier has its
//! own cache, because a verdict holds only for the policy that made it.
//!
//! # What an entry stores of a token
//!
//! An entry contains the claims, which the handlers need, but not the text of the token. In particular
//! it does not contain the signature, so an entry cannot be sent as a token. In place of the text
//! there are three numbers: the length of the token, a *sum* of 128 bits over all characters but the
//! last 55, and a *digest* of 128 bits of the last 55 characters. The last eight characters select the
//! bucket and the tag under which the entry is stored. Each bucket also stores the tag (8 bits) of the
//! last token that got no place in it.
//!
//! - *The digest* is the first half of SHA-256 of the last 55 characters, each masked with a random
//!   byte. One block of SHA-256 can hold 55 characters. With HS256, they are the signature (43
//!   characters, 256 bits) and the last twelve characters before it. With every other algorithm,
//!   they are 330 bits of the signature.
//! - *The sum* is NH with words of 64 bits, a keyed universal hash. Two different texts of the same
//!   length have the same sum under at most one of 2^64 keys (Black, Halevi, Krawczyk, Krovetz, Rogaway:
//!   *UMAC: Fast and Secure Message Authentication*, CRYPTO '99). A text is split into blocks of sixteen
//!   characters, and its last sixteen characters are an additional block, so different texts of the same
//!   length have different blocks. The sum is not one-way: from the key and the value anyone can compute
//!   texts with this sum.
//!
//! Mask, sum and place have random keys. The keys are drawn once for each process, before the first
//! request, and never leave it.
//!
//! # Security
//!
//! - *A client that knows header and claims of a cached token, but not its signature*, can only guess
//!   signatures. Each guess succeeds with a probability of 2^-128, whatever was guessed before, because
//!   a rejection reveals only that this guess was wrong. A wrong guess is verified like any unknown
//!   token, and rejected.
//! - *A client that has the token* and changes characters before the last 55 is detected, except with
//!   a probability of 2^-64. It would gain nothing: a hit returns the claims that were verified.
//! - *Time*: the numbers are compared all at once. The time of a look-up may show which bucket and
//!   which tag a token has. Both depend only on the last eight characters and on a separate key, so the
//!   time reveals nothing about the other keys.
//! - *A copy of a part of the memory*, with entries but without keys, or with keys but without entries,
//!   contains no usable token. Without the keys, an attacker cannot even test a guess against an entry.
//! - *A copy of the memory with entries and keys*: a text passes for a cached token only if its last 55
//!   characters have the digest of the entry. The sum is no obstacle to this attacker, and reveals 128
//!   bits about the characters before them. The place reveals at most 29 bits of the last eight
//!   characters. The best known way to find 55 characters with a given digest is trial: 2^128 attempts
//!   for one entry, and 2^106 attempts for any entry of the largest cache. Guessing the signature itself
//!   is harder, because at least 227 bits of it stay unknown. The sum does not help: for ECDSA and EdDSA
//!   the last 55 characters contain the whole second half of the signature, and computing it from the
//!   first half is the discrete logarithm problem. For an RSA signature of 2048 bits, 1 590 bits in
//!   front of the last 55 characters stay unknown as well.
//!
//! # Opaque tokens
//!
//! A token that is not a JWT can be short, and the position of its random part is unknown, so no sum of it is
//! stored. Its entry contains the SHA-256 hash of one block, which is masked with a random key. The hash also
//! selects the place. For a text of up to 54 characters, the block is the text. For a longer text, the block
//! has two sums of 128 bits over all characters, and the length. The keys of the second sum are those of the
//! first, shifted by one block (Toeplitz, as in UMAC), so two different texts of the same length have the
//! same sums under at most one of 2^128 keys. A sum is not one-way, but only its hash is stored. An attacker
//! with a copy of entries and keys can test guesses of the token, and no better attack is known. Such a token
//! is therefore as secure as it is random, up to 256 bits.
//!
//! This section is about what stays in memory. While a request runs, the process holds its token, and
//! freed memory is not cleared. Whoever can read all memory finds the claims, and with HMAC the secret.
//!
//! # Alternatives
//!
//! - *The text of header and claims*, which is not secret: comparing it is faster for one token that is
//!   used all the time, but slower for a thousand tokens in turn, whose texts do not fit into the caches
//!   of the processor. An entry would also take two thirds more memory.
//! - *SHA-256 of the whole token*: 4 times the time of sum and digest for a token of 300 characters, and
//!   14 times for one of 1 400.
//! - *POLYVAL of the crate `polyval` as the sum*: 1.3 times the time of sum and digest for a token of 300
//!   characters, 1.6 times for 1 400 and 2.2 times for 4 000. The sum alone takes 3 to 5 times as long.
//!
//! # Admission and eviction
//!
//! A bucket has seven places. While the cache has room, an accepted token gets a free place at once. At
//! any time it may replace an entry that has expired. Otherwise it is stored only when it comes for the
//! second time. The first time, the bucket notes its tag, in the one byte that it has for this purpose,
//! until the next token is not admitted there. A stream of tokens that are used once therefore replaces
//! no entries, and costs little more than without a cache.
//!
//! A token that comes again replaces an entry that was never used, chosen at random, or otherwise the
//! least recently used entry. An entry that was used within the last minute is never evicted before it
//! expires. If there is no other entry, the new token is not stored. So a flood of tokens that are used
//! once does not evict the tokens in use, and forged tokens are never stored. A client with thousands of
//! valid tokens that uses each of them repeatedly can fill the cache until they reach their time limit.
//! Until then, other tokens are verified for each request.
//!
//! # Expiry
//!
//! An entry is not used after its end. It is removed when its token is looked up, when another token
//! needs its place, or by a sweep. A sweep examines the next few buckets. A request whose token is not
//! found, or was not used within the last second, performs a sweep, at most once per second. A table of
//! up to 16 384 buckets, which is a cache of 32 768 tokens, is swept completely by 64 sweeps. A larger
//! table takes one sweep for every 256 buckets. So with at least one request per second, the claims of
//! an expired entry are freed within about a minute. Without requests, nothing is freed.
//!
//! # Memory
//!
//! The size of an entry includes the memory that its claims may need later, when scopes or roles are
//! read. Own claims are added when they are deserialized: the size of the type and of the JSON text that
//! was read. If there is no room for them, they are not kept, and are deserialized again for each
//! request. The table itself is not included.
//!
//! # Threads
//!
//! A look-up takes no lock. It writes nothing that other look-ups read, except the time of the last use,
//! once per second for each token. Only one thread at a time changes the table. If another thread is
//! changing it, a new token is not stored, and an expired entry is not removed, until a later request.

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
pub(crate) use digest::Digest;
use digest::{Fingerprint, Key, Place};
pub use settings::TokenCache;
use table::Table;

/// Cache of accepted tokens, each with a value.
pub(crate) struct Cache<V> {
    limits: Limits,
    /// Created by [`prepare`](Self::prepare), or for the first token.
    inner: OnceLock<Inner<V>>,
}

struct Inner<V> {
    key: Arc<Key>,
    table: Table<V>,
}

/// The limits of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Maximum number of tokens. 0 turns the cache off. Limited to 4 194 304.
    pub(crate) entries: usize,
    /// Maximum sum of the sizes of the entries, in bytes.
    pub(crate) bytes: usize,
}

/// The period in which a verdict holds, excluding `until`.
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

/// A cached token.
pub(crate) struct Entry<V> {
    fingerprint: Fingerprint,
    lifetime: Lifetime,
    /// The time of the last use, to within a second, as the bits of an `f64`. 0 if it was never used.
    used: AtomicU64,
    generation: AtomicU64,
    /// The size in bytes, without the growth of the value.
    weight: usize,
    value: V,
}

impl<V: Grow> Cache<V> {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                entries: limits.entries.min(MAX_ENTRIES),
                ..limits
            },
            inner: OnceLock::new(),
        }
    }

    /// Draws the key and creates the table, unless that was already done, so that no request has to
    /// wait for it. `None` if the cache is off, or the system provides no randomness.
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

    /// Looks up a token, and returns the result of `accept` for its entry. `None` if there is no entry
    /// that is valid `now`.
    ///
    /// If `accept` returns `None`, the verdict no longer holds, for example because its key was
    /// removed. In this case the entry is removed.
    pub(crate) fn get<R>(
        &self,
        token: &[u8],
        now: NumericDate,
        accept: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        let Inner { key, table } = self.inner.get()?;
        let is_it = |fingerprint: &Fingerprint| fingerprint.is_of(token, key);
        Self::look_up(table, key.place(token)?, is_it, now, accept)
    }

    /// The same for a token that was stored under its digest.
    pub(crate) fn get_digest<R>(
        &self,
        digest: &Digest,
        now: NumericDate,
        accept: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        let Inner { table, .. } = self.inner.get()?;
        let sought = digest.fingerprint();
        Self::look_up(table, digest.place(), |found| *found == sought, now, accept)
    }

    #[inline]
    fn look_up<R>(
        table: &Table<V>,
        place: Place,
        is_it: impl Fn(&Fingerprint) -> bool,
        now: NumericDate,
        accept: impl FnOnce(&Entry<V>) -> Option<R>,
    ) -> Option<R> {
        for (_, slot) in table.bucket(place)?.candidates(place.tag) {
            let held = slot.load();
            let Some(entry) = held.as_ref().filter(|entry| is_it(&entry.fingerprint)) else {
                continue;
            };
            if !entry.lifetime.has_begun(now) {
                // Kept: it will be valid later, or the clock was set back.
                return None;
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

    /// Stores a token that was accepted under the key set of this generation. `weight` is the size of
    /// the value in bytes, without its growth.
    ///
    /// The token is not stored if it is not valid `now`, if the table does not admit it, or if another
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
        let place = |key: &Key| key.place(token);
        let fingerprint = |key: &Key| Fingerprint::of_accepted(token, key);
        self.store(place, fingerprint, now, lifetime, generation, value, weight);
    }

    /// The same for a token that is stored under its digest. It does not depend on a key set.
    pub(crate) fn put_digest(
        &self,
        digest: &Digest,
        now: NumericDate,
        lifetime: Lifetime,
        value: V,
        weight: usize,
    ) {
        let place = |_: &Key| Some(digest.place());
        let fingerprint = |_: &Key| Some(digest.fingerprint());
        self.store(place, fingerprint, now, lifetime, 0, value, weight);
    }

    /// Removes the token that was stored under this digest, unless another thread is writing.
    pub(crate) fn remove_digest(&self, digest: &Digest) {
        if let Some(Inner { table, .. }) = self.inner.get() {
            let sought = digest.fingerprint();
            table.remove(digest.place(), |found| found.fingerprint == sought);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the two forms of `put` share it")]
    fn store(
        &self,
        place: impl FnOnce(&Key) -> Option<Place>,
        fingerprint: impl FnOnce(&Key) -> Option<Fingerprint>,
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
        let place = place(key).filter(|place| table.admits(*place, held, now));
        let Some(place) = place else {
            return;
        };
        let Some(fingerprint) = fingerprint(key) else {
            return;
        };
        let entry = Arc::new(Entry {
            fingerprint,
            lifetime,
            used: AtomicU64::new(0),
            generation: AtomicU64::new(generation),
            weight,
            value,
        });
        table.insert(place, entry, now, |other| other.fingerprint == fingerprint);
    }

    /// The size in bytes of an entry without its value. The `weight` of [`put`](Self::put) is the sum of
    /// this and the size of the value.
    pub(crate) fn weight() -> usize {
        // Half a bucket of 64 bytes, the two reference counts, and the overhead of the allocator.
        size_of::<Entry<V>>().saturating_add(64)
    }
}

impl<V: Grow> Entry<V> {
    /// The current size in bytes, with the growth of the value.
    fn held(&self) -> usize {
        let grown = self.value.growth().map_or(0, Growth::bytes);
        self.weight.saturating_add(grown)
    }
}

impl<V> Entry<V> {
    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    /// The time from which the entry is no longer used.
    pub(crate) fn until(&self) -> NumericDate {
        self.lifetime.until
    }

    /// The latest generation of the key set under which the token was accepted.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Records that the token is also accepted under the key set of this generation.
    pub(crate) fn confirm(&self, generation: u64) {
        // A slow request may still have an older set.
        self.generation.fetch_max(generation, Ordering::Relaxed);
    }

    fn is_dead(&self, now: NumericDate) -> bool {
        self.lifetime.until <= now
    }

    fn last_use(&self) -> Option<NumericDate> {
        let used = self.used.load(Ordering::Relaxed);
        (used != 0).then(|| NumericDate(f64::from_bits(used)))
    }

    /// Records a use, and returns whether it did. Nothing is written within a second of the last
    /// recorded use, so that the cache line stays shared between threads.
    fn mark(&self, now: NumericDate) -> bool {
        let is_long_ago = |last: NumericDate| (now.0 - last.0).abs() >= 1.0;
        let is_news = self.last_use().is_none_or(is_long_ago);
        if is_news {
            self.used.store(now.0.to_bits(), Ordering::Relaxed);
        }
        is_news
    }

    /// Copies the last use from an older entry of the same token.
    fn inherit(&self, old: &Self) {
        let used = old.used.load(Ordering::Relaxed);
        self.used.store(used, Ordering::Relaxed);
    }
}

/// Prints counts and limits, and nothing about tokens.
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

/// The maximum number of entries. 21 bits are enough for the index of a bucket.
const MAX_ENTRIES: usize = 1 << 22;
