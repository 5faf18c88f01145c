//! What programs do with their engines: operations in, events out.

use std::time::Duration;

use mxoe::engine::{
    ClaimedReceive, Delivered, Envelope, Event, Filter, OfferId, PartnerId, PullId, Receive,
    RegionId, RequestId, Send, Space, Status, UnexpectedId,
};

use super::{Pending, World, tell};
use crate::node::{Asked, ContactState, Request, Standby, token};
use crate::oracle::{Got, Life, Posting, Sending};
use crate::payload;
use crate::rng::Ppm;
use crate::scenario::{Drain, GIVE_UP, Give, Happening, MessageId, PostId, What};
use crate::violation::Violation;

/// All matching spaces.
const SPACES: [Space; 3] = [Space::Tagged, Space::Plain, Space::Service];
/// Receives for anything that a draining node keeps posted in each space.
const DRAIN_DEPTH: usize = 2;
/// How often drivers ask for data that they could read.
const ASKS_FIRST: Ppm = Ppm::percent(50);

impl World<'_> {
    /// A program does what the scenario plans.
    pub(super) fn act(&mut self, number: usize) -> Result<(), Violation> {
        let action = &self.scenario.actions[number];
        let index = action.node;
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        match action.what {
            What::Send { id, to, .. } => {
                node.contacts[to].waiting.push_back(id);
                self.send_waiting(index, to)?;
            }
            What::Receive {
                space,
                match_info,
                mask,
                from,
                len,
                give,
            } => {
                let known = from.filter(|from| node.contacts[*from].partner.is_some());
                let posting = Posting {
                    by: node.life,
                    space,
                    match_info,
                    mask,
                    from: known,
                    len,
                    claimed: false,
                    hurried: matches!(give, Give::Deadline(_)),
                };
                self.post(posting, give)?;
            }
            What::WrongKey { to } => self.connect(index, to, true)?,
        }
        self.drive(index)
    }

    /// The send of this number, as planned.
    fn planned_send(
        &self,
        id: MessageId,
    ) -> Option<(usize, Space, u64, u32, mxoe::engine::SendMode)> {
        self.sends.get(id.0 as usize).and_then(|action| {
            match self.scenario.actions.get(*action)?.what {
                What::Send {
                    to,
                    space,
                    match_info,
                    len,
                    mode,
                    ..
                } => Some((to, space, match_info, len, mode)),
                _ => None,
            }
        })
    }

    /// Sends what waits for this connection, or asks for the connection.
    pub(super) fn send_waiting(&mut self, index: usize, to: usize) -> Result<(), Violation> {
        loop {
            let Some(node) = &mut self.nodes[index] else {
                return Ok(());
            };
            if node.closed {
                return Ok(());
            }
            let contact = &mut node.contacts[to];
            let Some(&id) = contact.waiting.front() else {
                return Ok(());
            };
            let partner = match (contact.state, contact.partner) {
                (ContactState::Known, Some(partner)) => partner,
                (ContactState::Asking, _) => return Ok(()),
                _ => return self.connect(index, to, false),
            };
            if !self.send(index, partner, id)? {
                // The connection was lost, and the event that says so is still to come.
                if let Some(node) = &mut self.nodes[index] {
                    node.contacts[to].state = ContactState::None;
                }
                continue;
            }
            if let Some(node) = &mut self.nodes[index] {
                node.contacts[to].waiting.pop_front();
            }
        }
    }

    /// Gives a message to the engine; false when there is no connection.
    fn send(&mut self, index: usize, partner: PartnerId, id: MessageId) -> Result<bool, Violation> {
        let Some((to, space, match_info, len, mode)) = self.planned_send(id) else {
            return Err(Violation::NeverSent { message: id });
        };
        let excused = self.excused(index, to);
        let Some(node) = &mut self.nodes[index] else {
            return Ok(true);
        };
        let region = node.memory.lend(payload::of_message(u64::from(id.0), len));
        let token = token::send(id);
        let send = Send {
            to: partner,
            space,
            match_info,
            data: payload::beside(match_info, len),
            region,
            len,
            mode,
            token,
        };
        // Every other message by the short way, where that is open.
        let at_once = match id.0 % 2 {
            0 => self.send_now(index, &send)?,
            _ => false,
        };
        let Some(node) = &mut self.nodes[index] else {
            return Ok(true);
        };
        let sent = match at_once {
            true => Ok(None),
            false => node.endpoint.send(self.now, send).map(Some),
        };
        match sent {
            Ok(request) => {
                let asked = Asked::Send {
                    message: id,
                    region,
                };
                node.requests.insert(
                    token,
                    Request {
                        id: request,
                        what: asked,
                    },
                );
                let sending = Sending {
                    from: node.life,
                    to,
                    space,
                    match_info,
                    len,
                    mode,
                    excused,
                };
                self.oracle.sending(id, sending);
                tell!(
                    self,
                    "{index}: sends message {} of {len} bytes to {to}, {match_info:#x} {mode:?}",
                    id.0
                );
                Ok(true)
            }
            Err(status) if excused => {
                tell!(
                    self,
                    "{index}: message {} to {to} refused: {status:?}",
                    id.0
                );
                node.memory.take(region)?;
                Ok(false)
            }
            Err(status) => Err(Violation::refused(index)(status)),
        }
    }

    /// Whether something happens in this scenario that excuses failures between two nodes.
    pub(super) fn excused(&self, a: usize, b: usize) -> bool {
        let mut cut_since = None;
        self.scenario
            .disruptions
            .iter()
            .any(|disruption| match &disruption.what {
                Happening::Dies { node, .. } => *node == a || *node == b,
                Happening::Links { links, cut }
                    if links.contains(&(a, b)) || links.contains(&(b, a)) =>
                {
                    let since = *cut_since.get_or_insert(disruption.at);
                    !cut && disruption.at.saturating_sub(since) > GIVE_UP / 3
                }
                _ => false,
            })
    }

    /// Posts a receive.
    fn post(&mut self, posting: Posting, give: Give) -> Result<(), Violation> {
        let index = posting.by.node;
        self.post_standby(index)?;
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let region = node.memory.buffer(posting.len);
        let Posting {
            space,
            match_info,
            mask,
            len,
            ..
        } = posting;
        let source = posting.from.and_then(|from| node.contacts[from].partner);
        let post = self.oracle.posting(posting);
        let token = token::receive(post);
        let receive = Receive {
            space,
            match_info,
            mask,
            source,
            region,
            len,
            token,
        };
        let what = Asked::Receive { post, region };
        let waits = matches!(give, Give::Time)
            && self.stand_by(index, Standby { post, receive }, Request { id: None, what });
        if waits {
            tell!(self, "{index}: waits in receive {}: {receive:?}", post.0);
            return Ok(());
        }
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let request = match node.endpoint.receive(|| self.now, receive) {
            Err(Status::NotConnected)
                if source.is_some_and(|source| !node.endpoint.may_send(source)) =>
            {
                tell!(self, "{index}: nothing can come for receive {}", post.0);
                node.memory.take(region)?;
                return self.oracle.withdrawn(post);
            }
            request => request.map_err(Violation::refused(index))?,
        };
        let id = Some(request);
        node.requests.insert(token, Request { id, what });
        match give {
            Give::Time => {}
            Give::Cancel(after) => {
                let life = node.life;
                self.schedule(self.now + after, Pending::Withdraw { life, post });
            }
            Give::Deadline(after) => node.endpoint.set_deadline(request, Some(self.now + after)),
        }
        tell!(
            self,
            "{index}: posts receive {}: {match_info:#x}/{mask:x}, {len} bytes, from {:?}",
            post.0,
            posting.from
        );
        Ok(())
    }

    /// A program cancels a receive, if it waits still.
    pub(super) fn withdraw(
        &mut self,
        life: Life,
        post: crate::scenario::PostId,
    ) -> Result<(), Violation> {
        let now = self.now;
        self.post_standby(life.node)?;
        let Some(node) = self.nodes[life.node]
            .as_mut()
            .filter(|node| node.life == life)
        else {
            return Ok(());
        };
        let request = node.requests.get(&token::receive(post));
        if let Some(id) = request.and_then(|request| request.id) {
            let cancelled = node.endpoint.cancel(now, id);
            tell!(
                self,
                "{}: cancels receive {}: {cancelled}",
                life.node,
                post.0
            );
        }
        self.drive(life.node)
    }

    /// A node begins to take in what nobody has asked for.
    pub(super) fn begin_draining(&mut self, index: usize) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        node.draining = true;
        if self.scenario.nodes[index].drain == Drain::Anything {
            for space in SPACES {
                (0..DRAIN_DEPTH).try_for_each(|_| self.post_anything(index, space))?;
            }
        }
        self.drive(index)
    }

    fn post_anything(&mut self, index: usize, space: Space) -> Result<(), Violation> {
        let Some(node) = &self.nodes[index] else {
            return Ok(());
        };
        let len = payload::LONGEST;
        let anything = Posting {
            by: node.life,
            space,
            match_info: 0,
            mask: 0,
            from: None,
            len,
            claimed: false,
            hurried: false,
        };
        self.post(anything, Give::Time)
    }

    /// Takes in unexpected messages by looking at them; tells whether there were any.
    fn take_unexpected(&mut self, index: usize) -> Result<bool, Violation> {
        let how = self.scenario.nodes[index].drain;
        let mut any = false;
        for space in SPACES {
            let filter = Filter {
                space,
                match_info: 0,
                mask: 0,
                source: None,
            };
            while let Some(node) = self.nodes[index].as_mut().filter(|node| node.draining) {
                let Some(found) = node.endpoint.probe(&filter) else {
                    break;
                };
                any = true;
                let from = node.who(found.source);
                let exact = Posting {
                    by: node.life,
                    space,
                    match_info: found.match_info,
                    mask: u64::MAX,
                    from,
                    len: found.length,
                    claimed: how == Drain::Claims,
                    hurried: false,
                };
                match how {
                    Drain::Anything => return Ok(false),
                    Drain::Probes => self.post(exact, Give::Time)?,
                    Drain::Claims => self.claim(index, &filter, exact)?,
                }
            }
        }
        Ok(any)
    }

    /// Claims the message that was just seen.
    fn claim(&mut self, index: usize, filter: &Filter, posting: Posting) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let refused = Violation::refused(index);
        let (id, envelope) = node
            .endpoint
            .claim(filter)
            .ok_or_else(|| refused(Status::BadHandle))?;
        let data = payload::beside(envelope.match_info, envelope.length);
        if envelope.match_info != posting.match_info
            || envelope.length != posting.len
            || envelope.data != data
        {
            return Err(refused(Status::BadHandle));
        }
        let Some(post) = self.receive_claimed(index, id, posting)? else {
            return Ok(());
        };
        tell!(
            self,
            "{index}: claims {:#x}, {} bytes, as receive {}",
            posting.match_info,
            posting.len,
            post.0
        );
        Ok(())
    }

    /// A message that is claimed, or held, is received into a buffer. Tells as which receive; `None` where there is no node.
    pub(super) fn receive_claimed(
        &mut self,
        index: usize,
        id: UnexpectedId,
        posting: Posting,
    ) -> Result<Option<PostId>, Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(None);
        };
        let region = node.memory.buffer(posting.len);
        let post = self.oracle.posting(posting);
        let token = token::receive(post);
        let into = ClaimedReceive {
            region,
            len: posting.len,
            token,
        };
        let request = node.endpoint.receive_claimed(self.now, id, into);
        let id = Some(request.map_err(Violation::refused(index))?);
        let what = Asked::Receive { post, region };
        node.requests.insert(token, Request { id, what });
        Ok(Some(post))
    }

    /// Carries out and reports what an engine says; tells whether it said anything.
    pub(super) fn handle_events(&mut self, index: usize) -> Result<bool, Violation> {
        let mut any = false;
        loop {
            let Some(node) = &mut self.nodes[index] else {
                return Ok(any);
            };
            if let Some(event) = node.endpoint.poll_event() {
                tell!(self, "{index}: {event:?}");
                self.handle_event(index, event)?;
            } else if let Some(delivered) = node.endpoint.poll_delivered() {
                tell!(self, "{index}: {delivered:?}");
                let Delivered { token, length, .. } = delivered;
                self.sent(index, (token, None), (Status::Success, length))?;
            } else {
                break;
            }
            any = true;
        }
        if !self.finishing && self.nodes[index].as_ref().is_some_and(|node| !node.closed) {
            any |= self.take_unexpected(index)?;
        }
        Ok(any)
    }

    pub(super) fn handle_event(&mut self, index: usize, event: Event) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        match event {
            Event::Connected {
                token,
                request,
                partner,
            } => self.connected(index, token, request, partner),
            Event::ConnectFailed {
                token,
                request,
                status,
                ..
            } => self.connect_failed(index, token, request, status),
            Event::PartnerArrived { partner, address } => {
                let who = self
                    .scenario
                    .nodes
                    .iter()
                    .position(|plan| plan.address == address);
                let Some(who) = who else { return Ok(()) };
                self.met(index, who, partner)
            }
            Event::PartnerLost { partner, .. } => {
                let Some(who) = node.who(partner) else {
                    return Ok(());
                };
                // Whoever is asking gets an answer of its own.
                if node.contacts[who].state == ContactState::Known {
                    node.contacts[who].state = ContactState::None;
                    self.send_waiting(index, who)?;
                }
                Ok(())
            }
            Event::Sent {
                token,
                request,
                status,
                length,
            } => self.sent(index, (token, Some(request)), (status, length)),
            Event::Received {
                token,
                request,
                status,
                envelope,
                length,
            } => self.received(index, (token, Some(request)), &envelope, (status, length)),
            Event::Cancelled {
                token,
                request,
                status,
            } => self.cancelled(index, token, request, status),
            Event::Copy { from, to, len } => node.memory.copy(from, to, len),
            Event::StoreFreed { id } => node.memory.free(id),
            Event::Fetch {
                pull,
                offer,
                to,
                len,
            } => self.offered(index, pull, offer, to, len),
            Event::OfferFreed { offer } => {
                let known = node.offers.remove(&offer.0);
                known.map(|_| ()).ok_or(Violation::BadOffer {
                    node: index,
                    offer: offer.0,
                })
            }
            Event::Unexpected { id, envelope } => self.serve(index, id, &envelope),
        }
    }

    /// Data can be read where it is: it is, or its owner is asked for it first.
    fn offered(
        &mut self,
        index: usize,
        pull: PullId,
        OfferId(offer): OfferId,
        to: RegionId,
        len: u32,
    ) -> Result<(), Violation> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        let life = node.life;
        if !node.offers.contains_key(&offer) {
            return Err(Violation::BadOffer { node: index, offer });
        }
        let asks = self.rng.chance(ASKS_FIRST) && node.endpoint.pull_first(self.now, pull);
        let (within, what) = if asks {
            let read = Pending::ReadAfterAll {
                life,
                pull,
                offer,
                to,
                len,
            };
            (Duration::from_millis(1), read)
        } else {
            let read = Pending::Fetched {
                life,
                pull,
                offer,
                to,
                len,
            };
            (Duration::from_micros(100), read)
        };
        let at = self.now + self.rng.up_to(within);
        self.schedule(at, what);
        Ok(())
    }

    /// A request has ended: it must have been in progress, under this name if the program was told one.
    pub(super) fn ended(
        &mut self,
        index: usize,
        token: u64,
        request: Option<RequestId>,
    ) -> Result<Asked, Violation> {
        let node = self.nodes[index].as_mut();
        let known = node.and_then(|node| node.requests.remove(&token));
        let known = known.filter(|known| known.id.is_none() || known.id == request);
        known
            .map(|known| known.what)
            .ok_or(Violation::UnknownToken { node: index, token })
    }

    fn give_back(
        &mut self,
        index: usize,
        region: mxoe::engine::RegionId,
    ) -> Result<Vec<u8>, Violation> {
        self.nodes[index]
            .as_mut()
            .map_or(Ok(Vec::new()), |node| node.memory.take(region))
    }

    fn sent(
        &mut self,
        index: usize,
        (token, request): (u64, Option<RequestId>),
        (status, length): (Status, u32),
    ) -> Result<(), Violation> {
        let Asked::Send { message, region } = self.ended(index, token, request)? else {
            return Err(Violation::UnknownToken { node: index, token });
        };
        self.give_back(index, region)?;
        self.oracle.told(message, status, length)
    }

    pub(super) fn received(
        &mut self,
        index: usize,
        (token, request): (u64, Option<RequestId>),
        envelope: &Envelope,
        (status, length): (Status, u32),
    ) -> Result<(), Violation> {
        let Asked::Receive { post, region } = self.ended(index, token, request)? else {
            return Err(Violation::UnknownToken { node: index, token });
        };
        let buffer = self.give_back(index, region)?;
        let from = self
            .scenario
            .nodes
            .iter()
            .position(|plan| plan.address == envelope.address);
        let bytes = buffer.get(..length as usize);
        let (Some(from), Some(bytes)) = (from, bytes) else {
            return Err(Violation::Misreported {
                post,
                status,
                length,
            });
        };
        let (space, match_info, length) = (envelope.space, envelope.match_info, envelope.length);
        let data = envelope.data;
        if data != payload::beside(match_info, length) {
            return Err(Violation::WrongData { post, data });
        }
        self.oracle.got(
            post,
            &Got {
                status,
                from,
                space,
                match_info,
                length,
                bytes,
            },
        )?;
        let draining = self.nodes[index]
            .as_ref()
            .is_some_and(|node| node.draining && !node.closed);
        let anything = self.oracle.is_for_anything(post);
        if draining
            && anything
            && !self.finishing
            && self.scenario.nodes[index].drain == Drain::Anything
        {
            self.post_anything(index, space)?;
        }
        Ok(())
    }

    fn cancelled(
        &mut self,
        index: usize,
        token: u64,
        request: RequestId,
        status: Status,
    ) -> Result<(), Violation> {
        match self.ended(index, token, Some(request))? {
            Asked::Receive { post, region } => {
                self.give_back(index, region)?;
                self.oracle.withdrawn(post)
            }
            Asked::Send { message, region } => {
                self.give_back(index, region)?;
                self.oracle.told(message, status, 0)
            }
            Asked::Connect { to } => {
                self.not_connected(index, to);
                Ok(())
            }
            Asked::WrongKey { .. } => Ok(()),
        }
    }
}
