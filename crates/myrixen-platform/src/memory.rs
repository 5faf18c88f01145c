//! Reading another guest's memory, where the kernel allows it.
//!
//! Whether it does is never assumed (users, capabilities, Yama, containers and dumpable flags all have a say): each guest
//! has a secret of 16 random bytes and tells its partners where it lies and what it is; who can read it there can read the process.
//!
//! # A process id says little
//!
//! The id was taken when the guest connected, in the back end's namespace. In the reader's namespace it may name another process, and when
//! the guest has died it may be given to a new one. So each read fetches the secret again, in the same
//! system call as the data: the call looks the process up once, so both come from the same one, and
//! data that does not come with the right secret is thrown away. No process but the guest has it, at that place. A child that
//! was forked from the guest has a copy, but not the id; and data of a guest that replaced itself (`exec`) is gone with
//! its secret.

use std::io;
use std::sync::OnceLock;

use crate::message::MemoryProbe;
use crate::sys;

/// This process's secret. It is never freed, so its address stays valid.
static COOKIE: OnceLock<Box<[u8; 16]>> = OnceLock::new();

/// Where this process's secret lies, and what it is.
pub(crate) fn own_probe() -> io::Result<MemoryProbe> {
    let cookie = match COOKIE.get() {
        Some(cookie) => cookie,
        None => {
            let fresh = sys::random()?;
            COOKIE.get_or_init(|| Box::new(fresh))
        }
    };
    let address = u64::try_from(cookie.as_ptr().addr()).map_err(io::Error::other)?;
    Ok(MemoryProbe {
        address,
        cookie: **cookie,
    })
}

/// The memory of another guest that we were found to be able to read.
#[derive(Clone, Copy, Debug)]
pub struct PeerMemory {
    pid: u32,
    probe: MemoryProbe,
}

impl PeerMemory {
    /// Tries whether the process `pid` can be read, by reading its secret. `None`: it cannot, or is another process.
    pub fn probe(pid: u32, probe: MemoryProbe) -> Option<Self> {
        let memory = Self { pid, probe };
        // Process id 0 means that it is not known (and would be ourselves).
        (pid != 0 && memory.read(probe.address, &mut []).is_ok()).then_some(memory)
    }

    /// Reads up to `into.len()` bytes at `address` in the peer's process, and gives the number of bytes read: fewer, perhaps none, where nothing
    /// is mapped. The peer may change its memory at any time.
    ///
    /// # Errors
    /// `NotFound` when the process is gone, or is not the peer any more, `PermissionDenied` when the kernel does not allow it
    /// any more; else what the system says.
    pub fn read(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut cookie = [0; 16];
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the peer's process is gone");
        let read =
            match sys::read_process(self.pid, [self.probe.address, address], [&mut cookie, into]) {
                Ok(read) => read,
                Err(err) if err.raw_os_error() == Some(libc::ESRCH) => return Err(gone()),
                Err(err) => return Err(err),
            };
        match read.checked_sub(cookie.len()) {
            Some(data) if cookie == self.probe.cookie => Ok(data),
            _ => {
                into.fill(0);
                Err(gone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_can_read_itself_with_the_right_secret_only() {
        let probe = own_probe().unwrap();
        let data = *b"sixteen letters!";
        let address = data.as_ptr().addr() as u64;
        let memory = PeerMemory::probe(std::process::id(), probe).expect("one may read oneself");
        let mut into = [0; 16];
        assert_eq!(memory.read(address, &mut into).unwrap(), 16);
        assert_eq!(into, data);

        let mut wrong = probe;
        wrong.cookie[3] ^= 1;
        assert!(PeerMemory::probe(std::process::id(), wrong).is_none());
        let impostor = PeerMemory {
            pid: std::process::id(),
            probe: wrong,
        };
        let mut into = [7; 16];
        assert_eq!(
            impostor.read(address, &mut into).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            into, [0; 16],
            "what came with the wrong secret is thrown away"
        );
    }

    #[test]
    fn the_secret_stays_where_it_is() {
        let (first, second) = (own_probe().unwrap(), own_probe().unwrap());
        assert_eq!(first, second);
        assert_ne!(first.cookie, [0; 16]);
    }

    #[test]
    fn unknown_and_gone_processes_cannot_be_read() {
        let probe = own_probe().unwrap();
        assert!(PeerMemory::probe(0, probe).is_none());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(PeerMemory::probe(pid, probe).is_none());
    }

    #[test]
    fn nothing_comes_from_where_nothing_is() {
        let memory = PeerMemory::probe(std::process::id(), own_probe().unwrap()).unwrap();
        let mut into = [0; 8];
        // The kernel stops at what it cannot read: nothing of the data comes.
        assert_eq!(memory.read(8, &mut into).unwrap(), 0);
        assert_eq!(memory.read(u64::MAX - 7, &mut into).ok().unwrap_or(0), 0);
    }
}
