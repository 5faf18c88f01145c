//! What must be known of a card before its frames may be taken from the driver: above all where their VLAN tags are.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{btf, program};
use crate::LinkError;
use crate::sys::ethtool;

/// How a program gets to know that a driver has taken a tag out of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// The driver says so, by this function of the kernel.
    Told(u32),
    /// It takes none out.
    InTheFrame,
}

/// Whether an interface is an end of a virtual cable. Its frames are the kernel's packets already: to be redirected they
/// are copied once more, so that AF_PACKET is faster there.
pub(in crate::ethernet) fn is_virtual_cable(socket: BorrowedFd<'_>, name: &str) -> bool {
    ethtool::driver(socket, name).is_ok_and(|driver| driver == "veth")
}

/// Finds out where the tags are, or why that cannot be known: such a card's tagged frames would look untagged.
pub(super) fn tags(socket: BorrowedFd<'_>, name: &str, index: u32) -> Result<Tags, LinkError> {
    if tells_tags(index).unwrap_or(false)
        && let Ok(types) = std::fs::read(btf::KERNEL)
        && let Some(function) = btf::function(&types, program::TAG_FUNCTION)
    {
        return Ok(Tags::Told(function));
    }
    let problem = |problem: String| LinkError::Interface {
        name: name.to_owned(),
        problem,
    };
    // What goes into one end of a virtual cable with its tag beside it comes out so, whatever is switched off.
    if is_virtual_cable(socket, name) {
        let text = "a virtual cable's VLAN tags cannot be seen by an XDP program before Linux 6.8";
        return Err(problem(text.to_owned()));
    }
    // A driver that cannot be asked has no such feature.
    if ethtool::takes_tags_out(socket, name).unwrap_or(false) {
        return Err(problem(format!(
            "the card takes VLAN tags out of frames and its driver cannot tell an XDP program \
             (ethtool -K {name} rxvlan off)"
        )));
    }
    Ok(Tags::InTheFrame)
}

// linux/genetlink.h and linux/netdev.h.
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const GET_DEVICE: u8 = 1;
const DEVICE_INDEX: u16 = 1;
const DEVICE_METADATA: u16 = 5;
const METADATA_VLAN_TAG: u64 = 1 << 2;
/// Bytes of a netlink header and of a generic one.
const HEADERS: usize = 20;

/// Whether a driver can be asked for the tag that it took out.
fn tells_tags(index: u32) -> io::Result<bool> {
    let flags = SocketFlags::CLOEXEC;
    let generic = rustix::net::netlink::GENERIC;
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(generic),
    )?;
    let ask = |family: u16, command: u8, attribute: (u16, &[u8]), wanted: u16| {
        let request = request(family, command, attribute);
        rustix::net::send(&socket, &request, SendFlags::empty())?;
        let mut reply = vec![0; 8192];
        let (len, _) = rustix::net::recv(&socket, &mut reply, RecvFlags::empty())?;
        reply.truncate(len);
        Ok::<_, io::Error>(attribute_of(&reply, wanted).map(<[u8]>::to_vec))
    };
    let control = u16::try_from(libc::GENL_ID_CTRL).unwrap_or(0x10);
    let family = ask(control, GET_FAMILY, (FAMILY_NAME, b"netdev\0"), FAMILY_ID)?;
    let Some(family) = family.and_then(|bytes| Some(u16::from_ne_bytes(bytes.try_into().ok()?)))
    else {
        return Ok(false);
    };
    let index = index.to_ne_bytes();
    let metadata = ask(family, GET_DEVICE, (DEVICE_INDEX, &index), DEVICE_METADATA)?;
    let metadata = metadata.and_then(|bytes| Some(u64::from_ne_bytes(bytes.try_into().ok()?)));
    Ok(metadata.is_some_and(|features| features & METADATA_VLAN_TAG != 0))
}

fn request(family: u16, command: u8, (attribute, value): (u16, &[u8])) -> Vec<u8> {
    const VERSION: u8 = 1;
    let number = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let mut bytes = vec![0; 4];
    bytes.extend(family.to_ne_bytes());
    bytes.extend(number(usize::try_from(libc::NLM_F_REQUEST).unwrap_or(1)).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([command, VERSION, 0, 0]);
    bytes.extend(number(4 + value.len()).to_ne_bytes());
    bytes.extend(attribute.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let len = u32::from(number(bytes.len()));
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes
}

/// The value of an attribute in a reply; `None` too where the reply is an error.
fn attribute_of(reply: &[u8], wanted: u16) -> Option<&[u8]> {
    let half = |bytes: &[u8], at: usize| {
        let half = bytes.get(at..at + 2)?;
        Some(u16::from_ne_bytes(half.try_into().ok()?))
    };
    let error = u16::try_from(libc::NLMSG_ERROR).ok()?;
    if half(reply, 4)? == error {
        return None;
    }
    let mut rest = reply.get(HEADERS..)?;
    loop {
        let len = usize::from(half(rest, 0)?);
        let kind = half(rest, 2)?;
        let value = rest.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_others_and_never_in_an_error() {
        let mut reply = request(0x20, GET_DEVICE, (7, b"odd"));
        let more = request(0x20, GET_DEVICE, (DEVICE_METADATA, &4u64.to_ne_bytes()));
        reply.extend(&more[HEADERS..]);
        assert_eq!(attribute_of(&reply, 7), Some(b"odd".as_slice()));
        let found = attribute_of(&reply, DEVICE_METADATA);
        assert_eq!(found, Some(4u64.to_ne_bytes().as_slice()));
        assert_eq!(attribute_of(&reply, 9), None);
        reply[4..6].copy_from_slice(&2u16.to_ne_bytes());
        assert_eq!(attribute_of(&reply, 7), None);
    }
}
