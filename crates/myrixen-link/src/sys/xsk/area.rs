//! The memory in which frames lie that cross an AF_XDP socket ("UMEM"), and whose each piece of it is.
//!
//! It begins with chunks for frames that arrive: each is the kernel's (in the fill queue, or under way) until it comes
//! out of the receive queue, and then ours until it is put into the fill queue again. Behind them lie slots of
//! one or more chunks for frames to be sent, ours until their descriptors are queued, and again when all those have
//! come back by the completion queue.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::xdp::{XdpDesc, XdpDescOptions};

use super::queue::{Consumer, Producer};

/// The memory.
#[derive(Debug)]
pub(super) struct Area {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread; who may touch which part of it, the queues say.
unsafe impl Send for Area {}
// SAFETY: as above; through a shared reference only addresses are made.
unsafe impl Sync for Area {}

impl Area {
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory in use.
        let base = unsafe { rustix::mm::mmap_anonymous(null, len, access, flags) }?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len })
    }

    pub(super) fn address(&self) -> u64 {
        self.base.as_ptr().expose_provenance() as u64
    }

    pub(super) fn len(&self) -> u64 {
        self.len as u64
    }

    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "outside the frames' memory"
        );
        // SAFETY: `offset` lies within the mapping, as just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: both ends hold the area by `Arc`: nobody is left. The kernel keeps pages that it still uses.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// How the memory is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// Bytes of a chunk, a power of two.
    pub(super) chunk: usize,
    /// Chunks for frames that arrive, a power of two: as many as the fill and the receive queue hold.
    pub(super) receive: u32,
    /// Slots for frames to be sent.
    pub(super) slots: u32,
    /// Chunks of a slot.
    pub(super) per_slot: u32,
}

/// What the kernel leaves free in front of a frame that arrives.
const HEADROOM: usize = 256;
/// The kernel takes no larger chunks than a page, which this is at least.
const LARGEST_CHUNK: usize = 4096;

impl Geometry {
    /// Divides about `receive` and `transmit` bytes for frames of up to `frame` bytes.
    pub(super) fn new(frame: usize, receive: usize, transmit: usize) -> Self {
        let fits = |chunk: &usize| frame + HEADROOM <= *chunk;
        let chunk = [2048].into_iter().find(fits).unwrap_or(LARGEST_CHUNK);
        let per_slot = frame.div_ceil(chunk).max(1);
        let small = |n: usize| u32::try_from(n.clamp(16, 1 << 20)).unwrap_or(16);
        let receive = small(receive / chunk);
        Self {
            chunk,
            receive: 1 << receive.ilog2(),
            slots: small(transmit / (chunk * per_slot)),
            per_slot: u32::try_from(per_slot).unwrap_or(1),
        }
    }

    /// Whether the longest frames that arrive need several chunks.
    pub(super) fn scatters(self, frame: usize) -> bool {
        frame + HEADROOM > self.chunk
    }

    pub(super) fn len(self) -> usize {
        let chunks = u64::from(self.receive) + u64::from(self.slots) * u64::from(self.per_slot);
        usize::try_from(chunks).unwrap_or(usize::MAX / self.chunk) * self.chunk
    }

    /// Entries of the queues for frames to be sent.
    pub(super) fn transmit_entries(self) -> u32 {
        (self.slots * self.per_slot).next_power_of_two()
    }

    fn chunk_bytes(self) -> u64 {
        self.chunk as u64
    }

    fn slot_bytes(self) -> u64 {
        self.chunk_bytes() * u64::from(self.per_slot)
    }

    fn slots_begin(self) -> u64 {
        self.chunk_bytes() * u64::from(self.receive)
    }

    fn slot(self, number: u32) -> u64 {
        self.slots_begin() + u64::from(number) * self.slot_bytes()
    }

    fn slot_of(self, address: u64) -> Option<u32> {
        let behind = address.checked_sub(self.slots_begin())?;
        u32::try_from(behind / self.slot_bytes()).ok()
    }
}

fn offset(address: u64) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}

/// Where frames arrive.
#[derive(Debug)]
pub(crate) struct Receiver {
    area: Arc<Area>,
    geometry: Geometry,
    arrived: Consumer<XdpDesc>,
    fill: Producer<u64>,
    /// A frame that lies in several chunks, in one piece.
    gathered: Vec<u8>,
}

/// What [`Receiver::take`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Frames handed over.
    pub(crate) frames: usize,
    /// So much had arrived that the kernel may have run out of chunks.
    pub(crate) pressed: bool,
}

impl Receiver {
    pub(super) fn new(
        area: Arc<Area>,
        geometry: Geometry,
        arrived: Consumer<XdpDesc>,
        mut fill: Producer<u64>,
    ) -> Self {
        for chunk in 0..geometry.receive {
            fill.push(u64::from(chunk) * geometry.chunk_bytes());
        }
        fill.publish();
        Self {
            area,
            geometry,
            arrived,
            fill,
            gathered: Vec::new(),
        }
    }

    /// Hands at most `budget` frames to `sink`, which may change them, and takes their chunks back.
    pub(crate) fn take(&mut self, budget: usize, mut sink: impl FnMut(&mut [u8])) -> Taken {
        let available = self.arrived.available();
        let (mut frames, mut used) = (0, 0);
        while frames < budget {
            let Some(pieces) = self.pieces(used, available) else {
                break;
            };
            if pieces == 1 {
                sink(self.piece(used));
            } else {
                sink(self.gather(used, pieces));
            }
            frames += 1;
            used += pieces;
        }
        // Only now, so that nothing has changed if `sink` panicked.
        for ahead in 0..used {
            let address = self.arrived.peek(ahead).addr;
            self.fill.push(address & !(self.geometry.chunk_bytes() - 1));
        }
        if used > 0 {
            self.arrived.release(used);
            self.fill.publish();
        }
        Taken {
            frames,
            pressed: available >= self.geometry.receive / 2,
        }
    }

    /// Of how many pieces the frame is that begins `ahead` of the oldest; `None` if it is not all there.
    fn pieces(&self, ahead: u32, available: u32) -> Option<u32> {
        let goes_on = |at| {
            let options = self.arrived.peek(at).options;
            options.contains(XdpDescOptions::XDP_PKT_CONTD)
        };
        let last = (ahead..available).find(|at| !goes_on(*at))?;
        Some(last - ahead + 1)
    }

    fn piece(&mut self, ahead: u32) -> &mut [u8] {
        let piece = self.arrived.peek(ahead);
        let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
        let pointer = self.area.at(offset(piece.addr), len);
        // SAFETY: `at` checked the range; the chunk came out of the receive queue, so it is ours until it is put into the
        // fill queue, which takes `&mut self` as this borrow does.
        unsafe { std::slice::from_raw_parts_mut(pointer, len) }
    }

    fn gather(&mut self, ahead: u32, pieces: u32) -> &mut [u8] {
        let mut whole = std::mem::take(&mut self.gathered);
        whole.clear();
        for at in ahead..ahead + pieces {
            whole.extend_from_slice(self.piece(at));
        }
        self.gathered = whole;
        &mut self.gathered
    }

    /// Whether the driver wants a system call before it goes on receiving.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.fill.needs_wakeup()
    }
}

/// Where frames leave.
#[derive(Debug)]
pub(crate) struct Transmitter {
    area: Arc<Area>,
    geometry: Geometry,
    queue: Producer<XdpDesc>,
    done: Consumer<u64>,
    free: Vec<u32>,
    /// Of each slot, how many descriptors have yet to come back.
    under_way: Vec<u32>,
}

impl Transmitter {
    pub(super) fn new(
        area: Arc<Area>,
        geometry: Geometry,
        queue: Producer<XdpDesc>,
        done: Consumer<u64>,
    ) -> Self {
        Self {
            area,
            geometry,
            queue,
            done,
            free: (0..geometry.slots).rev().collect(),
            under_way: (0..geometry.slots).map(|_| 0).collect(),
        }
    }

    /// Whether a frame can be queued.
    pub(crate) fn has_room(&mut self) -> bool {
        // Always, so that the slot used last is used next: its memory is in the cache.
        self.take_back();
        !self.free.is_empty()
    }

    fn take_back(&mut self) {
        let count = self.done.available();
        for ahead in 0..count {
            let slot = self.geometry.slot_of(self.done.peek(ahead));
            let left = slot.and_then(|s| self.under_way.get_mut(usize::try_from(s).ok()?));
            if let (Some(slot), Some(left)) = (slot, left)
                && *left > 0
            {
                *left -= 1;
                if *left == 0 {
                    self.free.push(slot);
                }
            }
        }
        if count > 0 {
            self.done.release(count);
        }
    }

    /// Has `fill` write a frame of `len` bytes, and queues it. False if there was no room.
    ///
    /// # Panics
    /// When the frame is longer than a slot.
    pub(crate) fn send(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) -> bool {
        if !self.has_room() {
            return false;
        }
        let Some(&slot) = self.free.last() else {
            return false;
        };
        let chunk = self.geometry.chunk;
        let pieces = len.div_ceil(chunk).max(1);
        let count = u32::try_from(pieces).unwrap_or(u32::MAX);
        assert!(count <= self.geometry.per_slot, "frame of {len} bytes");
        let start = self.geometry.slot(slot);
        let pointer = self.area.at(offset(start), len);
        // SAFETY: `at` checked the range; the slot is free, so no queue holds a part of it, and it is reached through
        // `&mut self` only.
        let bytes = unsafe { std::slice::from_raw_parts_mut(pointer, len) };
        fill(bytes);
        self.free.pop();
        for piece in 0..pieces {
            let left = len - piece * chunk;
            let goes_on = piece + 1 < pieces;
            self.queue.push(XdpDesc {
                addr: start + (piece * chunk) as u64,
                len: u32::try_from(left.min(chunk)).unwrap_or(u32::MAX),
                options: if goes_on {
                    XdpDescOptions::XDP_PKT_CONTD
                } else {
                    XdpDescOptions::empty()
                },
            });
        }
        if let Some(under_way) = usize::try_from(slot)
            .ok()
            .and_then(|s| self.under_way.get_mut(s))
        {
            *under_way = count;
        }
        self.queue.publish();
        true
    }

    /// Descriptors that the kernel has not taken.
    pub(crate) fn waiting(&self) -> u32 {
        self.queue.waiting()
    }

    /// Whether the driver wants a system call to send.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.queue.needs_wakeup()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_hold_the_longest_frame_and_lie_behind_the_chunks() {
        for frame in [64, 1518, 1792, 1793, 4218, 9018] {
            let geometry = Geometry::new(frame, 1 << 20, 1 << 20);
            assert!(geometry.slot_bytes() >= frame as u64);
            assert!(geometry.receive.is_power_of_two());
            assert!(u64::from(geometry.receive) * geometry.chunk_bytes() <= 1 << 20);
            assert!(geometry.transmit_entries() >= geometry.slots * geometry.per_slot);
            let last = geometry.slots - 1;
            assert_eq!(geometry.slot(0), geometry.slots_begin());
            assert_eq!(
                geometry.slot(last) + geometry.slot_bytes(),
                geometry.len() as u64
            );
            // Every chunk of a slot leads back to it; chunks for arriving frames lead nowhere.
            let chunk = geometry.slot(last) + geometry.slot_bytes() - geometry.chunk_bytes();
            assert_eq!(geometry.slot_of(chunk), Some(last));
            assert_eq!(geometry.slot_of(geometry.slots_begin() - 1), None);
        }
    }

    #[test]
    fn only_frames_longer_than_a_page_are_scattered() {
        let scatters = |frame| Geometry::new(frame, 1 << 20, 1 << 20).scatters(frame);
        assert!(!scatters(1518));
        assert!(!scatters(3840));
        assert!(scatters(3841));
    }
}
