//! A driver that holds its engine to `docs/engine.md`: it keeps account of everything the engine names.

use std::collections::{BTreeMap, BTreeSet};

use mxoe::addr::{Address, NicAddr};
use mxoe::engine::{
    Arrival, ClaimedReceive, Connect, Endpoint, Event, Filter, OfferId, PartnerId, PathId,
    PathProfile, Placement, PullId, Receive, RegionId, RequestId, Send, Slice, Space, Status,
    StoreId, Target, Transmit, UnexpectedId,
};
use mxoe::frame::{HEAD_BYTES, parse, route};
use mxoe::time::Time;

use crate::steps::{Label, Setup};
use crate::world::{Flight, PATHS};

/// Events and frames that one call may cause. The limits allow for a few thousand.
const MOST_AT_ONCE: usize = 100_000;

/// What a token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Send,
    Receive,
    Connect,
}

/// A request that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// `None` of what was sent at once, which has no name.
    id: Option<RequestId>,
    asked: Asked,
    /// Bytes of its region, whose number is its token.
    len: u32,
}

/// An engine and what its driver keeps for it.
pub(crate) struct Driver {
    pub(crate) address: Address,
    pub(crate) endpoint: Endpoint,
    lazy: bool,
    closed: bool,
    paths: [Option<PathProfile>; PATHS],
    /// By token. Regions are never used again, so that every late use of one is seen.
    requests: BTreeMap<u32, Request>,
    tokens: u32,
    /// Sizes of the entries of the unexpected store.
    store: BTreeMap<StoreId, u32>,
    offers: BTreeSet<OfferId>,
    offered: u32,
    fetches: Vec<(PullId, OfferId)>,
    claimed: Vec<UnexpectedId>,
    announced: Vec<UnexpectedId>,
    partners: Vec<PartnerId>,
    /// Frames that have arrived.
    arrivals: u32,
}

/// One of several things, by a number that may be any.
pub(crate) fn pick<T: Copy>(things: &[T], number: u8) -> Option<T> {
    things
        .get(usize::from(number) % things.len().max(1))
        .copied()
}

impl Driver {
    pub(crate) fn new(setup: &Setup, address: Address, number: u64) -> Self {
        Self {
            address,
            endpoint: Endpoint::new(setup.config(address, number)),
            lazy: setup.lazy,
            closed: false,
            paths: [None; PATHS],
            requests: BTreeMap::new(),
            tokens: 0,
            store: BTreeMap::new(),
            offers: BTreeSet::new(),
            offered: 0,
            fetches: Vec::new(),
            claimed: Vec::new(),
            announced: Vec::new(),
            partners: Vec::new(),
            arrivals: 0,
        }
    }

    /// A call gives no request to a closed endpoint, and one for its token otherwise.
    fn ask(&mut self, asked: Asked, len: u32, result: Result<RequestId, Status>) -> bool {
        match result {
            Ok(id) => {
                assert!(!self.closed, "a closed endpoint takes no requests");
                let id = Some(id);
                self.requests
                    .insert(self.tokens, Request { id, asked, len });
                self.tokens += 1;
                true
            }
            Err(status) => {
                assert_eq!(self.closed, status == Status::Closed, "{status}");
                false
            }
        }
    }

    pub(crate) fn connect(&mut self, now: Time, to: Address, key: u32, deadline: Option<Time>) {
        let token = self.tokens.into();
        let connect = Connect {
            to,
            key,
            deadline,
            token,
        };
        let result = self.endpoint.connect(now, connect);
        self.ask(Asked::Connect, 0, result);
    }

    /// Gives the frame of what goes at once: every other message that may.
    pub(crate) fn send(&mut self, now: Time, to: u8, label: Label, len: u32) -> Option<Flight> {
        let to = pick(&self.partners, to)?;
        let send = Send {
            to,
            space: label.space(),
            match_info: label.match_info(),
            data: label.data(),
            region: RegionId(self.tokens),
            len,
            mode: label.mode(),
            token: self.tokens.into(),
        };
        if self.tokens.is_multiple_of(2)
            && let Some(flight) = self.send_now(&send)
        {
            return Some(flight);
        }
        let result = self.endpoint.send(now, send);
        self.ask(Asked::Send, len, result);
        None
    }

    fn send_now(&mut self, send: &Send) -> Option<Flight> {
        let mut transmit = Transmit::new();
        let paths = &self.paths;
        let open = |path: PathId| paths[usize::from(path.get())].is_some();
        let sent = self.endpoint.send_now(send, open, &mut transmit)?;
        assert!(!self.closed, "a closed endpoint sends nothing");
        let (asked, len) = (Asked::Send, send.len);
        let request = Request {
            id: None,
            asked,
            len,
        };
        self.requests.insert(self.tokens, request);
        self.tokens += 1;
        let profile = self.paths[usize::from(sent.path.get())].expect("it was open");
        let flight = self.check_transmit(&transmit, &profile);
        self.after();
        Some(Flight {
            path: sent.path,
            ..flight
        })
    }

    pub(crate) fn receive(&mut self, now: Time, from: u8, label: Label, len: u32) {
        let receive = Receive {
            space: label.space(),
            match_info: label.match_info() & label.mask(),
            mask: label.mask(),
            source: pick(&self.partners, from).filter(|_| label.selects()),
            region: RegionId(self.tokens),
            len,
            token: self.tokens.into(),
        };
        // A partner that is lost may be forgotten, to make room for another; nothing comes of either.
        let source = receive.source;
        let may_come = source.is_none_or(|source| self.endpoint.may_send(source));
        let result = self.endpoint.receive(|| now, receive);
        let taken = self.ask(Asked::Receive, len, result);
        assert!(taken || self.closed || !may_come, "a receive is refused");
    }

    /// The request of a number that may be any.
    fn request(&self, number: u8) -> Option<RequestId> {
        let place = usize::from(number) % self.requests.len().max(1);
        self.requests.values().nth(place)?.id
    }

    pub(crate) fn cancel(&mut self, now: Time, number: u8) {
        if let Some(request) = self.request(number)
            && self.endpoint.cancel(now, request)
        {
            assert!(!self.endpoint.cancel(now, request), "cancelled twice");
        }
    }

    pub(crate) fn set_deadline(&mut self, number: u8, deadline: Option<Time>) {
        if let Some(request) = self.request(number) {
            self.endpoint.set_deadline(request, deadline);
        }
    }

    pub(crate) fn disconnect(&mut self, now: Time, from: u8) {
        if let Some(partner) = pick(&self.partners, from) {
            self.endpoint.disconnect(now, partner);
        }
    }

    pub(crate) fn claim(&mut self, label: Label) {
        let filter = Filter {
            space: label.space(),
            match_info: label.match_info() & label.mask(),
            mask: label.mask(),
            source: None,
        };
        let seen = self.endpoint.probe(&filter);
        let claimed = self.endpoint.claim(&filter);
        assert_eq!(
            seen,
            claimed.map(|(_, envelope)| envelope),
            "what is seen is claimed"
        );
        self.claimed.extend(claimed.map(|(id, _)| id));
    }

    /// Receives a message that was claimed, or one that was announced and may have been received meanwhile.
    pub(crate) fn take(&mut self, now: Time, number: u8, len: u32) {
        let (claimed, id) = if let Some(id) = self.claimed.pop() {
            (true, id)
        } else if let Some(id) = pick(&self.announced, number) {
            (false, id)
        } else {
            return;
        };
        let into = ClaimedReceive {
            region: RegionId(self.tokens),
            len,
            token: self.tokens.into(),
        };
        let result = self.endpoint.receive_claimed(now, id, into);
        let taken = self.ask(Asked::Receive, len, result);
        assert!(
            taken || self.closed || !claimed,
            "a claimed message stays so"
        );
    }

    pub(crate) fn discard(&mut self, now: Time, number: u8) {
        let id = self.claimed.pop().or_else(|| pick(&self.announced, number));
        if let Some(id) = id {
            self.endpoint.discard(now, id);
        }
    }

    /// Tells how the fetch of a number went. It may have become pointless meanwhile.
    pub(crate) fn fetched(&mut self, now: Time, number: u8, worked: bool) {
        if self.fetches.is_empty() {
            return;
        }
        let place = usize::from(number) % self.fetches.len();
        let (pull, _) = self.fetches.swap_remove(place);
        let result = if worked {
            Ok(())
        } else {
            Err(mxoe::engine::FetchFailed)
        };
        self.endpoint.fetched(now, pull, result);
    }

    /// Every fetch fails.
    pub(crate) fn fail_fetches(&mut self, now: Time) {
        while !self.fetches.is_empty() {
            self.fetched(now, 0, false);
        }
    }

    pub(crate) fn set_path(&mut self, now: Time, path: PathId, profile: PathProfile) {
        self.paths[usize::from(path.get())] = Some(profile);
        self.endpoint.set_path(now, path, profile);
    }

    pub(crate) fn drop_path(&mut self, now: Time, path: PathId) {
        self.paths[usize::from(path.get())] = None;
        self.endpoint.drop_path(now, path);
    }

    pub(crate) fn close(&mut self, now: Time) {
        self.closed = true;
        self.endpoint.close(now);
    }

    /// A frame arrives: its head, and how long it is in all.
    pub(crate) fn arrive(&mut self, now: Time, path: PathId, from: NicAddr, flight: &Flight) {
        let offer = flight.offer.then(|| {
            self.offered += 1;
            OfferId(self.offered)
        });
        self.offers.extend(offer);
        let head = &flight.head[..flight.head.len().min(flight.len)];
        if offer.is_none() && self.take_unposted(now, (path, from), head, flight.len) {
            return self.after();
        }
        let taken = match offer {
            None => self.endpoint.take_now(now, path, from, head, flight.len),
            Some(_) => None,
        };
        if let Some(taken) = taken {
            if let Some(placement) = taken.placement() {
                self.place(&placement, flight.len);
            }
            self.handle_event(taken.event());
            return self.after();
        }
        let arrival = Arrival {
            path,
            from,
            head,
            len: flight.len,
            offer,
        };
        if let Ok(Some(placement)) = self.endpoint.handle_frame(now, arrival) {
            self.place(&placement, flight.len);
        }
        self.after();
    }

    /// Of every fourth frame, a program that waits for any short message, and has posted nothing.
    fn take_unposted(
        &mut self,
        now: Time,
        (path, from): (PathId, NicAddr),
        head: &[u8],
        len: usize,
    ) -> bool {
        const ROOM: u32 = 64;
        self.arrivals += 1;
        let wanted = Filter {
            space: Space::Tagged,
            match_info: 0,
            mask: 0,
            source: None,
        };
        if !self.arrivals.is_multiple_of(4) || !self.endpoint.has_none(wanted.space) {
            return false;
        }
        let frame = (head, len);
        let wanted = (&wanted, ROOM);
        let Some(brought) = self.endpoint.take_unposted(now, path, from, frame, wanted) else {
            return false;
        };
        let (payload, whole) = (brought.payload(), brought.envelope.length);
        assert!(payload.end <= len && brought.length == whole.min(ROOM));
        assert_eq!(brought.status == Status::Truncated, whole > ROOM);
        true
    }

    fn place(&mut self, placement: &Placement, frame: usize) {
        let payload = &placement.payload;
        assert!(
            payload.start < payload.end && payload.end <= frame,
            "{placement:?} of {frame}"
        );
        let len = u32::try_from(payload.len()).expect("a frame is short");
        match placement.target {
            Target::Region { region, offset } => {
                let end = offset.checked_add(len).expect("no wrap");
                self.check_region(region, end, Asked::Receive);
            }
            Target::Store { id, size, offset } => {
                let known = *self.store.entry(id).or_insert(size);
                assert_eq!(known, size, "{id:?} keeps its size");
                assert!(
                    offset.checked_add(len).is_some_and(|end| end <= size),
                    "{placement:?}"
                );
                let limit = self.endpoint.config().limits.unexpected_bytes;
                assert!(self.stored() <= limit, "the store overflows");
            }
        }
    }

    fn stored(&self) -> u64 {
        self.store.values().map(|size| u64::from(*size)).sum()
    }

    /// The region belongs to a request that has not ended, and has so many bytes.
    fn check_region(&self, region: RegionId, end: u32, asked: Asked) {
        let request = self.requests.get(&region.0).expect("a region in use");
        assert_eq!(request.asked, asked, "a region is used as what it is");
        assert!(end <= request.len, "{end} of {} bytes", request.len);
    }

    /// What the driver does after each call, unless it is lazy.
    pub(crate) fn after(&mut self) {
        if !self.lazy {
            self.handle_events();
        }
    }

    pub(crate) fn handle_events(&mut self) {
        while let Some(delivered) = self.endpoint.poll_delivered() {
            let len = self.end(delivered.token, None, &[Asked::Send]);
            assert_eq!(delivered.length, len, "all of it was sent");
        }
        let mut count = 0;
        while let Some(event) = self.endpoint.poll_event() {
            self.handle_event(event);
            count += 1;
            assert!(count < MOST_AT_ONCE, "no end of events");
        }
        assert_eq!(
            self.endpoint.store_bytes(),
            self.stored(),
            "both count alike"
        );
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Connected {
                token,
                request,
                partner,
            } => {
                self.end(token, Some(request), &[Asked::Connect]);
                self.note(partner);
            }
            Event::ConnectFailed {
                token,
                request,
                status,
                ..
            } => {
                assert_ne!(status, Status::Success);
                self.end(token, Some(request), &[Asked::Connect]);
            }
            Event::PartnerArrived { partner, address } => {
                if let Some(known) = self.endpoint.address_of(partner) {
                    assert_eq!(known, address);
                }
                self.note(partner);
            }
            Event::PartnerLost { status, .. } => assert_ne!(status, Status::Success),
            Event::Sent {
                token,
                request,
                length,
                ..
            } => {
                let len = self.end(token, Some(request), &[Asked::Send]);
                assert!(length <= len, "more was sent than there is");
            }
            Event::Received {
                token,
                request,
                status,
                envelope,
                length,
            } => {
                let len = self.end(token, Some(request), &[Asked::Receive]);
                assert!(length <= len && length <= envelope.length);
                match status {
                    Status::Success => assert_eq!(length, envelope.length),
                    Status::Truncated => assert!(length == len && len < envelope.length),
                    _ => assert_eq!(length, 0),
                }
            }
            Event::Cancelled { token, request, .. } => {
                self.end(
                    token,
                    Some(request),
                    &[Asked::Connect, Asked::Send, Asked::Receive],
                );
            }
            Event::Copy { from, to, len } => {
                assert!(
                    self.store.get(&from).is_some_and(|size| len <= *size),
                    "{event:?}"
                );
                self.check_region(to, len, Asked::Receive);
            }
            Event::StoreFreed { id } => {
                assert!(
                    self.store.remove(&id).is_some(),
                    "{id:?} is freed without being there"
                );
            }
            Event::Fetch {
                pull,
                offer,
                to,
                len,
            } => {
                assert!(self.offers.contains(&offer), "{offer:?} was freed");
                self.check_region(to, len, Asked::Receive);
                self.fetches.push((pull, offer));
            }
            Event::OfferFreed { offer } => {
                assert!(self.offers.remove(&offer), "{offer:?} is freed twice");
            }
            Event::Unexpected { id, .. } => {
                assert!(self.endpoint.config().announce_unexpected);
                self.announced.push(id);
            }
        }
    }

    /// A request has ended: it was asked for, and has not ended before. Gives the bytes of its region.
    fn end(&mut self, token: u64, request: Option<RequestId>, asked: &[Asked]) -> u32 {
        let token = u32::try_from(token).expect("a token of ours");
        let known = self.requests.remove(&token).expect("a token ends once");
        let alike = known.id.is_none() || known.id == request;
        assert!(alike, "token and request belong together");
        assert!(
            asked.contains(&known.asked),
            "{known:?} ends as another thing"
        );
        known.len
    }

    fn note(&mut self, partner: PartnerId) {
        if !self.partners.contains(&partner) {
            self.partners.push(partner);
        }
    }

    /// The next frame for a path.
    pub(crate) fn transmit(&mut self, now: Time, path: PathId) -> Option<Flight> {
        let profile = self.paths[usize::from(path.get())];
        let transmit = self.endpoint.poll_transmit(now, path)?;
        let profile = profile.expect("frames for a path that is there");
        let flight = self.check_transmit(&transmit, &profile);
        self.after();
        Some(Flight { path, ..flight })
    }

    fn check_transmit(&self, transmit: &Transmit, profile: &PathProfile) -> Flight {
        let head = transmit.head.as_bytes();
        let slice_len = |slice: &Slice| {
            assert_ne!(slice.len, 0, "an empty slice");
            let end = slice.offset.checked_add(slice.len).expect("no wrap");
            self.check_region(slice.region, end, Asked::Send);
            slice.len as usize
        };
        let payload = transmit.payload.as_ref().map_or(0, slice_len);
        transmit.offer.as_ref().map(slice_len);
        let len = head.len() + payload;
        assert!(len <= profile.max_frame as usize, "a frame of {len} bytes");
        let mut whole = head.to_vec();
        whole.resize(len.min(HEAD_BYTES).max(head.len()), 0);
        let parsed = parse(profile.frames(), &whole, len).expect("what is sent can be read");
        // Data that the message brings are in its head, and the first bytes of what is parsed as payload.
        let behind_head = parsed.payload.end.saturating_sub(head.len());
        assert_eq!(behind_head, payload, "{parsed:?}");
        let data = head
            .len()
            .saturating_sub(parsed.payload.start.min(head.len()));
        assert!(payload == 0 || data == 0 || data == 8, "{parsed:?}");
        let way = route(&whole).expect("what is sent can be routed");
        assert_eq!(way.destination, transmit.to);
        assert!(transmit.offer.is_none() || profile.fetch);
        Flight {
            path: PathId::SWITCH,
            from: self.address.nic,
            to: transmit.to,
            head: whole,
            len,
            offer: transmit.offer.is_some(),
        }
    }

    /// All frames that there are now for the paths that are there.
    pub(crate) fn transmit_all(&mut self, now: Time) -> Vec<Flight> {
        let mut flights = Vec::new();
        for path in (0..PATHS).map(|path| PathId::new(u16::try_from(path).expect("few paths"))) {
            while let Some(flight) = self.transmit(now, path) {
                flights.push(flight);
                assert!(flights.len() < MOST_AT_ONCE, "no end of frames");
            }
        }
        flights
    }

    /// A closed endpoint holds on to nothing.
    pub(crate) fn check_closed(&self) {
        assert!(self.requests.is_empty(), "left over: {:?}", self.requests);
        assert!(self.store.is_empty(), "left over: {:?}", self.store);
        assert!(self.offers.is_empty(), "left over: {:?}", self.offers);
    }
}
