//! What a link counts.

use std::ops::{Index, IndexMut};

/// Frames and their bytes (Ethernet header included, tags and tunnel headers not).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Whole frames.
    pub frames: u64,
    /// Bytes in them.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one frame of `len` bytes.
    pub(crate) fn count(&mut self, len: usize) {
        self.frames += 1;
        self.bytes += len as u64;
    }
}

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a link dropped a frame. Each reason has a counter of its own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The reason as a name for counters: lower case, words joined by underscores.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        const REASONS: usize = [$($name,)+].len();
    };
}

drop_reasons! {
    /// Transmit: the interface was down.
    InterfaceDown = "interface_down",
    /// Transmit: the kernel refused the frame (too long for the device, wrong format).
    TransmitRefused = "transmit_refused",
    /// Transmit: longer than the link carries, or than the path to the remote end.
    TransmitTooLong = "transmit_too_long",
    /// Transmit: no route to the remote end, or it answered that nobody listens.
    Unreachable = "unreachable",
    /// Transmit: a frame for nobody, because no remote end is configured.
    NoRemote = "no_remote",
    /// Receive: the kernel had no room in the receive ring or socket buffer.
    ReceiveOverrun = "receive_overrun",
    /// Receive: did not fit the receive buffer; only a part arrived.
    Truncated = "truncated",
    /// Receive: shorter than the headers it should have.
    ReceiveTooShort = "receive_too_short",
    /// Receive: longer than the link carries.
    ReceiveTooLong = "receive_too_long",
    /// Receive: not an MXoE frame.
    ForeignEtherType = "foreign_ethertype",
    /// Receive: a VLAN tag of a kind that is not supported (802.1ad).
    ForeignTag = "foreign_tag",
    /// Receive: a datagram whose VXLAN header has no valid VNI (the I flag is not set).
    NoVni = "no_vni",
    /// Receive: a datagram from an address that is not among the remote ends.
    UnknownRemote = "unknown_remote",
    /// A fault-injecting wrapper dropped it on purpose.
    Injected = "injected",
}

/// What went over a link, and what did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames taken to be sent.
    pub transmitted: Traffic,
    /// Frames handed to the caller.
    pub received: Traffic,
    /// Times that `transmit` answered [`Full`](crate::LinkError::Full).
    pub full: u64,
    /// System calls made to send or receive.
    pub system_calls: u64,
    /// Frames sent to every remote end because the place of their destination was not known
    /// (or is everywhere).
    pub flooded: u64,
    /// Addresses learnt, or learnt to be elsewhere.
    pub learned: u64,
    /// Addresses that were not learnt, or forgotten early, because the table was full.
    pub table_full: u64,
    /// Times the interface was found down.
    pub outages: u64,
    /// Of the received frames, those that came by AF_XDP.
    pub redirected: u64,
    /// Whether the card receives everything because it has no room for the guests' addresses.
    pub promiscuous: bool,
    /// Dropped frames by reason; index with a [`DropReason`].
    pub drops: Drops,
}

impl LinkCounters {
    /// Counts a dropped frame.
    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.drops[reason] += 1;
    }
}

/// A counter for each [`DropReason`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops([u64; REASONS]);

impl Drops {
    /// Each reason with its count.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self[reason]))
    }

    /// All dropped frames together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Index<DropReason> for Drops {
    type Output = u64;

    fn index(&self, reason: DropReason) -> &u64 {
        &self.0[reason as usize]
    }
}

impl IndexMut<DropReason> for Drops {
    fn index_mut(&mut self, reason: DropReason) -> &mut u64 {
        &mut self.0[reason as usize]
    }
}
