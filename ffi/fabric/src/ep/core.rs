//! What an endpoint is made of, and what it is bound to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use myrixen::{Endpoint, EndpointOptions, Error, FailReason, Unexpected};

use super::multi::Multi;
use crate::abi::flag;
use crate::av::AvCore;
use crate::boards::chain;
use crate::cntr::CntrCore;
use crate::cq::{CqCore, Item};
use crate::domain::DomainCore;
use crate::edge::Answer;
use crate::errno::Errno;
use crate::host::{self, Level};
use crate::info::limits;
use crate::name::Name;
use crate::peers::Peers;
use crate::service::Service;

/// What an endpoint is, without its handle.
pub(crate) struct EpCore {
    pub(crate) endpoint: Endpoint,
    pub(crate) domain: Arc<DomainCore>,
    pub(crate) name: Name,
    /// What the application has asked for.
    pub(crate) caps: u64,
    /// Flags of operations that say none, of sends and of receives.
    tx_flags: AtomicU64,
    rx_flags: AtomicU64,
    pub(crate) peers: Peers,
    pub(crate) av: OnceLock<Arc<AvCore>>,
    /// Where sends and operations on memory complete.
    pub(crate) tx: OnceLock<Binding>,
    /// Where receives complete.
    pub(crate) rx: OnceLock<Binding>,
    cntrs: [OnceLock<Arc<CntrCore>>; Event::ALL.len()],
    pub(crate) enabled: AtomicBool,
    pub(crate) multi: Multi,
    /// Messages that were claimed and not yet received, by the claim's context.
    pub(crate) claimed: Mutex<HashMap<usize, Unexpected>>,
    pub(crate) service: Service,
}

/// A completion queue, as an endpoint is bound to it.
pub(crate) struct Binding {
    pub(crate) cq: Arc<CqCore>,
    /// Only what asks for it is told.
    pub(crate) selective: bool,
}

/// What counters count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Send,
    Receive,
    Read,
    Write,
    RemoteRead,
    RemoteWrite,
}

impl Event {
    pub(crate) const ALL: [(Self, u64); 6] = [
        (Self::Send, flag::SEND),
        (Self::Receive, flag::RECV),
        (Self::Read, flag::READ),
        (Self::Write, flag::WRITE),
        (Self::RemoteRead, flag::REMOTE_READ),
        (Self::RemoteWrite, flag::REMOTE_WRITE),
    ];
}

impl EpCore {
    /// Opens an endpoint of the domain's board.
    pub(crate) fn open(domain: &Arc<DomainCore>, caps: u64, flags: [u64; 2]) -> Answer<Arc<Self>> {
        let mut key = [0; 4];
        rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())
            .map_err(|_| Errno::IO)?;
        let key = u32::from_ne_bytes(key);
        let settings = &domain.settings;
        let mut options = EndpointOptions::default()
            .key(key)
            .direct(settings.direct)
            .read_in_place(settings.read_in_place);
        if let Some(after) = settings.give_up {
            options = options.give_up(after);
        }
        if let Some(bytes) = settings.ring_bytes {
            options = options.ring_bytes(bytes);
        }
        if let Some(bytes) = settings.unexpected_bytes {
            options = options.unexpected_bytes(bytes);
        }
        if let Some(wait) = settings.wait {
            options = options.wait(wait);
        }
        let opened = domain.board.fabric.open(options);
        let endpoint = opened.map_err(|error| not_opened(&error))?;
        let address = endpoint.address();
        let [tx_flags, rx_flags] = flags.map(AtomicU64::new);
        let ep = Arc::new(Self {
            endpoint,
            domain: Arc::clone(domain),
            name: Name { address, key },
            caps,
            tx_flags,
            rx_flags,
            peers: Peers::new(),
            av: OnceLock::new(),
            tx: OnceLock::new(),
            rx: OnceLock::new(),
            cntrs: Default::default(),
            enabled: AtomicBool::new(false),
            multi: Multi::default(),
            claimed: Mutex::default(),
            service: Service::default(),
        });
        domain.add(&ep);
        Ok(ep)
    }

    pub(crate) fn bind_av(self: &Arc<Self>, av: &Arc<AvCore>) -> Answer {
        self.av.set(Arc::clone(av)).map_err(|_| Errno::INVAL)?;
        av.bind(self);
        Ok(())
    }

    /// Completions of one or both sides go to this queue.
    pub(crate) fn bind_cq(self: &Arc<Self>, cq: &Arc<CqCore>, flags: u64) -> Answer {
        let sides = flags & (flag::SEND | flag::RECV);
        if sides == 0 || flags & !(sides | flag::SELECTIVE_COMPLETION) != 0 {
            return Err(Errno::INVAL);
        }
        for (side, held) in [(flag::SEND, &self.tx), (flag::RECV, &self.rx)] {
            if sides & side != 0 {
                let binding = Binding {
                    cq: Arc::clone(cq),
                    selective: flags & flag::SELECTIVE_COMPLETION != 0,
                };
                held.set(binding).map_err(|_| Errno::INVAL)?;
            }
        }
        cq.bind(self);
        Ok(())
    }

    /// A counter counts ends of these operations.
    pub(crate) fn bind_cntr(self: &Arc<Self>, cntr: &Arc<CntrCore>, flags: u64) -> Answer {
        let known = Event::ALL.iter().fold(0, |known, (_, bit)| known | bit);
        if flags & known == 0 || flags & !known != 0 {
            return Err(Errno::INVAL);
        }
        for (event, bit) in Event::ALL {
            if flags & bit != 0 {
                let held = &self.cntrs[event as usize];
                held.set(Arc::clone(cntr)).map_err(|_| Errno::INVAL)?;
            }
        }
        cntr.bind(self);
        Ok(())
    }

    /// From now on it sends and receives.
    pub(crate) fn enable(self: &Arc<Self>) -> Answer {
        if self.av.get().is_none() {
            return Err(Errno::NOAV);
        }
        let needs = |bits| self.caps == 0 || self.caps & bits != 0;
        let counts = |event: Event| self.cntrs[event as usize].get().is_some();
        let sends = needs(flag::SEND | flag::READ | flag::WRITE);
        if sends && self.tx.get().is_none() && !counts(Event::Send) && !counts(Event::Write) {
            return Err(Errno::NOCQ);
        }
        if needs(flag::RECV) && self.rx.get().is_none() && !counts(Event::Receive) {
            return Err(Errno::NOCQ);
        }
        if self.enabled.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.serve();
        let ep: Weak<Self> = Arc::downgrade(self);
        let cqs = [&self.tx, &self.rx].map(|held| held.get().map(|held| &held.cq));
        let slept_on = cqs.into_iter().flatten().any(|cq| cq.signal.is_some());
        let cntrs = self.cntrs.iter().filter_map(OnceLock::get);
        if slept_on || cntrs.into_iter().any(|cntr| cntr.signal.is_some()) {
            self.endpoint.set_bell(Some(Arc::new(move || {
                if let Some(ep) = ep.upgrade() {
                    ep.ring();
                }
            })));
        }
        Ok(())
    }

    /// Wakes whoever sleeps on what this endpoint is bound to.
    fn ring(&self) {
        for binding in [&self.tx, &self.rx].into_iter().filter_map(OnceLock::get) {
            if let Some(signal) = &binding.cq.signal {
                signal.raise();
            }
        }
        for cntr in self.cntrs.iter().filter_map(OnceLock::get) {
            if let Some(signal) = &cntr.signal {
                signal.raise();
            }
        }
    }

    /// Flags of the operations of a side that say none.
    #[inline]
    pub(crate) fn tx_flags(&self) -> u64 {
        self.tx_flags.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn rx_flags(&self) -> u64 {
        self.rx_flags.load(Ordering::Relaxed)
    }

    /// The same, for the side that `side` names.
    pub(crate) fn op_flags(&self, side: u64) -> u64 {
        if side & flag::SEND != 0 {
            self.tx_flags()
        } else {
            self.rx_flags()
        }
    }

    /// Changes them, for the sides that are named among them.
    pub(crate) fn set_op_flags(&self, flags: u64) -> Answer {
        let sides = flags & (flag::SEND | flag::RECV);
        let value = flags & !sides;
        let known = [
            (flag::SEND, limits::TX_FLAGS, &self.tx_flags),
            (flag::RECV, limits::RX_FLAGS, &self.rx_flags),
        ];
        for (side, known, held) in known {
            if sides & side != 0 {
                if value & !known != 0 {
                    return Err(Errno::INVAL);
                }
                held.store(value, Ordering::Relaxed);
            }
        }
        if sides == 0 {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Counts the end of an operation.
    #[inline]
    pub(crate) fn count(&self, event: Event, went_well: bool) {
        if let Some(cntr) = self.cntrs[event as usize].get() {
            cntr.count(went_well);
        }
    }

    /// Whether receives complete in this queue, and nobody counts them.
    #[inline]
    pub(crate) fn receives_at(&self, cq: &CqCore) -> bool {
        let uncounted = self.cntrs[Event::Receive as usize].get().is_none();
        let binding = self.rx.get().filter(|_| uncounted);
        binding.is_some_and(|binding| std::ptr::eq(Arc::as_ptr(&binding.cq), cq))
    }

    /// Takes what has ended to the queues that it belongs to.
    pub(crate) fn pump(&self) {
        self.reap(PUMP, |cq, item| cq.push(item));
    }

    /// The same, until nothing is left.
    pub(crate) fn pump_all(&self) {
        while self.reap(PUMP, |cq, item| cq.push(item)) == PUMP {}
    }

    /// Whether the application is told of more operations of peers than it comes to read of.
    pub(crate) fn is_told_too_much(&self) -> bool {
        self.rx
            .get()
            .is_some_and(|binding| binding.cq.backlog_len() >= MOST_TOLD)
    }

    /// The same, and waits for so long until there is something.
    pub(crate) fn wait(&self, limit: Duration) {
        self.reap_within(PUMP, Some(limit), |cq, item| cq.push(item));
    }

    /// Tells of the end of a send or of an operation on memory.
    pub(crate) fn complete_tx(&self, item: Item) {
        if let Some(binding) = self.tx.get() {
            binding.cq.push(item);
        }
    }

    /// Tells of the end of a receive.
    pub(crate) fn complete_rx(&self, item: Item) {
        if let Some(binding) = self.rx.get() {
            binding.cq.push(item);
        }
    }

    /// Ends everything.
    pub(crate) fn shut(self: &Arc<Self>) {
        self.enabled.store(false, Ordering::SeqCst);
        self.endpoint.set_bell(None);
        self.endpoint.shut();
        self.service.end();
        for binding in [&self.tx, &self.rx].into_iter().filter_map(OnceLock::get) {
            binding.cq.unbind(self);
        }
        for cntr in self.cntrs.iter().filter_map(OnceLock::get) {
            cntr.unbind(self);
        }
        if let Some(av) = self.av.get() {
            av.unbind(self);
        }
    }
}

/// Completions that may wait in a queue before peers may have no more put there: 25 MiB of them.
const MOST_TOLD: usize = 1 << 18;

/// Ends of requests that are taken at a time where nobody says how many.
const PUMP: usize = 64;

/// Why there is no endpoint.
fn not_opened(error: &Error) -> Errno {
    let errno = match error {
        Error::Refused { kind, .. } => match kind {
            FailReason::Limit => Errno::NOMEM,
            FailReason::NotPermitted => Errno::ACCES,
            FailReason::InUse => Errno::BUSY,
            _ => Errno::INVAL,
        },
        Error::Invalid(_) => Errno::INVAL,
        Error::System { .. } => Errno::NOMEM,
        _ => Errno::IO,
    };
    host::log(
        Level::Warn,
        &format!("no endpoint could be opened: {}", chain(error)),
    );
    errno
}
