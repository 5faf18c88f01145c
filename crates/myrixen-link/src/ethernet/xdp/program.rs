//! The program that runs in the driver for each frame that arrives, and decides who gets it.
//!
//! An MXoE frame, untagged or with one 802.1Q tag, for one of our addresses goes to the AF_XDP socket of the queue on
//! which it arrived; everything else goes on to the kernel: frames of other protocols, for groups, for others who
//! listen on the same card, of queues without a socket. Where the driver can be asked, a frame whose tag it
//! took out goes on to the kernel too, which tells the packet socket the tag; this program could not.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::MXOE_ETHERTYPE;
use crate::sys::bpf::Instruction;

/// The kernel wants a licence that is compatible with the GPL of programs that ask drivers, and knows this spelling
/// of the MIT licence.
pub(super) const LICENSE: &CStr = c"Dual MIT/GPL";

/// How the kernel's function is called that asks the driver for the tag that it took out.
pub(super) const TAG_FUNCTION: &str = "bpf_xdp_metadata_rx_vlan_tag";

const TPID_8021Q: u16 = 0x8100;
const XDP_PASS: i32 = 2;
/// "There is none", says the driver.
const ENODATA: i32 = 61;

// linux/bpf_common.h, linux/bpf.h: classes, sizes, operations.
const LOAD_BYTES2: u8 = 0x69;
const LOAD_BYTES4: u8 = 0x61;
const STORE_BYTES4: u8 = 0x63;
const LOAD_NUMBER8: u8 = 0x18;
const ADD: u8 = 0x07;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_ABOVE: u8 = 0x2d;
const JUMP_NOT_EQUAL_32: u8 = 0x56;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// As the source of [`LOAD_NUMBER8`]: the number is a map's descriptor.
const MAP: u8 = 1;
/// As the source of [`CALL`]: the number is that of a function of the kernel.
const KERNEL_FUNCTION: u8 = 2;
const MAP_LOOKUP: i32 = 1;
const REDIRECT_MAP: i32 = 51;
/// The stack ends where this register points.
const STACK: u8 = 10;

/// Stands for the way to "pass" until that has a place.
const TO_PASS: i16 = i16::MAX;

/// The maps that the program looks into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'a> {
    /// Our addresses, each as [`key`] says.
    pub(super) addresses: BorrowedFd<'a>,
    /// The sockets, by queue.
    pub(super) sockets: BorrowedFd<'a>,
}

/// An address as a key: padded with zeroes.
pub(super) fn key(mac: [u8; 6]) -> [u8; 8] {
    let [a, b, c, d, e, f] = mac;
    [a, b, c, d, e, f, 0, 0]
}

/// The program; `tag_function` is the number of [`TAG_FUNCTION`], where the driver is to be asked.
pub(super) fn program(maps: Maps<'_>, tag_function: Option<u32>) -> Vec<Instruction> {
    let wire = |number: u16| i32::from(number.to_be());
    let mut code = vec![
        step(MOVE, 6, 1, 0, 0),        // r6 = the frame's context
        step(LOAD_BYTES4, 2, 6, 0, 0), // r2 = where it begins
        step(LOAD_BYTES4, 3, 6, 4, 0), // r3 = where it ends
        step(MOVE, 4, 2, 0, 0),
        step(ADD, 4, 0, 0, 18),                          // a header and a tag
        step(JUMP_ABOVE, 4, 3, TO_PASS, 0),              // too short for that: pass
        step(LOAD_BYTES2, 5, 2, 12, 0),                  // r5 = EtherType
        step(JUMP_EQUAL, 5, 0, 3, wire(MXOE_ETHERTYPE)), // MXoE: go on behind the tag's part
        step(JUMP_NOT_EQUAL, 5, 0, TO_PASS, wire(TPID_8021Q)),
        step(LOAD_BYTES2, 5, 2, 16, 0), // r5 = EtherType behind the tag
        step(JUMP_NOT_EQUAL, 5, 0, TO_PASS, wire(MXOE_ETHERTYPE)),
        step(LOAD_BYTES4, 5, 2, 0, 0), // the destination, as a key on the stack
        step(STORE_BYTES4, STACK, 5, -8, 0),
        step(LOAD_BYTES2, 5, 2, 4, 0),
        step(STORE_BYTES4, STACK, 5, -4, 0),
    ];
    code.extend(map(1, maps.addresses));
    code.extend([
        step(MOVE, 2, STACK, 0, 0),
        step(ADD, 2, 0, 0, -8),
        step(CALL, 0, 0, 0, MAP_LOOKUP),
        step(JUMP_EQUAL, 0, 0, TO_PASS, 0), // not one of ours: pass
    ]);
    if let Some(function) = tag_function {
        code.extend(ask_for_tag(function));
    }
    code.extend(map(1, maps.sockets));
    code.extend([
        step(LOAD_BYTES4, 2, 6, 16, 0),       // r2 = the queue
        step(MOVE_NUMBER, 3, 0, 0, XDP_PASS), // a queue without a socket: pass
        step(CALL, 0, 0, 0, REDIRECT_MAP),
        step(EXIT, 0, 0, 0, 0),
    ]);
    let pass = code.len();
    code.extend([step(MOVE_NUMBER, 0, 0, 0, XDP_PASS), step(EXIT, 0, 0, 0, 0)]);
    for (at, instruction) in code.iter_mut().enumerate() {
        if instruction.offset == TO_PASS {
            instruction.offset = i16::try_from(pass - at - 1).expect("a short program");
        }
    }
    code
}

/// Asks the driver for a tag, its two words to be put where the key was; goes on when it says that there is none.
fn ask_for_tag(function: u32) -> [Instruction; 7] {
    [
        step(MOVE, 1, 6, 0, 0),
        step(MOVE, 2, STACK, 0, 0),
        step(ADD, 2, 0, 0, -8), // its protocol
        step(MOVE, 3, STACK, 0, 0),
        step(ADD, 3, 0, 0, -4), // its control information
        step(CALL, 0, KERNEL_FUNCTION, 0, function.cast_signed()),
        step(JUMP_NOT_EQUAL_32, 0, 0, TO_PASS, -ENODATA),
    ]
}

fn step(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    // Two fields of four bits, laid out as the machine's byte order has it.
    let registers = if cfg!(target_endian = "little") {
        to | from << 4
    } else {
        to << 4 | from
    };
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

/// Loads a map's descriptor, a number of 8 bytes: two places.
fn map(to: u8, map: BorrowedFd<'_>) -> [Instruction; 2] {
    [
        step(LOAD_NUMBER8, to, MAP, 0, map.as_raw_fd()),
        step(0, 0, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn every_way_leads_to_an_instruction_behind_it() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let maps = Maps {
            addresses: file.as_fd(),
            sockets: file.as_fd(),
        };
        for function in [None, Some(77)] {
            let code = program(maps, function);
            let pass = code.len() - 2;
            assert_eq!(code[pass].code, MOVE_NUMBER);
            for (at, instruction) in code.iter().enumerate() {
                if instruction.code & 7 == 5 && instruction.offset != 0 {
                    let to = at + 1 + usize::try_from(instruction.offset).unwrap();
                    assert!(to == pass || to == 11, "{at} leads to {to}");
                }
            }
        }
    }
}
