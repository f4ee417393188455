//! The text of refresh tokens, against a second reader.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "an oracle fails by panic"
)]

use std::sync::LazyLock;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Family, Genuine, RefreshKeys};
use crate::issue::logins::refresh_error::RefreshError;

/// A text; and the same bytes as those of a token, under a good checksum, and under a good MAC.
pub(crate) fn refresh_token(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        confirm(text);
        if let Some(family) = Family::from_session_id(text) {
            assert_eq!(family.session_id(), text);
        }
    }
    let mut token = [0; 45];
    token
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    confirm(&text_of(&token));
    let mut family = [0; 16];
    family.copy_from_slice(&token[1..17]);
    let mut generation = [0; 4];
    generation.copy_from_slice(&token[17..21]);
    let genuine = Genuine {
        family: Family(family),
        generation: u32::from_be_bytes(generation),
    };
    let text = KEYS.token(genuine);
    assert!(KEYS.verify(&text) == Ok(genuine), "{}", *text);
    confirm(&text);
}

/// Asserts that the verdict is that of the second reader, and that a token has one text.
fn confirm(text: &str) {
    match (KEYS.verify(text), read(text)) {
        (Ok(genuine), Ok((family, generation))) => {
            assert_eq!((genuine.family.0, genuine.generation), (family, generation));
            assert_eq!(*KEYS.token(genuine), text);
        }
        (Err(found), Err(expected)) => assert_eq!(found, expected, "{text}"),
        (Ok(_), Err(expected)) => panic!("{text} is accepted, expected {expected:?}"),
        (Err(found), Ok(_)) => panic!("{text}: {found:?}"),
    }
}

fn read(text: &str) -> Result<([u8; 16], u32), RefreshError> {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric();
    let parts = text.as_bytes().split_at_checked(63);
    let (body, checksum) = parts.ok_or(RefreshError::Malformed)?;
    let encoded = body.strip_prefix(b"rt_").ok_or(RefreshError::Malformed)?;
    let has_form = checksum.len() == 6
        && checksum.iter().all(|byte| is_digit(*byte))
        && encoded
            .iter()
            .all(|byte| is_digit(*byte) || matches!(byte, b'-' | b'_'));
    if !has_form {
        return Err(RefreshError::Malformed);
    }
    if checksum != checksum_of(body).as_bytes() {
        return Err(RefreshError::Checksum);
    }
    let bytes = URL_SAFE_NO_PAD.decode(encoded);
    let bytes = bytes.map_err(|_| RefreshError::Malformed)?;
    let secret = Key::new(HMAC_SHA256, SECRET);
    let id = sign(&secret, b"tower-jwt-auth: id of refresh keys");
    let key = sign(&secret, b"tower-jwt-auth: refresh tokens");
    let tag = sign(&Key::new(HMAC_SHA256, key.as_ref()), &bytes[..21]);
    if bytes[0] != id.as_ref()[0] || bytes[21..] != tag.as_ref()[..24] {
        return Err(RefreshError::Forged);
    }
    let [family, generation] = [&bytes[1..17], &bytes[17..21]];
    let family = family.try_into().expect("16 bytes");
    let generation = generation.try_into().expect("4 bytes");
    Ok((family, u32::from_be_bytes(generation)))
}

/// The text with these bytes and a good checksum.
fn text_of(bytes: &[u8; 45]) -> String {
    let body = format!("rt_{}", URL_SAFE_NO_PAD.encode(bytes));
    let checksum = checksum_of(body.as_bytes());
    body + &checksum
}

/// CRC-32, bit by bit, in base 62.
fn checksum_of(body: &[u8]) -> String {
    let mut crc = u32::MAX;
    for byte in body {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let feedback = if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            crc = crc >> 1 ^ feedback;
        }
    }
    let digits: Vec<char> = ('0'..='9').chain('A'..='Z').chain('a'..='z').collect();
    let number = u64::from(!crc);
    let powers = (0..6).rev().map(|at| 62_u64.pow(at));
    let digit = |power| usize::try_from(number / power % 62).expect("below 62");
    powers.map(|power| digits[digit(power)]).collect()
}

static KEYS: LazyLock<RefreshKeys> =
    LazyLock::new(|| RefreshKeys::from_secret(SECRET).expect("a good secret"));

const SECRET: &[u8] = b"3q2-7wvTqK0_jJmYt5rXz8LhGfDsA1oP";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_is_a_token_that_is_accepted() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fuzz/seeds/issued/refresh_token"
        );
        let seed = std::fs::read_to_string(path).unwrap();
        assert!(KEYS.verify(&seed).is_ok());
        assert!(read(&seed).is_ok());
        assert!(read(&seed.replace("rt_", "rs_")).is_err());
    }
}
