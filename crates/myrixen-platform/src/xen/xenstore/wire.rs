//! The bytes of requests and replies.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::xen::error::XenError;

/// The most a payload has: `XENSTORE_PAYLOAD_MAX` of xs_wire.h.
pub(super) const MAX_PAYLOAD: usize = 4096;
/// The most a request's payload has. The kernel's device keeps header and payload in 4096 bytes
/// (drivers/xen/xenbus/xenbus_dev_frontend.c); a socket would take 16 more.
pub const MAX_REQUEST: usize = MAX_PAYLOAD - HEADER;
/// Bytes of the header.
pub(super) const HEADER: usize = size_of::<Header>();

/// `xsd_sockmsg`, in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct Header {
    pub(super) kind: u32,
    pub(super) request: u32,
    pub(super) transaction: u32,
    pub(super) len: u32,
}

const _: () = assert!(HEADER == 16);

/// What a message is: `xsd_sockmsg_type`, as far as it is used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    Directory = 1,
    Read = 2,
    GetPerms = 3,
    Watch = 4,
    Unwatch = 5,
    TransactionStart = 6,
    TransactionEnd = 7,
    GetDomainPath = 10,
    Write = 11,
    Mkdir = 12,
    Rm = 13,
    SetPerms = 14,
}

/// The kinds of what only xenstore sends.
pub(super) const WATCH_EVENT: u32 = 15;
pub(super) const ERROR: u32 = 16;

/// A transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TxId(u32);

impl TxId {
    /// None: the request stands for itself.
    pub(super) const NONE: Self = Self(0);

    pub(super) fn new(number: u32) -> Self {
        Self(number)
    }

    pub(super) fn get(self) -> u32 {
        self.0
    }
}

/// A message that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
}

/// What arrived is not a message. What follows it has no beginning, so nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Messages from pieces of any length. Holds one message at most.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    bytes: Vec<u8>,
}

impl Assembler {
    /// How many bytes the present message lacks, as far as is known yet. Zero when it is complete.
    pub(super) fn missing(&self) -> Result<usize, TooLong> {
        let whole = match self.header() {
            None => HEADER,
            Some(header) => usize::try_from(header.len)
                .ok()
                .filter(|&len| len <= MAX_PAYLOAD)
                .and_then(|len| len.checked_add(HEADER))
                .ok_or(TooLong)?,
        };
        Ok(whole.saturating_sub(self.bytes.len()))
    }

    /// Adds bytes, no more than are missing.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The message, when it is complete.
    pub(super) fn take(&mut self) -> Result<Option<Message>, TooLong> {
        if self.missing()? > 0 {
            return Ok(None);
        }
        let Some((header, payload)) = self.bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let message = Message {
            header: zerocopy::transmute!(*header),
            payload: payload.to_vec(),
        };
        self.bytes.clear();
        Ok(Some(message))
    }

    fn header(&self) -> Option<Header> {
        let header = self.bytes.first_chunk::<HEADER>()?;
        Some(zerocopy::transmute!(*header))
    }
}

/// A request's bytes.
pub(super) fn request(
    kind: Kind,
    request: u32,
    id: TxId,
    payload: &[u8],
) -> Result<Vec<u8>, XenError> {
    let too_long = || XenError::StoreTooLong {
        bytes: payload.len(),
        max: MAX_REQUEST,
    };
    if payload.len() > MAX_REQUEST {
        return Err(too_long());
    }
    let header = Header {
        kind: kind as u32,
        request,
        transaction: id.get(),
        len: u32::try_from(payload.len()).map_err(|_| too_long())?,
    };
    Ok([header.as_bytes(), payload].concat())
}

/// Texts one after another, each with a zero byte at its end.
pub(super) fn strings(texts: &[&str]) -> Result<Vec<u8>, XenError> {
    let mut bytes = Vec::new();
    for text in texts {
        if text.contains('\0') {
            return Err(XenError::StorePath((*text).to_owned()));
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    Ok(bytes)
}

/// What is before the first zero byte, or everything.
pub(super) fn before_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(bytes)
}

/// The parts that end in zero bytes. The last may lack it.
pub(super) fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    let empty = bytes.is_empty();
    bytes
        .split(|&byte| byte == 0)
        .take(if empty { 0 } else { usize::MAX })
}

/// A path or a name.
pub(super) fn text(bytes: &[u8]) -> Result<String, XenError> {
    std::str::from_utf8(bytes)
        .map(ToOwned::to_owned)
        .map_err(|_| XenError::StoreGarbled("a path is not text"))
}

/// A number in decimal digits.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    let digits = before_zero(bytes);
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}
