//! The back end's end of one guest's connection.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use myrixen_ring::{Layout, QueuePair, Side, Support, Terms};
use myrixen_shm::Pages;

use super::control::{self, Control};
use super::socket::{Received, Sent, Socket};
use crate::bell;
use crate::handover::{Handover, HandoverError, Item, SharedPool, Tag};
use crate::meeting::{
    DirectEnds, GuestLink, Heard, Identity, LinkState, MAX_QUEUED, MAX_UNANSWERED, PeerFault,
    PortEnd, SetupError,
};
use crate::message::{
    Hello, MemoryProbe, MessageError, Notice, Refusal, Reply, Request, Serial, Welcome,
};
use crate::sys;
use crate::waitset::{Interest, WaitSet};

/// A guest on this host, seen from the back end.
#[derive(Debug)]
pub struct ProcessLink {
    socket: Socket,
    identity: Identity,
    state: LinkState,
    support: Support,
    memory: Option<MemoryProbe>,
    pool: Option<SharedPool>,
    /// A Hello whose pool has not come yet.
    hello: Option<Hello>,
    control: Option<Control>,
    /// What the guest has not made room for.
    outbox: VecDeque<Outgoing>,
    unanswered: HashSet<u64>,
    notices: u64,
    watch: Option<(WaitSet, u64)>,
    /// The watch also waits for room on the socket.
    wants_room: bool,
}

/// Bytes and descriptors from the socket.
type Packet = (Vec<u8>, Vec<OwnedFd>);

/// A message on its way, and what goes before it on the socket.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    handover: Option<(Tag, Handover)>,
}

impl ProcessLink {
    /// Takes a connected socket whose other end is a guest.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        Self::over(Socket::new(fd)?)
    }

    pub(super) fn over(socket: Socket) -> io::Result<Self> {
        let identity = Identity::Process(sys::peer(socket.as_fd())?);
        Ok(Self {
            socket,
            identity,
            state: LinkState::Initialising,
            support: Support::OURS,
            memory: None,
            pool: None,
            hello: None,
            control: None,
            outbox: VecDeque::new(),
            unanswered: HashSet::new(),
            notices: 0,
            watch: None,
            wants_room: false,
        })
    }

    /// Hello, and the pool that may come with it.
    fn hear_hello(&mut self) -> Result<Option<Heard>, PeerFault> {
        let Some((bytes, fds)) = self.receive()? else {
            return Ok(self.left());
        };
        if let Some(hello) = self.hello.take() {
            let tag = Tag {
                serial: Serial::new(0),
                answer: false,
            };
            let handover = Handover::parse(&bytes, fds, tag)?;
            let have = handover.items.len();
            let Ok([Item::Pool(pool)]) = <[Item; 1]>::try_from(handover.items) else {
                return Err(HandoverError::Unexpected {
                    have,
                    what: "a pool",
                }
                .into());
            };
            self.pool = Some(pool);
            return Ok(Some(self.arrived(hello)));
        }
        let (hello, handed) = Hello::parse(&bytes)?;
        match handed {
            0 if fds.is_empty() => Ok(Some(self.arrived(hello))),
            1 if fds.is_empty() => {
                self.hello = Some(hello);
                self.hear_hello()
            }
            _ => Err(HandoverError::Unexpected {
                have: fds.len(),
                what: "at most a pool",
            }
            .into()),
        }
    }

    fn arrived(&mut self, hello: Hello) -> Heard {
        self.state = LinkState::InitWait;
        self.memory = hello.memory;
        // A guest with another major version is refused by the back end; until then this is what we can do.
        self.support = Support::OURS.agree(hello.ring).unwrap_or(Support::OURS);
        Heard::Hello(Box::new(hello))
    }

    fn hear_request(&mut self) -> Result<Option<Heard>, PeerFault> {
        self.flush()?;
        let Some(control) = &mut self.control else {
            return Ok(None);
        };
        let Some(bytes) = control.take()? else {
            let gone = control.hung_up();
            self.expect_silence()?;
            if gone {
                self.state = LinkState::Closed;
            }
            return Ok(self.left());
        };
        let (serial, request, handed) = Request::parse(&bytes)?;
        self.state = LinkState::Connected;
        if handed != 0 {
            // The process platform asks nothing of the guest's after the Hello.
            let have = usize::from(handed);
            return Err(HandoverError::Unexpected {
                have,
                what: "nothing",
            }
            .into());
        }
        if self.unanswered.len() >= MAX_UNANSWERED {
            return Err(PeerFault::TooManyRequests {
                limit: MAX_UNANSWERED,
            });
        }
        if !self.unanswered.insert(serial.get()) {
            return Err(PeerFault::SerialInUse(serial.get()));
        }
        Ok(Some(Heard::Request(serial, request)))
    }

    /// The socket carries nothing more from the guest; what comes all the same is closed with the packet.
    fn expect_silence(&mut self) -> Result<(), PeerFault> {
        match self.receive()? {
            None => Ok(()),
            Some(_) => Err(MessageError::OutOfPlace { kind: 0 }.into()),
        }
    }

    /// A packet, or `None`: nothing there, or the guest has left and `state` says so.
    fn receive(&mut self) -> Result<Option<Packet>, PeerFault> {
        match self.socket.receive()? {
            Received::Packet(bytes, fds) => Ok(Some((bytes, fds))),
            Received::Nothing => Ok(None),
            Received::Closed => {
                self.state = LinkState::Closed;
                Ok(None)
            }
        }
    }

    fn left(&self) -> Option<Heard> {
        (self.state == LinkState::Closed).then_some(Heard::Left)
    }

    fn send(&mut self, message: Outgoing) -> Result<(), PeerFault> {
        assert!(
            self.control.is_some(),
            "only a guest that was welcomed can be told anything"
        );
        if self.state == LinkState::Closed {
            return Ok(());
        }
        self.outbox.push_back(message);
        self.flush()?;
        if self.outbox.len() > MAX_QUEUED {
            let (queued, limit) = (self.outbox.len(), MAX_QUEUED);
            return Err(PeerFault::NotReading { queued, limit });
        }
        Ok(())
    }

    /// Sends what waits, in order, as far as the guest has made room.
    fn flush(&mut self) -> Result<(), PeerFault> {
        let mut blocked = false;
        while let Some(message) = self.outbox.front_mut() {
            if let Some((tag, handover)) = &message.handover {
                match self.socket.send(&handover.emit(*tag), &handover.fds())? {
                    Sent::Yes => message.handover = None,
                    Sent::Blocked => {
                        blocked = true;
                        break;
                    }
                    Sent::Closed => {
                        self.outbox.clear();
                        break;
                    }
                }
            }
            let Some(control) = &mut self.control else {
                break;
            };
            if !control.give(&message.bytes)? {
                break;
            }
            self.outbox.pop_front();
        }
        self.want_room(blocked)?;
        Ok(())
    }

    /// Has the wait set say when the socket has room.
    fn want_room(&mut self, wanted: bool) -> io::Result<()> {
        if self.wants_room != wanted {
            self.wants_room = wanted;
            if let Some((set, token)) = &self.watch {
                let interest = if wanted {
                    Interest::ReadWrite
                } else {
                    Interest::Read
                };
                set.change(self.socket.as_fd(), *token, interest)?;
            }
        }
        Ok(())
    }
}

/// Pages for a queue pair, made and formatted.
fn make_pages(terms: &Terms) -> Result<(OwnedFd, Pages), SetupError> {
    let (fd, pages) =
        myrixen_shm::memfd("myrixen-queue-pair", terms.layout.total()).map_err(|source| {
            SetupError::System {
                what: "shared memory",
                source,
            }
        })?;
    myrixen_ring::format(&pages, terms)?;
    Ok((fd, pages))
}

fn make_bell() -> Result<(bell::Ringer, bell::Waiter), SetupError> {
    bell::bell().map_err(|source| SetupError::System {
        what: "a bell",
        source,
    })
}

fn pages_item(fd: OwnedFd, terms: &Terms) -> Item {
    let len = u64::try_from(terms.layout.total()).unwrap_or(u64::MAX);
    Item::Pages { fd, offset: 0, len }
}

/// A queue pair to a guest, and its bells.
pub(crate) fn make_port(terms: &Terms) -> Result<(PortEnd, Handover), SetupError> {
    let (fd, pages) = make_pages(terms)?;
    let pair = QueuePair::join(pages, terms, Side::Back)?;
    let (their_ringer, waiter) = make_bell()?;
    let (ringer, their_waiter) = make_bell()?;
    let pages = pages_item(fd, terms);
    let items = vec![
        pages,
        Item::Ringer(their_ringer),
        Item::Waiter(their_waiter),
    ];
    Ok((
        PortEnd {
            pair,
            ringer,
            waiter,
        },
        Handover { items },
    ))
}

impl GuestLink for ProcessLink {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn state(&self) -> LinkState {
        self.state
    }

    fn support(&self) -> Support {
        self.support
    }

    fn memory(&self) -> Option<MemoryProbe> {
        self.memory
    }

    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()> {
        self.unwatch();
        let interest = if self.wants_room {
            Interest::ReadWrite
        } else {
            Interest::Read
        };
        set.add(self.socket.as_fd(), token, interest)?;
        self.watch = Some((set.clone(), token));
        match &self.control {
            Some(control) => set.add_bell(control.waiter(), token),
            None => Ok(()),
        }
    }

    fn hear(&mut self) -> Result<Option<Heard>, PeerFault> {
        match self.state {
            LinkState::Initialising => self.hear_hello(),
            LinkState::InitWait => {
                self.expect_silence()?;
                Ok(self.left())
            }
            LinkState::Initialised | LinkState::Connected => self.hear_request(),
            LinkState::Closing => {
                // Whatever it still says is thrown away.
                let _ = self.receive()?;
                Ok(self.left())
            }
            LinkState::Closed => Ok(Some(Heard::Left)),
        }
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<(), PeerFault> {
        assert_eq!(
            self.state,
            LinkState::InitWait,
            "a guest is welcomed once, after its Hello"
        );
        let setup = |err: SetupError| PeerFault::System(io::Error::other(err));
        let terms = control::terms(self.support).map_err(|err| setup(err.into()))?;
        let (
            PortEnd {
                pair,
                ringer,
                waiter,
            },
            handover,
        ) = make_port(&terms).map_err(setup)?;
        if let Some((set, token)) = &self.watch {
            set.add_bell(&waiter, *token)?;
        }
        self.control = Some(Control::new(pair, ringer, waiter));
        self.state = LinkState::Initialised;
        let bytes = welcome.emit(&terms, handover.count());
        let tag = Tag {
            serial: Serial::new(0),
            answer: true,
        };
        for (bytes, fds) in [(bytes, Vec::new()), (handover.emit(tag), handover.fds())] {
            // The socket is empty as yet: only a guest that fiddles with it makes it block.
            if self.socket.send(&bytes, &fds)? == Sent::Blocked {
                let (queued, limit) = (1, 0);
                return Err(PeerFault::NotReading { queued, limit });
            }
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: &Refusal) {
        // Whether the guest hears it is the guest's business.
        let _ = self.socket.send(&refusal.emit(), &[]);
        self.state = LinkState::Closing;
    }

    fn reply(&mut self, to: Serial, reply: &Reply, with: Handover) -> Result<(), PeerFault> {
        assert!(self.unanswered.remove(&to.get()), "a reply to no request");
        let bytes = reply.emit(to, with.count());
        let tag = Tag {
            serial: to,
            answer: true,
        };
        self.send(Outgoing {
            bytes,
            handover: (!with.is_empty()).then_some((tag, with)),
        })
    }

    fn notify(&mut self, notice: &Notice, with: Handover) -> Result<(), PeerFault> {
        self.notices += 1;
        let tag = Tag {
            serial: Serial::new(self.notices),
            answer: false,
        };
        let bytes = notice.emit(tag.serial, with.count());
        self.send(Outgoing {
            bytes,
            handover: (!with.is_empty()).then_some((tag, with)),
        })
    }

    fn make_port(
        &mut self,
        _request: Serial,
        terms: &Terms,
    ) -> Result<(PortEnd, Handover), SetupError> {
        make_port(terms)
    }

    fn make_direct(
        &mut self,
        _request: Serial,
        back: &mut dyn GuestLink,
        layout: Layout,
    ) -> Result<DirectEnds, SetupError> {
        // Pages and bells made here can be handed to processes only.
        if !matches!(back.identity(), Identity::Process(_)) {
            return Err(SetupError::NoDirectPath);
        }
        let support = self.support.agree(back.support())?;
        let terms = Terms { layout, support };
        let system = |what| move |source| SetupError::System { what, source };
        let (fd, _) = make_pages(&terms)?;
        let fd_too = fd.try_clone().map_err(system("a descriptor"))?;
        let (front_ringer, back_waiter) = make_bell()?;
        let (back_ringer, front_waiter) = make_bell()?;
        let ends = |fd, ringer, waiter, pool: Option<Handover>| {
            let mut items = vec![
                pages_item(fd, &terms),
                Item::Ringer(ringer),
                Item::Waiter(waiter),
            ];
            items.extend(pool.into_iter().flat_map(|pool| pool.items));
            Handover { items }
        };
        let front_pool = self.share_pool().map_err(system("a descriptor"))?;
        let back_pool = back.share_pool().map_err(system("a descriptor"))?;
        Ok(DirectEnds {
            front: ends(fd, front_ringer, front_waiter, back_pool),
            back: ends(fd_too, back_ringer, back_waiter, front_pool),
            terms,
        })
    }

    fn share_pool(&self) -> io::Result<Option<Handover>> {
        let pool = self.pool.as_ref().map(SharedPool::try_clone).transpose()?;
        Ok(pool.map(|pool| Handover {
            items: vec![Item::Pool(pool)],
        }))
    }
}

impl ProcessLink {
    fn unwatch(&mut self) {
        if let Some((set, _)) = self.watch.take() {
            set.remove(self.socket.as_fd());
            if let Some(control) = &self.control {
                set.remove_bell(control.waiter());
            }
        }
    }
}

impl Drop for ProcessLink {
    fn drop(&mut self) {
        self.unwatch();
    }
}

#[cfg(test)]
impl ProcessLink {
    /// Says something foul: this message, with that handed over under another number.
    pub(super) fn force(&mut self, bytes: &[u8], handover: Handover, serial: Serial) {
        let tag = Tag {
            serial,
            answer: true,
        };
        let sent = self
            .socket
            .send(&handover.emit(tag), &handover.fds())
            .unwrap();
        assert_eq!(sent, Sent::Yes);
        let control = self.control.as_mut().expect("the guest was welcomed");
        assert!(control.give(bytes).unwrap());
    }
}
