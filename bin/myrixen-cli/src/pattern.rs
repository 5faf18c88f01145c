//! Payload that tells where it belongs, and the books about what arrived.
//!
//! Every byte of a message depends on who sent it, to whom, which one it is, how long it is and where in it
//! the byte stands. So bytes of another message, another place or another sender are found out.

use std::collections::BTreeSet;
use std::fmt;

/// Who sent a message to whom, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the sending guest.
    pub(crate) from: u16,
    /// Number of the receiving guest.
    pub(crate) to: u16,
    /// Which message from one to the other, from 0.
    pub(crate) number: u32,
}

/// An odd number with bits all over (2^64 over the golden ratio): multiples of it do not repeat.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Stamp {
    /// Match information for a message of this kind from `from`: kind, sender, number.
    pub(crate) fn bits(self, kind: u16) -> u64 {
        u64::from(kind) << 48 | u64::from(self.from) << 32 | u64::from(self.number)
    }

    /// What [`Stamp::bits`] says about the sender and the number, for a message that `to` received.
    pub(crate) fn from_bits(bits: u64, to: u16) -> Self {
        let [_, _, from_high, from_low, n3, n2, n1, n0] = bits.to_be_bytes();
        Self {
            from: u16::from_be_bytes([from_high, from_low]),
            to,
            number: u32::from_be_bytes([n3, n2, n1, n0]),
        }
    }

    /// Fills `payload` with this message's bytes.
    pub(crate) fn fill(self, payload: &mut [u8]) {
        let mut word = self.first_word(payload.len());
        let mut chunks = payload.chunks_exact_mut(8);
        for chunk in &mut chunks {
            chunk.copy_from_slice(&word.to_le_bytes());
            word = word.wrapping_add(STEP);
        }
        let rest = chunks.into_remainder();
        let last = word.to_le_bytes();
        rest.copy_from_slice(&last[..rest.len()]);
    }

    /// Compares every byte of `payload` with what [`Stamp::fill`] would have put there.
    pub(crate) fn verify(self, payload: &[u8]) -> Result<(), Mismatch> {
        let mut word = self.first_word(payload.len());
        let mut chunks = payload.chunks_exact(8);
        for (index, chunk) in (&mut chunks).enumerate() {
            let expected = word.to_le_bytes();
            if chunk != expected {
                return Err(self.mismatch(index * 8, chunk, &expected));
            }
            word = word.wrapping_add(STEP);
        }
        let rest = chunks.remainder();
        let expected = &word.to_le_bytes()[..rest.len()];
        if rest != expected {
            return Err(self.mismatch(payload.len() - rest.len(), rest, expected));
        }
        Ok(())
    }

    /// Mixes the stamp and the length into a word (the finalizer of SplitMix64).
    fn first_word(self, len: usize) -> u64 {
        let mut x = u64::from(self.from) << 48 | u64::from(self.to) << 32 | u64::from(self.number);
        x ^= (len as u64).wrapping_mul(STEP);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn mismatch(self, start: usize, found: &[u8], expected: &[u8]) -> Mismatch {
        let at = found
            .iter()
            .zip(expected)
            .position(|(a, b)| a != b)
            .unwrap_or(0);
        Mismatch {
            stamp: self,
            offset: start + at,
            found: found[at],
            expected: expected[at],
        }
    }
}

/// The first byte of a message that is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    stamp: Stamp,
    offset: usize,
    found: u8,
    expected: u8,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            stamp,
            offset,
            found,
            expected,
        } = self;
        write!(
            f,
            "message {} from guest {} to guest {} has {found:#04x} at byte {offset}, where {expected:#04x} was sent",
            stamp.number, stamp.from, stamp.to
        )
    }
}

impl std::error::Error for Mismatch {}

/// What arrived from one sender: each number once, in order, or counted as what went wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: u32,
    missing: BTreeSet<u32>,
    delivered: u64,
    duplicated: u64,
    reordered: u64,
}

impl Ledger {
    /// Notes the arrival of message `number`.
    pub(crate) fn arrived(&mut self, number: u32) {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number.wrapping_add(1);
            self.delivered += 1;
        } else if self.missing.remove(&number) {
            self.reordered += 1;
            self.delivered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// Closes the books, when the sender says that it has sent `sent` messages.
    pub(crate) fn close(&self, sent: u64) -> Tally {
        Tally {
            sent,
            delivered: self.delivered,
            lost: sent.saturating_sub(self.delivered),
            duplicated: self.duplicated,
            reordered: self.reordered,
        }
    }

    /// Messages that arrived for the first time.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }
}

/// What became of the messages that were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

impl Tally {
    /// Adds another pair's books.
    pub(crate) fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        from: 1,
        to: 2,
        number: 3,
    };

    #[test]
    fn a_filled_payload_verifies_at_every_length() {
        for len in (0..40).chain([4095, 4096, 4097]) {
            let mut payload = vec![0; len];
            STAMP.fill(&mut payload);
            assert_eq!(STAMP.verify(&payload), Ok(()), "length {len}");
        }
    }

    #[test]
    fn every_single_changed_byte_is_found_and_named() {
        let mut payload = vec![0; 27];
        STAMP.fill(&mut payload);
        for offset in 0..payload.len() {
            payload[offset] ^= 0x40;
            let mismatch = STAMP.verify(&payload).unwrap_err();
            assert_eq!(mismatch.offset, offset);
            assert!(
                mismatch.to_string().contains(&format!("at byte {offset},")),
                "{mismatch}"
            );
            payload[offset] ^= 0x40;
        }
    }

    #[test]
    fn bytes_of_another_message_or_place_do_not_verify() {
        let mut payload = vec![0; 64];
        STAMP.fill(&mut payload);
        for other in [
            Stamp { from: 2, ..STAMP },
            Stamp { to: 1, ..STAMP },
            Stamp { number: 4, ..STAMP },
        ] {
            assert!(other.verify(&payload).is_err(), "{other:?}");
        }
        assert!(
            STAMP.verify(&payload[..56]).is_err(),
            "a shorter message has other bytes"
        );
        payload.rotate_left(8);
        assert!(
            STAMP.verify(&payload).is_err(),
            "bytes moved within the message"
        );
    }

    #[test]
    fn match_bits_carry_sender_and_number() {
        let bits = STAMP.bits(0xabcd);
        assert_eq!(bits >> 48, 0xabcd);
        assert_eq!(Stamp::from_bits(bits, 2), STAMP);
    }

    #[test]
    fn the_ledger_tells_lost_duplicated_and_reordered_apart() {
        let tally = |numbers: &[u32], sent| {
            let mut ledger = Ledger::default();
            numbers.iter().for_each(|&number| ledger.arrived(number));
            ledger.close(sent)
        };
        let clean = tally(&[0, 1, 2], 3);
        assert_eq!(
            (
                clean.delivered,
                clean.lost,
                clean.duplicated,
                clean.reordered
            ),
            (3, 0, 0, 0)
        );
        let lost = tally(&[0, 2], 3);
        assert_eq!((lost.lost, lost.duplicated, lost.reordered), (1, 0, 0));
        let tail = tally(&[0, 1], 3);
        assert_eq!(tail.lost, 1, "the last one is missed too");
        let reordered = tally(&[0, 2, 1], 3);
        assert_eq!(
            (reordered.lost, reordered.duplicated, reordered.reordered),
            (0, 0, 1)
        );
        let duplicated = tally(&[0, 1, 1, 0, 2], 3);
        assert_eq!(
            (duplicated.lost, duplicated.duplicated, duplicated.reordered),
            (0, 2, 0)
        );
        assert_eq!((duplicated.sent, duplicated.delivered), (3, 3));
    }
}
