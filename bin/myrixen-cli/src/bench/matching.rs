//! What a message takes its receiver where many others stand before it: receives that do not fit, or messages that nobody has asked for.
//!
//! Both ends are in this process, and one thread plays both, so that nothing but the receiver's part is in the time: posting the receive,
//! finding the message in the ring, bringing both together, completing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use myrixen::{Embedded, Endpoint, EndpointOptions, Fabric, Match, PathKind, Peer, Wait};

use crate::cli::MatchingArgs;
use crate::demo::die_with_parent;
use crate::demo::guest::say;
use crate::demo::protocol::Report;
use crate::held::{Held, Limit, float};
use crate::record::Record;

/// Bytes of a message.
const SIZE: usize = 8;
/// Messages between two looks at how late it is.
const BATCH: u64 = 64;
/// Messages at each length at least, however slow they are.
const LEAST: u64 = 640;
/// How long anything may take that takes no time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What endpoints show each other to connect.
const KEY: u32 = 0x6d61_7463;
/// Match information of what stands before, from here on; the measured ones have smaller numbers.
const BEFORE: u64 = 1 << 32;
/// By how much a match among many may take longer than one alone.
pub(super) const BAR: Limit = Limit::AtMost(2.0);

/// What stands before.
#[derive(Clone, Copy)]
enum Queue {
    /// Receives, which were posted earlier.
    Posted,
    /// Messages, which arrived earlier and which nobody receives.
    Unexpected,
}

impl Queue {
    fn name(self) -> &'static str {
        match self {
            Self::Posted => "posted",
            Self::Unexpected => "unexpected",
        }
    }
}

/// Measures both queues at each length, and says what came of it.
pub(crate) fn run(args: &MatchingArgs) -> anyhow::Result<()> {
    die_with_parent()?;
    let done = measure(args);
    if let Err(error) = &done {
        say(&Report::Failed {
            why: format!("{error:#}"),
        })?;
    }
    done
}

fn measure(args: &MatchingArgs) -> anyhow::Result<()> {
    let inside = Embedded::default().inline(true).start()?;
    let fabrics = [inside.join()?, inside.join()?];
    let each = Duration::from_millis(args.each_ms);
    for queue in [Queue::Posted, Queue::Unexpected] {
        for &entries in &args.lengths {
            // Anew each time: what the machine does besides changes by the second.
            let empty = float(Pair::open(&fabrics)?.time(queue, 0, each)?);
            let took = float(Pair::open(&fabrics)?.time(queue, entries, each)?);
            let of = format!("{entries} {}", queue.name());
            let held = Held::new("match", of, took / empty, "", BAR)
                .with("entries", float(entries))
                .with("match_ns", took)
                .with("empty_ns", empty);
            let record = Record::Held(held);
            say(&Report::Measured { record })?;
        }
    }
    say(&Report::Halted)
}

/// What reading the clock adds to each message's time: it is read twice around nothing, twice.
fn clock() -> u64 {
    let nothing = || Instant::now().elapsed().as_nanos();
    let mut times: Vec<u128> = (0..1000).map(|_| nothing() + nothing()).collect();
    times.sort_unstable();
    u64::try_from(times[times.len() / 2]).unwrap_or(0)
}

/// Two endpoints with a direct channel between them.
struct Pair {
    sender: Endpoint,
    receiver: Endpoint,
    to: Peer,
}

impl Pair {
    fn open([here, there]: &[Fabric; 2]) -> anyhow::Result<Self> {
        let options = EndpointOptions::default().key(KEY).wait(Wait::Spin);
        let [sender, receiver] = [here.open(options.clone())?, there.open(options)?];
        let to = sender.connect(receiver.address(), KEY, PATIENCE)?;
        let pair = Self {
            sender,
            receiver,
            to,
        };
        let until = Instant::now() + PATIENCE;
        while !pair.is_direct() {
            ensure!(
                Instant::now() < until,
                "there is no direct channel after {PATIENCE:?}"
            );
            pair.send(0)?;
            pair.receive(0)?;
        }
        Ok(pair)
    }

    /// Whether both ends have the channel: what comes by one that the receiver does not know yet is seen later.
    fn is_direct(&self) -> bool {
        let back = self.receiver.peer(self.sender.address());
        let [there, back] = [
            Some(self.sender.path(&self.to)),
            back.map(|to| self.receiver.path(&to)),
        ];
        [there, back]
            .iter()
            .all(|way| matches!(way, Some(PathKind::Direct { .. })))
    }

    fn send(&self, bits: u64) -> anyhow::Result<()> {
        Ok(self.sender.send(&self.to, bits, &[0x5a; SIZE])?)
    }

    fn receive(&self, bits: u64) -> anyhow::Result<()> {
        let mut buffer = [0; SIZE];
        let received = self
            .receiver
            .recv_timeout(Match::exact(bits), &mut buffer, PATIENCE)?;
        let received = received.with_context(|| format!("message {bits} did not come"))?;
        ensure!(received.len == SIZE, "it was cut to {} bytes", received.len);
        Ok(())
    }

    /// The median time of a message in nanoseconds, with so many entries before it.
    fn time(self, queue: Queue, entries: u64, time: Duration) -> anyhow::Result<u64> {
        // What is posted stays so until it is dropped.
        let mut before = Vec::new();
        for bits in BEFORE..BEFORE + entries {
            match queue {
                Queue::Posted => {
                    let matching = Match::exact(bits);
                    before.push(self.receiver.irecv(matching, vec![0; SIZE])?);
                }
                Queue::Unexpected => {
                    self.send(bits)?;
                    if bits % BATCH == 0 || bits + 1 == BEFORE + entries {
                        self.arrived(bits)?;
                    }
                }
            }
        }
        let mut times = Histogram::<u64>::new(3)?;
        let (clock, mut buffer) = (clock(), vec![0; SIZE]);
        let until = Instant::now() + time;
        while times.len() < LEAST || Instant::now() < until {
            for bits in 0..BATCH {
                let took = match queue {
                    Queue::Posted => self.posted(bits, &mut buffer)?,
                    Queue::Unexpected => self.unexpected(bits)?,
                };
                times.record(u64::try_from(took.as_nanos())?.max(1))?;
            }
            // Acknowledgements, which the sender has yet to hear.
            self.sender.progress();
        }
        Ok(times.value_at_quantile(0.5).saturating_sub(clock).max(1))
    }

    /// Returns when the receiver has taken in a message that nobody receives, and all before it.
    fn arrived(&self, bits: u64) -> anyhow::Result<()> {
        let found = self.receiver.probe(Match::exact(bits), Some(PATIENCE));
        found.with_context(|| format!("message {bits} did not arrive"))?;
        self.sender.progress();
        Ok(())
    }

    /// What a message takes for which a receive is posted.
    fn posted(&self, bits: u64, buffer: &mut Vec<u8>) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let matching = Match::exact(bits);
        let request = self.receiver.irecv(matching, std::mem::take(buffer))?;
        let posting = begun.elapsed();
        self.send(bits)?;
        let begun = Instant::now();
        let (back, received) = self.receiver.wait_recv(request)?;
        let took = posting + begun.elapsed();
        ensure!(received.len == SIZE, "it was cut to {} bytes", received.len);
        *buffer = back;
        Ok(took)
    }

    /// What a message takes that arrives before it is received.
    fn unexpected(&self, bits: u64) -> anyhow::Result<Duration> {
        self.send(bits)?;
        let begun = Instant::now();
        self.receiver.progress();
        let arrived = begun.elapsed();
        let found = self.receiver.iprobe(Match::exact(bits));
        found.with_context(|| format!("message {bits} has not arrived"))?;
        let begun = Instant::now();
        self.receive(bits)?;
        Ok(arrived + begun.elapsed())
    }
}
