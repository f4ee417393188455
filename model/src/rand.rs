//! Bytes that are the same in every run.

use std::convert::Infallible;

pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Infallible> {
    let mut value = 0x35_u8;
    for byte in bytes {
        *byte = value;
        value = value.wrapping_add(0x1d);
    }
    Ok(())
}
