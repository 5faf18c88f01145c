//! One end of the control ring: messages over a queue pair, each wake-up by bell.

use myrixen_ring::{Capacity, Kind, Layout, QueuePair, ReserveError, Support, Terms};

use crate::bell::{Drained, Ringer, Waiter};
use crate::meeting::PeerFault;
use crate::message::MAX_MESSAGE;

/// Bytes of the ring that carries requests: more than a guest may have unanswered.
const FORWARD: u32 = 1 << 14;
/// Bytes of the ring that carries replies and notices: a stopped guest can be told much.
const BACKWARD: u32 = 1 << 16;

/// The terms of a control ring.
pub(crate) fn terms(support: Support) -> Result<Terms, myrixen_ring::AttachError> {
    let layout = Layout::new(Capacity::new(FORWARD)?, Capacity::new(BACKWARD)?);
    Ok(Terms { layout, support })
}

/// How often one look at the ring is repeated when the peer keeps changing what is there.
const LOOKS: u32 = 8;

#[derive(Debug)]
pub(crate) struct Control {
    pair: QueuePair,
    ringer: Ringer,
    waiter: Waiter,
    /// We have said that we sleep, so a bell will ring.
    asleep: bool,
    hung_up: bool,
}

impl Control {
    pub(crate) fn new(pair: QueuePair, ringer: Ringer, waiter: Waiter) -> Self {
        Self {
            pair,
            ringer,
            waiter,
            asleep: false,
            hung_up: false,
        }
    }

    /// What to wait for.
    pub(crate) fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    /// Whether the other side is known to be gone.
    pub(crate) fn hung_up(&self) -> bool {
        self.hung_up
    }

    /// The next message. After `None` the bell rings for the next one.
    pub(crate) fn take(&mut self) -> Result<Option<Vec<u8>>, PeerFault> {
        if self.asleep {
            // Before the look at the ring, so that a ring that comes after it is kept.
            self.hung_up |= self.waiter.drain() == Drained::HungUp;
            self.pair.consumer.end_sleep();
            self.asleep = false;
        }
        for _ in 0..LOOKS {
            if let Some(bytes) = self.take_record()? {
                return Ok(Some(bytes));
            }
            let sleep = self.pair.consumer.prepare_sleep();
            if sleep.ring {
                self.ringer.ring();
            }
            if sleep.may_sleep {
                self.asleep = true;
                return Ok(None);
            }
            self.pair.consumer.end_sleep();
        }
        Ok(None)
    }

    fn take_record(&mut self) -> Result<Option<Vec<u8>>, PeerFault> {
        let consumer = &mut self.pair.consumer;
        let Some(record) = consumer.peek()? else {
            return Ok(None);
        };
        let len = record.len();
        if record.kind() != Kind::Control || len > MAX_MESSAGE {
            return Err(PeerFault::Record { len });
        }
        let mut bytes = vec![0; len];
        consumer.read(&record, 0, &mut bytes);
        consumer.advance(record);
        if consumer.release() {
            self.ringer.ring();
        }
        Ok(Some(bytes))
    }

    /// Puts a message into the ring. `false`: there is no room, the bell rings when there is.
    pub(crate) fn give(&mut self, bytes: &[u8]) -> Result<bool, PeerFault> {
        let producer = &mut self.pair.producer;
        for _ in 0..LOOKS {
            if let Some(mut slot) = producer.reserve(bytes.len(), 0).map_err(fault)? {
                slot.write(0, bytes);
                slot.publish(Kind::Control);
                if producer.needs_bell() {
                    self.ringer.ring();
                }
                return Ok(true);
            }
            if producer.set_starved(bytes.len(), 0).map_err(fault)? {
                return Ok(false);
            }
        }
        Ok(false)
    }
}

/// No message is too long for a control ring, so only the peer can be at fault.
fn fault(err: ReserveError) -> PeerFault {
    match err {
        ReserveError::Peer(fault) => fault.into(),
        _ => PeerFault::Record { len: MAX_MESSAGE },
    }
}
