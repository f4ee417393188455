//! Searches in bytes that a client sends.

/// Whether every byte is legal.
///
/// The loop over a block has no early exit, so the compiler uses vector instructions. That takes a
/// tenth of the time.
pub(crate) fn all(bytes: &[u8], legal: impl Fn(u8) -> bool) -> bool {
    let all_of = |bytes: &[u8]| bytes.iter().fold(true, |all, byte| all & legal(*byte));
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    blocks.iter().all(|block| all_of(block)) && all_of(rest)
}

/// Removes spaces and tabs at both ends (RFC 9110, section 5.6.3).
pub(crate) fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The bytes before and after the first occurrence of a byte.
pub(crate) fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = memchr::memchr(at, bytes)?;
    let (before, rest) = bytes.split_at_checked(place)?;
    Some((before, rest.get(1..)?))
}

/// Whether this is a character of `token` (RFC 9110, section 5.6.2).
pub(crate) fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a byte may be in a `token68` (RFC 9110, section 11.2) before its padding.
pub(crate) fn is_token68_character(byte: u8) -> bool {
    // Letters of either case, then the range `-./0123456789`.
    (byte | 0x20).is_ascii_lowercase() || matches!(byte, b'-'..=b'9' | b'_' | b'~' | b'+')
}

/// Whether this is a character of a scope (RFC 6749, section 3.3): printable ASCII except space, quote
/// and backslash.
pub(crate) const fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// Whether the text is one scope (RFC 6749, section 3.3).
pub(crate) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_scope_character)
}

/// The number of bytes that are checked without an early exit.
const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_looked_at() {
        let legal = |byte: u8| byte.is_ascii_alphanumeric();
        for byte in 0..=u8::MAX {
            for (before, after) in [(0, 0), (7, 30), (BLOCK - 1, 1), (BLOCK, 0), (700, 600)] {
                let bytes = [vec![b'a'; before], vec![byte], vec![b'z'; after]].concat();
                assert_eq!(all(&bytes, legal), legal(byte), "{byte} behind {before}");
            }
        }
    }
}
