//! How an endpoint is opened.

use std::sync::Arc;
use std::time::Duration;

use mxoe::addr::EndpointId;

use crate::endpoint::Endpoint;
use crate::path::Wait;
use crate::unexpected::{Unexpected, UnexpectedHandler, Verdict};

/// How an endpoint is opened.
#[derive(Clone, Debug)]
pub struct EndpointOptions {
    pub(crate) id: Option<EndpointId>,
    pub(crate) key: u32,
    pub(crate) wait: Wait,
    pub(crate) direct: bool,
    pub(crate) read_in_place: bool,
    pub(crate) give_up: Option<Duration>,
    pub(crate) ring_bytes: u32,
    pub(crate) lent_bytes: u32,
    pub(crate) unexpected_bytes: Option<u64>,
    pub(crate) taken_over: bool,
    pub(crate) announce_unexpected: bool,
    pub(crate) handler: Option<UnexpectedHandler>,
}

impl Default for EndpointOptions {
    /// Any free number, key 0, adaptive waiting, direct channels, rings of 1 MiB.
    fn default() -> Self {
        Self {
            id: None,
            key: 0,
            wait: Wait::default(),
            direct: true,
            read_in_place: true,
            give_up: None,
            ring_bytes: 1 << 20,
            lent_bytes: 8 << 20,
            unexpected_bytes: None,
            taken_over: true,
            announce_unexpected: false,
            handler: None,
        }
    }
}

impl EndpointOptions {
    /// Asks for this endpoint number instead of any free one.
    #[must_use]
    pub fn id(mut self, id: u8) -> Self {
        self.id = Some(EndpointId::new(id));
        self
    }

    /// The key that others have to give when they connect.
    #[must_use]
    pub fn key(mut self, key: u32) -> Self {
        self.key = key;
        self
    }

    /// How waits poll and sleep.
    #[must_use]
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Whether to open direct channels to guests of this host (default: yes). Without them every
    /// message to others goes through the back end.
    #[must_use]
    pub fn direct(mut self, direct: bool) -> Self {
        self.direct = direct;
        self
    }

    /// Whether co-located partners may read large messages in place, in one copy (default: yes).
    #[must_use]
    pub fn read_in_place(mut self, allowed: bool) -> Self {
        self.read_in_place = allowed;
        self
    }

    /// After how long without any acknowledgement a partner counts as unreachable (default: 60 s).
    #[must_use]
    pub fn give_up(mut self, after: Duration) -> Self {
        self.give_up = Some(after);
        self
    }

    /// Size of each ring to the back end and of each direct channel, in bytes: a power of two, at
    /// least 64 KiB (default: 1 MiB). The back end may give less.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: u32) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// How much memory to lend each partner in another domain that [`Endpoint::alloc_for`] is called for, in bytes (default: 8 MiB). The agent may
    /// give less.
    #[must_use]
    pub fn lent_bytes(mut self, bytes: u32) -> Self {
        self.lent_bytes = bytes;
        self
    }

    /// How many bytes of messages that nobody waits for are kept (default: 64 MiB). Those without room come again later.
    #[must_use]
    pub fn unexpected_bytes(mut self, bytes: u64) -> Self {
        self.unexpected_bytes = Some(bytes);
        self
    }

    /// Whether the fabric's thread works for the endpoint while the program computes (default: yes). Without that nothing arrives and nothing is
    /// resent but in calls of the program, and handlers are called on its own threads only.
    #[must_use]
    pub fn taken_over(mut self, allowed: bool) -> Self {
        self.taken_over = allowed;
        self
    }

    /// Calls `handler` for each message that nobody waited for: see [`Endpoint::set_unexpected_handler`].
    #[must_use]
    pub fn on_unexpected(
        mut self,
        handler: impl Fn(&Endpoint, &Unexpected, Option<&[u8]>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        self.announce_unexpected = true;
        self.handler = Some(UnexpectedHandler(Arc::new(handler)));
        self
    }

    /// Keeps a list of the messages that nobody waited for: see [`Endpoint::next_unexpected`].
    #[must_use]
    pub fn announce_unexpected(mut self, announce: bool) -> Self {
        self.announce_unexpected = announce;
        self
    }
}
