//! What needs unsafe code: packet sockets, their options, and the memory they share with the kernel.
//! Each block holds one operation, and what is offered here is safe to use.
#![allow(unsafe_code)]

pub(crate) mod packet;
pub(crate) mod ring;
pub(crate) mod udp;
