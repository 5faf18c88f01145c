//! Whether the provider is what an application asks for.

use std::ffi::{CStr, c_int};

use crate::abi::{DomainAttr, EP_RDM, EpAttr, FabricAttr, Info, RxAttr, TxAttr, flag, mr, version};
use crate::boards::Board;
use crate::edge::{Answer, maybe, text};
use crate::errno::Errno;
use crate::host::{self, Level};
use crate::provider;

use super::limits;

/// The application's wishes.
pub(super) struct Hints<'a> {
    /// The version of the interface that it was written for.
    pub(super) version: u32,
    pub(super) caps: u64,
    addr_format: u32,
    pub(super) tx: Option<&'a TxAttr>,
    pub(super) rx: Option<&'a RxAttr>,
    pub(super) ep: Option<&'a EpAttr>,
    pub(super) domain: Option<&'a DomainAttr>,
    fabric: Option<&'a FabricAttr>,
    fabric_name: Option<&'a CStr>,
    domain_name: Option<&'a CStr>,
}

/// `mr_mode` was a choice of two before this version, and capabilities and counts of a domain came with it.
const MODES: u32 = version(1, 5);

/// The request is not for us.
const NO: Errno = Errno::NODATA;

/// Tells in the log what does not fit, so that whoever is not given the provider can see why.
fn require(holds: bool, what: &str) -> Answer {
    if !holds {
        host::log(Level::Info, &format!("not what is asked for: {what}"));
        return Err(NO);
    }
    Ok(())
}

impl<'a> Hints<'a> {
    /// # Safety
    /// What the hints point to is null or whole, and stays for `'a`.
    pub(super) unsafe fn read(version: u32, hints: Option<&'a Info>) -> Answer<Self> {
        let Some(hints) = hints else {
            return Ok(Self {
                version,
                caps: 0,
                addr_format: 0,
                tx: None,
                rx: None,
                ep: None,
                domain: None,
                fabric: None,
                fabric_name: None,
                domain_name: None,
            });
        };
        // SAFETY: the caller's promise.
        let fabric = unsafe { maybe(hints.fabric_attr) };
        // SAFETY: the caller's promise.
        let domain = unsafe { maybe(hints.domain_attr) };
        let read = Self {
            version,
            caps: hints.caps,
            addr_format: hints.addr_format,
            // SAFETY: the caller's promise.
            tx: unsafe { maybe(hints.tx_attr) },
            // SAFETY: the caller's promise.
            rx: unsafe { maybe(hints.rx_attr) },
            // SAFETY: the caller's promise.
            ep: unsafe { maybe(hints.ep_attr) },
            domain,
            fabric,
            // SAFETY: the caller's promise.
            fabric_name: fabric.and_then(|fabric| unsafe { text(fabric.name) }),
            // SAFETY: the caller's promise.
            domain_name: domain.and_then(|domain| unsafe { text(domain.name) }),
        };
        if let Some(fabric) = fabric {
            // SAFETY: the caller's promise.
            let name = unsafe { text(fabric.prov_name) };
            require(name.is_none_or(is_us), "the provider's name")?;
        }
        Ok(read)
    }

    /// What can be said without a look at the boards.
    pub(super) fn check(&self) -> Answer {
        if let Some(ep) = self.ep {
            self.check_ep(ep)?;
        }
        let beyond = self.caps & !limits::CAPS;
        require(beyond == 0, &format!("capabilities {beyond:#x}"))?;
        // A format of our own.
        require(self.addr_format == 0, "the format of addresses")?;
        if let Some(fabric) = self.fabric {
            require(
                fabric.prov_version <= provider::VERSION,
                "the provider's version",
            )?;
        }
        if let Some(domain) = self.domain {
            self.check_domain(domain)?;
        }
        self.tx.map_or(Ok(()), check_tx)?;
        self.rx.map_or(Ok(()), check_rx)
    }

    /// Whether a board is the one that is asked for by name.
    pub(super) fn fits(&self, board: &Board) -> bool {
        let is =
            |name: Option<&CStr>, own: &str| name.is_none_or(|n| n.to_bytes() == own.as_bytes());
        is(self.fabric_name, &board.own.partition) && is(self.domain_name, &board.own.name)
    }

    /// Operations on memory are asked for.
    pub(super) fn remote(&self) -> bool {
        self.caps == 0 || self.caps & (flag::RMA | flag::ATOMIC) != 0
    }

    fn check_ep(&self, ep: &EpAttr) -> Answer {
        // Also so that no other provider puts itself on top: docs/libfabric.md.
        require(ep.kind == 0 || ep.kind == EP_RDM, "the endpoint's type")?;
        require(
            ep.protocol == 0 || ep.protocol == limits::PROTOCOL,
            "the protocol",
        )?;
        require(
            ep.protocol_version <= limits::PROTOCOL_VERSION,
            "its version",
        )?;
        let fits = ep.max_msg_size <= limits::MESSAGE && ep.msg_prefix_size == 0;
        require(fits, "sizes of messages")?;
        require(ep.tx_ctx_cnt <= 1 && ep.rx_ctx_cnt <= 1, "several contexts")?;
        require(ep.auth_key_size == 0, "a key")?;
        if self.remote() {
            let most = [
                ep.max_order_raw_size,
                ep.max_order_war_size,
                ep.max_order_waw_size,
            ];
            let fits = most.into_iter().all(|size| size <= limits::ORDERED);
            require(fits, "sizes that are kept in order")?;
        }
        Ok(())
    }

    fn check_domain(&self, domain: &DomainAttr) -> Answer {
        // Every choice of threading, progress, resource management and address vectors is fine.
        let fits = domain.cq_data_size <= 8 && domain.mr_key_size <= 8;
        require(fits, "sizes of data or keys")?;
        if self.version >= MODES {
            require(
                domain.caps & !limits::WHERE == 0,
                "the domain's capabilities",
            )?;
            let fits = domain.cntr_cnt <= limits::OBJECTS && domain.mr_cnt <= limits::OBJECTS;
            require(fits, "numbers of objects")?;
            let fits = domain.mr_iov_limit <= 1 && domain.max_err_data == 0;
            require(fits, "pieces of registered memory, or data of errors")?;
        }
        require(domain.auth_key_size == 0, "a key")?;
        self.mr_mode(domain.mr_mode).map(drop)
    }

    /// The modes of registration that are in force, given those that are offered.
    pub(super) fn mr_mode(&self, offered: c_int) -> Answer<c_int> {
        let alone = offered == mr::BASIC || offered == mr::SCALABLE;
        if self.version < MODES {
            require(offered == 0 || alone, "the mode of registration")?;
            return Ok(if offered == 0 { mr::SCALABLE } else { offered });
        }
        if alone {
            return Ok(offered);
        }
        let mixed = offered & (mr::BASIC | mr::SCALABLE) != 0;
        require(!mixed, "the mode of registration")?;
        Ok(offered & limits::MR_MODES)
    }
}

fn is_us(name: &CStr) -> bool {
    name.to_bytes().is_empty()
        || name
            .to_bytes()
            .eq_ignore_ascii_case(provider::NAME.to_bytes())
}

fn check_tx(tx: &TxAttr) -> Answer {
    let foreign = limits::RX_CAPS & !limits::TX_CAPS;
    require(
        tx.caps & !foreign & !limits::TX_CAPS == 0,
        "capabilities of sends",
    )?;
    require(tx.op_flags & !limits::TX_FLAGS == 0, "flags of sends")?;
    let ordered = tx.msg_order & !limits::ORDER == 0 && tx.comp_order == 0;
    require(ordered, "the order of sends")?;
    let fits = tx.inject_size <= limits::INJECT && tx.size <= limits::MAX_QUEUE;
    require(fits, "sizes of sends")?;
    let fits = tx.iov_limit <= limits::IOV && tx.rma_iov_limit <= limits::RMA_IOV;
    require(fits, "pieces of a send")
}

fn check_rx(rx: &RxAttr) -> Answer {
    let foreign = limits::TX_CAPS & !limits::RX_CAPS;
    require(
        rx.caps & !foreign & !limits::RX_CAPS == 0,
        "capabilities of receives",
    )?;
    require(rx.op_flags & !limits::RX_FLAGS == 0, "flags of receives")?;
    let ordered = rx.msg_order & !limits::ORDER == 0 && rx.comp_order == 0;
    require(ordered, "the order of receives")?;
    let fits = rx.size <= limits::MAX_QUEUE && rx.iov_limit <= limits::IOV;
    require(fits, "sizes of receives")?;
    require(rx.total_buffered_recv == 0, "buffered receives")
}
