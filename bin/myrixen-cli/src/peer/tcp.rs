//! Over one TCP connection without Nagle's delay. An order goes ahead of each test; its acknowledgement, and the receipt
//! for the last message of a stream, are a byte.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;

use crate::measure::{Flow, Laps, PATIENCE, Trips, Way};

/// The largest message a server takes part with.
const LARGEST: u64 = 1 << 30;

/// What the server says.
const GO: u8 = b'+';

/// A test, as 17 bytes ahead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    /// Each message is answered by one of the same size.
    echo: bool,
    size: u64,
    count: u64,
}

impl Order {
    const BYTES: usize = 17;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0] = u8::from(self.echo);
        bytes[1..9].copy_from_slice(&self.size.to_le_bytes());
        bytes[9..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    fn parse(bytes: [u8; Self::BYTES]) -> anyhow::Result<Self> {
        let number = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let order = Self {
            echo: match bytes[0] {
                0 => false,
                1 => true,
                other => bail!("an order of kind {other} is none"),
            },
            size: number(1),
            count: number(9),
        };
        ensure!(
            order.size <= LARGEST,
            "messages of {} bytes are more than {LARGEST}",
            order.size
        );
        Ok(order)
    }
}

/// A connection of which reads and writes wait: asleep, or by trying again and again.
struct Connection {
    stream: TcpStream,
    spin: bool,
}

impl Connection {
    fn new(stream: TcpStream, spin: bool) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(spin)?;
        Ok(Self { stream, spin })
    }

    fn wait<R>(
        &mut self,
        mut attempt: impl FnMut(&mut TcpStream) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            match attempt(&mut self.stream) {
                Err(error) if self.spin && error.kind() == ErrorKind::WouldBlock => {
                    std::hint::spin_loop();
                }
                done => return done,
            }
        }
    }
}

impl io::Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait(|stream| stream.read(into))
    }
}

impl io::Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Serves one client after the other, for ever.
pub(super) fn serve(address: &str, spin: bool, ready: &dyn Fn()) -> anyhow::Result<()> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    ready();
    loop {
        let (stream, client) = listener.accept().context("cannot accept a client")?;
        if let Err(error) = serve_client(stream, spin) {
            eprintln!("{client}: {error:#}");
        }
    }
}

pub(super) fn serve_client(stream: TcpStream, spin: bool) -> anyhow::Result<()> {
    let mut stream = Connection::new(stream, spin)?;
    let mut bytes = [0; Order::BYTES];
    loop {
        match stream.read_exact(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            read => read.context("no order came")?,
        }
        let order = Order::parse(bytes)?;
        let mut message = vec![0; usize::try_from(order.size)?];
        stream.write_all(&[GO])?;
        for number in 0..order.count {
            let lost = || format!("message {number} of {} did not come", order.count);
            stream.read_exact(&mut message).with_context(lost)?;
            if order.echo {
                stream.write_all(&message)?;
            }
        }
        if !order.echo {
            stream.write_all(&[GO])?;
        }
    }
}

/// The side that measures.
pub(super) struct Client(Connection);

impl Client {
    pub(super) fn new(address: &str, spin: bool) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| {
            format!("cannot connect to {address}: `myrixen perf peer tcp serve` has to run there")
        })?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(Connection::new(stream, spin)?))
    }

    fn order(&mut self, order: Order) -> anyhow::Result<()> {
        self.0.write_all(&order.to_bytes())?;
        self.go()
    }

    fn go(&mut self) -> anyhow::Result<()> {
        let mut word = [0];
        self.0
            .read_exact(&mut word)
            .context("the server said nothing")?;
        ensure!(word == [GO], "the server said {word:?}");
        Ok(())
    }
}

impl Way for Client {
    fn round_trips(&mut self, size: u64, trips: Trips) -> anyhow::Result<Histogram<u64>> {
        let Trips { count, together } = trips;
        let echo = true;
        self.order(Order { echo, size, count })?;
        let outgoing = vec![0x5a; usize::try_from(size)?];
        let mut incoming = vec![0; outgoing.len()];
        let mut laps = Laps::begin(together)?;
        for number in 0..count {
            self.0.write_all(&outgoing)?;
            self.0
                .read_exact(&mut incoming)
                .with_context(|| format!("no answer to message {number} of {count}"))?;
            laps.lap()?;
        }
        ensure!(
            incoming == outgoing || count == 0,
            "another answer came back than was sent"
        );
        laps.into_times()
    }

    fn one_way(&mut self, size: u64, count: u64) -> anyhow::Result<Flow> {
        let echo = false;
        self.order(Order { echo, size, count })?;
        let message = vec![0x5a; usize::try_from(size)?];
        let begun = Instant::now();
        for _ in 0..count {
            self.0.write_all(&message)?;
        }
        self.go()?;
        Ok(Flow {
            messages: count,
            size,
            took: begun.elapsed(),
            cpu: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_parses_back_and_nonsense_is_refused() {
        let order = Order {
            echo: true,
            size: 8,
            count: 1000,
        };
        assert_eq!(Order::parse(order.to_bytes()).unwrap(), order);
        let huge = Order {
            size: u64::MAX,
            ..order
        };
        assert!(Order::parse(huge.to_bytes()).is_err());
        assert!(Order::parse([7; Order::BYTES]).is_err());
    }
}
