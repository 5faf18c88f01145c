//! The fabric's own thread: keeps the attachment to the back end, opens direct channels, and works for
//! endpoints whose program is busy elsewhere.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use mxoe::addr::Address;
use mxoe::engine::{Gone, PathId};
use mxoe::time::Time;
use myrixen_platform::message::{
    ChannelId, FailReason, Notice, PortAddress, Reply, Request, Serial,
};
use myrixen_platform::process::{Answer, Attachment, DirectHandles, Handshake, News, RequestError};
use myrixen_platform::{Interest, Ready, WaitSet};

use crate::address::{from_port, to_port};
use crate::adopt::{Look, Wards};
use crate::core::Note;
use crate::error::{Error, Result};
use crate::fabric::{Inner, OwnBoard, ports_stay};
use crate::home::Door;
use crate::later::Later;
use crate::path::{Parts, Path};
use crate::shared::Shared;
use crate::wanted::{Verdict, Wanted};

/// The first pause before the back end is looked for again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Direct channels asked for at a time: connecting to thousands of peers must not crowd out the rest.
const OPENING: usize = 8;

/// The token of the attachment; endpoints have their slots.
const BACK_END: u64 = u64::MAX - 1;

/// How the back end stands to us.
enum Link {
    Attached(Arc<Attachment>),
    /// It has accepted us and not yet said so.
    Greeting(Box<Handshake>),
    Away {
        retry_at: Time,
        pause: Duration,
    },
}

/// What we asked the back end.
enum Asked {
    Direct(Wanted),
    Port {
        slot: usize,
        /// After so long it is asked for again if it cannot be had now.
        again: Duration,
    },
    /// Whether the back end has a port that we still hold.
    Adopted {
        slot: usize,
    },
}

impl Asked {
    /// The direct channel that it was about.
    fn into_wanted(self) -> Option<Wanted> {
        match self {
            Self::Direct(wanted) => Some(wanted),
            Self::Port { .. } | Self::Adopted { .. } => None,
        }
    }
}

/// See the module.
pub(crate) struct Progress {
    inner: Weak<Inner>,
    door: Door,
    bells: WaitSet,
    link: Link,
    wards: Wards,
    asked: Vec<(Serial, Asked)>,
    /// Direct channels to be asked for.
    wanted: VecDeque<Wanted>,
    /// Those that are to be asked for again, and when.
    lost: Later<Wanted>,
    /// Endpoints whose ports are to be asked for again, and the pause after that.
    unopened: Later<(usize, Duration)>,
    /// The back end gives no more direct channels.
    direct_limit: bool,
    /// Ports outlive the attachment (`PORTS_STAY`).
    ports_stay: bool,
}

impl Progress {
    /// Starts the thread. It ends with the last handle of the fabric.
    pub(crate) fn start(
        inner: &Arc<Inner>,
        door: Door,
        attachment: Arc<Attachment>,
        bells: WaitSet,
        ports_stay: bool,
    ) -> Result<JoinHandle<()>> {
        attachment
            .watch(&bells, BACK_END)
            .map_err(Error::system("could not watch the back end"))?;
        let progress = Self {
            inner: Arc::downgrade(inner),
            door,
            bells,
            link: Link::Attached(attachment),
            wards: Wards::default(),
            asked: Vec::new(),
            wanted: VecDeque::new(),
            lost: Later::new(),
            unopened: Later::new(),
            direct_limit: false,
            ports_stay,
        };
        std::thread::Builder::new()
            .name("myrixen".into())
            .spawn(move || progress.run())
            .map_err(Error::system("could not start the fabric's thread"))
    }

    fn run(mut self) {
        let mut ready = Vec::new();
        loop {
            let Some(inner) = self.inner.upgrade() else {
                return;
            };
            let timeout = inner.rounds.within(|| self.round(&inner, &ready));
            drop(inner);
            if self.bells.wait(timeout, &mut ready).is_err() {
                // Cannot happen for a set that exists; going on without sleeping would burn a core.
                std::thread::sleep(RETRY.0);
            }
        }
    }

    /// Does all there is to do. Returns how long there will be nothing.
    fn round(&mut self, inner: &Arc<Inner>, ready: &[Ready]) -> Option<Duration> {
        let now = inner.clock.now();
        let mail = inner.mailbox.take();
        for slot in mail.closed {
            self.wards.forget(slot);
        }
        // First those who wait: somebody asks them for something, a connection as a rule.
        let rung = ready.iter().map(|ready| ready.token);
        let rung = rung.filter_map(|slot| usize::try_from(slot).ok());
        let urgent = rung.filter(|&slot| self.wards.watches(slot));
        let urgent: Vec<usize> = urgent.chain(mail.adopt).collect();
        let mut next = self.look_after(inner, urgent, mail.look);
        self.keep_attached(inner, now);
        for (slot, note) in mail.notes {
            self.act_on(inner, slot, note);
        }
        self.open_again(inner, now);
        self.wanted.extend(self.lost.take_due(now));
        self.open_directs(inner);
        if let Link::Away { retry_at, .. } = self.link {
            next = Some(next.map_or(retry_at, |next| next.min(retry_at)));
        }
        let again = [self.lost.next(), self.unopened.next()];
        let next = again.into_iter().flatten().chain(next).min();
        next.map(|next| next.since(inner.clock.now()))
    }

    /// Visits the endpoints that need it, and no others: there may be many. Returns when the next one does.
    fn look_after(
        &mut self,
        inner: &Arc<Inner>,
        urgent: Vec<usize>,
        look: Vec<usize>,
    ) -> Option<Time> {
        let now = inner.clock.recent();
        let mut visits: Vec<(usize, Look)> = Vec::new();
        visits.extend(urgent.into_iter().map(|slot| (slot, Look::Now)));
        visits.extend(look.into_iter().map(|slot| (slot, Look::Tick)));
        visits.extend(self.wards.due(now).map(|slot| (slot, Look::Tick)));
        visits.sort_unstable();
        // Once each, in the most urgent way.
        visits.dedup_by_key(|(slot, _)| *slot);
        for (slot, look) in visits {
            let Some(shared) = inner.endpoint(slot) else {
                // It is being closed.
                self.wards.forget(slot);
                continue;
            };
            let watched = self.wards.watches(slot);
            let watches = self.wards.visit(slot, &shared, look, inner.clock.recent());
            if watches != watched {
                Self::watch(&self.bells, slot, &shared, watches);
            }
        }
        self.wards.next()
    }

    fn watch(bells: &WaitSet, slot: usize, shared: &Shared, watched: bool) {
        if watched {
            // Without its doorbells the endpoint is still looked after at its timers.
            let _ = bells.add(shared.bells_fd(), slot as u64, Interest::Read);
        } else {
            bells.remove(shared.bells_fd());
        }
    }

    fn act_on(&mut self, inner: &Arc<Inner>, slot: usize, note: Note) {
        let Some(shared) = inner.endpoint(slot) else {
            return;
        };
        match note {
            Note::Met(to) => {
                self.wanted.push_back(Wanted::first(slot, to));
            }
            // Its place may have been taken since.
            Note::PathLost(id, lost) if !shared.is_lost(id, lost) => {}
            Note::PathLost(PathId::SWITCH, _) => {
                shared.unplug();
                self.lose(inner);
            }
            Note::PathLost(id, _) => {
                if let Some((peer, channel)) = shared.drop_direct(id) {
                    self.tell_closed(shared.address.endpoint.get(), to_port(peer), channel);
                    self.reopen(inner, slot, &shared, peer);
                }
            }
        }
    }

    fn tell_closed(&self, endpoint: u8, to: PortAddress, channel: ChannelId) {
        if let Link::Attached(attachment) = &self.link {
            let close = Request::CloseDirect {
                endpoint,
                to,
                channel,
            };
            if let Ok(serial) = attachment.send_request(&close) {
                attachment.abandon(serial);
            }
        }
    }

    /// Asks for wanted direct channels, a few at a time.
    fn open_directs(&mut self, inner: &Arc<Inner>) {
        if self.direct_limit {
            self.wanted.clear();
        }
        let Link::Attached(attachment) = &self.link else {
            return;
        };
        while self.asked.len() < OPENING {
            let Some(wanted) = self.wanted.pop_front() else {
                return;
            };
            let to = wanted.to;
            let endpoint = inner.endpoint(wanted.slot);
            let Some(shared) = endpoint.filter(|shared| shared.wants_direct(to)) else {
                continue;
            };
            let wanted = match wanted.verdict(|| shared.heard_from(to)) {
                Verdict::Ask(wanted) => wanted,
                Verdict::Wait(pause, wanted) => {
                    self.lost.put(inner.clock.now() + pause, wanted);
                    continue;
                }
                Verdict::Forget => continue,
            };
            let request = Request::OpenDirect {
                endpoint: shared.address.endpoint.get(),
                to: to_port(to),
                forward: shared.ring_bytes,
                backward: shared.ring_bytes,
                brought: None,
            };
            match attachment.send_request(&request) {
                Ok(serial) => self.asked.push((serial, Asked::Direct(wanted))),
                Err(_) => {
                    self.wanted.push_front(wanted);
                    return;
                }
            }
        }
    }

    /// Has an endpoint use a channel. Where it cannot, or is not there (it is being opened, or closed), the other end is told, which would use it for ever:
    /// between domains nobody notices by himself that a channel was let go of.
    fn use_direct(&self, inner: &Inner, shared: Option<&Shared>, channel: DirectHandles) {
        let endpoint = channel.endpoint;
        let (peer, id) = (channel.peer.address, channel.channel);
        let used = match shared {
            Some(shared) => shared.add_direct(channel, inner.board().max_frame).is_ok(),
            None => {
                channel.refuse();
                false
            }
        };
        if !used {
            self.tell_closed(endpoint, peer, id);
        }
    }

    /// A direct channel is lost, and the one who opened it wants it back: which of the two, both can tell.
    fn reopen(&mut self, inner: &Inner, slot: usize, shared: &Shared, to: Address) {
        if shared.address < to {
            let (pause, wanted) = Wanted::again(slot, to);
            self.lost.put(inner.clock.now() + pause, wanted);
        }
    }

    /// Hears the back end out; finds it again when it is gone.
    fn keep_attached(&mut self, inner: &Arc<Inner>, now: Time) {
        match &mut self.link {
            Link::Attached(attachment) => {
                let attachment = Arc::clone(attachment);
                loop {
                    // Looking for news reads answers too. Those came first as a rule, and the news may be that
                    // what they gave is gone.
                    let news = attachment.next_news();
                    self.take_answers(inner, &attachment);
                    let Some(news) = news else { break };
                    self.hear(inner, news);
                }
                if attachment.is_lost() {
                    self.lose(inner);
                }
            }
            Link::Greeting(handshake) => {
                // Its descriptor becomes the attachment's, which is watched in its own way.
                self.bells.remove(handshake.fd());
                match handshake.poll() {
                    Ok(Some((attachment, welcome))) => {
                        self.door.ticket = welcome.ticket.clone().or(self.door.ticket.take());
                        self.ports_stay = ports_stay(&welcome);
                        self.arrive(inner, attachment, OwnBoard::from_welcome(&welcome));
                    }
                    Ok(None)
                        if self
                            .bells
                            .add(handshake.fd(), BACK_END, Interest::Read)
                            .is_ok() => {}
                    Ok(None) | Err(_) => self.stay_away(now, RETRY.0),
                }
            }
            Link::Away { retry_at, pause } if *retry_at <= now => {
                let pause = *pause;
                let greeting = self.door.knock(&inner.pool).ok().filter(|handshake| {
                    self.bells
                        .add(handshake.fd(), BACK_END, Interest::Read)
                        .is_ok()
                });
                self.link = match greeting {
                    Some(handshake) => Link::Greeting(Box::new(handshake)),
                    None => Link::Away {
                        retry_at: now + pause,
                        pause: (pause * 2).min(RETRY.1),
                    },
                };
            }
            Link::Away { .. } => {}
        }
    }

    /// The back end is gone: endpoints go on over their direct channels meanwhile.
    fn lose(&mut self, inner: &Arc<Inner>) {
        let Link::Attached(attachment) = &self.link else {
            return;
        };
        attachment.unwatch(&self.bells);
        inner.home.set(None);
        let asked = self.asked.drain(..);
        self.wanted
            .extend(asked.filter_map(|(_, asked)| asked.into_wanted()));
        if !self.ports_stay {
            for (_, shared) in inner.open_endpoints() {
                shared.unplug();
            }
        }
        self.link = Link::Away {
            retry_at: inner.clock.now(),
            pause: RETRY.0,
        };
    }

    /// Nothing that is shared survives what is about to happen to this guest: everything is given up, and opened again afterwards. The
    /// engines keep the conversations.
    fn let_go(&mut self, inner: &Arc<Inner>) {
        for (slot, shared) in inner.open_endpoints() {
            match shared.let_go() {
                Ok(peers) => {
                    for to in peers {
                        self.reopen(inner, slot, &shared, to);
                    }
                }
                // It keeps what it has, and whoever wants it gone sees that it is still there.
                Err(_) => return,
            }
        }
        self.lose(inner);
    }

    /// The back end is back: opens every port again, and tells it of the direct channels there are.
    fn arrive(&mut self, inner: &Arc<Inner>, attachment: Attachment, board: OwnBoard) {
        let attachment = Arc::new(attachment);
        *inner.board.lock().unwrap_or_else(PoisonError::into_inner) = board;
        self.direct_limit = false;
        for (slot, shared) in inner.open_endpoints() {
            let endpoint = shared.address.endpoint.get();
            if self.ports_stay && shared.is_plugged() {
                let adopt = Request::AdoptPort { endpoint };
                if let Ok(serial) = attachment.send_request(&adopt) {
                    self.asked.push((serial, Asked::Adopted { slot }));
                }
            } else {
                self.open_port(&attachment, slot, &shared, RETRY.0);
            }
            for (peer, channel) in shared.directs() {
                let adopt = Request::AdoptDirect {
                    endpoint,
                    to: to_port(peer),
                    channel,
                };
                if let Ok(serial) = attachment.send_request(&adopt) {
                    attachment.abandon(serial);
                }
            }
        }
        if attachment.watch(&self.bells, BACK_END).is_ok() {
            self.link = Link::Attached(Arc::clone(&attachment));
            inner.home.set(Some(attachment));
        } else {
            // What was asked is answered to nobody: the next one numbers its requests from 0 again.
            self.asked.clear();
            self.stay_away(inner.clock.now(), RETRY.1);
        }
    }

    /// Asks for a port for an endpoint that is open; once more after `again` if it cannot be had.
    fn open_port(
        &mut self,
        attachment: &Attachment,
        slot: usize,
        shared: &Shared,
        again: Duration,
    ) {
        let open = Request::OpenPort {
            endpoint: Some(shared.address.endpoint.get()),
            forward: shared.ring_bytes,
            backward: shared.ring_bytes,
            brought: None,
        };
        if let Ok(serial) = attachment.send_request(&open) {
            self.asked.push((serial, Asked::Port { slot, again }));
        }
    }

    /// Ports that could not be had before are asked for again.
    fn open_again(&mut self, inner: &Inner, now: Time) {
        let Link::Attached(attachment) = &self.link else {
            // Whoever arrives asks for all.
            self.unopened.clear();
            return;
        };
        let attachment = Arc::clone(attachment);
        for (slot, again) in self.unopened.take_due(now) {
            if let Some(shared) = inner.endpoint(slot).filter(|shared| !shared.is_plugged()) {
                self.open_port(&attachment, slot, &shared, again);
            }
        }
    }

    /// Looks for the back end again after a pause.
    fn stay_away(&mut self, now: Time, pause: Duration) {
        self.link = Link::Away {
            retry_at: now + pause,
            pause,
        };
    }

    fn take_answers(&mut self, inner: &Arc<Inner>, attachment: &Attachment) {
        let mut still = Vec::new();
        for (serial, asked) in std::mem::take(&mut self.asked) {
            match attachment.poll_reply(serial) {
                Ok(None) => still.push((serial, asked)),
                Ok(Some(answer)) => self.take_answer(inner, attachment, &asked, answer),
                // The back end is gone. Ports are asked for anew when it is back.
                Err(_) => self.wanted.extend(asked.into_wanted()),
            }
        }
        self.asked.append(&mut still);
    }

    fn take_answer(
        &mut self,
        inner: &Arc<Inner>,
        attachment: &Attachment,
        asked: &Asked,
        answer: Answer,
    ) {
        match *asked {
            Asked::Direct(wanted) => match answer.into_direct() {
                Ok(channel) => {
                    let shared = inner.endpoint(wanted.slot);
                    self.use_direct(inner, shared.as_deref(), channel);
                }
                Err(RequestError::Failed(failure)) if failure.reason == FailReason::Limit => {
                    self.direct_limit = true;
                }
                Err(RequestError::Failed(failure))
                    if failure.reason == FailReason::NoDirectPath => {}
                Err(_) => {
                    if let Some((pause, wanted)) = wanted.refused() {
                        self.lost.put(inner.clock.now() + pause, wanted);
                    }
                }
            },
            Asked::Adopted { slot } => {
                // Whoever has forgotten it gives us another one.
                if let (Some(shared), Reply::Failed(_)) = (inner.endpoint(slot), &answer.reply) {
                    shared.unplug();
                    self.open_port(attachment, slot, &shared, RETRY.0);
                }
            }
            Asked::Port { slot, again } => {
                let Some(shared) = inner.endpoint(slot) else {
                    return;
                };
                let opened = answer.into_port().is_ok_and(|port| {
                    let parts = Parts::from_port(port, inner.board().max_frame);
                    shared.set_switch_path(Path::switch(parts)).is_ok()
                });
                if !opened {
                    // The back end may not have noticed yet that we had gone, or somebody is out of descriptors.
                    let (at, next) = (inner.clock.now() + again, (again * 2).min(RETRY.1));
                    self.unopened.put(at, (slot, next));
                }
            }
        }
    }

    fn hear(&mut self, inner: &Arc<Inner>, news: News) {
        match news {
            News::Direct(channel) => {
                let peer = from_port(channel.peer.address);
                let taker = inner.numbered(channel.endpoint);
                // What there is to that end is older, and its end has not shown yet.
                if let Some(shared) = &taker
                    && let Some((path, _)) = shared.direct_to(peer)
                {
                    shared.drop_direct(path);
                }
                let taker = taker.filter(|shared| shared.wants_direct(peer));
                self.use_direct(inner, taker.as_deref(), *channel);
            }
            News::PoolLent {
                endpoint,
                peer,
                channel,
                pool,
            } => {
                if let Some(shared) = inner.numbered(endpoint) {
                    shared.borrow_pool(from_port(peer), channel, pool.as_ref());
                }
            }
            News::Notice(Notice::DirectGone {
                endpoint,
                peer,
                channel,
            }) => {
                if let Some(shared) = inner.numbered(endpoint)
                    && let Some((id, held)) = shared.direct_to(from_port(peer))
                    && held.may_be(channel)
                {
                    shared.drop_direct(id);
                    self.reopen(inner, shared.slot, &shared, from_port(peer));
                }
            }
            News::Notice(Notice::EndpointGone(who)) => {
                Self::gone(inner, Gone::Endpoint(from_port(who)));
            }
            News::Notice(Notice::BoardGone(mac)) => {
                Self::gone(inner, Gone::Board(mxoe::addr::NicAddr::new(mac.bytes())));
            }
            News::Notice(Notice::LetGo) => self.let_go(inner),
            // Draining needs no preparation: the loss that follows is the same as any.
            _ => {}
        }
    }

    fn gone(inner: &Arc<Inner>, who: Gone) {
        for (_, shared) in inner.open_endpoints() {
            shared.peer_gone(who);
        }
    }
}
