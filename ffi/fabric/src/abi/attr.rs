//! What applications ask for and are told: `fi_info` and its parts, attributes of objects, entries of queues.

use std::ffi::{c_char, c_int, c_void};

use super::objects::Fid;

/// `struct fi_info`.
#[repr(C)]
pub(crate) struct Info {
    pub(crate) next: *mut Info,
    pub(crate) caps: u64,
    pub(crate) mode: u64,
    pub(crate) addr_format: u32,
    pub(crate) src_addrlen: usize,
    pub(crate) dest_addrlen: usize,
    pub(crate) src_addr: *mut c_void,
    pub(crate) dest_addr: *mut c_void,
    pub(crate) handle: *mut Fid,
    pub(crate) tx_attr: *mut TxAttr,
    pub(crate) rx_attr: *mut RxAttr,
    pub(crate) ep_attr: *mut EpAttr,
    pub(crate) domain_attr: *mut DomainAttr,
    pub(crate) fabric_attr: *mut FabricAttr,
    pub(crate) nic: *mut Nic,
}
const _: () = assert!(size_of::<Info>() == 120);

/// `struct fi_tx_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct TxAttr {
    pub(crate) caps: u64,
    pub(crate) mode: u64,
    pub(crate) op_flags: u64,
    pub(crate) msg_order: u64,
    pub(crate) comp_order: u64,
    pub(crate) inject_size: usize,
    pub(crate) size: usize,
    pub(crate) iov_limit: usize,
    pub(crate) rma_iov_limit: usize,
    pub(crate) tclass: u32,
}
const _: () = assert!(size_of::<TxAttr>() == 80);

/// `struct fi_rx_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RxAttr {
    pub(crate) caps: u64,
    pub(crate) mode: u64,
    pub(crate) op_flags: u64,
    pub(crate) msg_order: u64,
    pub(crate) comp_order: u64,
    pub(crate) total_buffered_recv: usize,
    pub(crate) size: usize,
    pub(crate) iov_limit: usize,
}
const _: () = assert!(size_of::<RxAttr>() == 64);

/// `struct fi_ep_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct EpAttr {
    pub(crate) kind: c_int,
    pub(crate) protocol: u32,
    pub(crate) protocol_version: u32,
    pub(crate) max_msg_size: usize,
    pub(crate) msg_prefix_size: usize,
    pub(crate) max_order_raw_size: usize,
    pub(crate) max_order_war_size: usize,
    pub(crate) max_order_waw_size: usize,
    pub(crate) mem_tag_format: u64,
    pub(crate) tx_ctx_cnt: usize,
    pub(crate) rx_ctx_cnt: usize,
    pub(crate) auth_key_size: usize,
    pub(crate) auth_key: *mut u8,
}
const _: () = assert!(size_of::<EpAttr>() == 96);

/// `struct fi_domain_attr` of 1.17.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct DomainAttr {
    pub(crate) domain: *mut c_void,
    pub(crate) name: *mut c_char,
    pub(crate) threading: c_int,
    pub(crate) control_progress: c_int,
    pub(crate) data_progress: c_int,
    pub(crate) resource_mgmt: c_int,
    pub(crate) av_type: c_int,
    pub(crate) mr_mode: c_int,
    pub(crate) mr_key_size: usize,
    pub(crate) cq_data_size: usize,
    pub(crate) cq_cnt: usize,
    pub(crate) ep_cnt: usize,
    pub(crate) tx_ctx_cnt: usize,
    pub(crate) rx_ctx_cnt: usize,
    pub(crate) max_ep_tx_ctx: usize,
    pub(crate) max_ep_rx_ctx: usize,
    pub(crate) max_ep_stx_ctx: usize,
    pub(crate) max_ep_srx_ctx: usize,
    pub(crate) cntr_cnt: usize,
    pub(crate) mr_iov_limit: usize,
    pub(crate) caps: u64,
    pub(crate) mode: u64,
    pub(crate) auth_key: *mut u8,
    pub(crate) auth_key_size: usize,
    pub(crate) max_err_data: usize,
    pub(crate) mr_cnt: usize,
    pub(crate) tclass: u32,
}
const _: () = assert!(size_of::<DomainAttr>() == 192);
const _: () = assert!(std::mem::offset_of!(DomainAttr, caps) == 136);

/// What later releases have added behind [`DomainAttr`], and some more, in bytes: whoever allocates one gives so much room for it.
pub(crate) const DOMAIN_ATTR_ROOM: usize = 256;

/// `struct fi_fabric_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct FabricAttr {
    pub(crate) fabric: *mut c_void,
    pub(crate) name: *mut c_char,
    pub(crate) prov_name: *mut c_char,
    pub(crate) prov_version: u32,
    pub(crate) api_version: u32,
}
const _: () = assert!(size_of::<FabricAttr>() == 32);

/// `struct fi_av_attr`.
#[repr(C)]
pub(crate) struct AvAttr {
    pub(crate) kind: c_int,
    pub(crate) rx_ctx_bits: c_int,
    pub(crate) count: usize,
    pub(crate) ep_per_node: usize,
    pub(crate) name: *const c_char,
    pub(crate) map_addr: *mut c_void,
    pub(crate) flags: u64,
}
const _: () = assert!(size_of::<AvAttr>() == 48);

/// `struct fi_cq_attr`.
#[repr(C)]
pub(crate) struct CqAttr {
    pub(crate) size: usize,
    pub(crate) flags: u64,
    pub(crate) format: c_int,
    pub(crate) wait_obj: c_int,
    pub(crate) signaling_vector: c_int,
    pub(crate) wait_cond: c_int,
    pub(crate) wait_set: *mut c_void,
}
const _: () = assert!(size_of::<CqAttr>() == 40);

/// `struct fi_eq_attr`.
#[repr(C)]
pub(crate) struct EqAttr {
    pub(crate) size: usize,
    pub(crate) flags: u64,
    pub(crate) wait_obj: c_int,
    pub(crate) signaling_vector: c_int,
    pub(crate) wait_set: *mut c_void,
}
const _: () = assert!(size_of::<EqAttr>() == 32);

/// `struct fi_cntr_attr`.
#[repr(C)]
pub(crate) struct CntrAttr {
    pub(crate) events: c_int,
    pub(crate) wait_obj: c_int,
    pub(crate) wait_set: *mut c_void,
    pub(crate) flags: u64,
}
const _: () = assert!(size_of::<CntrAttr>() == 24);

/// `struct fi_mr_attr` of 1.17. Memory of devices is refused, so what later releases add is not read.
#[repr(C)]
pub(crate) struct MrAttr {
    pub(crate) iov: *const libc::iovec,
    pub(crate) iov_count: usize,
    pub(crate) access: u64,
    pub(crate) offset: u64,
    pub(crate) requested_key: u64,
    pub(crate) context: *mut c_void,
    pub(crate) auth_key_size: usize,
    pub(crate) auth_key: *mut u8,
    pub(crate) iface: c_int,
    pub(crate) device: u64,
}
const _: () = assert!(size_of::<MrAttr>() == 80);

/// `struct fi_cq_tagged_entry`; the shorter formats are its beginnings.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct CqEntry {
    pub(crate) op_context: *mut c_void,
    pub(crate) flags: u64,
    pub(crate) len: usize,
    pub(crate) buf: *mut c_void,
    pub(crate) data: u64,
    pub(crate) tag: u64,
}
const _: () = assert!(size_of::<CqEntry>() == 48);

/// `struct fi_cq_err_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct CqErrEntry {
    pub(crate) entry: CqEntry,
    pub(crate) olen: usize,
    pub(crate) err: c_int,
    pub(crate) prov_errno: c_int,
    pub(crate) err_data: *mut c_void,
    pub(crate) err_data_size: usize,
}
const _: () = assert!(size_of::<CqErrEntry>() == 80);

/// `struct fi_eq_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct EqEntry {
    pub(crate) fid: *mut Fid,
    pub(crate) context: *mut c_void,
    pub(crate) data: u64,
}
const _: () = assert!(size_of::<EqEntry>() == 24);

/// `struct fi_eq_err_entry`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct EqErrEntry {
    pub(crate) entry: EqEntry,
    pub(crate) err: c_int,
    pub(crate) prov_errno: c_int,
    pub(crate) err_data: *mut c_void,
    pub(crate) err_data_size: usize,
}
const _: () = assert!(size_of::<EqErrEntry>() == 48);

/// `struct fi_msg`.
#[repr(C)]
pub(crate) struct Msg {
    pub(crate) iov: *const libc::iovec,
    pub(crate) desc: *mut *mut c_void,
    pub(crate) iov_count: usize,
    pub(crate) addr: u64,
    pub(crate) context: *mut c_void,
    pub(crate) data: u64,
}
const _: () = assert!(size_of::<Msg>() == 48);

/// `struct fi_msg_tagged`.
#[repr(C)]
pub(crate) struct MsgTagged {
    pub(crate) iov: *const libc::iovec,
    pub(crate) desc: *mut *mut c_void,
    pub(crate) iov_count: usize,
    pub(crate) addr: u64,
    pub(crate) tag: u64,
    pub(crate) ignore: u64,
    pub(crate) context: *mut c_void,
    pub(crate) data: u64,
}
const _: () = assert!(size_of::<MsgTagged>() == 64);

/// `struct fi_rma_iov`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RmaIov {
    pub(crate) addr: u64,
    pub(crate) len: usize,
    pub(crate) key: u64,
}
const _: () = assert!(size_of::<RmaIov>() == 24);

/// `struct fi_rma_ioc`: as [`RmaIov`], counted in elements.
pub(crate) type RmaIoc = RmaIov;

/// `struct fi_ioc`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ioc {
    pub(crate) addr: *mut c_void,
    pub(crate) count: usize,
}
const _: () = assert!(size_of::<Ioc>() == 16);

/// `struct fi_msg_rma`.
#[repr(C)]
pub(crate) struct MsgRma {
    pub(crate) iov: *const libc::iovec,
    pub(crate) desc: *mut *mut c_void,
    pub(crate) iov_count: usize,
    pub(crate) addr: u64,
    pub(crate) rma_iov: *const RmaIov,
    pub(crate) rma_iov_count: usize,
    pub(crate) context: *mut c_void,
    pub(crate) data: u64,
}
const _: () = assert!(size_of::<MsgRma>() == 64);

/// `struct fi_msg_atomic`.
#[repr(C)]
pub(crate) struct MsgAtomic {
    pub(crate) iov: *const Ioc,
    pub(crate) desc: *mut *mut c_void,
    pub(crate) iov_count: usize,
    pub(crate) addr: u64,
    pub(crate) rma_iov: *const RmaIoc,
    pub(crate) rma_iov_count: usize,
    pub(crate) datatype: c_int,
    pub(crate) op: c_int,
    pub(crate) context: *mut c_void,
    pub(crate) data: u64,
}
const _: () = assert!(size_of::<MsgAtomic>() == 72);

/// `struct fi_atomic_attr`.
#[repr(C)]
pub(crate) struct AtomicAttr {
    pub(crate) count: usize,
    pub(crate) size: usize,
}
const _: () = assert!(size_of::<AtomicAttr>() == 16);

/// `struct fid_nic`: ours is never made; an application's is never read.
#[repr(C)]
pub(crate) struct Nic {
    _private: [u8; 0],
}
