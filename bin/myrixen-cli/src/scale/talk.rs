//! Guests that all talk at once: each endpoint keeps messages under way to each of its partners, and takes what comes.

use std::time::Duration;

use anyhow::Context as _;
use myrixen::{Completion, Kind, Match};

use super::guests::Seat;
use super::order::Answer;
use crate::demo::monotonic_ns;

/// Messages under way to each partner.
const DEPTH: usize = 4;
/// Receives posted.
const POSTED: u64 = 32;

/// What one endpoint has sent that arrived, and has received, in bytes.
#[derive(Clone, Copy, Default)]
struct Bytes {
    sent: u64,
    received: u64,
}

/// Talks from all endpoints, each in a thread of its own, and counts what was sent and received between `from_ns` and `until_ns`.
pub(super) fn run(
    seats: &[Seat],
    size: usize,
    from_ns: u64,
    until_ns: u64,
) -> anyhow::Result<Answer> {
    let all = std::thread::scope(|scope| {
        let talk = |seat| scope.spawn(move || one(seat, size, from_ns, until_ns));
        let threads: Vec<_> = seats.iter().map(talk).collect();
        let ends = threads.into_iter().map(|thread| thread.join().ok());
        let ends = ends.map(|end| end.context("a thread has died")?);
        ends.collect::<anyhow::Result<Vec<Bytes>>>()
    })?;
    Ok(Answer::Talked {
        sent: all.iter().map(|bytes| bytes.sent).collect(),
        received: all.iter().map(|bytes| bytes.received).collect(),
    })
}

fn one(seat: &Seat, size: usize, from_ns: u64, until_ns: u64) -> anyhow::Result<Bytes> {
    let endpoint = &seat.endpoint;
    for number in 0..POSTED {
        endpoint
            .irecv(Match::any(), vec![0_u8; size])?
            .queue(number);
    }
    for (place, peer) in seat.peers.iter().enumerate() {
        for _ in 0..DEPTH {
            let request = endpoint.isend(peer, 1, vec![0x5a_u8; size])?;
            request.queue(place as u64);
        }
    }
    let mut bytes = Bytes::default();
    loop {
        let now = monotonic_ns();
        if now >= until_ns {
            return Ok(bytes);
        }
        let left = Duration::from_nanos(until_ns - now);
        let Some(done) = endpoint.wait_any(Match::any(), Some(left)) else {
            continue;
        };
        let counts = now >= from_ns;
        again(seat, done, |kind, len| match kind {
            _ if !counts => {}
            Kind::Receive => bytes.received += len,
            _ => bytes.sent += len,
        })?;
    }
}

/// Counts what has ended, and begins the same again.
fn again(seat: &Seat, done: Completion, count: impl FnOnce(Kind, u64)) -> anyhow::Result<()> {
    let (kind, context) = (done.kind, done.context);
    done.result().map_err(|error| anyhow::anyhow!("{error}"))?;
    let buffer: Vec<u8> = done.into_buffer().context("a buffer did not come back")?;
    count(kind, buffer.len() as u64);
    if kind == Kind::Receive {
        seat.endpoint.irecv(Match::any(), buffer)?.queue(context);
    } else {
        let place = usize::try_from(context)?;
        let peer = seat.peers.get(place).context("nobody was sent this")?;
        seat.endpoint.isend(peer, 1, buffer)?.queue(context);
    }
    Ok(())
}
