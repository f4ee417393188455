//! What is kept of a token in place of its text.

use std::sync::OnceLock;

use aws_lc_rs::{digest, rand};

use crate::sync::Arc;

static KEY: OnceLock<Arc<Key>> = OnceLock::new();

/// What is left of a token: enough to tell whether another text is this token, and not to send it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Of all characters but the last [`TAIL`]. Words, and not a number of 128 bits, which would
    /// leave gaps.
    pub(super) sum: [u64; 2],
    /// Of the last [`TAIL`] characters.
    pub(super) digest: [u64; 2],
    /// Of the whole token.
    pub(super) length: u32,
}

/// The random key of the process. It never leaves it.
pub(super) struct Key {
    /// For [`place`](Self::place): a mask, and an odd factor.
    place: [u64; 2],
    /// For the last characters of a token.
    mask: [u8; TAIL],
    /// For the last sixteen of the other characters, and then for each sixteen from the front.
    texts: Box<[[u64; 2]]>,
}

/// Where a token is looked for.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// What picks the bucket: any number.
    pub(super) bucket: u64,
    /// What tells the entries of a bucket apart: not 0.
    pub(super) tag: u8,
}

impl Fingerprint {
    /// The print of a token that was accepted. `None` if the token is too long or too short, or has
    /// a signature that is too short.
    pub(super) fn of_accepted(token: &[u8], key: &Key) -> Option<Self> {
        let end = token.last_chunk::<SHORTEST>()?;
        (!end.contains(&b'.')).then(|| Self::of(token, key))?
    }

    /// Whether this is the print of the token.
    pub(super) fn is_of(&self, token: &[u8], key: &Key) -> bool {
        length(token) == Some(self.length) && Self::of(token, key).as_ref() == Some(self)
    }

    #[inline]
    fn of(token: &[u8], key: &Key) -> Option<Self> {
        let (text, tail) = token.split_last_chunk()?;
        Some(Self {
            sum: halves(key.sum(text)?),
            digest: key.digest(tail)?,
            length: length(token)?,
        })
    }
}

impl Key {
    /// The key of this process: drawn at the first call. `None` if the system gives no randomness,
    /// and then the next call tries again.
    ///
    /// The first random bytes of a process take the crypto library tens of milliseconds, so no
    /// request should be the one that asks first.
    pub(super) fn of_process() -> Option<Arc<Self>> {
        Self::draw()?;
        KEY.get().cloned()
    }

    /// Draws the key of this process, unless that is done already.
    pub(super) fn draw() -> Option<()> {
        if KEY.get().is_none() {
            // Where two threads draw one at a time, the first one's stays.
            let drawn = Self::random()?;
            KEY.get_or_init(|| Arc::new(drawn));
        }
        Some(())
    }

    fn random() -> Option<Self> {
        Self::filled_by(|octets| rand::fill(octets).ok())
    }

    /// The same key each time, so that a history of the cache is always the same.
    #[cfg(test)]
    pub(super) fn fixed() -> Option<Self> {
        let mut state = 1_u64;
        Self::filled_by(|octets| {
            for octet in octets {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                [.., *octet] = state.to_le_bytes();
            }
            Some(())
        })
    }

    fn filled_by(mut fill: impl FnMut(&mut [u8]) -> Option<()>) -> Option<Self> {
        let mut texts = vec![[[0; 8]; 2]; LONGEST / 16 + 1];
        let (mut mask, mut place) = ([0; TAIL], [[0; 8]; 2]);
        fill(texts.as_flattened_mut().as_flattened_mut())?;
        fill(&mut mask)?;
        fill(place.as_flattened_mut())?;
        let [place_mask, factor] = place.map(u64::from_le_bytes);
        Some(Self {
            place: [place_mask, factor | 1],
            mask,
            texts: texts
                .into_iter()
                .map(|words| words.map(u64::from_le_bytes))
                .collect(),
        })
    }

    /// The place of a token by its last characters, which are as random as any of a signature.
    pub(super) fn place(&self, token: &[u8]) -> Option<Place> {
        let [mask, factor] = self.place;
        let end = u64::from_le_bytes(*token.last_chunk()?);
        let [low, high] = halves(product(end ^ mask, factor));
        // Text is far from random in its octets: once is not enough to spread it.
        let [low, high] = halves(product(low ^ high, factor));
        let bucket = low ^ high;
        let [tag, ..] = bucket.to_le_bytes();
        Some(Place {
            bucket,
            tag: tag.max(1),
        })
    }

    /// The sum of 16 to [`LONGEST`] characters.
    ///
    /// For two texts of the same length it is the same under at most one of 2^64 keys.
    #[inline]
    fn sum(&self, text: &[u8]) -> Option<u128> {
        let (blocks, _) = text.as_chunks::<16>();
        // The last sixteen characters once more, whole, and not a shorter block with padding.
        let last = text.last_chunk::<16>()?;
        let (last_key, keys) = self.texts.split_first()?;
        let keys = keys.get(..blocks.len())?;
        // In twos, as the processor takes them in parallel.
        let (pairs, rest) = blocks.as_chunks::<2>();
        let (pairs_of_keys, rest_of_keys) = keys.as_chunks::<2>();
        let (mut even, mut odd) = (block_product(last, last_key), 0_u128);
        for ([a, b], [a_key, b_key]) in pairs.iter().zip(pairs_of_keys) {
            even = even.wrapping_add(block_product(a, a_key));
            odd = odd.wrapping_add(block_product(b, b_key));
        }
        for (block, key) in rest.iter().zip(rest_of_keys) {
            even = even.wrapping_add(block_product(block, key));
        }
        Some(even.wrapping_add(odd))
    }

    /// 128 bits of SHA-256 of the masked characters.
    #[inline]
    fn digest(&self, tail: &[u8; TAIL]) -> Option<[u64; 2]> {
        let mut masked = self.mask;
        for (octet, character) in masked.iter_mut().zip(tail) {
            *octet ^= character;
        }
        let hash = digest::digest(&digest::SHA256, &masked);
        let (words, _) = hash.as_ref().as_chunks();
        let [first, second, ..] = words else {
            return None;
        };
        Some([*first, *second].map(u64::from_le_bytes))
    }
}

/// What sixteen characters add to a sum, which is NH with words of 64 bits.
#[inline]
fn block_product(block: &[u8; 16], [a, b]: &[u64; 2]) -> u128 {
    let [left, right] = halves(u128::from_le_bytes(*block));
    product(left.wrapping_add(*a), right.wrapping_add(*b))
}

fn product(a: u64, b: u64) -> u128 {
    u128::from(a).wrapping_mul(u128::from(b))
}

fn length(text: &[u8]) -> Option<u32> {
    u32::try_from(text.len()).ok()
}

/// The low word and the high word.
fn halves(number: u128) -> [u64; 2] {
    [number & u128::from(u64::MAX), number >> 64].map(|half| half.try_into().unwrap_or(u64::MAX))
}

/// The last characters, which are hashed one way: as many as one block of SHA-256 takes beside its
/// padding.
pub(super) const TAIL: usize = 55;
/// The length of the shortest signature in base64url: an HMAC with SHA-256.
pub(super) const SHORTEST: usize = 43;
/// Characters before the tail that there are at most: those of the longest token that a layer can
/// be told to take.
pub(super) const LONGEST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_is_what_the_book_says() {
        let key = Key::random().unwrap();
        for length in [16, 31, 32, 47, 48, 49, 1062, LONGEST] {
            let text: Vec<u8> = (b'A'..=b'z').cycle().take(length).collect();
            let blocks = std::iter::once(&text[length - 16..]).chain(text.chunks_exact(16));
            let sum = blocks.zip(&key.texts).fold(0_u128, |sum, (block, [a, b])| {
                let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
                let (left, right) = (word(0).wrapping_add(*a), word(8).wrapping_add(*b));
                sum.wrapping_add(u128::from(left) * u128::from(right))
            });
            assert_eq!(key.sum(&text), Some(sum), "{length}");
        }
        assert_eq!(key.sum(&[b'a'; 15]), None);
        assert_eq!(key.sum(&vec![b'a'; LONGEST + 16]), None);
    }

    /// The vector of FIPS 180-4 for "abc", which takes one block as the tail does, and the tail by
    /// the library that signs tokens.
    #[test]
    fn digest_is_sha_256_of_the_masked_tail() {
        let hash = digest::digest(&digest::SHA256, b"abc");
        assert_eq!(hash.as_ref()[..4], [0xba, 0x78, 0x16, 0xbf]);
        let mut key = Key::random().unwrap();
        let tail: [u8; TAIL] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        key.mask = tail;
        // SHA-256 of 55 zero octets, by `head -c 55 /dev/zero | sha256sum`.
        let expected = ZEROS.map(u64::from_le_bytes);
        assert_eq!(key.digest(&tail), Some(expected));
    }

    /// Nobody who has the sums under a known key can compute the tail from them: that is the
    /// promise about a copy of the memory. Here: a tail that differs in any bit has another digest
    /// under a key of zeros too, which the universal sum has not.
    #[test]
    fn the_tail_is_kept_by_the_hash_and_not_by_the_sum() {
        let zero = |_: &mut [u8]| Some(());
        let key = Key::filled_by(zero).unwrap();
        let print = |token: &[u8]| Fingerprint::of_accepted(token, &key).unwrap();
        let token = [b'a'; 200];
        let known = print(&token);
        for at in 0..token.len() {
            let mut changed = token;
            changed[at] ^= 1;
            let other = print(&changed);
            let is_tail = at >= token.len() - TAIL;
            assert_eq!(other.digest != known.digest, is_tail, "{at}");
            assert_eq!(other.sum != known.sum, !is_tail, "{at}");
        }
    }

    #[test]
    fn the_key_is_drawn_once() {
        let (one, other) = (Key::of_process().unwrap(), Key::of_process().unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert_ne!(one.mask, [0; TAIL]);
        assert_ne!(one.mask, Key::random().unwrap().mask);
    }

    #[test]
    fn every_key_gives_another_digest_and_another_place() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        let tail = [b'a'; TAIL];
        assert_ne!(one.digest(&tail), other.digest(&tail));
        let place = |key: &Key| key.place(&tail).unwrap().bucket;
        assert_ne!(place(&one), place(&other));
        assert!(one.place(b"short").is_none());
    }

    #[test]
    fn places_are_spread_evenly() {
        let key = Key::random().unwrap();
        let mut buckets = [0_u32; 16];
        let mut tags = [0_u32; 256];
        let mut state = 1_u64;
        for _ in 0..32_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let place = key.place(&state.to_be_bytes()).unwrap();
            buckets[usize::try_from(place.bucket >> 60).unwrap()] += 1;
            tags[usize::from(place.tag)] += 1;
        }
        assert!(
            buckets.iter().all(|count| (1_500..2_500).contains(count)),
            "{buckets:?}"
        );
        assert_eq!(tags[0], 0);
    }

    const ZEROS: [[u8; 8]; 2] = [
        [0x02, 0x77, 0x94, 0x66, 0xcd, 0xec, 0x16, 0x38],
        [0x11, 0xd0, 0x78, 0x81, 0x5c, 0x63, 0x3f, 0x21],
    ];
}
