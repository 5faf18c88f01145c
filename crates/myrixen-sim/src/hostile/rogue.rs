//! A guest that keeps no rules.

use std::sync::atomic::Ordering;

use mxoe::addr::{Address, EndpointId, NicAddr, PeerIndex};
use mxoe::addr::{SeqNo, SessionId};
use mxoe::frame::{
    Dialect, EthHead, Frame, Head, NackKind, NackLib, Notify, PullHandle, PullMagic, PullReply,
    Rdma,
};
use myrixen_platform::message::{PortAddress, Request};
use myrixen_ring::Kind;

use super::Guest;
use crate::rng::{Ppm, Rng};

/// What a rogue does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Writes random words to random places of the pages it shares.
    Scribbles,
    /// Writes random words where the control words are.
    Scrambles,
    /// Announces records of lengths and kinds that cannot be.
    Lies,
    /// Has itself answered, and says that it has consumed more than there is, or less than before.
    Rewinds,
    /// Sends well-formed records of random bytes.
    Babbles,
    /// Sends frames under the addresses and endpoints of others.
    Forges,
    /// Sends the shortest frames there are to one guest, as many as fit.
    Drips,
    /// Sends the longest frames there are to one guest, as many as fit.
    Floods,
    /// Sends to endpoints that are not open, and never takes the answers in.
    Knocks,
    /// Rings its bell and says it sleeps and starves, all the time.
    Rings,
    /// Opens, closes, resolves and lists without end, and never looks at the answers.
    Nags,
}

impl Manner {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Scribbles,
        Self::Scrambles,
        Self::Lies,
        Self::Rewinds,
        Self::Babbles,
        Self::Forges,
        Self::Drips,
        Self::Floods,
        Self::Knocks,
        Self::Rings,
        Self::Nags,
    ];
}

/// A guest that keeps no rules. Dropping it is its death, in the middle of whatever it did.
#[derive(Debug)]
pub struct Rogue {
    guest: Guest,
    manner: Manner,
    victim: Address,
    rng: Rng,
}

/// Things done in one act.
const DEEDS: u64 = 64;
/// Where the records of ring 0, which a guest writes, begin (docs/ring-abi.md).
const RECORDS: usize = 4096;
/// Where the control words lie.
const CONTROL: (u64, u64) = (0, 1280);

impl Rogue {
    /// A guest that behaves like this towards another.
    #[must_use]
    pub fn new(guest: Guest, manner: Manner, victim: Address, seed: u64) -> Self {
        Self {
            guest,
            manner,
            victim,
            rng: Rng::new(seed),
        }
    }

    /// Does its worst, once.
    pub fn act(&mut self) {
        match self.manner {
            Manner::Scribbles => {
                self.scribble(0, self.size());
                self.scribble(RECORDS as u64, RECORDS as u64 + 4096);
            }
            Manner::Scrambles => self.scribble(CONTROL.0, CONTROL.1),
            Manner::Lies => self.lie(),
            Manner::Rewinds => self.rewind(),
            Manner::Babbles => self.babble(),
            Manner::Forges => self.forge(),
            Manner::Drips => self.flood(self.victim, 0),
            Manner::Floods => self.flood(self.victim, 8968),
            Manner::Knocks => self.knock(),
            Manner::Rings => {}
            Manner::Nags => self.nag(),
        }
        if self.manner == Manner::Rings {
            self.pester();
        } else {
            self.guest.port.ringer.ring();
        }
    }

    fn size(&self) -> u64 {
        self.guest.port.pair.producer.memory().len() as u64
    }

    fn scribble(&mut self, from: u64, to: u64) {
        let pages = self.guest.port.pair.producer.memory().clone();
        for _ in 0..DEEDS {
            let at = usize::try_from(self.rng.between(from / 8, to / 8 - 1) * 8).unwrap_or(0);
            // Small numbers are more often plausible.
            let word = self.rng.next_u64() >> (8 * self.rng.below(8));
            pages.store_u64(at, word, Ordering::Release);
        }
    }

    /// Headers of records, at the beginning of the ring and anywhere in it.
    fn lie(&mut self) {
        let pages = self.guest.port.pair.producer.memory().clone();
        for _ in 0..DEEDS {
            let line = if self.rng.chance(Ppm::percent(50)) {
                0
            } else {
                self.rng.below(4096)
            };
            let kind = self.rng.below(6) << 32;
            let len = self.rng.next_u64() >> (32 + self.rng.below(32));
            let hint = self.rng.below(1 << 16) << 48;
            let at = RECORDS + usize::try_from(line).unwrap_or(0) * 64;
            pages.store_u64(at, hint | kind | len, Ordering::Release);
        }
    }

    /// Ring 1 is consumed by the guest: its word lies at 768.
    fn rewind(&mut self) {
        let pages = self.guest.port.pair.producer.memory().clone();
        let word = u32::try_from(self.rng.next_u64() >> (32 + self.rng.below(32))).unwrap_or(0);
        pages.store_u32(768, word, Ordering::Release);
        self.knock();
    }

    fn send(&mut self, bytes: &[u8]) -> bool {
        let producer = &mut self.guest.port.pair.producer;
        let Ok(Some(mut slot)) = producer.reserve(bytes.len(), 0) else {
            return false;
        };
        slot.write(0, bytes);
        let kind = if self.rng.chance(Ppm::percent(5)) {
            Kind::Control
        } else {
            Kind::Frame
        };
        slot.publish(if self.manner == Manner::Babbles {
            kind
        } else {
            Kind::Frame
        });
        true
    }

    fn babble(&mut self) {
        for _ in 0..DEEDS {
            let len = self.rng.index(200);
            let mut bytes: Vec<u8> = (0..len)
                .map(|_| self.rng.next_u64().to_le_bytes()[0])
                .collect();
            // Often something that gets past the first looks.
            if bytes.len() > 40 && self.rng.chance(Ppm::percent(70)) {
                bytes[..6].copy_from_slice(&self.victim.nic.octets());
                bytes[12..14].copy_from_slice(&[0x86, 0xdf]);
                bytes[16] = 35 + self.rng.next_u64().to_le_bytes()[0] % 11;
                bytes[17] = self.victim.endpoint.get();
            }
            if !self.send(&bytes) {
                break;
            }
        }
    }

    fn frame(&self, to: Address, source: NicAddr, length: u16) -> Vec<u8> {
        let reply = PullReply {
            frame_seqnum: 0,
            length,
            offset: 0,
            handle: PullHandle::new(1),
            magic: PullMagic::for_endpoint(to.endpoint),
        };
        let eth = EthHead {
            destination: to.nic,
            source,
            peer_index: PeerIndex::UNKNOWN,
        };
        let mut head = Head::new();
        Frame::PullReply(reply).emit(Dialect::DEFAULT, &eth, &mut head);
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(bytes.len() + usize::from(length), 0x66);
        bytes
    }

    fn forge(&mut self) {
        for _ in 0..DEEDS {
            let source = NicAddr::from_u64(self.victim.nic.to_u64() ^ self.rng.below(4));
            let bytes = if self.rng.chance(Ppm::percent(50)) {
                self.frame(self.victim, source, 64)
            } else {
                // A nack in the name of another endpoint would end that one's conversations.
                let nack = NackLib {
                    from: EndpointId::new(self.rng.next_u64().to_le_bytes()[0]),
                    to: self.victim.endpoint,
                    nack: NackKind::EndpointClosed,
                    seq: SeqNo::FIRST,
                };
                let eth = EthHead {
                    destination: self.victim.nic,
                    source,
                    peer_index: PeerIndex::UNKNOWN,
                };
                let mut head = Head::new();
                Frame::NackLib(nack).emit(Dialect::DEFAULT, &eth, &mut head);
                head.as_bytes().to_vec()
            };
            if !self.send(&bytes) {
                break;
            }
        }
    }

    /// As many frames as fit, and it takes in nothing.
    fn flood(&mut self, to: Address, length: u16) {
        let bytes = self.frame(to, self.guest.address.nic, length);
        while self.send(&bytes) {}
    }

    /// Frames that are answered by a nack each, since their endpoint is not open.
    fn knock(&mut self) {
        for _ in 0..DEEDS {
            let endpoint = EndpointId::new(self.rng.next_u64().to_le_bytes()[0] | 0x80);
            let notify = Notify {
                to: endpoint,
                from: self.guest.address.endpoint,
                session: SessionId::new(1),
                total_length: 0,
                rdma: Rdma { id: 0, seq: 0 },
                seq: SeqNo::FIRST,
                piggyack: SeqNo::FIRST,
            };
            let source = self.guest.address.nic;
            let eth = EthHead {
                destination: self.victim.nic,
                source,
                peer_index: PeerIndex::UNKNOWN,
            };
            let mut head = Head::new();
            Frame::Notify(notify).emit(Dialect::DEFAULT, &eth, &mut head);
            if !self.send(head.as_bytes()) {
                break;
            }
        }
    }

    fn pester(&mut self) {
        let pages = self.guest.port.pair.producer.memory().clone();
        for _ in 0..DEEDS {
            // `sleeping` of ring 1 and `starved` of ring 0.
            for at in [896, 512] {
                let word = u32::try_from(self.rng.next_u64() >> 32).unwrap_or(1);
                pages.store_u32(at, word, Ordering::Release);
            }
            self.guest.port.ringer.ring();
        }
    }

    fn nag(&mut self) {
        for _ in 0..DEEDS {
            let to = PortAddress {
                mac: myrixen_platform::message::Mac::new(self.victim.nic.octets()),
                endpoint: self.rng.next_u64().to_le_bytes()[0],
            };
            let request = match self.rng.below(3) {
                0 => Request::ClosePort {
                    endpoint: self.rng.next_u64().to_le_bytes()[0] | 1,
                },
                1 => Request::OpenPort {
                    endpoint: None,
                    forward: 4096,
                    backward: 4096,
                    brought: None,
                },
                _ => Request::OpenDirect {
                    endpoint: 0,
                    to,
                    forward: 4096,
                    backward: 4096,
                    brought: None,
                },
            };
            if self.guest.attachment.send_request(&request).is_err() {
                break;
            }
        }
    }

    /// Whether the back end is done with it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        // Looks at the socket, which is how a guest notices.
        while self.guest.attachment.next_news().is_some() {}
        self.guest.attachment.is_lost()
    }
}
