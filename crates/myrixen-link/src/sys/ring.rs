//! The rings of frames that a packet socket shares with the kernel (TPACKET_V2).
//!
//! A ring is an array of slots; the status word at a slot's beginning says whose it is, the kernel's or ours.
//! Both rings of a socket lie in one mapping, the receive ring first.
//! See the kernel's Documentation/networking/packet_mmap.rst.

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags};

use super::packet;

/// `struct tpacket2_hdr` (linux/if_packet.h): what a slot begins with.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct Header {
    status: u32,
    len: u32,
    snaplen: u32,
    mac: u16,
    net: u16,
    sec: u32,
    nsec: u32,
    vlan_tci: u16,
    vlan_tpid: u16,
    padding: [u8; 4],
}

const _: () = assert!(size_of::<Header>() == 32);

/// Slots begin at multiples of this (`TPACKET_ALIGNMENT` is 16; a cache line is better).
const SLOT_ALIGN: usize = 64;
/// Where the kernel puts a received Ethernet frame in its slot: header and `sockaddr_ll` (52 bytes), at least 16
/// bytes for the link header, rounded up to 16, minus the 14 of an Ethernet header.
const RECEIVE_ROOM: usize = 66;
/// Where the kernel looks for a frame to be sent.
const TRANSMIT_ROOM: usize = size_of::<Header>();
/// A VLAN tag that we put into a frame.
const TAG_ROOM: usize = 4;

const STATUS_AVAILABLE: u32 = 0; // also TP_STATUS_KERNEL
const STATUS_USER: u32 = 1;
const STATUS_LOSING: u32 = 1 << 2;
const STATUS_SEND_REQUEST: u32 = 1;
const STATUS_WRONG_FORMAT: u32 = 1 << 2;
const STATUS_VLAN_VALID: u32 = 1 << 4;
const STATUS_VLAN_TPID_VALID: u32 = 1 << 6;
const TPACKET_V2: c_int = 1;

/// Where the slots of a ring lie. Slots do not cross blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    slot: usize,
    slots: usize,
    block: usize,
    blocks: usize,
}

impl Geometry {
    /// Slots of `slot` bytes in about `total` bytes of memory.
    fn new(slot: usize, total: usize) -> Self {
        const SMALLEST_BLOCK: usize = 64 * 1024;
        let slot = slot.next_multiple_of(SLOT_ALIGN);
        let block = slot.next_power_of_two().max(SMALLEST_BLOCK);
        let blocks = total.div_ceil(block).max(1);
        Self {
            slot,
            slots: block / slot * blocks,
            block,
            blocks,
        }
    }

    fn len(self) -> usize {
        self.block * self.blocks
    }

    fn offset(self, index: usize) -> usize {
        debug_assert!(index < self.slots);
        let each = self.block / self.slot;
        index / each * self.block + index % each * self.slot
    }

    fn next(self, index: usize) -> usize {
        if index + 1 == self.slots {
            0
        } else {
            index + 1
        }
    }

    fn request(self) -> io::Result<libc::tpacket_req> {
        let number = |n: usize| libc::c_uint::try_from(n).map_err(|_| io::ErrorKind::InvalidInput);
        Ok(libc::tpacket_req {
            tp_block_size: number(self.block)?,
            tp_block_nr: number(self.blocks)?,
            tp_frame_size: number(self.slot)?,
            tp_frame_nr: number(self.slots)?,
        })
    }
}

/// Both rings in this process's memory.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; slots are handed over by atomic status words.
unsafe impl Send for Mapping {}
// SAFETY: as above; through a shared reference only status words are reached, as atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe { rustix::mm::mmap(null, len, access, MapFlags::SHARED, fd, 0) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    /// The address of `len` bytes at `offset`.
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "outside the rings"
        );
        // SAFETY: `offset` lies within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    fn status(&self, slot: usize) -> &AtomicU32 {
        let pointer = self.at(slot, size_of::<Header>()).cast();
        // SAFETY: the word is mapped as long as `self` is, aligned (slots are, to a cache line), and nobody makes
        // a plain reference to it: both ends use atomics.
        unsafe { AtomicU32::from_ptr(pointer) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the rings that point into the mapping hold it by `Arc`: nobody is left.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Sizes of the rings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RingSizes {
    /// The largest frame, Ethernet header included, tag not.
    pub(crate) frame: usize,
    /// Bytes for the receive ring.
    pub(crate) receive: usize,
    /// Bytes for the transmit ring.
    pub(crate) transmit: usize,
}

/// Gives a packet socket its rings. Must come before it is bound.
pub(crate) fn map(fd: BorrowedFd<'_>, sizes: RingSizes) -> io::Result<(ReceiveRing, TransmitRing)> {
    packet::set_number(fd, libc::PACKET_VERSION, TPACKET_V2)?;
    let receive = Geometry::new(RECEIVE_ROOM + sizes.frame + TAG_ROOM, sizes.receive);
    let transmit = Geometry::new(TRANSMIT_ROOM + sizes.frame + TAG_ROOM, sizes.transmit);
    packet::set_ring(fd, libc::PACKET_RX_RING, &receive.request()?)?;
    packet::set_ring(fd, libc::PACKET_TX_RING, &transmit.request()?)?;
    let mapping = Arc::new(Mapping::new(fd.as_fd(), receive.len() + transmit.len())?);
    Ok((
        ReceiveRing {
            mapping: Arc::clone(&mapping),
            geometry: receive,
            at: 0,
        },
        TransmitRing {
            mapping,
            geometry: transmit,
            base: receive.len(),
            at: 0,
        },
    ))
}

/// The ring in which the kernel puts frames that arrive.
#[derive(Debug)]
pub(crate) struct ReceiveRing {
    mapping: Arc<Mapping>,
    geometry: Geometry,
    at: usize,
}

/// A frame in the receive ring, ours until it is released.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    /// From the destination address on, without a VLAN tag; at most what fitted the slot.
    pub(crate) bytes: &'a [u8],
    /// How long the frame was.
    pub(crate) len: usize,
    /// The VLAN tag the kernel took out: its protocol identifier and its control information.
    pub(crate) vlan: Option<(u16, u16)>,
    /// The kernel has lost frames since it was last asked.
    pub(crate) losing: bool,
}

impl ReceiveRing {
    /// The oldest frame that has not been released.
    pub(crate) fn peek(&self) -> Option<Received<'_>> {
        let slot = self.geometry.offset(self.at);
        // pairs with: the kernel's barrier before it stores the status
        let status = self.mapping.status(slot).load(Ordering::Acquire);
        if status & STATUS_USER == 0 {
            return None;
        }
        let header: *const Header = self.mapping.at(slot, size_of::<Header>()).cast();
        // SAFETY: the slot is ours, so the kernel does not write it; the header is aligned and plain integers.
        let header = unsafe { header.read() };
        let start = usize::from(header.mac);
        // The kernel keeps within the slot; a wrong number of it must not lead us out.
        let room = self.geometry.slot.saturating_sub(start);
        let held = usize::try_from(header.snaplen).unwrap_or(0).min(room);
        let pointer = self.mapping.at(slot + start.min(self.geometry.slot), held);
        // SAFETY: `at` checked the range; the slot stays ours until `release`, which needs `&mut self`, so
        // nobody writes it during the borrow.
        let bytes = unsafe { std::slice::from_raw_parts(pointer, held) };
        let tpid = if status & STATUS_VLAN_TPID_VALID != 0 {
            header.vlan_tpid
        } else {
            0x8100
        };
        Some(Received {
            bytes,
            len: usize::try_from(header.len).unwrap_or(usize::MAX),
            vlan: (status & STATUS_VLAN_VALID != 0).then_some((tpid, header.vlan_tci)),
            losing: status & STATUS_LOSING != 0,
        })
    }

    /// Gives the slot of the oldest frame back to the kernel.
    pub(crate) fn release(&mut self) {
        let slot = self.geometry.offset(self.at);
        // pairs with: the kernel's load of the status, before it writes the slot
        self.mapping
            .status(slot)
            .store(STATUS_AVAILABLE, Ordering::Release);
        self.at = self.geometry.next(self.at);
    }
}

/// The ring from which the kernel takes frames to be sent.
#[derive(Debug)]
pub(crate) struct TransmitRing {
    mapping: Arc<Mapping>,
    geometry: Geometry,
    base: usize,
    at: usize,
}

/// A free slot of the transmit ring.
#[derive(Debug)]
pub(crate) struct FreeSlot<'a> {
    ring: &'a mut TransmitRing,
    /// The kernel refused the frame that was here before.
    pub(crate) was_refused: bool,
}

impl TransmitRing {
    fn slot(&self, index: usize) -> usize {
        self.base + self.geometry.offset(index)
    }

    /// The next slot, when the kernel has done with it.
    pub(crate) fn free_slot(&mut self) -> Option<FreeSlot<'_>> {
        // pairs with: the kernel's store when it has freed the frame
        let status = self
            .mapping
            .status(self.slot(self.at))
            .load(Ordering::Acquire);
        match status {
            STATUS_AVAILABLE => Some(FreeSlot {
                ring: self,
                was_refused: false,
            }),
            STATUS_WRONG_FORMAT => Some(FreeSlot {
                ring: self,
                was_refused: true,
            }),
            _ => None,
        }
    }

    /// Whether a frame waits that the kernel has not taken yet.
    pub(crate) fn is_pending(&self) -> bool {
        // Frames are taken in order: the newest one tells.
        let newest = self.at.checked_sub(1).unwrap_or(self.geometry.slots - 1);
        let status = self
            .mapping
            .status(self.slot(newest))
            .load(Ordering::Relaxed);
        status == STATUS_SEND_REQUEST
    }
}

impl FreeSlot<'_> {
    /// Has `fill` write a frame of `len` bytes, and leaves it for the kernel.
    ///
    /// # Panics
    /// When the frame is longer than the slot.
    pub(crate) fn send(self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let ring = self.ring;
        let slot = ring.slot(ring.at);
        assert!(
            TRANSMIT_ROOM + len <= ring.geometry.slot,
            "frame of {len} bytes in a slot"
        );
        let pointer = ring.mapping.at(slot + TRANSMIT_ROOM, len);
        // SAFETY: `at` checked the range; the kernel has done with the slot, and the ring is borrowed
        // mutably, so nobody else reaches it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pointer, len) };
        fill(bytes);
        let len = u32::try_from(len).expect("a slot is shorter");
        let header = Header {
            status: STATUS_AVAILABLE,
            len,
            ..Header::default()
        };
        ring.write_lengths(slot, &header);
        // pairs with: the kernel's load of the status, before it reads the frame
        ring.mapping
            .status(slot)
            .store(STATUS_SEND_REQUEST, Ordering::Release);
        ring.at = ring.geometry.next(ring.at);
    }
}

impl TransmitRing {
    fn write_lengths(&self, slot: usize, header: &Header) {
        let pointer: *mut u32 = self.mapping.at(slot, size_of::<Header>()).cast();
        // SAFETY: the second word of the header, within the slot, which is ours and to which no reference exists.
        let len = unsafe { pointer.add(1) };
        // SAFETY: as above; aligned, since slots are.
        unsafe { len.write(header.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_within_their_blocks_and_apart() {
        for frame in [60, 1514, 4158, 9014, 65_550] {
            let geometry = Geometry::new(RECEIVE_ROOM + frame + TAG_ROOM, 1 << 20);
            assert!(geometry.slot >= RECEIVE_ROOM + frame + TAG_ROOM);
            assert_eq!(geometry.block % 4096, 0);
            let mut end = 0;
            for index in 0..geometry.slots {
                let start = geometry.offset(index);
                assert!(
                    start >= end,
                    "slot {index} of {geometry:?} overlaps the one before"
                );
                end = start + geometry.slot;
                assert_eq!(start / geometry.block, (end - 1) / geometry.block);
                assert_eq!(start % SLOT_ALIGN, 0);
            }
            assert!(end <= geometry.len());
            assert_eq!(geometry.next(geometry.slots - 1), 0);
        }
    }
}
