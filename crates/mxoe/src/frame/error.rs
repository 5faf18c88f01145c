//! Why a frame is dropped.

/// Why a frame is dropped: what its bytes say cannot be so. The numbers are the frame's own.
///
/// The reaction is always the same, drop and count; [`WireError::kind`] names the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum WireError {
    /// Too short for the head of its packet type.
    #[error("frame of {have} bytes, its head alone needs {need}")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes its head takes.
        need: usize,
    },
    /// Not an MXoE frame.
    #[error("EtherType {0:#06x} instead of 0x86df")]
    EtherType(u16),
    /// A packet type nobody sends to us (specification, section 2.1).
    #[error("unknown packet type {0}")]
    UnknownKind(u8),
    /// Its header promises more payload than the frame holds (section 1).
    #[error("header promises {promised} bytes of payload, frame holds {have}")]
    Promised {
        /// Payload bytes according to the header.
        promised: usize,
        /// Bytes the frame holds after its head.
        have: usize,
    },
    /// A length beyond what its packet type may carry (sections 7.1, 7.2, 9).
    #[error("length {length} above the limit of {limit}")]
    TooLong {
        /// The length according to the header.
        length: u32,
        /// The largest one allowed.
        limit: u32,
    },
    /// TRUC, CONNECT and RNDV say how long their data is: shorter than what is needed.
    #[error("header announces {length} bytes of data, {need} are needed")]
    ShortData {
        /// The length according to the header.
        length: u16,
        /// The least that makes sense.
        need: u16,
    },
    /// A TRUC that does not carry a LIBACK (section 3.2).
    #[error("unknown data type {0:#04x} in a TRUC")]
    UnknownTruc(u8),
    /// The two sessions of a LIBACK differ (section 3.2).
    #[error("sessions {head:08x} and {data:08x} of a LIBACK differ")]
    SessionsDiffer {
        /// The session in the head.
        head: u32,
        /// The session in the data.
        data: u32,
    },
    /// A nack type that does not exist (section 3.12).
    #[error("unknown nack type {0}")]
    UnknownNack(u8),
    /// A MEDIUM fragment that does not fit its message (section 7.2).
    #[error("fragment {number} of {have} bytes does not fit its message of {message} bytes")]
    Fragment {
        /// The fragment's number.
        number: u8,
        /// Its payload bytes.
        have: u16,
        /// The message's length.
        message: u32,
    },
    /// A field wider than what it may hold.
    #[error("field holds {value}, at most {limit} is possible")]
    OutOfRange {
        /// The field's value.
        value: u32,
        /// The largest possible one.
        limit: u32,
    },
    /// A pull magic that no endpoint of ours has made: nobody to deliver to.
    #[error("pull magic {0:#010x} is not ours")]
    ForeignMagic(u32),
}

/// The kinds of [`WireError`], for arrays of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum WireErrorKind {
    /// [`WireError::Truncated`]
    Truncated,
    /// [`WireError::EtherType`]
    EtherType,
    /// [`WireError::UnknownKind`]
    UnknownKind,
    /// [`WireError::Promised`]
    Promised,
    /// [`WireError::TooLong`]
    TooLong,
    /// [`WireError::ShortData`]
    ShortData,
    /// [`WireError::UnknownTruc`]
    UnknownTruc,
    /// [`WireError::SessionsDiffer`]
    SessionsDiffer,
    /// [`WireError::UnknownNack`]
    UnknownNack,
    /// [`WireError::Fragment`]
    Fragment,
    /// [`WireError::OutOfRange`]
    OutOfRange,
    /// [`WireError::ForeignMagic`]
    ForeignMagic,
}

impl WireErrorKind {
    /// All kinds; each at its [`WireErrorKind::index`].
    pub const ALL: [Self; 12] = [
        Self::Truncated,
        Self::EtherType,
        Self::UnknownKind,
        Self::Promised,
        Self::TooLong,
        Self::ShortData,
        Self::UnknownTruc,
        Self::SessionsDiffer,
        Self::UnknownNack,
        Self::Fragment,
        Self::OutOfRange,
        Self::ForeignMagic,
    ];
    /// How many kinds there are: the length of an array of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind's place in an array of [`WireErrorKind::COUNT`] counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name of the kind's counter: lower case, words joined by underscores.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::EtherType => "ether_type",
            Self::UnknownKind => "unknown_kind",
            Self::Promised => "promised_more",
            Self::TooLong => "too_long",
            Self::ShortData => "short_data",
            Self::UnknownTruc => "unknown_truc",
            Self::SessionsDiffer => "sessions_differ",
            Self::UnknownNack => "unknown_nack",
            Self::Fragment => "bad_fragment",
            Self::OutOfRange => "out_of_range",
            Self::ForeignMagic => "foreign_magic",
        }
    }
}

impl WireError {
    /// Which counter this one belongs to.
    #[must_use]
    pub const fn kind(&self) -> WireErrorKind {
        match self {
            Self::Truncated { .. } => WireErrorKind::Truncated,
            Self::EtherType(_) => WireErrorKind::EtherType,
            Self::UnknownKind(_) => WireErrorKind::UnknownKind,
            Self::Promised { .. } => WireErrorKind::Promised,
            Self::TooLong { .. } => WireErrorKind::TooLong,
            Self::ShortData { .. } => WireErrorKind::ShortData,
            Self::UnknownTruc(_) => WireErrorKind::UnknownTruc,
            Self::SessionsDiffer { .. } => WireErrorKind::SessionsDiffer,
            Self::UnknownNack(_) => WireErrorKind::UnknownNack,
            Self::Fragment { .. } => WireErrorKind::Fragment,
            Self::OutOfRange { .. } => WireErrorKind::OutOfRange,
            Self::ForeignMagic(_) => WireErrorKind::ForeignMagic,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_stands_at_its_index_under_a_name_of_its_own() {
        for (index, kind) in WireErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.index(), index);
            let same = WireErrorKind::ALL
                .iter()
                .filter(|k| k.name() == kind.name());
            assert_eq!(same.count(), 1, "{}", kind.name());
        }
    }
}
