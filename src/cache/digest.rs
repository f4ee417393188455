//! The digest of a token, which an entry stores in place of its text. For the reasons, the
//! security, and the cost compared with a library, see the [module](super).

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::{digest, rand};

use crate::sync::Arc;

static KEY: OnceLock<Arc<Key>> = OnceLock::new();

/// Identifies a token. The token cannot be computed from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// The sum of all characters except the last [`TAIL`]. Two words, because a `u128` would need
    /// padding in the struct.
    pub(super) sum: [u64; 2],
    /// The digest of the last [`TAIL`] characters.
    pub(super) digest: [u64; 2],
    /// The length of the whole token.
    pub(super) length: u32,
}

/// Identifies a text of any form and length, such as an opaque token. The text cannot be computed from
/// it.
///
/// A [`Fingerprint`] contains its sum unprotected, and needs a long text with a random end, such as a
/// signed token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u64; 4]);

/// The random key of the process. It never leaves the process.
pub(super) struct Key {
    /// For [`place`](Self::place): a mask and an odd factor.
    place: [u64; 2],
    /// For the digest.
    mask: [u8; TAIL],
    /// For a [`Digest`]: the mask of what is hashed.
    whole: [u8; TAIL],
    /// For the sum: first the key of the last block, then the keys of the blocks from the front. The second
    /// sum of a [`Digest`] omits the first key.
    texts: Box<[[u64; 2]]>,
}

/// The place of a token in the table.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Selects the bucket. Any number.
    pub(super) bucket: u64,
    /// Distinguishes the entries of a bucket. Never 0.
    pub(super) tag: u8,
}

impl Fingerprint {
    /// The fingerprint of an accepted token. `None` if the token is too long or too short, or if its
    /// signature is too short.
    pub(super) fn of_accepted(token: &[u8], key: &Key) -> Option<Self> {
        let end = token.last_chunk::<SHORTEST>()?;
        (!end.contains(&b'.')).then(|| Self::of(token, key))?
    }

    /// Whether this is the fingerprint of the token.
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

impl Digest {
    /// The digest of a text, under the key of this process. `None` if the system provides no randomness.
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        Key::draw()?;
        KEY.get()?.whole(text)
    }

    pub(super) fn place(&self) -> Place {
        let Self([tag, ..]) = *self;
        let [tag, ..] = tag.to_le_bytes();
        Place {
            bucket: self.number(),
            tag: tag.max(1),
        }
    }

    /// The same as a fingerprint. No token has its length, so it never equals the fingerprint of a
    /// signed token.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let Self([a, b, c, d]) = *self;
        Fingerprint {
            sum: [a, b],
            digest: [c, d],
            length: u32::MAX,
        }
    }

    /// A number for the place in a table. It is uniformly distributed.
    pub(crate) fn number(&self) -> u64 {
        let Self([.., number]) = *self;
        number
    }
}

/// Does not print the digest.
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest")
    }
}

impl Key {
    /// The key of this process, which the first call draws. `None` if the system provides no
    /// randomness. In this case the next call tries again.
    ///
    /// The crypto library needs tens of milliseconds for the first random bytes of a process, so the
    /// first call should not be made by a request.
    pub(super) fn of_process() -> Option<Arc<Self>> {
        Self::draw()?;
        KEY.get().cloned()
    }

    /// Draws the key of this process, unless it was already drawn.
    pub(super) fn draw() -> Option<()> {
        if KEY.get().is_none() {
            // If two threads draw a key at the same time, the first key stays.
            let drawn = Self::random()?;
            KEY.get_or_init(|| Arc::new(drawn));
        }
        Some(())
    }

    fn random() -> Option<Self> {
        Self::filled_by(|bytes| rand::fill(bytes).ok())
    }

    /// A fixed key, so that tests of the cache are deterministic.
    #[cfg(test)]
    pub(super) fn fixed() -> Option<Self> {
        let mut state = 1_u64;
        Self::filled_by(|bytes| {
            for byte in bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                [.., *byte] = state.to_le_bytes();
            }
            Some(())
        })
    }

    fn filled_by(mut fill: impl FnMut(&mut [u8]) -> Option<()>) -> Option<Self> {
        let mut texts = vec![[[0; 8]; 2]; BLOCKS + 1];
        let (mut mask, mut place, mut whole) = ([0; TAIL], [[0; 8]; 2], [0; TAIL]);
        fill(texts.as_flattened_mut().as_flattened_mut())?;
        fill(&mut mask)?;
        fill(place.as_flattened_mut())?;
        fill(&mut whole)?;
        let [place_mask, factor] = place.map(u64::from_le_bytes);
        Some(Self {
            place: [place_mask, factor | 1],
            mask,
            whole,
            texts: texts
                .into_iter()
                .map(|words| words.map(u64::from_le_bytes))
                .collect(),
        })
    }

    /// The place of a token, from its last eight characters. They belong to the signature, so they are
    /// random.
    pub(super) fn place(&self, token: &[u8]) -> Option<Place> {
        let [mask, factor] = self.place;
        let end = u64::from_le_bytes(*token.last_chunk()?);
        let [low, high] = halves(product(end ^ mask, factor));
        // The bytes of base64url are not uniform, so one multiplication does not spread them enough.
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
    /// Two different texts of the same length have the same sum under at most one of 2^64 keys.
    #[inline]
    fn sum(&self, text: &[u8]) -> Option<u128> {
        let (blocks, _) = text.as_chunks::<16>();
        // The last sixteen characters are one more block, in place of a shorter block with padding.
        let last = text.last_chunk::<16>()?;
        let (last_key, keys) = self.texts.get(..BLOCKS)?.split_first()?;
        let keys = keys.get(..blocks.len())?;
        // Two sums, so that the processor can compute them in parallel.
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
        for (byte, character) in masked.iter_mut().zip(tail) {
            *byte ^= character;
        }
        let hash = digest::digest(&digest::SHA256, &masked);
        let [first, second, ..] = words(hash.as_ref())?;
        Some([first, second])
    }

    /// SHA-256 of one masked block, which takes longer than the rest of a look-up. A text of up to 54
    /// characters is in the block unchanged. For a longer text, the block has two sums and the
    /// length.
    fn whole(&self, text: &[u8]) -> Option<Digest> {
        let mut block = self.whole;
        let (end, masked) = block.split_last_mut()?;
        let mix = |place: &mut [u8], bytes: &[u8]| {
            for (place, byte) in place.iter_mut().zip(bytes) {
                *place ^= byte;
            }
        };
        if text.len() <= masked.len() {
            mix(masked, text);
            *end ^= u8::try_from(text.len()).ok()?;
        } else {
            let sums = self.sums(text)?.map(u128::to_le_bytes);
            let (of_sums, rest) = masked.split_at_mut_checked(sums.as_flattened().len())?;
            mix(of_sums, sums.as_flattened());
            mix(rest, &length(text)?.to_le_bytes());
            *end ^= LONG;
        }
        words(digest::digest(&digest::SHA256, &block).as_ref()).map(Digest)
    }

    /// The sum, and the sum under keys that are shifted by one block, in one pass.
    ///
    /// Two different texts of the same length have both sums the same under at most one of 2^128 keys.
    #[inline]
    fn sums(&self, text: &[u8]) -> Option<[u128; 2]> {
        let (blocks, _) = text.as_chunks::<16>();
        let last = text.last_chunk::<16>()?;
        let (of_last, keys) = self.texts.split_first()?;
        let (first, shifted) = keys.split_first()?;
        let shifted = shifted.get(..blocks.len())?;
        let mut sum = block_product(last, of_last);
        let mut other = block_product(last, first);
        // The second key of a block is the first key of the next one, so it is read once.
        let mut key = first;
        for (block, next) in blocks.iter().zip(shifted) {
            sum = sum.wrapping_add(block_product(block, key));
            other = other.wrapping_add(block_product(block, next));
            key = next;
        }
        Some([sum, other])
    }
}

/// The first four words of a hash.
fn words(hash: &[u8]) -> Option<[u64; 4]> {
    let (words, _) = hash.as_chunks();
    let [a, b, c, d, ..] = words else {
        return None;
    };
    Some([*a, *b, *c, *d].map(u64::from_le_bytes))
}

/// The summand of one block: NH with words of 64 bits.
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

/// The low word and the high word of a number.
fn halves(number: u128) -> [u64; 2] {
    [number & u128::from(u64::MAX), number >> 64].map(|half| half.try_into().unwrap_or(u64::MAX))
}

/// Stands for the length of a text whose sums are hashed. No shorter text has it.
const LONG: u8 = u8::MAX;
/// The number of characters at the end that the digest covers: one block of SHA-256 without its
/// padding.
pub(super) const TAIL: usize = 55;
/// The minimum length of a signature in base64url: HMAC with SHA-256.
pub(super) const SHORTEST: usize = 43;
/// The maximum number of characters before the tail. It covers the longest token that a layer can be
/// configured to accept.
pub(super) const LONGEST: usize = 64 << 10;
/// The number of blocks of the longest text, and one for its last sixteen characters.
const BLOCKS: usize = LONGEST / 16 + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_nh_as_published() {
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

    /// The vector of FIPS 180-4 for "abc", and a masked tail of zeros.
    #[test]
    fn digest_is_sha_256_of_the_masked_tail() {
        let hash = digest::digest(&digest::SHA256, b"abc");
        assert_eq!(hash.as_ref()[..4], [0xba, 0x78, 0x16, 0xbf]);
        let mut key = Key::random().unwrap();
        let tail: [u8; TAIL] = std::array::from_fn(|at| u8::try_from(at).unwrap());
        key.mask = tail;
        // SHA-256 of 55 zero bytes, by `head -c 55 /dev/zero | sha256sum`.
        let expected = ZEROS.map(u64::from_le_bytes);
        assert_eq!(key.digest(&tail), Some(expected));
    }

    /// The security of a copy of the memory depends on this: the tail changes only the digest, which is
    /// one-way, and never the sum, which is not.
    #[test]
    fn the_tail_is_kept_by_the_hash_and_not_by_the_sum() {
        let zero = |_: &mut [u8]| Some(());
        let key = Key::filled_by(zero).unwrap();
        let fingerprint = |token: &[u8]| Fingerprint::of_accepted(token, &key).unwrap();
        let token = [b'a'; 200];
        let known = fingerprint(&token);
        for at in 0..token.len() {
            let mut changed = token;
            changed[at] ^= 1;
            let other = fingerprint(&changed);
            let is_tail = at >= token.len() - TAIL;
            assert_eq!(other.digest != known.digest, is_tail, "{at}");
            assert_eq!(other.sum != known.sum, !is_tail, "{at}");
        }
    }

    #[test]
    fn a_digest_is_of_every_character_and_of_the_length() {
        let key = Key::random().unwrap();
        let of = |text: &[u8]| key.whole(text).unwrap();
        for length in [0, 1, TAIL - 2, TAIL - 1, TAIL, 64, 5_000, LONGEST] {
            let text = vec![b'a'; length];
            assert_eq!(of(&text), of(&text), "{length}");
            for more in [b"a", b"\0"] {
                let longer = [&text[..], more].concat();
                assert_ne!(Some(of(&text)), key.whole(&longer), "{length}");
            }
            assert_ne!(of(&text), Key::random().unwrap().whole(&text).unwrap());
            for at in [0, length / 2, length.saturating_sub(1)] {
                let mut changed = text.clone();
                if let Some(byte) = changed.get_mut(at) {
                    *byte ^= 1;
                    assert_ne!(of(&text), of(&changed), "{length} {at}");
                }
            }
        }
        // The mask of no text is the mask itself.
        let hash = |text: &[u8]| digest::digest(&digest::SHA256, text);
        assert_eq!(Some(of(b"").0), words(hash(&key.whole).as_ref()));
        let mut masked = key.whole.map(|byte| byte ^ b'b');
        masked[TAIL - 1] = key.whole[TAIL - 1] ^ 54;
        assert_eq!(Some(of(&[b'b'; TAIL - 1]).0), words(hash(&masked).as_ref()));
    }

    /// The security of a copy of the memory depends on this: for a long text too, only a 256-bit hash is
    /// kept, which depends on every character.
    #[test]
    fn a_digest_of_a_long_text_is_sha_256_of_two_sums_under_different_keys() {
        let key = Key::random().unwrap();
        let mut reversed = [b'a'; 200];
        reversed[0] = b'b';
        // The second sum is the sum under a different key.
        let mut shifted = Key::random().unwrap();
        shifted.texts = [&key.texts[1..], &[[0; 2]]].concat().into();
        for text in [[b'a'; 200], reversed] {
            let sums = [key.sum(&text).unwrap(), shifted.sum(&text).unwrap()];
            assert_ne!(sums[0], sums[1]);
            assert_eq!(key.sums(&text), Some(sums));
            let mut block = key.whole;
            let known = sums.map(u128::to_le_bytes).concat();
            let known = known.into_iter().chain(200_u32.to_le_bytes());
            block
                .iter_mut()
                .zip(known)
                .for_each(|(at, byte)| *at ^= byte);
            block[TAIL - 1] ^= LONG;
            let hash = digest::digest(&digest::SHA256, &block);
            assert_eq!(key.whole(&text).map(|it| it.0), words(hash.as_ref()));
        }
        assert!(key.whole(&vec![b'a'; LONGEST]).is_some());
        assert_eq!(key.whole(&vec![b'a'; LONGEST + 16]), None);
    }

    #[test]
    fn a_digest_is_the_fingerprint_of_no_signed_token() {
        let key = Key::random().unwrap();
        let token = [b'a'; 200];
        let digest = key.whole(&token).unwrap();
        assert!(!digest.fingerprint().is_of(&token, &key));
        assert_ne!(
            Fingerprint::of_accepted(&token, &key).map(|of| of.length),
            Some(u32::MAX)
        );
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
