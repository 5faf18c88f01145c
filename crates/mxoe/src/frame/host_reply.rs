//! HOST_REPLY (4): tells a board's name (specification, sections 3.1 and 4.3).

use std::fmt;
use std::str::FromStr;

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::PeerIndex;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    length: u8,
    /// 2
    index: U16,
    /// 4
    reserved: [u8; 4],
    /// 8
    magic: U32,
    /// 12
    reserved_2: [u8; 4],
}
const _: () = assert!(size_of::<Raw>() == 16);

/// Tells a board's name, which is the frame's payload: see [`HostName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostReply {
    /// Payload bytes: the name with its final NUL, at most [`HostName::MAX`] + 1.
    pub length: u8,
    /// The querier's index in the replier's table: what the querier puts in heads from now on.
    pub index: PeerIndex,
    /// Copied from the query.
    pub magic: u32,
}

impl HostReply {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        if raw.length > NAME_BYTES {
            let (length, limit) = (raw.length.into(), NAME_BYTES.into());
            return Err(WireError::TooLong { length, limit });
        }
        let payload = body.payload::<Raw>(raw.length.into())?;
        let frame = Frame::HostReply(Self {
            length: raw.length,
            index: PeerIndex::new(raw.index.get()),
            magic: raw.magic.get(),
        });
        Ok(Parsed {
            eth,
            frame,
            payload,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        let raw = Raw {
            kind: Kind::HostReply.to_wire(),
            length: self.length,
            index: self.index.get().into(),
            reserved: [0; 4],
            magic: self.magic.into(),
            reserved_2: [0; 4],
        };
        out.put(eth, raw);
    }
}

/// Bytes of the longest name and its NUL (specification, section 9).
const NAME_BYTES: u8 = 80;

/// A board's name as HOST_REPLY carries it: `host:board`, at most 79 printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostName {
    /// The name, and zeros to the end: at least one.
    bytes: [u8; NAME_BYTES as usize],
    /// Length of the name alone.
    len: u8,
}

/// Why a text cannot be a board's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host name has at most 79 characters, all of them printable ASCII")]
pub struct BadHostName;

impl HostName {
    /// The most characters.
    pub const MAX: usize = NAME_BYTES as usize - 1;

    /// Reads the payload of a HOST_REPLY: everything before the first NUL.
    ///
    /// # Errors
    /// [`BadHostName`] when it is too long, or not printable ASCII and so unfit for terminals and logs.
    pub fn from_payload(payload: &[u8]) -> Result<Self, BadHostName> {
        let name = payload.split(|byte| *byte == 0).next().unwrap_or_default();
        if !name.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(BadHostName);
        }
        let mut bytes = [0; NAME_BYTES as usize];
        let len = u8::try_from(name.len()).map_err(|_| BadHostName)?;
        if len >= NAME_BYTES {
            return Err(BadHostName);
        }
        bytes
            .get_mut(..name.len())
            .ok_or(BadHostName)?
            .copy_from_slice(name);
        Ok(Self { bytes, len })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let name = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        // Only ASCII gets in, so the default is never used.
        std::str::from_utf8(name).unwrap_or_default()
    }

    /// The payload of a HOST_REPLY: the name and its NUL. Its length goes into [`HostReply::length`].
    #[must_use]
    pub fn as_payload(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.len).saturating_add(1))
            .unwrap_or_default()
    }

    /// The reply that tells this name.
    #[must_use]
    pub fn reply(&self, index: PeerIndex, magic: u32) -> HostReply {
        HostReply {
            length: self.len.saturating_add(1),
            index,
            magic,
        }
    }
}

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(name: &str) -> Result<Self, BadHostName> {
        if name.contains('\0') {
            return Err(BadHostName);
        }
        Self::from_payload(name.as_bytes())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_travels_with_its_nul() {
        let name: HostName = "ga:0".parse().unwrap();
        assert_eq!(name.as_payload(), b"ga:0\0");
        assert_eq!(name.reply(PeerIndex::new(4), 1).length, 5);
        assert_eq!(HostName::from_payload(b"ga:0\0garbage"), Ok(name));
        assert_eq!(HostName::from_payload(b"ga:0"), Ok(name));
        assert_eq!(HostName::from_payload(b"").unwrap().as_str(), "");
    }

    #[test]
    fn a_name_that_would_garble_a_terminal_is_refused() {
        assert_eq!(HostName::from_payload(b"\x1b[2J\0"), Err(BadHostName));
        assert_eq!(HostName::from_payload("é".as_bytes()), Err(BadHostName));
        assert!("x".repeat(79).parse::<HostName>().is_ok());
        assert_eq!("x".repeat(80).parse::<HostName>(), Err(BadHostName));
        assert_eq!("a\0b".parse::<HostName>(), Err(BadHostName));
    }
}
