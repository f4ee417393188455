//! [`Packed`]: statuses as packed bits. The bench of the bare look-up runs this file.

/// Statuses of the same number of bits, packed from the least significant bit on.
pub(crate) struct Packed {
    /// The logarithm of the number of bits of a status.
    bits_log: u8,
    /// The logarithm of the number of statuses in a byte.
    per_byte_log: u8,
    /// The bits of an index that say where in its byte a status is.
    place: u8,
    /// The bits of a status.
    status: u8,
    bytes: Box<[u8]>,
}

impl Packed {
    /// `None` if a status cannot have this number of bits: 1, 2, 4 or 8.
    pub(crate) fn new(bits: u8, bytes: Vec<u8>) -> Option<Self> {
        let (bits_log, per_byte_log, place, status) = match bits {
            1 => (0, 3, 0b111, 0b1),
            2 => (1, 2, 0b11, 0b11),
            4 => (2, 1, 0b1, 0b1111),
            8 => (3, 0, 0, 0b1111_1111),
            _ => return None,
        };
        Some(Self {
            bits_log,
            per_byte_log,
            place,
            status,
            bytes: bytes.into(),
        })
    }

    /// The status at this index. `None` beyond the end.
    #[inline]
    pub(crate) fn get(&self, index: u64) -> Option<u8> {
        let at = usize::try_from(index >> self.per_byte_log).ok()?;
        let byte = *self.bytes.get(at)?;
        let [low, ..] = index.to_le_bytes();
        // At most 7, so nothing is lost.
        let shift = (low & self.place) << self.bits_log;
        Some(byte.wrapping_shr(u32::from(shift)) & self.status)
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }
}
