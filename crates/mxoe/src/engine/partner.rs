//! What is kept about one remote endpoint.

use std::time::Duration;

use super::Endpoint;
use super::brief::Chain;
use super::counters::Ignored;
use super::ids::{PartnerId, PathId};
use super::probe::Probe;
use super::queue::Queue;
use super::timing::{RoundTrips, Whose, after};
use crate::addr::{Address, NicAddr, PeerIndex, SeqNo, SessionId};
use crate::engine::{Config, Event, Numbering, Status};
use crate::frame::{EthHead, Features};
use crate::matching::arena::Key;
use crate::matching::hash::splitmix;
use crate::time::Time;

/// A partner's record must stay below this: 10,000 of them are nothing special.
const RECORD_BYTES: usize = 2048;
const _: () = assert!(size_of::<Partner>() < RECORD_BYTES / 2);

/// Where a partner is in being connected. In the specification's terms `true_session` and `back_session` are one
/// here: a reply sets both (section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// No handshake has succeeded yet.
    Unmet,
    /// Its session is known.
    Up {
        session: SessionId,
        /// Whether it may be sent to; not after a disconnect of ours.
        open: bool,
    },
    /// It was connected under this session, and is not any more. What comes from it is rejected.
    Lost { session: SessionId },
}

/// How lost messages are being sent again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Recovery {
    /// Nothing is known to be lost.
    None,
    /// The oldest message, and maybe some behind it, go out again until everything up to `until` is acknowledged.
    Resending {
        /// The number after the last one that was sent when the loss was noticed.
        until: SeqNo,
        /// The next message to go out again.
        cursor: Key,
        /// How many from there on may do so now.
        left: u32,
        /// How many could do so this time. Doubles as long as acknowledgements show that nothing behind what was sent
        /// again had arrived.
        burst: u32,
    },
}

/// How messages to the partner fare.
#[derive(Debug)]
pub(super) struct Sending {
    /// The number of the next message.
    pub(super) next: SeqNo,
    /// The oldest number not acknowledged.
    pub(super) acked: SeqNo,
    /// Messages without a number yet.
    pub(super) queued: Queue,
    /// NOTIFYs without a number yet: they pass queued messages.
    pub(super) notifies: Queue,
    /// Messages with a number, in its order.
    pub(super) unacked: Queue,
    /// The same while all goes well: one of the two is empty.
    pub(super) brief: Chain,
    /// When all brief messages before this number were on their way, where that is to tell the round trip.
    pub(super) timed: Option<(SeqNo, Time)>,
    /// Acknowledged rendezvous whose data the partner is still pulling.
    pub(super) parked: Queue,
    /// The MEDIUM that is being cut into fragments, or NIL.
    pub(super) cutting: Key,
    /// Eager payload bytes in `unacked` and `brief`.
    pub(super) bytes: u32,
    /// How many of those under way, the last ones, have no date yet.
    pub(super) undated: u32,
    /// How many messages may be unacknowledged.
    pub(super) window: u32,
    pub(super) recovery: Recovery,
    /// LIBACKs in a row that told nothing new while something was unacknowledged.
    pub(super) repeats: u8,
    /// The largest LIBACK number heard.
    pub(super) acknum: u32,
    pub(super) trips: RoundTrips,
    /// Resend timers that ran out in a row.
    pub(super) in_vain: u8,
    /// When the partner last acknowledged something, or something began to wait for it.
    pub(super) advanced: Time,
    /// The same, or when the resend timer last ran out: from here on it runs.
    pub(super) progress: Time,
    /// Waiting for a region id.
    pub(super) wants_region: bool,
}

/// How messages from the partner fare.
#[derive(Debug)]
pub(super) struct Receiving {
    /// The next number to be matched.
    pub(super) next: SeqNo,
    /// The oldest number not completely received: what acknowledgements say.
    pub(super) complete: SeqNo,
    /// Begun and incomplete messages, in order.
    pub(super) open: Queue,
    /// Messages before their turn, in order.
    pub(super) early: Queue,
    /// What the last acknowledgement said.
    pub(super) told: SeqNo,
    /// Payload bytes received since.
    pub(super) bytes: u32,
    /// When the first message since was complete; `None` when nothing is owed.
    pub(super) owed: Option<Time>,
    /// Listed in `Endpoint::owing`.
    pub(super) listed: bool,
    /// The last message that was received before and answered again, and when.
    pub(super) answered: Option<(SeqNo, Time)>,
    /// LIBACKs to be sent now.
    pub(super) libacks: u8,
    /// LIBACKs sent on account of a gap since `complete` moved.
    pub(super) gap_libacks: u8,
    /// The number of the last LIBACK sent.
    pub(super) acknum: u32,
    /// Its next message was dropped for want of room.
    pub(super) refused: bool,
    /// Unexpected rendezvous in the store.
    pub(super) rendezvous: u32,
}

/// How pulls from the partner fare.
#[derive(Debug)]
pub(super) struct Pulling {
    pub(super) trips: RoundTrips,
    /// The window that the last pull ended with, in bytes; 0 before the first.
    pub(super) window: u32,
}

/// Which of a partner's two flows of data: each has its own turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Messages.
    Messages,
    /// Pieces of large messages that it has asked for.
    Replies,
}

/// A flow's turn among all flows of a path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// In the path's queue.
    pub(super) queued: bool,
    /// Bytes it may still send before others have their turn.
    pub(super) credit: i64,
}

/// One remote endpoint.
#[derive(Debug)]
pub(super) struct Partner {
    pub(super) address: Address,
    pub(super) id: PartnerId,
    pub(super) path: PathId,
    pub(super) link: Link,
    /// Since when it has this session.
    pub(super) met: Time,
    /// The session before a restart: its late CONNECTs are ignored.
    pub(super) superseded: Option<SessionId>,
    /// Another one whenever the partner's state is dropped, never the same twice in an endpoint, so that what refers to
    /// the former state is recognised.
    pub(super) epoch: u64,
    /// Its index for our board.
    pub(super) peer_index: PeerIndex,
    pub(super) features: Features,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    pub(super) pulling: Pulling,
    /// Our connect requests that are not answered, oldest first.
    pub(super) connects: Queue,
    /// The number of the next one.
    pub(super) attempt: u8,
    /// The number of its last request.
    pub(super) attempt_heard: Option<u8>,
    /// Whether it is asked if it is still there.
    pub(super) probe: Probe,
    /// Blocks that it has asked for.
    pub(super) jobs: Queue,
    pub(super) messages: Turn,
    pub(super) replies: Turn,
    /// In the path's queue of partners with control frames.
    pub(super) in_control: bool,
    /// When a frame of it was last accepted.
    pub(super) heard: Time,
    /// When its timer goes off.
    pub(super) armed: Option<Time>,
}

impl Partner {
    fn new(address: Address, path: PathId, first: SeqNo, window: u32) -> Self {
        Self {
            address,
            id: PartnerId::from_u64(u64::MAX),
            path,
            link: Link::Unmet,
            met: Time::ZERO,
            superseded: None,
            epoch: 0,
            peer_index: PeerIndex::UNKNOWN,
            features: Features::NONE,
            sending: Sending {
                next: SeqNo::FIRST,
                acked: SeqNo::FIRST,
                queued: Queue::default(),
                notifies: Queue::default(),
                unacked: Queue::default(),
                brief: Chain::default(),
                timed: None,
                parked: Queue::default(),
                cutting: Key::NIL,
                bytes: 0,
                undated: 0,
                window,
                recovery: Recovery::None,
                repeats: 0,
                acknum: 0,
                trips: RoundTrips::default(),
                in_vain: 0,
                advanced: Time::ZERO,
                progress: Time::ZERO,
                wants_region: false,
            },
            receiving: Receiving {
                next: first,
                complete: first,
                open: Queue::default(),
                early: Queue::default(),
                told: first,
                bytes: 0,
                owed: None,
                listed: false,
                answered: None,
                libacks: 0,
                gap_libacks: 0,
                acknum: 0,
                refused: false,
                rendezvous: 0,
            },
            pulling: Pulling {
                trips: RoundTrips::default(),
                window: 0,
            },
            connects: Queue::default(),
            attempt: 0,
            attempt_heard: None,
            probe: Probe::default(),
            jobs: Queue::default(),
            messages: Turn::default(),
            replies: Turn::default(),
            in_control: false,
            heard: Time::ZERO,
            armed: None,
        }
    }

    /// Its session, if a handshake has succeeded and nothing has ended the connection since.
    pub(super) fn session(&self) -> Option<SessionId> {
        match self.link {
            Link::Up { session, .. } => Some(session),
            Link::Unmet | Link::Lost { .. } => None,
        }
    }

    /// Whether it may be sent to.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.link, Link::Up { open: true, .. })
    }

    /// Whether a message of it may come: it is connected, or about to be.
    pub(super) fn may_send(&self) -> bool {
        self.session().is_some() || !self.connects.is_empty()
    }

    /// The head of frames to it.
    pub(super) fn eth(&self, own: NicAddr) -> EthHead {
        EthHead {
            destination: self.address.nic,
            source: own,
            peer_index: self.peer_index,
        }
    }

    /// The number of messages received and not acknowledged.
    pub(super) fn owed_messages(&self) -> u16 {
        self.receiving.complete.distance_from(self.receiving.told)
    }

    /// How long to wait for an acknowledgement.
    pub(super) fn resend_delay(&self, config: &Config) -> Duration {
        let Sending { trips, in_vain, .. } = self.sending;
        trips.timeout(&config.timers, in_vain)
    }

    /// Nothing is under way, and nobody would miss the record.
    fn is_dispensable(&self) -> bool {
        matches!(self.link, Link::Lost { .. })
            && self.connects.is_empty()
            && self.jobs.is_empty()
            && self.receiving.rendezvous == 0
            && self.sending.under_way() == 0
    }
}

/// An address as a hash key.
pub(super) fn packed(address: Address) -> u64 {
    (address.nic.to_u64() << 8) | u64::from(address.endpoint.get())
}

impl Endpoint {
    /// The partner at an address. `path` is where to look first: frames come in runs.
    pub(super) fn partner_at(&mut self, path: PathId, address: Address) -> Option<Key> {
        let wanted = packed(address);
        if let Some(Some(path)) = self.paths.get(path.place())
            && let Some((known, key)) = path.last_partner
            && known == wanted
        {
            return Some(key);
        }
        let key = *self.by_address.get(&wanted)?;
        if let Some(Some(path)) = self.paths.get_mut(path.place()) {
            path.last_partner = Some((wanted, key));
        }
        Some(key)
    }

    /// The partner at an address, made now if it was not known.
    pub(super) fn meet(&mut self, address: Address) -> Result<Key, Ignored> {
        let wanted = packed(address);
        if let Some(&key) = self.by_address.get(&wanted) {
            return Ok(key);
        }
        if self.partners.len() >= self.config.limits.partners && !self.forget_one() {
            return Err(Ignored::TooManyPartners);
        }
        let path = self.routes.get(&wanted).copied();
        let first = self.first_number(None, Status::Success);
        let window = self.largest_window();
        let partner = Partner::new(address, path.unwrap_or(PathId::SWITCH), first, window);
        let key = self.partners.insert(partner);
        self.epochs = self.epochs.wrapping_add(1);
        let id = PartnerId::of(&self.partners, key);
        let partner = &mut self.partners[key];
        partner.id = id;
        partner.epoch = self.epochs;
        self.by_address.insert(wanted, key);
        Ok(key)
    }

    /// Makes room for a partner by forgetting one that is lost. Rare, so it may search.
    fn forget_one(&mut self) -> bool {
        let lost = |key: &Key| self.partners[*key].is_dispensable();
        let Some(key) = self.partners.keys().find(lost) else {
            return false;
        };
        if let Some(partner) = self.partners.remove(key) {
            self.by_address.remove(&packed(partner.address));
        }
        for path in self.paths.iter_mut().flatten() {
            path.last_partner = None;
        }
        true
    }

    /// How many messages may be unacknowledged at most: below 8192 numbers stay unambiguous (section 6.4).
    pub(super) fn largest_window(&self) -> u32 {
        self.config.limits.unacked_messages.clamp(1, 8191).into()
    }

    /// The number that a partner's messages are to begin with: after `previous` ones, under the next session bits, so
    /// that what is left over from before is told apart (section 6.4). `status` says why they begin anew.
    pub(super) fn first_number(&mut self, previous: Option<SeqNo>, status: Status) -> SeqNo {
        /// What the reference peer announces after giving up.
        const AFTER_GIVING_UP: u16 = 0x30f1;
        match (self.config.numbering, previous) {
            (Numbering::One, None) => SeqNo::FIRST,
            // A new session of the partner's is all that tells its former messages apart (section 5.2).
            (Numbering::One, Some(previous)) if status == Status::PartnerRestarted => {
                SeqNo::new(previous.session(), 1)
            }
            (Numbering::One, Some(previous)) => {
                SeqNo::new(previous.next_session().session(), AFTER_GIVING_UP)
            }
            (Numbering::Seeded, previous) => {
                let [high, low, bits, ..] = splitmix(&mut self.random).to_be_bytes();
                let session =
                    previous.map_or(bits & 3, |previous| previous.next_session().session());
                SeqNo::new(session, u16::from_be_bytes([high, low]))
            }
        }
    }

    /// Everything under way with a partner ends: sends fail, what has begun to arrive is dropped, its session is
    /// forgotten. Its next messages are to have other session bits. Connect requests stay.
    pub(super) fn lose(&mut self, now: Time, key: Key, status: Status) {
        let session = self.partners[key].session();
        self.fail_sending(key, status);
        self.fail_receiving(now, key, status);
        let previous = self.partners[key].receiving.next;
        let next = self.first_number(Some(previous), status);
        let partner = &mut self.partners[key];
        partner.receiving.next = next;
        partner.receiving.complete = next;
        partner.receiving.told = next;
        partner.attempt_heard = None;
        if let Some(session) = session {
            partner.link = Link::Lost { session };
            let (partner, address) = (partner.id, partner.address);
            self.counters.partners_lost = self.counters.partners_lost.wrapping_add(1);
            self.emit(Event::PartnerLost {
                partner,
                address,
                status,
            });
        }
        self.renew_connects(key);
    }

    /// Fails everything on the way to a partner.
    pub(super) fn fail_sending(&mut self, key: Key, status: Status) {
        self.drop_jobs(key);
        self.spell_out(key);
        loop {
            let sending = &self.partners[key].sending;
            let first = sending.unacked.first();
            let first = first.or_else(|| sending.parked.first());
            let first = first.or_else(|| sending.notifies.first());
            let Some(outgoing) = first.or_else(|| sending.queued.first()) else {
                break;
            };
            self.finish_outgoing(outgoing, status, 0);
        }
        let window = self.largest_window();
        let sending = &mut self.partners[key].sending;
        sending.cutting = Key::NIL;
        sending.recovery = Recovery::None;
        sending.window = window;
        sending.in_vain = 0;
        sending.repeats = 0;
        sending.acknum = 0;
        sending.acked = sending.next;
    }

    /// Drops everything that has begun to arrive from a partner.
    pub(super) fn fail_receiving(&mut self, now: Time, key: Key, status: Status) {
        self.drop_partial(key, status);
        self.fail_pulls_of(now, key, status);
        if self.partners[key].receiving.rendezvous > 0 {
            self.drop_rendezvous_of(key);
        }
        self.epochs = self.epochs.wrapping_add(1);
        let partner = &mut self.partners[key];
        partner.epoch = self.epochs;
        partner.probe.end();
        let receiving = &mut partner.receiving;
        receiving.libacks = 0;
        receiving.answered = None;
        receiving.refused = false;
        self.settle(key);
    }

    /// Fails the connect requests to a partner.
    pub(super) fn fail_connects(&mut self, key: Key, status: Status) {
        while let Some(connect) = self.partners[key].connects.first() {
            self.finish_connect(connect, Err(status));
        }
    }

    /// Something is heard from a partner, or done for it: makes sure that its timer goes off in time.
    pub(super) fn arm(&mut self, key: Key) {
        if let Some(due) = self.due(key) {
            let armed = &mut self.partners[key].armed;
            self.schedule.arm(armed, due, Whose::Partner(key));
        }
    }

    /// The same, where nothing new can be due before the shortest resend timer runs out. This is done for each message.
    pub(super) fn arm_resend(&mut self, now: Time, key: Key) {
        let soonest = after(now, self.config.timers.rto_min);
        if self.partners[key].armed.is_none_or(|armed| armed > soonest) {
            self.arm(key);
        }
    }

    /// When something is due for a partner.
    fn due(&self, key: Key) -> Option<Time> {
        let partner = &self.partners[key];
        // What is going out already needs no timer.
        let ack = partner.receiving.owed;
        let ack = ack.filter(|_| partner.receiving.libacks == 0);
        let ack = ack.map(|since| after(since, self.config.timers.ack_delay));
        let resend = self.resend_due(key);
        let connect = self.connect_due(key);
        let probe = self.probe_due(key);
        [ack, resend, connect, probe].into_iter().flatten().min()
    }

    /// A partner's timer has gone off.
    pub(super) fn on_partner_timer(&mut self, now: Time, key: Key, due: Time) {
        match self.partners.peek_mut(key) {
            Some(partner) if partner.armed == Some(due) => partner.armed = None,
            // An entry that was overtaken by an earlier one.
            _ => return,
        }
        self.resend_if_due(now, key);
        self.acknowledge_if_due(now, key);
        self.connect_again_if_due(now, key);
        self.probe_if_due(now, key);
        self.arm(key);
    }
}
