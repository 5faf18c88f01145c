//! What an endpoint can do, and how much of it: the provider's attributes.

use std::ffi::c_int;

use crate::abi::{flag, mr, order};

/// Returned only to who asks for them.
pub(crate) const PRIMARY: u64 = flag::MSG
    | flag::TAGGED
    | flag::RMA
    | flag::ATOMIC
    | SENDS
    | REMOTE
    | flag::DIRECTED_RECV
    | WHERE;
/// Returned always: they cost nothing.
pub(crate) const SECONDARY: u64 = flag::MULTI_RECV | flag::SOURCE;
/// All capabilities.
pub(crate) const CAPS: u64 = PRIMARY | SECONDARY;

/// The directions of messages.
pub(crate) const SENDS: u64 = flag::SEND | flag::RECV;
/// Those of memory.
pub(crate) const REMOTE: u64 = flag::READ | flag::WRITE | flag::REMOTE_READ | flag::REMOTE_WRITE;
/// Who can be reached: this host and others.
pub(crate) const WHERE: u64 = flag::LOCAL_COMM | flag::REMOTE_COMM;
/// What concerns the side that begins an operation.
pub(crate) const TX_CAPS: u64 = flag::MSG
    | flag::TAGGED
    | flag::RMA
    | flag::ATOMIC
    | flag::SEND
    | flag::READ
    | flag::WRITE
    | WHERE;
/// What concerns the other one.
pub(crate) const RX_CAPS: u64 = flag::MSG
    | flag::TAGGED
    | flag::RMA
    | flag::ATOMIC
    | flag::RECV
    | flag::REMOTE_READ
    | flag::REMOTE_WRITE
    | flag::MULTI_RECV
    | flag::DIRECTED_RECV
    | flag::SOURCE
    | WHERE;

/// Operation flags of sends that may be defaults.
pub(crate) const TX_FLAGS: u64 = flag::COMPLETION
    | flag::INJECT
    | flag::INJECT_COMPLETE
    | flag::TRANSMIT_COMPLETE
    | flag::DELIVERY_COMPLETE;
/// Those of receives.
pub(crate) const RX_FLAGS: u64 = flag::COMPLETION | flag::MULTI_RECV;

/// Orders that are kept: all of them, with what the `MAX_ORDER` sizes say of memory.
pub(crate) const ORDER: u64 = order::STRICT | order::RMA | order::ATOMIC;

/// Bytes that `fi_inject` copies.
pub(crate) const INJECT: usize = 4096;
/// Operations that may be under way; there is no limit, so this is what is said where nobody asks.
pub(crate) const QUEUE: usize = 4096;
/// The most that may be asked for.
pub(crate) const MAX_QUEUE: usize = 1 << 20;
/// Pieces of memory of one operation.
pub(crate) const IOV: usize = 16;
/// Pieces of remote memory of one operation.
pub(crate) const RMA_IOV: usize = 1;
/// Bytes of one message: the engine counts them in 32 bits.
pub(crate) const MESSAGE: usize = u32::MAX as usize;
/// Bytes of one RMA operation within which it is ordered with others of the same peer: what goes with its request.
pub(crate) const ORDERED: usize = crate::service::SHORT;
/// Objects of a kind that may be open: memory is the limit.
pub(crate) const OBJECTS: usize = 1 << 16;
/// All bits of a tag are the application's.
pub(crate) const TAG_FORMAT: u64 = 0xaaaa_aaaa_aaaa_aaaa;
/// Bits of registration modes that an application may ask for; none is needed.
pub(crate) const MR_MODES: c_int = mr::VIRT_ADDR | mr::ALLOCATED | mr::PROV_KEY;
/// The number of our protocol, in the range of providers (`FI_PROV_SPECIFIC`): "MX".
pub(crate) const PROTOCOL: u32 = 1 << 31 | 0x4d58;
/// And its version.
pub(crate) const PROTOCOL_VERSION: u32 = 1;
