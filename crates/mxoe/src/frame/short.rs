//! TINY and SMALL alike: whole messages in one frame.

use super::head::{Body, EthHead, Head};
use super::message::{MessageHead, RawMessage};
use super::{ETH_BYTES, Kind, Small, Tiny};

/// A whole message of at most [`Small::MAX`] bytes, be it TINY or SMALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortMessage {
    /// What all messages carry.
    pub(crate) head: MessageHead,
    /// Payload bytes, at most [`Small::MAX`].
    pub(crate) length: u8,
}

impl ShortMessage {
    /// Where in the frame the payload begins.
    pub(crate) const PAYLOAD_AT: usize = ETH_BYTES + size_of::<RawMessage>();

    /// Reads a frame, of which `head` holds the first bytes and `len` is the length. `None` for all that [`parse`](super::parse) does not take for a
    /// TINY or SMALL.
    #[inline(always)]
    pub(crate) fn read(head: &[u8], len: usize) -> Option<Self> {
        let (kind, body) = Body::of(head, len).ok()?;
        let limit = match kind {
            Kind::Tiny => Tiny::MAX,
            Kind::Small => Small::MAX,
            _ => return None,
        };
        let (_, raw) = body.raw::<RawMessage>().ok()?;
        let length = u8::try_from(raw.length()).ok()?;
        body.payload::<RawMessage>(length.into()).ok()?;
        (length <= limit).then(|| Self {
            head: raw.head(),
            length,
        })
    }

    /// Writes it as the shorter of the two that holds it.
    #[inline(always)]
    pub(crate) fn emit(&self, eth: &EthHead, out: &mut Head) {
        debug_assert!(self.length <= Small::MAX);
        let kind = match self.length {
            ..=Tiny::MAX => Kind::Tiny,
            _ => Kind::Small,
        };
        out.put(eth, RawMessage::new(kind, &self.head, self.length.into()));
    }
}
