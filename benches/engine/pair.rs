//! Two endpoints, a sender and a receiver, with nothing between them.

use std::hint::black_box;
use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::engine::{
    Arrival, Config, Connect, Endpoint, Event, Filter, PartnerId, PathId, PathProfile, Receive,
    RegionId, Send, SendMode, SentNow, Space, Transmit,
};
use mxoe::frame::{Dialect, HEAD_BYTES};
use mxoe::time::Time;

use crate::BURST;

/// Bytes of a message that goes by TINY.
pub(crate) const TINY: u32 = 8;
/// Bytes of a message that goes by MEDIUM, in four fragments.
pub(crate) const MEDIUM: u32 = 32_000;
/// Bytes of a message that is pulled.
pub(crate) const LARGE: u32 = 8 << 20;

const KEY: u32 = 0x1234;
const MATCH: u64 = 0x0123_4567_89ab_cdef;
const TICK: Duration = Duration::from_micros(1);

/// A frame as it lies before a driver: as much of it as an engine wants to see.
pub(crate) struct Frame {
    from: NicAddr,
    head: [u8; HEAD_BYTES],
    len: usize,
}

impl Frame {
    fn new(from: NicAddr, transmit: &Transmit) -> Self {
        let mut head = [0; HEAD_BYTES];
        head[..transmit.head.len()].copy_from_slice(&transmit.head);
        let payload = transmit.payload.map_or(0, |slice| slice.len as usize);
        Self {
            from,
            head,
            len: transmit.head.len() + payload,
        }
    }

    fn arrival(&self) -> Arrival<'_> {
        Arrival {
            path: PathId::SWITCH,
            from: self.from,
            head: &self.head[..self.len.min(HEAD_BYTES)],
            len: self.len,
            offer: None,
        }
    }
}

/// One of the two. What it does is never inlined, so that a bench more or less leaves the others' figures as they are.
pub(crate) struct Side {
    endpoint: Endpoint,
    address: Address,
    now: Time,
    partner: PartnerId,
}

impl Side {
    fn new(last: u8) -> Self {
        let nic = NicAddr::new([2, 0, 0, 0, 0, last]);
        let address = Address::new(nic, EndpointId::new(last));
        let mut endpoint = Endpoint::new(Config::new(address, KEY, last.into()));
        let profile = PathProfile::new(Dialect::DEFAULT, 4 << 20);
        endpoint.set_path(Time::ZERO, PathId::SWITCH, profile);
        Self {
            endpoint,
            address,
            now: Time::ZERO,
            partner: PartnerId::from_u64(u64::MAX),
        }
    }

    #[inline(never)]
    fn send(&mut self, len: u32) {
        self.now += TICK;
        let send = self.message(len);
        let sent = self.endpoint.send(self.now, black_box(send));
        black_box(sent).expect("connected");
    }

    /// The same by the short way.
    #[inline(never)]
    pub(crate) fn send_now(&mut self, len: u32, transmit: &mut Transmit) -> Option<SentNow> {
        self.now += TICK;
        let send = self.message(len);
        let send = black_box(&send);
        self.endpoint.send_now(send, |_| true, black_box(transmit))
    }

    fn message(&self, len: u32) -> Send {
        Send {
            to: self.partner,
            space: Space::Tagged,
            match_info: MATCH,
            data: None,
            region: RegionId(1),
            len,
            mode: SendMode::Standard,
            token: 7,
        }
    }

    pub(crate) fn post(&mut self, len: u32) {
        self.receive(len, MATCH);
    }

    /// Posts a receive that matches none of the messages.
    pub(crate) fn post_other(&mut self, other: u64) {
        self.receive(TINY, other);
    }

    #[inline(never)]
    fn receive(&mut self, len: u32, match_info: u64) {
        let receive = Receive {
            space: Space::Tagged,
            match_info,
            mask: u64::MAX,
            source: None,
            region: RegionId(2),
            len,
            token: 8,
        };
        let posted = self.endpoint.receive(|| self.now, black_box(receive));
        black_box(posted).expect("open");
    }

    #[inline(never)]
    pub(crate) fn transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit(self.now, PathId::SWITCH)
    }

    #[inline(never)]
    pub(crate) fn events(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            black_box(event);
        }
        while let Some(delivered) = self.endpoint.poll_delivered() {
            black_box(delivered);
        }
    }

    /// A frame arrives whose turn it is and for which a receive waits.
    #[inline(never)]
    pub(crate) fn take_now(&mut self, frame: &Frame) {
        self.now += TICK;
        let Frame { from, head, len } = frame;
        let head = &head[..(*len).min(HEAD_BYTES)];
        let endpoint = &mut self.endpoint;
        let taken = endpoint.take_now(self.now, PathId::SWITCH, *from, head, *len);
        black_box(taken).expect("its turn, and wanted");
    }

    /// A frame arrives whose turn it is and for which somebody waits with so much room.
    #[inline(never)]
    pub(crate) fn take_unposted(&mut self, frame: &Frame, room: u32) {
        self.now += TICK;
        let Frame { from, head, len } = frame;
        let head = &head[..(*len).min(HEAD_BYTES)];
        let wanted = Filter {
            space: Space::Tagged,
            match_info: 0,
            mask: 0,
            source: None,
        };
        let wanted = (black_box(&wanted), room);
        let endpoint = &mut self.endpoint;
        let brought = endpoint.take_unposted(self.now, PathId::SWITCH, *from, (head, *len), wanted);
        black_box(brought).expect("its turn, and wanted");
    }

    /// A frame arrives.
    #[inline(never)]
    pub(crate) fn take(&mut self, frame: &Frame) {
        self.now += TICK;
        let placement = self.endpoint.handle_frame(self.now, frame.arrival());
        let _ = black_box(placement);
        self.events();
    }
}

/// Who sends and who receives, and frames that are on their way.
pub(crate) struct Pair {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) frames: Vec<Frame>,
}

impl Pair {
    /// The frames arrive, and after each burst of them what is to be said goes out.
    #[inline(always)]
    pub(crate) fn take_in_bursts(&mut self) {
        for burst in self.frames.chunks(BURST) {
            for frame in burst {
                self.to.take(black_box(frame));
            }
            while let Some(frame) = self.to.transmit() {
                black_box(frame);
            }
        }
    }

    pub(crate) fn new() -> Self {
        let mut pair = Self {
            from: Side::new(0xa),
            to: Side::new(0xb),
            frames: Vec::new(),
        };
        let connect = Connect {
            to: pair.to.address,
            key: KEY,
            deadline: None,
            token: 1,
        };
        let asked = pair.from.endpoint.connect(Time::ZERO, connect);
        asked.expect("there is room for a partner");
        carry(&mut pair.from, &mut pair.to);
        while let Some(reply) = pair.to.transmit() {
            let frame = Frame::new(pair.to.address.nic, &reply);
            pair.from.take_connected(&frame);
        }
        pair
    }

    pub(crate) fn send(&mut self, len: u32) {
        self.from.send(len);
    }

    pub(crate) fn post(&mut self, len: u32) {
        self.to.post(len);
    }

    /// Messages go to and fro until nothing moves any more: some that are expected, and as many that are not.
    pub(crate) fn warm(&mut self, len: u32, count: usize) {
        for expected in [true, false] {
            (0..count).for_each(|_| self.send(len));
            for step in 0..2 {
                if expected == (step == 0) {
                    (0..count).for_each(|_| self.post(len));
                }
                while carry(&mut self.from, &mut self.to) | carry(&mut self.to, &mut self.from) {}
                self.to.endpoint.flush_acks(self.to.now);
            }
            self.to.events();
            while carry(&mut self.from, &mut self.to) | carry(&mut self.to, &mut self.from) {}
        }
        self.to.endpoint.flush_acks(self.to.now);
        carry(&mut self.to, &mut self.from);
        self.from.endpoint.flush_acks(self.from.now);
        carry(&mut self.from, &mut self.to);
        assert!(self.from.endpoint.is_idle() && self.to.endpoint.is_idle());
    }

    /// What the sender has to say is on its way.
    pub(crate) fn collect(&mut self) {
        self.frames.clear();
        while let Some(transmit) = self.from.transmit() {
            let frame = Frame::new(self.from.address.nic, &transmit);
            self.frames.push(frame);
        }
    }

    /// What is on its way arrives.
    pub(crate) fn deliver(&mut self) {
        for frame in self.frames.drain(..) {
            self.to.take(&frame);
        }
    }

    /// What the receiver has to say arrives.
    pub(crate) fn ask(&mut self) {
        while carry(&mut self.to, &mut self.from) {}
    }

    /// What is on its way arrives, and each frame is acknowledged. The acknowledgements are on their way.
    pub(crate) fn acknowledge_each(&mut self) {
        let mut answers = Vec::new();
        for frame in self.frames.drain(..) {
            self.to.take(&frame);
            self.to.endpoint.flush_acks(self.to.now);
            while let Some(transmit) = self.to.transmit() {
                answers.push(Frame::new(self.to.address.nic, &transmit));
            }
        }
        self.frames = answers;
    }
}

/// A burst of what one side has to say reaches the other one. Tells whether there was anything.
fn carry(from: &mut Side, to: &mut Side) -> bool {
    let mut moved = false;
    for _ in 0..BURST {
        let Some(transmit) = from.transmit() else {
            break;
        };
        to.take(&Frame::new(from.address.nic, &transmit));
        moved = true;
    }
    moved
}

impl Side {
    /// The reply to a connect arrives.
    fn take_connected(&mut self, frame: &Frame) {
        let placement = self.endpoint.handle_frame(self.now, frame.arrival());
        placement.expect("an engine reads what an engine writes");
        let Some(Event::Connected { partner, .. }) = self.endpoint.poll_event() else {
            panic!("connected");
        };
        self.partner = partner;
    }
}
