//! SMALL (38): a whole message of at most 128 bytes (specification, sections 3.4 and 7.1).

use super::head::{Body, EthHead, Head};
use super::message::{MessageHead, RawMessage};
use super::{Frame, Kind, Parsed, WireError};

/// A whole message of at most [`Small::MAX`] bytes; they are the frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Small {
    /// What all messages carry.
    pub head: MessageHead,
    /// Payload bytes, at most [`Small::MAX`].
    pub length: u8,
}

impl Small {
    /// The most payload bytes: receivers drop a frame that carries more.
    pub const MAX: u8 = 128;

    #[inline]
    pub(super) fn parse(body: Body<'_>) -> Result<Parsed, WireError> {
        let (eth, raw) = body.raw::<RawMessage>()?;
        let length = match u8::try_from(raw.length()) {
            Ok(length @ ..=Self::MAX) => length,
            _ => {
                let (length, limit) = (raw.length().into(), Self::MAX.into());
                return Err(WireError::TooLong { length, limit });
            }
        };
        let payload = body.payload::<RawMessage>(length.into())?;
        Ok(Parsed {
            eth,
            frame: Frame::Small(Self {
                head: raw.head(),
                length,
            }),
            payload,
        })
    }

    #[inline]
    pub(crate) fn emit(&self, eth: &EthHead, out: &mut Head) {
        debug_assert!(self.length <= Self::MAX);
        out.put(
            eth,
            RawMessage::new(Kind::Small, &self.head, self.length.into()),
        );
    }
}
