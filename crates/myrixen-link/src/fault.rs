//! A link that loses, doubles, holds back and damages frames of the link it wraps.
//!
//! Which frames suffer is determined by a seed and the order of the frames in each direction. How long
//! frames are held is real time, or that of a clock of the caller's.
//!
//! MXoE has no checksum of its own (Ethernet has one below it): a damaged payload is delivered as it
//! is. Damage is for showing that nothing breaks, not for showing that data are intact.

mod dice;
mod held;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mxoe::addr::NicAddr;
use rustix::event::{Timespec, epoll};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use crate::{
    DropReason, ETHERNET_HEADER, Incoming, Interest, Link, LinkCounters, LinkError, LinkInfo,
    Outgoing,
};
use dice::Dice;
use held::{Frame, Held};

/// What happens to the frames of one direction. Rates are probabilities, 0 (never) to 1 (always).
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// How often a frame is lost.
    pub drop: f64,
    /// How often a frame arrives twice.
    pub duplicate: f64,
    /// How often a frame is overtaken by those behind it.
    pub reorder: f64,
    /// Most frames that overtake one that is reordered; at least 1.
    pub reorder_by: usize,
    /// How often a frame is held for a while.
    pub delay: f64,
    /// The longest that a frame is held; reordered ones too, when nothing comes to overtake them.
    pub delay_by: Duration,
    /// How often one bit behind the Ethernet header is turned.
    pub corrupt: f64,
}

impl Default for Faults {
    /// Nothing happens. Once rates are set: a frame is overtaken by up to 4, or held for up to 10 ms.
    fn default() -> Self {
        Self {
            drop: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_by: 4,
            delay: 0.0,
            delay_by: Duration::from_millis(10),
            corrupt: 0.0,
        }
    }
}

/// What happens to the frames of a link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FaultConfig {
    /// Determines which frames it happens to.
    pub seed: u64,
    /// For frames that are sent.
    pub transmit: Faults,
    /// For frames that arrive.
    pub receive: Faults,
}

impl FaultConfig {
    /// Checks that the rates are probabilities.
    ///
    /// # Errors
    /// [`LinkError::Setting`] with the name of one that is not.
    pub fn check(&self) -> Result<(), LinkError> {
        for faults in [&self.transmit, &self.receive] {
            let rates = [
                ("drop", faults.drop),
                ("duplicate", faults.duplicate),
                ("reorder", faults.reorder),
                ("delay", faults.delay),
                ("corrupt", faults.corrupt),
            ];
            for (setting, rate) in rates {
                if !(0.0..=1.0).contains(&rate) {
                    let problem = format!("{rate} is not a probability between 0 and 1");
                    return Err(LinkError::Setting { setting, problem });
                }
            }
        }
        Ok(())
    }
}

/// What has been done to the frames of a link, both directions together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Frames lost.
    pub dropped: u64,
    /// Frames doubled.
    pub duplicated: u64,
    /// Frames let be overtaken.
    pub reordered: u64,
    /// Frames held for a time.
    pub delayed: u64,
    /// Frames damaged.
    pub corrupted: u64,
}

/// What is to happen to a frame. Damage goes with any of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    Drop,
    Duplicate,
    Hold {
        due: Duration,
        overtaken_by: Option<usize>,
    },
}

/// One direction.
#[derive(Debug)]
struct Direction {
    faults: Faults,
    dice: Dice,
    held: Held,
}

impl Direction {
    fn new(faults: Faults, seed: u64) -> Self {
        Self {
            faults,
            dice: Dice::new(seed),
            held: Held::default(),
        }
    }

    fn decide(&mut self, now: Duration, done: &mut FaultCounters) -> Fate {
        // Each frame rolls all the dice, so that a changed rate does not change the others' frames.
        let [drop, duplicate, reorder, delay] = [
            self.faults.drop,
            self.faults.duplicate,
            self.faults.reorder,
            self.faults.delay,
        ]
        .map(|rate| self.dice.happens(rate));
        let (by, part) = (
            self.dice.below(self.faults.reorder_by),
            self.dice.below(1000),
        );
        if drop {
            done.dropped += 1;
            return Fate::Drop;
        }
        if !self.held.has_room() {
            return Fate::Pass;
        }
        if duplicate {
            done.duplicated += 1;
            return Fate::Duplicate;
        }
        if reorder {
            done.reordered += 1;
            return Fate::Hold {
                due: now + self.faults.delay_by,
                overtaken_by: Some(by + 1),
            };
        }
        if delay {
            done.delayed += 1;
            let permille = u32::try_from(part + 1).unwrap_or(1000);
            let due = now + self.faults.delay_by * permille / 1000;
            return Fate::Hold {
                due,
                overtaken_by: None,
            };
        }
        Fate::Pass
    }

    /// Perhaps gives a damaged copy.
    fn damage(&mut self, frame: &Frame, done: &mut FaultCounters) -> Option<Frame> {
        let hit = self.dice.happens(self.faults.corrupt);
        let place = self.dice.next();
        let bits = frame.bytes.len().saturating_sub(ETHERNET_HEADER) * 8;
        if !hit || bits == 0 {
            return None;
        }
        let bit = usize::try_from(place % bits as u64).unwrap_or(0);
        let mut damaged = frame.clone();
        damaged.bytes[ETHERNET_HEADER + bit / 8] ^= 1 << (bit % 8);
        done.corrupted += 1;
        Some(damaged)
    }
}

/// Tells the time since some moment.
type Clock = Box<dyn FnMut() -> Duration + Send>;

/// A link with faults.
pub struct FaultLink<L> {
    inner: L,
    mtu: usize,
    clock: Clock,
    transmit: Direction,
    receive: Direction,
    done: FaultCounters,
    /// Readable when the inner link is, or when a held frame is due.
    ready: OwnedFd,
    timer: OwnedFd,
    now: Duration,
}

impl<L: fmt::Debug> fmt::Debug for FaultLink<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultLink")
            .field("inner", &self.inner)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

const INNER: u64 = 0;
const TIMER: u64 = 1;

impl<L: Link> FaultLink<L> {
    /// Wraps a link; frames are held in real time.
    ///
    /// # Errors
    /// [`LinkError::Setting`] for a rate that is none; [`LinkError::Io`] when no descriptor is to be had.
    pub fn new(inner: L, config: &FaultConfig) -> Result<Self, LinkError> {
        let start = Instant::now();
        Self::with_clock(inner, config, Box::new(move || start.elapsed()))
    }

    /// Wraps a link; frames are held in the time that `clock` tells, which must not run backwards.
    /// Only what passes real time wakes a sleeper.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_clock(
        inner: L,
        config: &FaultConfig,
        clock: Box<dyn FnMut() -> Duration + Send>,
    ) -> Result<Self, LinkError> {
        config.check()?;
        let io = |errno: rustix::io::Errno| LinkError::io("wait for several things")(errno.into());
        let ready = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).map_err(io)?;
        let read = epoll::EventFlags::IN;
        epoll::add(&ready, &timer, epoll::EventData::new_u64(TIMER), read).map_err(io)?;
        let (fd, interest) = inner.readiness();
        let data = epoll::EventData::new_u64(INNER);
        epoll::add(&ready, fd, data, event_flags(interest)).map_err(io)?;
        Ok(Self {
            mtu: inner.describe().mtu,
            inner,
            clock,
            transmit: Direction::new(config.transmit.clone(), config.seed),
            // The directions must not suffer alike.
            receive: Direction::new(config.receive.clone(), !config.seed),
            done: FaultCounters::default(),
            ready,
            timer,
            now: Duration::ZERO,
        })
    }

    /// What has been done to frames so far.
    #[must_use]
    pub fn faults(&self) -> FaultCounters {
        self.done
    }

    /// The wrapped link; frames that are held are lost.
    #[must_use]
    pub fn into_inner(self) -> L {
        self.inner
    }

    fn tell_time(&mut self) -> Duration {
        self.now = (self.clock)();
        self.now
    }

    /// Sends held frames whose time has come, as far as there is room.
    fn release_transmit(&mut self) -> Result<(), LinkError> {
        while let Some((place, frame)) = self.transmit.held.peek_due(self.now) {
            match self
                .inner
                .transmit(&Outgoing::bytes(&frame.bytes, frame.tag))
            {
                Ok(()) | Err(LinkError::Down { .. }) => {
                    self.transmit.held.take(place);
                }
                Err(LinkError::Full) => break,
                Err(error) => {
                    self.transmit.held.take(place);
                    // Whoever sent that frame is no longer listening.
                    if !error.concerns_frame() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

fn event_flags(interest: Interest) -> epoll::EventFlags {
    match interest {
        Interest::Read => epoll::EventFlags::IN,
        Interest::ReadWrite => epoll::EventFlags::IN | epoll::EventFlags::OUT,
    }
}

/// The error of a frame that the wrapped link would refuse, found out before it is held.
fn check(frame: &Outgoing<'_>, mtu: usize) -> Result<(), LinkError> {
    if frame.head.len() < ETHERNET_HEADER {
        return Err(LinkError::TooShort {
            len: frame.head.len(),
        });
    }
    if frame.len() > mtu {
        return Err(LinkError::TooLong {
            len: frame.len(),
            mtu,
        });
    }
    Ok(())
}

impl<L: Link> Link for FaultLink<L> {
    fn describe(&self) -> LinkInfo {
        self.inner.describe()
    }

    fn transmit(&mut self, frame: &Outgoing<'_>) -> Result<(), LinkError> {
        check(frame, self.mtu)?;
        let now = self.tell_time();
        let fate = self.transmit.decide(now, &mut self.done);
        let mut bytes = vec![0; frame.len()];
        frame.write_to(&mut bytes);
        let whole = Frame {
            bytes,
            tag: frame.tag,
        };
        let whole = self
            .transmit
            .damage(&whole, &mut self.done)
            .unwrap_or(whole);
        let result = match fate {
            Fate::Drop => return Ok(()),
            Fate::Hold { due, overtaken_by } => {
                self.transmit.held.hold(whole, due, overtaken_by);
                return Ok(());
            }
            Fate::Pass => self
                .inner
                .transmit(&Outgoing::bytes(&whole.bytes, whole.tag)),
            Fate::Duplicate => {
                let result = self
                    .inner
                    .transmit(&Outgoing::bytes(&whole.bytes, whole.tag));
                if result.is_ok() {
                    self.transmit.held.hold(whole, now, None);
                }
                result
            }
        };
        if result.is_ok() {
            self.transmit.held.passed();
            self.release_transmit()?;
        }
        result
    }

    fn flush(&mut self) -> Result<(), LinkError> {
        self.tell_time();
        self.release_transmit()?;
        self.inner.flush()
    }

    fn receive(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, LinkError> {
        let now = self.tell_time();
        if self.transmit.held.peek_due(now).is_some() {
            self.release_transmit()?;
            self.inner.flush()?;
        }
        let mut count = 0;
        while count < budget
            && let Some((place, _)) = self.receive.held.peek_due(now)
            && let Some(frame) = self.receive.held.take(place)
        {
            sink(Incoming::bytes(&frame.bytes, frame.tag));
            count += 1;
        }
        let Self {
            inner,
            receive,
            done,
            ..
        } = self;
        while count < budget {
            let asked = budget - count;
            let got = inner.receive(asked, &mut |incoming| {
                let fate = receive.decide(now, done);
                let mut bytes = vec![0; incoming.len];
                incoming.bytes.read(0, &mut bytes);
                let whole = Frame {
                    bytes,
                    tag: incoming.tag,
                };
                let whole = receive.damage(&whole, done).unwrap_or(whole);
                match fate {
                    Fate::Drop => return,
                    Fate::Hold { due, overtaken_by } => {
                        return receive.held.hold(whole, due, overtaken_by);
                    }
                    Fate::Pass | Fate::Duplicate => {}
                }
                receive.held.passed();
                count += 1;
                sink(Incoming::bytes(&whole.bytes, whole.tag));
                if fate == Fate::Duplicate {
                    receive.held.hold(whole, now, None);
                }
            })?;
            // The wrapped link may have more of which its descriptor does not tell.
            if got < asked || count > 0 {
                break;
            }
        }
        Ok(count)
    }

    fn readiness(&self) -> (BorrowedFd<'_>, Interest) {
        let (fd, interest) = self.inner.readiness();
        let due = [self.transmit.held.next_due(), self.receive.held.next_due()];
        let next = due.into_iter().flatten().min();
        // A timer of 0 is no timer: what is overdue gets the shortest.
        let wait = next.map_or(Duration::ZERO, |due| {
            due.saturating_sub(self.now).max(Duration::from_nanos(1))
        });
        let none = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let spec = Itimerspec {
            it_interval: none,
            it_value,
        };
        let data = epoll::EventData::new_u64(INNER);
        let armed = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
        let watched = epoll::modify(&self.ready, fd, data, event_flags(interest));
        if armed.is_err() || watched.is_err() {
            return (fd, interest);
        }
        (self.ready.as_fd(), Interest::Read)
    }

    fn set_addresses(&mut self, macs: &[NicAddr]) -> Result<(), LinkError> {
        self.inner.set_addresses(macs)
    }

    fn counters(&self) -> LinkCounters {
        let mut counters = self.inner.counters();
        counters.drops[DropReason::Injected] += self.done.dropped;
        counters
    }
}

#[cfg(test)]
mod tests;
