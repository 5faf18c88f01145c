//! A program's connection to the fabric.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::engine;
use mxoe::frame::{Dialect, Mtu};
use myrixen_platform::WaitSet;
use myrixen_platform::message::{
    self, FailReason, Name, OpenPort, PortAddress, Query, Reply, Request, Ticket, Welcome, Wish,
};
use myrixen_platform::process::{
    Attachment, DEFAULT_SOCKET, PortHandles, RequestError, SOCKET_VARIABLE,
};
use myrixen_ring::Capacity;
use myrixen_shm::{Pool, PoolBuf};
use slab::Slab;

use crate::address::{from_port, to_mac};
use crate::core::{Core, Note, Start};
use crate::driver::{Bed, Driver};
use crate::endpoint::Endpoint;
use crate::error::{Error, Result};
use crate::home::{Door, Home, Place};
use crate::mailbox::Mailbox;
use crate::offer::{Audience, Guards};
use crate::options::EndpointOptions;
use crate::path::{Parts as PathParts, Path};
use crate::progress::Progress;
use crate::rounds::Rounds;
use crate::shared::{self, Clock, Shared};

/// How long a question to the back end may take, its restart included.
const PATIENCE: Duration = Duration::from_secs(10);

/// A board of the fabric: a guest's virtual network card, or a machine of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Its MAC address.
    pub nic: NicAddr,
    /// Its name, `host:0`, once it is known.
    pub name: Option<String>,
    /// It is on this host.
    pub local: bool,
}

/// What the back end told us about ourselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnBoard {
    /// Our MAC address.
    pub nic: NicAddr,
    /// Our name, `host:0`.
    pub name: String,
    /// The partition we are in.
    pub partition: String,
    /// The packet layout our partition uses.
    pub dialect: Dialect,
    /// The largest frame of our partition, in bytes, Ethernet header included.
    pub max_frame: u32,
    /// Endpoints we may open at a time.
    pub max_endpoints: u16,
}

impl OwnBoard {
    pub(crate) fn from_welcome(welcome: &Welcome) -> Self {
        Self {
            nic: NicAddr::new(welcome.mac.bytes()),
            name: welcome.board.as_str().to_owned(),
            partition: welcome.partition.as_str().to_owned(),
            dialect: dialect(welcome.profile),
            max_frame: welcome.profile.mtu,
            max_endpoints: welcome.limits.ports,
        }
    }
}

/// Whether our ports go on when the attachment is lost.
pub(crate) fn ports_stay(welcome: &Welcome) -> bool {
    welcome.features & message::PORTS_STAY != 0
}

fn dialect(profile: message::Profile) -> Dialect {
    match profile.dialect {
        message::Dialect::Compat => Dialect::Compat,
        message::Dialect::Native => Dialect::Native {
            mtu: u16::try_from(profile.mtu)
                .ok()
                .and_then(Mtu::new)
                .unwrap_or(Mtu::STANDARD),
        },
    }
}

/// Says where and as what to join the fabric.
#[derive(Clone, Debug)]
pub struct Builder {
    socket: Option<PathBuf>,
    board: Option<String>,
    own_board: Option<NicAddr>,
    partition: Option<String>,
    pool_bytes: usize,
    read_in_place: bool,
}

impl Default for Builder {
    /// The usual socket, a board of our own in the default partition, up to 1 GiB of shared buffers.
    fn default() -> Self {
        Self {
            socket: None,
            board: None,
            own_board: None,
            partition: None,
            pool_bytes: 1 << 30,
            read_in_place: true,
        }
    }
}

impl Builder {
    /// The back end's socket.
    #[must_use]
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The board's name. Programs of one user that give the same name share a board.
    #[must_use]
    pub fn board_name(mut self, name: impl Into<String>) -> Self {
        self.board = Some(name.into());
        self
    }

    /// To be the board with this address, of those that [`Fabric::own_boards`] tells. Where it is not there any more it is as if nothing had been
    /// said.
    #[must_use]
    pub fn own_board(mut self, nic: NicAddr) -> Self {
        self.own_board = Some(nic);
        self
    }

    /// The partition to be in.
    #[must_use]
    pub fn partition(mut self, name: impl Into<String>) -> Self {
        self.partition = Some(name.into());
        self
    }

    /// The most memory that [`Fabric::alloc`] can give, in bytes. Costs nothing until it is used.
    #[must_use]
    pub fn pool_bytes(mut self, bytes: usize) -> Self {
        self.pool_bytes = bytes;
        self
    }

    /// Whether guests of our partition on this host may read our memory in place where the kernel lets them
    /// (default: yes). Memory from [`Fabric::alloc`] they can always read.
    #[must_use]
    pub fn read_in_place(mut self, allowed: bool) -> Self {
        self.read_in_place = allowed;
        self
    }

    /// Joins the fabric.
    ///
    /// # Errors
    /// [`Error::Attach`] if nobody listens on the socket or we are not let in: it says what helps.
    pub fn connect(self) -> Result<Fabric> {
        let path = self.socket.clone().unwrap_or_else(default_socket);
        self.join(Place::Socket(path), None)
    }

    pub(crate) fn join(self, place: Place, driver: Option<Arc<dyn Driver>>) -> Result<Fabric> {
        let name = |text: Option<String>| {
            text.map(Name::new)
                .transpose()
                .map_err(|source| Error::Invalid(source.to_string()))
        };
        let mut door = Door {
            place,
            wish: Wish {
                board: name(self.board)?,
                partition: name(self.partition)?,
            },
            // An agent's tickets are addresses. A back end knows its own from others, and has one board for a guest.
            ticket: self
                .own_board
                .and_then(|nic| Ticket::new(nic.octets().to_vec())),
            offer_memory: self.read_in_place,
        };
        let pool = Pool::new(self.pool_bytes).map_err(Error::system("could not make the pool"))?;
        let (attachment, welcome) = door.knock(&pool)?.wait()?;
        door.ticket = welcome.ticket.clone();
        let attachment = Arc::new(attachment);
        let bells = WaitSet::new().map_err(Error::system("could not make a wait set"))?;
        let inner = Arc::new(Inner {
            clock: Clock(myrixen_platform::Clock::new()),
            mailbox: Mailbox::new(bells.waker()),
            endpoints: Mutex::default(),
            board: Mutex::new(OwnBoard::from_welcome(&welcome)),
            home: Home::new(Arc::clone(&attachment)),
            pool,
            driver,
            thread: Mutex::default(),
            rounds: Rounds::default(),
        });
        let ports_stay = ports_stay(&welcome);
        let thread = Progress::start(&inner, door, attachment, bells, ports_stay)?;
        *inner.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(Fabric {
            inner,
            inside: None,
        })
    }
}

fn default_socket() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| DEFAULT_SOCKET.into(), PathBuf::from)
}

/// What the handles of one fabric share.
pub(crate) struct Inner {
    pub(crate) clock: Clock,
    pub(crate) mailbox: Mailbox,
    endpoints: Mutex<Slab<Weak<Shared>>>,
    pub(crate) board: Mutex<OwnBoard>,
    pub(crate) home: Home,
    pub(crate) pool: Pool,
    /// The back end, where our threads drive it.
    pub(crate) driver: Option<Arc<dyn Driver>>,
    /// The fabric's own thread, for who waits for its end.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) rounds: Rounds,
}

impl Inner {
    fn thread(&self) -> Option<JoinHandle<()>> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.take()
    }

    /// Has the fabric's thread look at an endpoint.
    pub(crate) fn look_at(&self, slot: usize) {
        self.mailbox.put(|mail| mail.look.push(slot));
    }

    /// Hands notes of an endpoint to the fabric's thread.
    pub(crate) fn note(&self, slot: usize, notes: Vec<Note>) {
        self.mailbox.put(|mail| {
            mail.notes
                .extend(notes.into_iter().map(|note| (slot, note)))
        });
    }

    /// Asks the fabric's thread to take an endpoint over.
    pub(crate) fn adopt(&self, slot: usize) {
        self.mailbox.put(|mail| mail.adopt.push(slot));
    }

    pub(crate) fn board(&self) -> OwnBoard {
        self.board
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn endpoints(&self) -> MutexGuard<'_, Slab<Weak<Shared>>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The open endpoint with this number on the board.
    pub(crate) fn numbered(&self, endpoint: u8) -> Option<Arc<Shared>> {
        let open = self.open_endpoints().into_iter();
        let mut open = open.map(|(_, shared)| shared);
        open.find(|shared| shared.address.endpoint.get() == endpoint)
    }

    /// Every open endpoint, with its number.
    pub(crate) fn open_endpoints(&self) -> Vec<(usize, Arc<Shared>)> {
        let endpoints = self.endpoints();
        endpoints
            .iter()
            .filter_map(|(slot, shared)| Some((slot, shared.upgrade()?)))
            .collect()
    }

    pub(crate) fn endpoint(&self, slot: usize) -> Option<Arc<Shared>> {
        let endpoints = self.endpoints();
        endpoints.get(slot)?.upgrade()
    }

    /// The last handle of an endpoint is being dropped: unless requests hold it, nobody is given it from now on, and the fabric's thread has let go of it.
    pub(crate) fn let_go_of(&self, shared: &Arc<Shared>) {
        /// Each round may find the endpoint again. What is still held then is held by requests.
        const ROUNDS: usize = 3;
        for _ in 0..ROUNDS {
            let round = self.rounds.now();
            let mut endpoints = self.endpoints();
            if Arc::strong_count(shared) == 1 {
                if let Some(shown) = endpoints.get_mut(shared.slot) {
                    *shown = Weak::new();
                }
                return;
            }
            drop(endpoints);
            if !self.rounds.wait_past(round) {
                return;
            }
        }
    }

    /// The endpoint is closed: its number is free, and the back end forgets its port. False when the back end is away.
    pub(crate) fn forget(&self, slot: usize, endpoint: u8) -> bool {
        // First, so that it is not taken for what is said of the next one with this number.
        self.mailbox.put(|mail| mail.closed.push(slot));
        let mut endpoints = self.endpoints();
        endpoints.try_remove(slot);
        drop(endpoints);
        self.home.get().is_some_and(|attachment| {
            let asked = attachment.send_request(&Request::ClosePort { endpoint });
            asked.is_ok_and(|serial| {
                attachment.abandon(serial);
                true
            })
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.mailbox.put(|mail| mail.stop = true);
    }
}

/// A program's connection to the fabric: a board of its own, on which it opens endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Fabric {
    inner: Arc<Inner>,
    /// The back end, when it runs inside this program.
    #[cfg_attr(
        not(feature = "embedded"),
        allow(dead_code, reason = "there is no back end to hold")
    )]
    inside: Option<Arc<dyn Send + Sync>>,
}

impl Fabric {
    /// Joins the fabric through the back end of this machine: the socket in `MYRIXEN_SOCKET`, else
    /// `/run/myrixen/myrixen.sock`.
    ///
    /// # Errors
    /// [`Error::Attach`] if nobody listens there, with what helps.
    pub fn connect() -> Result<Self> {
        Self::builder().connect()
    }

    /// Says more about how to join.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Keeps what the fabric runs on alive with it.
    #[cfg(feature = "embedded")]
    pub(crate) fn holding(mut self, inside: Arc<dyn Send + Sync>) -> Self {
        self.inside = Some(inside);
        self
    }

    /// Lets go of this handle, and waits, for up to half a second, until the fabric's thread has ended if it was the last and no endpoint is open.
    pub fn leave(self) {
        let inner = Arc::downgrade(&self.inner);
        let thread = self.inner.thread();
        drop(self);
        let until = std::time::Instant::now() + Duration::from_millis(500);
        let over = || inner.strong_count() == 0;
        while !over() && std::time::Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        if over()
            && let Some(thread) = thread
        {
            // It ends at once: there is nothing left for it. If it has panicked, that was said.
            let _ = thread.join();
        }
    }

    /// Our own board.
    pub fn board(&self) -> OwnBoard {
        self.inner.board()
    }

    /// The boards that the back end knows: its guests of our partition, and machines of the network.
    ///
    /// # Errors
    /// [`Error::BackEndAway`].
    pub fn boards(&self) -> Result<Vec<Board>> {
        let ask = |from| Request::ListBoards { from };
        let boards = self.list("list the boards", usize::MAX, ask, |reply| match reply {
            Reply::Boards { boards, next } => Some((boards, next)),
            _ => None,
        })?;
        Ok(boards.into_iter().map(Board::from).collect())
    }

    /// The boards that a program may be here without naming one, by [`Builder::own_board`], the first one that it is unless it asks for
    /// another: in a Xen domain those of all its devices that are there, of whatever partitions; elsewhere our own.
    ///
    /// # Errors
    /// [`Error::BackEndAway`]; [`Error::Refused`] by a back end, or an agent, that does not know the question.
    pub fn own_boards(&self) -> Result<Vec<Board>> {
        let ask = |from| Request::ListOwnBoards { from };
        let boards = self.list(
            "list our own boards",
            usize::MAX,
            ask,
            |reply| match reply {
                Reply::Boards { boards, next } => Some((boards, next)),
                _ => None,
            },
        )?;
        Ok(boards.into_iter().map(Board::from).collect())
    }

    /// The endpoints that are open on our board, by their numbers: those of all programs that have attached under its name. What
    /// has passed through the back end is told of each; what goes over direct channels does not, and
    /// [`Endpoint::counters`] has that of our own.
    ///
    /// # Errors
    /// [`Error::BackEndAway`]; [`Error::Refused`] by a back end that does not know the question.
    pub fn ports(&self) -> Result<Vec<OpenPort>> {
        // A board has no more than its numbers.
        let most = usize::from(u8::MAX) + 1;
        let ask = |from| Request::ListPorts { from };
        self.list(
            "list the endpoints of the board",
            most,
            ask,
            |reply| match reply {
                Reply::Ports { ports, next } => Some((ports, next)),
                _ => None,
            },
        )
    }

    /// Asks for a list part by part, until there are no more or `most` have come. `part` is what an answer has, and where the next part begins; `None` if it is
    /// another answer.
    fn list<T>(
        &self,
        what: &'static str,
        most: usize,
        ask: impl Fn(u32) -> Request,
        part: impl Fn(Reply) -> Option<(Vec<T>, Option<u32>)>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(at) = from {
            let (some, next) = self.inner.home.ask(what, PATIENCE, |home, left| {
                let reply = home.request(&ask(at), left)?.reply;
                part(reply).ok_or(RequestError::WrongAnswer)
            })?;
            all.extend(some);
            from = next.filter(|&next| all.len() < most && next > at);
        }
        Ok(all)
    }

    /// The MAC address of the board of this name (`host:0`; without `:0` the first board is meant).
    ///
    /// # Errors
    /// [`Error::UnknownName`] if nobody has it.
    pub fn lookup(&self, name: &str) -> Result<NicAddr> {
        let unknown = || Error::UnknownName(name.to_owned());
        let full = if name.contains(':') {
            name.to_owned()
        } else {
            format!("{name}:0")
        };
        let query = Request::Resolve(Query::Name(Name::new(full).map_err(|_| unknown())?));
        let found = self.resolve(&query)?;
        found.map(|board| board.nic).ok_or_else(unknown)
    }

    /// The board with this address, if the back end has heard of it.
    ///
    /// # Errors
    /// [`Error::BackEndAway`].
    pub fn find(&self, nic: NicAddr) -> Result<Option<Board>> {
        self.resolve(&Request::Resolve(Query::Mac(to_mac(nic))))
    }

    fn resolve(&self, query: &Request) -> Result<Option<Board>> {
        let ask = |home: &Attachment, left| match home.request(query, left) {
            Ok(answer) => match answer.reply {
                Reply::Board(board) => Ok(Some(Board::from(board))),
                _ => Err(RequestError::WrongAnswer),
            },
            Err(RequestError::Failed(failure)) if failure.reason == FailReason::NotFound => {
                Ok(None)
            }
            Err(other) => Err(other),
        };
        self.inner.home.ask("look a board up", PATIENCE, ask)
    }

    /// Memory that co-located guests of our partition can read in place (and nobody else can write):
    /// messages sent from it cross in one copy. `None` if the pool is used up.
    pub fn alloc(&self, len: usize) -> Option<PoolBuf> {
        self.inner.pool.alloc(len)
    }

    /// Opens an endpoint.
    ///
    /// # Errors
    /// [`Error::Refused`] if its number is taken or there are as many as allowed, with the limit.
    pub fn open(&self, options: EndpointOptions) -> Result<Endpoint> {
        let ring = Capacity::new(options.ring_bytes)
            .map_err(|source| Error::Invalid(source.to_string()))?;
        let wanted = options.id.map(mxoe::addr::EndpointId::get);
        let port = self
            .inner
            .home
            .ask("open an endpoint", PATIENCE, |home, left| {
                home.open_port(wanted, [ring, ring], left)
            })?;
        Endpoint::build(&self.inner, &options, port)
    }
}

impl Endpoint {
    /// Joins engine, port and memory.
    fn build(inner: &Arc<Inner>, options: &EndpointOptions, port: PortHandles) -> Result<Self> {
        let board = inner.board();
        let address = from_port(PortAddress {
            mac: to_mac(board.nic),
            endpoint: port.endpoint,
        });
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(
            |error| Error::System {
                what: "could not get random numbers",
                source: error.into(),
            },
        )?;
        let mut config = engine::Config::new(address, options.key, u64::from_ne_bytes(seed));
        config.announce_unexpected = options.announce_unexpected;
        // Partners' rings are as large as ours, as a rule: what is under way to one should fit, or it is dropped there.
        // Ours may be smaller than was asked for.
        let [forward, backward] = port.terms.layout.capacities().map(Capacity::bytes);
        let ring = forward.min(backward);
        config.limits.unacked_bytes = config.limits.unacked_bytes.min(ring / 2);
        if let Some(bytes) = options.unexpected_bytes {
            config.limits.unexpected_bytes = bytes;
        }
        if let Some(after) = options.give_up {
            config.timers.give_up = after;
        }
        let bells = WaitSet::new().map_err(Error::system("could not make a wait set"))?;
        let eager_max = config.eager_max.min(board.dialect.max_medium());
        let core = Core::new(Start {
            eager_max,
            engine: engine::Endpoint::new(config),
            dialect: board.dialect,
            direct: options.direct,
            driver: inner.driver.clone(),
            guards: options
                .read_in_place
                .then(|| Guards::new(&inner.pool, Audience::Partners))
                .flatten(),
        });
        let mut endpoints = inner.endpoints();
        let entry = endpoints.vacant_entry();
        let bed = inner
            .driver
            .as_deref()
            .map(|driver| Bed::new(&bells, driver));
        let bed = bed
            .transpose()
            .map_err(Error::system("could not watch the back end"))?;
        let shared = Shared::new(shared::Parts {
            address,
            fabric: Arc::clone(inner),
            slot: entry.key(),
            bells,
            bed,
            core,
            wait: options.wait,
            direct: options.direct,
            ring_bytes: options.ring_bytes,
            lent_bytes: options.lent_bytes,
            handler: options.handler.clone(),
            taken_over: options.taken_over,
        });
        // Before the fabric's thread can find it: a direct channel that somebody asks for at once would take the place of the path to the back end.
        let switch = Path::switch(PathParts::from_port(port, board.max_frame));
        let installed = shared.set_switch_path(switch);
        entry.insert(Arc::downgrade(&shared));
        drop(endpoints);
        installed?;
        inner.look_at(shared.slot);
        Ok(Self::of(shared))
    }
}

impl From<message::Board> for Board {
    fn from(board: message::Board) -> Self {
        Self {
            nic: NicAddr::new(board.mac.bytes()),
            name: board.name.map(|name| name.as_str().to_owned()),
            local: board.place == message::Place::Local,
        }
    }
}
