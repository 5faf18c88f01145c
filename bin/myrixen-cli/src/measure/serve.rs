//! The side that answers: echoes ping-pongs, receives flows.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use myrixen::{Endpoint, INLINE, Match, Peer};

use super::{Answer, CONTROL_BYTES, Kind, Order, PATIENCE, Test, buffers_of, room};
use crate::record::Wait;

/// The largest message a server takes part with, in bytes: it holds four of them.
const LARGEST: u64 = 1 << 30;

/// What happened at a server, for whoever watches it.
#[derive(Debug)]
pub(crate) enum Served {
    /// A client's test has ended well.
    Test { client: Peer, size: u64, count: u64 },
    /// A client's test has failed; the server goes on.
    Failed { error: anyhow::Error },
}

/// Serves one client after the other, and tells `watch` about each test. Returns when `stop` says so; it is
/// asked between orders, at least every `pause`.
pub(crate) fn serve(
    endpoint: &Endpoint,
    pause: Duration,
    mut stop: impl FnMut() -> bool,
    mut watch: impl FnMut(Served),
) -> anyhow::Result<()> {
    let mut order = [0; CONTROL_BYTES];
    let mut spare = Vec::new();
    while !stop() {
        // Between tests a server costs nobody a core, whatever the last client wanted.
        endpoint.set_wait(Wait::Sleep.of_library());
        let orders = Kind::Order.of_any_run();
        let Some(received) = endpoint.recv_timeout(orders, &mut order, pause)? else {
            continue;
        };
        let Some(client) = endpoint.peer(received.source) else {
            let error = anyhow!(
                "an order of {} was not carried out: it has gone since",
                received.source
            );
            watch(Served::Failed { error });
            continue;
        };
        match serve_order(endpoint, &client, &order[..received.len], &mut spare) {
            Ok(order) => watch(Served::Test {
                client,
                size: order.size,
                count: order.count,
            }),
            Err(error) => {
                // Receives that are still posted for this client end with it.
                endpoint.disconnect(&client);
                while endpoint.test_any(Match::any()).is_some() {}
                watch(Served::Failed { error });
            }
        }
    }
    Ok(())
}

fn serve_order(
    endpoint: &Endpoint,
    client: &Peer,
    text: &[u8],
    spare: &mut Vec<Vec<u8>>,
) -> anyhow::Result<Order> {
    let order: Order =
        serde_json::from_slice(text).context("the order is not one of this version")?;
    if order.size > LARGEST {
        let why = format!("messages of {} bytes are more than {LARGEST}", order.size);
        answer(endpoint, client, &order, &Answer::Refused(why.clone()))?;
        bail!(why);
    }
    endpoint.set_wait(order.wait.of_library());
    match order.test {
        Test::PingPong => echo(endpoint, client, &order),
        Test::Flow => take_in(endpoint, client, &order, spare),
    }
    .with_context(|| format!("the test with {} ended early", client.address()))?;
    Ok(order)
}

fn answer(
    endpoint: &Endpoint,
    client: &Peer,
    order: &Order,
    answer: &Answer,
) -> anyhow::Result<()> {
    let text = serde_json::to_vec(answer)?;
    Ok(endpoint.send(client, Kind::Answer.bits(order.run), &text)?)
}

fn echo(endpoint: &Endpoint, client: &Peer, order: &Order) -> anyhow::Result<()> {
    let data = Match::exact(Kind::Data.bits(order.run)).from(client);
    let mut buffer = vec![0; usize::try_from(order.size)?];
    answer(endpoint, client, order, &Answer::Ready)?;
    for number in 0..order.count {
        let received = endpoint.recv_timeout(data, &mut buffer, PATIENCE)?;
        let received = received.with_context(|| missing(number, order))?;
        endpoint.send(client, Kind::Echo.bits(order.run), &buffer[..received.len])?;
    }
    Ok(())
}

/// Receives a flow of short messages one by one, as a program does that has something to do with each.
fn take_in_short(
    endpoint: &Endpoint,
    client: &Peer,
    order: &Order,
    data: Match,
) -> anyhow::Result<()> {
    let mut buffer = [0; INLINE];
    answer(endpoint, client, order, &Answer::Ready)?;
    for number in 0..order.count {
        let received = endpoint.recv_timeout(data, &mut buffer, PATIENCE)?;
        received.with_context(|| missing(number, order))?;
    }
    Ok(endpoint.send(client, Kind::Echo.bits(order.run), &[])?)
}

fn missing(number: u64, order: &Order) -> String {
    let count = order.count;
    format!("message {number} of {count} did not come within {PATIENCE:?}")
}

/// Receives a flow into buffers from `spare`, and leaves them there for the next.
fn take_in(
    endpoint: &Endpoint,
    client: &Peer,
    order: &Order,
    spare: &mut Vec<Vec<u8>>,
) -> anyhow::Result<()> {
    let data = Match::exact(Kind::Data.bits(order.run)).from(client);
    let size = usize::try_from(order.size)?;
    if size <= INLINE {
        return take_in_short(endpoint, client, order, data);
    }
    let mut posted = 0;
    buffers_of(spare, size, room(size), || Some(vec![0; size])).context("no memory")?;
    while posted < order.count
        && let Some(buffer) = spare.pop()
    {
        endpoint.post_recv(data, buffer, posted)?;
        posted += 1;
    }
    answer(endpoint, client, order, &Answer::Ready)?;
    for number in 0..order.count {
        let done = endpoint.wait_any(Match::any(), Some(PATIENCE));
        let done = done.with_context(|| missing(number, order))?;
        if let Err(error) = done.result() {
            bail!(
                "message {number} of {} was not received: {error}",
                order.count
            );
        }
        let buffer = done
            .into_buffer::<Vec<u8>>()
            .unwrap_or_else(|| vec![0; size]);
        if posted < order.count {
            endpoint.post_recv(data, buffer, posted)?;
            posted += 1;
        } else {
            spare.push(buffer);
        }
    }
    Ok(endpoint.send(client, Kind::Echo.bits(order.run), &[])?)
}
