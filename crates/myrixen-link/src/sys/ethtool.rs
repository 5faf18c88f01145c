//! Questions about an interface's card (`SIOCETHTOOL`).

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::packet;

// linux/ethtool.h
const GET_DRIVER: u32 = 0x3;
const GET_FLAGS: u32 = 0x25;
const FLAG_RXVLAN: u32 = 1 << 8;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const _: () = assert!(size_of::<DriverInfo>() == 196);

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

fn ask<T>(fd: BorrowedFd<'_>, name: &str, question: &mut T) -> io::Result<()> {
    let mut request = packet::named_request(name)?;
    let question: *mut T = question;
    request.ifr_ifru.ifru_data = question.cast();
    let request: *mut libc::ifreq = &raw mut request;
    // SAFETY: `ifru_data` points to a structure of the size that its command, its first word, stands for: the callers
    // below see to that.
    let result: c_int = unsafe { libc::ioctl(fd.as_raw_fd(), SIOCETHTOOL, request) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The name of the driver.
pub(crate) fn driver(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let mut info = DriverInfo {
        command: GET_DRIVER,
        driver: [0; 32],
        rest: [0; 160],
    };
    ask(fd, name, &mut info)?;
    let end = info.driver.iter().position(|&byte| byte == 0);
    let text = info.driver.get(..end.unwrap_or(32)).unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Whether the card takes VLAN tags out of frames that arrive (`rx-vlan-offload`).
pub(crate) fn takes_tags_out(fd: BorrowedFd<'_>, name: &str) -> io::Result<bool> {
    let mut flags = Value {
        command: GET_FLAGS,
        data: 0,
    };
    ask(fd, name, &mut flags)?;
    Ok(flags.data & FLAG_RXVLAN != 0)
}
