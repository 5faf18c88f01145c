//! Where things are in the pages, and what two builds agree on. `docs/ring-abi.md`, "Layout" and "Features and versions".

use std::fmt;

use crate::error::AttachError;

/// A line: what one core takes from another at a time, and what records are counted in. Bytes.
pub const LINE: usize = 64;

/// The first 8 bytes of the pages, as a little-endian word.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"MYRXQP\x01\0");

/// Offsets of the header block's words.
pub(crate) mod header {
    pub(crate) const MAGIC: usize = 0;
    /// Major in the low half, minor in the high half.
    pub(crate) const VERSION: usize = 8;
    pub(crate) const FEATURES: usize = 12;
    pub(crate) const CAPACITY: [usize; 2] = [16, 20];
    pub(crate) const RECORDS: [usize; 2] = [24, 28];
    pub(crate) const END: usize = 64;
}

/// Where the records of ring 0 begin.
const RECORDS: usize = 4096;

/// A version of the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Must be equal at both ends.
    pub major: u16,
    /// The lower one counts.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

bitflags::bitflags! {
    /// What may be used beyond the base of the ABI, when both ends know it. Bits that a build does not know are kept
    /// until [`Support::agree`] drops them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Features: u32 {
        /// Records may carry a hint: where rendezvous data can be read.
        const HINTS = 1;
        /// A consumer that looks on says so, and gives notice before it sleeps: its producer need not fence.
        const NOTICE = 2;
    }
}

/// What a build can do; after [`agree`](Self::agree), what both will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// The version of the ABI.
    pub version: Version,
    /// The features.
    pub features: Features,
}

impl Support {
    /// What this build can do.
    pub const OURS: Self = Self {
        version: Version { major: 1, minor: 0 },
        // What notice relies on is said of this processor's stores.
        features: if cfg!(target_arch = "x86_64") {
            Features::HINTS.union(Features::NOTICE)
        } else {
            Features::HINTS
        },
    };

    /// What two builds do together: the lower minor version, the features that both know.
    ///
    /// # Errors
    ///
    /// [`AttachError::Version`] when the major versions differ.
    pub fn agree(self, theirs: Self) -> Result<Self, AttachError> {
        if self.version.major != theirs.version.major {
            return Err(AttachError::Version {
                ours: self.version,
                theirs: theirs.version,
            });
        }
        let minor = self.version.minor.min(theirs.version.minor);
        Ok(Self {
            version: Version {
                minor,
                ..self.version
            },
            features: self.features.intersection(theirs.features),
        })
    }
}

/// The size of one ring's records: a power of two from 4 KiB to 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity(u32);

impl Capacity {
    /// The smallest ring there is, 4 KiB.
    pub const MIN: Self = Self(1 << 12);
    /// The largest ring there is, 64 MiB.
    pub const MAX: Self = Self(1 << 26);

    /// Checks a number of bytes, as a peer may have sent it.
    ///
    /// # Errors
    ///
    /// [`AttachError::Capacity`] when it is no power of two or out of range.
    pub fn new(bytes: u32) -> Result<Self, AttachError> {
        let in_range = (Self::MIN.0..=Self::MAX.0).contains(&bytes);
        if in_range && bytes.is_power_of_two() {
            Ok(Self(bytes))
        } else {
            Err(AttachError::Capacity(bytes))
        }
    }

    /// The capacity in bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// The longest frame that a record may hold without a hint, in bytes: a record takes at most half the ring, so that with the pad before it
    /// there is always room when the ring is empty.
    #[must_use]
    pub fn largest_frame(self) -> usize {
        self.size() / 2 - 8
    }

    fn size(self) -> usize {
        self.0 as usize
    }
}

/// Where everything is, computed from what was agreed and never from the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    capacity: [Capacity; 2],
}

impl Layout {
    /// The layout of a queue pair with these two rings.
    #[must_use]
    pub fn new(front_to_back: Capacity, back_to_front: Capacity) -> Self {
        Self {
            capacity: [front_to_back, back_to_front],
        }
    }

    /// The capacities: front to back, back to front.
    #[must_use]
    pub fn capacities(&self) -> [Capacity; 2] {
        self.capacity
    }

    /// Bytes of pages needed.
    #[must_use]
    pub fn total(&self) -> usize {
        RECORDS + self.capacity[0].size() + self.capacity[1].size()
    }

    /// Where the records of each ring begin.
    pub(crate) fn records(&self) -> [usize; 2] {
        [RECORDS, RECORDS + self.capacity[0].size()]
    }

    /// The places of ring 0 (front to back) and ring 1.
    pub(crate) fn rings(&self) -> [Ring; 2] {
        let [first, second] = self.records();
        [
            Ring::at(256, first, self.capacity[0]),
            Ring::at(768, second, self.capacity[1]),
        ]
    }
}

/// What both ends go by. It comes from the control plane; the pages only repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Where everything is.
    pub layout: Layout,
    /// The agreed version and features.
    pub support: Support,
}

/// The places of one ring in the pages, in bytes, and its size in lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    /// The consumer's word: up to where it has consumed.
    pub(crate) consumed: usize,
    /// The consumer's word: 0, or the number of its sleep.
    pub(crate) sleeping: usize,
    /// The consumer's word, in the same 8 bytes: 1 while it looks on and will give notice before it sleeps.
    pub(crate) looking: usize,
    /// The producer's word: 0, or the number of its wait for room.
    pub(crate) starved: usize,
    /// The producer's word: 1 when it will publish no more.
    pub(crate) closed: usize,
    records: usize,
    /// A power of two.
    pub(crate) lines: u32,
}

impl Ring {
    fn at(control: usize, records: usize, capacity: Capacity) -> Self {
        Self::with_lines(control, records, capacity.0 / 64)
    }

    /// A ring of any power of two of lines; models and exhaustive tests use tiny ones.
    pub(crate) fn with_lines(control: usize, records: usize, lines: u32) -> Self {
        Self {
            consumed: control,
            sleeping: control + 128,
            looking: control + 132,
            starved: control + 256,
            closed: control + 384,
            records,
            lines,
        }
    }

    /// The largest record, in lines.
    pub(crate) fn largest(&self) -> u32 {
        self.lines / 2
    }

    /// Which line of the ring a position is.
    #[inline(always)]
    pub(crate) fn index(&self, position: u32) -> u32 {
        position & (self.lines - 1)
    }

    /// Where in the pages the line of a position is.
    #[inline(always)]
    pub(crate) fn place(&self, position: u32) -> usize {
        self.records + self.index(position) as usize * LINE
    }

    /// Lines from a position to the end of the ring, at least 1.
    #[inline(always)]
    pub(crate) fn lines_to_end(&self, position: u32) -> u32 {
        self.lines - self.index(position)
    }
}
