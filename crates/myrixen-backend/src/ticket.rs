//! Tickets: what a guest shows to a new back end to be given the same board again
//! (`docs/control-plane.md`, "Tickets"). The guest keeps it, and cannot read a meaning into it or change it.

use hmac::Mac;
use mxoe::addr::NicAddr;

use crate::secret::Secret;

/// Says what a keyed MAC of this host's secret is for.
const PURPOSE: &[u8] = b"myrixen ticket";
/// The first byte, changed with the layout.
const VERSION: u8 = 1;
/// Bytes of HMAC-SHA-256.
const MAC_LEN: usize = 32;
/// Longest partition or board name in a ticket.
const MAX_NAME: usize = 255;

/// What a ticket says: who was given which board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The user that may show it.
    pub uid: u32,
    /// The board's address.
    pub nic: NicAddr,
    /// The board's partition, by name: numbers change with the configuration.
    pub partition: String,
    /// The board's name.
    pub board: String,
}

impl Ticket {
    /// The ticket as bytes, sealed with the host's secret. Names are cut to 255 bytes at most; the board
    /// registry allows no longer ones.
    #[must_use]
    pub fn seal(&self, secret: &Secret) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.uid.to_le_bytes());
        bytes.extend(self.nic.octets());
        for name in [&self.partition, &self.board] {
            let name = &name.as_bytes()[..name.len().min(MAX_NAME)];
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend(name);
        }
        let mac = secret.mac(PURPOSE, &[&bytes]).finalize().into_bytes();
        bytes.extend(mac);
        bytes
    }

    /// The ticket that these bytes are, or `None` when this host did not make them.
    #[must_use]
    pub fn open(bytes: &[u8], secret: &Secret) -> Option<Self> {
        let (body, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_LEN)?)?;
        // Compares in constant time.
        secret.mac(PURPOSE, &[body]).verify_slice(mac).ok()?;
        let (&version, rest) = body.split_first()?;
        let (uid, rest) = rest.split_first_chunk::<4>()?;
        let (nic, rest) = rest.split_first_chunk::<6>()?;
        let (partition, rest) = name(rest)?;
        let (board, rest) = name(rest)?;
        (version == VERSION && rest.is_empty()).then(|| Self {
            uid: u32::from_le_bytes(*uid),
            nic: NicAddr::new(*nic),
            partition,
            board,
        })
    }
}

fn name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(len))?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            uid: 1000,
            nic: NicAddr::new([2, 1, 2, 3, 4, 5]),
            partition: "default".into(),
            board: "node:0".into(),
        }
    }

    #[test]
    fn a_ticket_is_honoured_by_who_made_it() {
        let secret = Secret::from_bytes([7; 32]);
        let sealed = ticket().seal(&secret);
        assert_eq!(Ticket::open(&sealed, &secret), Some(ticket()));
        assert_eq!(Ticket::open(&sealed, &Secret::from_bytes([8; 32])), None);
    }

    #[test]
    fn a_ticket_with_any_bit_changed_is_worthless() {
        let secret = Secret::from_bytes([7; 32]);
        let sealed = ticket().seal(&secret);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Ticket::open(&changed, &secret), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(Ticket::open(&sealed[..len], &secret), None, "cut to {len}");
        }
    }
}
