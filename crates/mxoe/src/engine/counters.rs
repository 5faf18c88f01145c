//! What the engine counts. Every reason to drop a frame is a variant, every variant a counter.

use crate::frame::{WireError, WireErrorKind};

/// Why a frame that can be read is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Packet types that are none of an endpoint's business.
    ForeignKind,
    /// Addressed to another endpoint.
    OtherEndpoint,
    /// It came by a path that the engine was not told of, or that belongs to somebody else.
    WrongPath,
    /// No CONNECT was ever exchanged with its sender (specification 6.2, rule 1).
    UnknownPartner,
    /// It names a session that is not ours.
    BadSession,
    /// Session bits of the number or of the acknowledgement do not fit (6.2, rules 2 and 3).
    SessionBits,
    /// It was received before.
    Duplicate,
    /// It is so far ahead of its turn that it cannot be kept.
    TooEarly,
    /// The unexpected store is full, by bytes or by messages.
    StoreFull,
    /// It opens more incomplete messages than one partner may have.
    TooManyOpen,
    /// A fragment that contradicts the others of its message.
    Inconsistent,
    /// A LIBACK that is older than one accepted before.
    OldAcknowledgement,
    /// An answer to nothing that was asked: connect reply, pull reply, nack, NOTIFY.
    Unasked,
    /// A PULL for what is not offered.
    BadPull,
    /// More blocks are asked for than may be waiting.
    TooManyPulls,
    /// More partners than the limit.
    TooManyPartners,
    /// More answers are waiting for room than may be.
    TooManyAnswers,
    /// The endpoint is closed.
    Closed,
}

impl Ignored {
    /// All reasons; each at its [`Ignored::index`].
    pub const ALL: [Self; 18] = [
        Self::ForeignKind,
        Self::OtherEndpoint,
        Self::WrongPath,
        Self::UnknownPartner,
        Self::BadSession,
        Self::SessionBits,
        Self::Duplicate,
        Self::TooEarly,
        Self::StoreFull,
        Self::TooManyOpen,
        Self::Inconsistent,
        Self::OldAcknowledgement,
        Self::Unasked,
        Self::BadPull,
        Self::TooManyPulls,
        Self::TooManyPartners,
        Self::TooManyAnswers,
        Self::Closed,
    ];
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason's place in an array of [`Ignored::COUNT`] counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of the reason's counter: lower case, words joined by underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForeignKind => "foreign_kind",
            Self::OtherEndpoint => "other_endpoint",
            Self::WrongPath => "wrong_path",
            Self::UnknownPartner => "unknown_partner",
            Self::BadSession => "bad_session",
            Self::SessionBits => "session_bits",
            Self::Duplicate => "duplicate",
            Self::TooEarly => "too_early",
            Self::StoreFull => "store_full",
            Self::TooManyOpen => "too_many_open",
            Self::Inconsistent => "inconsistent",
            Self::OldAcknowledgement => "old_acknowledgement",
            Self::Unasked => "unasked",
            Self::BadPull => "bad_pull",
            Self::TooManyPulls => "too_many_pulls",
            Self::TooManyPartners => "too_many_partners",
            Self::TooManyAnswers => "too_many_answers",
            Self::Closed => "closed",
        }
    }
}

/// Counts since the endpoint was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames given to [`handle_frame`](super::Endpoint::handle_frame).
    pub frames_in: u64,
    /// Frames taken from [`poll_transmit`](super::Endpoint::poll_transmit).
    pub frames_out: u64,
    /// Payload bytes placed.
    pub bytes_in: u64,
    /// Payload bytes to be gathered for frames.
    pub bytes_out: u64,
    /// Messages delivered to receives.
    pub messages_in: u64,
    /// Messages begun to be sent.
    pub messages_out: u64,
    /// Messages that no receive was waiting for.
    pub unexpected: u64,
    /// Explicit acknowledgements sent.
    pub acks_out: u64,
    /// Rejections sent.
    pub nacks_out: u64,
    /// Messages sent again.
    pub resends: u64,
    /// Messages sent again because acknowledgements showed a gap, before the timer.
    pub fast_resends: u64,
    /// Resend timers that ran out.
    pub timeouts: u64,
    /// Large messages that were read in place, in one copy.
    pub fetches: u64,
    /// Those that could not be, although they were offered: they were pulled.
    pub fetches_failed: u64,
    /// Requests for blocks sent.
    pub pulls_out: u64,
    /// Requests for blocks sent again, for what was missing.
    pub pull_repeats: u64,
    /// Connections lost.
    pub partners_lost: u64,
    ignored: [u64; Ignored::COUNT],
    wire: [u64; WireErrorKind::COUNT],
}

impl Counters {
    /// Frames that could be read and were of no use, by reason.
    #[must_use]
    pub fn ignored(&self, reason: Ignored) -> u64 {
        self.ignored.get(reason.index()).copied().unwrap_or(0)
    }

    /// Frames that could not be read, by what was wrong.
    #[must_use]
    pub fn wire_errors(&self, kind: WireErrorKind) -> u64 {
        self.wire.get(kind.index()).copied().unwrap_or(0)
    }

    pub(crate) fn ignore(&mut self, reason: Ignored) {
        if let Some(count) = self.ignored.get_mut(reason.index()) {
            *count = count.wrapping_add(1);
        }
    }

    pub(crate) fn wire_error(&mut self, error: &WireError) {
        if let Some(count) = self.wire.get_mut(error.kind().index()) {
            *count = count.wrapping_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index_under_a_name_of_its_own() {
        for (index, reason) in Ignored::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
            let same = Ignored::ALL.iter().filter(|r| r.name() == reason.name());
            assert_eq!(same.count(), 1, "{}", reason.name());
        }
    }
}
