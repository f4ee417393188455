//! What is kept of a token in place of its text.

use aws_lc_rs::rand;

/// What is left of a token: enough to tell whether it is this one, and not to send it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    /// Words, and not numbers of 128 bits, which would leave gaps.
    pub(super) signing_input: [u64; 2],
    pub(super) signature: [u64; 2],
    pub(super) lengths: [u32; 2],
}

/// The random key of one cache. It never leaves the process.
pub(super) struct Key {
    /// For [`place`](Self::place): a mask, and an odd factor.
    place: [u64; 2],
    /// For the last sixteen characters of a signing input, and then for each sixteen from the
    /// front.
    texts: Box<[[u64; 2]]>,
    /// For the last sixteen characters of a signature, and then for each sixteen from the front:
    /// two words for the first hash, two for the second.
    blocks: Box<[[u64; 4]]>,
    /// For the four words that the hashes come to: numbers below 2^127, low word and high word.
    fold: [[u64; 2]; 4],
}

/// Where a token is looked for.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// What picks the bucket: any number.
    pub(super) bucket: u64,
    /// What tells the entries of a bucket apart: not 0.
    pub(super) tag: u8,
}

impl Print {
    /// `None` if a part has a length that is not kept.
    pub(super) fn of(token: &[u8], key: &Key) -> Option<Self> {
        let dot = token.iter().rposition(|octet| *octet == b'.')?;
        let (signing_input, [_, signature @ ..]) = token.split_at_checked(dot)? else {
            return None;
        };
        let is_kept =
            signing_input.len() <= LONGEST_TEXT && (SHORTEST..=LONGEST).contains(&signature.len());
        if !is_kept {
            return None;
        }
        Some(Self {
            signing_input: halves(key.sum(signing_input)?),
            signature: halves(key.digest(signature)?),
            lengths: [length(signing_input)?, length(signature)?],
        })
    }

    /// Whether this is the print of the token.
    ///
    /// The token is cut where the other one was. Wherever that is: they are the same token exactly
    /// if both parts are the same.
    pub(super) fn is_of(&self, token: &[u8], key: &Key) -> bool {
        let [signing_length, signature_length] = self.lengths;
        let parts = usize::try_from(signing_length).map(|length| token.split_at_checked(length));
        let Ok(Some((signing_input, [b'.', signature @ ..]))) = parts else {
            return false;
        };
        length(signature) == Some(signature_length)
            && key.digest(signature).map(halves) == Some(self.signature)
            && key.sum(signing_input).map(halves) == Some(self.signing_input)
    }
}

impl Key {
    /// A new key, or none if the system gives no randomness.
    pub(super) fn random() -> Option<Self> {
        Self::filled_by(|words| {
            let mut octets = vec![[0; 8]; words.len()];
            rand::fill(octets.as_flattened_mut()).ok()?;
            for (word, octets) in words.iter_mut().zip(octets) {
                *word = u64::from_le_bytes(octets);
            }
            Some(())
        })
    }

    /// The same key each time, so that a history of the cache is always the same.
    #[cfg(test)]
    pub(super) fn fixed() -> Option<Self> {
        let mut state = 1_u64;
        Self::filled_by(|words| {
            for word in words {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *word = state ^ state >> 32;
            }
            Some(())
        })
    }

    fn filled_by(mut fill: impl FnMut(&mut [u64]) -> Option<()>) -> Option<Self> {
        let mut texts = vec![[0; 2]; LONGEST_TEXT / 16 + 1].into_boxed_slice();
        let mut blocks = vec![[0; 4]; LONGEST / 16 + 1].into_boxed_slice();
        let (mut fold, mut place) = ([[0; 2]; 4], [0; 2]);
        fill(texts.as_flattened_mut())?;
        fill(blocks.as_flattened_mut())?;
        fill(fold.as_flattened_mut())?;
        fill(&mut place)?;
        let [mask, factor] = place;
        Some(Self {
            place: [mask, factor | 1],
            texts,
            blocks,
            fold: fold.map(|[low, high]| [low, high >> 1]),
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

    /// The sum of a signing input of 16 to [`LONGEST_TEXT`] characters.
    ///
    /// For two of the same length it is the same under at most one of 2^64 keys.
    fn sum(&self, text: &[u8]) -> Option<u128> {
        let (blocks, _) = text.as_chunks::<16>();
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

    /// The digest of a signature of [`SHORTEST`] to [`LONGEST`] characters: a number below 2^127.
    ///
    /// For two signatures of the same length it is the same under less than one of 2^125 keys.
    pub(super) fn digest(&self, signature: &[u8]) -> Option<u128> {
        let (blocks, _) = signature.as_chunks::<16>();
        // The last sixteen characters once more, whole, and not a shorter block with padding.
        let last = signature.last_chunk::<16>()?;
        let (last_key, keys) = self.blocks.split_first()?;
        let mut sums = add_block([0; 2], last, last_key);
        for (block, key) in blocks.iter().zip(keys) {
            sums = add_block(sums, block, key);
        }

        let [first, second] = sums;
        let [a, b, c, d] = self.fold;
        let folded = fold(first, [a, b]).wrapping_add(fold(second, [c, d]));
        Some(match carried(folded) {
            PRIME => 0,
            digest => digest,
        })
    }
}

/// Adds sixteen characters to both hashes.
#[inline]
fn add_block([first, second]: [u128; 2], block: &[u8; 16], key: &[u64; 4]) -> [u128; 2] {
    let [a, b, c, d] = *key;
    [
        first.wrapping_add(block_product(block, &[a, b])),
        second.wrapping_add(block_product(block, &[c, d])),
    ]
}

/// What sixteen characters add to a hash, which is NH with words of 64 bits.
#[inline]
fn block_product(block: &[u8; 16], [a, b]: &[u64; 2]) -> u128 {
    let [left, right] = halves(u128::from_le_bytes(*block));
    product(left.wrapping_add(*a), right.wrapping_add(*b))
}

/// `low * a + high * b` modulo 2^127 - 1 for the two words of a number; at most that prime.
///
/// Nothing overflows: with `a` and `b` below 2^127, `upper` is at most 2^128 - 2^64, and what is
/// carried is below 2^127 + 2^66.
fn fold(number: u128, [a, b]: [[u64; 2]; 2]) -> u128 {
    let [low, high] = halves(number);
    let ([a_low, a_high], [b_low, b_high]) = (a, b);
    let [x_low, x_high] = halves(product(low, a_low));
    let [y_low, y_high] = halves(product(high, b_low));
    let lower = u128::from(x_low).wrapping_add(u128::from(y_low));
    let upper = product(low, a_high)
        .wrapping_add(product(high, b_high))
        .wrapping_add(u128::from(x_high))
        .wrapping_add(u128::from(y_high));
    // 2^127 is 1 here, so that `upper`, which counts 2^64, is turned and not shifted.
    let turned = (upper >> 63).wrapping_add((upper << 65) >> 1);
    carried(turned.wrapping_add(lower))
}

/// The same number modulo 2^127 - 1, with one bit less.
fn carried(number: u128) -> u128 {
    (number & PRIME).wrapping_add(number >> 127)
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

/// The length of an HMAC with SHA-256 in base64url.
pub(super) const SHORTEST: usize = 43;
/// The length of an RSA signature of 8192 bits in base64url.
pub(super) const LONGEST: usize = 1366;
/// Characters of header and claims that there are at most: those of the longest token.
pub(super) const LONGEST_TEXT: usize = 16 << 10;
const PRIME: u128 = (1 << 127) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    /// The same hash by the book: every sum and product reduced at once.
    fn by_the_book(key: &Key, signature: &[u8]) -> u128 {
        let mut blocks: Vec<&[u8]> = signature.chunks_exact(16).collect();
        blocks.insert(0, &signature[signature.len() - 16..]);
        let mut words = [0_u64; 4];
        for (which, half) in [[0, 1], [2, 3]].into_iter().enumerate() {
            let mut sum = 0_u128;
            for (block, key) in blocks.iter().zip(&key.blocks) {
                let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().unwrap());
                let (a, b) = (
                    word(0).wrapping_add(key[half[0]]),
                    word(8).wrapping_add(key[half[1]]),
                );
                sum = sum.wrapping_add(u128::from(a) * u128::from(b));
            }
            words[2 * which] = (sum % (1 << 64)).try_into().unwrap();
            words[2 * which + 1] = (sum >> 64).try_into().unwrap();
        }
        let double = |n: u128| (n << 1) % PRIME;
        let add = |a: u128, b: u128| (a + b) % PRIME;
        let mut digest = 0;
        for (word, [low, high]) in words.into_iter().zip(key.fold) {
            let mut multiple = (u128::from(low) | u128::from(high) << 64) % PRIME;
            for bit in 0..64 {
                if word >> bit & 1 == 1 {
                    digest = add(digest, multiple);
                }
                multiple = double(multiple);
            }
        }
        digest
    }

    #[test]
    fn digest_is_what_the_book_says() {
        for length in [SHORTEST, 48, 64, 86, 128, 342, 683, LONGEST] {
            let key = Key::random().unwrap();
            let signature: Vec<u8> = (b'A'..=b'z').cycle().take(length).collect();
            assert_eq!(
                key.digest(&signature),
                Some(by_the_book(&key, &signature)),
                "{length}"
            );
        }
    }

    #[test]
    fn sum_is_what_the_book_says() {
        let key = Key::random().unwrap();
        for length in [16, 31, 32, 47, 48, 49, 1062, LONGEST_TEXT] {
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
    }

    #[test]
    fn digest_of_the_greatest_numbers_does_not_overflow() {
        let mut key = Key::random().unwrap();
        let signature = [0; SHORTEST];
        for (word, fold) in [
            (u64::MAX, [u64::MAX, u64::MAX >> 1]),
            (u64::MAX, [0, 0]),
            (0, [7, 7]),
            (1 << 63, [u64::MAX - 1, u64::MAX >> 1]),
        ] {
            key.blocks.as_flattened_mut().fill(word);
            key.fold = [fold; 4];
            let digest = key.digest(&signature).unwrap();
            assert!(digest < PRIME);
            assert_eq!(digest, by_the_book(&key, &signature));
        }
    }

    #[test]
    fn every_character_of_a_signature_counts() {
        let key = Key::random().unwrap();
        for length in [SHORTEST, 86, 342, LONGEST] {
            let mut signature = vec![b'a'; length];
            let digest = key.digest(&signature);
            for at in 0..length {
                signature[at] = b'b';
                assert_ne!(key.digest(&signature), digest, "{at} of {length}");
                signature[at] = b'a';
            }
            assert_eq!(key.digest(&signature), digest);
        }
    }

    #[test]
    fn every_key_gives_another_digest_and_another_place() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        let signature = [b'a'; SHORTEST];
        assert_ne!(one.digest(&signature), other.digest(&signature));
        let place = |key: &Key| key.place(&signature).unwrap().bucket;
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
}
