//! A guest's end of its connection to the back end.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use myrixen_ring::{Capacity, Side};
use myrixen_shm::{Access, Pages, Pool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::control::Control;
use super::error::{AttachError, RequestError};
use super::handles::{DirectHandles, PortHandles};
use super::handshake::{Attached, Handshake, HelloOptions};
use super::socket::{Received, Socket};
use crate::handover::{self, Handover, HandoverError, Tag};
use crate::message::{ChannelId, Downward, Notice, PortAddress, Reply, Request, Serial};
use crate::waitset::{Interest, WaitSet, Waker};

/// How many requests a guest has unanswered at most; the next one is [`RequestError::Busy`].
pub const MAX_IN_FLIGHT: usize = 32;

/// A guest's connection to its back end.
///
/// All methods may be called from any thread at any time. Threads that wait for replies share the work of
/// reading them. Dropping it hangs up: the back end then forgets the guest, while ports and direct channels that were
/// handed out stay mapped (and the direct ones stay usable).
#[derive(Debug)]
pub struct Attachment {
    socket: Socket,
    inner: Mutex<Inner>,
    /// A reply has come, or nobody watches the descriptors any more.
    changed: Condvar,
    lost: AtomicBool,
    /// Wakes the thread that watches the descriptors, when another has read what it waits for.
    nudge: WaitSet,
}

#[derive(Debug)]
struct Inner {
    control: Control,
    next_serial: u64,
    waiting: HashMap<u64, Waiting>,
    news: VecDeque<News>,
    /// A thread watches the descriptors.
    watched: bool,
    /// Wakes who watches them in a set of its own: what it waits for may be read by any call of any thread.
    watcher: Option<Waker>,
}

/// A request that was sent.
#[derive(Debug)]
enum Waiting {
    /// Not answered.
    Asked(Request),
    /// Answered, not collected.
    Answered(Answer),
    /// Nobody wants the answer any more; what it gives is to be given back.
    Abandoned(Request),
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    /// What the back end said.
    pub reply: Reply,
    request: Request,
    handover: Handover,
}

/// Something that happened, ready to use.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// Another guest has opened a direct channel to us.
    Direct(Box<DirectHandles>),
    /// A direct channel was offered, but cannot be used (descriptors or memory used up); the other end has been told.
    BrokenOffer {
        /// Our endpoint.
        endpoint: u8,
        /// Who offered it.
        peer: PortAddress,
        /// What was wrong.
        error: HandoverError,
    },
    /// The other end of a direct channel has lent memory, to read large messages in.
    PoolLent {
        /// Our endpoint.
        endpoint: u8,
        /// The other end.
        peer: PortAddress,
        /// Which channel between them.
        channel: ChannelId,
        /// The memory, for reading; `None` if it cannot be mapped.
        pool: Option<Pages>,
    },
    /// Anything else; never `DirectOffered` or `PoolLent`.
    Notice(Notice),
}

impl Answer {
    /// The port that an `OpenPort` asked for.
    ///
    /// # Errors
    /// [`RequestError`]: the failure that was reported, or an answer that cannot be used.
    pub fn into_port(self) -> Result<PortHandles, RequestError> {
        match self.reply {
            Reply::Port { endpoint, terms } => {
                Ok(PortHandles::new(endpoint, terms, self.handover)?)
            }
            Reply::Failed(failure) => Err(failure.into()),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// The direct channel that an `OpenDirect` asked for. Finds out whether the peer's memory can be read.
    ///
    /// # Errors
    /// [`RequestError`]: the failure that was reported, or an answer that cannot be used.
    pub fn into_direct(self) -> Result<DirectHandles, RequestError> {
        match (self.reply, self.request) {
            (Reply::Direct(peer), Request::OpenDirect { endpoint, to, .. })
                if peer.address == to =>
            {
                Ok(DirectHandles::new(
                    endpoint,
                    &peer,
                    Side::Front,
                    self.handover,
                )?)
            }
            (Reply::Failed(failure), _) => Err(failure.into()),
            _ => Err(RequestError::WrongAnswer),
        }
    }

    /// The memory that a `LendPool` asked for: ours to write, the other end's to read.
    ///
    /// # Errors
    /// [`RequestError`]: the failure that was reported, or an answer that cannot be used.
    pub fn into_pool(self) -> Result<Pool, RequestError> {
        match self.reply {
            Reply::Done => {
                let (fd, offset, len) = self.handover.into_device_pages()?;
                let pages = handover::map_device(&fd, offset, len, Access::ReadWrite)?;
                Ok(crate::sys::pool_of(fd, pages))
            }
            Reply::Failed(failure) => Err(failure.into()),
            _ => Err(RequestError::WrongAnswer),
        }
    }
}

impl Attachment {
    /// Attaches to the back end that listens on `path` (`@name`: an abstract name).
    ///
    /// # Errors
    /// [`AttachError`] says what failed and what helps.
    pub fn connect(path: impl AsRef<Path>, options: HelloOptions) -> Result<Attached, AttachError> {
        Handshake::start(path, options)?.wait()
    }

    pub(super) fn new(socket: Socket, control: Control) -> io::Result<Self> {
        let waiting = HashMap::new();
        let inner = Inner {
            control,
            next_serial: 0,
            waiting,
            news: VecDeque::new(),
            watched: false,
            watcher: None,
        };
        let attachment = Self {
            socket,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            lost: AtomicBool::new(false),
            nudge: WaitSet::new()?,
        };
        // The first look says that we sleep: from now on the bell rings.
        attachment.pump(&mut attachment.lock());
        Ok(attachment)
    }

    /// Adds what [`next_news`](Self::next_news), [`poll_reply`](Self::poll_reply) and [`is_lost`](Self::is_lost) go by
    /// to a wait set, one at a time: when it is ready under `token`, call them. The set is woken too when another method, in
    /// whatever thread, has read what the back end said.
    ///
    /// # Errors
    /// As [`WaitSet::add`].
    pub fn watch(&self, set: &WaitSet, token: u64) -> io::Result<()> {
        set.add(self.socket.as_fd(), token, Interest::Read)?;
        let mut inner = self.lock();
        set.add_bell(inner.control.waiter(), token)?;
        inner.watcher = Some(set.waker());
        Ok(())
    }

    /// Takes it out again. A lost attachment stays ready until this is done.
    pub fn unwatch(&self, set: &WaitSet) {
        set.remove(self.socket.as_fd());
        let mut inner = self.lock();
        set.remove_bell(inner.control.waiter());
        inner.watcher = None;
    }

    /// Whether the back end is gone, as far as was seen: by any method of this type.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    /// Asks for something; [`poll_reply`](Self::poll_reply) or [`wait_reply`](Self::wait_reply) gives the answer.
    ///
    /// # Errors
    /// [`RequestError::Lost`], [`RequestError::Busy`].
    pub fn send_request(&self, request: &Request) -> Result<Serial, RequestError> {
        let mut inner = self.lock();
        self.pump(&mut inner);
        self.send(&mut inner, request, Waiting::Asked)
    }

    fn send(
        &self,
        inner: &mut Inner,
        request: &Request,
        waiting: impl FnOnce(Request) -> Waiting,
    ) -> Result<Serial, RequestError> {
        if self.is_lost() {
            return Err(RequestError::Lost);
        }
        let unanswered = |w: &&Waiting| !matches!(w, Waiting::Answered(_));
        let busy = RequestError::Busy(MAX_IN_FLIGHT);
        if inner.waiting.values().filter(unanswered).count() >= MAX_IN_FLIGHT {
            return Err(busy);
        }
        let serial = Serial::new(inner.next_serial);
        match inner.control.give(&request.emit(serial, 0)) {
            Ok(true) => {}
            Ok(false) => return Err(busy),
            Err(_) => {
                self.lose();
                return Err(RequestError::Lost);
            }
        }
        inner.next_serial += 1;
        inner.waiting.insert(serial.get(), waiting(request.clone()));
        Ok(serial)
    }

    /// The answer to the request of this number, once; `None` while there is none. Does not block.
    ///
    /// # Errors
    /// [`RequestError::Lost`].
    pub fn poll_reply(&self, serial: Serial) -> Result<Option<Answer>, RequestError> {
        let mut inner = self.lock();
        self.pump(&mut inner);
        self.collect(&mut inner, serial)
    }

    fn collect(&self, inner: &mut Inner, serial: Serial) -> Result<Option<Answer>, RequestError> {
        match inner.waiting.remove(&serial.get()) {
            Some(Waiting::Answered(answer)) => Ok(Some(answer)),
            Some(_) if self.is_lost() => Err(RequestError::Lost),
            Some(waiting) => {
                inner.waiting.insert(serial.get(), waiting);
                Ok(None)
            }
            None => Err(RequestError::WrongAnswer),
        }
    }

    /// Nobody wants the answer to this request any more. What it gives is given back when it comes.
    pub fn abandon(&self, serial: Serial) {
        let mut inner = self.lock();
        match inner.waiting.remove(&serial.get()) {
            Some(Waiting::Asked(request)) => {
                inner
                    .waiting
                    .insert(serial.get(), Waiting::Abandoned(request));
            }
            Some(Waiting::Answered(answer)) => {
                self.give_back(&mut inner, &answer.reply, &answer.request)
            }
            _ => {}
        }
    }

    /// Asks and waits for the answer, `timeout` at most. The back end must be driven by another thread or process.
    ///
    /// # Errors
    /// [`RequestError`]; a reply that says `Failed` becomes [`RequestError::Failed`].
    pub fn request(&self, request: &Request, timeout: Duration) -> Result<Answer, RequestError> {
        let serial = self.send_request(request)?;
        let answer = self.wait_reply(serial, timeout)?;
        match answer.reply {
            Reply::Failed(failure) => Err(failure.into()),
            _ => Ok(answer),
        }
    }

    /// Opens a port: [`Request::OpenPort`], asked and waited for.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn open_port(
        &self,
        endpoint: Option<u8>,
        rings: [Capacity; 2],
        timeout: Duration,
    ) -> Result<PortHandles, RequestError> {
        let [forward, backward] = rings.map(Capacity::bytes);
        self.request(
            &Request::OpenPort {
                endpoint,
                forward,
                backward,
                brought: None,
            },
            timeout,
        )?
        .into_port()
    }

    /// Opens a direct channel from our `endpoint`: [`Request::OpenDirect`], asked and waited for.
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub fn open_direct(
        &self,
        endpoint: u8,
        to: PortAddress,
        rings: [Capacity; 2],
        timeout: Duration,
    ) -> Result<DirectHandles, RequestError> {
        let [forward, backward] = rings.map(Capacity::bytes);
        let request = Request::OpenDirect {
            endpoint,
            to,
            forward,
            backward,
            brought: None,
        };
        self.request(&request, timeout)?.into_direct()
    }

    /// Waits for the answer to the request of this number, `timeout` at most; then the request is abandoned.
    ///
    /// # Errors
    /// [`RequestError::Lost`], [`RequestError::TimedOut`].
    pub fn wait_reply(&self, serial: Serial, timeout: Duration) -> Result<Answer, RequestError> {
        let until = Instant::now() + timeout;
        let mut inner = self.lock();
        loop {
            self.pump(&mut inner);
            if let Some(answer) = self.collect(&mut inner, serial)? {
                return Ok(answer);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(inner);
                self.abandon(serial);
                return Err(RequestError::TimedOut(timeout));
            }
            if inner.watched {
                let waited = self.changed.wait_timeout(inner, left);
                (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
            } else {
                inner.watched = true;
                drop(inner);
                let waited = self.sleep(left);
                inner = self.lock();
                inner.watched = false;
                // Another thread takes over the watch.
                self.changed.notify_all();
                waited?;
            }
        }
    }

    /// Sleeps until the back end says something, or another thread has read it.
    fn sleep(&self, timeout: Duration) -> io::Result<()> {
        let waiter = self.lock().control.waiter().clone();
        let mut fds = [
            PollFd::from_borrowed_fd(waiter.fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::RDHUP),
            PollFd::from_borrowed_fd(self.nudge.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, Some(&crate::waitset::timespec(timeout))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(err) => return Err(err.into()),
        }
        self.nudge.wait(Some(Duration::ZERO), &mut Vec::new())
    }

    /// The oldest thing that happened and was not given yet. Does not block.
    pub fn next_news(&self) -> Option<News> {
        let mut inner = self.lock();
        self.pump(&mut inner);
        inner.news.pop_front()
    }

    /// Reads all that the back end has said. A back end that breaks the rules is as good as gone.
    fn pump(&self, inner: &mut Inner) {
        if self.is_lost() {
            return;
        }
        let mut heard = false;
        loop {
            match inner.control.take() {
                Ok(Some(bytes)) => {
                    heard = true;
                    if self.take_in(inner, &bytes).is_err() {
                        self.lose();
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.lose();
                    break;
                }
            }
        }
        if inner.control.hung_up() || self.socket_hung_up() {
            self.lose();
        }
        if heard || self.is_lost() {
            self.changed.notify_all();
            if inner.watched {
                self.nudge.waker().wake();
            }
            if let Some(watcher) = &inner.watcher {
                watcher.wake();
            }
        }
    }

    fn take_in(&self, inner: &mut Inner, bytes: &[u8]) -> Result<(), HandoverError> {
        let (said, handed) = Downward::parse(bytes)?;
        match said {
            Downward::Reply(serial, reply) => {
                let handover = self.handover(
                    Tag {
                        serial,
                        answer: true,
                    },
                    handed,
                )?;
                match inner.waiting.remove(&serial.get()) {
                    Some(Waiting::Asked(request)) => {
                        let answer = Answer {
                            reply,
                            request,
                            handover,
                        };
                        inner
                            .waiting
                            .insert(serial.get(), Waiting::Answered(answer));
                    }
                    Some(Waiting::Abandoned(request)) => self.give_back(inner, &reply, &request),
                    // An answer to nothing, or a second one.
                    _ => {
                        return Err(HandoverError::Missing {
                            expected: serial.get(),
                        });
                    }
                }
            }
            Downward::Notice(serial, notice) => {
                let handover = self.handover(
                    Tag {
                        serial,
                        answer: false,
                    },
                    handed,
                )?;
                let news = self.news(inner, notice, handover);
                inner.news.push_back(news);
            }
            Downward::Unknown(_) if handed == 0 => {}
            Downward::Unknown(_) => {
                // A notice of a later version: what comes with it is closed.
                let _ = self.socket.receive();
            }
        }
        Ok(())
    }

    fn news(&self, inner: &mut Inner, notice: Notice, handover: Handover) -> News {
        let (endpoint, peer) = match notice {
            Notice::DirectOffered { endpoint, peer, .. } => (endpoint, peer),
            Notice::PoolLent {
                endpoint,
                peer,
                channel,
                ..
            } => {
                let pool = handover.into_device_pages().and_then(|(fd, offset, len)| {
                    handover::map_device(&fd, offset, len, Access::ReadOnly)
                });
                return News::PoolLent {
                    endpoint,
                    peer,
                    channel,
                    pool: pool.ok(),
                };
            }
            notice => return News::Notice(notice),
        };
        match DirectHandles::new(endpoint, &peer, Side::Back, handover) {
            Ok(handles) => News::Direct(Box::new(handles)),
            Err(error) => {
                let to = peer.address;
                let close = Request::CloseDirect {
                    endpoint,
                    to,
                    channel: peer.channel,
                };
                let _ = self.send(inner, &close, Waiting::Abandoned);
                News::BrokenOffer {
                    endpoint,
                    peer: to,
                    error,
                }
            }
        }
    }

    /// What was handed over with a message: the back end sends it before the message.
    fn handover(&self, tag: Tag, handed: u8) -> Result<Handover, HandoverError> {
        if handed == 0 {
            return Ok(Handover::none());
        }
        match self.socket.receive() {
            Ok(Received::Packet(bytes, fds)) => Handover::parse(&bytes, fds, tag),
            Ok(Received::Nothing | Received::Closed) => Err(HandoverError::Missing {
                expected: tag.serial.get(),
            }),
            Err(source) => Err(HandoverError::Unusable {
                what: "handover",
                source,
            }),
        }
    }

    /// Closes what an answer has opened that nobody wants any more.
    fn give_back(&self, inner: &mut Inner, reply: &Reply, request: &Request) {
        let close = match (reply, request) {
            (Reply::Port { endpoint, .. }, _) => Request::ClosePort {
                endpoint: *endpoint,
            },
            (Reply::Direct(peer), Request::OpenDirect { endpoint, to, .. }) => {
                Request::CloseDirect {
                    endpoint: *endpoint,
                    to: *to,
                    channel: peer.channel,
                }
            }
            _ => return,
        };
        // Not sent when the back end is gone, and then there is nothing to close.
        let _ = self.send(inner, &close, Waiting::Abandoned);
    }

    fn socket_hung_up(&self) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(
            self.socket.as_fd(),
            PollFlags::RDHUP,
        )];
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(0) | Err(_) => false,
            Ok(_) => true,
        }
    }

    fn lose(&self) {
        self.lost.store(true, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
