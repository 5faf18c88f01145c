//! The writing end of a ring. `docs/ring-abi.md`, "Produce".

use std::sync::atomic::{Ordering, compiler_fence};

use myrixen_shm::Pages;

use crate::error::{PeerFault, ReserveError};
use crate::layout::{Features, LINE, Ring};
use crate::memory::Memory;
use crate::record::{HEADER, Kind, PAD_WORD, STOP, hint_at, lines_of, word};

/// Lines beyond the tail whose header words are zeroed ahead after each record. The line of the next stop is then ours
/// before it is needed, off the path on which a consumer waits.
const ZERO_AHEAD: u32 = 2;

/// As many lines at most are made ours ahead after a burst, for a next record as long as the last. In the middle of a burst it does
/// not pay: a consumer close behind fetches these lines ahead as well, and takes them from us again.
const ZERO_AHEAD_AFTER_BURST: u32 = 16;

/// The writing end of a ring. All positions are ours; `consumed` is the only word of the peer's that matters, and it is checked.
#[derive(Debug)]
pub struct Producer<M = Pages> {
    memory: M,
    ring: Ring,
    features: Features,
    /// Where the next record goes. Lines, wrapping.
    tail: u32,
    /// Up to where the peer has consumed, as last read.
    consumed: u32,
    /// Header words known to be 0 from the tail on; at least 1 (the invariant: the word at the tail).
    zeroed: u32,
    /// Lines of the last record.
    last: u32,
    /// The number of our last wait for room, and whether it stands in the pages.
    waits: u32,
    starved: bool,
    /// The sleep of the consumer's that we have rung for already.
    rung_for: u32,
}

impl<M: Memory> Producer<M> {
    /// The end that begins at `position`, where the header word must be 0.
    pub(crate) fn new(memory: M, ring: Ring, features: Features, position: u32) -> Self {
        Self {
            memory,
            ring,
            features,
            tail: position,
            consumed: position,
            zeroed: 1,
            last: 0,
            waits: 0,
            starved: false,
            rung_for: 0,
        }
    }

    /// The memory the ring lies in, for what [`Slot::place`] names.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// The longest frame that can be reserved without a hint, in bytes.
    #[must_use]
    pub fn largest_frame(&self) -> usize {
        self.ring.largest() as usize * LINE - HEADER
    }

    /// Whether records may carry hints.
    #[must_use]
    pub fn has_hints(&self) -> bool {
        self.features.contains(Features::HINTS)
    }

    /// Reserves room for a frame of `len` bytes with a hint of `hint_len`. `None`: there is no room now; come back later, or say so by
    /// [`set_starved`](Self::set_starved). A slot that is dropped is as if it had not been reserved.
    ///
    /// # Errors
    ///
    /// [`ReserveError`] when the record will never fit, or the consumer broke the rules.
    // In line: a slot that is returned by memory, word by word, is waited for.
    #[inline(always)]
    pub fn reserve(
        &mut self,
        len: usize,
        hint_len: usize,
    ) -> Result<Option<Slot<'_, M>>, ReserveError> {
        let shape = self.shape(len, hint_len)?;
        if !self.has_room(shape.lines_with_stop())? {
            return Ok(None);
        }
        if self.starved {
            self.clear_starved();
        }
        // What goes into the slot may lie on header words ahead; until it is published nothing but the tail's is known to be 0.
        let zeroed = std::mem::replace(&mut self.zeroed, 1);
        Ok(Some(Slot {
            producer: self,
            shape,
            zeroed,
        }))
    }

    /// Whether a record of this size would find room now. Errors as [`reserve`](Self::reserve).
    ///
    /// # Errors
    ///
    /// [`ReserveError`] when the record will never fit, or the consumer broke the rules.
    #[inline]
    pub fn room_for(&mut self, len: usize, hint_len: usize) -> Result<bool, ReserveError> {
        // Enough whatever pad comes first, which is shorter than the record: nearly always.
        let most = (self.free_lines() as usize / 2 * LINE).checked_sub(HEADER);
        if hint_len == 0 && most.is_some_and(|most| len <= most) {
            return Ok(true);
        }
        self.room_for_exactly(len, hint_len)
    }

    fn room_for_exactly(&mut self, len: usize, hint_len: usize) -> Result<bool, ReserveError> {
        let shape = self.shape(len, hint_len)?;
        Ok(self.has_room(shape.lines_with_stop())?)
    }

    /// Bytes that are free, in whole lines and less the stop. A record needs its lines in one piece, so that as long as half of the ring is free
    /// any record finds room, and below that perhaps not.
    ///
    /// # Errors
    ///
    /// [`PeerFault`] when the consumer broke the rules.
    pub fn free(&mut self) -> Result<usize, PeerFault> {
        self.reread_consumed()?;
        Ok(self.free_lines().saturating_sub(1) as usize * LINE)
    }

    /// Says that we wait for room for such a record. `false`: there is room now, do not wait. `true`: the consumer will
    /// ring our bell when it has made room, any room; then try again, and say so again if it was not enough.
    ///
    /// # Errors
    ///
    /// [`ReserveError`] when the record will never fit, or the consumer broke the rules.
    pub fn set_starved(&mut self, len: usize, hint_len: usize) -> Result<bool, ReserveError> {
        let need = self.shape(len, hint_len)?.lines_with_stop();
        self.waits = self.waits.wrapping_add(1).max(1);
        self.memory
            .store_u32(self.ring.starved, self.waits, Ordering::Relaxed);
        self.starved = true;
        self.memory.fence(); // pairs with: fence of prepare_sleep
        self.reread_consumed()?;
        if need > self.free_lines() {
            return Ok(true);
        }
        self.clear_starved();
        Ok(false)
    }

    /// Takes [`set_starved`](Self::set_starved) back. The next successful [`reserve`](Self::reserve) does so by itself.
    pub fn clear_starved(&mut self) {
        self.memory
            .store_u32(self.ring.starved, 0, Ordering::Relaxed);
        self.starved = false;
    }

    /// Whether the consumer sleeps and has to be rung for what was published. To be asked once after each burst, since it may take a full fence; says
    /// yes once for each sleep.
    #[inline]
    #[must_use = "a consumer that is not rung sleeps on"]
    pub fn needs_bell(&mut self) -> bool {
        let due = !self.is_looked_at() && self.is_to_be_rung();
        if self.last > 1 {
            self.zero_ahead(self.last.min(ZERO_AHEAD_AFTER_BURST));
        }
        due
    }

    /// Whether the consumer sleeps and has not been rung.
    #[inline(always)]
    fn is_to_be_rung(&mut self) -> bool {
        self.memory.fence(); // pairs with: fence of prepare_sleep
        let sleep = self.memory.load_u32(self.ring.sleeping, Ordering::Relaxed);
        let due = sleep != 0 && sleep != self.rung_for;
        self.rung_for = sleep;
        due
    }

    /// Whether the consumer looks on, and would have given notice so long before it sleeps that what was published is seen by then.
    #[inline(always)]
    fn is_looked_at(&self) -> bool {
        // Not to be asked before what was published is on its way: the time in between would count as notice.
        compiler_fence(Ordering::SeqCst);
        self.features.contains(Features::NOTICE)
            && self.memory.load_u32(self.ring.looking, Ordering::Relaxed) != 0
    }

    /// Whether the consumer says that it has consumed all that was published.
    #[must_use]
    pub fn is_consumed(&self) -> bool {
        self.memory.load_u32(self.ring.consumed, Ordering::Relaxed) == self.tail
    }

    /// Whether the consumer says that it sleeps. A hint that costs no fence: it may be falling asleep, or waking up.
    #[must_use]
    pub fn peer_sleeps(&self) -> bool {
        self.memory.load_u32(self.ring.sleeping, Ordering::Relaxed) != 0
    }

    /// Says that nothing will be published any more. Ring the bell afterwards, whether or not the consumer sleeps.
    pub fn close(&mut self) {
        self.memory
            .store_u32(self.ring.closed, 1, Ordering::Release); // pairs with: is_closed
    }

    #[inline(always)]
    fn shape(&self, len: usize, hint_len: usize) -> Result<Shape, ReserveError> {
        let largest = self.ring.largest();
        let too_long = |lines| ReserveError::TooLong {
            lines,
            largest: largest as usize,
        };
        // Within these bounds the sums below cannot overflow.
        let (Ok(len), Ok(hint_len)) = (u32::try_from(len), u16::try_from(hint_len)) else {
            return Err(too_long(len.max(hint_len) / LINE));
        };
        if hint_len != 0 && !self.has_hints() {
            return Err(ReserveError::HintNotAgreed);
        }
        let lines = lines_of(len as usize, usize::from(hint_len));
        let lines = u32::try_from(lines)
            .ok()
            .filter(|&lines| lines <= largest)
            .ok_or(too_long(lines))?;
        let to_end = self.ring.lines_to_end(self.tail);
        let pad = if lines <= to_end { 0 } else { to_end };
        Ok(Shape {
            len,
            hint_len,
            lines,
            pad,
        })
    }

    #[inline(always)]
    fn has_room(&mut self, lines: u32) -> Result<bool, PeerFault> {
        if lines <= self.free_lines() {
            return Ok(true);
        }
        self.reread_consumed()?;
        Ok(lines <= self.free_lines())
    }

    #[inline(always)]
    fn free_lines(&self) -> u32 {
        self.ring.lines - self.tail.wrapping_sub(self.consumed)
    }

    /// Reads the consumer's word again. On its way into our free room it is checked to be one that it could have written.
    #[cold]
    fn reread_consumed(&mut self) -> Result<(), PeerFault> {
        let consumed = self.memory.load_u32(self.ring.consumed, Ordering::Acquire); // pairs with: release
        let (before, tail) = (self.consumed, self.tail);
        if consumed.wrapping_sub(before) > tail.wrapping_sub(before) {
            return Err(PeerFault::ConsumedOutsideRing {
                consumed,
                before,
                tail,
            });
        }
        self.consumed = consumed;
        Ok(())
    }

    /// Zeroes stops ahead of time, as far as the lines are known to be free.
    #[inline(always)]
    fn zero_ahead(&mut self, lines: u32) {
        let free = self.free_lines();
        while self.zeroed <= lines && self.zeroed < free {
            let place = self.ring.place(self.tail.wrapping_add(self.zeroed));
            self.memory.store_u64(place, STOP, Ordering::Relaxed);
            self.zeroed += 1;
        }
    }
}

/// What a record takes of the ring.
#[derive(Clone, Copy, Debug)]
struct Shape {
    len: u32,
    hint_len: u16,
    lines: u32,
    /// Lines to the end of the ring to be skipped first.
    pad: u32,
}

impl Shape {
    #[inline(always)]
    fn lines_with_stop(self) -> u32 {
        self.pad + self.lines + 1
    }
}

/// Room for one record. Nothing of it is seen by the consumer before [`publish`](Self::publish).
#[derive(Debug)]
#[must_use = "a slot that is not published is abandoned"]
pub struct Slot<'a, M: Memory = Pages> {
    producer: &'a mut Producer<M>,
    shape: Shape,
    /// What was known to be 0 before the slot was reserved, counted from the tail.
    zeroed: u32,
}

impl<M: Memory> Slot<'_, M> {
    /// Bytes of frame reserved.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len as usize
    }

    /// Whether a frame of no bytes was reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.len == 0
    }

    #[inline(always)]
    fn position(&self) -> u32 {
        self.producer.tail.wrapping_add(self.shape.pad)
    }

    /// Where in [`Producer::memory`] `len` bytes at `offset` of the frame go. Panics when they are not within the reserved.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, offset: usize, len: usize) -> usize {
        assert!(
            offset <= self.len() && len <= self.len() - offset,
            "{len} bytes at {offset} of a frame of {}",
            self.len()
        );
        self.producer.ring.place(self.position()) + HEADER + offset
    }

    /// The memory the ring lies in.
    pub fn memory(&self) -> &M {
        &self.producer.memory
    }

    /// Writes bytes of the frame. Panics when they are not within the reserved.
    #[inline(always)]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let place = self.place(offset, bytes.len());
        self.producer.memory.write(place, bytes);
    }

    /// Copies `len` bytes of the frame from pages. Panics when either range is outside.
    #[inline]
    pub fn copy_from(&mut self, offset: usize, from: &Pages, from_offset: usize, len: usize) {
        let place = self.place(offset, len);
        self.producer.memory.copy_in(place, from, from_offset, len);
    }

    /// Writes the whole hint. Panics unless it is as long as reserved.
    pub fn write_hint(&mut self, hint: &[u8]) {
        assert_eq!(
            hint.len(),
            usize::from(self.shape.hint_len),
            "a hint of another length was reserved"
        );
        let place = self.producer.ring.place(self.position()) + hint_at(self.len());
        self.producer.memory.write(place, hint);
    }

    /// Makes the frame shorter than reserved, for who learns the length while writing. Panics when it would grow or a hint was reserved.
    pub fn truncate(&mut self, len: usize) {
        assert!(
            self.shape.hint_len == 0,
            "the place of a hint depends on the length of the frame"
        );
        assert!(
            len <= self.len(),
            "{len} bytes of a frame of {}",
            self.len()
        );
        let shorter = |_| unreachable!("shorter than what was reserved");
        // What was written may lie on header words behind the new end.
        self.zeroed = 1;
        self.shape.len = u32::try_from(len).unwrap_or_else(shorter);
        self.shape.lines = u32::try_from(lines_of(len, 0)).unwrap_or_else(shorter);
    }

    /// Hands the record to the consumer. All of the frame and the hint must have been written: what was not is what an earlier
    /// record left there.
    #[inline]
    pub fn publish(self, kind: Kind) {
        let Self {
            producer,
            shape,
            zeroed,
        } = self;
        let Producer {
            memory, ring, tail, ..
        } = producer;
        let whole = shape.pad + shape.lines;
        let end = tail.wrapping_add(whole);
        if zeroed <= whole {
            memory.store_u64(ring.place(end), STOP, Ordering::Relaxed);
        }
        let header = word(kind, shape.len, shape.hint_len);
        if shape.pad == 0 {
            memory.store_u64(ring.place(*tail), header, Ordering::Release); // publish; pairs with: peek
        } else {
            // Nobody gets to the start of the ring before the pad is published, so the pad publishes both.
            memory.store_u64(
                ring.place(tail.wrapping_add(shape.pad)),
                header,
                Ordering::Relaxed,
            );
            memory.store_u64(ring.place(*tail), PAD_WORD, Ordering::Release); // publish; pairs with: peek
        }
        producer.tail = end;
        producer.zeroed = zeroed.saturating_sub(whole).max(1);
        producer.last = shape.lines;
        producer.zero_ahead(ZERO_AHEAD);
    }
}
