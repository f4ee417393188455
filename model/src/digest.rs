//! A hash that distinguishes the few tokens of the model. It is not a cryptographic hash.

pub(crate) struct Algorithm;

pub(crate) static SHA256: Algorithm = Algorithm;

pub(crate) fn digest(_: &Algorithm, bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (at, byte) in bytes.iter().enumerate() {
        let place = &mut hash[at % 16];
        *place = u8::rotate_left(*place, 1) ^ byte;
    }
    hash
}
