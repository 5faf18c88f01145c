//! One datagram a message, echoed. The first eight bytes are its number, so that an answer which comes late is not taken for
//! another one's. Nothing holds a sender of datagrams back, so there is no stream.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;

use crate::measure::{Flow, Laps, PATIENCE, Way};

/// The largest payload of a datagram over IPv4.
const LARGEST: u64 = 65_507;

/// After which a datagram is sent again: on the networks that are measured none is lost but for want of memory.
const AGAIN: Duration = Duration::from_secs(1);

/// Echoes datagrams for ever.
pub(super) fn serve(address: &str) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    let mut message = vec![0; 1 << 16];
    loop {
        // Errors are a client's: ICMP says that it has gone, or its datagram cannot be answered.
        if let Ok((len, client)) = socket.recv_from(&mut message) {
            let _ = socket.send_to(&message[..len], client);
        }
    }
}

/// The side that measures.
pub(super) struct Client {
    socket: UdpSocket,
    number: u64,
}

impl Client {
    pub(super) fn new(address: &str) -> anyhow::Result<Self> {
        let doing = || format!("cannot reach {address}");
        let any = if address.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = UdpSocket::bind(any).with_context(doing)?;
        socket.connect(address).with_context(doing)?;
        socket.set_read_timeout(Some(AGAIN))?;
        Ok(Self { socket, number: 0 })
    }

    /// Sends a message until its answer has come.
    fn exchange(&mut self, outgoing: &mut [u8], incoming: &mut [u8]) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.number += 1;
        outgoing[..8].copy_from_slice(&self.number.to_le_bytes());
        loop {
            self.socket.send(outgoing)?;
            loop {
                match self.socket.recv(incoming) {
                    Ok(len) if incoming[..len] == *outgoing => return Ok(()),
                    Ok(_) => {} // late
                    Err(error)
                        if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                    {
                        break;
                    }
                    Err(error) => {
                        bail!("no answer ({error}): `myrixen perf peer udp serve` has to run there")
                    }
                }
            }
            ensure!(begun.elapsed() < PATIENCE, "no answer within {PATIENCE:?}");
        }
    }
}

impl Way for Client {
    fn round_trips(&mut self, size: u64, count: u64) -> anyhow::Result<Histogram<u64>> {
        ensure!(
            (8..=LARGEST).contains(&size),
            "datagrams that are measured have 8 to {LARGEST} bytes"
        );
        let mut outgoing = vec![0x5a; usize::try_from(size)?];
        let mut incoming = vec![0; outgoing.len()];
        let mut laps = Laps::begin()?;
        for _ in 0..count {
            self.exchange(&mut outgoing, &mut incoming)?;
            laps.lap()?;
        }
        Ok(laps.into_times())
    }

    fn one_way(&mut self, _: u64, _: u64) -> anyhow::Result<Flow> {
        bail!("nothing holds a sender of datagrams back: there is no stream over UDP to measure")
    }
}
