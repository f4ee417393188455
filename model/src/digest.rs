//! A hash that tells the few tokens of the model apart, and is none for anything else.

pub(crate) struct Algorithm;

pub(crate) static SHA256: Algorithm = Algorithm;

pub(crate) fn digest(_: &Algorithm, octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (at, octet) in octets.iter().enumerate() {
        let place = &mut hash[at % 16];
        *place = u8::rotate_left(*place, 1) ^ octet;
    }
    hash
}
