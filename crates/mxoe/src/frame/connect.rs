//! CONNECT (36), request and reply (specification, sections 3.3 and 5.2; `docs/wire.md`, "Extension in CONNECT").

use zerocopy::byteorder::big_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::head::{Body, EthHead, Head};
use super::{Frame, Kind, Parsed, WireError};
use crate::addr::{EndpointId, PeerIndex, SeqNo, SessionId};

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    /// 0
    kind: u8,
    /// 1
    to: u8,
    /// 2
    from: u8,
    /// 3
    reserved: u8,
    /// 4: bytes from offset 16 on
    length: u8,
    /// 5
    reserved_2: [u8; 3],
    /// 8
    seq: U16,
    /// 10
    index: U16,
    /// 12
    reserved_3: [u8; 4],
    /// 16
    session: U32,
    /// 20: request: key; reply: the replier's session
    key_or_session: U32,
    /// 24
    recv_start: U16,
    /// 26
    is_reply: u8,
    /// 27
    attempt: u8,
    /// 28: reply only
    status: u8,
    /// 29
    reserved_4: [u8; 3],
}
const _: () = assert!(size_of::<Raw>() == 32);

/// What MyriXen adds at offset 32.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtension {
    /// 32
    magic: U32,
    /// 36
    version: U16,
    /// 38: bytes of the extension
    length: U16,
    /// 40
    features: U32,
    /// 44
    reserved: [u8; 4],
}
const _: () = assert!(size_of::<RawExtension>() == 16);

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtended {
    connect: Raw,
    extension: RawExtension,
}

/// Bytes of data that every CONNECT carries.
const DATA_BYTES: u8 = 16;
/// Bytes of data together with the extension.
const EXTENDED_BYTES: u8 = 32;
/// "MyXi"
const EXTENSION_MAGIC: u32 = 0x4d79_5869;
const EXTENSION_VERSION: u16 = 1;
const EXTENSION_BYTES: u16 = 16;

/// What a MyriXen endpoint can do beyond the specification. A feature is used when both ends have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Features(u32);

impl Features {
    /// None of them.
    pub const NONE: Self = Self(0);
    /// Byte 3 of TINY, SMALL, MEDIUM and RNDV names the matching space.
    pub const SPACES: Self = Self(1);
    /// Byte 3 of these may also say that the message begins with eight bytes of data for its envelope.
    pub const DATA: Self = Self(2);
    /// There is a third matching space, for what endpoints say to each other beside the program's messages.
    pub const SERVICE: Self = Self(4);

    /// The features with these bits, known or not.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// One bit for each feature.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all features of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What both have.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either has.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The outcome that a CONNECT reply tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectStatus {
    /// 0: connected.
    Success,
    /// 11: the key is not that of the endpoint.
    BadKey,
    /// Anything else. The reference peer ignores such a reply.
    Other(u8),
}

impl ConnectStatus {
    const fn from_wire(number: u8) -> Self {
        match number {
            0 => Self::Success,
            11 => Self::BadKey,
            other => Self::Other(other),
        }
    }

    const fn to_wire(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::BadKey => 11,
            Self::Other(number) => number,
        }
    }
}

/// What only a request or only a reply carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectRole {
    /// Asks for a connection.
    Request {
        /// The key that the application expects the other end to have.
        key: u32,
    },
    /// Answers a request.
    Reply {
        /// The replier's own session.
        session: SessionId,
        /// The outcome.
        status: ConnectStatus,
    },
}

/// Request or reply of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connect {
    /// Whom it is for.
    pub to: EndpointId,
    /// Who sends it.
    pub from: EndpointId,
    /// Sent as `SeqNo::from_wire(0)`; a NACK_LIB gives it back.
    pub seq: SeqNo,
    /// The destination board's index in the sender's table: what the receiver puts in heads from now on.
    pub index: PeerIndex,
    /// The requester's session, in request and reply alike.
    pub session: SessionId,
    /// The next sequence number that the sender of this packet expects from the other side.
    pub recv_start: SeqNo,
    /// The number of this connection attempt; a reply gives it back.
    pub attempt: u8,
    /// Request or reply.
    pub role: ConnectRole,
    /// What the sender can do; `None` when it says nothing, as Open-MX does.
    pub features: Option<Features>,
}

impl Connect {
    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<Raw>()?;
        if raw.length < DATA_BYTES {
            let (length, need) = (raw.length.into(), DATA_BYTES.into());
            return Err(WireError::ShortData { length, need });
        }
        body.payload::<Raw>(usize::from(raw.length.saturating_sub(DATA_BYTES)))?;
        let other = raw.key_or_session.get();
        let role = match raw.is_reply {
            0 => ConnectRole::Request { key: other },
            _ => ConnectRole::Reply {
                session: SessionId::new(other),
                status: ConnectStatus::from_wire(raw.status),
            },
        };
        let features = features(raw, body);
        let payload = match features {
            Some(_) => body.payload::<RawExtended>(0)?,
            None => body.payload::<Raw>(0)?,
        };
        let frame = Frame::Connect(Self {
            to: EndpointId::new(raw.to),
            from: EndpointId::new(raw.from),
            seq: SeqNo::from_wire(raw.seq.get()),
            index: PeerIndex::new(raw.index.get()),
            session: SessionId::new(raw.session.get()),
            recv_start: SeqNo::from_wire(raw.recv_start.get()),
            attempt: raw.attempt,
            role,
            features,
        });
        Ok(Parsed {
            eth,
            frame,
            payload,
        })
    }

    #[inline]
    pub(super) fn emit(&self, eth: &EthHead, out: &mut Head) {
        let (is_reply, key_or_session, status) = match self.role {
            ConnectRole::Request { key } => (0, key, 0),
            ConnectRole::Reply { session, status } => (1, session.get(), status.to_wire()),
        };
        let connect = Raw {
            kind: Kind::Connect.to_wire(),
            to: self.to.get(),
            from: self.from.get(),
            reserved: 0,
            length: if self.features.is_some() {
                EXTENDED_BYTES
            } else {
                DATA_BYTES
            },
            reserved_2: [0; 3],
            seq: self.seq.to_wire().into(),
            index: self.index.get().into(),
            reserved_3: [0; 4],
            session: self.session.get().into(),
            key_or_session: key_or_session.into(),
            recv_start: self.recv_start.to_wire().into(),
            is_reply,
            attempt: self.attempt,
            status,
            reserved_4: [0; 3],
        };
        let Some(features) = self.features else {
            return out.put(eth, connect);
        };
        let extension = RawExtension {
            magic: EXTENSION_MAGIC.into(),
            version: EXTENSION_VERSION.into(),
            length: EXTENSION_BYTES.into(),
            features: features.bits().into(),
            reserved: [0; 4],
        };
        out.put(eth, RawExtended { connect, extension });
    }
}

/// What the extension announces. Whatever is not one of ours is somebody else's, and ignored as the
/// reference peer ignores ours. Later versions only add to the end.
fn features(raw: &Raw, body: Body<'_>) -> Option<Features> {
    if raw.length < EXTENDED_BYTES {
        return None;
    }
    let extension = body.raw::<RawExtended>().ok()?.1.extension;
    let ours = extension.magic.get() == EXTENSION_MAGIC
        && extension.version.get() >= EXTENSION_VERSION
        && extension.length.get() >= EXTENSION_BYTES;
    ours.then(|| Features(extension.features.get()))
}
