//! The recorded peer: what it has said, and what it would accept.

use std::collections::{BTreeSet, HashMap};

use mxoe::addr::{SeqNo, SessionId};
use mxoe::frame::{ConnectRole, ConnectStatus, Dialect, Frame, MessageHead, Pull, PullReply, Rdma};

/// What is sent under a number: enough to tell whether two sides mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: &'static str,
    pub(crate) match_info: u64,
    pub(crate) length: u32,
}

/// A message in a frame, with its head; `None` for other frames, NOTIFY included.
pub(crate) fn message(frame: &Frame) -> Option<(Message, MessageHead)> {
    let (kind, head, length) = match frame {
        Frame::Tiny(tiny) => ("tiny", tiny.head, tiny.length.into()),
        Frame::Small(small) => ("small", small.head, small.length.into()),
        Frame::Medium(medium) => ("medium", medium.head, medium.length),
        Frame::Rndv(rndv) => ("rndv", rndv.head, rndv.length),
        _ => return None,
    };
    let match_info = head.match_info;
    Some((
        Message {
            kind,
            match_info,
            length,
        },
        head,
    ))
}

/// The number and acknowledgement of a frame that is numbered.
pub(crate) fn numbers(frame: &Frame) -> Option<(SeqNo, SeqNo, SessionId)> {
    if let Frame::Notify(notify) = frame {
        return Some((notify.seq, notify.piggyack, notify.session));
    }
    message(frame).map(|(_, head)| (head.seq, head.piggyack, head.session))
}

/// The endpoints that a frame names: from, to.
pub(crate) fn ends(frame: &Frame) -> Option<(u8, u8)> {
    let (from, to) = match frame {
        Frame::Connect(connect) => (connect.from, connect.to),
        Frame::Truc(liback) => (liback.from, liback.to),
        Frame::Pull(pull) => (pull.from, pull.to),
        Frame::Notify(notify) => (notify.from, notify.to),
        Frame::NackLib(nack) => (nack.from, nack.to),
        other => message(other).map(|(_, head)| (head.from, head.to))?,
    };
    Some((from.get(), to.get()))
}

/// What the recorded peer knows and has said, and thereby what it accepts.
#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) session: Option<SessionId>,
    /// Its requests, by number, with the session they showed.
    pub(crate) requests: Vec<(u8, SessionId)>,
    /// The numbers it has used, and the one we were to begin with.
    pub(crate) sent: Vec<SeqNo>,
    pub(crate) expects: Option<SeqNo>,
    /// Large messages it has announced, and blocks it has asked for.
    pub(crate) rendezvous: HashMap<Rdma, u32>,
    pub(crate) pulls: Vec<Pull>,
    /// Numbers it used under a session that we do not have.
    pub(crate) misdirected: BTreeSet<u16>,
    /// What we have told it: the last number used, the last acknowledgement, the last LIBACK.
    pub(crate) next: Option<SeqNo>,
    pub(crate) acked: Option<SeqNo>,
    pub(crate) acknum: u32,
}

impl Peer {
    /// Takes in what the peer says; `session` is ours.
    pub(crate) fn say(&mut self, frame: &Frame, session: SessionId) {
        match frame {
            Frame::Connect(connect) => {
                let theirs = match connect.role {
                    ConnectRole::Request { .. } => {
                        self.requests.push((connect.attempt, connect.session));
                        connect.session
                    }
                    ConnectRole::Reply {
                        status,
                        session: theirs,
                    } => {
                        if connect.session != session || status != ConnectStatus::Success {
                            return;
                        }
                        theirs
                    }
                };
                if self.session != Some(theirs) {
                    self.session = Some(theirs);
                    (self.next, self.acknum) = (None, 0);
                    self.sent.clear();
                }
                self.expects = Some(connect.recv_start);
            }
            Frame::Pull(pull) => self.pulls.push(*pull),
            Frame::Rndv(rndv) => {
                self.rendezvous.insert(rndv.rdma, rndv.length);
            }
            _ => {}
        }
        if let Some((seq, _, to)) = numbers(frame) {
            if to == session {
                self.sent.push(seq);
            } else {
                self.misdirected.insert(seq.to_wire());
            }
        }
    }

    /// Numbers go up one by one; older ones may come again.
    pub(crate) fn check_number(&mut self, seq: SeqNo) {
        let next = self.next.or(self.expects).expect("a handshake");
        assert!(seq.same_session(next));
        if seq == next {
            self.next = Some(next.next());
        } else {
            self.next = Some(next);
            assert!(next.distance_from(seq) <= 8191, "{seq} after {next}");
        }
    }

    /// We announce the number that its messages to us are to begin with.
    pub(crate) fn begin(&mut self, start: SeqNo) {
        if self.acked.is_none_or(|acked| !acked.same_session(start)) {
            self.acked = Some(start);
        }
    }

    /// Acknowledgements never go back, and never beyond what was sent.
    pub(crate) fn check_acknowledgement(&mut self, value: SeqNo) {
        let before = self.acked.expect("a handshake");
        assert!(value.same_session(before));
        for step in 0..value.distance_from(before) {
            let acknowledged = before.advance(step);
            assert!(
                self.sent.contains(&acknowledged),
                "{acknowledged} was never sent"
            );
        }
        self.acked = Some(value);
    }

    /// Section 7.4, replier.
    pub(crate) fn check_pull(&self, pull: &Pull, dialect: Dialect) {
        assert_eq!(Some(pull.session), self.session);
        let announced = self.rendezvous[&pull.rdma];
        let payload = dialect.pull_payload();
        assert!(pull.total_length <= announced && pull.block_length > 0);
        assert!(pull.frames(payload) <= dialect.pull_block_frames());
        let skew = u32::from(pull.rdma_offset) % payload;
        let start = pull.frame_index * payload + u32::from(pull.first_frame_offset) - skew;
        assert!(start + pull.block_length <= pull.total_length);
    }

    /// Section 7.4, puller.
    pub(crate) fn check_reply(&self, reply: &PullReply, dialect: Dialect) {
        let payload = dialect.pull_payload();
        let (start, end) = (reply.offset, reply.offset + u32::from(reply.length));
        let fits = |pull: &Pull| {
            let first = pull.frame_index * payload;
            (pull.handle, pull.magic) == (reply.handle, reply.magic)
                && first <= start
                && end <= first + pull.block_length
                && (end - start == payload || end == first + pull.block_length)
        };
        assert!(self.pulls.iter().any(fits), "{reply:?} was not asked for");
        assert_eq!(start % payload, 0);
        assert_eq!(u32::from(reply.frame_seqnum), start / payload % 256);
    }
}
