//! The boundary itself: what a link is, whatever moves its frames.

use std::fmt;
use std::os::fd::BorrowedFd;

use mxoe::addr::NicAddr;
use myrixen_shm::Pages;

use crate::{LinkCounters, LinkError};

/// Bytes of an Ethernet header without a tag: two addresses and the EtherType.
pub const ETHERNET_HEADER: usize = 14;

/// The EtherType of MXoE (the wire's section 1).
pub const MXOE_ETHERTYPE: u16 = 0x86DF;

/// Which partition of a link a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Tag {
    /// No tag: the one partition of an untagged Ethernet.
    #[default]
    None,
    /// An 802.1Q VLAN, 1..=4094.
    Vlan(u16),
    /// A VXLAN network identifier, 0..2^24.
    Vni(u32),
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("untagged"),
            Self::Vlan(id) => write!(f, "vlan {id}"),
            Self::Vni(id) => write!(f, "vni {id}"),
        }
    }
}

/// Bytes of a frame, wherever they are.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// None.
    Empty,
    /// Private memory.
    Bytes(&'a [u8]),
    /// Memory that somebody else may change at any moment.
    Pages {
        /// The pages.
        pages: &'a Pages,
        /// Where the bytes begin in them.
        offset: usize,
        /// How many they are.
        len: usize,
    },
}

impl Body<'_> {
    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Pages { len, .. } => *len,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `out.len()` bytes from `skip` on to `out`.
    ///
    /// # Panics
    /// When the body is shorter than `skip + out.len()`.
    pub fn read(&self, skip: usize, out: &mut [u8]) {
        assert!(
            skip.checked_add(out.len())
                .is_some_and(|end| end <= self.len()),
            "{} bytes from {skip} on, of a body of {}",
            out.len(),
            self.len(),
        );
        match self {
            Self::Empty => {}
            Self::Bytes(bytes) => out.copy_from_slice(&bytes[skip..skip + out.len()]),
            Self::Pages { pages, offset, .. } => pages.read(offset + skip, out),
        }
    }
}

/// A frame to be sent: `head`, followed by `body`.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Private memory, at least the Ethernet header; already checked, its source written.
    pub head: &'a [u8],
    /// What follows the head.
    pub body: Body<'a>,
    /// The partition on this link.
    pub tag: Tag,
}

impl<'a> Outgoing<'a> {
    /// A frame that lies in private memory in one piece.
    #[must_use]
    pub fn bytes(frame: &'a [u8], tag: Tag) -> Self {
        Self {
            head: frame,
            body: Body::Empty,
            tag,
        }
    }

    /// Bytes of the whole frame, Ethernet header included.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a frame is never empty")]
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Copies head and body to the beginning of `out`.
    ///
    /// # Panics
    /// When `out` is shorter than [`len`](Self::len).
    pub fn write_to(&self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.head.len());
        head.copy_from_slice(self.head);
        self.body.read(0, &mut rest[..self.body.len()]);
    }
}

/// A frame that arrived. It may be padded: lengths come from its headers.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The frame from the destination address on, the tag taken out.
    /// Valid during the call that hands it over.
    pub bytes: Body<'a>,
    /// Bytes of the frame, padding included: the length of `bytes`.
    pub len: usize,
    /// The partition on this link.
    pub tag: Tag,
}

impl<'a> Incoming<'a> {
    /// A frame that lies in private memory.
    #[must_use]
    pub fn bytes(frame: &'a [u8], tag: Tag) -> Self {
        Self {
            bytes: Body::Bytes(frame),
            len: frame.len(),
            tag,
        }
    }
}

/// What kind of link it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkKind {
    /// A network interface, by AF_PACKET or AF_XDP.
    Ethernet,
    /// A VXLAN tunnel over UDP.
    Vxlan,
    /// A pair of queues in this process.
    Memory,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ethernet => "ethernet",
            Self::Vxlan => "vxlan",
            Self::Memory => "memory",
        })
    }
}

/// What a link saves the caller, or the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Datagrams that one system call sends (UDP_SEGMENT); 1 when there is none.
    pub transmit_segments: usize,
    /// Datagrams that one system call receives together (UDP_GRO); 1 when there is none.
    pub receive_segments: usize,
    /// Frames cross to and from the kernel in mapped memory.
    pub mapped: bool,
}

/// What a link is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Name for people: the interface, the local address of the tunnel.
    pub name: String,
    /// What kind of link it is.
    pub kind: LinkKind,
    /// The link's own address, where it has one.
    pub mac: Option<NicAddr>,
    /// The largest frame in bytes, the 14-byte Ethernet header included, a tag not.
    pub mtu: usize,
    /// What it saves.
    pub offloads: Offloads,
}

/// What a link's descriptor is to be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interest {
    /// Frames to receive.
    Read,
    /// Frames to receive, or room to send: something is queued that could not be sent.
    ReadWrite,
}

/// Something that moves frames to and from other hosts. Owned by one worker; never blocks.
///
/// ```
/// use myrixen_link::{Link, Outgoing, Tag, memory};
///
/// let (mut here, mut there) = memory::pair(1514, 64)?;
/// here.transmit(&Outgoing::bytes(&[0xff; 60], Tag::None))?;
/// here.flush()?;
/// let mut lengths = Vec::new();
/// there.receive(16, &mut |frame| lengths.push(frame.len))?;
/// assert_eq!(lengths, [60]);
/// # Ok::<(), myrixen_link::LinkError>(())
/// ```
pub trait Link: Send {
    /// What the link is. Does not change while it is open.
    fn describe(&self) -> LinkInfo;

    /// Queues a frame to be sent by the next [`flush`](Self::flush), or earlier. The frame is copied.
    ///
    /// # Errors
    /// [`LinkError::Full`] when there is no room: back pressure, not loss; the caller keeps the frame and
    /// offers it again. [`LinkError::Down`]: the frame is dropped and counted by the link, like
    /// one lost on the wire. The frame errors ([`LinkError::concerns_frame`]): it can never be sent.
    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError>;

    /// Sends what is queued. Makes no system call when nothing is.
    ///
    /// # Errors
    /// [`LinkError::Down`] once for each outage; what is queued stays queued.
    /// Other errors concern the link. When the network has no room, that is not an error:
    /// what is left goes with the next flush, and [`readiness`](Self::readiness) asks for room.
    fn flush(&mut self) -> Result<(), LinkError>;

    /// Whether what is queued is a train of long frames that more would fit in: then one system call would send them too, and
    /// who sees more coming had better not [`flush`](Self::flush) yet.
    fn is_gathering(&self) -> bool {
        false
    }

    /// Hands frames that have arrived to `sink`, at most `budget` of them, and says how many they were.
    ///
    /// # Errors
    /// [`LinkError::Down`] once for each outage; other errors concern the link.
    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError>;

    /// What to sleep on when `receive` gave nothing, and for what. To be asked anew before each sleep.
    /// The descriptor may wake a sleeper for nothing.
    fn readiness(&self) -> (BorrowedFd<'_>, Interest);

    /// Replaces the set of addresses for which frames are wanted (the guests'), besides broadcast.
    /// A link that hears everything anyway takes it as a hint.
    ///
    /// # Errors
    /// When the card takes neither the addresses nor promiscuous mode.
    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError>;

    /// Counts since the link was opened.
    fn counters(&self) -> LinkCounters;
}

impl<L: Link + ?Sized> Link for Box<L> {
    fn describe(&self) -> LinkInfo {
        (**self).describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        (**self).transmit(frame)
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        (**self).flush()
    }

    fn is_gathering(&self) -> bool {
        (**self).is_gathering()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        (**self).receive(budget, sink)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        (**self).readiness()
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        (**self).set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        (**self).counters()
    }
}
