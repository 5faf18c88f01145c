//! The optional checksum of a whole message's payload (specification, section 6.5).
//!
//! Ordinary peers leave the field undefined and never look at it, so a frame is never refused for it
//! unless both ends were told to use checksums.

use crc::{CRC_16_XMODEM, Crc, Digest};

static CRC: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The checksum of a message that lies in one piece.
#[must_use]
pub fn checksum(payload: &[u8]) -> u16 {
    CRC.checksum(payload)
}

/// The checksum of a message that comes in pieces, in order.
#[derive(Clone)]
pub struct Checksum(Digest<'static, u16>);

impl Checksum {
    /// Before the first piece.
    #[must_use]
    pub fn new() -> Self {
        Self(CRC.digest())
    }

    /// Adds the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The checksum of all pieces.
    #[must_use]
    pub fn finish(self) -> u16 {
        self.0.finalize()
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checksum").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_specification() {
        assert_eq!(checksum(b"123456789"), 0x31c3);
        let mut pieces = Checksum::new();
        pieces.add(b"1234");
        pieces.add(b"");
        pieces.add(b"56789");
        assert_eq!(pieces.finish(), 0x31c3);
    }
}
