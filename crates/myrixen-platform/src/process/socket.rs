//! Packets and descriptors over a Unix socket, never blocking and never signalling.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair, sockopt,
};

use crate::handover::MAX_FDS;
use crate::message::MAX_MESSAGE;

/// What a send came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Yes,
    /// The other end has to read first.
    Blocked,
    /// The other end is gone.
    Closed,
}

/// What a receive came to.
#[derive(Debug)]
pub(super) enum Received {
    /// A packet with its descriptors.
    Packet(Vec<u8>, Vec<OwnedFd>),
    /// Nothing is there.
    Nothing,
    /// The other end is gone.
    Closed,
}

/// Bytes of packets that the other end may leave unread: a handful of handovers. The kernel counts descriptors in flight
/// per user (against RLIMIT_NOFILE), so what one guest does not read must stay small; the rest waits with us.
const SEND_BUFFER: usize = 8192;

/// One end of a connection.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Takes a connected `SOCK_SEQPACKET` socket.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let (kind, family) = (sockopt::socket_type(&fd)?, sockopt::socket_domain(&fd)?);
        if kind != SocketType::SEQPACKET || family != AddressFamily::UNIX {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a Unix SEQPACKET socket",
            ));
        }
        sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER)?;
        Ok(Self { fd })
    }

    /// Two ends, connected to each other.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (unix, seqpacket) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (a, b) = socketpair(unix, seqpacket, SocketFlags::CLOEXEC, None)?;
        Ok((Self::new(a)?, Self::new(b)?))
    }

    /// Sends one packet whole.
    pub(super) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<Sent> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::Error::other("more descriptors than a packet takes"));
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(&self.fd, &[IoSlice::new(bytes)], &mut control, flags)
        });
        match sent {
            Ok(_) => Ok(Sent::Yes),
            Err(Errno::AGAIN) => Ok(Sent::Blocked),
            // Waiting for it to pass could not be told from spinning: nothing says when it has.
            Err(Errno::TOOMANYREFS) => Err(io::Error::other(
                "too many descriptors of this user are in flight to programs that do not read; a higher \
                 RLIMIT_NOFILE (`LimitNOFILE=` of the unit) allows more",
            )),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Ok(Sent::Closed),
            Err(err) => Err(err.into()),
        }
    }

    /// Receives one packet. More descriptors or bytes than any packet of ours has are an error; all are closed.
    pub(super) fn receive(&self) -> io::Result<Received> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        // CONNRESET: the other end has closed without reading all we sent. It is reported once, ahead of what the other
        // end may have sent before, such as a refusal.
        let mut reset = false;
        let received = loop {
            match recvmsg(
                &self.fd,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut control,
                flags,
            ) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) if !reset => reset = true,
                received => break received,
            }
        };
        let message = match received {
            Ok(message) => message,
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET | Errno::NOTCONN) => return Ok(Received::Closed),
            Err(err) => return Err(err.into()),
        };
        let mut fds = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = part {
                fds.extend(rights);
            }
        }
        if message
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            let what = "packet with more bytes or descriptors than any of ours";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if message.bytes == 0 {
            // The end, or an empty packet, which nobody sends in good faith.
            return Ok(Received::Closed);
        }
        bytes.truncate(message.bytes);
        Ok(Received::Packet(bytes, fds))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
