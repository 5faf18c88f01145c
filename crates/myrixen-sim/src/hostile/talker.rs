//! A guest that keeps the rules: it sends to one other as fast as it may, and checks what it gets.

use anyhow::{bail, ensure};
use mxoe::addr::Address;
use mxoe::addr::PeerIndex;
use mxoe::frame::{Dialect, HEAD_BYTES};
use mxoe::frame::{EthHead, Frame, Head, PullHandle, PullMagic, PullReply, parse};
use myrixen_ring::Kind;

use super::Guest;
use crate::rng::Rng;

/// Payload begins with the sender's mark and the number of the frame.
const STAMP: usize = 16;

/// A guest that talks to one other.
#[derive(Debug)]
pub struct Talker {
    guest: Guest,
    to: Address,
    from: Address,
    /// What our frames begin with, and those of whoever sends to us: nobody else knows it.
    mark: u64,
    their_mark: u64,
    sent: u64,
    /// The number of the last frame that came, plus one.
    expected: u64,
    received_bytes: u64,
    missed: u64,
    strangers: u64,
    rng: Rng,
}

impl Talker {
    /// A guest that sends to `to` and hears from `from`, under secret marks.
    #[must_use]
    pub fn new(guest: Guest, to: (Address, u64), from: (Address, u64), mark: u64) -> Self {
        Self {
            guest,
            to: to.0,
            from: from.0,
            mark,
            their_mark: from.1,
            sent: 0,
            expected: 0,
            received_bytes: 0,
            missed: 0,
            strangers: 0,
            rng: Rng::new(mark ^ to.1),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Address {
        self.guest.address
    }

    /// Bytes of frames that came from its partner.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// Frames of its partner that never came.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Frames that came from others.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.strangers
    }

    /// Fills its ring.
    ///
    /// # Errors
    ///
    /// When the back end broke the rules of the ring.
    pub fn fill(&mut self) -> anyhow::Result<()> {
        loop {
            let length = u16::try_from(self.rng.between(STAMP as u64, 8000))?;
            let frame = Frame::PullReply(PullReply {
                frame_seqnum: 0,
                length,
                offset: 0,
                handle: PullHandle::new(1),
                magic: PullMagic::for_endpoint(self.to.endpoint),
            });
            let eth = EthHead {
                destination: self.to.nic,
                source: self.guest.address.nic,
                peer_index: PeerIndex::UNKNOWN,
            };
            let mut head = Head::new();
            frame.emit(Dialect::DEFAULT, &eth, &mut head);
            let head = head.as_bytes();
            let producer = &mut self.guest.port.pair.producer;
            let Some(mut slot) = producer.reserve(head.len() + usize::from(length), 0)? else {
                break;
            };
            slot.write(0, head);
            slot.write(head.len(), &self.mark.to_le_bytes());
            slot.write(head.len() + 8, &self.sent.to_le_bytes());
            slot.publish(Kind::Frame);
            self.sent += 1;
        }
        if self.guest.port.pair.producer.needs_bell() {
            self.guest.port.ringer.ring();
        }
        Ok(())
    }

    /// Takes in what has come.
    ///
    /// # Errors
    ///
    /// When the back end broke the rules of the ring, or let through what it must not: frames that only look as if they came from
    /// our partner, or for somebody else.
    pub fn drain(&mut self) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        while let Some(record) = self.guest.port.pair.consumer.peek()? {
            let consumer = &mut self.guest.port.pair.consumer;
            bytes.clear();
            bytes.resize(record.len(), 0);
            consumer.read(&record, 0, &mut bytes);
            consumer.advance(record);
            if consumer.release() {
                self.guest.port.ringer.ring();
            }
            self.look(&bytes)?;
        }
        if self.guest.port.pair.consumer.release() {
            self.guest.port.ringer.ring();
        }
        Ok(())
    }

    fn look(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let head = bytes.get(..bytes.len().min(HEAD_BYTES)).unwrap_or_default();
        let Ok(parsed) = parse(Dialect::DEFAULT, head, bytes.len()) else {
            // Whoever may send to us may send us rubbish; that it can say from whom is all that is promised.
            self.strangers += 1;
            return Ok(());
        };
        ensure!(
            parsed.eth.destination == self.guest.address.nic,
            "a frame for {}",
            parsed.eth.destination
        );
        if parsed.eth.source != self.from.nic {
            self.strangers += 1;
            return Ok(());
        }
        let Some(stamp) = bytes
            .get(parsed.payload)
            .and_then(|payload| payload.first_chunk::<STAMP>())
        else {
            bail!("a frame of our partner that it did not send");
        };
        let (mark, number) = stamp.split_at(8);
        ensure!(
            mark == self.their_mark.to_le_bytes(),
            "a frame under our partner's address with another mark"
        );
        let number = u64::from_le_bytes(number.try_into()?);
        ensure!(
            number >= self.expected,
            "frame {number} after {}",
            self.expected
        );
        self.missed += number - self.expected;
        self.expected = number + 1;
        self.received_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Whether the back end is done with this guest.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        // Looks at the socket, which is how a guest notices.
        while self.guest.attachment.next_news().is_some() {}
        self.guest.attachment.is_lost()
    }
}
