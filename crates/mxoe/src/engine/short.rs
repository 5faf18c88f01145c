//! Short messages whose turn is now: sent, or taken in (`take.rs`), in one step, without the queues and events that others go through.
//!
//! Nothing here is another protocol. Either step does what the long way would have done, and is only open where that is
//! easily told: nothing of the partner's is waiting, lost or before its turn, and a receive is there already. In all other cases it changes
//! nothing, and the driver goes the long way.

use super::Endpoint;
use super::event::{Send, SendMode, Slice, Transmit};
use super::ids::PathId;
use super::outgoing::{DATA_BYTES, wanted};
use super::partner::{Link, Recovery};
use super::transmit::generation;
use crate::addr::{Address, SeqNo};
use crate::frame::{Head, MessageHead, ShortMessage, Small};
use crate::matching::Space;
use crate::matching::arena::Key;

/// A message that went out at once. It has no name: its end is told by its token.
#[derive(Clone, Copy, Debug)]
pub struct SentNow {
    /// Which way its frame goes.
    pub path: PathId,
}

/// A message that can go out at once.
#[derive(Clone, Copy, Debug)]
#[must_use = "whoever sends it has to say so"]
pub struct ReadyNow {
    partner: Key,
    address: Address,
    path: PathId,
    seq: SeqNo,
}

impl ReadyNow {
    /// Which way its frame goes.
    #[inline]
    #[must_use]
    pub fn path(&self) -> PathId {
        self.path
    }

    /// Where the partner is.
    #[inline]
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }
}

/// A message that went out at once has been acknowledged.
#[derive(Clone, Copy, Debug)]
pub struct Delivered {
    /// The message's.
    pub token: u64,
    /// Bytes that were sent.
    pub length: u32,
}

impl Endpoint {
    /// Sends a message of up to 128 bytes, if it need not wait for anything and `has_room` says that its path has room for its frame. The frame, which
    /// is written to `transmit`, is to be gathered before the engine is called again. Otherwise as [`send`](Self::send), but that
    /// [`poll_delivered`](Self::poll_delivered) tells of its acknowledgement, and an event of all that goes wrong. When that was is for the next call to say that is
    /// told the time, or [`date`](Self::date).
    ///
    /// `None`: nothing was done; `send` will say why, or queue it.
    #[inline]
    pub fn send_now(
        &mut self,
        send: &Send,
        has_room: impl FnOnce(PathId) -> bool,
        transmit: &mut Transmit,
    ) -> Option<SentNow> {
        let ready = self.ready_now(send, has_room, &mut transmit.head)?;
        let slice = Slice {
            region: send.region,
            offset: 0,
            len: send.len,
        };
        transmit.to = self.partners[ready.partner].address.nic;
        transmit.payload = (send.len > 0).then_some(slice);
        transmit.offer = None;
        Some(self.sent_now(send, ready))
    }

    /// The first half of [`send_now`](Self::send_now): writes the beginning of the frame to `head`, behind which the payload comes. The frame can go out before
    /// the engine takes note of it, which takes as long again: [`sent_now`](Self::sent_now) does, and nothing else is to be asked of the engine in between.
    /// Nothing has been done if it does not go out.
    #[inline(always)]
    pub fn ready_now(
        &self,
        send: &Send,
        has_room: impl FnOnce(PathId) -> bool,
        head: &mut Head,
    ) -> Option<ReadyNow> {
        let beside = if send.data.is_some() { DATA_BYTES } else { 0 };
        let length = u8::try_from(send.len.saturating_add(beside)).ok();
        let length = length.filter(|len| *len <= Small::MAX)?;
        if !self.open || send.mode != SendMode::Standard || send.len > self.config.eager_max {
            return None;
        }
        let key = send.to.find(&self.partners)?;
        let partner = &self.partners[key];
        let Link::Up {
            session,
            open: true,
        } = partner.link
        else {
            return None;
        };
        let plain = send.space == Space::Tagged && send.data.is_none();
        if !plain && !partner.features.contains(wanted(send)) {
            return None;
        }
        let (path, sending) = (partner.path, &partner.sending);
        let free = sending.queued.is_empty()
            && sending.cutting.some().is_none()
            && matches!(sending.recovery, Recovery::None);
        let limit = self.config.limits.unacked_bytes;
        if !(free && sending.has_window(send.len, limit) && has_room(path)) {
            return None;
        }
        let seq = sending.next;
        let cover = MessageHead {
            to: partner.address.endpoint,
            from: self.config.address.endpoint,
            generation: generation(partner.features, send.space, send.data.is_some()),
            checksum: 0,
            seq,
            piggyack: partner.receiving.complete,
            match_info: send.match_info,
            session,
        };
        let eth = partner.eth(self.config.address.nic);
        ShortMessage {
            head: cover,
            length,
        }
        .emit(&eth, head);
        if let Some(data) = send.data {
            head.append(data.to_be_bytes());
        }
        Some(ReadyNow {
            partner: key,
            address: partner.address,
            path,
            seq,
        })
    }

    /// The second half of [`send_now`](Self::send_now): the message that [`ready_now`](Self::ready_now) was asked for has gone out.
    #[inline(always)]
    pub fn sent_now(&mut self, send: &Send, ready: ReadyNow) -> SentNow {
        let ReadyNow {
            partner: key,
            path,
            seq,
            ..
        } = ready;
        let partner = &mut self.partners[key];
        let sending = &mut partner.sending;
        sending.next = seq.next();
        sending.bytes = sending.bytes.saturating_add(send.len);
        self.briefs.push(&mut sending.brief, send);
        if sending.undated == 0 {
            self.undated.push(key);
        }
        sending.undated = sending.undated.wrapping_add(1);
        let behind_others = !sending.unacked.is_empty();
        if partner.receiving.settle() {
            self.owed = self.owed.wrapping_sub(1);
        }
        let counters = &mut self.counters;
        counters.messages_out = counters.messages_out.wrapping_add(1);
        counters.frames_out = counters.frames_out.wrapping_add(1);
        counters.bytes_out = counters.bytes_out.wrapping_add(send.len.into());
        if behind_others {
            self.spell_out(key);
        }
        // What is owed for the message that this may answer has gone out with it.
        self.heed();
        SentNow { path }
    }
}
