//! Over UDP, one datagram a message.

use std::io;
use std::net::UdpSocket;

use anyhow::Context as _;

use super::datagrams::{self, AGAIN, Datagrams};

/// The largest payload of a datagram over IPv4.
const LARGEST: u64 = 65_507;

/// Echoes datagrams for ever.
pub(super) fn serve(address: &str, spin: bool, ready: &dyn Fn()) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    socket.set_nonblocking(spin)?;
    datagrams::echo(
        ready,
        |into| socket.recv_from(into),
        |bytes, client| socket.send_to(bytes, client).map(drop),
    )
}

/// The side that measures.
pub(super) fn client(address: &str, spin: bool) -> anyhow::Result<datagrams::Client<UdpSocket>> {
    let doing = || format!("cannot reach {address}");
    let any = if address.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).with_context(doing)?;
    socket.connect(address).with_context(doing)?;
    socket.set_read_timeout(Some(AGAIN))?;
    socket.set_nonblocking(spin)?;
    Ok(datagrams::Client::new(socket, spin))
}

impl Datagrams for UdpSocket {
    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        Self::send(self, bytes).map(drop)
    }

    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.recv(into)
    }

    fn largest(&self) -> u64 {
        LARGEST
    }

    fn partner(&self) -> &'static str {
        "`myrixen perf peer udp serve`"
    }
}
