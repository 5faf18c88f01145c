//! The numbers of libfabric's headers that are used here.

use std::ffi::c_int;

/// Bits of capabilities, operations and completions.
pub(crate) mod flag {
    pub(crate) const MSG: u64 = 1 << 1;
    pub(crate) const RMA: u64 = 1 << 2;
    pub(crate) const TAGGED: u64 = 1 << 3;
    pub(crate) const ATOMIC: u64 = 1 << 4;
    pub(crate) const READ: u64 = 1 << 8;
    pub(crate) const WRITE: u64 = 1 << 9;
    pub(crate) const RECV: u64 = 1 << 10;
    pub(crate) const SEND: u64 = 1 << 11;
    pub(crate) const REMOTE_READ: u64 = 1 << 12;
    pub(crate) const REMOTE_WRITE: u64 = 1 << 13;
    pub(crate) const MULTI_RECV: u64 = 1 << 16;
    pub(crate) const REMOTE_CQ_DATA: u64 = 1 << 17;
    pub(crate) const PEEK: u64 = 1 << 19;
    pub(crate) const COMPLETION: u64 = 1 << 24;
    pub(crate) const INJECT: u64 = 1 << 25;
    pub(crate) const INJECT_COMPLETE: u64 = 1 << 26;
    pub(crate) const TRANSMIT_COMPLETE: u64 = 1 << 27;
    pub(crate) const DELIVERY_COMPLETE: u64 = 1 << 28;
    pub(crate) const MATCH_COMPLETE: u64 = 1 << 31;
    pub(crate) const LOCAL_COMM: u64 = 1 << 51;
    pub(crate) const REMOTE_COMM: u64 = 1 << 52;
    /// In `fi_getinfo`: node and service are the local side. As a capability: completions tell the source.
    pub(crate) const SOURCE: u64 = 1 << 57;
    pub(crate) const DIRECTED_RECV: u64 = 1 << 59;
    /// Of a receive: the message that was claimed before.
    pub(crate) const CLAIM: u64 = 1 << 59;
    /// Of a receive: the message is not wanted.
    pub(crate) const DISCARD: u64 = 1 << 58;
    /// When a queue is bound: only operations that ask for it complete there.
    pub(crate) const SELECTIVE_COMPLETION: u64 = 1 << 59;
    pub(crate) const FETCH_ATOMIC: u64 = 1 << 58;
    pub(crate) const COMPARE_ATOMIC: u64 = 1 << 59;
}

/// Bits of orders.
pub(crate) mod order {
    pub(crate) const STRICT: u64 = 0x1ff;
    pub(crate) const RMA: u64 = 0xf << 32;
    pub(crate) const ATOMIC: u64 = 0xf << 36;
}

/// Numbers of classes of objects.
pub(crate) mod class {
    pub(crate) const FABRIC: usize = 1;
    pub(crate) const DOMAIN: usize = 2;
    pub(crate) const EP: usize = 3;
    pub(crate) const AV: usize = 11;
    pub(crate) const MR: usize = 12;
    pub(crate) const EQ: usize = 13;
    pub(crate) const CQ: usize = 14;
    pub(crate) const CNTR: usize = 15;
    pub(crate) const POLL: usize = 17;
}

/// Commands of `fi_control`.
pub(crate) mod control {
    use super::c_int;
    pub(crate) const GETOPSFLAG: c_int = 2;
    pub(crate) const SETOPSFLAG: c_int = 3;
    pub(crate) const GETWAIT: c_int = 5;
    pub(crate) const ENABLE: c_int = 6;
    pub(crate) const GETWAITOBJ: c_int = 16;
}

/// Kinds of objects to wait on.
pub(crate) mod wait {
    use super::c_int;
    pub(crate) const NONE: c_int = 0;
    pub(crate) const UNSPEC: c_int = 1;
    pub(crate) const FD: c_int = 3;
    pub(crate) const YIELD: c_int = 5;
}

/// Bits of modes of memory registration.
pub(crate) mod mr {
    use super::c_int;
    pub(crate) const BASIC: c_int = 1;
    pub(crate) const SCALABLE: c_int = 2;
    pub(crate) const VIRT_ADDR: c_int = 1 << 4;
    pub(crate) const PROV_KEY: c_int = 1 << 6;
    pub(crate) const ALLOCATED: c_int = 1 << 5;
}

/// `FI_EP_RDM`.
pub(crate) const EP_RDM: c_int = 3;
/// `FI_THREAD_SAFE`.
pub(crate) const THREAD_SAFE: c_int = 1;
/// `FI_PROGRESS_AUTO`.
pub(crate) const PROGRESS_AUTO: c_int = 1;
/// `FI_RM_ENABLED`.
pub(crate) const RM_ENABLED: c_int = 2;
/// `FI_AV_MAP` and `FI_AV_TABLE`.
pub(crate) const AV_MAP: c_int = 1;
pub(crate) const AV_TABLE: c_int = 2;
/// `FI_ADDR_UNSPEC` and `FI_ADDR_NOTAVAIL`.
pub(crate) const ADDR_UNSPEC: u64 = u64::MAX;
/// `FI_OPT_ENDPOINT` and `FI_OPT_MIN_MULTI_RECV`.
pub(crate) const OPT_ENDPOINT: c_int = 0;
pub(crate) const OPT_MIN_MULTI_RECV: c_int = 0;
/// `FI_AV_COMPLETE`.
pub(crate) const AV_COMPLETE: u32 = 5;

/// The version of the interface that is said to libfabric. It is 1.17 that this is written for; but applications that ask for a later one are not shown
/// providers of an earlier one, and up to this nothing was changed but by additions.
pub(crate) const API_VERSION: u32 = version(2, 6);

/// A version of the interface as one number.
pub(crate) const fn version(major: u32, minor: u32) -> u32 {
    major << 16 | minor
}
