//! A remote end of the tunnel, and the datagrams that wait to be sent to it.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;

use quinn_udp::{Transmit, UdpSocketState};

use super::header::{self, HEADER};
use crate::{DropReason, LinkCounters, LinkError, Outgoing};

/// Bytes that one system call may send: a UDP datagram's length field covers them all before they are cut.
const LONGEST_BATCH: usize = 65_000;

/// Place of a remote end among the link's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RemoteId(usize);

impl RemoteId {
    pub(super) fn new(place: usize) -> Self {
        Self(place)
    }

    pub(super) fn place(self) -> usize {
        self.0
    }
}

/// A socket with what is known of its abilities.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) udp: UdpSocket,
    pub(super) state: UdpSocketState,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Gone, or dropped and counted: the batch is empty.
    Done,
    /// The socket has no room; what is left waits.
    Blocked,
}

/// A remote end: datagrams of one size, one behind the other; the last may be shorter.
#[derive(Debug)]
pub(super) struct Remote {
    address: SocketAddr,
    /// As the socket's family wants it.
    wire: SocketAddr,
    /// What waits is at its front, `filled` bytes. It grows to what is needed and stays so: to clear what will be written over would take as long.
    batch: Vec<u8>,
    filled: usize,
    segment: usize,
    /// A shorter datagram has been added: the batch is complete.
    closed: bool,
    /// It is among those to be flushed.
    pub(super) busy: bool,
}

impl Remote {
    /// A remote end at `address`; `v6` when the socket is an IPv6 one.
    pub(super) fn new(address: SocketAddr, v6: bool) -> Self {
        let wire = match address {
            SocketAddr::V4(v4) if v6 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            other => other,
        };
        Self {
            address,
            wire,
            batch: Vec::new(),
            filled: 0,
            segment: 0,
            closed: false,
            busy: false,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a datagram of `len` bytes can join those that wait.
    pub(super) fn takes(&self, len: usize, most: usize) -> bool {
        if self.filled == 0 {
            return true;
        }
        !self.closed
            && len <= self.segment
            && self.filled + len <= LONGEST_BATCH
            && self.filled / self.segment < most
    }

    /// Whether several long datagrams wait, and one more could join them.
    pub(super) fn is_gathering(&self, most: usize) -> bool {
        const LONG: usize = 4096;
        self.segment >= LONG && self.filled > self.segment && self.takes(self.segment, most)
    }

    /// Adds a frame, for which there must be room ([`takes`](Self::takes)).
    pub(super) fn add(&mut self, vni: u32, frame: &Outgoing<'_>) {
        let len = HEADER + frame.len();
        if self.filled == 0 {
            self.segment = len;
            self.closed = false;
        }
        self.closed |= len < self.segment;
        let end = self.filled + len;
        if self.batch.len() < end {
            self.batch.resize(end, 0);
        }
        let (header, rest) = self.batch[self.filled..end].split_at_mut(HEADER);
        header.copy_from_slice(&header::emit(vni));
        frame.write_to(rest);
        self.filled = end;
    }

    fn datagrams(&self) -> u64 {
        self.filled.div_ceil(self.segment.max(1)) as u64
    }

    /// Sends what waits, in one system call where the kernel cuts datagrams for us.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        counters: &mut LinkCounters,
    ) -> Result<Sent, LinkError> {
        while self.filled > 0 {
            let single = self.filled <= self.segment;
            let together = socket.state.max_gso_segments() > 1;
            let end = if together {
                self.filled
            } else {
                self.segment.min(self.filled)
            };
            let transmit = Transmit {
                destination: self.wire,
                ecn: None,
                contents: &self.batch[..end],
                segment_size: (together && !single).then_some(self.segment),
                src_ip: None,
            };
            counters.system_calls += 1;
            match socket.state.try_send((&socket.udp).into(), &transmit) {
                Ok(()) => self.discard(end),
                Err(error) => match reaction(&error, together && !single) {
                    Reaction::Wait => return Ok(Sent::Blocked),
                    Reaction::Retry if socket.state.max_gso_segments() == 1 => {}
                    Reaction::Drop(reason) => {
                        counters.drops[reason] += self.datagrams();
                        self.discard(self.filled);
                    }
                    Reaction::Fail | Reaction::Retry => {
                        self.discard(self.filled);
                        return Err(LinkError::io("send datagrams")(error));
                    }
                },
            }
        }
        Ok(Sent::Done)
    }

    fn discard(&mut self, len: usize) {
        self.batch.copy_within(len..self.filled, 0);
        self.filled -= len;
    }
}

/// What to do when the kernel did not take a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    Wait,
    /// Cutting datagrams does not work on this device: one by one then.
    Retry,
    Drop(DropReason),
    Fail,
}

fn reaction(error: &io::Error, cut: bool) -> Reaction {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS) => Reaction::Wait,
        Some(libc::EIO | libc::EINVAL) if cut => Reaction::Retry,
        Some(libc::EMSGSIZE) => Reaction::Drop(DropReason::TransmitTooLong),
        // EPERM is what a packet filter of this host answers.
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ECONNREFUSED
            | libc::EADDRNOTAVAIL
            | libc::EPERM
            | libc::EACCES,
        ) => Reaction::Drop(DropReason::Unreachable),
        _ => Reaction::Fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tag;

    fn add(remote: &mut Remote, len: usize) -> bool {
        let frame = vec![0; len];
        let takes = remote.takes(HEADER + len, 64);
        if takes {
            remote.add(1, &Outgoing::bytes(&frame, Tag::Vni(1)));
        }
        takes
    }

    #[test]
    fn a_batch_holds_one_size_and_a_shorter_end() {
        let mut remote = Remote::new("127.0.0.1:4789".parse().unwrap(), false);
        assert!(add(&mut remote, 100) && add(&mut remote, 100));
        assert!(!add(&mut remote, 101), "longer than the others");
        assert!(add(&mut remote, 60));
        assert!(!add(&mut remote, 60), "behind a shorter one");
        assert_eq!(remote.datagrams(), 3);
    }

    #[test]
    fn a_train_of_long_datagrams_gathers_until_it_is_complete() {
        let train = |lengths: &[usize]| {
            let mut remote = Remote::new("127.0.0.1:4789".parse().unwrap(), false);
            for len in lengths {
                assert!(add(&mut remote, *len));
            }
            remote.is_gathering(64)
        };
        assert!(train(&[9000, 9000]));
        assert!(train(&[9000; 6]));
        assert!(!train(&[]), "there is none");
        assert!(!train(&[9000]), "it may be all there is");
        assert!(!train(&[9000; 7]), "it is full");
        assert!(
            !train(&[9000, 9000, 100]),
            "nothing may follow a shorter one"
        );
        assert!(!train(&[100; 8]), "calls are not what short ones cost most");
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_and_datagrams() {
        let mut remote = Remote::new("[::1]:4789".parse().unwrap(), true);
        let mut count = 0;
        while add(&mut remote, 60) {
            count += 1;
        }
        assert_eq!(count, 64);
        let mut remote = Remote::new("127.0.0.1:4789".parse().unwrap(), true);
        assert_eq!(remote.wire, "[::ffff:127.0.0.1]:4789".parse().unwrap());
        while add(&mut remote, 9000) {}
        assert_eq!(remote.filled, 7 * 9008);
    }
}
