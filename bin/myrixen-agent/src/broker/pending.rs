//! What was asked of the back end, and what is to be done with its answer.

use myrixen_platform::Handover;
use myrixen_platform::message::{PortAddress, Serial};
use myrixen_ring::{Layout, Terms};

use super::ProgramId;
use super::pools::PoolAsked;

/// Whose request it is, and under which number.
pub(super) type Asker = (ProgramId, Serial);

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) enum Pending {
    /// Nobody wants to know.
    Nobody,
    /// The answer goes on as it is.
    Forward(Asker),
    /// A port; with what the program is handed.
    Port {
        asker: Asker,
        wanted: Option<u8>,
        terms: Terms,
        with: Handover,
    },
    /// The end of a port.
    Close { asker: Asker, endpoint: u8 },
    /// A port that is there already.
    AdoptPort { asker: Asker, endpoint: u8 },
    /// Whom to lend the pages of a channel to.
    Grantee {
        asker: Asker,
        endpoint: u8,
        to: PortAddress,
        layout: Layout,
    },
    /// A channel; with what the program is handed.
    Direct {
        asker: Asker,
        endpoint: u8,
        to: PortAddress,
        terms: Terms,
        with: Handover,
    },
    /// Whom to lend a pool to.
    PoolGrantee(PoolAsked),
    /// A pool; with what the program is handed.
    Pool { asked: PoolAsked, with: Handover },
    /// A channel that is there already.
    AdoptDirect {
        asker: Asker,
        endpoint: u8,
        to: PortAddress,
    },
}
