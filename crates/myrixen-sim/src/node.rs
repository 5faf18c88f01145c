//! One node: an engine, its driver's memory, and what its program has asked for.

use std::collections::{BTreeMap, VecDeque};

use mxoe::engine::{Config, Endpoint, OfferId, PartnerId, PathId, Receive, RegionId, RequestId};
use mxoe::time::Time;

use crate::memory::Memory;
use crate::oracle::Life;
use crate::scenario::{MessageId, PostId, Scenario};

/// One life of a node's program.
#[derive(Debug)]
pub(crate) struct Node {
    /// Which node, and which of its lives.
    pub(crate) life: Life,
    /// The engine.
    pub(crate) endpoint: Endpoint,
    /// What its driver keeps.
    pub(crate) memory: Memory,
    /// What the program knows of each other node.
    pub(crate) contacts: Vec<Contact>,
    /// By token.
    pub(crate) requests: BTreeMap<u64, Request>,
    /// By the number of the offer.
    pub(crate) offers: BTreeMap<u32, Offer>,
    /// The number of the next offer.
    pub(crate) next_offer: u32,
    /// The switched path is there.
    pub(crate) switched: bool,
    /// When each path has taken what was given to it, by path number.
    pub(crate) paths_free: Vec<Time>,
    /// For which time the program is scheduled to call the engine.
    pub(crate) due: Option<Time>,
    /// For which time the engine's timer is scheduled.
    pub(crate) timer: Option<Time>,
    /// A receive that the program waits in, and that is posted only if the next frame does not complete it.
    pub(crate) standby: Option<Standby>,
    /// It takes in what no planned receive has taken.
    pub(crate) draining: bool,
    /// It has closed its endpoint and asks for nothing more.
    pub(crate) closed: bool,
}

/// What a program knows of another node.
#[derive(Debug, Default)]
pub(crate) struct Contact {
    /// The engine's name for it, from the first time on.
    pub(crate) partner: Option<PartnerId>,
    /// How far the connection is.
    pub(crate) state: ContactState,
    /// Sends that wait for the connection.
    pub(crate) waiting: VecDeque<MessageId>,
    /// Connects that failed in a row.
    pub(crate) failures: u32,
}

/// How far a connection is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContactState {
    /// Nothing is under way.
    #[default]
    None,
    /// A connect is under way, or will be tried again.
    Asking,
    /// Connected.
    Known,
}

/// A receive that is not posted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standby {
    pub(crate) post: PostId,
    pub(crate) receive: Receive,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// The engine's name for it; `None` for a message that went at once, and while a receive is not posted.
    pub(crate) id: Option<RequestId>,
    /// What was asked.
    pub(crate) what: Asked,
}

/// What was asked of an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Asked {
    Send {
        message: MessageId,
        region: RegionId,
    },
    Receive {
        post: PostId,
        region: RegionId,
    },
    Connect {
        to: usize,
    },
    WrongKey {
        to: usize,
    },
}

/// Where offered data can be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// Whose memory.
    pub(crate) owner: Life,
    /// Over which channel it came.
    pub(crate) channel: usize,
    pub(crate) region: RegionId,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Node {
    /// A node is born, without paths.
    pub(crate) fn new(scenario: &Scenario, life: Life) -> Self {
        let plan = &scenario.nodes[life.node];
        let seed = crate::rng::Rng::new(
            scenario.seed ^ (life.node as u64) << 32 ^ u64::from(life.number) << 48,
        )
        .next_u64();
        let mut config = Config::new(plan.address, plan.key, seed);
        config.limits = scenario.limits.clone();
        config.timers = scenario.timers.clone();
        config.numbering = scenario.numbering;
        config.eager_max = scenario.eager_max;
        // While a program lags, entries that its engine has freed are still in its store.
        let most = if plan.lag.is_zero() {
            config.limits.unexpected_bytes
        } else {
            u64::MAX
        };
        let mut contacts = Vec::new();
        contacts.resize_with(scenario.nodes.len(), Contact::default);
        Self {
            life,
            endpoint: Endpoint::new(config),
            memory: Memory::new(life.node, most),
            contacts,
            requests: BTreeMap::new(),
            offers: BTreeMap::new(),
            next_offer: 0,
            switched: false,
            paths_free: vec![Time::ZERO; scenario.channels.len() + 1],
            due: None,
            timer: None,
            standby: None,
            draining: false,
            closed: false,
        }
    }

    /// Which node a partner is.
    pub(crate) fn who(&self, partner: PartnerId) -> Option<usize> {
        self.contacts
            .iter()
            .position(|contact| contact.partner == Some(partner))
    }

    /// Keeps where an offer can be read.
    pub(crate) fn keep_offer(&mut self, offer: Offer) -> OfferId {
        let number = self.next_offer;
        self.next_offer = self.next_offer.wrapping_add(1);
        self.offers.insert(number, offer);
        OfferId(number)
    }
}

/// The path of a direct channel; the switched one is 0.
pub(crate) fn channel_path(channel: usize) -> PathId {
    PathId::new(u16::try_from(channel + 1).unwrap_or(u16::MAX))
}

/// Tokens: what kind of thing, and its number.
pub(crate) mod token {
    use super::{MessageId, PostId};

    /// Of a send.
    pub(crate) fn send(message: MessageId) -> u64 {
        1 << 56 | u64::from(message.0)
    }

    /// Of a receive.
    pub(crate) fn receive(post: PostId) -> u64 {
        2 << 56 | u64::from(post.0)
    }

    /// Of a connect to a node, the `attempt`th.
    pub(crate) fn connect(attempt: u64) -> u64 {
        3 << 56 | attempt
    }
}
