//! Octets that are the same in every run.

use std::convert::Infallible;

pub(crate) fn fill(octets: &mut [u8]) -> Result<(), Infallible> {
    for (octet, value) in octets.iter_mut().zip((0x35_u8..).step_by(0x1d)) {
        *octet = value;
    }
    Ok(())
}
