//! Checks whether a secret looks as if a random generator had made it (RFC 8725, section 3.5).
//!
//! The method is compression. This file defines a code for texts that people make up: letters follow each
//! other as in English, words begin at a separator or a capital letter, and a part that occurred before,
//! or that is in a list of usual words and rows, is a copy. A chosen text is shorter in this code than in
//! a code that gives every character the same length. A random text is shorter by `k` bits with a
//! probability of at most `2^-k`, whatever the code is, so no tuning against false alarms is needed.

use base64_simd::{Base64, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, Zeroizing};

use crate::error::config::KeyError;

/// Rejects secrets that do not look random, and well-known examples.
pub(super) fn check(secret: &[u8]) -> Result<(), KeyError> {
    if is_text_of_a_key(secret) {
        return Err(KeyError::Weak {
            reason: "it is the text of a PEM or JWK, which is a key by itself and may be public",
        });
    }
    if is_well_known(secret) {
        return Err(KeyError::Weak {
            reason: "it is a well-known example: make one with `openssl rand -base64 48`",
        });
    }
    if has_few_bytes(secret) || has_period(secret) || is_chosen_text(secret) {
        return Err(KeyError::Weak {
            reason: "it does not look random: make one with `openssl rand -base64 48`",
        });
    }
    Ok(())
}

/// Whether a secret is the text of a PEM or a JWK. If the text of a public key is used as a secret,
/// anyone can sign tokens with it (RFC 8725, section 2.1).
fn is_text_of_a_key(secret: &[u8]) -> bool {
    let contains = |text: &[u8]| secret.windows(text.len()).any(|window| window == text);
    contains(b"-----BEGIN ") || contains(b"\"kty\"")
}

/// Whether a secret is one of [`WELL_KNOWN`], as text or decoded.
fn is_well_known(secret: &[u8]) -> bool {
    WELL_KNOWN.iter().any(|known| {
        let decoded = decodings(known.as_bytes());
        secret.eq_ignore_ascii_case(known.as_bytes())
            || decoded.into_iter().flatten().any(|known| *known == *secret)
    })
}

/// Whether a secret has few different bytes. 32 random bytes have 30 different ones. 32 random
/// hexadecimal digits have 14; they have 7 or fewer once in 2^24 times, and 9 or fewer once in 9 000
/// times.
fn has_few_bytes(secret: &[u8]) -> bool {
    let mut different = secret.to_vec();
    different.sort_unstable();
    different.dedup();
    let few = different.len() < DIFFERENT_MIN;
    different.zeroize();
    few
}

/// Whether a secret is a repeated block.
fn has_period(secret: &[u8]) -> bool {
    (1..=secret.len() / 2).any(|period| {
        let mut pairs = secret.iter().zip(secret.iter().skip(period));
        pairs.all(|(a, b)| a == b)
    })
}

/// Whether a secret is a text that a person made up, encoded or not.
fn is_chosen_text(secret: &[u8]) -> bool {
    let is_chosen = |text: &[u8]| {
        if is_text_beyond_ascii(text) {
            return true;
        }
        let shown = text.strip_suffix(b"=").unwrap_or(text);
        let shown = shown.strip_suffix(b"=").unwrap_or(shown);
        let shown = shown.get(..CHARACTERS_MAX).unwrap_or(shown);
        random_length(shown).is_some_and(|random| {
            chosen_length(shown).is_some_and(|chosen| chosen.saturating_add(MARGIN) <= random)
        })
    };
    let mut decoded = decodings(secret).into_iter().flatten();
    is_chosen(secret) || decoded.any(|text| text.len() >= DECODED_MIN && is_chosen(&text))
}

/// Whether a secret is a text with characters beyond ASCII. The probability that random bytes of this
/// length are UTF-8 without control characters is below 2^-27.
fn is_text_beyond_ascii(text: &[u8]) -> bool {
    text.len() >= TEXT_MIN
        && !text.is_ascii()
        && std::str::from_utf8(text).is_ok_and(|text| !text.chars().any(char::is_control))
}

/// Decodes a text as hexadecimal digits, base64 and base64url.
fn decodings(text: &[u8]) -> [Option<Zeroizing<Vec<u8>>>; 3] {
    let unpadded = text.strip_suffix(b"=").unwrap_or(text);
    let unpadded = unpadded.strip_suffix(b"=").unwrap_or(unpadded);
    [
        from_hex(text),
        from_base64(&STANDARD_NO_PAD, unpadded),
        from_base64(&URL_SAFE_NO_PAD, unpadded),
    ]
}

/// Decodes base64 without leaving a copy behind.
pub(super) fn from_base64(alphabet: &Base64, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(text.to_vec());
    let length = alphabet.decode_inplace(&mut decoded).ok()?.len();
    decoded.truncate(length);
    Some(decoded)
}

/// Decodes hexadecimal digits without leaving a copy behind.
pub(super) fn from_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for pair in text.chunks(2) {
        let &[high, low] = pair else {
            return None;
        };
        let digit = |character: u8| char::from(character).to_digit(16);
        let byte = digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?;
        decoded.push(u8::try_from(byte).ok()?);
    }
    Some(decoded)
}

/// The length of a text in tenths of a bit, in the code that gives every character of an alphabet the
/// same length. The alphabet is the smallest usual one that has all characters. `None` if the text is not
/// printable.
fn random_length(text: &[u8]) -> Option<u32> {
    let is_printable = |c: &u8| matches!(c, b' '..=b'~');
    text.iter().all(is_printable).then_some(())?;
    let (_, bits) = ALPHABETS
        .iter()
        .find(|(has, _)| text.iter().all(|c| has(*c)))?;
    u32::try_from(text.len()).ok()?.checked_mul(*bits)
}

/// The length of a text in tenths of a bit, in the code for chosen texts.
fn chosen_length(text: &[u8]) -> Option<u32> {
    let copied_from = copied_from(text);
    // The shortest code for each prefix of the text.
    let mut shortest = vec![u32::MAX; text.len().saturating_add(1)];
    *shortest.first_mut()? = 0;
    let mut before = None;
    for (at, &next) in text.iter().enumerate() {
        let here = *shortest.get(at)?;
        let mut reach = |length: usize, cost: u32| {
            if let Some(there) = shortest.get_mut(at.saturating_add(length)) {
                *there = (*there).min(here.saturating_add(cost));
            }
        };
        reach(1, CHARACTER.saturating_add(character(before, next)));
        let rest = text.get(at..)?;
        for length in COPY_MIN..=longest_copy(&copied_from, at, rest) {
            let case = case(rest.get(..length)?);
            reach(length, COPY.saturating_add(case));
        }
        before = Some(next);
    }
    shortest.last().copied()
}

/// The source of copies: the usual words and the text itself, in lower case.
fn copied_from(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = USUAL.len().saturating_add(text.len());
    let mut source = Zeroizing::new(Vec::with_capacity(length));
    source.extend_from_slice(USUAL.as_bytes());
    source.extend(text.iter().map(u8::to_ascii_lowercase));
    source
}

/// The length of the longest prefix of `rest` that occurs before it. `rest` begins at `at` in the text.
fn longest_copy(source: &[u8], at: usize, rest: &[u8]) -> usize {
    let before = source.get(..USUAL.len().saturating_add(at));
    let before = before.unwrap_or_default();
    let rest = rest.get(..COPY_MAX).unwrap_or(rest);
    let same = |start: usize| {
        let pairs = before.iter().skip(start).zip(rest);
        pairs
            .take_while(|(a, b)| **a == b.to_ascii_lowercase())
            .count()
    };
    (0..before.len()).map(same).max().unwrap_or(0)
}

/// The cost of the capital letters of a copy: none, the first, all, or some.
fn case(copy: &[u8]) -> u32 {
    let is_small = |part: &[u8]| !part.iter().any(u8::is_ascii_uppercase);
    let is_capital = !copy.iter().any(u8::is_ascii_lowercase);
    match copy.split_first() {
        _ if is_small(copy) => 8,
        Some((_, rest)) if is_capital || is_small(rest) => 24,
        _ => u32::MAX,
    }
}

/// The cost of a character after another one. The probabilities of these costs add up to at most 1.
fn character(before: Option<u8>, next: u8) -> u32 {
    let Some(before) = before.filter(u8::is_ascii_alphabetic) else {
        return match next {
            b'a'..=b'z' => 59,
            b'A'..=b'Z' => 75,
            b'0'..=b'9' => 52,
            b' ' | b'-' | b'_' | b'.' => 59,
            _ => 92,
        };
    };
    let goes_on = match (before.is_ascii_uppercase(), next) {
        (false, b'a'..=b'z') => Some(4),
        (true, b'a'..=b'z') => Some(10),
        (true, b'A'..=b'Z') => Some(18),
        _ => None,
    };
    if let Some(cost) = goes_on {
        return follower(before, next).saturating_add(cost);
    }
    let cost = match next {
        b'a'..=b'z' => 98,
        b'A'..=b'Z' => 63,
        b'0'..=b'9' => 57,
        b' ' | b'-' | b'_' | b'.' => 36,
        _ => 88,
    };
    END_OF_WORD.saturating_add(cost)
}

/// The cost of a letter after another letter of the same word.
fn follower(before: u8, next: u8) -> u32 {
    let letter = before.to_ascii_lowercase().saturating_sub(b'a');
    let usual = FOLLOWERS.get(usize::from(letter)).copied();
    let usual = usual.unwrap_or_default().bytes();
    let mut ranks = usual.zip(RANKS);
    let rank = ranks.find(|(letter, _)| *letter == next.to_ascii_lowercase());
    rank.map_or(RARE, |(_, cost)| cost)
}

/// Examples from documentation, tutorials and templates that look random.
const WELL_KNOWN: [&str; 15] = [
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "255d861b-5ea1-5996-9aa3-922530ec40b1",
    "3cfa76ef14937c1c0ea519f8fc057a80fcd04a7420f8e8bcd0a7567c272e007b",
    "357638792F423F4428472B4B6250655368566D597133743677397A2443264629",
    "3EK6FD+o0+c7tzBNVfjpMkNDi2yARAAKzQlk8O2IKoxQu4nF7EdAh8s3TwpHwrdWT6R",
    "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
    "413F4428472B4B6250655368566D5970337336763979244226452948404D6351",
    "5367566B59703373367639792F423F4528482B4D6251655468576D5A71347437",
    "5791628bb0b13ce0c676dfde280ba245",
    "586E3272357538782F413F4428472B4B6250655368566B597033733676397924",
    "9a4f2c8d3b7a1e6f45c8a0b3f267d8b1d4e6f3c8a9d2b5f8e3a9c8b5f6v8a3d9",
    "G-KaPdSgVkYp3s6v9y$B&E)H@MbQeThW",
    "PDv7DrqznYL6nv7DrqzjnQYO9JxIsWdcjnQYL6nu0f",
    "daf66e01593f61a15b857cf433aae03a005812b31234e149036bcc8dee755dbb",
];

/// Rows of characters, and words that occur in secrets that people make up.
const USUAL: &str = "abcdefghijklmnopqrstuvwxyz01234567890123456789876543210\
    qwertyuiopasdfghjklzxcvbnmsecretpasswordsupertokenjwtkeychangethisisnotplaceholderdefault\
    exampleproductionsigningauthenticationapplicationdevelopmentpleaseinsecureverylongminimum\
    charactersrandom256bitsbytesmustatleastyourserveradmintesthelloworldwithpassphraseletmein\
    thequickbrownfoxjumpsoverthelazydogloremipsumdolorsitametconsecteturcorrecthorsebattery\
    stapleiloveyoumasterpiece";

/// The ten letters that most often follow `a`, `b`, and so on, in English.
const FOLLOWERS: [&str; 26] = [
    "ntlrscdimb",
    "eloauriysj",
    "oehatkirlu",
    "eioasurdyl",
    "rnsdalctem",
    "oireaftuly",
    "ehriaoulsn",
    "eaiotruysl",
    "ntsocledav",
    "uoeaiwstnb",
    "eisnlayour",
    "eilaydosut",
    "eaoipmbusy",
    "tdgescioak",
    "nrufmtslwo",
    "reaolipthu",
    "uaitsoelwb",
    "eoiastdymr",
    "teihsaoupc",
    "heioarstuy",
    "rnstlecpmd",
    "eiaouysrld",
    "aihoensrld",
    "ptaicehuyo",
    "sotepbmaiw",
    "eaiozyluwt",
];
/// The costs of these ten letters, by position, and the cost of every other letter. All costs are in
/// tenths of a bit, rounded up.
const RANKS: [u32; 10] = [20, 28, 32, 35, 38, 41, 44, 47, 49, 51];
const RARE: u32 = 74;
/// The cost of the end of a word: 1 time in 5.
const END_OF_WORD: u32 = 24;
/// The cost of a character that is not copied: 3 times in 4.
const CHARACTER: u32 = 5;
/// The cost of a copy: that there is one, its length, and its start.
const COPY: u32 = 20 + 50 + 94;
/// The minimum and maximum length of a copy.
const COPY_MIN: usize = 4;
const COPY_MAX: usize = 35;
// A copy can start in up to 2^9.4 places; the cost above includes this.
const _: () = assert!(USUAL.len() + CHARACTERS_MAX <= 675);

type Alphabet = (fn(u8) -> bool, u32);
/// The alphabets of random texts, and the length of a character in tenths of a bit, rounded down.
const ALPHABETS: [Alphabet; 11] = [
    (|c| c.is_ascii_digit(), 33),
    (|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'), 40),
    (|c| matches!(c, b'0'..=b'9' | b'A'..=b'F'), 40),
    (|c| c.is_ascii_lowercase(), 47),
    (|c| c.is_ascii_uppercase(), 47),
    (|c| matches!(c, b'2'..=b'7' | b'A'..=b'Z'), 50),
    (|c| c.is_ascii_lowercase() || c.is_ascii_digit(), 51),
    (|c| c.is_ascii_uppercase() || c.is_ascii_digit(), 51),
    (|c| c.is_ascii_alphabetic(), 57),
    (
        |c| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'-' | b'_'),
        59,
    ),
    (|_| true, 65),
];

/// The difference in tenths of a bit from which a text counts as chosen. A random text reaches it once in
/// 2^24 times.
const MARGIN: u32 = 240;
/// The maximum number of characters that are checked. This many random characters are enough.
const CHARACTERS_MAX: usize = 128;
/// The minimum length of a decoded text that is checked.
const DECODED_MIN: usize = 16;
/// The minimum length of a text beyond ASCII.
const TEXT_MIN: usize = 24;
/// The minimum number of different bytes of a random secret.
const DIFFERENT_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_that_people_make_up_are_recognized() {
        for chosen in [
            "a-string-secret-at-least-256-bits-long",
            "your-256-bit-secret-your-256-bit-secret",
            "super-secret-jwt-token-with-at-least-32-characters-long",
            "thisisasecretkeythatshouldbechanged",
            "ThisIsMySuperSecretKeyForJwtTokens123!",
            "SecretKeyOfDoomThatMustBeAMinimumNumberOfBytes",
            "THIS IS USED TO SIGN AND VERIFY JWT TOKENS, REPLACE IT",
            "change-this-secret-in-production-please",
            "correct horse battery staple forever",
            "correcthorsebatterystapleforeverandever",
            "the quick brown fox jumps over the lazy dog",
            "To be, or not to be, that is the question",
            "abcdefghijklmnopqrstuvwxyz012345",
            "1234567890123456789012345678901x",
            "qwertyuiopasdfghjklzxcvbnm123456",
            "P@ssw0rdP@ssw0rdP@ssw0rdP@ssw0rd1",
            "elephant-umbrella-guitar-sunset-river",
            "our company internal api signing key 2024",
            "someverylongandsecurestringthatnobodywillguess",
            "In the beginning God created the heaven and the earth",
            "LoremIpsumDolorSitAmetConsecteturAdipiscing",
            "dGhpcyBpcyBteSBzZWNyZXQga2V5IGZvciB0b2tlbnM=",
            "404E635266556A586E3272357538782F413F4428472B4B6250645367566B5970",
            "@NcRfUjXn2r5u8x/A?D(G+KbPdSgVkYp",
            "======================BezKoder=Spring===========================",
            "JWTAuthenticationHIGHsecuredPasswordVVVp1OH7Xzyr",
            "YourSecretKeyForAuthenticationOfApplication",
            "357638792F423F4428472B4B6250655368566D597133743677397A2443264629",
            "586E3272357538782F413F4428472B4B6250655368566B597033733676397924",
            "G-KaPdSgVkYp3s6v9y$B&E)H@MbQeThW",
            "Пароль для подписи наших токенов",
            "mein-geheimer-schlüssel-für-die-anmeldung",
            "パスワードは秘密ですので誰にも言わない",
            "0JzQvtC5INGB0LXQutGA0LXRgtC90YvQuSDQutC70Y7Rhw==",
        ] {
            assert!(check(chosen.as_bytes()).is_err(), "{chosen}");
        }
    }

    #[test]
    fn a_text_beyond_ascii_has_a_minimum_length() {
        for (text, expected) in [
            ("пароль-пароль", true),
            ("паролюпароль", true),
            ("паролюпарол-", false),
            ("паролюпароль\n", false),
            ("parolyu-parolyu-parolyu-parolyu", false),
        ] {
            let found = is_text_beyond_ascii(text.as_bytes());
            assert_eq!(found, expected, "{text}: {} bytes", text.len());
        }
        assert!(!is_text_beyond_ascii(&[0xd0; 24]), "it is not UTF-8");
    }

    #[test]
    fn a_text_is_chosen_from_exactly_the_margin_on() {
        for (text, shorter_by, is_random) in [
            ("rivertokenxggardenkorangekorange", MARGIN, false),
            ("tokenatokenmasterriveroxlriverro", MARGIN - 1, true),
        ] {
            let random = random_length(text.as_bytes()).unwrap();
            let chosen = chosen_length(text.as_bytes()).unwrap();
            assert_eq!(random - chosen, shorter_by, "{text}");
            assert_eq!(check(text.as_bytes()).is_ok(), is_random, "{text}");
        }
    }

    /// As few as these 32 random hexadecimal digits may have.
    #[test]
    fn few_different_digits_are_random_enough() {
        assert!(check(b"a3c9f17bc3a1f97b19fca3b7739bca1f").is_ok());
        assert!(check(b"a3c9f17ac3a1f97a19fca3a7739aca1f").is_err());
    }

    #[test]
    fn the_probabilities_of_the_code_add_up_to_at_most_one() {
        let share = |cost: u32| 2_f64.powf(-f64::from(cost) / 10.0);
        assert!(share(CHARACTER) + share(20) < 1.0);
        assert!(share(8) + 2.0 * share(24) < 1.0);
        let printable = || b' '..=b'~';
        for before in printable().map(Some).chain([None]) {
            let sum: f64 = printable().map(|next| share(character(before, next))).sum();
            assert!(sum <= 1.0, "{before:?}: {sum}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn random_secrets_in_every_form_pass(secret in prop::collection::vec(any::<u8>(), 32..80)) {
            prop_assert!(check(&secret).is_ok());
            let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            for text in [
                hex[..32].to_owned(),
                hex.to_uppercase(),
                hex,
                STANDARD_NO_PAD.encode_to_string(&secret),
                URL_SAFE_NO_PAD.encode_to_string(&secret[..24]),
                base64_simd::STANDARD.encode_to_string(&secret[..32]),
            ] {
                prop_assert!(check(text.as_bytes()).is_ok(), "{}", text);
            }
        }
    }
}
