//! The reading end of a ring. `docs/ring-abi.md`, "Consume", "Release" and "Sleep".

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use myrixen_shm::Pages;

use crate::error::PeerFault;
use crate::layout::{Features, Ring};
use crate::memory::Memory;
use crate::record::{Record, STOP, check, is_pad};

/// The reading end of a ring. All positions are ours; the peer's header words are read once each and checked.
///
/// A visit looks like this:
///
/// ```
/// # use myrixen_ring::{Consumer, PeerFault};
/// # fn visit(consumer: &mut Consumer, ring_bell: impl Fn()) -> Result<(), PeerFault> {
/// for _ in 0..32 { // a bound, for a peer may publish for ever
///     let Some(record) = consumer.peek()? else { break };
///     // copy what is needed, then
///     consumer.advance(record);
/// }
/// if consumer.release() {
///     ring_bell(); // the producer waits for room
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer<M = Pages> {
    memory: M,
    ring: Ring,
    features: Features,
    /// Where the next record is. Lines, wrapping.
    head: u32,
    /// Up to where the producer has been told that we have consumed.
    released: u32,
    /// The last look found nothing.
    drained: bool,
    /// The number of our last sleep.
    sleeps: u32,
    /// The producer's wait for room that we have rung for already.
    rung_for: u32,
    /// Whether we have said that we look on, or when we took that back.
    looking: Looking,
}

/// What the producer has been told of our looking.
#[derive(Clone, Copy, Debug)]
enum Looking {
    /// Nothing: it fences.
    Untold,
    /// That we look on.
    Told,
    /// That we do not any more, since then.
    TakenBack(Instant),
}

/// How long after its notice a consumer may sleep. By then what its producer has published before it saw the notice is out of the
/// producer's store buffer, which takes some hundred nanoseconds.
const NOTICE: Duration = Duration::from_micros(5);

/// The answer to [`Consumer::prepare_sleep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it says whether to sleep, and whether to ring"]
pub struct Sleep {
    /// The ring is empty and the producer will ring our bell: sleep. Otherwise there is something to be consumed.
    pub may_sleep: bool,
    /// The producer waits for room: ring its bell, in either case.
    pub ring: bool,
}

impl<M: Memory> Consumer<M> {
    pub(crate) fn new(memory: M, ring: Ring, features: Features, position: u32) -> Self {
        Self {
            memory,
            ring,
            features,
            head: position,
            released: position,
            drained: false,
            sleeps: 0,
            rung_for: 0,
            looking: Looking::Untold,
        }
    }

    /// The memory the ring lies in, for what [`place`](Self::place) names.
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Where the next record begins or will begin, in lines; wrapping. Another place whenever one has been passed to [`advance`](Self::advance).
    #[must_use]
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Whether nothing has been published that [`advance`](Self::advance) was not told of. One load, for whoever waits by looking.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header() == STOP
    }

    /// Whether there is nothing to do: [`is_empty`](Self::is_empty), the room of all that was taken has been given back, and no producer waits to be rung
    /// for it.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.head == self.released && self.is_empty() && self.waits() == self.rung_for
    }

    /// The oldest record that has not been passed to [`advance`](Self::advance), or `None` when there is nothing.
    ///
    /// # Errors
    ///
    /// [`PeerFault`] when what is there is no record; the ring cannot be used any more.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Option<Record>, PeerFault> {
        let mut word = self.header();
        if is_pad(word) {
            word = self.skip_pad()?;
        }
        self.drained = word == STOP;
        if self.drained {
            return Ok(None);
        }
        check(word, self.head, &self.ring, self.features).map(Some)
    }

    /// Where in [`memory`](Self::memory) `len` bytes at `offset` of the record's frame are. Panics when they are not within the frame.
    #[inline(always)]
    #[must_use]
    pub fn place(&self, record: &Record, offset: usize, len: usize) -> usize {
        assert!(
            offset <= record.len() && len <= record.len() - offset,
            "{len} bytes at {offset} of a frame of {}",
            record.len()
        );
        self.ring.place(record.position) + Record::FRAME_AT + offset
    }

    /// Copies bytes of the record's frame. Panics when they are not within the frame.
    ///
    /// The peer may change the frame at any time: look at the copy, and do not copy what has been checked a second time.
    #[inline(always)]
    pub fn read(&self, record: &Record, offset: usize, into: &mut [u8]) {
        self.memory
            .read(self.place(record, offset, into.len()), into);
    }

    /// Copies `len` bytes of the record's frame to pages. Panics when either range is outside.
    #[inline]
    pub fn copy_to(
        &self,
        record: &Record,
        offset: usize,
        into: &Pages,
        into_offset: usize,
        len: usize,
    ) {
        self.memory
            .copy_out(self.place(record, offset, len), into, into_offset, len);
    }

    /// Copies the first bytes of the record's hint. Panics when it is not as long.
    pub fn read_hint(&self, record: &Record, into: &mut [u8]) {
        assert!(
            into.len() <= record.hint_len(),
            "{} bytes of a hint of {}",
            into.len(),
            record.hint_len()
        );
        self.memory
            .read(self.ring.place(record.position) + record.hint_at(), into);
    }

    /// Goes on to the next record. Panics when `record` is not the one that [`peek`](Self::peek) gives.
    #[inline]
    pub fn advance(&mut self, record: Record) {
        assert_eq!(record.position, self.head, "records are consumed in order");
        self.head = self.head.wrapping_add(record.lines);
        self.memory.prefetch(self.ring.place(self.head));
    }

    /// Gives the room of what was passed to [`advance`](Self::advance) back, if it is time: when an eighth of the ring is owed, or when the last look found nothing.
    /// To be called at the end of each visit and in long visits from time to time; records advanced over must not be used
    /// after it. `true`: the producer waits for room, ring its bell.
    #[inline]
    #[must_use = "a producer that is not rung waits on"]
    pub fn release(&mut self) -> bool {
        let owed = self.head.wrapping_sub(self.released);
        if !self.drained && owed < self.ring.lines / 8 {
            return false;
        }
        if owed != 0 {
            self.store_consumed();
        }
        // A wait that begins while we look away is seen at the next visit or before we sleep.
        self.starved()
    }

    /// Says that we look on, and will be doing so for a while: the producer need not fence after each burst. It is held against us before we sleep, so
    /// it is for those who poll with success.
    #[inline]
    pub fn look_on(&mut self) {
        if self.features.contains(Features::NOTICE) && !matches!(self.looking, Looking::Told) {
            self.memory
                .store_u32(self.ring.looking, 1, Ordering::Relaxed);
            self.looking = Looking::Told;
        }
    }

    /// Gives the producer notice that we are going to sleep. [`prepare_sleep`](Self::prepare_sleep) does so itself, and then waits 5 us; who has
    /// several rings gives notice on all first, and waits once.
    pub fn give_notice(&mut self) {
        if matches!(self.looking, Looking::Told) {
            self.memory
                .store_u32(self.ring.looking, 0, Ordering::SeqCst);
            self.looking = Looking::TakenBack(Instant::now());
        }
    }

    /// Lets the time between notice and sleep pass.
    fn wait_out_notice(&mut self) {
        self.give_notice();
        if let Looking::TakenBack(since) = self.looking {
            while self.is_empty() && since.elapsed() < NOTICE {
                std::hint::spin_loop();
            }
            if since.elapsed() >= NOTICE {
                self.looking = Looking::Untold;
            }
        }
    }

    /// Says that we are about to sleep, and looks once more. If the answer allows it, sleep until the bell rings, and then
    /// call [`end_sleep`](Self::end_sleep). Records advanced over must not be used after it.
    pub fn prepare_sleep(&mut self) -> Sleep {
        self.wait_out_notice();
        if self.head != self.released {
            self.store_consumed();
        }
        self.sleeps = self.sleeps.wrapping_add(1).max(1);
        self.memory
            .store_u32(self.ring.sleeping, self.sleeps, Ordering::Relaxed);
        self.memory.fence(); // pairs with: fences of needs_bell and set_starved
        // A notice that has been cut short by a record is not over.
        let noticed = matches!(self.looking, Looking::Untold);
        let may_sleep = self.header() == STOP && noticed;
        if !may_sleep {
            self.end_sleep();
        }
        Sleep {
            may_sleep,
            ring: self.starved(),
        }
    }

    /// Says that we are awake and looking. Consume what is there before the next [`prepare_sleep`](Self::prepare_sleep).
    pub fn end_sleep(&mut self) {
        self.memory
            .store_u32(self.ring.sleeping, 0, Ordering::Relaxed);
    }

    /// Whether the producer has said that it will publish no more. What it published before is still to be consumed:
    /// ask first, then [`peek`](Self::peek) until there is nothing.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.memory.load_u32(self.ring.closed, Ordering::Acquire) != 0 // pairs with: close
    }

    #[inline(always)]
    fn header(&self) -> u64 {
        self.memory
            .load_u64(self.ring.place(self.head), Ordering::Acquire) // pairs with: publish
    }

    /// Skips to the start of the ring and gives the header word there.
    #[cold]
    fn skip_pad(&mut self) -> Result<u64, PeerFault> {
        let lines = self.ring.lines_to_end(self.head);
        if lines == self.ring.lines {
            // Skipping a whole ring would have us look at the same word again, for ever.
            return Err(PeerFault::PadAtStart);
        }
        self.head = self.head.wrapping_add(lines);
        let word = self.header();
        if is_pad(word) {
            Err(PeerFault::PadAtStart)
        } else {
            Ok(word)
        }
    }

    #[inline(always)]
    fn store_consumed(&mut self) {
        self.memory
            .store_u32(self.ring.consumed, self.head, Ordering::Release); // release; pairs with: reread_consumed
        self.released = self.head;
    }

    /// Whether the producer waits for room and has not been rung for it.
    #[inline(always)]
    fn starved(&mut self) -> bool {
        let wait = self.waits();
        let due = wait != 0 && wait != self.rung_for;
        self.rung_for = wait;
        due
    }

    /// The number of the producer's wait for room; 0 while it does not.
    #[inline(always)]
    fn waits(&self) -> u32 {
        self.memory.load_u32(self.ring.starved, Ordering::Relaxed)
    }
}
