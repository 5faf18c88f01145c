//! The side that answers: echoes ping-pongs, receives flows.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use myrixen::{Endpoint, Error, INLINE, Match, Peer, RequestId, Status};

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
        let received = match endpoint.recv_timeout(orders, &mut order, pause) {
            Ok(Some(received)) => received,
            Ok(None) => continue,
            Err(Error::Failed { status, .. }) if status != Status::Closed => {
                // Its client has gone in the middle of it, which is no reason for others to be left alone.
                let error = anyhow!("an order did not arrive whole: {status}");
                watch(Served::Failed { error });
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(client) = endpoint.peer(received.source) else {
            let error = anyhow!(
                "an order of {} was not carried out: it has gone since",
                received.source
            );
            watch(Served::Failed { error });
            continue;
        };
        let session = endpoint.session_of(&client);
        match serve_order(endpoint, &client, &order[..received.len], &mut spare) {
            Ok(order) => watch(Served::Test {
                client,
                size: order.size,
                count: order.count,
            }),
            Err(error) => {
                // A client that was killed may be followed by one with the same address, whose order waits already.
                if let Some(session) = session {
                    endpoint.disconnect(&client, session);
                }
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
    buffers_of(spare, size, room(size), || Some(vec![0; size])).context("no memory")?;
    let mut posted = Posted {
        endpoint,
        data,
        ids: Vec::new(),
    };
    while posted.count() < order.count
        && let Some(buffer) = spare.pop()
    {
        posted.add(buffer)?;
    }
    answer(endpoint, client, order, &Answer::Ready)?;
    let mut left = order.count - posted.count();
    for number in 0..order.count {
        let done = endpoint.wait_any(Match::any(), Some(PATIENCE));
        let done = done.with_context(|| missing(number, order))?;
        if let Err(error) = done.result() {
            bail!(
                "message {number} of {} was not received: {error}",
                order.count
            );
        }
        let place = done.context;
        let buffer = done
            .into_buffer::<Vec<u8>>()
            .unwrap_or_else(|| vec![0; size]);
        if left > 0 {
            posted.again(place, buffer)?;
            left -= 1;
        } else {
            spare.push(buffer);
        }
    }
    Ok(endpoint.send(client, Kind::Echo.bits(order.run), &[])?)
}

/// The receives of a flow. They end with it, however it ends: who has the client's address next may be another program.
struct Posted<'e> {
    endpoint: &'e Endpoint,
    data: Match,
    ids: Vec<RequestId>,
}

impl Posted<'_> {
    fn count(&self) -> u64 {
        self.ids.len() as u64
    }

    fn add(&mut self, buffer: Vec<u8>) -> anyhow::Result<()> {
        let id = self.endpoint.post_recv(self.data, buffer, self.count())?;
        self.ids.push(id);
        Ok(())
    }

    /// In place of one that is over.
    fn again(&mut self, place: u64, buffer: Vec<u8>) -> anyhow::Result<()> {
        let index = usize::try_from(place)?;
        let id = self.ids.get_mut(index);
        let id = id.context("a receive ended that is not of this flow")?;
        *id = self.endpoint.post_recv(self.data, buffer, place)?;
        Ok(())
    }
}

impl Drop for Posted<'_> {
    fn drop(&mut self) {
        for &id in &self.ids {
            // Most are over, and not known any more.
            let _ = self.endpoint.forget(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use myrixen::{EndpointOptions, Fabric};

    use super::super::{Client, Trips, Way as _};
    use super::*;

    /// A client waits for its turn and goes before it has come.
    #[test]
    fn an_order_whose_client_has_gone_does_not_end_the_server() {
        let fabric = Fabric::embedded().expect("an embedded back end");
        let open = || fabric.open(EndpointOptions::default()).expect("opened");
        let (server, first) = (open(), open());
        let at = server.address();
        let meet = |client: &Endpoint| client.connect(at, 0, PATIENCE).expect("connected");
        let stop = AtomicBool::new(false);
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let pause = Duration::from_millis(10);
                let stop = || stop.load(Ordering::Relaxed);
                serve(&server, pause, stop, |served| {
                    let _ = tell.send(served);
                })
            });
            let to_server = meet(&first);
            let order = Order {
                test: Test::PingPong,
                size: 8,
                count: 1,
                wait: Wait::Sleep,
                run: 1,
            };
            let text = serde_json::to_vec(&order).expect("text");
            first
                .send(&to_server, Kind::Order.bits(1), &text)
                .expect("ordered");
            let mut answer = [0; CONTROL_BYTES];
            first
                .recv(Match::exact(Kind::Answer.bits(1)), &mut answer)
                .expect("agreed");
            // The server waits for the first one's message. The order of the second is only announced.
            let second = open();
            let ordering = second
                .issend(&meet(&second), Kind::Order.bits(2), vec![0; 100])
                .expect("started");
            thread::sleep(Duration::from_millis(50));
            drop((ordering, second));
            first
                .send(&to_server, Kind::Data.bits(1), &[0; 8])
                .expect("sent");
            let next = || told.recv_timeout(PATIENCE).expect("the server goes on");
            assert!(matches!(next(), Served::Test { count: 1, .. }));
            assert!(matches!(next(), Served::Failed { .. }));
            let third = open();
            let mut client = Client::new(&third, meet(&third), Wait::Sleep);
            client
                .round_trips(8, Trips::single(4))
                .expect("the server serves");
            stop.store(true, Ordering::Relaxed);
            serving.join().expect("no panic").expect("no error");
        });
    }
}
