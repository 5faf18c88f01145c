//! A guest without a library: a socket, the pages of its control ring, and its bell.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use myrixen_platform::message::{Hello, Name, Request, Serial, VERSION, Wish};
use myrixen_ring::{Capacity, Kind, Layout, QueuePair, Side, Support, Terms};
use myrixen_shm::{Access, Pages};
use rustix::io::retry_on_intr;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recvmsg, send, socket_with,
};

/// Bytes of the two rings of a control ring (`docs/control-plane.md`).
const RINGS: [u32; 2] = [1 << 14, 1 << 16];

/// A socket to the back end, on which nothing was said yet.
pub(crate) fn knock(door: &SocketAddrUnix) -> OwnedFd {
    let (unix, packets) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = socket_with(unix, packets, SocketFlags::CLOEXEC, None).expect("a socket");
    retry_on_intr(|| connect(&socket, door)).expect("the door is open");
    socket
}

/// Says something. The back end may have hung up, or not listen.
pub(crate) fn say(socket: &OwnedFd, bytes: &[u8]) {
    let _ = send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// It is welcome, and then it breaks every rule of the control ring.
pub(crate) struct Intruder {
    /// Its hang-up is the intruder's end. Nobody reads what comes there.
    _socket: OwnedFd,
    pages: Pages,
    pair: QueuePair,
    ringer: OwnedFd,
    _bells: Vec<OwnedFd>,
    serial: u64,
}

impl Intruder {
    /// Attaches as a board of its own.
    pub(crate) fn attach(door: &SocketAddrUnix) -> Self {
        let socket = knock(door);
        let hello = Hello {
            version: VERSION,
            features: 0,
            ring: Support::OURS,
            wish: Wish {
                board: Some(Name::new("intruder").expect("a name")),
                partition: Some(Name::new("here").expect("a name")),
            },
            ticket: None,
            memory: None,
        };
        say(&socket, &hello.emit(0));
        let (welcome, _) = receive(&socket);
        assert_eq!(welcome.first_chunk(), Some(&[2, 0]), "welcome");
        let (things, fds) = receive(&socket);
        // The first thing are the pages: offset and length behind the header and its kind.
        let word = |at: usize| things[at..].first_chunk().copied().map(u64::from_le_bytes);
        let (offset, len) = (word(24).expect("an offset"), word(32).expect("a length"));
        let len = usize::try_from(len).expect("it fits");
        let mut fds = fds.into_iter();
        let memory = fds.next().expect("pages");
        let pages = Pages::map(&memory, offset, len, Access::ReadWrite).expect("mapped");
        let [forward, backward] = RINGS.map(|bytes| Capacity::new(bytes).expect("a size"));
        let terms = Terms {
            layout: Layout::new(forward, backward),
            support: Support::OURS,
        };
        Self {
            _socket: socket,
            pair: QueuePair::join(pages.clone(), &terms, Side::Front).expect("joined"),
            pages,
            ringer: fds.next().expect("a bell"),
            _bells: fds.collect(),
            serial: 1,
        }
    }

    /// Writes anywhere.
    pub(crate) fn scrawl(&self, at: u32, bytes: &[u8; 16]) {
        let place = usize::try_from(at).expect("it fits") % (self.pages.len() - bytes.len());
        self.pages.write(place, bytes);
    }

    /// Changes a control word.
    pub(crate) fn twist(&self, word: u8, by: i8) {
        super::twist(&self.pages, word, by);
    }

    /// Asks for something by the rules.
    pub(crate) fn ask(&mut self, request: &Request, handed: u8) {
        self.serial += 1;
        let message = request.emit(Serial::new(self.serial), handed % 16);
        self.put(&message, Kind::Control);
    }

    /// Puts a record into the ring, if its own words still allow it.
    pub(crate) fn put(&mut self, bytes: &[u8], kind: Kind) {
        if let Ok(Some(mut slot)) = self.pair.producer.reserve(bytes.len(), 0) {
            slot.write(0, bytes);
            slot.publish(kind);
        }
        self.call();
    }

    /// A message with a header that is right about its length.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, body: &[u8]) {
        self.serial += 1;
        let len = u32::try_from(16 + body.len()).expect("short");
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(flags.to_le_bytes());
        bytes.extend(len.to_le_bytes());
        bytes.extend(self.serial.to_le_bytes());
        bytes.extend(body);
        self.put(&bytes, Kind::Control);
    }

    /// Rings the bell. A full pipe says enough.
    pub(crate) fn call(&self) {
        let _ = rustix::io::write(&self.ringer, &[1]);
    }
}

/// The next packet and what comes with it.
fn receive(socket: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut bytes = vec![0; 2048];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    // libFuzzer's timer interrupts.
    let got = retry_on_intr(|| {
        let into = &mut [IoSliceMut::new(&mut bytes)];
        recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)
    });
    let got = got.expect("an answer");
    bytes.truncate(got.bytes);
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            fds.extend(rights);
        }
    }
    (bytes, fds)
}
