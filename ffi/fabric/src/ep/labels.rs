//! What the engine's requests are called beside their contexts: what they are to the application.

use crate::abi::flag;

/// What an operation is, and whether the application hears of its success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(u32);

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum What {
    SendTagged,
    Send,
    ReceiveTagged,
    Receive,
    /// A piece of a buffer for many messages; its context is the buffer's number.
    ReceiveMany,
    /// A connect; its context is the place in the address vector.
    Connect,
    /// Data of an operation on memory; its context is the operation's number.
    Memory,
    /// Data of a peer's operation on our memory; its context is the work's number.
    Served,
}

const WHAT: [What; 8] = [
    What::SendTagged,
    What::Send,
    What::ReceiveTagged,
    What::Receive,
    What::ReceiveMany,
    What::Connect,
    What::Memory,
    What::Served,
];

const REPORTED: u32 = 1 << 8;

impl Label {
    /// An operation whose success is not told, as far as this says.
    pub(crate) const fn new(what: What) -> Self {
        Self(what as u32)
    }

    /// Whether its success is told.
    #[inline]
    pub(crate) const fn reported(self, reported: bool) -> Self {
        Self(if reported { self.0 | REPORTED } else { self.0 })
    }

    #[inline]
    pub(crate) fn is_reported(self) -> bool {
        self.0 & REPORTED != 0
    }

    /// Whether it is a receive into a buffer of its own that is told.
    #[inline]
    pub(crate) fn is_plain_receive(self) -> bool {
        const TAGGED: Label = Label::new(What::ReceiveTagged).reported(true);
        const PLAIN: Label = Label::new(What::Receive).reported(true);
        self == TAGGED || self == PLAIN
    }

    /// What the completions of such a one say.
    #[inline]
    pub(crate) fn receive_flags(self) -> u64 {
        if self.0 & 0xff == What::ReceiveTagged as u32 {
            flag::RECV | flag::TAGGED
        } else {
            flag::RECV | flag::MSG
        }
    }

    #[inline]
    pub(crate) fn what(self) -> Option<What> {
        WHAT.get((self.0 & 0xff) as usize).copied()
    }

    /// As a number that the engine keeps.
    pub(crate) const fn get(self) -> u32 {
        self.0
    }

    /// Of such a number.
    #[inline]
    pub(crate) const fn of(number: u32) -> Self {
        Self(number)
    }
}

impl What {
    /// What its completions say of themselves.
    #[inline]
    pub(crate) fn flags(self) -> u64 {
        match self {
            Self::SendTagged => flag::SEND | flag::TAGGED,
            Self::Send => flag::SEND | flag::MSG,
            Self::ReceiveTagged => flag::RECV | flag::TAGGED,
            Self::Receive | Self::ReceiveMany => flag::RECV | flag::MSG,
            Self::Connect | Self::Memory | Self::Served => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_was_made_of_it() {
        for (at, what) in WHAT.into_iter().enumerate() {
            assert_eq!(what as usize, at);
            for reported in [false, true] {
                let label = Label::of(Label::new(what).reported(reported).get());
                assert_eq!((label.what(), label.is_reported()), (Some(what), reported));
            }
        }
    }
}
