//! One datagram a message, echoed. The first eight bytes are its number, so that an answer which comes late is not taken for
//! another one's. Nothing holds a sender of datagrams back, so there is no stream.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;

use crate::measure::{Flow, Laps, PATIENCE, Trips, Way};

/// After which a datagram is sent again: on the networks that are measured none is lost but for want of memory.
pub(super) const AGAIN: Duration = Duration::from_secs(1);

/// How often the clock is read while there is nothing: once in so many looks.
const LOOKS: u32 = 1 << 12;

/// A socket for datagrams to and from one partner. Receiving waits for [`AGAIN`] at most, or not at all where the socket does not block: both
/// are told by an error that says so.
pub(super) trait Datagrams {
    fn send(&self, bytes: &[u8]) -> io::Result<()>;
    fn receive(&self, into: &mut [u8]) -> io::Result<usize>;
    /// The largest payload.
    fn largest(&self) -> u64;
    /// Who has to run at the other end.
    fn partner(&self) -> &'static str;
}

fn nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// The side that measures.
pub(super) struct Client<D> {
    socket: D,
    spin: bool,
    number: u64,
}

impl<D: Datagrams> Client<D> {
    /// Over a socket that blocks, unless it is to spin.
    pub(super) fn new(socket: D, spin: bool) -> Self {
        Self {
            socket,
            spin,
            number: 0,
        }
    }

    /// Sends a message until its answer has come.
    fn exchange(&mut self, outgoing: &mut [u8], incoming: &mut [u8]) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.number += 1;
        outgoing[..8].copy_from_slice(&self.number.to_le_bytes());
        loop {
            self.socket.send(outgoing)?;
            if self.hear(outgoing, incoming)? {
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "no answer within {PATIENCE:?}");
        }
    }

    /// Whether the answer came in time.
    fn hear(&self, outgoing: &[u8], incoming: &mut [u8]) -> anyhow::Result<bool> {
        let (mut since, mut looks) = (None, 0_u32);
        loop {
            match self.socket.receive(incoming) {
                Ok(len) if incoming[..len] == *outgoing => return Ok(true),
                Ok(_) => {} // late
                Err(error) if nothing(&error) && !self.spin => return Ok(false),
                Err(error) if nothing(&error) => {
                    std::hint::spin_loop();
                    looks += 1;
                    if looks.is_multiple_of(LOOKS)
                        && since.get_or_insert_with(Instant::now).elapsed() > AGAIN
                    {
                        return Ok(false);
                    }
                }
                Err(error) => {
                    let partner = self.socket.partner();
                    bail!("no answer ({error}): {partner} has to run there")
                }
            }
        }
    }
}

impl<D: Datagrams> Way for Client<D> {
    fn round_trips(&mut self, size: u64, trips: Trips) -> anyhow::Result<Histogram<u64>> {
        let largest = self.socket.largest();
        ensure!(
            (8..=largest).contains(&size),
            "datagrams that are measured have 8 to {largest} bytes"
        );
        let mut outgoing = vec![0x5a; usize::try_from(size)?];
        let mut incoming = vec![0; outgoing.len()];
        let mut laps = Laps::begin(trips.together)?;
        for _ in 0..trips.count {
            self.exchange(&mut outgoing, &mut incoming)?;
            laps.lap()?;
        }
        laps.into_times()
    }

    fn one_way(&mut self, _: u64, _: u64) -> anyhow::Result<Flow> {
        bail!("nothing holds a sender of datagrams back: there is no stream of them to measure")
    }
}

/// Calls `ready`, and echoes for ever what `receive` gives, to whom `answer` knows. Errors are a client's: it has gone, or its datagram cannot be answered.
pub(super) fn echo<A>(
    ready: &dyn Fn(),
    mut receive: impl FnMut(&mut [u8]) -> io::Result<(usize, A)>,
    answer: impl Fn(&[u8], A) -> io::Result<()>,
) -> ! {
    let mut message = vec![0; 1 << 16];
    ready();
    loop {
        match receive(&mut message) {
            Ok((len, client)) => {
                let _ = answer(&message[..len], client);
            }
            Err(_) => std::hint::spin_loop(),
        }
    }
}
