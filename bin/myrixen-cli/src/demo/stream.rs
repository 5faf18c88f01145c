//! A guest's part in the restart: a verified stream to and from every other guest, while back ends die.
//!
//! Each guest numbers its messages to each partner and keeps several of mixed sizes under way. It also posts
//! several receives for each partner; those match in the order in which they were posted, so the messages of a
//! partner, taken in that order, must be numbered 0, 1, 2, ... whatever happened in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use myrixen::{Completion, Match};

use super::guest::{Guest, Partner, say};
use super::protocol::{BIN_MS, Report, Streamed};
use crate::pattern::{Ledger, Stamp, Tally};

/// The top 16 bits of the match information of the stream's messages.
const DATA: u16 = 0x4d30;
/// Of the message that ends the stream of one sender, numbered as if it were the next one.
const END: u16 = 0x4d31;
/// Bits in which both agree with each other and with nothing else.
const KIND_MASK: u64 = 0xfffe << 48;

/// Sizes of the stream's messages, in turn: nothing, tiny, small, medium and rendezvous.
const SIZES: [usize; 8] = [0, 8, 120, 1000, 4096, 20_000, 70_000, 200_000];
const LARGEST: usize = 200_000;

/// Sends under way and receives posted for each partner.
const DEPTH: u32 = 6;

/// How often progress is reported and the coordinator is listened to.
const GLANCE: Duration = Duration::from_millis(20);
/// A guest that has heard nothing of another host's for so long pauses between messages. On a machine without a processor to spare, streams that go
/// on between neighbours at full speed keep it from the grace periods of RCU that the kernel waits for when a back end ends, and when one starts.
const SILENT: Duration = Duration::from_millis(500);
/// How long.
const PAUSE: Duration = Duration::from_millis(1);
/// How long late duplicates are waited for after the end.
const LINGER: Duration = Duration::from_millis(100);

/// Bins kept at most: ten minutes.
const MOST_BINS: u64 = 600_000 / BIN_MS;

/// Marks the context of a send; the rest of it, and all of a receive's, is the partner's place and a count.
const SEND: u64 = 1 << 63;

/// What goes on with one partner.
struct Lane {
    partner: Partner,
    /// It is reached over a direct channel.
    direct: bool,
    sent: u32,
    sending: u32,
    end_sent: bool,
    posted: u32,
    books: Books,
    last_arrival: Option<Instant>,
    longest_gap: Duration,
}

/// What came from one partner, put back into the order in which it was matched: a long message may be complete
/// after shorter ones that were matched later.
#[derive(Default)]
struct Books {
    /// The posted receive whose message is next in order.
    next: u32,
    /// Messages that are complete before those that were matched earlier; `None` is the end.
    early: BTreeMap<u32, Option<u32>>,
    ledger: Ledger,
    /// How many messages the partner says it has sent, once it has ended.
    told: Option<u32>,
    /// All messages before that end are entered.
    ended: bool,
}

impl Books {
    /// Message `number` has come in posted receive `at`.
    fn message(&mut self, at: u32, number: u32) {
        self.enter(at, Some(number));
    }

    /// The end of the stream, after `count` messages, has come in posted receive `at`.
    fn end(&mut self, at: u32, count: u32) {
        self.told = Some(count);
        self.enter(at, None);
    }

    fn enter(&mut self, at: u32, what: Option<u32>) {
        self.early.insert(at, what);
        while let Some(what) = self.early.remove(&self.next) {
            self.next += 1;
            match what {
                Some(number) => self.ledger.arrived(number),
                None => self.ended = true,
            }
        }
    }

    fn close(&self) -> Tally {
        self.ledger.close(u64::from(self.told.unwrap_or(0)))
    }
}

struct Streamer<'a> {
    guest: &'a Guest,
    lanes: Vec<Lane>,
    stopping: bool,
    /// When the bins begin.
    epoch: Instant,
    streamed: Streamed,
    direct: u64,
    wire: u64,
}

/// Streams until told to halt, then until everything has arrived.
pub(crate) fn run(guest: &Guest, epoch_ns: u64) -> anyhow::Result<()> {
    let since_epoch = super::monotonic_ns().saturating_sub(epoch_ns);
    let epoch = Instant::now().checked_sub(Duration::from_nanos(since_epoch));
    let mut streamer = Streamer {
        guest,
        lanes: guest
            .partners
            .iter()
            .map(|&partner| Lane::new(guest, partner))
            .collect(),
        stopping: false,
        epoch: epoch.context("the clock has only just begun")?,
        streamed: Streamed::default(),
        direct: 0,
        wire: 0,
    };
    streamer.stream()?;
    let streamed = streamer.close();
    say(&Report::Streamed { streamed })
}

impl Lane {
    fn new(guest: &Guest, partner: Partner) -> Self {
        Self {
            partner,
            direct: guest.is_direct(&partner),
            sent: 0,
            sending: 0,
            end_sent: false,
            posted: 0,
            books: Books::default(),
            last_arrival: None,
            longest_gap: Duration::ZERO,
        }
    }

    fn is_done(&self) -> bool {
        self.end_sent && self.sending == 0 && self.books.ended
    }

    fn note_gap(&mut self, now: Instant) {
        if let Some(last) = self.last_arrival.replace(now) {
            self.longest_gap = self.longest_gap.max(now.duration_since(last));
        }
    }
}

impl Streamer<'_> {
    fn stream(&mut self) -> anyhow::Result<()> {
        for place in 0..self.lanes.len() {
            for _ in 0..DEPTH {
                self.post(place, vec![0; LARGEST])?;
            }
        }
        let (mut heard, mut glanced) = (Instant::now(), Instant::now());
        while !self.lanes.iter().all(Lane::is_done) {
            self.stopping |= glanced.elapsed() >= GLANCE && self.guest.halted();
            if glanced.elapsed() >= GLANCE {
                glanced = Instant::now();
                say(&Report::Streaming {
                    direct: self.direct,
                    wire: self.wire,
                })?;
            }
            for place in 0..self.lanes.len() {
                self.fill(place)?;
            }
            match self.guest.main.wait_any(Match::any(), Some(GLANCE)) {
                Some(done) => {
                    heard = Instant::now();
                    self.complete(done)?;
                }
                None if heard.elapsed() > self.guest.patience => bail!(self.stall()),
                None => {}
            }
            if self.is_cut_off() {
                std::thread::sleep(PAUSE);
            }
        }
        // A message that is delivered twice would be the next one of its lane.
        while let Some(done) = self.guest.main.wait_any(Match::any(), Some(LINGER)) {
            self.complete(done)?;
        }
        Ok(())
    }

    /// Whether a guest of the other host has been silent for long: a back end is on its way back.
    fn is_cut_off(&self) -> bool {
        let silent = |lane: &Lane| lane.last_arrival.is_some_and(|at| at.elapsed() > SILENT);
        let mut lanes = self.lanes.iter();
        lanes.any(|lane| !lane.direct && !lane.books.ended && silent(lane))
    }

    fn stall(&self) -> String {
        let patience = self.guest.patience;
        let mut text = format!("nothing arrived and nothing was acknowledged for {patience:?}:");
        for lane in &self.lanes {
            let (number, sent, sending) = (lane.partner.number, lane.sent, lane.sending);
            let got = lane.books.ledger.delivered();
            text.push_str(&format!(
                " guest {number}: sent {sent}, {sending} pending, received {got};"
            ));
        }
        text
    }

    fn post(&mut self, place: usize, buffer: Vec<u8>) -> anyhow::Result<()> {
        let lane = &mut self.lanes[place];
        let matching = Match::masked(u64::from(DATA) << 48, KIND_MASK).from(&lane.partner.main);
        let context = (place as u64) << 32 | u64::from(lane.posted);
        lane.posted += 1;
        self.guest.main.irecv(matching, buffer)?.queue(context);
        Ok(())
    }

    /// Keeps enough sends under way on a lane, and ends it when it is time.
    fn fill(&mut self, place: usize) -> anyhow::Result<()> {
        let lane = &mut self.lanes[place];
        let (main, context) = (&self.guest.main, SEND | (place as u64) << 32);
        let mut stamp = Stamp {
            from: self.guest.number,
            to: lane.partner.number,
            number: 0,
        };
        while !self.stopping && lane.sending < DEPTH {
            stamp.number = lane.sent;
            let size = SIZES[lane.sent as usize % SIZES.len()];
            self.guest.send(&lane.partner, stamp, DATA, size, context)?;
            lane.sent += 1;
            lane.sending += 1;
        }
        if self.stopping && !lane.end_sent {
            stamp.number = lane.sent;
            main.isend(&lane.partner.main, stamp.bits(END), Vec::<u8>::new())?
                .queue(context);
            lane.sending += 1;
            lane.end_sent = true;
        }
        Ok(())
    }

    fn complete(&mut self, done: Completion) -> anyhow::Result<()> {
        let context = done.context;
        let place = usize::try_from((context & !SEND) >> 32)?;
        let number = self.lanes[place].partner.number;
        let ended = done
            .result()
            .map_err(|e| anyhow::anyhow!("{e} (partner: guest {number})"))?;
        let Some(received) = ended else {
            self.lanes[place].sending -= 1;
            return Ok(());
        };
        let stamp = Stamp::from_bits(received.bits, self.guest.number);
        let is_end = received.bits >> 48 == u64::from(END);
        let buffer = done
            .into_buffer::<Vec<u8>>()
            .context("a receive lost its buffer")?;
        if !is_end {
            let size = SIZES[stamp.number as usize % SIZES.len()];
            if received.message_len != size {
                bail!(
                    "message {} of guest {number} has {} bytes instead of {size}",
                    stamp.number,
                    received.message_len
                );
            }
            stamp.verify(&buffer[..received.len])?;
            self.count(place);
        }
        let (at, books) = (
            u32::try_from(context & 0xffff_ffff)?,
            &mut self.lanes[place].books,
        );
        if is_end {
            books.end(at, stamp.number);
        } else {
            books.message(at, stamp.number);
        }
        if self.lanes[place].books.told.is_none() {
            self.post(place, buffer)?;
        }
        Ok(())
    }

    /// Counts a message that has just arrived for the picture.
    fn count(&mut self, place: usize) {
        let now = Instant::now();
        let lane = &mut self.lanes[place];
        lane.note_gap(now);
        let (total, bins) = if lane.direct {
            (&mut self.direct, &mut self.streamed.direct_bins)
        } else {
            (&mut self.wire, &mut self.streamed.wire_bins)
        };
        *total += 1;
        let elapsed = now.duration_since(self.epoch).as_millis();
        let bin = u64::try_from(elapsed).unwrap_or(u64::MAX) / BIN_MS;
        let bin = usize::try_from(bin.min(MOST_BINS)).unwrap_or(0);
        if bins.len() <= bin {
            bins.resize(bin + 1, 0);
        }
        bins[bin] += 1;
    }

    fn close(mut self) -> Streamed {
        for lane in &self.lanes {
            self.streamed.tally.add(lane.books.close());
            let gap = u64::try_from(lane.longest_gap.as_nanos()).unwrap_or(u64::MAX);
            let longest = if lane.direct {
                &mut self.streamed.direct_gap_ns
            } else {
                &mut self.streamed.wire_gap_ns
            };
            *longest = gap.max(*longest);
        }
        self.streamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_complete_early_wait_for_those_matched_before() {
        let mut books = Books::default();
        books.message(0, 0);
        books.message(2, 2);
        books.end(3, 3);
        assert!(!books.ended, "message 1 was matched and is still under way");
        books.message(1, 1);
        assert!(books.ended);
        let tally = books.close();
        assert_eq!((tally.sent, tally.delivered), (3, 3));
        assert_eq!((tally.lost, tally.duplicated, tally.reordered), (0, 0, 0));
    }

    #[test]
    fn messages_matched_in_the_wrong_order_are_told_from_late_ones() {
        let mut books = Books::default();
        books.message(0, 1);
        books.message(1, 0);
        books.end(2, 2);
        assert_eq!(books.close().reordered, 1);
    }

    #[test]
    fn what_comes_after_the_end_is_a_duplicate() {
        let mut books = Books::default();
        books.message(0, 0);
        books.end(1, 2);
        books.message(2, 0);
        let tally = books.close();
        assert_eq!((tally.lost, tally.duplicated), (1, 1));
    }
}
