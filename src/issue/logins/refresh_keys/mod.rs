//! [`RefreshKeys`]: the secret that creates refresh tokens, and the text of a token.
//!
//! | bytes | content |
//! |---|---|
//! | 1 | the id of the key |
//! | 16 | the family: random, the id of the session |
//! | 4 | the generation, big-endian |
//! | 24 | HMAC-SHA256 of the preceding bytes, truncated |
//!
//! The text is `rt_`, these 45 bytes in base64url, and the CRC-32 of the preceding text in six digits
//! of base 62. The prefix and the checksum let secret scanners find a leaked token without false
//! alarms.

#[cfg(any(test, feature = "_fuzz"))]
mod fuzz;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::fill;
use base64_simd::{Out, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

#[cfg(any(test, feature = "_fuzz"))]
pub(crate) use self::fuzz::refresh_token as fuzz_refresh_token;
use crate::error::config::{ConfigError, KeyError};
use crate::issue::logins::refresh_error::RefreshError;
use crate::keys::material::Material;

/// The secret that creates and verifies refresh tokens.
///
/// A refresh token is a MAC of the session and its generation. A store therefore contains nothing that
/// could be used as a token, and a forged token is rejected without a request to the store. All
/// instances of a service need the same secret. Whoever has it can create refresh tokens for known
/// sessions, so keep it where you keep the signing keys.
///
/// # Example: change the secret
///
/// ```
/// use tower_jwt_auth::issue::RefreshKeys;
///
/// # let (new, old) = (b"3q2-7wvTqK0_jJmYt5rXz8LhGfDsA1oP".as_slice(), b"uQ9xWc4nRb7VtYk2MzLp6EjHsXaGdF0i".as_slice());
/// // New tokens use the new secret. Tokens of the old secret are accepted until it is removed.
/// let keys = RefreshKeys::from_secret(new)?.with_previous(old)?;
/// assert!(RefreshKeys::from_secret(b"too short").is_err());
/// # Ok::<(), tower_jwt_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RefreshKeys {
    /// The first key creates tokens.
    keys: Arc<[RefreshKey]>,
}

#[derive(Clone)]
struct RefreshKey {
    id: u8,
    mac: hmac::Key,
}

/// The random id of a session. Refresh tokens of one session are a family.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Family([u8; FAMILY]);

/// What a genuine refresh token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Genuine {
    pub(super) family: Family,
    pub(super) generation: u32,
}

impl RefreshKeys {
    /// Generates a random secret that only this process has. Its tokens become invalid when the
    /// process ends.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the system provides no random bytes.
    pub fn generate() -> Result<Self, ConfigError> {
        let mut secret = Zeroizing::new([0; 32]);
        fill(&mut *secret).map_err(|_| ConfigError::Key {
            reason: KeyError::Weak {
                reason: "the system has no random bytes",
            },
        })?;
        Ok(Self::of([RefreshKey::new(&*secret)].into()))
    }

    /// Uses a secret that all instances share: at least 32 bytes that look random. Generate one
    /// with `openssl rand -base64 48`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Key`] if the secret is too short or well known, or does not look random.
    pub fn from_secret(secret: &[u8]) -> Result<Self, ConfigError> {
        Ok(Self::of([checked(secret)?].into()))
    }

    /// Also accepts tokens of another secret, but creates none with it.
    ///
    /// # Errors
    ///
    /// The same as [`from_secret`](Self::from_secret).
    pub fn with_previous(self, secret: &[u8]) -> Result<Self, ConfigError> {
        let previous = checked(secret)?;
        Ok(Self::of(
            self.keys.iter().cloned().chain([previous]).collect(),
        ))
    }

    fn of(keys: Arc<[RefreshKey]>) -> Self {
        Self { keys }
    }

    /// The text of the token of this generation. It is the same each time.
    pub(super) fn token(&self, token: Genuine) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(LENGTH));
        let Some(key) = self.keys.first() else {
            return text;
        };
        let head = token.head(key.id);
        let mut bytes = Zeroizing::new([0; BYTES]);
        let tag = hmac::sign(&key.mac, &head);
        for (to, from) in bytes.iter_mut().zip(head.iter().chain(tag.as_ref())) {
            *to = *from;
        }
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_append(bytes.as_slice(), &mut *text);
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        text
    }

    /// Verifies the text of a token, without any store.
    pub(super) fn verify(&self, text: &str) -> Result<Genuine, RefreshError> {
        let (body, checksum) = parts(text).ok_or(RefreshError::Malformed)?;
        if self::checksum(body) != *checksum {
            return Err(RefreshError::Checksum);
        }
        let mut bytes = Zeroizing::new([0_u8; BYTES]);
        let encoded = body.get(PREFIX.len()..).unwrap_or_default();
        let decoded = URL_SAFE_NO_PAD.decode(encoded, Out::from_slice(&mut *bytes));
        if !decoded.is_ok_and(|decoded| decoded.len() == BYTES) {
            return Err(RefreshError::Malformed);
        }
        let (head, mac) = bytes
            .split_first_chunk::<HEAD>()
            .ok_or(RefreshError::Malformed)?;
        let [id, family_and_generation @ ..] = head;
        let (family, generation) = family_and_generation
            .split_first_chunk::<FAMILY>()
            .ok_or(RefreshError::Malformed)?;
        let generation = <[u8; 4]>::try_from(generation).map_err(|_| RefreshError::Malformed)?;
        let is_genuine = |key: &RefreshKey| {
            let tag = hmac::sign(&key.mac, head);
            let tag = tag.as_ref().get(..MAC).unwrap_or_default();
            verify_slices_are_equal(tag, mac).is_ok()
        };
        let mut named = self.keys.iter().filter(|key| key.id == *id);
        if !named.any(is_genuine) {
            return Err(RefreshError::Forged);
        }
        Ok(Genuine {
            family: Family(*family),
            generation: u32::from_be_bytes(generation),
        })
    }
}

/// Prints the number of secrets.
impl fmt::Debug for RefreshKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshKeys")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl RefreshKey {
    /// Both values are made of the secret for one purpose each, so the secret may have others too.
    fn new(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let id = hmac::sign(&secret, b"tower-jwt-auth: id of refresh keys");
        let mac = hmac::sign(&secret, b"tower-jwt-auth: refresh tokens");
        Self {
            id: id.as_ref().first().copied().unwrap_or_default(),
            mac: hmac::Key::new(hmac::HMAC_SHA256, mac.as_ref()),
        }
    }
}

impl Family {
    /// A new family.
    pub(super) fn random() -> Option<Self> {
        let mut bytes = [0; FAMILY];
        fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads the id of a session. `None` if no session has such an id.
    pub(super) fn from_session_id(id: &str) -> Option<Self> {
        let mut bytes = [0; FAMILY];
        let has_length = id.len() == SESSION_ID;
        let decoded =
            has_length.then(|| URL_SAFE_NO_PAD.decode(id.as_bytes(), Out::from_slice(&mut bytes)));
        (decoded?.ok()?.len() == FAMILY).then_some(())?;
        Some(Self(bytes))
    }

    /// The id of the session: 22 characters.
    pub(super) fn session_id(self) -> String {
        URL_SAFE_NO_PAD.encode_to_string(self.0)
    }
}

impl Genuine {
    /// The bytes that the MAC covers.
    fn head(self, key: u8) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let Family(family) = self.family;
        let generation = self.generation.to_be_bytes();
        let bytes = [key].into_iter().chain(family).chain(generation);
        for (to, from) in head.iter_mut().zip(bytes) {
            *to = from;
        }
        head
    }
}

fn checked(secret: &[u8]) -> Result<RefreshKey, ConfigError> {
    let secret = Zeroizing::new(secret.to_vec());
    match Material::secret(secret) {
        Ok(Material::Secret(secret)) => Ok(RefreshKey::new(&secret)),
        Ok(_) => Err(KeyError::Format {
            expected: "a secret",
        }),
        Err(reason) => Err(reason),
    }
    .map_err(|reason| ConfigError::Key { reason })
}

/// The text before the checksum, and the checksum, if the text has the form of a token.
fn parts(text: &str) -> Option<(&[u8], &[u8; CHECKSUM])> {
    let text = text.as_bytes();
    let is_long = text.len() == LENGTH && text.starts_with(PREFIX.as_bytes());
    is_long.then_some(())?;
    let (body, checksum) = text.split_last_chunk()?;
    let encoded = body.get(PREFIX.len()..)?;
    let is_base64 = |c: &u8| c.is_ascii_alphanumeric() || b"-_".contains(c);
    let is_base62 = u8::is_ascii_alphanumeric;
    (encoded.iter().all(is_base64) && checksum.iter().all(is_base62)).then_some(())?;
    Some((body, checksum))
}

/// The CRC-32 of a text, in six digits of base 62, the first one the most significant.
fn checksum(text: &[u8]) -> [u8; CHECKSUM] {
    let crc = text.iter().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        let row = CRC_TABLE.get(usize::from(low ^ byte)).copied();
        row.unwrap_or_default() ^ (crc >> 8)
    });
    let mut rest = !crc;
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        let at = usize::try_from(rest % 62).unwrap_or_default();
        *digit = DIGITS.get(at).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits
}

/// The table of CRC-32 (IEEE 802.3).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut value = 0_u32;
    let mut rest: &mut [u32] = &mut table;
    while let Some((row, next)) = rest.split_first_mut() {
        let mut bit = 0;
        let mut crc = value;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        *row = crc;
        value += 1;
        rest = next;
    }
    table
};

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const PREFIX: &str = "rt_";
const FAMILY: usize = 16;
const HEAD: usize = 1 + FAMILY + 4;
const MAC: usize = 24;
const BYTES: usize = HEAD + MAC;
const CHECKSUM: usize = 6;
/// The characters of 16 bytes in base64url.
const SESSION_ID: usize = 22;
/// 45 bytes have 60 characters without a rest.
const LENGTH: usize = PREFIX.len() + BYTES / 3 * 4 + CHECKSUM;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"3q2-7wvTqK0_jJmYt5rXz8LhGfDsA1oP";

    fn genuine(generation: u32) -> Genuine {
        let family = Family(std::array::from_fn(|at| u8::try_from(at).unwrap() * 15));
        Genuine { family, generation }
    }

    /// The text was computed with the `hmac`, `base64` and `zlib` modules of Python.
    #[test]
    fn the_text_of_a_token_stays_the_same() {
        let keys = RefreshKeys::from_secret(SECRET).unwrap();
        let text = keys.token(genuine(7));
        assert_eq!(text.len(), 69);
        assert_eq!(
            &**text,
            "rt_WQAPHi08S1ppeIeWpbTD0uEAAAAHUo4Jr34L0yc6lFcjDgS_q8_CpQfAqvto2vdMB1"
        );
        assert_eq!(
            checksum(b"123456789"),
            *b"3jZRME",
            "the check value of CRC-32"
        );
    }

    #[test]
    fn the_id_of_a_session_is_its_family() {
        let family = Family::random().unwrap();
        let id = family.session_id();
        assert_eq!(id.len(), SESSION_ID);
        assert!(Family::from_session_id(&id) == Some(family));
        for wrong in [
            "",
            "a",
            &id[1..],
            &format!("{id}A"),
            &id.replace(&id[..1], "+"),
            "______________________",
        ] {
            assert!(Family::from_session_id(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_new_secret_accepts_tokens_of_the_previous_one() {
        let other = b"uQ9xWc4nRb7VtYk2MzLp6EjHsXaGdF0i";
        let old = RefreshKeys::from_secret(SECRET).unwrap();
        let new = RefreshKeys::from_secret(other).unwrap();
        let both = new.clone().with_previous(SECRET).unwrap();
        let token = old.token(genuine(1));
        assert!(both.verify(&token) == Ok(genuine(1)));
        assert!(new.verify(&token) == Err(RefreshError::Forged));
        assert_eq!(
            both.token(genuine(1)),
            new.token(genuine(1)),
            "made with the new one"
        );
        assert!(old.verify(&both.token(genuine(1))) == Err(RefreshError::Forged));
    }

    #[test]
    fn keys_with_one_id_are_both_tried() {
        let old = RefreshKeys::generate().unwrap();
        let token = old.token(genuine(1));
        let same = RefreshKeys::generate().unwrap();
        let mut keys: Vec<_> = same.keys.iter().chain(&*old.keys).cloned().collect();
        let id = keys[1].id;
        keys[0].id = id;
        assert!(RefreshKeys::of(keys.into()).verify(&token) == Ok(genuine(1)));
    }

    #[test]
    fn weak_secrets_are_rejected_with_the_bound() {
        for (weak, says) in [
            (&b"short"[..], "at least 256"),
            (
                b"super-secret-jwt-token-with-at-least-32-characters-long",
                "does not look random",
            ),
        ] {
            let keys = RefreshKeys::from_secret(SECRET).unwrap();
            for error in [RefreshKeys::from_secret(weak), keys.with_previous(weak)] {
                let error = error.unwrap_err().to_string();
                assert!(error.contains(says), "{error}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_an_unchanged_token_is_genuine(
            family: [u8; 16], generation: u32, at in 0..LENGTH, with in "[ -~]"
        ) {
            let keys = RefreshKeys::from_secret(SECRET).unwrap();
            let token = Genuine { family: Family(family), generation };
            let text = keys.token(token);
            prop_assert!(keys.verify(&text) == Ok(token));
            let mut changed = text.to_string();
            changed.replace_range(at..=at, &with);
            if changed != **text {
                // The checksum finds every change of one character.
                let error = keys.verify(&changed).err();
                prop_assert!(matches!(error, Some(RefreshError::Malformed | RefreshError::Checksum)));
                let body = &changed[..LENGTH - CHECKSUM];
                let with_checksum = body.chars().chain(checksum(body.as_bytes()).map(char::from));
                let repaired: String = with_checksum.collect();
                if repaired != **text {
                    let error = keys.verify(&repaired).err();
                    prop_assert!(matches!(error, Some(RefreshError::Malformed | RefreshError::Forged)));
                }
            }
        }

        #[test]
        fn any_text_is_rejected(text in ".{0,80}") {
            let keys = RefreshKeys::from_secret(SECRET).unwrap();
            prop_assert!(keys.verify(&text).is_err());
            let text = format!("rt_{text}");
            prop_assert!(keys.verify(&text).is_err());
        }
    }
}
