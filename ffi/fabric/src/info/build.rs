//! Entries of `fi_getinfo`'s answer. libfabric frees them, so all of it comes from the C library.

use std::ffi::{CString, c_char, c_void};

use crate::abi::{
    DOMAIN_ATTR_ROOM, DomainAttr, EP_RDM, EpAttr, FabricAttr, Info, PROGRESS_AUTO, RM_ENABLED,
    RxAttr, THREAD_SAFE, TxAttr, flag,
};
use crate::boards::Board;
use crate::edge::Answer;
use crate::errno::Errno;
use crate::name::Name;

use super::hints::Hints;
use super::limits;

/// Makes an entry, the first of a list whose rest is `next`.
pub(super) fn entry(
    hints: &Hints<'_>,
    board: &Board,
    peer: Option<Name>,
    next: *mut Info,
) -> Answer<*mut Info> {
    let caps = caps(hints.caps);
    let entry = allocate(
        Info {
            next,
            caps,
            mode: 0,
            addr_format: 0,
            src_addrlen: Name::BYTES,
            dest_addrlen: peer.map_or(0, |_| Name::BYTES),
            src_addr: bytes(&Name::anywhere(board.own.nic).to_bytes())?,
            dest_addr: peer.map_or(Ok(std::ptr::null_mut()), |peer| bytes(&peer.to_bytes()))?,
            handle: std::ptr::null_mut(),
            tx_attr: allocate(tx(hints, caps), size_of::<TxAttr>())?,
            rx_attr: allocate(rx(hints, caps), size_of::<RxAttr>())?,
            ep_attr: allocate(ep(hints), size_of::<EpAttr>())?,
            domain_attr: allocate(domain(hints, board)?, DOMAIN_ATTR_ROOM)?,
            fabric_attr: allocate(fabric(board)?, size_of::<FabricAttr>())?,
            nic: std::ptr::null_mut(),
        },
        size_of::<Info>(),
    )?;
    Ok(entry)
}

/// What is granted where this is asked for; 0 asks for everything.
pub(super) fn caps(wanted: u64) -> u64 {
    if wanted == 0 {
        return limits::CAPS;
    }
    let mut caps = wanted & limits::PRIMARY | limits::SECONDARY;
    if caps & (flag::MSG | flag::TAGGED) != 0 && caps & limits::SENDS == 0 {
        caps |= limits::SENDS;
    }
    if caps & (flag::RMA | flag::ATOMIC) != 0 && caps & limits::REMOTE == 0 {
        caps |= limits::REMOTE;
    }
    caps
}

/// A wish, or what is so where there is none.
fn or<T: Default + PartialEq>(wish: Option<T>, own: T) -> T {
    wish.filter(|wish| *wish != T::default()).unwrap_or(own)
}

fn tx(hints: &Hints<'_>, caps: u64) -> TxAttr {
    let wish = hints.tx;
    TxAttr {
        caps: caps & limits::TX_CAPS,
        mode: 0,
        op_flags: wish.map_or(0, |tx| tx.op_flags),
        msg_order: or(wish.map(|tx| tx.msg_order), limits::ORDER),
        comp_order: 0,
        inject_size: or(wish.map(|tx| tx.inject_size), limits::INJECT),
        size: or(wish.map(|tx| tx.size), limits::QUEUE),
        iov_limit: or(wish.map(|tx| tx.iov_limit), limits::IOV),
        rma_iov_limit: limits::RMA_IOV,
        tclass: 0,
    }
}

fn rx(hints: &Hints<'_>, caps: u64) -> RxAttr {
    let wish = hints.rx;
    RxAttr {
        caps: caps & limits::RX_CAPS,
        mode: 0,
        op_flags: wish.map_or(0, |rx| rx.op_flags),
        msg_order: or(wish.map(|rx| rx.msg_order), limits::ORDER),
        comp_order: 0,
        total_buffered_recv: 0,
        size: or(wish.map(|rx| rx.size), limits::QUEUE),
        iov_limit: or(wish.map(|rx| rx.iov_limit), limits::IOV),
    }
}

fn ep(_hints: &Hints<'_>) -> EpAttr {
    EpAttr {
        kind: EP_RDM,
        protocol: limits::PROTOCOL,
        protocol_version: limits::PROTOCOL_VERSION,
        max_msg_size: limits::MESSAGE,
        msg_prefix_size: 0,
        max_order_raw_size: limits::ORDERED,
        max_order_war_size: limits::ORDERED,
        max_order_waw_size: limits::ORDERED,
        mem_tag_format: limits::TAG_FORMAT,
        tx_ctx_cnt: 1,
        rx_ctx_cnt: 1,
        auth_key_size: 0,
        auth_key: std::ptr::null_mut(),
    }
}

fn domain(hints: &Hints<'_>, board: &Board) -> Answer<DomainAttr> {
    let wish = hints.domain;
    Ok(DomainAttr {
        domain: std::ptr::null_mut(),
        name: text(&board.own.name)?,
        threading: or(wish.map(|domain| domain.threading), THREAD_SAFE),
        control_progress: or(wish.map(|domain| domain.control_progress), PROGRESS_AUTO),
        data_progress: or(wish.map(|domain| domain.data_progress), PROGRESS_AUTO),
        resource_mgmt: or(wish.map(|domain| domain.resource_mgmt), RM_ENABLED),
        // 0: both.
        av_type: wish.map_or(0, |domain| domain.av_type),
        mr_mode: hints.mr_mode(wish.map_or(0, |domain| domain.mr_mode))?,
        mr_key_size: 8,
        cq_data_size: 8,
        cq_cnt: limits::OBJECTS,
        ep_cnt: board.own.max_endpoints as usize,
        tx_ctx_cnt: board.own.max_endpoints as usize,
        rx_ctx_cnt: board.own.max_endpoints as usize,
        max_ep_tx_ctx: 1,
        max_ep_rx_ctx: 1,
        max_ep_stx_ctx: 0,
        max_ep_srx_ctx: 0,
        cntr_cnt: limits::OBJECTS,
        mr_iov_limit: 1,
        caps: limits::WHERE,
        mode: 0,
        auth_key: std::ptr::null_mut(),
        auth_key_size: 0,
        max_err_data: 0,
        mr_cnt: limits::OBJECTS,
        tclass: 0,
    })
}

fn fabric(board: &Board) -> Answer<FabricAttr> {
    Ok(FabricAttr {
        fabric: std::ptr::null_mut(),
        name: text(&board.own.partition)?,
        // libfabric's to fill in.
        prov_name: std::ptr::null_mut(),
        prov_version: 0,
        api_version: 0,
    })
}

/// Puts a value into memory of the C library, with `room` bytes in all; the rest is 0.
fn allocate<T>(value: T, room: usize) -> Answer<*mut T> {
    debug_assert!(room >= size_of::<T>() && align_of::<T>() <= align_of::<u128>());
    // SAFETY: it only allocates.
    let at = unsafe { libc::calloc(1, room) }.cast::<T>();
    if at.is_null() {
        return Err(Errno::NOMEM);
    }
    // SAFETY: there is room for a `T`, aligned for anything.
    unsafe { at.write(value) };
    Ok(at)
}

fn bytes<const N: usize>(value: &[u8; N]) -> Answer<*mut c_void> {
    allocate(*value, N).map(<*mut [u8; N]>::cast)
}

fn text(value: &str) -> Answer<*mut c_char> {
    let value = CString::new(value).map_err(|_| Errno::OTHER)?;
    // SAFETY: it copies a text that ends with a 0.
    let copy = unsafe { libc::strdup(value.as_ptr()) };
    if copy.is_null() {
        return Err(Errno::NOMEM);
    }
    Ok(copy)
}
