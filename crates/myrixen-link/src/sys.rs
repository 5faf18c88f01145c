//! What needs unsafe code: packet and AF_XDP sockets, their options, the memory they share with the kernel, and bpf(2).
//! Each block holds one operation, and what is offered here is safe to use.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod ethtool;
pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod udp;
pub(crate) mod xsk;
