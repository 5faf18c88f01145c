//! The side that orders tests and keeps the time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use myrixen::{Endpoint, Match, Peer, PoolBuf, SendBuffer};

use super::timing::{Flow, Laps, Trips, WARM_UP, Way};
use super::{Answer, CONTROL_BYTES, Kind, Order, PATIENCE, Test, buffers_of, window};
use crate::record::Wait;

/// The longest payload that `Endpoint::send` takes along at once, so that it needs no window of requests.
const SHORT: usize = 128;

/// A connection to a server.
pub(crate) struct Client<'a> {
    endpoint: &'a Endpoint,
    server: Peer,
    wait: Wait,
    next_run: u32,
    spare: Spare,
}

/// Buffers of earlier streams: fresh memory is dear to touch, above all in a domain of Xen.
enum Spare {
    /// All messages of a stream are sent from one, as other people's benchmarks do it.
    Ordinary(Vec<Arc<[u8]>>),
    /// Which the server can read in place. Each message is written first: what both only read would be in both ends' caches.
    Lent(Vec<PoolBuf>),
}

impl<'a> Client<'a> {
    /// Measures between `endpoint` and `server`, both of which wait as `wait` says.
    pub(crate) fn new(endpoint: &'a Endpoint, server: Peer, wait: Wait) -> Self {
        endpoint.set_wait(wait.of_library());
        Self {
            endpoint,
            server,
            wait,
            // A server may hear of one with this address that came before.
            next_run: endpoint.session(),
            spare: Spare::Ordinary(Vec::new()),
        }
    }

    /// Sends streams from memory that the server can read in place.
    pub(crate) fn lend(&mut self) {
        self.spare = Spare::Lent(Vec::new());
    }

    /// Keeps talking to the server until `settled` says that the way to it is the one to be measured, for at most
    /// a second: a direct channel opens a little after the first contact.
    pub(crate) fn settle(&mut self, settled: impl Fn() -> bool) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(1);
        while !settled() && Instant::now() < until {
            self.round_trips(8, Trips::single(WARM_UP))
                .context("the first messages failed")?;
        }
        Ok(())
    }
}

impl Way for Client<'_> {
    fn round_trips(&mut self, size: u64, trips: Trips) -> anyhow::Result<Histogram<u64>> {
        self.in_one_go(size, 0, trips)
    }

    fn one_way(&mut self, size: u64, count: u64) -> anyhow::Result<Flow> {
        let run = self.order(Test::Flow, size, count)?;
        let bytes = usize::try_from(size)?;
        let buffers = if bytes <= SHORT { 0 } else { window(bytes) };
        let (endpoint, server) = (self.endpoint, self.server);
        match &mut self.spare {
            Spare::Ordinary(spare) => {
                let held = spare.first().filter(|one| one.len() == bytes);
                let one = held.map_or_else(|| vec![0x5a; bytes].into(), Arc::clone);
                *spare = vec![one; buffers];
                Some(())
            }
            Spare::Lent(spare) => {
                buffers_of(spare, bytes, buffers, || endpoint.alloc_for(&server, bytes))
            }
        }
        .with_context(|| format!("no memory for {buffers} buffers of {bytes} bytes"))?;
        let begun = Instant::now();
        if bytes <= SHORT {
            let payload = vec![0x5a; bytes];
            for _ in 0..count {
                self.endpoint
                    .send(&self.server, Kind::Data.bits(run), &payload)?;
            }
        } else {
            let bits = Kind::Data.bits(run);
            match &mut self.spare {
                Spare::Ordinary(spare) => {
                    send_windowed(endpoint, &server, spare, bits, count, |_, _| ())?;
                }
                Spare::Lent(spare) => {
                    send_windowed(endpoint, &server, spare, bits, count, |number, one| {
                        one.fill(number.to_le_bytes()[0]);
                    })?;
                }
            }
        }
        let receipt = Match::exact(Kind::Echo.bits(run));
        if self
            .endpoint
            .recv_timeout(receipt, &mut [], PATIENCE)?
            .is_none()
        {
            bail!("the server did not confirm the last of {count} messages within {PATIENCE:?}");
        }
        Ok(Flow {
            messages: count,
            size,
            took: begun.elapsed(),
            cpu: None,
        })
    }
}

/// Keeps a window of sends under way, each from a buffer of its own, which `fill` is given with the message's number.
fn send_windowed<B: SendBuffer>(
    endpoint: &Endpoint,
    server: &Peer,
    spare: &mut Vec<B>,
    bits: u64,
    count: u64,
    mut fill: impl FnMut(u64, &mut B),
) -> anyhow::Result<()> {
    let mut under_way = VecDeque::new();
    for number in 0..count {
        let mut buffer = match spare.pop() {
            Some(buffer) => buffer,
            None => {
                let oldest = under_way
                    .pop_front()
                    .expect("a full window has an oldest send");
                endpoint.wait_send(oldest)?
            }
        };
        fill(number, &mut buffer);
        under_way.push_back(endpoint.isend(server, bits, buffer)?);
    }
    for sending in under_way {
        spare.push(endpoint.wait_send(sending)?);
    }
    Ok(())
}

impl Client<'_> {
    /// Sends `before` messages and then those of `trips`, each after the answer to the one before: round-trip times of the latter, in nanoseconds.
    pub(super) fn in_one_go(
        &mut self,
        size: u64,
        before: u64,
        trips: Trips,
    ) -> anyhow::Result<Histogram<u64>> {
        let count = before + trips.count;
        let run = self.order(Test::PingPong, size, count)?;
        let size = usize::try_from(size)?;
        let (bits, echo) = (Kind::Data.bits(run), Match::exact(Kind::Echo.bits(run)));
        let mut outgoing = vec![0x5a; size];
        let mut incoming = vec![0; size];
        let mut laps = Laps::begin(trips.together)?;
        for number in 0..count {
            if number == before {
                laps = Laps::begin(trips.together)?;
            }
            let received = if size <= SHORT {
                self.endpoint.send(&self.server, bits, &outgoing)?;
                self.endpoint.recv_timeout(echo, &mut incoming, PATIENCE)?
            } else {
                let sending = self.endpoint.isend(&self.server, bits, outgoing)?;
                let received = self.endpoint.recv_timeout(echo, &mut incoming, PATIENCE)?;
                if received.is_none() {
                    bail!(silence(number, count));
                }
                outgoing = self.endpoint.wait_send(sending)?;
                received
            };
            let Some(received) = received else {
                bail!(silence(number, count))
            };
            if received.message_len != size {
                bail!(
                    "an answer of {} bytes came back for {size}",
                    received.message_len
                );
            }
            laps.lap()?;
        }
        laps.into_times()
    }

    /// Orders a test and returns its number once the server is ready for it.
    fn order(&mut self, test: Test, size: u64, count: u64) -> anyhow::Result<u32> {
        let run = self.next_run;
        self.next_run = run.wrapping_add(1);
        let order = Order {
            test,
            size,
            count,
            wait: self.wait,
            run,
        };
        let text = serde_json::to_vec(&order)?;
        let (endpoint, server) = (self.endpoint, &self.server);
        let ordering = endpoint.issend(server, Kind::Order.bits(run), text)?;
        let mut answer = [0; CONTROL_BYTES];
        let answers = Match::exact(Kind::Answer.bits(run)).from(server);
        let Some(received) = endpoint.recv_timeout(answers, &mut answer, PATIENCE)? else {
            let why = match endpoint.test_send(ordering)? {
                Ok(_) => "it has the order: see what it says",
                Err(_) => {
                    "it has not taken the order: is `myrixen perf serve` running there, and is it serving nobody else?"
                }
            };
            bail!(
                "{} did not answer within {PATIENCE:?}; {why}",
                server.address()
            );
        };
        endpoint.wait_send(ordering)?;
        match serde_json::from_slice(&answer[..received.len])
            .context("the server's answer is not one of this version")?
        {
            Answer::Ready => Ok(run),
            Answer::Refused(why) => bail!("the server refused: {why}"),
        }
    }
}

fn silence(number: u64, count: u64) -> String {
    format!("no answer to message {number} of {count} within {PATIENCE:?}")
}
