//! Names and numbers that appear in frames: boards, endpoints, sessions, sequence numbers, peer indexes.

use std::fmt;
use std::str::FromStr;

/// A board: a network interface, named by its 48-bit MAC address (specification, section 1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
// One word, since addresses are copied and compared with every message, and bytes that are stored one way and loaded another have a processor wait.
pub struct NicAddr(u64);

impl NicAddr {
    /// Every board of the segment.
    pub const BROADCAST: Self = Self::new([0xff; 6]);
    /// No board: all bytes zero.
    pub const ZERO: Self = Self(0);

    /// The board with this MAC address, first byte on the wire first.
    #[must_use]
    pub const fn new(octets: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = octets;
        Self(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    /// From a NIC id: the MAC in the low 48 bits. The high 16 bits are ignored.
    #[must_use]
    pub const fn from_u64(id: u64) -> Self {
        Self(id & 0xffff_ffff_ffff)
    }

    /// The NIC id: the MAC in the low 48 bits, high 16 bits zero.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The MAC address, first byte on the wire first.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// True for group addresses, [`NicAddr::BROADCAST`] among them. No board may send as one.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.octets()[0] & 1 != 0
    }
}

impl From<[u8; 6]> for NicAddr {
    fn from(octets: [u8; 6]) -> Self {
        Self::new(octets)
    }
}

impl fmt::Display for NicAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for NicAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a MAC address is six two-digit hexadecimal numbers joined by colons")]
pub struct BadNicAddr;

impl FromStr for NicAddr {
    type Err = BadNicAddr;

    /// Reads `02:00:00:00:00:0a`; dashes may stand for colons.
    fn from_str(text: &str) -> Result<Self, BadNicAddr> {
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or(BadNicAddr)?;
            // from_str_radix alone would take a sign.
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(BadNicAddr);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| BadNicAddr)?;
        }
        match parts.next() {
            None => Ok(Self::new(octets)),
            Some(_) => Err(BadNicAddr),
        }
    }
}

/// An endpoint of a board, 0..=255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointId(u8);

impl EndpointId {
    /// The endpoint with this number.
    #[must_use]
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for EndpointId {
    fn from(number: u8) -> Self {
        Self(number)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One endpoint of one board.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address {
    /// The board.
    pub nic: NicAddr,
    /// The endpoint on it.
    pub endpoint: EndpointId,
}

impl Address {
    /// The address made of the two.
    #[must_use]
    pub const fn new(nic: NicAddr, endpoint: EndpointId) -> Self {
        Self { nic, endpoint }
    }
}

impl fmt::Display for Address {
    /// Writes `02:00:00:00:00:0a/5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.nic, self.endpoint)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The random number that tells one opening of an endpoint from another (specification, section 1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u32);

impl SessionId {
    /// What the reference peer sends while it does not know the other side's session (section 5.3).
    /// Never the session of an endpoint.
    pub const UNKNOWN: Self = Self(0xffff_ffff);

    /// The session with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A message's number: 2 session bits and a 14-bit count modulo 16384 (specification, section 6.1).
///
/// The count wraps, so there is no `Ord`: "before" and "after" only make sense against a base, and
/// are asked for as a distance from it.
// A word, though 16 bits would do: compilers load such a pair of bytes with its neighbours, and a load that reaches beyond what was just stored waits until that
// is in the cache, behind all that was stored before. With every message sent that was the line of the ring it went to.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqNo(u32);

impl SeqNo {
    /// The first number of a fresh partner: session bits 0, number 1.
    pub const FIRST: Self = Self(1);
    /// How many numbers there are before they repeat.
    pub const MODULUS: u16 = 1 << 14;
    const NUMBER: u32 = Self::MODULUS as u32 - 1;

    /// The sequence number with these session bits (0..=3) and this number (0..=16383); higher bits of
    /// either are ignored.
    #[must_use]
    pub const fn new(session: u8, number: u16) -> Self {
        Self(((session as u32 & 3) << 14) | (number as u32 & Self::NUMBER))
    }

    /// As it stands in a frame.
    #[must_use]
    pub const fn from_wire(word: u16) -> Self {
        Self(word as u32)
    }

    /// As it stands in a frame.
    #[must_use]
    pub const fn to_wire(self) -> u16 {
        (self.0 & 0xffff) as u16
    }

    /// The session bits, 0..=3.
    #[must_use]
    pub const fn session(self) -> u8 {
        (self.0 >> 14 & 3) as u8
    }

    /// The number without session bits, 0..=16383.
    #[must_use]
    pub const fn number(self) -> u16 {
        (self.0 & Self::NUMBER) as u16
    }

    /// Whether both have the same session bits. Where they have not, a distance means nothing.
    #[must_use]
    pub const fn same_session(self, other: Self) -> bool {
        (self.0 ^ other.0) & !Self::NUMBER == 0
    }

    /// The number after this one; the session bits stay.
    #[must_use]
    pub const fn next(self) -> Self {
        self.advance(1)
    }

    /// The number `by` after this one, modulo 16384; the session bits stay.
    #[must_use]
    pub const fn advance(self, by: u16) -> Self {
        Self((self.0 & !Self::NUMBER) | (self.0.wrapping_add(by as u32) & Self::NUMBER))
    }

    /// The number `by` before this one, modulo 16384; the session bits stay.
    #[must_use]
    pub const fn retreat(self, by: u16) -> Self {
        Self((self.0 & !Self::NUMBER) | (self.0.wrapping_sub(by as u32) & Self::NUMBER))
    }

    /// How far `self` lies after `base`, modulo 16384: 0..=16383. Session bits are not looked at.
    #[must_use]
    pub const fn distance_from(self, base: Self) -> u16 {
        (self.0.wrapping_sub(base.0) & Self::NUMBER) as u16
    }

    /// The first number under the next session bits, after a partner was given up (section 6.4).
    #[must_use]
    pub const fn next_session(self) -> Self {
        Self::new(self.session().wrapping_add(1), 1)
    }
}

impl fmt::Display for SeqNo {
    /// Writes the number, and the session bits before it when they are not 0: `17`, `1.17`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.session() {
            0 => write!(f, "{}", self.number()),
            session => write!(f, "{session}.{}", self.number()),
        }
    }
}

impl fmt::Debug for SeqNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in somebody's table of boards (specification, section 4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerIndex(u16);

impl PeerIndex {
    /// What is sent while the receiver's index for us is not known (section 4.2).
    pub const UNKNOWN: Self = Self(0xffff);

    /// The index with this number.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for PeerIndex {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl fmt::Display for PeerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::UNKNOWN => f.write_str("unknown"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Debug for PeerIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_mac_is_read_as_it_is_written() {
        let nic = NicAddr::new([2, 0, 0, 0, 0xab, 0x0a]);
        assert_eq!(nic.to_string(), "02:00:00:00:ab:0a");
        assert_eq!("02:00:00:00:ab:0a".parse(), Ok(nic));
        assert_eq!("02-00-00-00-AB-0A".parse(), Ok(nic));
        assert_eq!(NicAddr::from_u64(nic.to_u64()), nic);
        assert_eq!(nic.to_u64(), 0x0200_0000_ab0a);
    }

    #[test]
    fn what_is_not_a_mac_is_refused() {
        for text in [
            "",
            "02",
            "02:00:00:00:00",
            "02:00:00:00:00:0a:0b",
            "2:0:0:0:0:a",
            "+2:00:00:00:00:0a",
            "0g:00:00:00:00:0a",
        ] {
            assert_eq!(text.parse::<NicAddr>(), Err(BadNicAddr), "{text}");
        }
    }

    #[test]
    fn the_number_wraps_below_the_session_bits() {
        let last = SeqNo::new(2, 0x3fff);
        assert_eq!(last.to_wire(), 0xbfff);
        assert_eq!(last.next(), SeqNo::new(2, 0));
        assert_eq!(SeqNo::new(2, 0).retreat(1), last);
        assert_eq!(last.next().distance_from(last), 1);
        assert_eq!(last.distance_from(last.next()), 16383);
        assert_eq!(SeqNo::new(3, 9).next_session(), SeqNo::FIRST);
    }

    proptest! {
        #[test]
        fn advancing_moves_by_the_distance(word: u16, by in 0..SeqNo::MODULUS) {
            let start = SeqNo::from_wire(word);
            let end = start.advance(by);
            prop_assert_eq!(end.distance_from(start), by);
            prop_assert!(end.same_session(start));
            prop_assert_eq!(end.retreat(by), start);
            prop_assert_eq!(SeqNo::new(start.session(), start.number()), start);
        }
    }
}
