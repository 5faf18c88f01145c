//! The bytes of control messages: header and field encodings.

use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{MessageError, Serial};

/// The longest control message in bytes, header included. A page of the control ring holds several.
pub const MAX_MESSAGE: usize = 1024;

/// Kinds of messages. Requests have bit 12, notices bit 14, replies bit 15.
pub(crate) mod kind {
    pub(crate) const HELLO: u16 = 0x0001;
    pub(crate) const WELCOME: u16 = 0x0002;
    pub(crate) const REFUSED: u16 = 0x0003;
    pub(crate) const HANDOVER: u16 = 0x0004;
    pub(crate) const OPEN_PORT: u16 = 0x1001;
    pub(crate) const CLOSE_PORT: u16 = 0x1002;
    pub(crate) const RESOLVE: u16 = 0x1003;
    pub(crate) const LIST_BOARDS: u16 = 0x1004;
    pub(crate) const OPEN_DIRECT: u16 = 0x1005;
    pub(crate) const CLOSE_DIRECT: u16 = 0x1006;
    pub(crate) const ADOPT_DIRECT: u16 = 0x1007;
    pub(crate) const ADOPT_PORT: u16 = 0x1008;
    pub(crate) const ASK_GRANTEE: u16 = 0x1009;
    pub(crate) const LEND_POOL: u16 = 0x100a;
    pub(crate) const LIST_PORTS: u16 = 0x100b;
    pub(crate) const LIST_OWN_BOARDS: u16 = 0x100c;
    pub(crate) const DIRECT_OFFERED: u16 = 0x4001;
    pub(crate) const ENDPOINT_GONE: u16 = 0x4002;
    pub(crate) const BOARD_GONE: u16 = 0x4003;
    pub(crate) const DRAINING: u16 = 0x4004;
    pub(crate) const DIRECT_GONE: u16 = 0x4005;
    pub(crate) const LET_GO: u16 = 0x4006;
    pub(crate) const POOL_LENT: u16 = 0x4007;
    pub(crate) const DONE: u16 = 0x8000;
    pub(crate) const FAILED: u16 = 0x8001;
    pub(crate) const PORT: u16 = 0x8002;
    pub(crate) const BOARD: u16 = 0x8003;
    pub(crate) const BOARDS: u16 = 0x8004;
    pub(crate) const DIRECT: u16 = 0x8005;
    pub(crate) const GRANTEE: u16 = 0x8006;
    pub(crate) const PORTS: u16 = 0x8007;
}

/// Flag bit: this answers the request of the same serial number.
const ANSWER: u16 = 1;
/// Bits 8..12 of the flags: how many things are handed over with the message.
const HANDED_SHIFT: u32 = 8;
const HANDED_MASK: u16 = 0xf;

/// The first 16 bytes of every control message.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    kind: U16,
    flags: U16,
    length: U32,
    serial: U64,
}
/// Bytes of the header of every control message.
pub(crate) const HEADER_BYTES: usize = size_of::<RawHeader>();
const _: () = assert!(HEADER_BYTES == 16);

/// The meaning of a header.
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) answer: bool,
    pub(crate) handed: u8,
    pub(crate) serial: Serial,
}

impl Header {
    /// Checks the length and reads the header. Unknown flag bits are ignored (version rule).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        let have = bytes.len();
        if have > MAX_MESSAGE {
            return Err(MessageError::TooLong { have });
        }
        let (raw, _) = RawHeader::ref_from_prefix(bytes).map_err(|_| MessageError::Truncated {
            kind: 0,
            have,
            need: size_of::<RawHeader>(),
        })?;
        let says = raw.length.get();
        if usize::try_from(says) != Ok(have) {
            return Err(MessageError::Length { says, have });
        }
        let flags = raw.flags.get();
        let [handed, _] = ((flags >> HANDED_SHIFT) & HANDED_MASK).to_le_bytes();
        Ok(Self {
            kind: raw.kind.get(),
            answer: flags & ANSWER != 0,
            handed,
            serial: Serial::new(raw.serial.get()),
        })
    }

    /// Header and body as one message.
    ///
    /// # Panics
    /// When the body is longer than a message may be, or more than 15 things are handed over:
    /// both are mistakes of this library.
    pub(crate) fn emit(&self, body: &[u8]) -> Vec<u8> {
        let len = HEADER_BYTES.saturating_add(body.len());
        assert!(len <= MAX_MESSAGE, "control message of {len} bytes");
        let handed = u16::from(self.handed);
        assert!(handed <= HANDED_MASK, "{handed} things handed over at once");
        let raw = RawHeader {
            kind: self.kind.into(),
            flags: ((u16::from(self.answer) * ANSWER) | (handed << HANDED_SHIFT)).into(),
            length: u32::try_from(len).unwrap_or(u32::MAX).into(),
            serial: self.serial.get().into(),
        };
        let mut bytes = Vec::with_capacity(len);
        bytes.extend_from_slice(raw.as_bytes());
        bytes.extend_from_slice(body);
        bytes
    }
}

/// The body of a message as the layout `T`; what follows is of a later minor version.
pub(crate) fn body<T>(kind: u16, message: &[u8]) -> Result<(&T, &[u8]), MessageError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    let truncated = MessageError::Truncated {
        kind,
        have: message.len(),
        need: HEADER_BYTES.saturating_add(size_of::<T>()),
    };
    let body = message.get(size_of::<RawHeader>()..).ok_or(truncated)?;
    T::ref_from_prefix(body).map_err(|_| truncated)
}

/// An error about one field.
pub(crate) fn invalid(kind: u16, field: &'static str) -> MessageError {
    MessageError::Invalid { kind, field }
}
