//! Whether the provider is what an application asks for.

use std::ffi::{CStr, c_int};

use crate::abi::{DomainAttr, EP_RDM, EpAttr, FabricAttr, Info, RxAttr, TxAttr, flag, mr, version};
use crate::boards::Board;
use crate::edge::{Answer, maybe, text};
use crate::errno::Errno;
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

fn require(holds: bool) -> Answer {
    holds.then_some(()).ok_or(NO)
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
            require(name.is_none_or(is_us))?;
        }
        Ok(read)
    }

    /// What can be said without a look at the boards.
    pub(super) fn check(&self) -> Answer {
        if let Some(ep) = self.ep {
            self.check_ep(ep)?;
        }
        require(self.caps & !limits::CAPS == 0)?;
        // A format of our own.
        require(self.addr_format == 0)?;
        if let Some(fabric) = self.fabric {
            require(fabric.prov_version <= provider::VERSION)?;
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
        require(ep.kind == 0 || ep.kind == EP_RDM)?;
        require(ep.protocol == 0 || ep.protocol == limits::PROTOCOL)?;
        require(ep.protocol_version <= limits::PROTOCOL_VERSION)?;
        require(ep.max_msg_size <= limits::MESSAGE && ep.msg_prefix_size == 0)?;
        require(ep.tx_ctx_cnt <= 1 && ep.rx_ctx_cnt <= 1)?;
        require(ep.auth_key_size == 0)?;
        if self.remote() {
            let most = [
                ep.max_order_raw_size,
                ep.max_order_war_size,
                ep.max_order_waw_size,
            ];
            require(most.into_iter().all(|size| size <= limits::ORDERED))?;
        }
        Ok(())
    }

    fn check_domain(&self, domain: &DomainAttr) -> Answer {
        // Every choice of threading, progress, resource management and address vectors is fine.
        require(domain.cq_data_size <= 8 && domain.mr_key_size <= 8)?;
        if self.version >= MODES {
            require(domain.caps & !limits::WHERE == 0)?;
            require(domain.cntr_cnt <= limits::OBJECTS && domain.mr_cnt <= limits::OBJECTS)?;
            require(domain.mr_iov_limit <= 1 && domain.max_err_data == 0)?;
        }
        require(domain.auth_key_size == 0)?;
        self.mr_mode(domain.mr_mode).map(drop)
    }

    /// The modes of registration that are in force, given those that are offered.
    pub(super) fn mr_mode(&self, offered: c_int) -> Answer<c_int> {
        let alone = offered == mr::BASIC || offered == mr::SCALABLE;
        if self.version < MODES {
            require(offered == 0 || alone)?;
            return Ok(if offered == 0 { mr::SCALABLE } else { offered });
        }
        if alone {
            return Ok(offered);
        }
        require(offered & (mr::BASIC | mr::SCALABLE) == 0)?;
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
    require(tx.caps & !foreign & !limits::TX_CAPS == 0)?;
    require(tx.op_flags & !limits::TX_FLAGS == 0)?;
    require(tx.msg_order & !limits::ORDER == 0 && tx.comp_order == 0)?;
    require(tx.inject_size <= limits::INJECT && tx.size <= limits::MAX_QUEUE)?;
    require(tx.iov_limit <= limits::IOV && tx.rma_iov_limit <= limits::RMA_IOV)
}

fn check_rx(rx: &RxAttr) -> Answer {
    let foreign = limits::TX_CAPS & !limits::RX_CAPS;
    require(rx.caps & !foreign & !limits::RX_CAPS == 0)?;
    require(rx.op_flags & !limits::RX_FLAGS == 0)?;
    require(rx.msg_order & !limits::ORDER == 0 && rx.comp_order == 0)?;
    require(rx.size <= limits::MAX_QUEUE && rx.iov_limit <= limits::IOV)?;
    require(rx.total_buffered_recv == 0)
}
