//! A worker: a switch, the uplinks it owns, and how it waits.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mxoe::addr::{Address, NicAddr};
use mxoe::time::Time;
use myrixen_link::{Interest as LinkInterest, Outgoing, Tag};
use myrixen_platform::{Drained, Interest, Polling, Ready, WaitSet, Waker};

use crate::clock::Clock;
use crate::ids::{PartitionId, PortId, UplinkId, WorkerId};
use crate::mailbox::Inbox;
use crate::meter::WorkerMeter;
use crate::switch::{NewPort, Switch, Uplink};

/// What the control side tells a worker.
pub(crate) enum Command {
    /// A board of this host came.
    AddBoard(PartitionId, NicAddr),
    /// It went.
    RemoveBoard(PartitionId, NicAddr),
    /// A board's guest is being saved, restored or moved: nothing is said of endpoints that are not open. Or it is back.
    HoldBoard(PartitionId, NicAddr, bool),
    /// A port is this worker's.
    AddPort(Box<NewPort>),
    /// A port of another worker was opened.
    PortElsewhere(PartitionId, Address, WorkerId),
    /// A port was closed, whosoever it was.
    RemovePort(PortId, PartitionId, Address),
    /// A discovery frame is to be sent.
    Say(UplinkId, Tag, Vec<u8>),
    /// The addresses of the boards that an uplink serves.
    Addresses(UplinkId, Vec<NicAddr>),
    /// The end.
    Stop,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Frames that were looked at.
    pub frames: usize,
    /// The back end is shutting down: the worker need not be driven any more.
    pub stopped: bool,
}

impl Activity {
    /// Whether anything happened.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.frames > 0
    }
}

/// What to do after [`Worker::prepare_sleep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// There is something to do: take another turn.
    Awake,
    /// Sleep until [`Worker`]'s descriptor is readable, at most until this time.
    Until(Time),
    /// Sleep until [`Worker`]'s descriptor is readable.
    Asleep,
}

const PORT: u64 = 1 << 32;
const UPLINK: u64 = 2 << 32;
const PEER: u64 = 3 << 32;
/// The bits of a token that say what it is of.
const KIND: u64 = !(u32::MAX as u64);

/// Which one a token is of.
fn place_of(token: u64) -> usize {
    usize::try_from(token & !KIND).unwrap_or(usize::MAX)
}

/// A frame that waits for an uplink is offered again after this time, whatever the uplink says: a link that
/// forgets to ask for room must not stop a guest for ever. So is a report that waits for room in the mailbox.
const RETRY: Duration = Duration::from_millis(10);

/// A turn that has found no more frames than these is not part of a stream.
const A_FEW: usize = 2;

/// Turns between two looks at the bells while the worker is busy. What a guest rings for is found without them where there are few.
const LISTEN_EVERY: u64 = 16;

/// Turns between two looks at what the links count.
const COUNTERS_EVERY: u64 = 1 << 12;

/// One worker of a back end. It owns its ports and uplinks alone and is driven by one thread: its own
/// ([`Worker::run`]), or one that has other things to do ([`Worker::turn`]).
pub struct Worker {
    switch: Switch,
    uplinks: Vec<Option<Uplink>>,
    commands: Inbox<Command>,
    wait: WaitSet,
    ready: Vec<Ready>,
    /// The bells of ports that are in the wait set, by key.
    bells: BTreeMap<usize, myrixen_platform::Waiter>,
    meter: Arc<WorkerMeter>,
    turns: u64,
    stopped: bool,
    /// Until then, guests of an earlier back end are coming back.
    nacks_from: Time,
    /// The uplinks are not in the wait set: whoever drives waits for them beside it.
    apart: bool,
    /// A turn that had something to do is followed by another one at once: what is queued may wait for that.
    goes_on: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("ports", &self.bells.len())
            .finish_non_exhaustive()
    }
}

impl Worker {
    pub(crate) fn new(
        mut switch: Switch,
        uplinks: Vec<Option<Uplink>>,
        commands: Inbox<Command>,
        wait: WaitSet,
        meter: Arc<WorkerMeter>,
    ) -> io::Result<Self> {
        switch.watch_commands(commands.flag());
        for (peer, end) in switch.mesh_ends().enumerate() {
            wait.add_bell(&end.waiter, PEER | peer as u64)?;
        }
        Ok(Self {
            switch,
            uplinks,
            commands,
            wait,
            ready: Vec::with_capacity(64),
            bells: BTreeMap::new(),
            meter,
            turns: 0,
            stopped: false,
            nacks_from: Time::ZERO,
            apart: false,
            goes_on: false,
        })
    }

    /// Says nothing of endpoints that are not open before this time.
    pub(crate) fn nacks_from(&mut self, time: Time) {
        self.nacks_from = time;
    }

    /// One round: what arrived on the uplinks, what other workers have, then each guest its share. Never blocks, and
    /// its work is bounded whatever the guests do.
    pub fn turn(&mut self, now: Time) -> Activity {
        self.take_commands(now);
        self.switch.report_again();
        self.switch.set_nacking(now >= self.nacks_from);
        let mut frames = 0;
        for uplink in self.uplinks.iter_mut().flatten() {
            frames += self.switch.receive(now, uplink);
        }
        frames += self.switch.take_from_workers(&mut self.uplinks);
        self.switch.ring_bells();
        if self.switch.must_listen() && self.turns.is_multiple_of(LISTEN_EVERY) {
            self.wake_up();
        }
        self.switch.glance();
        frames += self.serve(now);
        for uplink in self.uplinks.iter_mut().flatten() {
            uplink.flush_if_dirty(self.goes_on);
        }
        self.account(frames);
        Activity {
            frames,
            stopped: self.stopped,
        }
    }

    /// Gives each guest its share, and where they are few once more while there is something: what leaves by an uplink should leave in bursts
    /// that are worth a system call. How often depends on nothing that a guest could do to the others.
    fn serve(&mut self, now: Time) -> usize {
        const FEW: usize = 8;
        const ROUNDS: usize = 4;
        /// So many, until they have brought a burst: of the longest frames a guest's share of a round is one or two.
        const MOST_ROUNDS: usize = 16;
        const BURST: usize = 32;
        let guests = self.switch.guests();
        let rounds = if guests <= FEW { MOST_ROUNDS } else { 1 };
        let mut frames = 0;
        for round in 0..rounds {
            let before = frames;
            let (mut emptied, mut last) = (true, 0);
            for number in 1..=guests {
                let served = self.switch.serve_next(now, &mut self.uplinks);
                if served.frames > 0 {
                    // At once: who sleeps should not wait for the others' turns.
                    self.switch.ring_bells();
                    last = number;
                }
                frames += served.frames;
                emptied &= served.emptied;
            }
            let few = emptied && frames <= A_FEW;
            if few && guests <= FEW {
                // What comes next is an answer of somebody else's, as a rule, who is looked at first then.
                self.switch.pass_over(last);
            }
            if few || frames == before || (frames >= BURST && round + 1 >= ROUNDS) {
                break;
            }
        }
        frames
    }

    fn account(&mut self, frames: usize) {
        self.turns += 1;
        self.meter.turns.add(1);
        if frames > 0 {
            self.meter.busy_turns.add(1);
        }
        if self.turns.is_multiple_of(COUNTERS_EVERY) {
            self.publish_counters();
        }
    }

    fn publish_counters(&self) {
        for uplink in self.uplinks.iter().flatten() {
            uplink.publish_counters();
        }
    }

    fn take_commands(&mut self, now: Time) {
        while let Some(command) = self.commands.take() {
            match command {
                Command::AddBoard(partition, nic) => self.switch.add_board(partition, nic),
                Command::RemoveBoard(partition, nic) => self.switch.remove_board(partition, nic),
                Command::HoldBoard(partition, nic, held) => {
                    self.switch.hold_board(partition, nic, held);
                }
                Command::AddPort(port) => self.add_port(now, *port),
                Command::PortElsewhere(partition, at, worker) => {
                    self.switch.set_elsewhere(partition, at, worker);
                }
                Command::RemovePort(port, partition, at) => self.remove_port(port, partition, at),
                Command::Say(uplink, tag, frame) => self.say(uplink, tag, &frame),
                Command::Addresses(uplink, nics) => {
                    if let Some(uplink) = self.uplink(uplink) {
                        uplink.set_addresses(&nics);
                    }
                }
                Command::Stop => self.stopped = true,
            }
        }
    }

    fn add_port(&mut self, now: Time, port: NewPort) {
        let waiter = port.waiter.clone();
        let key = self.switch.add_port(now, port);
        match self.wait.add_bell(&waiter, PORT | key as u64) {
            Ok(()) => {
                self.bells.insert(key, waiter);
            }
            Err(error) => {
                // It is served while the worker is awake, and whenever somebody else wakes it.
                tracing::warn!(%error, "cannot watch a guest's doorbell");
            }
        }
    }

    fn remove_port(&mut self, port: PortId, partition: PartitionId, at: Address) {
        match self.switch.remove_port(port, &mut self.uplinks) {
            Some(key) => {
                if let Some(waiter) = self.bells.remove(&key) {
                    self.wait.remove_bell(&waiter);
                }
            }
            None => self.switch.set_closed(partition, at),
        }
    }

    fn say(&mut self, uplink: UplinkId, tag: Tag, frame: &[u8]) {
        if let Some(uplink) = self.uplink(uplink) {
            uplink.say(&Outgoing::bytes(frame, tag));
        }
    }

    fn uplink(&mut self, id: UplinkId) -> Option<&mut Uplink> {
        self.uplinks.get_mut(usize::from(id.get()))?.as_mut()
    }

    /// Says in all rings that the worker is about to sleep, after which whoever has something for it rings.
    /// The caller then waits for the worker's descriptor ([`AsFd`]) in a way of its own, calls
    /// [`Worker::wake_up`], and takes the next turn.
    pub fn prepare_sleep(&mut self, now: Time) -> Rest {
        let waits = self.switch.is_blocked() || self.switch.has_unheard();
        let mut until = waits.then(|| now + RETRY);
        if self.stopped || self.commands.has_mail() || !self.switch.prepare_sleep(&mut until) {
            return Rest::Awake;
        }
        self.watch_uplinks();
        self.publish_counters();
        self.meter.sleeps.add(1);
        until.map_or(Rest::Asleep, Rest::Until)
    }

    /// From the next [`Worker::prepare_sleep`] on the worker's descriptor says nothing of the uplinks, or says it again. Who keeps them apart
    /// waits for [`Worker::uplinks`] as well. Of a thread that waits for a socket itself the kernel knows that whoever sent to
    /// it is about to sleep, and may run it in his place; of one that waits for a set in a set it does not.
    pub fn keep_uplinks_apart(&mut self, apart: bool) {
        self.apart = apart;
    }

    /// What to wait for beside the worker's descriptor where uplinks are [kept apart](Worker::keep_uplinks_apart), and for what. To be asked
    /// anew after each [`Worker::prepare_sleep`].
    pub fn uplinks(&self) -> impl Iterator<Item = (BorrowedFd<'_>, Interest)> {
        self.uplinks.iter().flatten().map(Uplink::readiness)
    }

    /// Whether a turn looks at every ring: then nobody needs to ring who takes one after he has put something into his.
    #[must_use]
    pub fn looks_at_all(&self) -> bool {
        !self.switch.must_listen()
    }

    /// Keeps the wait set in step with what the links ask for.
    fn watch_uplinks(&mut self) {
        if self.apart {
            for uplink in self.uplinks.iter_mut().flatten() {
                uplink.unwatch(&self.wait);
            }
            return;
        }
        for (place, uplink) in self.uplinks.iter_mut().enumerate() {
            let Some(uplink) = uplink else { continue };
            let token = UPLINK | place as u64;
            if let Err(error) = uplink.watch(&self.wait, token) {
                tracing::warn!(%error, "cannot watch an uplink");
            }
        }
    }

    /// Takes the bells that rang out of the way.
    pub fn wake_up(&mut self) {
        // What is not drained yet is still ready, so that it is seen again.
        let mut ready = std::mem::take(&mut self.ready);
        // What is ready is all there is to know; it cannot fail but for want of memory, and then
        // the next turn looks at everything anyway.
        if self.wait.wait(Some(Duration::ZERO), &mut ready).is_err() {
            ready.clear();
        }
        self.ready = ready;
        self.hear();
    }

    /// Drains the bells that rang. True if somebody has hung up.
    fn hear(&mut self) -> bool {
        let mut hung_up = false;
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            let place = place_of(event.token);
            match event.token & KIND {
                PORT => hung_up |= self.hear_port(place),
                PEER => self.switch.rung_by_worker(place),
                _ => {}
            }
        }
        self.ready = ready;
        hung_up
    }

    fn hear_port(&mut self, key: usize) -> bool {
        let Some(waiter) = self.bells.get(&key) else {
            return false;
        };
        let hung_up = waiter.drain() == Drained::HungUp;
        if hung_up {
            // A bell that is hung up stays ready, so it would keep us awake.
            if let Some(waiter) = self.bells.remove(&key) {
                self.wait.remove_bell(&waiter);
            }
            self.switch.hung_up(key);
        } else {
            self.switch.rung(key);
        }
        hung_up
    }

    /// Sleeps until there is something to do, at most until `limit`.
    ///
    /// # Errors
    /// The kernel has no memory to wait with.
    pub fn sleep(&mut self, clock: &Clock, limit: Option<Time>) -> io::Result<()> {
        // The bells that ended the last sleep: only now, since it takes system calls, and what they rang for was more urgent.
        if self.hear() {
            return Ok(());
        }
        let until = match self.prepare_sleep(clock.now()) {
            Rest::Awake => return Ok(()),
            Rest::Until(time) => Some(limit.map_or(time, |l| l.min(time))),
            Rest::Asleep => limit,
        };
        let timeout = until.map(|time| time.since(clock.now()));
        let mut ready = std::mem::take(&mut self.ready);
        let result = self.wait.wait(timeout, &mut ready);
        for event in &ready {
            if event.token & KIND == PORT {
                self.switch.rung(place_of(event.token));
            }
        }
        self.ready = ready;
        result
    }

    /// Serves until the back end shuts down: turns while there is something to do, then looks on for up to `poll`, where frames have
    /// been coming that soon ([`Polling`]), and then sleeps.
    ///
    /// # Errors
    /// The kernel has no memory to wait with.
    pub fn run(mut self, clock: &Clock, poll: Duration) -> io::Result<()> {
        let time = || {
            // Only who looks on for a time needs to know how much of it is over.
            if poll.is_zero() {
                clock.recent()
            } else {
                clock.now()
            }
        };
        self.goes_on = true;
        let mut polling = Polling::new(poll);
        let (mut last_frame, mut idle) = (time(), false);
        loop {
            let now = time();
            let activity = self.turn(now);
            if activity.stopped {
                return Ok(());
            }
            if activity.is_busy() {
                if idle {
                    polling.came_after(now.since(last_frame));
                }
                (last_frame, idle) = (now, false);
                if activity.frames <= A_FEW {
                    // Whoever they are for may wait for this core, and what comes next comes in a while.
                    std::thread::yield_now();
                }
            } else if now.since(last_frame) < polling.time() {
                idle = true;
                // With more threads than cores whoever has something to say needs ours.
                std::thread::yield_now();
            } else {
                self.sleep(clock, None)?;
                let now = time();
                polling.came_after(now.since(last_frame));
                (last_frame, idle) = (now, false);
            }
        }
    }

    /// Wakes the worker from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.wait.waker()
    }
}

impl AsFd for Worker {
    /// Readable when there is something to do, once [`Worker::prepare_sleep`] has said to rest.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wait.as_fd()
    }
}

/// As the platform's wait set wants it.
pub(crate) fn interest(of: LinkInterest) -> Interest {
    match of {
        LinkInterest::Read => Interest::Read,
        LinkInterest::ReadWrite => Interest::ReadWrite,
    }
}

#[cfg(test)]
mod tests;
